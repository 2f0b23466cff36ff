"""Lesson 11's exercise checks: right answers pass, each known mistake gets its own hint."""

import pytest
import torch
import torch.nn.functional as F
from answers import refuses_what_is_no_answer, said

from kdcourse import datafree
from kdcourse.checks import lesson11

CHECKS = [lesson11.balance, lesson11.norm_distance, lesson11.forgotten_one]


@pytest.mark.parametrize("check", CHECKS)
def test_not_filled_in_or_broken(capsys, check):
    refuses_what_is_no_answer(capsys, check)


def minus_entropy(p):
    return (p * p.log()).sum(dim=-1)


def votes(logits):
    return F.one_hot(logits.argmax(dim=1), logits.shape[1]).double().mean(dim=0)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x: -minus_entropy(F.softmax(x, 1).mean(0)), "The sign"),
        (lambda x: minus_entropy(F.softmax(x, 1)).mean(), "cannot place"),
        (lambda x: -minus_entropy(F.softmax(x, 1)).mean(), "sure of every image"),
        (lambda x: minus_entropy(F.softmax(x.mean(0), 0)), "not the logits"),
        (lambda x: (F.softmax(x, 1).mean(0) * F.softmax(x, 1).mean(0).log2()).sum(), "base 2"),
        (lambda x: minus_entropy(F.softmax(x, 1).mean(0)) / 5, "over the classes"),
        (lambda x: torch.xlogy(votes(x), votes(x)).sum(), "no gradient"),
    ],
)
def test_balance(capsys, wrong, hint):
    assert lesson11.balance(lambda x: minus_entropy(F.softmax(x, dim=1).mean(dim=0)))
    assert lesson11.balance(lambda x: datafree.generator_objective(x, None, {"balance": 1.0}))
    result, text = said(capsys, lambda: lesson11.balance(wrong))
    assert not result
    assert hint in text


def distance(values, mean, variance, dims=(0, 2, 3), unbiased=False):
    return (values.mean(dim=dims) - mean).norm() + (values.var(dim=dims, unbiased=unbiased) - variance).norm()


def by_loops(values, mean, variance):
    total = [0.0, 0.0]
    for c in range(values.shape[1]):
        channel = [float(v) for v in values[:, c].flatten()]
        m = sum(channel) / len(channel)
        total[0] += (m - float(mean[c])) ** 2
        total[1] += (sum((v - m) ** 2 for v in channel) / len(channel) - float(variance[c])) ** 2
    return total[0] ** 0.5 + total[1] ** 0.5


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda v, m, s: distance(v, m, s, unbiased=True), "n − 1"),
        (lambda v, m, s: (v.mean((0, 2, 3)) - m).norm() + (v.std((0, 2, 3), unbiased=False) - s).norm(), "standard deviation"),
        (lambda v, m, s: distance(v, m[:, None, None], s[:, None, None], dims=0), "for each place"),
        (lambda v, m, s: distance(v, m, s, dims=(2, 3)), "for each image"),
        (lambda v, m, s: (v.mean((0, 2, 3)) - m).pow(2).sum() + (v.var((0, 2, 3), unbiased=False) - s).pow(2).sum(), "squared"),
        (lambda v, m, s: (v.mean((0, 2, 3)) - m).norm(), "The variance is missing"),
        (lambda v, m, s: (v.var((0, 2, 3), unbiased=False) - s).norm(), "The mean is missing"),
        (lambda v, m, s: (v.mean((0, 2, 3)) - m).abs().sum() + (v.var((0, 2, 3), unbiased=False) - s).abs().sum(), "absolute"),
    ],
)
def test_norm_distance(capsys, wrong, hint):
    assert lesson11.norm_distance(distance)
    assert lesson11.norm_distance(by_loops)
    result, text = said(capsys, lambda: lesson11.norm_distance(wrong))
    assert not result
    assert hint in text


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda a, b, n: a - b, "into sums first"),
        (lambda a, b, n: (n - 1) * b - n * a, "The sign"),
        (lambda a, b, n: n * (a - b), "not over n"),
        (lambda a, b, n: (n + 1) * a - n * b, "before"),
        (lambda a, b, n: (a - b) / n, "multiply each mean"),
    ],
)
def test_forgotten_one(capsys, wrong, hint):
    assert lesson11.forgotten_one(lambda a, b, n: n * a - (n - 1) * b)
    result, text = said(capsys, lambda: lesson11.forgotten_one(wrong))
    assert not result
    assert hint in text
