"""What a trial depends on: the syntax trees of every function it reaches, and the values of every global."""

import ast
import contextlib
import dis
import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
import types
from pathlib import Path

import numpy as np
import torch

_remembered: dict[tuple, str] = {}
_PACKAGE = __name__.split(".")[0]
# Plumbing: it decides where and when a trial runs, not what it computes.
_PLUMBING = {f"{_PACKAGE}.{name}" for name in ("study", "recipe", "lesson", "claims", "inference", "cards", "plots")}
_INSTALLED = tuple(
    str(Path(sysconfig.get_paths()[kind]).resolve()) for kind in ("stdlib", "platstdlib", "purelib", "platlib")
)


def describe(function) -> str:
    """A digest of `function` and of all it reaches: functions and classes of the notebook, of the learner's modules and of this package
    by syntax tree (comments and docstrings aside), globals and defaults by value, installed libraries by name.

    Raises ValueError naming a global that cannot be hashed.
    """
    parts: dict[str, str] = {}
    _visit(function, function.__name__, parts, trail=(function.__name__,))
    return hashlib.sha256("\n".join(f"{name}={parts[name]}" for name in sorted(parts)).encode()).hexdigest()


def sources_of(function) -> dict[tuple, str]:
    """The sources of the notebook's functions that `function` reaches; a worker process cannot look them up itself."""
    describe(function)
    return dict(_remembered)


def remember_sources(sources: dict[tuple, str]) -> None:
    """Take over the sources that another process sent."""
    _remembered.update(sources)


@functools.lru_cache(maxsize=4096)
def syntax(source: str) -> str:
    """A canonical text of the syntax tree, the same under every Python version; comments, docstrings and layout leave no trace."""
    return _dump(ast.parse(textwrap.dedent(source)))


def _dump(node) -> str:
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            if name in ("kind", "type_comment", "type_params", "ctx") or value is None or value == []:
                continue
            if (
                name == "body"
                and isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
                and ast.get_docstring(node, False) is not None
            ):
                value = value[1:]
            fields.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({','.join(fields)})"
    return "[" + ",".join(map(_dump, node)) + "]" if isinstance(node, list) else repr(node)


def _visit(value, name: str, parts: dict, trail: tuple) -> None:
    """Add what `value`, found under `name`, depends on."""
    if isinstance(value, types.ModuleType):
        _visit_module(value, name, parts)
    elif isinstance(value, functools.partial):
        _visit(value.func, f"{name}.func", parts, trail)
        _visit([value.args, value.keywords], f"{name}.arguments", parts, trail)
    elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | types.MethodType) or _wrapped(value):
        _visit_code(inspect.unwrap(value), name, parts, trail)
    elif isinstance(value, dict):
        for key in sorted(value, key=repr):
            _visit(value[key], f"{name}[{key!r}]", parts, trail)
        parts.setdefault(name, f"dict of {len(value)}")
    elif isinstance(value, list | tuple | set | frozenset):
        for position, item in enumerate(sorted(value, key=repr) if isinstance(value, set | frozenset) else value):
            _visit(item, f"{name}[{position}]", parts, trail)
        parts.setdefault(name, f"{type(value).__name__} of {len(value)}")
    else:
        parts[name] = _hash_value(value, name, trail)


def _wrapped(value) -> bool:
    return callable(value) and hasattr(value, "__wrapped__")


def _hash_value(value, name: str, trail: tuple) -> str:
    if (
        value is None
        or value is Ellipsis
        or isinstance(value, bool | int | float | complex | str | bytes | range | Path | torch.dtype | torch.device)
    ):
        return repr(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().float().numpy() if value.dtype == torch.bfloat16 else value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    if type(value).__module__ in ("builtins", "typing", "types") or _installed(type(value)):
        kind = type(value).__module__.split(".")[0]
        if kind in ("typing", "types", "collections", "torch", "re") and not isinstance(value, torch.nn.Module):
            return f"{kind}:{value!r}" if " at 0x" not in repr(value) else f"{kind}:{type(value).__qualname__}"
    raise ValueError(
        f"{' → '.join(trail)} uses the global {name!r}, a {type(value).__name__}, whose content cannot be hashed; "
        f"make it inside the trial from plain arguments (a name, a number, a seed)"
    )


def _visit_module(module, name: str, parts: dict) -> None:
    """A module used as a whole: a library by its name, this package's or the learner's by its source."""
    if _installed(module):
        parts[f"module {name}"] = module.__name__
        return
    folder = Path(module.__file__)
    files = sorted(folder.parent.glob("*.py")) if folder.name == "__init__.py" else [folder]
    parts[f"module {module.__name__}"] = hashlib.sha256(
        "".join(syntax(f.read_text()) for f in files).encode()
    ).hexdigest()


def _installed(thing) -> bool:
    """Whether a module, class or function comes from the standard library or an installed package."""
    module = (
        thing
        if isinstance(thing, types.ModuleType)
        else sys.modules.get(getattr(thing, "__module__", None) or "builtins")
    )
    if module is None or module.__name__.split(".")[0] == _PACKAGE or module.__name__ == "__main__":
        return False
    file = getattr(module, "__file__", None)
    return file is None or _from_library(file)


@functools.lru_cache(maxsize=4096)
def _from_library(file: str) -> bool:
    return str(Path(file).resolve()).startswith(_INSTALLED)


def _visit_code(thing, name: str, parts: dict, trail: tuple) -> None:
    label = f"{thing.__module__}.{thing.__qualname__}"
    if _installed(thing) or thing.__module__ in _PLUMBING:
        parts[f"library {label}"] = label
        return
    if label in parts:
        return
    parts[label] = "…"  # recursion ends here
    if isinstance(thing, type):
        _visit_class(thing, label, parts, trail)
        return
    thing = getattr(thing, "__func__", thing)
    source = _source(thing)
    parts[label] = hashlib.sha256(syntax(source).encode()).hexdigest()
    variables = dict(thing.__globals__) | _captured(thing)
    chains = _chains(source, _globals_read(thing.__code__) | set(thing.__code__.co_freevars))
    _visit_names(
        chains, thing.__module__, variables, parts, trail if trail[-1] == thing.__name__ else (*trail, thing.__name__)
    )
    defaults = [*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values()]
    for position, default in enumerate(defaults):
        _visit(default, f"{label} default {position}", parts, trail)


def _visit_class(thing: type, label: str, parts: dict, trail: tuple) -> None:
    for base in thing.__bases__:
        if base is not object:
            _visit_code(base, f"{label} base {base.__name__}", parts, trail)
    for name, member in sorted(vars(thing).items()):
        member = getattr(member, "__func__", getattr(member, "fget", member))
        if isinstance(member, types.FunctionType) and member.__module__ == thing.__module__ and _has_source(member):
            _visit_code(member, f"{label}.{name}", parts, trail)
        elif not name.startswith("_") and isinstance(member, bool | int | float | str | tuple | list | dict):
            _visit(member, f"{label}.{name}", parts, trail)
    parts[label] = "class"


def _visit_names(chains: set[tuple], module: str, variables: dict, parts: dict, trail: tuple) -> None:
    """Follow dotted names (`kd.losses.soft_targets`), looked up in `module`, through modules to what they mean."""
    for chain in sorted(chains):
        if chain[0] not in variables:
            continue  # a builtin
        value, name, home = variables[chain[0]], chain[0], module
        for attribute in chain[1:]:
            if not isinstance(value, types.ModuleType) or _installed(value) or not hasattr(value, attribute):
                break
            value, name, home = getattr(value, attribute), f"{name}.{attribute}", value.__name__
        value = inspect.unwrap(value) if _wrapped(value) else value
        if isinstance(value, types.FunctionType | type) and not _installed(value):
            _visit_code(value, name, parts, trail)
        elif home in _PLUMBING:
            parts[f"{home}.{name}"] = name
        elif home.split(".")[0] == _PACKAGE and not isinstance(value, types.ModuleType | types.FunctionType | type):
            parts[f"{home}.{name}"] = _assignment(home, chain[-1] if name.endswith(chain[-1]) else name)
        else:
            _visit(value, name, parts, trail)


@functools.cache
def _assignment(module: str, name: str) -> str:
    """A digest of how a module of this package defines a variable: its value may be a path or the state of this process."""
    statements = ast.parse(inspect.getsource(sys.modules[module])).body
    for statement in statements:
        if isinstance(statement, ast.ImportFrom) and name in {alias.asname or alias.name for alias in statement.names}:
            if statement.module.split(".")[0] != _PACKAGE:
                return f"{statement.module}.{name}"
            return _assignment(statement.module, name)
    defined = [
        s
        for s in statements
        if isinstance(s, ast.Assign | ast.AnnAssign) and name in {n.id for n in ast.walk(s) if isinstance(n, ast.Name)}
    ]
    return hashlib.sha256(_dump(defined).encode()).hexdigest()


def _captured(function) -> dict:
    """The variables of enclosing functions that `function` reads and that have a value by now."""
    cells, values = dict(zip(function.__code__.co_freevars, function.__closure__ or ())), {}
    for name, cell in cells.items():
        with contextlib.suppress(ValueError):  # an empty cell
            values[name] = cell.cell_contents
    return values


@functools.lru_cache(maxsize=4096)
def _chains(source: str, roots: frozenset[str]) -> frozenset[tuple]:
    """Every dotted name read in a source that starts with one of `roots`, as tuples."""
    chains = set()

    def visit(node):
        chain, inner = [], node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            if inner.id in roots and isinstance(inner.ctx, ast.Load):
                chains.add((inner.id, *reversed(chain)))
        else:
            for child in ast.iter_child_nodes(inner):
                visit(child)

    visit(ast.parse(textwrap.dedent(source)))
    return frozenset(chains)


@functools.lru_cache(maxsize=4096)
def _globals_read(code) -> frozenset[str]:
    """The names that a code object and those nested in it look up globally."""
    names = frozenset(step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    return names.union(*(_globals_read(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def _identity(function) -> tuple:
    """What tells two functions apart without their sources: place, instructions and constants, those of inner functions too."""
    return function.__module__, function.__qualname__, function.__code__.co_firstlineno, _fingerprint(function.__code__)


def _fingerprint(code) -> str:
    constants = [_fingerprint(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return hashlib.sha256(code.co_code + repr((constants, code.co_names, code.co_varnames)).encode()).hexdigest()


def _has_source(function) -> bool:
    try:
        _source(function)
    except ValueError:
        return False
    return True


def _source(function) -> str:
    """The source of a function, from memory in a worker process; a lambda's is its whole statement."""
    if function.__module__.split(".")[0] == _PACKAGE:
        return _package_source(inspect.unwrap(function).__code__)
    identity = _identity(function)
    if identity not in _remembered:
        _remembered[identity] = _read_source(function)
    return _remembered[identity]


@functools.lru_cache(maxsize=4096)
def _package_source(code) -> str:
    if code.co_filename.startswith("<"):  # inspect would search all loaded modules for it
        raise ValueError(f"{code.co_name} was generated and has no source")
    return _read_source(code)


def _read_source(thing) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(thing))
        ast.parse(source)
    except (OSError, TypeError, SyntaxError) as problem:
        name = getattr(thing, "__qualname__", None) or thing.co_name
        raise ValueError(f"the source of {name} cannot be read ({problem}); define it with def in a cell") from problem
    return source
