"""`kdcourse progress`: what counts as right in a learner's saved copy, what must not, and what executing it again says."""

import contextlib
import io
import json
import re

import nbformat
import pytest
from fake_course import write_lesson

from kdcourse import cli, exercises, journal, lab, lesson, notebooks, rerun, slices

LESSON = '''# %% [markdown]
# # 00 · A tiny lesson

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")
first_seed = 0

# %%
class checks:
    def say(label, answer, right, known):
        if answer is ...:
            print(label, "… Not filled in yet: replace each `...` and run the cell again.")
        elif answer == right:
            print(label, "✓ Right.")
        else:
            print(label, "✗ Not yet.", known.get(answer, "The largest difference is 1."))

    def double(function):
        checks.say("", function(2), 4, {2: "That is x."})

    def pair(a, b):
        checks.say("a:", a, 1, {})
        checks.say("b:", b, 2, {})

# %% [markdown]
# The experiment.

# %%
with open("experiment.txt", "a") as file:
    file.write(profile + ".")
factor = 2

# %% [markdown]
# ## Exercises
#
# ### 1 · Twice

# %% tags=["exercise"]
def double(x):
    return ...

# %% tags=["solution"]
def double(x):
    return 2 * x

# %%
checks.double(double);

# %% [markdown]
# ### 2 · Two numbers

# %% tags=["exercise"]
a = ...
b = ...

# %% tags=["solution"]
a = 1
b = 2

# %%
checks.pair(a, b);
'''
# The cell before them all finds or fetches the course.
CHECKS, EXPERIMENT, FIRST, FIRST_CHECK, SECOND, SECOND_CHECK = 3, 5, 7, 8, 10, 11
RIGHT = "def double(x):\n    return x + x"


class Copy:
    """A learner at a notebook: edits cells, executes them in a session, saves."""

    def __init__(self, path):
        self.path = path
        self.notebook = nbformat.read(path, as_version=4)
        self.restart()

    def restart(self):
        self.names, self.count = {}, 0

    def edit(self, position, text):
        self.notebook.cells[position].source = text
        return self

    def execute(self, *positions):
        for position in positions:
            cell, out = self.notebook.cells[position], io.StringIO()
            self.count += 1
            cell.outputs, cell.execution_count = [], self.count
            try:
                with contextlib.redirect_stdout(out):
                    exec(compile(cell.source, "<cell>", "exec"), self.names)
            except Exception as problem:
                cell.outputs.append(nbformat.v4.new_output("error", ename=type(problem).__name__, evalue=str(problem)))
            if out.getvalue():
                cell.outputs.insert(0, nbformat.v4.new_output("stream", name="stdout", text=out.getvalue()))
        return self

    def all(self):
        return self.execute(*[k for k, cell in enumerate(self.notebook.cells) if cell.cell_type == "code"])

    def save(self):
        nbformat.write(self.notebook, self.path)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A course with one lesson, executed and stored, and a learner's copy of it."""
    monkeypatch.chdir(tmp_path)
    source = write_lesson(tmp_path, "00_tiny", LESSON)
    stored = tmp_path / "notebooks" / "00_tiny.ipynb"
    notebooks.write(notebooks.make(notebooks.read_source(source)), stored)
    Copy(stored).all().save()
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    lab.update(tmp_path, tmp_path / "work")
    (tmp_path / "experiment.txt").unlink()
    return tmp_path


@pytest.fixture
def mine(root):
    return Copy(root / "work" / "00_tiny.ipynb")


def standing(root, capsys, *options):
    """What the command prints, and (state, hint) of each exercise from its JSON."""
    capsys.readouterr()
    assert cli.main(["progress", "00", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)["lessons"][0]
    return [(e["state"], e["hint"]) for e in found["exercises"]]


def states(root, capsys, *options):
    return [state for state, _ in standing(root, capsys, *options)]


# ---- as saved -------------------------------------------------------------------------------------------------------


def test_a_fresh_copy_is_not_filled_in(root, capsys):
    assert states(root, capsys) == ["not filled in"] * 2
    assert cli.main(["progress"]) == 0
    said = capsys.readouterr().out
    assert "not begun: 00_tiny (2)" in said
    assert "0 of 2 exercises right" in said
    assert "next: lesson 00, exercise 1 (Twice): open 00_tiny.ipynb, cell 8" in said


def test_right_wrong_with_its_hint_and_in_part(root, mine, capsys):
    mine.edit(FIRST, "def double(x):\n    return x").edit(SECOND, "a = 1\nb = ...").all().save()
    assert standing(root, capsys) == [("wrong", "That is x."), ("not filled in", "1 of 2 parts right")]
    mine.edit(FIRST, RIGHT).execute(FIRST, FIRST_CHECK).edit(SECOND, "a = 1\nb = 3").execute(SECOND, SECOND_CHECK).save()
    assert standing(root, capsys) == [("right", ""), ("wrong", "The largest difference is 1. (1 of 2 parts right)")]
    cli.main(["progress"])
    said = capsys.readouterr().out
    assert re.search(r"1  Twice +✓ right", said)
    assert re.search(r"2  Two numbers +✗ not yet: The largest", said)
    mine.edit(SECOND, "a = 1\nb = 2").execute(SECOND, SECOND_CHECK).save()
    cli.main(["progress"])
    assert "All exercises are right." in capsys.readouterr().out


def test_what_was_edited_is_not_right_before_it_ran(root, mine, capsys):
    mine.edit(FIRST, RIGHT).save()  # edited in a fresh copy, nothing executed: the stored output is the stub's
    assert states(root, capsys)[0] == "changed"
    mine.execute(CHECKS, FIRST).save()
    assert states(root, capsys)[0] == "changed"
    mine.execute(FIRST_CHECK).save()
    assert states(root, capsys)[0] == "right"
    mine.edit(FIRST, "def double(x):\n    return 4 if x else ...").save()  # a blank under "Right"
    assert states(root, capsys)[0] == "changed"
    mine.edit(FIRST, RIGHT).execute(FIRST).save()  # executed again, its check was not
    assert states(root, capsys)[0] == "changed"


def test_a_check_of_an_earlier_session_does_not_count(root, mine, capsys):
    mine.edit(FIRST, RIGHT).all().save()
    assert states(root, capsys)[0] == "right"
    mine.restart()
    mine.edit(FIRST, "def double(x):\n    return x").execute(CHECKS, FIRST).save()
    assert mine.notebook.cells[FIRST].execution_count < mine.notebook.cells[FIRST_CHECK].execution_count
    assert states(root, capsys)[0] == "changed"
    mine.execute(FIRST_CHECK).save()
    assert states(root, capsys)[0] == "wrong"


def test_the_journal_tells_an_edit_that_was_never_run(root, mine, capsys):
    """In a real kernel, as `kdcourse lab` starts it: a saved notebook alone cannot tell."""
    import nbclient

    mine.edit(FIRST, RIGHT)
    path = root / "work" / journal.FILE
    environment = {**rerun.os.environ, journal.VARIABLE: str(path), "JPY_SESSION_NAME": str(mine.path)}
    cells = mine.notebook.cells
    cells[CHECKS].source = "from kdcourse import journal\njournal.attach()\n" + cells[CHECKS].source
    nbclient.NotebookClient(mine.notebook, kernel_name="python3").execute(env=environment)
    mine.save()
    assert len(path.read_text().splitlines()) == 3  # two checks, and the cell that defines them, which speaks of checks too
    assert states(root, capsys) == ["right", "not filled in"]
    mine.edit(FIRST, "def double(x):\n    return 3 * x").save()
    assert states(root, capsys)[0] == "changed"
    mine.edit(FIRST, RIGHT).save()
    assert states(root, capsys)[0] == "right"
    path.write_text('{"notebook": ' + path.read_text() + "[1]\n")  # a damaged line is left out
    assert states(root, capsys)[0] == "right"


def test_no_journal_is_kept_where_nobody_asked(monkeypatch):
    monkeypatch.delenv(journal.VARIABLE, raising=False)
    journal.attach()
    monkeypatch.setenv(journal.VARIABLE, "/nowhere/at/all")
    journal.attach()  # no kernel here


def test_cleared_outputs_are_not_run(root, mine, capsys):
    mine.edit(FIRST, RIGHT).all()
    for cell in mine.notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    mine.save()
    assert states(root, capsys) == ["not run", "not filled in"]


def test_copied_outputs_do_not_count(root, mine, capsys):
    other = Copy(root / "work" / "00_tiny.ipynb").edit(FIRST, RIGHT).edit(SECOND, "a, b = 1, 2").all().notebook.cells
    mine.all().edit(SECOND, "a = 1\nb = ...").execute(SECOND)  # stub left as it is; one of two blanks filled in
    for position in (FIRST_CHECK, SECOND_CHECK):
        mine.notebook.cells[position].outputs = other[position].outputs
        mine.notebook.cells[position].execution_count = 90 + position
    mine.save()
    assert states(root, capsys) == ["not filled in", "changed"]
    mine.edit(SECOND, "a = 1\nb = 2").execute(SECOND, SECOND_CHECK)
    mine.notebook.cells[SECOND_CHECK].outputs[0].text = "a: ✓ Right.\n"  # one line too few
    mine.save()
    assert states(root, capsys)[1] == "changed"


def test_an_edited_or_deleted_check_does_not_count(root, mine, capsys):
    mine.edit(FIRST, RIGHT.replace("x + x", "7")).edit(SECOND, "a = 1\nb = 5")
    mine.edit(FIRST_CHECK, 'print("✓ Right.")').execute(CHECKS, FIRST, FIRST_CHECK, SECOND)
    del mine.notebook.cells[SECOND_CHECK]
    mine.save()
    found = standing(root, capsys)
    assert [state for state, _ in found] == ["missing", "missing"]
    assert "put this cell back and run it: checks.double(double);" in found[0][1]
    # Comments and layout are the learner's own business, and so is where the check stands.
    mine.edit(FIRST, RIGHT).edit(FIRST_CHECK, "# now\nchecks.double( double )").execute(CHECKS, FIRST, FIRST_CHECK).save()
    assert states(root, capsys)[0] == "right"


def test_an_answer_in_a_cell_of_ones_own_counts(root, mine, capsys):
    mine.notebook.cells.insert(FIRST + 1, nbformat.v4.new_code_cell("def helper(x):\n    return 2 * x"))
    mine.notebook.cells.insert(FIRST + 2, nbformat.v4.new_code_cell("def double(x):\n    return helper(x)"))
    mine.all().save()
    assert states(root, capsys)[0] == "right"
    assert states(root, capsys, "--run")[0] == "right"


def test_errors_are_told_with_their_cell(root, mine, capsys):
    mine.edit(FIRST, "def double(x)\n    return 2 * x").edit(SECOND, "a = 1\nb = c").all().save()
    first, second = standing(root, capsys)
    assert first[0] == second[0] == "error"
    assert first[1].startswith("cell 8 of 12 ('def double(x)') stopped with SyntaxError: expected ':' (line 1)")
    assert "cell 11 of 12 ('a = 1') stopped with NameError: name 'c' is not defined" in second[1]


@pytest.mark.parametrize(("text", "why"), [
    ("", "the file is empty"),
    ('{"cells": [\n{"cell_type": "code", "sou', "not valid JSON: Unterminated string starting at in line 2"),
    ('{"cells": [{}], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "JSON but not a notebook"),
    ("[]", "JSON but not a notebook"),
])  # fmt: skip
def test_a_broken_notebook_is_named_and_how_to_get_another(root, capsys, text, why):
    path = root / "work" / "00_tiny.ipynb"
    (path.parent / ".ipynb_checkpoints").mkdir()
    (path.parent / ".ipynb_checkpoints" / "00_tiny-checkpoint.ipynb").write_text(path.read_text())
    path.write_text(text)
    for options in ([], ["--run"]):
        assert cli.main(["progress", *options]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "work/00_tiny.ipynb cannot be read" in said
        assert "1 Twice ? not found" in said
        assert why in said
        assert "last checkpoint of it is work/.ipynb_checkpoints/00_tiny-checkpoint.ipynb" in said
        assert "For a fresh copy, rename it and run: kdcourse lab" in said
    assert path.read_text() == text


def test_the_best_of_several_copies_counts(root, mine, capsys):
    mine.edit(FIRST, RIGHT).edit(SECOND, "a = 0\nb = 0").all().save()
    newer = Copy(root / "notebooks" / "00_tiny.ipynb")
    newer.path = root / "work" / "00_tiny.new.ipynb"
    newer.edit(SECOND, "a = 1\nb = 2").all().save()
    assert states(root, capsys) == ["right", "right"]
    cli.main(["progress", "work/00_tiny.new.ipynb"])
    assert "✓ right [00_tiny.new.ipynb]" in capsys.readouterr().out


def test_no_copies_yet_and_another_folder(root, capsys):
    assert cli.main(["progress", "--work", str(root / "nowhere")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    (root / "empty").mkdir()
    assert cli.main(["progress", "--work", str(root / "empty")]) == 0
    assert "copy it with kdcourse lab" in capsys.readouterr().out
    assert cli.main(["progress", "tiiny"]) == 2
    assert "did you mean 00_tiny?" in capsys.readouterr().err


def test_json_says_who_where_and_what(root, mine, capsys):
    mine.edit(FIRST, RIGHT).all().save()
    cli.main(["progress", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["right"], found["exercises"], found["judged"]) == (1, 2, "saved")
    assert found["lessons"][0]["exercises"][0] == {
        "number": 1, "title": "Twice", "state": "right", "hint": "", "file": "00_tiny.ipynb", "cell": 8,
    }  # fmt: skip


# ---- executed -------------------------------------------------------------------------------------------------------


def test_run_judges_by_the_courses_checks_and_leaves_the_experiment_out(root, mine, capsys):
    mine.edit(FIRST, "def double(x):\n    return 7").edit(FIRST_CHECK, 'print("✓ Right.")').edit(SECOND, "a = 1\nb = 2").save()
    assert standing(root, capsys, "--run") == [("wrong", "The largest difference is 1."), ("right", "")]
    assert not list(root.rglob("experiment.txt"))
    assert states(root, capsys)[0] == "missing"  # nothing was written to the copy


def test_run_executes_what_an_answer_needs_at_smoke(root, mine, capsys):
    mine.edit(1, mine.notebook.cells[1].source + 'profile = "full"').edit(FIRST, "def double(x):\n    return factor * x").save()
    assert states(root, capsys, "--run") == ["right", "not filled in"]
    assert (root / "work" / "experiment.txt").read_text() == "smoke."


def test_run_with_errors_elsewhere_names_their_cells(root, mine, capsys):
    mine.edit(EXPERIMENT, "factor = 2 +").edit(FIRST, "def double(x):\n    return factor * x").edit(SECOND, "a = (1\nb = 2").save()
    assert states(root, capsys, "--run") == ["error", "error"]
    cli.main(["progress", "--run"])
    said = " ".join(capsys.readouterr().out.split())
    assert "cell 6 of 12 ('factor = 2 +') stopped with SyntaxError: invalid syntax" in said
    assert "NameError: name 'factor' is not defined" in said
    assert "cell 11 of 12 ('a = (1') stopped with SyntaxError: '(' was never closed" in said


def test_run_survives_an_endless_loop_and_a_killed_kernel(root, mine, capsys, monkeypatch):
    monkeypatch.setattr(rerun, "SECONDS", 8)
    mine.edit(FIRST, "def double(x):\n    while True: pass").edit(SECOND, "a = 1\nb = 2").save()
    assert states(root, capsys, "--run")[0] in ("error", "not run")
    cli.main(["progress", "--run"])
    assert "the check of exercise 1 was still running after 8 s" in " ".join(capsys.readouterr().out.split())
    mine.edit(FIRST, "import os\nos._exit(1)\ndef double(x): return 4").save()
    assert states(root, capsys, "--run")[0] == "not run"
    cli.main(["progress", "--run"])
    assert "cell 8 of 12 ('import os') ended its kernel" in " ".join(capsys.readouterr().out.split())


def test_a_kernel_that_dies_before_it_says_busy_is_blamed_on_the_cell_sent(root, mine, capsys, monkeypatch):
    def dies(client, **options):
        for cell in client.nb.cells:
            cell.metadata["execution"] = {}
            if "_exit" in cell.source:
                raise rerun.DeadKernelError("Kernel died")
            cell.metadata["execution"]["iopub.status.busy"] = "2026-01-01"

    monkeypatch.setattr(rerun.nbclient.NotebookClient, "execute", dies)
    mine.edit(FIRST, "import os\nos._exit(1)\ndef double(x): return factor").save()
    cli.main(["progress", "--run"])
    assert "cell 8 of 12 ('import os') ended its kernel" in " ".join(capsys.readouterr().out.split())


def test_run_without_a_kernel_ends_with_1(root, mine, capsys, monkeypatch):
    def none(*arguments, **options):
        raise rerun.NoSuchKernel("python3")

    monkeypatch.setattr(rerun.nbclient.NotebookClient, "execute", none)
    mine.edit(FIRST, RIGHT).save()
    assert cli.main(["progress", "--run"]) == 1
    assert "no Python kernel could be started" in capsys.readouterr().err


def test_run_starts_no_kernel_where_nothing_was_filled_in(root, capsys, monkeypatch):
    monkeypatch.setattr(rerun.nbclient.NotebookClient, "execute", lambda *a, **k: pytest.fail("a kernel was started"))
    assert states(root, capsys, "--run") == ["not filled in"] * 2


# ---- which cells are needed -----------------------------------------------------------------------------------------


def test_needed_cells_follow_names():
    cells = ["import math", "big = slow()", "def f(x):\n    return g(x) + math.pi", None, "def g(x):\n    return x", "y = {}", "y['a'] = 1",
             "z = [f(v) for v in y]", "print(z)"]  # fmt: skip
    assert slices.needed(cells, [8]) == [0, 2, 4, 5, 6, 7, 8]
    assert slices.needed(cells, [4]) == [4]
    assert slices.needed(["x = 1", "x = 2", "x += 1", "print(x)"], [3]) == [1, 2, 3]


def test_where_names_cannot_be_followed_everything_before_is_needed():
    assert slices.needed(["from somewhere import *", "a = 1", "print(b)", "c"], [2]) == [0, 1, 2]
    assert slices.needed(["%time d = 2", "a = 1", "print(d)"], [2]) == [0, 1, 2]
    assert slices.needed(["%matplotlib inline", "a = 1", "print(a)"], [2]) == [1, 2]


def test_blanks_are_told_from_indexing():
    assert exercises.blanks("a = ...\nb = x[..., 0]\ndef f():\n    ...") == 1
    assert exercises.blanks("return (..., 1") == 1


def test_every_stored_exercise_is_blank_and_every_solution_right():
    """The real course: each exercise is found with its check, as many lines judged in the solution as in the stub."""
    count = 0
    for path in sorted((rerun.Path(__file__).parent.parent / "notebooks").glob("*.ipynb")):
        course, solved = notebooks.read(path), notebooks.read(path.parent / "solutions" / path.name)
        ids = {cell.id for cell in course.cells}
        for exercise in exercises.course_exercises(course):
            count += 1
            assert exercises.judge_saved(exercise, course.cells, ids)[0] == "not filled in"
            assert exercises.judge_saved(exercise, solved.cells, ids)[:2] == ("right", ""), (path.name, exercise)
            assert exercise.title
    assert count == sum(text.read_text().count('tags=["exercise"]') for text in path.parent.glob("src/*.py"))
