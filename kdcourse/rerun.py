"""`kdcourse progress --run`: a learner's exercises, and only the cells that they need, executed in a fresh kernel at the smoke profile."""

import os
from pathlib import Path

import nbclient
import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from kdcourse import exercises, journal, slices
from kdcourse.exercises import BLANK, ERROR, MISSING, NOT_RUN, Result

SECONDS = 300  # for one cell; at the smoke profile the longest cells of the course take a few


class KernelError(RuntimeError):
    """No Python kernel could be started."""


def judge(copy, course, path: Path) -> tuple[list[Result], list[str]]:
    """(results, problems with other cells) of a learner's copy, executed. Blank exercises are not; a kernel starts only where there is something to run.

    The learner's answers are judged by the course's checks, whatever became of those in the copy. Raises KernelError.
    """
    cells, ids = copy.cells, {cell.get("id") for cell in course.cells}
    asked = exercises.course_exercises(course)
    places = {e.number: exercises.locate(e, cells, ids) for e in asked}
    done = {e.number: _nothing_to_run(e, places[e.number], cells) for e in asked}
    begun = [e for e in asked if done[e.number] is None]
    if not begun:
        return [Result(e, *done[e.number], file=path.name) for e in asked], []
    plan = _plan(cells, begun, places)
    executed, problems = _execute(plan, cells, path, {place.answer for place in places.values()})
    for e in begun:
        done[e.number] = _judged(e, places[e.number], cells, executed)
    return [Result(e, *done[e.number], file=path.name) for e in asked], problems


def _nothing_to_run(exercise, place, cells) -> tuple | None:
    if place.answer is None:
        return MISSING, "its cell is not in your copy", None
    if exercises.same_code(cells[place.answer].source, exercise.stub):
        return BLANK, "", place.answer + 1
    return None


def _plan(cells: list, begun: list, places: dict) -> list[tuple]:
    """What to execute, in order: (position in the copy, exercise number or None, text); checks come after all else at their place."""
    sources = [cell.source if cell.cell_type == "code" else None for cell in cells]
    after, checks = {}, {k for place in places.values() for k in place.checks if k is not None}
    for exercise in begun:
        place = places[exercise.number]
        spot = max(place.answer, *(k for k in place.checks if k is not None), place.answer)
        after.setdefault(spot, []).append(exercise)
    targets = sorted({places[e.number].answer for e in begun} | set(after))
    texts = list(sources)
    for spot, asked in after.items():  # the course's checks, not the learner's, say which names they need
        own = "" if spot in checks else sources[spot]
        texts[spot] = "\n".join([own, *(text for e in asked for _, text in e.checks)])
    plan = []
    for position in slices.needed(texts, targets):
        if position not in checks:
            plan.append((position, None, sources[position]))
            if "parameters" in cells[position].metadata.get("tags", []):
                plan.append((position, None, 'profile = "smoke"'))
        plan += [(position, e.number, text) for e in after.get(position, ()) for _, text in e.checks]
    return plan


def _execute(plan: list[tuple], cells: list, path: Path, answers: set) -> tuple[list, list[str]]:
    """The plan with its executed cells, and what went wrong in cells that are neither answer nor check."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for _, _, text in plan])
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")  # this environment's kernel, not one that the user installed
    environment = {**os.environ, "KDCOURSE_PROFILE": "smoke", "TQDM_DISABLE": "1"}
    for name in ("KDCOURSE_RESULTS", "MPLBACKEND", journal.VARIABLE):
        environment.pop(name, None)
    client = nbclient.NotebookClient(
        made,
        timeout=SECONDS,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=50"],
    )
    problems = []
    try:
        client.execute(env=environment)
    except CellTimeoutError:
        problems.append(f"{_last(plan, made, cells)} was still running after {SECONDS} s: a loop without end? What follows was not executed")
    except DeadKernelError:
        problems.append(f"{_last(plan, made, cells)} ended its kernel (out of memory, or a call of exit?). What follows was not executed")
    except (NoSuchKernel, ImportError, OSError, RuntimeError) as problem:
        raise KernelError(f"no Python kernel could be started ({problem}); kdcourse doctor says what to do") from problem
    executed = [(position, number, cell) for (position, number, _), cell in zip(plan, made.cells)]
    for position, number, cell in executed:
        if number is None and position not in answers and (text := exercises.error(cell)):
            problems.append(f"{exercises.describe(cells, position)} stopped with {text}")
    return executed, problems


def _last(plan, made, cells) -> str:
    """The cell that was running when the kernel stopped: the last one sent. A kernel that dies at once may not even have said that it was busy."""
    begun = [k for k, cell in enumerate(made.cells) if "execution" in cell.metadata]
    position, number, _ = plan[begun[-1] if begun else 0]
    return f"the check of exercise {number}" if number else exercises.describe(cells, position)


def _judged(exercise, place, cells: list, executed: list) -> tuple:
    number = place.answer + 1
    answer = next((cell for position, n, cell in executed if position == place.answer and n is None), None)
    checks = [cell for _, n, cell in executed if n == exercise.number]
    if answer is not None and (text := exercises.error(answer)):
        return ERROR, f"{exercises.describe(cells, place.answer)} stopped with {text}", number
    if answer is None or any(cell.execution_count is None for cell in checks):
        return NOT_RUN, "an earlier cell stopped the run", number
    return *exercises.judge_outputs(exercise, cells[place.answer].source, checks), number
