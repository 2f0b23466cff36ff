"""Checks for the exercises of lesson 04."""

import torch

from kdcourse.checks.compare import compare


def _centred(values, dim: int = 1):
    return values - values.mean(dim=dim, keepdim=True)


def targets_from_rounded(function) -> bool:
    """Exercise 1: rounded probabilities → centred logits; zeros count as half a unit of the last digit."""
    rounded = torch.tensor(
        [[0.981, 0.019, 0.0, 0.0], [0.5, 0.25, 0.249, 0.001], [1.0, 0.0, 0.0, 0.0], [0.334, 0.666, 0.0, 0.0]],
        dtype=torch.float64,
    )
    digits, unit = 3, 1e-3

    def filled(smallest):
        return torch.where(rounded == 0, smallest, rounded)

    right = _centred(filled(unit / 2).log())
    odds = filled(unit / 2)
    return compare(
        lambda: function(rounded.clone(), digits),
        right,
        {
            "Not centred: subtract each image's mean over the classes.": filled(unit / 2).log(),
            "That is a whole unit of the last digit; whatever is rounded to zero lies below half a unit.": _centred(
                filled(unit).log()
            ),
            "`10**-digits / 2` is meant; that is half of ten units.": _centred(filled(5 * unit).log()),
            "A tiny number instead of a zero claims a certainty that nobody measured: half a unit of the last digit is meant.": _centred(
                filled(1e-12).log()
            ),
            "The natural logarithm is meant; that is another base.": right / torch.tensor(10.0).log(),
            "That is base 2; the natural logarithm is meant.": right / torch.tensor(2.0).log(),
            "Only zeros are filled; the other probabilities stay as they are.": _centred((rounded + unit / 2).log()),
            "The mean is taken over the images (dim=0); each image has its own, dim=1.": _centred(
                filled(unit / 2).log(), 0
            ),
            "log p is enough; log(p / (1 - p)) inverts the sigmoid, not the softmax.": _centred(
                (odds / (1 - odds).clamp_min(1e-12)).log()
            ),
            "Take the logarithm first and its mean then; that is the logarithm with the mean probability subtracted.": filled(
                unit / 2
            ).log()
            - filled(unit / 2).mean(dim=1, keepdim=True).log(),
            "Infinity is no target: the zeros have not been filled.": rounded.log(),
        },
    )


def steadfast_loss(function) -> bool:
    """Exercise 2: logit matching that no constant per image can change."""
    generator = torch.Generator().manual_seed(4)
    student, teacher = (4 * torch.randn(2, 12, 5, generator=generator, dtype=torch.float64)).unbind()
    teacher = teacher + 10 * torch.randn(12, 1, generator=generator, dtype=torch.float64)
    student = student + 3.0
    right = (_centred(student) - _centred(teacher)).pow(2)

    def mse(a, b):
        return (a - b).pow(2).mean()

    def standard(values):
        return _centred(values) / values.std(dim=1, keepdim=True)

    return compare(
        lambda: function(student.clone(), teacher.clone()),
        right.mean(),
        {
            "That is plain logit matching: a constant added to one side changes it.": mse(student, teacher),
            "Only the teacher is centred; a constant in the student's logits still changes the loss.": mse(
                student, _centred(teacher)
            ),
            "Only the student is centred; a constant in the teacher's logits still changes the loss.": mse(
                _centred(student), teacher
            ),
            "Each image has a constant of its own: centre over the classes (dim=1), not over the images.": mse(
                _centred(student, 0), _centred(teacher, 0)
            ),
            "One mean of the whole batch was subtracted; each image has a constant of its own.": mse(
                student - student.mean(), teacher - teacher.mean()
            ),
            "Subtracting the largest logit makes a loss that no constant changes, but another one: subtract the mean.": mse(
                student - student.amax(1, keepdim=True), teacher - teacher.amax(1, keepdim=True)
            ),
            "The logarithm of the softmax also removes constants, but it is another loss: subtract the mean.": mse(
                student.log_softmax(1), teacher.log_softmax(1)
            ),
            "That compares probabilities: see the gradients above.": mse(student.softmax(1), teacher.softmax(1)),
            "Dividing by the spread as well takes away how sure the teacher is.": mse(
                standard(student), standard(teacher)
            ),
            "That sums over the classes; their mean is asked for.": right.sum(dim=1).mean(),
            "That divides by K - 1, as `var` does unless told otherwise; the mean over the K classes is asked for.": right.sum(
                dim=1
            ).mean()
            / (right.shape[1] - 1),
            "That is half of it: the factor of two belongs to the limit of T²·KL.": right.mean() / 2,
        },
    )


def same_weight(weight) -> bool:
    """Exercise 3: what replaces 0.9 when T²·KL at very high T becomes logit matching on centred logits."""
    return compare(
        weight,
        0.45,
        {
            "T²·KL tends to half the centred mean squared error, so the two gradients differ by a factor.": 0.9,
            "The other way round: T²·KL is the smaller of the two, so its weight shrinks when it is replaced.": 1.8,
            "That is the factor alone; it multiplies 0.9.": 0.5,
            "The classes are averaged over already, in the limit as in `logit_matching_loss`: no factor of ten.": 0.045,
            "No factor of ten: both are means over the classes.": 0.09,
            "The labels' part keeps its 0.1; the two weights need not add up to one.": 0.55,
        },
    )
