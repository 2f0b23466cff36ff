"""The wrap-up project: the study that writes down what it does, and the checker, which mutants of an honest notebook must not fool."""

import copy
import json
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from kdcourse import check_project, claims, cli, grading, lesson, project, study

SOURCE = lesson.ROOT / "notebooks" / "project"
ARMS = {"labels": "hard", "distilled": "soft", "shuffled": "control"}
RATES = {"labels": 0.09, "distilled": 0.05, "shuffled": 0.085}
EXAMPLES = 2000
ALT = "Test errors of every student, one column an arm, the students of one seed joined by a thin line."


def trial(arm, seed, data, part, learning_rate):
    """Never runs: the sweep is a stand-in."""


def fake_sweep(trial, *, seeds, **grid):
    """Runs as a sweep of students would return them, with error rates by arm and paired fingerprints."""
    rows = []
    for learning_rate in grid["learning_rate"] if isinstance(grid["learning_rate"], list) else [grid["learning_rate"]]:
        for arm in grid["arm"]:
            for seed in seeds:
                hard = np.random.default_rng([seed, 1]).random(EXAMPLES)  # shared by the arms: what is hard is hard for all
                correct = hard + 0.01 * np.random.default_rng([seed, *arm.encode()]).random(EXAMPLES) > RATES[arm]
                row = {"arm": arm, "seed": seed, "learning_rate": learning_rate, "init": f"i{seed}", "order": f"o{seed}", "steps": 80}
                rows.append(row | {"correct": correct, "errors": int((~correct).sum())})
    return pd.DataFrame(rows)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A project folder with the worked example's ledger, a small data set, and a sweep that only pretends."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "solution_claims.toml").write_text((SOURCE / "solution_claims.toml").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    arrays = {f"{p}_images": rng.integers(0, 255, (60, 28, 28), np.uint8) for p in ("train", "test")}
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "tiny.npz", **arrays, **{f"{p}_labels": np.arange(60) % 3 for p in ("train", "test")})
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("KDCOURSE_PROJECT", str(folder))
    monkeypatch.setenv("KDCOURSE_RESULTS", "")  # `begin` sets it: put back afterwards
    monkeypatch.setattr(study, "sweep", fake_sweep)
    monkeypatch.setattr(project, "_name", "project")
    return folder


def run_all(monkeypatch, profile="quick", seeds=5):
    """An honest project from pilot to hand-in; (its bundle, the verdict's card)."""
    project.begin(profile, 0, name="solution")
    project.pilot(trial, seeds=[9000, 9001], arm=list(ARMS), learning_rate=[1e-3, 5e-3])
    project.register()
    runs = project.run_study(trial, seeds=range(seeds), roles=ARMS, data="tiny", learning_rate=5e-3)
    verdict = claims.judge("solution-unseen-fonts", runs, ledger=project.read_claims())
    shown = []
    monkeypatch.setattr(project, "display", lambda data, raw: shown.append(data))
    project.hand_in()
    return shown[0], str(verdict)


def notebook_of(bundle, card):
    """The worked example as if it had been executed, with the outputs that the checker reads."""
    notebook = project.make_notebook(SOURCE / "solution.py")
    for number, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), 1):
        cell.execution_count = number
        if "judge(" in cell.source:
            cell.outputs = [nbformat.v4.new_output("execute_result", {"text/plain": card}, execution_count=number)]
        if "paired_arms" in cell.source:
            cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": "aGk="}, metadata={"image/png": {"alt": ALT}})]
        if "hand_in" in cell.source:
            cell.outputs = [nbformat.v4.new_output("display_data", bundle)]
    return notebook


@pytest.fixture
def honest(work, monkeypatch):
    """(the path of an honest notebook, a function that writes a changed copy beside it and returns its path)."""
    made = notebook_of(*run_all(monkeypatch))
    path = work / "solution.ipynb"
    nbformat.write(made, path)

    def change(mutate):
        changed = copy.deepcopy(made)
        mutate(changed)
        nbformat.write(changed, path)
        return path

    return path, change


def bundle_of(notebook):
    return next(o.data[project.BUNDLE] for c in notebook.cells for o in c.get("outputs", []) if project.BUNDLE in o.data)


def cell_with(notebook, text):
    return next(c for c in notebook.cells if text in c.source)


def wrong(path, row=None):
    """What the checker says against a notebook, in one text."""
    return "\n".join(f.said for f in grading.check(path) if f.holds is False and row in (None, f.row))


# ---- the study ------------------------------------------------------------------------------------------------------


def test_an_honest_project_has_every_point_of_the_checks(honest, capsys):
    path, _ = honest
    assert wrong(path) == ""
    found = check_project.summary(path, grading.check(path))
    assert found["points"] == found["of"] == sum(of for _, of, _ in grading.ROWS.values())
    assert found["verdicts"] == {"solution-unseen-fonts": "REPRODUCED"}
    assert cli.main(["check-project", str(path)]) == 0
    assert "REPRODUCED" in capsys.readouterr().out


def test_running_the_notebook_again_leaves_the_log_as_it_is(work, monkeypatch):
    first, _ = run_all(monkeypatch)
    log = (work / "solution_results" / "log.jsonl").read_bytes()
    assert run_all(monkeypatch)[0] == first
    assert (work / "solution_results" / "log.jsonl").read_bytes() == log


def test_pilots_have_their_own_seeds_and_never_see_the_test_images(work):
    project.begin("quick", 0, name="solution")
    for options, words in (
        ({"seeds": [0]}, "pilot seed 0; expected 9000 or more"),
        ({"seeds": 9000, "part": "test"}, "part is set for you"),
        ({"seeds": [9000], "arm": ["labels", ...]}, "blank .* left in arm"),
        ({"seeds": ...}, "blank .* left in seeds"),
        ({"seeds": [9000, 9000]}, "none twice"),
    ):
        with pytest.raises(ValueError, match=words):
            project.pilot(trial, **options)
    with pytest.raises(ValueError, match="are for pilots"):
        project.begin("quick", 9000)
    assert project.read_log() == []


def test_a_study_needs_a_registered_claim_and_one_setting(work):
    project.begin("quick", 0, name="solution")
    good = {"seeds": range(5), "roles": ARMS, "data": "tiny", "learning_rate": 1e-3}
    with pytest.raises(ValueError, match="not registered"):
        project.run_study(trial, **good)
    project.register()
    for change, words in (
        ({"seeds": [9000]}, "pilot seed"),
        ({"learning_rate": [1e-3, 1e-2]}, "learning_rate has several values"),
        ({"data": "mnist"}, "data set of a lesson"),
        ({"roles": {"labels": "labels"}}, "expected one of hard, soft"),
        ({"roles": {"labels": "hard", ...: "control"}}, "blank .* left in roles"),
    ):
        with pytest.raises(ValueError, match=words):
            project.run_study(trial, **{**good, **change})
    assert [entry["event"] for entry in project.read_log()] == ["claim"], "what was refused left no trace of a run"


def test_a_claim_cannot_be_changed_after_its_runs_but_tested_anew(work, monkeypatch):
    run_all(monkeypatch)
    ledger = work / "solution_claims.toml"
    ledger.write_text(ledger.read_text().replace("greater = 100", "greater = 10"))
    with pytest.raises(ValueError, match="changed after the runs of seeds"):
        project.register()
    with pytest.raises(ValueError, match="not registered"):
        project.run_study(trial, seeds=range(5), roles=ARMS, data="tiny", learning_rate=5e-3)
    project.begin("quick", 100, name="solution")  # fresh seeds
    project.register()
    assert len(project.run_study(trial, seeds=range(100, 105), roles=ARMS, data="tiny", learning_rate=5e-3)) == 15


def test_the_ledger_of_the_template_has_to_be_filled_in(work):
    project.begin("quick", 0)
    with pytest.raises(ValueError, match="kdcourse project"):
        project.read_claims()
    template = (SOURCE / "project_claims.toml").read_text()
    (work / "project_claims.toml").write_text(template)
    with pytest.raises(ValueError, match="contrasts"):
        project.read_claims()
    (work / "project_claims.toml").write_text(template.replace('greater = "..."', "greater = 50"))
    with pytest.raises(ValueError, match="still has a blank"):
        project.read_claims()


def test_a_damaged_log_is_named(work):
    project.begin("quick", 0, name="solution")
    project.register()
    log = work / "solution_results" / "log.jsonl"
    log.write_text(log.read_text()[:50])
    with pytest.raises(ValueError, match=r"log\.jsonl is damaged"):
        project.register()


def test_kdcourse_project_never_overwrites(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "project").symlink_to(SOURCE)
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    assert cli.main(["project"]) == 0
    mine = tmp_path / "work" / "project_claims.toml"
    assert {p.name for p in (tmp_path / "work").iterdir()} == {"project.ipynb", "project_claims.toml"}
    mine.write_text("mine")
    assert cli.main(["project"]) == 0
    assert mine.read_text() == "mine"
    assert "kept: work/project_claims.toml" in capsys.readouterr().out


def test_template_and_worked_example_have_the_same_sections():
    def heads(name):
        cells = project.make_notebook(SOURCE / f"{name}.py").cells
        return [line for c in cells if c.cell_type == "markdown" for line in c.source.splitlines() if line.startswith("## ")]

    assert heads("project") == heads("solution")
    for words in grading.SECTIONS:
        assert any(words in line.lower() for line in heads("project")), words
    assert not [c for c in project.make_notebook(SOURCE / "project.py").cells if c.get("outputs")]


# ---- the checker is not fooled --------------------------------------------------------------------------------------


def test_an_empty_notebook_and_the_untouched_template_have_no_point(work):
    nbformat.write(nbformat.v4.new_notebook(), work / "empty.ipynb")
    nbformat.write(project.make_notebook(SOURCE / "project.py"), work / "project.ipynb")
    pretended = project.make_notebook(SOURCE / "project.py")
    for number, cell in enumerate((c for c in pretended.cells if c.cell_type == "code"), 1):
        cell.execution_count = number
    nbformat.write(pretended, work / "pretended.ipynb")
    for name in ("empty", "project", "pretended"):
        found = check_project.summary(work / f"{name}.ipynb", grading.check(work / f"{name}.ipynb"))
        assert found["points"] == 0, name


def test_threshold_edited_after_the_run(honest, work):
    path, change = honest
    ledger = work / "solution_claims.toml"
    original = ledger.read_text()
    ledger.write_text(original.replace("greater = 100", "greater = 200"))
    assert "edited after the notebook was handed in" in wrong(path, "claim")

    def in_the_bundle(notebook):
        bundle_of(notebook)["ledger"] = original.replace("greater = 100", "greater = 200")

    ledger.unlink()
    assert "the claim in the ledger is not the one that was judged" in wrong(change(in_the_bundle), "claim")

    def everywhere_but_in_the_registration(notebook):
        in_the_bundle(notebook)
        record = bundle_of(notebook)["records"][0]
        record["claim"]["contrasts"][0]["greater"] = 200.0
        entry = {k: v for k, v in record["claim"].items() if k != "primary_in_lesson"}
        record["claim_hash"] = claims.claim_hash(claims.read_claim(entry), 1)

    assert "in its registration is not the one" in wrong(change(everywhere_but_in_the_registration), "claim")


def test_unpaired_runs(honest):
    _, change = honest

    def other_weights(notebook):
        next(r for r in bundle_of(notebook)["records"][0]["runs"] if r["arm"] == "distilled")["init"] = "elsewhere"

    assert "the arms differ in init" in wrong(change(other_weights), "study")
    assert "does not hold" in wrong(change(other_weights), "verdict")

    def not_asked_for(notebook):
        bundle_of(notebook)["records"][0]["claim"]["paired"] = []

    assert "not paired on" in wrong(change(not_asked_for), "study")

    def a_run_left_out(notebook):
        record = bundle_of(notebook)["records"][0]
        record["runs"].remove(next(r for r in record["runs"] if r["arm"] == "labels"))

    assert "arms with other seeds" in wrong(change(a_run_left_out), "study")


@pytest.mark.parametrize("seeds", [2, 4])
def test_too_few_seeds(work, monkeypatch, seeds):
    path = work / "solution.ipynb"
    nbformat.write(notebook_of(*run_all(monkeypatch, seeds=seeds)), path)
    assert f"{seeds} seeds" in wrong(path, "study")


def test_a_single_seed_is_not_judged(work, monkeypatch):
    with pytest.raises(ValueError, match="at least 2 seeds"):
        run_all(monkeypatch, seeds=1)
    bundle = {"ledger": (work / "solution_claims.toml").read_text(), "log": project.read_log(), "records": []}
    path = work / "solution.ipynb"
    nbformat.write(notebook_of({project.BUNDLE: bundle | project._settings()}, "REPRODUCED (effect shown)"), path)
    assert "no record of a run" in wrong(path, "study")
    assert "does not show the card" in wrong(path, "verdict")


def test_missing_control(honest, work, monkeypatch):
    _, change = honest

    def called_something_else(notebook):
        next(e for e in bundle_of(notebook)["log"] if e["event"] == "study")["roles"]["shuffled"] = "soft"

    said = wrong(change(called_something_else))
    assert "no negative control" in said
    assert "does not follow from the one before" in said, "and the log shows that it was edited"

    def not_made(notebook):
        cell = cell_with(notebook, "shuffle_within_class")
        cell.source = cell.source.replace("kd.controls.shuffle_within_class(logits, labels, seed)", "logits")

    path = change(not_made)
    assert [f.holds for f in grading.check(path) if "kd.controls" in f.said] == [None], "a reader has to look"


def test_a_control_outside_the_claim_is_not_enough(work, monkeypatch):
    ledger = work / "solution_claims.toml"
    ledger.write_text(ledger.read_text().replace('    { expression = "shuffled - distilled", greater = 50 },\n', ""))
    path = work / "solution.ipynb"
    nbformat.write(notebook_of(*run_all(monkeypatch)), path)
    assert "no contrast of the claim has a control in it" in wrong(path, "arms")


def test_arms_that_are_the_same_network(work, monkeypatch):
    monkeypatch.setitem(RATES, "shuffled", 0.05)

    def twin_sweep(trial, **options):
        runs = fake_sweep(trial, **options)
        for seed in set(runs.seed):
            same = runs[(runs.seed == seed) & (runs.arm == "distilled")].correct.iloc[0]
            for row in runs[(runs.seed == seed) & (runs.arm == "shuffled")].index:
                runs.at[row, "correct"] = same
        return runs.assign(errors=[int((~c).sum()) for c in runs.correct])

    monkeypatch.setattr(study, "sweep", twin_sweep)
    path = work / "solution.ipynb"
    nbformat.write(notebook_of(*run_all(monkeypatch)), path)
    assert "distilled and shuffled gave the same answers" in wrong(path, "arms")


def test_copied_verdicts(honest):
    path, change = honest
    card = str(grading.Verdict(claims.recompute(grading.read(path).records[0])))

    def another_word(notebook):
        cell_with(notebook, "judge(").outputs[0].data["text/plain"] = card.replace("REPRODUCED", "REFUTED", 1)

    assert "does not show the card" in wrong(change(another_word), "verdict")

    def other_numbers(notebook):
        cell_with(notebook, "judge(").outputs[0].data["text/plain"] = card.replace("interval 3", "interval 4")

    assert card != card.replace("interval 3", "interval 4"), "the card has such an interval"
    assert "does not show the card" in wrong(change(other_numbers), "verdict")

    def printed_in_another_cell(notebook):
        cell = cell_with(notebook, "judge(")
        cell.source = f'"""{card}"""'

    assert "does not show the card" in wrong(change(printed_in_another_cell), "verdict")

    def record_says_otherwise(notebook):
        bundle_of(notebook)["records"][0]["verdict"] = "SMALLER"

    assert "the record says SMALLER, its runs say REPRODUCED" in wrong(change(record_says_otherwise), "verdict")

    def prose_says_otherwise(notebook):
        cell_with(notebook, "## 12").source += "\nThe claim was REFUTED."

    assert "section 12 says REFUTED" in wrong(change(prose_says_otherwise), "verdict")


def test_runs_that_the_study_did_not_make(honest):
    _, change = honest

    def other_answers(notebook):
        runs = bundle_of(notebook)["records"][0]["runs"]
        labels = [r for r in runs if r["arm"] == "labels"]
        for run in labels:
            run["correct"], run["value"] = claims._pack(np.zeros(EXAMPLES, bool)), 10_000.0

    assert "the study's log" in wrong(change(other_answers), "study")


def test_unequal_budgets(work, monkeypatch):
    def longer(trial, **options):
        runs = fake_sweep(trial, **options)
        runs.loc[runs.arm == "distilled", "steps"] = 160
        return runs

    monkeypatch.setattr(study, "sweep", longer)
    path = work / "solution.ipynb"
    nbformat.write(notebook_of(*run_all(monkeypatch)), path)
    assert "distilled 160, labels 80" in wrong(path, "study")


def test_pilots_that_are_unfair_or_peek(honest):
    _, change = honest

    def one_arm_only(notebook):
        entry = next(e for e in bundle_of(notebook)["log"] if e["event"] == "pilot")
        entry["runs"] = [r for r in entry["runs"] if r["arm"] != "labels"]

    assert "labels 0" in wrong(change(one_arm_only), "pilot")

    def on_test_images(notebook):
        next(e for e in bundle_of(notebook)["log"] if e["event"] == "pilot")["part"] = "test"

    assert wrong(change(on_test_images), "pilot")

    def looks(notebook):
        cell_with(notebook, "kd.load(data)").source += "\nplt.imshow(whole.test.images[0, 0])"

    asked = [f.said for f in grading.check(change(looks)) if f.holds is None and f.row == "pilot"]
    assert "reads test images" in asked[0]


def test_a_claim_registered_after_the_run(honest):
    _, change = honest

    def later(notebook):
        log = bundle_of(notebook)["log"]
        claim = next(e for e in log if e["event"] == "claim")
        log.remove(claim)
        log.append(claim | {"time": "2100-01-01T00:00:00+00:00"})
        for k, entry in enumerate(log):  # with a chain that was mended
            entry["previous"] = project.digest(log[k - 1]) if k else ""

    assert "registered 2100" in wrong(change(later), "claim")


def test_figures_without_words_or_with_a_fixed_title(honest):
    _, change = honest

    def no_alt(notebook):
        cell_with(notebook, "paired_arms").outputs[0].metadata = {}

    assert "no description" in wrong(change(no_alt), "figure")

    def none(notebook):
        cell_with(notebook, "paired_arms").outputs = []

    assert "no figure" in wrong(change(none), "figure")

    def fixed(notebook):
        cell = cell_with(notebook, "paired_arms")
        cell.source = cell.source[: cell.source.index("saved, left")] + 'title = "Distillation wins"\nfigure.axes[0].set_title(title)'

    assert "a fixed text" in wrong(change(fixed), "figure")


def test_sections_that_are_the_templates_own_or_missing(honest):
    _, change = honest
    template = project.make_notebook(SOURCE / "project.py")

    def untouched(notebook):
        cell_with(notebook, "## 11").source = cell_with(template, "## 11").source

    assert "“does not show” has 0 words of yours" in wrong(change(untouched), "words")

    def headless(notebook):
        cell_with(notebook, "## 4").source = "Nothing."

    assert "“comes out otherwise” has 0 words" in wrong(change(headless), "words")


def test_cells_out_of_order_errors_and_blanks(honest):
    _, change = honest

    def twice(notebook):
        cell_with(notebook, "judge(").execution_count += 7

    assert "not run in order" in wrong(change(twice), "notebook")

    def error(notebook):
        cell_with(notebook, "paired_arms").outputs.append(nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[]))

    assert "ended with an error" in wrong(change(error), "notebook")

    def blank(notebook):
        cell_with(notebook, "kd.load(data)").source += "\nx = ..."

    assert "still has a blank" in wrong(change(blank), "notebook")


def test_a_smoke_rehearsal_has_no_verdict(work, monkeypatch):
    path = work / "solution.ipynb"
    nbformat.write(notebook_of(*run_all(monkeypatch, profile="smoke")), path)
    assert "smoke profile" in wrong(path, "verdict")


@pytest.mark.parametrize("content", ["", "no notebook", "[1, 2]", '{"cells": 3}'])
def test_what_is_no_notebook_is_refused_in_words(tmp_path, capsys, content):
    path = tmp_path / "broken.ipynb"
    path.write_text(content)
    assert cli.main(["check-project", str(path)]) == 2
    assert "not a readable notebook" in capsys.readouterr().err
    assert cli.main(["check-project", str(tmp_path / "none.ipynb")]) == 2
    assert "kdcourse project" in capsys.readouterr().err


@pytest.mark.parametrize("junk", [{"log": 3}, {"records": [{"claim": {}}]}, {"log": [{"event": "study"}]}, {"ledger": "= ="}, {"records": 7}, {"records": [{"claim": {"id": 1, "kind": "primary", "paired": 3, "metric": 1}, "verdict": 1, "runs": [3], "claim_hash": 2}]}])
def test_a_bundle_of_junk_is_read_without_falling_over(honest, junk):
    _, change = honest
    path = change(lambda notebook: bundle_of(notebook).update(junk))
    assert wrong(path)
    found = check_project.summary(path, grading.check(path))
    assert found["points"] < found["of"]
    assert check_project.report(found)


def test_thirty_at_once_as_json(honest, work, capsys):
    path, _ = honest
    whole = path.read_text()
    (work / "copy.ipynb").write_text(whole)
    (work / "broken.ipynb").write_text("no")
    assert cli.main(["check-project", str(path), str(work / "copy.ipynb"), str(work / "broken.ipynb"), "--json"]) == 1
    first, second, third = json.loads(capsys.readouterr().out)
    assert first["points"] == second["points"] == first["of"]
    assert second["same_runs_as"] == str(path)
    assert "same_runs_as" not in first
    assert "not a readable notebook" in third["problem"]
    assert set(first["rows"]) == set(grading.ROWS)


def test_rubric_and_checker_have_the_same_points():
    page = (lesson.ROOT / "docs" / "project.md").read_text(encoding="utf-8")
    for title, checks, reader in grading.ROWS.values():
        line = next((line for line in page.splitlines() if line.startswith(f"| {title} |")), "")
        assert [cell.strip() for cell in line.split("|")[2:4]] == [str(checks), str(reader)], title
    checks, reader = (sum(row[k] for row in grading.ROWS.values()) for k in (1, 2))
    assert f"{checks + reader} points" in page
    assert f"{checks} by the checker" in page


@pytest.mark.slow
def test_the_worked_example_runs_as_a_rehearsal(tmp_path, monkeypatch):
    import os

    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "solution_claims.toml").write_text((SOURCE / "solution_claims.toml").read_text(encoding="utf-8"))
    nbformat.write(project.make_notebook(SOURCE / "solution.py"), folder / "solution.ipynb")
    environment = os.environ | {"KDCOURSE_DATA": str(tmp_path / "data"), "KDCOURSE_PROFILE": "smoke", "OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    environment |= {"PYTHONPATH": str(lesson.ROOT)}
    command = [sys.executable, "-m", "papermill", "-k", "python3", "solution.ipynb", "solution.ipynb", "--log-level", "ERROR", "--no-progress-bar"]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)
    assert ended.returncode == 0, ended.stderr[-2000:]
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path / "data"))
    path = folder / "solution.ipynb"
    for row in ("data", "pilot", "figure", "words", "notebook"):
        assert wrong(path, row) == "", row
    assert "smoke profile" in wrong(path, "verdict")
