"""Which text an exercise's check has seen: noted by the kernel, because a saved notebook does not tell.

A cell that was edited after it ran keeps its execution count, and the check below it keeps its "Right". `kdcourse lab` therefore names
a file in $KDCOURSE_JOURNAL; a kernel that imports the checks appends one line to it whenever a check was executed.
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from kdcourse import slices

FILE, VARIABLE = ".kdcourse-runs.jsonl", "KDCOURSE_JOURNAL"


def attach() -> None:
    """Note the checks of this kernel; nothing happens outside one, or where nobody asked for it."""
    if not os.environ.get(VARIABLE) or "IPython" not in sys.modules:
        return
    shell = sys.modules["IPython"].get_ipython()
    if shell is not None and not getattr(shell, "kdcourse_journal", False):
        shell.kdcourse_journal = True
        shell.events.register("post_run_cell", _note)


def _note(result) -> None:
    try:
        count, text = result.execution_count, result.info.raw_cell
        if count is None or "checks." not in text:
            return
        shell = sys.modules["IPython"].get_ipython()
        sources = list(shell.history_manager.input_hist_raw)[:count]
        notebook = Path(os.environ.get("JPY_SESSION_NAME") or "").name
        line = {"notebook": notebook, "count": count, "check": digest(text), "saw": _origins(text, sources)}
        with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except Exception:  # whatever is wrong here, it must not disturb the lesson
        return


def _origins(text: str, sources: list[str]) -> dict:
    """The digest of the cell that gave each name used in `text` last."""
    found = {}
    for name in slices.flow(text).needs:
        giver = next((source for source in reversed(sources) if name in slices.flow(source).binds), None)
        if giver is not None:
            found[name] = digest(giver)
    return found


def digest(source: str) -> str:
    """A short checksum of a cell's text."""
    return hashlib.sha256(source.strip().encode()).hexdigest()[:16]


def read(work) -> dict:
    """{(notebook, execution count, digest of the check): names and the digests of their cells}; damaged lines are left out."""
    found = {}
    try:
        lines = (Path(work) / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            entry = json.loads(line)
            found[entry["notebook"], entry["count"], entry["check"]] = dict(entry["saw"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def agrees(seen: dict, notebook: str, cells: list, check: int, names) -> bool:
    """False where the check is known to have seen another text of the exercise than the copy holds now; True where nothing is known."""
    saw = seen.get((notebook, cells[check].execution_count, digest(cells[check].source)))
    if saw is None:
        return True
    held = {digest(cell.source) for cell in cells if cell.cell_type == "code"}
    return all(saw[name] in held for name in names if name in saw)
