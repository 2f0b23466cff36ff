"""`kdcourse lab`: the learner's own copies of the lessons in work/, and JupyterLab opened on them.

Nothing in work/ is ever written over. A copy remembers in its metadata which version of the lesson it is; when the course has a
newer one, that is put beside it, once, as NN_slug.new.ipynb. What was offered stands in work/.kdcourse.json.
"""

import hashlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import webbrowser
from pathlib import Path

import nbformat

from kdcourse import journal, lesson, notebooks
from kdcourse.study import ALLOCATOR

STATE = ".kdcourse.json"
FIRST_PORT, PORTS = 8888, 50


def add_arguments(parser) -> None:
    """The options of `kdcourse lab`."""
    parser.add_argument("--copy-only", action="store_true", help="copy what is new and do not start JupyterLab")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    parser.add_argument("--port", type=int, default=None, help=f"use this port only (otherwise the first free from {FIRST_PORT} on)")
    parser.add_argument("--allow-root", action="store_true", help="start also as root (in a container of your own)")
    parser.add_argument("--work", metavar="FOLDER", default=None, help="where your copies are (work)")


def main(options, root) -> int:
    """Copy lessons that are new, put newer versions beside the learner's, then become JupyterLab."""
    work = Path(options.work or Path(root) / "work").resolve()
    for line in update(root, work):
        print(line, flush=True)
    return 0 if options.copy_only else _start(options, work)


# ---- copies ---------------------------------------------------------------------------------------------------------


def update(root, work) -> list[str]:
    """Bring `work` up to date without changing a file in it; what there is to say, line by line.

    Raises ValueError where there are no lessons, or where `work` cannot be written to.
    """
    stored = sorted((Path(root) / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    if not stored:
        raise ValueError(notebooks.no_lessons(Path(root) / "notebooks"))
    try:
        Path(work).mkdir(parents=True, exist_ok=True)
        state = read_state(work)
        said = [line for path in stored for line in _update_one(path, Path(work), state)]
    except OSError as problem:
        raise ValueError(
            f"cannot write to {work} ({problem.strerror or problem}); your copies of the lessons go there. "
            "Make it writable, or choose another folder: kdcourse lab --work FOLDER"
        ) from problem
    return said


def _update_one(path: Path, work: Path, state: dict) -> list[str]:
    new, mine = notebooks.read(path), work / path.name
    if new is None:
        return [f"notebooks/{path.name} cannot be read; put it back with: git checkout -- notebooks/{path.name}"]
    if not mine.exists():
        _copy(new, mine)
        return [f"new: {_shown(mine)}"]
    copy = notebooks.read(mine)
    if copy is None:
        return [f"{unreadable(mine)} It is kept as it is."]
    if _is_current(copy, new):
        return []
    return _offer(new, copy, mine, state)


def _offer(new, copy, mine: Path, state: dict) -> list[str]:
    """Put a newer version beside the learner's, unless it was put there before (and perhaps thrown away since)."""
    wanted = version(new)
    offered = state.setdefault("offered", {}).setdefault(mine.stem, [])
    beside = [notebooks.read(path) for path in newer_copies(mine)]
    if wanted in offered or any(other is not None and base_version(other) == wanted for other in beside):
        return []
    target = next(name for name in _new_names(mine) if not name.exists())
    _copy(new, target)
    offered.append(wanted)
    write_state(mine.parent, state)
    same = version(copy) == base_version(copy)
    yours = "You have changed nothing in yours, so you can delete it and rename" if same else "Yours is kept; to start over, rename"
    return [f"newer: {mine.stem} has changed in the course; the new version is {_shown(target)}. {yours} the new one."]


def _copy(notebook, target: Path) -> None:
    made = nbformat.from_dict(notebook)
    made.metadata = nbformat.from_dict(
        {**notebook.metadata, "kdcourse": {**notebook.metadata.get("kdcourse", {}), "version": version(notebook)}}
    )
    notebooks.write(made, target)


def version(notebook) -> str:
    """A short checksum of a notebook's text and code; outputs do not count."""
    cells = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()[:16]


def base_version(notebook) -> str | None:
    """The version that a learner's copy was made from; None where it does not say."""
    return notebook.metadata.get("kdcourse", {}).get("version")


def _is_current(copy, new) -> bool:
    if base_version(copy):
        return base_version(copy) == version(new)
    # From before copies remembered their version, or fetched from elsewhere: it knows the hash of its code at least.
    return copy.metadata.get("kdcourse", {}).get("code_hash") == new.metadata.get("kdcourse", {}).get("code_hash")


def newer_copies(mine: Path) -> list[Path]:
    """The new versions lying beside a learner's copy, the oldest first."""
    found = mine.parent.glob(f"{mine.stem}.new*.ipynb")
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _new_names(mine: Path):
    yield mine.with_name(f"{mine.stem}.new.ipynb")
    number = 2
    while True:
        yield mine.with_name(f"{mine.stem}.new-{number}.ipynb")
        number += 1


def unreadable(path: Path) -> str:
    """What is wrong with a notebook that cannot be read, and how to get a whole one: an older save, or a fresh copy."""
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
        why = "it is JSON but not a notebook"
    except json.JSONDecodeError as problem:
        why = f"it is not valid JSON: {problem.msg} in line {problem.lineno}" if text.strip() else "the file is empty"
    except UnicodeDecodeError:
        why = "it is not a text file"
    except OSError as problem:
        why = str(problem.strerror or problem)
    saved = path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint.ipynb"
    older = f" JupyterLab's last checkpoint of it is {_shown(saved)}." if notebooks.read(saved) else ""
    return f"{_shown(path)} cannot be read ({why}).{older} For a fresh copy, rename it and run: kdcourse lab --copy-only."


def _shown(path: Path) -> str:
    """A path as the learner knows it: below the course's folder without what leads there."""
    return str(path.relative_to(lesson.ROOT)) if path.is_relative_to(lesson.ROOT) else str(path)


def read_state(work) -> dict:
    """What work/.kdcourse.json remembers; an empty dict where it is missing or damaged."""
    try:
        state = json.loads((Path(work) / STATE).read_text(encoding="utf-8"))
        return state if isinstance(state, dict) else {}
    except (OSError, ValueError):
        return {}


def write_state(work, state: dict) -> None:
    """Remember it, by way of a temporary name."""
    lesson.write_json(Path(work) / STATE, state)


# ---- JupyterLab -----------------------------------------------------------------------------------------------------


def _start(options, work: Path) -> int:
    """Become JupyterLab; ValueError where that cannot work, before anything starts."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError(
            f"JupyterLab is not installed beside {sys.executable}; run: pip install -e . in the course's folder "
            "(make lab does it in .venv), or open the notebooks there with a Jupyter of your own"
        )
    if not options.allow_root and hasattr(os, "geteuid") and os.geteuid() == 0:
        raise ValueError(
            "JupyterLab does not start as root, because every notebook could then change the whole system. Start it as an ordinary "
            "user; in a container of your own: kdcourse lab --allow-root"
        )
    command = [sys.executable, "-m", "jupyterlab", *_settings(options, work)]
    environment = {**os.environ, **ALLOCATOR, **_environment(work)}
    sys.stdout.flush()
    if os.name == "nt":  # there, exec leaves the terminal to two programs at once
        return subprocess.call(command, env=environment)
    os.execve(sys.executable, command, environment)


def _environment(work: Path) -> dict:
    # The folder `jupyter` turns off JupyterLab's question about news from its makers: a room may be without a network.
    folders = [str(Path(__file__).parent / "jupyter"), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not one that the user installed
        "JUPYTER_CONFIG_PATH": os.pathsep.join(folders),
        journal.VARIABLE: str(work / journal.FILE),
    }


def _settings(options, work: Path) -> list[str]:
    """JupyterLab's options; its token stays on."""
    port = _port(options.port)
    settings = [
        f"--ServerApp.root_dir={work}",
        f"--ServerApp.port={port}",
        f"--ServerApp.port_retries={0 if options.port else PORTS}",
    ]
    if first := _first_lesson(work):
        settings.append(f"--LabApp.default_url=/lab/tree/{first}")
    if options.no_browser or not _browser():
        settings.append("--no-browser")
        print("open the address with ?token=… that JupyterLab prints below in a browser", flush=True)
    if options.allow_root:
        settings.append("--allow-root")
    return settings


def _port(asked: int | None) -> int:
    """The port to use: the one asked for if it is free, else the first free one; ValueError where there is none."""
    if asked is None:
        first = int(os.environ.get("JUPYTER_PORT") or FIRST_PORT)
        port = next((port for port in range(first, min(first + PORTS, 65536)) if _refusal(port) is None), None)
        if port is None:
            raise ValueError(f"no free port from {first} to {first + PORTS - 1}; name one: kdcourse lab --port NUMBER")
        if port != first:
            print(f"port {first} is in use (another JupyterLab?); this one opens on port {port}", flush=True)
        return port
    if not 1 <= asked <= 65535:
        raise ValueError(f"--port is {asked}; expected a number from 1 to 65535")
    if refusal := _refusal(asked):
        raise ValueError(f"port {asked} cannot be used ({refusal}); without --port the first free one from {FIRST_PORT} on is taken")
    return asked


def _refusal(port: int) -> str | None:
    """Why this port cannot be listened to, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as the server does: a port whose last connections are closing is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError as problem:
            return problem.strerror or str(problem)
    return None


def _browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        print("no web browser was found on this machine (kdcourse lab --no-browser does not look for one)", flush=True)
        return False
    return True


def _first_lesson(work: Path) -> str | None:
    """The lesson to open, the first time only; afterwards JupyterLab opens what was open last."""
    state = read_state(work)
    first = next((path.name for path in sorted(work.glob("00_*.ipynb"))), None)
    if state.get("opened") or first is None:
        return None
    write_state(work, {**state, "opened": True})
    return first
