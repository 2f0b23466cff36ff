"""Lesson 12's exercise checks."""

import pytest
import torch
from answers import hinted, refuses_what_is_no_answer

from kdcourse.checks import lesson12

CHECKS = [lesson12.through_the_step, lesson12.gradient_distance, lesson12.kernel_ridge]


@pytest.mark.parametrize("check", CHECKS)
def test_not_filled_in_or_broken(capsys, check):
    refuses_what_is_no_answer(capsys, check)


def stepper(after, sign=1):
    def gradient(images, weights, rate, inner, outer):
        images, weights = images.requires_grad_(), weights.requires_grad_()
        (g,) = torch.autograd.grad(inner(weights, images), weights, create_graph=True)
        return sign * torch.autograd.grad(outer(after(weights, g, rate)), images)[0]

    return gradient


def by_differences(images, weights, rate, inner, outer):
    """The same without any second derivative."""

    def value(x):
        w = weights.clone().requires_grad_()
        (g,) = torch.autograd.grad(inner(w, x), w)
        return float(outer(w.detach() - rate * g))

    slope = torch.zeros_like(images)
    for place in torch.cartesian_prod(*map(torch.arange, images.shape)):
        ends = []
        for sign in (1, -1):
            moved = images.clone()
            moved[tuple(place)] += sign * 1e-5
            ends.append(value(moved))
        slope[tuple(place)] = (ends[0] - ends[1]) / 2e-5
    return slope


def own_loss(images, weights, rate, inner, outer):
    images = images.requires_grad_()
    return torch.autograd.grad(inner(weights, images), images)[0]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (stepper(lambda w, g, rate: w + rate * g), "goes uphill"),
        (stepper(lambda w, g, rate: w - g), "step size is missing"),
        (stepper(lambda w, g, rate: -rate * g), "the old weights belong"),
        (stepper(lambda w, g, rate: w - rate * g, sign=-1), "The sign is turned"),
        (own_loss, "their own loss"),
    ],
)
def test_through_the_step(capsys, wrong, hint):
    assert lesson12.through_the_step(stepper(lambda w, g, rate: w - rate * g))
    assert lesson12.through_the_step(by_differences)
    hinted(capsys, lesson12.through_the_step, wrong, hint)


def test_a_step_that_lets_no_gradient_pass(capsys):
    hinted(capsys, lesson12.through_the_step, stepper(lambda w, g, rate: w - rate * g.detach()), "RuntimeError")


def distance(a, b):
    return sum(1 - a[k] @ b[k] / (a[k].norm() * b[k].norm()) for k in range(len(a)))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda a, b: len(a) - distance(a, b), "the sum of the cosines"),
        (lambda a, b: distance(a, b) / len(a), "the mean over output channels"),
        (lambda a, b: distance(a.flatten()[None], b.flatten()[None]), "One cosine for the whole matrix"),
        (lambda a, b: distance(a.T, b.T), "The other dimension"),
        (lambda a, b: (a - b).pow(2).sum(), "the squared distance"),
        (lambda a, b: (1 - (a * b).sum(1)).sum(), "without the lengths"),
    ],
)
def test_gradient_distance(capsys, wrong, hint):
    assert lesson12.gradient_distance(distance)
    hinted(capsys, lesson12.gradient_distance, wrong, hint)


def ridge_by_weights(query, support, labels, ridge):
    """The same regression with weights in feature space."""
    weights = torch.linalg.inv(support.T @ support + ridge * torch.eye(support.shape[1]).double()) @ support.T @ labels
    return query @ weights


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda q, s, y, r: q @ s.T @ torch.linalg.inv(s @ s.T) @ y, "The ridge is missing"),
        (lambda q, s, y, r: q @ s.T @ torch.linalg.inv(s @ s.T + r) @ y, "on the diagonal only"),
        (lambda q, s, y, r: q @ s.T @ y, "The inverse is missing"),
        (lambda q, s, y, r: (q @ s.T @ y) / (q @ s.T).sum(1, keepdim=True), "a weighted mean"),
        (lambda q, s, y, r: q @ s.T @ (s @ s.T + r * torch.eye(4)) @ y, "where its inverse is needed"),
    ],
)
def test_kernel_ridge(capsys, wrong, hint):
    assert lesson12.kernel_ridge(ridge_by_weights)
    assert lesson12.kernel_ridge(lambda q, s, y, r: q @ s.T @ torch.linalg.inv(s @ s.T + r * torch.eye(4)) @ y)
    hinted(capsys, lesson12.kernel_ridge, wrong, hint)
