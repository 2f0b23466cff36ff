"""The instructor notes: one for every lesson, with minutes for all its exercises and the same headings everywhere."""

import re

import pytest

from kdcourse import lesson, notebooks

FOLDER = lesson.ROOT / "docs" / "instructor"
NOTES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
LESSONS = {source.number: source for source in notebooks.lessons()}
HEADINGS = ["Aim", "Timing", "Show first", "Where people get stuck", "Discussion", "Short of time", "As live coding"]
FRONT_MATTER = re.compile(r"---\nminutes: \{talk: (\d+), exercises: \[(\d+(?:, \d+)*)\]\}\n---\n\n")


def sections(text: str) -> dict[str, str]:
    """Heading → what stands below it."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {heading: body.strip() for heading, body in zip(parts[1::2], parts[2::2])}


def minutes(text: str) -> tuple[int, list[int]]:
    """(talk, one number an exercise) from the front matter, which is one line of YAML."""
    talk, exercises = FRONT_MATTER.match(text).groups()
    return int(talk), [int(n) for n in exercises.split(", ")]


def test_every_lesson_has_notes():
    assert set(NOTES) == set(LESSONS)


@pytest.mark.parametrize("number", NOTES)
def test_the_minutes_can_be_read_and_are_plausible(number):
    assert FRONT_MATTER.match(NOTES[number]), (
        "expected ---, one line minutes: {talk: N, exercises: [N, …]}, ---, an empty line"
    )
    talk, exercises = minutes(NOTES[number])
    assert 5 <= talk <= 45
    assert all(1 <= n <= 10 for n in exercises)  # one idea each, ten minutes at most


@pytest.mark.parametrize("number", sorted(set(NOTES) & set(LESSONS)))
def test_title_and_exercises_are_those_of_the_lesson(number):
    source = LESSONS[number]
    assert f"# {number} · {source.title}\n" in NOTES[number]
    stubs = [cell for cell in source.cells if "exercise" in cell.metadata.get("tags", [])]
    assert len(minutes(NOTES[number])[1]) == len(stubs)
    named = {int(n) for n in re.findall(r"exercise (\d)", NOTES[number], flags=re.IGNORECASE)}
    assert named <= set(range(1, len(stubs) + 1))


@pytest.mark.parametrize("number", NOTES)
def test_the_headings_are_there_and_say_something(number):
    found = sections(NOTES[number])
    assert list(found) == HEADINGS
    assert all(found.values())
    assert 3 <= len(re.findall(r"^- ", found["Where people get stuck"], flags=re.MULTILINE)) <= 6
    assert re.findall(r"^(\d)\. ", found["Discussion"], flags=re.MULTILINE) == ["1", "2", "3"]
    assert "measured minutes in the README" in found["Timing"]


@pytest.mark.parametrize("number", NOTES)
def test_notes_fit_on_a_page(number):
    assert 300 <= len(NOTES[number].split()) <= 720
