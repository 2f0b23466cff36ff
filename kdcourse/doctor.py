"""Is this machine ready for the course? One [OK] or [FAIL] line per check, with what to do about each failure."""

import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path


def _python(root):
    version = platform.python_version()
    return (
        sys.version_info >= (3, 11),
        f"Python {version}",
        "install Python 3.11 or newer, then: make clean; rm -r .venv; make course",
    )


def _packages(root):
    from importlib import metadata

    from packaging.requirements import Requirement

    wrong, found = [], []
    for requirement in map(Requirement, metadata.requires("kdcourse") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        found.append(f"{requirement.name} {version}")
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
    return (
        not wrong,
        ", ".join(wrong or found),
        "run: pip install -e . in the course's folder (make course does it in .venv)",
    )


def _compiled_operations(root):
    import torch
    import torchvision

    kept = torchvision.ops.nms(torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1]]), torch.tensor([0.9, 0.8]), 0.5)
    versions = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
    return kept.tolist() == [0], f"{versions} fit together", "install a matching pair: pip install -U torch torchvision"


def _data(root):
    from kdcourse.data import CHECKSUMS

    wrong = []
    for name, expected in CHECKSUMS.items():
        path = root / "data" / name
        if not path.exists():
            wrong.append(f"{name} is missing")
        elif (found := hashlib.md5(path.read_bytes()).hexdigest()) != expected:
            wrong.append(f"{name} has md5 {found}, expected {expected}")
    return (
        not wrong,
        "; ".join(wrong) or f"{len(CHECKSUMS)} data files are whole",
        "put the originals back: git checkout -- data",
    )


def _cpu(root):
    from kdcourse import lesson

    features = ", ".join(lesson.cpu_features()) or "none of those that matter"
    return True, f"{platform.machine()}, {os.cpu_count()} cores, features: {features}", ""


def _device(root):
    import torch

    from kdcourse import lesson

    where = lesson.device()
    total = torch.ones(4, 4, device=where) @ torch.ones(4, 4, device=where)
    return (
        float(total.sum()) == 64,
        f"{where}, {str(lesson.dtype()).removeprefix('torch.')} products",
        "set KDCOURSE_DEVICE=cpu",
    )


def _threads(root):
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = max(torch.get_num_threads(), int(os.environ.get("OMP_NUM_THREADS") or 0))
    return (
        asked <= cores,
        f"{asked} threads on {cores} cores",
        "more threads than cores are many times slower: unset OMP_NUM_THREADS",
    )


def _disk(root):
    from kdcourse import lesson

    folder = lesson.cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = {str(place): shutil.disk_usage(place).free / 2**30 for place in (root, folder)}
    text = ", ".join(f"{amount:.0f} GiB free at {place}" for place, amount in free.items())
    return min(free.values()) >= 1, text, "free 1 GiB, or set KDCOURSE_CACHE to a folder elsewhere"


def _kernel(root):
    from jupyter_client.manager import start_new_kernel

    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60, extra_arguments=["--log-level=40"])
    said = []
    try:
        client.execute_interactive(
            "import sys; print(1 + 1, sys.prefix)",
            timeout=60,
            output_hook=lambda m: said.append(m["content"].get("text", "")),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    text = "".join(said).strip()
    hint = "another Python's kernel answers: start from the course's .venv, or set JUPYTER_PREFER_ENV_PATH=1"
    return text == f"2 {sys.prefix}", f"a kernel answers 1 + 1 = {text}", hint


CHECKS = {
    "python": _python,
    "packages": _packages,
    "torchvision": _compiled_operations,
    "data": _data,
    "cpu": _cpu,
    "device": _device,
    "threads": _threads,
    "disk": _disk,
    "kernel": _kernel,
}


def main(root=None) -> int:
    """Print one line a check; the exit code is 1 when one failed."""
    root, failures = Path(root or Path(__file__).resolve().parent.parent), 0
    for name, check in CHECKS.items():
        try:
            good, text, advice = check(root)
        except Exception as problem:  # whatever is broken on this machine is what we want to show
            good, text, advice = False, f"{type(problem).__name__}: {problem}", "reinstall: rm -r .venv; make course"
        failures += not good
        print(
            f"[{'OK' if good else 'FAIL'}] {name}: {text}" + ("" if good else f"\n       what to do: {advice}"),
            flush=True,
        )
    return 1 if failures else 0


if __name__ == "__main__":  # python kdcourse/doctor.py works even where `import kdcourse` does not
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())
