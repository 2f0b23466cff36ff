"""The `kdcourse` command."""

import argparse
import difflib
import os
import sys
import time
from pathlib import Path

from kdcourse import (
    check_project,
    doctor,
    execution,
    lab,
    lesson,
    notebooks,
    own_images,
    power_page,
    prefetch,
    progress,
    project,
    quizzes,
    report,
    schedule,
    site,
    slides,
    workshop,
)


def main(arguments=None) -> int:
    """Run one command; the exit code is 0 when all went well, 1 when a lesson or check failed, 2 for bad input."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ gets ?
    try:
        parser, commands = _parser()
        _known_command(arguments, list(commands))
        options = parser.parse_args(arguments)
        _known_profile(getattr(options, "profile", None))
        if options.command is not _doctor and not (lesson.ROOT / "notebooks").is_dir():
            raise ValueError(notebooks.no_lessons(lesson.ROOT / "notebooks"))
        return options.command(options, lesson.ROOT)
    except (ValueError, OSError) as problem:
        named = isinstance(problem, OSError) and problem.strerror and problem.filename
        print(f"kdcourse: {f'{problem.filename}: {problem.strerror}' if named else problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; finished trials are kept, the same command goes on from there", file=sys.stderr)
        return 130


def _known_command(arguments: list[str], commands: list[str]) -> None:
    """ValueError for a word that is no command, with the nearest one."""
    word = arguments[0] if arguments else ""
    if word in commands or word.startswith("-"):
        return
    near = difflib.get_close_matches(word.lower(), commands, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError((f"unknown command {word!r}; {hint}" if word else "which command? ") + f"({', '.join(commands)})")


def _known_profile(profile: str | None) -> None:
    """ValueError for what $KDCOURSE_PROFILE may say (argparse looks at the option only)."""
    if profile is not None and profile not in lesson.PROFILES:
        raise ValueError(f"unknown profile {profile!r}; expected one of {', '.join(lesson.PROFILES)}")


def _parser() -> tuple[argparse.ArgumentParser, dict]:
    """The parser, and its commands by name."""
    parser = argparse.ArgumentParser(prog="kdcourse", description="Run, build and report on the course.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name, function, text, lessons=True):
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=function)
        if lessons:
            made.add_argument("lessons", nargs="*", help="01, 01_slug or a path; all of them if left out")
            made.add_argument(
                "--profile", choices=lesson.PROFILES, default=os.environ.get("KDCOURSE_PROFILE") or "quick"
            )
        return made

    made = command("run", run, "execute lessons into build/ and report on them")
    made.add_argument("--first-seed", type=int, default=0, help="another number gives fresh seeds everywhere")
    made.add_argument("--out", default=None, help="the folder to write to (build)")
    made.add_argument("--cold", action="store_true", help="start from an empty trial cache")
    made = command("build", build, "make the notebooks from their sources, executing what changed")
    made.add_argument(
        "--check", action="store_true", help="execute nothing; fail where stored notebooks are out of date"
    )
    made.add_argument(
        "--stale", action="store_true", help="run lessons whose code or data changed, cold; compare verdicts"
    )
    made.add_argument("--record", action="store_true", help="write to notebooks/ and results/ instead of build/")
    made.add_argument("--force", action="store_true", help="execute even where nothing changed")
    made = command("report", make_report, "rebuild the report from the records", lessons=False)
    made.add_argument("--results", default=None, help="the folder of records (results)")
    made.add_argument("--readme", action="store_true", help="rewrite the syllabus in README.md")
    made.add_argument("--check", action="store_true", help="only say whether the README and the records are in order")
    made.add_argument("--compare", metavar="RESULTS", help="fail where primary verdicts there differ from the records")
    made.add_argument("--power", action="store_true", help="print what the seeds can see and how many are needed; write nothing")
    made.add_argument("--profile", choices=lesson.PROFILES, default="quick", help="the profile to compare and to list")
    command("doctor", _doctor, "check this machine and this installation", lessons=False)
    lab.add_arguments(command("lab", lab.main, "copy new lessons to work/ and open JupyterLab there", lessons=False))
    progress.add_arguments(
        command("progress", progress.main, "show which exercises pass in your copies in work/", lessons=False)
    )
    command("quiz", quiz, "ask the questions of a lesson, one by one", lessons=False).add_argument("lesson", help="01, 01_slug or a path")
    _teaching(command)
    return parser, commands.choices


def _teaching(command) -> None:
    """The commands of the wrap-up project and of the workshop kit."""
    made = command("project", project.main, "put the wrap-up project's notebook and ledger into work/", lessons=False)
    made.add_argument("--solution", action="store_true", help="a worked example instead")
    made = command("check-project", check_project.main, "what of a project's notebook holds, point by point of the rubric", lessons=False)
    check_project.add_arguments(made)
    made = command("import-images", own_images.main, "make a data set of your own images, KMNIST or drawn letters", lessons=False)
    own_images.add_arguments(made)
    made = command("schedule", schedule.command, "a timetable for teaching: half-day, one-day, three-day or your own", lessons=False)
    schedule.add_arguments(made)
    made = command(
        "prefetch",
        lambda options, root: prefetch.command(options, root, _each),
        "the evening before: run and keep what a room without network will need",
    )
    prefetch.add_arguments(made)
    made = command("dist-workshop", workshop.command, "one zip that a learner unpacks and runs, in build/", lessons=False)
    workshop.add_arguments(made)
    site.add_arguments(command("site", site.command, "build the site from the stored notebooks, executing nothing", lessons=False))
    made = command("slides", slides.main, "slides of lessons from the stored notebooks, executing nothing", lessons=False)
    made.add_argument("lessons", nargs="*", help="01, 01_slug or a path; all of them if left out")
    made.add_argument("--out", default=None, help="the folder to write to (build/slides)")


def _doctor(options, root) -> int:
    return doctor.main(root)


def _not_a_copy(names, root) -> None:
    """ValueError for a learner's own notebook: run and build know the course's lessons only."""
    for path in map(Path, names):
        if path.suffix == ".ipynb" and path.is_file() and not path.resolve().is_relative_to(root / "notebooks"):
            if notebooks.read(path) is None:
                raise ValueError(lab.unreadable(path.resolve()))
            raise ValueError(
                f"{path} is a copy of your own; this command executes the course's lessons. Your answers: kdcourse progress --run {path.stem[:2]}"
            )


def run(options, root) -> int:
    """Execute learner notebooks into build/, then report. A lesson that fails does not keep the others from running."""
    _not_a_copy(options.lessons, root)
    if options.first_seed < 0:
        raise ValueError(f"--first-seed is {options.first_seed}; expected 0 or more")
    chosen, out = notebooks.lessons(options.lessons, root), Path(options.out or root / "build")
    settings = {"profile": options.profile, "first_seed": options.first_seed}
    failed = _each(
        chosen,
        lambda source: _one_run(source, out, options.cold, settings, root),
        lambda source: f"profile {options.profile}{_expected(source, options.profile, root)}",
    )
    folder = notebooks.profile_folder(out / "results", **settings).name
    target = _write(out / "report.html", report.page(out / "results", root, [folder]))
    print(
        f"\n{report.terminal(report.gather(out / 'results', folder, root), {s.number for s in chosen})}\n\nreport: {target}"
    )
    return _end(failed, chosen)


def _one_run(source, out: Path, cold: bool, settings: dict, root) -> str:
    record = execution.run(source, out, cold=cold, root=root, **settings)
    return f"done in {record['seconds']:.0f} s: {out / 'notebooks' / source.slug}.ipynb"


def _expected(source, profile: str, root) -> str:
    seconds = notebooks.read_lesson_record(root / "results", profile, source.number).get("seconds")
    return f", about {max(seconds / 60, 0.1):.1f} min where it was recorded" if seconds else ""


def _each(chosen, work, remark=lambda source: "") -> list[str]:
    """Do `work` for every lesson, saying which one and how long all took so far; the slugs of those that failed."""
    failed, started = [], time.perf_counter()
    for position, source in enumerate(chosen, 1):
        print(f"[{position}/{len(chosen)}] {source.slug}  {remark(source)}".rstrip(), flush=True)
        try:
            outcome = work(source)
        except execution.ExecutionError as problem:
            print(problem, file=sys.stderr, flush=True)
            failed.append(source.slug)
            outcome = "FAILED"
        print(f"      {outcome}  ({time.perf_counter() - started:.0f} s elapsed)", flush=True)
    return failed


def _end(failed: list[str], chosen) -> int:
    if failed:
        print(f"{len(failed)} of {len(chosen)} lessons did not run to their end: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def build(options, root) -> int:
    """Make notebooks from sources; with --check or --stale, see that the committed ones still hold."""
    workshop.refuse_in_copy(root)
    _not_a_copy(options.lessons, root)
    if options.check:
        chosen = notebooks.lessons(options.lessons, root)
        problems = [problem for source in chosen for problem in notebooks.check(source, root)]
        return _complain(problems + notebooks.orphans(root), f"{len(chosen)} lessons are as they were executed")
    if options.stale:
        return _build_stale(options, root)
    chosen = notebooks.lessons(options.lessons, root)
    settings = {"profile": options.profile, "record": options.record, "force": options.force, "root": root}
    failed = _each(
        chosen, lambda s: execution.build(s, **settings), lambda s: _expected(s, options.profile, root).strip(", ")
    )
    return _end(failed, chosen)


def _build_stale(options, root) -> int:
    """Execute, from an empty cache, the lessons whose key is not the recorded one; their verdicts must be the recorded ones."""
    asked = {source.slug for source in notebooks.lessons(options.lessons, root)}
    chosen = [source for source in notebooks.stale_lessons(options.profile, root) if source.slug in asked]
    print(f"changed since they were recorded: {', '.join(source.slug for source in chosen) or 'none'}")
    out, settings = root / "build" / "stale", {"profile": options.profile, "first_seed": 0}
    failed = _each(chosen, lambda source: _one_run(source, out, True, settings, root))
    recorded, fresh = (report.gather(base / "results", options.profile, root) for base in (root, out))
    numbers = {source.number for source in chosen if source.slug not in failed}
    wrong = _complain(report.differences(recorded, fresh, numbers), "no verdict differs from its record")
    return _end(failed, chosen) or wrong


def _complain(problems: list[str], otherwise: str) -> int:
    """Print what is wrong, or that nothing is; the exit code."""
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(otherwise)
    return 1 if problems else 0


def make_report(options, root) -> int:
    """Rebuild the page from the records; bring the README up to date, or check both, or compare with other records."""
    for folder in filter(None, (options.results, options.compare)):
        if not Path(folder).is_dir():
            raise ValueError(f"{folder} is not a folder; expected one with records, such as results or build/results")
    results = Path(options.results or root / "results")
    evidence = report.gather(results, options.profile, root)
    if options.compare:
        fresh = report.gather(options.compare, options.profile, root)
        numbers = {source.number for source in notebooks.lessons(root=root)}
        return _complain(
            fresh.problems + report.differences(evidence, fresh, numbers), "no verdict differs from its record"
        )
    if options.power:
        print(f"{power_page.terminal(evidence)}\n")
        return _complain(evidence.problems, "the records are in order")
    problems = list(evidence.problems)
    if options.readme:
        problems += report.update_readme(evidence, options.check, root, report.gather(results, "full", root))
    if not options.check:
        target = _write(root / "build" / "report.html", report.page(results, root))
        print(f"{report.terminal(evidence)}\n\nreport: {target}")
    return _complain(problems, "the records are in order" + (", and so is the README" if options.readme else ""))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def quiz(options, root) -> int:
    """Ask the questions of a lesson in the terminal; a wrong answer is no failure."""
    quizzes.ask(options.lesson, root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
