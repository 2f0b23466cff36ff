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
    "T² missing (keras-io #869)": ("losses.py", "log_target=True) * temperature**2", "log_target=True)", "test_losses.py"),
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
    "teacher not frozen (forums)": ("training.py", "return torch.no_grad()(teacher)", "return teacher", "test_training.py"),
    "cached outputs in another order than the batches (haitongli PR 16)": (
        "training.py",
        "wanted = targets[index] if augment is None",
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
    "285 against 289 of 300 read as an effect (LLMs-from-scratch)": (
        "inference.py",
        "",
        "\n\ndef bounds(found, level):\n    return found['estimate'], found['estimate']\n",
        "test_claims.py",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", MUSEUM)
def test_the_bug_is_caught(bug, tmp_path):
    module, before, after, tests = MUSEUM[bug]
    for folder in ("kdcourse", "tests"):
        shutil.copytree(lesson.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data").symlink_to(lesson.ROOT / "data")
    shutil.copy(lesson.ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "kdcourse" / module
    source = path.read_text()
    assert not before or source.count(before) == 1, f"the museum's text is no longer in {module}; hang the exhibit anew"
    path.write_text(source.replace(before, after) if before else source + after)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", f"tests/{tests}"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 1, f"no test noticed: {bug}\n{run.stdout[-2000:]}"
    assert " failed" in run.stdout
    assert str(tmp_path) in run.stdout or "tests/" in run.stdout
