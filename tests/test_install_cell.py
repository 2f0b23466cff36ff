"""The install cell: nothing where the course is installed, the course and what it needs where it is not, one clear message where that fails."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kdcourse import install_cell, lesson

PYPROJECT = tomllib.loads((lesson.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Stands for pip: notes what it is asked for, fails where a file says so.
PIP = """
import os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
(home / "pip").write_text(" ".join(sys.argv[1:]))
if (home / "no-network").exists():
    sys.exit("ERROR: No matching distribution found for torch")
"""


@pytest.fixture
def machine(tmp_path):
    """A machine without the course: run(code, address=…) → the ended process. Its home is tmp_path/home."""
    for name in ("home", "elsewhere", "lib/pip"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib" / "pip" / "__main__.py").write_text(PIP)
    (tmp_path / "lib" / "pip" / "__init__.py").write_text("")
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "TMPDIR")}

    def run(after="", cell=None, library="lib", where="elsewhere", **extra):
        environment = {**keep, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path / library), "GIT_CONFIG_NOSYSTEM": "1", **extra}
        code = f"{cell or install_cell.text()}\n{after}"
        return subprocess.run([sys.executable, "-S", "-c", code], cwd=tmp_path / where, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture
def published(tmp_path):
    """A repository that holds a course: its address."""
    root = tmp_path / "published"
    _course(root)
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "a course"]):
        subprocess.run(["git", *command], cwd=root, check=True, capture_output=True)
    return root.as_uri()


def _course(root, claims=True) -> Path:
    (root / "kdcourse").mkdir(parents=True)
    (root / "kdcourse" / "__init__.py").write_text("")
    if claims:
        (root / "claims.toml").write_text("")
    return root


SAY = "import kdcourse; print('at', kdcourse.__file__)"


def test_it_fetches_the_course_once_and_imports_it(machine, published, tmp_path):
    fetched = tmp_path / "home" / ".cache" / "kdcourse" / "course"
    first = machine(SAY, KDCOURSE_REPOSITORY=published)
    assert first.returncode == 0, first.stderr
    assert f"fetching the course from {published} into {fetched}" in first.stdout
    assert f"at {fetched / 'kdcourse'}" in first.stdout
    again = machine(SAY, KDCOURSE_REPOSITORY=published)
    assert again.returncode == 0
    assert "fetching" not in again.stdout
    assert f"at {fetched / 'kdcourse'}" in again.stdout


def test_the_baked_address_is_used_where_no_other_is_set(machine, published, tmp_path):
    root = tmp_path / "author"
    root.mkdir()
    text = (lesson.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (root / "pyproject.toml").write_text(re.sub('repository = ".*?"', f'repository = "{published}"', text), encoding="utf-8")
    ended = machine(SAY, install_cell.text(root))
    assert ended.returncode == 0, ended.stderr
    assert f"fetching the course from {published}" in ended.stdout


def test_where_the_course_is_installed_nothing_happens(machine, tmp_path):
    _course(tmp_path / "lib-with-course")
    (tmp_path / "lib-with-course" / "pip").symlink_to(tmp_path / "lib" / "pip")
    ended = machine(SAY, library="lib-with-course", KDCOURSE_REPOSITORY="https://127.0.0.1:1/never-asked")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"at {tmp_path / 'lib-with-course' / 'kdcourse' / '__init__.py'}\n"
    assert not (tmp_path / "home" / "pip").exists()


def test_a_package_without_its_course_gets_it(machine, published, tmp_path):
    """As after installing a plain wheel: the package is there, its claims and data are not."""
    _course(tmp_path / "lib-with-wheel", claims=False)
    (tmp_path / "lib-with-wheel" / "pip").symlink_to(tmp_path / "lib" / "pip")
    ended = machine(SAY, library="lib-with-wheel", KDCOURSE_REPOSITORY=published)
    assert f"at {tmp_path / 'home' / '.cache' / 'kdcourse' / 'course'}" in ended.stdout, ended.stderr


def test_a_copy_of_the_course_around_the_notebook_is_used_without_a_network(machine, tmp_path):
    _course(tmp_path / "copy")
    (tmp_path / "copy" / "notebooks").mkdir()
    ended = machine(SAY, where="copy/notebooks")
    assert f"at {tmp_path / 'copy' / 'kdcourse'}" in ended.stdout, ended.stderr
    assert "fetching" not in ended.stdout


def _message(ended) -> list[str]:
    """What the exception says, where nothing renders it."""
    assert ended.returncode == 1
    return ended.stderr.split("CourseMissing: ", 1)[1].strip().splitlines()


@pytest.mark.skipif(bool(PYPROJECT["tool"]["kdcourse"]["repository"]), reason="the course has an address")
def test_without_an_address_it_says_what_to_set(machine, tmp_path):
    said = " ".join(_message(machine()))
    assert "KDCOURSE_REPOSITORY" in said
    assert str(tmp_path / "home" / ".cache" / "kdcourse" / "course") in said


def test_without_a_network_it_says_which_command_failed(machine, tmp_path):
    said = _message(machine(KDCOURSE_REPOSITORY="https://127.0.0.1:1/course"))
    assert "no network?" in said[0]
    assert said[1].strip().startswith("git clone --quiet --depth 1 https://127.0.0.1:1/course")
    assert not (tmp_path / "home" / ".cache" / "kdcourse" / "course" / "claims.toml").exists()


def test_without_git_or_packages_it_says_so(machine, published, tmp_path):
    assert _message(machine(KDCOURSE_REPOSITORY=published, PATH=str(tmp_path)))[0].startswith("git could not be started")
    (tmp_path / "home" / "no-network").write_text("")
    said = _message(machine(KDCOURSE_REPOSITORY=published))
    assert "-m pip install" in said[1]
    assert said[2] == "ERROR: No matching distribution found for torch"


def test_in_a_notebook_the_message_comes_without_a_traceback(machine, tmp_path):
    """In the shell of a kernel, which asks an exception how it wants to be shown."""
    code = f"""
import os, sys
from unittest import mock
from IPython.core.interactiveshell import InteractiveShell
os.chdir({str(tmp_path)!r})
with mock.patch("importlib.util.find_spec", return_value=None):
    InteractiveShell.instance().run_cell({install_cell.text()!r})
"""
    environment = os.environ | {"HOME": str(tmp_path), "KDCOURSE_REPOSITORY": "https://127.0.0.1:1/course", "IPYTHONDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert "This did not work (no network?):" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "find_or_fetch" not in ended.stdout + ended.stderr


def test_what_is_installed_follows_pyproject_and_keeps_an_older_torch(machine, published, tmp_path):
    machine(KDCOURSE_REPOSITORY=published)
    asked = (tmp_path / "home" / "pip").read_text().removeprefix("install --quiet ").split()
    names = {re.split("[<>=!]", entry)[0]: entry for entry in asked}
    wanted = {re.split("[<>=!]", entry)[0]: entry for entry in PYPROJECT["project"]["dependencies"]}
    assert set(names) == set(wanted) - set(install_cell.OUTSIDE)
    older = {entry.split(">=")[0]: entry for entry in PYPROJECT["tool"]["kdcourse"]["runs-with"]}
    assert set(older) == {"torch", "torchvision"}
    for name, entry in names.items():
        assert entry == older.get(name, wanted[name])
        if name in older:
            assert [int(x) for x in entry.split(">=")[1].split(".")] <= [int(x) for x in wanted[name].split(">=")[1].split(".")]
    assert not {"--upgrade", "-U", "--force-reinstall"} & set(asked)


def test_a_learner_can_read_it():
    text = install_cell.text()
    assert text.startswith("# Where the course is installed, this cell does nothing.")
    assert len(text.splitlines()) <= 40
    compile(text, "install cell", "exec")
