"""What seeds can see is predicted as simulated studies and closed forms have it, and shown for every record."""

import copy
import math

import numpy as np
import pytest
from scipy import optimize, stats

from kdcourse import claims, cli, inference, lesson, power, power_page, report

MODELS = {  # standard deviations of seeds, examples, single answers; 100 examples
    "seeds dominate": (1.0, 1.0, 1.0),
    "examples dominate": (0.05, 1.0, 0.3),
    "answers dominate": (0.1, 0.3, 2.0),
    "all alike": (0.2, 1.0, 2.0),
}
EXAMPLES = 100


def gauss(studies, seeds, sds, rng, examples=EXAMPLES):
    """Studies of the two-way random effects model with mean 0."""
    seed_sd, example_sd, residual_sd = sds
    noise = rng.standard_normal((studies, seeds, examples), dtype=np.float32) * residual_sd
    return noise + rng.normal(0, seed_sd, (studies, seeds, 1)) + rng.normal(0, example_sd, (studies, 1, examples))


def true_spread(sds, examples=EXAMPLES):
    """The Spread that the components make: what a seed varies by on one test set, and what the test set leaves."""
    seed_sd, example_sd, residual_sd = sds
    noise = residual_sd / math.sqrt(examples)
    return power.Spread(math.hypot(seed_sd, noise), example_sd / math.sqrt(examples), examples, noise_sd=noise)


# ---- against simulated studies ----


@pytest.mark.parametrize("model", MODELS)
def test_variance_at_few_and_many_seeds(model):
    rng, sds = np.random.default_rng(1), MODELS[model]
    known = true_spread(sds, 30)
    for seeds, studies in ((5, 4000), (300, 2500)):
        means = gauss(studies, seeds, sds, rng, 30).mean((1, 2))
        predicted = float(power.predict(known, seeds)["variance"])
        assert predicted == pytest.approx(known.seed_sd**2 / seeds + known.example_error**2)
        low, high = stats.chi2.ppf([0.0005, 0.9995], studies - 1) / (studies - 1)
        assert low < means.var(ddof=1) / predicted < high
    floor = float(power.predict(known, math.inf)["variance"])
    assert floor == pytest.approx(sds[1] ** 2 / 30)  # of the three components only the examples remain
    assert known.example_error**2 == pytest.approx(floor)
    if model == "examples dominate":
        assert low < means.var(ddof=1) / floor < high * 1.05  # 300 seeds are nearly there


@pytest.mark.parametrize("model", MODELS)
def test_spread_of_a_small_study_predicts_a_larger_one(model):
    rng, sds = np.random.default_rng(2), MODELS[model]
    found, known = inference.estimate(gauss(4000, 5, sds, rng)), true_spread(sds)
    parts = {key: float(value.mean()) for key, value in found.items() if np.ndim(value)} | {"half_example": 0.0}
    read = power.spread(parts, 5, EXAMPLES)
    assert read.seed_sd**2 == pytest.approx(known.seed_sd**2, rel=0.1)
    assert read.example_error**2 == pytest.approx(known.example_error**2, rel=0.05)
    assert read.noise_sd**2 == pytest.approx(known.noise_sd**2, rel=0.02)
    assert sum(read.shares(5)) == pytest.approx(1)
    assert read.shares(50)[2] > read.shares(5)[2]


@pytest.mark.parametrize(("seeds", "tolerance"), [(5, 0.10), (10, 0.06), (30, 0.03)])
@pytest.mark.parametrize("model", MODELS)
def test_half_widths(model, seeds, tolerance):
    rng, sds = np.random.default_rng(3), MODELS[model]
    lower, upper = inference.bounds(inference.estimate(gauss(1500, seeds, sds, rng)), 0.95)
    measured = math.sqrt((((upper - lower) / 2) ** 2).mean())
    print(f"{model}, {seeds} seeds: {measured:.4f} {float(power.half_width(true_spread(sds), seeds)):.4f}")  # pytest -rP
    assert float(power.half_width(true_spread(sds), seeds)) == pytest.approx(measured, rel=tolerance)


@pytest.mark.parametrize(("seeds", "tolerance"), [(3, 0.06), (5, 0.04), (12, 0.03)])
@pytest.mark.parametrize("model", MODELS)
def test_power(model, seeds, tolerance):
    rng, sds = np.random.default_rng(4), MODELS[model]
    known, found = true_spread(sds), inference.estimate(gauss(2500, seeds, sds, rng))
    lower, upper = inference.bounds(found, 0.95)
    for widths in (0.7, 1.0, 1.4):
        effect = widths * float(power.half_width(known, seeds))
        predicted = float(power.chance(effect + 3, known, seeds, bound=3.0))
        measured = np.mean(lower + effect > 0)
        print(f"{model}, {seeds} seeds, {widths}: {measured:.3f} {predicted:.3f}")
        assert predicted == pytest.approx(measured, abs=tolerance)
        assert float(power.chance(3 - effect, known, seeds, bound=3.0)) == pytest.approx(predicted)
    margin = 1.9 * float(power.half_width(known, seeds))
    inside = np.mean((lower > -margin) & (upper < margin))
    assert float(power.chance(0.0, known, seeds, bound=margin, test="equivalent")) == pytest.approx(inside, abs=tolerance)


def test_the_seeds_asked_for_are_enough():
    rng, sds = np.random.default_rng(5), (0.3, 1.0, 1.0)
    known = true_spread(sds)
    seeds = power.seeds_needed(0.4, known.seed_sd, known.example_error, examples=EXAMPLES)
    lower, _ = inference.bounds(inference.estimate(gauss(2000, seeds, sds, rng)), 0.95)
    assert np.mean(lower + 0.4 > 0) == pytest.approx(0.8, abs=0.05)
    assert 5 < seeds < 40
    assert float(power.chance(0.4, known, seeds - 1)) < 0.8 <= float(power.chance(0.4, known, seeds))


# ---- against closed forms ----


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10)])
def test_without_examples_it_is_the_paired_t_test(effect, seeds):
    assert power.seeds_needed(effect, 1.0) == seeds  # the tables of Cohen 1988
    assert power.seeds_needed(10 + 7 * effect, 7.0, bound=10.0) == seeds
    assert power.seeds_needed(10 - 7 * effect, 7.0, bound=10.0) == seeds
    for level, wanted in ((0.95, 0.8), (1 - 0.05 / 3, 0.9)):
        slow = next(
            k for k in range(2, 500)
            if stats.nct.sf(stats.t.ppf((1 + level) / 2, k - 1), k - 1, effect * math.sqrt(k)) >= wanted
        )  # fmt: skip
        assert power.seeds_needed(effect, 1.0, level=level, wanted=wanted) == slow


def test_many_seeds():
    found = power.seeds_needed(0.01, 1.0)
    assert found == pytest.approx(((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / 0.01) ** 2, rel=1e-3)
    known = power.Spread(1.0)
    assert float(power.chance(0.01, known, found)) >= 0.8 > float(power.chance(0.01, known, found - 1))


def test_without_seed_spread_the_examples_decide():
    reach = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)  # 2.80 standard errors
    assert power.seeds_needed(1.01 * reach, 0.0, 1.0, examples=10_000) == inference.FEW_SEEDS
    assert power.seeds_needed(0.99 * reach, 0.0, 1.0, examples=10_000) is None
    assert power.seeds_needed(0.99 * reach, 5.0, 1.0, examples=10_000) is None
    assert power.seeds_needed(1.1 * reach, 5.0, 1.0, examples=10_000) > 20
    assert power.seeds_needed(1.1 * reach, 5.0) < power.seeds_needed(1.1 * reach, 5.0, 1.0, examples=10_000)
    floor = float(power.half_width(power.Spread(5.0, 1.0, 10_000), math.inf))
    assert floor == pytest.approx(stats.t.ppf(0.975, 9999))
    assert float(power.half_width(power.Spread(5.0), math.inf)) == 0.0
    assert float(power.half_width(power.Spread(5.0, 1.0, 10_000, half_example=0.05), math.inf)) == pytest.approx(floor + 0.05)


def test_equivalence_of_no_effect():
    seeds = power.seeds_needed(0.0, 1.0, bound=0.5, test="equivalent")
    slow = next(
        k for k in range(2, 500)
        if 2 * stats.nct.sf(stats.t.ppf(0.975, k - 1), k - 1, 0.5 * math.sqrt(k)) - 1 >= 0.8
    )  # fmt: skip
    assert seeds == slow
    assert power.seeds_needed(0.2, 1.0, bound=0.5, test="equivalent") > seeds
    assert power.seeds_needed(0.5, 1.0, bound=0.5, test="equivalent") is None
    assert power.seeds_needed(1.5, 1.0, bound=0.5, test="equivalent") == power.seeds_needed(1.0, 1.0)
    assert power.seeds_needed(-1.5, 1.0, bound=0.5, test="equivalent") == power.seeds_needed(1.0, 1.0)
    assert power.seeds_needed(0.0, 1.0, 0.2, examples=100, bound=0.5, test="equivalent") is None  # 0.2·(1.98 + 1.28) > 0.5


def test_an_effect_on_the_bound_is_never_told_from_it():
    assert power.seeds_needed(3.0, 1.0, bound=3.0) is None
    assert power.seeds_needed(0.0, 1.0) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"effect": math.nan}, "effect is nan"),
        ({"seed_sd": -1.0}, "seed_sd is -1.0; expected a finite number of at least 0"),
        ({"example_error": math.inf}, "example_error is inf"),
        ({"bound": -2.0}, "bound is -2.0"),
        ({"half_example": -0.5}, "half_example is -0.5"),
        ({"level": 95}, "level is 95; expected a probability"),
        ({"wanted": 0}, "wanted is 0; expected a probability"),
        ({"test": "less"}, "test is 'less'"),
        ({"example_error": 1.0}, "examples is None with example_error 1.0"),
        ({"examples": 1}, "examples is 1"),
    ],
)
def test_bad_input_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        power.seeds_needed(**{"effect": 1.0, "seed_sd": 1.0, **wrong})
    with pytest.raises(ValueError, match="at least 2"):
        power.half_width(power.Spread(1.0), [1, 5])


def test_smallest_effect_is_the_inverse_of_power():
    known = power.Spread(15.0, 3.0, 10_000, half_example=0.5)
    for seeds in (5, 20, math.inf):
        effect = power.smallest_effect(lambda _: known, seeds)
        assert float(power.chance(effect, known, seeds)) == pytest.approx(0.8, abs=1e-3)
    usual = power.Typical("errors per 10,000", 3, 15.0, 1.0, 10_000, 10_000.0)
    assert usual.at(25).example_error == pytest.approx(5)  # 25 images that changed for good: a binomial count
    reach = lambda e: e - 0.5 - (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * math.sqrt(e)
    expected = optimize.brentq(reach, 1, 50)
    assert power.smallest_effect(usual.at, math.inf) == pytest.approx(expected, rel=2e-3)


# ---- records ----


@pytest.fixture(scope="module")
def evidence():
    return report.gather(lesson.ROOT / "results", "quick")


@pytest.fixture(scope="module")
def rows(evidence):
    return power.rows(evidence.records.values())


def test_every_recorded_interval_is_what_its_spread_predicts(rows):
    assert len(rows) >= 15
    for row in rows:
        part, seeds = row.part, len(row.record["seeds"])
        half = (part["upper"] - part["lower"]) / 2
        # An example part below the noise of single answers counts as none, and the noise stands in for it: max(A, C) for max(A, B).
        A, B, C = (part[name] for name in ("seed_part", "example_part", "residual_part"))
        longer = math.sqrt(max(A, C) / max(A, B)) if C > B else 1.0
        found = power.predict(row.spread, seeds)
        assert math.sqrt(found["variance"]) == pytest.approx(longer * part["standard_error"]), row.name
        expected = float(power.half_width(row.spread, seeds, part["level"]))
        if C > B:
            assert half < expected < half * longer * 1.001, row.name
        else:
            assert expected == pytest.approx(half, rel=1e-6), row.name
        weights, _ = claims.parse_expression(part["expression"])
        differences = sum(w * np.array(row.record["arms"][arm]["per_seed"]) for arm, w in weights.items())
        assert math.sqrt(part["seed_part"] * seeds) == pytest.approx(differences.std(ddof=1))
        assert row.spread.seed_sd >= differences.std(ddof=1) * (1 - 1e-9)
        least = (2 * row.spread.half_example) ** 2
        if power.predict(row.spread, math.inf)["variance"] <= least:
            # No image to blame: with endless seeds the interval is that of one image that might have differed.
            one = power.Spread(0.0, 0.0, row.spread.examples, half_example=row.spread.half_example)
            endless = float(power.half_width(one, math.inf, part["level"]))
            assert float(power.half_width(row.spread, math.inf, part["level"])) == pytest.approx(endless), row.name
        # That interval, a skewed one, may be the wider: more seeds narrow what seeds and images say, as long as these say more than one image.
        many = [k for k in (seeds, 10, 20, 50, math.inf) if power.predict(row.spread, k)["variance"] > least]
        wide = [float(power.half_width(row.spread, k, part["level"])) for k in many]
        assert wide == sorted(wide, reverse=True)
        if part["seeds_to_decide"]:
            assert row.seeds(part["estimate"]) == pytest.approx(part["seeds_to_decide"], abs=1)


def test_skewed_examples_count_as_in_the_verdict():
    rng = np.random.default_rng(6)
    rare = (rng.random((1, 400)) < 0.02) * (rng.random((8, 400)) < 0.9)
    found = {key: float(value) for key, value in inference.estimate(-rare.astype(float), unit=1.0).items()}
    known = power.spread(found, 8, 400)
    lower, upper = inference.bounds(found, 0.95)
    assert found["skew_down"] > 0 == found["skew_up"]
    assert float(power.half_width(known, 8)) == pytest.approx((upper - lower) / 2)
    few = {key: float(value) for key, value in inference.estimate(np.zeros((5, 400)), unit=1.0).items()}
    lower, upper = inference.bounds(few, 0.95)  # nothing differs: one example might
    for seeds in (5, math.inf):
        assert float(power.half_width(power.spread(few, 5, 400), seeds)) == pytest.approx((upper - lower) / 2, rel=1e-3)


def test_published_effects(rows):
    found = {row.name: row.effects().get("published") for row in rows}
    assert found["01-soft-beats-hard: hard - soft"] == 146 - 74
    assert found["01-student-equals-teacher: soft - teacher"] == 74 - 67
    assert found["01-weak-teacher: weak - hard + 20"] is None
    claim = {"metric": "errors", "published": {"hard": 146, "soft": 74, "note": "single runs"}}
    assert power.published_effect(claim, "hard - 0.5*soft - 9") == 100
    assert power.published_effect(claim, "hard - other") is None
    assert power.published_effect(claim | {"metric": "accuracy"}, "hard - soft") is None  # errors are no accuracies
    assert power.published_effect({"metric": "accuracy", "published": {"a": 0.9, "b": 0.8}}, "a - b") == pytest.approx(0.1)


def test_a_corrected_citation_is_used(evidence):
    name = "01-soft-beats-hard"
    entry = evidence.ledger[name].entry() | {"published": {"hard": 150, "soft": 60}}
    row = power.rows([evidence.records[name]], {name: claims.read_claim(entry)})[0]
    assert row.effects()["published"] == 90


def test_words(rows):
    by_name = {row.name: row for row in rows}
    equal = by_name["01-student-equals-teacher: soft - teacher"]
    assert set(equal.effects()) == {"published", "ours", "none"}
    assert power_page.needed(equal, 20.0) == "never: the effect lies on it"
    assert power_page.needed(equal, -500.0).endswith("seeds, outside ±20")
    assert power_page.needed(equal, 1.0, True).startswith("not with 10,000 test images, however many seeds")
    soft = by_name["01-soft-beats-hard: hard - soft"]
    assert power_page.needed(soft, 500.0).endswith("seeds, above 50")
    assert power_page.needed(soft, -500.0, True).endswith("seeds, below 0")
    steps = by_name["01-fewer-steps: hard - soft"]
    assert steps.spread.examples is None
    assert power_page.shares(steps) == "seeds only"
    assert power_page.widths(steps)[-1] == "no floor"
    assert "test images" not in power_page.needed(steps, 1e-7)
    part = {**steps.part, "lower": None, "upper": None}
    same = power.Row(steps.record, part, power.read_spread(steps.record, part))
    assert same.spread is None
    assert power_page.needed(same, 3.0) == "every seed gave the same number"
    assert power_page._spreads([same]).count("–") >= 5


def test_label_smoothing_at_the_usual_spread(rows):
    usual = next(one for one in power.typical(rows) if one.unit == power_page.ERRORS)
    lines = power_page.small_gaps(usual)
    for line, gap in zip(lines, (17, 12)):
        assert f"a gap of {gap} errors. 5 seeds are too few to see it" in line
        assert f"{power.seeds_for(gap, usual.at(gap))} seeds are needed" in line
    crowd = power.Typical(usual.unit, 1, 2.0, 4.0, 10_000, 10_000.0)
    assert "not with 10,000 test images, however many seeds" in power_page.small_gaps(crowd)[0]
    assert "5 seeds are enough" in power_page.small_gaps(power.Typical(usual.unit, 1, 2.0, 0.1, 10_000, 10_000.0))[0]


def test_typical_leaves_out_what_is_no_difference(rows):
    errors = [row for row in rows if row.record["unit"] == power_page.ERRORS]
    part = {**errors[0].part, "expression": "labels - 300"}
    alone = power.Row(errors[0].record, part, errors[0].spread)
    assert power.typical([alone]) == []
    assert power.typical([*errors, alone]) == power.typical(errors)


def test_page(evidence, rows):
    page = power_page.section(evidence)
    for row in rows:
        assert row.record["claim"]["id"] in page
    assert page.count("<table>") == page.count("<caption>") == 4
    assert "not with 10,000 test images, however many seeds" in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert 'alt="Two curves' in page
    assert "http" not in page
    assert page in report.page(lesson.ROOT / "results")
    assert power_page.section(evidence) == page
    said = power_page.terminal(evidence)
    assert all(f"{row.name} = " in said for row in rows)
    assert "label smoothing, Müller" in said


def test_nothing_judged_nothing_shown(evidence):
    smoke = {name: {**copy.deepcopy(record), "contrasts": []} for name, record in evidence.records.items()}
    nothing = report.Evidence("smoke", evidence.ledger, smoke, {}, [])
    assert power_page.section(nothing) == ""
    assert power_page.terminal(nothing) == "no judged claims in profile smoke"


def test_terminal_writes_nothing(tmp_path, monkeypatch, capsys):
    results = lesson.ROOT / "results"
    (tmp_path / "claims.toml").write_text((lesson.ROOT / "claims.toml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    assert cli.main(["report", "--power", "--results", str(results)]) == 0
    assert "01-soft-beats-hard: hard - soft = " in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"claims.toml", "notebooks"}
