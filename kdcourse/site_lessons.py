"""A lesson's page: its stored notebook with a header made from the records, and the solutions folded in."""

import copy
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import nbformat

from kdcourse import lesson, notebooks, site_claims

FACTS = re.compile(r"^(\d+) minutes · needs (.+?) · data: (.+)$", re.M)
SUMMARY = re.compile(r"<summary([^>]*)>(.*?)</summary>")
SLIDER = "a slider for T"
EXAMPLE = re.compile(r"teacher_logits = .*?torch\.tensor\(\[\[[^\]]*\]\]\).*?torch\.tensor\(\[\[([^\]]*)\]\]\)")


@dataclass(frozen=True)
class Facts:
    """What the first cell of a lesson says of it: reading minutes, prerequisites and data, as Markdown; the promise."""

    minutes: str = "–"
    needs: str = "nothing"
    data: str = "–"
    promise: str = ""


def facts(source) -> Facts:
    """Read a lesson's first cell; what it does not say keeps its default."""
    text = source.cells[0].source if source.cells else ""
    promise = re.search(r"^\*\*(.+?)\*\*\s*$", text, re.M | re.S)
    found = FACTS.search(text)
    return Facts(*(found.groups() if found else ()), **({"promise": " ".join(promise[1].split())} if promise else {}))


def repository(root=None) -> str:
    """The public address of the course without a slash at its end: $KDCOURSE_REPOSITORY, or pyproject.toml's; empty when not set."""
    path = Path(root or lesson.ROOT) / "pyproject.toml"
    own = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("kdcourse", {}) if path.exists() else {}
    return (os.environ.get("KDCOURSE_REPOSITORY") or own.get("repository", "")).strip().removesuffix("/").removesuffix(".git")


def buttons(slug: str, address: str) -> list[tuple[str, str]]:
    """(text, address) of a lesson's buttons, seen from its page; Colab and Binder open what a public GitHub repository holds."""
    found = [("Download the notebook", f"../notebooks/{slug}.ipynb")]
    if match := re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", address):
        found.append(("Open in Colab", f"https://colab.research.google.com/github/{match[1]}/blob/main/notebooks/{slug}.ipynb"))
        found.append(("Open in Binder", f"https://mybinder.org/v2/gh/{match[1]}/HEAD?labpath=notebooks/{slug}.ipynb"))
    return found


def verified(record: dict) -> str:
    """When, with what and in which profile a lesson last ran, in words."""
    if "seconds" not in record:
        return "not yet recorded"
    where = record["provenance"]
    return f"{where['date']}, torch {where['torch']}, {where['device']}, {where['dtype']}, profile {record.get('profile', 'quick')}"


def header(source, evidence, address: str = "", full=None) -> str:
    """The block below a lesson's title: minutes, prerequisites, when it was verified, verdicts (also those that differ in `full`), buttons."""
    known, record = facts(source), evidence.lessons.get(source.number, {})
    measured = f"{record['seconds'] / 60:.1f} min (measured)" if "seconds" in record else "not yet measured"
    links = " ".join(
        f'<a class="kd-button" href="{to}"{" download" if text.startswith("Download") else ""}>{text}</a>'
        for text, to in buttons(source.slug, address)
    )
    return "\n\n".join([
        "::::{container} lesson-facts quiet",
        f"**Reading and exercises** {known.minutes} min · **computing** {measured}, profile quick · **needs** {known.needs} · **data** {known.data}",
        f"**Last verified** {verified(record)}",
        f"**Verdicts** {site_claims.badges(evidence, source.number, full)}",
        f'<p class="kd-buttons">{links}</p>',
        "::::",
    ])  # fmt: skip


def page(source, stored, solved, evidence, address: str = "", full=None) -> nbformat.NotebookNode:
    """The notebook that sphinx shows: `stored` with the header, alternative texts, the slider, and `solved`'s solutions folded in."""
    answers = {cell.id: cell for cell in solved.cells} if solved else {}
    cells = []
    for position, cell in enumerate(stored.cells):
        cell = copy.deepcopy(cell)
        if cell.cell_type == "markdown":
            cell.source = SUMMARY.sub(_formulas, cell.source)
        if position == 0:
            cell.source = _with_header(cell.source, header(source, evidence, address, full))
        for output in cell.get("outputs", []):
            _describe(output)
        cells.append(cell)
        if "exercise" in notebooks.tags(cell) and cell.id in answers:
            following = stored.cells[position + 1] if position + 1 < len(stored.cells) else None
            cells += _solution(answers[cell.id], answers.get(following.id) if following else None)
        if any(SLIDER in output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])):
            cells += _slider(stored)
    return nbformat.v4.new_notebook(cells=cells, metadata=stored.metadata)


def _with_header(text: str, block: str) -> str:
    title, _, rest = text.partition("\n")
    return f"{title}\n\n{block}\n\n{FACTS.sub('', rest).strip()}"


def _formulas(summary) -> str:
    """A summary, which is raw HTML, with its $formulas$ as this site's MathJax wants them."""
    text, found = re.subn(r"\$([^$\n]+)\$", r"\\(\1\\)", summary[2])
    classes = summary[1] if "mathjax_process" in summary[1] or not found else f'{summary[1]} class="mathjax_process"'
    return f"<summary{classes}>{text}</summary>"


def _describe(output) -> None:
    """Move an image's alternative text from its metadata to where figures have it, "[figure] …"; make empty heads of tables plain cells."""
    if "<th></th>" in output.get("data", {}).get("text/html", ""):
        output.data["text/html"] = output.data["text/html"].replace("<th></th>", "<td></td>")
    for kind, settings in output.get("metadata", {}).items():
        if kind.startswith("image/") and "alt" in settings and "[figure]" not in output.data.get("text/plain", ""):
            output.data["text/plain"] = f"[figure] {settings['alt']}"


def _solution(answer, check) -> list:
    """The solution's code, and the check's call with what it says, in one cell between the two ends of a folded block."""
    code, outputs = answer.source, list(answer.outputs)
    if check is not None and check.cell_type == "code" and "kd.checks." in check.source:
        code, outputs = f"{code}\n\n\n{check.source}", [*outputs, *check.outputs]
    return [
        nbformat.v4.new_markdown_cell('<details class="solution"><summary>Show a solution</summary>'),
        nbformat.v4.new_code_cell(code, outputs=copy.deepcopy(outputs), execution_count=answer.execution_count),
        nbformat.v4.new_markdown_cell("</details>"),
    ]


def _slider(stored) -> list:
    """A slider that needs no kernel, with the lesson's own three logits; docs/_static/kdcourse.js fills it. Nothing without an example."""
    found = next((match for cell in stored.cells if (match := EXAMPLE.search(cell.source))), None)
    if not found:
        return []
    logits = ", ".join(f"{float(value):g}" for value in found[1].split(","))
    return [
        nbformat.v4.new_markdown_cell(
            f'<div class="temperature" data-logits="[{logits}]"></div>\n\nOn this page the slider moves the answer of a teacher with the three logits {logits}, the example worked out below. The notebook\'s own slider, with the nine above, lives in JupyterLab.'
        )
    ]
