"""Intervals, verdicts, power and p values for paired differences over seeds and test examples.

An interval is `estimate ± t·sqrt(V)` with the two-way variance V of a paired difference over seeds and examples. Two
departures from the textbook were needed to hold the level with few seeds and rare errors: `combine` and `bounds` say
which and why, tests/test_claims.py measures them. Everything works on single studies and on batches of them.
"""

import math

import numpy as np
from scipy import stats

FEW_SEEDS = 5  # below, the interval takes its degrees of freedom from the seeds alone


def variance_parts(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean squares of a [..., S, n] array of differences over S·n: the seed (A), example (B) and residual (C) parts."""
    seeds, examples = differences.shape[-2:]
    grand = differences.mean((-2, -1), keepdims=True)
    by_seed = differences.mean(-1, keepdims=True) - grand
    by_example = differences.mean(-2, keepdims=True) - grand
    residual = differences - grand - by_seed - by_example
    seed_square = examples * (by_seed**2).sum((-2, -1)) / (seeds - 1)
    example_square = seeds * (by_example**2).sum((-2, -1)) / (examples - 1)
    residual_square = (residual**2).sum((-2, -1)) / ((seeds - 1) * (examples - 1))
    total = seeds * examples
    return seed_square / total, example_square / total, residual_square / total


def combine(seed_part, example_part, residual_part, seeds, examples, floor=0.0):
    """Variance and degrees of freedom of the mean: V = max(A + B − C, A, B, floor).

    1/df = w/(S−1) + (1−w)/(n−1) with w = max(A, C)/V. Satterthwaite squares the weights; with five seeds his df swing with A,
    and false reproductions reach 1.5 times the nominal rate (2.9 times with three seeds). Weights to the first power hold it
    from five seeds on; below that w = 1, which is always enough (Mickey & Brown 1966). `examples` None: seeds only, w = 1.
    """
    A, B, C = seed_part, example_part, residual_part
    variance = np.maximum(np.maximum(A + B - C, np.maximum(A, B)), floor)
    share = np.minimum(np.maximum(A, C) / np.where(variance > 0, variance, 1.0), 1.0)
    share = np.where((np.asarray(seeds) < FEW_SEEDS) | (examples is None), 1.0, share)
    return variance, 1 / (share / (seeds - 1) + (1 - share) / max((examples or 2) - 1, 1))


def estimate(differences: np.ndarray, *, unit: float = 0.0, over_examples: bool = True) -> dict:
    """Mean of paired differences [..., S, n], its variance, df and parts; n = 1 for a metric without per-example outcomes.

    `unit` is the most that one example can change the difference: the variance never falls below that of one discordant
    example, (unit/n)². `over_examples` False: the uncertainty of new seeds only. ValueError for fewer than 2 seeds.
    """
    seeds, examples = differences.shape[-2:]
    if seeds < 2:
        raise ValueError(f"{seeds} seed: at least 2 seeds are needed for an interval")
    mean, floor = differences.mean((-2, -1)), (unit / examples) ** 2
    if over_examples:
        A, B, C = variance_parts(differences)
        example_means = differences.mean(-2)
        third = ((example_means - mean[..., None]) ** 3).sum(-1) / examples**3
    else:
        A = differences.mean(-1).var(-1, ddof=1) / seeds
        B = C = third = np.zeros_like(A)
    variance, df = combine(A, B, C, seeds, examples if over_examples else None, floor)
    skew = third / np.where(variance > 0, variance, 1.0)
    one = np.where((variance <= floor) & over_examples, unit / examples, 0.0)  # an unseen example could fall either way
    return {"estimate": mean, "variance": variance, "df": df, "seed_part": A, "example_part": B, "residual_part": C,
            "skew_down": np.maximum(-skew, one), "skew_up": np.maximum(skew, one),
            "half_example": unit / examples / 2 if over_examples else 0.0}  # fmt: skip


def bounds(found: dict, level: float):
    """Two-sided t interval, longer by half an example (outcomes are whole ones) and on the side where examples are skewed.

    Where the rare outcome is the one that hurts (an accuracy against a floor), a lucky mean comes with a small variance: with
    8 errors expected, a plain t interval fails 3.8 times as often as it says. So that end moves out by the Cornish-Fisher
    term third moment/V·(2t² + 1)/6 (Johnson 1978), never in.
    """
    t = stats.t.ppf((1 + level) / 2, found["df"])
    reach, shift = t * np.sqrt(found["variance"]) + found["half_example"], (2 * t * t + 1) / 6
    lower = found["estimate"] - reach - shift * found["skew_down"]
    return lower, found["estimate"] + reach + shift * found["skew_up"]


def p_above(found: dict, bound: float):
    """One-sided p value against "the effect is at most `bound`": the error rate at which the lower end reaches it."""
    return _tail(found["estimate"] - bound, found["skew_down"], found)


def p_equivalent(found: dict, margin: float):
    """p value of the two one-sided tests against "the effect is `margin` or more away from 0"."""
    return np.maximum(p_above(found, -margin), _tail(margin - found["estimate"], found["skew_up"], found))


def _tail(gap, skew, found):
    error, rest = np.sqrt(found["variance"]), gap - found["half_example"] - skew / 6
    root = np.sqrt(error**2 + 4 / 3 * skew * np.maximum(rest, 0))  # of gap = half + t·error + skew·(2t² + 1)/6
    return stats.t.sf(2 * rest / np.maximum(error + root, 1e-300), found["df"])


def decide(test: str, bound: float, lower: float, upper: float) -> tuple[str, str]:
    """Verdict and direction of one contrast from its interval (the table of tests/test_claims.py)."""
    direction = "shown" if lower > 0 else "reversed" if upper < 0 else "not shown"
    if test == "equivalent":
        inside, outside = -bound < lower and upper < bound, lower > bound or upper < -bound
        return "REPRODUCED" if inside else "REFUTED" if outside else "INCONCLUSIVE", direction
    if lower > bound:
        return "REPRODUCED", direction
    if upper < bound:
        return "SMALLER" if lower > 0 else "REFUTED", direction
    return "INCONCLUSIVE", direction


def conjunction(verdicts: list[str]) -> str:
    """The verdict of a claim whose contrasts must all hold."""
    if set(verdicts) == {"REPRODUCED"}:
        return "REPRODUCED"
    return next(word for word in ("REFUTED", "INCONCLUSIVE", "SMALLER") if word in verdicts)


def _chance(gap, variance, df, skew, level):
    t, error = stats.t.ppf((1 + level) / 2, df), np.sqrt(variance)  # noncentral t, by its usual normal approximation
    critical = t + skew * (2 * t * t + 1) / 6 / error
    return stats.norm.cdf((gap / error - critical) / np.sqrt(1 + critical**2 / (2 * df)))


def power(effect, bound, *, seed_sd, example_sd, residual_sd, seeds, examples, level) -> float:
    """Predicted probability that the lower end of the interval exceeds `bound`, from the three standard deviations."""
    number = examples or math.inf  # None: a metric without per-example outcomes
    C = residual_sd**2 / (seeds * number)
    variance, df = combine(seed_sd**2 / seeds + C, example_sd**2 / number + C, C, seeds, examples)
    return float(_chance(effect - bound, variance, df, 0.0, level))


def seeds_to_decide(test: str, bound: float, found: dict, seeds: int, examples: int | None, level: float) -> int | None:
    """Fewest seeds (at most 1000) with 80 % power for the decided side the estimate lies on, if estimate and parts hold.

    None when no number of seeds can: the test examples alone leave too much doubt, or the estimate lies on the bound.
    """
    number = np.arange(2, 1001)
    A, C = found["seed_part"] * seeds / number, found["residual_part"] * seeds / number
    B = max(found["example_part"] - found["residual_part"], 0.0) + C
    variance, df = combine(A, B if examples else 0 * B, C, number, examples)
    variance = np.maximum(variance, 1e-300)
    down, up = (found[side] * found["variance"] / variance for side in ("skew_down", "skew_up"))
    value, half = found["estimate"], found["half_example"]
    if test == "equivalent" and abs(value) <= bound:
        chance = _chance(bound + value - half, variance, df, down, level) - 1
        chance += _chance(bound - value - half, variance, df, up, level)
    else:
        gap = abs(value) - bound if test == "equivalent" else abs(value - bound)
        rising = value > 0 if test == "equivalent" else value > bound
        chance = _chance(gap - half, variance, df, down if rising else up, level)
    return int(number[np.argmax(chance >= 0.8)]) if (chance >= 0.8).any() else None


def holm(p_values) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0))
    return adjusted[np.argsort(order, kind="stable")].tolist()
