"""Claims and their verdicts: the ledger, the statistics of paired seeds and shared test examples, and the records.

An interval is `estimate ± t·sqrt(V)` with the two-way variance V of a paired difference over seeds and examples.
Two departures from the textbook were needed to hold the level with few seeds and rare errors; `estimate` and
`bounds` say which and why, tests/test_claims.py measures them.
"""

import ast
import base64
import hashlib
import html
import json
import math
import re
import tomllib
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import stats

from kdcourse import lesson

PER_EXAMPLE = {"errors": (10_000.0, "errors per 10,000"), "accuracy": (1.0, "accuracy")}
CHOICES = {
    "kind": ("primary", "exploratory"),
    "resampling": ("seeds and examples", "seeds"),
    "target": ("new examples", "these examples"),
    "protocol": ("direct", "conceptual"),
}
REQUIRED = ("id", "lesson", "kind", "statement", "metric", "resampling", "paired", "protocol", "source", "contrasts")
DEFAULTS = {"target": "new examples", "outcome": "correct", "published": {}}
FEW_SEEDS = 5  # below, the interval takes its degrees of freedom from the seeds alone


@dataclass(frozen=True)
class Contrast:
    """A linear expression in arm means that must be `greater` than a bound, or `equivalent` to 0 within it."""

    expression: str
    test: str
    bound: float


@dataclass(frozen=True)
class Claim:
    """One entry of the ledger; its fields are those of claims.toml."""

    id: str
    lesson: str
    kind: str
    statement: str
    metric: str
    resampling: str
    paired: tuple[str, ...]
    protocol: str
    source: str
    contrasts: tuple[Contrast, ...]
    target: str = "new examples"
    outcome: str = "correct"
    published: dict = field(default_factory=dict)

    def entry(self) -> dict:
        """The claim as plain JSON types, as it stands in the ledger."""
        contrasts = [{"expression": c.expression, c.test: c.bound} for c in self.contrasts]
        return {**vars(self), "paired": list(self.paired), "contrasts": contrasts, "published": dict(self.published)}

    def arms(self) -> list[str]:
        """The arms its contrasts name, in order of appearance."""
        return list(dict.fromkeys(arm for c in self.contrasts for arm in parse_expression(c.expression)[0]))


# ---- the ledger ----


def parse_expression(expression: str) -> tuple[dict[str, float], float]:
    """Weights of the arms and the constant of a linear expression such as "hard - 0.8*soft - 10".

    Only numbers, names, + - * / and brackets are read; ValueError for anything else, and for an arm that cancels.
    """

    def refuse(why):
        raise ValueError(f"contrast {str(expression)[:80]!r} {why}; expected a linear expression in arm names")

    def walk(node) -> dict:
        match node:
            case ast.Constant(value=value) if type(value) in (int, float):
                return {None: float(value)}
            case ast.Name(id=name):
                return {name: 1.0}
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                return scaled(walk(operand), -1.0 if isinstance(op, ast.USub) else 1.0)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                left, right = walk(left), scaled(walk(right), -1.0 if isinstance(op, ast.Sub) else 1.0)
                return {key: left.get(key, 0.0) + right.get(key, 0.0) for key in left | right}
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                left, right = walk(left), walk(right)
                left, right = (left, right) if set(left) == {None} else (right, left)
                return scaled(right, left[None]) if set(left) == {None} else refuse("multiplies two arms")
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                right = walk(right)
                bad = set(right) != {None} or right[None] == 0
                return refuse("divides by an arm or by 0") if bad else scaled(walk(left), 1 / right[None])
        refuse("is not linear")

    def scaled(terms, factor):
        return {key: value * factor for key, value in terms.items()}

    if not isinstance(expression, str) or len(expression) > 300:
        refuse("is not a text of at most 300 characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        refuse("cannot be read")
    terms = walk(tree)
    constant = terms.pop(None, 0.0)
    if not terms or any(value == 0 or not math.isfinite(value) for value in [*terms.values(), constant or 1.0]):
        refuse("names no arm, or an arm cancels, or a number is infinite")
    return terms, constant


def read_ledger(path=None) -> dict[str, Claim]:
    """Every claim of claims.toml by its id; ValueError naming the claim and the field where an entry is not right."""
    path = Path(path or lesson.ROOT / "claims.toml")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name} is not valid TOML: {error}") from None
    if extra := set(content) - {"lessons", "claim"}:
        raise ValueError(f"{path.name}: unknown {sorted(extra)[0]!r}; expected [lessons] and [[claim]]")
    ledger = {}
    for entry in content.get("claim", []):
        claim = read_claim(entry)
        if claim.id in ledger:
            raise ValueError(f"claim {claim.id!r}: id is used twice; every claim needs its own")
        ledger[claim.id] = claim
    lessons = content.get("lessons", {})
    for number in sorted({claim.lesson for claim in ledger.values()} | set(lessons)):
        facts = lessons.get(number)
        if not isinstance(facts, dict) or set(facts) != {"title", "primary"} or not isinstance(facts["title"], str):
            raise ValueError(f"lesson {number!r}: lessons.{number!r} needs exactly title (a text) and primary")
        found = primary_claims(ledger, number)
        if type(facts["primary"]) is not int or facts["primary"] != found or found > 3:
            raise ValueError(
                f"lesson {number!r}: primary is {facts['primary']!r}, but the ledger has {found} primary claims of it; "
                "expected the same number, at most 3"
            )
    return ledger


def primary_claims(ledger: dict[str, Claim], number: str) -> int:
    """How many primary claims the ledger holds for a lesson: what its error rate is divided by."""
    return sum(claim.lesson == number and claim.kind == "primary" for claim in ledger.values())


def read_claim(entry: dict) -> Claim:
    """A validated Claim from one [[claim]] table; ValueError naming claim and field."""

    def check(ok, name, wanted):
        if not ok:
            raise ValueError(f"claim {entry.get('id')!r}: {name} is {entry.get(name)!r}; expected {wanted}")

    if not isinstance(entry, dict):
        raise ValueError(f"claim {entry!r} is not a table; expected [[claim]] with double brackets")
    for name in REQUIRED:
        check(name in entry, name, "it to be there")
    for name in entry:
        check(name in REQUIRED or name in DEFAULTS, name, f"no such field, only {', '.join((*REQUIRED, *DEFAULTS))}")
    full = {**DEFAULTS, **entry}
    for name in ("id", "lesson", "statement", "metric", "source", "outcome"):
        check(isinstance(full[name], str) and full[name].strip(), name, "a text")
    check(re.fullmatch("[0-9a-z]+", full["lesson"]), "lesson", "the number of a lesson")
    wanted = f"{full['lesson']}-some-words (lower case, digits, hyphens)"
    check(re.fullmatch(re.escape(full["lesson"]) + r"(-[a-z0-9]+)+", full["id"]), "id", wanted)
    for name, choices in CHOICES.items():
        check(full[name] in choices, name, " or ".join(map(repr, choices)))
    if full["metric"] not in PER_EXAMPLE:
        check(full["resampling"] == "seeds", "resampling", f"'seeds': {full['metric']!r} has no outcome per example")
        check(full["outcome"] == "correct", "outcome", "none: the metric has no outcome per example")
    columns = full["paired"]
    check(isinstance(columns, list) and all(isinstance(c, str) and c for c in columns), "paired", "a list of columns")
    published = full["published"]
    check(isinstance(published, dict), "published", "a table of arm = number, and a note")
    for key, value in published.items():
        check(isinstance(value, str) if key == "note" else _is_number(value), "published", "arm = number, note = text")
    contrasts = full["contrasts"]
    check(isinstance(contrasts, list) and contrasts, "contrasts", "a list of at least one contrast")
    parsed = []
    for item in contrasts:
        tests = set(item) - {"expression"} if isinstance(item, dict) and "expression" in item else set()
        wanted = "each with an expression and exactly one of greater, equivalent"
        check(tests in ({"greater"}, {"equivalent"}), "contrasts", wanted)
        test = tests.pop()
        ok = _is_number(item[test]) and (item[test] >= 0 if test == "greater" else item[test] > 0)
        check(ok, "contrasts", "greater = a number of at least 0, or equivalent = a margin above 0")
        try:
            parse_expression(item["expression"])
        except ValueError as error:
            raise ValueError(f"claim {full['id']!r}: contrasts: {error}") from None
        parsed.append(Contrast(item["expression"], test, float(item[test])))
    return Claim(**{**full, "paired": tuple(columns), "contrasts": tuple(parsed), "published": dict(published)})


def _is_number(value) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def claim_hash(claim: Claim, primary_in_lesson: int) -> str:
    """SHA-256 of all that defines the test and its statement; the source and its published numbers may be corrected."""
    content = {key: value for key, value in claim.entry().items() if key not in ("source", "published")}
    content["primary_in_lesson"] = primary_in_lesson if claim.kind == "primary" else 0  # others are not corrected
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# ---- statistics: everything here works on single studies and on batches of them ----


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


# ---- from runs to a record ----


def _pack(outcome: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.packbits(outcome).tobytes(), 9)).decode()


def _unpack(text: str, examples: int) -> np.ndarray:
    try:
        bits = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
    except (zlib.error, TypeError, ValueError) as error:
        raise ValueError(f"outcomes cannot be read: {error}") from None
    if len(bits) != -(-examples // 8):
        raise ValueError(f"{len(bits)} bytes of outcomes for {examples} examples")
    return np.unpackbits(bits, count=examples).astype(bool)


def _runs(claim: Claim, frame) -> tuple[list[dict], int | None]:
    """The runs of the claim's arms as JSON, and the number of examples; ValueError for missing arms and bad columns."""
    column = claim.outcome if claim.metric in PER_EXAMPLE else claim.metric
    for name in ("arm", "seed", column, *claim.paired):
        if name not in frame.columns:
            raise ValueError(f"claim {claim.id!r}: the runs have no column {name!r}; they have {list(frame.columns)}")
    if missing := [arm for arm in claim.arms() if arm not in set(frame["arm"])]:
        raise ValueError(f"claim {claim.id!r}: no runs of arm {missing[0]!r}; there are {sorted(set(frame['arm']))}")
    runs, lengths = [], set()
    for row in frame[frame["arm"].isin(claim.arms())].to_dict("records"):
        where = f"claim {claim.id!r}: arm {row['arm']!r}, seed {row['seed']}: {column}"
        run = {"arm": row["arm"], "seed": int(row["seed"]), "correct": None}
        run |= {name: row[name] for name in ("init", "order", *claim.paired) if name in row}
        if claim.metric in PER_EXAMPLE:
            outcome = np.asarray(row[column])
            if outcome.ndim != 1 or outcome.dtype != bool or len(outcome) < 2:
                raise ValueError(f"{where} is {outcome.dtype} {outcome.shape}; expected a 1-D bool array")
            lengths.add(len(outcome))
            scale = PER_EXAMPLE[claim.metric][0]
            run |= {"correct": _pack(outcome), "value": scale * float((outcome == (claim.metric == "accuracy")).mean())}
        else:
            run["value"] = float(row[column])
            if not math.isfinite(run["value"]):
                raise ValueError(f"{where} is {run['value']}; expected a finite number")
        runs.append(run)
    if len(lengths) > 1:
        raise ValueError(f"claim {claim.id!r}: {column} has {sorted(lengths)} examples; expected one length")
    return runs, lengths.pop() if lengths else None


def _check_runs(claim: Claim, runs: list[dict]) -> list[int]:
    """The seeds every arm has exactly one run of; ValueError where arms of a contrast are not paired."""
    by_key = {(run["arm"], run["seed"]): run for run in runs}
    seeds = sorted({run["seed"] for run in runs})
    for arm in claim.arms():
        for seed in seeds:
            count = sum(run["arm"] == arm and run["seed"] == seed for run in runs)
            if count != 1:
                raise ValueError(f"claim {claim.id!r}: arm {arm!r} has {count} runs of seed {seed}; expected one")
    for contrast in claim.contrasts:
        first, *others = parse_expression(contrast.expression)[0]
        for arm in others:
            for seed in seeds:
                for column in claim.paired:
                    a, b = by_key[first, seed][column], by_key[arm, seed][column]
                    if a is None or a != b:
                        raise ValueError(
                            f"claim {claim.id!r}: arms {first!r} and {arm!r} differ at seed {seed} in {column} ({a} and {b}); "
                            "the claim is paired on it, so the arms must start from the same seed"
                        )
    return seeds


def recompute(record: dict) -> dict:
    """The record with estimates and verdict computed anew from its stored claim and runs; ValueError where it is corrupt."""
    entry = dict(record["claim"])
    primary = entry.pop("primary_in_lesson")
    claim, runs, examples = read_claim(entry), record["runs"], record["examples"]
    if record["claim_hash"] != claim_hash(claim, primary):
        raise ValueError(f"record of claim {claim.id!r}: the stored claim does not match its hash")
    seeds = _check_runs(claim, runs)
    scale, unit = PER_EXAMPLE.get(claim.metric, (0.0, claim.metric))
    outcomes, arms = {}, {}
    for arm in claim.arms():
        mine = sorted((run for run in runs if run["arm"] == arm), key=lambda run: run["seed"])
        values = [run["value"] for run in mine]
        outcomes[arm] = np.array(values)[:, None]
        if examples:
            counted = claim.metric == "accuracy"  # which outcome the metric counts: right or wrong answers
            outcomes[arm] = np.stack([_unpack(run["correct"], examples) == counted for run in mine])
            values = [scale * float(row.mean()) for row in outcomes[arm]]
        arms[arm] = {"mean": float(np.mean(values)), "per_seed": values}
    if record["profile"] == "smoke":
        judged = {"verdict": "NOT JUDGED", "direction": "not shown", "p_value": None, "contrasts": []}
    else:
        parts = [_contrast(claim, c, outcomes, scale, examples, primary) for c in claim.contrasts]
        directions = [part["direction"] for part in parts]
        whole = next((word for word in ("reversed", "not shown") if word in directions), "shown")
        word = conjunction([p["verdict"] for p in parts]) if claim.kind == "primary" else "EXPLORATORY"
        judged = {"verdict": word, "direction": whole, "p_value": max(p["p_value"] for p in parts), "contrasts": parts}
    return {**record, "seeds": seeds, **judged, "unit": unit, "arms": arms}


def _contrast(claim, contrast, outcomes, scale, examples, primary) -> dict:
    weights, constant = parse_expression(contrast.expression)
    differences = sum(weight * outcomes[arm] for arm, weight in weights.items()) * (scale or 1.0) + constant
    over_examples = claim.resampling == "seeds and examples" and claim.target == "new examples"
    largest = scale * max(map(abs, weights.values()))
    found = estimate(differences, unit=largest if examples else 0.0, over_examples=over_examples)
    found = {key: float(value) for key, value in found.items()}
    level = 1 - 0.05 / primary if claim.kind == "primary" else 0.95
    result = {"expression": contrast.expression, "test": contrast.test, "bound": contrast.bound, "level": level}
    result |= {key: found[key] for key in ("estimate", "df", "seed_part", "example_part", "residual_part")}
    result["standard_error"] = math.sqrt(found["variance"])
    if found["variance"] <= (1e-12 * abs(found["estimate"])) ** 2:  # one number for all seeds: nothing to infer from
        result |= {"lower": None, "upper": None, "p_value": 1.0, "verdict": "INCONCLUSIVE", "direction": "not shown"}
        result |= {"seeds_to_decide": None, "reason": "every seed gave the same number: there is no spread to judge by"}
    else:
        lower, upper = map(float, bounds(found, level))
        verdict, direction = decide(contrast.test, contrast.bound, lower, upper)
        p = (p_above if contrast.test == "greater" else p_equivalent)(found, contrast.bound)
        number = examples if over_examples else None
        enough = seeds_to_decide(contrast.test, contrast.bound, found, len(differences), number, level)
        result |= {"lower": lower, "upper": upper, "p_value": float(p), "verdict": verdict, "direction": direction}
        result |= {"seeds_to_decide": enough}
    return result if claim.kind == "primary" else {**result, "verdict": "EXPLORATORY", "seeds_to_decide": None}


def judge(claim_id: str, runs, *, ledger: dict[str, Claim] | None = None) -> "Verdict":
    """Test a claim of the ledger on the runs of a sweep, and record the verdict where the lesson records its results.

    `runs` is a DataFrame with a row a run: arm, seed, the metric or `correct`, and the columns the claim is paired on.
    In the smoke profile only the mechanics are checked. ValueError for an unknown or edited claim, for runs that are not
    paired, not one per arm and seed, or not of consecutive seeds from the lesson's first one, and for a single seed.
    """
    ledger, settings = read_ledger() if ledger is None else ledger, lesson.current()
    if claim_id not in ledger:
        raise ValueError(f"unknown claim {claim_id!r}; the ledger has {', '.join(sorted(ledger)) or 'none'}")
    claim = ledger[claim_id]
    primary = primary_claims(ledger, claim.lesson)
    kept, examples = _runs(claim, runs)
    seeds = _check_runs(claim, kept)
    if seeds != list(range(settings.first_seed, settings.first_seed + len(seeds))):
        wanted = f"expected consecutive ones from {settings.first_seed}"
        raise ValueError(f"claim {claim_id!r}: runs have seeds {seeds}; {wanted}")
    record = {"claim": {**claim.entry(), "primary_in_lesson": primary}, "claim_hash": claim_hash(claim, primary)}
    folder, recorded = lesson.results_folder(), lesson.ROOT / "results" / settings.profile
    for path in {place / f"{claim_id}.json" for place in (folder, recorded) if place}:
        if path.exists() and _read_record(path)["claim_hash"] != record["claim_hash"]:
            raise ValueError(f"claim {claim_id!r} was edited after its record {path}; give the changed claim a new id")
    record |= {"profile": settings.profile, "first_seed": settings.first_seed, "seeds": seeds, "examples": examples}
    record |= dict.fromkeys(("verdict", "direction", "unit", "p_value", "contrasts", "arms"))
    record = recompute({**record, "runs": kept, "provenance": lesson.provenance()})
    if folder and settings.profile != "smoke":
        lesson.write_json(folder / f"{claim_id}.json", record)
    return Verdict(record)


def _read_record(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        entry = dict(record["claim"])
        primary = entry.pop("primary_in_lesson")
        fits = record["claim_hash"] == claim_hash(read_claim(entry), primary)
        if not fits or entry["id"] != path.stem or not record["verdict"] or not record["runs"]:
            raise ValueError("its parts do not fit together")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is corrupt ({error}); delete it and run its lesson again") from None
    return record


def read_records(folder) -> list[dict]:
    """The records of all claims in a results folder, in the order of their ids; ValueError naming a corrupt file."""
    return [_read_record(path) for path in sorted(Path(folder).glob("*.json")) if not path.name.startswith("lesson-")]


# ---- the card a notebook shows ----

COLOURS = {"REPRODUCED": "#1a7f37", "SMALLER": "#8a5a00", "REFUTED": "#b3261e"}  # white text on each: contrast above 5


def _number(value) -> str:
    return "–" if value is None else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _sentences(record: dict) -> list[str]:
    lines = []
    for c in record["contrasts"]:
        needs = f"more than {_number(c['bound'])}" if c["test"] == "greater" else f"within ±{_number(c['bound'])}"
        own = f"; {c['verdict']}, {c['direction']}" if len(record["contrasts"]) > 1 else ""
        lines.append(f"{c['expression']} = {_number(c['estimate'])} {record['unit']}, {100 * c['level']:.3g} % interval "
                     f"{_number(c['lower'])} to {_number(c['upper'])}; claimed: {needs}{own}")  # fmt: skip
        pure = [max(c[part] - c["residual_part"], 0) for part in ("seed_part", "example_part")] + [c["residual_part"]]
        if sum(pure) > 0:
            names = ("between seeds", "between test examples", "noise of single answers")
            shares = ", ".join(f"{100 * p / sum(pure):.0f} % {name}" for p, name in zip(pure, names) if p > 0)
            lines.append(f"    standard error {_number(c['standard_error'])}; variance: {shares}")
        if "reason" in c:
            lines.append(f"    no interval: {c['reason']}")
        elif c["verdict"] == "INCONCLUSIVE":
            enough = c["seeds_to_decide"]
            lines.append(f"    {enough} seeds would decide with 80 % power, if these numbers hold" if enough else
                         "    no number of seeds would decide: too few test examples, or an effect on the bound")  # fmt: skip
    return lines or ["smoke profile: the mechanics were checked, nothing was judged"]


def _card(record: dict) -> tuple[str, list[tuple], list[str]]:
    claim, seeds = record["claim"], record["seeds"]
    published = claim["published"]
    rows = [("arm", f"ours, {record['unit']}", "range over seeds", "published")]
    for arm, ours in record["arms"].items():
        span = f"{_number(min(ours['per_seed']))} to {_number(max(ours['per_seed']))}"
        rows.append((arm, _number(ours["mean"]), span, f"{published.get(arm, '–')}"))
    note = f" Published numbers: {published['note']}." if "note" in published else ""
    paired = ", ".join([*claim["paired"], *(["test examples"] if record["examples"] else [])]) or "nothing"
    size = f", {record['examples']:,} test examples" if record["examples"] else ""
    before = f"Source: {claim['source']} ({claim['protocol']} reproduction).{note}"
    after = f"Paired on {paired}; seeds {seeds[0]} to {seeds[-1]}{size}; profile {record['profile']}."
    return before, rows, [*_sentences(record), after]


@dataclass(frozen=True)
class Verdict:
    """A judged claim: its record, and a card of it as text and as HTML."""

    record: dict

    @property
    def verdict(self) -> str:
        return self.record["verdict"]

    @property
    def direction(self) -> str:
        return self.record["direction"]

    def __str__(self) -> str:
        before, rows, lines = _card(self.record)
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        table = ["  " + "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths)))
                 for row in rows]  # fmt: skip
        claim = self.record["claim"]
        head = f"{self.verdict} (effect {self.direction}) · {claim['id']} · {claim['kind']}"
        return "\n".join([head, claim["statement"], before, *table, *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        before, rows, lines = _card(self.record)
        claim, colour = self.record["claim"], COLOURS.get(self.verdict, "#57606a")

        def cell(i, j, text):
            tag = "td" if i and j else f'th scope="{"row" if i else "col"}"'
            style = f"padding:.15em .8em;text-align:{'right' if j else 'left'}"
            return f'<{tag} style="{style}">{html.escape(text)}</{tag[:2]}>'

        lined = ("".join(cell(i, j, text) for j, text in enumerate(row)) for i, row in enumerate(rows))
        table = "".join(f"<tr>{row}</tr>" for row in lined)
        details = "".join(f'<p style="margin:.3em 0">{html.escape(line.strip())}</p>' for line in lines)
        return (
            f'<section aria-label="Verdict on claim {claim["id"]}" style="border-left:.4em solid {colour};padding:.2em 1em">'
            f'<p style="margin:.3em 0"><strong style="background:{colour};color:#fff;padding:.1em .5em">{self.verdict}</strong> '
            f"effect {self.direction} · {claim['id']} · {claim['kind']}</p>"
            f'<p style="margin:.3em 0;font-weight:bold">{html.escape(claim["statement"])}</p>'
            f'<p style="margin:.3em 0">{html.escape(before)}</p><table style="margin:.3em 0">{table}</table>{details}</section>'
        )
