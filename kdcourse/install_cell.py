"""The first code cell of every notebook: it finds the course, or fetches it where it is missing. Its text is made here and nowhere else."""

import json
import tomllib
from pathlib import Path

from kdcourse import lesson

TAG = "install"
# Not needed by a notebook that is already open: the server, the kernel, and what executes notebooks from outside.
OUTSIDE = ("ipykernel", "jupyterlab", "papermill")

TEXT = '''\
# Where the course is installed, this cell does nothing. Elsewhere (on Colab, say) it fetches the course and what it needs, once.
def find_or_fetch_the_course():
    import importlib.util, os, subprocess, sys
    from pathlib import Path

    class CourseMissing(Exception):
        def _render_traceback_(self):  # shown as its message alone
            return str(self).splitlines()

    def run(*command):
        try:
            ended = subprocess.run(command, capture_output=True, text=True)
        except OSError as problem:
            raise CourseMissing(f"{command[0]} could not be started: {problem}") from None
        if ended.returncode:
            said = (ended.stderr.strip() or "it says nothing").splitlines()[-1]
            raise CourseMissing(f"This did not work (no network?):\\n    {' '.join(command)}\\n{said}\\nRepeat it in a terminal, then run this cell again.")

    found, here = importlib.util.find_spec("kdcourse"), Path.cwd()
    installed = [Path(found.origin).parents[1]] if found and found.origin else []
    places = [*installed, here, *here.parents, Path.home() / ".cache" / "kdcourse" / "course"]
    course = next((place for place in places if (place / "claims.toml").exists()), None)
    if installed and course:
        return
    if course is None:
        address, course = os.environ.get("KDCOURSE_REPOSITORY") or {address!r}, places[-1]
        if not address:
            raise CourseMissing(f"The course is not on this machine. Put a copy of it into {course},\\nor tell where it can be cloned from, in a cell above this one:\\n    %env KDCOURSE_REPOSITORY=https://...\\nThen run this cell again.")
        print(f"fetching the course from {address} into {course}")
        run("git", "clone", "--quiet", "--depth", "1", address, str(course))
    print("installing what it lacks: seconds, or minutes where PyTorch is missing")
    run(sys.executable, "-m", "pip", "install", "--quiet", *{needs!r}.split())
    sys.path.insert(0, str(course))


find_or_fetch_the_course()
'''


def text(root=None) -> str:
    """The cell's code for the course in `root`: with its address, if it has one, and the packages that a lesson imports."""
    own = _pyproject(root)
    settings, wanted = own.get("tool", {}).get("kdcourse", {}), own.get("project", {}).get("dependencies", [])
    needs = {_name(entry): entry for entry in wanted} | {_name(entry): entry for entry in settings.get("runs-with", [])}
    packages = " ".join(needs[name] for name in sorted(needs) if name not in OUTSIDE)
    return TEXT.replace("{address!r}", _quoted(settings.get("repository", ""))).replace("{needs!r}", _quoted(packages)).strip()


def _pyproject(root) -> dict:
    """pyproject.toml of the course in `root`, or of the one that runs; empty where neither has one."""
    paths = [Path(place) / "pyproject.toml" for place in (root, lesson.ROOT) if place]
    path = next((path for path in paths if path.exists()), None)
    return tomllib.loads(path.read_text(encoding="utf-8")) if path else {}


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _name(requirement: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(requirement).name
