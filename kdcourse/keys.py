"""What a lesson's numbers depend on: its own code, the package code its cells can reach, the data, and the shipped teachers it used."""

import ast
import functools
import hashlib
import json
import re
from pathlib import Path

from kdcourse import recipe

# The modules whose code decides what a lesson measures; the others only show it.
NUMERIC = (
    "data",
    "models",
    "losses",
    "features",
    "relations",
    "metric",
    "ensembles",
    "training",
    "study",
    "teachers",
    "controls",
    "claims",
    "inference",
    "unlabelled",
    "datafree",
    "condense",
)
TEACHERS = Path("data") / "teachers"


def lesson_key(code: list[str], root) -> str:
    """sha256 of what decides a lesson's numbers: the syntax trees of its cells and of the numeric code they can reach, and the data sets.

    What can be reached is found by names alone: a definition of a numeric module counts as soon as a cell, or a definition that counts,
    mentions its name anywhere. That is more than the lesson calls and never less, as nothing here is looked up by a string.
    Shipped teachers are left to `teacher_checksums`: a new one is another file for another trial.
    """
    root = Path(root)
    parts = [_syntax(text) for text in code]
    parts += reach(code, [root / "kdcourse" / f"{name}.py" for name in NUMERIC])
    for path in sorted((root / "data").rglob("*")):
        if path.is_file() and _is_data_set(path.relative_to(root)):
            parts.append(f"{path.relative_to(root).as_posix()} {_md5(path, path.stat().st_mtime_ns)}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_data_set(path: Path) -> bool:
    by_product = path.suffix in (".md", ".tmp", ".lock") or path.name.endswith("-ubyte")  # torchvision unpacks its files
    return not by_product and TEACHERS not in path.parents


def reach(code: list[str], modules: list[Path]) -> list[str]:
    """The syntax trees of all definitions in `modules` that `code` can reach by name, each with its module's name, sorted."""
    definitions = [item for path in modules if path.exists() for item in _definitions(path, path.stat().st_mtime_ns)]
    by_name: dict[str, list] = {}
    for item in definitions:
        for name in item[0]:
            by_name.setdefault(name, []).append(item)
    found, waiting = {}, set().union(*map(_mentioned, code))
    while waiting:
        for _, where, tree, mentions in by_name.pop(waiting.pop(), ()):
            if (where, tree) not in found:
                found[where, tree] = None
                waiting |= mentions
    return [f"{where}: {tree}" for where, tree in sorted(found)]


@functools.cache
def _definitions(path: Path, modified: int) -> list[tuple]:
    """(names it binds, module, syntax tree, names it mentions) of every statement of a module but its imports and docstring."""
    items = []
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import | ast.ImportFrom) or (
            isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        ):
            continue
        text = ast.unparse(statement)
        bound = {statement.name} if hasattr(statement, "name") else _bound(statement)
        # A statement that binds nothing (a check, a registration) acts on every name it mentions.
        items.append((bound or _mentioned(text), path.stem, _syntax(text), _mentioned(text)))
    return items


def _bound(statement) -> set[str]:
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def _mentioned(text: str) -> set[str]:
    """Every identifier in a piece of code; of a cell with magics, every word."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:
        return set(re.findall(r"[^\W\d]\w*", text))
    names = {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    return names | {part for n in nodes if isinstance(n, ast.alias) for part in n.name.split(".")}


def _syntax(text: str) -> str:
    try:
        return recipe.syntax(text)
    except SyntaxError:
        return text  # a cell with magics


def teacher_checksums(names, root) -> dict[str, str | None]:
    """md5 of these shipped teachers' files, None for one that is not there."""
    files = {name: Path(root) / TEACHERS / name for name in sorted(names)}
    return {name: _md5(path, path.stat().st_mtime_ns) if path.exists() else None for name, path in files.items()}


@functools.cache
def _md5(path: Path, modified: int) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
