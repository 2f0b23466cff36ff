"""Lesson 13's exercise checks."""

import pytest
import torch
import torch.nn.functional as F
from answers import refuses_what_is_no_answer, said

from kdcourse.checks import lesson13

CHECKS = [lesson13.norms_of_each, lesson13.attackers_loss]


@pytest.mark.parametrize("check", CHECKS)
def test_not_filled_in_or_broken(capsys, check):
    refuses_what_is_no_answer(capsys, check)


def hinted(capsys, check, wrong, hint):
    result, text = said(capsys, lambda: check(wrong))
    assert not result
    assert hint in text


def gradients(weights, images, labels):
    """Each example's gradient by a backward pass of its own, [N, D, K]."""
    found = []
    for x, y in zip(images, labels):
        w = weights.clone().requires_grad_()
        found.append(torch.autograd.grad(F.cross_entropy((x @ w)[None], y[None]), w)[0])
    return torch.stack(found)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda w, x, y: gradients(w, x, y).flatten(1).pow(2).sum(dim=1), "squared length"),
        (lambda w, x, y: gradients(w, x, y).flatten(1).norm(dim=1) / len(x), "Divided by the number"),
        (lambda w, x, y: gradients(w, x, y).flatten(1).abs().sum(dim=1), "sum of the absolute values"),
        (lambda w, x, y: torch.stack([g.norm(dim=1).max() for g in gradients(w, x, y)]), "the longest row"),
        (lambda w, x, y: F.cross_entropy(x @ w, y, reduction="none"), "the loss of each example"),
    ],
)
def test_norms_of_each(capsys, wrong, hint):
    assert lesson13.norms_of_each(lambda w, x, y: gradients(w, x, y).flatten(1).norm(dim=1))
    hinted(capsys, lesson13.norms_of_each, wrong, hint)


def changed(labels, table):
    return torch.tensor([table.get(int(label), int(label)) for label in labels])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda z, y, a, b: F.cross_entropy(z[y == a], y[y == a] * 0 + b), "only about the attacked class"),
        (lambda z, y, a, b: F.cross_entropy(z, y * 0 + b), "Every image is to be called"),
        (lambda z, y, a, b: F.cross_entropy(z, y), "the owner's loss"),
        (lambda z, y, a, b: F.cross_entropy(z, changed(y, {b: a})), "exchanged"),
        (lambda z, y, a, b: F.cross_entropy(z, changed(y, {a: b, b: a})), "Both classes change places"),
        (lambda z, y, a, b: -F.cross_entropy(z, changed(y, {a: b})), "The sign is turned"),
    ],
)
def test_attackers_loss(capsys, wrong, hint):
    assert lesson13.attackers_loss(lambda z, y, a, b: F.cross_entropy(z, changed(y, {a: b})))
    hinted(capsys, lesson13.attackers_loss, wrong, hint)


def test_one_number_for_the_batch_is_not_one_for_each_example(capsys):
    result, text = said(capsys, lambda: lesson13.norms_of_each(lambda w, x, y: gradients(w, x, y).mean(dim=0).norm()))
    assert not result
    assert "shape" in text
