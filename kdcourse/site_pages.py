"""The generated pages of the site beside lessons and claims: techniques, figures, times, glossary, notes for instructors, API."""

import base64
import html
import importlib
import re
from pathlib import Path

import yaml

from kdcourse import cards, lesson, notebooks, report, site_claims, site_lessons
from kdcourse.site_terms import read_terms

LANGUAGES = (("zh_tw", "zh-Hant-TW", "繁體中文"), ("zh_cn", "zh-Hans-CN", "简体中文"), ("vi", "vi", "Tiếng Việt"))


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(heads, rows) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def toctree(caption: str, entries, options: str = ":hidden:") -> str:
    """A table of contents for the sidebar."""
    listed = "\n".join(entries)
    return f"```{{toctree}}\n:caption: {caption}\n{options}\n\n{listed}\n```\n" if listed else ""


# ---- front page -----------------------------------------------------------------------------------------------------


def syllabus(sources, evidence, pictures: dict, full=None) -> str:
    """A card a lesson: its figure, title, promise, minutes and badges."""
    return "::::::{container} syllabus quiet\n" + "\n".join(_course_card(s, evidence, pictures.get(s.number), full) for s in sources) + "\n::::::\n"


def _course_card(source, evidence, picture, full) -> str:
    known, record = site_lessons.facts(source), evidence.lessons.get(source.number, {})
    minutes = f"{known.minutes} min reading and exercises, {record['seconds'] / 60:.1f} min computing" if "seconds" in record else f"{known.minutes} min"
    image = f"![]({picture[0]})" if picture else ""
    parts = [
        ":::::{container} lesson-card",
        image,
        f"[**{source.number} · {source.title}**](lessons/{source.slug}.ipynb)",
        known.promise,
        minutes,
        site_claims.badges(evidence, source.number, full),
        ":::::",
    ]
    return "\n\n".join(part for part in parts if part)


# ---- techniques -----------------------------------------------------------------------------------------------------


def front_matter(path) -> tuple[dict, str]:
    """(what stands between the first two --- lines, the rest); ValueError where the first is not a table of YAML."""
    text = Path(path).read_text(encoding="utf-8")
    found = re.match(r"---\n(.*?)\n---\n+(.*)", text, re.S)
    try:
        values = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError as problem:
        raise ValueError(f"{path}: the lines between --- and --- are not YAML: {problem}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected `name: value` lines between --- and ---")
    return values, found[2] if found else text


def technique(path, by_profile: dict, slugs: dict[str, str]) -> str:
    """A technique's page: what was written, then the verdicts on the claims that it names; ValueError for an unknown claim or lesson."""
    about, body = front_matter(path)
    quick = by_profile["quick"]
    number = str(about.get("lesson", "")).zfill(2)
    if "title" not in about or number not in slugs:
        raise ValueError(f"{path}: needs a title and the number of a lesson; it says {about}")
    if unknown := [name for name in about.get("claims", []) if name not in quick.ledger]:
        raise ValueError(f"{path}: claim {unknown[0]!r} is not in the ledger")
    name = Path(path).stem
    paper = f" · {about['paper']}" if about.get("paper") else ""
    parts = [f"(technique-{name})=\n# {about['title']}", f"{{.technique-facts}}\n[Lesson {number}](../lessons/{slugs[number]}.ipynb){paper}", body.strip(), "## Verdict here"]
    parts += [_verdict(by_profile, quick.ledger[claim]) for claim in about.get("claims", [])] or ["No claim of the course tests it."]
    if api := about.get("api"):
        parts.append("**In the package:** " + ", ".join(f"{{py:obj}}`kdcourse.{name}`" for name in api))
    if see := about.get("see"):
        parts.append("**See also:** " + ", ".join(f"[](#technique-{other})" for other in see))
    return "\n\n".join(parts) + "\n"


def _verdict(by_profile: dict, claim) -> str:
    quick, found = by_profile["quick"], [e for e in by_profile.values() if claim.id in e.records]
    parts = [f"- {claim.statement} ({claim.kind})", *(_measured(e, quick, claim) for e in found)]
    return "\n\n  ".join(parts if found else [*parts, site_claims.badge(quick, claim.id, named=False)])


def _measured(evidence, quick, claim) -> str:
    """A claim's badge in one profile, and its effects with their intervals; these as HTML, in which no arm's name is taken for a term."""
    record, shown = evidence.records[claim.id], f"{site_claims.badge(evidence, claim.id, named=False)} in {evidence.profile}"
    if evidence is not quick and site_claims.same_runs(quick, evidence, claim.id):
        return f"{shown}: the same runs as in quick"
    outcome = f"{cards.outcome(record)}: " if claim.kind == "exploratory" else ""
    return f'{shown}\n\n  <p class="effects">{html.escape(outcome + "; ".join(report.effects(record)))}</p>'


def techniques(paths, by_profile: dict, slugs: dict[str, str]) -> str:
    """The index of the techniques, in the order of their lessons."""
    rows = []
    for path in sorted(paths, key=lambda path: (str(front_matter(path)[0].get("lesson")).zfill(2), path.stem)):
        about, _ = front_matter(path)
        quick, full = by_profile["quick"], by_profile.get("full")
        primary = [name for name in about.get("claims", []) if quick.ledger[name].kind == "primary"]
        shown = [site_claims.badge(quick, name) for name in primary] + [site_claims.badge(full, name) for name in report.differing(quick, full, primary)]
        number = str(about["lesson"]).zfill(2)
        rows.append([f"[](#technique-{path.stem})", f"[{number}](../lessons/{slugs[number]}.ipynb)", about.get("paper", "–"), " ".join(shown) or "exploratory"])
    text = "One page each: the idea, the formula, when to use it, what it costs, and what this course found. The badges are those of primary claims in the profile quick, and in full where it was recorded and says something else."
    return f"{site_claims.WIDE}# Techniques\n\n{text}\n\n{table(('technique', 'lesson', 'paper', 'verdict here'), rows)}\n\n```{{toctree}}\n:hidden:\n:glob:\n\n*\n```\n"


# ---- figures, times -------------------------------------------------------------------------------------------------


def write_pictures(sources, root, folder) -> dict[str, tuple[str, str]]:
    """Write the main figure of every lesson into `folder`/figures; lesson → (path from there, alternative text)."""
    found = {}
    for source in sources:
        picture = report.main_figure(notebooks.read(Path(root) / "notebooks" / f"{source.slug}.ipynb"))
        if picture:
            path = Path(folder) / "figures" / f"{source.number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(picture[1]))
            found[source.number] = (f"figures/{source.number}.png", picture[2] or f"Main figure of lesson {source.number}")
    return found


def figures(sources, pictures: dict) -> str:
    """The main figure of every lesson with its description."""
    parts = ["# Figures", "The main figure of every lesson, as it was recorded. The description below each is also its alternative text."]
    for source in (s for s in sources if s.number in pictures):
        path, alt = pictures[source.number]
        parts += [f"## {source.number} · {source.title}", f"```{{image}} {path}\n:alt: {' '.join(alt.split())}\n:width: 100%\n```"]
        parts += [f"{html.escape(alt.rstrip().removesuffix('.'))}. [Lesson {source.number}](lessons/{source.slug}.ipynb)"]
    return "\n\n".join(parts) + "\n"


def times(sources, by_profile: dict) -> str:
    """How long the lessons took, measured, in every profile that has run them."""
    parts = [f"{site_claims.WIDE}# Execution times", "Wall-clock minutes with the teachers that come with the course, and core minutes with nothing computed beforehand, teachers included. Generated from the records."]
    heads = ("lesson", "minutes", "core minutes from nothing", "machine", "torch", "date")
    for profile, evidence in by_profile.items():
        rows = [_time(source, evidence.lessons[source.number]) for source in sources if "seconds" in evidence.lessons.get(source.number, {})]
        timed = [evidence.lessons[s.number] for s in sources if "seconds" in evidence.lessons.get(s.number, {})]
        wall, cold = sum(run["seconds"] for run in timed) / 60, [run.get("cold_core_seconds") for run in timed]
        total = ["**all lessons**", f"**{wall:.1f}**", f"**{sum(cold) / 60:.1f}**" if all(cold) else "", "", "", ""]
        if rows:
            parts += [f"## Profile {profile}", table(heads, [*rows, total])]
    return "\n\n".join(parts) + "\n"


def _time(source, record: dict) -> list[str]:
    where, cold = record["provenance"], record.get("cold_core_seconds")
    machine = f"{where['device']}, {where['dtype']}"
    return [f"[{source.number} · {source.title}](lessons/{source.slug}.ipynb)", f"{record['seconds'] / 60:.1f}", f"{cold / 60:.1f}" if cold else "–", machine, where["torch"], where["date"]]


# ---- glossary -------------------------------------------------------------------------------------------------------


def glossary(path, slugs: dict[str, str]) -> str:
    """All terms with their translations, formula, first lesson and neighbours; one anchor each, term-<id>."""
    terms = read_terms(path)
    names, letter = {term["id"]: term["en"] for term in terms}, ""
    parts = ["# Glossary", "The terms of the course in English, Chinese as in Taiwan and as on the mainland, and Vietnamese. In the lessons, the first use of a term links to its entry."]
    for term in terms:
        if (first := term["en"][0].upper()) != letter:
            letter = first
            parts.append(f"## {letter}")
        said = " · ".join(f'<small lang="{code}">{name}</small> <span lang="{code}">{html.escape(term[key])}</span>' for key, code, name in LANGUAGES)
        parts += [f"(term-{term['id']})=\n### {term['en']}", f"{{.translations}}\n{said}", term["definition"]]
        parts += [f"$$ {term['formula']} $$"] if "formula" in term else []
        see = ", ".join(f"[{names[other]}](#term-{other})" for other in term["see"])
        at = f"[lesson {term['first']}](lessons/{slugs[term['first']]}.ipynb)" if term["first"] in slugs else f"lesson {term['first']}"
        parts.append(f"{{.see}}\nFirst in {at} · see also {see}")
    return "\n\n".join(parts) + "\n"


# ---- teaching, API --------------------------------------------------------------------------------------------------


def notes(path, evidence, slug: str | None = None) -> str:
    """A lesson's notes for instructors, with its declared and measured minutes and its slides in a line below the title."""
    about, body = front_matter(path)
    title, _, rest = body.partition("\n")
    declared, seconds = about.get("minutes", {}), evidence.lessons.get(Path(path).stem, {}).get("seconds")
    exercises = declared.get("exercises", [])
    line = f"Talk {declared.get('talk', '–')} min · exercises {' + '.join(map(str, exercises)) or '–'} min (declared)"
    line += f" · computing {seconds / 60:.1f} min (measured, profile quick)" if seconds else ""
    line += f' · <a href="../slides/{slug}.html">slides</a>' if slug else ""
    return f"{title.replace('# ', '# Notes for ', 1)}\n\n{{.technique-facts}}\n{line}\n{rest}"


def api_modules() -> list[str]:
    """The modules that `import kdcourse` gives, and what stands behind the verdicts."""
    course = importlib.import_module("kdcourse")
    modules = [name for name in course.__all__ if name != "checks" and isinstance(getattr(course, name), type(course))]
    return sorted({*modules, "cards", "inference"})


def api_page(name: str) -> str:
    """The reference of one module, from its docstrings."""
    return f"# kdcourse.{name}\n\n```{{eval-rst}}\n.. automodule:: kdcourse.{name}\n   :members:\n```\n"


def api_index() -> str:
    """The first page of the reference."""
    text = importlib.import_module("kdcourse").__doc__ or ""
    rows = []
    for name in api_modules():
        summary = (importlib.import_module(f"kdcourse.{name}").__doc__ or "").split("\n")[0]
        rows.append([f"[{name}]({name}.md)", summary])
    listed = "\n".join(api_modules())
    return f"# The package\n\n{text}\n\n{table(('module', 'what it holds'), rows)}\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"


def schedules(root=None) -> str | None:
    """The page of schedules, or None where the package makes none."""
    try:
        module = importlib.import_module("kdcourse.schedule")
    except ModuleNotFoundError:
        return None
    return f"# Schedules\n\nGenerated from measured and declared minutes; `kdcourse schedule` makes others.\n\n{module.markdown(root or lesson.ROOT)}\n"
