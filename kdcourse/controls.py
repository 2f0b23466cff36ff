"""Negative controls: teacher outputs with one kind of knowledge removed, everything else kept."""

import torch

from kdcourse.models import stream


def shuffle_within_class(logits: torch.Tensor, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Give every example the teacher's logits `[N,K]` of another example with the same label `[N]`.

    What remains is what the teacher knows of classes; what it knew of this image is gone.
    """
    generator, shuffled = stream(seed, "control/shuffle"), logits.clone()
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        shuffled[rows] = logits[rows[torch.randperm(len(rows), generator=generator)]]
    return shuffled


def permute_non_targets(logits: torch.Tensor, seed: int) -> torch.Tensor:
    """Permute all but the largest logit within each row of `[N,K]`: same entropy, same first choice, other second choices."""
    generator = stream(seed, "control/permute")
    top = logits.argmax(dim=1, keepdim=True)
    keys = torch.rand(logits.shape, generator=generator).scatter(1, top, -1.0)
    drawn = logits.gather(1, keys.argsort(dim=1))[:, 1:]  # the first column is the top class, put aside
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, top, False)
    return logits.masked_scatter(others, drawn)


def smooth_to_same_entropy(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Label smoothing with each example's own entropy: logits whose softmax at `temperature` has the same top class and the same entropy as
    the teacher's `[N,K]`, and is uniform over the other classes."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; expected a positive number")
    classes = logits.shape[1]
    log_p = torch.log_softmax(logits.double() / temperature, dim=1)
    wanted = -(log_p.exp() * log_p).sum(dim=1)
    low, high = torch.full_like(wanted, 1 / classes), torch.ones_like(wanted)
    for _ in range(60):  # the entropy falls steadily from log K at p = 1/K to 0 at p = 1
        p = (low + high) / 2
        entropy = -torch.xlogy(p, p) - torch.xlogy(1 - p, (1 - p) / (classes - 1))
        low, high = torch.where(entropy > wanted, p, low), torch.where(entropy > wanted, high, p)
    p = ((low + high) / 2).clamp(max=1 - 1e-12)[:, None]
    smoothed = (
        ((1 - p) / (classes - 1)).log().expand(-1, classes).scatter(1, logits.argmax(dim=1, keepdim=True), p.log())
    )
    return (smoothed * temperature).to(logits.dtype)
