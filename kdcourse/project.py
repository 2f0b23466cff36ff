"""The wrap-up project as its notebook uses it: a study that writes down what was claimed, what was tried and what was run, in this order.

Beside the notebook lie NAME_claims.toml (the claim, edited by the learner) and NAME_results/ (records of `kd.judge`, and log.jsonl, written here). Every entry of
the log holds the time and the digest of the entry before it. That keeps an honest book honest; it is no proof against somebody who writes a new book.
"""

import datetime
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import display

from kdcourse import claims, lesson, notebooks, study
from kdcourse import data as datasets
from kdcourse.own_images import TAKEN

PILOT_SEEDS = 9000  # from here on seeds are for choosing, below for the study
BUNDLE = "application/vnd.kdcourse.project+json"
ROLES = ("hard", "soft", "control", "teacher")  # as in plots.COLOURS

_name = "project"


def begin(profile: str = "quick", first_seed: int = 0, name: str = "project") -> lesson.Lesson:
    """Open the project called `name`, which lies beside its notebook; later sweeps, logs and verdicts belong to it.

    Raises ValueError for a first seed that belongs to pilots, and for what `kd.start` refuses.
    """
    global _name
    if first_seed >= PILOT_SEEDS:
        raise ValueError(f"first_seed is {first_seed}; seeds from {PILOT_SEEDS} on are for pilots, the study needs others")
    _name = name
    os.environ["KDCOURSE_RESULTS"] = str(_results())
    return lesson.start(name, profile, first_seed)


def folder() -> Path:
    """Where the notebook lies: $KDCOURSE_PROJECT, else the folder it runs in (work/ when that is the course's own)."""
    here = Path(os.environ.get("KDCOURSE_PROJECT") or Path.cwd())
    return lesson.ROOT / "work" if here.resolve() == lesson.ROOT.resolve() else here.resolve()


def _results() -> Path:
    return folder() / f"{_name}_results"


def read_claims() -> dict[str, claims.Claim]:
    """The learner's ledger, for `announce` and `judge`; ValueError where it is missing, not filled in or not right."""
    path = folder() / f"{_name}_claims.toml"
    if not path.exists():
        raise ValueError(f"{path} is missing; `kdcourse project` puts a new one beside your notebook")
    ledger = claims.read_ledger(path)
    mine = [claim for claim in ledger.values() if claim.lesson == _name and claim.kind == "primary"]
    if not mine or len(ledger) > len([c for c in ledger.values() if c.lesson == _name]):
        raise ValueError(f'{path.name} needs a primary claim, and every claim of it lesson = "{_name}"')
    if open_ones := [claim.id for claim in ledger.values() if "..." in claim.statement + claim.source]:
        raise ValueError(f"{path.name}: the statement or source of {open_ones[0]} still has a blank (...); fill it in")
    return ledger


def register() -> claims.Announcement:
    """Fix the claims as they stand in the ledger now, before any run of the study; prints their code and returns them as a table.

    Raises ValueError for a claim that was changed or added after runs with these seeds: it needs fresh ones.
    """
    ledger = read_claims()
    hashes = _hashes(ledger)
    entry = {"event": "claim", **_settings(), "claims": hashes}
    log = read_log()
    ran = [old for old in log if old["event"] == "study" and _same_settings(old, entry)]
    before = [old["claims"] for old in log if old["event"] == "claim" and _same_settings(old, entry)]
    if ran and hashes not in before:
        raise ValueError(
            f"the claims were changed after the runs of seeds {ran[0]['seeds']}: a claim that knows its runs is not tested by them. "
            f"Put the ledger back as it was, or give the new claim a new id and choose another first_seed for fresh runs"
        )
    _append(entry)
    print(f"registered: {', '.join(ledger)} · code {code(hashes)} (write it down where others see it: it proves what you claimed before the runs)")
    return claims.announce(_name, ledger=ledger)


def code(hashes: dict[str, str]) -> str:
    """Eight characters that stand for the claims: another threshold or word would give others."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:8]


def _hashes(ledger: dict) -> dict[str, str]:
    return {claim.id: claims.claim_hash(claim, claims.primary_claims(ledger, claim.lesson)) for claim in ledger.values()}


def pilot(trial, *, seeds, **grid) -> pd.DataFrame:
    """`kd.sweep` for choosing: with seeds from 9000 on, and `part="validation"` handed to the trial. It is logged.

    Raises ValueError for other seeds, for `part`, and for blanks that are left.
    """
    seeds = _check(trial, seeds, grid)
    if wrong := [seed for seed in seeds if seed < PILOT_SEEDS]:
        raise ValueError(f"pilot seed {wrong[0]}; expected {PILOT_SEEDS} or more, so that no run of the study is known beforehand")
    runs = study.sweep(trial, seeds=seeds, part="validation", **grid)
    axes = [name for name, value in grid.items() if isinstance(value, list | tuple | range)]
    rows = runs[[*axes, "seed", *(["errors"] if "errors" in runs else [])]].to_dict("records")
    _append({"event": "pilot", **_settings(), "trial": trial.__name__, "part": "validation", "seeds": seeds, "grid": grid, "runs": _plain(rows)})
    return runs


def run_study(trial, *, seeds, roles: dict[str, str], data: str, **constants) -> pd.DataFrame:
    """The study itself: one `kd.sweep` over the arms with `part="test"`, everything else equal for all arms. It is logged.

    roles: arm → "hard" (labels), "soft" (distilled) or "control"; the trial gets `arm`, `data`, `part`, `seed` and the constants.
    Raises ValueError where the claims are not registered, and for settings that would not be a study: pilot seeds, two settings at once, a data
    set of the lessons.
    """
    seeds = _check(trial, seeds, {"data": data, "roles": roles, **constants})
    if data in TAKEN:
        raise ValueError(f"{data} is the data set of a lesson; the project needs one that no lesson has used")
    if wrong := [f"{arm} = {role!r}" for arm, role in roles.items() if role not in ROLES]:
        raise ValueError(f"roles: {wrong[0]}; expected one of {', '.join(ROLES)}")
    if wrong := [seed for seed in seeds if seed >= PILOT_SEEDS]:
        raise ValueError(f"seed {wrong[0]} is a pilot seed; the study needs seeds below {PILOT_SEEDS}, from first_seed on")
    if wrong := [name for name, value in constants.items() if isinstance(value, list | tuple | range)]:
        raise ValueError(f"{wrong[0]} has several values; in the study all but the arm is fixed (choose with pilots)")
    entry = {"event": "study", **_settings(), "trial": trial.__name__, "part": "test", "seeds": seeds, "roles": roles, "data": _about(data)}
    entry |= {"constants": constants}
    registered = [old["claims"] for old in read_log() if old["event"] == "claim" and _same_settings(old, entry)]
    if _hashes(read_claims()) not in registered:
        raise ValueError("the claims as they stand in your ledger are not registered; run project.register() before the study")
    _append(entry)  # before the first run, so that a claim changed after a look at half of them is noticed
    runs = study.sweep(trial, seeds=seeds, arm=list(roles), data=data, part="test", **constants)
    kept = [name for name in ("arm", "seed", "init", "order", "steps", "errors") if name in runs]
    rows = runs[kept].assign(examples=[len(c) for c in runs["correct"]]).to_dict("records")
    _append({"event": "runs", **_settings(), "runs": _plain(rows)})
    return runs


def _check(trial, seeds, settings: dict) -> list[int]:
    """The seeds as a list; ValueError for blanks, for `part` and for seeds given twice."""
    blanks = [name for name, value in {"the trial": trial, "seeds": seeds, **settings}.items() if _blank(value)]
    if blanks:
        raise ValueError(f"there is a blank (...) left in {blanks[0]}; fill it in first")
    if "part" in settings:
        raise ValueError('part is set for you: "validation" in a pilot, "test" in the study; leave it out')
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    if len(set(seeds)) < len(seeds) or not seeds:
        raise ValueError(f"seeds are {seeds}; expected at least one, none twice")
    return seeds


def _blank(value) -> bool:
    items = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else [value]
    return any(item is ... for item in items)


def _about(name: str) -> dict:
    """What a reader needs to know of the data: size, classes, checksum, and how many test images are among the training images."""
    whole = datasets.load(name)
    training = {image.tobytes() for image in whole.train.images.numpy()}
    shared = sum(image.tobytes() in training for image in whole.test.images.numpy())
    sizes = {"train": len(whole.train), "test": len(whole.test), "classes": list(whole.classes)}
    return {"name": name, "fingerprint": datasets.fingerprint(name), **sizes, "shared": shared}


# ---- the log ----


def read_log() -> list[dict]:
    """The entries so far, oldest first; ValueError naming the file where a line cannot be read."""
    path = _results() / "log.jsonl"
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    except ValueError as problem:
        raise ValueError(f"{path} is damaged ({problem}); put it back from a copy, or move {path.parent.name}/ away and begin anew") from None


def digest(entry: dict) -> str:
    """The sha256 of a log entry, which the next one carries."""
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _append(entry: dict) -> None:
    """Add an entry to the log, unless it says what an earlier one says: running the notebook again changes nothing."""
    entry, log = _plain(entry), read_log()
    if any({k: v for k, v in old.items() if k not in ("time", "previous")} == entry for old in log):
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    log.append({"time": now, **entry, "previous": digest(log[-1]) if log else ""})
    path = _results() / "log.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
    os.replace(temporary, path)


def _settings() -> dict:
    current = lesson.current()
    return {"project": _name, "profile": current.profile, "first_seed": current.first_seed}


def _same_settings(a: dict, b: dict) -> bool:
    return all(a.get(name) == b.get(name) for name in ("project", "profile", "first_seed"))


def _plain(value):
    """As it will come back from JSON."""
    return json.loads(json.dumps(value, default=lambda other: other.item() if isinstance(other, np.generic) else str(other)))


# ---- handing in ----


def hand_in() -> None:
    """Put ledger, log and records into the notebook itself, as the output of this cell, so that the notebook alone can be checked."""
    found = lesson.results_folder()
    records = [record for record in claims.read_records(found) if record["claim"]["lesson"] == _name] if found.exists() else []
    ledger = (folder() / f"{_name}_claims.toml").read_text(encoding="utf-8")
    bundle = {**_settings(), "ledger": ledger, "log": read_log(), "records": records}
    said = [f"{r['claim']['id']}: {r['verdict']}" for r in records] or ["no verdict is recorded in the smoke profile: run with profile = 'quick' to hand in"]
    text = f"handed in: ledger, {len(bundle['log'])} log entries, {len(records)} records ({'; '.join(said)}). Save the notebook, then: kdcourse check-project"
    display({BUNDLE: _plain(bundle), "text/plain": text}, raw=True)


# ---- the command ----


def main(options, root) -> int:
    """`kdcourse project`: put the notebook and the ledger of a project into work/; what is there is never overwritten."""
    source, work = Path(root) / "notebooks" / "project", Path(root) / "work"
    name = "solution" if options.solution else "project"
    if not (source / f"{name}.py").exists():
        raise ValueError(f"{source / f'{name}.py'} is missing; kdcourse runs from a checkout of the course (git clone, then make course)")
    work.mkdir(exist_ok=True)
    for path, make in (
        (work / f"{name}.ipynb", lambda path: notebooks.write(make_notebook(source / f"{name}.py"), path)),
        (work / f"{name}_claims.toml", lambda path: shutil.copyfile(source / f"{name}_claims.toml", path)),
    ):
        if path.exists():
            print(f"kept: work/{path.name} is there already")
        else:
            make(path)
            print(f"new: work/{path.name}")
    print(f"Open it with: kdcourse lab. What is asked and how it is marked: docs/project.md. Check it with: kdcourse check-project work/{name}.ipynb")
    return 0


def make_notebook(path):
    """The notebook of a percent-format source, without outputs; ValueError where it cannot be read."""
    source = notebooks.read_source(path)
    cells = [
        (notebooks.nbformat.v4.new_code_cell if cell.cell_type == "code" else notebooks.nbformat.v4.new_markdown_cell)(
            cell.source, id=f"{source.slug}-{k}", metadata=dict(cell.metadata)
        )
        for k, cell in enumerate(source.cells)
    ]
    notebook = notebooks.nbformat.v4.new_notebook(cells=cells)
    return notebooks.clean(notebook)
