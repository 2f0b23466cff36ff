"""Schedules for teaching with the course: declared minutes and measured run times, put one after another until they add up.

What is declared: minutes of talk and exercises (docs/instructor/NN.md), the lessons of each path (`PATHS`), and the constants below. What
is measured: the seconds of each lesson's runs (results/quick). The rest is arithmetic: every minute of a day belongs to exactly one row.
"""

import functools
import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from kdcourse import lesson, notebooks

START_UP = 15  # the first day: everybody opens lesson 00 and sees one cell run
GREETING = 5  # every further day
VOTE = 3  # before a lesson's experiment: read the claims aloud, vote on each verdict, write the counts down
VERDICTS = 3  # after the runs: the figure, each card beside the counts of its vote
DISCUSSION = 5  # at the end of a lesson: the questions of its instructor notes
BREAK, LUNCH = 15, 60
LONGEST_SITTING = 105  # minutes without a break, at most
SHORTEST_SITTING = 30  # minutes before a break, unless what comes next is too long
LONG_DAY = 300  # a day of more than this many minutes has a lunch break
CLOSING = 10  # the end of every day
BUFFER = 5  # per cent of a day's teaching, kept free at the least
ONE_BREAK = 10  # what a break costs where it is weighed against others: as much as twenty minutes of a break that is too long
UNMEASURED = 180  # seconds assumed for a lesson without a record: the course's limit for a lesson's runs
PROJECT = 60  # minutes of a wrap-up project, at the least; it takes what its day leaves

FRONT_MATTER = re.compile(r"---\nminutes: \{talk: (\d+), exercises: \[(\d*(?:, *\d+)*)\]\}\n---\n")

MEANWHILE = (
    "While a lesson runs its notebook does nothing else: let everybody tell a neighbour why they voted as they did, and where it takes longer than the minutes here, read the "
    "exercises and begin the first on paper. Started when the talk begins, the runs are over sooner; the figure is looked at after the vote all the same."
)

_FIRST = {
    "00": "what can go wrong, and how a claim is read: everything later needs it",
    "01": "the idea itself, with its controls",
    "03": "the one setting everybody has to choose",
}
_DISPUTES = {
    "05": "a dispute between papers that write one T and mean different losses",
    "06": "what else of a teacher can be matched than its answers",
    "09": "many teachers into one network, which is where distillation began",
}
# Which lessons, and why; the times follow. A day is (hours, lessons), "project" for the wrap-up project.
PATHS = {
    "half-day": {"days": [(3.5, tuple(_FIRST))], "why": _FIRST},
    "one-day": {"days": [(8, (*_FIRST, *_DISPUTES))], "why": _FIRST | _DISPUTES},
    "three-day": {
        "days": [(7, ("00", "01", "02", "03", "04")), (7, ("05", "06", "07", "08", "09")), (8, ("10", "11", "12", "13", "project"))],
        "why": {
            "00–04": "the first day: soft targets from every side, in the order in which they build on each other",
            "05–09": "the second day: disputes and variants, each of which needs the first day only",
            "10–13": "the third day: data that are unlabelled, absent, made, or poisoned; 13 needs 12",
            "project": "everybody works on data of their own",
        },
    },
}


@dataclass(frozen=True)
class Row:
    """One line of a day: minutes after midnight, how many minutes, what for. kind: talk, vote, run, verdicts, exercise, discussion, break, lunch, …"""

    start: int
    minutes: int
    what: str
    kind: str
    lesson: str = ""

    @property
    def end(self) -> int:
        return self.start + self.minutes


@dataclass(frozen=True)
class Schedule:
    """A path's days, each a list of rows without gaps, and what they rest on."""

    name: str
    days: list
    why: dict
    notes: list


# ---- what is declared and measured -------------------------------------------------------------------------------------


def declared(number: str, root=None) -> tuple[int, list[int]]:
    """(minutes of talk, minutes of each exercise) of a lesson, from its instructor notes; ValueError where they cannot be read."""
    path = Path(root or lesson.ROOT) / "docs" / "instructor" / f"{number}.md"
    if not path.exists():
        raise ValueError(f"lesson {number} has no instructor notes (expected {path}); its minutes are declared there")
    found = FRONT_MATTER.match(path.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{path} does not begin with ---, minutes: {{talk: 15, exercises: [3, 8, 7]}}, ---")
    return int(found[1]), [int(n) for n in found[2].split(",") if n.strip()]


def measured(number: str, root=None) -> float | None:
    """Seconds that a lesson's runs took where they were recorded (quick profile), or None."""
    return notebooks.read_lesson_record(Path(root or lesson.ROOT) / "results", "quick", number).get("seconds")


def _lesson_rows(source, prefetched: bool, slower: float, root) -> list[tuple]:
    """(minutes, what, kind, lesson) of a lesson, in the order of its notebook and its slides: nobody votes before the talk, or works before the verdicts.

    The runs are a row of their own: nothing is counted twice, nothing overlaps.
    """
    number = source.number
    talk, exercises = declared(number, root)
    rows = [
        (talk, f"{number} · {source.title}", "talk"),
        (VOTE, f"{number} · claims and vote", "vote"),
    ]
    if not prefetched:
        rows.append((math.ceil(slower * (measured(number, root) or UNMEASURED) / 60), f"{number} · the runs", "run"))
    rows.append((VERDICTS, f"{number} · figure and verdicts", "verdicts"))
    rows += [(minutes, f"{number} · exercise {k}", "exercise") for k, minutes in enumerate(exercises, 1)]
    rows.append((DISCUSSION, f"{number} · discussion", "discussion"))
    return [(*row, number) for row in rows if row[0]]


# ---- a day ---------------------------------------------------------------------------------------------------------------


def _day(work: list[tuple], start: int, length: int | None, opening: tuple) -> list[Row]:
    """Rows of one day from `start` on, without gaps: opening, work, breaks, buffer, closing. `length` None: as long as it takes.

    Raises ValueError that says by how many minutes the work does not fit.
    """
    taught = [(*opening, "opening", ""), *work]
    rows = _filled(taught, 0)
    lunch = (length or sum(row[0] for row in rows) + BREAK) > LONG_DAY
    if length is None:
        return _with_breaks(rows, start, lunch)[1]
    shortest = _with_breaks(rows, start, lunch, hurry=True)[1]
    if (needed := shortest[-1].end - start) > length:
        raise ValueError(f"the day needs {needed} minutes, {needed - length} more than its {length}")
    return _best_filled(taught, shortest, length, lunch)


def _best_filled(taught: list[tuple], shortest: list[Row], length: int, lunch: bool) -> list[Row]:
    """The day at its full length: what the shortest leaves goes to project or buffer, to breaks in good places, and to longer breaks."""
    start = shortest[0].start
    spare = start + length - shortest[-1].end
    least = ONE_BREAK * sum(row.kind == "break" for row in shortest)
    best = math.inf, 0, []
    for extra in range(spare, -1, -1):
        if least + (spare - extra) / 2 > best[0]:  # less and less for the project: it cannot become better
            break
        for hurry in (False, True):
            cost, day = _with_breaks(_filled(taught, extra), start, lunch, hurry)
            if (rest := start + length - day[-1].end) >= 0:
                best = min(best, (cost + rest / 2, rest, day), key=lambda found: found[0])
                break
    return _rested(best[2], best[1])


def _filled(taught: list[tuple], extra: int) -> list[tuple]:
    """What is taught, its buffer and the closing, with `extra` minutes more for the project or, where there is none, for the buffer.

    The buffer is reckoned after the project has grown: it is BUFFER per cent of all that is taught, or more.
    """
    project = any(row[2] == "project" for row in taught)
    taught = _stretched(taught, "project", extra)
    buffer = max(5, math.ceil(BUFFER * sum(row[0] for row in taught) / 100))
    free = _stretched([(buffer, "buffer: questions, whatever took longer", "buffer", "")], "buffer", 0 if project else extra)
    return [*taught, *free, (CLOSING, "closing", "closing", "")]


def _stretched(rows: list[tuple], kind: str, extra: int) -> list[tuple]:
    """The rows with `extra` minutes more of a kind, in pieces of an hour at most, so that a break may come between."""
    stretched = []
    for minutes, *rest in rows:
        pieces = math.ceil((minutes + extra) / 60) if rest[1] == kind else 1
        whole = minutes + (extra if rest[1] == kind else 0)
        stretched += [(whole * (k + 1) // pieces - whole * k // pieces, *rest) for k in range(pieces)]
    return stretched


def _rested(day: list[Row], minutes: int) -> list[Row]:
    """The day with so many minutes more of break: the longest break, or a short one before the closing."""
    if not minutes:
        return day
    breaks = [k for k, row in enumerate(day) if row.kind in ("lunch", "break")]
    if breaks:
        at = max(breaks, key=lambda k: day[k].minutes)
        longer = Row(day[at].start, day[at].minutes + minutes, day[at].what, day[at].kind)
    else:
        at = len(day) - 1
        longer = Row(day[at].start, minutes, "break", "break")
    later = [Row(row.start + minutes, row.minutes, row.what, row.kind, row.lesson) for row in day[at + bool(breaks) :]]
    return [*day[:at], longer, *later]


def _cut(before: tuple, after: tuple) -> int:
    """What a break between two rows costs: nothing between lessons, little where a lesson has its joints, much within a block."""
    if not after[3] or after[3] != before[3]:
        return 6 if after[2] in ("buffer", "closing") else 0
    return {("verdicts", "exercise"): 4, ("talk", "vote"): 15, ("project", "project"): 2}.get((before[2], after[2]), 40)


def _with_breaks(rows: list[tuple], start: int, lunch: bool, hurry: bool = False) -> tuple[float, list[Row]]:
    """(cost, rows one after another with the cheapest breaks between): rather between lessons than within, few, lunch near half past twelve.

    hurry: as few as can be, wherever they fall. Nobody sits longer than LONGEST_SITTING; ValueError where one row alone is longer than that.
    """
    for minutes, what, *_ in rows:
        if minutes > LONGEST_SITTING:
            raise ValueError(f"{what} takes {minutes} minutes; nobody sits longer than {LONGEST_SITTING} without a break")
    total = sum(row[0] for row in rows)
    noon = 12 * 60 + 30
    noon = noon if start + 60 <= noon <= start + total else start + total // 2

    @functools.cache
    def best(position: int, clock: int, sitting: int, eaten: bool) -> tuple[int, float, tuple]:
        """(breaks that count in a hurry, cost, what to take before each row from here on) when row `position` could begin at `clock`."""
        if position == len(rows):
            return (0, 0.0, ()) if eaten else (math.inf, math.inf, ())
        minutes = rows[position][0]
        choices = []

        def take(rest: str, pause: int, cost: float, sat: int) -> None:
            number, later, plan = best(position + 1, clock + pause + minutes, sat + minutes, eaten or rest == "lunch")
            choices.append((number + (hurry and rest == "break"), later + cost, (rest, *plan)))

        if sitting + minutes <= LONGEST_SITTING:
            take("", 0, 0, sitting)
        if sitting >= SHORTEST_SITTING or sitting + minutes > LONGEST_SITTING:
            cut = _cut(rows[position - 1], rows[position])
            take("break", BREAK, ONE_BREAK + cut + (6 if sitting < 40 else 0), 0)
            if not eaten:
                take("lunch", LUNCH, cut + abs(clock - noon) / 4, 0)
        return min(choices)

    _, cost, plan = best(0, start, 0, not lunch)
    return cost, _placed(rows, plan, start)


def _placed(rows: list[tuple], plan: tuple, start: int) -> list[Row]:
    """The rows at their times, with the breaks that the plan has before each."""
    placed, clock = [], start
    for (minutes, what, kind, number), rest in zip(rows, plan):
        if rest:
            name = "long break" if rest == "lunch" and not 11 * 60 <= clock <= 14 * 60 + 30 else rest
            placed.append(Row(clock, LUNCH if rest == "lunch" else BREAK, name, rest))
            clock = placed[-1].end
        placed.append(Row(clock, minutes, what, kind, number))
        clock += minutes
    return placed


# ---- paths ---------------------------------------------------------------------------------------------------------------


def plan(path: str, *, start: str = "09:00", hours: float | None = None, prefetched: bool = False, slower: float = 1.0, root=None) -> Schedule:
    """The schedule of a path ("half-day", "one-day", "three-day"). hours: of each day, instead of the path's own.

    prefetched: the runs were made the evening before and take no time; else their measured minutes, times `slower`, rounded up.
    Raises ValueError for an unknown path or time, and where a day does not fit, by how many minutes.
    """
    if path not in PATHS:
        raise ValueError(f"unknown path {path!r}; expected one of {', '.join(PATHS)}, or lessons of your own (--lessons 00 01 --hours 3)")
    days = []
    for position, (own_hours, lessons) in enumerate(PATHS[path]["days"], 1):
        try:
            days.append(_one_day(lessons, own_hours if hours is None else hours, start, position == 1, prefetched, slower, root))
        except ValueError as problem:
            raise ValueError(f"{path}, day {position}: {problem}") from problem
    lessons = [name for _, names in PATHS[path]["days"] for name in names]
    return Schedule(path, days, PATHS[path]["why"], _notes(days, lessons, prefetched, slower, root))


def own(lessons, *, start: str = "09:00", hours: float | None = None, prefetched: bool = False, slower: float = 1.0, root=None) -> Schedule:
    """A schedule of one day for lessons of your choice, in this order. hours None: as long as it takes.

    Raises ValueError for an unknown lesson, and where the lessons do not fit: which do, and by how many minutes the others do not.
    """
    sources = notebooks.lessons(lessons, root)
    numbers = [source.number for source in sources]
    try:
        days = [_one_day(numbers, hours, start, True, prefetched, slower, root)]
    except ValueError as problem:
        if "more than its" not in str(problem):
            raise
        raise ValueError(f"{problem}; {_what_fits(numbers, hours, start, prefetched, slower, root)}") from problem
    return Schedule("own choice", days, {}, _notes(days, numbers, prefetched, slower, root))


def _what_fits(numbers, hours, start, prefetched, slower, root) -> str:
    """How many of the lessons, from the first on, would fit, in words."""
    for count in range(len(numbers) - 1, 0, -1):
        try:
            _one_day(numbers[:count], hours, start, True, prefetched, slower, root)
        except ValueError:
            continue
        return f"{' '.join(numbers[:count])} would fit, without {' '.join(numbers[count:])}"
    return "not even the first of them would fit"


def _one_day(lessons, hours, start: str, first: bool, prefetched: bool, slower: float, root) -> list[Row]:
    if hours is not None and not 0 < hours <= 24:
        raise ValueError(f"a day of {hours} hours; expected more than 0, at most 24")
    if not slower > 0:
        raise ValueError(f"machines {slower} times as slow; expected a number above 0")
    sources = {source.number: source for source in notebooks.lessons(root=root)}
    work = []
    for name in lessons:
        if name == "project":
            work.append((PROJECT, "wrap-up project, on data of your own", "project", "project"))
        elif name not in sources:
            raise ValueError(f"there is no lesson {name}; there are {', '.join(sources)}")
        else:
            work += _lesson_rows(sources[name], prefetched, slower, root)
    opening = (START_UP, "start-up: everybody opens a lesson and runs a cell") if first else (GREETING, "greeting, questions overnight")
    rows = _day(work, _clock(start), None if hours is None else round(60 * hours), opening)
    if rows[-1].end > 24 * 60:
        raise ValueError(f"a day from {start} on would end after midnight")
    return rows


def _clock(text: str) -> int:
    found = re.fullmatch(r"(\d{1,2}):(\d\d)", text)
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise ValueError(f"--start is {text!r}; expected a time such as 09:00")
    return 60 * int(found[1]) + int(found[2])


# ---- what it rests on, in words ---------------------------------------------------------------------------------------------


def _notes(days, lessons, prefetched: bool, slower: float, root) -> list[str]:
    sources = {source.number: source for source in notebooks.lessons(root=root)}
    numbers = [name for name in lessons if name in sources]
    totals = {}
    for row in (row for day in days for row in day):
        totals[row.kind] = totals.get(row.kind, 0) + row.minutes
    sums = " + ".join(f"{kind} {minutes}" for kind, minutes in totals.items())
    runs = sum(math.ceil(slower * (measured(n, root) or UNMEASURED) / 60) for n in numbers)
    factor = "" if slower == 1 else f", taken {slower:g} times for slower machines"
    basis = f"measured where the records were made ({_machines(numbers, root)}; quick profile){factor} and rounded up, {runs} minutes in all"
    taken = (
        f"The runs count nothing here: `kdcourse prefetch` made them the evening before. Without it learners wait: {basis}."
        if prefetched
        else f"The runs are {basis}. After `kdcourse prefetch` the evening before, finished runs are only recalled, and most of these minutes are yours."
    )
    if assumed := [n for n in numbers if measured(n, root) is None]:
        taken += f" Not recorded, so {UNMEASURED // 60} minutes assumed: {', '.join(assumed)}."
    return [
        f"In minutes: {sums} = {sum(totals.values())}.",
        "Talk and exercises are the minutes declared in the instructor notes of each lesson.",
        taken,
        *([] if prefetched else [MEANWHILE]),
        f"Set by hand: start-up {START_UP}, or {GREETING} on further days; for each lesson {VOTE} for the vote, {VERDICTS} for the verdicts and {DISCUSSION} for the discussion; "
        f"breaks of {BREAK}, at least one in {LONGEST_SITTING}; {LUNCH} for lunch on days of more than {LONG_DAY // 60} hours; {CLOSING} to close. The buffer is {BUFFER} % or more of what is "
        f"taught on its day; it{' (on its day the project)' if 'project' in lessons else ''} takes what is left, and a break does where nobody could sit longer.",
        *_missing_prerequisites(lessons, sources),
    ]


def _machines(numbers, root) -> str:
    folder = Path(root or lesson.ROOT) / "results"
    facts = [notebooks.read_lesson_record(folder, "quick", n).get("provenance") for n in numbers]
    devices, dates = ({fact[name] for fact in facts if fact} for name in ("device", "date"))
    when = " to ".join(sorted({min(dates), max(dates)})) if dates else "no record yet"
    return "; ".join([*sorted(devices), when])


def needs(source) -> list[str]:
    """The lessons that a lesson says it needs, as numbers; those that only help are not among them."""
    text = next((cell.source for cell in source.cells if cell.cell_type == "markdown"), "")
    found = re.search(r"minutes · needs (.*)", text)
    return re.findall(r"\[lesson (\d\d)\]", found[1].split("·")[0].split(";")[0]) if found else []


def _missing_prerequisites(lessons, sources) -> list[str]:
    missing = []
    for position, number in enumerate(lessons):
        before = [name for name in (needs(sources[number]) if number in sources else []) if name not in lessons[:position]]
        missing += [f"Lesson {number} needs {' and '.join(before)}; here that is left to the learners' own preparation."] if before else []
    return missing


# ---- printing ------------------------------------------------------------------------------------------------------------


def _time(minutes: int) -> str:
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"


def _headline(schedule: Schedule, day: int) -> str:
    rows = schedule.days[day]
    length = rows[-1].end - rows[0].start
    name = f"day {day + 1}" if len(schedule.days) > 1 else schedule.name
    return f"{name}: {_time(rows[0].start)} to {_time(rows[-1].end)}, {length} minutes"


def text(schedule: Schedule) -> str:
    """The schedule for the terminal and the printer."""
    lines = [schedule.name] if len(schedule.days) > 1 else []
    for position, rows in enumerate(schedule.days):
        lines += ["", _headline(schedule, position), ""]
        lines += [f"  {_time(row.start)} – {_time(row.end)}  {row.minutes:>3} min  {row.what}" for row in rows]
    why = [f"  {names}: {reason}" for names, reason in schedule.why.items()]
    notes = [textwrap.fill(note, 100, initial_indent="* ", subsequent_indent="  ") for note in schedule.notes]
    return "\n".join([*lines, "", *(["Why these lessons:", *why, ""] if why else []), *notes]).strip() + "\n"


def as_markdown(schedule: Schedule) -> str:
    """The schedule as Markdown, from a second-level heading down."""
    lines = [f"## {schedule.name.capitalize()}", ""]
    if schedule.why:
        lines += [*(f"- {names}: {reason}" for names, reason in schedule.why.items()), ""]
    for position, rows in enumerate(schedule.days):
        head = _headline(schedule, position)
        lines += [f"### {head[0].upper()}{head[1:]}" if len(schedule.days) > 1 else f"{head[0].upper()}{head[1:]}.", ""]
        lines += ["| from | to | minutes | what |", "|---|---|---:|---|"]
        lines += [f"| {_time(row.start)} | {_time(row.end)} | {row.minutes} | {row.what.replace('|', chr(92) + '|')} |" for row in rows]
        lines += [""]
    return "\n".join([*lines, *(f"- {note}" for note in schedule.notes), ""])


def markdown(root=None) -> str:
    """All three paths as Markdown, each below a second-level heading."""
    return "\n".join(as_markdown(plan(path, root=root)) for path in PATHS)


# ---- the command ------------------------------------------------------------------------------------------------------------


def add_arguments(parser) -> None:
    parser.add_argument("path", nargs="?", help=f"{', '.join(PATHS)}; all three if left out")
    parser.add_argument("--lessons", nargs="+", metavar="LESSON", help="lessons of your own choice, in this order: 00 01 03")
    parser.add_argument("--hours", type=float, help="the length of a day, breaks included")
    parser.add_argument("--start", default="09:00", help="when a day begins (09:00)")
    parser.add_argument("--prefetched", action="store_true", help="the runs were made the evening before and take no time")
    parser.add_argument("--slower", type=float, default=1.0, metavar="X", help="machines X times as slow as where the lessons were recorded")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown instead of plain text")


def command(options, root) -> int:
    """Print the schedule of a path, of lessons of one's own, or of all paths."""
    if options.lessons and options.path:
        raise ValueError(f"give a path ({options.path}) or --lessons, not both")
    settings = {name: getattr(options, name) for name in ("start", "hours", "prefetched", "slower")} | {"root": root}
    if options.lessons:
        found = [own(options.lessons, **settings)]
    else:
        found = [plan(path, **settings) for path in ([options.path] if options.path else PATHS)]
    show = as_markdown if options.markdown else text
    print("\n".join(map(show, found)), end="")
    return 0
