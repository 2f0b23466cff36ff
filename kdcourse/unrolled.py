"""Synthetic sets made for one network and its initial weights, by gradient descent through the network's own gradient descent."""

import math
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from kdcourse import lesson
from kdcourse.data import Split, to_float
from kdcourse.models import stream


def unroll(network: nn.Module, images, labels, rates) -> dict[str, torch.Tensor]:
    """The network's weights after `len(rates)` steps of gradient descent on all of `images`, as differentiable functions of images, labels and rates.

    images `[N,C,H,W]`, labels `[N]` or `[N,K]`, rates `[T]`: a step size for each step. The network itself is not changed. Source: Wang et al. 2018,
    section 3.1.
    """
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in network.named_parameters()}
    for rate in rates:
        loss = F.cross_entropy(functional_call(network, weights, (images,)), labels)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: w - rate * g for (name, w), g in zip(weights.items(), gradients)}
    return weights


def condense_for(
    network: nn.Module,
    start: Split,
    real: Split,
    *,
    descent: int,
    rate: float,
    steps: int,
    learning_rate: float,
    seed: int,
    batch: int = 512,
    clip: float = 1.0,
    watch: int = 0,
) -> tuple[Split, torch.Tensor, dict]:
    """Images and step sizes with which `descent` steps from exactly this network's weights do best on real images; returns (set, rates `[descent]`, record).

    rate: the step size to begin with; all are learned. clip: the largest norm of a gradient with respect to the images, and to the rates; without
    it one unlucky batch can ruin the set. watch: keep a copy of images and rates every so many steps (record["history"] `[W,N,…]`, record["rates"] `[W,T]`).
    Raises FloatingPointError when the loss stops being finite. Source: Wang et al. 2018, algorithm 1, with Adam and a cosine schedule.
    """
    images = to_float(start.images).to(lesson.device()).clone().requires_grad_()
    logs = torch.full((descent,), math.log(rate), device=images.device).requires_grad_()
    optimiser = torch.optim.Adam([{"params": [images], "lr": learning_rate}, {"params": [logs], "lr": learning_rate}])
    network.to(images.device)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    pixels, generator = real.images.to(images.device), stream(seed, "condense")
    labels, answers = start.labels.to(images.device), real.labels.to(images.device)
    record, started, spent = {"loss": [], "watched": [], "history": [], "rates": []}, time.perf_counter(), []
    for step in range(steps + 1):
        if watch and (step % watch == 0 or step == steps):
            record["watched"].append(step)
            record["history"].append(images.detach().cpu().clone())
            record["rates"].append(logs.detach().exp().cpu())
            spent.append(time.perf_counter() - started)
        if step == steps:
            break
        index = torch.randint(len(real), (batch,), generator=generator)
        weights = unroll(network, images, labels, logs.exp())
        value = F.cross_entropy(functional_call(network, weights, (to_float(pixels[index]),)), answers[index])
        record["loss"].append(value.item())
        if not math.isfinite(record["loss"][-1]):
            raise FloatingPointError(f"step {step + 1}: the loss is {record['loss'][-1]}; fewer steps, a lower rate ({rate:g}) or clip")
        optimiser.zero_grad(set_to_none=True)
        value.backward(inputs=[images, logs])
        for variable in (images, logs):
            nn.utils.clip_grad_norm_([variable], clip)
        optimiser.step()
        schedule.step()
    record |= {"seconds": time.perf_counter() - started, "spent": spent}
    if watch:
        record |= {"history": torch.stack(record["history"]), "rates": torch.stack(record["rates"])}
    return Split(images.detach().cpu(), start.labels), logs.detach().exp().cpu(), record
