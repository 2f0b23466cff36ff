"""The system's Chromium: where it is, how it is started, and what is noted of its tabs while tests run."""

import os
import re
import shutil

from kdcourse import lesson

# --no-sandbox: Chromium refuses to start as root without it, as in a container. The last one lets no name resolve but those of this machine.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]  # fmt: skip
LOCAL = re.compile(r"(https?|wss?)://(localhost|127\.0\.0\.1)[:/]|(file|data|blob|about):")
SHOTS = lesson.ROOT / "build" / "browser"
WIDE = {"width": 1280, "height": 900}

outside, complaints, opened = [], [], []  # requests that leave this machine, console errors, and the tabs that are open


def missing() -> str | None:
    """What is missing for a browser, and how to get it; None where all is there."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "playwright is not installed; run: make browser, or pip install -e '.[browser]'"
    asked = os.environ.get("KDCOURSE_CHROMIUM")
    if path() is None:
        return f"$KDCOURSE_CHROMIUM is {asked}, and nothing can be run there" if asked else "no Chromium on PATH; on Debian and Ubuntu: apt install chromium"
    return None


def path() -> str | None:
    """The path of the browser to drive."""
    names = [asked] if (asked := os.environ.get("KDCOURSE_CHROMIUM")) else ["chromium", "chromium-browser", "google-chrome"]
    return next(filter(None, map(shutil.which, names)), None)


def note_request(url: str) -> None:
    """Keep the address of a request that leaves this machine."""
    if not LOCAL.match(url):
        outside.append(url)
