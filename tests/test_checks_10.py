"""Lesson 10's exercise checks."""

import pytest
import torch
import torch.nn.functional as F
from answers import refuses_what_is_no_answer, said

from kdcourse import unlabelled
from kdcourse.checks import lesson10

CHECKS = [lesson10.consensus, lesson10.balance, lesson10.threshold]


@pytest.mark.parametrize("check", CHECKS)
def test_not_filled_in_or_broken(capsys, check):
    refuses_what_is_no_answer(capsys, check)


def consensus(logits):
    mean = F.softmax(logits, dim=2).mean(dim=0)
    return mean, mean.max(dim=1).values


def of(answer):
    return answer, answer.max(dim=1).values


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda z: of(F.softmax(z.mean(0), 1)), "geometric mean"),
        (lambda z: of(z.mean(0)), "mean logits; probabilities"),
        (lambda z: of(F.one_hot(z.argmax(2), 4).double().mean(0)), "shares of votes"),
        (lambda z: of(F.softmax(z, 0).mean(0)), "over the views"),
        (lambda z: of(F.softmax(z, 1).mean(0)), "over the images"),
        (lambda z: of(F.softmax(z, 2).sum(0)), "divide by their number"),
        (lambda z: of(F.softmax(z, 2).amax(0)), "the surest view"),
        (lambda z: (consensus(z)[0], F.softmax(z, 2).amax(2).mean(0)), "its own favourite"),
        (lambda z: (consensus(z)[0], consensus(z)[0].argmax(1)), "not the class that has it"),
        (lambda z: of(F.softmax(z[0], 1)), "first view alone"),
        (lambda z: consensus(z)[0], "expected (8, 5)"),
    ],
)
def test_consensus(capsys, wrong, hint):
    assert lesson10.consensus(consensus)
    assert lesson10.consensus(lambda z: list(of(sum(F.softmax(view, dim=1) for view in z) / len(z))))
    result, text = said(capsys, lambda: lesson10.consensus(wrong))
    assert not result
    assert hint in text


def balance(p, count):
    keep = torch.zeros(len(p), dtype=torch.bool)
    keep[unlabelled.most_confident(p, count)] = True
    return keep


def ranked(p, count):
    """The same, by counting who is surer."""
    confidence, predicted = p.max(dim=1)
    surer = (predicted[:, None] == predicted) & (confidence[:, None] < confidence)
    return surer.sum(dim=1) < count


def by_class(p, count, order):
    confidence, predicted = p.max(dim=1)
    rows = [(predicted == k).nonzero().flatten() for k in range(p.shape[1])]
    return torch.cat([mine[order(confidence[mine])][:count] for mine in rows])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda p, n: p.amax(1).argsort(descending=True)[: 4 * n], "all classes together"),
        (lambda p, n: torch.cat([p[:, k].argsort(descending=True)[:n] for k in range(4)]), "each column"),
        (lambda p, n: by_class(p, n, lambda c: c.argsort()), "the least sure"),
        (lambda p, n: by_class(p, n, lambda c: torch.arange(len(c))), "the first ones"),
        (lambda p, n: ~balance(p, n), "Turned round"),
        (lambda p, n: balance(p, n)[:-1], "expected (90,)"),
    ],
)
def test_balance(capsys, wrong, hint):
    assert lesson10.balance(balance)
    assert lesson10.balance(ranked)
    assert lesson10.balance(unlabelled.most_confident)
    result, text = said(capsys, lambda: lesson10.balance(wrong))
    assert not result
    assert hint in text


def shares(confidence, right):
    falling = confidence.argsort(descending=True)
    return confidence[falling], right[falling].double().cumsum(0) / torch.arange(1, len(right) + 1)


def threshold(confidence, right, wanted):
    falling, share = shares(confidence, right)
    return falling[share >= wanted].min()


def slowly(confidence, right, wanted):
    return min(t for t in confidence if right[confidence >= t].double().mean() >= wanted)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda c, r, w: shares(c, r)[0][shares(c, r)[1] >= w].max(), "keeps the fewest"),
        (lambda c, r, w: shares(c, r)[0][int((shares(c, r)[1] < w).nonzero()[0]) - 1], "first failure"),
        (lambda c, r, w: shares(c, r)[1][(shares(c, r)[1] >= w).nonzero()[-1, 0]], "the share itself"),
        (lambda c, r, w: float((c >= threshold(c, r, w)).sum()), "how many labels are kept"),
        (lambda c, r, w: c[(r.double().cumsum(0) / torch.arange(1, 301) >= w).nonzero()[-1, 0]], "not sorted"),
        (lambda c, r, w: shares(c, r)[0][c.sort(descending=True).values.cumsum(0) / torch.arange(1, 301) >= w].min(), "only that where"),
    ],
)
def test_threshold(capsys, wrong, hint):
    assert lesson10.threshold(threshold)
    assert lesson10.threshold(slowly)
    result, text = said(capsys, lambda: lesson10.threshold(wrong))
    assert not result
    assert hint in text
