"""Slides: what a deck must hold, that it is whole without a network, and what the tags and words of a lesson do."""

import base64
import html
import re
from html.parser import HTMLParser

import fake_course
import nbformat
import pytest

from kdcourse import claims, cli, lesson, notebooks, report

pytest.importorskip("sphinx_revealjs", reason="the extra `site` is not installed")
from kdcourse import slides

LESSONS = {source.number: source for source in notebooks.lessons()}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (700).to_bytes(4, "big") + (300).to_bytes(4, "big") + b"\0" * 30).decode()


class Parts(HTMLParser):
    """What a page refers to, its slides' ids, and its text on the slides and in the notes."""

    def __init__(self, text):
        super().__init__()
        self.references, self.slides, self.pictures, self.shown, self.said = [], [], [], [], []
        self._notes = self._inside = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.references += [(tag, attrs[name]) for name in ("src", "href") if name in attrs]
        if tag == "section":
            self.slides.append(attrs["id"])
            self._inside += 1
        if tag == "img":
            self.pictures.append(attrs)
        self._notes += tag == "aside"

    def handle_endtag(self, tag):
        self._notes -= tag == "aside"
        self._inside -= tag == "section"

    def handle_data(self, data):
        if self._inside:
            (self.said if self._notes else self.shown).append(data)


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    out = tmp_path_factory.mktemp("slides")
    slides.build(list(LESSONS.values()), out)
    return out


def read(decks, number):
    return (decks / f"{LESSONS[number].slug}.html").read_text(encoding="utf-8")


# ---- the decks of the course ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", LESSONS)
def test_a_deck_has_a_talk_s_length_and_its_fixed_parts(decks, number):
    parts = Parts(read(decks, number))
    assert 8 <= len(parts.slides) <= 16
    assert [parts.slides[0], *parts.slides[-3:]] == ["title", "exercises", "discussion", "takeaways"]
    assert "vote" in parts.slides


@pytest.mark.parametrize("number", LESSONS)
def test_the_vote_comes_before_every_card_and_the_main_figure(decks, number):
    found = Parts(read(decks, number)).slides
    results = [position for position, name in enumerate(found) if name.startswith(f"{number}-") or name == "main"]
    assert found.index("vote") < min(results)


@pytest.mark.parametrize("page", [*(source.slug for source in LESSONS.values()), "index"])
def test_nothing_leaves_the_machine_and_nothing_is_missing(decks, page):
    for tag, reference in Parts((decks / f"{page}.html").read_text(encoding="utf-8")).references:
        if tag == "a" and reference.startswith("https://"):
            continue  # a link that somebody may follow, not a request
        if not reference.startswith("data:image/png;base64,"):
            assert (decks / reference.partition("?")[0]).is_file(), reference


def test_style_sheets_ask_for_local_files_only(decks):
    sheets = [*(decks / "assets").glob("*.css")]
    assert len(sheets) == 3
    for sheet in sheets:
        for reference in re.findall(r"(?:url\(|@import )['\"]?([^'\")]+)", sheet.read_text(encoding="utf-8")):
            assert reference.startswith("data:") or (sheet.parent / re.split("[?#]", reference)[0]).is_file(), reference


@pytest.mark.parametrize("number", LESSONS)
def test_every_primary_claim_shows_its_stored_card(decks, number):
    deck = read(decks, number)
    stored = notebooks.read(lesson.ROOT / "notebooks" / f"{LESSONS[number].slug}.ipynb")
    cards = [output.data["text/html"] for cell in stored.cells for output in cell.get("outputs", []) if "Verdict on claim" in output.get("data", {}).get("text/html", "")]
    primary = [claim for claim in claims.read_ledger().values() if claim.lesson == number and claim.kind == "primary"]
    assert primary
    for claim in primary:
        card = next(card for card in cards if f'"Verdict on claim {claim.id}"' in card)
        assert deck.count(f'aria-label="Verdict on claim {claim.id}"') == 1
        assert all(row in deck for row in re.findall(r"<td.*?</td>", card))
        assert all(line in deck for line in re.findall(r"<p .*?</p>", card))  # on the slide or in its notes


@pytest.mark.parametrize("number", LESSONS)
def test_the_main_figure_is_there_and_every_figure_is_described(decks, number):
    kind, data, alt = report.main_figure(notebooks.read(lesson.ROOT / "notebooks" / f"{LESSONS[number].slug}.ipynb"))
    pictures = Parts(read(decks, number)).pictures
    assert [picture["alt"] for picture in pictures if picture["src"] == f"data:{kind};base64,{data}"] == [alt]
    assert all(len(picture["alt"]) > 40 and "[figure]" not in picture["alt"] for picture in pictures)


@pytest.mark.parametrize("number", LESSONS)
def test_formulas_are_those_of_the_lesson_letter_by_letter(decks, number):
    def plain(formula):
        return re.sub(r"\s+|[,.:;]\s*$", "", formula.strip())

    source = "\n".join(cell.source for cell in LESSONS[number].cells if cell.cell_type == "markdown")
    known = {plain(formula) for formula in re.findall(r"\$\$(.*?)\$\$", source, re.DOTALL)}
    shown = re.findall(r"\$\$(.*?)\$\$", "".join(Parts(read(decks, number)).shown), re.DOTALL)
    assert {plain(formula) for formula in shown} <= known
    assert shown or not known


@pytest.mark.parametrize("number", LESSONS)
def test_the_speaker_has_the_instructor_s_notes(decks, number):
    deck = read(decks, number)
    guide = (lesson.ROOT / "docs" / "instructor" / f"{number}.md").read_text(encoding="utf-8")
    said, words = " ".join("".join(Parts(deck).said).split()), lambda text: " ".join(re.sub(r"[*`]", "", text).split())
    for heading in ("Aim", "Where people get stuck", "Discussion"):
        first = re.search(rf"^## {heading}\n\n(?:[-\d]\.? )?\W*(.+)", guide, re.MULTILINE)[1]
        assert words(first)[:30] in said, heading
    assert deck.count('<aside class="notes">') >= len(Parts(deck).slides) / 2


@pytest.mark.parametrize("number", LESSONS)
def test_an_exercise_is_asked_to_its_last_word(decks, number):
    def letters(text):
        return re.sub(r"\W", "", text)

    shown = letters("".join(Parts(read(decks, number)).shown))
    cells = [re.sub(r"<details>.*?</details>", "", cell.source, flags=re.DOTALL) for cell in LESSONS[number].cells if cell.cell_type == "markdown"]
    prompts = [text for cell in cells for text in re.findall(r"^### \d+ · [^\n]+\n\n(.*?)(?=\n#|\Z)", cell, re.MULTILINE | re.DOTALL)]
    assert prompts
    for paragraph in (paragraph for text in prompts for paragraph in text.split("\n\n") if not paragraph.strip().startswith("a. ")):
        assert letters(paragraph) in shown


@pytest.mark.parametrize("number", LESSONS)
def test_the_title_s_minutes_are_those_of_a_reader_alone(decks, number):
    title = "".join(Parts(read(decks, number)).shown).partition("· needs")[0]
    assert re.search(r"On your own: \d\d minutes $", title)


@pytest.mark.parametrize("number", LESSONS)
def test_no_sign_of_markdown_is_left_in_the_vote(decks, number):
    vote = re.search(r'<section id="vote">.*?</section>', read(decks, number), re.DOTALL)[0]
    assert "\\" not in vote
    primary = [claim for claim in claims.read_ledger().values() if claim.lesson == number and claim.kind == "primary"]
    assert all(contrast.expression in vote for claim in primary for contrast in claim.contrasts if "*" in contrast.expression)


@pytest.mark.parametrize("number", LESSONS)
def test_what_qualifies_a_card_is_on_its_slide_or_in_its_notes(decks, number):
    """Lines that the cell of a card prints, and the cells right after it, up to the next text."""
    stored = notebooks.read(lesson.ROOT / "notebooks" / f"{LESSONS[number].slug}.ipynb")
    deck, claim = read(decks, number), None
    for cell in stored.cells:
        card = re.findall(r"Verdict on claim ([\w-]+)", "".join(output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])))
        if cell.cell_type != "code" or card:
            claim = card[-1] if card and f'<section id="{card[-1]}">' in deck else None
        if claim:
            slide = re.search(rf'<section id="{claim}">.*?</section>', deck, re.DOTALL)[0]
            printed = [line for output in cell.outputs if output.get("name") == "stdout" for line in output.text.splitlines()]
            assert all(html.escape(line) in slide for line in printed)


@pytest.mark.parametrize("path", sorted((lesson.ROOT / "docs" / "slides").glob("*.md")), ids=lambda path: path.stem)
def test_no_measured_number_stands_in_the_words_of_a_slide(path):
    text = re.sub(r"\nNotes:.*?(?=\n## |\Z)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.findall(r"\d[\d,.]*\s?(?:%|errors?\b|misses\b|points\b|seconds\b)", text) == []


def test_every_lesson_has_words_and_every_deck_is_listed(decks):
    assert {path.stem for path in (lesson.ROOT / "docs" / "slides").glob("*.md")} == set(LESSONS)
    page = (decks / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{source.slug}.html"' in page and html.escape(source.title) in page for source in LESSONS.values())


# ---- tags and words of a lesson made for the purpose ----------------------------------------------------------------

CODE = '''def double(x):
    """Twice x."""
    return 2 * x


class Box:
    pass


print(double(2))'''
CARD = (
    '<section aria-label="Verdict on claim 01-a" style="x"><p style="m"><strong>REFUTED</strong></p><p style="m">a - b = 3</p>'
    '<p style="m">standard error 1</p><p style="m">Paired on init.</p></section>'
)
CELLS = [
    ("markdown", [], "# 01 · A tiny lesson\n\n**It promises.**\n\n5 minutes · needs [lesson 00](00_none.ipynb)\n\nA story."),
    ("code", ["parameters"], "profile = 'quick'\nfirst_seed = 0"),
    ("markdown", ["slide"], "## An idea\n\nFirst words.\n\n$$ a_b*c*d < e, $$\n\n- one\n- two\n\nLong words.\n\n<details>\n\nHidden.\n\n</details>"),
    ("markdown", ["slide:own"], "## Another\n\nProse of the cell.\n\n$$ x_1 $$\n\n$$ x_2 $$"),
    ("markdown", ["slide-notes"], "Said only."),
    ("code", ["slide:code"], CODE),
    ("code", ["slide-output"], "print('joined')"),
    ("code", ["main-figure", "slide:main", "slide-output"], "draw()"),
    ("code", [], "print('after')"),
    ("markdown", [], "## Exercises\n\n### 1 · Think\n\nOne sentence. `x` is another.\n\nWhich one?\n\na. \"Mine.\" \\\nb. \"Yours.\""),
    ("code", [], "answer = 'mine'"),
    ("markdown", [], "Said when it is right."),
    ("markdown", [], "## Takeaways\n\n- Remember."),
]
WORDS = "## My title {#own}\n\n{formula 2}\n\nMy words.\n\nNotes:\nMy notes.\n\n## In code {#code}\n\n## The picture {#main}\n\n- Look.\n\n## Is it so? {#01-a}\n"


@pytest.fixture
def course(tmp_path):
    """A root with one lesson, its stored notebook and its words; returns (root, function that builds and parses the deck)."""
    source = "\n\n".join(
        f"# %%{' [markdown]' if kind == 'markdown' else ''} tags={tags}\n".replace("'", '"')
        + (text if kind == "code" else "\n".join(f"# {line}".rstrip() for line in text.split("\n")))
        for kind, tags, text in CELLS
    )
    path = fake_course.write_lesson(tmp_path, text=source + "\n")
    picture = {"image/png": PIXEL, "text/plain": "[figure] A <line>."}
    outputs = {
        "print('after')": [nbformat.v4.new_output("stream", name="stdout", text="counted\nin another way\n")],
        "print('joined')": [nbformat.v4.new_output("stream", name="stdout", text="1 < 2\n")],
        "draw()": [
            nbformat.v4.new_output("display_data", data=picture),
            nbformat.v4.new_output("stream", name="stdout", text="not shown"),
            nbformat.v4.new_output("execute_result", data={"text/html": CARD}),
        ],
    }
    stored = notebooks.make(notebooks.read_source(path))
    for cell in stored.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs.get(cell.source, [])
    notebooks.write(stored, tmp_path / "notebooks" / "01_tiny.ipynb")
    words = tmp_path / "docs" / "slides" / "01.md"
    words.parent.mkdir(parents=True)
    words.write_text(WORDS, encoding="utf-8")
    return tmp_path


def made(root):
    return {slide.name or slide.title: slide for slide in slides.slides(notebooks.lessons(root=root)[0], root)}


def test_a_markdown_cell_shows_what_is_short_and_says_the_rest(course):
    slide = made(course)["An idea"]
    shown, said = "".join(slide.text), "".join(slide.notes)
    assert "First words." in shown
    assert "<li>one</li>" in shown
    assert "$$ a_b*c*d &lt; e $$" in shown  # not emphasised, and without the comma of its sentence
    assert "Long words." in said
    assert "Long words." not in shown
    assert "Hidden" not in shown + said


def test_words_replace_the_prose_and_place_the_formulas(course):
    slide = made(course)["own"]
    shown, said = "".join(slide.text), "".join(slide.notes)
    assert slide.title == "My title"
    assert shown.index("x_2") < shown.index("My words.")
    assert "x_1" not in shown
    assert [said.index(text) for text in ("My notes.", "Prose of the cell.", "Said only.")] == sorted(
        said.index(text) for text in ("My notes.", "Prose of the cell.", "Said only.")
    )


def test_code_stops_after_its_definitions_and_output_joins(course):
    slide = made(course)["code"]
    code, output = slide.media
    assert re.sub(r"<[^>]+>", "", code).startswith("def double(x):")
    assert "Box" in code
    assert "print" not in code
    assert output == "<pre>1 &lt; 2</pre>"


def test_a_figure_keeps_its_description_and_a_card_gets_a_slide(course):
    found = made(course)
    assert found["main"].media == [f'<img src="data:image/png;base64,{PIXEL}" alt="A &lt;line&gt;.">']
    assert found["main"].layout == "stacked"  # wider than half its height again
    card = found["01-a"]
    assert card.title == "Is it so?"
    assert "REFUTED" in card.text[0]
    assert "a - b = 3" in card.text[0]
    assert "standard error" not in card.text[0]
    assert "standard error" in "".join(card.notes)
    assert "<section" not in card.text[0]  # reveal.js would take it for a slide


def test_what_is_printed_beside_a_figure_or_after_a_card_is_said(course):
    found = made(course)
    assert "not shown" in "".join(found["main"].notes)
    assert "counted\nin another way" in "".join(found["01-a"].notes)
    assert "in another way" not in "".join(found["01-a"].media)
    fake_course.edit(course / "docs" / "slides" / "01.md", "{#01-a}\n", "{#01-a}\n\n{printed}\n")
    card = made(course)["01-a"]
    assert card.media == ["<pre>counted\nin another way</pre>"]
    assert "printed" not in "".join(card.text)
    assert "counted" not in "".join(card.notes)


def test_an_exercise_shows_its_whole_prompt_and_not_what_follows_the_answer(course):
    slide = made(course)["exercises"]
    shown, said = "".join(slide.text), "".join(slide.notes)
    assert "1 · Think" in shown
    assert "One sentence. <code>x</code> is another. Which one? (The list is in the lesson.)" in shown
    assert "Yours" not in shown
    assert "Yours" in said
    assert "Said when it is right" not in shown


def test_the_title_says_whose_minutes_they_are(course):
    assert "On your own: 5 minutes · needs" in "".join(made(course)["title"].text)


def test_a_star_of_a_formula_is_escaped_once(monkeypatch):
    table = "| claim | counts |\n|---|---|\n| a | 0.5 \\* b - 2*c*d > 0 |"
    outputs = {'kd.claims.announce("01")': [nbformat.v4.new_output("display_data", data={"text/markdown": table})]}
    assert "0.5 * b - 2*c*d &gt; 0" in slides._vote(None, outputs).text[1]


def test_a_link_leads_to_a_deck_or_nowhere(course, tmp_path):
    out = tmp_path / "out"
    slides.build(notebooks.lessons(root=course), out, course)
    page = (out / "01_tiny.html").read_text(encoding="utf-8")
    assert "00_none" not in page
    assert "needs lesson 00" in page
    assert not list(out.glob("*.tmp"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{#own}", "{#nobody}", "no cell, claim or part is called nobody"),
        ("{formula 2}", "{formula 3}", r"asks for \{formula 3\}, its cell has 2"),
        ("## In code {#code}", "", "a slide has no title"),
        ("{formula 2}", "{printed}", r"asks for \{printed\}, its cell has 0"),
        ("{#code}\n", "{#code}\n\n{printed}\n", r"asks for \{printed\}; its cells printed nothing, or it is there already"),
    ],
)
def test_words_that_fit_no_cell_are_named(course, old, new, message):
    fake_course.edit(course / "docs" / "slides" / "01.md", old, new)
    with pytest.raises(ValueError, match=message):
        made(course)


def test_outputs_of_other_code_are_refused(course):
    fake_course.edit(course / "notebooks" / "src" / "01_tiny.py", "draw()", "draw(2)")
    with pytest.raises(ValueError, match="made from other code; run: kdcourse build 01 --record"):
        made(course)


def test_tags_and_words_change_no_code(course):
    path = course / "notebooks" / "src" / "01_tiny.py"
    before = notebooks.code_hash(notebooks.read_source(path))
    fake_course.edit(path, '["slide:code"]', '["slide", "slide-output"]')
    assert notebooks.code_hash(notebooks.read_source(path)) == before


def test_a_missing_package_is_named(course, tmp_path, monkeypatch):
    monkeypatch.setattr(slides.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="sphinx-revealjs; `make slides` installs it"):
        slides.build(notebooks.lessons(root=course), tmp_path / "out", course)


def test_the_command_builds_what_is_asked_for(tmp_path, capsys):
    assert cli.main(["slides", "0", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "00_start_here.html"), str(tmp_path / "index.html")]
    assert "01_soft_targets" not in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert cli.main(["slides", "temprature"]) == 2
    assert "did you mean 03_temperature?" in capsys.readouterr().err
