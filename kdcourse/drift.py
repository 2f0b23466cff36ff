"""Verdicts that drift: a nightly verdict that is not the recorded one opens one issue; it closes when the verdict holds again.

`python -m kdcourse.drift states RESULTS FILE` compares, with the package; `python -I kdcourse/drift.py issues FILE` acts, with nothing but the standard
library and GitHub's `gh`: the job that may write issues installs nothing. What to do is decided by `decide`, which only computes.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass

LABEL = "verdict-drift"
MARK = re.compile(r"<!-- drift: (\S+) (.*?) -->")
VERDICTS = ("REPRODUCED", "SMALLER", "REFUTED", "INCONCLUSIVE")
FAR_TOO_MANY = 10  # so many new drifts at once have one cause: one issue for all of them
ALL = "many-claims"


@dataclass(frozen=True)
class Action:
    """What to do with one issue. kind: "open", "update" (its text) or "close"; number: None for an issue to be opened."""

    kind: str
    number: int | None
    title: str
    body: str


# ---- comparing ---------------------------------------------------------------------------------------------------------------


def states(recorded, fresh) -> list[dict]:
    """Every primary claim with a recorded verdict, and what a fresh run says: {"id", "statement", "recorded", "now", "effects"}, "now" None where it was not judged.

    recorded, fresh: `report.Evidence` of the same profile.
    """
    from kdcourse import report

    found = []
    for claim in recorded.ledger.values():
        before, now = recorded.records.get(claim.id), fresh.records.get(claim.id)
        if claim.kind == "primary" and before:
            effects = {"recorded": report.effects(before), "now": report.effects(now) if now else []}
            verdict = now["verdict"] if now else None
            found.append({"id": claim.id, "statement": claim.statement, "recorded": before["verdict"], "now": verdict, "effects": effects})
    return found


# ---- deciding ----------------------------------------------------------------------------------------------------------------


def decide(found: list[dict], issues: list[dict], run: str = "") -> list[Action]:
    """What to do, given the states of all claims and the open issues with our label ({"number", "body"}); `run`: where to read more.

    A drifted claim gets one issue, whose text follows the verdict; it closes when the verdict holds again or the claim has left the ledger. A claim
    that was not judged this time changes nothing. Several issues about one claim: the oldest stays. More than FAR_TOO_MANY new drifts share one issue.
    """
    open_issues, actions = {}, []
    for issue in sorted(issues, key=lambda issue: issue["number"]):
        mark = MARK.search(issue["body"] or "")
        if mark and mark[1] in open_issues:
            actions.append(Action("close", issue["number"], "", f"There is an older issue about {mark[1]}: #{open_issues[mark[1]][0]}."))
        elif mark:
            open_issues[mark[1]] = (issue["number"], mark[2])
    known = {state["id"]: state for state in found}
    drifted = [state for state in found if state["now"] in VERDICTS and state["now"] != state["recorded"]]
    covered = set(open_issues[ALL][1].split()) if ALL in open_issues else set()
    new = [state for state in drifted if state["id"] not in open_issues and state["id"] not in covered]
    if len(new) > FAR_TOO_MANY and ALL not in open_issues:
        actions.append(_open_for_all(new, run))
        new = []
    actions += [Action("open", None, f"Verdict drifted: {state['id']}", _body(state, run)) for state in new]
    for name, (number, told) in open_issues.items():
        if name == ALL:
            waiting = [one for one in told.split() if one in known and not _holds(known[one])]
            actions += [] if waiting else [Action("close", number, "", f"All of these verdicts hold again. {run}".strip())]
        elif name not in known:
            actions.append(Action("close", number, "", f"{name} is no longer a recorded claim."))
        elif _holds(known[name]):
            actions.append(Action("close", number, "", f"{name} holds again: {known[name]['recorded']}. {run}".strip()))
        elif known[name]["now"] and told != _told(known[name]):
            actions.append(Action("update", number, "", _body(known[name], run)))
    return actions


def _holds(state: dict) -> bool:
    return state["now"] == state["recorded"]


def _told(state: dict) -> str:
    return f"{state['recorded']} {state['now']}"


def _body(state: dict, run: str) -> str:
    rows = [f"| {when} | {state[when]} | {'<br>'.join(state['effects'][when]).replace('|', chr(92) + '|')} |" for when in ("recorded", "now")]
    lines = [
        f"> {state['statement']}",
        "",
        "The nightly run gives another verdict than the record in `results/`.",
        "",
        "| | verdict | measured |",
        "|---|---|---|",
        *rows,
        "",
        f"{run}\n" if run else "",
        "Either something changed that decides numbers (a library, a machine, a seed's luck), or the record rests on too few seeds. "
        "A record is not edited to fit: find out which. This issue closes by itself when the verdict holds again.",
        f"<!-- drift: {state['id']} {_told(state)} -->",
    ]
    return "\n".join(lines)


def _open_for_all(new: list[dict], run: str) -> Action:
    rows = [f"| {state['id']} | {state['recorded']} | {state['now']} |" for state in new]
    head = [f"{len(new)} verdicts drifted in one night, which has one cause more likely than {len(new)}.", "", "| claim | recorded | now |", "|---|---|---|"]
    mark = f"<!-- drift: {ALL} {' '.join(state['id'] for state in new)} -->"
    return Action("open", None, f"{len(new)} verdicts drifted at once", "\n".join([*head, *rows, "", run, mark]))


# ---- acting --------------------------------------------------------------------------------------------------------------------


def commands(action: Action) -> list[list[str]]:
    """The calls of `gh` that do it; a body goes in by standard input, never through a shell."""
    if action.kind == "open":
        return [["gh", "issue", "create", "--title", action.title, "--label", LABEL, "--body-file", "-"]]
    if action.kind == "update":
        return [["gh", "issue", "edit", str(action.number), "--body-file", "-"]]
    return [["gh", "issue", "comment", str(action.number), "--body-file", "-"], ["gh", "issue", "close", str(action.number)]]


def _gh(command: list[str], text: str = "") -> str:
    return subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.PIPE).stdout


def act(found: list[dict], run: str = "", gh=_gh) -> list[Action]:
    """Ask for the open issues, decide, and do it; the actions."""
    gh(["gh", "label", "create", LABEL, "--force", "--color", "B3261E", "--description", "a nightly verdict is not the recorded one"])
    issues = json.loads(gh(["gh", "issue", "list", "--label", LABEL, "--state", "open", "--limit", "1000", "--json", "number,body"]))
    actions = decide(found, issues, run)
    for action in actions:
        for command in commands(action):
            gh(command, action.body)
    return actions


def _run_address() -> str:
    parts = [os.environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    return f"Run: {parts[0]}/{parts[1]}/actions/runs/{parts[2]}" if all(parts) else ""


def main(arguments=None) -> int:
    """Write the states of all claims to a file, or act on such a file."""
    parser = argparse.ArgumentParser(description="Compare nightly verdicts with the recorded ones, and keep the issues about them.")
    parts = parser.add_subparsers(dest="part", required=True)
    made = parts.add_parser("states", help="compare, and write what was found")
    made.add_argument("results", help="the folder of fresh records")
    made.add_argument("file", help="the JSON file to write")
    made.add_argument("--profile", default="quick")
    parts.add_parser("issues", help="open, update and close issues").add_argument("file")
    options = parser.parse_args(arguments)
    if options.part == "states":
        from kdcourse import lesson, report

        found = states(*(report.gather(folder, options.profile) for folder in (lesson.ROOT / "results", options.results)))
        with open(options.file, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1, ensure_ascii=False)
        drifted = [state for state in found if state["now"] and not _holds(state)]
        print("\n".join(f"{state['id']}: recorded {state['recorded']}, now {state['now']}" for state in drifted) or "no verdict drifted")
        return 0
    with open(options.file, encoding="utf-8") as file:
        found = json.load(file)
    for action in act(found, _run_address()):
        print(f"{action.kind} {action.number or action.title}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
