"""The two pages for newcomers: what they tell people to type exists, and what they say will be printed is printed."""

import re
import shlex

import pytest

import kdcourse as kd
from kdcourse import cli, inference, lesson, notebooks

PAGES = {name: (lesson.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("start", "evidence")}
TARGETS = set(re.findall(r"^([a-z-]+):", (lesson.ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", PAGES[name], flags=re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[list[str]]:
    """The commands of a page's shell blocks as lists of words, without settings before them and comments behind them."""
    lines = [line for block in blocks(name, "sh") for line in block.splitlines() if line.strip() and not line.startswith("#")]
    parts = [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]
    return [[word for word in words if not re.match(r"[A-Z_]+=", word)] for words in parts]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_exists(name):
    assert commands(name)
    for words in commands(name):
        if words[0] == "make":
            assert words[1] in TARGETS, words
        elif words[0].endswith("kdcourse"):
            cli._parser()[0].parse_args(words[1:])  # exits with an error for what it does not know
        else:
            assert words[0] == "conda", words
    assert set(re.findall(r"`make ([a-z-]+)`", PAGES[name])) <= TARGETS


@pytest.mark.parametrize("name", PAGES)
def test_every_file_it_names_is_there(name):
    made = {"build", "work", ".venv"}  # by the commands themselves
    for path in re.findall(r"`([\w./-]+/[\w./-]*|\w+\.(?:toml|md|ipynb|yml))`", PAGES[name]):
        if path.split("/")[0] not in made:
            assert (lesson.ROOT / path).exists() or (lesson.ROOT / "notebooks" / path).exists(), path
    for path in re.findall(r"\]\(([^)#:]+)\)", PAGES[name]):
        assert (lesson.ROOT / "docs" / path).exists(), path


def test_the_first_exercise_is_as_the_page_says(capsys):
    (source,) = notebooks.lessons(["00"])
    (stub,) = blocks("start", "python")
    cells = [cell.source for cell in source.cells if "exercise" in cell.metadata.get("tags", [])]
    assert cells[0].strip() == stub
    headings = [line for cell in source.cells for line in cell.source.splitlines() if line.startswith("## ")]
    for heading in ("A page that does not ask", "Exercises"):
        assert f"*{heading}*" in PAGES["start"]
        assert f"## {heading}" in headings
    before, after = blocks("start", "text")
    kd.checks.lesson00.missing_factor(...)
    assert capsys.readouterr().out.strip() == before
    kd.checks.lesson00.missing_factor(20**2)
    assert capsys.readouterr().out.strip() == after
    assert "400" not in PAGES["start"]  # the answer is the reader's


def test_the_verdict_words_are_the_machine_s():
    rows = dict(re.findall(r"^\| ([A-Z]+) \| (.+) \|$", PAGES["evidence"], flags=re.MULTILINE))
    given = {inference.decide("greater", 2.0, *interval)[0] for interval in ((3, 4), (1, 1.5), (-1, 1), (1, 3))}
    assert set(rows) == given
    profiles = set(re.findall(r"^\| `(\w+)` \|", PAGES["evidence"], flags=re.MULTILINE))
    assert profiles == set(lesson.PROFILES)


@pytest.mark.parametrize("name", PAGES)
def test_names_of_the_package_resolve(name):
    for path in re.findall(r"`kd\.([\w.]+)`", PAGES[name]):
        found = kd
        for part in path.split("."):
            found = getattr(found, part)
