"""From a lesson's source to its notebooks: generate, compare, and say what has gone stale. Nothing here executes a cell.

`notebooks/src/NN_slug.py` (jupytext, py:percent) is the only place where a lesson is edited. Cell tags: `parameters`; `exercise` (a stub
with `...` for its blanks), followed at once by `solution`; `nbval-check-output`; `main-figure` (its picture stands for the
lesson in the report). Two cells are made here and stand in no source: the first code cell finds or fetches the course (tag `install`),
the last cell asks the lesson's quiz (tag `quiz`).
"""

import difflib
import hashlib
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat

from kdcourse import install_cell, keys, lesson, quizzes

LEFT_OUT = "solution-left-out"  # tag of a solution's empty place in a workshop copy


@dataclass(frozen=True)
class Source:
    """A lesson as it is edited: its name (NN_slug), its cells, and the folder of the course it belongs to, if any."""

    slug: str
    cells: list
    root: Path | None = None

    @property
    def number(self) -> str:
        return self.slug[:2]

    @property
    def title(self) -> str:
        """The first heading, without `#` and the lesson's number."""
        lines = "\n".join(cell.source for cell in self.cells if cell.cell_type == "markdown").splitlines()
        heading = next((line[2:].strip() for line in lines if line.startswith("# ")), self.slug)
        return re.sub(r"^\d\d\s*[·:.]\s*", "", heading)

    def code(self) -> list[str]:
        """The text of every code cell, stubs and solutions included."""
        return [cell.source for cell in self.cells if cell.cell_type == "code"]


# ---- sources --------------------------------------------------------------------------------------------------------


def lessons(names=(), root=None) -> list[Source]:
    """The lessons called `names` (01, 1, 01_slug or a path), or all of them; ValueError suggests the nearest name."""
    folder = Path(root or lesson.ROOT) / "notebooks" / "src"
    known = sorted(path.stem for path in folder.glob("[0-9][0-9]_*.py"))
    if not known:
        raise ValueError(no_lessons(folder))
    return [read_source(folder / f"{slug}.py") for slug in dict.fromkeys(find(str(n), known) for n in names or known)]


def no_lessons(folder) -> str:
    """What to say where the course's lessons are not there."""
    return f"no lessons in {folder}; kdcourse runs from a checkout of the course (git clone, then make course)"


def find(name: str, known: list[str]) -> str:
    """The one of `known` slugs that is meant by 01, 1, 01_slug or a path; ValueError suggests the nearest."""
    stem = Path(name).stem
    number = stem.zfill(2) if stem.isdigit() else None
    for slug in known:
        if stem in (slug, slug[3:]) or number == slug[:2]:
            return slug
    words = {word: slug for slug in known for word in (slug, slug[3:], slug[:2])}
    near = difflib.get_close_matches(stem.lower(), words, n=1, cutoff=0.4)
    hint = f"did you mean {words[near[0]]}?" if near else "there are:"
    raise ValueError(f"unknown lesson {name!r}; {hint} ({', '.join(known)})")


def read_source(path) -> Source:
    """Read a percent-format lesson; ValueError where jupytext or the notebook format refuses it."""
    path = Path(path)
    try:
        notebook = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    except Exception as problem:  # jupytext, yaml and nbformat each have their own
        raise ValueError(f"{path} is not a readable percent-format lesson: {problem}") from problem
    return Source(path.stem, notebook.cells, _course(path))


def _course(path: Path) -> Path | None:
    """The folder that holds notebooks/src/NN_slug.py."""
    source = path.resolve().parent
    return source.parents[1] if source.parts[-2:] == ("notebooks", "src") else None


def tags(cell) -> list[str]:
    return list(cell.metadata.get("tags", []))


def source_problems(source: Source) -> list[str]:
    """What is wrong with a source: its parameters cell, and every exercise whose solution is not the stub filled in."""
    problems = []
    cells = source.cells
    parameters = [cell.source for cell in cells if "parameters" in tags(cell)]
    if len(parameters) != 1 or not all(
        re.search(rf"^{name} *=", parameters[0], re.M) for name in ("profile", "first_seed")
    ):
        problems.append(f"{source.slug}: needs exactly one cell tagged parameters that sets profile and first_seed")
    for position, cell in enumerate(cells):
        where = f"{source.slug}, cell {position + 1} ({(cell.source.splitlines() or ['empty'])[0][:60]!r})"
        after = cells[position + 1] if position + 1 < len(cells) else None
        if "exercise" in tags(cell):
            if after is not None and LEFT_OUT in tags(after):
                continue
            if after is None or "solution" not in tags(after):
                problems.append(f"{where}: an exercise must be followed at once by its solution")
            elif difference := _stub_difference(cell.source, after.source):
                problems.append(f"{where}: {difference}")
        if "solution" in tags(cell) and (position == 0 or "exercise" not in tags(cells[position - 1])):
            problems.append(f"{where}: a solution must follow its exercise at once")
    return problems


def _stub_difference(stub: str, solution: str) -> str | None:
    """Why `solution` is not `stub` with its `...` filled in, or None."""
    stub, solution = stub.strip(), solution.strip()
    fixed = stub.split("...")
    if len(fixed) == 1:
        return "the stub has no blank; write ... where the learner fills something in"
    if stub == solution:
        return "the solution leaves the stub's blanks open"
    if re.fullmatch(".+?".join(map(re.escape, fixed)), solution, re.S):
        return None
    changes = list(difflib.unified_diff(stub.splitlines(), solution.splitlines(), lineterm="", n=0))[3:]
    return "the solution differs from the stub in more than its blanks:\n    " + "\n    ".join(changes)


# ---- keys -----------------------------------------------------------------------------------------------------------


def code_hash(source: Source) -> str:
    """sha256 of the code cells as they are written: stored outputs belong to exactly this code."""
    return hashlib.sha256(json.dumps(source.code()).encode()).hexdigest()


def lesson_key(source: Source, root=None) -> str:
    """sha256 of what decides a lesson's numbers, see `keys.lesson_key`."""
    return keys.lesson_key(source.code(), root or lesson.ROOT)


def profile_folder(results, profile: str, first_seed: int = 0) -> Path:
    """Where the records of a profile lie; a run from another first seed has a folder of its own."""
    return Path(results) / (profile if first_seed == 0 else f"{profile}-seed{first_seed}")


def read_lesson_record(results, profile: str, number: str, first_seed: int = 0) -> dict:
    """The record of a lesson's last run there, or an empty dict."""
    path = profile_folder(results, profile, first_seed) / f"lesson-{number}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def is_current(source: Source, record: dict, root=None) -> bool:
    """Whether `record` was made from the lesson's code, the numeric code, the data and the shipped teachers as they are now."""
    root = Path(root or lesson.ROOT)
    used = record.get("teachers", {})
    return record.get("key") == lesson_key(source, root) and used == keys.teacher_checksums(used, root)


def stale_lessons(profile: str = "quick", root=None) -> list[Source]:
    """The lessons whose record in results/ is no longer current (or that have none)."""
    root = Path(root or lesson.ROOT)
    return [
        s for s in lessons(root=root) if not is_current(s, read_lesson_record(root / "results", profile, s.number), root)
    ]


# ---- notebooks ------------------------------------------------------------------------------------------------------


def make(source: Source, solved: bool = False, profile: str = "quick"):
    """The learner's notebook (stubs, no solutions) or the solved one, not yet executed. ValueError for a faulty source or quiz."""
    if problems := source_problems(source):
        raise ValueError("\n".join(problems))
    if solved and any(LEFT_OUT in tags(cell) for cell in source.cells):
        raise ValueError(f"{source.slug}: the solutions were left out of this copy")
    cells, seen = [], {}
    for position, cell in enumerate(source.cells):
        if {"solution", LEFT_OUT} & set(tags(cell)):
            continue
        text = source.cells[position + 1].source if solved and "exercise" in tags(cell) else cell.source
        digest = hashlib.sha256(f"{cell.cell_type}{cell.source}".encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        name = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
        create = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        cells.append(create(text, id=name, metadata=dict(cell.metadata)))
    notebook = nbformat.v4.new_notebook(cells=_with_generated(cells, source))
    notebook.metadata = _metadata({"source": f"{source.slug}.py", "code_hash": code_hash(source), "profile": profile})
    return notebook


def _with_generated(cells: list, source: Source) -> list:
    """The cells of a notebook with those that stand in no source: the install cell before the first code, the quiz at the end."""
    first = next(k for k, cell in enumerate(cells) if cell.cell_type == "code")
    hidden = {"tags": [install_cell.TAG, "remove-cell"], "jupyter": {"source_hidden": True}}  # on the site; in JupyterLab
    install = nbformat.v4.new_code_cell(install_cell.text(source.root), id="install", metadata=hidden)
    text = quizzes.markdown(source.number, source.root) if source.root else ""
    quiz = [nbformat.v4.new_markdown_cell(text, id="quiz", metadata={"tags": ["quiz"]})] if text else []
    return [*cells[:first], install, *cells[first:], *quiz]


def _metadata(own: dict) -> nbformat.NotebookNode:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}, "kdcourse": own})


def read(path) -> nbformat.NotebookNode | None:
    """A stored notebook, or None where there is none or it cannot be read."""
    try:
        notebook = nbformat.read(path, as_version=4)
        whole = all(isinstance(cell.source, str) and cell.cell_type for cell in notebook.cells)
        whole = whole and all(isinstance(c.outputs, list) for c in notebook.cells if c.cell_type == "code")
        return notebook if whole else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError):
        return None  # nbformat does not insist on much: what is JSON may still be no notebook


def write(notebook, path) -> None:
    """Write a notebook to a temporary name, then rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def clean(notebook):
    """Drop what differs between two executions of the same code, and the install cell's traces; returns the notebook."""
    notebook.metadata = _metadata(notebook.metadata.get("kdcourse", {}))
    _count_without_install(notebook.cells)
    for position, cell in enumerate(notebook.cells):
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if "injected-parameters" in tags(cell):
            cell.id = f"injected-{position}"
        if cell.cell_type == "code":
            cell.outputs = _clean_outputs(cell.outputs)
    return notebook


def _is_install(cell) -> bool:
    return install_cell.TAG in tags(cell)


def _lesson_code(cells) -> list:
    """The code cells that come from the source."""
    return [cell for cell in cells if cell.cell_type == "code" and not _is_install(cell)]


def _count_without_install(cells) -> None:
    """Count executions as if the install cell were not there: what it says and when it ran is no part of a lesson."""
    for cell in filter(_is_install, cells):
        cell.outputs, cell.execution_count = [], None
    executed = [cell for cell in _lesson_code(cells) if cell.execution_count is not None]
    for count, cell in enumerate(executed, 1):
        for holder in [cell, *(output for output in cell.outputs if output.output_type == "execute_result")]:
            holder.execution_count = count


def _clean_outputs(outputs: list) -> list:
    """One stdout and one stderr between two displays (how the kernel cut them is chance), no process ids, no widget ids."""
    kept = []
    for streams, group in itertools.groupby(outputs, key=lambda output: output.output_type == "stream"):
        group = list(group)
        if not streams:
            kept += group
            continue
        for name in ("stdout", "stderr"):
            text = "".join(output.text for output in group if output.name == name)
            # The kernel's temporary file names hold its process id. (IPYKERNEL_CELL_NAME would give all cells one name; then
            # inspect.getsource finds the wrong cell, and the cache key of a trial is that of another text.)
            text = re.sub(r"\S*ipykernel_\d+[/\\]\d+\.py", "<cell>", text)
            if text:
                kept.append(nbformat.v4.new_output("stream", name=name, text=text))
    for output in kept:
        output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return kept


def keep_outputs(notebook, stored) -> bool:
    """Copy the outputs of a stored notebook of the same code; False, nothing copied, where they do not belong to it."""
    if stored is None or stored.metadata.get("kdcourse") != notebook.metadata.kdcourse:
        return False
    old, new = _lesson_code(stored.cells), _lesson_code(notebook.cells)
    if [cell.source for cell in old] != [cell.source for cell in new] or _output_problems(old):
        return False
    for cell, before in zip(new, old):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    return True


def _output_problems(cells) -> list[str]:
    problems = []
    for number, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), 1):
        errors = [output.ename for output in cell.outputs if output.output_type == "error"]
        if errors:
            problems.append(f"code cell {number} stores an error ({errors[0]})")
        elif cell.execution_count is None and cell.source.strip() and not _is_install(cell):
            problems.append(f"code cell {number} was not executed")
    return problems


def check(source: Source, root=None) -> list[str]:
    """What is wrong with a lesson's committed notebooks; executes nothing."""
    problems = source_problems(source)
    if problems:
        return problems
    try:
        made = [make(source, solved) for solved in (False, True)]
    except ValueError as problem:  # the quiz
        return [str(problem)]
    folder = Path(root or lesson.ROOT) / "notebooks"
    again = f"run: kdcourse build {source.number} --record"
    for fresh, path in zip(made, (folder / f"{source.slug}.ipynb", folder / "solutions" / f"{source.slug}.ipynb")):
        stored = read(path)
        where = "/".join(path.parts[len(folder.parts) - 1 :])
        if stored is None:
            problems.append(f"{where} is missing or unreadable; {again}")
            continue
        facts = stored.metadata.get("kdcourse", {})
        if facts.get("code_hash") != fresh.metadata.kdcourse.code_hash:
            problems.append(f"{where}: the code of {source.slug}.py changed since it was executed; {again}")
        elif facts != fresh.metadata.kdcourse or list(map(_visible, stored.cells)) != list(map(_visible, fresh.cells)):
            problems.append(
                f"{where}: text, tags, cells or quiz differ from {source.slug}.py and docs/quizzes; {again} (nothing is executed for prose)"
            )
        problems += [f"{where}: {problem}; {again}" for problem in _output_problems(stored.cells)]
    return problems


def _visible(cell) -> tuple:
    return cell.id, cell.cell_type, cell.source, json.dumps(cell.metadata, sort_keys=True)


def orphans(root=None) -> list[str]:
    """Committed notebooks that no source makes."""
    folder = Path(root or lesson.ROOT) / "notebooks"
    known = {path.stem for path in (folder / "src").glob("*.py")}
    found = [*folder.glob("*.ipynb"), *(folder / "solutions").glob("*.ipynb")]
    return [
        f"notebooks/{path.relative_to(folder)} has no source in notebooks/src"
        for path in sorted(found)
        if path.stem not in known
    ]
