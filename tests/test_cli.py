"""The command line: what it prints, where it writes, and with which exit code it ends."""

import json

import pytest
from fake_course import edit, executions, write_lesson

from kdcourse import cli, execution, lesson, notebooks


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one lesson that takes the place of the real one; the path of the lesson's source."""
    path = write_lesson(tmp_path / "course")
    monkeypatch.setattr(lesson, "ROOT", tmp_path / "course")
    return path


def test_unknown_lesson_suggests_the_nearest(course, capsys):
    for command in ("run", "build"):
        assert cli.main([command, "01_tinny"]) == 2
        assert "did you mean 01_tiny?" in capsys.readouterr().err
    assert executions(course.parents[2]) == 0


def test_the_quiz_suggests_the_nearest_lesson_and_says_where_there_is_none(course, capsys):
    assert cli.main(["quiz", "01_tinny"]) == 2
    assert "did you mean 01_tiny?" in capsys.readouterr().err
    assert cli.main(["quiz", "01"]) == 2
    assert "lesson 01_tiny has no quiz" in capsys.readouterr().err


def test_bad_options_end_with_2(course, capsys):
    assert cli.main(["run", "--first-seed", "-1"]) == 2
    assert "expected 0 or more" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "--profile", "enormous"])


def test_run_says_what_it_does_and_ends_with_the_report(course, capsys):
    root = course.parents[2]
    write_lesson(root, "02_second")
    expected = root / "results" / "smoke" / "lesson-02.json"
    expected.parent.mkdir(parents=True)
    expected.write_text(json.dumps({"seconds": 90.0}))
    assert cli.main(["run", "--profile", "smoke"]) == 0
    said = capsys.readouterr().out
    assert "[1/2] 01_tiny" in said
    assert "[2/2] 02_second  profile smoke, about 1.5 min" in said
    assert "s elapsed" in said
    assert "A tiny lesson" in (root / "build" / "report.html").read_text()
    assert not (root / "notebooks" / "01_tiny.ipynb").exists()


@pytest.mark.parametrize("last_words", ["1 / 0", "os.kill(os.getpid(), 9)"])
def test_a_lesson_that_fails_ends_with_1_and_keeps_the_others_running(course, capsys, last_words):
    root = course.parents[2]
    edit(course, "6 * 7", last_words)
    write_lesson(root, "02_second")
    assert cli.main(["run", "--profile", "smoke"]) == 1
    said = capsys.readouterr().err
    assert "lesson 01_tiny: code cell 6 of 6" in said
    assert "1 of 2 lessons did not run to their end: 01_tiny" in said
    assert (root / "build" / "notebooks" / "01_tiny.partial.ipynb").exists()
    assert (root / "build" / "notebooks" / "02_second.ipynb").exists()


def test_check_and_stale_follow_an_edit(course, capsys):
    root = course.parents[2]
    assert cli.main(["build", "--check"]) == 1
    assert cli.main(["build", "--record"]) == 0
    assert cli.main(["build", "--check"]) == 0
    count = executions(root)
    assert cli.main(["build", "--stale"]) == 0
    assert "changed since they were recorded: none" in capsys.readouterr().out
    assert executions(root) == count
    edit(course, "6 * 7", "6 * 8")
    assert cli.main(["build", "--check"]) == 1
    assert cli.main(["build", "--stale"]) == 0
    assert "changed since they were recorded: 01_tiny" in capsys.readouterr().out
    assert executions(root) == count + 1
    edit(course, "6 * 8", "1 / 0")
    assert cli.main(["build", "--stale"]) == 1


def test_a_stale_lesson_without_its_verdict_fails(course, capsys):
    (course.parents[2] / "claims.toml").write_text(
        '[lessons.01]\ntitle = "Tiny"\nprimary = 1\n[[claim]]\nid = "01-a"\nlesson = "01"\nkind = "primary"\nstatement = "A."\n'
        'metric = "errors"\nresampling = "seeds"\npaired = []\nprotocol = "direct"\nsource = "none"\n'
        'contrasts = [{ expression = "a - b", greater = 1 }]\n'
    )
    assert cli.main(["build", "--stale"]) == 1
    assert "01-a: recorded not yet recorded" in capsys.readouterr().err


def test_interrupt_ends_with_130(course, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "run", interrupted)
    assert cli.main(["run"]) == 130
    assert "finished trials are kept" in capsys.readouterr().err


def test_lab_copies_what_is_new_and_never_overwrites(course, capsys):
    root = course.parents[2]
    notebooks.write(notebooks.make(notebooks.read_source(course)), root / "notebooks" / "01_tiny.ipynb")
    notebooks.write(
        notebooks.make(notebooks.read_source(course), True), root / "notebooks" / "solutions" / "01_tiny.ipynb"
    )
    assert cli.main(["lab", "--copy-only"]) == 0
    copy = root / "work" / "01_tiny.ipynb"
    assert [path.name for path in (root / "work").iterdir()] == ["01_tiny.ipynb"]
    mine = copy.read_text().replace("return ...", "return mine")
    copy.write_text(mine)
    assert cli.main(["lab", "--copy-only"]) == 0
    assert "newer" not in capsys.readouterr().out
    edit(course, "6 * 7", "6 * 8")
    notebooks.write(notebooks.make(notebooks.read_source(course)), root / "notebooks" / "01_tiny.ipynb")
    assert cli.main(["lab", "--copy-only"]) == 0
    assert "newer: 01_tiny has changed in the course; the new version is work/01_tiny.new.ipynb" in capsys.readouterr().out
    assert copy.read_text() == mine


def test_without_a_checkout_there_is_a_clear_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    assert cli.main(["run"]) == 2
    assert "from a checkout of the course" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "nearest"), [("reprot", "report"), ("Lab", "lab"), ("progres", "progress"), ("doctr", "doctor")])
def test_unknown_command_suggests_the_nearest(course, capsys, word, nearest):
    assert cli.main([word]) == 2
    assert f"unknown command {word!r}; did you mean {nearest}?" in capsys.readouterr().err


def test_no_command_and_a_strange_one_list_them_all(course, capsys):
    for words in ([], ["xyzzy"]):
        assert cli.main(words) == 2
        said = capsys.readouterr().err
        assert "did you mean" not in said
        assert all(name in said for name in ("run", "build", "report", "doctor", "lab", "progress"))


def test_unknown_profile_lists_them(course, capsys, monkeypatch):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["run", "--profile", "enormous"])
    assert "'smoke', 'quick', 'full'" in capsys.readouterr().err.replace("choose from smoke, quick, full", "'smoke', 'quick', 'full'")
    monkeypatch.setenv("KDCOURSE_PROFILE", "enormous")
    assert cli.main(["run"]) == 2
    assert "unknown profile 'enormous'; expected one of smoke, quick, full" in capsys.readouterr().err


def test_every_command_but_doctor_asks_for_a_checkout(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    for command in ("run", "build", "report", "lab", "progress"):
        assert cli.main([command]) == 2
        assert "from a checkout of the course" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_learners_own_notebook_is_not_taken_for_the_courses(course, capsys):
    root = course.parents[2]
    notebooks.write(notebooks.make(notebooks.read_source(course)), root / "notebooks" / "01_tiny.ipynb")
    assert cli.main(["lab", "--copy-only"]) == 0
    mine = root / "work" / "01_tiny.ipynb"
    for command in ("run", "build"):
        assert cli.main([command, str(mine)]) == 2
        assert "kdcourse progress --run 01" in capsys.readouterr().err
    mine.write_text(mine.read_text()[:100])
    assert cli.main(["run", str(mine)]) == 2
    said = capsys.readouterr().err
    assert "work/01_tiny.ipynb cannot be read (it is not valid JSON" in said
    assert "For a fresh copy, rename it" in said
    assert cli.main(["run", str(root / "notebooks" / "01_tiny.ipynb"), "--profile", "smoke"]) == 0


def test_files_and_folders_that_are_not_there_end_with_2(course, capsys):
    root = course.parents[2]
    for option in ("--results", "--compare"):
        assert cli.main(["report", option, str(root / "nowhere")]) == 2
        assert "is not a folder; expected one with records" in capsys.readouterr().err
    (root / "file").write_text("")
    assert cli.main(["run", "--profile", "smoke", "--out", str(root / "file")]) == 2
    assert f"{root / 'file'}" in capsys.readouterr().err
