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


def test_workflows_are_valid_and_careful():
    assert {path.stem for path in WORKFLOWS} == {"ci", "nightly", "gpu"}
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, WORKFLOWS),
    ]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    for path in WORKFLOWS:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert content["permissions"] == {"contents": "read"}
        for job in content["jobs"].values():
            assert job["timeout-minutes"] > 0
            for step in job["steps"]:
                assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/checkout@v4"))
                assert "${{" not in step.get("run", ""), "values reach a shell through env only"


def test_ci_runs_the_oldest_supported_python_and_the_same_command():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert _floor() in jobs["test"]["strategy"]["matrix"]["python"]
    assert jobs["test"]["steps"][-1]["run"] == ".ci/run"
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
