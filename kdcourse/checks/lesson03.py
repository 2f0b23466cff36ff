"""Checks for the exercises of lesson 03."""

import torch
import torch.nn.functional as F

from kdcourse.checks.compare import compare
from kdcourse.training import calibration_error


def _logits():
    generator = torch.Generator().manual_seed(3)
    return (5 * torch.randn(2, 12, 6, generator=generator, dtype=torch.float64)).unbind()


def divergence_gradient(function) -> bool:
    """Exercise 1: the gradient of the plain divergence with respect to the student's logits, [N, K]."""
    student, teacher = _logits()
    temperature, count = 5.0, len(student)
    q, p = F.softmax(student / temperature, dim=1), F.softmax(teacher / temperature, dim=1)
    right = (q - p) / (temperature * count)
    return compare(
        lambda: function(student.clone(), teacher.clone(), temperature),
        right,
        {
            "The sign: where the student's probability is too high, the loss falls when its logit falls, so the gradient is positive there.": -right,
            "The factor 1/T of the chain rule is missing: the loss sees z/T, you differentiate with respect to z.": temperature
            * right,
            "The batch mean is missing: divide by the number of images.": count * right,
            "Two factors are missing: 1/T from the chain rule and 1/N from the batch mean.": temperature
            * count
            * right,
            "That is the gradient with T² in front of the loss. The plain divergence is asked for: it is what shrinks.": temperature
            ** 2
            * right,
            "Divide the logits by T before the softmax, the teacher's and the student's.": (
                F.softmax(student, dim=1) - F.softmax(teacher, dim=1)
            )
            / (temperature * count),
            "That is 1/T²; the second factor 1/T is already in q - p, which shrinks by itself.": right / temperature,
        },
    )


def calibration(function) -> bool:
    """Exercise 2: expected calibration error over ten equally wide bins."""
    generator = torch.Generator().manual_seed(5)
    confidence = 0.1 + 0.899 * torch.rand(400, generator=generator, dtype=torch.float64)
    right = torch.rand(400, generator=generator, dtype=torch.float64) < confidence**2
    place = (confidence * 10).ceil().long()
    gaps, sizes, signed = [], [], []
    for b in place.unique():
        here = place == b
        signed.append(confidence[here].mean() - right[here].double().mean())
        gaps.append(signed[-1].abs())
        sizes.append(here.sum())
    gaps, signed, weights = torch.stack(gaps), torch.stack(signed), torch.stack(sizes) / 400
    return compare(
        lambda: function(confidence.clone(), right.clone(), 10),
        calibration_error(confidence, right, 10),
        {
            "That is the plain mean of the bins' gaps; weigh each bin by its share of the examples.": gaps.mean(),
            "The gaps cancel: take each bin's absolute value before you add them up.": (weights * signed).sum(),
            "The gaps cancel, with the sign turned: take each bin's absolute value before you add them up.": -(
                weights * signed
            ).sum(),
            "That is the largest gap (the maximum calibration error); the weighted mean is asked for.": gaps.max(),
            "That is the mean of |confidence - right| over single examples: average within the bin first.": (
                confidence - right.double()
            )
            .abs()
            .mean(),
            "The sum over bins is there, the weights are not.": gaps.sum(),
            "Squared gaps: the absolute value is meant.": (weights * gaps**2).sum(),
        },
    )


# Errors of four seeds (rows) at six temperatures. One lucky run, the third seed's, points elsewhere than the means.
_VALIDATION = [
    [300, 268, 254, 262, 259, 331],
    [309, 251, 257, 259, 268, 340],
    [298, 272, 256, 231, 275, 322],
    [305, 266, 250, 284, 270, 335],
]
_TEST = [
    [322, 281, 283, 279, 268, 352],
    [318, 290, 276, 284, 271, 347],
    [327, 279, 281, 285, 274, 361],
    [315, 288, 277, 291, 270, 343],
]


def choose_temperature(function) -> bool:
    """Exercise 3: which temperature, and the number that may be reported with it."""
    validation, test = torch.tensor(_VALIDATION).double(), torch.tensor(_TEST).double()
    best = int(validation.mean(dim=0).argmin())
    rows = torch.arange(len(test))

    def pair(index, value):
        return torch.tensor([float(index), float(value)], dtype=torch.float64)

    def answer():
        found = function(validation.clone(), test.clone())
        if not isinstance(found, tuple | list) or len(found) != 2 or any(part is ... or part is None for part in found):
            return found
        return torch.stack([torch.as_tensor(part).double() for part in found])

    chosen_on_test = int(test.mean(dim=0).argmin())
    single = int(validation.min(dim=0).values.argmin())
    return compare(
        answer,
        pair(best, test[:, best].mean()),
        {
            "Chosen on the test set: the winner of many is partly luck, and the luck is in the number you report.": pair(
                chosen_on_test, test[:, chosen_on_test].mean()
            ),
            "The choice is right; the validation errors at the choice are optimistic, as the choice was made on them. Report the test errors.": pair(
                best, validation[:, best].mean()
            ),
            "One lucky run chose it: average over the seeds before you look for the smallest.": pair(
                single, test[:, single].mean()
            ),
            "The choice is right; report the mean over the seeds, not the best of them.": pair(
                best, test[:, best].min()
            ),
            "The best temperature of each seed is another method, one that nobody can use with a new seed.": pair(
                best, test.min(dim=1).values.mean()
            ),
            "That picks a temperature for each seed by its own validation errors; one for all is asked for.": pair(
                best, test[rows, validation.argmin(dim=1)].mean()
            ),
        },
        tolerance=1e-4,
    )
