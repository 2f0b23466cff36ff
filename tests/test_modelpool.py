"""The pool of networks in training: what is kept is what training by hand gives, what is drawn is one of them, and the objective in another dtype is the same."""

import pytest
import torch
from test_condense import SIZE, K, network, toy

from kdcourse import condense, modelpool, models, training


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setenv("KDCOURSE_DTYPE", "float32")


def make(seed):
    return condense.convnet(4, classes=K, size=SIZE, depth=2, seed=seed)


SETTINGS = {"networks": 2, "after": (1, 3), "batch_size": 8, "learning_rate": 1e-2}


def test_each_network_is_kept_at_each_moment_and_has_learned_between_them():
    real = toy(count=120)
    kept = modelpool.in_training(real, make, seed=5, **SETTINGS | {"after": (1, 12)})
    assert len(kept) == 4
    early, late = (
        [training.correct(loaded(weights), real).float().mean().item() for weights in kept[k::2]] for k in (0, 1)
    )
    assert min(late) > max(early)
    assert min(late) > 0.9


def loaded(weights):
    model = make(0)
    model.load_state_dict(weights)
    return model


def test_each_stretch_is_training_by_hand_with_an_optimiser_that_begins_anew():
    real = toy()
    kept = modelpool.in_training(real, make, seed=5, **SETTINGS | {"after": (1, 2)})
    by_hand = make(models.stream_seed(5, "pool/1"))
    for upto, weights in zip((1, 2), kept[2:]):
        moment = models.stream_seed(5, f"pool/1/{upto}")
        seen = torch.randperm(len(real), generator=models.stream(moment, "images"))[:8]
        optimiser = torch.optim.AdamW(by_hand.parameters(), lr=1e-2, weight_decay=0.0)
        torch.nn.functional.cross_entropy(by_hand(real.images[seen] / 255), real.labels[seen]).backward()
        optimiser.step()
        optimiser.zero_grad()
        for name, weight in by_hand.named_parameters():
            torch.testing.assert_close(weights[name], weight.detach(), rtol=1e-3, atol=1e-4)


def test_the_same_seed_gives_the_same_pool_and_another_seed_another():
    first, again, other = (modelpool.in_training(toy(), make, seed=s, **SETTINGS) for s in (5, 5, 6))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(first, again) for name in a)
    assert not torch.equal(first[0]["linear.weight"], other[0]["linear.weight"])


@pytest.mark.parametrize(
    "wrong", [{"networks": 0}, {"after": ()}, {"after": (3, 1)}, {"after": (0, 2)}, {"after": (1, 60)}]
)
def test_settings_that_make_no_pool_are_refused(wrong):
    with pytest.raises(ValueError):
        modelpool.in_training(toy(), make, seed=0, **SETTINGS | wrong)


def test_every_member_is_drawn_sooner_or_later_and_nothing_else():
    kept = modelpool.in_training(toy(), make, seed=5, **SETTINGS)
    draw = modelpool.drawn_from(kept, make)
    seen = [
        next(k for k, weights in enumerate(kept) if torch.equal(weights["linear.weight"], draw(s).linear.weight))
        for s in range(60)
    ]
    assert set(seen) == set(range(4))
    assert torch.equal(draw(7).linear.weight, draw(7).linear.weight)


def test_in_float32_the_wrapped_objective_is_the_objective(monkeypatch):
    model = network().float()
    images, real = (torch.rand(K, n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(n)) for n in (2, 4))
    labels = torch.softmax(torch.rand(K, 2, K, generator=torch.Generator().manual_seed(9)), dim=2)
    wrapped = modelpool.in_lesson_dtype(condense.kernel_regression)
    assert torch.equal(wrapped(model, images, labels, real), condense.kernel_regression(model, images, labels, real))
    monkeypatch.setenv("KDCOURSE_DTYPE", "bfloat16")
    images.requires_grad_()
    gradients = [
        torch.autograd.grad(f(model, images, labels, real), images)[0].flatten()
        for f in (wrapped, condense.kernel_regression)
    ]
    assert gradients[0].dtype == torch.float32
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9


def test_condensing_with_a_pool_changes_images_and_labels():
    real = toy()
    kept = modelpool.in_training(real, make, seed=5, **SETTINGS)
    start = condense.random_examples(real, 2, 0)
    objective = modelpool.in_lesson_dtype(condense.kernel_regression)
    settings = {
        "make": modelpool.drawn_from(kept, make),
        "steps": 30,
        "learning_rate": 0.05,
        "seed": 1,
        "batch": 8,
        "learn": ("images", "labels"),
    }
    made, record = condense.condense(start, real, objective, **settings)
    assert made.labels.shape == (2 * K, K)
    assert sum(record["loss"][-5:]) < sum(record["loss"][:5])
