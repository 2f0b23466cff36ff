"""Schedules add up: totals counted anew from the files, no gap, no overlap, breaks in time, and an overfull day is refused."""

import itertools
import json
import math
import re

import pytest
from fake_course import write_lesson

from kdcourse import cli, lesson, notebooks, schedule

TABLE = re.compile(r"^\| (\d\d):(\d\d) \| (\d\d):(\d\d) \| (\d+) \| (.+) \|$", re.M)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Three small lessons (talk 20, exercises 5 and 10, runs of 61 seconds); the course's root."""
    root = tmp_path / "course"
    for number in ("00", "01", "03"):
        write_lesson(root, f"{number}_tiny")
        _declare(root, number, 20, [5, 10])
        _measure(root, number, 61)
    monkeypatch.setattr(lesson, "ROOT", root)
    return root


def _declare(root, number, talk, exercises):
    path = root / "docs" / "instructor" / f"{number}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nminutes: {{talk: {talk}, exercises: {exercises}}}\n---\n\n# Notes\n")


def _measure(root, number, seconds):
    path = root / "results" / "quick" / f"lesson-{number}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"device": "CPU, 2 cores", "date": "2026-01-02"}
    path.write_text(json.dumps({"seconds": seconds, "provenance": facts}))


def _minutes(rows, kind):
    return sum(row.minutes for row in rows if row.kind == kind)


def _gaps(rows):
    return [after.start - before.end for before, after in itertools.pairwise(rows)]


def _longest_sitting(rows) -> int:
    """Minutes without a break at the most, from clock times alone."""
    pauses = [row for row in rows if row.kind in ("break", "lunch")]
    begins = [rows[0].start, *(row.end for row in pauses)]
    ends = [*(row.start for row in pauses), rows[-1].end]
    return max(end - begin for begin, end in zip(begins, ends))


# ---- the course's own paths ----


@pytest.mark.parametrize("path", schedule.PATHS)
def test_a_path_adds_up_from_the_files_themselves(path):
    made = schedule.plan(path)
    for rows, (hours, lessons) in zip(made.days, schedule.PATHS[path]["days"], strict=True):
        assert set(_gaps(rows)) == {0}
        assert all(row.minutes > 0 for row in rows)
        assert rows[0].start == 9 * 60
        assert rows[-1].end - rows[0].start == 60 * hours == sum(row.minutes for row in rows)
        assert _longest_sitting(rows) <= 105
        talk, exercises, runs = 0, 0, 0
        for number in (name for name in lessons if name != "project"):
            # read with another eye than the module's
            front = (lesson.ROOT / "docs" / "instructor" / f"{number}.md").read_text().split("---")[1]
            first, *others = [int(n) for n in re.findall(r"\d+", front)]
            record = json.loads((lesson.ROOT / "results" / "quick" / f"lesson-{number}.json").read_text())
            talk, exercises, runs = talk + first, exercises + sum(others), runs + math.ceil(record["seconds"] / 60)
        assert (_minutes(rows, "talk"), _minutes(rows, "exercise"), _minutes(rows, "run")) == (talk, exercises, runs)
        assert ("project" in lessons) == (_minutes(rows, "project") >= schedule.PROJECT)
        taught = sum(row.minutes for row in rows if row.kind not in ("break", "lunch", "buffer", "closing"))
        assert _minutes(rows, "buffer") >= 0.05 * taught > 0.05 * (talk + exercises + runs), "of the whole day, the stretched project included"


@pytest.mark.parametrize("path", schedule.PATHS)
def test_a_lesson_goes_as_its_notebook_and_its_slides_do(path):
    for rows in schedule.plan(path).days:
        for number in {row.lesson for row in rows} - {"", "project"}:
            kinds = [kind for kind, _ in itertools.groupby(row.kind for row in rows if row.lesson == number)]
            assert kinds == ["talk", "vote", "run", "verdicts", "exercise", "discussion"], number


@pytest.mark.parametrize("path", schedule.PATHS)
def test_a_break_of_a_path_cuts_a_lesson_only_at_its_joints(path, monkeypatch):
    monkeypatch.setattr(schedule, "measured", lambda number, root=None: 190.0 if number == "06" else 135.0)  # a minute more or less moves breaks
    for rows in schedule.plan(path).days:
        around = [(rows[k - 1], rows[k + 1]) for k, row in enumerate(rows) if row.kind in ("break", "lunch")]
        assert around
        for before, after in around:
            assert before.lesson != after.lesson or (before.kind, after.kind) in (("talk", "vote"), ("verdicts", "exercise"), ("project", "project"))


def test_the_paths_are_told_apart_and_have_reasons():
    numbers = [{name for _, names in path["days"] for name in names} for path in schedule.PATHS.values()]
    half, one, three = numbers
    assert half < one < three
    assert three - {"project"} == {source.number for source in notebooks.lessons()}
    for path in schedule.PATHS.values():
        named = " ".join(path["why"])
        for _, lessons in path["days"]:
            assert all(name in named or any(_within(name, span) for span in path["why"]) for name in lessons)
        assert all(len(reason) > 20 for reason in path["why"].values())


def _within(name, span):
    first, _, last = span.partition("–")
    return bool(last) and first <= name <= last


@pytest.mark.parametrize("path", schedule.PATHS)
def test_no_path_teaches_a_lesson_before_one_that_it_needs(path):
    assert not [note for note in schedule.plan(path).notes if "needs" in note]


def test_prerequisites_are_read_from_the_lessons():
    needed = {source.number: schedule.needs(source) for source in notebooks.lessons()}
    assert needed["00"] == []
    assert needed["05"] == ["01"], "lesson 03 only helps there"
    assert needed["06"] == ["01", "03"]
    assert all(number == "00" or before for number, before in needed.items())


def test_the_page_of_the_site_holds_every_row_of_all_paths():
    page = schedule.markdown()
    rows = [tuple(map(int, found[:5])) for found in TABLE.findall(page)]
    assert len(rows) == sum(len(day) for path in schedule.PATHS for day in schedule.plan(path).days)
    assert all(60 * h2 + m2 - 60 * h1 - m1 == minutes for h1, m1, h2, m2, minutes in rows)
    assert sum(minutes for *_, minutes in rows) == 60 * sum(h for path in schedule.PATHS.values() for h, _ in path["days"])
    assert [page.count(f"\n## {name}") + page.startswith(f"## {name}") for name in ("Half-day", "One-day", "Three-day")] == [1, 1, 1]


# ---- changed minutes change the schedule ----


def test_declared_and_measured_minutes_count(course):
    before = schedule.own(["00", "01"])
    _declare(course, "00", 25, [5, 10])
    longer_talk = schedule.own(["00", "01"])
    assert _minutes(longer_talk.days[0], "talk") == _minutes(before.days[0], "talk") + 5
    _measure(course, "01", 359)
    longer_runs = schedule.own(["00", "01"])
    assert _minutes(longer_runs.days[0], "run") == 2 + 6
    assert _minutes(schedule.own(["00", "01"], slower=2).days[0], "run") == 3 + 12
    assert _minutes(schedule.own(["00", "01"], prefetched=True).days[0], "run") == 0
    assert "8 minutes in all" in " ".join(schedule.own(["00", "01"], prefetched=True).notes), "what it saves is still said"


def test_a_lesson_without_a_record_is_counted_and_named(course):
    (course / "results" / "quick" / "lesson-01.json").unlink()
    made = schedule.own(["00", "01"])
    assert _minutes(made.days[0], "run") == 2 + 3
    assert "Not recorded, so 3 minutes assumed: 01." in " ".join(made.notes)


@pytest.mark.parametrize(("hours", "start"), [(2.5, "13:00"), (3.5, "08:30"), (3.25, "9:00"), (6, "10:00"), (9, "14:59")])
def test_any_length_is_filled_to_the_minute(course, hours, start):
    (rows,) = schedule.own(["00", "01", "03"][: 3 if hours > 2.5 else 2], hours=hours, start=start).days
    assert set(_gaps(rows)) == {0}
    assert rows[-1].end - rows[0].start == 60 * hours
    assert _longest_sitting(rows) <= 105
    assert sum(row.kind == "lunch" for row in rows) == (hours > 5)
    if start == "10:00":
        assert any(row.what == "lunch" and abs(row.start - 750) <= 45 for row in rows)


def test_a_day_one_minute_too_short_is_refused_by_one_minute(course):
    (rows,) = schedule.own(["00", "01", "03"]).days
    needed = rows[-1].end - rows[0].start
    assert len(schedule.own(["00", "01", "03"], hours=needed / 60).days) == 1
    with pytest.raises(ValueError, match=rf"needs {needed} minutes, 1 more than its {needed - 1}; 00 01 would fit, without 03"):
        schedule.own(["00", "01", "03"], hours=(needed - 1) / 60)
    with pytest.raises(ValueError, match="not even the first"):
        schedule.own(["00"], hours=0.5)


def test_an_overfull_path_is_refused(course):
    _declare(course, "01", 45, [10, 10, 10, 10, 10])
    with pytest.raises(ValueError, match=r"half-day, day 1: the day needs \d+ minutes, \d+ more than its 210"):
        schedule.plan("half-day")


def test_breaks_come_between_lessons_where_they_can(course):
    (rows,) = schedule.own(["00", "01"]).days
    after = [rows[k + 1] for k, row in enumerate(rows) if row.kind == "break"]
    assert [row.kind for row in after] == ["talk"]


def test_where_a_lesson_has_to_be_cut_it_is_before_its_exercises(course):
    _declare(course, "00", 60, [20, 30])
    (rows,) = schedule.own(["00"]).days
    around = [(rows[k - 1].kind, rows[k + 1].kind) for k, row in enumerate(rows) if row.kind == "break"]
    assert around == [("verdicts", "exercise")]


def test_a_day_that_is_too_short_for_breaks_in_good_places_has_them_where_they_fit(course):
    for number in ("00", "01", "03"):
        _declare(course, number, 32, [4, 4])
    (free,) = schedule.own(["00", "01", "03"]).days
    (tight,) = schedule.own(["00", "01", "03"], hours=3.5).days
    assert free[-1].end > tight[-1].end == 12 * 60 + 30
    assert [sum(row.kind == "break" for row in rows) for rows in (free, tight)] == [2, 1]
    assert _longest_sitting(tight) <= 105


def test_what_to_do_while_a_lesson_runs_is_said(course):
    assert schedule.MEANWHILE in schedule.own(["00"]).notes
    assert schedule.MEANWHILE not in schedule.own(["00"], prefetched=True).notes


def test_a_missing_prerequisite_is_said(course):
    write_lesson(course, "05_late", "# %% [markdown]\n# # Late\n# 9 minutes · needs [lesson 01](01_tiny.ipynb); [lesson 03](x) helps\n")
    _declare(course, "05", 20, [5])
    assert any(note.startswith("Lesson 05 needs 01;") for note in schedule.own(["00", "05"]).notes)
    assert not any("needs" in note for note in schedule.own(["01", "05"]).notes)


# ---- bad input, and the command ----


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["two-day"], "expected one of half-day, one-day, three-day"),
        (["half-day", "--start", "25:00"], "expected a time such as 09:00"),
        (["half-day", "--start", "22:00"], "after midnight"),
        (["half-day", "--hours", "0"], "expected more than 0"),
        (["half-day", "--slower", "0"], "expected a number above 0"),
        (["half-day", "--lessons", "00"], "not both"),
        (["--lessons", "04"], "unknown lesson '04'"),
    ],
)
def test_bad_input_ends_with_2_and_a_reason(course, capsys, options, said):
    assert cli.main(["schedule", *options]) == 2
    assert said in capsys.readouterr().err


def test_notes_that_cannot_be_read_are_named(course):
    (course / "docs" / "instructor" / "00.md").write_text("---\nminutes: lots\n---\n")
    with pytest.raises(ValueError, match=r"00\.md does not begin with"):
        schedule.own(["00"])
    (course / "docs" / "instructor" / "01.md").unlink()
    with pytest.raises(ValueError, match="lesson 01 has no instructor notes"):
        schedule.own(["01"])
    _declare(course, "03", 120, [])
    with pytest.raises(ValueError, match="nobody sits longer than 105"):
        schedule.own(["03"])


def test_the_command_prints_plain_text_and_markdown(course, capsys):
    assert cli.main(["schedule", "half-day", "--start", "13:30"]) == 0
    said = capsys.readouterr().out
    rows = re.findall(r"^  (\d\d):(\d\d) – (\d\d):(\d\d)  +(\d+) min", said, re.M)
    assert sum(int(row[-1]) for row in rows) == 210
    assert rows[0][:2] == ("13", "30")
    assert rows[-1][2:4] == ("17", "00")
    assert max(map(len, said.splitlines())) <= 100, "it can be printed"
    assert cli.main(["schedule", "half-day", "--markdown"]) == 0
    assert len(TABLE.findall(capsys.readouterr().out)) == len(rows)
