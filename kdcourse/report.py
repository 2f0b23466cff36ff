"""What the records say: the report page, the table in the terminal, the README's syllabus, and comparisons of two runs."""

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path

from kdcourse import cards, claims, inference, lesson, notebooks, power_page

MISSING = "not yet recorded"
SYLLABUS = re.compile(r"(<!-- syllabus -->\n).*?(<!-- /syllabus -->)", re.S)
MARKS = {"REPRODUCED": "✓", "SMALLER": "≈", "REFUTED": "✗", "INCONCLUSIVE": "?", "EXPLORATORY": "·"}


@dataclass(frozen=True)
class Evidence:
    """The ledger with the records of one profile: claims by id, lesson runs by number, and what does not fit together."""

    profile: str
    ledger: dict
    records: dict
    lessons: dict
    problems: list

    def verdict(self, claim_id: str) -> str:
        if claim_id in self.records:
            return self.records[claim_id]["verdict"]
        return "not judged in smoke" if self.profile.startswith("smoke") else MISSING

    def adjusted(self) -> dict[str, float]:
        """Holm's p values over all primary claims that have a record, by claim."""
        ids = [i for i, record in self.records.items() if self.ledger[i].kind == "primary"]
        return dict(zip(ids, inference.holm([self.records[i]["p_value"] for i in ids]))) if ids else {}


def gather(results, profile: str = "quick", root=None) -> Evidence:
    """Read the records in `results`/`profile` and compute their verdicts anew; ValueError names a corrupt file."""
    root, folder = Path(root or lesson.ROOT), Path(results) / profile
    path = root / "claims.toml"
    ledger = claims.read_ledger(path) if path.exists() else {}
    records, problems = {}, []
    for stored in claims.read_records(folder) if folder.is_dir() else []:
        name = stored["claim"]["id"]
        if name not in ledger:
            problems.append(f"{name}: recorded in {profile}, but not in the ledger")
            continue
        expected = claims.claim_hash(ledger[name], claims.primary_claims(ledger, ledger[name].lesson))
        if stored["claim_hash"] != expected:
            problems.append(f"{name}: the ledger's claim was edited after its record in {profile}")
            continue
        records[name] = claims.recompute(stored)
        if records[name]["verdict"] != stored["verdict"]:
            problems.append(f"{name}: recorded {stored['verdict']}, its runs say {records[name]['verdict']}")
    runs = {p.stem[7:]: json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("lesson-*.json"))}
    order = {name: records[name] for name in ledger if name in records}
    return Evidence(profile, ledger, order, runs, problems)


def profiles(results) -> list[str]:
    """The profiles with records in `results`, quick first; quick alone where there is none."""
    found = {path.parent.name for path in Path(results).glob("*/*.json")}
    return sorted(found, key=lambda name: (name != "quick", name != "full", name)) or ["quick"]


def differing(evidence: Evidence, full: Evidence | None, names) -> list[str]:
    """Those of the claims `names` that `full` has recorded with another verdict."""
    return [name for name in names if full is not None and name in full.records and full.verdict(name) != evidence.verdict(name)]


def differences(recorded: Evidence, fresh: Evidence, numbers) -> list[str]:
    """Every primary claim of the lessons `numbers` whose fresh verdict is not the recorded one."""
    found = []
    for claim in recorded.ledger.values():
        if claim.kind == "primary" and claim.lesson in numbers:
            before, now = recorded.verdict(claim.id), fresh.verdict(claim.id)
            if before != now or before == MISSING:
                found.append(f"{claim.id}: recorded {before}, now {now}")
    return found


# ---- texts ----------------------------------------------------------------------------------------------------------


def effects(record: dict) -> list[str]:
    """One line a contrast: the expression, our estimate with its interval, and what was claimed or, without a verdict, asked."""
    lines, needed = [], "asked" if record["claim"]["kind"] == "exploratory" else "claimed"
    for part in record["contrasts"]:
        bound = f"> {cards.number(part['bound'])}" if part["test"] == "greater" else f"within ±{cards.number(part['bound'])}"
        lines.append(f"{cards.effect(record, part)}, {needed} {bound}")
    return lines


def terminal(evidence: Evidence, numbers=None) -> str:
    """The ledger as a table for the terminal, of all lessons or of `numbers`."""
    lines = []
    for claim in evidence.ledger.values():
        if numbers is None or claim.lesson in numbers:
            verdict = evidence.verdict(claim.id)
            lines.append(f"{MARKS.get(verdict, ' ')} {verdict:<20}{claim.id}")
            lines += [
                f"{'':22}{line}"
                for line in (effects(evidence.records[claim.id]) if claim.id in evidence.records else [])
            ]
    return "\n".join(lines or ["no claims in the ledger"])


def syllabus(evidence: Evidence, root=None, full: Evidence | None = None) -> str:
    """The README's table: a row a lesson with its primary claims, verdicts (in `full` too where they differ there) and measured minutes."""
    rows = ["| lesson | question | claims and verdicts | minutes |", "|---|---|---|---|"]
    for source in notebooks.lessons(root=root):
        mine = [claim for claim in evidence.ledger.values() if claim.lesson == source.number]
        other = {name: f", in `full` **{full.verdict(name)}**" for name in differing(evidence, full, [claim.id for claim in mine])}
        texts = [f"{claim.statement} **{evidence.verdict(claim.id)}**{other.get(claim.id, '')}" for claim in mine if claim.kind == "primary"]
        if explored := len(mine) - len(texts):
            texts.append(f"and {explored} exploratory")
        seconds = evidence.lessons.get(source.number, {}).get("seconds")
        cells = [f"[{source.number}](notebooks/{source.slug}.ipynb)", source.title, "<br>".join(texts) or "–"]
        cells.append(f"{seconds / 60:.1f}" if seconds else MISSING)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def update_readme(evidence: Evidence, check: bool = False, root=None, full: Evidence | None = None) -> list[str]:
    """Put the syllabus between its marks in README.md, or with `check` only say whether it is up to date."""
    path = Path(root or lesson.ROOT) / "README.md"
    before = path.read_text(encoding="utf-8")
    if not SYLLABUS.search(before):
        return ["README.md has no <!-- syllabus --> … <!-- /syllabus --> lines for its table"]
    table = syllabus(evidence, root, full)
    after = SYLLABUS.sub(lambda match: match[1] + table + match[2], before)
    if check:
        return [] if after == before else ["README.md: the syllabus is out of date; run: kdcourse report --readme"]
    temporary = path.with_name("README.md.tmp")
    temporary.write_text(after, encoding="utf-8")
    temporary.replace(path)
    return []


# ---- the page -------------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --paper: #fff; --line: #d0d7de; --soft: #f6f8fa; --quiet: #57606a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #14181d; --line: #3d444d; --soft: #1f252c; --quiet: #9da7b1 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 78rem; margin: 0 auto; padding: 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
caption { text-align: left; color: var(--quiet); padding: .4rem 0 }
th, td { border: 1px solid var(--line); padding: .4rem .6rem; text-align: left; vertical-align: top; font-weight: normal }
thead th { background: var(--soft); font-weight: bold }
small, figcaption { color: var(--quiet) }
img { max-width: 100%; background: #fff }
.badge { color: #fff; background: #57606a; padding: .1rem .5rem; border-radius: .2rem; font-weight: bold; white-space: nowrap }
.REPRODUCED { background: #1a7f37 } .SMALLER { background: #8a5a00 } .REFUTED { background: #b3261e }
"""


def page(results, root=None, only=None) -> str:
    """The whole report as one HTML page without external parts; figures come from the notebooks beside `results`."""
    sections = [gather(results, profile, root) for profile in (only or profiles(results))]
    figures = _figures(Path(results).parent / "notebooks", root)
    problems = "".join(f"<li>{html.escape(problem)}</li>" for part in sections for problem in part.problems)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>kdcourse: claims and verdicts</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body><main>'
        "<h1>Claims and verdicts</h1><p>Every statement was written down with its threshold before the runs that test it. "
        "Intervals cover the claims of one lesson together; Holm’s p values cover the whole ledger, for information.</p>"
        + (f'<h2>Records that do not fit</h2><ul role="alert">{problems}</ul>' if problems else "")
        + "".join(map(_section, sections))
        + (f"<h2>Figures</h2>{figures}" if figures else "")
        + "</main></body></html>\n"
    )


def _section(evidence: Evidence) -> str:
    counts = {}
    for name in evidence.ledger:
        counts[evidence.verdict(name)] = counts.get(evidence.verdict(name), 0) + 1
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no claims in the ledger"
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Claim", "Source", "Published", "Ours (mean over seeds)", "Effect [interval]", "Verdict", "Holm p")
    )
    adjusted = evidence.adjusted()
    rows = "".join(_row(evidence, claim, adjusted.get(claim.id)) for claim in evidence.ledger.values())
    return (
        f"<h2>Profile {html.escape(evidence.profile)}</h2>"
        f'<div class="wide" tabindex="0"><table><caption>The ledger: {html.escape(summary)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{_runs(evidence)}{power_page.section(evidence)}"
    )


def _row(evidence: Evidence, claim, adjusted: float | None) -> str:
    record, verdict = evidence.records.get(claim.id), evidence.verdict(claim.id)
    published = [f"{arm} {cards.number(value)}" for arm, value in claim.published.items() if arm != "note"]
    published += [claim.published["note"]] if "note" in claim.published else []
    ours = [f"{arm} {cards.number(values['mean'])}" for arm, values in record["arms"].items()] if record else []
    effect = effects(record) if record else []
    effect += [f"{cards.outcome(record)}; {len(record['seeds'])} seeds"] if record else []
    cells = [[claim.source, f"{claim.protocol} reproduction"], published, ours, effect]
    text = "".join(f"<td>{'<br>'.join(map(html.escape, lines)) or '–'}</td>" for lines in cells)
    css = verdict if verdict in cards.COLOURS else ""
    badge = f'<span class="badge {css}">{MARKS.get(verdict, "")} {html.escape(verdict)}</span>'
    p = "–" if adjusted is None else "&lt; 0.0001" if adjusted < 1e-4 else f"{adjusted:.2g}"
    name = f"{html.escape(claim.statement)}<br><small>{html.escape(claim.id)}, {claim.kind}</small>"
    return f'<tr><th scope="row">{name}</th>{text}<td>{badge}</td><td>{p}</td></tr>'


def _runs(evidence: Evidence) -> str:
    """What ran where, and how long it took."""
    if not evidence.lessons:
        return ""
    names = ("Lesson", "Minutes", "Core minutes from nothing", "First seed", "Date", "Environment")
    rows = []
    for number, run in evidence.lessons.items():
        facts = dict(run.get("provenance", {}))
        date, cold = facts.pop("date", "–"), run.get("cold_core_seconds")
        where = ", ".join(f"{key} {' '.join(v) if isinstance(v, list) else v}" for key, v in facts.items())
        minutes = f"{run['seconds'] / 60:.1f}" if "seconds" in run else "–"
        cells = [minutes, f"{cold / 60:.1f}" if cold else "–", str(run.get("first_seed", 0)), date, where]
        text = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{number} {html.escape(run.get("title", ""))}</th>{text}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f'<div class="wide" tabindex="0"><table><caption>Runs and their environment</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _figures(folder: Path, root=None) -> str:
    parts = []
    for source in notebooks.lessons(root=root):
        found = main_figure(notebooks.read(folder / f"{source.slug}.ipynb"))
        if found:
            kind, data, alt = found
            caption = html.escape(f"{source.number} {source.title}")
            image = f'<img src="data:{kind};base64,{data}" alt="{html.escape(alt or f"Main figure of lesson {source.title}")}">'
            parts.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return "".join(parts)


def main_figure(notebook) -> tuple[str, str, str] | None:
    """(media type, base64, alternative text) of the picture of the cell tagged main-figure, or None."""
    cells = [cell for cell in (notebook.cells if notebook else []) if "main-figure" in notebooks.tags(cell)]
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            alt = output.data.get("text/plain", "")
            return (
                "image/png",
                output.data["image/png"].replace("\n", ""),
                alt.removeprefix("[figure] ") if "[figure]" in alt else "",
            )
    return None
