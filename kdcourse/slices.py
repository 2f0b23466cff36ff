"""Which cells of a notebook another cell needs, from the names that they give and use."""

import ast
import builtins
import symtable
from dataclasses import dataclass
from functools import lru_cache

BUILTIN = {*dir(builtins), "get_ipython", "display", "__name__", "__file__"}


@dataclass(frozen=True)
class Flow:
    """Names that a cell gives, changes in part (`x[0] = 1`), needs when it runs, needs when its functions are called.

    `known` is False where that cannot be told: a syntax error, `import *`, exec, globals().
    """

    binds: frozenset = frozenset()
    changes: frozenset = frozenset()
    needs: frozenset = frozenset()
    needs_later: frozenset = frozenset()
    known: bool = False


@lru_cache(maxsize=4096)
def flow(source: str) -> Flow:
    """What a cell gives and needs; magics and shell lines are understood as IPython understands them."""
    try:
        body = ast.parse(_python(source)).body
    except (SyntaxError, ValueError):
        return Flow()
    binds, changes, needs, later, known = set(), set(), set(), set(), True
    for statement in body:
        given, used, inside = _names(statement)
        changed = _changed(statement)
        needs |= (used | changed) - binds
        later |= inside
        binds |= given
        changes |= changed
        known = known and not _opaque(statement)
    return Flow(*map(frozenset, (binds, changes, needs, later - binds)), known)


def _python(source: str) -> str:
    if not any(line.lstrip().startswith(("%", "!", "?")) for line in source.splitlines()):
        return source
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)


def _names(statement) -> tuple[set, set, set]:
    """Names that one statement gives, uses at once, and uses inside functions, classes and comprehensions."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    given = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
    used = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    used |= {part.target.id for part in ast.walk(statement) if isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name)}
    inside, tables = set(), list(table.get_children())
    while tables:
        inner = tables.pop()
        tables += inner.get_children()
        inside |= {s.get_name() for s in inner.get_symbols() if s.is_global() and s.is_referenced()}
        given |= {s.get_name() for s in inner.get_symbols() if s.is_declared_global() and s.is_assigned()}
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return given, used, inside
    return given, used | inside, set()


def _changed(statement) -> set:
    """Names of what a statement writes into: `x[0] = …`, `x.part = …`."""
    found = set()
    for part in ast.walk(statement):
        targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
        for target in targets:
            base = target
            while isinstance(base, ast.Subscript | ast.Attribute):
                base = base.value
            if base is not target and isinstance(base, ast.Name):
                found.add(base.id)
    return found if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else set()


def _opaque(statement) -> bool:
    calls = [part.func for part in ast.walk(statement) if isinstance(part, ast.Call)]
    stars = [part for part in ast.walk(statement) if isinstance(part, ast.ImportFrom) and part.names[0].name == "*"]
    named = {call.id for call in calls if isinstance(call, ast.Name)} | {c.attr for c in calls if isinstance(c, ast.Attribute)}
    return bool(stars or named & {"exec", "globals", "run_line_magic", "run_cell_magic"})


def needed(sources: list[str | None], targets: list[int]) -> list[int]:
    """The positions of the cells that `targets` need, targets included, in order; None in `sources` is no code.

    A name comes from the nearest cell before that gives it, with what changes it in between. Where a name is given by no cell that
    can be understood and some cell cannot be, everything up to the last target is needed.
    """
    flows = [flow(source) if source is not None else Flow(known=True) for source in sources]
    end = max(targets, default=-1)
    chosen, waiting, unknown = set(targets), list(targets), set()
    while waiting:
        position = waiting.pop()
        later = flows[position].needs_later
        for name in (flows[position].needs | later) - BUILTIN:
            found = _givers(flows, name, position, end if name in later else position)
            if not found:
                unknown.add(name)
            waiting += [k for k in found if k not in chosen]
            chosen |= set(found)
    if unknown and not all(one.known for one in flows[: end + 1]):
        return [k for k in range(end + 1) if sources[k] is not None]
    return sorted(chosen)


def _givers(flows: list[Flow], name: str, position: int, end: int) -> list[int]:
    """The nearest cell before `position` that gives `name` (or else the first after it, up to `end`), and who changes it in between."""
    nearest = next((k for k in range(position - 1, -1, -1) if name in flows[k].binds), None)
    if nearest is None:
        return [k for k in range(position + 1, end + 1) if name in flows[k].binds][:1]
    return [nearest] + [k for k in range(nearest + 1, position) if name in flows[k].changes]
