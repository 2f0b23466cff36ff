"""The claims on the site: badges, an overview of the whole ledger, and one page a lesson with the cards of both profiles."""

import html

from kdcourse import cards, report
from kdcourse.claims import Claim

PROFILES = ("quick", "full")
WIDE = "---\nhtml_theme.sidebar_secondary.remove: true\n---\n\n"  # a page that is one wide table needs the room more than a list of its headings


def css(verdict: str) -> str:
    """The class of a verdict's badge; what is not recorded is MISSING."""
    return verdict if verdict in report.MARKS else "MISSING"


def words(verdict: str) -> str:
    """A verdict with its mark: "✓ REPRODUCED"."""
    return f"{report.MARKS.get(verdict, '–')} {verdict}"


def badge(evidence, claim_id: str, named: bool = True) -> str:
    """A verdict in one profile as Markdown that links to its card; where the claim is named, so is a profile other than quick."""
    verdict = evidence.verdict(claim_id)
    where = "" if evidence.profile == "quick" else f" in {evidence.profile}"
    text = f"{words(verdict)}{where} · {claim_id[3:]}" if named else words(verdict)
    return f"[[{text}](#claim-{claim_id})]{{.kd-badge .{css(verdict)}}}"


def badges(evidence, number: str, full=None) -> str:
    """The badges of a lesson's primary claims, those whose verdict is another one in `full`, and a link to the other claims."""
    mine = [claim for claim in evidence.ledger.values() if claim.lesson == number]
    primary = [claim.id for claim in mine if claim.kind == "primary"]
    parts = [badge(evidence, name) for name in primary]
    parts += [badge(full, name) for name in report.differing(evidence, full, primary)]
    if len(mine) > len(primary):
        parts.append(f"[and {len(mine) - len(primary)} exploratory](#claims-{number})")
    return " ".join(parts) or "no claims yet"


def same_runs(evidence, full, name: str) -> bool:
    """Whether both profiles have the same numbers: where their settings are alike a second record confirms nothing."""
    return all(name in e.records for e in (evidence, full)) and evidence.records[name]["arms"] == full.records[name]["arms"]


def counts(evidence) -> str:
    """How many primary claims of the ledger have which verdict, in words."""
    primary = [claim.id for claim in evidence.ledger.values() if claim.kind == "primary"]
    found = [evidence.verdict(name) for name in primary]
    texts = [f"{found.count(verdict)} {verdict.lower()}" for verdict in (*report.MARKS, report.MISSING) if verdict in found]
    return f"{len(evidence.ledger)} claims, {len(primary)} of them primary: in the profile quick {', '.join(texts)}" if primary else "no claims yet"


# ---- the overview ---------------------------------------------------------------------------------------------------


def overview(by_profile: dict, titles: dict[str, str]) -> str:
    """The page of the whole ledger: a row a claim, its verdict in every profile; #<claim id> is the claim's row."""
    ledger = next(iter(by_profile.values())).ledger
    heads = ("Claim", "Kind", *(f"Verdict, {profile}" for profile in by_profile))
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    rows = "".join(_row(claim, by_profile) for claim in ledger.values())
    pages = "\n".join(f"claims/{number}" for number in titles)
    return f"""{WIDE}# Claims

Every scientific sentence of the course is a claim. It was written into the ledger, `claims.toml`, before the runs that test it; a primary one with the effect that it needs. Refuted and inconclusive claims stay. The profile
*quick* is what a laptop recomputes in minutes, *full* is the paper's scale, as far as it has been recorded. A badge leads to the card: our numbers beside the published ones.

The ledger has {counts(by_profile["quick"])}. Exploratory claims carry an interval and no verdict; below their badge stands whether the effect shows, and whether it is as large as asked.

<div class="wide" tabindex="0" role="region" aria-label="The ledger"><table class="table" id="ledger"><caption>The ledger</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>

```{{toctree}}
:maxdepth: 1
:caption: Cards, lesson by lesson

{pages}
```
"""


def _row(claim: Claim, by_profile: dict) -> str:
    cells = "".join(_cell(claim, evidence, by_profile["quick"]) for evidence in by_profile.values())
    name = f'<a href="claims/{claim.lesson}.html#claim-{claim.id}">{claim.id}</a><br>{html.escape(claim.statement)}'
    data = " ".join(css(evidence.verdict(claim.id)) for evidence in by_profile.values())
    return f'<tr id="{claim.id}" data-verdicts="{data}"><th scope="row">{name}</th><td>{claim.kind}</td>{cells}</tr>'


def _cell(claim: Claim, evidence, quick) -> str:
    """A badge that leads to the card, and below it what the verdict does not say."""
    verdict = evidence.verdict(claim.id)
    said = [cards.outcome(evidence.records[claim.id])] if claim.id in evidence.records and claim.kind == "exploratory" else []
    said += ["the same runs as in quick"] if evidence is not quick and same_runs(quick, evidence, claim.id) else []
    link = f'<a href="claims/{claim.lesson}.html#claim-{claim.id}" aria-label="{words(verdict)}: {claim.id} in {evidence.profile}">{words(verdict)}</a>'
    return f'<td><span class="kd-badge {css(verdict)}">{link}</span>{"".join(f"<br><small>{line}</small>" for line in said)}</td>'


# ---- a lesson's cards -----------------------------------------------------------------------------------------------


def cards_page(number: str, title: str, slug: str, by_profile: dict) -> str:
    """The page of a lesson's claims, primary ones first, each with its card in every profile that has recorded it."""
    ledger = next(iter(by_profile.values())).ledger
    mine = sorted((c for c in ledger.values() if c.lesson == number), key=lambda claim: claim.kind != "primary")
    parts = [f"(claims-{number})=\n# Claims of lesson {number}: {title}\n", f"They are tested in [lesson {number}](../lessons/{slug}.ipynb). [All claims](../claims.md).\n"]
    for claim in mine:
        parts.append(f"(claim-{claim.id})=\n## {claim.id}\n\n{_asked(claim)}\n")
        parts += [_card(evidence, claim, profile) for profile, evidence in by_profile.items()]
    return "\n".join(parts)


def _asked(claim: Claim) -> str:
    needs = " and ".join(f"{c.expression} > {c.bound:g}" if c.test == "greater" else f"|{c.expression}| < {c.bound:g}" for c in claim.contrasts)
    ask = f"Counts as reproduced when `{needs}`" if claim.kind == "primary" else f"Exploratory: the interval of `{needs}`"
    return f"{ask}, metric `{claim.metric}`."


def _card(evidence, claim: Claim, profile: str) -> str:
    if claim.id not in evidence.records:
        return f'<div class="card-missing"><p><b>{html.escape(claim.statement)}</b></p><p>Profile {profile}: not yet recorded.</p></div>\n' if profile == "quick" else f"Profile {profile}: not yet recorded.\n"
    record = evidence.records[claim.id]
    facts = record["provenance"]
    label = f'aria-label="Verdict on claim {claim.id}'
    card = cards.Verdict(record)._repr_html_().replace(label, f"{label}, profile {profile}", 1)
    return f"{card}\n\n{{.recorded}}\nProfile {profile}, recorded {facts['date']}: {facts['device']}, {facts['dtype']}, torch {facts['torch']}.\n"
