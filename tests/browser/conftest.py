"""A real browser for the tests in this folder: the system's Chromium, cut off from everything but this machine.

Screenshots go to build/browser/, those of failed tests as FAILED-*.png. Without playwright or a Chromium the tests are skipped and say so; in CI
(where $CI is set) they fail. $KDCOURSE_CHROMIUM names another browser of the Chromium family.
"""

import os
import re
from pathlib import Path

import chromium
import pytest
from chromium import SHOTS, complaints, opened, outside

from kdcourse import lesson


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, one for the tests of a file."""
    if missing := chromium.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing, **({"pytrace": False} if os.environ.get("CI") else {}))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium.path(), args=chromium.ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def open_tab(browser):
    """A function that opens a tab of its own context (keywords as for a context); what it asks for and complains of is recorded."""
    contexts = []

    def open_one(**settings):
        context = browser.new_context(**{"viewport": chromium.WIDE, "service_workers": "block", **settings})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(60_000)
        context.on("request", lambda request: chromium.note_request(request.url))
        tab.on("websocket", lambda socket: chromium.note_request(socket.url))
        tab.on("pageerror", lambda error: complaints.append(f"{tab.url}: {error}"))
        tab.on("console", lambda said: complaints.append(f"{tab.url}: {said.text}") if said.type == "error" else None)
        opened.append(tab)
        return tab

    yield open_one
    for context in contexts:
        context.close()
    opened.clear()


@pytest.fixture(autouse=True)
def _nothing_leaves_and_nobody_complains():
    """Every test fails on a request that leaves this machine, and on an error in the browser's console."""
    yield
    left, said = sorted(set(outside)), sorted(set(complaints))  # of the fixtures that came before this test as well
    outside.clear()
    complaints.clear()
    assert not left, f"requests that left this machine: {left}"
    assert not said, f"errors in the browser's console: {said}"


@pytest.fixture(scope="session")
def shoot():
    """A function that keeps a screenshot of a tab, or of a part of it, as build/browser/NAME.png."""

    def keep(seen, name: str, **settings) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        temporary = SHOTS / f".{name}.png"
        seen.screenshot(path=temporary, **settings)
        temporary.replace(SHOTS / f"{name}.png")

    return keep


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """After a failure, keep a picture of every tab that is open."""
    report = yield
    if report.failed and call.when != "teardown":
        for number, tab in enumerate(tab for tab in opened if not tab.is_closed()):
            SHOTS.mkdir(parents=True, exist_ok=True)
            try:
                tab.screenshot(path=SHOTS / f"FAILED-{re.sub(r'[^a-z0-9_]+', '-', item.name)}-{number}.png", timeout=10_000)
            except Exception as problem:  # of any kind: the failure itself is what matters
                print(f"no picture of {tab.url}: {problem}")
    return report


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site: build/site, or $KDCOURSE_SITE."""
    folder = Path(os.environ.get("KDCOURSE_SITE") or lesson.ROOT / "build" / "site")
    if not (folder / "index.html").exists():
        pytest.fail(f"no site in {folder}; run: make site", pytrace=False)
    return folder
