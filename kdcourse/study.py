"""Closed, paired, cached trials: `sweep` runs a trial over seeds and a grid, in parallel, and resumes where it stopped."""

import hashlib
import itertools
import json
import os
import time
import traceback
import warnings
from pathlib import Path

import filelock
import joblib
import pandas as pd
import safetensors
import safetensors.torch
import torch
from joblib.externals.loky import process_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm import tqdm

from kdcourse import data, lesson, training
from kdcourse.keys import TEACHERS, teacher_checksums
from kdcourse.recipe import describe, remember_sources, sources_of

# glibc hands big buffers back to the system after every step and faults them in again; workers start with these instead.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "10000000000",
    "MALLOC_TRIM_THRESHOLD_": "10000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


class SweepError(RuntimeError):
    """Some trials of a sweep failed; the message names their arguments. The others are kept."""


def sweep(trial, *, seeds, jobs: int | None = None, **grid) -> pd.DataFrame:
    """Run `trial(**arguments, seed=seed)` for every point of the grid and every seed; one row a run.

    A trial is a function of plain arguments that returns a dict of metrics; everything it reads is named, not captured. A list,
    tuple or range in `grid` is an axis, anything else a constant. Finished trials are kept on disk and not run again; their
    key covers the syntax tree of every function the trial reaches, its arguments, the data, profile, dtype, device type and torch version.
    One single-threaded worker process per core (`jobs`, $KDCOURSE_JOBS); any joblib backend set with `joblib.parallel_config` is used instead.
    Columns: the arguments, `seed`, the scalars, strings and lists that the trial returned, its 1-D arrays (`correct` among them), and `errors`
    where there is `correct`. Larger arrays stay on disk: `run` with the same arguments returns them.
    Raises ValueError for an empty grid, SweepError when trials failed.
    """
    points = _points(seeds, grid)
    recipe = describe(trial)
    missing = [point for point in points if _recall(_path(trial, recipe, point), trial, recipe, point) is None]
    started = time.perf_counter()
    failures = _run_missing(trial, missing, jobs)
    if failures:
        raise SweepError(_explain(trial, failures, len(missing)))
    results = [_recall(_path(trial, recipe, point), trial, recipe, point) for point in points]
    cost = sum(result["trial_seconds"] for result in results)
    _note({_key(recipe, point): result["trial_seconds"] for point, result in zip(points, results)})
    lesson.say(
        f"{len(points)} runs of {trial.__name__}: {len(points) - len(missing)} kept from before, {len(missing)} computed in "
        f"{time.perf_counter() - started:.0f} s (cold, all of them take {cost:.0f} s of one core)"
    )
    return pd.DataFrame([_row(point, result) for point, result in zip(points, results)])


def run(trial, **arguments) -> dict:
    """The result of one trial, arrays included: recalled if it ran before, else run now and kept.

    This is how a trial uses another one, a student its teacher: `run(teacher, seed=seed)`.
    """
    recipe = describe(trial)
    path = _path(trial, recipe, arguments)
    if (kept := _recall(path, trial, recipe, arguments)) is not None:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two workers may want the same teacher at once: the second waits and then finds it done.
    with filelock.FileLock(path.with_suffix(".lock")):
        if (kept := _recall(path, trial, recipe, arguments)) is not None:
            return kept
        result = _execute(trial, arguments)
        result["recipe"] = {"trial": trial.__name__, "arguments": arguments, "recipe": recipe_key(recipe, arguments)}
        _save(path, result)
    return _recall(path, trial, recipe, arguments)


def recipe_key(recipe: str, arguments: dict) -> str:
    """What a trial computes, wherever it runs: its code and its arguments."""
    return hashlib.sha256(json.dumps([recipe, _plain(arguments)], sort_keys=True).encode()).hexdigest()


def _key(recipe: str, arguments: dict) -> str:
    machine = [lesson.current().profile, str(lesson.dtype()), lesson.device().type, torch.__version__]
    return hashlib.sha256(json.dumps([recipe_key(recipe, arguments), *machine]).encode()).hexdigest()


def _path(trial, recipe: str, arguments: dict) -> Path:
    return lesson.cache_folder() / trial.__name__ / f"{_key(recipe, arguments)[:32]}.safetensors"


def _plain(arguments: dict) -> dict:
    try:
        plain = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError) as problem:
        raise ValueError(f"arguments of a trial are names and numbers; got {arguments} ({problem})") from problem
    return plain


def _points(seeds, grid: dict) -> list[dict]:
    axes = {name: list(value) if isinstance(value, list | tuple | range) else [value] for name, value in grid.items()}
    axes["seed"] = [seeds] if isinstance(seeds, int) else list(seeds)
    for name, values in axes.items():
        if not values:
            raise ValueError(f"the grid is empty: no value for {name}")
        if len({json.dumps(_plain({name: value})) for value in values}) < len(values):
            raise ValueError(f"{name} has the same value twice: {values}")
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


def _execute(trial, arguments: dict) -> dict:
    """Run a trial on one thread, so that its result does not depend on who asked for it; note the data and shipped teachers it read."""
    threads, outer, outer_shipped = torch.get_num_threads(), set(data.used), set(_used_shipped)
    data.used.clear()
    _used_shipped.clear()
    torch.set_num_threads(1)
    started = time.perf_counter()
    try:
        result = trial(**arguments)
        read, shipped = sorted(data.used), sorted(_used_shipped)
    finally:
        torch.set_num_threads(threads)
        data.used.update(outer)
        _used_shipped.update(outer_shipped)
    if not isinstance(result, dict):
        raise ValueError(f"{trial.__name__} returned a {type(result).__name__}; a trial returns a dict of metrics")
    fingerprints = {name: data.fingerprint(name) for name in read}
    return {**result, "trial_seconds": round(time.perf_counter() - started, 3), "data": fingerprints, "shipped": shipped}


def _work(trial, arguments: dict, sources: dict, settings: lesson.Lesson) -> tuple[dict, str | None]:
    """One trial in a worker process; a failure comes back as text so that it cannot take the others along."""
    # By default loky replaces a worker that has grown by 300 MB, which the allocator's settings make it do at once.
    process_executor._MAX_MEMORY_LEAK_SIZE = 4_000_000_000
    remember_sources(sources)
    lesson.adopt(settings)
    training.show_progress = False
    try:
        run(trial, **arguments)
    except Exception:
        return arguments, traceback.format_exc()
    return arguments, None


def _run_missing(trial, missing: list[dict], jobs: int | None) -> list[tuple[dict, str]]:
    if not missing:
        return []
    for name, value in ALLOCATOR.items():
        os.environ.setdefault(name, value)
    sources, settings = sources_of(trial), lesson.current()
    tasks = (joblib.delayed(_work)(trial, point, sources, settings) for point in missing)
    failures = []
    try:
        with _backend(), tqdm(total=len(missing), unit="run", desc=trial.__name__, leave=False) as bar:
            for arguments, problem in joblib.Parallel(n_jobs=jobs or _jobs(), return_as="generator_unordered")(tasks):
                if problem:
                    failures.append((arguments, problem))
                bar.update()
    except TerminatedWorkerError as problem:
        raise SweepError(
            f"a worker of {trial.__name__} was killed (out of memory?). Finished trials are kept; run the cell again to go on, "
            f"with fewer workers if memory is short (KDCOURSE_JOBS=1)."
        ) from problem
    return failures


def _jobs() -> int:
    cores = joblib.cpu_count(only_physical_cores=True)
    return int(os.environ.get("KDCOURSE_JOBS") or (min(4, cores) if lesson.device().type == "cuda" else cores))


def _backend():
    active, _ = joblib.parallel.get_active_backend()
    if type(active).__name__ == "LokyBackend":
        return joblib.parallel_config(backend="loky", inner_max_num_threads=1)
    return joblib.parallel_config()


def _explain(trial, failures, attempted: int) -> str:
    named = "\n".join(
        f"  {trial.__name__}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})" for arguments, _ in failures
    )
    return (
        f"{len(failures)} of {attempted} trials failed; the others are kept.\n{named}\n"
        f"The first of them ended with:\n{failures[0][1]}"
    )


def _row(point: dict, result: dict) -> dict:
    row = dict(point)
    for name, value in result.items():
        if name in ("recipe", "data", "shipped"):
            continue
        if isinstance(value, torch.Tensor):
            if value.ndim == 1:
                row[name] = value.numpy()
        elif not isinstance(value, dict):
            row[name] = value
    if "correct" in row and "errors" not in row:
        row["errors"] = int((~row["correct"]).sum())
    return row


def _note(seconds: dict[str, float]) -> None:
    """In the lesson's record: what its trials cost when nothing is cached, and the shipped teachers that went into them."""
    folder = lesson.results_folder()
    if folder is None:
        return
    path = folder / f"lesson-{lesson.current().number}.json"
    record = json.loads(path.read_text()) if path.exists() else {"lesson": lesson.current().number}
    _seen.update(seconds)
    record["cold_core_seconds"] = round(sum(_seen.values()), 1)
    record["teachers"] = teacher_checksums(_used_shipped, lesson.ROOT)
    lesson.write_json(path, record)


_seen: dict[str, float] = {}
_used_shipped: set[str] = set()  # files in data/teachers/ that this process, or the trial it is in, has relied on


# ---- one file a trial -------------------------------------------------------------------------------------------------


def _save(path: Path, result: dict) -> None:
    """One safetensors file: arrays as tensors, the rest as JSON in its metadata, both under one checksum."""
    tensors: dict[str, torch.Tensor] = {}
    record = json.dumps(_take_tensors(result, "", tensors), allow_nan=True)
    metadata = {"record": record, "sha256": _digest(record, tensors)}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    safetensors.torch.save_file(tensors, temporary, metadata)
    os.replace(temporary, path)


def _take_tensors(value, name: str, tensors: dict):
    if hasattr(value, "__array__") and not isinstance(value, torch.Tensor) and getattr(value, "ndim", 0):
        value = torch.as_tensor(value)
    # A number at the top is a metric; inside a state dict it has to stay a tensor.
    if isinstance(value, torch.Tensor) and (value.ndim or "." in name):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"__tensor__": name}
    if isinstance(value, dict):
        return {
            str(key): _take_tensors(item, f"{name}.{key}" if name else str(key), tensors) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_take_tensors(item, f"{name}.{k}", tensors) for k, item in enumerate(value)]
    return value.item() if hasattr(value, "item") else value


def _put_tensors(value, tensors: dict):
    if isinstance(value, dict):
        return (
            tensors[value["__tensor__"]]
            if "__tensor__" in value
            else {k: _put_tensors(v, tensors) for k, v in value.items()}
        )
    return [_put_tensors(item, tensors) for item in value] if isinstance(value, list) else value


def _digest(record: str, tensors: dict) -> str:
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_trial(path: Path) -> dict:
    """The result in a trial's file. Raises ValueError naming the file and its expected checksum when it is damaged."""
    expected = "unreadable"
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            expected = metadata.get("sha256", "missing")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if expected != _digest(metadata["record"], tensors):
            raise ValueError("its content does not match")
        return _put_tensors(json.loads(metadata["record"]), tensors)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as problem:
        raise ValueError(f"{path} is damaged ({problem}; expected sha256 {expected})") from problem


def _recall(path: Path, trial, recipe: str, arguments: dict) -> dict | None:
    """A kept result that is whole and was computed from the data as they are now; else None."""
    for candidate in (path, *_shipped(trial, recipe, arguments)):
        if not candidate.exists():
            continue
        try:
            result = read_trial(candidate)
        except ValueError as problem:
            warnings.warn(f"{problem}; it is not used, the trial runs again", stacklevel=3)
            continue
        if all(data.fingerprint(name) == found for name, found in result["data"].items()):
            data.used.update(result["data"])
            _used_shipped.update(result.get("shipped", ()))
            if candidate != path:
                _used_shipped.add(candidate.name)
            return result
    return None


def _shipped(trial, recipe: str, arguments: dict) -> list[Path]:
    """Teachers that come with the course, found by recipe whatever the machine; $KDCOURSE_SHIPPED=0 ignores them."""
    if os.environ.get("KDCOURSE_SHIPPED") == "0":
        return []
    return [lesson.ROOT / TEACHERS / f"{trial.__name__}-{recipe_key(recipe, arguments)[:32]}.safetensors"]


def ship(trial, **arguments) -> Path:
    """Put a finished trial among the teachers that come with the course; returns its file there."""
    result = run(trial, **arguments)
    target = lesson.ROOT / TEACHERS / f"{trial.__name__}-{recipe_key(describe(trial), arguments)[:32]}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    _save(target, result)
    return target
