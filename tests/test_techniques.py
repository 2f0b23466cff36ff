"""The technique pages: complete, about claims and functions that exist, in one form, with code that runs as it stands."""

import importlib
import re
import textwrap
import tomllib

import pytest
import torch
import yaml

import kdcourse as kd
from kdcourse import claims, lesson, notebooks

FOLDER = lesson.ROOT / "docs" / "techniques"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
LEDGER = claims.read_ledger()
LESSONS = {source.number for source in notebooks.lessons()}
TERMS = tomllib.loads((lesson.ROOT / "docs" / "glossary.toml").read_text(encoding="utf-8"))["term"]
FIELDS = ["title", "lesson", "paper", "claims", "api", "see"]
HEADINGS = ["Idea", "Formula", "In code", "When to use it", "What it costs", "What goes wrong"]
# Claims of another lesson, named on purpose: they test the same technique from another side.
ELSEWHERE = {
    "soft-targets": {"00-soft-beats-labels", "00-swapped-flatters", "00-not-frozen", "06-convolutions-imitate-attention", "06-own-kind"},
    "negative-controls": {"04-controls-fail", "09-five-teach-more-than-one"},
}


def parts(text: str) -> tuple[dict, str]:
    """(front matter, body) of a page."""
    head, body = re.fullmatch(r"---\n(.*?)\n---\n\n(.*)", text, flags=re.DOTALL).groups()
    return yaml.safe_load(head), body


def sections(body: str) -> dict[str, str]:
    """Heading → what stands below it."""
    found = re.split(r"^## (.+)$", body, flags=re.MULTILINE)
    assert not found[0].strip(), "text before the first heading"
    return {heading: text.strip() for heading, text in zip(found[1::2], found[2::2])}


def code(body: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", body, flags=re.MULTILINE | re.DOTALL)


def prose(body: str) -> str:
    """The page without code and displayed formulas."""
    return re.sub(r"```.*?```|\$\$.*?\$\$", " ", body, flags=re.DOTALL)


def resolve(name: str):
    """The object behind a name such as `losses.hint_loss`; ImportError or AttributeError where there is none."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(f"kdcourse.{module}"), function)


HEADS = {stem: parts(text)[0] for stem, text in PAGES.items()}


@pytest.mark.parametrize("stem", PAGES)
def test_the_front_matter_is_complete(stem):
    head = HEADS[stem]
    assert list(head) == FIELDS
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", stem)
    assert isinstance(head["lesson"], str)
    assert head["lesson"] in LESSONS
    for name in ("title", "paper"):
        assert isinstance(head[name], str)
        assert head[name].strip()
    for name in ("claims", "api", "see"):
        assert head[name], name
        assert all(isinstance(each, str) for each in head[name])
        assert len(set(head[name])) == len(head[name]), name


@pytest.mark.parametrize("stem", PAGES)
def test_its_claims_are_in_the_ledger_primary_ones_first_and_of_its_lesson(stem):
    named = HEADS[stem]["claims"]
    assert set(named) <= set(LEDGER)
    kinds = [LEDGER[claim].kind for claim in named]
    assert kinds == sorted(kinds, key=["primary", "exploratory"].index)
    elsewhere = {claim for claim in named if LEDGER[claim].lesson != HEADS[stem]["lesson"]}
    assert elsewhere == ELSEWHERE.get(stem, set())
    assert LEDGER[named[0]].lesson == HEADS[stem]["lesson"]  # the first one is what the page is judged by


@pytest.mark.parametrize("stem", PAGES)
def test_the_functions_it_names_exist_and_say_what_they_do(stem):
    for name in HEADS[stem]["api"]:
        found = resolve(name)
        assert callable(found), name
        assert found.__doc__, name


@pytest.mark.parametrize("stem", PAGES)
def test_it_leads_to_other_pages(stem):
    assert set(HEADS[stem]["see"]) <= set(PAGES) - {stem}


def test_every_page_can_be_reached_from_another():
    assert set(PAGES) == {other for head in HEADS.values() for other in head["see"]}


@pytest.mark.parametrize("stem", PAGES)
def test_the_sections_are_there_in_order_and_say_something(stem):
    body = parts(PAGES[stem])[1]
    found = sections(body)
    assert list(found) == HEADINGS
    assert all(found.values())
    assert "$$" not in found["Idea"]  # in words first
    assert found["Formula"].count("$$") == 2
    assert len(re.findall(r"^- ", found["What goes wrong"], flags=re.MULTILINE)) >= 3
    assert 200 <= len(prose(body).split()) <= 480


@pytest.mark.parametrize("stem", PAGES)
def test_its_code_is_short_and_runs(stem, monkeypatch):
    monkeypatch.setenv("KDCOURSE_DTYPE", "float32")
    blocks = code(sections(parts(PAGES[stem])[1])["In code"] + "\n")
    assert len(blocks) == 1
    assert code(parts(PAGES[stem])[1]) == blocks  # and nowhere else on the page
    lines = [line for line in blocks[0].splitlines() if line.strip() and not line.startswith(("import ", "from ", "#"))]
    assert 3 <= len(lines) <= 8
    assert "kd." in blocks[0]
    assert max(map(len, blocks[0].splitlines())) <= 91  # what fits beside the site's two side bars
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(blocks[0], f"{stem}.md", "exec"), {})


@pytest.mark.parametrize("stem", PAGES)
def test_its_code_uses_what_the_page_is_about(stem):
    block = code(parts(PAGES[stem])[1])[0]
    names = [name.rpartition(".")[2] for name in HEADS[stem]["api"]]
    assert any(re.search(rf"\b{name}\(", block) for name in names), names


@pytest.mark.parametrize("stem", PAGES)
def test_formulas_are_closed(stem):
    body = re.sub(r"```.*?```|`[^`\n]*`", " ", parts(PAGES[stem])[1], flags=re.DOTALL)
    displayed = re.findall(r"\$\$(.*?)\$\$", body, flags=re.DOTALL)
    rest = re.sub(r"\$\$.*?\$\$", " ", body, flags=re.DOTALL)
    assert "$$" not in rest
    for paragraph in rest.split("\n\n"):
        for line in paragraph.splitlines():
            assert line.count("$") % 2 == 0, line
    for formula in displayed + re.findall(r"\$([^$\n]+)\$", rest):
        assert formula.strip(), "an empty formula"
        assert formula.count("{") - formula.count(r"\{") == formula.count("}") - formula.count(r"\}"), formula
        assert len(re.findall(r"\\left\b", formula)) == len(re.findall(r"\\right\b", formula)), formula
        assert len(re.findall(r"\\begin\b", formula)) == len(re.findall(r"\\end\b", formula)), formula


@pytest.mark.parametrize("stem", PAGES)
def test_every_symbol_of_the_formula_is_named(stem):
    """Each Latin or Greek letter of the displayed formula occurs in the words around it as well; indices and the loss L need no word."""
    text = sections(parts(PAGES[stem])[1])["Formula"]
    (displayed,) = re.findall(r"\$\$(.*?)\$\$", text, flags=re.DOTALL)
    words = " ".join(re.findall(r"\$([^$\n]+)\$", re.sub(r"\$\$.*?\$\$", " ", text, flags=re.DOTALL)))
    assert symbols(displayed) <= symbols(words) | INDICES | {"L"}, symbols(displayed) - symbols(words) - INDICES


INDICES = set("ijkncot")
GREEK = r"alpha|beta|gamma|delta|varepsilon|epsilon|eta|theta|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|varphi|psi|omega|Phi"


def symbols(formula: str) -> set[str]:
    """Letters that stand for something: no words, functions or decorations."""
    formula = re.sub(r"\\(text|mathrm|operatorname|begin|end)\*?\{[^}]*\}", " ", formula)
    found = set(re.findall(rf"\\({GREEK})(?![A-Za-z])", formula))
    return found | set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))


@pytest.mark.parametrize("stem", PAGES)
def test_no_measured_number_stands_in_the_prose(stem):
    """A share, or a count of errors, points or seconds, is somebody's published number and says whose."""
    for sentence in re.split(r"(?<=[.?!:;])\s(?=[A-Z])|\n", prose(parts(PAGES[stem])[1])):
        if re.search(r"\d\s*(%|(per cent|percent|errors|points|times|seconds|minutes|hours)\b)", sentence):
            assert re.search(r"(19|20)\d\d", sentence), sentence


@pytest.mark.parametrize("stem", PAGES)
def test_the_title_speaks_the_language_of_the_glossary(stem):
    title = words(HEADS[stem]["title"])
    forms = {words(form) for term in TERMS for form in (term["en"], *term.get("also", []))}
    assert any(re.search(rf"(?<!\w){form}s?(?!\w)", title) for form in forms), title


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def test_titles_are_unique():
    titles = [head["title"] for head in HEADS.values()]
    assert len(set(titles)) == len(titles)


def test_every_lesson_that_teaches_a_technique_has_one():
    assert {head["lesson"] for head in HEADS.values()} >= {f"{number:02d}" for number in range(1, 14)}


def test_every_primary_claim_is_named_by_a_page():
    named = {claim for head in HEADS.values() for claim in head["claims"]}
    assert not sorted({claim.id for claim in LEDGER.values() if claim.kind == "primary"} - named)


def test_every_objective_of_the_package_has_a_page():
    """Each public loss of `kdcourse.losses` is named, so that a new one is not forgotten here."""
    named = {name for head in HEADS.values() for name in head["api"]}
    public = {name for name, found in vars(kd.losses).items() if callable(found) and not name.startswith("_")}
    assert not sorted(name for name in public if f"losses.{name}" not in named)


def test_the_checks_can_fail():
    """A page with each mistake once, against the functions that look for it."""
    assert symbols(r"\frac{1}{N} \sum_n \alpha\,\mathrm{KL}(p)") == {"N", "n", "alpha", "p"}
    assert code("```python\nx = 1\n```\n") == ["x = 1\n"]
    with pytest.raises(AttributeError):
        resolve("losses.no_such_loss")
    with pytest.raises(AssertionError):
        sections(textwrap.dedent("words before\n\n## Idea\n\nwords\n"))
