"""JupyterLab as a learner meets it: `kdcourse lab`, the first lesson, an exercise, a slider. At the profile smoke, in a `work/` of its own.

With KDCOURSE_BROWSER_PROFILE=quick the first lesson runs as learners run it (minutes), and its cards have to show the recorded verdicts.
"""

import json
import os
import re
import urllib.error
import urllib.request

import driving
import nbformat
import pytest

from kdcourse import lesson

FIRST, SLIDER = "00_start_here", "03_temperature"
PROFILE = os.environ.get("KDCOURSE_BROWSER_PROFILE") or "smoke"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("lab") / "work"


@pytest.fixture(scope="module")
def address(browser, work):
    """The address with a token that `kdcourse lab` printed."""
    settings = {"KDCOURSE_PROFILE": PROFILE, "KDCOURSE_CACHE": str(work.parent / "cache"), "OMP_NUM_THREADS": "1"}
    process, address = driving.start_lab(work, settings)
    yield address
    driving.stop_lab(process)


@pytest.fixture(scope="module")
def tab(address, open_tab):
    opened = open_tab()
    opened.goto(address)
    return opened


@pytest.fixture(scope="module")
def first(tab, work):
    """The first lesson after Run All: its cells."""
    driving.open_lesson(tab, FIRST, driving.number_of_cells(work, FIRST))
    return driving.run_all(tab, 600)


# ---- the door -------------------------------------------------------------------------------------------------------


def test_without_the_token_nothing_is_shown(address):
    server = address.split("/lab")[0]
    for path in ("/api/contents", f"/api/contents/{FIRST}.ipynb", f"/files/{FIRST}.ipynb", "/api/contents?token=wrong"):
        status, url, text = asked(server + path)
        assert status == 403 or "/login" in url, f"{path} was answered without a token"
        assert "nbformat" not in text
    token = address.split("token=")[1]
    assert FIRST in asked(f"{server}/api/contents?token={token}")[2]  # the control: with it, it works


def asked(url: str) -> tuple[int, str, str]:
    """Status, address after redirections, and text of an answer."""
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.geturl(), answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, url, ""


def test_the_login_page_asks_for_the_token(address, open_tab):
    stranger = open_tab()
    stranger.goto(address.split("?")[0])
    assert "/login" in stranger.url
    assert not stranger.locator(".jp-LabShell").count()


# ---- before anything ran --------------------------------------------------------------------------------------------


def test_a_lesson_opens_with_its_formulas_set_and_its_verdicts_shown(tab, work, shoot):
    """Nothing has run: what is seen is what is stored, in a notebook that JupyterLab does not trust yet."""
    driving.open_lesson(tab, SLIDER, driving.number_of_cells(work, SLIDER))
    driving.wait(tab, f"() => document.querySelectorAll('{driving.PANEL} .jp-MarkdownOutput mjx-container').length > 20")
    cells = tab.evaluate(driving.CELLS)
    tab.wait_for_timeout(1000)  # the last formulas
    assert not raw_formulas(tab)
    cards = [cell for cell in cells if "kd.judge(" in cell["source"] and "REPRODUCED" in cell["output"]]
    assert cards, "no stored verdict is seen"
    formula = tab.locator(f"{driving.PANEL} .jp-MarkdownOutput mjx-container[display=true]").first
    formula.scroll_into_view_if_needed()
    shoot(tab, "lab-03-formulas")
    show(tab, cells.index(cards[0]))
    shoot(tab, "lab-03-stored-verdict")


def raw_formulas(tab) -> list[str]:
    """Text outside of code in which a dollar sign was left, or a command of TeX."""
    script = """panel => { const found = []; for (const part of document.querySelectorAll(panel + ' .jp-MarkdownOutput')) {
      const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
      while (walker.nextNode()) { const node = walker.currentNode;
        if (/\\$|\\\\[a-z]+/.test(node.data) && !node.parentElement.closest('code, pre, mjx-container, script')) found.push(node.data); } } return found; }"""
    return tab.evaluate(script, driving.PANEL)


def show(tab, index: int) -> None:
    """Scroll to the end of a cell; more than once, as cells get their true height when they come into sight."""
    for _ in range(4):
        tab.locator(f"{driving.PANEL} .jp-Notebook .jp-Cell").nth(index).evaluate("cell => cell.scrollIntoView({block: 'end'})")
        tab.wait_for_timeout(200)


# ---- Run All --------------------------------------------------------------------------------------------------------


def test_run_all_ends_without_an_error(tab, work, first, shoot):
    shoot(tab, "lab-00-end")
    assert not tab.get_by_text("official Jupyter news").count(), "JupyterLab's question about news covers the notebook"
    code = [cell for cell in first if cell["code"]]
    assert not [cell["source"] for cell in code if cell["errors"]]
    for number, cell in enumerate(code, 1):
        assert cell["prompt"] == f"[{number}]:" or cell["folded"]
    assert f"profile {PROFILE}" in code_with(first, 'kd.start("00"')["output"]
    tab.keyboard.press("ControlOrMeta+s")
    driving.wait(tab, "() => !document.querySelector('#jp-main-dock-panel .jp-mod-current.jp-mod-dirty')")
    saved = nbformat.read(work / f"{FIRST}.ipynb", as_version=4)
    assert [cell.execution_count for cell in saved.cells if cell.cell_type == "code"] == list(range(1, len(code) + 1))
    assert not [output for cell in saved.cells for output in cell.get("outputs", []) if output.output_type == "error"]


def code_with(cells, text: str) -> dict:
    (found,) = [cell for cell in cells if cell["code"] and text in cell["source"]]
    return found


def test_figures_are_shown(tab, first, shoot):
    figures = [number for number, cell in enumerate(first) if "kd.plots.show" in cell["source"]]
    assert len(figures) >= 3
    for number in figures:
        assert [width for width in first[number]["images"] if width > 300], f"cell {number} shows no figure"
    show(tab, figures[-1])
    shoot(tab, "lab-00-figure")


def test_the_verdict_appears(tab, first, shoot):
    cards = {re.search(r'"(00-[a-z-]+)"', cell["source"]).group(1): cell["output"] for cell in first if "kd.judge(" in cell["source"]}
    assert len(cards) >= 3
    for claim, card in cards.items():
        assert claim in card
        if PROFILE == "smoke":  # nothing may be judged on one seed and a slice of the data, and the card says so
            assert "NOT JUDGED" in card
            assert "the mechanics were checked, nothing was judged" in card
            assert not re.search("REPRODUCED|REFUTED|SMALLER|INCONCLUSIVE", card)
        else:
            record = json.loads((lesson.ROOT / "results" / PROFILE / f"{claim}.json").read_text())
            assert record["verdict"] in card
    show(tab, next(number for number, cell in enumerate(first) if "kd.judge(" in cell["source"]))
    shoot(tab, "lab-00-card")


# ---- exercises ------------------------------------------------------------------------------------------------------

STUB = "def soft_loss(student_logits, teacher_logits, T):\n    student_log_probabilities = {}\n    teacher_probabilities = {}\n    return {}\n"
STUDENT, TEACHER = "F.log_softmax(student_logits / T, dim=1)", "F.softmax(teacher_logits / T, dim=1)"
DIVERGENCE = "F.kl_div(student_log_probabilities, teacher_probabilities, reduction='batchmean')"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("times_too_small = 20", "✗ Not yet. That is T. The gradient shrinks twice"),
        ("times_too_small = 1 / 400", "✗ Not yet. That is the factor by which they are multiplied"),
        ("times_too_small = 20**2", "✓ Right"),
    ],
)
def test_the_first_exercise_knows_right_from_wrong(tab, first, work, shoot, answer, said):
    said_now = answered(tab, work, "times_too_small =", answer, "missing_factor(")
    shoot(tab, f"lab-00-exercise-1-{'right' if '✓' in said else 'wrong'}")
    assert said in said_now


@pytest.mark.parametrize(
    ("blanks", "said"),
    [
        ((STUDENT, TEACHER, DIVERGENCE), "T² is missing"),
        ((STUDENT, TEACHER, DIVERGENCE.replace("batchmean", "mean") + " * T**2"), "Sum over the classes: reduction='batchmean'"),
        (("...", "...", "..."), "Not filled in yet"),
        ((STUDENT, TEACHER, DIVERGENCE + " * T**2"), "✓ Right"),
    ],
)
def test_the_second_exercise_knows_the_usual_mistakes(tab, first, work, blanks, said):
    assert said in answered(tab, work, "def soft_loss(", STUB.format(*blanks), "repaired_loss(")


def answered(tab, work, stub: str, answer: str, check: str) -> str:
    """Write an answer into the cell of an exercise, run it and the check below; what the check says."""
    driving.open_lesson(tab, FIRST, driving.number_of_cells(work, FIRST))
    cell = driving.code_cell(tab, stub)
    driving.write(tab, cell, answer)
    assert not driving.run_cell(tab, cell)["errors"]
    return driving.run_cell(tab, driving.code_cell(tab, check))["output"]


# ---- the quiz -------------------------------------------------------------------------------------------------------


def test_a_choice_of_the_quiz_unfolds_its_own_explanation(tab, first, work, shoot):
    quizzes = pytest.importorskip("kdcourse.quizzes", reason="notebooks have no quizzes yet")
    wrong = next(choice for choice in quizzes.read("00")[0]["choice"] if not choice.get("right"))
    driving.open_lesson(tab, FIRST, driving.number_of_cells(work, FIRST))
    show(tab, driving.number_of_cells(work, FIRST) - 1)
    folded = tab.locator(f"{driving.PANEL} .jp-MarkdownOutput details:has-text('✗'), {driving.PANEL} .jp-MarkdownOutput details:has-text('✓')")
    chosen = folded.filter(has_text=re.compile(re.escape(wrong["because"].split("`")[0].split("$")[0].strip()[:40]))).first
    chosen.scroll_into_view_if_needed()
    assert not chosen.evaluate("details => details.open")
    chosen.locator("summary").click()
    assert chosen.locator("p", has_text="✗ Not quite.").is_visible()
    assert folded.evaluate_all("all => all.filter(details => details.open).length") == 1
    shoot(tab, "lab-00-quiz")


# ---- the slider -----------------------------------------------------------------------------------------------------


def test_the_temperature_slider_moves_the_figure(tab, work, shoot):
    driving.open_lesson(tab, SLIDER, driving.number_of_cells(work, SLIDER))
    cell = driving.code_cell(tab, "def temperature_slider(")
    cell.locator(".cm-content").click()
    tab.keyboard.press("Escape")
    driving.menu(tab, "Run", "Run All Above Selected Cell")
    assert not [cell for cell in driving.finished(tab, 300) if cell["errors"]]
    assert not driving.run_cell(tab, cell)["errors"]
    image, slider = cell.locator(".widget-image, img.jupyter-widgets").first, cell.get_by_role("slider").first
    image.wait_for()
    before, temperature = image.get_attribute("src"), cell.locator(".widget-readout").first.inner_text()
    show(tab, cell.evaluate("cell => [...cell.parentElement.querySelectorAll(':scope > .jp-Cell')].indexOf(cell)"))
    shoot(tab, "lab-03-slider-before")
    slider.focus()
    for _ in range(20):
        tab.keyboard.press("ArrowRight")
    driving.wait(tab, "([image, before]) => image.src !== before && image.complete && image.naturalWidth > 300", [image.element_handle(), before])
    driving.finished(tab, 60)  # one picture for every step that was taken
    shoot(tab, "lab-03-slider-after")
    assert float(cell.locator(".widget-readout").first.inner_text()) > float(temperature)
