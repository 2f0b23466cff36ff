"""The decks in a real browser: nothing overflows, formulas are set, nothing is asked of a network, axe finds nothing, print and speaker's view work.

Needs the extras `site` and `browser` and a Chromium; skipped without them. Screenshots of the main figures go to build/browser/.
"""

import shutil

import pytest

from kdcourse import lesson, notebooks, slides

pytest.importorskip("sphinx_revealjs", reason="the extra `site` is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage"
)
SLUGS = [source.slug for source in notebooks.lessons()]
READY = "window.Reveal && Reveal.isReady()"
SMALLEST = 20  # px of text on a slide 1280 wide; printed lines and code may go down to 14

# What sticks out of the slide that is shown, and the sizes of its text.
MEASURE = """() => {
  const frame = Reveal.getCurrentSlide().querySelector('.frame');
  const parts = [frame, ...frame.querySelectorAll('.body, .text, .media, pre')];
  const over = parts.filter(e => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1).map(e => e.className || e.tagName);
  const box = frame.getBoundingClientRect(), scale = box.width / 1280;
  const out = [...frame.querySelectorAll('p, li, table, pre, img, mjx-container')].filter(e => {
    const b = e.getBoundingClientRect(); return b.bottom > box.bottom + 1 || b.right > box.right + 1; }).map(e => e.tagName + ' outside');
  const images = [...frame.querySelectorAll('img')].map(e => Math.min(e.clientWidth, e.naturalWidth * e.clientHeight / e.naturalHeight));
  return { over: [...over, ...out], size: parseFloat(getComputedStyle(frame).fontSize), print: [...frame.querySelectorAll('pre')].map(e => parseFloat(getComputedStyle(e).fontSize)), images, scale };
}"""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    out = tmp_path_factory.mktemp("slides")
    slides.build(notebooks.lessons(), out)
    return out


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    """A page of a projector's size; what it asked for or complained of is in `troubles`."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.troubles = []
    page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:", "about:")) else page.troubles.append(request.url))
    page.on("requestfailed", lambda request: page.troubles.append(f"failed: {request.url}"))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("console", lambda message: page.troubles.append(message.text) if message.type == "error" else None)
    yield page
    page.close()


def show(page, decks, slug, query=""):
    """Open a deck and wait until it is laid out; how many slides it has."""
    page.goto((decks / f"{slug}.html").as_uri() + query)
    page.wait_for_function(READY, timeout=120_000)
    return page.evaluate("Reveal.getTotalSlides()")


@pytest.mark.parametrize("slug", SLUGS)
def test_everything_fits_formulas_are_set_and_nothing_is_fetched(tab, decks, slug):
    count = show(tab, decks, slug)
    assert 8 <= count <= 16
    pictures = lesson.ROOT / "build" / "browser"
    for position in range(count):
        tab.evaluate(f"Reveal.slide({position})")
        found = tab.evaluate(MEASURE)
        assert found["over"] == [], f"slide {position + 1}"
        assert found["size"] >= SMALLEST, f"slide {position + 1}"
        assert all(size >= 14 for size in found["print"]), f"slide {position + 1}"
        assert all(width >= 500 for width in found["images"]), f"slide {position + 1}"
        if tab.evaluate("Reveal.getCurrentSlide().id") == "main":
            tab.screenshot(path=pictures / f"slides-{slug[:2]}.png")
    assert tab.troubles == []
    assert tab.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert tab.evaluate("[...document.querySelectorAll('.slides .frame')].map(e => e.textContent).filter(t => t.includes('$'))") == []


@pytest.mark.parametrize("slug", [SLUGS[5], SLUGS[-1]])
def test_axe_finds_nothing_in_light_and_dark(tab, decks, slug):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    count = show(tab, decks, slug)
    for tone in ("light", "dark"):
        assert tab.evaluate("tone => document.documentElement.classList.contains(tone)", tone)
        for position in range(count):
            tab.evaluate(f"Reveal.slide({position})")
            tab.wait_for_timeout(50)
            violations = axe.run(tab).response["violations"]
            assert [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in violations] == [], f"slide {position + 1}, {tone}"
        tab.keyboard.press("d")


def test_the_index_leads_to_a_deck_and_passes_axe(tab, decks):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab.goto((decks / "index.html").as_uri())
    assert axe.run(tab).response["violations"] == []
    tab.troubles.clear()  # axe itself asks for the style sheets
    tab.get_by_role("link", name="01 · ").click()
    tab.wait_for_function(READY)
    assert "Soft targets" in tab.locator("h1").inner_text()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate("Reveal.getIndices().h") == 1
    assert tab.troubles == []


def test_print_has_a_page_a_slide_and_notes_if_asked_for(tab, decks):
    count = show(tab, decks, SLUGS[1])
    for query, least, most in (("?print-pdf", 0, 0), ("?print-pdf&showNotes=separate-page", count // 2, count)):
        show(tab, decks, SLUGS[1], query)
        # Reveal says that it is ready before it has cut the deck into pages, a frame or more later.
        tab.wait_for_function("count => document.querySelectorAll('.pdf-page').length === count", arg=count, timeout=30_000)
        assert tab.locator(".pdf-page").count() == count
        assert least <= tab.locator(".speaker-notes-pdf").count() <= most
        assert tab.evaluate("[...document.querySelectorAll('.pdf-page')].filter(page => page.querySelector('.frame').scrollHeight > page.clientHeight + 1).length") == 0


def test_the_speaker_s_view_shows_the_notes(tab, decks):
    show(tab, decks, SLUGS[1])
    with tab.context.expect_page() as opened:
        tab.keyboard.press("s")
    speaker = opened.value
    speaker.wait_for_function("document.querySelector('.speaker-controls-notes .value')?.innerText.includes('Aim')", timeout=30_000)
    assert "Everybody can say what a teacher knows" in speaker.locator(".speaker-controls-notes .value").inner_text()
    speaker.close()
