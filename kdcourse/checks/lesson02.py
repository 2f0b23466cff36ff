"""Checks for the exercises of lesson 02."""

import math

import torch
import torch.nn.functional as F

from kdcourse.checks.compare import STUB, compare

THREE_DECIMALS = 6e-4  # an answer worked on paper
LEAKS = {
    "a": "Sentence a chooses a number by looking at the images that judge it: the error reported is the lowest of many tried on them.",
    "d": "Sentence d keeps the seed that did best on the test set: that reports luck, and hides the spread.",
    "e": "Sentence e chooses the length of training on the test set, just as a would choose the shift.",
}
NO_LEAKS = {
    "b": "Sentence b is all right: those images are neither in the test set nor labelled, and the share of 3s is known beforehand.",
    "c": "Sentence c is all right: it uses labels of 3s, not of test images, and says so. Whether the student 'never saw a 3' then is another question.",
    "f": "Sentence f is all right: that the teacher knows 3s is the point. Only the student must not see them.",
}


def shift_for_mean_probability(function) -> bool:
    """Exercise 1: the shift of one class's logit at which its mean probability is the known share."""
    logits = 3 * torch.randn(300, 4, generator=torch.Generator().manual_seed(2))
    logits[:, 1] -= 4
    share = 0.25

    def probability(shift):
        return F.softmax(_moved(logits, shift), dim=1)[:, 1].mean()

    def answered(shift):
        return (_moved(logits, shift).argmax(dim=1) == 1).float().mean()

    return compare(
        lambda: function(logits.clone(), 1, share),
        _bisect(probability, share),
        {
            "That is the shift at which the class is *answered* often enough. Here its mean probability is meant: average the softmax.": _bisect(
                answered, share
            ),
            "The logit was replaced by the shift. Add the shift to what is there.": _bisect(
                lambda shift: F.softmax(logits.index_fill(1, torch.tensor([1]), shift), dim=1)[:, 1].mean(), share
            ),
            "The search ran to its end: the mean never changed. Either all classes were moved, which changes no probability, or the softmax ran over the images (dim=0), where every class has the mean 1/N.": 50.0,
            "The sign is turned round: a class that is answered too rarely needs a positive shift.": -_bisect(
                probability, share
            ),
        },
        1e-3,
    )


def _moved(logits, shift):
    moved = logits.clone()
    moved[:, 1] += shift
    return moved


def _bisect(rises, wanted: float) -> float:
    """Where a rising function of one number takes a value, between -50 and 50."""
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rises(middle) < wanted else (low, middle)
    return middle


def prior_shift(shift) -> bool:
    """Exercise 2: from a world with 1 % of 3s to one with 10 %, at T = 1."""
    return compare(
        shift,
        math.log(0.10 / 0.90) - math.log(0.01 / 0.99),
        {
            "That is the ratio of the shares. All other classes become rarer as well, from 99 % to 90 %: take the odds.": math.log(
                10
            ),
            "The old odds are missing: the student already believes in 1 % of 3s.": math.log(0.10 / 0.90),
            "The sign is turned round: 3s become more frequent, so their logit rises.": math.log(0.01 / 0.99)
            - math.log(0.10 / 0.90),
            "That is the factor by which the odds rise. Logits are logarithms: take its logarithm.": (0.10 / 0.90)
            / (0.01 / 0.99),
            "That logarithm has base 10; a softmax uses the natural one.": math.log10((0.10 / 0.90) / (0.01 / 0.99)),
            "Shares do not add up in a softmax, logarithms of odds do.": 0.09,
        },
        THREE_DECIMALS,
    )


def leaks(answer) -> bool:
    """Exercise 3: the sentences of a report that let the test set choose."""
    if answer is None or answer is ... or (isinstance(answer, set | list | tuple) and ... in answer):
        print(STUB)
        return False
    if not isinstance(answer, str | set | list | tuple) or not all(isinstance(part, str) for part in answer):
        print(f'✗ Your answer is a {type(answer).__name__}; expected letters, as in {{"a", "b"}}.')
        return False
    named = {letter.strip().lower() for part in answer for letter in part.split(",") if letter.strip()}
    if unknown := named - LEAKS.keys() - NO_LEAKS.keys():
        print(f"✗ There is no sentence {sorted(unknown)[0]!r}; they run from a to f.")
        return False
    for letter in sorted(named & NO_LEAKS.keys()):
        print(f"✗ Not yet. {NO_LEAKS[letter]}")
    if named & NO_LEAKS.keys():
        return False
    if missing := LEAKS.keys() - named:
        few = "One sentence more lets" if len(missing) == 1 else f"{len(missing)} sentences more let"
        print(
            f"✗ Not yet. {few} the test set choose something. Ask of each: would the number have come out the same without those images?"
        )
        return False
    print("✓ Right.")
    for letter in sorted(LEAKS):
        print(f"  {LEAKS[letter]}")
    return True


def fraction_of_gap(speech, big_teacher, small_teacher) -> bool:
    """Exercise 4: how much of the gap between little and all data soft targets recover, in three published experiments."""
    right = True
    for name, answer, few, soft, everything in (
        ("speech:       ", speech, 44.5, 57.0, 58.9),
        ("big teacher:  ", big_teacher, 42.51, 54.09, 72.56),
        ("small teacher:", small_teacher, 42.51, 63.39, 72.56),
    ):
        print(name, end=" ")
        right &= compare(
            answer,
            (soft - few) / (everything - few),
            {
                "That is what is still missing. Asked for is what was recovered.": (everything - soft)
                / (everything - few),
                "That is the share of the full accuracy. Labels on little data have a good part of it already: count from there.": soft
                / everything,
                "Those are points. Divide by the gap between little and all data.": soft - few,
                "That is the gain relative to where it started. Divide by the gap.": (soft - few) / few,
                "That is in percent; asked for is a fraction between 0 and 1.": 100 * (soft - few) / (everything - few),
                "Upside down: the gap stands below the line.": (everything - few) / (soft - few),
            },
            2e-3,
        )
    return right
