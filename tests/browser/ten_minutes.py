"""From README to a passed exercise, as somebody new does it: clone, `make lab`'s commands, the first lesson, its first exercise. Prints seconds per step.

    .venv/bin/python tests/browser/ten_minutes.py [--venv FOLDER] [--profile smoke]

--venv: use this virtual environment in the clone and leave its set-up out (the download of PyTorch takes as long as the network does). The clone
must hold what is to be tried: what is not committed is not in it. Not a test of CI: it needs minutes of a quiet machine.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import chromium
import driving

LESSON = "00_start_here"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--course", default=str(Path(__file__).resolve().parents[2]), help="what to clone")
    parser.add_argument("--venv", default=None, help="a virtual environment to use instead of making one")
    parser.add_argument("--profile", default="quick", help="quick, as a learner has it, or smoke")
    options = parser.parse_args()
    if missing := chromium.missing():
        raise SystemExit(missing)
    steps = []
    with tempfile.TemporaryDirectory(prefix="kdcourse-new-") as folder:
        try:
            _try(options, Path(folder), steps)
        finally:
            print(f"{sum(seconds for _, seconds in steps):6.0f} s in all")
    return 0


def _try(options, folder: Path, steps: list) -> None:
    """Every step of a new user; RuntimeError or an assertion where one fails."""
    from playwright.sync_api import sync_playwright

    course = folder / "kdcourse"
    with _timed(steps, "clone"):
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", Path(options.course).resolve().as_uri(), course], check=True)
    with _timed(steps, "set-up (make .venv/.ready)"):
        _set_up(course, options.venv)
    settings = {"KDCOURSE_PROFILE": options.profile, "KDCOURSE_CACHE": str(folder / "cache"), "PYTHONPATH": str(course)}
    os.chdir(course)
    with _timed(steps, "make lab, until it prints its address"):
        process, address = driving.start_lab(folder / "work", settings, command=(course / ".venv" / "bin" / "kdcourse",))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium.path(), args=chromium.ARGUMENTS)
            _in_the_browser(browser.new_page(viewport=chromium.WIDE), address, folder / "work", steps)
            browser.close()
    finally:
        driving.stop_lab(process)


def _set_up(course: Path, venv: str | None) -> None:
    if venv:
        (course / ".venv").symlink_to(Path(venv).resolve())
    else:
        subprocess.run(["make", ".venv/.ready"], cwd=course, check=True, stdout=subprocess.DEVNULL)


def _in_the_browser(tab, address: str, work: Path, steps: list) -> None:
    with _timed(steps, "the first lesson is open"):
        tab.goto(address, timeout=120_000)
        driving.open_lesson(tab, LESSON, driving.number_of_cells(work, LESSON))
    with _timed(steps, "Run All, every cell"):
        cells = driving.run_all(tab, 1200)
        assert not any(cell["errors"] for cell in cells), "a cell shows an error"
    print("   ", [cell["output"].split("(")[0].split(" effect")[0][:40].strip() for cell in cells if "kd.judge(" in cell["source"]])
    with _timed(steps, "the first exercise, answered wrongly and then rightly"):
        for answer, said in (("times_too_small = 20", "That is T."), ("times_too_small = 20**2", "✓ Right")):
            cell = driving.code_cell(tab, "times_too_small =")
            driving.write(tab, cell, answer)
            driving.run_cell(tab, cell)
            shown = driving.run_cell(tab, driving.code_cell(tab, "missing_factor("))["output"]
            assert said in shown, f"the check says: {shown}"


@contextlib.contextmanager
def _timed(steps: list, name: str):
    """Print what a step took."""
    begun, outcome = time.monotonic(), "  FAILED"
    try:
        yield
        outcome = ""
    finally:
        steps.append((name, time.monotonic() - begun))
        print(f"{steps[-1][1]:6.0f} s  {name}{outcome}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
