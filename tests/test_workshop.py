"""The workshop's zip: the same bytes every time, no solution in it, and whoever unpacks it can work."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile

import jupytext
import pytest
from fake_course import write_lesson

from kdcourse import cli, keys, lesson, notebooks, prefetch, workshop

FOLDER = f"kdcourse-workshop-{workshop._version(lesson.ROOT)}"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A small course with one lesson, an instructor's note and what must not get out; its root."""
    root = tmp_path / "course"
    path = write_lesson(root)
    source = notebooks.read_source(path)
    notebooks.write(notebooks.make(source), root / "notebooks" / "01_tiny.ipynb")
    notebooks.write(notebooks.make(source, True), root / "notebooks" / "solutions" / "01_tiny.ipynb")
    for name, text in {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools>=77"]\n[project]\nname = "kdcourse"\nversion = "9.1"\ndependencies = ["tqdm>=4", "Pillow"]\n',
        "README.md": "# Read me\n",
        "claims.toml": "",
        "kdcourse/__init__.py": "",
        "kdcourse/__pycache__/x.pyc": "cache",
        "data/MNIST/raw/a.gz": "images",
        "data/MNIST/raw/a-idx3-ubyte": "unpacked",
        "results/quick/lesson-01.json": "{}",
        "docs/instructor/01.md": "secret notes",
        "docs/quizzes/01.toml": "q = 1",
        "tests/answers.py": "answers",
        "work/01_tiny.ipynb": "mine",
        "build/report.html": "built",
        ".env": "token",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(lesson, "ROOT", root)
    return root


def _zip(root, *options):
    assert cli.main(["dist-workshop", *options]) == 0
    return zipfile.ZipFile(root / "build" / "kdcourse-workshop-9.1.zip")


def _names(made) -> set[str]:
    return {name.removeprefix("kdcourse-workshop-9.1/") for name in made.namelist()}


def test_what_is_in_and_what_is_not(course, capsys):
    made = _zip(course)
    assert _names(made) == {
        "claims.toml",
        "README.md", "START-HERE.txt", "pyproject.toml", "data/MNIST/raw/a.gz", "docs/quizzes/01.toml", "kdcourse/__init__.py",
        "notebooks/01_tiny.ipynb", "notebooks/src/01_tiny.py", "results/quick/lesson-01.json",
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "MB, 10 files" in said
    assert "without solutions" in said
    assert made.testzip() is None


def test_the_same_tree_gives_the_same_bytes(course, capsys):
    target = course / "build" / "kdcourse-workshop-9.1.zip"
    _zip(course)
    content = target.read_bytes()
    assert hashlib.sha256(content).hexdigest() in capsys.readouterr().out
    for path in course.rglob("*"):
        os.utime(path, (2e9, 2e9))
    (course / "README.md").chmod(0o600)
    _zip(course)
    assert target.read_bytes() == content
    (course / "README.md").write_text("# Other\n")
    _zip(course)
    assert target.read_bytes() != content


def test_only_tracked_files_get_in(course):
    (course / "data" / "of-my-own.npz").write_text("private")
    assert "data/of-my-own.npz" in _names(_zip(course))
    git = ["git", "-c", "user.email=a@b", "-c", "user.name=n"]
    subprocess.run([*git, "init", "-q"], cwd=course, check=True)
    subprocess.run([*git, "add", "README.md", "pyproject.toml", "notebooks"], cwd=course, check=True)
    assert _names(_zip(course)) == {"README.md", "pyproject.toml", "START-HERE.txt", "notebooks/01_tiny.ipynb", "notebooks/src/01_tiny.py"}


def test_solutions_come_only_when_asked_for(course):
    made = _zip(course)
    texts = b"".join(made.read(name) for name in made.namelist())
    assert b"2 * x" not in texts
    assert b"return ..." in texts
    assert b"secret notes" not in texts
    full = _names(_zip(course, "--with-solutions"))
    assert {"notebooks/solutions/01_tiny.ipynb", "docs/instructor/01.md"} <= full
    assert not any(name.startswith(("tests", "work", "build", ".")) for name in full)
    assert b"2 * x" in _zip(course, "--instructor").read("kdcourse-workshop-9.1/notebooks/src/01_tiny.py")
    assert cli.main(["dist-workshop", "--with-solutions", "--without-solutions"]) == 2


def test_the_copy_makes_the_same_learners_notebook_and_refuses_authors_commands(course, capsys, monkeypatch, tmp_path):
    made, whole = _zip(course), notebooks.make(notebooks.lessons(root=course)[0])
    made.extractall(tmp_path / "there")
    copy = tmp_path / "there" / "kdcourse-workshop-9.1"
    (source,) = notebooks.lessons(root=copy)
    assert notebooks.source_problems(source) == []
    mine = notebooks.make(source)
    assert [(c.id, c.source, c.metadata) for c in mine.cells] == [(c.id, c.source, c.metadata) for c in whole.cells]
    with pytest.raises(ValueError, match="left out of this copy"):
        notebooks.make(source, solved=True)
    monkeypatch.setattr(lesson, "ROOT", copy)
    for options in (["build"], ["build", "--check"], ["build", "--stale"]):
        assert cli.main(options) == 2
        assert "workshop copy" in capsys.readouterr().err
    assert cli.main(["run", "--profile", "smoke"]) == 0
    assert cli.main(["lab", "--copy-only"]) == 0
    assert cli.main(["schedule", "--lessons", "01"]) == 2, "times are for the instructor"


def test_a_forgotten_solution_is_still_a_fault_of_the_source():
    cells = jupytext.reads('# %% tags=["exercise"]\nx = ...\n\n# %%\nx\n', fmt="py:percent").cells
    assert any("followed at once" in problem for problem in notebooks.source_problems(notebooks.Source("01_x", cells)))


def test_no_solution_of_the_course_is_in_the_copies_of_its_sources():
    files = workshop.contents(lesson.ROOT)
    for source in notebooks.lessons():
        text = files[f"notebooks/src/{source.slug}.py"].decode()
        copy = notebooks.Source(source.slug, jupytext.reads(text, fmt="py:percent").cells)
        assert len(copy.cells) == len(source.cells)
        solutions = 0
        for cell, theirs in zip(source.cells, copy.cells):
            solution = "solution" in notebooks.tags(cell)
            solutions += solution
            assert theirs.source == ("" if solution else cell.source)
        assert solutions > 0
        assert prefetch.learners_key(copy) == prefetch.learners_key(source)
    assert not [name for name in files if "solution" in name or name.startswith(("tests/", "docs/instructor", "work/", "build/"))]


# ---- what can be added ----


def test_finished_runs_travel_as_shipped_trials(course, capsys, monkeypatch, tmp_path):
    assert cli.main(["dist-workshop", "--with-cache"]) == 2
    assert "run: kdcourse prefetch" in capsys.readouterr().err
    trial = lesson.cache_folder() / "student" / "k.safetensors"
    trial.parent.mkdir(parents=True)
    trial.write_bytes(b"a run")
    key = prefetch.learners_key(notebooks.lessons(root=course)[0], course)
    kept = {"lesson": "01", "profile": "quick", "key": key, "machine": "m", "trials": [["student", "f" * 64]]}
    lesson.write_json(lesson.cache_folder() / prefetch.LISTS / "quick-01.json", kept)
    monkeypatch.setattr(prefetch, "trial_file", lambda *given: trial)
    monkeypatch.setattr(prefetch, "_is_whole", lambda file: True)
    made = _zip(course, "--with-cache")
    assert made.read(f"kdcourse-workshop-9.1/data/teachers/student-{'f' * 32}.safetensors") == b"a run"
    assert "finished runs of lessons 01" in capsys.readouterr().out
    assert "included for lessons 01" in made.read("kdcourse-workshop-9.1/START-HERE.txt").decode()
    made.extractall(tmp_path / "there")
    copy = tmp_path / "there" / "kdcourse-workshop-9.1"
    monkeypatch.undo()
    monkeypatch.setattr(lesson, "ROOT", copy)
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "another"))
    monkeypatch.setattr(prefetch, "_is_whole", lambda file: file.read_bytes() == b"a run")
    state = prefetch.status(notebooks.lessons(root=copy)[0], "quick", copy)
    assert state.ready
    assert state.files() == [copy / keys.TEACHERS / f"student-{'f' * 32}.safetensors"]


def test_site_and_slides_come_when_they_are_built(course, capsys):
    assert cli.main(["dist-workshop", "--with-site"]) == 2
    assert "run: make site" in capsys.readouterr().err
    (course / "build" / "site" / "deep").mkdir(parents=True)
    (course / "build" / "site" / "deep" / "index.html").write_text("page")
    assert "site/deep/index.html" in _names(_zip(course, "--with-site"))
    assert "solutions, folded" in capsys.readouterr().out


def test_a_wheelhouse_must_hold_what_the_course_asks_for(course, capsys, tmp_path):
    house = tmp_path / "wheels"
    house.mkdir()
    assert cli.main(["dist-workshop", "--wheelhouse", str(house)]) == 2
    said = capsys.readouterr().err
    assert "none of tqdm, Pillow, setuptools" in said
    assert "pip download --dest" in said
    for name in ("tqdm-4.1-py3-none-any.whl", "pillow-11.0-cp312-cp312-win_amd64.whl", "setuptools-80.0-py3-none-any.whl", "more-1-py3-none-any.whl"):
        (house / name).write_bytes(b"wheel")
    made = _zip(course, "--wheelhouse", str(house))
    assert "wheels/more-1-py3-none-any.whl" in _names(made)
    assert "4 wheels for win_amd64" in capsys.readouterr().out
    text = made.read("kdcourse-workshop-9.1/START-HERE.txt").decode()
    assert text.count("--no-index --find-links wheels -e .") == 2
    (house / "broken.whl").write_bytes(b"")
    assert cli.main(["dist-workshop", "--wheelhouse", str(house)]) == 2


def test_start_here_has_three_lines_for_each_system(course):
    text = _zip(course).read("kdcourse-workshop-9.1/START-HERE.txt").decode()
    typed = [line.strip() for line in text.split("\r\n") if line.startswith("    ")]
    assert len(typed) == 6
    assert typed[0].startswith("python3 -m venv")
    assert typed[3].startswith("py -m venv")
    assert all("/" not in line for line in typed[3:])
    assert all(line.isascii() and len(line) <= 180 for line in text.split("\r\n"))


# ---- the real one, unpacked ----


@pytest.mark.slow
def test_an_unpacked_copy_of_the_course_works(tmp_path):
    target = tmp_path / "workshop.zip"
    assert cli.main(["dist-workshop", "--out", str(target)]) == 0
    zipfile.ZipFile(target).extractall(tmp_path)
    copy = tmp_path / FOLDER
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "KDCOURSE_CACHE": str(tmp_path / "empty")}

    def run(*command):
        return subprocess.run([sys.executable, *command], cwd=copy, env=environment, capture_output=True, text=True, timeout=500)

    where = run("-c", "import kdcourse; print(kdcourse.__file__); print(len(kdcourse.load('mnist').train))")
    assert where.stdout.split() == [str(copy / "kdcourse" / "__init__.py"), "60000"], where.stderr
    assert run("-m", "kdcourse.cli", "lab", "--copy-only").returncode == 0
    assert sorted(path.name for path in (copy / "work").iterdir()) == sorted(path.name for path in (copy / "notebooks").glob("*.ipynb"))
    refused = run("-m", "kdcourse.cli", "build", "--check")
    assert refused.returncode == 2
    assert "workshop copy" in refused.stderr
    done = run("-m", "kdcourse.cli", "run", "00", "--profile", "smoke")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((copy / "build" / "results" / "smoke" / "lesson-00.json").read_text())["profile"] == "smoke"
