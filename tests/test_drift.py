"""A drifted verdict has one issue, while it drifts and no longer: decided from states and issue lists alone."""

import json
import subprocess
import sys

import pytest

from kdcourse import drift, lesson, report


def _state(name="01-a", recorded="REPRODUCED", now="REPRODUCED"):
    effects = {"recorded": ["hard - soft = 40 [30, 50] errors, claimed > 25"], "now": ["|a - b| = 3"] if now else []}
    return {"id": name, "statement": "A student learns.", "recorded": recorded, "now": now, "effects": effects}


class Tracker:
    """An issue tracker in memory that understands the calls of `gh` that we make."""

    def __init__(self):
        self.issues, self.log = {}, []

    def __call__(self, command, text=""):
        assert command[0] == "gh"
        self.log.append(command[1:3])
        if command[1:3] == ["issue", "list"]:
            assert command[command.index("--label") + 1] == drift.LABEL
            return json.dumps([{"number": n, "body": issue["body"]} for n, issue in self.issues.items() if issue["open"]])
        if command[1:3] == ["issue", "create"]:
            number = len(self.issues) + 1
            self.issues[number] = {"open": True, "body": text, "title": command[command.index("--title") + 1], "comments": []}
        elif command[1:3] == ["issue", "edit"]:
            self.issues[int(command[3])]["body"] = text
        elif command[1:3] == ["issue", "comment"]:
            self.issues[int(command[3])]["comments"].append(text)
        elif command[1:3] == ["issue", "close"]:
            self.issues[int(command[3])]["open"] = False
        else:
            assert command[1:3] == ["label", "create"]
        return ""

    def open(self):
        return [issue["title"] for issue in self.issues.values() if issue["open"]]


@pytest.fixture
def tracker():
    return Tracker()


def test_a_drift_opens_one_issue_and_closes_it_when_it_holds_again(tracker):
    bad, good = _state(now="INCONCLUSIVE"), _state()
    assert drift.act([good], gh=tracker) == []
    assert len(drift.act([bad, _state("01-b")], "Run: address", gh=tracker)) == 1
    assert tracker.open() == ["Verdict drifted: 01-a"]
    body = tracker.issues[1]["body"]
    assert "REPRODUCED" in body
    assert "INCONCLUSIVE" in body
    assert "hard - soft = 40 [30, 50] errors" in body
    assert "\\|a - b\\| = 3" in body
    assert "Run: address" in body
    for _ in range(3):
        assert drift.act([bad], "Run: another night", gh=tracker) == [], "the same drift is told once"
    assert drift.act([good], gh=tracker)[0].kind == "close"
    assert tracker.open() == []
    assert "holds again" in tracker.issues[1]["comments"][0]
    assert drift.act([good], gh=tracker) == []


def test_the_text_follows_the_verdict(tracker):
    drift.act([_state(now="INCONCLUSIVE")], gh=tracker)
    (action,) = drift.act([_state(now="REFUTED")], gh=tracker)
    assert action.kind == "update"
    assert "REFUTED" in tracker.issues[1]["body"]
    assert drift.act([_state(now="REFUTED")], gh=tracker) == []
    assert len(tracker.issues) == 1


def test_a_claim_that_was_not_judged_changes_nothing(tracker):
    assert drift.act([_state(now=None)], gh=tracker) == []
    drift.act([_state(now="REFUTED")], gh=tracker)
    assert drift.act([_state(now=None)], gh=tracker) == []
    assert tracker.open() == ["Verdict drifted: 01-a"]


def test_a_claim_that_left_the_ledger_closes_its_issue(tracker):
    drift.act([_state(now="REFUTED")], gh=tracker)
    assert [a.kind for a in drift.act([_state("01-b")], gh=tracker)] == ["close"]


def test_a_second_issue_about_a_claim_is_closed_and_the_oldest_stays():
    body = drift._body(_state(now="REFUTED"), "")
    actions = drift.decide([_state(now="REFUTED")], [{"number": 9, "body": body}, {"number": 4, "body": body}])
    assert [(a.kind, a.number) for a in actions] == [("close", 9)]
    assert "#4" in actions[0].body


def test_issues_of_other_people_are_left_alone():
    issues = [{"number": 1, "body": "I think 01-a drifted"}, {"number": 2, "body": None}, {"number": 3, "body": ""}]
    assert drift.decide([_state()], issues) == []
    assert [a.kind for a in drift.decide([_state(now="SMALLER")], issues)] == ["open"]


def test_a_refuted_claim_that_is_refuted_again_holds():
    assert drift.decide([_state(recorded="REFUTED", now="REFUTED")], []) == []
    assert [a.kind for a in drift.decide([_state(recorded="REFUTED", now="REPRODUCED")], [])] == ["open"]


def test_very_many_at_once_share_one_issue(tracker):
    many = [_state(f"01-{k}", now="REFUTED") for k in range(drift.FAR_TOO_MANY + 1)]
    assert len(drift.act(many[:-1], gh=Tracker())) == drift.FAR_TOO_MANY
    assert len(drift.act(many, gh=tracker)) == 1
    assert tracker.open() == [f"{len(many)} verdicts drifted at once"]
    assert drift.act(many, gh=tracker) == []
    assert [a.title for a in drift.act([*many, _state("02-x", now="REFUTED")], gh=tracker)] == ["Verdict drifted: 02-x"]
    some = [_state(f"01-{k}", now="REFUTED" if k else "REPRODUCED") for k in range(len(many))]
    assert drift.act([*some, _state("02-x", now="REFUTED")], gh=tracker) == []
    assert drift.act([*(_state(f"01-{k}") for k in range(len(many))), _state("02-x", now="REFUTED")], gh=tracker)[0].kind == "close"
    assert tracker.open() == ["Verdict drifted: 02-x"]


def test_states_are_the_recorded_primary_claims():
    recorded = report.gather(lesson.ROOT / "results")
    same = drift.states(recorded, recorded)
    primary = [c.id for c in recorded.ledger.values() if c.kind == "primary" and c.id in recorded.records]
    assert [state["id"] for state in same] == primary
    assert all(state["now"] == state["recorded"] in drift.VERDICTS and state["effects"]["now"] for state in same)
    assert drift.decide(same, []) == []
    nothing = report.Evidence("quick", recorded.ledger, {}, {}, [])
    assert {state["now"] for state in drift.states(recorded, nothing)} == {None}


def test_the_two_halves_as_the_workflow_calls_them(tmp_path, capsys):
    file = tmp_path / "drift.json"
    assert drift.main(["states", str(lesson.ROOT / "results"), str(file)]) == 0
    assert "no verdict drifted" in capsys.readouterr().out
    assert json.loads(file.read_text())
    script = lesson.ROOT / "kdcourse" / "drift.py"
    said = tmp_path / "gh"
    said.write_text('#!/bin/sh\n[ "$2" = list ] && echo "[]"\nexit 0\n')
    said.chmod(0o755)
    ended = subprocess.run([sys.executable, "-I", str(script), "issues", str(file)], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    imported = "import sys; sys.argv = ['x', '--help']; import runpy\ntry:\n runpy.run_path(r'%s', run_name='__main__')\nexcept SystemExit:\n print([m for m in ('torch', 'kdcourse') if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-I", "-c", imported % script], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == "[]", "the job that may write issues installs nothing"
