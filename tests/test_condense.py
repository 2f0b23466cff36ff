"""Synthetic sets: every objective and every shortcut against something that was written another way."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdcourse import condense, data, models, training, unrolled
from kdcourse.data import Split
from kdcourse.models import stream_seed

K, N, B, SIZE = 3, 2, 4, 8


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setenv("KDCOURSE_DTYPE", "float32")


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(width=4, depth=2, seed=1):
    model = condense.convnet(width, classes=K, size=SIZE, depth=depth, seed=seed).double()
    for parameter in model.parameters():  # so that the norms' scales and shifts are not 1 and 0
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)).double())
    return model


@pytest.fixture
def synthetic():
    return drawn(K, N, 1, SIZE, SIZE, seed=1)


@pytest.fixture
def labels():
    return F.softmax(3 * drawn(K, N, K, seed=2), dim=2)


@pytest.fixture
def real():
    return drawn(K, B, 1, SIZE, SIZE, seed=3)


def toy(count=60, seed=0):
    """Three classes: a bright third of the image, with noise."""
    labels = torch.arange(count) % K
    images = 0.4 * torch.rand(count, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    for k, rows in enumerate((slice(0, 3), slice(3, 5), slice(5, 8))):
        images[labels == k, :, rows] += 0.5
    return Split((255 * images).round().to(torch.uint8), labels)


# ---- networks ---------------------------------------------------------------------------------------------------------


def test_convnet_is_the_networks_of_the_papers():
    # 317,706 parameters in the code of Zhao et al., 3 x 128 of them biases that an instance norm takes out again.
    assert models.count_parameters(condense.convnet()) == 317_706 - 3 * 128
    for size, channels in ((28, 1), (14, 1), (32, 3), (8, 1)):
        assert condense.convnet(4, 7, channels, size)(torch.rand(2, channels, size, size)).shape == (2, 7)
    with pytest.raises(ValueError, match="do not fit"):
        condense.convnet(4, size=3)
    with pytest.raises(ValueError, match="padded evenly"):
        condense.convnet(4, size=15)


def test_convnet_written_out():
    model, x = network(), drawn(5, 1, SIZE, SIZE)
    y = x
    for block in range(2):
        conv, norm = model.get_submodule(f"conv{block}"), model.get_submodule(f"norm{block}")
        y = F.conv2d(y, conv.weight, bias=drawn(4, seed=block), padding=conv.padding)  # any bias: the norm removes it
        y = F.instance_norm(y, weight=norm.weight, bias=norm.bias, eps=norm.eps)
        y = F.avg_pool2d(F.relu(y), 2)
    assert torch.allclose(model(x), F.linear(y.flatten(1), model.linear.weight, model.linear.bias))


def test_side_by_side_answers_as_each_alone():
    networks = [network(seed=s) for s in range(3)]
    stack, x = condense.side_by_side(networks), drawn(5, 1, SIZE, SIZE)
    assert torch.allclose(stack(x), torch.stack([n(x) for n in networks], dim=1))
    for bad in ([], [network(), network(width=5)]):
        with pytest.raises(ValueError, match="expected at least one"):
            condense.side_by_side(bad)


@pytest.mark.parametrize(("soft", "batch_size"), [(False, 256), (True, 256), (False, 3)])
def test_evaluation_together_is_evaluation_one_by_one(soft, batch_size):
    split, judged = toy(6), toy(90, seed=1)
    if soft:
        split = Split(split.images.float() / 255, F.softmax(4 * F.one_hot(split.labels, K) + torch.rand(6, K), dim=1))
    settings = {"phases": [(8, 1e-2), (4, 1e-3)], "seed": 3, "width": 4, "augment": condense.wobble(1, 5, 0.1), "batch_size": batch_size}
    together = condense.evaluate(split, judged, networks=3, together=3, **settings)
    assert together.shape == (3, 90)
    assert together.dtype == torch.bool
    for k in range(3):
        alone = condense.convnet(4, K, size=SIZE, seed=stream_seed(3, f"fresh/{k}"))
        for phase, (epochs, rate) in enumerate(settings["phases"]):
            training.fit(
                alone,
                split,
                lambda model, batch: F.cross_entropy(model(batch.images), batch.labels),
                epochs=epochs,
                batch_size=min(6, batch_size),
                learning_rate=rate,
                seed=stream_seed(3, f"evaluate/0/{phase}"),
                augment=settings["augment"],
            )
        assert (training.correct(alone, judged) != together[k]).sum() <= 1  # rounding may turn a tie
    assert batch_size < 6 or together.float().mean() > 0.45  # they have learned something (chance is a third)
    own_kind = condense.evaluate(split, judged, networks=3, make=lambda s: condense.convnet(4, K, size=SIZE, seed=s), **settings)
    assert (own_kind[0] != together[0]).sum() <= 1
    with_mlp = condense.evaluate(split, judged, networks=2, make=lambda s: models.mlp(SIZE * SIZE, 8, K, seed=s), **settings)
    assert with_mlp.shape == (2, 90)


# ---- objectives -------------------------------------------------------------------------------------------------------


def test_distribution_matching_by_loops(synthetic, labels, real):
    model = network()
    features = lambda images: nn.Sequential(*list(model)[:-1])(images)
    gap = lambda k: float((features(synthetic[k]).mean(0) - features(real[k]).mean(0)).detach().pow(2).sum())
    total = sum(gap(k) for k in range(K)) / K
    assert condense.distribution_matching(model, synthetic, labels, real).item() == pytest.approx(total)


def gradients_of(model, images, labels):
    logits = model(images)
    loss = -(labels * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
    weights = [p for name, p in model.named_parameters() if name.endswith("weight") and p.ndim > 1]
    return [g.flatten(1) for g in torch.autograd.grad(loss, weights)]


def test_class_gradients_are_those_of_autograd(synthetic, labels):
    model = network()
    found = condense.class_gradients(model, synthetic, labels)
    for k in range(K):
        for layer, expected in zip(found, gradients_of(model, synthetic[k], labels[k])):
            assert torch.allclose(layer[k], expected)


def test_gradient_matching_by_loops(synthetic, labels, real):
    model, total = network(), 0.0
    for k in range(K):
        truth = F.one_hot(torch.full((B,), k), K).double()
        for ours, theirs in zip(gradients_of(model, synthetic[k], labels[k]), gradients_of(model, real[k], truth)):
            for a, b in zip(ours, theirs):
                total += 1 - float(a @ b / (a.norm() * b.norm()))
    assert condense.gradient_matching(model, synthetic, labels, real).item() == pytest.approx(total / K)


def primal_ridge(model, synthetic, labels, real, ridge):
    """The same regression with weights instead of a kernel."""
    features = lambda images: nn.Sequential(*list(model)[:-1])(images.flatten(0, 1)).detach().numpy()
    x, t = features(synthetic), features(real)
    y = labels.flatten(0, 1).numpy() - 1 / K
    level = ridge * (x**2).sum() / len(x)
    weights = np.linalg.inv(x.T @ x + level * np.eye(x.shape[1])) @ x.T @ y
    truth = np.repeat(np.eye(K), B, axis=0) - 1 / K
    return 0.5 * ((t @ weights - truth) ** 2).sum() / len(t)


@pytest.mark.parametrize("ridge", [1e-3, 0.3])
def test_kernel_regression_is_ridge_regression(synthetic, labels, real, ridge):
    model = network()
    found = condense.kernel_regression(model, synthetic, labels, real, ridge).item()
    assert found == pytest.approx(primal_ridge(model, synthetic, labels, real, ridge), rel=1e-6)


@pytest.mark.parametrize("objective", [condense.distribution_matching, condense.gradient_matching, condense.kernel_regression])
def test_gradients_by_finite_differences(objective, synthetic, labels, real):
    model = network()
    synthetic.requires_grad_()
    (slope,) = torch.autograd.grad(objective(model, synthetic, labels, real), synthetic)
    for place in ((0, 0, 0, 2, 3), (2, 1, 0, 5, 1)):
        step, ends = 1e-6, []
        for sign in (1, -1):
            moved = synthetic.detach().clone()
            moved[place] += sign * step
            ends.append(objective(model, moved, labels, real).item())
        assert slope[place].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-8)


# ---- the loop ---------------------------------------------------------------------------------------------------------


def born(seed):
    return condense.convnet(4, K, size=SIZE, depth=2, seed=seed)


def test_every_step_asks_a_newborn_network():
    real, asked = toy(60), []
    start = condense.random_examples(real, 1, seed=0)

    def make(seed):
        asked.append(seed)
        return born(seed)

    condense.condense(start, real, condense.distribution_matching, make=make, steps=4, learning_rate=0.1, seed=9, batch=4)
    assert asked == [stream_seed(9, f"pool/{k}") for k in range(4)]


@pytest.mark.parametrize("objective", [condense.distribution_matching, condense.gradient_matching, condense.kernel_regression])
@pytest.mark.parametrize("learn", [("images",), ("labels",), ("images", "labels")])
def test_condense_changes_what_it_may_and_gets_nearer(objective, learn):
    if objective is condense.distribution_matching and "labels" in learn:
        pytest.skip("the labels play no part")
    real = toy(120)
    start = condense.random_examples(real, 2, seed=0)
    start = Split(torch.rand(start.images.shape, generator=torch.Generator().manual_seed(1)), start.labels)
    kept = start.images.clone()
    made, record = condense.condense(
        start, real, objective, make=lambda _: born(1), steps=40, learning_rate=0.05, seed=2, batch=8, learn=learn, watch=15
    )
    assert torch.equal(start.images, kept)
    assert torch.equal(made.images, kept) == ("images" not in learn)
    assert made.images.min() >= 0
    assert made.images.max() <= 1
    if "labels" in learn:
        assert made.labels.shape == (6, K)
        assert torch.allclose(made.labels.sum(dim=1), torch.ones(6))
        assert not torch.allclose(made.labels, 0.9 * F.one_hot(start.labels, K) + 0.1 / K, atol=1e-3)
    else:
        assert torch.equal(made.labels, start.labels)
    assert record["watched"] == [0, 15, 30, 40]
    assert record["history"].shape == (4, 6, 1, SIZE, SIZE)
    assert torch.equal(record["history"][-1], made.images)
    assert len(record["loss"]) == 40
    assert np.mean(record["loss"][-8:]) < np.mean(record["loss"][:8])


def test_condensed_images_teach_more_than_they_did():
    real, judged = toy(120), toy(300, seed=7)
    start = Split(torch.rand(K, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)), torch.arange(K))
    made, _ = condense.condense(
        start, real, condense.gradient_matching, make=born, steps=100, learning_rate=0.1, seed=2, batch=8
    )
    settings = {"networks": 2, "phases": [(80, 1e-2)], "seed": 0, "width": 8}
    before, after = (condense.evaluate(split, judged, **settings).float().mean() for split in (start, made))
    assert after > before + 0.2


def test_what_is_stored_may_be_smaller_than_what_is_seen():
    real = toy(60)
    small = data.shrink(condense.random_examples(real, 4, seed=0))
    assert small.images.shape == (12, 1, SIZE // 2, SIZE // 2)
    made, _ = condense.condense(
        small, real, condense.gradient_matching, make=born, steps=3, learning_rate=0.1, seed=2, batch=8, render=condense.enlarge
    )
    assert made.images.shape == small.images.shape
    flat = torch.full((1, 1, 3, 3), 0.25)
    assert torch.equal(condense.enlarge(flat, 2), torch.full((1, 1, 6, 6), 0.25))
    twice = lambda images: condense.enlarge(images).repeat_interleave(2, dim=0)
    condense.condense(small, real, condense.gradient_matching, make=born, steps=2, learning_rate=0.1, seed=2, batch=8, render=twice)


def test_condense_refuses():
    real = toy(60)
    start = condense.random_examples(real, 1, seed=0)
    settings = {"make": born, "steps": 2, "learning_rate": 0.1, "seed": 0, "batch": 4}
    with pytest.raises(ValueError, match="learn is"):
        condense.condense(start, real, condense.gradient_matching, learn=("pixels",), **settings)
    with pytest.raises(ValueError, match="expected equally many"):
        condense.condense(start[:2], real, condense.gradient_matching, **settings)
    with pytest.raises(ValueError, match="expected equally many"):
        condense.condense(start[[2, 1, 0]], real, condense.gradient_matching, **settings)
    with pytest.raises(ValueError, match=r"expected classes \[N\]"):
        condense.condense(start, Split(real.images, torch.rand(60, K)), condense.gradient_matching, **settings)
    with pytest.raises(FloatingPointError, match="step 1"):
        condense.condense(start, real, lambda *_: torch.tensor(math.nan, requires_grad=True), **settings)


# ---- one network, one start -------------------------------------------------------------------------------------------


def test_unrolling_is_gradient_descent(synthetic):
    images, truth, rates = synthetic.flatten(0, 1), torch.arange(K).repeat_interleave(N), torch.tensor([0.3, 0.1, 0.2]).double()
    model, twin = network(), network()
    found = unrolled.unroll(model, images, truth, rates)
    for rate in rates:
        optimiser = torch.optim.SGD(twin.parameters(), lr=rate.item())
        optimiser.zero_grad()
        F.cross_entropy(twin(images), truth).backward()
        optimiser.step()
    for name, parameter in twin.named_parameters():
        assert torch.allclose(found[name], parameter)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), network().parameters()))


def test_gradients_through_the_unrolling(synthetic, real):
    images, truth = synthetic.flatten(0, 1).requires_grad_(), torch.arange(K).repeat_interleave(N)
    rates = torch.tensor([0.3, 0.1]).double().requires_grad_()
    model, answers = network(), torch.arange(K).repeat_interleave(B)

    def outer(images, rates):
        weights = unrolled.unroll(model, images, truth, rates)
        return F.cross_entropy(torch.func.functional_call(model, weights, (real.flatten(0, 1),)), answers)

    slopes = torch.autograd.grad(outer(images, rates), [images, rates])
    for variable, place in ((0, (1, 0, 3, 3)), (0, (5, 0, 6, 2)), (1, (0,)), (1, (1,))):
        ends = []
        for sign in (1, -1):
            moved = [images.detach().clone(), rates.detach().clone()]
            moved[variable][place] += sign * 1e-6
            ends.append(outer(*moved).item())
        assert slopes[variable][place].item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-8)


def test_condense_for_one_start():
    real, judged = toy(120), toy(300, seed=7)
    start = Split(torch.rand(K, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)), torch.arange(K))
    model = models.mlp(SIZE * SIZE, 16, K, seed=4)
    made, rates, record = unrolled.condense_for(
        model, start, real, descent=2, rate=0.1, steps=80, learning_rate=0.05, seed=0, batch=40, watch=50
    )
    assert rates.shape == (2,)
    assert (rates > 0).all()
    assert record["watched"] == [0, 50, 80]
    assert record["rates"].shape == (3, 2)

    def accuracy(images, rates):
        weights = unrolled.unroll(model, images, made.labels, rates)
        logits = torch.func.functional_call(model, weights, (judged.images.float() / 255,))
        return (logits.argmax(dim=1) == judged.labels).float().mean().item()

    assert accuracy(made.images, rates) > max(0.9, accuracy(start.images, torch.full((2,), 0.1)))


# ---- baselines, augmentation, files -----------------------------------------------------------------------------------


def test_random_examples():
    split = toy(60)
    picked = condense.random_examples(split, 4, seed=3)
    assert picked.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert len({tuple(image.flatten().tolist()) for image in picked.images}) == 12
    pool_of = {tuple(image.flatten().tolist()): int(y) for image, y in zip(split.images, split.labels)}
    assert all(pool_of[tuple(i.flatten().tolist())] == y for i, y in zip(picked.images, picked.labels))
    assert not torch.equal(picked.images, condense.random_examples(split, 4, seed=4).images)
    with pytest.raises(ValueError, match="smallest class has 20"):
        condense.random_examples(split, 21, seed=0)


def test_class_centres():
    split = toy(60)
    means = condense.class_centres(split, 1, seed=0)
    for k in range(K):
        assert torch.allclose(means.images[k], split.images[split.labels == k].float().mean(dim=0) / 255, atol=1e-6)
    # Two tight clouds in each class: the two centres are their means, wherever k-means began.
    flags = torch.arange(40) % 2
    images = (0.1 * torch.rand(40, 1, 2, 2) + 0.8 * flags[:, None, None, None])[:, :, :, :]
    clouds = Split(images, torch.arange(40) // 20)
    centres = condense.class_centres(clouds, 2, seed=1)
    for k, flag in itertools.product(range(2), range(2)):
        mean = images[(clouds.labels == k) & (flags == flag)].mean(dim=0)
        distances = (centres.images[2 * k : 2 * k + 2] - mean).flatten(1).norm(dim=1)
        assert distances.min() < 1e-6

    def loss(centres):
        mine = [(split.images[split.labels == k].flatten(1) / 255.0, centres.images[centres.labels == k].flatten(1)) for k in range(K)]
        return sum(float(torch.cdist(points, means).min(dim=1).values.pow(2).sum()) for points, means in mine)

    begun = condense.random_examples(split, 3, seed=0)
    assert loss(condense.class_centres(split, 3, seed=0)) < loss(Split(begun.images / 255.0, begun.labels))


def test_wobble():
    images = torch.rand(5, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    generator = lambda: torch.Generator().manual_seed(1)
    still, variant = condense.wobble(0, 0, 0)(images, generator())
    assert variant is None
    assert torch.allclose(still, images, atol=1e-5)
    same = images[:1].expand(5, -1, -1, -1)
    alike, _ = condense.wobble(2, 20, 0.2)(same, generator(), alike=True)
    assert torch.equal(alike, alike[:1].expand_as(alike))
    apart, _ = condense.wobble(2, 20, 0.2)(same, generator())
    assert (apart[0] - apart[1]).abs().max() > 0.05
    moved, _ = condense.wobble(2, 0, 0)(images, generator())
    drawn = 2 * torch.rand(4, 5, generator=generator()) - 1
    for image, before, dx, dy in zip(moved, images, -2 * drawn[2], -2 * drawn[3]):  # by bilinear weights, written out
        y, x = torch.meshgrid(torch.arange(9.0) + dy, torch.arange(9.0) + dx, indexing="ij")
        expected = torch.zeros(9, 9)
        for row, column in itertools.product(range(9), range(9)):
            expected += before[0, row, column] * (1 - (y - row).abs()).clamp(min=0) * (1 - (x - column).abs()).clamp(min=0)
        assert torch.allclose(image[0], expected, atol=1e-4)
    assert condense.wobble()(torch.full((2, 1, 9, 9), 255, dtype=torch.uint8), generator())[0].max() <= 1 + 1e-6


@pytest.mark.parametrize("soft", [False, True])
def test_a_saved_set_is_loaded_like_any_data_set(tmp_path, soft):
    split = Split(torch.rand(6, 1, SIZE, SIZE), torch.arange(6) % K)
    if soft:
        split = Split(split.images, F.softmax(torch.randn(6, K), dim=1))
    size = condense.save(tmp_path / "tiny.npz", split, classes=("a", "b", "c"))
    assert size == (tmp_path / "tiny.npz").stat().st_size
    loaded = data.load("tiny", root=tmp_path)
    assert loaded.classes == ("a", "b", "c")
    assert torch.allclose(data.to_float(loaded.train.images), split.images, atol=0.5 / 255 + 1e-6)
    assert torch.equal(loaded.train.labels, split.labels)
    assert len(loaded.test) == 0
    free = Split(3 * split.images - 1, split.labels)
    condense.save(tmp_path / "free.npz", free)
    assert torch.equal(data.load("free", root=tmp_path).train.images, free.images)
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        condense.save(tmp_path / "tiny.pt", split)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["free.npz", "tiny.npz"]
