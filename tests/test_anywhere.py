"""The course away from its checkout: a notebook in another folder, a plain wheel, and the files for Binder and Docker."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from kdcourse import data, lesson, recipe, study, teachers

ROOT = lesson.ROOT
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

# ---- notebooks opened elsewhere ----

LOOK = """
import kdcourse as kd
kd.start("01", "smoke")
print("root", kd.lesson.ROOT)
if kd.lesson.missing() is None:
    print("loaded", len(kd.load("fashion_mnist").test), len(kd.claims.announce("01").claims) > 0)
"""


@pytest.fixture
def wheel(tmp_path):
    """A machine where the package lies without its course, as from a plain wheel: look(cwd, …) → what LOOK prints."""
    (tmp_path / "home" / ".cache" / "kdcourse").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(ROOT / "kdcourse", tmp_path / "site" / "kdcourse", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"}

    def look(where=tmp_path / "elsewhere", **extra):
        ended = subprocess.run([sys.executable, "-c", LOOK], cwd=where, env=environment | extra, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return look


def test_a_wheel_without_the_course_says_what_is_missing_and_how_to_get_it(wheel, tmp_path):
    said = wheel(KDCOURSE_REPOSITORY="https://example.org/course.git")
    fetched = tmp_path / "home" / ".cache" / "kdcourse" / "course"
    assert "Not on this machine: claims.toml, results, data sets of the course" in said
    assert f"    git clone --depth 1 https://example.org/course.git {fetched}\n" in said
    fetched.symlink_to(ROOT)  # what that command would have left
    said = wheel()
    assert f"root {fetched}" in said
    assert "loaded 10000 True" in said
    assert "Not on this machine" not in said


def test_a_wheel_finds_the_copy_of_the_course_around_the_notebook(wheel, tmp_path):
    (tmp_path / "copy").symlink_to(ROOT)
    said = wheel(where=ROOT / "notebooks")
    assert f"root {ROOT}" in said
    assert "loaded 10000 True" in said


@pytest.mark.parametrize("place", ["KDCOURSE_DATA", ".cache/kdcourse"])
def test_data_sets_elsewhere_are_not_missed(place, tmp_path, monkeypatch):
    """Claims and records lie in the course; its data sets may lie in $KDCOURSE_DATA or the user's cache."""
    for name in ("claims.toml", "results"):
        (tmp_path / "course" / name).mkdir(parents=True)
    monkeypatch.setattr(lesson, "ROOT", tmp_path / "course")
    monkeypatch.setattr(data, "ROOT", tmp_path / "course")
    monkeypatch.setenv("HOME", str(tmp_path))
    said = lesson.missing()
    assert "Not on this machine: data sets of the course" in said
    assert "git clone --depth 1" in said
    folder = tmp_path / place
    folder.parent.mkdir(exist_ok=True)
    folder.symlink_to(ROOT / "data")
    monkeypatch.setenv("KDCOURSE_DATA", str(folder) if place == "KDCOURSE_DATA" else "")
    assert lesson.missing() is None


def test_in_a_checkout_nothing_is_missing():
    assert lesson.missing() is None
    assert (lesson.ROOT / "pyproject.toml").exists()


@pytest.mark.parametrize("seed", range(5))
def test_the_teachers_that_come_with_the_course_are_still_found(seed):
    """A trial's recipe covers how the package's variables are assigned, lesson.ROOT among them: an edit there would orphan them."""
    trial, arguments = teachers.convolutional_teacher, {"dataset": "mnist", "epochs": 8, "seed": seed, "count": None}
    (path,) = study._shipped(trial, recipe.describe(trial), arguments)
    assert path.exists(), f"{trial.__name__} has another recipe than when its results were shipped"


# ---- Binder ----


def test_binder_has_a_python_of_conda_and_the_packages_of_pyproject():
    environment = yaml.safe_load((ROOT / ".binder" / "environment.yml").read_text(encoding="utf-8"))
    ours = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ours["channels"]
    assert environment["dependencies"][:2] == ours["dependencies"][:2]
    listed = str(environment["dependencies"])
    assert "torch" not in listed, "packages are listed in pyproject.toml alone"
    after = (ROOT / ".binder" / "postBuild").read_text(encoding="utf-8")
    assert "--torch-backend cpu" in after, "a free machine has no GPU and little disk"
    assert re.search(r"-e \.(\s|$)", after)


@pytest.mark.parametrize("name", [".binder/postBuild", ".binder/start", "docker/start"])
def test_shell_scripts_are_executable_and_readable_by_sh(name):
    path = ROOT / name
    assert path.stat().st_mode & 0o111
    assert path.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(path)], check=True)


def test_kernels_on_binder_and_in_docker_have_the_courses_allocator():
    start = dict(re.findall(r"(MALLOC_\w+)=(\d+)", (ROOT / ".binder" / "start").read_text(encoding="utf-8")))
    image = dict(re.findall(r"(MALLOC_\w+)=(\d+)", (ROOT / "Dockerfile").read_text(encoding="utf-8")))
    assert start == image == study.ALLOCATOR


# ---- Docker; no engine is needed here, and none has built it ----


def _instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile, continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_dockerfile_is_small_unprivileged_and_watched():
    found = _instructions()
    names = [name for name, _ in found]
    assert set(names) <= {"ARG", "FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    bases = [arguments for name, arguments in found if name == "FROM"]
    assert all(re.match(r"python:3\.\d+-slim\b", base) for base in bases)
    users = [arguments for name, arguments in found if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert names.index("HEALTHCHECK") > 0
    (command,) = [arguments for name, arguments in found if name == "CMD"]
    assert "--ip=0.0.0.0" in command
    assert not re.search("token|password|allow-root", command), "the server makes its token itself"


def test_dockerfile_pins_what_it_installs_and_takes_torch_without_cuda():
    runs = " ".join(arguments for name, arguments in _instructions() if name == "RUN")
    compiled, installed = runs.index("uv pip compile"), runs.index("uv pip sync")
    assert compiled < installed
    lock = re.search(r"--output-file (\S+)", runs)[1]
    assert lock in runs[installed:]
    assert "--torch-backend cpu" in runs[compiled:installed]
    assert "--torch-backend cpu" in runs[installed:]
    extra = re.search(r"--extra (\w+)", runs)[1]
    assert any(entry.startswith("jupyterhub") for entry in PYPROJECT["project"]["optional-dependencies"][extra])


def test_dockerfile_copies_what_exists_and_nothing_that_is_ignored():
    ignored = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    assert {".git", ".venv", "build", "work"} <= set(ignored)
    for name, arguments in _instructions():
        if name == "COPY" and "--from" not in arguments:
            *sources, _ = [word for word in arguments.split() if not word.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists(), source
                assert source.rstrip("/") not in ignored


def test_the_container_copies_lessons_and_never_overwrites(tmp_path):
    (tmp_path / "course" / "notebooks").mkdir(parents=True)
    (tmp_path / "course" / "notebooks" / "00_a.ipynb").write_text("new")
    (tmp_path / "course" / "notebooks" / "01_b.ipynb").write_text("new")
    mine = tmp_path / "home" / "kdcourse"
    mine.mkdir(parents=True)
    (mine / "00_a.ipynb").write_text("mine")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "KDCOURSE_ROOT": str(tmp_path / "course")}
    ended = subprocess.run([str(ROOT / "docker" / "start"), "echo", "served"], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "served\n"), ended.stderr
    assert (mine / "00_a.ipynb").read_text() == "mine"
    assert (mine / "01_b.ipynb").read_text() == "new"
