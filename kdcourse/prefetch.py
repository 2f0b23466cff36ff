"""The evening before: everything that a lesson would compute, compile or download in class is made now, and what is missing is said.

A lesson's finished trials are found again by their keys, but only its run knows which trials it asks for. So a complete run leaves a
list of them (`watch`), with a key of the code, numeric modules and data that it belongs to. `status` needs that list and the files alone: it executes nothing.
"""

import compileall
import contextlib
import hashlib
import importlib
import json
import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import torch

from kdcourse import data, doctor, execution, keys, lesson, notebooks, study

LISTS = "prefetched"  # the folder of those lists, in the trial cache; in a workshop copy beside the teachers
FIRST_USE = ("matplotlib.font_manager", "torchvision", "pandas", "scipy.stats", "papermill", "jupyterlab")


@dataclass(frozen=True)
class Status:
    """What is at hand for one lesson: its list's trials as (name, recipe key, file or None), and what is wrong, empty when it is ready."""

    number: str
    trials: tuple
    problem: str

    @property
    def ready(self) -> bool:
        return not self.problem

    def files(self) -> list[Path]:
        return [file for *_, file in self.trials if file]


# ---- which trials a lesson asks for ------------------------------------------------------------------------------------


def watch(path) -> None:
    """From now on, add a line (name, recipe key) to `path` for every trial that this process recalls: what the next run will ask for.

    Teachers that only other trials asked for are not among them: a finished student needs no teacher.
    """
    recall, execute, seen, inside = study._recall, study._execute, set(), []

    def executing(trial, arguments):
        inside.append(trial)
        try:
            return execute(trial, arguments)
        finally:
            inside.pop()

    def noting(file, trial, recipe, arguments):
        result = recall(file, trial, recipe, arguments)
        entry = trial.__name__, study.recipe_key(recipe, arguments)
        if result is not None and not inside and entry not in seen:
            seen.add(entry)
            with open(path, "a", encoding="utf-8") as lines:
                lines.write(json.dumps(entry) + "\n")
        return result

    study._recall, study._execute = noting, executing


def learners_key(source, root=None) -> str:
    """sha256 of what decides which trials a learner's notebook asks for; the same with and without the solutions' cells."""
    mine = [cell.source for cell in source.cells if cell.cell_type == "code" and not {"solution", notebooks.LEFT_OUT} & set(notebooks.tags(cell))]
    return keys.lesson_key(mine, root or lesson.ROOT)


def trial_file(name: str, recipe_key: str, profile: str) -> Path | None:
    """The file of a finished trial on this machine (its dtype, device and torch version), or the shipped one; None if there is neither."""
    machine = [profile, str(lesson.dtype()), lesson.device().type, torch.__version__]
    key = hashlib.sha256(json.dumps([recipe_key, *machine]).encode()).hexdigest()
    places = [lesson.cache_folder() / name / f"{key[:32]}.safetensors"]
    if os.environ.get("KDCOURSE_SHIPPED") != "0":
        places.append(lesson.ROOT / keys.TEACHERS / f"{name}-{recipe_key[:32]}.safetensors")
    return next((place for place in places if place.exists()), None)


def list_name(number: str, profile: str) -> str:
    return f"{profile}-{number}.json"


def _read_lists(number: str, profile: str) -> list[dict]:
    found = []
    for folder in (lesson.cache_folder() / LISTS, lesson.ROOT / keys.TEACHERS / LISTS):
        with contextlib.suppress(OSError, ValueError):  # not there, or not whole: as good as not there
            found.append(json.loads((folder / list_name(number, profile)).read_text(encoding="utf-8")))
    return found


def _current_list(source, profile: str, root) -> dict | None:
    key = learners_key(source, root)
    return next((one for one in _read_lists(source.number, profile) if one["key"] == key), None)


def list_of(source, profile: str = "quick", root=None) -> bytes:
    """The list of a lesson's trials as a file's content; the lesson was prefetched."""
    return (json.dumps(_current_list(source, profile, root), indent=1) + "\n").encode()


def status(source, profile: str = "quick", root=None) -> Status:
    """Whether every run of a lesson is at hand and whole, and if not, why; executes nothing."""
    if not _read_lists(source.number, profile):
        return Status(source.number, (), "not prefetched yet")
    found = _current_list(source, profile, root)
    if found is None:
        return Status(source.number, (), "its code or its data changed since it was prefetched")
    trials = tuple((name, recipe, trial_file(name, recipe, profile)) for name, recipe in found["trials"])
    missing = sum(file is None for *_, file in trials)
    problem = ""
    if missing:
        here = f"{str(lesson.dtype()).removeprefix('torch.')}, {lesson.device().type}, torch {torch.__version__}"
        problem = f"{missing} of {len(trials)} runs are missing for {here} (made with {found['machine']})"
    elif damaged := [file for *_, file in trials if not _is_whole(file)]:
        problem = f"{len(damaged)} of {len(trials)} runs are damaged or belong to other data, the first: {damaged[0]}"
    return Status(source.number, trials, problem)


def _is_whole(file: Path) -> bool:
    """Whether a kept trial would be recalled: its checksum holds, and the data are those it was computed from."""
    try:
        result = study.read_trial(file)
    except ValueError:
        return False
    # Data that are not on this machine as files would be downloaded to be compared: that is the lesson's business.
    known = {name: seen for name, seen in result["data"].items() if data._files(name, None)}
    return all(data.fingerprint(name) == seen for name, seen in known.items())


def make(source, profile: str = "quick", root=None) -> str:
    """Run a lesson so that its trials are kept, and write the list of them; says what was done. Raises ExecutionError."""
    root = Path(root or lesson.ROOT)
    before = status(source, profile, root)
    if before.ready:
        return f"here already, {len(before.trials)} runs"
    notebook = notebooks.make(source, profile=profile)
    with tempfile.TemporaryDirectory(prefix="kdcourse-prefetch-") as folder:
        lines = Path(folder) / "trials"
        lines.touch()
        watching = f"from kdcourse import prefetch\n\nprefetch.watch({str(lines)!r})"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(watching, id="prefetch"))
        partial = root / "build" / "prefetch" / f"{source.slug}.partial.ipynb"
        settings = {"parameters": {"profile": profile, "first_seed": 0}, "environment": {"KDCOURSE_RESULTS": None}, "root": root}
        _, seconds = execution.execute(notebook, partial, **settings)
        trials = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    machine = f"{str(lesson.dtype()).removeprefix('torch.')}, {lesson.device().type}, torch {torch.__version__}"
    content = {"lesson": source.number, "profile": profile, "key": learners_key(source, root), "machine": machine, "trials": trials}
    lesson.write_json(lesson.cache_folder() / LISTS / list_name(source.number, profile), content)
    after = status(source, profile, root)
    return f"{len(trials)} runs, done in {seconds:.0f} s" + ("" if after.ready else f"; yet {after.problem}")


def expected_seconds(record: dict, cores: int) -> float | None:
    """How long a lesson takes with nothing kept, on `cores` cores as fast as those of its record: its trials spread over them, the rest does not."""
    if "seconds" not in record:
        return None
    cold = record.get("cold_core_seconds") or 0.0
    recorded = max(1, record.get("provenance", {}).get("threads") or 1)
    return max(0.0, record["seconds"] - cold / recorded) + cold / max(1, cores)


# ---- everything else ---------------------------------------------------------------------------------------------------


def machine_problems(root=None) -> list[str]:
    """What is wrong with packages, data files and teachers; executes nothing, downloads nothing."""
    root, problems = Path(root or lesson.ROOT), []
    for name in ("packages", "data", "disk"):
        try:
            good, said, advice = doctor.CHECKS[name](root)
        except Exception as problem:  # as in doctor: what is broken here is what we want to show
            good, said, advice = False, f"{type(problem).__name__}: {problem}", "run: kdcourse doctor"
        problems += [] if good else [f"{name}: {said}; {advice}"]
    for path in sorted((root / keys.TEACHERS).glob("*.safetensors")):
        try:
            study.read_trial(path)
        except ValueError as problem:
            problems.append(f"teacher: {problem}; put the original back: git checkout -- data")
    if not _font_cache():
        problems.append("matplotlib has not listed this machine's fonts yet, which its first figure would wait for; run: kdcourse prefetch")
    return problems


def _font_cache() -> bool:
    import matplotlib

    return any(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))


def first_use() -> None:
    """Do once what first uses wait for: compile this package's modules, import the big libraries, list the fonts."""
    compileall.compile_dir(str(Path(__file__).parent), quiet=2)
    for name in FIRST_USE:
        importlib.import_module(name)


def is_on_disk(name: str) -> bool:
    """Whether torchvision finds a whole copy of an optional data set on this machine; downloads nothing."""
    import torchvision.datasets

    builder = getattr(torchvision.datasets, data._TORCHVISION[name])
    part = "background" if name == "omniglot" else "train"
    for folder in data.data_folders():
        try:
            for value in (True, False):
                builder(str(folder), **{part: value})
        except RuntimeError:
            continue
        return True
    return False


# ---- the command ------------------------------------------------------------------------------------------------------------


def add_arguments(parser) -> None:
    parser.add_argument("--check", action="store_true", help="execute nothing; say per lesson what is here and what is missing")
    parser.add_argument(
        "--data", action="append", default=[], choices=sorted(data._TORCHVISION), metavar="NAME",
        help=f"also fetch a data set of the full profile, with a network: {', '.join(sorted(data._TORCHVISION))} (may be given again)",
    )  # fmt: skip


def command(options, root, each) -> int:
    """Make what is missing, or with --check say what is; `each` runs a function for every lesson and returns the slugs that failed."""
    sources = notebooks.lessons(options.lessons, root)
    if options.check:
        return _check(sources, options, root)
    first_use()
    print("modules compiled, fonts listed", flush=True)
    problems = _fetch(options.data)
    if waiting := [source for source in sources if not status(source, options.profile, root).ready]:
        print(f"{len(waiting)} of {len(sources)} lessons to run, {_time_for(waiting, options.profile, root)}; Ctrl-C is safe, the same command goes on", flush=True)
    failed = each(sources, lambda source: make(source, options.profile, root))
    problems += machine_problems(root)
    return _end(sources, problems, options, root) or (1 if failed else 0)


def _check(sources, options, root) -> int:
    problems = machine_problems(root)
    problems += [f"data set {name} is not on this machine; run: kdcourse prefetch --data {name}" for name in options.data if not is_on_disk(name)]
    return _end(sources, problems, options, root)


def _fetch(names) -> list[str]:
    problems = []
    for name in names:
        try:
            if not is_on_disk(name):
                print(f"downloading {name} …", flush=True)
                data.load(name)
            print(f"data set {name} is here")
        except ValueError as problem:
            problems.append(str(problem))
    return problems


def _end(sources, problems: list[str], options, root) -> int:
    """The state of every lesson, what is wrong, and one last line: ready, or what to do; the exit code."""
    states = [status(source, options.profile, root) for source in sources]
    for source, state in zip(sources, states):
        size = sum(file.stat().st_size for file in set(state.files())) / 2**20
        print(f"  {source.slug:<28}{f'ready, {len(state.trials)} runs, {size:.1f} MB' if state.ready else state.problem}")
    for problem in problems:
        print(f"  {problem}")
    folder = lesson.cache_folder()
    while not folder.exists():
        folder = folder.parent
    print(f"finished runs are kept in {lesson.cache_folder()}; {shutil.disk_usage(folder).free / 2**30:.1f} GiB are free there")
    waiting = [source for source, state in zip(sources, states) if not state.ready]
    if waiting:
        numbers = "" if len(waiting) == len(notebooks.lessons(root=root)) else "".join(f" {source.number}" for source in waiting)
        profile = "" if options.profile == "quick" else f" --profile {options.profile}"
        print(f"NOT ready: run kdcourse prefetch{numbers}{profile} ({_time_for(waiting, options.profile, root)})")
    elif problems:
        print("NOT ready: see above")
    else:
        print("ready for a room without network")
    return 1 if waiting or problems else 0


def _time_for(sources, profile: str, root) -> str:
    """How long these lessons will take on this machine with nothing kept, from what was recorded."""
    records = [notebooks.read_lesson_record(Path(root) / "results", profile, source.number) for source in sources]
    seconds = [expected_seconds(record, study._jobs()) for record in records]
    unknown = sum(value is None for value in seconds)
    total = sum(value or 0.0 for value in seconds)
    if unknown == len(seconds):
        return f"how long is not recorded for the profile {profile}"
    beyond = f", and {unknown} of them without a record" if unknown else ""
    workers = f"{study._jobs()} worker{'' if study._jobs() == 1 else 's'}"
    return f"about {math.ceil(total / 60)} min with {workers}, at the speed of the machine that made the records{beyond}"
