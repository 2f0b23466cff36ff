"""Checks for the exercises of lesson 05."""

import math

import torch

from kdcourse.checks.compare import compare

THREE_DECIMALS = 6e-4  # an answer worked on paper


def smoothed_optimum(target, gap) -> bool:
    """Exercise 1: K = 4 classes, label 1, ε = 0.2: the target, and the gap of the logits that fit it exactly."""
    share = 0.2 / 4
    right = torch.full((4,), share)
    right[1] += 0.8
    spread_over_others = torch.full((4,), 0.2 / 3)
    spread_over_others[1] = 0.8
    print("target:", end=" ")
    first = compare(
        target,
        right,
        {
            "ε is spread over all four classes, the label's own included (Szegedy et al. 2016).": spread_over_others,
            "The share of the label itself is missing: it keeps 1 - ε and gets ε/4 back.": torch.tensor(
                [share, 0.8, share, share]
            ),
            "Classes count from 0: the label is class 1, the second entry.": right.roll(-1),
            "Each of the others gets ε/4, not ε.": torch.tensor([0.2, 0.8, 0.2, 0.2]),
        },
        THREE_DECIMALS,
    )
    print("gap:   ", end=" ")
    second = compare(
        gap,
        math.log(0.85 / share),
        {
            "That is the ratio of the probabilities; a difference of logits is its logarithm.": 0.85 / share,
            "That uses 1 - ε for the label and ε/3 for the others; smoothing spreads ε over all classes.": math.log(
                0.8 / (0.2 / 3)
            ),
            "The label's probability is 1 - ε + ε/4.": math.log(0.8 / share),
            "The sign: the label's logit is the larger one.": -math.log(0.85 / share),
            "That is the logarithm to base 10; the softmax uses e.": math.log10(0.85 / share),
            "That is the logarithm of the label's probability alone; the softmax fixes differences of logits.": math.log(
                0.85
            ),
        },
        THREE_DECIMALS,
    )
    return first and second


def _example():
    generator = torch.Generator().manual_seed(5)
    labels = torch.tensor([0] * 6 + [1] * 12 + [2] * 22)
    centres = 3 * torch.randn(3, 7, generator=generator)
    return centres[labels] + torch.randn(40, 7, generator=generator), labels


def spread_ratio(function) -> bool:
    """Exercise 2: within-class over between-class variance."""
    activations, labels = _example()
    means = torch.stack([activations[labels == c].mean(dim=0) for c in range(3)])
    grand = activations.mean(dim=0)

    def squared(differences):
        return differences.pow(2).sum(dim=1).mean()

    within, between = squared(activations - means[labels]), squared(means[labels] - grand)
    return compare(
        lambda: function(activations, labels),
        within / between,
        {
            "Upside down: within-class belongs on top, so that 0 means collapsed.": between / within,
            "That divides by the total variance; divide by the part between the classes.": within / (within + between),
            "Those are ratios of distances; variances are squared distances.": (within / between).sqrt(),
            "Square the distances before you average them.": (activations - means[labels]).norm(dim=1).mean()
            / (means[labels] - grand).norm(dim=1).mean(),
            "Between: average over the images, so that a class counts as often as it occurs.": within
            / squared(means - grand),
            "Between: the distance to the mean of all images, not to the mean of the class means.": within
            / squared(means[labels] - means.mean(dim=0)),
            "Between: measure from the mean of all images, not from zero.": within / squared(means[labels]),
        },
    )


def template_plane(function) -> bool:
    """Exercise 3: the projection on the plane of three templates; any orthonormal basis, any origin."""
    activations, _ = _example()
    templates = torch.randn(3, 7, generator=torch.Generator().manual_seed(6))
    edges = (templates[:2] - templates[2]).T
    basis, _ = torch.linalg.qr(edges)

    expected = activations @ basis
    expected = expected - expected.mean(dim=0)

    def turned(points):
        """Shifted and turned (or mirrored) to lie as close to the expected points as it can: Procrustes."""
        if not isinstance(points, torch.Tensor) or points.shape != expected.shape:
            return points
        points = points - points.mean(dim=0)
        left, _, right = torch.linalg.svd(points.T @ expected)
        return points @ left @ right

    two = torch.linalg.qr(templates[:2].T)[0]
    return compare(
        lambda: turned(function(activations, templates)),
        expected,
        {
            "The two edges are neither orthogonal nor of length 1; take the Q of their QR decomposition.": turned(
                activations @ edges
            ),
            "The edges have length 1 but are not orthogonal; QR does both.": turned(
                activations @ (edges / edges.norm(dim=0))
            ),
            "That plane goes through two templates and the origin; the one through all three is spanned by w1 - w3 and w2 - w3.": turned(
                activations @ two
            ),
        },
        1e-4,
    )


def seeds_needed(needed, floor) -> bool:
    """Exercise 4: gap 17, seeds spread by 25, test images by 4, interval plus power = 2.8 standard errors."""
    seeds, examples, gap, reach = 25.0, 4.0, 17.0, 2.8
    print("seeds:", end=" ")
    exact = seeds**2 / ((gap / reach) ** 2 - examples**2)
    first = compare(
        needed,
        math.ceil(exact),
        {
            "That leaves out the test images, whose share does not shrink with more seeds.": math.ceil(
                (reach * seeds / gap) ** 2
            ),
            "Rounded down, the power is not reached: round up.": math.floor(exact),
            "That is 1.96 + 0.84 with more digits; take exactly 2.8 here.": math.ceil(
                seeds**2 / ((gap / 2.8016) ** 2 - examples**2)
            ),
            "Rounding comes last: seeds are whole, so round up.": exact,
            "That puts both spreads under the root of n; only the seeds average out.": math.ceil(
                (seeds**2 + examples**2) * (reach / gap) ** 2
            ),
            "1.96 alone would see the gap in every second study; 2.8 asks for four of five.": math.ceil(
                seeds**2 / ((gap / 1.96) ** 2 - examples**2)
            ),
        },
        1e-6,
    )
    print("floor:", end=" ")
    second = compare(
        floor,
        reach * examples,
        {
            "That is one standard error; 2.8 of them are needed.": examples,
            "1.96 makes an interval that excludes zero in every second study; 2.8 asks for four of five.": 1.96
            * examples,
            "With endless seeds their part is gone; only the test images remain.": reach
            * math.sqrt(seeds**2 + examples**2),
            "That is the part of one seed; with endless seeds only the test images remain.": reach * seeds,
        },
        THREE_DECIMALS,
    )
    return first and second
