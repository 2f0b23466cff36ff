"""The terms of docs/glossary.toml, and where they occur in a text."""

import re
import tomllib
from pathlib import Path

# Forms that the glossary lists but that are too common to mean the term wherever they stand: never, and in the term's first lesson alone.
EVERYDAY = {"shown", "distilled", "very high", "what remains", "the margin", "gap", "interval", "limit"}
AT_FIRST = {"hint", "margin", "precision", "prior", "recall", "response", "shift", "strangers"}


def read_terms(path) -> list[dict]:
    """The terms of glossary.toml; an empty list where there is no such file."""
    return tomllib.loads(Path(path).read_text(encoding="utf-8"))["term"] if path and Path(path).exists() else []


def term_pattern(terms: list[dict], number: str | None = None) -> tuple[re.Pattern | None, dict[str, str]]:
    """(a pattern of all forms, form → id) for lesson `number`: other forms of a term count from its first lesson on.

    Forms in lower case match any case, with or without a plural s; forms with capitals (CKA, REFUTED) only as they stand.
    """
    forms = {term["en"]: term["id"] for term in terms}
    for term in terms:
        if number is None or number >= term["first"]:
            for form in term.get("also", []):
                forms.setdefault(form, term["id"])
    here = {term["id"] for term in terms if number == term["first"]}
    kept = {form: name for form, name in forms.items() if form not in EVERYDAY and (form not in AT_FIRST or name in here)}
    ids = {(form.casefold() if form.islower() else form): name for form, name in kept.items()}
    parts = []
    for form in sorted(ids, key=len, reverse=True):
        text = r"\s+".join(map(re.escape, form.split()))
        parts.append(f"(?i:{text})" if form.islower() else text)
    return (re.compile(rf"(?<![\w-])({'|'.join(parts)})(s?)(?![\w-])") if parts else None), ids


def find_terms(text: str, pattern: re.Pattern, ids: dict[str, str], seen: set[str]):
    """Yield (start, end, id) of the terms in `text` that are not in `seen`, and add them to it."""
    for match in pattern.finditer(text):
        form = " ".join(match[1].split())
        name = ids.get(form) or ids.get(form.casefold())
        if name and name not in seen:
            seen.add(name)
            yield *match.span(), name
