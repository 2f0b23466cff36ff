"""Checks for the exercises of lesson 01."""

import math

import torch
import torch.nn.functional as F

from kdcourse.checks.compare import compare

THREE_DECIMALS = 6e-4  # an answer worked on paper


def worked_example(soft_part, hard_part, total) -> bool:
    """Exercise 1: student (2, 0), teacher (4, 0), label 0, T = 2, α = 0.9."""
    p, q = 1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(-1.0))  # teacher and student at T = 2
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    backwards = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
    cross_entropy = -p * math.log(q) - (1 - p) * math.log(1 - q)
    hard = math.log(1 + math.exp(-2.0))
    soft = 4 * divergence
    print("soft part:", end=" ")
    first = compare(
        soft_part,
        soft,
        {
            "T² = 4 is missing.": divergence,
            "That is KL(student‖teacher): the teacher's probabilities weigh the sum.": 4 * backwards,
            "T² = 4 is missing, and the roles are swapped.": backwards,
            "That averages over the two classes; the sum is meant.": soft / 2,
            "That is the cross-entropy with the teacher. The divergence is smaller by the teacher's own entropy.": 4
            * cross_entropy,
            "That is T = 1 throughout: divide the logits by T = 2 first.": _divergence(4.0, 2.0),
            "The part itself is asked for; α comes in with the total.": 0.9 * soft,
        },
        THREE_DECIMALS,
    )
    print("hard part:", end=" ")
    second = compare(
        hard_part,
        hard,
        {
            "The hard part is at T = 1: use the logits as they are.": math.log(1 + math.exp(-1.0)),
            "That is the cross-entropy of the teacher; the student's logits are (2, 0).": math.log(1 + math.exp(-4.0)),
            "That is the probability; the loss is minus its logarithm.": 1 / (1 + math.exp(-2.0)),
            "The part itself is asked for; 1 - α comes in with the total.": 0.1 * hard,
        },
        THREE_DECIMALS,
    )
    print("total:    ", end=" ")
    third = compare(
        total,
        0.9 * soft + 0.1 * hard,
        {
            "α weighs the soft part, 1 - α the hard part.": 0.1 * soft + 0.9 * hard,
            "Both parts have to be weighed.": soft + hard,
            "T² = 4 is missing in the soft part.": 0.9 * divergence + 0.1 * hard,
        },
        THREE_DECIMALS,
    )
    return first and second and third


def _divergence(teacher: float, student: float) -> float:
    p, q = torch.sigmoid(torch.tensor([teacher, student], dtype=torch.float64)).tolist()
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def _example():
    generator = torch.Generator().manual_seed(7)
    return 4 * torch.randn(40, 5, generator=generator), torch.arange(40) % 5 % 4 + (torch.arange(40) % 8 == 7).long()


def class_similarity(function) -> bool:
    """Exercise 2: the mean softened probabilities of each class."""
    logits, labels = _example()
    temperature = 4.0

    def mean(values, by=labels):
        return torch.stack([values[by == c].mean(dim=0) for c in range(5)])

    soft = F.softmax(logits / temperature, dim=1)
    return compare(
        lambda: function(logits, labels, temperature),
        mean(soft),
        {
            "Rows and columns have changed places: row c belongs to the images with label c.": mean(soft).T,
            "Those are sums; divide each row by the number of its images.": torch.stack(
                [soft[labels == c].sum(dim=0) for c in range(5)]
            ),
            "The temperature is missing: divide the logits by it before the softmax.": mean(F.softmax(logits, dim=1)),
            "Average the probabilities, not the logits: the softmax of a mean is not the mean of softmaxes.": F.softmax(
                mean(logits) / temperature, dim=1
            ),
            "The softmax ran over the images (dim=0); each image's probabilities run over the classes, dim=1.": mean(
                F.softmax(logits / temperature, dim=0)
            ),
            "Group by the labels, not by what the teacher answers.": mean(soft, logits.argmax(dim=1)),
        },
    )


def permute_non_targets(function) -> bool:
    """Exercise 3: the control that keeps first choice and entropy. Any right permutation is accepted."""
    logits, _ = _example()
    result = []

    def answer():
        found = function(logits.clone(), torch.Generator().manual_seed(0))
        if not isinstance(found, torch.Tensor) or found.shape != logits.shape:
            return found
        result.append(found)
        return found.sort(dim=1).values

    if not _quiet(answer, logits):
        return compare(answer, logits.sort(dim=1).values, {})
    return _properties(result[-1], logits)


def _quiet(answer, logits) -> bool:
    """Whether the rows hold the same values as before, in any order."""
    try:
        found = answer()
    except Exception:
        return False
    return (
        isinstance(found, torch.Tensor)
        and found.shape == logits.shape
        and torch.equal(found, logits.sort(dim=1).values)
    )


def _properties(found, logits) -> bool:
    rows, top = torch.arange(len(logits)), logits.argmax(dim=1)
    moved = (found != logits).any(dim=1).float().mean().item()
    if not torch.equal(found[rows, top], logits[rows, top]):
        print("✗ Not yet. The largest logit has moved in some rows: the first choice must stay.")
    elif moved == 0:
        print("✗ Not yet. Nothing has moved: the other logits are still where they were.")
    elif moved < 0.8:
        print(
            f"✗ Not yet. Only {moved:.0%} of the rows have changed; a permutation moves something in 23 of 24 rows of four."
        )
    elif _same_everywhere(found, logits, top):
        print(
            "✗ Not yet. Every row got the same permutation. Then second choices still mean something, in another code: draw one for each row."
        )
    else:
        print("✓ Right: first choice and entropy stay, where the doubt points is gone.")
        return True
    return False


def _same_everywhere(found, logits, top) -> bool:
    """Whether rows with one top class were all permuted alike."""
    for label in top.unique():
        rows = (top == label).nonzero().flatten()
        sources = {tuple(int((logits[row] == value).nonzero()[0]) for value in found[row]) for row in rows}
        if len(rows) > 2 and len(sources) > 1:
            return False
    return True
