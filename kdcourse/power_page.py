"""The power page of the report: the spread of every recorded contrast, what seeds can see, and where the test images are the floor."""

import base64
import collections
import html
import io
import math

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from kdcourse import plots, power
from kdcourse.cards import number

SEEDS = (10, 20, 50, math.inf)
ERRORS = "errors per 10,000"
GAPS = {"Müller, Kornblith & Hinton 2019": 17, "the replication by Wagner et al. 2025": 12}  # between two students, in errors
KINDS = {"published": "published", "ours": "ours", "none": "no effect at all"}


# ---- words ----------------------------------------------------------------------------------------------------------


def needed(row: power.Row, effect: float, from_zero: bool = False) -> str:
    """The seeds that tell an effect from the claim's bound, or from 0, or why no number of seeds does."""
    part, bound = row.part, 0.0 if from_zero else row.part["bound"]
    equivalent = part["test"] == "equivalent" and not from_zero
    if row.spread is None:
        return "every seed gave the same number"
    if (abs(effect) if equivalent else effect) == bound:
        return "never: the effect lies on it"
    seeds = row.seeds(effect, from_zero=from_zero)
    if seeds is None:
        ours = row.part["estimate"]
        return never(row.spread) + (f", if they vary as at our {number(ours)}" if abs(effect) < abs(ours) else "")
    side = ("inside ±" if abs(effect) < bound else "outside ±") if equivalent else "above " if effect > bound else "below "
    return f"{seeds:,} seeds, {side}{number(bound)}"


def never(known: power.Spread) -> str:
    """Why no number of seeds is enough."""
    if known.examples is None:
        return "no number of seeds"
    return f"not with {known.examples:,} test images, however many seeds"


def shares(row: power.Row) -> str:
    """The three parts of the variance in per cent."""
    if row.spread is None:
        return "–"
    if row.spread.examples is None:
        return "seeds only"
    return " + ".join(f"{100 * share:.0f}" for share in row.spread.shares(len(row.record["seeds"])))


def widths(row: power.Row) -> list[str]:
    """Half-widths of the interval with the present seeds, with more, and the floor."""
    if row.spread is None:
        return ["–"] * (1 + len(SEEDS))
    present, level = len(row.record["seeds"]), row.part["level"]
    found = [f"{number(_half(row, present, level))} ({present} seeds)"]
    found += [number(_half(row, seeds, level)) for seeds in SEEDS[:-1]]
    return [*found, number(_half(row, math.inf, level)) if row.spread.examples else "no floor"]


def _half(row, seeds, level) -> float:
    """To one digit beyond what a count needs, so that half an error is not taken for a whole one."""
    return float(f"{float(power.half_width(row.spread, seeds, level)):.3g}")


def uncertainty(found: list[power.Row]) -> str:
    """How well so few seeds know their own spread (chi-square interval)."""
    counts = collections.Counter(len(row.record["seeds"]) for row in found)
    seeds = counts.most_common(1)[0][0]
    low, high = (math.sqrt((seeds - 1) / stats.chi2.ppf(q, seeds - 1)) for q in (0.975, 0.025))
    return (
        f"A standard deviation from {seeds} seeds may lie {low:.1f} to {high:.1f} times as high in truth (95 %): "
        "read the seeds needed as an order of magnitude."
    )


def small_gaps(usual: power.Typical, seeds: int = 5) -> list[str]:
    """For each published gap between students of teachers with and without label smoothing: what five seeds would make of it."""
    return [_small_gap(source, gap, usual.at(gap), seeds) for source, gap in GAPS.items()]


def _small_gap(source: str, gap: float, known: power.Spread, seeds: int) -> str:
    half, seen = float(power.half_width(known, seeds)), float(power.chance(gap, known, seeds))
    settings = {"examples": known.examples, "half_example": known.half_example}
    enough = power.seeds_needed(gap, known.seed_sd, known.example_error, **settings)
    needs = f"{enough:,} seeds are needed for 80 of 100" if enough else f"80 of 100 cannot be had: {never(known)}"
    return (
        f"{source}: a gap of {gap} errors. {seeds} seeds are {'enough' if seen >= 0.8 else 'too few'} to see it: their interval reaches "
        f"{half:.0f} errors to either side, and it excludes 0 in {100 * seen:.0f} of 100 studies of such a gap; {needs}."
    )


# ---- the terminal ---------------------------------------------------------------------------------------------------


def terminal(evidence) -> str:
    """The page as text: three lines a contrast."""
    found = power.rows(evidence.records.values(), evidence.ledger)
    lines = []
    for row in found:
        head = "".join(f"; {s if math.isfinite(s) else '∞'}: {w}" for s, w in zip(SEEDS, widths(row)[1:]))
        lines += [f"{row.name} = {number(row.part['estimate'])} ± {number(row.part['standard_error'])} {row.record['unit']}"]
        lines += [f"    variance, %: {shares(row)}; half-width {widths(row)[0]}{head}"]
        for kind, effect in row.effects().items():
            zero = "" if row.part["bound"] == 0 or kind == "none" else f"; from 0: {needed(row, effect, True)}"
            lines.append(f"    {KINDS[kind]} {number(effect)}: {needed(row, effect)}{zero}")
    for usual in power.typical(found):
        lines += [f"label smoothing, {line}" for line in (small_gaps(usual) if usual.unit == ERRORS else [])]
    return "\n".join(lines) or f"no judged claims in profile {evidence.profile}"


# ---- the page -------------------------------------------------------------------------------------------------------


def section(evidence) -> str:
    """The power page of one profile as HTML without external parts; empty where nothing was judged."""
    found = power.rows(evidence.records.values(), evidence.ledger)
    if not found:
        return ""
    usual = power.typical(found)
    errors = next((one for one in usual if one.unit == ERRORS and one.examples), None)
    words = (
        "A seed varies two things: which student is trained, and which single answers fall by chance on the right or the wrong side. More "
        "seeds average both out. They do not average out which images happened to be in the test set: that part stays, and its "
        "half-width with infinitely many seeds is the floor. An effect as large as the half-width is seen every other time; "
        "“seeds needed” means 80 times of 100, at the level of the claim."
    )
    return (
        f"<h3>What can these seeds see?</h3><p>{words} {html.escape(uncertainty(found))}</p>"
        + _spreads(found)
        + figure(found)
        + _needs(found)
        + _usual(usual)
        + (_errors(errors) if errors else "")
    )


def _table(caption: str, head, body: str) -> str:
    cells = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    return (
        f'<div class="wide" tabindex="0"><table><caption>{html.escape(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _line(first: str, cells, span: int = 1) -> str:
    """One row; without `first` it belongs to the row header above."""
    over = f' rowspan="{span}"' if span > 1 else ""
    header = f'<th scope="row{"group" if span > 1 else ""}"{over}>{first}</th>' if first else ""
    return f"<tr>{header}{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _name(row: power.Row) -> str:
    claim, part = row.record["claim"], row.part
    test = f"> {number(part['bound'])}" if part["test"] == "greater" else f"within ±{number(part['bound'])}"
    small = f"{claim['id']}, {row.record['unit']}, {100 * part['level']:.3g} %"
    return f"{html.escape(part['expression'])} {html.escape(test)}<br><small>{html.escape(small)}</small>"


def _spreads(found) -> str:
    caption = (
        "Spread and reach of every recorded contrast: standard deviation over seeds of the paired difference; the variance of the estimate in "
        "per cent, between seeds + noise of single answers + test images; half-width of the interval now, with more seeds, and its floor. A seed sd "
        "that came out below the noise of single answers is predicted from that noise. Seeds only: the interval does not cover another test set"
    )
    head = ("Contrast, level", "Estimate ± standard error", "Seed sd", "Variance, %", "Half-width now",
            *(f"{seeds} seeds" for seeds in SEEDS[:-1]), "Floor: ∞ seeds")  # fmt: skip
    body = []
    for row in found:
        estimate = f"{number(row.part['estimate'])} ± {number(row.part['standard_error'])}"
        sd = number(math.sqrt(row.part["seed_part"] * len(row.record["seeds"])))
        body.append(_line(_name(row), [estimate, sd, shares(row), *widths(row)]))
    return _table(caption, head, "".join(body))


def _needs(found) -> str:
    caption = (
        "Seeds needed for 80 % power, if the spread stays as it is here. The test-image part usually shrinks with the gap, so a floor measured "
        "at a large effect is pessimistic about a much smaller one. A claim of several contrasts needs at least the largest of its numbers"
    )
    body = []
    for row in found:
        effects = row.effects()
        for position, (kind, effect) in enumerate(effects.items()):
            zero = "–" if kind == "none" else needed(row, effect, True)
            cells = [f"{KINDS[kind]}: {number(effect)}", needed(row, effect), zero]
            body.append(_line("" if position else _name(row), cells, len(effects)))
    return _table(caption, ("Contrast, level", "Effect", "To tell it from the bound", "To tell it from 0"), "".join(body))


def _usual(usual: list[power.Typical]) -> str:
    caption = (
        "The smallest difference of two arms told from 0 with 80 % power at 95 %, for the usual spread of each metric (medians over the "
        "contrasts above; the test-image part grows with the gap, since a gap is made of images on which the arms differ)"
    )
    counts = (5, *SEEDS)
    head = ("Metric", "Contrasts", "Seed sd", "Test-image variance per error of gap", *(f"{seeds} seeds" for seeds in counts[:-1]), "∞")
    body = []
    for one in usual:
        effects = [number(float(f"{power.smallest_effect(one.at, seeds):.3g}")) for seeds in counts[:-1]]
        effects += [number(float(f"{power.smallest_effect(one.at, math.inf):.3g}")) if one.examples else "no floor known"]
        ratio = f"{one.per_gap:.2f}" if one.examples else "–"
        body.append(_line(html.escape(one.unit), [str(one.contrasts), number(one.seed_sd), ratio, *effects]))
    return _table(caption, head, "".join(body))


def _errors(usual: power.Typical) -> str:
    caption = f"How many of 100 studies tell such a gap from 0 at 95 %, by seeds and gap in {ERRORS}, for the usual spread"
    gaps = sorted({10, 25, 50, 75, 100, *GAPS.values()})
    body = ""
    for seeds in (3, 5, *SEEDS):
        chances = [float(power.chance(gap, usual.at(gap), seeds)) for gap in gaps]
        body += _line(f"{seeds} seeds" if math.isfinite(seeds) else "∞ seeds", [f"{100 * c:.0f}" if c < 0.995 else "> 99" for c in chances])
    said = "".join(f"<li>{html.escape(line)}</li>" for line in small_gaps(usual))
    why = "Students of teachers with and without label smoothing on MNIST, at the usual spread of this course:"
    return _table(caption, ("Seeds", *(f"{gap} errors" for gap in gaps)), body) + f"<p>{why}</p><ul>{said}</ul>"


# ---- the figure -----------------------------------------------------------------------------------------------------


def figure(found) -> str:
    """Half-width against seeds, where test images weigh least and where they weigh most, as inlined SVG; empty without examples."""
    known = [row for row in found if row.spread and row.spread.examples and row.record["claim"]["kind"] == "primary"]
    if len(known) < 2:
        return ""
    known.sort(key=lambda row: row.spread.shares(len(row.record["seeds"]))[2])
    chosen, seeds = (known[0], known[-1]), np.unique(np.geomspace(3, 200, 80).round())
    with mpl.rc_context():
        plots.style()
        mpl.rcParams["svg.hashsalt"] = "kdcourse"
        drawn = Figure(figsize=(8, 3))
        for axis, row in zip(drawn.subplots(1, 2), chosen):
            _panel(axis, row, seeds)
        buffer = io.BytesIO()
        drawn.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    said = "; ".join(f"{row.name}: {', '.join(widths(row)[:1])}, floor {widths(row)[-1]}" for row in chosen)
    alt = f"Two curves of the interval's half-width against the number of seeds, each falling towards its dashed floor. {said}."
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = "The primary contrasts in which the test images have the smallest and the largest share of the variance"
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{html.escape(alt)}" width="860">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _panel(axis, row: power.Row, seeds) -> None:
    level, present = row.part["level"], len(row.record["seeds"])
    curve, floor = power.half_width(row.spread, seeds, level), _half(row, math.inf, level)
    now = float(power.half_width(row.spread, present, level))
    axis.plot(seeds, curve, color=plots.COLOURS["soft"])
    axis.plot(present, now, "o", color=plots.COLOURS["soft"])
    axis.annotate(f"{present} seeds: {now:.0f}", (present, now), xytext=(8, 4), textcoords="offset points")
    axis.axhline(floor, color=plots.COLOURS["teacher"], linestyle="--", linewidth=1)
    low = floor < 0.2 * now  # no room below the line
    label = f"floor of {row.spread.examples:,} test images: {floor:.0f}"
    axis.annotate(label, (3, floor), xytext=(0, 3 if low else -12), textcoords="offset points", color=plots.COLOURS["teacher"])
    axis.set(xscale="log", xlabel="seeds", ylabel=f"half-width, {row.record['unit']}", ylim=(0, 1.6 * now))
    axis.set_xticks([3, 5, 10, 20, 50, 200], ["3", "5", "10", "20", "50", "200"])
    axis.minorticks_off()
    axis.set_title(row.part["expression"])
