"""What the tests of every lesson's exercise checks need: what a check said, and what no check may take for an answer."""

import torch


def said(capsys, call):
    """The result of `call()` and what it printed, without anything printed before."""
    capsys.readouterr()
    result = call()
    return result, capsys.readouterr().out


def hinted(capsys, check, wrong, hint):
    """A wrong answer is refused, with its own hint."""
    result, text = said(capsys, lambda: check(wrong))
    assert not result
    assert hint in text


def refuses_what_is_no_answer(capsys, check):
    """A check of a learner's function tells blanks, an exception, and answers of another kind or shape apart, and accepts none."""
    for stub in (lambda *_: ..., lambda *_: (..., ...), lambda *_: None, lambda *_: torch.zeros(3) + ...):
        result, text = said(capsys, lambda stub=stub: check(stub))
        assert not result
        assert "Not filled in yet" in text

    def broken(*_):
        raise IndexError("list index out of range")

    result, text = said(capsys, lambda: check(broken))
    assert not result
    assert "stopped with IndexError: list index out of range" in text
    for wrong in ("a word", torch.zeros(3, 3, 3)):
        result, text = said(capsys, lambda wrong=wrong: check(lambda *_: wrong))
        assert not result
        assert "expected" in text
