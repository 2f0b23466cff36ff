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
    "modelpool",
    "unrolled",
    "poison",
    "privacy",
)
TEACHERS = Path("data") / "teachers"
_PACKAGE = __name__.split(".")[0]


def lesson_key(code: list[str], root) -> str:
    """sha256 of what decides a lesson's numbers: the syntax trees of its cells and of the numeric code they can reach, and the data sets.

    Shipped teachers are left to `teacher_checksums`: a new one is another file for another trial.
    """
    root = Path(root)
    parts = [_syntax(text) for text in code] + reach(code, root / "kdcourse")
    for path in sorted((root / "data").rglob("*")):
        if path.is_file() and _is_data_set(path.relative_to(root)):
            parts.append(f"{path.relative_to(root).as_posix()} {_md5(path, path.stat().st_mtime_ns)}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _is_data_set(path: Path) -> bool:
    by_product = path.suffix in (".md", ".tmp", ".lock") or path.name.endswith("-ubyte")  # torchvision unpacks its files
    return not by_product and TEACHERS not in path.parents


def reach(code: list[str], package: Path) -> list[str]:
    """The syntax trees of all definitions of the numeric modules in `package` that `code` can reach, each with its module's name, sorted.

    Found without running anything, by following dotted names (`kd.losses.soft_targets`) through imports: from the cells to definitions, from those to others. A
    module that is used as a value (`module = kd.losses`) counts as a whole. That is more than the lesson calls and never less, as nothing here is looked up by a string.
    """
    modules = {name: _read(package / f"{name}.py") for name in NUMERIC if (package / f"{name}.py").exists()}
    exported = _imports(_parse(package / "__init__.py")) if (package / "__init__.py").exists() else {}
    cells = [ast.parse(text) for text in map(_without_magics, code)]
    imports = {name: target for tree in cells for name, target in _imports(tree).items()}
    waiting = [found for tree in cells for chain in _chains(tree) for found in _resolve(chain, imports, exported, modules)]
    reached = set()
    while waiting:
        module, name = waiting.pop()
        if (module, name) not in reached and module in modules:
            reached.add((module, name))
            known, definitions = modules[module]
            for tree in definitions.get(name, ()):
                for chain in _chains(tree):
                    own = [(module, chain[0])] if chain[0] in definitions else []
                    waiting += own + _resolve(chain, known, exported, modules)
    return sorted({f"{module}: {_dumped(tree)}" for module, name in reached for tree in modules[module][1].get(name, ())})


def _parse(path: Path):
    return ast.parse(path.read_text(encoding="utf-8"))


def _read(path: Path) -> tuple[dict, dict]:
    return _definitions(path, path.stat().st_mtime_ns)


@functools.cache
def _definitions(path: Path, modified: int) -> tuple[dict, dict]:
    """(what a module imports, the statements that define or change each of its names)."""
    body, found = _parse(path).body, {}
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        names = {statement.name} if isinstance(statement, ast.FunctionDef | ast.ClassDef) else _stored(statement)
        for name in names or {chain[0] for chain in _chains(statement)}:  # a statement that binds nothing acts on what it mentions
            found.setdefault(name, []).append(statement)
    return _imports(ast.Module(body, [])), found


def _stored(statement) -> set[str]:
    kinds = ast.FunctionDef | ast.ClassDef
    names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names | {n.name for n in ast.walk(statement) if isinstance(n, kinds)}


def _imports(tree) -> dict[str, tuple]:
    """What the names of a tree's imports from the package stand for: () the package, (module,) or (module, name)."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = tuple(alias.name.split("."))
                if parts[0] == _PACKAGE:
                    found[alias.asname or _PACKAGE] = parts[1:] if alias.asname else ()
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE:
            for alias in node.names:
                found[alias.asname or alias.name] = (*node.module.split(".")[1:], alias.name)
    return found


def _chains(tree) -> set[tuple]:
    """Every dotted name in a tree, as a tuple, at its full length."""
    chains, waiting = set(), [tree]
    while waiting:
        node, attributes = waiting.pop(), []
        while isinstance(node, ast.Attribute):
            attributes.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            chains.add((node.id, *reversed(attributes)))
        else:
            waiting += ast.iter_child_nodes(node)
    return chains


def _resolve(chain: tuple, imports: dict, exported: dict, modules: dict) -> list[tuple]:
    """The definitions, as (module, name), that a dotted name can mean; none for a name from elsewhere."""
    if chain[0] not in imports:
        return []
    path = imports[chain[0]] + chain[1:]
    if path and path[0] not in modules and path[0] in exported:  # `kd.fit`, or `from kdcourse import fit`
        path = exported[path[0]] + path[1:]
    if not path:
        return [(module, name) for module in modules for name in modules[module][1]]
    if path[0] not in modules:
        return []
    known, definitions = modules[path[0]]
    if len(path) == 1:
        return [(path[0], name) for name in definitions]
    if path[1] in definitions:
        return [(path[0], path[1])]
    return _resolve(path[1:], known, exported, modules)  # passed on from where that module has it


def _without_magics(text: str) -> str:
    for attempt in (text, re.sub(r"(?m)^\s*[%!].*$", "", text)):
        try:
            ast.parse(attempt)
        except SyntaxError:
            continue
        return attempt
    return f"import {_PACKAGE}\n{_PACKAGE}"  # whatever it does, it may reach everything


def _dumped(tree) -> str:
    return recipe.syntax(ast.unparse(tree))


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
