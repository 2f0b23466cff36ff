"""Checks of lesson 13, poison and privacy."""

import math

import torch
import torch.nn.functional as F

from kdcourse.checks.compare import compare


def _numbers(*shape, seed: int):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norms_of_each(function) -> bool:
    """Exercise: the length of every example's own gradient, [N], for a linear network with weights [D, K]."""
    weights, images, labels = 0.5 * _numbers(6, 3, seed=1), _numbers(5, 6, seed=2), torch.tensor([0, 2, 1, 1, 0])
    error = F.softmax(images @ weights, dim=1) - F.one_hot(labels, 3)
    each = images[:, :, None] * error[:, None]  # [N, D, K]
    norms = each.flatten(1).norm(dim=1)
    return compare(
        lambda: function(weights.clone(), images.clone(), labels),
        norms,
        {
            "That is the squared length: take the root.": norms**2,
            "Divided by the number of examples: that is each example's part of the mean gradient, and a batch of fifty would hide it.": norms / len(labels),
            "That is the sum of the absolute values; a length is the root of the sum of squares.": each.flatten(1).abs().sum(dim=1),
            "That is the longest row of each gradient; flatten the weights before you take the norm.": each.norm(dim=2).amax(dim=1),
            "That is the loss of each example; its gradient's length is asked for.": F.cross_entropy(images @ weights, labels, reduction="none"),
        },
    )


def attackers_loss(function) -> bool:
    """Exercise: what an attacker minimises, given the victim's logits [N, K] after the step."""
    logits, labels = _numbers(8, 4, seed=3), torch.tensor([0, 1, 2, 3, 1, 1, 0, 2])
    attacked, target = 1, 3
    wanted = torch.where(labels == attacked, target, labels)
    hit = labels == attacked
    swapped = torch.where(labels == target, attacked, labels)
    both = torch.where(labels == attacked, target, torch.where(labels == target, attacked, labels))
    return compare(
        lambda: function(logits.clone(), labels.clone(), attacked, target),
        F.cross_entropy(logits, wanted),
        {
            "That asks only about the attacked class. Then the cheapest way is to call everything the target, and the victim's owner notices.": F.cross_entropy(
                logits[hit], wanted[hit]
            ),
            "Every image is to be called the target: the other classes shall keep their answers.": F.cross_entropy(logits, torch.full_like(labels, target)),
            "Those are the true labels: that is the owner's loss.": F.cross_entropy(logits, labels),
            "The classes are exchanged: it is `attacked` that becomes `target`.": F.cross_entropy(logits, swapped),
            "Both classes change places there; images of the target class shall stay what they are.": F.cross_entropy(logits, both),
            "The sign is turned: that loss grows when the attack succeeds.": -F.cross_entropy(logits, wanted),
        },
    )


# ---- privacy ----------------------------------------------------------------------------------------------------------


def found_at(function) -> bool:
    """The share of members above the threshold that a given share of the others passes."""
    draw = torch.Generator().manual_seed(0)
    members, others = torch.randn(500, generator=draw, dtype=torch.float64) + 1, torch.randn(310, generator=draw, dtype=torch.float64)
    share = 0.05

    def above(threshold, scores):
        return (scores > threshold).double().mean()

    allowed = int(share * len(others))
    threshold = others.sort(descending=True).values[allowed]
    everyone = torch.cat([members, others]).sort(descending=True).values
    return compare(
        lambda: function(members.clone(), others.clone(), share),
        above(threshold, members),
        {
            "The threshold comes from the members' own scores; then the answer is the share you asked for, whatever the attack is worth.": above(
                members.sort(descending=True).values[int(share * len(members))], members
            ),
            "The threshold comes from the lower end: nearly all others pass it. Sort them from the highest down.": above(
                others.sort().values[allowed], members
            ),
            "That is the share of the others above the threshold; it was fixed beforehand. The share of the members is asked for.": above(threshold, others),
            "The threshold comes from everyone's scores; then a good attack is punished, as its members fill the upper end.": above(
                everyone[int(share * len(everyone))], members
            ),
            "That is the share of the members below the threshold, those who stay hidden.": 1 - above(threshold, members),
        },
    )


def privacy_price(function) -> bool:
    """ε from the noise, the number of steps and δ."""
    noise, steps, delta = 8.0, 40, 1e-5
    rho, log = steps / (2 * noise**2), math.log(1 / delta)
    return compare(
        lambda: function(noise, steps, delta),
        rho + 2 * math.sqrt(rho * log),
        {
            "The steps are missing from ρ: every step looks at the data once more, and each costs 1/(2σ²).": 1 / (2 * noise**2)
            + 2 * math.sqrt(log / (2 * noise**2)),
            "The noise enters ρ squared.": steps / (2 * noise) + 2 * math.sqrt(steps / (2 * noise) * log),
            "ρ is steps/(2σ²); the 2 is missing.": 2 * rho + 2 * math.sqrt(2 * rho * log),
            "The factor 2 before the root is missing.": rho + math.sqrt(rho * log),
            "ρ itself is missing from the sum.": 2 * math.sqrt(rho * log),
            "ln(1/δ), not log10: the natural logarithm.": rho + 2 * math.sqrt(rho * math.log10(1 / delta)),
            "That is ρ; the step from ρ to ε is missing.": rho,
        },
    )
