"""`kdcourse progress`: which exercises pass in the learner's copies in work/, and what to do next."""

import json
import shutil
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from kdcourse import exercises, journal, lab, notebooks, rerun
from kdcourse.exercises import BLANK, CHANGED, ERROR, MISSING, NOT_RUN, RIGHT, STATES, WRONG, Result

MARKS = {RIGHT: "✓ right", WRONG: "✗ not yet", ERROR: "✗ error", CHANGED: "~ changed since it was run", NOT_RUN: "- not run",
         BLANK: "… not filled in", MISSING: "? not found"}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """One lesson: the best result of each exercise over the learner's copies, and what is wrong with these."""

    slug: str
    title: str
    files: list[str]
    results: list[Result]
    problems: list[str]

    @property
    def right(self) -> int:
        return sum(result.state == RIGHT for result in self.results)

    @property
    def begun(self) -> bool:
        return bool(self.problems) or any(result.state != BLANK for result in self.results)


def add_arguments(parser) -> None:
    """The options of `kdcourse progress`."""
    parser.add_argument("lessons", nargs="*", help="01, 01_slug or a path; all of them if left out")
    parser.add_argument("--run", action="store_true", help="execute your answers and their checks, instead of reading what was saved")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, for those who collect it")
    parser.add_argument("--work", metavar="FOLDER", default=None, help="where the copies are (work)")


def main(options, root) -> int:
    """Print where the learner stands. The exit code is 0 however that is, 1 where --run found no kernel."""
    work = Path(options.work or Path(root) / "work").resolve()
    if options.work and not work.is_dir():
        raise ValueError(f"{options.work} is not a folder; expected the one with the copies of the lessons")
    paths = _lessons(options.lessons, Path(root) / "notebooks")
    try:
        standings = [_standing(path, work, options.run) for path in paths]
    except rerun.KernelError as problem:
        print(f"kdcourse: {problem}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(as_json(standings, work, options.run), indent=1, ensure_ascii=False))
    else:
        print(page(standings, bool(options.lessons), options.run, _columns()))
    return 0


def _lessons(names, folder: Path) -> list[Path]:
    known = sorted(path.stem for path in folder.glob("[0-9][0-9]_*.ipynb"))
    if not known:
        raise ValueError(notebooks.no_lessons(folder))
    # A copy may be called 00_start_here.new.ipynb or 00_start_here-Copy1.ipynb: its lesson is meant.
    plain = [next((slug for slug in known if Path(str(n)).stem.startswith(slug)), str(n)) for n in names]
    return [folder / f"{slug}.ipynb" for slug in dict.fromkeys(notebooks.find(n, known) for n in plain or known)]


# ---- where a lesson stands ------------------------------------------------------------------------------------------


def _standing(path: Path, work: Path, run: bool) -> Standing:
    course = notebooks.read(path)
    if course is None:
        text = f"notebooks/{path.name} cannot be read; put it back with: git checkout -- notebooks/{path.name}"
        return Standing(path.stem, "", [], [], [text])
    asked, found, problems = exercises.course_exercises(course), {}, []
    files = copies(path.stem, work)
    for file in files:
        copy = notebooks.read(file)
        if copy is None:
            problems.append(lab.unreadable(file))
            continue
        results, wrong = _judge(copy, course, file, run)
        problems += [f"{file.name}: {text}" for text in wrong]
        for result in results:
            known = found.get(result.exercise.number)
            if known is None or STATES.index(result.state) < STATES.index(known.state):
                found[result.exercise.number] = result
    results = [found.get(e.number) or Result(e, MISSING if files else BLANK) for e in asked]
    return Standing(path.stem, _title(course), [file.name for file in files], results, problems)


def _judge(copy, course, file: Path, run: bool) -> tuple[list[Result], list[str]]:
    if run:
        print(f"{file.stem}: looking at its exercises", file=sys.stderr, flush=True)
        return rerun.judge(copy, course, file)
    ids = {cell.get("id") for cell in course.cells}
    asked, seen = exercises.course_exercises(course), journal.read(file.parent)
    return [Result(e, *exercises.judge_saved(e, copy.cells, ids, seen, file.name), file=file.name) for e in asked], []


def copies(slug: str, work: Path) -> list[Path]:
    """A learner's copies of a lesson: the first one, newer versions beside it, and duplicates."""
    found = [path for path in work.glob(f"{slug}*.ipynb") if not path.name.startswith(".")]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _title(course) -> str:
    lines = "\n".join(cell.source for cell in course.cells if cell.cell_type == "markdown").splitlines()
    return next((line[2:].strip() for line in lines if line.startswith("# ")), "")


# ---- what is printed ------------------------------------------------------------------------------------------------


def _columns() -> int:
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 140))


def page(standings: list[Standing], all_of_them: bool, run: bool, columns: int = 100) -> str:
    """The tables of lessons begun (or of all), one line for each of the others, totals, and what to do next."""
    parts = [_table(s, columns) for s in standings if all_of_them or s.begun]
    rest = [s for s in standings if not (all_of_them or s.begun)]
    if rest:
        parts.append("not begun: " + ", ".join(f"{s.slug} ({len(s.results)})" for s in rest))
        parts[-1] = textwrap.fill(parts[-1], columns, subsequent_indent="  ", break_on_hyphens=False)
    right, count = sum(s.right for s in standings), sum(len(s.results) for s in standings)
    done = sum(bool(s.results) and s.right == len(s.results) for s in standings)
    totals = f"{right} of {count} exercises right, {done} of {len(standings)} lessons complete"
    how = "executed in a fresh kernel" if run else "as your notebooks were last saved; kdcourse progress --run executes your answers"
    return "\n\n".join([*parts, textwrap.fill(f"{totals} ({how})", columns, subsequent_indent="  "), *filter(None, [_next(standings, columns)])])


def _table(standing: Standing, columns: int) -> str:
    head = f"{standing.title or standing.slug}   {standing.right} of {len(standing.results)} right"
    width = max((len(result.exercise.title) for result in standing.results), default=0)
    lines = [head]
    for result in standing.results:
        start = f"  {result.exercise.number}  {result.exercise.title.ljust(width)}  "
        where = f" [{result.file}]" if result.file not in ("", f"{standing.slug}.ipynb") else ""
        text = MARKS[result.state] + where + (f": {result.hint}" if result.hint else "")
        lines.append(textwrap.fill(text, columns, initial_indent=start, subsequent_indent=" " * (len(start) + 2)))
    lines += [textwrap.fill(text, columns, initial_indent="  ! ", subsequent_indent="    ") for text in standing.problems]
    return "\n".join(lines)


def _next(standings: list[Standing], columns: int) -> str:
    """What to do next: mend what was begun, then the first open exercise after what is done."""
    broken = next((s for s in standings if s.problems and not any(r.file for r in s.results)), None)
    if broken:
        return f"next: a whole copy of {broken.slug}, see above"
    opened = [(s, r) for s in standings for r in s.results if r.state != RIGHT]
    if not opened:
        return "All exercises are right." if any(s.results for s in standings) else ""
    begun = [(s, r) for s, r in opened if r.state != BLANK]
    standing, result = (begun or opened)[0]
    number, title = result.exercise.number, result.exercise.title
    if not standing.files:
        act = f"copy it with kdcourse lab, then open work/{standing.slug}.ipynb"
    else:
        act = f"open {result.file or standing.files[0]}" + (f", cell {result.cell}" if result.cell else "")
    what = {CHANGED: ", run it and its check, and save", NOT_RUN: ", run it and its check, and save",
            MISSING: ", or a fresh copy (kdcourse lab --copy-only makes one where there is none)"}.get(result.state, "")  # fmt: skip
    return textwrap.fill(f"next: lesson {standing.slug[:2]}, exercise {number} ({title}): {act}{what}", columns, subsequent_indent="  ")


def as_json(standings: list[Standing], work: Path, run: bool) -> dict:
    """The same as plain data, to be collected from many learners."""
    return {
        "work": str(work),
        "judged": "executed" if run else "saved",
        "right": sum(s.right for s in standings),
        "exercises": sum(len(s.results) for s in standings),
        "lessons": [
            {
                "lesson": s.slug[:2],
                "slug": s.slug,
                "files": s.files,
                "problems": s.problems,
                "right": s.right,
                "exercises": [
                    {"number": r.exercise.number, "title": r.exercise.title, "state": r.state, "hint": r.hint, "file": r.file, "cell": r.cell}
                    for r in s.results
                ],
            }
            for s in standings
        ],
    }
