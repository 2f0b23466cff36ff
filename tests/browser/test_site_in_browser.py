"""The built site as its readers meet it: from a server and from a folder, in light and dark, wide and narrow, with mouse and keys.

Reads build/site (make site), or the folder $KDCOURSE_SITE. Every page is opened once and looked at by axe; what axe finds of lesser impact is kept in
build/browser/axe.json.
"""

import functools
import http.server
import io
import re
import threading
from pathlib import Path

import nbformat
import pytest
from chromium import SHOTS, WIDE, complaints, outside

from kdcourse import lesson

LESSON, FORMULAS = "lessons/00_start_here.html", "lessons/03_temperature.html"
NARROW = {"width": 375, "height": 740}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture(scope="module")
def served(site):
    """The address of a server that shows the site."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def tab(browser, open_tab, served):
    return open_tab(base_url=f"{served}/", reduced_motion="reduce", color_scheme="light")


# ---- finding and reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["served", "a folder"])
def test_search_finds_the_page_on_temperature(tab, served, site, shoot, kept):
    tab.goto(f"{served}/index.html" if kept == "served" else (site / "index.html").as_uri())
    tab.keyboard.press("Control+k")
    field = tab.locator("input[type=search]:visible").first
    field.fill("temperature")
    field.press("Enter")
    found = tab.locator("#search-results li a[href*='03_temperature']").first
    found.wait_for()
    shoot(tab, f"site-search-{kept.split()[-1]}")
    found.click()
    tab.wait_for_url(re.compile(r"/lessons/03_temperature\.html"))
    assert "Temperature" in tab.locator("article h1").inner_text()
    if kept == "a folder":  # no page may read another one there: results come without their excerpts, and Chromium says so
        complaints[:] = [said for said in complaints if not re.match(r"file:.*(blocked by CORS policy|Failed to fetch|ERR_FAILED)", said)]


@pytest.mark.parametrize("kept", ["served", "a folder"])
def test_formulas_are_typeset(tab, served, site, shoot, kept):
    tab.goto(f"{served}/{FORMULAS}" if kept == "served" else (site / FORMULAS).as_uri())
    tab.wait_for_function("() => document.querySelectorAll('.math').length && [...document.querySelectorAll('.math')].every(part => part.querySelector('mjx-container'))")
    assert tab.locator("mjx-merror, [data-mjx-error]").count() == 0
    big = tab.locator("div.math mjx-container").first
    big.scroll_into_view_if_needed()
    assert big.bounding_box()["height"] > 25
    shoot(tab, f"site-formulas-{kept.split()[-1]}")


def test_a_term_leads_to_its_entry_in_the_glossary(tab, shoot):
    tab.goto(LESSON)
    link = tab.locator(".glossary-term a[href$='#term-student']").first
    link.click()
    tab.wait_for_url(re.compile(r"glossary\.html#term-student$"))
    entry = tab.locator("#term-student")
    assert "student" in entry.inner_text().lower()
    assert 0 <= entry.bounding_box()["y"] < 900
    shoot(tab, "site-glossary")


def test_the_notebook_can_be_downloaded(tab, tmp_path):
    tab.goto(LESSON)
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download the notebook").click()
    download.value.save_as(tmp_path / "lesson.ipynb")
    assert "Start here" in nbformat.read(tmp_path / "lesson.ipynb", as_version=4).cells[0].source


# ---- exercises and quiz ---------------------------------------------------------------------------------------------


def test_solutions_are_folded_and_open_with_the_keyboard(tab, shoot):
    tab.goto(LESSON)
    solutions = tab.locator("details.solution")
    assert solutions.count() == 3
    assert solutions.evaluate_all("all => all.every(one => !one.open)")
    code = solutions.first.locator("pre").first
    assert not code.is_visible()
    solutions.first.locator("summary").focus()
    tab.keyboard.press("Enter")
    assert code.is_visible()
    assert "20**2" in code.inner_text()
    shoot(tab, "site-solution")


def test_a_choice_of_the_quiz_unfolds_its_own_explanation(tab, shoot):
    quizzes = pytest.importorskip("kdcourse.quizzes", reason="notebooks have no quizzes yet")
    question = quizzes.read("00", lesson.ROOT)[0]
    tab.goto(LESSON)
    section = tab.locator("section", has=tab.get_by_role("heading", name=re.compile("Check yourself"))).last
    folded = section.locator("details")
    assert folded.count() == sum(len(one["choice"]) for one in quizzes.read("00", lesson.ROOT))
    number = next(number for number, choice in enumerate(question["choice"]) if not choice.get("right"))
    because = plain(question["choice"][number]["because"])
    assert not folded.nth(number).evaluate("details => details.open")
    folded.nth(number).locator("summary").focus()
    tab.keyboard.press("Enter")
    said = plain(folded.nth(number).inner_text())
    assert "✗ Not quite." in said
    assert because[:30] in said
    assert folded.evaluate_all("all => all.filter(details => details.open).length") == 1
    shoot(tab, "site-quiz")


def plain(text: str) -> str:
    """Text without Markdown's marks, spaces as one."""
    return " ".join(re.sub(r"[*_`$\\]", "", text).replace("’", "'").split())


# ---- what moves -----------------------------------------------------------------------------------------------------


def test_the_temperature_slider_moves_the_bars(tab, shoot):
    tab.goto(FORMULAS)
    slider = tab.locator("#temperature-slider")
    slider.scroll_into_view_if_needed()
    before = tab.locator(".temperature .fill").evaluate_all("bars => bars.map(bar => bar.style.width)")
    slider.focus()
    for _ in range(30):
        tab.keyboard.press("ArrowRight")
    assert tab.locator(".temperature .fill").evaluate_all("bars => bars.map(bar => bar.style.width)") != before
    assert "T = " in slider.get_attribute("aria-valuetext")
    shoot(tab, "site-slider")


def test_the_ledger_shows_the_refuted_claims_alone(tab, shoot):
    tab.goto("claims.html")
    rows = tab.locator("table#ledger tbody tr:visible")
    everything = rows.count()
    tab.locator("#verdict-filter").select_option("REFUTED")
    assert 0 < rows.count() < everything
    assert all("REFUTED" in text for text in rows.all_inner_texts())
    shoot(tab, "site-claims-refuted")


def test_dark_mode_keeps_figures_readable(tab, shoot):
    from PIL import Image, ImageStat

    def look(name: str):
        figure = tab.locator("main .cell_output img").nth(1)
        figure.scroll_into_view_if_needed()
        shoot(tab, name)
        picture = Image.open(io.BytesIO(figure.screenshot())).convert("L")
        return luminance(tab), ImageStat.Stat(picture).stddev[0]

    tab.goto(LESSON)
    light, spread = look("site-light")
    choose_theme(tab, "dark")
    dark, dark_spread = look("site-dark")
    assert light > 0.8
    assert dark < 0.1
    assert dark_spread > 0.6 * spread, "the figure's lines come too near to its ground"
    tab.reload()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark", "the choice is forgotten on the next page"
    choose_theme(tab, "light")


def choose_theme(tab, wanted: str) -> None:
    """Through the page's own switch."""
    tab.locator(".theme-switch-button:visible").first.click()
    item = tab.locator(f".theme-switch-container :visible[data-mode={wanted}], .dropdown-menu :visible[data-bs-theme-value={wanted}]")
    if item.count():
        item.last.click()
    for _ in range(3):  # a switch without a menu goes from one mode to the next
        if tab.evaluate("document.documentElement.dataset.mode") != wanted:
            tab.locator(".theme-switch-button:visible").first.click()
    tab.wait_for_function("wanted => document.documentElement.dataset.theme === wanted", arg=wanted)


def luminance(tab) -> float:
    """Of the page's ground, between 0 and 1."""
    colour = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(value) for value in re.findall(r"\d+", colour)[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


# ---- every page -----------------------------------------------------------------------------------------------------

# What all pages share (the sidebar, the colours of code) is looked at on these, one of each kind; from the others it is taken out first: axe's time
# grows with everything that is on a page, also with what it is not asked about.
WHOLE = ("index.html", "search.html", LESSON, "claims.html", "claims/00.html", "api/losses.html", "instructor/00.html", "figures.html")
STRIP = "() => document.querySelectorAll('.highlight > pre, mjx-container, .bd-sidebar-primary, .bd-sidebar-secondary').forEach(part => part.replaceChildren())"
AXE = """async ([whole, rules]) => {
  const context = whole ? document : {include: [['main']], exclude: [['.highlight'], ['mjx-container'], ['.bd-sidebar-secondary']]};
  const found = await axe.run(context, {resultTypes: ['violations'], preload: false, elementRef: false, ...(rules ? {runOnly: rules} : {})});
  return found.violations.map(one => ({rule: one.id, impact: one.impact, help: one.help, where: one.nodes.map(node => node.target.join(' '))})); }"""
LOOK = """() => ({
  width: document.documentElement.scrollWidth,
  unset: [...document.querySelectorAll('.math')].filter(part => !part.querySelector('mjx-container')).length + document.querySelectorAll('mjx-merror').length,
  empty: [...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src),
  cut: [...document.querySelectorAll('main :is(p, li, dt, dd, h1, h2, h3, td, th, pre, img, span)')].filter(part => {
    for (let around = part; around && around.tagName !== 'MAIN'; around = around.parentElement) if (/auto|scroll/.test(getComputedStyle(around).overflowX)) return false;
    const box = part.getBoundingClientRect(); return box.width > 1 && box.height > 1 && box.right > innerWidth + 1 && !part.closest('mjx-assistive-mml, .visually-hidden, .sr-only'); }).map(part => part.textContent.slice(0, 60)),
  mute: [...document.images].filter(image => !image.hasAttribute('alt')).map(image => image.src) })"""


@pytest.fixture(scope="module")
def pages(site):
    return sorted(str(path.relative_to(site).as_posix()) for path in site.rglob("*.html") if not {"_static", "slides"} & set(path.parts))


@pytest.fixture(scope="module")
def seen(open_tab, served, pages):
    """What was seen on every page: axe's findings in light and dark, width at 375 px, pictures and formulas. Two tabs, so that two cores work."""
    import axe_playwright_python

    script = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    tabs = [open_tab(base_url=f"{served}/", reduced_motion="reduce") for _ in range(2)]
    for tab in tabs:
        tab.set_default_timeout(180_000)
    found = {}
    for start in range(0, len(pages), 2):
        pair = list(zip(tabs, pages[start : start + 2]))
        looks = {page: _look(tab, page) for tab, page in pair}
        for tab, page in pair:
            tab.set_viewport_size(WIDE)
            tab.evaluate("() => 0" if page in WHOLE else STRIP)
            tab.evaluate(script)
        light, dark = _axe(pair, "light", None), _axe(pair, "dark", ["color-contrast"])
        found |= {page: {"light": light[page], "dark": dark[page], **looks[page]} for _, page in pair}
    SHOTS.mkdir(parents=True, exist_ok=True)
    lesser = {page: [one for theme in ("light", "dark") for one in facts[theme]] for page, facts in found.items()}
    lesson.write_json(SHOTS / "axe.json", {page: some for page, some in lesser.items() if some})
    return found


def _look(tab, page: str) -> dict:
    """The page on a telephone: its width, and what of it cannot be seen."""
    tab.set_viewport_size(NARROW)
    tab.goto(page)
    tab.evaluate("() => document.querySelectorAll('img[loading=lazy]').forEach(image => image.loading = 'eager')")
    tab.wait_for_function("() => !document.querySelector('.math') || window.MathJax?.startup?.promise")
    tab.evaluate("async () => { await window.MathJax?.startup?.promise }")
    tab.wait_for_function("() => [...document.images].every(image => image.complete)")
    return tab.evaluate(LOOK)


def _axe(pair, theme: str, rules) -> dict:
    """axe's findings on the page of each tab; the tabs work side by side."""
    for tab, page in pair:
        tab.emulate_media(color_scheme=theme)
        tab.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
        tab.evaluate(f"arguments_ => {{ window.found = ({AXE})(arguments_); }}", [page in WHOLE, rules])
    return {page: tab.evaluate("window.found") for tab, page in pair}


def told(found: dict) -> str:
    """What was found, page by page, one line each; empty where nothing was."""
    return "\n".join(f"{page}: {what}" for page, what in found.items() if what)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(seen, theme):
    serious = {page: [(one["rule"], one["where"][:3]) for one in facts[theme] if one["impact"] in ("serious", "critical")] for page, facts in seen.items()}
    assert not told(serious)


def test_no_page_scrolls_sideways_on_a_telephone(seen):
    assert not told({page: facts["width"] for page, facts in seen.items() if facts["width"] > NARROW["width"]})


def test_nothing_is_cut_off_on_a_telephone(seen):
    """Wide tables, code and formulas scroll in a box of their own; nothing else may stand where nobody can scroll to."""
    assert not told({page: facts["cut"][:3] for page, facts in seen.items()})


@pytest.mark.parametrize(("what", "name"), [("formulas that were not set", "unset"), ("pictures that are not there", "empty"), ("pictures without alt", "mute")])
def test_every_formula_is_set_and_every_picture_is_there_with_its_text(seen, pages, what, name):
    assert len(seen) == len(pages) > 40
    assert not told({page: facts[name] for page, facts in seen.items()}), what


def test_axe_would_find_a_faint_text(tab):
    """The control: the same call finds a text of too little contrast."""
    import axe_playwright_python

    tab.goto("search.html")
    tab.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    tab.evaluate("() => document.querySelector('main article, main').insertAdjacentHTML('afterbegin', '<p style=\"color:#ccc;background:#fff\">faint</p>')")
    found = tab.evaluate(AXE, [False, ["color-contrast"]])
    assert [one["impact"] for one in found] == ["serious"]


def test_a_request_that_leaves_this_machine_would_be_noticed(open_tab):
    """The control: it is noted, and it fails."""
    tab = open_tab()
    with tab.expect_event("requestfailed") as failed, tab.expect_console_message():
        tab.set_content("<img src='https://kdcourse.example/a.png' alt=''>", wait_until="commit")
    assert "ERR_NAME_NOT_RESOLVED" in failed.value.failure
    assert outside == ["https://kdcourse.example/a.png"]
    assert complaints
    outside.clear()
    complaints.clear()


# ---- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_of_the_pages(open_tab, served, pages, shoot, theme):
    """No judgement but a person's: one page of each kind, wide and narrow, as build/browser/page-*.png."""
    wide, narrow = (open_tab(base_url=f"{served}/", color_scheme=theme, viewport=size) for size in (WIDE, NARROW))
    for page in (*WHOLE, "glossary.html", "times.html", "schedules.html", "techniques/index.html", "project.html"):
        if page in pages:
            name = page.removesuffix(".html").replace("/", "-")
            for tab, size in ((wide, "wide"), (narrow, "narrow")):
                tab.goto(page)
                tab.evaluate("() => window.MathJax?.startup?.promise")
                assert tab.locator("article h1, main h1:visible").first.is_visible()
                shoot(tab, f"page-{name}-{theme}-{size}")
