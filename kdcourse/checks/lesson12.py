"""Checks of lesson 12, dataset distillation."""

import torch
import torch.nn.functional as F

from kdcourse.checks.compare import compare


def _numbers(*shape, seed: int):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def through_the_step(function) -> bool:
    """Exercise 1: the gradient with respect to synthetic images, through one step of gradient descent, [M, D]."""
    images, weights, real = _numbers(3, 4, seed=1), _numbers(4, 3, seed=2), _numbers(8, 4, seed=3)
    labels, truth, rate = torch.arange(3), torch.arange(8) % 3, 0.7

    def inner(weights, images):
        return F.cross_entropy(images @ weights, labels)

    def outer(weights):
        return F.cross_entropy(real @ weights, truth)

    def slope(after):
        x, w = images.clone().requires_grad_(), weights.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(inner(w, x), w, create_graph=True)
        return torch.autograd.grad(outer(after(w, gradient)), x)[0]

    right = slope(lambda w, g: w - rate * g)
    x = images.clone().requires_grad_()
    direct = torch.autograd.grad(inner(weights, x), x)[0]
    return compare(
        lambda: function(images.clone(), weights.clone(), rate, inner, outer),
        right,
        {
            "The step goes uphill: gradient descent subtracts.": slope(lambda w, g: w + rate * g),
            "The step size is missing from the step.": slope(lambda w, g: w - g),
            "That is the gradient of the new weights, or of a step from 0: the old weights belong to the step.": slope(lambda w, g: -rate * g),
            "That is how the images would change to lower their own loss; the loss on real images after the step is asked for.": direct,
            "The sign is turned: return the gradient itself, the optimiser subtracts it.": -right,
        },
    )


def gradient_distance(function) -> bool:
    """Exercise 2: how far two weight gradients [out, fan_in] of one layer point apart."""
    found, wanted = _numbers(5, 7, seed=4), _numbers(5, 7, seed=5) + 0.5 * _numbers(5, 7, seed=4)
    cosine = F.cosine_similarity(found, wanted, dim=1)
    whole = F.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
    return compare(
        lambda: function(found.clone(), wanted.clone()),
        (1 - cosine).sum(),
        {
            "That is the sum of the cosines, largest where the gradients agree; a distance is 0 there.": cosine.sum(),
            "That is the mean over output channels; the paper adds them up, so that wide layers weigh more.": (1 - cosine).mean(),
            "One cosine for the whole matrix: a single large row then hides all others. One for each output channel is asked for.": 1 - whole,
            "The other dimension: rows belong to output channels, one cosine for each row.": (
                1 - F.cosine_similarity(found, wanted, dim=0)
            ).sum(),
            "That is the squared distance. It also asks for the same length, and images far from real ones cannot give that.": (
                (found - wanted) ** 2
            ).sum(),
            "That is the scalar product without the lengths: divide by both norms.": (1 - (found * wanted).sum(dim=1)).sum(),
        },
    )


def kernel_ridge(function) -> bool:
    """Exercise 3: what kernel ridge regression from a few labelled points answers for others, [Q, K]."""
    support, query = _numbers(4, 6, seed=6), _numbers(5, 6, seed=7)
    labels = F.one_hot(torch.tensor([0, 1, 2, 0]), 3).double()
    ridge, identity = 0.5, torch.eye(4, dtype=torch.float64)
    own, across = support @ support.T, query @ support.T
    return compare(
        lambda: function(query.clone(), support.clone(), labels.clone(), ridge),
        across @ torch.linalg.solve(own + ridge * identity, labels),
        {
            "The ridge is missing: without it the regression passes through every label, noise included.": across @ torch.linalg.solve(own, labels),
            "The ridge belongs on the diagonal only (ridge · identity); adding a number to the whole matrix is another regression.": across
            @ torch.linalg.solve(own + ridge, labels),
            "The inverse is missing: that weighs each label by similarity, and two points that are alike count twice.": across @ labels,
            "That is a weighted mean of the labels (a kernel smoother), not a regression.": across @ labels / across.sum(dim=1, keepdim=True),
            "Multiplied by the matrix where its inverse is needed.": across @ (own + ridge * identity) @ labels,
        },
    )
