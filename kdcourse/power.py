"""How much seeds can see: smallest effects, seeds needed, and the floor that the test examples set.

The mean of S paired differences has the variance V(S) = seed_sd²/S + example_error². The first term is what seeds and the noise of single
answers add, and more seeds shrink it; the second is what another test set would change, and no seed shrinks it (Westfall, Kenny & Judd
2014). This module only predicts: verdicts come from `inference`, whose intervals it uses. `power_page` shows what it finds.
"""

import math
import statistics
from dataclasses import dataclass

import numpy as np
from scipy import stats

from kdcourse import claims, inference

MOST = 10**9  # more seeds than that are called never
QUANTILES, WEIGHTS = ((part + shift) / 2 for part, shift in zip(np.polynomial.legendre.leggauss(96), (1, 0)))


# ---- statistics -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """What decides how much seeds can see of a paired difference, all in the unit of the claim.

    `seed_sd`: its standard deviation over seeds, each measured on the same test examples. `example_error`: the standard error that the
    `examples` leave with infinitely many seeds; None examples: an interval over seeds alone. The others are details of the
    interval: the part of `seed_sd` that is noise of single answers, half of what one example can change, and the skewness of the mean over examples.
    """

    seed_sd: float
    example_error: float = 0.0
    examples: int | None = None
    noise_sd: float = 0.0
    half_example: float = 0.0
    skewness: tuple[float, float] = (0.0, 0.0)

    def shares(self, seeds: int) -> tuple[float, float, float]:
        """The parts of V(seeds), adding up to 1: between seeds, noise of single answers, test examples."""
        noise, all_seeds, examples = self.noise_sd**2 / seeds, self.seed_sd**2 / seeds, self.example_error**2
        total = all_seeds + examples
        return ((all_seeds - noise) / total, noise / total, examples / total) if total else (0.0, 0.0, 0.0)


def spread(found: dict, seeds: int, examples: int | None = None) -> Spread:
    """The Spread behind an `inference.estimate` of `seeds` seeds; `examples` None: new seeds only.

    The expected mean squares over S·n are A = a²/S + c²/(S·n), B = b²/n + c²/(S·n) and C = c²/(S·n) for standard deviations a of
    seeds, b of examples and c of single answers: A·S is what one seed varies by, B − C what infinitely many seeds leave.
    """
    A, B, C = (max(float(found[part]), 0.0) for part in ("seed_part", "example_part", "residual_part"))
    sizes = (float(found[side] * found["variance"]) for side in ("skew_down", "skew_up"))
    skewness = tuple(size / B**1.5 if B > 0 else 0.0 for size in sizes)
    half = float(found["half_example"])
    return Spread(math.sqrt(seeds * max(A, C)), math.sqrt(max(B - C, 0)), examples, math.sqrt(seeds * C), half, skewness)


def predict(known: Spread, seeds) -> dict:
    """What `inference.estimate` would find with `seeds` seeds (2 or more, also infinitely many; an array too), about 0."""
    seeds, least = np.asarray(seeds, dtype=float), 2 * known.half_example
    if not (seeds >= 2).all():
        raise ValueError(f"{seeds.min():g} seeds: at least 2 are needed for an interval")
    with np.errstate(divide="ignore"):  # infinitely many seeds, infinitely many degrees of freedom
        within, across = known.seed_sd**2 / seeds, known.example_error**2
        variance, df = inference.combine(within, across, 0.0, seeds, known.examples, least**2)
    return _found(known, seeds, variance, df)


def _found(known: Spread, seeds, variance, df) -> dict:
    """An estimate of 0 with the skewness of its examples, in the form that `inference.bounds` reads."""
    least = 2 * known.half_example
    third = (known.example_error**2 + known.noise_sd**2 / seeds) ** 1.5 / np.where(variance > 0, variance, 1.0)
    one = np.where(variance <= least**2, least, 0.0)
    down, up = (np.maximum(side * third, one) for side in known.skewness)
    found = {"estimate": 0.0, "variance": variance, "df": df, "half_example": known.half_example}
    return found | {"skew_down": down, "skew_up": up}


def half_width(known: Spread, seeds, level: float = 0.95):
    """Half the expected length of the interval with `seeds` seeds: an effect of that size is seen every other time."""
    lower, upper = inference.bounds(predict(known, seeds), level)
    return (upper - lower) / 2


def chance(effect, known: Spread, seeds, *, bound: float = 0.0, test: str = "greater", level: float = 0.95):
    """Probability that `seeds` seeds tell a true `effect` from `bound`: the interval ends on the effect's side of it.

    `test` "equivalent": the whole interval lies within ±bound, or outside of it where the effect does. The mean is normal, the
    seed part it is judged by a chi-square over S − 1 times its expectation, and the interval that of `inference`; summed over the
    latter's quantiles. With seeds alone that is the noncentral t.
    """
    seeds = np.asarray(seeds, dtype=float)[..., None]
    found = _studies(known, seeds)
    lower, upper = inference.bounds(found, level)
    error = np.maximum(np.sqrt(known.seed_sd**2 / seeds + known.example_error**2), 1e-150)

    def beyond(gap, reach):
        return (WEIGHTS * stats.norm.sf((reach - gap) / error)).sum(-1)

    if test == "equivalent" and abs(effect) <= bound:
        return np.maximum(beyond(bound + effect, -lower) + beyond(bound - effect, upper) - 1, 0.0)
    gap, rising = (abs(effect) - bound, effect > 0) if test == "equivalent" else (abs(effect - bound), effect > bound)
    return beyond(gap, -lower if rising else upper)


def _studies(known: Spread, seeds) -> dict:
    """What studies at the quantiles of their seed part would find, about 0, one a column."""
    freedom = np.minimum(seeds - 1, 1e9)
    across, noise, least = known.example_error**2, known.noise_sd**2 / seeds, 2 * known.half_example
    within = known.seed_sd**2 / seeds * stats.chi2.ppf(QUANTILES, freedom) / freedom
    with np.errstate(divide="ignore"):
        variance, df = inference.combine(within, across + noise, noise, seeds, known.examples, least**2)
    return _found(known, seeds, variance, df)


def seeds_for(effect, known: Spread, *, bound=0.0, test="greater", level=0.95, wanted=0.8) -> int | None:
    """Fewest seeds that tell `effect` from `bound` with the chance `wanted`; None where no number of seeds does."""

    def enough(seeds):
        return chance(effect, known, seeds, bound=bound, test=test, level=level) >= wanted

    if not enough(math.inf):
        return None
    few = np.arange(2, 41)
    if (found := enough(few)).any():
        return int(few[np.argmax(found)])
    low, high = 40, 80
    while not enough(high):
        low, high = high, 2 * high
        if low > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def seeds_needed(
    effect: float,
    seed_sd: float,
    example_error: float = 0.0,
    *,
    examples: int | None = None,
    bound: float = 0.0,
    test: str = "greater",
    level: float = 0.95,
    wanted: float = 0.8,
    half_example: float = 0.0,
) -> int | None:
    """Fewest seeds with which an effect of this size is told from `bound` with the chance `wanted`, or None: never.

    `effect`, `seed_sd`, `example_error` and `bound` share one unit, say errors of 10,000. `seed_sd` is the standard deviation of the
    paired difference over seeds; `example_error` the standard error that the `examples` leave however many seeds there are (0 and None: seeds
    alone, the power of a paired t test); `half_example` half of what one example changes (0.5 for errors of 10,000), by which
    intervals are longer. `test` "equivalent" asks for an interval within ±bound, so `effect` may be 0.
    The power of a t test (Cohen 1988, chapter 2) on the two-way variance of Westfall, Kenny & Judd 2014. ValueError for numbers that cannot be.
    """
    if not math.isfinite(effect):
        raise ValueError(f"effect is {effect}; expected a finite number")
    sizes = {"seed_sd": seed_sd, "example_error": example_error, "bound": bound, "half_example": half_example}
    for name, value in sizes.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value}; expected a finite number of at least 0")
    for name, value in (("level", level), ("wanted", wanted)):
        if not 0 < value < 1:
            raise ValueError(f"{name} is {value}; expected a probability between 0 and 1")
    if test not in ("greater", "equivalent"):
        raise ValueError(f"test is {test!r}; expected 'greater' or 'equivalent'")
    if (examples is None and example_error > 0) or (examples is not None and examples < 2):
        raise ValueError(f"examples is {examples} with example_error {example_error}; expected how many test examples, 2 or more")
    known = Spread(float(seed_sd), float(example_error), examples, half_example=float(half_example))
    return seeds_for(effect, known, bound=bound, test=test, level=level, wanted=wanted)


def smallest_effect(spread_at, seeds, *, level: float = 0.95, wanted: float = 0.8) -> float:
    """The least effect told from 0 with the chance `wanted`; `spread_at(effect)` is its Spread, as spreads grow with gaps."""

    def enough(effect):
        return chance(effect, spread_at(effect), seeds, level=level) >= wanted

    high = 1e-6
    while not enough(high):
        high *= 2
    low = high / 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class Typical:
    """The usual spread of differences between arms in one metric: medians over the recorded contrasts.

    A gap is made of examples on which two arms differ. If each of them changes for good, a gap of e errors among 10,000 images has the
    example part e errors²; `per_gap` is the measured ratio of the two.
    """

    unit: str
    contrasts: int
    seed_sd: float
    per_gap: float = 0.0
    examples: int | None = None
    scale: float = 0.0

    def at(self, effect: float) -> Spread:
        """The Spread to expect of a gap of this size."""
        each = self.scale / self.examples if self.examples else 0.0
        return Spread(self.seed_sd, math.sqrt(self.per_gap * each * abs(effect)), self.examples, half_example=each / 2)


# ---- what the records hold ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One recorded contrast: its record, its part of it, and its Spread, None where there is nothing to infer from."""

    record: dict
    part: dict
    spread: Spread | None

    @property
    def name(self) -> str:
        return f"{self.record['claim']['id']}: {self.part['expression']}"

    def effects(self) -> dict[str, float]:
        """The effects to ask for: published, ours, and none at all for an equivalence."""
        found = {"published": published_effect(self.record["claim"], self.part["expression"]), "ours": self.part["estimate"]}
        found |= {"none": 0.0} if self.part["test"] == "equivalent" else {}
        return {kind: effect for kind, effect in found.items() if effect is not None}

    def seeds(self, effect: float, *, from_zero: bool = False) -> int | None:
        """Seeds that tell `effect` from the claim's bound, or from 0, at the claim's level."""
        aim = {} if from_zero else {"bound": self.part["bound"], "test": self.part["test"]}
        return seeds_for(effect, self.spread, **aim, level=self.part["level"])


def published_effect(claim: dict, expression: str) -> float | None:
    """A contrast of published numbers, in the unit of the claim; None where an arm has none, or one that is no accuracy."""
    weights, constant = claims.parse_expression(expression)
    numbers = claim["published"]
    if not set(weights) <= set(numbers) - {"note"}:
        return None
    if claim["metric"] == "accuracy" and not all(0 <= numbers[arm] <= 1 for arm in weights):
        return None
    return constant + sum(weight * numbers[arm] for arm, weight in weights.items())


def read_spread(record: dict, part: dict) -> Spread | None:
    """The Spread of one contrast of a record; None where every seed gave the same number."""
    if part["lower"] is None:
        return None
    claim, half = record["claim"], 0.0
    over_examples = claim["resampling"] == "seeds and examples" and claim.get("target", "new examples") == "new examples"
    examples = record["examples"] if over_examples else None
    if examples:
        weights, _ = claims.parse_expression(part["expression"])
        half = claims.PER_EXAMPLE[claim["metric"]][0] * max(map(abs, weights.values())) / examples / 2
    t = float(stats.t.ppf((1 + part["level"]) / 2, part["df"]))
    reach, shift = t * part["standard_error"] + half, (2 * t * t + 1) / 6
    ends = {"skew_down": part["estimate"] - part["lower"], "skew_up": part["upper"] - part["estimate"]}
    skews = {side: max(end - reach, 0.0) / shift for side, end in ends.items()}
    return spread({**part, "variance": part["standard_error"] ** 2, "half_example": half, **skews}, len(record["seeds"]), examples)


def rows(records, ledger=None) -> list[Row]:
    """Every judged contrast of the records, in their order; published numbers as the `ledger` has them now, where it is given."""
    found = []
    for record in records:
        claim = record["claim"]
        if ledger:  # a citation may be corrected after the record
            record = {**record, "claim": {**claim, "published": ledger[claim["id"]].published}}
        found += [Row(record, part, read_spread(record, part)) for part in record["contrasts"]]
    return found


def typical(found: list[Row]) -> list[Typical]:
    """One Typical a unit, from the contrasts that are differences of arms."""
    by_unit: dict[str, list[Row]] = {}
    for row in found:
        weights, _ = claims.parse_expression(row.part["expression"])
        if row.spread and abs(sum(weights.values())) < 1e-9:
            by_unit.setdefault(row.record["unit"], []).append(row)
    return [_typical(unit, mine) for unit, mine in by_unit.items()]


def _typical(unit: str, mine: list[Row]) -> Typical:
    seed_sd = statistics.median(row.spread.seed_sd for row in mine)
    over_examples = [row for row in mine if row.spread.examples]
    if not over_examples:
        return Typical(unit, len(mine), seed_sd)
    scale = claims.PER_EXAMPLE[over_examples[0].record["claim"]["metric"]][0]
    ratios = []
    for row in over_examples:
        gap = abs(row.part["estimate"] - claims.parse_expression(row.part["expression"])[1])
        ratios += [row.spread.example_error**2 * row.spread.examples / scale / gap] if gap else []
    examples = statistics.mode(row.spread.examples for row in over_examples)
    return Typical(unit, len(mine), seed_sd, statistics.median(ratios or [1.0]), examples, scale)
