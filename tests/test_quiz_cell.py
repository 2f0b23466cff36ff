"""A lesson's quiz as a notebook shows it, and as the terminal asks it."""

import re
from html.parser import HTMLParser

import pytest
from nbconvert.filters.markdown_mistune import markdown2html_mistune

import kdcourse as kd
from kdcourse import lesson, notebooks, quizzes

NUMBERS = [source.number for source in notebooks.lessons()]


class Folded(HTMLParser):
    """What a browser finds: for every question its choices as (what is visible, what is folded away)."""

    def __init__(self, text):
        super().__init__()
        self.questions, self.open, self.tags = [], [], set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag in ("h3", "details", "summary"):
            self.open.append(tag)
        if tag == "h3":
            self.questions.append([])
        elif tag == "details":
            self.questions[-1].append(["", ""])

    def handle_endtag(self, tag):
        if tag in ("h3", "details", "summary"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "details" in self.open:
            self.questions[-1][-1]["summary" not in self.open] += data


@pytest.mark.parametrize("number", NUMBERS)
def test_another_reader_of_markdown_finds_every_choice_with_its_explanation(number):
    """The course writes with markdown-it; nbconvert, which code hosts use, reads with mistune."""
    page = Folded(markdown2html_mistune(quizzes.markdown(number)))
    assert not page.open
    assert not page.tags & {"script", "iframe", "img", "style"}
    for question, found in zip(quizzes.read(number), page.questions, strict=True):
        assert len(found) == len(question["choice"])
        for letter, choice, (visible, folded) in zip("ABCD", question["choice"], found):
            assert visible.startswith(f"{letter}. ")
            assert re.findall(r"\$[^$]+\$", visible) == re.findall(r"\$[^$]+\$", choice["text"]), "formulas stay as they are"
            assert not re.search(r"[`*]", re.sub(r"\$[^$]+\$", "", visible)), "code and emphasis are marked up"
            assert folded.strip().startswith("✓ Right." if choice.get("right") else "✗ Not quite.")
            assert ("✓" in visible + folded) == bool(choice.get("right"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("`a_b < c`", "<code>a_b &lt; c</code>"),
        ("*twice* as **much**", "<em>twice</em> as <strong>much</strong>"),
        (r"$20\,p$ and $a_1 * b_1 * c$", r"$20\,p$ and $a_1 * b_1 * c$"),
        ("$a < b$", "$a &lt; b$"),
        ("1 < 2 & 3", "1 &lt; 2 &amp; 3"),
        ("<b>no markup</b>", "&lt;b&gt;no markup&lt;/b&gt;"),
        ("two\nlines", "two lines"),
    ],
)
def test_what_stays_visible_is_html_with_formulas_left_alone(text, shown):
    (line,) = [x for x in quizzes._folded("A", {"text": text, "because": "So."}).splitlines() if x.startswith("<summary")]
    assert line == f'<summary class="mathjax_process">A. {shown}</summary>'


def test_a_lesson_without_a_quiz_gets_no_cell(tmp_path):
    assert quizzes.read("01", tmp_path) == []
    assert quizzes.markdown("01", tmp_path) == ""


@pytest.mark.parametrize("damage", ["", "text = ", "[[question]]\nid = 'x'\ntext = 'y'\n"])
def test_a_broken_quiz_is_named(tmp_path, damage):
    path = tmp_path / "docs" / "quizzes" / "01.toml"
    path.parent.mkdir(parents=True)
    path.write_text(damage)
    if not damage:
        assert quizzes.read("01", tmp_path) == []
        return
    with pytest.raises(ValueError, match=r"01\.toml"):
        quizzes.read("01", tmp_path)


# ---- in the terminal ----


def _answers(monkeypatch, *given):
    """Type these answers one after the other, then Ctrl-D; an exception is raised in place of an answer."""
    waiting = list(given)

    def typed(prompt=""):
        if not waiting:
            raise EOFError
        answer = waiting.pop(0)
        if isinstance(answer, type):
            raise answer
        return answer

    monkeypatch.setattr("builtins.input", typed)
    return waiting


def _right(question) -> str:
    return next(letter for letter, choice in zip("ABCD", question["choice"]) if choice.get("right"))


def test_right_answers_are_counted_and_explained(monkeypatch, capsys):
    questions = quizzes.read("03")
    left = _answers(monkeypatch, *(_right(question) for question in questions))
    assert kd.quiz("03") == (len(questions), len(questions))
    said = capsys.readouterr().out
    assert not left
    assert said.count("✓ Right.") == len(questions)
    assert "✗" not in said
    assert said.rstrip().endswith(f"{len(questions)} of {len(questions)} right")


def test_wrong_skipped_mistyped_and_ended(monkeypatch, capsys):
    first, second, *_ = questions = quizzes.read("03")
    wrong = next(letter for letter in "ABCD" if letter != _right(first))
    _answers(monkeypatch, "?", "5", "AB", f" {wrong.lower()}) ", _right(second), "")
    assert kd.quiz("03_temperature") == (1, 2)
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("is none of the answers; expected one of A, B, C, D") == 3
    because = next(c["because"] for letter, c in zip("ABCD", first["choice"]) if letter == wrong)
    assert "✗ Not quite. " + " ".join(because.split()) in said
    assert said.endswith(f"1 of 2 right, {len(questions) - 2} left out")


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_leaving_is_no_error(monkeypatch, capsys, end):
    _answers(monkeypatch, end)
    assert kd.quiz("0") == (0, 0)
    assert "0 of 0 right, 5 left out" in capsys.readouterr().out


def test_nobody_to_ask(monkeypatch):
    _answers(monkeypatch, NotImplementedError)
    with pytest.raises(ValueError, match="kdcourse quiz 00"):
        kd.quiz("00")


def test_the_nearest_lesson_is_suggested():
    with pytest.raises(ValueError, match="did you mean 03_temperature"):
        kd.quiz("temprature", lesson.ROOT)
