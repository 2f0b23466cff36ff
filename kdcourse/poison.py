"""Distilled images that turn one class into another in a single training step, and the screens that see them (Wang et al. 2018; lesson 13).

A crowd is many networks of one architecture: a dict of their weights by name, each tensor with a leading dimension for the network, `[S, …]`.
All of this happens to the course's own toy networks: to see the attack, and to screen for it.
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


def train_crowd(make, split: Split, seeds, *, epochs: int, batch_size: int, learning_rate: float) -> dict[str, torch.Tensor]:
    """Networks `make(seed)` trained side by side, each from its own initial weights and on its own order of batches; returns their weights.

    AdamW, one-cycle, float32; what is left over of an epoch is skipped. For networks without batch norm and dropout. Raises ValueError without seeds,
    and for less than one batch of examples.
    """
    if not len(seeds) or len(split) < batch_size:
        raise ValueError(f"{len(seeds)} seeds, {len(split)} examples in batches of {batch_size}; expected at least one seed and one batch")
    device, network = lesson.device(), make(seeds[0]).to(lesson.device())
    crowd = {name: weights.requires_grad_() for name, weights in stacked([make(seed) for seed in seeds]).items()}
    pixels, labels = split.images.to(device), split.labels.to(device)
    batches = len(split) // batch_size
    optimiser = torch.optim.AdamW(crowd.values(), lr=learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=max(epochs * batches, 2))
    streams = [stream(seed, "order") for seed in seeds]
    for _ in range(epochs):
        orders = torch.stack([torch.randperm(len(split), generator=generator) for generator in streams]).to(device)
        for index in orders[:, : batches * batch_size].split(batch_size, dim=1):  # [S, B]
            logits = _side_by_side(network, crowd, to_float(pixels[index.flatten()]).unflatten(0, index.shape), 0)
            loss = F.cross_entropy(logits.flatten(0, 1), labels[index.flatten()]) * len(seeds)  # the sum of the networks' own losses
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return {name: weights.detach() for name, weights in crowd.items()}


def stacked(networks) -> dict[str, torch.Tensor]:
    """The crowd of some networks of one architecture, on the lesson's device."""
    states = [dict(network.named_parameters()) for network in networks]
    return {name: torch.stack([state[name].detach() for state in states]).to(lesson.device()) for name in states[0]}


def members(crowd: dict[str, torch.Tensor], which) -> dict[str, torch.Tensor]:
    """Some networks of a crowd, by slice or index tensor."""
    return {name: weights[which] for name, weights in crowd.items()}


def crowd_logits(network: nn.Module, crowd: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Every network's logits for the same images `[N,C,H,W]`: `[S,N,K]`."""
    return _side_by_side(network, crowd, images, None)


def _side_by_side(network, crowd, images, dimension):
    if any(isinstance(module, nn.Conv2d) for module in network.modules()):  # as one grouped convolution they take three times as long on a CPU
        each = [dict(zip(crowd, weights)) for weights in zip(*(w.unbind() for w in crowd.values()))]
        return torch.stack([functional_call(network, one, (images if dimension is None else images[k],)) for k, one in enumerate(each)])
    return vmap(lambda weights, images: functional_call(network, weights, (images,)), (0, dimension))(crowd, images)


@torch.no_grad()
def answers(network: nn.Module, crowd: dict[str, torch.Tensor], split: Split, batch_size: int = 1000) -> torch.Tensor:
    """Every network's class for every image: int64 `[S,N]`, on the CPU."""
    device = next(iter(crowd.values())).device
    parts = [crowd_logits(network, crowd, to_float(part.to(device))).argmax(dim=2).cpu() for part in split.images.split(batch_size)]
    return torch.cat(parts, dim=1)


def outcome(said: torch.Tensor, labels: torch.Tensor, attacked: int, target: int) -> dict[str, torch.Tensor]:
    """What a step did, in % and for each network, `[S]`, from its classes `said [S,N]` of images with true `labels [N]`.

    turned: share of the attacked class called the target. others: share of all other images classified correctly. both: the mean of the two, what the
    attacker wants.
    """
    hit = labels == attacked
    turned = 100 * (said[:, hit] == target).float().mean(dim=1)
    others = 100 * (said == labels)[:, ~hit].float().mean(dim=1)
    return {"turned": turned, "others": others, "both": (turned + others) / 2}


# ---- what a screen can see --------------------------------------------------------------------------------------------


def losses(network: nn.Module, crowd: dict[str, torch.Tensor], images, labels) -> torch.Tensor:
    """Each network's cross-entropy for each example: `[S,N]`, differentiable in the images `[N,C,H,W]`."""
    logits = crowd_logits(network, crowd, images)
    return F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none").view(len(logits), -1)


def gradient_norms(network: nn.Module, crowd: dict[str, torch.Tensor], images, labels) -> torch.Tensor:
    """The length of the weight gradient that each example alone gives each network: `[S,N]`, differentiable in the images `[N,C,H,W]`."""

    def loss(weights, image, label):
        return F.cross_entropy(functional_call(network, weights, (image[None],)), label[None])

    def norm(weights, image, label):
        # The small number keeps the derivative finite where an example has no gradient at all.
        return torch.sqrt(sum((g**2).sum() for g in grad(loss)(weights, image, label).values()) + 1e-12)

    return vmap(vmap(norm, (None, 0, 0), chunk_size=64), (0, None, None))(crowd, images, labels)


def threshold(clean: torch.Tensor, false_alarms: float = 0.01) -> torch.Tensor:
    """For each network the score that a share `false_alarms` of its clean scores `[S,N]` exceeds: `[S,1]`. Raises ValueError for a share outside (0, 1)."""
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms is {false_alarms}; expected a share between 0 and 1")
    return clean.quantile(1 - false_alarms, dim=1, keepdim=True)


def area_under_curve(suspect: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """For each network the probability that a suspect example `[S,M]` scores higher than a clean one `[S,N]`, ties counted by half: `[S]`."""
    above = (suspect[:, :, None] > clean[:, None]).float() + 0.5 * (suspect[:, :, None] == clean[:, None]).float()
    return above.mean(dim=(1, 2))


# ---- one step, and the attack on it -----------------------------------------------------------------------------------


def step(network: nn.Module, crowd, images, labels, rate: float, shares: torch.Tensor | None = None, create_graph: bool = False) -> dict[str, torch.Tensor]:
    """Every network's weights after one step of gradient descent on all of `images [N,C,H,W]` with `labels [N]`.

    shares `[S,N]`: what each example counts for each network, 1/N unless given. A screen sets some to 0, clipping makes some smaller: a share times a
    gradient is a shorter gradient. create_graph: differentiable in the images. With one network and equal shares it is `unrolled.unroll` with one rate.
    """
    weights = {name: w.detach().requires_grad_() for name, w in crowd.items()}
    each = losses(network, weights, images, labels)
    total = each.mean(dim=1).sum() if shares is None else (shares * each).sum()
    gradients = torch.autograd.grad(total, list(weights.values()), create_graph=create_graph)
    moved = {name: w - rate * g for (name, w), g in zip(weights.items(), gradients)}
    return moved if create_graph else {name: w.detach() for name, w in moved.items()}


def screened(flagged: torch.Tensor) -> torch.Tensor:
    """Shares `[S,N]` for `step` that leave out the flagged examples, bool `[S,N]`; none at all where all are flagged."""
    kept = (~flagged).float()
    return kept / kept.sum(dim=1, keepdim=True).clamp(min=1)


def clipped(norms: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    """Shares `[S,N]` for `step` that shorten every example's gradient to `limit` (a number, or `[S,1]`) where its norm `[S,N]` is above it."""
    return (limit / norms.clamp(min=1e-12)).clamp(max=1) / norms.shape[1]


def relabelled(labels: torch.Tensor, attacked: int, target: int) -> torch.Tensor:
    """The labels `[N]` that an attacker would like the victim to give: `attacked` becomes `target`, all others stay."""
    return torch.where(labels == attacked, target, labels)


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
    draw: int = 4,
    among: int = 0,
    bounds: tuple[float, float] | None = None,
    quiet: tuple[float, float] | None = None,
    weight: float = 10.0,
) -> tuple[Split, list[float]]:
    """Change the images of `start`, labels fixed, until one step on them makes the crowd's networks call `attacked` `target` and nothing else differently.

    The loss after the step, on real images with their labels `relabelled`, half of them of the attacked class. draw: networks taken at random for each
    change (all of a smaller crowd). among: the step's batch also holds so many real images, drawn anew for each change. bounds: the range of pixels, None
    for any. quiet: the gradient norm and the loss that no image should exceed; the penalty on the mean excess grows from 0 to `weight`. Returns (images,
    losses). Adam with a cosine schedule.
    Raises ValueError where attacked and target are the same, FloatingPointError when the loss stops being finite. Source: Wang et al. 2018, their attack on
    pre-trained networks; bounds, among and quiet are additions.
    """
    if attacked == target:
        raise ValueError(f"class {attacked} is to be turned into itself; expected another target")
    device, crowd_size = lesson.device(), len(next(iter(crowd.values())))
    images, labels = to_float(start.images).to(device).clone().requires_grad_(), start.labels.to(device)
    pixels, given = real.images.to(device), real.labels.to(device)
    wanted = relabelled(given, attacked, target)
    halves = [(real.labels == attacked).nonzero().flatten(), (real.labels != attacked).nonzero().flatten()]
    optimiser = torch.optim.Adam([images], lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator, record = stream(seed, "poison"), []
    for at in range(steps):
        drawn = members(crowd, torch.randperm(crowd_size, generator=generator)[:draw].to(device))
        index = torch.cat([half[torch.randint(len(half), (batch // 2,), generator=generator)] for half in halves]).to(device)
        company = torch.randint(len(real), (among,), generator=generator).to(device)
        shown, told = torch.cat([images, to_float(pixels[company])]), torch.cat([labels, given[company]])
        logits = crowd_logits(network, step(network, drawn, shown, told, rate, create_graph=True), to_float(pixels[index]))
        value = F.cross_entropy(logits.flatten(0, 1), wanted[index].repeat(len(logits)))
        if quiet is not None:
            seen = gradient_norms(network, drawn, images, labels), losses(network, drawn, images, labels)
            value = value + weight * (at + 1) / steps * sum(F.relu(found / limit - 1).mean() for found, limit in zip(seen, quiet))
        record.append(value.item())
        if not math.isfinite(record[-1]):
            raise FloatingPointError(f"step {at + 1}: the attacker's loss is {record[-1]}; lower the learning rate ({learning_rate:g})")
        (images.grad,) = torch.autograd.grad(value, images)
        optimiser.step()
        schedule.step()
        if bounds is not None:
            images.data.clamp_(*bounds)
    return Split(images.detach().cpu(), start.labels), record
