"""The bug museum: each bug, as it stood in public distillation code, is injected into a copy of the package and must be caught by a test."""

import os
import shutil
import subprocess
import sys

import pytest

from kdcourse import lesson

# bug: (module, text as it is, text with the bug, tests that must fail)
MUSEUM = {
    "teacher and student swapped (keras-io #257)": (
        "losses.py",
        "F.kl_div(student, teacher, reduction",
        "F.kl_div(teacher, student, reduction",
        "test_losses.py",
    ),
    "student term computed from the teacher's logits (labml #66)": (
        "losses.py",
        "student = F.log_softmax(student_logits / temperature",
        "student = F.log_softmax(teacher_logits / temperature",
        "test_losses.py",
    ),
    "T² missing (keras-io #869)": (
        "losses.py",
        "log_target=True) * temperature**2",
        "log_target=True)",
        "test_losses.py",
    ),
    "default reduction, mean over batch × classes (Teacher-free-KD #5)": (
        "losses.py",
        'reduction="batchmean"',
        'reduction="mean"',
        "test_losses.py",
    ),
    "softmax applied twice (forums)": (
        "losses.py",
        "teacher = F.log_softmax(teacher_logits / temperature",
        "teacher = F.log_softmax(F.softmax(teacher_logits, dim=1) / temperature",
        "test_losses.py",
    ),
    "teacher left in train mode (Keras 3 page)": (
        "training.py",
        "teacher = teacher.to(device).eval()",
        "teacher = teacher.to(device).train()",
        "test_training.py",
    ),
    "teacher not frozen (forums)": (
        "training.py",
        "return torch.no_grad()(teacher)",
        "return teacher",
        "test_training.py",
    ),
    "cached outputs in another order than the batches (haitongli PR 16)": (
        "training.py",
        "wanted = targets.index_select(0, index) if augment is None",
        "wanted = targets[: len(index)] if augment is None",
        "test_training.py",
    ),
    "schedule that never fires (TAKD)": (
        "training.py",
        'if schedule == "constant" or steps < 10:',
        'if schedule == "constant" or steps < int(steps + 2.0):',
        "test_training.py",
    ),
    "only the initialisation seeded (PyTorch tutorial)": (
        "training.py",
        'generator = stream(seed, "order")',
        "generator = torch.Generator().manual_seed(torch.seed() >> 1)",
        "test_training.py",
    ),
    "choices made on data that is also trained on (TAKD, DAFL, DFAD chose on the test set)": (
        "data.py",
        "return split[:-count], split[-count:]",
        "return split, split[-count:]",
        "test_data.py",
    ),
    "losses computed in bfloat16 under autocast (this course's own, found because a divergence came out negative)": (
        "training.py",
        "_float32_outputs(model), _progress(steps)",
        "_progress(steps)",
        "test_training.py",
    ),
    "285 against 289 of 300 read as an effect (LLMs-from-scratch)": (
        "inference.py",
        "",
        "\n\ndef bounds(found, level):\n    return found['estimate'], found['estimate']\n",
        "test_claims.py",
    ),
}


def run_tests_on_a_copy(folder, module: str, edit, tests: list[str]):
    """The tests' outcome on a copy of the package in which `edit` has changed one module's source."""
    for name in ("kdcourse", "tests"):
        shutil.copytree(lesson.ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data").symlink_to(lesson.ROOT / "data")
    shutil.copy(lesson.ROOT / "pyproject.toml", folder)
    path = folder / "kdcourse" / module
    path.write_text(edit(path.read_text()))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        *(f"tests/{t}" for t in tests),
    ]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("bug", MUSEUM)
def test_the_bug_is_caught(bug, tmp_path):
    module, before, after, tests = MUSEUM[bug]

    def inject(source):
        assert not before or source.count(before) == 1, (
            f"the museum's text is no longer in {module}; hang the exhibit anew"
        )
        return source.replace(before, after) if before else source + after

    run = run_tests_on_a_copy(tmp_path, module, inject, [tests])
    assert run.returncode == 1, f"no test noticed: {bug}\n{run.stdout[-2000:]}"
    assert " failed" in run.stdout


@pytest.mark.slow
def test_the_copy_without_a_bug_passes(tmp_path):
    """Else the mutants above might fail for another reason."""
    run = run_tests_on_a_copy(
        tmp_path, "losses.py", lambda source: source, ["test_losses.py", "test_training.py", "test_data.py"]
    )
    assert run.returncode == 0, run.stdout[-2000:]
