"""Checks for the exercises of lesson 00."""

import math

import torch
import torch.nn.functional as F

from kdcourse import losses
from kdcourse.checks.compare import compare


def missing_factor(times_too_small) -> bool:
    """Exercise 1: by how much the soft gradients are too small at T = 20 without T²."""
    return compare(
        times_too_small,
        400.0,
        {
            "That is T. The gradient shrinks twice: once through z/T, and once because the two softened distributions move together.": 20.0,
            "That is the factor by which they are multiplied. The question asks how many times too small they are.": 1
            / 400,
            "That is 1/T, and the gradient shrinks twice.": 1 / 20,
        },
    )


def _colleague_cases():
    generator = torch.Generator().manual_seed(3)
    return 3 * torch.randn(16, 10, generator=generator), 5 * torch.randn(16, 10, generator=generator), 20.0


def repaired_loss(function) -> bool:
    """Exercise 2: the colleague's loss, repaired."""
    student, teacher, T = _colleague_cases()
    log_q, log_p = F.log_softmax(student / T, 1), F.log_softmax(teacher / T, 1)
    right = losses.soft_target_loss(student, teacher, T)
    swapped = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * T**2
    return compare(
        lambda: function(student, teacher, T),
        right,
        {
            "T² is missing: at T = 20 the soft part is 400 times too small beside any other loss.": right / T**2,
            "The default reduction averages over batch × classes. Sum over the classes: reduction='batchmean'.": right
            / 10,
            "Two mistakes are left: T² is missing, and the reduction averages over the classes too.": right / T**2 / 10,
            "Teacher and student have changed places: KL(student‖teacher). The input of kl_div is the student's log-probabilities.": swapped,
            "The teacher's probabilities went through the softmax twice: its logits go in, not probabilities.": F.kl_div(
                log_q, F.softmax(log_p.exp() / T, 1), reduction="batchmean"
            )
            * T**2,
            "The student's probabilities went in where kl_div wants log-probabilities.": F.kl_div(
                log_q.exp(), log_p.exp(), reduction="batchmean"
            )
            * T**2,
            "That is T, not T²: the loss is to be multiplied by the square.": right / T,
        },
    )


def paired_interval(function) -> bool:
    """Exercise 3: the 95 % interval of the mean of paired differences."""
    differences = torch.tensor([104.0, 97.0, 121.0, 88.0, 110.0], dtype=torch.float64)
    mean, n = differences.mean(), len(differences)
    spread = differences.std() / math.sqrt(n)
    t = 2.7764451051977987  # the 97.5 % quantile of Student's t with 4 degrees of freedom

    def ends(half):
        return torch.stack([mean - half, mean + half])

    def answer():
        found = function(differences.clone())
        return found if found is None or found is ... else torch.as_tensor([float(end) for end in found])

    population = differences.std(correction=0) / math.sqrt(n)
    return compare(
        answer,
        ends(t * spread),
        {
            "1.96 belongs to a known spread. With five seeds the spread is itself a guess: use Student's t with 4 degrees of freedom.": ends(
                1.959963984540054 * spread
            ),
            "That is one standard error each way, about a 63 % interval with five seeds. Multiply by the quantile of Student's t.": ends(
                spread
            ),
            "The mean of n values spreads less than one of them: divide by √n.": ends(t * spread * math.sqrt(n)),
            "The spread divides by n - 1, not n: the mean was estimated from the same values (correction=1).": ends(
                t * population
            ),
            "That is the 95 % quantile: with 5 % outside on both sides together, each side takes 2.5 %.": ends(
                2.13184678632665 * spread
            ),
        },
    )
