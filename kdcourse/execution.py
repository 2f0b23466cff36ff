"""Executing lessons: for a learner into build/, for the course into notebooks/ and results/."""

import contextlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import papermill
from nbclient.exceptions import DeadKernelError

from kdcourse import claims, lesson
from kdcourse.notebooks import (
    Source,
    clean,
    is_current,
    keep_outputs,
    lesson_key,
    make,
    profile_folder,
    read,
    read_lesson_record,
    write,
)
from kdcourse.study import ALLOCATOR


class ExecutionError(RuntimeError):
    """A lesson's notebook did not run to its end; the message says where and why, and where its beginning is kept."""


@contextlib.contextmanager
def _environment(changes: dict):
    """Set environment variables (None removes one) for the kernels started meanwhile."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(variables: dict) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = str(value)


def execute(notebook, partial, *, parameters=None, environment=None, root=None):
    """Run a notebook in a fresh kernel; (the executed notebook, seconds). What has run is kept in `partial` all the while.

    Raises ExecutionError where a cell fails or the kernel dies; `partial` then holds everything up to there.
    """
    write(notebook, partial)
    # A user's own Jupyter kernels or plotting backend must not replace this environment's.
    fixed = {**ALLOCATOR, "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "MPLBACKEND": None}
    started = time.perf_counter()
    with _environment({**fixed, **(environment or {})}):
        try:
            papermill.execute_notebook(
                str(partial),
                str(partial),
                parameters=parameters,
                kernel_name="python3",
                progress_bar=sys.stderr.isatty(),
                cwd=str(root or lesson.ROOT),
                extra_arguments=["--log-level=40"],
            )
        except (papermill.PapermillExecutionError, RuntimeError) as problem:
            raise ExecutionError(_explain(Path(partial), problem)) from None
    executed = read(partial)
    Path(partial).unlink()
    return executed, time.perf_counter() - started


def _explain(partial: Path, problem: Exception) -> str:
    """Which cell ended the run, the last lines of its error, and where the partial notebook lies."""
    cells = [cell for cell in read(partial).cells if cell.cell_type == "code"]
    begun = [k for k, cell in enumerate(cells) if cell.metadata.get("papermill", {}).get("start_time")]
    cell = cells[begun[-1]] if begun else cells[0]
    if isinstance(problem, DeadKernelError):
        lines = ["The kernel was killed (out of memory?). Finished trials are kept; run it again to go on."]
    elif isinstance(problem, RuntimeError):  # it never started, or did not answer
        lines = [str(problem), "kdcourse doctor says whether a kernel can start here."]
    else:
        text = "\n".join(line for output in cell.outputs if output.output_type == "error" for line in output.traceback)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines()[-8:]
    name = partial.name.removesuffix(".ipynb").removesuffix(".partial")
    first = next((line for line in cell.source.splitlines() if line.strip()), "")
    head = f"lesson {name}: code cell {(begun or [0])[-1] + 1} of {len(cells)} ({first[:60]!r}) did not finish"
    return "\n".join([head, *(f"    {line}" for line in lines), f"    what ran until there: {partial}"])


def run(source: Source, out, *, profile="quick", first_seed=0, cold=False, root=None) -> dict:
    """Execute a learner's notebook into out/notebooks and its evidence into out/results; returns the lesson's record.

    `cold`: with an empty trial cache of its own. What an earlier run left of this lesson goes first. Raises ExecutionError.
    """
    out, results = Path(out), Path(out) / "results"
    folder = profile_folder(results, profile, first_seed)
    for stale in [*folder.glob(f"{source.number}-*.json"), *folder.glob(f"lesson-{source.number}.json")]:
        stale.unlink()
    (out / "notebooks" / f"{source.slug}.ipynb").unlink(missing_ok=True)
    notebook, parameters = make(source, profile=profile), {"profile": profile, "first_seed": first_seed}
    with tempfile.TemporaryDirectory(prefix="kdcourse-cold-") as empty:
        environment = {"KDCOURSE_RESULTS": results.resolve()} | ({"KDCOURSE_CACHE": empty} if cold else {})
        partial = out / "notebooks" / f"{source.slug}.partial.ipynb"
        executed, seconds = execute(notebook, partial, parameters=parameters, environment=environment, root=root)
    write(clean(executed), out / "notebooks" / f"{source.slug}.ipynb")
    return _record(source, results, profile, first_seed, seconds, root)


def build(source: Source, *, profile="quick", record=False, force=False, root=None) -> str:
    """Make a lesson's learner and solution notebooks; executes them only where stored outputs do not belong to the code.

    Results go to build/, with `record` to results/; with `record` the quick profile's notebooks are the committed ones.
    Returns what was done. Raises ValueError for a faulty source, ExecutionError.
    """
    root = Path(root or lesson.ROOT)
    results = root / "results" if record else root / "build" / "results"
    target = root / "notebooks" if record and profile == "quick" else root / "build" / "authoring"
    paths = [target / f"{source.slug}.ipynb", target / "solutions" / f"{source.slug}.ipynb"]
    fresh = [make(source, solved, profile) for solved in (False, True)]
    current = is_current(source, read_lesson_record(results, profile, source.number), root)
    if not force and current and all(keep_outputs(notebook, read(path)) for notebook, path in zip(fresh, paths)):
        for notebook, path in zip(fresh, paths):
            write(notebook, path)
        return "outputs kept, nothing to execute"
    total = 0.0
    for notebook, path, evidence in zip(fresh, paths, (results, None)):
        environment = {"KDCOURSE_PROFILE": profile, "KDCOURSE_RESULTS": evidence, "TQDM_DISABLE": "1"}
        kind = "" if evidence else "-solution"
        partial = root / "build" / "partial" / f"{source.slug}{kind}.partial.ipynb"
        executed, seconds = execute(notebook, partial, environment=environment, root=root)
        write(clean(executed), path)
        total += seconds
        if evidence:
            _record(source, results, profile, 0, seconds, root)
    return f"executed in {total:.0f} s"


def _record(source: Source, results, profile: str, first_seed: int, seconds: float, root) -> dict:
    """Write the record of a lesson's run, beside what the run itself left there."""
    ledger = Path(root or lesson.ROOT) / "claims.toml"
    known = claims.read_ledger(ledger).values() if ledger.exists() else []
    record = read_lesson_record(results, profile, source.number, first_seed) | {
        "lesson": source.number,
        "slug": source.slug,
        "title": source.title,
        "key": lesson_key(source, root),
        "profile": profile,
        "first_seed": first_seed,
        "seconds": round(seconds, 1),
        "claims": [claim.id for claim in known if claim.lesson == source.number],
        "provenance": lesson.provenance(),
    }
    record.setdefault("cold_core_seconds", None)
    lesson.write_json(profile_folder(results, profile, first_seed) / f"lesson-{source.number}.json", record)
    return record
