"""The quiz of a lesson: Markdown for the last cell of its notebook, and its questions asked in the terminal."""

import functools
import html
import shutil
import textwrap
import tomllib
from pathlib import Path

from kdcourse import lesson

LETTERS = "ABCDEFGH"
RIGHT, WRONG = "✓ Right.", "✗ Not quite."
INTRODUCTION = """## Check yourself

Open an answer to see whether it holds, and why. Nothing is counted; the wrong ones are worth reading too."""


def read(number: str, root=None) -> list[dict]:
    """The questions of lesson `number` from docs/quizzes, an empty list where it has no quiz.

    A question has `id`, `text` and `choice`, a list of `text`, `because` and for one of them `right`. Raises ValueError naming file and
    question where that does not hold.
    """
    path = Path(root or lesson.ROOT) / "docs" / "quizzes" / f"{number}.toml"
    if not path.exists():
        return []
    try:
        questions = tomllib.loads(path.read_text(encoding="utf-8")).get("question", [])
    except tomllib.TOMLDecodeError as problem:
        raise ValueError(f"{path} is not valid TOML: {problem}") from None
    for position, question in enumerate(questions, 1):
        choices = question.get("choice", [])
        whole = {"id", "text"} <= set(question) and all({"text", "because"} <= set(choice) for choice in choices)
        if not whole or sum(bool(choice.get("right")) for choice in choices) != 1 or not 1 < len(choices) <= len(LETTERS):
            raise ValueError(
                f"{path}, question {position} ({question.get('id', 'without id')}): expected id, text and 2 to {len(LETTERS)} choices, "
                "each with text and because, one of them right"
            )
    return questions


# ---- in the notebook ------------------------------------------------------------------------------------------------


def markdown(number: str, root=None) -> str:
    """The quiz of lesson `number` as Jupyter Markdown without scripts: every choice folds its explanation away. "" where there is none."""
    questions = read(number, root)
    parts = [INTRODUCTION] if questions else []
    for position, question in enumerate(questions, 1):
        parts.append(f"### Question {position}\n\n{question['text'].strip()}")
        parts += [_folded(letter, choice) for letter, choice in zip(LETTERS, question["choice"])]
    return "\n\n".join(parts)


def _folded(letter: str, choice: dict) -> str:
    # Markdown is read between blank lines, but not in the line that stays visible. Its class lets the site's MathJax in.
    head = f'<summary class="mathjax_process">{letter}. {_inline(choice["text"].strip())}</summary>'
    said = RIGHT if choice.get("right") else WRONG
    because = "\n> ".join(choice["because"].strip().splitlines())
    return f"<details>\n{head}\n\n> **{said}** {because}\n\n</details>"


def _inline(text: str) -> str:
    """One line of Markdown as HTML, with formulas left as `$…$` for whoever shows the notebook."""
    return _parser().renderInline(" ".join(text.split()))


@functools.cache
def _parser():
    from markdown_it import MarkdownIt  # here, as asking needs neither
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    # Formulas are recognised, so that nothing in them is read as emphasis or as an escape, and handed on as they are.
    made = MarkdownIt("commonmark", {"html": False}).use(dollarmath_plugin, allow_space=True, allow_digits=False)
    made.add_render_rule("math_inline", lambda self, tokens, k, options, env: f"${html.escape(tokens[k].content)}$")
    return made


# ---- in the terminal ------------------------------------------------------------------------------------------------


def ask(name: str, root=None) -> tuple[int, int]:
    """Ask the quiz of a lesson (01, 01_slug) question by question; (right answers, questions answered).

    Enter skips a question, Ctrl-D ends. Raises ValueError for an unknown lesson, with the nearest one, and where there is no quiz or nobody to ask.
    """
    from kdcourse import notebooks  # which makes notebooks with this module

    (source,) = notebooks.lessons([name], root)
    questions = read(source.number, root)
    if not questions:
        raise ValueError(f"lesson {source.slug} has no quiz")
    print(f"{source.number} · {source.title}: {len(questions)} questions. Type a letter; Enter skips, Ctrl-D ends.\n")
    outcomes = []
    for position, question in enumerate(questions, 1):
        try:
            outcomes.append(_ask_one(position, question))
        except (EOFError, KeyboardInterrupt):
            print("\n")
            break
        except NotImplementedError:  # what a kernel without a person in front of it says
            raise ValueError("there is nobody to ask here; run in a terminal: kdcourse quiz " + source.number) from None
    answered = [outcome for outcome in outcomes if outcome is not None]
    left = len(questions) - len(answered)
    print(f"{sum(answered)} of {len(answered)} right" + (f", {left} left out" if left else ""))
    return sum(answered), len(answered)


def _ask_one(position: int, question: dict) -> bool | None:
    """Whether the chosen answer is right; None for a question that was skipped."""
    known = LETTERS[: len(question["choice"])]
    _print(f"{position}. ", question["text"])
    for letter, choice in zip(known, question["choice"]):
        _print(f"   {letter}. ", choice["text"])
    while True:
        answer = input(f"{known[0]} to {known[-1]}: ").strip().upper().rstrip(".)")
        if not answer:
            print()
            return None
        if len(answer) == 1 and answer in known:
            break
        print(f"{answer!r} is none of the answers; expected one of {', '.join(known)}")
    choice = question["choice"][known.index(answer)]
    right = bool(choice.get("right"))
    _print("", f"{RIGHT if right else WRONG} {choice['because']}")
    print()
    return right


def _print(head: str, text: str) -> None:
    width = min(shutil.get_terminal_size((100, 24)).columns, 110)
    print(textwrap.fill(" ".join(text.split()), width, initial_indent=head, subsequent_indent=" " * len(head)))
