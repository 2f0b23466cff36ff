"""The project's files agree with each other: packaging, conda, Makefile, README, workflows."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from kdcourse.lesson import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def _floor() -> str:
    return re.fullmatch(r">=(\d+\.\d+)", PYPROJECT["project"]["requires-python"])[1]


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def _tracked() -> list:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_conda_pip_and_readme_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, extra = environment["dependencies"]
    assert environment["name"] == PYPROJECT["project"]["name"] == "kdcourse"
    assert python == f"python>={_floor()}"
    assert pip == "pip"
    assert extra == {"pip": ["-e .[test]"]}, "the packages are listed in pyproject.toml alone"
    assert "test" in PYPROJECT["project"]["optional-dependencies"]
    assert f"Python {_floor()} or newer" in README
    assert "environment.yml" in README
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{_floor().replace('.', '')}"


def test_makefile_has_every_target_that_is_written_about():
    written = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8") + (ROOT / ".ci" / "run").read_text()
    named = set(re.findall(r"(?:^|`|exec )make ([a-z-]+)", written, re.M))
    assert {"course", "test", "lab"} <= named
    assert named <= _targets()
    helped = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in helped.splitlines() if line.startswith("  make ")} == _targets()


def test_readme_links_to_files_that_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_makefile_refuses_an_old_python(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    (tmp_path / "pyproject.toml").write_text("")
    ended = subprocess.run(["make", f"PYTHON={old}", "course"], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode != 0
    assert f"needs Python {_floor()} or newer" in ended.stderr
    assert not (tmp_path / ".venv").exists()


def test_clean_leaves_work_alone(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("build", "work", "kdcourse/__pycache__", "tests", "benchmarks", "notebooks"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "work").exists()
    assert not (tmp_path / "build").exists()
    assert not (tmp_path / "kdcourse" / "__pycache__").exists()


def test_version_is_the_same_everywhere():
    import kdcourse

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PYPROJECT["project"]["version"] == kdcourse.__version__
    assert citation["license"] == PYPROJECT["project"]["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


def test_tracked_files_name_no_home_folder_and_no_package_host():
    # In pieces, so that this file is not its own finding.
    wrong = re.compile(
        "|".join(
            (r"/ho" r"me/\w", r"/Us" r"ers/\w", r"/ro" r"ot/", r"/wo" r"rk/main", r"py" r"pi\.org", r"python" r"hosted")
        )
    )
    found = []
    for path in _tracked():
        content = path.read_bytes()
        if b"\0" not in content[:8000] and (match := wrong.search(content.decode("utf-8", "ignore"))):
            found.append(f"{path.relative_to(ROOT)}: {match[0]}")
    assert found == []


def _workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))


def _commands(workflow: dict) -> str:
    return "\n".join(step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step)


def test_workflows_are_valid():
    assert {path.stem for path in WORKFLOWS} == {"ci", "nightly", "weekly", "gpu"}
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    ended = subprocess.run([*command, *map(str, WORKFLOWS)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_little_and_ends(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert content["permissions"] == {"contents": "read"}
    assert content["concurrency"]["group"]
    for name, job in content["jobs"].items():
        assert job["timeout-minutes"] > 0
        writes = {scope for scope, grade in job.get("permissions", {}).items() if grade != "read"}
        assert writes == ({"issues"} if (path.stem, name) == ("nightly", "drift") else set())
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/checkout@v4"))
            assert "${{" not in step.get("run", ""), "values reach a shell through env only"
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


def test_only_the_job_that_may_write_gets_a_token_and_it_installs_nothing():
    for path in WORKFLOWS:
        for name, job in _workflow(path.stem)["jobs"].items():
            tokens = [step for step in job["steps"] if "GH_TOKEN" in step.get("env", {})]
            assert bool(tokens) == ((path.stem, name) == ("nightly", "drift"))
    job = _workflow("nightly")["jobs"]["drift"]
    said = [step["run"] for step in job["steps"] if "run" in step]
    assert said == ["python3 -I kdcourse/drift.py issues build/drift.json"]
    assert job["needs"] == "quick"
    assert "schedule" in job["if"], "a run of somebody's branch opens no issue"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_is_there(path):
    said = _commands(_workflow(path.stem))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", said)) <= _targets()
    for file in re.findall(r"(?<![\w/])((?:kdcourse|\.ci)/[\w./]+)", said.replace("kdcourse/)", "")):
        assert (ROOT / file).exists(), file
    for module in re.findall(r"python -m (kdcourse[.\w]*)", said):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_the_nightly_run_ends_in_states_even_when_a_lesson_fails():
    steps = _workflow("nightly")["jobs"]["quick"]["steps"]
    (run,) = [k for k, step in enumerate(steps) if "kdcourse run" in step.get("run", "")]
    assert "--cold" in steps[run]["run"]
    assert all(step["if"] == "always()" for step in steps[run + 1 :])
    assert "kdcourse.drift states build/results build/drift.json" in steps[run + 1]["run"]


def test_the_weekly_run_does_what_the_readme_says():
    weekly = _workflow("weekly")
    assert {"make course", "make doctor"} <= set(_commands(weekly).splitlines())
    assert "conda env create -f environment.yml" in README
    windows = [step["run"] for step in weekly["jobs"]["windows"]["steps"] if "run" in step]
    assert not [line for line in windows if line.startswith("make")], "Windows has no make"
    assert "macos-latest" in weekly["jobs"]["make"]["strategy"]["matrix"]["system"]


def test_ci_runs_the_oldest_supported_python_and_the_same_command():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert _floor() in jobs["test"]["strategy"]["matrix"]["python"]
    assert len(jobs["test"]["strategy"]["matrix"]["python"]) == 2
    assert [step["run"] for step in jobs["test"]["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["notebooks/src/03_temperature.py", "README.md"], ("03 ", "yes")),
        (["notebooks/src/03_temperature.py", "notebooks/src/11_without_data.py"], ("03 11 ", "yes")),
        (["README.md", "notebooks/03_temperature.ipynb"], ("", "")),
        (["kdcourse/losses.py", "notebooks/src/03_temperature.py"], ("", "yes")),
    ],
)
def test_ci_finds_the_changed_lessons(tmp_path, changed, expected):
    """The step as it stands in the workflow, in a repository with one commit that changes these files."""
    (step,) = [s for s in _workflow("ci")["jobs"]["lessons"]["steps"] if s.get("name") == "Which lessons changed"]
    git = ["git", "-c", "user.email=a@b", "-c", "user.name=n"]

    def commit(message):
        subprocess.run([*git, "add", "-A"], cwd=tmp_path, check=True)
        subprocess.run([*git, "commit", "-qm", message, "--allow-empty"], cwd=tmp_path, check=True)
        return subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    base = commit("before")
    for name in changed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    commit("after")

    def chosen(base):
        noted = tmp_path.parent / f"{tmp_path.name}-env"
        noted.unlink(missing_ok=True)
        environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "BASE": base, "GITHUB_ENV": str(noted)}
        subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, env=environment, check=True, capture_output=True)
        found = dict(line.split("=", 1) for line in noted.read_text().splitlines())
        return found["LESSONS"], found["RUN"]

    assert chosen(base) == expected
    assert chosen("0" * 40) == ("", "yes"), "a new branch: all of them"
