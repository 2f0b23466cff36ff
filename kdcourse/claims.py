"""The ledger of claims, the verdicts on them, and the records that let anyone recompute them."""

import ast
import base64
import hashlib
import json
import math
import re
import tomllib
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kdcourse import lesson
from kdcourse.cards import Announcement, Verdict
from kdcourse.cards import recorded as recorded  # only shows: lives where no lesson's key looks
from kdcourse.inference import bounds, conjunction, decide, estimate, p_above, p_equivalent, seeds_to_decide

PER_EXAMPLE = {"errors": (10_000.0, "errors per 10,000"), "accuracy": (1.0, "accuracy")}
CHOICES = {
    "kind": ("primary", "exploratory"),
    "resampling": ("seeds and examples", "seeds"),
    "target": ("new examples", "these examples"),
    "protocol": ("direct", "conceptual"),
}
REQUIRED = ("id", "lesson", "kind", "statement", "metric", "resampling", "paired", "protocol", "source", "contrasts")
DEFAULTS = {"target": "new examples", "outcome": "correct", "published": {}}


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


def announce(number: str, *, ledger: dict[str, Claim] | None = None) -> Announcement:
    """The claims of lesson `number` as a table: what is claimed, who said it, what would count."""
    ledger = read_ledger() if ledger is None else ledger
    found = tuple(claim for claim in ledger.values() if claim.lesson == number)
    if not found:
        raise ValueError(f"the ledger has no claims of lesson {number!r}; it has {sorted({c.lesson for c in ledger.values()})}")
    return Announcement(found)


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


def judge(claim_id: str, runs, *, ledger: dict[str, Claim] | None = None) -> Verdict:
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
