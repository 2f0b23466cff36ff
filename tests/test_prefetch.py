"""After a prefetch a lesson computes nothing any more, and `--check` says so only when that is true."""

import contextlib
import json
import os

import pytest
from fake_course import LESSON, edit, write_lesson

import kdcourse as kd
from kdcourse import cli, execution, keys, lesson, notebooks, prefetch, study

TRIALS = (
    LESSON
    + '''
# %%
import kdcourse as kd

kd.start("01", profile, first_seed)


def helper(seed):
    open("trained.txt", "a").write("h")
    return {"x": seed + 0.5}


def trial(arm, seed):
    open("trained.txt", "a").write("t")
    return {"score": kd.run(helper, seed=seed)["x"] * arm}


print(kd.sweep(trial, seeds=[0, 1], arm=[1, 2]))
'''
)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one lesson with four trials that use a helper; the path of its source."""
    path = write_lesson(tmp_path / "course", text=TRIALS)
    monkeypatch.setattr(lesson, "ROOT", tmp_path / "course")
    monkeypatch.setenv("KDCOURSE_JOBS", "1")
    monkeypatch.setitem(prefetch.doctor.CHECKS, "data", lambda root: (True, "", ""))
    return path


def _trained(path) -> int:
    file = path.parents[2] / "trained.txt"
    return len(file.read_text()) if file.exists() else 0


def _status(path, profile="smoke"):
    return prefetch.status(notebooks.read_source(path), profile, path.parents[2])


def _prefetch(*options):
    return cli.main(["prefetch", "--profile", "smoke", *options])


def test_after_a_prefetch_nothing_is_computed_again(course, capsys):
    assert _prefetch("--check") == 1
    said = capsys.readouterr().out
    assert "not prefetched yet" in said
    assert said.splitlines()[-1].startswith("NOT ready: run kdcourse prefetch")
    assert _trained(course) == 0, "--check executes nothing"

    assert _prefetch() == 0
    assert capsys.readouterr().out.endswith("ready for a room without network\n")
    assert _trained(course) == 4 + 2
    assert {name for name, *_ in _status(course).trials} == {"trial"}, "a finished trial does not ask for its helper again"

    assert _prefetch("--check") == 0
    assert "ready, 4 runs" in capsys.readouterr().out
    source, root = notebooks.read_source(course), course.parents[2]
    execution.run(source, root / "build", profile="smoke", root=root)  # what a learner does in class
    assert _trained(course) == 6
    assert _prefetch() == 0
    assert "here already" in capsys.readouterr().out


def test_files_that_nothing_needs_may_go_and_others_may_not(course, capsys):
    assert _prefetch() == 0
    for file in (lesson.cache_folder() / "helper").glob("*.safetensors"):
        file.unlink()
    assert _status(course).ready
    file = _status(course).files()[0]
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "1 of 4 runs are damaged" in _status(course).problem
    file.unlink()
    assert "1 of 4 runs are missing" in _status(course).problem
    count = _trained(course)
    assert _prefetch() == 0
    assert _trained(course) == count + 2, "one trial and its helper, not the others"
    assert _status(course).ready


def test_other_settings_of_the_machine_are_other_runs(course, monkeypatch):
    monkeypatch.setenv("KDCOURSE_DTYPE", "float32")
    assert _prefetch() == 0
    assert _status(course).ready
    assert not _status(course, "quick").ready
    monkeypatch.setenv("KDCOURSE_DTYPE", "bfloat16")
    assert "4 of 4 runs are missing for bfloat16, cpu" in _status(course).problem
    assert "made with float32" in _status(course).problem


def test_an_edit_of_the_code_counts_and_one_of_the_text_or_a_solution_does_not(course):
    assert _prefetch() == 0
    edit(course, "Some prose.", "Other prose.")
    edit(course, "return 2 * x", "return x + x")
    assert _status(course).ready
    edit(course, "arm=[1, 2]", "arm=[1, 3]")
    assert "changed since" in _status(course).problem


def test_data_that_changed_count(course):
    file = course.parents[2] / "data" / "mine.npz"
    file.parent.mkdir()
    file.write_bytes(b"1")
    assert _prefetch() == 0
    file.write_bytes(b"22")
    assert "changed since" in _status(course).problem


def test_a_lesson_that_fails_is_not_ready(course, capsys):
    edit(course, "print(kd.sweep", "1 / 0\nprint(kd.sweep")
    assert _prefetch() == 1
    captured = capsys.readouterr()
    assert "ZeroDivisionError" in captured.err
    assert "NOT ready" in captured.out.splitlines()[-1]
    assert "kdcourse prefetch" in captured.out.splitlines()[-1]
    assert not _status(course).ready


def test_after_an_interrupt_the_same_command_goes_on(course, capsys, monkeypatch):
    execute = execution.execute

    def interrupted(*arguments, **options):
        execute(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "execute", interrupted)
    assert _prefetch() == 130
    assert not _status(course).ready, "no list without a run to the end"
    count = _trained(course)
    monkeypatch.setattr(execution, "execute", execute)
    assert _prefetch() == 0
    assert _trained(course) == count


def test_a_shipped_run_counts_whatever_the_machine(course, monkeypatch):
    assert _prefetch() == 0
    shipped = course.parents[2] / keys.TEACHERS
    shipped.mkdir(parents=True)
    for name, recipe, file in _status(course).trials:
        file.rename(shipped / f"{name}-{recipe[:32]}.safetensors")
    monkeypatch.setenv("KDCOURSE_DTYPE", "float32")
    assert _status(course).ready
    monkeypatch.setenv("KDCOURSE_SHIPPED", "0")
    assert "4 of 4 runs are missing" in _status(course).problem


def _small(arm, seed):
    return {"score": arm + seed}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_trial_is_looked_for_where_the_study_keeps_it(monkeypatch, dtype):
    monkeypatch.setenv("KDCOURSE_DTYPE", dtype)
    kd.start("--", "smoke")
    arguments = {"arm": 1, "seed": 2}
    kd.run(_small, **arguments)
    recipe = study.describe(_small)
    found = prefetch.trial_file("_small", study.recipe_key(recipe, arguments), "smoke")
    assert found == study._path(_small, recipe, arguments)
    assert found.exists()
    assert prefetch.trial_file("_small", study.recipe_key(recipe, {"arm": 2, "seed": 2}), "smoke") is None


def test_expected_time_spreads_the_trials_over_the_cores():
    record = {"seconds": 120.0, "cold_core_seconds": 200.0, "provenance": {"threads": 2}}
    assert prefetch.expected_seconds(record, 2) == 120
    assert prefetch.expected_seconds(record, 1) == 220
    assert prefetch.expected_seconds(record, 8) == 45
    assert prefetch.expected_seconds({"seconds": 30.0, "cold_core_seconds": 200.0, "provenance": {"threads": 2}}, 2) == 100
    assert prefetch.expected_seconds({}, 2) is None


def test_the_last_line_says_how_long_it_will_take(course, capsys):
    record = {"seconds": 300.0, "cold_core_seconds": 240.0, "provenance": {"threads": 2}}
    lesson.write_json(course.parents[2] / "results" / "smoke" / "lesson-01.json", record)
    assert _prefetch("--check") == 1
    assert "about 7 min with 1 worker, at the speed" in capsys.readouterr().out


def test_data_of_the_full_profile_without_a_network_ends_with_a_clear_message(course, capsys, monkeypatch, tmp_path):
    import torchvision.datasets

    asked = []

    def unreachable(root, download=False, **options):
        asked.append(download)
        if download:
            raise OSError("Network is unreachable")
        raise RuntimeError("Dataset not found or corrupted.")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", unreachable)
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path / "data"))
    assert _prefetch("--check", "--data", "cifar10") == 1
    assert "cifar10 is not on this machine; run: kdcourse prefetch --data cifar10" in capsys.readouterr().out
    assert True not in asked, "--check downloads nothing"
    assert _prefetch("--data", "cifar10") == 1
    said = capsys.readouterr().out
    assert "could not be downloaded (Network is unreachable)" in said
    assert "ready, 4 runs" in said, "the lessons are made all the same"
    assert said.endswith("NOT ready: see above\n")


def test_without_the_option_nothing_is_downloaded(course, monkeypatch):
    monkeypatch.setattr(prefetch.data, "load", lambda name: pytest.fail(f"{name} was loaded"))
    assert _prefetch("--check") == 1


def test_a_damaged_teacher_and_missing_fonts_are_named(course, monkeypatch, tmp_path, capsys):
    root = course.parents[2]
    (root / keys.TEACHERS).mkdir(parents=True)
    (root / keys.TEACHERS / "convolutional_teacher-1.safetensors").write_bytes(b"half a file")
    monkeypatch.setattr("matplotlib.get_cachedir", lambda: str(tmp_path))
    problems = "\n".join(prefetch.machine_problems(root))
    assert "convolutional_teacher-1.safetensors is damaged" in problems
    assert "fonts" in problems
    monkeypatch.undo()
    with contextlib.suppress(FileNotFoundError):
        os.remove(root / keys.TEACHERS / "convolutional_teacher-1.safetensors")


def test_the_courses_own_lessons_have_keys_without_their_solutions():
    for source in notebooks.lessons()[:2]:
        stripped = notebooks.Source(source.slug, [cell for cell in source.cells if "solution" not in notebooks.tags(cell)])
        assert prefetch.learners_key(source) == prefetch.learners_key(stripped)
        assert len(prefetch.learners_key(source)) == 64


def test_unknown_lesson_and_data_set_are_refused(course, capsys):
    assert _prefetch("01_tinny") == 2
    assert "did you mean 01_tiny?" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        _prefetch("--data", "imagenet")


def test_a_list_that_is_cut_short_is_as_good_as_none(course):
    assert _prefetch() == 0
    path = lesson.cache_folder() / prefetch.LISTS / prefetch.list_name("01", "smoke")
    assert json.loads(path.read_text())["lesson"] == "01"
    path.write_text(path.read_text()[:30])
    assert _status(course).problem == "not prefetched yet"
