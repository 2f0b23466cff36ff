"""`kdcourse lab`: copies are never written over, new versions come once, and JupyterLab starts or says why not."""

import json
import os
import socket
import webbrowser
from pathlib import Path

import nbformat
import pytest
from fake_course import edit, write_lesson

from kdcourse import cli, lab, lesson, notebooks


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two lessons; the path of the first one's source."""
    root = tmp_path / "course"
    path = write_lesson(root, "00_start")
    write_lesson(root, "01_tiny")
    monkeypatch.setattr(lesson, "ROOT", root)
    publish(root)
    return path


def publish(root):
    """Store the notebooks of all sources, as an update of the repository does."""
    for source in notebooks.lessons(root=root):
        notebooks.write(notebooks.make(source), root / "notebooks" / f"{source.slug}.ipynb")


def change(path, old, new):
    edit(path, old, new)
    publish(path.parents[2])


def copied(root, capsys) -> str:
    capsys.readouterr()
    assert cli.main(["lab", "--copy-only"]) == 0
    return capsys.readouterr().out


def names(root) -> list[str]:
    return sorted(path.name for path in (root / "work").iterdir())


# ---- copies ---------------------------------------------------------------------------------------------------------


def test_copies_are_the_courses_notebooks_and_remember_their_version(course, capsys):
    root = course.parents[2]
    assert copied(root, capsys).splitlines() == ["new: work/00_start.ipynb", "new: work/01_tiny.ipynb"]
    stored, copy = (nbformat.read(root / f / "00_start.ipynb", 4) for f in ("notebooks", "work"))
    assert copy.cells == stored.cells
    assert lab.base_version(copy) == lab.version(stored)
    assert copied(root, capsys) == ""
    assert names(root) == ["00_start.ipynb", "01_tiny.ipynb"]


@pytest.mark.parametrize(("old", "new"), [("6 * 7", "6 * 8"), ("Some prose.", "Some better prose.")])
def test_a_new_version_comes_once_and_beside(course, capsys, old, new):
    root = course.parents[2]
    copied(root, capsys)
    mine = root / "work" / "00_start.ipynb"
    before = mine.read_bytes().replace(b"return ...", b"return 2 * x")
    mine.write_bytes(before)
    change(course, old, new)
    said = copied(root, capsys)
    assert "the new version is work/00_start.new.ipynb. Yours is kept" in said
    assert "01_tiny" not in said
    assert mine.read_bytes() == before
    assert new in (root / "work" / "00_start.new.ipynb").read_text()
    assert copied(root, capsys) == ""
    change(course, new, "6 * 9")
    (root / "work" / "00_start.new.ipynb").write_text("my notes")  # theirs now, whatever it is
    assert "00_start.new-2.ipynb" in copied(root, capsys)
    assert (root / "work" / "00_start.new.ipynb").read_text() == "my notes"
    assert mine.read_bytes() == before


def test_an_untouched_copy_is_kept_too_and_that_is_said(course, capsys):
    root = course.parents[2]
    copied(root, capsys)
    before = (root / "work" / "00_start.ipynb").read_bytes()
    change(course, "6 * 7", "6 * 8")
    assert "You have changed nothing in yours" in copied(root, capsys)
    assert (root / "work" / "00_start.ipynb").read_bytes() == before


def test_other_outputs_are_no_new_version(course, capsys):
    root = course.parents[2]
    copied(root, capsys)
    path = root / "notebooks" / "00_start.ipynb"
    stored = nbformat.read(path, 4)
    stored.cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text="42")]
    nbformat.write(stored, path)
    assert copied(root, capsys) == ""


def test_deleted_files_come_back_only_where_they_are_the_copy(course, capsys):
    root = course.parents[2]
    copied(root, capsys)
    change(course, "6 * 7", "6 * 8")
    copied(root, capsys)
    (root / "work" / "00_start.new.ipynb").unlink()  # seen, not wanted
    assert copied(root, capsys) == ""
    (root / "work" / "00_start.ipynb").unlink()
    assert copied(root, capsys) == "new: work/00_start.ipynb\n"
    assert "6 * 8" in (root / "work" / "00_start.ipynb").read_text()


def test_an_adopted_new_version_is_current(course, capsys):
    root = course.parents[2]
    copied(root, capsys)
    change(course, "6 * 7", "6 * 8")
    copied(root, capsys)
    (root / "work" / "00_start.new.ipynb").replace(root / "work" / "00_start.ipynb")
    (root / "work" / lab.STATE).unlink()
    assert copied(root, capsys) == ""


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_lost_or_half_written_memory_offers_nothing_twice(course, capsys, text):
    root = course.parents[2]
    copied(root, capsys)
    change(course, "6 * 7", "6 * 8")
    copied(root, capsys)
    (root / "work" / lab.STATE).write_text(text)
    assert copied(root, capsys) == ""


def test_a_half_written_copy_is_named_and_kept(course, capsys):
    root = course.parents[2]
    copied(root, capsys)
    mine = root / "work" / "00_start.ipynb"
    half = mine.read_text()[:200]
    mine.write_text(half)
    said = copied(root, capsys)
    assert "work/00_start.ipynb cannot be read (it is not valid JSON" in said
    assert "It is kept as it is." in said
    assert mine.read_text() == half
    assert names(root) == ["00_start.ipynb", "01_tiny.ipynb"]


def test_a_damaged_lesson_of_the_course_is_not_copied(course, capsys):
    root = course.parents[2]
    (root / "notebooks" / "00_start.ipynb").write_text("<<<<<<< HEAD")
    assert "git checkout -- notebooks/00_start.ipynb" in copied(root, capsys)
    assert names(root) == ["01_tiny.ipynb"]


def test_a_copy_from_before_versions_goes_by_its_code(course, capsys):
    root = course.parents[2]
    copied(root, capsys)
    mine = root / "work" / "00_start.ipynb"
    old = nbformat.read(mine, 4)
    del old.metadata.kdcourse["version"]
    nbformat.write(old, mine)
    assert copied(root, capsys) == ""
    change(course, "6 * 7", "6 * 8")
    assert "newer: 00_start" in copied(root, capsys)


def test_a_folder_that_cannot_be_written_to(course, capsys):
    root = course.parents[2]
    (root / "work").write_text("a file where the folder should be")
    assert cli.main(["lab"]) == 2
    said = capsys.readouterr().err
    assert f"cannot write to {root / 'work'}" in said
    assert "--work FOLDER" in said
    assert cli.main(["lab", "--copy-only", "--work", str(root / "elsewhere")]) == 0
    assert (root / "elsewhere" / "00_start.ipynb").exists()


# ---- JupyterLab -----------------------------------------------------------------------------------------------------


@pytest.fixture
def started(course, monkeypatch):
    """What `kdcourse lab` would become, without becoming it; an ordinary user with a browser."""
    calls = []
    monkeypatch.setattr(os, "execve", lambda program, command, environment: calls.append((command, environment)))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(webbrowser, "get", lambda *_: object())
    monkeypatch.delenv("JUPYTER_PORT", raising=False)
    return calls


@pytest.fixture
def taken():
    """A port that another program listens to."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_it_opens_the_first_lesson_the_first_time_and_keeps_its_token(course, started):
    root = course.parents[2]
    cli.main(["lab"])
    cli.main(["lab"])
    (first, environment), (second, _) = started
    assert f"--ServerApp.root_dir={root / 'work'}" in first
    assert "--LabApp.default_url=/lab/tree/00_start.ipynb" in first
    assert not any("default_url" in option for option in second)
    assert not any("token" in option.lower() or "password" in option.lower() for option in first)
    assert "--no-browser" not in first
    assert "--allow-root" not in first
    assert environment["JUPYTER_PREFER_ENV_PATH"] == "1"
    quiet = Path(environment["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0]) / "labconfig" / "page_config.json"
    assert json.loads(quiet.read_text())["disabledExtensions"] == {"@jupyterlab/apputils-extension:announcements": True}
    assert environment["KDCOURSE_JOURNAL"] == str(root / "work" / ".kdcourse-runs.jsonl")


def test_copy_only_does_not_use_up_the_first_time(course, started):
    cli.main(["lab", "--copy-only"])
    assert started == []
    cli.main(["lab", "--no-browser"])
    assert "--LabApp.default_url=/lab/tree/00_start.ipynb" in started[0][0]
    assert "--no-browser" in started[0][0]


def test_a_port_in_use_gives_the_next_and_says_which(course, started, taken, monkeypatch, capsys):
    monkeypatch.setenv("JUPYTER_PORT", str(taken))
    cli.main(["lab"])
    port = next(int(option.split("=")[1]) for option in started[0][0] if option.startswith("--ServerApp.port="))
    assert taken < port < taken + lab.PORTS
    assert f"port {taken} is in use (another JupyterLab?); this one opens on port {port}" in capsys.readouterr().out


def test_a_port_asked_for_is_used_or_refused_before_anything_starts(course, started, taken, capsys):
    assert cli.main(["lab", "--port", str(taken)]) == 2
    assert f"port {taken} cannot be used (Address already in use)" in capsys.readouterr().err
    assert cli.main(["lab", "--port", "70000"]) == 2
    assert "from 1 to 65535" in capsys.readouterr().err
    assert started == []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    cli.main(["lab", "--port", str(number)])
    assert {f"--ServerApp.port={number}", "--ServerApp.port_retries=0"} <= set(started[0][0])


def test_a_refused_start_does_not_use_up_the_first_time(course, started, taken):
    cli.main(["lab", "--port", str(taken)])
    cli.main(["lab"])
    assert "--LabApp.default_url=/lab/tree/00_start.ipynb" in started[0][0]


def test_without_a_browser_the_address_is_pointed_to(course, started, monkeypatch, capsys):
    def none(*_):
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    cli.main(["lab"])
    said = capsys.readouterr().out
    assert "no web browser was found on this machine" in said
    assert "--no-browser" in said
    assert "?token=" in said
    assert "--no-browser" in started[0][0]


def test_root_is_told_what_to_do(course, started, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert cli.main(["lab"]) == 2
    assert "kdcourse lab --allow-root" in capsys.readouterr().err
    cli.main(["lab", "--allow-root"])
    assert len(started) == 1
    assert "--allow-root" in started[0][0]


def test_without_jupyterlab_there_is_advice(course, started, monkeypatch, capsys):
    real = lab.importlib.util.find_spec
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None if name == "jupyterlab" else real(name))
    assert cli.main(["lab"]) == 2
    assert "JupyterLab is not installed" in capsys.readouterr().err
    assert started == []


def test_the_memory_keeps_both_what_was_offered_and_what_was_opened(course, started, capsys):
    root = course.parents[2]
    cli.main(["lab"])
    change(course, "6 * 7", "6 * 8")
    cli.main(["lab"])
    state = json.loads((root / "work" / lab.STATE).read_text())
    assert state["opened"] is True
    assert len(state["offered"]["00_start"]) == 1
