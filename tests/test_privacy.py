"""Privacy: every shortcut against something that was written another way, and the account of the noise against numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy import integrate, optimize, stats

from kdcourse import privacy
from kdcourse.data import Split
from kdcourse.models import stream


def numbers(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ---- worlds ----


def test_memberships_are_coins():
    members = privacy.memberships(64, 1000, 3)
    assert members.dtype == torch.bool
    assert abs(members.float().mean() - 0.5) < 0.01
    assert torch.equal(members, privacy.memberships(64, 1000, 3))
    assert not torch.equal(members, privacy.memberships(64, 1000, 4))
    assert members.sum(dim=1).unique().numel() > 1  # no halves of equal size
    with pytest.raises(ValueError, match="3 worlds"):
        privacy.memberships(3, 10, 0)


def test_drawn_are_members_of_their_class_and_differ():
    members, labels = privacy.memberships(8, 200, 0), torch.arange(200) % 4
    drawn = privacy.drawn(members, labels, 5, 0)
    assert drawn.shape == (8, 20)
    assert members.gather(1, drawn).all()
    assert torch.equal(labels[drawn], torch.arange(4).repeat_interleave(5).expand(8, 20))
    assert all(len(row.unique()) == 20 for row in drawn)
    with pytest.raises(ValueError, match="per_class is 60"):
        privacy.drawn(members, labels, 60, 0)


def test_gathered_holds_every_member_once():
    members = privacy.memberships(6, 50, 1)
    index, counts = privacy.gathered(members)
    for row, count, mine in zip(index, counts, members):
        assert sorted(row[count].tolist()) == mine.nonzero().flatten().tolist()


# ---- networks ----


def alone(weights, world, images):
    return F.relu(images @ weights[0][world] + weights[1][world]) @ weights[2][world] + weights[3][world]


def test_worlds_answer_as_they_would_alone():
    weights, shared, own = privacy.newborn(3, (6, 5, 4), 0), numbers(7, 6), numbers(3, 7, 6)
    assert all((w.abs() <= 1 / math.sqrt(n)).all() for w, n in zip(weights, (6, 6, 5, 5)))
    for world in range(3):
        assert torch.allclose(privacy.logits(weights, shared)[world], alone(weights, world, shared), atol=1e-6)
        assert torch.allclose(privacy.logits(weights, own)[world], alone(weights, world, own[world]), atol=1e-6)


def by_autograd(weights, world, images, labels, counts, steps, rate, clip, noise, size, seed):
    """One world with torch's Adam, every image's gradient by itself."""
    parameters = [w[world].clone().requires_grad_() for w in weights]
    optimiser, generator = torch.optim.Adam(parameters, lr=rate), stream(seed, "noise")
    for step in range(steps):
        total = [torch.zeros_like(p) for p in parameters]
        for image, label, count in zip(images, labels, counts):
            if not count:
                continue
            loss = F.cross_entropy(alone([p[None] for p in parameters], 0, image[None]), label[None])
            gradient = torch.autograd.grad(loss, parameters)
            length = torch.cat([g.flatten() for g in gradient]).norm()
            for t, g in zip(total, gradient):
                t += g * min(1.0, clip / length.item())
        for p, t, w in zip(parameters, total, weights):
            if noise:
                t += noise * clip * torch.randn(w.shape, generator=generator)[world]
            p.grad = t / (size or int(counts.sum()))
        optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimiser.step()
    return [p.detach() for p in parameters]


@pytest.mark.parametrize(("clip", "noise", "size"), [(math.inf, 0.0, None), (0.4, 0.0, 5.0), (0.4, 0.3, 5.0)])
def test_descent_is_adam_on_clipped_noisy_sums(clip, noise, size):
    weights = privacy.newborn(3, (6, 5, 4), 0)
    images, labels, counts = numbers(3, 8, 6), torch.arange(24).view(3, 8) % 4, numbers(3, 8, seed=1) < 0.7
    settings = {"clip": clip, "noise": noise, "size": size, "seed": 2}
    found = privacy.descend(weights, images, labels, counts=counts, steps=6, learning_rate=0.05, **settings)
    for world in range(3):
        wanted = by_autograd(weights, world, images[world], labels[world], counts[world], 6, 0.05, **settings)
        for ours, theirs in zip(found, wanted):
            assert torch.allclose(ours[world], theirs, atol=2e-4)


def test_images_that_do_not_count_do_not_matter_and_weights_are_left_alone():
    weights = privacy.newborn(4, (6, 5, 3), 0)
    before = [w.clone() for w in weights]
    images, labels, counts = numbers(4, 8, 6), torch.arange(32).view(4, 8) % 3, numbers(4, 8, seed=1) < 0.7
    settings = {"steps": 5, "learning_rate": 0.1, "counts": counts, "clip": 0.5, "size": 4.0}
    first = privacy.descend(weights, images, labels, **settings)
    second = privacy.descend(weights, torch.where(counts[..., None], images, 9.0), labels, **settings)
    assert all(torch.equal(a, b) for a, b in zip(first, second))
    assert all(torch.equal(a, b) for a, b in zip(before, weights))


def test_noise_needs_a_clip_and_a_public_size():
    weights, images, labels = privacy.newborn(4, (6, 5, 3), 0), numbers(4, 8, 6), torch.zeros(4, 8, dtype=torch.int64)
    for wrong in ({"clip": math.inf, "size": 4.0}, {"clip": 1.0, "size": None}, {"clip": 0.0, "size": 4.0}):
        with pytest.raises(ValueError, match="finite clip"):
            privacy.descend(weights, images, labels, steps=1, learning_rate=0.1, noise=1.0, **wrong)


def test_accuracy_counts_right_answers():
    split = Split((255 * numbers(30, 1, 2, 3)).to(torch.uint8), torch.arange(30) % 4)
    weights = privacy.newborn(3, (6, 5, 4), 0)
    answers = torch.stack([alone(weights, w, split.images.flatten(1) / 255).argmax(dim=1) for w in range(3)])
    assert torch.allclose(privacy.accuracy(weights, split), (answers == split.labels).float().mean(dim=1))


# ---- distilled sets ----


def test_sets_match_the_mean_features_of_their_own_world():
    images, labels, members = numbers(120, 9), torch.arange(120) % 3, privacy.memberships(5, 120, 0)
    images = (0.3 * images + 0.2 * F.one_hot(labels, 9)).clamp(0, 1)
    start = numbers(5, 6, 9, seed=1)
    settings = {"steps": 60, "learning_rate": 0.05, "width": 32, "seed": 0}
    made = privacy.condense_worlds(images, labels, members, start, **settings)
    assert made.min() >= 0
    assert made.max() <= 1
    layer, bias = torch.randn(9, 40, generator=torch.Generator().manual_seed(5)), 0.1

    def distance(sets, world, whose):
        found = [F.relu(sets[world, 2 * k : 2 * k + 2] @ layer + bias).mean(dim=0) for k in range(3)]
        wanted = [F.relu(images[whose & (labels == k)] @ layer + bias).mean(dim=0) for k in range(3)]
        return sum((a - b).square().sum() for a, b in zip(found, wanted))

    for world in range(5):
        assert distance(made, world, members[world]) < 0.05 * distance(start, world, members[world])
    own = sum(distance(made, w, members[w]) for w in range(5))
    assert own < sum(distance(made, w, members[w - 1]) for w in range(5))
    alone = privacy.condense_worlds(images, labels, members[2:3], start[2:3], **settings)
    assert torch.allclose(alone[0], made[2], atol=1e-4)


# ---- the attack ----


def test_logit_confidence_is_the_log_of_the_odds():
    logits, labels = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    p = logits.softmax(dim=1)[torch.arange(5), labels]
    assert torch.allclose(privacy.logit_confidence(logits, labels), torch.log(p / (1 - p)))
    stacked = privacy.logit_confidence(torch.stack([logits, -logits]), labels)
    assert torch.allclose(stacked[1], privacy.logit_confidence(-logits, labels))
    assert privacy.logit_confidence(torch.tensor([[200.0, 0.0]]), torch.tensor([0])).item() == 200


def worlds_with_a_leak(worlds, candidates, leak, seed=0):
    members = privacy.memberships(worlds, candidates, seed)
    x = torch.randn(worlds, candidates, generator=stream(seed, "x")) + 3 * torch.randn(candidates, generator=stream(seed, "easy"))
    return x + leak * members, members


def test_ratios_without_shrinking_against_two_fitted_normals():
    x, members = worlds_with_a_leak(12, 40, 0.7)
    found = privacy.likelihood_ratios(x, members, shrink=False)
    for target in (0, 7):
        rest = torch.arange(12) != target
        logs = []
        for chosen in (members, ~members):
            samples = [x[rest & chosen[:, i], i].double().numpy() for i in range(40)]
            variance = sum(((s - s.mean()) ** 2).sum() for s in samples) / sum(len(s) - 1 for s in samples)
            logs.append([stats.norm.logpdf(x[target, i].item(), s.mean(), variance**0.5) for i, s in enumerate(samples)])
        assert found[target].tolist() == pytest.approx([a - b for a, b in zip(*logs)], abs=1e-6)


@pytest.mark.parametrize("shrink", [True, False])
def test_the_attacked_world_teaches_nothing(shrink):
    x, members = worlds_with_a_leak(16, 60, 0.5)
    flipped = members.clone()
    flipped[5] = ~flipped[5]
    before, after = (privacy.likelihood_ratios(x, m, shrink)[5] for m in (members, flipped))
    assert torch.allclose(before, after)


@pytest.mark.parametrize("shrink", [True, False])
def test_the_attack_finds_a_leak_and_nothing_where_there_is_none(shrink):
    areas = {}
    for leak in (0.0, 1.0):
        found = []
        for seed in range(8):
            x, members = worlds_with_a_leak(24, 400, leak, seed)
            found.append(privacy.area_under_curve(privacy.likelihood_ratios(x, members, shrink), members).mean().item())
        areas[leak] = sum(found) / 8
    assert areas[0.0] == pytest.approx(0.5, abs=0.006)
    assert areas[1.0] == pytest.approx(stats.norm.cdf(1 / 2**0.5), abs=0.03)  # what knowing both means would give


def test_shrinking_helps_where_little_leaks():
    x, members = worlds_with_a_leak(24, 2000, 0.15)
    shrunk, plain = (privacy.area_under_curve(privacy.likelihood_ratios(x, members, s), members).mean() for s in (True, False))
    assert shrunk > plain + 0.01


def test_ratios_refuse_what_they_cannot_use():
    x, members = worlds_with_a_leak(8, 30, 0.0)
    members[:, 4] = False
    with pytest.raises(ValueError, match="too few worlds"):
        privacy.likelihood_ratios(x, members)
    with pytest.raises(ValueError, match="expected \\[W, N\\]"):
        privacy.likelihood_ratios(x[:, :3], members)


def test_area_against_the_rank_test():
    scores, members = (4 * numbers(6, 50)).round(), privacy.memberships(6, 50, 0)
    counted = numbers(6, 50, seed=3) < 0.5
    for asked in (None, counted):
        found = privacy.area_under_curve(scores, members, asked)
        for world in range(6):
            mine = members[world] if asked is None else members[world] & asked[world]
            a, b = scores[world, mine].numpy(), scores[world, ~members[world]].numpy()
            assert found[world].item() == pytest.approx(stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    with pytest.raises(ValueError, match="no member"):
        privacy.area_under_curve(scores, members, torch.zeros_like(members))


def test_members_found_at_a_rate():
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0], [9.0, 1.0, 8.0, 0.0]])
    members = torch.tensor([[True, False, True, False], [True, False, True, False]])
    assert privacy.true_positive_rate(scores, members, 0.0) == 0.75  # above 4, the highest of the others
    assert privacy.true_positive_rate(scores, members, 0.25) == 1.0
    assert privacy.true_positive_rate(scores, members, 1.0) == 1.0


# ---- the account ----


def test_rho_against_numeric_divergences():
    noise, steps = 1.7, 3
    for order in (1.5, 2.0, 6.0):

        def density(x, order=order):
            return math.exp(order * stats.norm.logpdf(x, 1, noise) + (1 - order) * stats.norm.logpdf(x, 0, noise))

        divergence = math.log(integrate.quad(density, -40, 60)[0]) / (order - 1)
        assert steps * divergence == pytest.approx(order * privacy.privacy_spent(noise, steps), rel=1e-5)


@pytest.mark.parametrize("rho", [0.01, 0.15, 2.4])
def test_epsilon_against_the_best_order_and_the_exact_mechanism(rho):
    delta = 1e-5
    best = optimize.minimize_scalar(lambda log: rho * (1 + math.exp(log)) + math.log(1 / delta) / math.exp(log), bounds=(-10, 20), method="bounded")
    assert privacy.epsilon(rho, delta) == pytest.approx(best.fun, rel=1e-6)
    shift = math.sqrt(2 * rho)  # all steps together are one normal observation

    def exact(epsilon):
        return stats.norm.cdf(shift / 2 - epsilon / shift) - math.exp(epsilon) * stats.norm.cdf(-shift / 2 - epsilon / shift)

    tight = optimize.brentq(lambda e: exact(e) - delta, 0, 100)
    assert 0.7 * privacy.epsilon(rho, delta) < tight < privacy.epsilon(rho, delta)


def test_no_attack_passes_the_line():
    for rho in (0.0, 0.15, 2.4):
        shift = math.sqrt(2 * rho)
        area = integrate.quad(lambda y, shift=shift: stats.norm.pdf(y, shift) * stats.norm.cdf(y), -12, 16)[0]
        assert privacy.largest_area(rho) == pytest.approx(area, abs=1e-7)


def test_the_account_refuses_nonsense():
    for call in (lambda: privacy.privacy_spent(0, 3), lambda: privacy.privacy_spent(1, -1), lambda: privacy.epsilon(-1, 0.1), lambda: privacy.epsilon(1, 0)):
        with pytest.raises(ValueError, match="expected"):
            call()
