"""Slides of every lesson: one reveal.js deck each, from tagged cells and the outputs stored in the notebooks. Nothing is executed, nothing is fetched.

Tags of a cell in `notebooks/src/NN_slug.py` (editing them executes nothing):

- `slide`: the cell starts a slide. Of a Markdown cell it shows the heading, the first paragraph, lists, tables and display formulas; longer prose goes
  to the speaker's notes. Of a code cell it shows the code.
- `slide:NAME`: the same, with words of its own from `docs/slides/NN.md` (below) in place of the cell's prose.
- `slide-output`: of a code cell, its stored figures, cards and tables without the code (what it printed only where there is nothing else; otherwise the
  notes have that). Together with `slide` it starts a slide; alone it joins the open one. Each claim card gets a slide of its own; what the next cells print, up
  to the next text, qualifies the card and joins its notes.
- `slide-code`, `slide-notes`: the cell's code joins the open slide; its text joins the notes.
- `slide-vote`: the room votes on the verdicts before this slide (otherwise before the main figure or the first card, whichever comes first).

The title, the vote, the exercises, the discussion and the takeaways need no tag. `docs/slides/NN.md` holds the words: a section `## Title {#NAME}` with short
text, and after a line `Notes:` what only the speaker sees. NAME is that of a tag, the id of a claim (the title of its card), or one of `title`, `vote`, `exercises`,
`discussion`, `takeaways`. Lines such as `{formula 2}` and `{table}` place a part of the cell and leave out the others; `{printed}` shows what
would otherwise be printed in the notes. Two sections of one name make two slides of one cell. A measured number stands on no slide but in a stored output.

Keys in a deck: arrows or space, `S` the speaker's view with the notes, `O` overview, `D` dark or light, `F` full screen, `?` all of them. For paper or PDF add `?print-pdf` to the
address and print; `?print-pdf&showNotes=separate-page` prints the notes as well.
"""

import html
import importlib.util
import os
import re
import shutil
import struct
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path

from kdcourse import lesson, notebooks, slides_page

PARTS = ("title", "vote", "exercises", "discussion", "takeaways")  # slides that every deck has
LONGEST = 24  # lines of code or print on one slide
SECTION = re.compile(r"^## (.+?) \{#([\w:.-]+)\}\s*$", re.MULTILINE)
PLACE = re.compile(r"^\{(formula|table|list|printed)(?: (\d+))?\}$", re.MULTILINE)
CARD = re.compile(r'<section aria-label="Verdict on claim ([\w-]+)"')


@dataclass
class Slide:
    """One slide: a title, HTML beside or above its media, the media (HTML), the speaker's notes (HTML), and the lines that its cells printed."""

    name: str
    title: str
    text: list = field(default_factory=list)
    media: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    printed: list = field(default_factory=list)
    layout: str = "plain"

    @property
    def heading(self) -> str:
        """The title as HTML, formulas and code included."""
        return markdown(self.title).strip().removeprefix("<p>").removesuffix("</p>")


def main(options, root) -> int:
    """The command `kdcourse slides`: decks of the lessons asked for, and the index of all decks that are there."""
    chosen, out = notebooks.lessons(options.lessons, root), Path(options.out or Path(root) / "build" / "slides")
    for path in build(chosen, out, root):
        print(path)
    return 0


def build(chosen, out, root=None) -> list[Path]:
    """Write a deck for each lesson of `chosen` and `index.html` into `out`, with reveal.js and MathJax beside them; the files' paths.

    Raises ValueError where a notebook is missing or of other code, where the words name no cell, or where a package of the extra `site` is missing.
    """
    root, out = Path(root or lesson.ROOT), Path(out)
    copy_assets(out / "assets")
    known = {source.slug for source in notebooks.lessons(root=root)}
    decks = {source.slug for source in chosen} | {slug for slug in known if (out / f"{slug}.html").exists()}
    made = [_write(out / f"{source.slug}.html", slides_page.page(slides(source, root), decks)) for source in chosen]
    listed = [source for source in notebooks.lessons(root=root) if source.slug in decks]
    return [*made, _write(out / "index.html", slides_page.index(listed))]


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def copy_assets(folder: Path) -> None:
    """reveal.js, its font, its speaker's view, and MathJax, from the installed packages; ValueError names the missing one."""
    found = {}
    for package in ("sphinx_revealjs", "sphinx-mathjax-offline"):
        spec = importlib.util.find_spec(package)
        if spec is None:
            raise ValueError(f"slides need the package {package.replace('_', '-')}; `make slides` installs it (the extra `site`)")
        found[package] = Path(spec.origin).parent
    reveal, mathjax = found["sphinx_revealjs"] / "_static" / "revealjs", found["sphinx-mathjax-offline"] / "static" / "mathjax"
    font = reveal / "dist" / "theme" / "fonts" / "source-sans-pro"
    files = [reveal / "LICENSE", reveal / "dist" / "reset.css", reveal / "dist" / "reveal.css", reveal / "dist" / "reveal.js"]
    files += [reveal / "plugin" / "notes" / "notes.js", mathjax / "tex-svg-full.js", *font.glob("*.woff"), *font.glob("*.ttf"), *font.glob("*.eot"), font / "source-sans-pro.css"]
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        if not path.exists():
            raise ValueError(f"{path} is missing: an unknown version of sphinx-revealjs or sphinx-mathjax-offline")
        shutil.copyfile(path, folder / path.name)


# ---- from cells to slides -------------------------------------------------------------------------------------------


def slides(source: notebooks.Source, root=None) -> list[Slide]:
    """The slides of a lesson, from its source's cells and tags, the outputs of its stored notebook, its words and its instructor's notes."""
    root = Path(root or lesson.ROOT)
    words, guide = _words(root / "docs" / "slides" / f"{source.number}.md"), _guide(root / "docs" / "instructor" / f"{source.number}.md")
    outputs, made, vote, after_card = _stored_outputs(source, root), [], None, False
    for cell in source.cells:
        tags = notebooks.tags(cell)
        starts = [tag for tag in tags if tag == "slide" or tag.startswith("slide:")]
        before, judges = len(made), bool(_claims(cell, outputs))
        after_card = judges if starts else after_card and cell.cell_type == "code" and not judges  # nothing but code since a card's slide began
        if starts:
            made += _opened(cell, starts[0].removeprefix("slide").removeprefix(":"), tags, outputs, words)
        elif made:
            _join(made[-1], cell, tags, outputs, after_card)
        if vote is None and ("slide-vote" in tags or (len(made) > before and ("main-figure" in tags or made[-1].name in _claims(cell, outputs)))):
            vote = before
    asked = [_vote(source, outputs)]
    made[vote if vote is not None else len(made) : vote if vote is not None else len(made)] = [slide for slide in asked if slide]
    made = [_title(source, guide), *made, _exercises(source, guide), _discussion(guide), _takeaways(source)]
    made = [_with_words(slide, words) for slide in made if slide is not None]
    if unused := [name for name, sections in words.items() if sections]:
        raise ValueError(f"docs/slides/{source.number}.md: no cell, claim or part is called {', '.join(unused)}")
    return made


def _stored_outputs(source, root) -> dict[str, list]:
    """Code → its stored outputs; ValueError where the stored notebook is missing or was made from other code."""
    path = Path(root) / "notebooks" / f"{source.slug}.ipynb"
    stored = notebooks.read(path)
    if stored is None or stored.metadata.get("kdcourse", {}).get("code_hash") != notebooks.code_hash(source):
        raise ValueError(f"{path.name} is missing or was made from other code; run: kdcourse build {source.number} --record")
    return {cell.source: cell.outputs for cell in stored.cells if cell.cell_type == "code"}


def _words(path: Path) -> dict[str, list]:
    """Name → its sections, each (title, text, notes), from docs/slides/NN.md; empty where there is no such file."""
    found = {}
    pieces = SECTION.split(path.read_text(encoding="utf-8")) if path.exists() else [""]
    for title, name, body in zip(pieces[1::3], pieces[2::3], pieces[3::3]):
        text, _, notes = body.partition("\nNotes:")
        found.setdefault(name, []).append((title, text.strip(), notes.strip()))
    return found


def _guide(path: Path) -> dict:
    """The instructor's notes: heading → text, and `minutes`, one number an exercise; empty where there are none."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    pieces = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    minutes = re.search(r"exercises: \[([\d, ]*)\]", pieces[0])
    return {**dict(zip(pieces[1::2], (body.strip() for body in pieces[2::2]))), "minutes": re.findall(r"\d+", minutes[1]) if minutes else []}


def blocks(text: str) -> list[tuple[str, str]]:
    """The blocks of a Markdown cell: (heading | formula | table | list | prose, text); folded details are left out."""
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL)
    found = []
    for block in (block.strip() for block in re.split(r"\n[ \t]*\n", text)):
        while heading := re.match(r"#+ (.+)\n?", block):
            found.append(("heading", heading[1].strip()))
            block = block[heading.end() :].strip()
        kind = "formula" if block.startswith("$$") else "table" if block.startswith("|") else "list" if re.match(r"([-*]|\d+\.) ", block) else "prose"
        if kind == "formula":
            block = re.sub(r"\s*[,.:;]\s*\$\$$", " $$", block)  # the sentence around it stays behind
        if block:
            found.append((kind, block))
    return found


def _opened(cell, name: str, tags, outputs, words) -> list[Slide]:
    """The slides that a cell starts: one, one a section of its words, or, where it judges claims, one a card besides."""
    if cell.cell_type == "markdown":
        sections = words.pop(name, None) if name else None
        return [_own(cell, name, section) for section in sections] if sections else [_by_rule(cell, name)]
    found = outputs.get(cell.source, []) if "slide-output" in tags else []
    shown = _media(found)
    cards = [_card(claim, markup) for claim, markup in ((CARD.search(part), part) for part in shown) if claim]
    rest = [part for part in shown if not CARD.search(part)] if "slide-output" in tags else [_code(cell.source)]
    made = cards if cards and not rest else [Slide(name, "", media=rest, layout=_layout(rest)), *cards]
    made[0].printed = _printed(found)
    return made


def _join(slide: Slide, cell, tags, outputs, after_card: bool) -> None:
    """Add a cell to the slide that is open, as its tags say; without such a tag it adds only what it prints right after a card."""
    if cell.cell_type == "code" and (after_card or "slide-output" in tags):
        slide.printed += _printed(outputs.get(cell.source, []))
    if "slide-code" in tags:
        slide.media.append(_code(cell.source))
    if "slide-output" in tags and cell.cell_type == "code":
        slide.media += _media(outputs.get(cell.source, []))
    if "slide-notes" in tags:
        slide.notes.append(markdown(cell.source))
    slide.layout = _layout(slide.media) if slide.media else slide.layout


def _by_rule(cell, name: str) -> Slide:
    """A Markdown cell without words of its own: heading, first paragraph, and all that is short by nature; the rest to the notes."""
    parts = blocks(cell.source)
    title = next((text for kind, text in parts if kind == "heading"), "")
    prose = [text for kind, text in parts if kind == "prose"]
    shown = [text for kind, text in parts if kind not in ("heading", "prose") or text == prose[0]]
    return Slide(name, title, [markdown(text) for text in shown], notes=[markdown(text) for text in prose[1:]])


def _own(cell, name: str, section: tuple) -> Slide:
    """A Markdown cell under words of its own: they come first, then its formulas and tables (or those that the words place), its prose as notes."""
    title, text, notes = section
    parts = blocks(cell.source)
    by_kind = {kind: [block for other, block in parts if other == kind] for kind in ("formula", "table", "list", "printed")}

    def placed(match):
        number = int(match[2] or 1)
        if not 1 <= number <= len(by_kind[match[1]]):
            raise ValueError(f"the slide {title!r} asks for {match[0]}, its cell has {len(by_kind[match[1]])}")
        return "\n" + by_kind[match[1]][number - 1] + "\n"

    if not PLACE.search(text):
        text = "\n\n".join([text, *by_kind["formula"], *by_kind["table"]])
    prose = [block for kind, block in parts if kind in ("prose", "list")]
    return Slide(name, title, [markdown(PLACE.sub(placed, text))], notes=[markdown(block) for block in (notes, *prose) if block])


def _with_words(slide: Slide, words) -> Slide:
    """Give a slide that has none its title and text from the words."""
    sections = words.get(slide.name)
    title, text, notes = sections.pop(0) if sections else ("", "", "")
    slide.title = title or slide.title
    if text := _with_printed(slide, text):
        slide.text = [markdown(text)] if slide.name in PARTS else [markdown(text), *slide.text]
    slide.notes = [*([markdown(notes)] if notes else []), *slide.notes]
    if not slide.title:
        raise ValueError(f"a slide has no title; write ## Title {{#{slide.name or 'NAME'}}} into the lesson's docs/slides and slide:{slide.name or 'NAME'} into its tags")
    return slide


def _with_printed(slide: Slide, text: str) -> str:
    """What cells printed beside figures and cards joins the notes or, where the words have a line `{printed}`, the slide; the words without that line."""
    shown = "".join(slide.media)
    silent = [line for line in slide.printed if html.escape(line) not in shown]
    slide.printed = []
    if "{printed}" not in text.splitlines():
        slide.notes += [_pre(silent).replace("<pre>", '<pre style="white-space: pre-wrap">')] if silent else []
        return text
    if not silent:
        raise ValueError(f"the slide {slide.title!r} asks for {{printed}}; its cells printed nothing, or it is there already")
    slide.media.append(_pre(silent))
    slide.layout = _layout(slide.media)
    return text.replace("{printed}", "").strip()


# ---- what a cell shows ----------------------------------------------------------------------------------------------


def markdown(text: str) -> str:
    """Markdown as HTML; formulas stay as they are, for MathJax."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    return re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html_mistune(text))


def _code(text: str) -> str:
    """Highlighted code: where a cell begins with definitions those alone, else its first lines; no more than a slide holds."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    lines = text.strip().splitlines()
    tops = [n for n, line in enumerate(lines) if re.match(r"\S", line) and not re.match(r"[)\]}]", line)]
    if re.match(r"def |class |@", lines[0]):
        tops = tops[: next((k for k, n in enumerate(tops) if not re.match(r"def |class |@", lines[n])), len(tops)) + 1]
    end = max([n for n in [*tops[1:], len(lines)] if n <= LONGEST and n <= max(tops[-1], 1)] or [LONGEST])
    body = highlight("\n".join(lines[:end]).strip(), PythonLexer(), HtmlFormatter(nowrap=True))
    return f'<pre class="code"><code>{body.strip()}</code></pre>'


def _media(outputs) -> list[str]:
    """What an output shows on a slide: figures, cards and tables; printed text where there is nothing else."""
    shown = []
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            alt = data.get("text/plain", "").removeprefix("[figure] ")
            shown.append(f'<img src="data:image/png;base64,{"".join(data["image/png"].split())}" alt="{html.escape(alt)}">')
        elif "text/markdown" in data:
            shown.append(markdown(data["text/markdown"]))
        elif "text/html" in data and "<details" not in data["text/html"]:
            shown.append(data["text/html"])
    printed = _printed(outputs)
    return shown or ([_pre(printed)] if printed else [])


def _printed(outputs) -> list[str]:
    """The lines that a cell printed."""
    return [line for output in outputs if output.output_type == "stream" and output.name == "stdout" for line in output.text.rstrip().splitlines()]


def _pre(lines: list[str]) -> str:
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def _layout(media: list[str]) -> str:
    """`beside` where one figure is about square, `stacked` otherwise."""
    if len(media) == 1 and media[0].startswith("<img"):
        width, height = struct.unpack(">II", b64decode(media[0].partition("base64,")[2][:64])[16:24])
        return "beside" if width < 1.5 * height else "stacked"
    return "stacked"


def _claims(cell, outputs) -> list[str]:
    """The claims that a cell's stored outputs judge."""
    parts = (output.get("data", {}).get("text/html", "") for output in outputs.get(cell.source, []))
    return [found[1] for found in map(CARD.search, parts) if found]


def _card(found, markup: str) -> Slide:
    """The slide of a judged claim: its card as stored; how the doubt is composed, and the pairing, are for the speaker."""
    paragraphs = re.findall(r"<p style=[^>]*>(?:standard error|Paired on).*?</p>", markup)
    for paragraph in paragraphs:
        markup = markup.replace(paragraph, "")
    markup = markup.replace("<section ", '<div role="group" ').replace("</section>", "</div>")  # reveal.js takes a section for a slide
    return Slide(found[1], "The card" if ">EXPLORATORY<" in markup else "The verdict", [f'<div class="card">{markup}</div>'], notes=paragraphs)


# ---- the slides that every deck has ---------------------------------------------------------------------------------


def _title(source, guide: dict) -> Slide:
    parts = blocks(source.cells[0].source)
    prose = [re.sub(r"^(\d+ minutes) ·", r"On your own: \1 ·", text) for kind, text in parts if kind == "prose"]  # a room takes longer
    notes = [f"### {name}\n\n{guide[name]}" for name in ("Aim", "Timing", "Show first", "Short of time", "As live coding") if name in guide]
    return Slide("title", f"{source.number} · {source.title}", [markdown(text) for text in prose[:2]], notes=list(map(markdown, notes + prose[2:])), layout="title")


def _vote(source, outputs) -> Slide | None:
    """The primary claims as the lesson announces them, before anybody has seen a result."""
    announced = [output.data["text/markdown"] for code, found in outputs.items() if "claims.announce(" in code for output in found if "text/markdown" in output.get("data", {})]
    rows = [line for line in "\n".join(announced).splitlines() if line.startswith("|") and "| exploratory: interval, no verdict |" not in line]
    if len(rows) < 3:
        return None
    ask = "Written down before the runs. Hands up for each: **reproduced**, **smaller**, **refuted** or **inconclusive**?"
    return Slide("vote", "Vote before you look", [markdown(ask), markdown(re.sub(r"(?<!\\)\*", r"\*", "\n".join(rows)))], notes=[markdown("Write the counts on the board and leave them there until the cards.")])


def _section(source, heading: str) -> list[tuple[str, str]]:
    """The blocks of Markdown from a heading on, to the next of the same or a higher level; empty where there is none."""
    text = "\n\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    found = re.search(rf"^## {heading}\n(.*?)(?=^##? |\Z)", text, re.MULTILINE | re.DOTALL)
    return blocks(found[1]) if found else []


def _exercises(source, guide: dict) -> Slide | None:
    """Title, minutes and prompt of each exercise; prompts in full, and where people get stuck, in the notes."""
    minutes = dict(zip(range(1, 10), guide["minutes"]))
    items = []
    for number, (title, prompt) in enumerate(_prompts(source), 1):
        time = f" ({minutes[number]} min)" if number in minutes else ""
        items.append(f"**{title}**{time}<br>{prompt}")
    notes = [f"#### {text}" if kind == "heading" else text for kind, text in _section(source, "Exercises")]
    if "Where people get stuck" in guide:
        notes = ["### Where people get stuck", guide["Where people get stuck"], "### The prompts in full", *notes]
    body = "".join(f"<li>{markdown(item)}</li>" for item in items)
    return Slide("exercises", "Exercises", [f'<ul class="exercises">{body}</ul>'], notes=list(map(markdown, notes))) if items else None


def _prompts(source) -> list[tuple[str, str]]:
    """(title, prompt) of each exercise, from the cell with its title; what the lesson says after the answer is not part of it.

    A paragraph broken into lines by hand, such as a list of quotations, is too long for a slide: the room reads it in the lesson.
    """
    found = []
    for cell in (cell for cell in source.cells if cell.cell_type == "markdown"):
        pieces = re.split(r"^### (\d+ · .+)$", cell.source, flags=re.MULTILINE)
        for title, body in zip(pieces[1::2], pieces[2::2]):
            prose = [text for kind, text in blocks(re.split(r"^##? ", body, flags=re.MULTILINE)[0]) if kind == "prose"]
            prose = ["(The list is in the lesson.)" if re.search(r"\\$", text, re.MULTILINE) else " ".join(text.split()) for text in prose]
            found.append((title.strip(), " ".join(prose)))
    return found


def _discussion(guide: dict) -> Slide | None:
    """The questions of the instructor's notes; what good answers say is for the speaker."""
    questions = re.findall(r"^\d\. \*(.+?)\*(?: |$)", guide.get("Discussion", ""), re.MULTILINE)
    items = "\n".join(f"{n}. {question}" for n, question in enumerate(questions, 1))
    return Slide("discussion", "Talk about it", [f'<div class="large">{markdown(items)}</div>'], notes=[markdown(guide["Discussion"])]) if questions else None


def _takeaways(source) -> Slide | None:
    parts = _section(source, "Takeaways")
    shown = [markdown(text) for kind, text in parts if kind == "list"]
    return Slide("takeaways", "Takeaways", shown, notes=[markdown(text) for kind, text in parts if kind != "list"]) if shown else None
