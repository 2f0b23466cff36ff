"""Checks for the exercises of lesson 10."""

import torch
import torch.nn.functional as F

from kdcourse.checks.compare import compare
from kdcourse.unlabelled import most_confident


def consensus(function) -> bool:
    """Exercise 1: the mean answer of several views, and how sure it is, from logits [V, N, K]."""
    generator = torch.Generator().manual_seed(10)
    logits = 3 * torch.randn(5, 8, 4, generator=generator, dtype=torch.float64)
    logits[0] *= 4  # one view is much surer than the others, so that it matters what is averaged

    p = F.softmax(logits, dim=2)

    def pair(answer, confidence):
        return torch.cat([answer.double(), confidence.double()[:, None]], dim=1)

    def of(answer):
        return pair(answer, answer.max(dim=1).values)

    def found():
        result = function(logits.clone())
        if not isinstance(result, tuple | list) or len(result) != 2 or any(part is ... or part is None for part in result):
            return result
        answer, confidence = (torch.as_tensor(part) for part in result)
        if answer.ndim != 2 or confidence.ndim != 1 or len(answer) != len(confidence):
            return answer  # compare says which shape was expected
        return pair(answer, confidence)

    mean = p.mean(dim=0)
    votes = F.one_hot(logits.argmax(dim=2), 4).double().mean(dim=0)
    return compare(
        found,
        of(mean),
        {
            "Those are the mean logits under a softmax, the geometric mean: one view that is very sure outvotes the others. Softmax each view first.": of(
                F.softmax(logits.mean(dim=0), dim=1)
            ),
            "Those are mean logits; probabilities are asked for.": of(logits.mean(dim=0)),
            "Those are shares of votes: each view's doubt is lost. Average the probabilities.": of(votes),
            "The softmax runs over the views; it belongs on the classes, dim=2 of [V, N, K].": of(F.softmax(logits, dim=0).mean(dim=0)),
            "The softmax runs over the images; it belongs on the classes, dim=2 of [V, N, K].": of(F.softmax(logits, dim=1).mean(dim=0)),
            "That is the sum over the views; divide by their number.": of(p.sum(dim=0)),
            "That is the surest view of each class, not the mean; such a row does not even add up to 1.": of(p.max(dim=0).values),
            "The mean is right. Its confidence is its own largest probability; you averaged how sure each view is of its own favourite.": pair(
                mean, p.max(dim=2).values.mean(dim=0)
            ),
            "The mean is right. The confidence is its largest probability, not the class that has it.": pair(mean, mean.argmax(dim=1)),
            "That is the first view alone, the plain label.": of(p[0]),
        },
    )


def balance(function) -> bool:
    """Exercise 2: the mask of the most confident images of each predicted class."""
    generator = torch.Generator().manual_seed(11)
    logits = 2 * torch.randn(90, 4, generator=generator, dtype=torch.float64) + torch.tensor([2.0, 0.5, 0.0, -0.5])
    logits[logits.argmax(dim=1) == 0] *= 2  # an easy class
    p = F.softmax(logits, dim=1)
    count = 15  # the rarest class has fewer
    confidence, predicted = p.max(dim=1)

    def mask(index):
        return torch.zeros(len(p)).index_fill(0, index, 1.0)

    def of_each_class(order):
        """The first `count` of each predicted class after sorting its confidences by `order`."""
        rows = [(predicted == k).nonzero().flatten() for k in range(4)]
        return mask(torch.cat([mine[order(confidence[mine])][:count] for mine in rows]))

    def answer():
        found = function(p.clone(), count)
        index = isinstance(found, torch.Tensor) and found.dtype == torch.int64 and found.ndim == 1 and len(found) < len(p)
        return mask(found) if index else found  # an index says the same as a mask

    right = mask(most_confident(p, count))
    return compare(
        answer,
        right,
        {
            "Those are the surest of all classes together: the easy classes crowd out the others again.": mask(
                confidence.argsort(descending=True)[: 4 * count]
            ),
            "Those are the highest probabilities of each column. Where a class is rare, its column also holds images that were predicted to be something else.": mask(
                torch.cat([p[:, k].argsort(descending=True)[:count] for k in range(4)])
            ),
            "Those are the least sure ones: sort the other way round.": of_each_class(lambda sure: sure.argsort()),
            "Those are the first ones of each class, not the surest.": of_each_class(lambda sure: torch.arange(len(sure))),
            "Turned round: True is for the images to keep.": 1 - right,
        },
    )


def threshold(function) -> bool:
    """Exercise 3: the lowest threshold whose labels are right as often as asked."""
    generator = torch.Generator().manual_seed(12)
    confidence = 0.1 + 0.899 * torch.rand(300, generator=generator, dtype=torch.float64)
    right = torch.rand(300, generator=generator, dtype=torch.float64) < confidence
    wanted = 0.9
    order = confidence.argsort(descending=True)
    right[order[:30]] = True
    right[order[8]] = False  # 8 of 9 are too few, 29 of 30 enough again
    share = right[order].double().cumsum(dim=0) / torch.arange(1, 301)
    good = (share >= wanted).nonzero().flatten()
    lowest = confidence[order][good[-1]]
    broken = (share < wanted).nonzero().flatten()
    until = confidence[order][max(int(broken[0]) - 1, 0)]
    return compare(
        lambda: function(confidence.clone(), right.clone(), wanted),
        lowest,
        {
            "That threshold keeps the fewest images; the lowest one that is still good enough keeps the most.": confidence[order][good[0]],
            "You stopped at the first failure; a single wrong label among the surest is no reason to stop. Look at all thresholds.": until,
            "That is the share itself, not the confidence at which it is reached.": share[good[-1]],
            "That is how many labels are kept; the threshold is a confidence.": float(good[-1] + 1),
            "The images are not sorted by falling confidence: of those *at or above* the threshold the share must be right.": _unsorted(confidence, right, wanted),
            "You took the confidence for the share of right answers. It is only that where the network is calibrated: count the right ones.": _trusting(
                confidence, wanted
            ),
        },
        tolerance=1e-6,
    )


def _unsorted(confidence, right, wanted):
    share = right.double().cumsum(dim=0) / torch.arange(1, len(right) + 1)
    good = (share >= wanted).nonzero().flatten()
    return confidence[good[-1]] if len(good) else torch.tensor(float("nan"))


def _trusting(confidence, wanted):
    falling = confidence.sort(descending=True).values
    mean = falling.cumsum(dim=0) / torch.arange(1, len(falling) + 1)
    good = (mean >= wanted).nonzero().flatten()
    return falling[good[-1]]
