"""JupyterLab as its users drive it: the server started with `kdcourse lab`, notebooks through menus, keys and what can be seen."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ADDRESS = re.compile(r"http://localhost:(\d+)/\S*\?token=(\w+)")


def free_port() -> int:
    """A port nobody listens to at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_lab(work, settings: dict, command=(sys.executable, "-m", "kdcourse.cli"), seconds: float = 90) -> tuple:
    """Start `kdcourse lab --no-browser` on copies in `work`; the process and the address with its token that it printed.

    settings: environment variables on top of ours. Raises RuntimeError with what was printed where no address comes.
    """
    work = Path(work)
    root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    said = work.parent / "lab.log"
    with said.open("w") as log:
        process = subprocess.Popen([*command, "lab", "--no-browser", "--port", str(free_port()), "--work", str(work), *root],
                                   env={**os.environ, **own_settings(work.parent), **settings}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if found := ADDRESS.search(said.read_text()):
            return process, found.group(0)
        time.sleep(0.2)
    stop_lab(process)
    raise RuntimeError(f"no address of JupyterLab after {seconds:.0f} s:\n{said.read_text()}")


def own_settings(folder) -> dict:
    """Environment variables that keep JupyterLab from reading or writing the user's own settings."""
    names = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    return {name: str(Path(folder) / f"jupyter-{part}") for name, part in names.items()}


def stop_lab(process) -> None:
    """Ask the server to end, with its kernels, and wait for it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# ---- in the tab -----------------------------------------------------------------------------------------------------

PANEL = ".jp-NotebookPanel:not(.lm-mod-hidden)"
# What a cell shows. textContent, because Chromium leaves out of innerText what lies outside the window.
CELLS = f"""() => [...document.querySelectorAll('{PANEL} .jp-Notebook .jp-Cell')].map(cell => ({{
  code: cell.classList.contains('jp-CodeCell'),
  folded: !!cell.querySelector('.jp-InputPlaceholder'),
  prompt: cell.querySelector('.jp-InputPrompt')?.textContent ?? '',
  source: cell.querySelector('.jp-InputArea')?.textContent ?? '',
  output: [...cell.querySelectorAll('.jp-OutputArea-output')].map(part => part.textContent).join('\\n'),
  errors: cell.querySelectorAll('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').length,
  images: [...cell.querySelectorAll('.jp-OutputArea-output img')].map(image => image.naturalWidth),
}}))"""


def menu(tab, name: str, item: str) -> None:
    """Choose an item of JupyterLab's menu bar."""
    tab.get_by_role("menuitem", name=name, exact=True).click()
    tab.get_by_role("menuitem", name=item, exact=True).click()


def open_lesson(tab, slug: str, cells: int):
    """The panel of a lesson's notebook with its `cells` cells, opened from the file browser unless it is in front already."""
    tab.locator(".jp-DirListing-item").first.wait_for()
    if slug not in (tab.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-current").first.text_content() or ""):
        tab.locator(f".jp-DirListing-item[title*='{slug}']").dblclick()
    tab.locator(f"{PANEL}[aria-label*='{slug}'], {PANEL} .jp-Cell").first.wait_for()
    wait(tab, f"cells => document.querySelectorAll('{PANEL} .jp-Notebook .jp-Cell').length === cells", cells)
    tab.locator(f"{PANEL} .jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    return tab.locator(PANEL)


def number_of_cells(work, slug: str) -> int:
    """How many cells the learner's copy of a lesson has."""
    return len(json.loads((Path(work) / f"{slug}.ipynb").read_text(encoding="utf-8"))["cells"])


def wait(tab, condition: str, argument=None, seconds: float = 60) -> None:
    """Wait until a JavaScript expression holds in the tab."""
    tab.wait_for_function(condition, arg=argument, timeout=1000 * seconds)


def run_all(tab, seconds: float) -> list[dict]:
    """Run > Run All Cells, and wait until no cell waits any more; the cells, see CELLS."""
    menu(tab, "Run", "Run All Cells")
    return finished(tab, seconds)


def finished(tab, seconds: float) -> list[dict]:
    """Wait until the kernel has done all that was asked of it; the cells, see CELLS."""
    tab.wait_for_timeout(500)  # until the stars of what was asked for are there
    waiting = f"[...document.querySelectorAll('{PANEL} .jp-InputPrompt')].some(prompt => prompt.textContent.includes('*'))"
    wait(tab, f"() => !{waiting} && document.querySelector('{PANEL} .jp-Notebook-ExecutionIndicator').dataset.status === 'idle'", seconds=seconds)
    return tab.evaluate(CELLS)


def code_cell(tab, text: str):
    """The code cell whose code begins with `text`."""
    cells = tab.evaluate(CELLS)
    (index,) = [number for number, cell in enumerate(cells) if cell["code"] and text in cell["source"]]
    return tab.locator(f"{PANEL} .jp-Notebook .jp-Cell").nth(index)


def write(tab, cell, code: str) -> None:
    """Replace a cell's code through its editor: click into it, select all, put in."""
    cell.locator(".cm-content").click()
    tab.keyboard.press("ControlOrMeta+a")
    tab.keyboard.insert_text(code)  # as from the clipboard, so that the editor closes no brackets of its own


def run_cell(tab, cell, seconds: float = 60) -> dict:
    """Shift+Enter in a cell; what it then shows, see CELLS."""
    cell.locator(".cm-content").click()
    tab.keyboard.press("Shift+Enter")
    index = cell.evaluate("cell => [...cell.parentElement.querySelectorAll(':scope > .jp-Cell')].indexOf(cell)")
    return finished(tab, seconds)[index]
