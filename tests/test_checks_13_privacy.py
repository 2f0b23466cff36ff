"""Lesson 13's exercise checks on privacy."""

import math

import pytest
import torch
from answers import refuses_what_is_no_answer, said

from kdcourse import privacy
from kdcourse.checks import lesson13

CHECKS = [lesson13.found_at, lesson13.privacy_price]


@pytest.mark.parametrize("check", CHECKS)
def test_not_filled_in_or_broken(capsys, check):
    refuses_what_is_no_answer(capsys, check)


def hinted(capsys, check, wrong, hint):
    result, text = said(capsys, lambda: check(wrong))
    assert not result
    assert hint in text


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
