"""The report is made from the records alone: every verdict visible, nothing from outside, and the README in step with it."""

import dataclasses
import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from fake_course import write_lesson

from kdcourse import claims, cli, lesson, notebooks, report

LEDGER = """
[lessons.01]
title = "Tiny"
primary = 3
"""
CLAIM = """
[[claim]]
id = "01-{name}"
lesson = "01"
kind = "{kind}"
statement = "Statement {name} <with> marks | and bars."
metric = "errors"
resampling = "seeds and examples"
paired = ["init"]
protocol = "conceptual"
source = "Somebody 2015"
published = {{ hard = 146, soft = 74, note = "single runs" }}
contrasts = [{{ expression = "{expression}", greater = 25 }}]
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course with one claim reproduced, one refuted, one not recorded, one exploratory; its root."""
    root = tmp_path / "course"
    write_lesson(root)
    entries = [
        ("good", "primary", "hard - soft"),
        ("bad", "primary", "soft - hard"),
        ("later", "primary", "hard - soft"),
    ]
    entries.append(("aside", "exploratory", "hard - soft"))
    text = LEDGER + "".join(CLAIM.format(name=n, kind=k, expression=e) for n, k, e in entries)
    (root / "claims.toml").write_text(text)
    monkeypatch.setattr(lesson, "ROOT", root)
    monkeypatch.setenv("KDCOURSE_RESULTS", str(root / "results"))
    lesson.start("01", "quick")
    for name in ("good", "bad", "aside"):
        claims.judge(f"01-{name}", _runs(), ledger=claims.read_ledger(root / "claims.toml"))
    record = {"lesson": "01", "title": "A tiny lesson", "seconds": 90.0, "provenance": lesson.provenance()}
    lesson.write_json(root / "results" / "quick" / "lesson-01.json", record)
    return root


def _runs(hard=0.03, soft=0.01):
    """Five paired seeds of two arms with error rates `hard` and `soft`."""
    random, rows = np.random.default_rng(0), []
    for seed in range(5):
        for arm, rate in (("hard", hard), ("soft", soft)):
            rows.append(
                {"arm": arm, "seed": seed, "init": f"{seed}", "order": "0", "correct": random.random(4000) > rate}
            )
    return pd.DataFrame(rows)


def _main(*arguments):
    return cli.main(["report", *arguments])


def test_every_verdict_is_on_the_page(course, capsys):
    assert _main() == 0
    page = (course / "build" / "report.html").read_text()
    for name, verdict in (
        ("good", "REPRODUCED"),
        ("bad", "REFUTED"),
        ("later", report.MISSING),
        ("aside", "EXPLORATORY"),
    ):
        row = next(row for row in page.split("<tr>") if f"01-{name}," in row)
        assert verdict in row
        assert f"Statement {name} &lt;with&gt; marks" in row
        assert "hard 146" in row
    assert 'class="badge REFUTED"' in page
    assert "1.5" in page
    assert "errors per 10,000" in page
    said = capsys.readouterr().out
    assert re.search(r"✗ REFUTED +01-bad", said)
    assert re.search(r"not yet recorded +01-later", said)


def test_page_needs_nothing_from_outside_and_is_accessible(course):
    page = report.page(course / "results", course)
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert '<html lang="en">' in page
    assert page.count("<caption>") == page.count("<table>")
    assert 'scope="col"' in page
    assert 'scope="row"' in page


def test_numbers_come_from_the_records(course):
    evidence = report.gather(course / "results", root=course)
    part = evidence.records["01-good"]["contrasts"][0]
    assert f"= {part['estimate']:.0f}" in report.effects(evidence.records["01-good"])[0]
    assert set(evidence.adjusted()) == {"01-good", "01-bad"}
    raw = evidence.records["01-good"]["p_value"]
    assert evidence.adjusted()["01-good"] == pytest.approx(min(1, 2 * raw))


def test_main_figure_is_shown_with_its_description(course):
    notebook = notebooks.make(notebooks.read_source(course / "notebooks" / "src" / "01_tiny.py"))
    cell = next(cell for cell in notebook.cells if "main-figure" in notebooks.tags(cell))
    data = {"image/png": "QUJD\n", "text/plain": '[figure] Two lines & a "dot".'}
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    notebooks.write(notebook, course / "notebooks" / "01_tiny.ipynb")
    page = report.page(course / "results", course)
    assert '<img src="data:image/png;base64,QUJD" alt="Two lines &amp; a &quot;dot&quot;.">' in page


def test_an_edited_claim_or_verdict_is_noticed(course, capsys):
    assert _main("--check") == 0
    path = course / "results" / "quick" / "01-bad.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "verdict": "REPRODUCED"}))
    assert _main("--check") == 1
    assert "01-bad: recorded REPRODUCED, its runs say REFUTED" in capsys.readouterr().err
    assert report.gather(course / "results", root=course).verdict("01-bad") == "REFUTED"
    path.write_text(json.dumps(record))
    ledger = (course / "claims.toml").read_text()
    (course / "claims.toml").write_text(ledger.replace("Statement good", "Statement better"))
    assert _main("--check") == 1
    assert "01-good: the ledger's claim was edited after its record" in capsys.readouterr().err


def test_a_corrupt_record_is_named(course, capsys):
    (course / "results" / "quick" / "01-good.json").write_text("{")
    assert _main() == 2
    assert "01-good.json" in capsys.readouterr().err


def test_readme_table_goes_there_and_back(course, capsys):
    readme = course / "README.md"
    readme.write_text("# Course\n\n<!-- syllabus -->\nold\n<!-- /syllabus -->\n\nThe end.\n")
    assert _main("--readme", "--check") == 1
    assert "old" in readme.read_text()
    assert _main("--readme") == 0
    text = readme.read_text()
    assert text.startswith("# Course\n\n<!-- syllabus -->\n| lesson |")
    assert text.endswith("<!-- /syllabus -->\n\nThe end.\n")
    row = next(line for line in text.splitlines() if line.startswith("| [01]"))
    assert row.startswith(
        "| [01](notebooks/01_tiny.ipynb) | A tiny lesson | Statement good <with> marks \\| and bars. **REPRODUCED**"
    )
    assert "**REFUTED**" in row
    assert "and 1 exploratory" in row
    assert row.endswith("| 1.5 |")
    assert _main("--readme", "--check") == 0
    readme.write_text(text.replace("REFUTED", "REPRODUCED"))
    assert _main("--readme", "--check") == 1
    readme.write_text("# No table\n")
    assert _main("--readme", "--check") == 1
    capsys.readouterr()


def test_the_table_says_what_full_says_otherwise(course):
    quick = report.gather(course / "results", "quick", course)
    names = [name for name, record in quick.records.items() if record["claim"]["kind"] == "primary"]
    changed = {names[0]: quick.records[names[0]] | {"verdict": "SMALLER"}, names[1]: quick.records[names[1]]}
    full = dataclasses.replace(quick, profile="full", records=changed)
    assert report.differing(quick, full, names) == names[:1]
    assert report.differing(quick, None, names) == []
    assert report.syllabus(quick, course, full).count("in `full` **SMALLER**") == 1
    assert "in `full`" not in report.syllabus(quick, course, quick)


def test_comparison_names_verdicts_that_differ(course, monkeypatch, capsys):
    monkeypatch.setenv("KDCOURSE_RESULTS", str(course / "build" / "results"))
    ledger = claims.read_ledger(course / "claims.toml")
    for root, name in ((course, "later"), (course, "good"), (course, "bad")):
        monkeypatch.setattr(lesson, "ROOT", root)
        claims.judge(f"01-{name}", _runs(), ledger=ledger)
    assert _main("--compare", str(course / "build" / "results")) == 1
    said = capsys.readouterr().err
    assert "01-later: recorded not yet recorded, now REPRODUCED" in said
    assert "01-good" not in said
    claims.judge("01-good", _runs(hard=0.01, soft=0.03), ledger=ledger)
    assert _main("--compare", str(course / "build" / "results")) == 1
    assert "01-good: recorded REPRODUCED, now REFUTED" in capsys.readouterr().err
