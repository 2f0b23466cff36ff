"""Lesson 13's exercise checks."""

import math

import pytest
import torch
import torch.nn.functional as F
from answers import hinted, refuses_what_is_no_answer, said

from kdcourse import privacy
from kdcourse.checks import lesson13

CHECKS = [lesson13.norms_of_each, lesson13.attackers_loss, lesson13.found_at, lesson13.privacy_price]


@pytest.mark.parametrize("check", CHECKS)
def test_not_filled_in_or_broken(capsys, check):
    refuses_what_is_no_answer(capsys, check)


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


# ---- privacy ----


def above(threshold):
    return lambda members, others, rate: (members > threshold(members, others, rate)).double().mean()


def highest(scores, rate, count):
    return scores.sort(descending=True).values[int(rate * count)]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (above(lambda m, o, r: highest(m, r, len(m))), "members' own scores"),
        (above(lambda m, o, r: o.sort().values[int(r * len(o))]), "lower end"),
        (lambda m, o, r: (o > highest(o, r, len(o))).double().mean(), "share of the others"),
        (above(lambda m, o, r: highest(torch.cat([m, o]), r, len(m) + len(o))), "everyone's scores"),
        (lambda m, o, r: (m <= highest(o, r, len(o))).double().mean(), "stay hidden"),
    ],
)
def test_thresholds_that_are_wrong(capsys, wrong, hint):
    hinted(capsys, lesson13.found_at, wrong, hint)


def test_found_at_is_right_for_the_package(capsys):
    def ours(members, others, rate):
        who = torch.arange(len(members) + len(others)) < len(members)
        return privacy.true_positive_rate(torch.cat([members, others])[None], who[None], rate)

    result, text = said(capsys, lambda: lesson13.found_at(ours))
    assert result
    assert "✓ Right" in text


def price(rho, factor=2.0, log=math.log):
    return lambda noise, steps, delta: rho(noise, steps) + factor * math.sqrt(rho(noise, steps) * log(1 / delta))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (price(lambda n, t: 1 / (2 * n**2)), "steps are missing"),
        (price(lambda n, t: t / (2 * n)), "squared"),
        (price(lambda n, t: t / n**2), "the 2 is missing"),
        (price(lambda n, t: t / (2 * n**2), factor=1), "factor 2"),
        (lambda n, t, d: 2 * math.sqrt(t / (2 * n**2) * math.log(1 / d)), "missing from the sum"),
        (price(lambda n, t: t / (2 * n**2), log=math.log10), "natural"),
        (lambda n, t, d: t / (2 * n**2), "That is ρ"),
    ],
)
def test_accounts_that_are_wrong(capsys, wrong, hint):
    hinted(capsys, lesson13.privacy_price, wrong, hint)


def test_price_is_right_for_the_package(capsys):
    result, text = said(capsys, lambda: lesson13.privacy_price(lambda n, t, d: privacy.epsilon(privacy.privacy_spent(n, t), d)))
    assert result
    assert "✓ Right" in text
