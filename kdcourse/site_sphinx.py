"""The course's part of sphinx: alternative texts of stored figures, links from the lessons' words to the glossary, plain docstrings."""

import importlib.util
import re
import struct
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.fileutil import copy_asset

from kdcourse.site_terms import find_terms, read_terms, term_pattern

QUIET = (nodes.title, nodes.rubric, nodes.caption, nodes.term, nodes.literal, nodes.literal_block, nodes.reference, nodes.math,
         nodes.math_block, nodes.raw, nodes.image, nodes.topic, addnodes.pending_xref, addnodes.desc)  # fmt: skip


class AlternativeTexts(SphinxPostTransform):
    """A stored figure says what it shows in the text beside it, "[figure] …"; before one of the two is chosen, it becomes the alt."""

    default_priority = 3  # myst-nb chooses at 4

    def run(self, **_) -> None:
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") == "mime_bundle":
                texts = [part.astext() for part in bundle.children if part.get("mime_type") == "text/plain"]
                alt = next((text.removeprefix("[figure]").strip() for text in texts if text.startswith("[figure]")), "")
                for image in bundle.findall(nodes.image) if alt else ():
                    image["alt"] = " ".join(alt.split())
                    if width := png_width(Path(self.env.srcdir) / image["uri"].lstrip("/")):
                        image["width"] = f"{round(width / 1.5)}px"  # stored at 1.5 times the screen's resolution


def png_width(path) -> int | None:
    """The width of a PNG in pixels; None for another or a missing file."""
    try:
        head = Path(path).read_bytes()[:24]
    except OSError:
        return None
    return struct.unpack(">I", head[16:20])[0] if head[:8] == b"\x89PNG\r\n\x1a\n" else None


# ---- the glossary's words -------------------------------------------------------------------------------------------


def link_terms(app, document) -> None:
    """Link the first occurrence of each term in a lesson's or technique's running text to the glossary."""
    docname = app.env.docname
    if not docname.startswith(("lessons/", "techniques/")) or docname.endswith("/index"):
        return
    number = docname.split("/")[1][:2] if docname.startswith("lessons/") else None
    pattern, ids = term_pattern(read_terms(app.config.kdcourse_glossary), number)
    seen: set[str] = set()
    for text in list(document.findall(nodes.Text)) if pattern else ():
        if not _is_quiet(text) and (found := list(find_terms(text.astext(), pattern, ids, seen))):
            text.parent.replace(text, _linked(text.astext(), found, docname))


def _is_quiet(text) -> bool:
    node = text.parent
    while node is not None:
        if isinstance(node, QUIET) or node.get("nb_element") in ("cell_code", "mime_bundle") or "quiet" in node.get("classes", []):
            return True
        node = node.parent
    return False


def _linked(text: str, found: list, docname: str) -> list:
    parts, before = [], 0
    for start, end, name in found:
        word = nodes.inline(text[start:end], text[start:end])
        link = addnodes.pending_xref("", word, refdomain="std", reftype="ref", reftarget=f"term-{name}", refexplicit=True, refwarn=True, refdoc=docname)
        parts += [nodes.Text(text[before:start]), nodes.inline("", "", link, classes=["glossary-term"])]
        before = end
    return [part for part in [*parts, nodes.Text(text[before:])] if not isinstance(part, nodes.Text) or part.astext()]


# ---- docstrings -----------------------------------------------------------------------------------------------------


def plain_docstring(lines: list[str]) -> list[str]:
    """A docstring of plain text with `code` as reStructuredText: paragraphs and lists, nothing else has a meaning."""
    result = []
    for line in lines:
        pieces = re.split(r"`([^`]+)`", line.strip())
        escaped = [re.sub(r"([\\*_|`])", r"\\\1", piece) if i % 2 == 0 else f"\\ ``{piece}``\\ " for i, piece in enumerate(pieces)]
        text = "".join(escaped)
        result += [""] if text.startswith("- ") and result and result[-1] and not result[-1].startswith(("- ", "  ")) else []
        continues = result and result[-1].startswith(("- ", "  ")) and text and not text.startswith("- ")
        result.append(f"  {text}" if continues else text)
    return result


def _docstring(app, what, name, obj, options, lines) -> None:
    lines[:] = plain_docstring(lines)


# ---- the theme's pages ----------------------------------------------------------------------------------------------


def mend(page: str) -> str:
    """A page with what screen readers miss in the theme's: names for the sidebar and for what unfolds in it."""
    page = re.sub(r'(<a class="[^"]*" href="[^"]*">([^<]*)</a><details[^>]*><summary)>', r'\1 aria-label="Pages below: \2">', page)
    return page.replace('<div id="pst-primary-sidebar" class', '<div id="pst-primary-sidebar" role="region" aria-label="Course" class', 1)


def _mend_pages(app, exception) -> None:
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            path.write_text(mend(path.read_text(encoding="utf-8")), encoding="utf-8")


def _copy_mathjax(app, exception) -> None:
    """Of the installed MathJax 3, what formulas in SVG can ask for: extensions of TeX, the menu, speech for those who switch it on."""
    if exception is None and app.builder.format == "html":
        package = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
        target = Path(app.outdir) / "_static" / "mathjax"
        for name in ("tex-svg.js", "input", "ui", "a11y", "sre"):
            copy_asset(str(package / name), str(target if name.endswith(".js") else target / name))


def setup(app) -> dict:
    app.add_config_value("kdcourse_glossary", "", "env", str)
    app.add_post_transform(AlternativeTexts)
    app.connect("doctree-read", link_terms)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("build-finished", _copy_mathjax)
    app.connect("build-finished", _mend_pages)
    app.config.mathjax_path = "mathjax/tex-svg.js"  # one file with its glyphs inside: works from a folder too, where fonts do not load
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
