"""Sources become notebooks: exercises and solutions, what is stale, what is executed, and how a failure ends."""

import ast
import importlib
import inspect
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from fake_course import edit, executions, write_lesson

import kdcourse as kd
from kdcourse import execution, keys, notebooks, recipe


@pytest.fixture
def course(tmp_path):
    """A course of one lesson, in a folder of its own; the path of the lesson's source."""
    return write_lesson(tmp_path / "course")


def _root(path):
    return path.parents[2]


def _source(path):
    return notebooks.read_source(path)


def _build(path, **options):
    return execution.build(_source(path), record=True, root=_root(path), **options)


def _texts(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells)


# ---- generating ----


def test_learner_gets_the_stub_and_the_solution_notebook_the_solution(course):
    learner, solved = (notebooks.make(_source(course), solved) for solved in (False, True))
    assert "return ..." in _texts(learner)
    assert "2 * x" not in _texts(learner)
    assert "return ..." not in _texts(solved)
    assert _texts(solved).count("2 * x") == 1
    assert len(learner.cells) == len(solved.cells) == 7, "six from the source and the install cell"


def test_cell_ids_are_stable_and_unique(course):
    edit(course, "Some prose.", "It prints.")
    first, second = (notebooks.make(_source(course)) for _ in range(2))
    ids = [cell.id for cell in first.cells]
    assert ids == [cell.id for cell in second.cells]
    assert len(set(ids)) == len(ids)
    doubled = notebooks.Source("01_tiny", _source(course).cells + _source(course).cells[:1])
    assert len({cell.id for cell in notebooks.make(doubled).cells}) == len(ids) + 1


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("return 2 * x", "print(x)\n    return 2 * x", None),  # several lines may fill a blank, but not around it
        (
            'def double(x):\n    """Twice x."""\n    return 2 * x',
            "def twice(x):\n    return 2 * x",
            "more than its blanks",
        ),
        ("return 2 * x", "return ...", "blanks open"),
        ('# %% tags=["solution"]', "# %%", "followed at once by its solution"),
        ('# %% tags=["exercise"]', "# %%", "must follow its exercise"),
        ('# %% tags=["solution"]', '# %%\n1\n\n# %% tags=["solution"]', "followed at once by its solution"),
        ("    return ...", "    return 0", "no blank"),
        ('# %% tags=["parameters"]', "# %%", "parameters"),
        ("first_seed = 0", "seed = 0", "parameters"),
    ],
)
def test_faulty_sources_are_named(course, old, new, complaint):
    if complaint is None:
        edit(course, "return ...", "...")
        edit(course, old, new)
        assert notebooks.source_problems(_source(course)) == []
        return
    edit(course, old, new)
    problems = notebooks.source_problems(_source(course))
    assert any(complaint in problem and "01_tiny" in problem for problem in problems)
    if complaint != "parameters":
        assert any(", cell " in problem for problem in problems)
    with pytest.raises(ValueError, match=complaint):
        notebooks.make(_source(course))


def test_a_correct_source_has_no_problem(course):
    assert notebooks.source_problems(_source(course)) == []


def test_unreadable_source_is_named(course):
    course.write_text("# ---\n# jupyter:\n#   kernelspec:\n#     name: python3\n# ---\n\n# %%\n1\n")
    with pytest.raises(ValueError, match=r"01_tiny\.py"):
        _source(course)


def test_lessons_by_number_slug_or_path(course):
    root = _root(course)
    write_lesson(root, "12_other_things")
    for name in ("12", "12_other_things", "other_things", "notebooks/12_other_things.ipynb"):
        assert [s.slug for s in notebooks.lessons([name], root)] == ["12_other_things"]
    assert [s.slug for s in notebooks.lessons(["1"], root)] == ["01_tiny"]
    assert [s.slug for s in notebooks.lessons([], root)] == ["01_tiny", "12_other_things"]
    with pytest.raises(ValueError, match="did you mean 12_other_things"):
        notebooks.lessons(["other_thing"], root)


# ---- staleness: nothing is executed ----


def test_key_ignores_prose_and_comments_but_not_code_and_data(course):
    root = _root(course)
    key = notebooks.lesson_key(_source(course), root)
    edit(course, "Some prose.", "Other prose.")
    edit(course, "6 * 7", "6 * 7  # forty-two")
    assert notebooks.lesson_key(_source(course), root) == key
    edit(course, "6 * 7", "6 * 8")
    before = notebooks.lesson_key(_source(course), root)
    assert before != key
    (root / "data" / "teachers").mkdir(parents=True)
    (root / "data" / "README.md").write_text("where the data come from")
    (root / "data" / "teachers" / "teacher-1.safetensors").write_bytes(b"1")
    assert notebooks.lesson_key(_source(course), root) == before
    (root / "data" / "digits.gz").write_bytes(b"1")
    assert notebooks.lesson_key(_source(course), root) != before


MODULES = {
    "losses": """
        import math
        from kdcourse.models import helper
        SCALE = 2
        def soft(x):
            return SCALE * helper(x)
        def hard(x):
            return x
        class Loss:
            def __call__(self, x):
                return hard(x)
    """,
    "models": """
        SIZES = {"small": 1}
        DEPTH: int = 3
        def helper(x):
            return SIZES["small"] * x
        def other(x):
            return DEPTH
        SIZES.update(large=2)
    """,
}


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"),
    [
        ("losses", "SCALE = 2", "SCALE = 3", True),  # a constant of what the cell calls
        ("losses", "return SCALE", "return 2 + SCALE", True),
        ("models", "* x", "* x * x", True),  # another module's function
        ("models", '"small": 1', '"small": 2', True),  # its constant
        ("models", "large=2", "large=3", True),  # a statement that acts on that constant
        ("losses", "import math", '"""Losses."""', False),
        ("losses", "SCALE = 2", "SCALE = 2  # doubled", False),
        ("losses", "return x", "return x + 1", False),  # nothing that the cell names leads there
        ("models", "DEPTH: int = 3", "DEPTH: int = 4", False),
        ("models", "def other", "def soft", False),  # the same name, in another module
    ],
)
@pytest.mark.parametrize(
    "cell",
    ["import kdcourse as kd\nkd.losses.soft(6)", "import kdcourse as kd\n[kd.softly(k) for k in (1, 2)]", "%time\nfrom kdcourse.losses import soft as f\nf(6)"],
)
def test_key_follows_names_through_the_numeric_modules(course, cell, module, old, new, counts):
    root = _root(course)
    edit(course, "6 * 7", cell)
    (root / "kdcourse").mkdir()
    (root / "kdcourse" / "__init__.py").write_text("from kdcourse import losses, models\nfrom kdcourse.losses import soft as softly\n")
    for name, text in MODULES.items():
        (root / "kdcourse" / f"{name}.py").write_text(textwrap.dedent(text))
    before = notebooks.lesson_key(_source(course), root)
    edit(root / "kdcourse" / f"{module}.py", old, new)
    assert (notebooks.lesson_key(_source(course), root) != before) == counts


@pytest.mark.parametrize(
    "trial", [kd.features.teacher, kd.metric.wide_teacher, kd.teachers.convolutional_teacher, kd.teachers.smoothed_teacher]
)
def test_a_cell_reaches_all_that_its_trial_depends_on(trial):
    """Held against the other way of finding dependencies: the recipe of a trial follows values, the key of a lesson follows names."""
    home = trial.__module__.removeprefix("kdcourse.")
    cell = f"import kdcourse as kd\nkd.run(kd.{home}.{trial.__name__}, seed=0)"
    reached = set(keys.reach([cell], Path(kd.__file__).parent))
    parts = {}
    recipe._visit(trial, trial.__name__, parts, (trial.__name__,))
    modules = {name: importlib.import_module(f"kdcourse.{name}") for name in keys.NUMERIC if hasattr(kd, name)}
    needed = {
        f"{name}: {recipe.syntax(ast.unparse(ast.parse(inspect.getsource(value))))}"
        for name, module in modules.items()
        for value in vars(module).values()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and f"{value.__module__}.{value.__qualname__}" in parts
    }
    assert len(needed) > 15
    assert needed <= reached


def test_a_module_used_as_a_value_counts_as_a_whole(course):
    root = _root(course)
    edit(course, "6 * 7", "import kdcourse as kd\nmodule = kd.losses\nmodule.hard(1)")
    (root / "kdcourse").mkdir()
    module = root / "kdcourse" / "losses.py"
    module.write_text("def hard(x):\n    return x\n")
    before = notebooks.lesson_key(_source(course), root)
    module.write_text("def hard(x):\n    return 2 * x\n")
    assert notebooks.lesson_key(_source(course), root) != before


def test_a_record_goes_stale_with_the_shipped_teachers_it_used_and_no_others(course):
    root = _root(course)
    folder = root / "data" / "teachers"
    folder.mkdir(parents=True)
    (folder / "teacher-1.safetensors").write_bytes(b"1")
    record = {
        "key": notebooks.lesson_key(_source(course), root),
        "teachers": keys.teacher_checksums(["teacher-1.safetensors"], root),
    }
    assert notebooks.is_current(_source(course), record, root)
    (folder / "teacher-2.safetensors").write_bytes(b"2")
    assert notebooks.is_current(_source(course), record, root)
    (folder / "teacher-1.safetensors").write_bytes(b"other")
    assert not notebooks.is_current(_source(course), record, root)
    (folder / "teacher-1.safetensors").unlink()
    assert not notebooks.is_current(_source(course), record, root)


def test_check_of_a_lesson_never_built(course):
    problems = notebooks.check(_source(course), _root(course))
    assert len(problems) == 2
    assert all("missing" in problem for problem in problems)


def test_orphans_are_found(course):
    folder = _root(course) / "notebooks"
    (folder / "07_gone.ipynb").write_text("{}")
    assert notebooks.orphans(_root(course)) == ["notebooks/07_gone.ipynb has no source in notebooks/src"]


# ---- building ----


def test_build_prose_edit_code_edit_and_damage(course):
    """One lesson's life: built, rebuilt to the byte, edited in prose, in code, damaged."""
    root = _root(course)
    learner, solved = root / "notebooks" / "01_tiny.ipynb", root / "notebooks" / "solutions" / "01_tiny.ipynb"
    assert "executed" in _build(course)
    assert notebooks.check(_source(course), root) == []
    assert notebooks.stale_lessons(root=root) == []
    assert executions(root) == 2
    before = learner.read_bytes(), solved.read_bytes()

    assert "kept" in _build(course)
    assert executions(root) == 2
    assert "executed" in _build(course, force=True)
    assert executions(root) == 4
    assert (learner.read_bytes(), solved.read_bytes()) == before, "re-execution must leave notebooks unchanged"

    edit(course, "Some prose.", "Better prose.")
    assert all("nothing is executed" in problem for problem in notebooks.check(_source(course), root))
    assert len(notebooks.check(_source(course), root)) == 2
    assert "kept" in _build(course)
    assert executions(root) == 4
    assert notebooks.check(_source(course), root) == []
    rebuilt = nbformat.read(learner, as_version=4)
    assert "Better prose." in _texts(rebuilt)
    (printing,) = [cell for cell in rebuilt.cells if "main-figure" in notebooks.tags(cell)]
    assert printing.outputs[0].text == "profile=quick first_seed=0\n"
    before = learner.read_bytes()
    assert "executed" in _build(course, force=True)
    assert learner.read_bytes() == before, "kept outputs are the executed ones, byte for byte"

    edit(course, "6 * 7", "6 * 8")
    problems = notebooks.check(_source(course), root)
    assert len(problems) == 2
    assert all("code of 01_tiny.py changed" in problem for problem in problems)
    assert [source.slug for source in notebooks.stale_lessons(root=root)] == ["01_tiny"]
    count = executions(root)
    assert "executed" in _build(course)
    assert executions(root) == count + 2
    assert notebooks.check(_source(course), root) == []

    _damage(learner)
    problems = notebooks.check(_source(course), root)
    assert any("stores an error (ValueError)" in problem for problem in problems)
    assert any("was not executed" in problem for problem in problems)
    assert "executed" in _build(course), "outputs with errors are not kept"
    learner.write_text("half a notebook")
    assert any("unreadable" in problem for problem in notebooks.check(_source(course), root))


def _damage(path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code[1].outputs = [nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])]
    code[2].execution_count = None
    nbformat.write(notebook, path)


def test_build_executes_when_a_numeric_module_changed(course):
    root = _root(course)
    (root / "kdcourse").mkdir()
    (root / "kdcourse" / "__init__.py").write_text("")
    (root / "claims.toml").write_text("")  # or the install cell would take this package for one without its course
    module = root / "kdcourse" / "losses.py"
    edit(course, "6 * 7", "import kdcourse\nif False:\n    kdcourse.losses.write(6)")
    module.write_text("def write(text):\n    return 1\n")
    _build(course)
    module.write_text("def write(text):\n    return 2\n")
    count = executions(root)
    assert "executed" in _build(course)
    assert executions(root) == count + 2


def test_only_record_touches_tracked_files(course):
    root = _root(course)
    execution.build(_source(course), profile="smoke", root=root)
    assert not (root / "results").exists()
    assert not list((root / "notebooks").glob("*.ipynb"))
    built = nbformat.read(root / "build" / "authoring" / "01_tiny.ipynb", as_version=4)
    assert "profile=smoke" in str(built.cells)
    assert notebooks.read_lesson_record(root / "build" / "results", "smoke", "01")["title"] == "A tiny lesson"
    execution.build(_source(course), profile="smoke", record=True, root=root)
    assert not list((root / "notebooks").glob("*.ipynb")), "committed notebooks are those of the quick profile"
    assert notebooks.read_lesson_record(root / "results", "smoke", "01")["seconds"] > 0


def test_build_environment_and_clean_outputs(course):
    edit(
        course,
        "6 * 7",
        "import inspect, sys, warnings\n"
        "print(inspect.getsource(double).splitlines()[0])\n"
        "print('to stderr', file=sys.stderr)\n"
        "print(os.environ['MALLOC_TOP_PAD_'], os.environ['TQDM_DISABLE'], os.environ.get('OMP_NUM_THREADS'), flush=True)\n"
        "warnings.warn('careful')",
    )
    _build(course)
    notebook = nbformat.read(_root(course) / "notebooks" / "01_tiny.ipynb", as_version=4)
    outputs = notebook.cells[-1].outputs
    assert [output.name for output in outputs] == ["stdout", "stderr"]
    assert outputs[0].text.startswith("def double(x):\n268435456 1 "), (
        "a trial's source must be found from a later cell"
    )
    assert outputs[1].text.startswith("to stderr\n<cell>:5: UserWarning: careful")
    text = (_root(course) / "notebooks" / "01_tiny.ipynb").read_text()
    assert "papermill" not in text
    assert "start_time" not in text


# ---- the cells that stand in no source ----

QUIZ = """lesson = "01"
[[question]]
id = "01-twice"
text = "What is *twice* $x$?"
[[question.choice]]
text = "`x + x`"
because = "Of course."
right = true
[[question.choice]]
text = "$x^2$"
because = "Only for 0 and 2."
"""


def _quiz(course, text=QUIZ):
    path = _root(course) / "docs" / "quizzes" / "01.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_install_cell_comes_before_all_code_and_the_quiz_at_the_end(course):
    _quiz(course)
    for solved in (False, True):
        cells = notebooks.make(_source(course), solved).cells
        assert next(cell.id for cell in cells if cell.cell_type == "code") == "install"
        assert cells[0].source.startswith("# A tiny lesson"), "a reader meets the title first"
        assert cells[-1].source.startswith("## Check yourself")
        assert (cells[-1].id, cells[-1].cell_type) == ("quiz", "markdown")
        assert [cell.id for cell in cells].count("quiz") == 1


def test_the_install_cell_leaves_no_trace_of_having_run(course):
    _build(course)
    for path in (_root(course) / "notebooks").rglob("*.ipynb"):
        code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == [None, 1, 2, 3, 4]
        assert code[0].outputs == []
        (result,) = code[-1].outputs
        assert result.output_type == "execute_result"
        assert result.execution_count == 4


def test_injected_parameters_are_counted_and_the_install_cell_is_not(course):
    root = _root(course)
    execution.run(_source(course), root / "build", profile="smoke", root=root)
    cells = nbformat.read(root / "build" / "notebooks" / "01_tiny.ipynb", as_version=4).cells
    counts = {notebooks.tags(cell)[0] if notebooks.tags(cell) else "": cell.execution_count for cell in cells if cell.cell_type == "code"}
    assert counts == {"install": None, "parameters": 1, "injected-parameters": 2, "main-figure": 3, "exercise": 4, "nbval-check-output": 5}


def test_generated_cells_come_and_change_without_executing_anything(course):
    """Notebooks from before there were such cells, then a first quiz, an edited quiz, an address: outputs stay."""
    root = _root(course)
    _build(course)
    learner = root / "notebooks" / "01_tiny.ipynb"
    outputs = [cell.get("outputs") for cell in notebooks.read(learner).cells if cell.id != "install"]
    for path in (learner, root / "notebooks" / "solutions" / "01_tiny.ipynb"):
        old = notebooks.read(path)
        old.cells = [cell for cell in old.cells if cell.id != "install"]
        notebooks.write(old, path)
    count = executions(root)

    def changed():
        problems = notebooks.check(_source(course), root)
        assert len(problems) == 2
        assert all("docs/quizzes" in problem and "nothing is executed" in problem for problem in problems)
        assert "kept" in _build(course)
        assert notebooks.check(_source(course), root) == []
        assert executions(root) == count
        return _texts(notebooks.read(learner))

    assert "find_or_fetch_the_course()" in changed()
    _quiz(course)
    assert "Only for 0 and 2." in changed()
    _quiz(course, QUIZ.replace("Only for 0 and 2.", "Not for 3."))
    assert "Not for 3." in changed()
    (root / "pyproject.toml").write_text('[tool.kdcourse]\nrepository = "https://example.org/course"\n')
    assert '"https://example.org/course"' in changed()
    assert [cell.get("outputs") for cell in notebooks.read(learner).cells if cell.id not in ("install", "quiz")] == outputs


def test_a_faulty_quiz_is_named(course):
    path = _quiz(course, QUIZ.replace("right = true", ""))
    assert [str(path) in problem and "01-twice" in problem for problem in notebooks.check(_source(course), _root(course))] == [True]
    with pytest.raises(ValueError, match="one of them right"):
        notebooks.make(_source(course))


def test_generated_cells_are_no_part_of_a_lessons_key(course):
    before = notebooks.code_hash(_source(course)), notebooks.lesson_key(_source(course), _root(course))
    _quiz(course)
    assert (notebooks.code_hash(_source(course)), notebooks.lesson_key(_source(course), _root(course))) == before


# ---- running for a learner ----


def test_run_parameters_win_over_the_environment(course, monkeypatch):
    monkeypatch.setenv("KDCOURSE_PROFILE", "quick")
    root = _root(course)
    old = root / "build" / "results" / "smoke-seed100" / "01-old-claim.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    other = old.with_name("02-of-another-lesson.json")
    other.write_text("{}")
    record = execution.run(_source(course), root / "build", profile="smoke", first_seed=100, root=root)
    text = (root / "build" / "notebooks" / "01_tiny.ipynb").read_text()
    assert "profile=smoke first_seed=100" in text
    assert record["first_seed"] == 100
    assert notebooks.read_lesson_record(root / "build" / "results", "smoke", "01", 100) == record
    assert not old.exists()
    assert other.exists()
    assert not (root / "results").exists()


def test_plain_papermill_works(course, tmp_path, monkeypatch):
    monkeypatch.setenv("KDCOURSE_PROFILE", "full")
    notebooks.write(notebooks.make(_source(course)), tmp_path / "in.ipynb")
    command = [
        sys.executable,
        "-m",
        "papermill",
        "in.ipynb",
        "out.ipynb",
        "-p",
        "profile",
        "smoke",
        "-p",
        "first_seed",
        "100",
    ]
    subprocess.run([*command, "--no-progress-bar"], cwd=tmp_path, check=True, capture_output=True)
    assert "profile=smoke first_seed=100" in (tmp_path / "out.ipynb").read_text()


@pytest.mark.parametrize(
    ("last_words", "reason"),
    [
        ("raise ValueError('no such luck')", "ValueError: no such luck"),
        ("os.kill(os.getpid(), 9)", "kernel was killed"),
    ],
)
def test_a_failing_or_killed_kernel_keeps_what_ran(course, last_words, reason):
    edit(course, "6 * 7", last_words)
    root = _root(course)
    with pytest.raises(execution.ExecutionError) as caught:
        execution.run(_source(course), root / "build", profile="smoke", root=root)
    message = str(caught.value)
    assert "lesson 01_tiny" in message
    assert reason in message
    assert last_words[:20] in message
    partial = root / "build" / "notebooks" / "01_tiny.partial.ipynb"
    assert str(partial) in message
    assert "profile=smoke first_seed=0" in partial.read_text()
    assert not (root / "build" / "notebooks" / "01_tiny.ipynb").exists()
    assert notebooks.read_lesson_record(root / "build" / "results", "smoke", "01") == {}


def test_a_failed_build_leaves_committed_notebooks_alone(course):
    _build(course)
    committed = _root(course) / "notebooks" / "01_tiny.ipynb"
    before = committed.read_bytes()
    edit(course, "6 * 7", "1 / 0")
    with pytest.raises(execution.ExecutionError, match="code cell 5 of 5"):
        _build(course)
    assert committed.read_bytes() == before


def test_cold_runs_have_a_cache_of_their_own(course, monkeypatch, tmp_path):
    edit(course, "6 * 7", "print('cache', os.environ.get('KDCOURSE_CACHE'), 'end')")
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path / "warm"))
    root = _root(course)
    execution.run(_source(course), root / "build", profile="smoke", cold=True, root=root)
    text = (root / "build" / "notebooks" / "01_tiny.ipynb").read_text()
    assert "kdcourse-cold-" in text
    assert str(tmp_path / "warm") not in text
