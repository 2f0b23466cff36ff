"""Checks of lesson 11, distillation without data."""

import torch
import torch.nn.functional as F

from kdcourse.checks.compare import compare


def balance(function) -> bool:
    """Exercise 1: minus the entropy of the teacher's mean answer to a batch, for logits [N, K]."""
    logits = 3 * torch.randn(12, 5, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    p = F.softmax(logits, dim=1)

    def entropy(q):
        return -(q * q.log()).sum(dim=-1)

    right = -entropy(p.mean(dim=0))
    return compare(
        lambda: function(logits.clone()),
        right,
        {
            "The sign: a generator that minimises the entropy of the mean answer makes one class only.": -right,
            "That is minus the mean of each answer's own entropy: minimising it makes images that the teacher cannot place. Average the answers first.": -entropy(p).mean(),
            "That is the mean of each answer's own entropy: minimising it makes the teacher sure of every image, also if all are of one class. Average the answers first.": entropy(p).mean(),
            "Average the answers, not the logits: one image with large logits would outvote the batch.": -entropy(F.softmax(logits.mean(dim=0), dim=0)),
            "The logarithm is the natural one, not that to base 2.": right / torch.tensor(2.0).double().log(),
            "That is the mean of p·log p over the classes; the entropy is their sum.": right / logits.shape[1],
            "That is the entropy of the first choices' shares. It has no gradient: use the probabilities.": -entropy(
                F.one_hot(logits.argmax(dim=1), 5).double().mean(dim=0).clamp_min(1e-300)
            ),
        },
    )


def norm_distance(function) -> bool:
    """Exercise 2: how far a batch of activations [N, C, H, W] is from a batch-norm layer's record, ‖μ − μ̂‖ + ‖σ² − σ̂²‖."""
    generator = torch.Generator().manual_seed(12)
    values = 2 * torch.randn(3, 4, 2, 3, generator=generator, dtype=torch.float64) + 1
    mean, variance = torch.randn(4, generator=generator).double(), 1 + torch.rand(4, generator=generator).double()
    own_mean, own_variance = values.mean(dim=(0, 2, 3)), values.var(dim=(0, 2, 3), unbiased=False)

    def lengths(first, second):
        return first.norm() + second.norm()

    right = lengths(own_mean - mean, own_variance - variance)
    by_place = values.mean(dim=0) - mean[:, None, None], values.var(dim=0, unbiased=False) - variance[:, None, None]
    by_image = values.mean(dim=(2, 3)) - mean, values.var(dim=(2, 3), unbiased=False) - variance
    return compare(
        lambda: function(values.clone(), mean.clone(), variance.clone()),
        right,
        {
            "That divides by n − 1. Batch norm divides by n when it normalises a batch: unbiased=False.": lengths(own_mean - mean, values.var(dim=(0, 2, 3)) - variance),
            "That compares a standard deviation with a variance.": lengths(own_mean - mean, own_variance.sqrt() - variance),
            "One mean for each place: batch norm has one for each channel, over images *and* places, dim=(0, 2, 3).": lengths(*by_place),
            "One mean for each image: batch norm has one for each channel, over images *and* places, dim=(0, 2, 3).": lengths(*by_image),
            "Those are squared lengths: take the norm.": (own_mean - mean).pow(2).sum() + (own_variance - variance).pow(2).sum(),
            "The variance is missing: a batch of one grey can have the right mean.": (own_mean - mean).norm(),
            "The mean is missing.": (own_variance - variance).norm(),
            "Those are sums of absolute differences; the lengths of the two vectors are meant.": (own_mean - mean).abs().sum() + (own_variance - variance).abs().sum(),
        },
    )


def forgotten_one(function) -> bool:
    """Exercise 3: the activations of the one who left, from the mean of n and the mean of the n − 1 others, [D]."""
    people = torch.randn(7, 6, generator=torch.Generator().manual_seed(13), dtype=torch.float64)
    before, after, n = people.mean(dim=0), people[:-1].mean(dim=0), len(people)
    return compare(
        lambda: function(before.clone(), after.clone(), n),
        people[-1],
        {
            "That is the difference of the two means. Each mean has been divided by its own number: turn both into sums first.": before - after,
            "The sign: take the sum that is left from the sum before.": (n - 1) * after - n * before,
            "After the deletion the mean is over n − 1, not over n.": n * (before - after),
            "n counts everybody *before* the deletion: the later mean is over n − 1.": (n + 1) * before - n * after,
            "That divides the difference; multiply each mean by its number instead.": (before - after) / n,
        },
    )
