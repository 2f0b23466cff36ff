"""The quizzes: one right choice a question, a reason for each choice, and nothing in the form that gives the answer away."""

import tomllib
from collections import Counter

import pytest

from kdcourse import lesson

FILES = sorted((lesson.ROOT / "docs" / "quizzes").glob("*.toml"))
LESSONS = {path.name[:2] for path in (lesson.ROOT / "notebooks" / "src").glob("[0-9][0-9]_*.py")}
FIELDS = {"question": {"id", "text", "choice"}, "choice": {"text", "because", "right"}}
SHARE = 0.6  # of all questions: more often than that, nothing about the form of a choice may point to the right one


def read(path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def questions() -> list[dict]:
    return [question for path in FILES for question in read(path)["question"]]


def right(question) -> int:
    """The place of the right choice; a mistake in the file is named by the tests below."""
    return next((place for place, choice in enumerate(question["choice"]) if choice.get("right")), -1)


def test_every_lesson_has_a_quiz():
    assert FILES
    assert {path.stem for path in FILES} == LESSONS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_quiz_belongs_to_its_lesson_and_is_short(path):
    quiz = read(path)
    assert set(quiz) == {"lesson", "question"}
    assert quiz["lesson"] == path.stem
    assert quiz["lesson"] in LESSONS
    assert 3 <= len(quiz["question"]) <= 5
    for question in quiz["question"]:
        assert set(question) == FIELDS["question"], question.get("id")
        assert question["id"].startswith(f"{path.stem}-"), question["id"]
        assert len(question["text"].strip()) >= 40, question["id"]


def test_no_two_questions_share_an_id():
    assert [name for name, count in Counter(question["id"] for question in questions()).items() if count > 1] == []


@pytest.mark.parametrize("question", questions(), ids=lambda question: question["id"])
def test_one_choice_is_right_and_each_is_explained(question):
    choices = question["choice"]
    assert 3 <= len(choices) <= 4
    assert [choice["right"] for choice in choices if "right" in choice] == [True]
    for choice in choices:
        assert set(choice) <= FIELDS["choice"], choice
        assert choice["text"].strip(), choice
        assert len(choice["because"].strip()) >= 40, choice
    for field in ("text", "because"):
        assert len({choice[field].strip() for choice in choices}) == len(choices)


@pytest.mark.parametrize("question", questions(), ids=lambda question: question["id"])
def test_formulas_and_code_are_closed(question):
    for text in (question["text"], *(choice[field] for choice in question["choice"] for field in ("text", "because"))):
        assert text.count("$") % 2 == 0, text
        assert text.count("`") % 2 == 0, text
        assert text.count("{") == text.count("}"), text


def test_the_right_choice_is_not_given_away_by_its_place():
    places = Counter(right(question) for question in questions())
    assert set(places) == {0, 1, 2, 3}
    assert max(places.values()) < SHARE * len(questions())
    for path in FILES:
        assert len({right(question) for question in read(path)["question"]}) > 1, path.name


@pytest.mark.parametrize("extreme", [max, min], ids=["longest", "shortest"])
def test_the_right_choice_is_not_given_away_by_its_length(extreme):
    found = 0
    for question in questions():
        lengths = [len(choice["text"]) for choice in question["choice"]]
        found += lengths[right(question)] == extreme(lengths)
    assert found < SHARE * len(questions())
