"""The ledger is strict, the intervals hold their level in simulated studies, and records can be recomputed."""

import copy
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdcourse import cards, claims, inference, lesson

LEDGER = """
[lessons."01"]
title = "Soft targets"
primary = 2

[lessons."02"]
title = "Temperature"
primary = 0

[[claim]]
id = "01-soft-beats-hard"
lesson = "01"
kind = "primary"
statement = "A student makes fewer errors with soft targets <than> with labels."
metric = "errors"
resampling = "seeds and examples"
paired = ["init", "order"]
protocol = "conceptual"
source = "Hinton, Vinyals & Dean 2015, section 3"
published = { hard = 146, soft = 74, note = "single runs" }
contrasts = [ { expression = "hard - soft", greater = 25 } ]

[[claim]]
id = "01-keeps-most"
lesson = "01"
kind = "primary"
statement = "The student keeps accuracy and reaches a floor."
metric = "accuracy"
resampling = "seeds and examples"
target = "these examples"
paired = ["order"]
protocol = "direct"
source = "made up"
contrasts = [ { expression = "soft - hard", equivalent = 0.05 }, { expression = "soft - 0.9", greater = 0 } ]

[[claim]]
id = "02-seconds"
lesson = "02"
kind = "exploratory"
statement = "Soft targets cost no time."
metric = "seconds"
resampling = "seeds"
paired = []
protocol = "conceptual"
source = "made up"
contrasts = [ { expression = "soft - hard", equivalent = 1.0 } ]
"""
SOFT, KEEPS, SECONDS = "01-soft-beats-hard", "01-keeps-most", "02-seconds"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A repository with this ledger and an empty results folder; lesson 01, quick, seeds from 0."""
    (tmp_path / "claims.toml").write_text(LEDGER)
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    monkeypatch.setattr(lesson, "_current", lesson.Lesson("01", "quick", 0))
    monkeypatch.setenv("KDCOURSE_RESULTS", str(tmp_path / "build"))
    return tmp_path


def make_runs(seeds=range(5), examples=2001, rates=None, seed=0):
    """Paired runs of two arms (and one no claim mentions) with shared difficult examples."""
    rng = np.random.default_rng(seed)
    difficult = rng.random(examples) < 0.06
    rows = []
    for s in seeds:
        draw = rng.random(examples)
        for arm, rate in (rates or {"hard": 0.6, "soft": 0.2, "other": 0.9}).items():
            wrong = difficult & (draw < rate)
            rows.append({"arm": arm, "seed": s, "init": f"i{s}", "order": f"o{s}", "correct": ~wrong,
                         "seconds": 10 + rng.normal(), "loss": [1.0, 0.5]})  # fmt: skip
    return pd.DataFrame(rows)


# ---- the ledger ----


def test_ledger_reads(home):
    ledger = claims.read_ledger()
    assert list(ledger) == [SOFT, KEEPS, SECONDS]
    claim = ledger[SOFT]
    assert claim.contrasts == (claims.Contrast("hard - soft", "greater", 25.0),)
    assert (claim.target, claim.outcome, claim.arms()) == ("new examples", "correct", ["hard", "soft"])
    assert claims.read_claim(claim.entry()) == claim
    assert claims.primary_claims(ledger, "01") == 2
    assert claims.primary_claims(ledger, "02") == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "01-keeps-most"', 'id = "01-soft-beats-hard"', "'01-soft-beats-hard': id is used twice"),
        ('id = "01-keeps-most"', 'id = "02-keeps-most"', "'02-keeps-most': id is '02-keeps-most'"),
        ('id = "01-keeps-most"', 'id = "01-../up"', "id is '01-../up'"),
        ('kind = "exploratory"', 'kind = "secondary"', "'02-seconds': kind is 'secondary'"),
        ('resampling = "seeds"\n', 'resampling = "seeds and examples"\n', "'02-seconds': resampling .*no outcome per"),
        ('resampling = "seeds"\n', 'resampling = "examples"\n', "resampling is 'examples'"),
        ('resampling = "seeds"\n', "", "'02-seconds': resampling is None; expected it to be there"),
        ('target = "these examples"', 'target = "all"', "target is 'all'"),
        ('target = "these examples"', 'targets = "all"', "targets is 'all'; expected no such field"),
        ('target = "these examples"', 'outcome = ""', "outcome is ''"),
        ('metric = "seconds"', 'metric = "seconds"\noutcome = "rare"', "outcome is 'rare'"),
        ('protocol = "direct"', 'protocol = "exact"', "protocol is 'exact'"),
        ("greater = 25", "greater = -1", "'01-soft-beats-hard': contrasts .*at least 0"),
        ("greater = 25", "greater = true", "at least 0"),
        ("greater = 25", "greater = inf", "at least 0"),
        ("equivalent = 0.05", "equivalent = 0", "margin above 0"),
        ("greater = 25", "greater = 25, equivalent = 3", "exactly one of"),
        (", greater = 25", "", "exactly one of"),
        (", greater = 25", ", less = 25", "exactly one of"),
        ('expression = "hard - soft"', 'expression = "hard * soft"', "'01-soft-beats-hard': contrasts: .*multiplies"),
        ('[ { expression = "hard - soft", greater = 25 } ]', "[]", "at least one contrast"),
        ("paired = []", 'paired = "init"', "paired is 'init'"),
        ("hard = 146", 'hard = "few"', "published"),
        ("primary = 2", "primary = 3", "'01': primary is 3, but the ledger has 2"),
        ("primary = 2", "primary = 2\nlevel = 1", "exactly title"),
        ('[lessons."02"]\ntitle = "Temperature"\nprimary = 0', "", "lesson '02'"),
        ('statement = "The student', 'statement = 3 #"', "statement is 3"),
        ("[[claim]]", "[[claims]]", "unknown 'claims'"),
        ("[[claim]]", "[[claim", "not valid TOML"),
        ('[lessons."01"]', 'claim = ["x"]\n[lessons."01"]', "not valid TOML|not a table"),
        ('lesson = "02"', 'lesson = "../02"', "lesson is '../02'"),
    ],
)
def test_ledger_refuses(home, old, new, message):
    assert old in LEDGER
    (home / "claims.toml").write_text(LEDGER.replace(old, new))
    with pytest.raises(ValueError, match=message):
        claims.read_ledger()


def test_at_most_three_primary_claims(home):
    entry = LEDGER[LEDGER.index("[[claim]]") : LEDGER.index("[[claim]]", LEDGER.index("[[claim]]") + 1)]
    more = "".join(entry.replace("beats-hard", f"number-{i}") for i in range(2))
    (home / "claims.toml").write_text(LEDGER.replace("primary = 2", "primary = 4") + more)
    with pytest.raises(ValueError, match="4 primary claims of it; expected the same number, at most 3"):
        claims.read_ledger()


@pytest.mark.parametrize(
    ("expression", "weights", "constant"),
    [
        ("hard - soft", {"hard": 1, "soft": -1}, 0),
        ("single - 0.8*ensemble", {"single": 1, "ensemble": -0.8}, 0),
        ("arm - 0.95", {"arm": 1}, -0.95),
        ("hard - soft - 0.8*(hard - teacher)", {"hard": 0.2, "soft": -1, "teacher": 0.8}, 0),
        (" -(a - 2*b)/4 + 3*2 ", {"a": -0.25, "b": 0.5}, 6),
        ("+a * (1 - 0.5)", {"a": 0.5}, 0),
    ],
)
def test_expressions(expression, weights, constant):
    found, found_constant = claims.parse_expression(expression)
    assert found == pytest.approx(weights)
    assert found_constant == pytest.approx(constant)


@pytest.mark.parametrize(
    "expression",
    ["a*b", "a/b", "1/a", "a/0", "a**2", "a//2", "abs(a)", "a.b", "a[0]", "a if b else c", "__import__('os')", "a - a", "3", "",
     "a +", "True*a", "'a'", "a > b", "a\0b", "1e999*a", "a - 1e999", "lambda: a", "(" * 150 + "a" + ")" * 150, "a" * 301, None, 3,
     "-" * 290 + "a*b"],
)  # fmt: skip
def test_expressions_refused(expression):
    with pytest.raises(ValueError, match="contrast"):
        claims.parse_expression(expression)


def test_hash_covers_the_test_and_nothing_else(home):
    claim = claims.read_ledger()[SOFT]
    base = claims.claim_hash(claim, 2)
    for key, value in {
        "statement": "x",
        "metric": "accuracy",
        "target": "these examples",
        "paired": ["init"],
        "kind": "exploratory",
        "protocol": "direct",
        "outcome": "rare",
        "resampling": "seeds",
        "contrasts": [{"expression": "hard - soft", "greater": 24}],
    }.items():
        assert claims.claim_hash(claims.read_claim({**claim.entry(), key: value}), 2) != base, key
    assert claims.claim_hash(claim, 3) != base
    assert claims.claim_hash(claims.read_claim({**claim.entry(), "source": "x", "published": {"hard": 1}}), 2) == base
    same = claims.read_claim({**claim.entry(), "contrasts": [{"expression": "hard - soft", "greater": 25}]})
    assert claims.claim_hash(same, 2) == base


# ---- statistics: simulated studies ----


def gauss(studies, seeds, examples, seed_sd, example_sd, residual_sd, rng):
    """Studies of the two-way random effects model with mean 0."""
    return (
        rng.normal(0, seed_sd, (studies, seeds, 1))
        + rng.normal(0, example_sd, (studies, 1, examples))
        + rng.normal(0, residual_sd, (studies, seeds, examples))
    )


def sparse(studies, seeds, examples, rng, rates=(0.55, 0.28), difficult=0.03, shared=0.5, seed_shift=0.1):
    """Two classifiers with 1 to 2 % errors, nearly all on the same difficult examples; minus their true difference."""
    hard = rng.random((studies, 1, examples)) < difficult
    first = rng.random((studies, seeds, examples), dtype=np.float32)
    other = rng.random((studies, seeds, examples), dtype=np.float32)
    second = np.where(rng.random((studies, 1, examples)) < shared, first, other)
    shift = rng.uniform(-seed_shift, seed_shift, (studies, seeds, 1))
    wrong = (first < np.where(hard, rates[0] + shift, 0.0005)).astype(float)
    return wrong - (second < np.where(hard, rates[1], 0.0005)) - difficult * (rates[0] - rates[1])


def memorised(studies, seeds, examples, rng, accuracy):
    """An accuracy that no seed changes, minus the true one: many of the same few examples wrong, or few."""
    right = rng.random((studies, 1, examples)) < accuracy
    return np.repeat(right, seeds, 1) - accuracy


def estimates(draw, studies, unit=0.0, batch=1000, **options):
    """The estimates of many studies, simulated `batch` at a time."""
    parts = [inference.estimate(draw(batch), unit=unit, **options) for _ in range(studies // batch)]
    return {key: np.concatenate([np.broadcast_to(part[key], batch) for part in parts]) for key in parts[0]}


def at_most(events, rate):
    """Whether so many events are no more than the rate allows, up to binomial error (one in a thousand)."""
    return events.sum() <= stats.binom.ppf(0.999, len(events), rate)


MODELS = {  # standard deviations of seeds, examples, residual; 200 examples
    "seeds dominate": (1.0, 1.0, 1.0),
    "examples dominate": (0.0, 1.0, 0.3),
    "residual dominates": (0.0, 0.0, 1.0),
    "both, seeds more": (0.22, 1.0, 0.3),
    "both alike": (0.16, 1.0, 0.3),
    "all alike": (0.1, 1.0, 2.0),
}


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 3])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("model", MODELS)
def test_false_reproductions_and_coverage(model, seeds, level):
    rng = np.random.default_rng(1)
    found = estimates(lambda n: gauss(n, seeds, 200, *MODELS[model], rng), 6000)
    lower, upper = inference.bounds(found, level)
    print(f"{model}, {seeds} seeds, {level:.4f}: {np.mean(lower > 0):.4f} {np.mean(upper < 0):.4f}")  # pytest -rP
    assert at_most(lower > 0, (1 - level) / 2)  # the effect lies on the bound: every reproduction is a false one
    assert at_most(upper < 0, (1 - level) / 2)
    assert at_most((lower > 0) | (upper < 0), 1 - level)
    if model == "seeds dominate" and seeds >= 5:  # exact where it can be: not only wide
        assert at_most((lower <= 0) & (upper >= 0), level)


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 3])
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"seed_shift": 0.28},
        {"shared": 1.0},
        {"rates": (0.28, 0.55)},
        {"rates": (0.9, 0.3), "difficult": 0.015},
    ],
)
@pytest.mark.parametrize("seeds", [5, 10])
def test_level_with_rare_correlated_errors(case, seeds, level):
    rng = np.random.default_rng(2)
    found = estimates(lambda n: sparse(n, seeds, 800, rng, **case), 1500, unit=1.0, batch=250)
    lower, upper = inference.bounds(found, level)
    print(f"sparse {case}, {seeds} seeds, {level:.4f}: {np.mean(lower > 0):.4f} {np.mean(upper < 0):.4f}")
    assert at_most(lower > 0, (1 - level) / 2)
    assert at_most(upper < 0, (1 - level) / 2)


def test_level_of_a_floor_on_accuracy_needs_the_skewness_term():
    rng = np.random.default_rng(3)
    found = estimates(lambda n: memorised(n, 5, 1000, rng, 0.98), 6000, unit=1.0)
    lower, _ = inference.bounds(found, 0.95)
    assert at_most(lower > 0, 0.025)
    plain = found["estimate"] - stats.t.ppf(0.975, found["df"]) * np.sqrt(found["variance"])
    assert not at_most(plain > 0, 0.025)  # what a plain t interval would do: the test can fail


def test_leaving_out_the_seeds_breaks_the_level():
    rng = np.random.default_rng(4)
    draw = lambda n: gauss(n, 5, 200, *MODELS["both alike"], rng)
    d = draw(2000)
    pooled = d.reshape(2000, -1)
    naive = pooled.mean(1) - 1.96 * pooled.std(1) / math.sqrt(pooled.shape[1])  # as if all answers were independent
    assert np.mean(naive > 0) > 0.1
    found = inference.estimate(d)
    by_example = found["estimate"] - 1.96 * np.sqrt(found["example_part"])  # examples only
    assert not at_most(by_example > 0, 0.025)
    satterthwaite = found["variance"] ** 2 / (found["seed_part"] ** 2 / 4 + found["example_part"] ** 2 / 199)
    assert (found["df"] < satterthwaite * 1.01).mean() > 0.9


def test_satterthwaite_would_reproduce_too_much():
    rng = np.random.default_rng(5)
    found = estimates(lambda n: gauss(n, 5, 50, math.sqrt(5), math.sqrt(50 / 8), 0.1, rng), 20_000, batch=5000)
    A, B, C = (found[part] for part in ("seed_part", "example_part", "residual_part"))
    df = (A + B - C) ** 2 / (A**2 / 4 + B**2 / 49 + C**2 / 196)
    level = 1 - 0.05 / 3
    lower = found["estimate"] - stats.t.ppf((1 + level) / 2, df) * np.sqrt(found["variance"])
    assert not at_most(lower > 0, (1 - level) / 2)
    assert at_most(inference.bounds(found, level)[0] > 0, (1 - level) / 2)


@pytest.mark.parametrize("model", ["seeds dominate", "examples dominate", "both alike"])
def test_these_examples_and_seeds_only(model):
    rng = np.random.default_rng(6)
    seed_sd, example_sd, residual_sd = MODELS[model]
    fixed = rng.normal(0, example_sd, 200)

    def draw(n):
        return gauss(n, 5, 200, seed_sd, 0, residual_sd, rng) + fixed - fixed.mean()

    lower, upper = inference.bounds(estimates(draw, 6000, over_examples=False), 0.95)
    assert at_most(lower > 0, 0.025)
    assert np.mean((lower <= 0) & (upper >= 0)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(
    ("sds", "seeds"), [((1.0, 1.0, 1.0), 5), ((0.16, 1.0, 0.3), 8), ((0.0, 1.0, 0.3), 5), ((0.2, 1.0, 2.0), 12)]
)
def test_power_is_as_predicted(sds, seeds):
    rng = np.random.default_rng(7)
    names = dict(zip(("seed_sd", "example_sd", "residual_sd"), sds))
    error = math.sqrt(sds[0] ** 2 / seeds + sds[1] ** 2 / 200 + sds[2] ** 2 / (200 * seeds))
    for effect in (2 * error, 3.5 * error):
        lower, _ = inference.bounds(estimates(lambda n, e=effect: gauss(n, seeds, 200, *sds, rng) + e, 3000), 0.95)
        predicted = inference.power(effect, 0.0, **names, seeds=seeds, examples=200, level=0.95)
        assert np.mean(lower > 0) == pytest.approx(predicted, abs=0.06)
        shifted = inference.power(effect + 1, 1.0, **names, seeds=seeds, examples=200, level=0.95)
        assert shifted == pytest.approx(predicted)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 3])
def test_equivalence_is_rarely_claimed_at_the_margin(model, level):
    rng = np.random.default_rng(8)
    sds = MODELS[model]
    margin = 6 * math.sqrt(sds[0] ** 2 / 5 + sds[1] ** 2 / 200 + sds[2] ** 2 / 1000)
    for effect in (margin, -margin):
        found = estimates(lambda n, e=effect: gauss(n, 5, 200, *sds, rng) + e, 4000)
        lower, upper = inference.bounds(found, level)
        assert at_most((lower > -margin) & (upper < margin), (1 - level) / 2)


# ---- statistics: against slow references ----


def slow_parts(d):
    """Two-way analysis of variance by explicit loops: mean squares over S·n."""
    S, n = d.shape
    grand = sum(float(x) for x in d.ravel()) / (S * n)
    rows = [sum(map(float, d[s])) / n for s in range(S)]
    columns = [sum(float(d[s, i]) for s in range(S)) / S for i in range(n)]
    seed = n * sum((r - grand) ** 2 for r in rows) / (S - 1)
    example = S * sum((c - grand) ** 2 for c in columns) / (n - 1)
    residual = 0.0
    for s in range(S):
        for i in range(n):
            residual += (float(d[s, i]) - rows[s] - columns[i] + grand) ** 2
    residual /= (S - 1) * (n - 1)
    total = sum((float(x) - grand) ** 2 for x in d.ravel())
    identity = (S - 1) * seed + (n - 1) * example + (S - 1) * (n - 1) * residual
    assert total == pytest.approx(identity, rel=1e-12)  # total = seeds + examples + residual
    return grand, seed / (S * n), example / (S * n), residual / (S * n)


@pytest.mark.parametrize("sds", MODELS.values())
@pytest.mark.parametrize("seeds", [3, 6])
def test_estimator_against_loops(sds, seeds):
    d = gauss(1, seeds, 40, *sds, np.random.default_rng(9))[0] + 1
    mean, A, B, C = slow_parts(d)
    found = inference.estimate(d, unit=0.01)
    assert [float(found[k]) for k in ("estimate", "seed_part", "example_part", "residual_part")] == pytest.approx(
        [mean, A, B, C]
    )
    V = max(A + B - C, A, B)
    share = 1.0 if seeds < 5 else min(max(A, C) / V, 1)
    df = 1 / (share / (seeds - 1) + (1 - share) / 39)
    assert float(found["variance"]) == pytest.approx(V)
    assert float(found["df"]) == pytest.approx(df)
    third = sum((sum(d[s, i] for s in range(seeds)) / seeds - mean) ** 3 for i in range(40)) / 40**3
    t = stats.t.ppf(0.975, df)
    lower, upper = inference.bounds(found, 0.95)
    more = (2 * t**2 + 1) / 6 * third / V
    assert lower == pytest.approx(mean - t * math.sqrt(V) - max(-more, 0) - 0.01 / 80)
    assert upper == pytest.approx(mean + t * math.sqrt(V) + max(more, 0) + 0.01 / 80)
    single = inference.estimate(d, over_examples=False)
    rows = [sum(d[s]) / 40 for s in range(seeds)]
    low, high = stats.ttest_1samp(rows, 0).confidence_interval(0.95)  # one number a seed: the textbook t interval
    assert inference.bounds(single, 0.95) == pytest.approx((low, high))


def test_batches_equal_single_studies():
    d = gauss(7, 4, 30, 1, 1, 1, np.random.default_rng(10))
    batch = inference.estimate(d, unit=1.0)
    for i in range(7):
        for key, value in inference.estimate(d[i], unit=1.0).items():
            assert float(value) == pytest.approx(float(np.broadcast_to(batch[key], 7)[i])), key


def test_nothing_varies():
    found = inference.estimate(np.full((5, 400), 0.0), unit=1.0)
    assert math.sqrt(found["variance"]) == pytest.approx(1 / 400)
    lower, upper = inference.bounds(found, 0.95)
    assert lower == -upper
    assert 400 * upper == pytest.approx(3.9, abs=0.2)  # the rule of three: 3.7 for a two-sided 95 %
    fixed = inference.estimate(np.full((5, 400), 0.0), unit=1.0, over_examples=False)
    assert float(fixed["df"]) == 4
    with pytest.raises(ValueError, match="1 seed: at least 2 seeds"):
        inference.estimate(np.zeros((1, 400)))


@pytest.mark.parametrize("unit", [0.0, 0.05])
def test_p_values_agree_with_intervals(unit):
    rng = np.random.default_rng(11)
    d = gauss(300, 5, 60, 0.5, 1, 1, rng) + rng.exponential(3, (300, 1, 60)) * rng.choice([-1, 1], (300, 1, 1))
    found = inference.estimate(d, unit=unit)
    for level in (0.95, 1 - 0.05 / 3):
        lower, upper = inference.bounds(found, level)
        assert ((inference.p_above(found, 2.0) < (1 - level) / 2) == (lower > 2.0)).all()
        assert ((inference.p_equivalent(found, 4.5) < (1 - level) / 2) == ((lower > -4.5) & (upper < 4.5))).all()
    plain = inference.estimate(d[0], over_examples=False)
    expected = stats.ttest_1samp(d[0].mean(1), 2.0, alternative="greater").pvalue
    assert float(inference.p_above(plain, 2.0)) == pytest.approx(expected)


def test_holm():
    assert inference.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert inference.holm([0.9, 0.8]) == [1.0, 1.0]
    assert inference.holm([]) == []


def test_seeds_to_decide():
    rng = np.random.default_rng(12)
    found = {k: float(v) for k, v in inference.estimate(gauss(1, 5, 400, 1, 0.5, 1, rng)[0]).items()} | {
        "estimate": 1.0
    }
    answer = inference.seeds_to_decide("greater", 0.0, found, 5, 400, 0.95)
    seed_variance = found["seed_part"] * 5
    only_seeds = {
        "seed_sd": math.sqrt(seed_variance),
        "example_sd": 0,
        "residual_sd": 0,
        "examples": None,
        "level": 0.95,
    }
    again = next(k for k in range(2, 1001) if inference.power(1.0, 0.0, **only_seeds, seeds=k) >= 0.8)
    assert answer == pytest.approx(again, abs=2)
    assert inference.seeds_to_decide("greater", 1.0, found, 5, 400, 0.95) is None  # on the bound
    assert inference.seeds_to_decide("greater", 2.0, found, 5, 400, 0.95) == answer  # the other side, as far away
    assert inference.seeds_to_decide("greater", 0.5, found, 5, 400, 0.95) > answer
    examples = {**found, "seed_part": 1e-6, "example_part": 1.0, "residual_part": 1e-6, "variance": 1.0}
    assert inference.seeds_to_decide("greater", 0.5, examples, 5, 400, 0.95) is None  # the test set is too small
    assert inference.seeds_to_decide("equivalent", 3.0, found, 5, 400, 0.95) is not None
    assert inference.seeds_to_decide("equivalent", 0.2, found, 5, 400, 0.95) is not None
    assert inference.seeds_to_decide("equivalent", 1.0, found, 5, 400, 0.95) is None


@pytest.mark.parametrize(
    ("test", "bound", "lower", "upper", "verdict", "direction"),
    [
        ("greater", 25, 26, 40, "REPRODUCED", "shown"),
        ("greater", 25, 25, 40, "INCONCLUSIVE", "shown"),
        ("greater", 25, 10, 40, "INCONCLUSIVE", "shown"),
        ("greater", 25, 5, 20, "SMALLER", "shown"),
        ("greater", 25, 5, 25, "INCONCLUSIVE", "shown"),
        ("greater", 25, -5, 20, "REFUTED", "not shown"),
        ("greater", 25, 0, 20, "REFUTED", "not shown"),
        ("greater", 25, -5, 30, "INCONCLUSIVE", "not shown"),
        ("greater", 25, -9, -2, "REFUTED", "reversed"),
        ("greater", 0, -9, 2, "INCONCLUSIVE", "not shown"),
        ("greater", 0, 1, 2, "REPRODUCED", "shown"),
        ("greater", 0, -2, -1, "REFUTED", "reversed"),
        ("equivalent", 10, -5, 5, "REPRODUCED", "not shown"),
        ("equivalent", 10, 2, 5, "REPRODUCED", "shown"),
        ("equivalent", 10, -5, 10, "INCONCLUSIVE", "not shown"),
        ("equivalent", 10, 5, 15, "INCONCLUSIVE", "shown"),
        ("equivalent", 10, -50, 50, "INCONCLUSIVE", "not shown"),
        ("equivalent", 10, 11, 15, "REFUTED", "shown"),
        ("equivalent", 10, -15, -11, "REFUTED", "reversed"),
    ],
)
def test_verdicts(test, bound, lower, upper, verdict, direction):
    assert inference.decide(test, bound, lower, upper) == (verdict, direction)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("RR", "REPRODUCED"),
        ("RS", "SMALLER"),
        ("RI", "INCONCLUSIVE"),
        ("SI", "INCONCLUSIVE"),
        ("RF", "REFUTED"),
        ("IFS", "REFUTED"),
    ],
)
def test_conjunctions(parts, whole):
    words = {"R": "REPRODUCED", "S": "SMALLER", "I": "INCONCLUSIVE", "F": "REFUTED"}
    assert inference.conjunction([words[p] for p in parts]) == whole


# ---- judging ----


def test_judge_and_record(home):
    runs = make_runs()
    verdict = claims.judge(SOFT, runs)
    record = verdict.record
    assert (verdict.verdict, verdict.direction) == ("REPRODUCED", "shown")
    assert record["contrasts"][0]["level"] == pytest.approx(0.975)
    errors = runs[runs["arm"] == "hard"]["correct"].map(lambda c: 10_000 * (1 - c.mean()))
    assert record["arms"]["hard"]["per_seed"] == pytest.approx(list(errors))
    assert record["contrasts"][0]["estimate"] == pytest.approx(
        record["arms"]["hard"]["mean"] - record["arms"]["soft"]["mean"]
    )
    assert (record["examples"], record["seeds"], record["unit"]) == (2001, [0, 1, 2, 3, 4], "errors per 10,000")
    assert {run["arm"] for run in record["runs"]} == {"hard", "soft"}
    stored = json.loads((home / "build" / "quick" / f"{SOFT}.json").read_text())
    assert stored == record
    assert claims.recompute(stored) == stored
    assert claims.read_records(home / "build" / "quick") == [stored]
    assert not list((home / "build" / "quick").glob("*.tmp"))
    shuffled = claims.judge(SOFT, runs.sample(frac=1, random_state=0)).record  # the order of the rows does not matter
    assert shuffled["contrasts"] == record["contrasts"]


def test_recompute_does_not_trust_the_stored_numbers(home):
    record = claims.judge(SOFT, make_runs()).record
    altered = copy.deepcopy(record)
    altered["verdict"], altered["contrasts"][0]["estimate"] = "REFUTED", -1
    assert claims.recompute(altered) == record
    altered["runs"][0]["value"] = -1.0
    assert claims.recompute(altered)["arms"] == record["arms"]
    for damage in ("AAAA", "not base64", record["runs"][0]["correct"][:-8], None):
        damaged = copy.deepcopy(record)
        damaged["runs"][0]["correct"] = damage
        with pytest.raises(ValueError, match="outcomes cannot be read"):
            claims.recompute(damaged)
    altered["claim"]["contrasts"][0]["greater"] = 1
    with pytest.raises(ValueError, match="does not match its hash"):
        claims.recompute(altered)


def test_judge_other_kinds(home):
    runs = make_runs()
    conjunction = claims.judge(KEEPS, runs).record
    assert [c["verdict"] for c in conjunction["contrasts"]] == ["REPRODUCED", "REPRODUCED"]
    assert conjunction["verdict"] == "REPRODUCED"
    assert conjunction["contrasts"][0]["example_part"] == 0  # these examples
    assert conjunction["p_value"] == max(c["p_value"] for c in conjunction["contrasts"])
    seconds = claims.judge(SECONDS, runs).record
    assert (seconds["verdict"], seconds["examples"], seconds["contrasts"][0]["level"]) == ("EXPLORATORY", None, 0.95)
    assert seconds["contrasts"][0]["verdict"] == "EXPLORATORY"
    assert claims.recompute(json.loads(json.dumps(seconds))) == seconds
    same = claims.judge(SECONDS, runs.assign(seconds=3.0)).record["contrasts"][0]
    assert (same["lower"], same["upper"]) == (None, None)
    assert "same number" in same["reason"]


def test_outcome_on_another_column(home):
    runs = make_runs()
    runs["rare"] = [c[:500] for c in runs["correct"]]
    claim = claims.read_claim({**claims.read_ledger()[SOFT].entry(), "outcome": "rare"})
    assert claims.judge(SOFT, runs, ledger={SOFT: claim}).record["examples"] == 500


def test_unpaired_runs_are_refused(home):
    runs = make_runs()
    unpaired = runs.copy()
    unpaired.loc[(runs["arm"] == "soft") & (runs["seed"] == 3), "order"] = "another"
    with pytest.raises(ValueError, match="'hard' and 'soft' differ at seed 3 in order"):
        claims.judge(SOFT, unpaired)
    claims.judge(SOFT, runs.assign(order=[f"o{s}" if a != "other" else "x" for s, a in zip(runs["seed"], runs["arm"])]))
    with pytest.raises(ValueError, match="differ at seed 0 in init"):
        claims.judge(SOFT, runs.assign(init=None))
    with pytest.raises(ValueError, match="no column 'init'"):
        claims.judge(SOFT, runs.drop(columns="init"))
    with pytest.raises(ValueError, match="arm 'soft' has 0 runs of seed 4"):
        claims.judge(SOFT, runs[~((runs["arm"] == "soft") & (runs["seed"] == 4))])
    with pytest.raises(ValueError, match="arm 'hard' has 2 runs of seed 0"):
        claims.judge(SOFT, pd.concat([runs, runs.iloc[:1]]))
    with pytest.raises(ValueError, match="no runs of arm 'soft'"):
        claims.judge(SOFT, runs[runs["arm"] != "soft"])
    short = runs.copy()
    short.at[0, "correct"] = runs.at[0, "correct"][:-1]
    with pytest.raises(ValueError, match=r"correct has \[2000, 2001\] examples"):
        claims.judge(SOFT, short)
    with pytest.raises(ValueError, match="expected a 1-D bool array"):
        claims.judge(SOFT, runs.assign(correct=[c.astype(int) for c in runs["correct"]]))
    with pytest.raises(ValueError, match="expected a finite number"):
        claims.judge(SECONDS, runs.assign(seconds=float("nan")))
    with pytest.raises(ValueError, match="unknown claim '01-nothing'"):
        claims.judge("01-nothing", runs)


def test_seeds_must_be_those_of_the_lesson(home, monkeypatch):
    with pytest.raises(ValueError, match=r"seeds \[1, 2, 3\]; expected consecutive ones from 0"):
        claims.judge(SOFT, make_runs(range(1, 4)))
    with pytest.raises(ValueError, match="consecutive"):
        claims.judge(SOFT, make_runs([0, 1, 3]))
    with pytest.raises(ValueError, match="at least 2 seeds"):
        claims.judge(SOFT, make_runs([0]))
    claims.judge(SOFT, make_runs())
    monkeypatch.setattr(lesson, "_current", lesson.Lesson("01", "quick", 100))
    claims.judge(SOFT, make_runs(range(100, 105)))
    assert sorted(p.parent.name for p in home.glob("build/*/*.json")) == ["quick", "quick-seed100"]


def test_smoke_checks_the_mechanics_only(home, monkeypatch):
    monkeypatch.setattr(lesson, "_current", lesson.Lesson("01", "smoke", 0))
    verdict = claims.judge(SOFT, make_runs([0]))
    assert verdict.verdict == "NOT JUDGED"
    assert "mechanics" in str(verdict)
    assert "NOT JUDGED" in verdict._repr_html_()
    assert not (home / "build").exists()
    runs = make_runs([0])
    with pytest.raises(ValueError, match="differ at seed 0"):
        claims.judge(SOFT, runs.assign(init=range(len(runs))))


@pytest.mark.parametrize("place", ["build", "results"])
def test_edited_claims_are_refused(home, monkeypatch, place):
    claims.judge(SOFT, make_runs())
    if place == "results":
        (home / "build").rename(home / "results")
        monkeypatch.delenv("KDCOURSE_RESULTS")
    claims.judge(SOFT, make_runs())  # the same claim again is fine
    (home / "claims.toml").write_text(LEDGER.replace("hard = 146", "hard = 147"))
    claims.judge(SOFT, make_runs())  # a corrected citation too
    (home / "claims.toml").write_text(LEDGER.replace("greater = 25", "greater = 20"))
    with pytest.raises(ValueError, match=r"was edited after its record .*; give the changed claim a new id"):
        claims.judge(SOFT, make_runs())


def test_nothing_is_recorded_without_a_folder(home, monkeypatch):
    monkeypatch.delenv("KDCOURSE_RESULTS")
    claims.judge(SOFT, make_runs())
    assert not list(home.glob("**/*.json"))


def test_corrupt_records_are_refused_by_name(home):
    claims.judge(SOFT, make_runs())
    folder = home / "build" / "quick"
    (folder / "lesson-01.json").write_text("{}")  # not a claim's record
    good = (folder / f"{SOFT}.json").read_text()
    edited = json.loads(good)
    edited["claim"]["statement"] = "Something else."
    for text in (good[:500], "[]", "{}", json.dumps(edited), json.dumps({**json.loads(good), "runs": []})):
        (folder / f"{SOFT}.json").write_text(text)
        with pytest.raises(ValueError, match=rf"{SOFT}.json is corrupt"):
            claims.read_records(folder)
    (folder / f"{SOFT}.json").unlink()
    (folder / "01-renamed.json").write_text(good)
    with pytest.raises(ValueError, match=r"01-renamed\.json is corrupt"):
        claims.read_records(folder)


def test_cards(home):
    runs = make_runs()
    verdict = claims.judge(SOFT, runs)
    text = str(verdict)
    for part in ("REPRODUCED", "shown", "soft targets <than> with labels", "Hinton", "conceptual", "single runs", "146", "74",
                 "97.5 % interval", "more than 25", "between test examples", "Paired on init, order, test examples"):  # fmt: skip
        assert part in text, part
    page = verdict._repr_html_()
    assert "&lt;than&gt;" in page
    assert "<than>" not in page
    assert "REPRODUCED" in page
    assert page.count("<tr>") == 3
    assert 'scope="row"' in page
    assert "http" not in page
    assert repr(verdict) == text
    unclear = str(claims.judge(SOFT, make_runs(rates={"hard": 0.3, "soft": 0.2})))
    assert "INCONCLUSIVE" in unclear
    assert "would decide" in unclear
    assert "same number" in str(claims.judge(SECONDS, runs.assign(seconds=3.0)))


@pytest.mark.parametrize(
    ("parts", "whole", "words"),
    [
        ([("greater", "shown")], "shown", "effect shown"),
        ([("greater", "reversed"), ("greater", "shown")], "reversed", "effect reversed"),
        ([("greater", "shown"), ("equivalent", "not shown")], "not shown", "effect not shown"),
        ([("equivalent", "not shown")] * 2, "not shown", "no difference shown"),
        ([("equivalent", "not shown"), ("equivalent", "reversed")], "reversed", "a difference shown"),
        ([], "not shown", "effect not shown"),
    ],
)
def test_a_card_speaks_of_differences_where_likeness_was_claimed(parts, whole, words):
    record = {"direction": whole, "contrasts": [{"test": test, "direction": way} for test, way in parts]}
    assert cards.outcome(record) == words


@pytest.mark.parametrize(
    ("verdict", "parts", "words"),
    [
        ("EXPLORATORY", [("greater", 10, 3, 9)], "effect shown, not the size asked for"),
        ("EXPLORATORY", [("greater", 10, 3, 19)], "effect shown, not the size asked for"),
        ("SMALLER", [("greater", 10, 3, 9)], "effect shown"),  # the verdict says it
        ("EXPLORATORY", [("greater", 10, 11, 19)], "effect shown"),
        ("EXPLORATORY", [("greater", 0, 1, 2), ("greater", 0, -1, 2), ("equivalent", 5, -1, 2)], "effect shown in 2 of 3 parts"),
        ("EXPLORATORY", [("greater", 0, 1, 2), ("greater", 0, -2, -1)], "effect reversed"),
        ("REPRODUCED", [("equivalent", 3, 1, 2)], "a difference shown, alike within the margin"),
        ("EXPLORATORY", [("equivalent", 20, -23, 18)], "no difference shown"),
        ("REPRODUCED", [("equivalent", 20, -13, 18)], "no difference shown, alike within the margin"),
    ],
)
def test_a_card_says_how_an_interval_lies_to_what_was_asked(verdict, parts, words):
    contrasts = [{"test": t, "bound": b, "lower": low, "upper": up, "direction": inference.decide("greater", 0, low, up)[1]} for t, b, low, up in parts]
    ways = [c["direction"] for c in contrasts]
    whole = next((way for way in ("reversed", "not shown") if way in ways), "shown")
    assert cards.outcome({"verdict": verdict, "direction": whole, "contrasts": contrasts}) == words


def test_units_are_words():
    record = {"unit": "accuracy", "claim": {"outcome": "agrees"}}
    assert cards.unit(record) == "agreement with the teacher"
    assert cards.unit({"unit": "errors per 10,000", "claim": {"outcome": "correct_disturbed"}}) == "errors per 10,000 of disturbed images"
    assert cards.unit({"unit": "turned", "claim": {}}) == "percent of the class turned"


def test_recorded_runs_of_another_profile(home, monkeypatch):
    assert "No run of the profile full" in str(claims.recorded("01"))
    monkeypatch.setattr(lesson, "_current", lesson.Lesson("01", "full", 0))
    verdict = claims.judge(SOFT, make_runs())
    (home / "build").rename(home / "results")
    monkeypatch.setattr(lesson, "_current", lesson.Lesson("01", "quick", 0))
    shown = claims.recorded("01")
    part = verdict.record["contrasts"][0]
    for text in (str(shown), shown._repr_markdown_()):
        for wanted in ("REPRODUCED", cards.number(part["estimate"]), cards.number(part["lower"]), "(published 146)", "01-keeps-most", "profile full"):
            assert wanted in text
    assert [len(row) for row in shown._repr_markdown_().splitlines()[2:] if row.count("|") != 6] == []
    assert "No run" in str(claims.recorded("02"))
    explored = {**verdict.record, "claim": {**verdict.record["claim"], "kind": "exploratory", "statement": "Asked."}}
    rows = str(cards.Recorded("full", (explored, verdict.record), ())).splitlines()[1:]
    assert [row.startswith("Asked.") for row in rows] == [False, True]  # primary claims first
    assert "No run" in str(claims.recorded("01", "quick"))
    (home / "claims.toml").write_text(LEDGER.replace("greater = 25", "greater = 20"))
    with pytest.raises(ValueError, match="was edited after its record"):
        claims.recorded("01")
