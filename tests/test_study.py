"""Sweeps: what makes a cached trial valid, what does not, and what survives damage, failures and kill -9."""

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from kdcourse import data, lesson, recipe, study

TRIALS = '''
import numpy as np
import torch
import kdcourse as kd

CALLS = []
FACTOR = 2
TABLE = {"a": [1, 2], "b": np.arange(3)}
LEVEL = torch.tensor([0.5, 1.5])

def helper(x):
    """Says nothing."""
    return x * FACTOR

def teacher(seed, width=3):
    return {"weights": {"w": torch.full((width,), float(seed)), "steps": torch.tensor(7)}, "score": 0.5}

def student(seed, arm="soft", rate=0.1):
    # a comment
    CALLS_FILE = __import__("os").environ["CALLS"]
    open(CALLS_FILE, "a").write(f"{arm},{seed}\\n")
    weights = kd.run(teacher, seed=seed)["weights"]["w"]
    return {"value": float(helper(weights.sum()) + LEVEL[0] + TABLE["a"][0] + rate), "correct": torch.arange(4) > seed,
            "curve": [1.0, 2.0], "big": torch.eye(3)}
'''


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """A module of trials on disk; `trials(old, new)` edits it and returns it as a new process would see it."""
    path = tmp_path / "trials_of_a_test.py"
    path.write_text(TRIALS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(old="", new=""):
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new))
        sys.modules.pop("trials_of_a_test", None)
        importlib.invalidate_caches()
        import linecache

        linecache.clearcache()
        return importlib.import_module("trials_of_a_test")

    load.calls = lambda: (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
    with joblib.parallel_config(backend="sequential"):
        yield load


def test_one_row_a_run_in_the_order_of_the_grid(trials):
    table = study.sweep(trials().student, seeds=[0, 1], arm=["hard", "soft"], rate=0.5)
    assert list(zip(table.arm, table.seed)) == [("hard", 0), ("hard", 1), ("soft", 0), ("soft", 1)]
    assert table.value.tolist() == [2.0, 8.0, 2.0, 8.0]
    assert table.correct[1].tolist() == [False, False, True, True]
    assert table.errors.tolist() == [1, 2, 1, 2]
    assert table.curve[0] == [1.0, 2.0]
    assert "big" not in table
    assert isinstance(table, pd.DataFrame)


def test_finished_trials_are_recalled_with_their_arrays(trials):
    module = trials()
    study.sweep(module.student, seeds=[0, 1])
    table = study.sweep(module.student, seeds=[0, 1, 2])
    assert trials.calls() == ["soft,0", "soft,1", "soft,2"]
    assert len(table) == 3
    result = study.run(module.student, seed=1)
    assert torch.equal(result["big"], torch.eye(3))
    weights = study.run(module.teacher, seed=1)["weights"]
    assert weights["w"].tolist() == [1.0] * 3
    assert torch.is_tensor(weights["steps"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x * FACTOR", "return x * FACTOR + 1"),  # a helper
        ("FACTOR = 2", "FACTOR = 3"),  # a global number
        ('{"a": [1, 2]', '{"a": [1, 3]'),  # inside a global container
        ("np.arange(3)", "np.arange(4)"),  # a global array
        ("[0.5, 1.5]", "[0.5, 1.6]"),  # a global tensor
        ("float(seed)", "float(seed + 1)"),  # the teacher that the trial uses
        ("width=3", "width=4"),  # a default of the teacher
        ("rate=0.1", "rate=0.2"),
        ("arange(4) > seed", "arange(4) >= seed"),
    ],
)
def test_a_change_in_anything_reached_runs_the_trial_again(trials, old, new):
    study.sweep(trials().student, seeds=[1])
    study.sweep(trials(old, new).student, seeds=[1])
    assert len(trials.calls()) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    # a comment\n", ""),
        ('"""Says nothing."""', '"""Says something else."""'),
        ("CALLS = []", "CALLS = [object()]"),  # not reached
        ("def helper(x):", "def unused():\n    return 5\n\n\ndef helper(x):"),
        ("return x * FACTOR", "return (x\n            * FACTOR)"),
    ],
)
def test_a_change_that_cannot_matter_keeps_the_result(trials, old, new):
    study.sweep(trials().student, seeds=[1])
    study.sweep(trials(old, new).student, seeds=[1])
    assert len(trials.calls()) == 1


def test_profile_dtype_and_torch_version_are_part_of_the_key(trials, monkeypatch):
    module = trials()
    monkeypatch.setenv("KDCOURSE_DTYPE", "float32")
    study.sweep(module.student, seeds=[1])
    monkeypatch.setenv("KDCOURSE_DTYPE", "bfloat16")
    study.sweep(module.student, seeds=[1])
    lesson.adopt(lesson.Lesson("99", "smoke", 0))
    study.sweep(module.student, seeds=[1])
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    study.sweep(module.student, seeds=[1])
    assert len(trials.calls()) == 4


def test_a_changed_data_file_runs_the_trial_again(trials, tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path))
    arrays = {
        f"{p}_{k}": v
        for p in ("train", "test")
        for k, v in (("images", np.zeros((2, 4, 4), "u1")), ("labels", np.array([0, 1])))
    }
    np.savez(tmp_path / "own.npz", **arrays)
    module = trials('return {"value"', 'kd.load("own")\n    return {"value"')
    study.sweep(module.student, seeds=[1])
    study.sweep(module.student, seeds=[1])
    assert len(trials.calls()) == 1
    np.savez(tmp_path / "own.npz", **(arrays | {"train_labels": np.array([1, 1])}))
    study.sweep(module.student, seeds=[1])
    assert len(trials.calls()) == 2


def test_the_loss_a_trial_uses_is_part_of_its_recipe_and_others_are_not():
    from kdcourse import losses, teachers

    parts: dict = {}
    recipe._visit(teachers.convolutional_teacher, "t", parts, ("t",))
    reached = {name for name in parts if name.startswith("kdcourse.")}
    assert {
        "kdcourse.losses.hard_labels",
        "kdcourse.training._step",
        "kdcourse.data.read_idx",
        "kdcourse.models.initialise",
    } <= reached
    assert "kdcourse.losses.soft_target_loss" not in reached
    assert not any(str(lesson.ROOT) in value for value in parts.values()), (
        "a recipe must not depend on where the course lies"
    )
    assert losses


def in_a_cell(source: str, number: int, namespace: dict):
    """Define functions as a notebook cell does: a file name of its own, the source known to linecache alone."""
    import linecache

    name = f"/tmp/ipykernel_1/{number}.py"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), namespace)


@pytest.mark.parametrize(
    ("old", "new"),
    [("x * 2", "x * 3"), ("return {", "x = -x; return {"), ("inner(x)", "inner(x) + 1"), ("y + 1", "y + 2")],
)
def test_a_cell_edited_and_run_again_is_another_trial(old, new):
    """Even where only a constant differs: same name, same line, same instructions."""
    source = "def trial(seed, x=1):\n    def inner(y):\n        return y + 1\n    x = x * 2\n    return {'value': inner(x)}\n"
    namespace = {"__name__": "__main__"}
    in_a_cell(source, 1, namespace)
    first = recipe.describe(namespace["trial"])
    in_a_cell(source.replace(old, new), 2, namespace)
    assert recipe.describe(namespace["trial"]) != first
    in_a_cell(source, 3, namespace)
    assert recipe.describe(namespace["trial"]) == first


def test_globals_that_cannot_be_hashed_are_refused_by_name(trials):
    module = trials("FACTOR = 2", "FACTOR = open(__file__)")
    with pytest.raises(ValueError, match=r"student → helper uses the global 'FACTOR', a TextIOWrapper"):
        study.sweep(module.student, seeds=[1])


def test_arguments_are_plain(trials):
    module = trials()
    with pytest.raises(ValueError, match="names and numbers"):
        study.sweep(module.student, seeds=[1], rate=torch.ones(1))
    with pytest.raises(ValueError, match="grid is empty: no value for arm"):
        study.sweep(module.student, seeds=[1], arm=[])
    with pytest.raises(ValueError, match="no value for seed"):
        study.sweep(module.student, seeds=[])
    with pytest.raises(ValueError, match="same value twice"):
        study.sweep(module.student, seeds=[1, 1])


def test_a_trial_returns_a_dict(trials):
    with pytest.raises(study.SweepError, match="returned a float; a trial returns a dict"):
        study.sweep(trials('return {"value"', 'return 1.0\n    return {"value"').student, seeds=[1])


def test_a_failed_trial_is_named_and_the_others_are_kept(trials):
    module = trials("    # a comment\n", '    if seed == 1:\n        raise RuntimeError("boom")\n')
    with pytest.raises(
        study.SweepError, match=r"(?s)1 of 3 trials failed.*student\(arm='soft', seed=1\).*RuntimeError: boom"
    ):
        study.sweep(module.student, seeds=[0, 1, 2], arm="soft")
    assert trials.calls() == ["soft,0", "soft,2"]
    with pytest.raises(study.SweepError, match="1 of 1 trials failed"):
        study.sweep(module.student, seeds=[0, 1, 2], arm="soft")
    assert trials.calls() == ["soft,0", "soft,2"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_cache_file_is_named_and_computed_again(trials, damage):
    module = trials()
    before = study.sweep(module.student, seeds=[1])
    path = next((lesson.cache_folder() / "student").glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes({"flip": bytes(content), "truncate": bytes(content[:-7]), "empty": b""}[damage])
    with pytest.raises(ValueError, match=f"{path.name} is damaged"):
        study.read_trial(path)
    with pytest.warns(UserWarning, match=f"{path.name} is damaged.*runs again"):
        after = study.sweep(module.student, seeds=[1])
    assert len(trials.calls()) == 2
    assert after.value.tolist() == before.value.tolist()


def test_a_flipped_bit_in_the_metrics_is_noticed_too(trials):
    module = trials()
    study.sweep(module.student, seeds=[1])
    path = next((lesson.cache_folder() / "student").glob("*.safetensors"))
    content = path.read_bytes()
    assert content.count(b'value\\": 7') == 1
    path.write_bytes(content.replace(b'value\\": 7', b'value\\": 9'))
    with pytest.raises(ValueError, match="content does not match"):
        study.read_trial(path)


def test_shipped_teachers_are_used_whatever_the_machine_unless_asked_not_to(trials, tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    module = trials()
    shipped = study.ship(module.teacher, seed=3)
    assert shipped.parent == tmp_path / "data" / "teachers"
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    study.run(module.teacher, seed=3)
    assert not (tmp_path / "elsewhere" / "teacher").exists(), "nothing was trained"
    monkeypatch.setenv("KDCOURSE_SHIPPED", "0")
    study.run(module.teacher, seed=3)
    assert (tmp_path / "elsewhere" / "teacher").exists()


def test_the_record_names_the_shipped_teachers_that_trials_relied_on(trials, tmp_path, monkeypatch):
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    monkeypatch.setattr(study, "_used_shipped", set())
    module = trials()
    shipped = study.ship(module.teacher, seed=1)
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("KDCOURSE_RESULTS", str(tmp_path / "results"))
    for _ in range(2):  # computed, then recalled by another process
        study._used_shipped.clear()
        study.sweep(module.student, seeds=[1, 2])
        record = json.loads((tmp_path / "results" / "quick" / "lesson---.json").read_text())
        assert record["teachers"] == {shipped.name: hashlib.md5(shipped.read_bytes()).hexdigest()}


def test_results_do_not_depend_on_the_caller_s_threads(trials):
    module = trials('"curve": [1.0, 2.0]', '"curve": [float(torch.get_num_threads())]')
    torch.set_num_threads(2)
    assert study.sweep(module.student, seeds=[1]).curve[0] == [1.0]
    assert torch.get_num_threads() == 2


def test_data_read_by_a_used_trial_counts_for_the_user_too(trials, tmp_path, monkeypatch):
    module = trials('return {"weights"', 'kd.load("fashion_mnist")\n    return {"weights"')
    study.sweep(module.student, seeds=[1])
    assert "fashion_mnist" in study.run(module.student, seed=1)["data"]
    assert data.used


SCRIPT = textwrap.dedent(
    """
    import os, sys, time
    import torch
    import kdcourse as kd

    def slow(seed):
        time.sleep(0.4)
        open(os.environ["CALLS"], "a").write(f"{seed}\\n")
        return {"threads": torch.get_num_threads(), "value": seed, "malloc": os.environ.get("MALLOC_TOP_PAD_", "")}

    table = kd.sweep(slow, seeds=range(8))
    print(table.value.tolist(), set(table.threads), set(table.malloc))
    """
)


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_sweep_and_resume(tmp_path):
    """A script is `__main__`, as a notebook is: its functions travel to the workers by value."""
    script, calls = tmp_path / "script.py", tmp_path / "calls"
    script.write_text(SCRIPT)
    environment = os.environ | {"CALLS": str(calls), "TQDM_DISABLE": "1", "KDCOURSE_JOBS": "2"}
    first = subprocess.Popen([sys.executable, str(script)], env=environment, start_new_session=True)
    deadline = time.time() + 60
    while time.time() < deadline and not (calls.exists() and len(calls.read_text().splitlines()) >= 3):
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    kept = len(list((lesson.cache_folder() / "slow").glob("*.safetensors")))
    assert 1 <= kept < 8
    calls.write_text("")
    second = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert second.returncode == 0, second.stderr
    assert "[0, 1, 2, 3, 4, 5, 6, 7] {1} {'268435456'}" in second.stdout
    assert len(calls.read_text().splitlines()) == 8 - kept


@pytest.mark.slow
def test_a_killed_worker_is_reported_and_the_sweep_resumes(tmp_path):
    script = tmp_path / "script.py"
    killer = SCRIPT.replace(
        "time.sleep(0.4)", "time.sleep(0.1)\n    if seed == 5 and 'KILL' in os.environ: os.kill(os.getpid(), 9)"
    )
    script.write_text(killer)
    environment = os.environ | {"CALLS": str(tmp_path / "calls"), "TQDM_DISABLE": "1", "KDCOURSE_JOBS": "2"}
    first = subprocess.run(
        [sys.executable, str(script)], env=environment | {"KILL": "1"}, capture_output=True, text=True, timeout=120
    )
    assert first.returncode != 0
    assert "a worker of slow was killed" in first.stderr
    second = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert "[0, 1, 2, 3, 4, 5, 6, 7]" in second.stdout, second.stderr


def generation(seed: int, number: int) -> dict:
    """A trial that uses an earlier one of its own kind, as a network born again does."""
    return {"value": seed if number == 0 else study.run(generation, seed=seed, number=number - 1)["value"] + 1}


def test_a_trial_may_use_itself():
    assert study.run(generation, seed=5, number=3)["value"] == 8
    assert recipe.describe(generation) == recipe.describe(generation)
