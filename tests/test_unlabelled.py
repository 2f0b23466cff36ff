"""Transforms of images, a network's mean answer through them, and the choice of pseudo-labels."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as reference
from torchvision.transforms import InterpolationMode

from kdcourse import data, losses, models, training, unlabelled
from kdcourse.data import Split


def pictures(count=5, height=14, width=14, channels=1):
    generator = torch.Generator().manual_seed(1)
    rough = torch.rand(count, channels, height // 2 + 1, width // 2 + 1, generator=generator)
    return F.interpolate(rough, (height, width), mode="bilinear", align_corners=True)


def test_without_arguments_the_image_stays_as_it_is():
    images = (255 * pictures()).to(torch.uint8)
    assert torch.allclose(unlabelled.transform(images), images.float() / 255, atol=1e-5)
    floats = pictures()
    assert torch.allclose(unlabelled.transform(floats), floats, atol=1e-5)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -2), (2, 1)])
def test_whole_pixels_move_as_in_jitter(down, right):
    images = pictures(height=12, width=16)
    each = [torch.full((len(images),), value) for value in (down, right)]
    assert torch.allclose(unlabelled.transform(images, down=down, right=right), data.shift(images, *each, limit=2), atol=1e-4)


@pytest.mark.parametrize("size", [(14, 14), (10, 16)])
@pytest.mark.parametrize(
    "values", [{"turn": 20.0}, {"zoom": 1.2}, {"zoom": 0.8}, {"turn": -35.0, "zoom": 1.1, "down": 2.0, "right": -1.0}, {"turn": 90.0}]
)
def test_turn_and_zoom_are_those_of_torchvision(values, size):
    images = pictures(3, *size, channels=2)
    full = {"turn": 0.0, "zoom": 1.0, "down": 0.0, "right": 0.0} | values
    expected = reference.affine(
        images, full["turn"], [int(full["right"]), int(full["down"])], full["zoom"], [0.0, 0.0], InterpolationMode.BILINEAR
    )
    assert torch.allclose(unlabelled.transform(images, **values), expected, atol=1e-3)


def test_mirror_comes_first():
    images = pictures()
    assert torch.allclose(unlabelled.transform(images, mirror=True), images.flip(3), atol=1e-4)
    both = unlabelled.transform(images, mirror=True, turn=15.0, right=1.0, zoom=1.1)
    assert torch.allclose(both, unlabelled.transform(images.flip(3), turn=15.0, right=1.0, zoom=1.1), atol=1e-4)


def test_every_image_may_have_its_own_values():
    images = pictures(3)
    turn, zoom, mirror = torch.tensor([0.0, 10.0, -25.0]), torch.tensor([1.0, 0.9, 1.2]), torch.tensor([True, False, True])
    together = unlabelled.transform(images, turn=turn, zoom=zoom, mirror=mirror, down=1.0)
    for index in range(3):
        alone = unlabelled.transform(images[index : index + 1], turn[index], zoom[index], mirror=mirror[index], down=1.0)
        assert torch.allclose(together[index], alone[0], atol=1e-5)


def test_a_transform_refuses_what_does_not_fit():
    images = pictures(3)
    for wrong, words in (
        ({"images": images[0]}, "expected"),
        ({"turn": torch.zeros(2)}, "turn has shape"),
        ({"down": torch.zeros(3, 1)}, "down has shape"),
        ({"zoom": 0.0}, "zoom goes down to 0"),
        ({"zoom": torch.tensor([1.0, -1.0, 1.0])}, "zoom goes down to -1"),
    ):
        with pytest.raises(ValueError, match=words):
            unlabelled.transform(**{"images": images} | wrong)


def test_random_transforms_stay_within_their_limits_and_repeat():
    images = pictures(4000, 6, 6)
    augment = unlabelled.random_transform(turn=20, zoom=0.2, shift=1.5, mirror=True)
    first, variant = augment(images, models.stream(3, "augment"))
    again, _ = augment(images, models.stream(3, "augment"))
    other, _ = augment(images, models.stream(4, "augment"))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert variant.shape == (4000,)
    assert not variant.any()
    assert augment.variants == 1
    drawn = unlabelled._draw(4000, models.stream(3, "augment"), 20, 0.2, 1.5, True)
    assert torch.allclose(unlabelled.transform(images, **drawn), first)
    for name, low, high in (("turn", -20, 20), ("zoom", 0.8, 1.2), ("down", -1.5, 1.5), ("right", -1.5, 1.5)):
        assert low <= drawn[name].min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < drawn[name].max() <= high
    assert 0.45 < drawn["mirror"].double().mean() < 0.55
    assert not torch.allclose(drawn["down"], drawn["right"])
    still, _ = unlabelled.random_transform()(images, models.stream(0, "augment"))
    assert torch.allclose(still, images, atol=1e-4)


def test_fit_takes_the_augmentation_with_labels_and_with_soft_labels():
    images = (255 * pictures(64)).to(torch.uint8)
    augment = unlabelled.random_transform(turn=10, shift=1)
    settings = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3, "seed": 0, "augment": augment}
    hard = training.fit(models.cnn(4, size=14), Split(images, torch.arange(64) % 10), losses.hard_labels(), **settings)
    one_hot = F.one_hot(torch.arange(64) % 10, 10).float()
    soft = training.fit(models.cnn(4, size=14), Split(images, one_hot), losses.hard_labels(), **settings)
    assert hard["loss"] == pytest.approx(soft["loss"], rel=1e-4)
    distilled = training.fit(models.cnn(4, size=14), Split(images, torch.arange(64) % 10), losses.soft_targets(1.0), targets=one_hot[:, None], **settings)
    assert math.isfinite(distilled["loss"][0])


@pytest.mark.parametrize("limits", [{"turn": -1}, {"zoom": 1.0}, {"shift": -0.5}, {"zoom": float("nan")}])
def test_limits_that_make_no_sense(limits):
    for make in (unlabelled.random_transform, lambda **rest: unlabelled.views(2, 0, **rest)):
        with pytest.raises(ValueError, match="expected turn ≥ 0"):
            make(**limits)


def test_views_begin_with_the_image_as_it_is_and_repeat():
    limits = {"turn": 10, "zoom": 0.1, "shift": 2, "mirror": True}
    many = unlabelled.views(40, 7, **limits)
    assert many[0] == {}
    assert unlabelled.views(9, 7, **limits) == many[:9]
    assert unlabelled.views(40, 8, **limits)[1:] != many[1:]
    assert {view["mirror"] for view in many[1:]} == {True, False}
    assert all(abs(view["turn"]) <= 10 and 0.9 <= view["zoom"] <= 1.1 for view in many[1:])
    assert len({view["down"] for view in many[1:]}) == 39
    assert "mirror" not in unlabelled.views(2, 0, shift=1)[1]
    with pytest.raises(ValueError, match="expected at least 1"):
        unlabelled.views(0, 0)


def test_the_ensemble_is_the_mean_of_the_probabilities():
    model, images = models.cnn(4, size=14, dropout=0.5, seed=1), pictures(7)
    through = unlabelled.views(5, 0, turn=15, zoom=0.2, shift=2)
    seen = unlabelled.answers(model, images, through, batch_size=3)
    assert seen.shape == (5, 7, 10)
    assert torch.allclose(seen.sum(dim=2), torch.ones(5, 7), atol=1e-5)
    model.eval()
    with torch.no_grad():
        for number, view in enumerate(through):
            expected = F.softmax(model(unlabelled.transform(images, **view)), dim=1)
            assert torch.allclose(seen[number], expected, atol=1e-5)
    assert torch.allclose(unlabelled.transform_ensemble(model, images, through), seen.mean(dim=0), atol=1e-6)
    alone = unlabelled.transform_ensemble(model, images, through[:1])
    assert torch.equal(alone, F.softmax(training.predict_logits(model, images), dim=1))
    with pytest.raises(ValueError, match="no view"):
        unlabelled.transform_ensemble(model, images, [])


def test_the_most_confident_of_each_predicted_class():
    p = torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.45, 0.55, 0.0], [0.7, 0.3, 0.0]])
    assert unlabelled.most_confident(p, 1).tolist() == [0, 3]
    assert unlabelled.most_confident(p, 2).tolist() == [0, 2, 3, 4]  # of the two ties the earlier
    assert unlabelled.most_confident(p, 99).tolist() == [0, 1, 2, 3, 4, 5]
    assert unlabelled.most_confident(p[:0], 3).tolist() == []
    for wrong in ((p[0], 1), (p, 0)):
        with pytest.raises(ValueError, match="at least 1 image a class"):
            unlabelled.most_confident(*wrong)
