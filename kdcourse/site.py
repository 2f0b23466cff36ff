"""The course's site: pages from stored notebooks and records, made by sphinx without a network. No lesson is executed."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from kdcourse import lesson, notebooks, report, site_check, site_claims, site_lessons, site_pages, slides

NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx-mathjax-offline", "sphinx_revealjs")


def add_arguments(parser) -> None:
    parser.add_argument("--out", default=None, help="the folder to write the site to (build/site)")
    parser.add_argument("--linkcheck", action="store_true", help="try the links that lead out of the site instead; needs a network")


def command(options, root) -> int:
    """Build the site, or with --linkcheck try its links to elsewhere; the exit code."""
    root, out = Path(root), Path(options.out or Path(root) / "build" / "site")
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"the site needs packages that are not installed ({', '.join(missing)}); run: make site, or pip install -e '.[site]'")
    problems = build(root, out, options.linkcheck)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("all links out of the site answer" if options.linkcheck else f"site: {out / 'index.html'}")
    return 1 if problems else 0


def build(root, out, linkcheck: bool = False) -> list[str]:
    """Write the pages into build/docs, make the site of them and put it in the place of `out`; what is wrong with it.

    A site with problems is not put there. Raises ValueError for an `out` that is no site, so that nothing else is ever replaced.
    """
    root, out = Path(root), Path(out)
    if out.exists() and not (out.is_dir() and ((out / "searchindex.js").exists() or not any(out.iterdir()))):
        raise ValueError(f"{out} is there and is no site; name another folder with --out")
    source = root / "build" / "docs"
    prepare(root, source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        made = Path(temporary) / "site"
        if run_sphinx(root, source, made, Path(temporary) / "doctrees", "linkcheck" if linkcheck else "html"):
            return ["some links do not answer; they are listed above" if linkcheck else "sphinx refused a page; what it says stands above"]
        if linkcheck:
            return []
        shutil.copytree(root / "notebooks", made / "notebooks", ignore=shutil.ignore_patterns("src", "solutions", ".*"))
        slides.build(notebooks.lessons(root=root), made / "slides", root)
        if problems := site_check.problems(made):
            return problems
        if out.exists():
            out.rename(Path(temporary) / "old")
        made.rename(out)
    return []


def run_sphinx(root, source, out, doctrees, builder: str = "html") -> int:
    """Run sphinx in a process of its own, warnings as errors; its exit code."""
    settings = Path(root) / "docs"
    settings = settings if (settings / "conf.py").exists() else lesson.ROOT / "docs"
    paths = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    changed = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
               "KDCOURSE_GLOSSARY": str(Path(root) / "docs" / "glossary.toml")}  # fmt: skip
    quiet = [] if builder == "linkcheck" else ["-q"]
    arguments = ["-b", builder, "-W", "--keep-going", *quiet, "-c", settings, "-d", doctrees, source, out]
    return subprocess.run([sys.executable, "-m", "sphinx", *map(str, arguments)], env={**os.environ, **changed}).returncode


# ---- the pages ------------------------------------------------------------------------------------------------------


def prepare(root, folder) -> None:
    """Write everything sphinx reads into `folder`, anew: what people wrote in docs/, and the pages made from records and notebooks.

    Raises ValueError for a missing notebook, and for a technique that names what does not exist.
    """
    root, folder = Path(root), Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted((root / "docs").glob("*.md")):  # what lies in folders of docs/ has makers of its own
        shutil.copyfile(path, folder / path.name)
    if (root / "docs" / "images").is_dir():
        shutil.copytree(root / "docs" / "images", folder / "images")
    sources = notebooks.lessons(root=root)
    by_profile = {name: report.gather(root / "results", name, root) for name in site_claims.PROFILES}
    if problems := [problem for evidence in by_profile.values() for problem in evidence.problems]:
        raise ValueError("\n".join(problems))
    pictures = site_pages.write_pictures(sources, root, folder)
    trees = [_lessons(sources, by_profile, root, folder), _reference(sources, by_profile, pictures, root, folder),
             _teaching(sources, by_profile["quick"], root, folder), _api(folder)]  # fmt: skip
    _front(sources, by_profile, pictures, [*_written(folder, trees)], root, folder)


def _write(folder: Path, name: str, text: str) -> str:
    """Write a page below `folder`; its name for a table of contents."""
    path = folder / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def _lessons(sources, by_profile: dict, root: Path, folder: Path) -> str:
    address = site_lessons.repository(root)
    (folder / "lessons").mkdir()
    for source in sources:
        stored = notebooks.read(root / "notebooks" / f"{source.slug}.ipynb")
        if stored is None:
            raise ValueError(f"notebooks/{source.slug}.ipynb is missing or unreadable; run: kdcourse build {source.number} --record")
        solved = notebooks.read(root / "notebooks" / "solutions" / f"{source.slug}.ipynb")
        made = site_lessons.page(source, stored, solved, by_profile["quick"], address, by_profile["full"])
        nbformat.write(made, folder / "lessons" / f"{source.slug}.ipynb")
    return site_pages.toctree("Lessons", [f"lessons/{source.slug}" for source in sources])


def _reference(sources, by_profile: dict, pictures: dict, root: Path, folder: Path) -> str:
    slugs = {source.number: source.slug for source in sources}
    titles = {s.number: s.title for s in sources if any(c.lesson == s.number for c in by_profile["quick"].ledger.values())}
    pages = [_write(folder, "claims", site_claims.overview(by_profile, titles))]
    for number, title in titles.items():
        _write(folder, f"claims/{number}", site_claims.cards_page(number, title, slugs[number], by_profile))
    if paths := sorted((root / "docs" / "techniques").glob("*.md")):
        pages.append(_write(folder, "techniques/index", site_pages.techniques(paths, by_profile, slugs)))
        for path in paths:
            _write(folder, f"techniques/{path.stem}", site_pages.technique(path, by_profile, slugs))
    if pictures:
        pages.append(_write(folder, "figures", site_pages.figures(sources, pictures)))
    pages.append(_write(folder, "times", site_pages.times(sources, by_profile)))
    pages.append(_write(folder, "glossary", site_pages.glossary(root / "docs" / "glossary.toml", slugs)))
    return site_pages.toctree("Look up", pages)


def _teaching(sources, evidence, root: Path, folder: Path) -> str:
    slugs = {source.number: source.slug for source in sources}
    pages = [_write(folder, "schedules", text)] if (text := site_pages.schedules(root)) else []
    numbers = []
    for path in sorted((root / "docs" / "instructor").glob("*.md")):
        _write(folder, f"instructor/{path.stem}", site_pages.notes(path, evidence, slugs.get(path.stem)))
        numbers.append(path.stem)
    if numbers:
        listed = "\n".join(numbers)
        about = 'One page a lesson: aim, timing, where people get stuck, what to leave out. The <a href="../slides/index.html">slides of all lessons</a> need no network.'
        text = f"# Notes for instructors\n\n{about}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
        pages.append(_write(folder, "instructor/index", text))
    return site_pages.toctree("Teach", pages)


def _api(folder: Path) -> str:
    for name in site_pages.api_modules():
        _write(folder, f"api/{name}", site_pages.api_page(name))
    return site_pages.toctree("Reference", [_write(folder, "api/index", site_pages.api_index())])


def _written(folder: Path, trees: list[str]) -> list[str]:
    """The tables of contents with what else people wrote at the top level of docs/: `start` before the lessons, the rest at the end."""
    made = {"index", "start", "claims", "figures", "times", "glossary", "schedules"}
    rest = [path.stem for path in sorted(folder.glob("*.md")) if path.stem not in made]
    first = ["start"] if (folder / "start.md").exists() else []
    return [site_pages.toctree("Begin", first), *trees, site_pages.toctree("More", rest)]


def _front(sources, by_profile: dict, pictures: dict, trees: list[str], root: Path, folder: Path) -> None:
    path = folder / "index.md"
    text = path.read_text(encoding="utf-8") if path.exists() else "# The course\n\n<!-- syllabus -->\n"
    address = site_lessons.repository(root)
    clone = f"git clone {address}\n" if address else ""
    start = "[Your first ten minutes](start.md) leads from a fresh copy to an exercise that a check has called right." if (folder / "start.md").exists() else ""
    quick = by_profile["quick"]
    filled = {"start": start, "syllabus": site_pages.syllabus(sources, quick, pictures, by_profile["full"]), "counts": site_claims.counts(quick), "clone": clone}
    for name, value in filled.items():
        text = text.replace(f"<!-- {name} -->", value)
    _write(folder, "index", text + "\n\n" + "\n".join(trees))
