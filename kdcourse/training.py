"""The one training loop of the course, and what goes with it: predictions and who was right."""

import contextlib
import hashlib
import time
from typing import NamedTuple

import torch
from torch import nn
from tqdm import tqdm

from kdcourse import lesson
from kdcourse.data import Split, to_float
from kdcourse.models import stream, stream_seed

show_progress = True  # workers of a sweep switch their own bars off
CURVE_POINTS = 100


class Batch(NamedTuple):
    """What a loss sees of one step: images float32 `[B,C,H,W]`, labels `[B]`, index int64 `[B]` into the split, and
    targets, the teacher's outputs for the same images (None without a teacher)."""

    images: torch.Tensor
    labels: torch.Tensor
    index: torch.Tensor
    targets: torch.Tensor | None


def fit(
    model: nn.Module,
    split: Split,
    loss,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    targets=None,
    augment=None,
    optimizer=None,
    weight_decay: float = 0.0,
    schedule: str = "one_cycle",
    watch: Split | None = None,
    watch_every: int = 100,
    dtype: torch.dtype | None = None,
) -> dict:
    """Train `model` in place on `split` with `loss(model, batch)` → scalar, and return the record of the run.

    targets: the teacher's outputs, either computed once (a tensor `[N,K]`, or `[N,V,K]` for the V variants of `augment`)
        or a frozen module called on every batch. augment: see `data.jitter`. optimizer: `optimizer(parameters, learning_rate)`, fused
        AdamW unless given. schedule: "one_cycle" (Smith & Topin 2018) or "constant". watch: a split whose errors are counted
        every `watch_every` steps. dtype: of the matrix products, `lesson.dtype()` unless given.
    The seed drives three separate streams: batch order, augmentation, dropout. Initial weights are the constructor's.
    The record: loss (means of up to 100 stretches of steps), steps, seconds, init and order (hashes of the initial weights and of the
    batch order), dtype, threads, device, and watched ([step, errors] pairs) where asked for.
    Raises ValueError for arguments that do not fit, FloatingPointError when the loss stops being finite, naming the step.
    """
    _check_arguments(split, epochs, batch_size, learning_rate, schedule, targets, augment)
    device, dtype = lesson.device(), dtype or lesson.dtype()
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    model.to(device, memory_format=torch.channels_last if convolutional else torch.preserve_format).train()
    images, labels = split.images.to(device), split.labels.to(device)
    targets = targets.to(device) if isinstance(targets, torch.Tensor) else _frozen(targets, device)
    steps = epochs * -(-len(split) // batch_size)
    make_optimizer = optimizer or (lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=weight_decay, fused=True))
    optimiser = make_optimizer(model.parameters(), learning_rate)
    scheduler = _scheduler(optimiser, schedule, learning_rate, steps)
    record = {"init": _hash_weights(model), "dtype": str(dtype).removeprefix("torch.")}
    augment_stream, started = stream(seed, "augment"), time.perf_counter()
    order, losses, watched = hashlib.sha256(), [], []
    with torch.random.fork_rng(), _float32_outputs(model), _progress(steps) as bar:
        torch.manual_seed(stream_seed(seed, "dropout"))
        for index in _batches(len(split), epochs, batch_size, seed, order):
            index = index.to(device)
            batch = _batch(images, labels, index, targets, augment, augment_stream, convolutional)
            value = _step(model, batch, loss, optimiser, scheduler, dtype, len(losses) + 1, learning_rate)
            losses.append(value)
            bar.update()
            if watch is not None and (len(losses) % watch_every == 0 or len(losses) == steps):
                watched.append([len(losses), int((~correct(model, watch)).sum())])
    model.eval()
    record |= {"loss": _curve(losses), "steps": steps, "seconds": time.perf_counter() - started}
    record |= {"order": order.hexdigest()[:16], "threads": torch.get_num_threads(), "device": device.type}
    return record | ({"watched": watched} if watch is not None else {})


def _check_arguments(split, epochs, batch_size, learning_rate, schedule, targets, augment) -> None:
    for name, value in (
        ("epochs", epochs),
        ("batch_size", batch_size),
        ("learning_rate", learning_rate),
        ("examples", len(split)),
    ):
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a positive number")
    if schedule not in ("one_cycle", "constant"):
        raise ValueError(f"unknown schedule {schedule!r}; expected 'one_cycle' or 'constant'")
    if isinstance(targets, torch.Tensor):
        if len(targets) != len(split):
            raise ValueError(
                f"{len(targets)} targets for {len(split)} examples; expected one row each, in the split's order"
            )
        variants = getattr(augment, "variants", None)
        if augment is not None and (targets.ndim != 3 or targets.shape[1] != variants):
            raise ValueError(
                f"targets of shape {tuple(targets.shape)} with an augmentation: the teacher has to see the same augmented images; "
                f"expected [{len(split)}, {variants}, classes], or the teacher itself"
            )
        if augment is None and targets.ndim != 2:
            raise ValueError(f"targets have shape {tuple(targets.shape)}; expected [N, classes]")


def _frozen(teacher, device):
    """The teacher as a function of images that neither learns nor changes its batch statistics."""
    if teacher is None:
        return None
    if isinstance(teacher, nn.Module):
        teacher = teacher.to(device).eval()
    return torch.no_grad()(teacher)


@contextlib.contextmanager
def _float32_outputs(model: nn.Module):
    """Give losses float32 logits: autocast would leave a log-softmax in bfloat16, where a KL divergence can even come out negative."""
    networks = model.values() if isinstance(model, nn.ModuleDict) else [model]
    hooks = [network.register_forward_hook(lambda _, __, out: _to_float32(out)) for network in networks]
    yield
    for hook in hooks:
        hook.remove()


def _to_float32(output):
    if isinstance(output, torch.Tensor):
        return output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    return type(output)(map(_to_float32, output)) if type(output) in (tuple, list) else output


def _scheduler(optimiser, schedule: str, learning_rate: float, steps: int):
    if schedule == "constant" or steps < 10:
        return None
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)


def _hash_weights(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(name.encode() + parameter.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _progress(steps: int):
    # `delay` keeps the bar away from anything shorter than five seconds.
    return (
        tqdm(total=steps, unit="step", delay=5, leave=False, mininterval=0.5)
        if show_progress
        else contextlib.nullcontext(_NoBar)
    )


class _NoBar:
    update = staticmethod(lambda: None)


def _batches(count: int, epochs: int, batch_size: int, seed: int, order):
    """Index tensors, every example once an epoch; `order` digests them."""
    generator = stream(seed, "order")
    for _ in range(epochs):
        permutation = torch.randperm(count, generator=generator)
        order.update(permutation.numpy().tobytes())
        yield from permutation.split(batch_size)


def _batch(images, labels, index, targets, augment, generator, convolutional: bool) -> Batch:
    # index_select gives the bits of images[index] and, on uint8, takes a tenth of its time.
    picked, wanted = images.index_select(0, index), None
    if augment is not None:
        picked, variant = augment(picked, generator)
    picked = to_float(picked)
    if convolutional:
        picked = picked.contiguous(memory_format=torch.channels_last)
    if isinstance(targets, torch.Tensor):
        wanted = targets.index_select(0, index) if augment is None else targets[index, variant]
    elif targets is not None:
        wanted = targets(picked)
    return Batch(picked, labels.index_select(0, index), index, wanted)


def _step(model, batch, loss, optimiser, scheduler, dtype, step: int, learning_rate: float) -> float:
    optimiser.zero_grad(set_to_none=True)
    try:
        with torch.autocast(batch.images.device.type, dtype, enabled=dtype != torch.float32):
            value = loss(model, batch)
    except ValueError as problem:
        raise ValueError(f"step {step}: {problem}") from problem
    number = value.item()
    if not abs(number) < float("inf"):
        raise FloatingPointError(
            f"step {step}: the loss is {number}. Likely a learning rate too high (it is {learning_rate:g}) or a logarithm of zero in the loss."
        )
    value.backward()
    optimiser.step()
    if scheduler is not None:
        scheduler.step()
    return number


def _curve(losses: list[float]) -> list[float]:
    """Means of up to `CURVE_POINTS` equal stretches."""
    values = torch.tensor(losses, dtype=torch.float64)
    return [round(float(part.mean()), 6) for part in values.tensor_split(min(CURVE_POINTS, len(losses)))]


@torch.no_grad()
def predict_logits(model: nn.Module, images: torch.Tensor, batch_size: int = 500) -> torch.Tensor:
    """The model's logits `[N,K]` for images `[N,C,H,W]`, float32 on the CPU, in evaluation mode and without gradients.

    Always computed in float32: bfloat16 logits would tie classes that differ.
    """
    training, device = model.training, next(model.parameters()).device
    model.eval()
    logits = [model(to_float(part.to(device))).float().cpu() for part in images.split(batch_size)]
    model.train(training)
    return torch.cat(logits)


def correct(model: nn.Module, split: Split) -> torch.Tensor:
    """Which examples of `split` the model classifies correctly: bool `[N]`."""
    return predict_logits(model, split.images).argmax(dim=1) == split.labels.cpu()


def calibration_error(confidence: torch.Tensor, right: torch.Tensor, bins: int = 15) -> float:
    """Expected calibration error: the distance between mean confidence and accuracy, averaged over equally wide bins by their examples.

    confidence: float `[N]`, the probability of the answer given, from 0 to 1. right: bool `[N]`. 0 for a network that is right as often as it says.
    Raises ValueError for other shapes, types and ranges. Source: Guo et al. 2017, equation 3.
    """
    confidence, right = torch.as_tensor(confidence).double(), torch.as_tensor(right)
    if confidence.ndim != 1 or confidence.shape != right.shape or right.dtype != torch.bool or not len(confidence):
        raise ValueError(
            f"confidence has shape {tuple(confidence.shape)}, right {tuple(right.shape)} and {right.dtype}; expected [N] both, the second bool"
        )
    if not (confidence.min() >= 0 and confidence.max() <= 1 + 1e-6) or bins < 1:
        raise ValueError(
            f"confidence runs from {confidence.min():g} to {confidence.max():g} in {bins} bins; expected 0 to 1, at least one bin"
        )
    place = (confidence * bins).ceil().clamp(1, bins).long() - 1  # (0, 1/bins], (1/bins, 2/bins], ...
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, confidence - right.double())
    return float(gap.abs().sum() / len(confidence))
