"""The lesson that is running: its profile, its seeds, where its evidence goes, and what machine it runs on."""

import datetime
import json
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

PROFILES = ("smoke", "quick", "full")
ROOT = Path(__file__).resolve().parent.parent
FETCHED = Path.home() / ".cache" / "kdcourse" / "course"  # where the notebooks' install cell puts a copy of the course
# The package may lie apart from its course, as after installing a plain wheel. Then the course is around the working folder, or fetched; where it is neither,
# `missing` says so. (The assignment above stays as it is: it is part of every trial's recipe, and so of the names of shipped teachers.)
if not (ROOT / "claims.toml").exists():
    ROOT = next((place for place in (Path.cwd(), *Path.cwd().parents, FETCHED) if (place / "claims.toml").exists()), ROOT)


@dataclass(frozen=True)
class Lesson:
    """What a lesson runs with; made by `start`, asked for by `current`."""

    number: str = "--"
    profile: str = "quick"
    first_seed: int = 0

    def pick(self, **by_profile):
        """The value for this profile: `lesson.pick(smoke=1, quick=6, full=60)`."""
        if set(by_profile) != set(PROFILES):
            raise ValueError(f"pick needs one value for each of {', '.join(PROFILES)}; got {', '.join(by_profile)}")
        return by_profile[self.profile]

    def seeds(self, **by_profile) -> list[int]:
        """As many consecutive seeds as this profile asks for, from `first_seed` on."""
        return list(range(self.first_seed, self.first_seed + self.pick(**by_profile)))


_current = Lesson()


def start(number: str, profile: str = "quick", first_seed: int = 0) -> Lesson:
    """Open lesson `number`; later sweeps and verdicts in this process belong to it.

    Raises ValueError for an unknown profile or a negative first seed.
    """
    global _current
    if profile not in PROFILES:
        raise ValueError(f"unknown profile {profile!r}; expected one of {', '.join(PROFILES)}")
    if first_seed < 0:
        raise ValueError(f"first_seed is {first_seed}; expected 0 or more")
    _current = Lesson(number, profile, first_seed)
    # As in the workers: networks this small gain nothing from more, two such programs on one machine crawl, and what a lesson prints
    # does not depend on the number of cores.
    torch.set_num_threads(1)
    facts = provenance()
    print(f"lesson {number} · profile {profile} · seeds from {first_seed}")
    say(f"{facts['device']}, {facts['dtype']}, torch {facts['torch']}{_expected_time()}")
    if lacking := missing():
        print(lacking)
    return _current


def missing() -> str | None:
    """What of the course is not on this machine, and the one command that fetches it; None where all is there."""
    from kdcourse import data  # which looks for this module's ROOT

    lacks = [name for name in ("claims.toml", "results") if not (ROOT / name).exists()]
    files = [name for name in data.CHECKSUMS if not any((folder / name).exists() for folder in data.data_folders())]
    lacks += ["data sets"] if files else []
    if not lacks:
        return None
    address = os.environ.get("KDCOURSE_REPOSITORY") or "ADDRESS"
    return (
        f"Not on this machine: {', '.join(lacks)} of the course (looked in {ROOT} and {', '.join(map(str, data.data_folders()))}).\n"
        f"This fetches them, ADDRESS being where the course is published; then restart the kernel:\n    git clone --depth 1 {address} {FETCHED}"
    )


def adopt(settings: Lesson) -> None:
    """Take over another process's lesson without announcing it."""
    global _current
    _current = settings


def _expected_time() -> str:
    path = ROOT / "results" / _current.profile / f"lesson-{_current.number}.json"
    if not path.exists():
        return ""
    record = json.loads(path.read_text())
    return f"; took {record['seconds']:.0f} s where it was recorded" if "seconds" in record else ""


def say(text: str) -> None:
    """Print what differs from run to run (machine, seconds); silent while notebooks are built, so that they stay equal."""
    if os.environ.get("TQDM_DISABLE") != "1":
        print(text)


def write_json(path: Path, content: dict) -> None:
    """Write JSON to a temporary name, then rename: a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    os.replace(temporary, path)


def current() -> Lesson:
    """The lesson opened last, or a nameless quick one."""
    return _current


def results_folder() -> Path | None:
    """Where verdicts are recorded: below $KDCOURSE_RESULTS, one folder a profile; None when nothing is recorded.

    A run from another first seed has a folder of its own, so that fresh seeds never mix with the recorded ones.
    """
    base = os.environ.get("KDCOURSE_RESULTS")
    if not base:
        return None
    name = _current.profile if _current.first_seed == 0 else f"{_current.profile}-seed{_current.first_seed}"
    return Path(base) / name


def cache_folder() -> Path:
    """Where finished trials are kept: $KDCOURSE_CACHE, or `trials` in ~/.cache/kdcourse."""
    return Path(os.environ.get("KDCOURSE_CACHE") or Path.home() / ".cache" / "kdcourse" / "trials")


@cache
def _cpu_flags() -> frozenset:
    """As the kernel lists them: read once, as games of small networks ask for the dtype in every step."""
    try:
        return frozenset(Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    except (OSError, IndexError):
        return frozenset()


def cpu_features() -> list[str]:
    """The instruction sets of this CPU that change how fast (not what) the course computes."""
    return [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in _cpu_flags()]


def device() -> torch.device:
    """The device everything runs on: $KDCOURSE_DEVICE, else CUDA where there is one, else the CPU."""
    return torch.device(os.environ.get("KDCOURSE_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


def dtype() -> torch.dtype:
    """The dtype of matrix products: bfloat16 where the hardware multiplies it fast, else float32.

    $KDCOURSE_DTYPE (float32 or bfloat16) overrides the detection. Weights and losses are float32 either way.
    """
    asked = os.environ.get("KDCOURSE_DTYPE")
    if asked:
        if asked not in ("float32", "bfloat16"):
            raise ValueError(f"KDCOURSE_DTYPE is {asked!r}; expected float32 or bfloat16")
        return getattr(torch, asked)
    fast = device().type == "cuda" or {"avx512_bf16", "amx_bf16"} & set(cpu_features())
    return torch.bfloat16 if fast else torch.float32


def provenance() -> dict:
    """Where and when a result was computed: package, Python, torch, device, dtype, CPU features, threads, date."""
    from kdcourse import __version__

    where = device()
    return {
        "kdcourse": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else f"CPU, {os.cpu_count()} cores",
        "cpu_features": cpu_features(),
        "dtype": str(dtype()).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "date": datetime.date.today().isoformat(),
    }
