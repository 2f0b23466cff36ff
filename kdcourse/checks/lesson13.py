"""Checks of lesson 13, poison and privacy."""

import math

import torch

from kdcourse.checks.compare import compare

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
