"""`kdcourse check-project`: the findings of `grading` as a report for a learner, and as JSON for a gradebook."""

import json
from pathlib import Path

from kdcourse.grading import ROWS, Finding, check, code, listed, read


def summary(path, findings: list[Finding]) -> dict:
    """A notebook's findings as plain JSON types, with its points: by row, of the checks, and left to a reader."""
    handed = read(path)
    rows = {}
    for name, (title, of, reader) in ROWS.items():
        mine = [f for f in findings if f.row == name]
        points = sum(f.points for f in mine if f.holds)
        unclear = sum(f.points for f in mine if f.holds is None)
        lines = [{"mark": mark(f), "points": f.points, "said": f.said, **({"do": f.do} if not f.holds and f.do else {})} for f in mine]
        rows[name] = {"title": title, "points": points, "of": of, "reader": reader + unclear, "findings": lines}
    return {
        "notebook": str(path),
        "code": code(handed),
        "verdicts": {r["claim"]["id"]: r["verdict"] for r in handed.primary()},
        "points": sum(row["points"] for row in rows.values()),
        "of": sum(row["of"] for row in rows.values()),
        "reader": sum(row["reader"] for row in rows.values()),
        "rows": rows,
    }


def mark(finding: Finding) -> str:
    return {True: "✓", False: "✗", None: "?"}[finding.holds]


def report(found: dict) -> str:
    """The summary of one notebook as text: a line a finding, what to do under those that do not hold."""
    if "problem" in found:
        return f"{found['notebook']}\n  ✗ {found['problem']}"
    lines = [f"{found['notebook']} · code {found['code']} · {listed(found['verdicts']) if found['verdicts'] else 'no verdict'}"]
    for row in found["rows"].values():
        reader = f", and {row['reader']} from a reader" if row["reader"] else ""
        lines.append(f"{row['title']}: {row['points']} of {row['of']}{reader}")
        for line in row["findings"]:
            lines.append(f"  {line['mark']} {line['said']}" + (f"  [{line['points']}]" if line["points"] else ""))
            lines += [f"      → {line['do']}"] if "do" in line else []
    return "\n".join([*lines, f"{found['points']} of {found['of']} points by these checks; {found['reader']} more are for a reader to give (docs/project.md)"])


def _twins(paths: list) -> dict[str, str]:
    """Notebooks that hold the same log, second for second: path → the one that came first."""
    first, twins = {}, {}
    for path in paths:
        try:
            log = read(path).bundle.get("log")
        except ValueError:
            continue
        if log:
            earlier = first.setdefault(json.dumps(log, sort_keys=True), str(path))
            twins |= {str(path): earlier} if earlier != str(path) else {}
    return twins


def main(options, root) -> int:
    """`kdcourse check-project`: the report of each notebook; 0 when nothing is wrong, 1 when something is."""
    paths = options.notebooks or [Path(root) / "work" / "project.ipynb"]
    found = []
    for path in paths:
        try:
            found.append(summary(path, check(path)))
        except ValueError as problem:
            if len(paths) == 1:
                raise
            found.append({"notebook": str(path), "problem": str(problem), "points": 0, "of": sum(of for _, of, _ in ROWS.values())})
    for path, earlier in _twins(paths).items():
        next(entry for entry in found if entry["notebook"] == path)["same_runs_as"] = earlier
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print("\n\n".join(report(entry) + (f"\nThe same log, second for second, as {entry['same_runs_as']}" if "same_runs_as" in entry else "") for entry in found))
    wrong = any("problem" in entry or any(line["mark"] == "✗" for row in entry["rows"].values() for line in row["findings"]) for entry in found)
    return 1 if wrong else 0


def add_arguments(parser) -> None:
    """The options of `kdcourse check-project`."""
    parser.add_argument("notebooks", nargs="*", help="executed project notebooks (work/project.ipynb)")
    parser.add_argument("--json", action="store_true", help="for a gradebook: one entry a notebook, points by row")
