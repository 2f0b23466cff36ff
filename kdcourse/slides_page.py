"""What the slides look like: a deck and the index as HTML pages, with their styles and the script that makes everything fit."""

import html
import re


def page(made, decks) -> str:
    """A deck as one HTML page, figures inside, reveal.js and MathJax in assets/ beside it; links to lessons in `decks` lead to their slides."""
    from pygments.formatters import HtmlFormatter

    colours = [HtmlFormatter(style=f"a11y-high-contrast-{tone}").get_style_defs(f"html.{tone} .code") for tone in ("light", "dark")]
    body = "\n".join(_markup(slide) for slide in made)
    return _linked(
        f'<!DOCTYPE html>\n<html lang="en" class="light"><head><meta charset="utf-8"><title>{html.escape(made[0].title)}: slides</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="assets/reset.css"><link rel="stylesheet" href="assets/reveal.css"><link rel="stylesheet" href="assets/source-sans-pro.css">'
        f'<style>{STYLE}\n{"".join(colours)}</style></head>\n<body class="fitting"><main class="reveal"><div class="slides">\n{body}\n</div></main>\n'
        f"<script>{MATHJAX}</script>"
        '<script src="assets/tex-svg-full.js"></script><script src="assets/reveal.js"></script><script src="assets/notes.js"></script>'
        f"<script>{START}</script></body></html>\n",
        decks,
    )


def _markup(slide) -> str:
    level = "h1" if slide.layout == "title" else "h2"
    text = f'<div class="text">{"".join(slide.text)}</div>' if slide.text else ""
    media = f'<div class="media">{"".join(slide.media)}</div>' if slide.media else ""
    notes = f'<aside class="notes">{"".join(slide.notes)}</aside>' if slide.notes else ""
    return (
        f'<section id="{slide.name.replace(":", "-")}"><div class="frame {slide.layout}"><{level}>{slide.heading}</{level}>'
        f'<div class="body">{text}{media}</div></div>{notes}</section>'
    )


def _linked(markup: str, decks) -> str:
    """Links to lessons lead to their decks; where there is no such deck the words stay without a link."""

    def link(match):
        slug = match[1].removesuffix(".ipynb")
        return f'<a href="{slug}.html">{match[2]}</a>' if slug in decks else match[2]

    return re.sub(r'<a href="([\w-]+\.ipynb)">(.*?)</a>', link, markup, flags=re.DOTALL)


def index(listed) -> str:
    """The list of the decks, with how to show and to print them."""
    rows = "".join(
        f'<li><a href="{source.slug}.html">{source.number} · {html.escape(source.title)}</a> '
        f'<a class="print" href="{source.slug}.html?print-pdf" aria-label="{source.number}, to print">to print</a></li>'
        for source in listed
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>kdcourse: slides</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="stylesheet" href="assets/source-sans-pro.css"><style>{INDEX_STYLE}</style></head><body><main><h1>Slides of the lessons</h1>'
        f"<ul>{rows}</ul><h2>In a deck</h2><p>Arrows or space go on. <kbd>S</kbd> opens the speaker’s view with notes and clock, <kbd>O</kbd> the overview, <kbd>D</kbd> changes between "
        "dark and light, <kbd>F</kbd> fills the screen, <kbd>?</kbd> lists all keys.</p><p><em>To print</em> lays the slides out one to a page: print that page, to paper or as PDF, landscape and without margins. "
        "Add <code>&amp;showNotes=separate-page</code> to its address and the notes are printed too.</p><p>Figures and verdicts are those stored in the lessons’ notebooks; nothing here needs a network.</p></main></body></html>\n"
    )


STYLE = """
:root { --ink: #1c2128; --paper: #fff; --line: #c5ccd3; --soft: #f3f5f7; --quiet: #4d5660; --accent: #005a8c }
html.dark { --ink: #e6edf3; --paper: #14181d; --line: #4a525b; --soft: #20262d; --quiet: #a9b3bd; --accent: #6cb8e8 }
body, .reveal-viewport { background: var(--paper); color: var(--ink) }
.reveal { font: 28px/1.32 'Source Sans Pro', sans-serif; color: var(--ink); --r-background-color: var(--paper) }
.reveal .slides { text-align: left }
.reveal .slides section { padding: 0; line-height: inherit }
.frame { width: 1280px; height: 720px; box-sizing: border-box; padding: 26px 52px 34px; display: flex; flex-direction: column; gap: 14px; font-size: var(--size, 28px) }
.body { flex: 1; min-height: 0; display: flex; flex-direction: column; gap: 14px; justify-content: flex-start }
.beside .body { flex-direction: row; gap: 30px }
.beside .text { flex: 0 0 32% }
.media { flex: 1; min-height: 0; min-width: 0; display: flex; flex-direction: column; gap: 12px; justify-content: center }
.stacked .media:has(img) { min-height: 400px } .stacked .media:not(:has(img)) { flex: 0 1 auto }
.frame:has(img):not(:has(.text)) { padding-top: 14px; padding-bottom: 30px; gap: 6px } .frame:has(img):not(:has(.text)) h2 { font-size: 32px } /* the figure has the slide */
.media img { flex: 1; min-height: 0; width: 100%; object-fit: contain; background: #fff }
h1, h2 { font-weight: 600; line-height: 1.15; margin: 0; color: var(--accent) }
h2 { font-size: 40px } h1 { font-size: 60px }
.title { justify-content: center; padding: 60px 110px } .title .body { flex: 0 1 auto; font-size: 1.15em }
.reveal p { margin: 0 0 .5em } .reveal p:last-child { margin-bottom: 0 }
.reveal strong { font-weight: 600 } .reveal em { font-style: italic }
.reveal ul, .reveal ol { margin: 0 0 .5em 1.1em; display: block } .reveal ul { list-style: disc } .reveal ol { list-style: decimal }
.reveal li { margin-bottom: .35em } .large { font-size: 1.1em } .large li { margin-bottom: .9em }
.reveal .exercises { list-style: none; margin-left: 0 } .exercises li { border-left: .25em solid var(--accent); padding-left: .7em; margin-bottom: .8em }
.reveal a { color: var(--accent); text-decoration: underline }
.reveal table { border-collapse: collapse; margin: 0 0 .5em; font-size: .86em; width: auto }
.reveal th, .reveal td { border-bottom: 1px solid var(--line); padding: .28em .7em; text-align: left; vertical-align: top }
.reveal thead th { font-weight: 600; background: var(--soft) }
.reveal code { font: .86em/1.3 ui-monospace, 'DejaVu Sans Mono', Consolas, monospace }
.reveal pre { margin: 0; padding: .6em .8em; background: var(--soft); white-space: pre; overflow: hidden; font: .76em/1.38 ui-monospace, 'DejaVu Sans Mono', Consolas, monospace; width: auto; box-shadow: none }
.reveal pre code { font: inherit; background: none }
.card { font-size: .88em } .card table { margin: .3em 0 } .reveal .card th, .reveal .card td { border-bottom: 1px solid var(--line) }
.reveal aside.notes { display: none }
.reveal .slide-number { color: var(--quiet); background: none; font-size: 16px; right: auto; left: 10px; bottom: 8px } .reveal .slide-number a { color: inherit; text-decoration: none } .reveal .controls { color: var(--accent) } .reveal .progress { color: var(--accent) }
.fitting .slides section { display: block !important; visibility: hidden; position: absolute }
a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
"""

INDEX_STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --paper: #fff; --accent: #005a8c }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #14181d; --accent: #6cb8e8 } }
body { font: 20px/1.5 'Source Sans Pro', sans-serif; color: var(--ink); background: var(--paper); max-width: 48rem; margin: 0 auto; padding: 1.5rem }
a { color: var(--accent) } li { margin: .3rem 0 } .print { margin-left: .8rem; font-size: .85em }
kbd, code { font: .85em ui-monospace, monospace; border: 1px solid currentColor; border-radius: .2em; padding: 0 .3em }
"""

MATHJAX = r"""
window.MathJax = { tex: { inlineMath: [['$', '$']], displayMath: [['$$', '$$']], processEscapes: true }, options: { enableMenu: false }, startup: { typeset: false }, svg: { fontCache: 'local' } };
"""

# Formulas first, then sizes: text shrinks step by step until everything fits, and no slide is left with more than it shows.
START = """
function fit(frame) {
  const inner = [frame, ...frame.querySelectorAll('.body, .text, .media, pre')], printed = frame.querySelectorAll('pre');
  const narrow = (pre, px) => { do pre.style.fontSize = px + 'px'; while (pre.scrollWidth > pre.clientWidth + 1 && (px -= 0.5) >= 14); };
  const over = () => inner.some(e => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1);
  for (let size = frame.querySelector('img') ? 28 : 34; size > 15; size -= 0.5) {
    frame.style.setProperty('--size', size + 'px');
    printed.forEach(pre => narrow(pre, 0.76 * size));
    if (!over()) break;
  }
}
const dark = () => { const c = document.documentElement.classList; c.toggle('dark'); c.toggle('light'); };
MathJax.startup.promise.then(() => MathJax.typesetPromise()).then(() => document.fonts.ready).then(() => {
  document.querySelectorAll('aside.notes mjx-assistive-mml').forEach(e => e.remove());
  document.querySelectorAll('.frame').forEach(fit);
  document.body.classList.remove('fitting');
  return Reveal.initialize({ width: 1280, height: 720, margin: 0.02, center: false, hash: true, slideNumber: 'c/t', transition: 'none', pdfMaxPagesPerSlide: 1, plugins: [RevealNotes] });
}).then(() => {
  document.querySelector('.reveal').removeAttribute('role'); // a document to read, not an application
  Reveal.addKeyBinding({ keyCode: 68, key: 'D', description: 'Dark or light' }, dark);
});
"""
