"""The site: built once from the real course without a network, then read with other means than those that made it."""

import html
import re
import shutil
import tomllib
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from fake_course import write_lesson

pytest.importorskip("sphinx_book_theme", reason="the site's packages are missing; run: make site")

from kdcourse import (
    claims,
    cli,
    lesson,
    notebooks,
    report,
    site,
    site_check,
    site_claims,
    site_lessons,
    site_pages,
    site_sphinx,
    site_terms,
)

TECHNIQUE = """---
title: A technique of the tests
lesson: "03"
claims: [03-warm-beats-one, 03-calibration]
paper: Somebody 2015
api: [losses.soft_targets]
---

## Idea

A student learns from soft targets.
"""
TERMS = tomllib.loads((lesson.ROOT / "docs" / "glossary.toml").read_text(encoding="utf-8"))["term"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(the course with one more technique, its site), sphinx with warnings as errors."""
    root, out = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("out") / "site"
    for name in ("notebooks", "results", "claims.toml", "pyproject.toml"):
        (root / name).symlink_to(lesson.ROOT / name)
    shutil.copytree(lesson.ROOT / "docs", root / "docs")
    (root / "docs" / "techniques").mkdir(exist_ok=True)
    (root / "docs" / "techniques" / "of-the-tests.md").write_text(TECHNIQUE, encoding="utf-8")
    assert site.build(root, out) == []
    return root, out


@pytest.fixture(scope="module")
def pages(built):
    """Page → its HTML."""
    found = {path.relative_to(built[1]).as_posix(): path.read_text(encoding="utf-8") for path in built[1].rglob("*.html") if not {"_static", "slides"} & set(path.parts)}
    assert len(found) > 60
    return found


def article(page: str) -> str:
    """What stands between the theme's navigation on both sides."""
    return page.split("<article", 1)[1].split("</article>", 1)[0]


def sources():
    return notebooks.lessons()


# ---- the whole site -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(built, pages):
    for name, page in pages.items():
        loads = re.findall(r'<(?:script|img|iframe|source|video|embed)\b[^>]*?\bsrc="([^"]*)"', page) + re.findall(r'<link\b[^>]*?\bhref="([^"]*)"', page)
        assert loads, name
        assert not [load for load in loads if re.match(r"(https?:)?//", load)], name
        assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", page), name
    for path in (built[1] / "_static").rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import\s+['\"](https?:)?//", path.read_text(encoding="utf-8")), path
    assert "tex-svg.js" in pages["lessons/03_temperature.html"]
    assert (built[1] / "_static" / "mathjax" / "tex-svg.js").stat().st_size > 1_000_000


@pytest.mark.slow
def test_every_link_inside_leads_somewhere(built, pages):
    ids = {name: set(re.findall(r'\bid="([^"]+)"', page)) for name, page in pages.items()}
    for name, page in pages.items():
        for target in map(html.unescape, re.findall(r'(?:href|src)="([^"]*)"', page)):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (built[1] / name).parent / unquote(parts.path) if parts.path else built[1] / name
            assert file.exists(), (name, target)
            relative = file.resolve().relative_to(built[1].resolve()).as_posix()
            if parts.fragment and relative in ids:
                assert unquote(parts.fragment) in ids[relative], (name, target)


@pytest.mark.slow
def test_an_instructor_finds_each_lessons_slides(built, pages):
    assert 'href="../slides/index.html"' in article(pages["instructor/index.html"])
    for source in sources():
        assert f'href="../slides/{source.slug}.html"' in article(pages[f"instructor/{source.number}.html"])
        assert "Reveal.initialize" in (built[1] / "slides" / f"{source.slug}.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_picture_says_what_it_shows(pages):
    for source in sources():
        stored = notebooks.read(lesson.ROOT / "notebooks" / f"{source.slug}.ipynb")
        outputs = [output for cell in stored.cells for output in cell.get("outputs", [])]
        alts = [" ".join(o.data["text/plain"].removeprefix("[figure] ").split()) for o in outputs if "image/png" in o.get("data", {})]
        found = [html.unescape(alt) for alt in re.findall(r'<img alt="([^"]*)"', article(pages[f"lessons/{source.slug}.html"]))]
        assert set(alts) <= set(found), source.slug
        assert all(found), source.slug
        assert len(found) == len([o for o in outputs if {"image/png", "image/gif"} & set(o.get("data", {}))]), source.slug
    assert "change from real ones" in pages["lessons/12_dataset_distillation.html"]  # an animation, whose description stands in its metadata


@pytest.mark.slow
def test_every_claim_has_its_row_and_its_card(pages):
    ledger = claims.read_ledger()
    evidence = {name: report.gather(lesson.ROOT / "results", name) for name in ("quick", "full")}
    rows = {m[1]: m[0] for m in re.finditer(r'<tr id="([^"]+)".*?</tr>', pages["claims.html"], re.S)}
    assert list(rows) == list(ledger)
    for name, claim in ledger.items():
        assert html.escape(claim.statement) in rows[name]
        page = pages[f"claims/{claim.lesson}.html"]
        assert f'id="claim-{name}"' in page
        for profile, found in evidence.items():
            assert f"{found.verdict(name)}: {name} in {profile}" in rows[name]
            if name in found.records:
                card = page.split(f'aria-label="Verdict on claim {name}, profile {profile}"', 1)[1].split("</section>", 1)[0]
                assert f">{found.verdict(name)}</strong>" in card
                for arm, values in found.records[name]["arms"].items():
                    assert f">{html.escape(arm)}</th>" in card
                    assert report.cards.number(values["mean"]) in card
    assert any(found.verdict(name) == "REFUTED" for found in evidence.values() for name in ledger)


@pytest.mark.slow
def test_every_term_has_its_entry_in_four_languages(pages):
    page = pages["glossary.html"]
    for term in TERMS:
        entry = page.split(f'id="term-{term["id"]}"', 1)[1].split('id="term-', 1)[0]
        for key, language in (("zh_tw", "zh-Hant-TW"), ("zh_cn", "zh-Hans-CN"), ("vi", "vi")):
            assert re.search(rf'lang="{language}"[^>]*>{re.escape(html.escape(term[key], quote=False))}<', html.unescape(entry)), term["id"]
        assert ("\\[" in entry) == ("formula" in term), term["id"]
        assert f"lessons/{term['first']}_" in entry, term["id"]


@pytest.mark.slow
def test_first_words_lead_to_the_glossary_and_no_term_twice(pages):
    for source in sources():
        text = article(pages[f"lessons/{source.slug}.html"])
        targets = re.findall(r'<span class="glossary-term"><a class="[^"]*" href="\.\./glossary\.html#term-([^"]+)"', text)
        assert len(targets) == len(set(targets)) > 5, source.slug
        assert set(targets) <= {term["id"] for term in TERMS}
        for heading in re.findall(r"<h\d.*?</h\d>|<pre.*?</pre>", text, re.S):
            assert "glossary-term" not in heading


@pytest.mark.slow
def test_solutions_are_folded_and_come_with_the_checks_answer(pages):
    for source in sources():
        text = article(pages[f"lessons/{source.slug}.html"])
        exercises = [cell for cell in source.cells if "exercise" in notebooks.tags(cell)]
        folded = re.findall(r'<details class="solution"><summary>Show a solution</summary>(.*?)</details>', text, re.S)
        assert len(folded) == len(exercises) > 0, source.slug
        assert all("✓" in block for block in folded), source.slug
        assert '<details class="solution" open' not in text


@pytest.mark.slow
def test_a_lessons_header_says_what_the_records_say(built, pages):
    evidence = report.gather(lesson.ROOT / "results", "quick")
    for source in sources():
        head = html.unescape(re.sub(r"<[^>]+>", "", pages[f"lessons/{source.slug}.html"].split("lesson-facts", 1)[1].split("kd-buttons", 1)[0]))
        record = evidence.lessons[source.number]
        minutes = re.search(r"^(\d+) minutes · needs", source.cells[0].source, re.M)[1]
        assert f"exercises {minutes} min" in head
        assert f"computing {record['seconds'] / 60:.1f} min" in head
        assert record["provenance"]["date"] in head
        assert f"torch {record['provenance']['torch']}" in head
        for claim in evidence.ledger.values():
            if claim.lesson == source.number and claim.kind == "primary":
                assert f"{evidence.verdict(claim.id)} · {claim.id[3:]}" in head
        shipped = built[1] / "notebooks" / f"{source.slug}.ipynb"
        assert shipped.read_bytes() == (lesson.ROOT / "notebooks" / f"{source.slug}.ipynb").read_bytes()
        assert f'href="../notebooks/{source.slug}.ipynb" download' in pages[f"lessons/{source.slug}.html"]


@pytest.mark.slow
def test_index_techniques_api_and_search_are_there(built, pages):
    assert all(f'href="lessons/{source.slug}.html"' in article(pages["index.html"]) for source in sources())
    page = article(pages["techniques/of-the-tests.html"])
    verdict = report.gather(lesson.ROOT / "results", "quick").verdict("03-warm-beats-one")
    assert verdict in page
    assert "../claims/03.html#claim-03-calibration" in page
    assert "../api/losses.html#kdcourse.losses.soft_targets" in page
    assert "of-the-tests.html" in article(pages["techniques/index.html"])
    assert '<code class="docutils literal notranslate"><span class="pre">temperature</span></code>' in pages["api/losses.html"]
    assert re.search(r"<th[^>]*>(<p>)?who said it, and their number", pages["lessons/03_temperature.html"])  # a table, not a paragraph of bars
    index = (built[1] / "searchindex.js").read_text(encoding="utf-8")
    assert "lessons/03_temperature" in index
    assert "calibr" in index


# ---- its parts ------------------------------------------------------------------------------------------------------


def test_a_broken_site_is_noticed(tmp_path):
    (tmp_path / "other.html").write_text('<h1 id="here">x</h1>')
    (tmp_path / "index.html").write_text(
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//cdn.example/a.css"><a href="https://example.org/">fine</a>'
        '<a href="other.html#here">fine</a><a href="other.html#there">x</a><a href="gone.html">x</a><img src="data:image/png;base64,AA==" alt=""><img src="other.html">'
    )
    found = "\n".join(site_check.problems(tmp_path))
    assert "loads https://cdn.example/x.js" in found
    assert "loads //cdn.example/a.css" in found
    assert "other.html#there leads nowhere" in found
    assert "gone.html leads nowhere" in found
    assert "has no alt: other.html" in found
    assert len(found.splitlines()) == 5


def test_terms_are_found_as_they_are_written():
    terms = [
        {"id": "soft-target", "en": "soft target", "first": "01"},
        {"id": "target", "en": "target", "first": "01"},
        {"id": "cka", "en": "CKA", "first": "06"},
        {"id": "distillation", "en": "knowledge distillation", "also": ["distilled"], "first": "02"},
        {"id": "hint", "en": "hint", "first": "06"},
        {"id": "shown", "en": "shown (direction)", "also": ["shown"], "first": "00"},
    ]

    def find(text, number="09"):
        pattern, ids = site_terms.term_pattern(terms, number)
        return [(text[a:b], name) for a, b, name in site_terms.find_terms(text, pattern, ids, set())]

    assert find("Soft\ntargets, and soft targets again: a target.") == [("Soft\ntargets", "soft-target"), ("target", "target")]
    assert find("cka, CKA, CKAs, targeted, on-target") == [("CKA", "cka")]
    assert find("a hint", "06") == [("hint", "hint")]
    assert find("a hint", "09") == find("a hint", None) == []
    assert find("distilled, as is shown") == []  # of networks in one lesson, of data in another
    assert find("distilled by knowledge distillation", "01") == [("knowledge distillation", "distillation")]


def test_docstrings_are_plain_text():
    lines = ["Use `*args` and x_ of |a| with *stars*.", "", "- one", "  goes on", "- two"]
    assert site_sphinx.plain_docstring(lines) == [
        "Use \\ ``*args``\\  and x\\_ of \\|a\\| with \\*stars\\*.", "", "- one", "  goes on", "- two",
    ]  # fmt: skip


def test_what_readers_miss_in_the_theme_gets_a_name():
    page = '<div id="pst-primary-sidebar" class="a"></div><a class="reference internal" href="x.html">Claims</a><details><summary><span></span></summary></details><details><summary>Mine</summary>'
    mended = site_sphinx.mend(page)
    assert '<summary aria-label="Pages below: Claims">' in mended
    assert "<summary>Mine" in mended
    assert 'role="region" aria-label="Course"' in mended


def test_buttons_need_an_address(monkeypatch):
    monkeypatch.delenv("KDCOURSE_REPOSITORY", raising=False)
    assert [text for text, _ in site_lessons.buttons("03_temperature", "")] == ["Download the notebook"]
    monkeypatch.setenv("KDCOURSE_REPOSITORY", "https://github.com/someone/course.git/")
    links = dict(site_lessons.buttons("03_temperature", site_lessons.repository()))
    assert links["Open in Colab"] == "https://colab.research.google.com/github/someone/course/blob/main/notebooks/03_temperature.ipynb"
    assert links["Open in Binder"] == "https://mybinder.org/v2/gh/someone/course/HEAD?labpath=notebooks/03_temperature.ipynb"
    assert len(site_lessons.buttons("03_temperature", "https://git.example.org/course")) == 1


def test_a_slider_comes_with_the_lessons_own_example():
    stored = notebooks.read(lesson.ROOT / "notebooks" / "03_temperature.ipynb")
    (cell,) = site_lessons._slider(stored)
    assert 'data-logits="[6, 2, -2]"' in cell.source
    assert site_lessons._slider(nbformat.v4.new_notebook()) == []


def test_formulas_in_summaries_are_made_for_this_mathjax():
    text = "<details>\n<summary>A. $T^2$ and $5</summary>\n\nand $T$\n</details>\n<summary>no formula</summary>"
    changed = site_lessons.SUMMARY.sub(site_lessons._formulas, text)
    assert changed == text.replace("<summary>A. $T^2$", '<summary class="mathjax_process">A. \\(T^2\\)')


def test_stored_notebooks_are_not_changed():
    source = notebooks.lessons(["12"])[0]
    path = lesson.ROOT / "notebooks" / f"{source.slug}.ipynb"
    stored, solved = notebooks.read(path), notebooks.read(path.parent / "solutions" / path.name)
    before = nbformat.writes(stored), nbformat.writes(solved)
    site_lessons.page(source, stored, solved, report.gather(lesson.ROOT / "results"))
    assert (nbformat.writes(stored), nbformat.writes(solved)) == before


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A course of one lesson without notebooks."""
    monkeypatch.setattr(lesson, "ROOT", tmp_path)
    write_lesson(tmp_path)
    (tmp_path / "claims.toml").write_text("")
    return tmp_path


def test_a_missing_notebook_is_named(small, capsys):
    assert cli.main(["site"]) == 2
    assert "notebooks/01_tiny.ipynb is missing or unreadable; run: kdcourse build 01 --record" in capsys.readouterr().err
    assert not (small / "build" / "site").exists()


def test_a_folder_that_is_no_site_is_never_replaced(small, capsys):
    mine = small / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    assert cli.main(["site", "--out", str(mine)]) == 2
    assert "is no site" in capsys.readouterr().err
    assert (mine / "thesis.txt").exists()


def test_missing_packages_are_named(small, monkeypatch, capsys):
    monkeypatch.setattr(site, "NEEDED", ("sphinx", "no_such_package_here"))
    assert cli.main(["site"]) == 2
    assert "no_such_package_here); run: make site" in capsys.readouterr().err


def test_a_technique_that_names_what_is_not_there_is_refused(tmp_path):
    evidence = {"quick": report.gather(lesson.ROOT / "results"), "full": report.gather(lesson.ROOT / "results", "full")}
    path = tmp_path / "x.md"
    for before, after, message in (
        ("03-calibration", "03-no-such", "claim '03-no-such' is not in the ledger"),
        ('lesson: "03"', 'lesson: "99"', "the number of a lesson"),
        ("title: A technique", "title: [A technique", "not YAML"),
    ):
        path.write_text(TECHNIQUE.replace(before, after), encoding="utf-8")
        with pytest.raises(ValueError, match=re.escape(message)):
            site_pages.technique(path, evidence, {"03": "03_temperature"})


def test_what_is_not_recorded_says_so(small):
    evidence = report.gather(small / "results", "quick", small)
    source = notebooks.lessons(root=small)[0]
    head = site_lessons.header(source, evidence)
    assert "not yet measured" in head
    assert "not yet recorded" in head
    assert site_claims.counts(evidence) == "no claims yet"
