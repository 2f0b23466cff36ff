"""Where a learner's copy of a lesson stands: its exercises, their checks, and what the saved outputs are worth.

An answer counts as right when its check, unchanged, was executed after it and says so in every line. Whatever does not fit together
(an order of execution, a blank under a "Right") is said to be so and is not counted; `kdcourse progress --run` settles it.
"""

import ast
import re
from dataclasses import dataclass

from kdcourse import journal, slices

RIGHT, WRONG, ERROR, CHANGED, NOT_RUN, BLANK, MISSING = (
    "right", "wrong", "error", "changed", "not run", "not filled in", "missing",
)  # fmt: skip
STATES = (RIGHT, WRONG, ERROR, CHANGED, NOT_RUN, BLANK, MISSING)  # the best first: what counts where there are two copies
_LINE = re.compile(r"(✓|✗|… Not filled in)\s*(.*)")


@dataclass(frozen=True)
class Exercise:
    """An exercise as the course asks it: its stub, its checks, and how many lines with a verdict these print."""

    number: int
    title: str
    stub: str
    id: str
    checks: tuple  # (cell id, text) each
    lines: int


@dataclass(frozen=True)
class Result:
    """What became of one exercise in one copy; `cell` counts the notebook's cells from 1."""

    exercise: Exercise
    state: str
    hint: str = ""
    cell: int | None = None
    file: str = ""


@dataclass(frozen=True)
class Place:
    """Where an exercise is in a copy: positions of the answer and of its checks, None for what is not there."""

    answer: int | None
    checks: tuple


# ---- the course's exercises, and where they are in a copy -----------------------------------------------------------


def course_exercises(notebook) -> list[Exercise]:
    """The exercises of a lesson's notebook as the course has it; those without a check are left out."""
    found = []
    for position, cell in enumerate(notebook.cells):
        if "exercise" not in cell.metadata.get("tags", []):
            continue
        checks = []
        for after in notebook.cells[position + 1 :]:
            if after.cell_type != "code" or "checks." not in after.source:
                break
            checks.append(after)
        if checks:
            number = len(found) + 1
            lines = sum(len(verdict_lines(check)) for check in checks) or len(checks)
            ids = tuple((check.get("id"), check.source) for check in checks)
            found.append(Exercise(number, _title(notebook.cells[:position]), cell.source, cell.get("id"), ids, lines))
    return found


def _title(before: list) -> str:
    """The last heading before an exercise, without its number."""
    lines = [line for cell in before if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    heading = next((line for line in reversed(lines) if re.match(r"#+ ", line)), "")
    return re.sub(r"^#+\s*(\d+\s*[·:.]\s*)?", "", heading).strip()


def locate(exercise: Exercise, cells: list, course_ids: set) -> Place:
    """Where an exercise's answer and its unchanged checks are among a copy's cells.

    The answer is the exercise's own cell (by id; by tag and names in a copy of another version), or, where that is still the stub, a
    cell of the learner's own that gives the same names.
    """
    code = [k for k, cell in enumerate(cells) if cell.cell_type == "code"]
    names = slices.flow(exercise.stub).binds
    checks = [_check_position(cells, code, text) for _, text in exercise.checks]
    answer = next((k for k in code if cells[k].get("id") == exercise.id), None)
    if answer is None:
        answer = next((k for k in code if "exercise" in cells[k].metadata.get("tags", []) and _gives(cells[k], names)), None)
    if answer is None or same_code(cells[answer].source, exercise.stub):
        own = [k for k in code if cells[k].get("id") not in course_ids and k not in checks and _gives(cells[k], names)]
        answer = own[-1] if own else answer
    return Place(answer, tuple(checks))


def _gives(cell, names: set) -> bool:
    return bool(names) and names <= slices.flow(cell.source).binds


def _check_position(cells, code: list[int], text: str) -> int | None:
    """The check's unchanged cell; of several the one executed last."""
    found = [k for k in code if same_code(cells[k].source, text)]
    return max(found, key=lambda k: cells[k].execution_count or 0, default=None)


def same_code(one: str, other: str) -> bool:
    """Whether two texts are the same program; comments and layout do not count."""
    if one.strip() == other.strip():
        return True
    try:
        return ast.dump(ast.parse(one)) == ast.dump(ast.parse(other))
    except (SyntaxError, ValueError):
        return False


def blanks(source: str) -> int:
    """How many `...` stand where a value belongs: not `x[..., 0]`, not a line of its own."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source.count("...")
    other = {id(n) for part in ast.walk(tree) if isinstance(part, ast.Subscript) for n in ast.walk(part.slice)}
    other |= {id(part.value) for part in ast.walk(tree) if isinstance(part, ast.Expr)}
    return sum(
        isinstance(part, ast.Constant) and part.value is ... and id(part) not in other for part in ast.walk(tree)
    )


# ---- what outputs say -----------------------------------------------------------------------------------------------


def printed(cell) -> str:
    """What a cell wrote to its standard output."""
    return "".join(o.get("text", "") for o in cell.outputs if o.output_type == "stream" and o.get("name") == "stdout")


def verdict_lines(cell) -> list[tuple[str, str]]:
    """(mark, text) of every line of a check's output that judges an answer."""
    return [found.groups() for line in printed(cell).splitlines() if (found := _LINE.search(line))]


def error(cell) -> str | None:
    """The last line of the error that ended a cell, or None."""
    for output in cell.outputs:
        if output.output_type == "error":
            name, said = str(output.get("ename", "Error")), str(output.get("evalue", ""))
            said = re.sub(r"\(\S+, line (\d+)\)", r"(line \1)", said)  # the kernel's file names tell a learner nothing
            lines = re.sub(r"\x1b\[[0-9;]*m", "", said).strip().splitlines()
            return f"{name}: {lines[0] if name.endswith('SyntaxError') else lines[-1]}" if lines else name
    return None


def describe(cells: list, position: int) -> str:
    """A cell by its number among all cells and its first line."""
    first = next((line for line in cells[position].source.splitlines() if line.strip()), "")
    return f"cell {position + 1} of {len(cells)} ({first.strip()[:60]!r})"


def judge_saved(exercise: Exercise, cells: list, course_ids: set, seen=None, name="") -> tuple[str, str, int | None]:
    """(state, hint, cell number) of an exercise as a learner's copy was saved; `seen` is the journal of its folder, `name` its file."""
    place = locate(exercise, cells, course_ids)
    if place.answer is None:
        return MISSING, "its cell is not in your copy", None
    answer, number = cells[place.answer], place.answer + 1
    if same_code(answer.source, exercise.stub):
        return BLANK, "", number
    if None in place.checks:
        text = exercise.checks[place.checks.index(None)][1].strip()
        return MISSING, f"its check was changed or deleted; put this cell back and run it: {text}", number
    if answer.execution_count is None:
        return NOT_RUN, "", number
    if (problem := error(answer)) is not None:
        return ERROR, f"{describe(cells, place.answer)} stopped with {problem}", number
    if any(cells[k].execution_count is None for k in place.checks):
        return NOT_RUN, "its check was not run", number
    names = slices.flow(exercise.stub).binds
    in_order = all(_after(cells, place.answer, k) for k in place.checks)
    if not in_order or not all(journal.agrees(seen or {}, name, cells, k, names) for k in place.checks):
        return CHANGED, "run it and, right after it, its check", number
    state, hint = judge_outputs(exercise, answer.source, [cells[k] for k in place.checks])
    return state, hint, number


def _after(cells: list, answer: int, check: int) -> bool:
    """Whether the check was executed after the answer, as far as execution counts tell.

    Two cells with one count come from two sessions. Then a larger count may be older, and only a check executed directly after
    its answer is one we know to have seen it; cells of the learner's between the two may have been executed in between.
    """
    first, last = cells[answer].execution_count, cells[check].execution_count
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code" and cell.execution_count is not None]
    if last <= first:
        return False
    if len(counts) == len(set(counts)):
        return True
    between = {cell.execution_count for cell in cells[answer + 1 : check] if cell.cell_type == "code"}
    return set(range(first + 1, last)) <= between


def judge_outputs(exercise: Exercise, answer: str, checks: list) -> tuple[str, str]:
    """(state, hint) from the outputs of an exercise's checks, executed after `answer`."""
    problem = next((text for cell in checks if (text := error(cell)) is not None), None)
    if problem:
        return ERROR, f"its check stopped with {problem}"
    lines = [line for cell in checks for line in verdict_lines(cell)]
    right, wrong = [mark for mark, _ in lines].count("✓"), [text for mark, text in lines if mark == "✗"]
    open_ = len(lines) - right - len(wrong)
    share = f" ({right} of {max(len(lines), exercise.lines)} parts right)" if right else ""
    if wrong:
        return WRONG, re.sub(r"^Not yet\.?:? *", "", wrong[0]) + share
    if open_:
        return (BLANK, share.strip(" ()")) if blanks(answer) else (CHANGED, "run it and, right after it, its check")
    if not lines:
        return NOT_RUN, "its check says nothing"
    if blanks(answer) or right < exercise.lines:
        return CHANGED, "the saved output of its check does not belong to it; run both again"
    return RIGHT, ""
