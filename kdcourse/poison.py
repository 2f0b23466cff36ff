"""Distilled images that turn one class into another in a single training step, and the screens that see them (Wang et al. 2018; lesson 13).

A crowd is many networks of one architecture: a dict of their weights, each tensor with a leading dimension for the network, `[S, …]`.
Everything here happens on the course's own toy networks, to show the attack and to screen for it.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, grad, vmap

from kdcourse import lesson
from kdcourse.data import Split, to_float
from kdcourse.models import stream

# ---- victims ----------------------------------------------------------------------------------------------------------


def crowd_logits(network: nn.Module, crowd: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Every network's logits for the same images `[N,C,H,W]`: `[S,N,K]`."""
    return vmap(lambda weights: functional_call(network, weights, (images,)))(crowd)


def train_crowd(make, split: Split, seeds, *, epochs: int, batch_size: int, learning_rate: float) -> dict[str, torch.Tensor]:
    """Networks `make(seed)` trained side by side, each from its own initial weights and in its own order of batches; returns their weights.

    AdamW, one-cycle, float32. The networks must be free of batch statistics and dropout. Raises ValueError without seeds.
    """
    if not len(seeds):
        raise ValueError("a crowd needs at least one seed")
    device, networks = lesson.device(), [make(seed) for seed in seeds]
    crowd = {name: torch.stack([dict(n.named_parameters())[name].detach() for n in networks]).to(device).requires_grad_() for name, _ in networks[0].named_parameters()}
    pixels, labels, network = split.images.to(device), split.labels.to(device), networks[0].to(device)
    steps = epochs * (len(split) // batch_size)
    optimiser = torch.optim.AdamW(crowd.values(), lr=learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=max(steps, 2))
    answers = vmap(lambda weights, images: functional_call(network, weights, (images,)))
    streams = [stream(seed, "order") for seed in seeds]
    for _ in range(epochs):
        orders = torch.stack([torch.randperm(len(split), generator=generator) for generator in streams]).to(device)
        for index in orders[:, : len(split) // batch_size * batch_size].split(batch_size, dim=1):
            logits = answers(crowd, to_float(pixels[index.flatten()]).unflatten(0, index.shape))
            loss = F.cross_entropy(logits.flatten(0, 1), labels[index.flatten()]) * len(seeds)  # the sum of the networks' own losses
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return {name: weights.detach() for name, weights in crowd.items()}


# ---- the attack -------------------------------------------------------------------------------------------------------


def relabelled(labels: torch.Tensor, attacked: int, target: int) -> torch.Tensor:
    """The labels `[N]` an attacker wants: `attacked` becomes `target`, all others stay."""
    return torch.where(labels == attacked, target, labels)


def step(network: nn.Module, crowd: dict[str, torch.Tensor], images, labels, rate: float, create_graph: bool = False) -> dict[str, torch.Tensor]:
    """Every network's weights after one step of gradient descent on all of `images [M,C,H,W]` with `labels [M]`.

    Differentiable in the images with create_graph. For one network it is `unrolled.unroll` with one rate.
    """
    weights = {name: w.detach().requires_grad_() for name, w in crowd.items()}
    logits = crowd_logits(network, weights, images)
    loss = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits))) * len(logits)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph)
    moved = {name: w - rate * g for (name, w), g in zip(weights.items(), gradients)}
    return moved if create_graph else {name: w.detach() for name, w in moved.items()}


def gradient_norms(network: nn.Module, crowd: dict[str, torch.Tensor], images, labels) -> torch.Tensor:
    """The length of the gradient that each example alone would give each network: `[S,N]`, differentiable in the images."""

    def loss(weights, image, label):
        return F.cross_entropy(functional_call(network, weights, (image[None],)), label[None])

    def norm(weights, image, label):
        return torch.sqrt(sum((g**2).sum() for g in grad(loss)(weights, image, label).values()) + 1e-12)

    return vmap(vmap(norm, (None, 0, 0)), (0, None, None))(crowd, images, labels)


def losses(network: nn.Module, crowd: dict[str, torch.Tensor], images, labels) -> torch.Tensor:
    """Each network's cross-entropy for each example: `[S,N]`."""
    logits = crowd_logits(network, crowd, images)
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none").view(len(logits), -1)


def craft(
    network: nn.Module,
    crowd: dict[str, torch.Tensor],
    start: Split,
    real: Split,
    *,
    attacked: int,
    target: int,
    rate: float,
    steps: int,
    learning_rate: float,
    seed: int,
    batch: int = 256,
    draw: int = 8,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    quiet: float | None = None,
    weight: float = 1.0,
) -> tuple[Split, list[float]]:
    """Change the images of `start`, labels fixed, until one step on them makes the crowd's networks call `attacked` `target` and nothing else differently.

    draw: networks a step (all of a smaller crowd). bounds: the range of pixels. quiet: a per-example gradient norm that the attacker tries not to exceed, with `weight`
    on the excess. Returns (images, losses of the steps). Adam with a cosine schedule. Raises FloatingPointError when the loss stops being finite.
    """
    device, members = lesson.device(), len(next(iter(crowd.values())))
    images, labels = to_float(start.images).to(device).clone().requires_grad_(), start.labels.to(device)
    wanted, pixels = relabelled(real.labels, attacked, target).to(device), real.images.to(device)
    # Half of the batch are images of the attacked class, so that its change weighs as much as the stay of the others.
    inside, outside = (real.labels == attacked).nonzero().flatten(), (real.labels != attacked).nonzero().flatten()
    optimiser = torch.optim.Adam([images], lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator, record = stream(seed, "poison"), []
    for at in range(steps):
        some = torch.randperm(members, generator=generator)[:draw].to(device)
        drawn = {name: w[some] for name, w in crowd.items()}
        index = torch.cat([part[torch.randint(len(part), (batch // 2,), generator=generator)] for part in (inside, outside)]).to(device)
        logits = crowd_logits(network, step(network, drawn, images, labels, rate, create_graph=True), to_float(pixels[index]))
        value = F.cross_entropy(logits.flatten(0, 1), wanted[index].repeat(len(some)))
        if quiet is not None:
            value = value + weight * F.relu(gradient_norms(network, drawn, images, labels) / quiet - 1).mean()
        record.append(value.item())
        if not math.isfinite(record[-1]):
            raise FloatingPointError(f"step {at + 1}: the attacker's loss is {record[-1]}; lower the learning rate ({learning_rate:g})")
        (images.grad,) = torch.autograd.grad(value, images)
        optimiser.step()
        schedule.step()
        if bounds is not None:
            images.data.clamp_(*bounds)
    return Split(images.detach().cpu(), start.labels), record


# ---- what it did ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def answers(network: nn.Module, crowd: dict[str, torch.Tensor], split: Split, batch_size: int = 1000) -> torch.Tensor:
    """Every network's class for every image: int64 `[S,N]`."""
    device = next(iter(crowd.values())).device
    parts = [crowd_logits(network, crowd, to_float(part.to(device))).argmax(dim=2).cpu() for part in split.images.split(batch_size)]
    return torch.cat(parts, dim=1)
