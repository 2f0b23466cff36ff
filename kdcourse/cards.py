"""What a notebook shows of its claims: those to be tested, the card of a judged one, and what was recorded of them in another profile."""

import html
from dataclasses import dataclass
from pathlib import Path

from kdcourse import lesson

# What a metric measures, for readers, where its name in the ledger does not say it.
UNITS = {
    "agreement": "test images with the teacher's answer",
    "auc": "AUC",
    "auc_others": "AUC among the other members",
    "both": "percent, mean of what is turned and what stays right",
    "caught_norm": "percent caught",
    "ece": "percent, calibration error",
    "five_shot": "percent right",
    "found_01": "percent of the members found",
    "log2_best": "log₂ of the best T",
    "noise": "gradient noise",
    "percent": "percent right",
    "rank": "rank correlation",
    "second_choices": "agreement on second choices",
    "spread_ratio": "variance within classes to between them",
    "steps_to_goal": "steps",
    "test_errors": "errors on the test images",
    "turned": "percent of the class turned",
    "wrong_labels": "wrong labels",
}
# What is asked of each test image instead of whether the answer is right.
OUTCOMES = {"agrees": "agreement with the teacher", "threes": "accuracy on the threes", "correct_disturbed": "{} of disturbed images"}
COLOURS = {"REPRODUCED": "#1a7f37", "SMALLER": "#8a5a00", "REFUTED": "#b3261e"}  # white text on each: contrast above 5


def number(value) -> str:
    """A measured value as cards and tables show it: counts whole, three digits or one decimal otherwise."""
    if value is None:
        return "–"
    if float(f"{value:.9g}").is_integer():  # a sum of 10,000 × (1 - correct) may be off in the last bits
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def unit(record: dict) -> str:
    """What the numbers of a record count, in words."""
    asked = OUTCOMES.get(record["claim"].get("outcome", "correct"), "")
    return asked.format(record["unit"]) if asked else UNITS.get(record["unit"], record["unit"])


def outcome(record: dict) -> str:
    """Which way it went, in words: of an effect, or of a difference where all that was claimed is that things are alike.

    Where no verdict says so, it also says that an effect is not as large as asked, and how many parts of several are shown.
    """
    contrasts = record["contrasts"]
    if contrasts and all(c["test"] == "equivalent" for c in contrasts):
        said = "no difference shown" if all(c["direction"] == "not shown" for c in contrasts) else "a difference shown"
        return said + (", alike within the margin" if all(_holds(c) for c in contrasts) else "")
    if record.get("verdict") != "EXPLORATORY":
        return f"effect {record['direction']}"
    shown = sum(c["direction"] == "shown" if c["test"] == "greater" else _holds(c) for c in contrasts)
    if record["direction"] == "not shown" and 0 < shown < len(contrasts):
        return f"effect shown in {shown} of {len(contrasts)} parts"
    small = record["direction"] == "shown" and not all(_holds(c) for c in contrasts)
    return f"effect {record['direction']}" + (", not the size asked for" if small else "")


def effect(record: dict, contrast: dict) -> str:
    """A contrast's estimate with its interval and unit, in one line."""
    interval = f"[{number(contrast['lower'])}, {number(contrast['upper'])}]"
    return f"{contrast['expression']} = {number(contrast['estimate'])} {interval} {unit(record)}"


def _holds(contrast: dict) -> bool:
    """Whether the whole interval lies where the contrast asks for it."""
    lower, upper, bound = contrast.get("lower"), contrast.get("upper"), contrast.get("bound")
    if lower is None or upper is None:
        return False
    return lower > bound if contrast["test"] == "greater" else -bound < lower and upper < bound


def _asked(contrast: dict) -> str:
    return f"more than {number(contrast['bound'])}" if contrast["test"] == "greater" else f"within ±{number(contrast['bound'])}"


def _sentences(record: dict) -> list[str]:
    lines, asked = [], "claimed" if record["claim"]["kind"] == "primary" else "asked, without a verdict"
    for c in record["contrasts"]:
        needs = _asked(c)
        judged = "" if c["verdict"] == "EXPLORATORY" else f"{c['verdict']}, "
        own = f"; {judged}{outcome({**c, 'contrasts': [c]})}" if len(record["contrasts"]) > 1 else ""
        lines.append(f"{c['expression']} = {number(c['estimate'])} {unit(record)}, {100 * c['level']:.3g} % interval "
                     f"{number(c['lower'])} to {number(c['upper'])}; {asked}: {needs}{own}")  # fmt: skip
        pure = [max(c[part] - c["residual_part"], 0) for part in ("seed_part", "example_part")] + [c["residual_part"]]
        if sum(pure) > 0:
            names = ("between seeds", "between test examples", "noise of single answers")
            shares = ", ".join(f"{100 * p / sum(pure):.0f} % {name}" for p, name in zip(pure, names) if p > 0)
            lines.append(f"    standard error {number(c['standard_error'])}; variance: {shares}")
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
    rows = [("arm", f"ours, {unit(record)}", "range over seeds", "published")]
    for arm, ours in record["arms"].items():
        span = f"{number(min(ours['per_seed']))} to {number(max(ours['per_seed']))}"
        rows.append((arm, number(ours["mean"]), span, f"{published.get(arm, '–')}"))
    note = f" Published numbers: {published['note'].rstrip('.')}." if "note" in published else ""
    together = ", ".join([*claim["paired"], *(["test examples"] if record["examples"] else [])])
    paired = f"Paired on {together}" if together else "Not paired"
    size = f", {record['examples']:,} test examples" if record["examples"] else ""
    kind = "" if claim["source"].startswith("the course's own") else f" ({claim['protocol']} reproduction)"
    before = f"Source: {claim['source'].rstrip('.')}{kind}.{note}"
    after = f"{paired}; seeds {seeds[0]} to {seeds[-1]}{size}; profile {record['profile']}."
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
        head = f"{self.verdict} ({outcome(self.record)}) · {claim['id']} · {claim['kind']}"
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
            f"{outcome(self.record)} · {claim['id']} · {claim['kind']}</p>"
            f'<p style="margin:.3em 0;font-weight:bold">{html.escape(claim["statement"])}</p>'
            f'<p style="margin:.3em 0">{html.escape(before)}</p><table style="margin:.3em 0">{table}</table>{details}</section>'
        )


def _plain(cell: str) -> str:
    """The text of a table's cell, safe from Markdown: `|` ends a cell, and `0.5*a + 0.5*b` would become italics."""
    return cell.replace("|", "\\|").replace("*", "\\*")


@dataclass(frozen=True)
class Announcement:
    """The claims of a lesson before its runs: statement, source with its numbers, and what would count."""

    claims: tuple

    def _rows(self):
        for claim in self.claims:
            numbers = ", ".join(f"{arm} {value:g}" for arm, value in claim.published.items() if arm != "note")
            said = f"{claim.source}{f': {numbers}' if numbers else ''}"
            needs = " and ".join(
                f"{c.expression} > {c.bound:g}" if c.test == "greater" else f"|{c.expression}| < {c.bound:g}"
                for c in claim.contrasts
            )
            yield (
                claim.statement,
                said,
                f"{needs} ({claim.metric})" if claim.kind == "primary" else "exploratory: interval, no verdict",
            )

    def _repr_markdown_(self) -> str:
        rows = ["| claim | who said it, and their number | counts as reproduced when |", "|---|---|---|"]
        return "\n".join([*rows, *(f"| {' | '.join(map(_plain, row))} |" for row in self._rows())])

    def __repr__(self) -> str:
        return "\n".join(" · ".join(row) for row in self._rows())


@dataclass(frozen=True)
class Recorded:
    """The recorded verdicts of a lesson's claims in one profile: the table that a notebook shows beside its own runs."""

    profile: str
    records: tuple
    missing: tuple

    def _rows(self):
        for record in sorted(self.records, key=lambda record: record["claim"]["kind"] != "primary"):
            published = {arm: f" (published {value})" for arm, value in record["claim"]["published"].items()}
            arms = ", ".join(f"{arm} {number(ours['mean'])}{published.get(arm, '')}" for arm, ours in record["arms"].items())
            measured = [f"{effect(record, c)}, asked: {_asked(c)}" for c in record["contrasts"]]
            yield record["claim"]["statement"], f"{record['verdict']}: {outcome(record)}", "; ".join(measured), arms, f"{len(record['seeds'])}"

    def _said(self) -> str:
        where = sorted({f"{r['provenance']['device']}, {r['provenance']['dtype']}, {r['provenance']['date']}" for r in self.records})
        text = f"Recorded runs of the profile {self.profile} ({'; '.join(where)})." if where else f"No run of the profile {self.profile} has been recorded."
        return text + (f" Not among them: {', '.join(self.missing)}." if where and self.missing else "")

    def _repr_markdown_(self) -> str:
        heads = ["| claim | verdict | measured, with its interval | means of the arms | seeds |", "|---|---|---|---|---|"]
        rows = [f"| {' | '.join(map(_plain, row))} |" for row in self._rows()]
        return "\n".join([self._said(), "", *heads, *rows] if rows else [self._said()])

    def __repr__(self) -> str:
        return "\n".join([self._said(), *(" · ".join(row) for row in self._rows())])


def recorded(number: str, profile: str = "full", *, results=None, ledger: dict | None = None) -> Recorded:
    """What the course's recorded runs of another profile say of the claims of lesson `number`, as a table.

    results: the folder with a folder of records a profile, the course's own if not given. Raises ValueError for a corrupt record, and for one of a claim
    that has been edited since.
    """
    from kdcourse import claims  # which shows its verdicts with this module

    ledger = claims.read_ledger() if ledger is None else ledger
    folder = Path(results or lesson.ROOT / "results") / profile
    found = [record for record in claims.read_records(folder) if record["claim"]["lesson"] == number]
    primary = claims.primary_claims(ledger, number)
    for record in found:
        name = record["claim"]["id"]
        if name not in ledger or record["claim_hash"] != claims.claim_hash(ledger[name], primary):
            raise ValueError(f"claim {name!r} was edited after its record in {folder}; give the changed claim a new id")
    known = {record["claim"]["id"] for record in found}
    missing = [claim.id for claim in ledger.values() if claim.lesson == number and claim.id not in known]
    return Recorded(profile, tuple(found), tuple(missing))
