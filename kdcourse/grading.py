"""Reads an executed project notebook and says, point by point of docs/project.md, what holds, what does not, and what needs a reader.

Everything is recomputed from what `project.hand_in()` left in the notebook: the ledger, the log and the records with every run's answers. Nothing is executed.
"""

import ast
import datetime
import re
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import nbformat

from kdcourse import claims, lesson, project
from kdcourse.cards import Verdict
from kdcourse.own_images import TAKEN

# The rubric of docs/project.md: row → (what it is about, points that are decided here, points that a reader gives).
ROWS = {
    "data": ("Data of your own", 2, 2),
    "claim": ("Claim before the runs", 5, 0),
    "pilot": ("Choices on validation data", 3, 1),
    "arms": ("Arms and control", 4, 1),
    "study": ("Paired study", 5, 0),
    "figure": ("Figure", 2, 1),
    "verdict": ("Verdict", 4, 0),
    "words": ("What it shows and does not", 1, 4),
    "notebook": ("A notebook that runs", 3, 2),
}
SECTIONS = {"the data": 25, "comes out otherwise": 30, "does not show": 40, "in one paragraph": 40}  # words that a heading has → fewest words below it
CONTROLS = ("shuffle_within_class", "permute_non_targets", "smooth_to_same_entropy")
WORDS = ("REPRODUCED", "SMALLER", "REFUTED", "INCONCLUSIVE")
FEWEST_SEEDS = 5


class Finding(NamedTuple):
    """One line of the report: row of the rubric, points at stake, whether it holds (None: a reader has to say), why, and what to do."""

    row: str
    points: int
    holds: bool | None
    said: str
    do: str = ""


class Handed(NamedTuple):
    """What was handed in: the notebook's cells, the bundle of its last cell, and what can be computed from it."""

    path: Path
    cells: list
    bundle: dict
    ledger: dict | str  # claims by id, or why the ledger cannot be read
    records: list

    def log(self, event: str) -> list[dict]:
        """The entries of one kind that belong to the study handed in."""
        mine = {name: self.bundle[name] for name in ("project", "profile", "first_seed")}
        return [entry for entry in self.bundle["log"] if entry.get("event") == event and {**entry, **mine} == entry]

    def primary(self) -> list[dict]:
        """The records of the primary claims."""
        return [record for record in self.records if record["claim"]["kind"] == "primary"]


# ---- one notebook ----


def check(path) -> list[Finding]:
    """All findings on one notebook, in the order of the rubric; ValueError where the file is not a notebook."""
    handed = read(path)
    findings = list(_notebook(handed)) + list(_words(handed))
    for name, look in _LOOKS.items():
        if not handed.bundle:
            do = "run all cells to project.hand_in(), save, and check again"
            findings.append(Finding(name, ROWS[name][1], False, "nothing was handed in: the notebook holds no log and no records", do))
            continue
        try:
            findings += look(handed)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as problem:
            findings.append(Finding(name, ROWS[name][1], False, f"what was handed in cannot be read ({type(problem).__name__}: {problem})", "run the notebook again"))
    return sorted(findings, key=lambda finding: list(ROWS).index(finding.row))


def read(path) -> Handed:
    """The parts of an executed notebook; ValueError where the file is missing or no notebook."""
    path = Path(path)
    try:
        notebook = nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; `kdcourse project` makes work/project.ipynb") from None
    except Exception as problem:  # json, nbformat and its schema each have their own
        raise ValueError(f"{path} is not a readable notebook: {str(problem).splitlines()[0][:200]}") from problem
    bundles = [o.data[project.BUNDLE] for cell in notebook.cells for o in cell.get("outputs", []) if project.BUNDLE in o.get("data", {})]
    bundle = bundles[-1] if bundles and _whole(bundles[-1]) else {}
    return Handed(path, notebook.cells, bundle, _ledger(bundle.get("ledger", "")), bundle.get("records", []))


def _whole(bundle) -> bool:
    """Whether a bundle has the parts that `project.hand_in` writes, of the types that it writes."""
    types = {"ledger": str, "log": list, "records": list, "profile": str, "first_seed": int, "project": str}
    if not isinstance(bundle, dict) or any(type(bundle.get(name)) is not kind for name, kind in types.items()):
        return False
    events = {"claim": {"claims"}, "pilot": {"seeds", "grid", "runs", "part"}, "study": {"seeds", "roles", "data"}, "runs": {"runs"}}
    entries = all(isinstance(e, dict) and {"time", "event"} <= set(e) and events.get(e["event"], {""}) <= set(e) for e in bundle["log"])
    return entries and all(isinstance(r, dict) and {"claim", "verdict", "runs", "claim_hash"} <= set(r) and {"id", "kind", "paired", "metric"} <= set(r["claim"]) for r in bundle["records"])


def _ledger(text: str) -> dict | str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "claims.toml"
        copy.write_text(text, encoding="utf-8")
        try:
            return claims.read_ledger(copy)
        except ValueError as problem:
            return str(problem)


# ---- the rows ----


def _data(handed: Handed):
    study = handed.log("study")
    if not study:
        yield Finding("data", 2, False, "no study was run with project.run_study", "run section 8")
        return
    about = study[-1]["data"]
    size = f"{about['train']:,} training and {about['test']:,} test images of {len(about['classes'])} classes"
    yield Finding("data", 1, about["name"] not in TAKEN, f"data set {about['name']}: {size}", "choose data that no lesson uses")
    leak = about["shared"]
    yield Finding(
        "data", 1, leak == 0, f"{leak} test images are among the training images", "import the images again: kdcourse import-images keeps them apart"
    )


def _claim(handed: Handed):
    ledger, records, runs = handed.ledger, handed.primary(), handed.log("study")
    if isinstance(ledger, str):
        yield Finding("claim", 5, False, f"the ledger cannot be read: {ledger}", "mend it; the notebook's section 3 says what belongs into it")
        return
    named = [claim for claim in ledger.values() if "..." not in claim.statement + claim.source]
    yield Finding("claim", 1, len(named) == len(ledger) > 0, f"{len(named)} of {len(ledger)} claims are filled in", "fill in statement and source")
    yield _unchanged(handed, records)
    first = min((entry["time"] for entry in runs), default="")
    registered = {name: entry["time"] for entry in reversed(handed.log("claim")) for name in entry["claims"]}
    late = [r["claim"]["id"] for r in records if not registered.get(r["claim"]["id"], "9") <= first]
    order = [entry["event"] for entry in handed.bundle["log"] if entry in handed.log("claim") + runs]
    before = bool(records and runs and not late and order[:1] == ["claim"])
    said = f"registered {min(registered.values(), default='never')}, first run of the study {first or 'never'}" if records else "no verdict, so no claim to look up"
    yield Finding("claim", 2, before, said, "register the claim, run the study, judge it")
    broken = [k for k, (a, b) in enumerate(pairwise(handed.bundle["log"]), 2) if b.get("previous") != project.digest(a)]
    times = [entry["time"] for entry in handed.bundle["log"]]
    if broken or times != sorted(times):
        yield Finding("claim", 0, False, f"the log was edited: line {broken[0] if broken else '?'} does not follow from the one before", "run the study again from an empty results folder")
    yield Finding(
        "claim", 0, None, f"code of the claim: {code(handed)}. A log can be begun anew; only a code that others saw before the runs shows that it was not{_git(handed)}", ""
    )


def _unchanged(handed: Handed, records: list[dict]) -> Finding:
    """Whether ledger, registration, record and the file beside the notebook all hold the same claims."""
    do = "put the ledger back as it was when it was registered; a changed claim needs a new id, another first_seed and new runs"
    if not records:
        return Finding("claim", 2, False, "no primary claim has a record", "run section 10 with profile = 'quick'")
    ledger, last = handed.ledger, (handed.log("claim") or [{"claims": {}}])[-1]["claims"]
    for record in records:
        name = record["claim"]["id"]
        now = claims.claim_hash(ledger[name], claims.primary_claims(ledger, ledger[name].lesson)) if name in ledger else None
        for what, found in (("the ledger", now), ("its registration", last.get(name))):
            if found != record["claim_hash"]:
                return Finding("claim", 2, False, f"{name}: the claim in {what} is not the one that was judged", do)
    unjudged = [c.id for c in ledger.values() if c.kind == "primary" and c.id not in {r["claim"]["id"] for r in records}]
    if unjudged:
        return Finding("claim", 2, False, f"{unjudged[0]} was claimed and has no verdict", "judge every claim, whatever comes out")
    beside = handed.path.with_name(f"{handed.bundle['project']}_claims.toml")
    if handed.path.stem == handed.bundle["project"] and beside.exists() and beside.read_text(encoding="utf-8") != handed.bundle["ledger"]:
        return Finding("claim", 2, False, f"{beside.name} was edited after the notebook was handed in", do)
    return Finding("claim", 2, True, "the claim in the ledger, in its registration and in the record is the same")


def code(handed: Handed) -> str:
    registered = handed.log("claim") if handed.bundle else []
    return project.code(registered[0]["claims"]) if registered else "none"


def _git(handed: Handed) -> str:
    """What a version history beside the notebook says of the ledger's last change, where there is one."""
    beside = handed.path.resolve().with_name(f"{handed.bundle['project']}_claims.toml")
    command = ["git", "log", "-1", "--format=%cI", "--", beside.name]
    try:
        found = subprocess.run(command, cwd=beside.parent, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        found = ""
    if not found:
        return ""
    changed, first = datetime.datetime.fromisoformat(found), min((e["time"] for e in handed.log("study")), default=None)
    before = first and changed < datetime.datetime.fromisoformat(first)
    return f". Git: {beside.name} was last committed {found}, {'before' if before else 'NOT before'} the first run"


def _pilot(handed: Handed):
    pilots, study = handed.log("pilot"), handed.log("study")
    arms = [entry for entry in pilots if "arm" in entry["grid"]]
    seeds = {seed for entry in pilots for seed in entry["seeds"]}
    fair = bool(arms) and min(seeds) >= project.PILOT_SEEDS and all(entry["part"] == "validation" for entry in pilots)
    said = f"{sum(len(e['runs']) for e in pilots)} pilot runs, seeds from {min(seeds, default='none')}, judged on validation images"
    yield Finding("pilot", 1, fair, said if arms else "no pilot with the arms of the study", "choose with project.pilot (section 6)")
    judged = {seed for entry in study for seed in entry["seeds"]}
    apart = bool(judged) and not judged & seeds and max(judged) < project.PILOT_SEEDS
    yield Finding("pilot", 1, apart, "seeds of the study are not those of the pilot" if apart else "the study has no seeds of its own", "seeds of a study lie below 9000")
    tries = {arm: sum(run["arm"] == arm for entry in arms for run in entry["runs"]) for arm in (study[-1]["roles"] if study else {})}
    equal = len(set(tries.values())) == 1 and 0 not in tries.values()
    yield Finding("pilot", 1, equal, f"pilot runs of each arm: {listed(tries)}", "give every arm, the control too, the same tries")
    if peeked := _peeks(handed):
        yield Finding("pilot", 0, None, f"before the study, {peeked} reads test images: a reader should see for what", "only the study looks at test images")


def _peeks(handed: Handed) -> str:
    """A cell before the study that mentions the test images outside a function that has `part`; empty when there is none."""
    for number, cell in enumerate(_code_cells(handed), 1):
        if _calls(cell, "run_study"):
            return ""
        tree = _tree(cell)
        apart = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and "part" in {a.arg for a in f.args.args + f.args.kwonlyargs}]
        apart += [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len"]
        inside = {inner for node in apart for inner in ast.walk(node)}
        if any(_means_test(node) for node in ast.walk(tree) if node not in inside):
            return f"code cell {number}"
    return ""


def _means_test(node) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "test") or (isinstance(node, ast.Constant) and node.value == "test")


def _arms(handed: Handed):
    study = handed.log("study")
    roles = study[-1]["roles"] if study else {}
    runs = [run for record in handed.primary() for run in record["runs"]]
    ran = {run["arm"] for run in runs}
    by_role = {role: [arm for arm, found in roles.items() if found == role] for role in ("hard", "soft", "control")}
    missing = {"hard": "labels", "soft": "distilled", "control": "negative control"}
    gone = [word for role, word in missing.items() if not by_role[role]]
    yield Finding("arms", 1, not gone, f"arms: {', '.join(f'{arm} ({role})' for arm, role in roles.items()) or 'none'}{'; no ' + gone[0] if gone else ''}", "a study needs labels, distilled and a control")
    tested = [arm for arm in by_role["control"] if arm in ran]
    yield Finding("arms", 1, bool(tested), f"the claim has to beat {tested[0]}" if tested else "no contrast of the claim has a control in it", "add a contrast such as shuffled - distilled")
    called = sorted({name for cell in _code_cells(handed) for name in CONTROLS if _calls(cell, name)})
    said = f"made with {', '.join(called)}" if called else "no control of kd.controls is called"
    yield Finding("arms", 1, bool(called) or (None if tested else False), said, "take the knowledge out with kd.controls, or say in the text how yours does it")
    answers = {}
    for run in runs:
        answers.setdefault((run["seed"], run["correct"] or run["value"]), set()).add(run["arm"])
    same = [sorted(arms) for arms in answers.values() if len(arms) > 1]
    said = f"arms {' and '.join(same[0])} gave the same answers to every image" if same else "no two arms are the same network" if runs else "no record of a run"
    yield Finding("arms", 1, bool(runs) and not same, said, "arms that are the same learned from the same targets: see targets_of")


def _study(handed: Handed):
    records = handed.primary()
    counts = {r["claim"]["id"]: _seeds(r) for r in records}
    enough = bool(counts) and all(seeds and len(seeds) >= FEWEST_SEEDS for seeds in counts.values())
    said = "; ".join(f"{len(s)} seeds, one run of each arm" if s else f"{name}: arms with other seeds than others, or runs twice" for name, s in counts.items())
    yield Finding("study", 2, enough, said or "no record of a run", f"run at least {FEWEST_SEEDS} seeds, each for all arms (section 8)")
    loose = [found for record in records if (found := _unpaired(record))]
    said = loose[0] if loose else "arms of a seed share initial weights and batch order"
    yield Finding("study", 2, bool(records) and not loose, said if records else "no record of a run", 'the same student and images in all arms; paired = ["init", "order"] in the ledger')
    logged = [run for entry in handed.log("runs") for run in entry["runs"]]
    steps = {arm: sorted({run.get("steps") for run in logged if run["arm"] == arm}) for arm in {run["arm"] for run in logged}}
    equal = bool(logged) and len({tuple(s) for s in steps.values()}) == 1 and not _disagree(logged, records)
    said = _disagree(logged, records) or f"steps of each arm: {listed({arm: '/'.join(map(str, s)) for arm, s in sorted(steps.items())})}"
    yield Finding("study", 1, equal, said, "give all arms the same images and epochs")
    if len(handed.log("study")) > 1:
        yield Finding("study", 0, None, f"the study was run with {len(handed.log('study'))} different settings; the last one is judged", "say in section 12 why, and what the others gave")


def _seeds(record: dict) -> list[int]:
    """The seeds that every arm has exactly one run of, or none where arms differ in that."""
    arms = {run["arm"] for run in record["runs"]}
    by_arm = [sorted(run["seed"] for run in record["runs"] if run["arm"] == arm) for arm in sorted(arms)]
    return by_arm[0] if by_arm and all(seeds == by_arm[0] for seeds in by_arm) and len(set(by_arm[0])) == len(by_arm[0]) else []


def _unpaired(record: dict) -> str:
    """Where the arms of a seed do not start alike, or the claim does not ask them to; empty when all is well."""
    if lacking := {"init", "order"} - set(record["claim"]["paired"]):
        return f"the claim is not paired on {sorted(lacking)[0]}"
    for column in ("init", "order"):
        for seed in sorted({run["seed"] for run in record["runs"]}):
            found = {run.get(column) for run in record["runs"] if run["seed"] == seed}
            if len(found) != 1 or None in found:
                return f"seed {seed}: the arms differ in {column}"
    return ""


def _disagree(logged: list[dict], records: list[dict]) -> str:
    """Where the log of the study and the runs of a record are not of the same runs; empty when they are."""
    known = {(run["arm"], run["seed"]): run for run in logged}
    for record in records:
        for run in record["runs"]:
            mine = known.get((run["arm"], run["seed"]))
            if mine is None:
                return f"{run['arm']}, seed {run['seed']} is judged, but was not run by project.run_study"
            errors = 10_000 * mine["errors"] / mine["examples"]
            if record["claim"]["metric"] == "errors" and abs(errors - run["value"]) > 1e-6:
                return f"{run['arm']}, seed {run['seed']}: the record has {run['value']:.0f} errors per 10,000, the study's log {errors:.0f}"
    return ""


def _figure(handed: Handed):
    cells = _code_cells(handed)
    start = next((k for k, cell in enumerate(cells) if _calls(cell, "run_study")), len(cells))
    shown = [cell for cell in cells[start + 1 :] if _alts(cell)]
    good = any(len(alt.split()) >= 8 for cell in shown for alt in _alts(cell))
    said = "a figure with a description" if good else "no figure of the runs" if not shown else "the figure has no description, or one of a few words"
    yield Finding("figure", 1, good, said, "draw the runs after the study and show them with kd.plots.show(figure, alt)")
    computed = [_computed_title(cell) for cell in shown]
    holds = True if True in computed else None if None in computed else False
    said = {True: "its title is computed from the runs", None: "where its title comes from is not visible here", False: "its title is a fixed text, or there is none"}[holds]
    yield Finding("figure", 1, holds, said, "put what was measured into the title with an f-string")


def _alts(cell) -> list[str]:
    """The descriptions of a cell's pictures, "" for one without."""
    return [o.get("metadata", {}).get("image/png", {}).get("alt", "") for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]


def _computed_title(cell) -> bool | None:
    """Whether a title in the cell depends on a value; None where it comes from another cell, False for a fixed text or none."""
    tree = _tree(cell)
    given = [keyword.value for node in ast.walk(tree) if isinstance(node, ast.Call) for keyword in node.keywords if keyword.arg == "title"]
    given += [node.args[0] for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("set_title", "suptitle") and node.args]
    assigned = {t.id: n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    outside = [value for value in given if isinstance(value, ast.Name) and value.id not in assigned]
    values = [assigned.get(value.id, value) if isinstance(value, ast.Name) else value for value in given]
    if any(isinstance(node, ast.FormattedValue | ast.Call | ast.Name) for value in values if value not in outside for node in ast.walk(value)):
        return True
    return None if outside else False


def _verdict(handed: Handed):
    do = "run section 10 again with profile = 'quick'; do not edit records or outputs"
    records, wrong, again = handed.primary(), [], {}
    for record in records:
        try:
            again[record["claim"]["id"]] = claims.recompute(record)
        except (ValueError, KeyError, TypeError) as problem:
            wrong.append(f"the record of {record['claim'].get('id')} does not hold: {problem}")
    wrong += [f"{name}: the record says {r['verdict']}, its runs say {again[name]['verdict']}" for r in records if (name := r["claim"]["id"]) in again and again[name]["verdict"] != r["verdict"]]
    found = "; ".join(f"{name}: {r['verdict']}" for name, r in again.items())
    if handed.bundle["profile"] == "smoke":
        wrong, do = ["the notebook was run in the smoke profile, which judges nothing"], "set profile = 'quick' and run all cells"
    yield Finding("verdict", 2, bool(records) and not wrong, wrong[0] if wrong else f"recomputed from the runs: {found or 'no record'}", do)
    cards = _cards(handed)
    lines = [name for name, record in again.items() if str(Verdict(record)) not in cards]
    ok = bool(again) and not lines and not wrong and all(card.splitlines()[0].split(" · ")[1:2] != [n] or card == str(Verdict(again[n])) for card in cards for n in again)
    yield Finding("verdict", 2, ok, "the card in the notebook is that of the runs" if ok else "the notebook does not show the card that its runs give", "show kd.judge(...) as the last line of a cell; run all cells again")
    text = _section(handed.cells, "in one paragraph")
    if again and (said := [word for word in WORDS if word in text]) and not set(said) & {r["verdict"] for r in again.values()}:
        yield Finding("verdict", 0, False, f"section 12 says {said[0]}, the runs say {found}", "name the verdict that the card shows")


def _cards(handed: Handed) -> list[str]:
    """The texts of the verdict cards that cells with `judge(` show as their result."""
    cells = [cell for cell in _code_cells(handed) if _calls(cell, "judge")]
    shown = [o for cell in cells for o in cell.outputs if o.output_type in ("execute_result", "display_data")]
    return [o.data.get("text/plain", "") for o in shown if o.data.get("text/plain", "").startswith((*WORDS, "EXPLORATORY"))]


def _words(handed: Handed):
    template = project.make_notebook(lesson.ROOT / "notebooks" / "project" / "project.py")
    known = {line.strip() for cell in template.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()}
    short = []
    for heading, fewest in SECTIONS.items():
        lines = [line for line in _section(handed.cells, heading).splitlines() if line.strip() not in known]
        words = len(re.findall(r"\w{2,}", " ".join(lines)))
        if words < fewest:
            short.append(f"“{heading}” has {words} words of yours (at least {fewest})")
    do = "write the section in your own words; keep its heading"
    yield Finding("words", 1, not short, "; ".join(short) or "all sections are written; a reader judges what they say", do)


def _section(cells, words: str) -> str:
    """The text between the heading that contains `words` and the next heading; empty without one."""
    lines, inside = [], False
    for line in (line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()):
        if line.startswith("#"):
            inside = words in line.lower()
        elif inside:
            lines.append(line)
    return "\n".join(lines)


def _notebook(handed: Handed):
    cells = _code_cells(handed)
    done = [cell.execution_count for cell in cells]
    ran = any(count for count in done)
    errors = [k for k, cell in enumerate(cells, 1) if any(o.output_type == "error" for o in cell.outputs)]
    said = f"code cell {errors[0]} ended with an error" if errors else "no cell ended with an error" if ran else "no cell was run"
    yield Finding("notebook", 1, ran and not errors and bool(handed.bundle), said, "mend it, restart the kernel and run all cells")
    fresh = ran and done == list(range(1, len(cells) + 1))
    said = "the cells were run once, in order, in a fresh kernel" if fresh else "the cells were not run in order in a fresh kernel, or not all of them"
    yield Finding("notebook", 1, fresh and bool(handed.bundle), said, "restart the kernel and run all cells, then save")
    blanks = [k for k, cell in enumerate(cells, 1) if any(isinstance(n, ast.Constant) and n.value is ... for n in ast.walk(_tree(cell)))]
    said = f"code cell {blanks[0]} still has a blank (...)" if blanks else "no blank is left" if cells else "there is no code"
    yield Finding("notebook", 1, bool(cells) and not blanks and bool(handed.bundle), said, "fill it in")


_LOOKS = {"data": _data, "claim": _claim, "pilot": _pilot, "arms": _arms, "study": _study, "figure": _figure, "verdict": _verdict}


# ---- looking at cells ----


def _code_cells(handed: Handed) -> list:
    return [cell for cell in handed.cells if cell.cell_type == "code" and cell.source.strip()]


def _tree(cell):
    source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source)  # magics are no Python
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def _calls(cell, name: str) -> bool:
    called = (node.func for node in ast.walk(_tree(cell)) if isinstance(node, ast.Call))
    return any(getattr(f, "attr", getattr(f, "id", None)) == name for f in called)


def listed(counts: dict) -> str:
    return ", ".join(f"{name} {value}" for name, value in counts.items()) or "none"
