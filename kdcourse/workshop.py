"""One zip that a learner unpacks and runs: lessons, data, package and records, without the solutions unless they are asked for.

The same tree gives the same bytes: entries are sorted, times and permissions fixed. What is not tracked (work/, build/, a cache) does not get in.
"""

import fnmatch
import hashlib
import os
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

import jupytext
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from kdcourse import keys, lesson, notebooks, prefetch

LEARNERS = (
    "README.md", "LICENSE", "CITATION.cff", "Makefile", "pyproject.toml", "environment.yml", "claims.toml", "docs/glossary.toml",
    "docs/quizzes/*", "data/*", "kdcourse/*", "results/*", "notebooks/*.ipynb", "notebooks/src/*.py", "notebooks/project/*",
)  # fmt: skip
SOLUTIONS = ("notebooks/solutions/*", "docs/instructor/*")
NEVER = ("*__pycache__*", "*.ipynb_checkpoints*", "*/.*", "*.tmp", "*.lock", "*-ubyte")
STORED = (".gz", ".whl", ".png", ".safetensors", ".npz")  # compressing these again gains nothing
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


# ---- what goes in ---------------------------------------------------------------------------------------------------------


def contents(root, *, solutions: bool = False) -> dict[str, bytes]:
    """The course's own files for a workshop copy, by their path in it."""
    root = Path(root)
    chosen = {name: (root / name).read_bytes() for name in _tracked(root) if _belongs(name, solutions)}
    if not any(fnmatch.fnmatch(name, "notebooks/*.ipynb") for name in chosen):
        raise ValueError(f"no notebooks in {root / 'notebooks'}; run: make record")
    if not solutions:
        for name in [name for name in chosen if fnmatch.fnmatch(name, "notebooks/src/*.py")]:
            chosen[name] = without_solutions(chosen[name].decode()).encode()
    return chosen


def _tracked(root: Path) -> list[str]:
    """The files that git knows; in an unpacked copy, where there is no git, all that are there."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True) if (root / ".git").exists() else None
    if found is not None and found.returncode == 0:
        names = found.stdout.split("\0")
    else:
        names = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    return sorted(name for name in names if name and (root / name).is_file() and not (root / name).is_symlink())


def _belongs(name: str, solutions: bool) -> bool:
    if any(fnmatch.fnmatch(name, pattern) for pattern in NEVER) or ("solution" in name and not solutions):
        return False
    return any(fnmatch.fnmatch(name, pattern) for pattern in (*LEARNERS, *(SOLUTIONS if solutions else ())))


def without_solutions(text: str) -> str:
    """A lesson's source whose solution cells are empty and tagged as left out; everything else as it was."""
    notebook = jupytext.reads(text, fmt="py:percent")
    for cell in notebook.cells:
        if "solution" in notebooks.tags(cell):
            cell.source, cell.metadata["tags"] = "", [notebooks.LEFT_OUT]
    return jupytext.writes(notebook, fmt="py:percent")


def kept_runs(root, profile: str = "quick") -> tuple[dict[str, bytes], list[str], list[str]]:
    """(files, numbers of the lessons they make ready, numbers of the others) of the finished runs of a profile on this machine.

    They become shipped trials, as the teachers are: found by what they compute, whatever the machine's dtype or torch version. ValueError where no lesson is ready.
    """
    files, ready, waiting = {}, [], []
    for source in notebooks.lessons(root=root):
        state = prefetch.status(source, profile, root)
        (ready if state.ready else waiting).append(source.number)
        if state.ready:
            folder = keys.TEACHERS.as_posix()
            files |= {f"{folder}/{name}-{recipe[:32]}.safetensors": file.read_bytes() for name, recipe, file in state.trials}
            files[f"{folder}/{prefetch.LISTS}/{prefetch.list_name(source.number, profile)}"] = prefetch.list_of(source, profile, root)
    if not ready:
        raise ValueError("--with-cache: no lesson was prefetched on this machine; run: kdcourse prefetch")
    return files, ready, waiting


def folder_files(folder, name: str) -> dict[str, bytes]:
    """Every file below a built folder, as `name`/…; ValueError where it was not built."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not there; run: make {name}")
    return {f"{name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def wheels(folder, root) -> dict[str, bytes]:
    """The wheels in a folder, as wheels/…; ValueError where one of the packages that pyproject.toml names has none."""
    folder = Path(folder)
    paths = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    try:
        names = {parse_wheel_filename(path.name)[0] for path in paths}
    except InvalidWheelFilename as problem:
        raise ValueError(f"{folder}: {problem}") from problem
    project = tomllib.loads((Path(root) / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [Requirement(text).name for text in project["project"]["dependencies"] + project["build-system"]["requires"]]
    lacking = [name for name in wanted if canonicalize_name(name) not in names]
    if lacking:
        builders = " ".join(f'"{text}"' for text in project["build-system"]["requires"])
        raise ValueError(
            f"{folder} has {len(paths)} wheels, none of {', '.join(lacking)}. On a machine like the learners' (system, Python), with a "
            f"network and in the course's folder: python -m pip download --dest {folder} {builders} ."
        )
    return {f"wheels/{path.name}": path.read_bytes() for path in paths}


def start_here(version: str, *, offline: bool, ready: list[str], parts: list[str]) -> str:
    """START-HERE.txt: the lines to type, and what is in the folder."""
    install = "-m pip install --no-index --find-links wheels -e ." if offline else "-m pip install -e ."
    network = (
        "The second line installs from the folder wheels/: no network is needed, and the wheels fit one kind of system and Python version only."
        if offline
        else "The second line downloads PyTorch and Jupyter once: minutes, some gigabytes on disk, with a network. After it none is needed."
    )
    runs = (
        f"Finished runs are included for lessons {', '.join(ready)}: there, cells answer at once. KDCOURSE_SHIPPED=0 computes everything anew."
        if ready
        else "Each lesson computes for some minutes when it is first run; then its runs are kept. `kdcourse prefetch` does that for all at once."
    )
    lines = [
        f"kdcourse {version}: a course on knowledge distillation",
        "",
        "You need Python 3.11 or newer. Open a terminal in this folder and type three lines.",
        "",
        "Linux and macOS:",
        "",
        "    python3 -m venv .venv",
        f"    .venv/bin/python {install}",
        "    .venv/bin/kdcourse lab",
        "",
        "Windows:",
        "",
        "    py -m venv .venv",
        f"    .venv\\Scripts\\python {install}",
        "    .venv\\Scripts\\kdcourse lab",
        "",
        network,
        runs,
        "",
        "JupyterLab opens on copies of the lessons in work/, which are yours. Begin with 00_start_here.ipynb.",
        "If something does not work: .venv/bin/kdcourse doctor (Windows: .venv\\Scripts\\kdcourse doctor) says what to do.",
        "",
        f"In this folder: {', '.join(parts)}. README.md says more.",
    ]
    return "\r\n".join(lines) + "\r\n"


# ---- the zip --------------------------------------------------------------------------------------------------------------


def write_zip(files: dict[str, bytes], target: Path, folder: str) -> None:
    """Write files below `folder` into a zip that depends on nothing but them; to a temporary name, then rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    with zipfile.ZipFile(temporary, "w") as made:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{folder}/{name}", EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
            made.writestr(entry, files[name], compresslevel=9)
    os.replace(temporary, target)


def add_arguments(parser) -> None:
    parser.add_argument("--with-solutions", "--instructor", action="store_true", help="also the solutions and the instructor notes")
    parser.add_argument("--without-solutions", action="store_true", help="leave the solutions out (this is what happens anyway)")
    parser.add_argument("--with-cache", action="store_true", help="also the finished runs that kdcourse prefetch made on this machine")
    parser.add_argument("--with-site", action="store_true", help="also build/site (its lesson pages show the solutions, folded)")
    parser.add_argument("--with-slides", action="store_true", help="also build/slides")
    parser.add_argument("--wheelhouse", metavar="FOLDER", help="also the wheels in this folder, to install from without a network")
    parser.add_argument("--out", default=None, help="the zip to write (build/kdcourse-workshop-VERSION.zip)")


def command(options, root) -> int:
    """Write the workshop's zip and say how big it is and what is in it."""
    root = Path(root)
    if options.with_solutions and options.without_solutions:
        raise ValueError("--with-solutions and --without-solutions contradict each other")
    version = _version(root)
    files, ready, notes = contents(root, solutions=options.with_solutions), [], []
    parts = ["notebooks", "kdcourse (the package)", "data", "results (recorded runs)", "claims.toml"]
    if options.with_cache:
        runs, ready, waiting = kept_runs(root)
        files |= runs
        notes += [f"finished runs of lessons {' '.join(ready)}" + (f"; not prefetched: {' '.join(waiting)}" if waiting else "")]
    for wanted, name in ((options.with_site, "site"), (options.with_slides, "slides")):
        if wanted:
            files |= folder_files(root / "build" / name, name)
            parts.append(f"{name} (open {name}/index.html)")
    if options.with_site and not options.with_solutions:
        notes.append("note: the site's lesson pages show the solutions, folded")
    if options.wheelhouse:
        found = wheels(options.wheelhouse, root)
        files |= found
        parts.append("wheels")
        notes.append(f"{len(found)} wheels for {', '.join(_platforms(found))}")
    files["START-HERE.txt"] = start_here(version, offline=bool(options.wheelhouse), ready=ready, parts=parts).encode()
    target = Path(options.out or root / "build" / f"kdcourse-workshop-{version}.zip")
    write_zip(files, target, f"kdcourse-workshop-{version}")
    size, digest = target.stat().st_size / 2**20, hashlib.sha256(target.read_bytes()).hexdigest()
    notes.insert(0, "with solutions and instructor notes" if options.with_solutions else "without solutions")
    print("\n".join([f"{target}: {size:.1f} MB, {len(files)} files", *(f"  {note}" for note in notes), f"  sha256 {digest}"]))
    return 0


def _version(root: Path) -> str:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def _platforms(names) -> list[str]:
    tags = {tag.platform for name in names for tag in parse_wheel_filename(Path(name).name)[3]} - {"any"}
    return sorted(tags) or ["any system"]


def is_copy(root) -> bool:
    """Whether the solutions were left out of this copy of the course."""
    folder = Path(root or lesson.ROOT) / "notebooks" / "src"
    return any(re.search(rf'tags=\["{notebooks.LEFT_OUT}"\]', path.read_text(encoding="utf-8")) for path in folder.glob("[0-9][0-9]_*.py"))


def refuse_in_copy(root) -> None:
    """ValueError in a copy without solutions: authors' commands need the whole course."""
    if is_copy(root):
        raise ValueError(
            "this is a workshop copy, its solutions were left out: kdcourse build and make test need the whole course. Here: kdcourse lab, run, prefetch, doctor"
        )
