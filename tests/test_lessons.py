"""The committed lessons as a learner and a reader without eyes meet them: checks, figures, claims."""

import ast
import base64
import re

import pytest

from kdcourse import claims, lesson, notebooks

LESSONS = notebooks.lessons()
LEARNER = {source.slug: notebooks.read(lesson.ROOT / "notebooks" / f"{source.slug}.ipynb") for source in LESSONS}
SOLVED = {
    source.slug: notebooks.read(lesson.ROOT / "notebooks" / "solutions" / f"{source.slug}.ipynb") for source in LESSONS
}
SLUGS = list(LEARNER)


def printed(cell) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


def check_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith("kd.checks.")]


@pytest.mark.parametrize("slug", SLUGS)
def test_stubs_are_not_filled_in_and_solutions_are_right(slug):
    stubs, solutions = check_cells(LEARNER[slug]), check_cells(SOLVED[slug])
    assert 2 <= len(stubs) == len(solutions) <= 4
    for stub, solution in zip(stubs, solutions):
        assert "Not filled in yet" in printed(stub)
        assert "✓" not in printed(stub)
        assert "✓ Right" in printed(solution)
        assert "✗" not in printed(solution)


@pytest.mark.parametrize("slug", SLUGS)
def test_every_figure_is_light_and_described(slug):
    figures = [
        output
        for cell in LEARNER[slug].cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert figures
    for figure in figures:
        alt = figure.metadata["image/png"]["alt"]
        assert len(alt) > 60
        assert figure.data["text/plain"] == f"[figure] {alt}"
        assert len(base64.b64decode(figure.data["image/png"])) < 150_000


def judged_in(code: str) -> list[str]:
    """The claims a cell judges: named in the call of kd.judge, or in the tuple that a loop around it goes through."""
    tree, found, looped = ast.parse(code), [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(node.iter, ast.Tuple):
            looped[node.target.id] = [part.value for part in node.iter.elts if isinstance(part, ast.Constant)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "kd.judge":
            claim = node.args[0]
            found += [claim.value] if isinstance(claim, ast.Constant) else looped[claim.id]
    return found


def test_claims_in_a_call_and_in_a_loop_are_found():
    assert judged_in('kd.judge("a", runs)\ndisplay(kd.judge("b", runs))\nprint("c")') == ["a", "b"]
    assert judged_in('for claim in ("a", "b"):\n    display(kd.judge(claim, runs))') == ["a", "b"]
    assert judged_in('for claim in ("a", "b"):\n    print(claim)') == []


@pytest.mark.parametrize("source", LESSONS, ids=lambda source: source.slug)
def test_a_lesson_judges_all_its_claims_and_no_others(source):
    judged = {claim for code in source.code() for claim in judged_in(code)}
    assert judged == {claim.id for claim in claims.read_ledger().values() if claim.lesson == source.number}


@pytest.mark.parametrize("source", LESSONS, ids=lambda source: source.slug)
def test_the_opening_says_how_long_what_for_and_what_is_claimed(source):
    first = source.cells[0].source
    assert first.startswith(f"# {source.number} · ")
    assert re.search(r"\d+ minutes · needs ", first)
    assert any("kd.claims.announce" in code for code in source.code()[:4])


@pytest.mark.parametrize("slug", SLUGS)
def test_stored_notebooks_name_no_machine_and_no_warning(slug):
    for notebook in (LEARNER[slug], SOLVED[slug]):
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                assert output.get("name") != "stderr", output.get("text", "")[:300]
                assert "ipykernel_" not in str(output.get("data", "")) + output.get("text", "")
