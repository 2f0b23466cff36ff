"""kdcourse.poison against loops over single networks and single examples."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

import kdcourse as kd
from kdcourse import poison


def some(count, seed=0, size=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, size, size, generator=generator), torch.randint(10, (count,), generator=generator)


def networks(kind="mlp"):
    return [kd.models.mlp(64, 12, 10, seed=s) if kind == "mlp" else kd.models.lenet5(seed=s) for s in range(3)]


def one(crowd, k):
    return {name: weights[k].clone().requires_grad_() for name, weights in crowd.items()}


@pytest.mark.parametrize("kind", ["mlp", "lenet"])
def test_a_crowd_answers_like_its_networks(kind):
    nets, (images, labels) = networks(kind), some(7, size=8 if kind == "mlp" else 28)
    crowd = poison.stacked(nets)
    logits = torch.stack([n(images) for n in nets])
    assert torch.allclose(poison.crowd_logits(nets[0], crowd, images), logits, atol=1e-5)
    assert torch.equal(poison.answers(nets[0], crowd, kd.Split(images, labels), batch_size=3), logits.argmax(dim=2))
    assert torch.allclose(poison.members(crowd, slice(1, 2))["linear0.weight"][0], nets[1].linear0.weight)


def test_a_crowd_trains_as_each_of_its_networks_would_alone():
    images, labels = some(60)
    split = kd.Split((images * 255).byte(), labels)
    settings = {"epochs": 2, "batch_size": 20, "learning_rate": 1e-2}
    make = lambda s: kd.models.mlp(64, 12, 10, seed=s)
    together = poison.train_crowd(make, split, [3, 4], **settings)
    for k, seed in enumerate((3, 4)):
        single = poison.train_crowd(make, split, [seed], **settings)
        for name, weights in together.items():
            assert torch.allclose(weights[k], single[name][0], atol=1e-5)
            assert not torch.equal(weights[k], dict(make(seed).named_parameters())[name])
    one_step = poison.train_crowd(make, split, [3], epochs=1, batch_size=60, learning_rate=1e-2)
    network, order = make(3), torch.randperm(60, generator=kd.models.stream(3, "order"))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.0)
    torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=2)
    F.cross_entropy(network(kd.data.to_float(split.images[order])), labels[order]).backward()
    optimiser.step()
    assert all(torch.allclose(one_step[name][0], w, atol=1e-5) for name, w in network.named_parameters())
    with pytest.raises(ValueError, match="at least one seed"):
        poison.train_crowd(make, split, [], **settings)
    with pytest.raises(ValueError, match="one batch"):
        poison.train_crowd(make, split[:10], [1], **settings)


def test_scores_are_those_of_single_examples():
    nets, (images, labels) = networks(), some(5)
    crowd = poison.stacked(nets)
    losses, norms = poison.losses(nets[0], crowd, images, labels), poison.gradient_norms(nets[0], crowd, images, labels)
    for k, network in enumerate(nets):
        for n in range(5):
            loss = F.cross_entropy(network(images[n : n + 1]), labels[n : n + 1])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            assert torch.allclose(losses[k, n], loss, atol=1e-6)
            assert torch.allclose(norms[k, n], torch.cat([g.flatten() for g in gradients]).norm(), atol=1e-5)


def test_a_step_is_the_unrolled_one():
    nets, (images, labels) = networks(), some(5)
    moved = poison.step(nets[0], poison.stacked(nets), images, labels, 0.3)
    for k, network in enumerate(nets):
        expected = kd.unrolled.unroll(network, images, labels, torch.tensor([0.3]))
        assert all(torch.allclose(moved[name][k], expected[name], atol=1e-6) for name in expected)


def test_screening_leaves_examples_out_and_clipping_shortens_their_gradients():
    nets, (images, labels) = networks(), some(6)
    network, crowd = nets[0], poison.stacked(nets)
    flagged = torch.zeros(3, 6, dtype=torch.bool)
    flagged[1, :2], flagged[2] = True, True
    moved = poison.step(network, crowd, images, labels, 0.3, poison.screened(flagged))
    rest = poison.step(network, crowd, images[2:], labels[2:], 0.3)
    for name, weights in moved.items():
        assert torch.allclose(weights[1], rest[name][1], atol=1e-6)
        assert torch.equal(weights[2], crowd[name][2])  # nothing is left to learn from
    norms = poison.gradient_norms(network, crowd, images, labels)
    limit = norms.median()
    clipped = poison.step(network, crowd, images, labels, 0.3, poison.clipped(norms, limit))
    weights, expected = one(crowd, 0), 0.0
    for image, label in zip(images, labels):
        gradients = torch.autograd.grad(F.cross_entropy(functional_call(network, weights, (image[None],)), label[None]), list(weights.values()))
        flat = torch.cat([g.flatten() for g in gradients])
        expected = expected + flat * min(1.0, (limit / flat.norm()).item()) / 6
    change = torch.cat([(crowd[name][0] - clipped[name][0]).flatten() for name in weights]) / 0.3
    assert torch.allclose(change, expected, atol=1e-5)
    assert change.norm() <= limit + 1e-6


def test_outcome_thresholds_and_area():
    labels, said = torch.tensor([0, 0, 1, 2]), torch.tensor([[1, 0, 1, 2], [1, 1, 0, 2]])
    found = poison.outcome(said, labels, attacked=0, target=1)
    assert found["turned"].tolist() == [50, 100]
    assert found["others"].tolist() == [100, 50]
    assert found["both"].tolist() == [75, 75]
    assert poison.relabelled(labels, 0, 1).tolist() == [1, 1, 1, 2]
    clean = torch.arange(101.0)[None]
    assert poison.threshold(clean, 0.05).item() == 95
    with pytest.raises(ValueError, match="false_alarms"):
        poison.threshold(clean, 0.0)
    suspect, honest = torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0, 2.0, 5.0]])
    pairs = [(s > h) + 0.5 * (s == h) for s in suspect[0].tolist() for h in honest[0].tolist()]
    assert poison.area_under_curve(suspect, honest).item() == pytest.approx(sum(pairs) / 8)


def test_craft_lowers_the_attackers_loss_within_its_bounds():
    images, labels = some(200, seed=1)
    split = kd.Split((images * 255).byte(), labels)
    make = lambda s: kd.models.mlp(64, 12, 10, seed=s)
    crowd = poison.train_crowd(make, split, range(3), epochs=5, batch_size=20, learning_rate=1e-2)
    start = kd.Split(images[labels == 0][:4], torch.full((4,), 1))
    settings = {"attacked": 0, "target": 1, "rate": 0.5, "steps": 30, "learning_rate": 0.1, "seed": 0, "batch": 40}
    found, record = poison.craft(make(0), crowd, start, split, **settings, among=3, bounds=(0.0, 1.0))
    again, _ = poison.craft(make(0), crowd, start, split, **settings, among=3, bounds=(0.0, 1.0))
    assert torch.equal(found.images, again.images)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert torch.equal(found.labels, start.labels)
    free, record = poison.craft(make(0), crowd, start, split, **settings)
    assert sum(record[-5:]) < sum(record[:5])
    loud = poison.gradient_norms(make(0), crowd, free.images, free.labels).mean()
    quiet, _ = poison.craft(make(0), crowd, start, split, **settings, quiet=(0.5 * loud.item(), 1e9), weight=50.0)
    assert poison.gradient_norms(make(0), crowd, quiet.images, quiet.labels).mean() < 0.8 * loud
    with pytest.raises(ValueError, match="into itself"):
        poison.craft(make(0), crowd, start, split, **settings | {"target": 0})
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        poison.craft(make(0), crowd, kd.Split(start.images * float("nan"), start.labels), split, **settings)
