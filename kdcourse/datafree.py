"""Transfer sets made from what a teacher knows, when its training data cannot leave the building."""

import contextlib
import functools
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from kdcourse import data, lesson, losses, models, training

# ---- networks ----


def scaled_lenet(width: float = 1.0, size: int = 28, norm: bool = False, channels: int = 1, classes: int = 10, seed: int = 0) -> nn.Module:
    """LeNet-5 with every width times `width`, for 28×28 or 14×14 images; logits `[N, classes]`.

    At width 1, 28 pixels and without batch norm it computes what `models.lenet5` does, from the same initial weights; at width 0.5 it is the "half" of the
    data-free papers. norm: batch norm after each convolution. Small images are padded before the second convolution too.
    Raises ValueError for widths below 1/3 and sizes below 12. Source: LeCun et al. 1998, section II; Chen et al. 2019 for the half.
    """
    if width < 1 / 3 or size < 12:
        raise ValueError(f"width {width:g} and images of {size} pixels do not fit a LeNet; expected at least 1/3 and 12 pixels")
    maps, padding = [int(width * each) for each in (6, 16)], (2, 0 if size >= 20 else 2)
    model, fan_in, side = nn.Sequential(), channels, size
    for depth, fan_out in enumerate(maps):
        model.add_module(f"conv{depth}", nn.Conv2d(fan_in, fan_out, 5, padding=padding[depth]))
        # Max and ReLU may change places: the same function, on a quarter of the numbers.
        model.add_module(f"pool{depth}", nn.MaxPool2d(2))
        if norm:
            model.add_module(f"norm{depth}", nn.BatchNorm2d(fan_out))
        model.add_module(f"relu{depth}", nn.ReLU())
        fan_in, side = fan_out, (side - 4 + 2 * padding[depth]) // 2
    model.add_module("flatten", nn.Flatten())
    hidden = [int(width * each) for each in (120, 84)]
    for depth, (before, after) in enumerate(zip([fan_in * side**2, *hidden], [*hidden, classes])):
        model.add_module(f"linear{depth}", nn.Linear(before, after))
        if depth < 2:
            model.add_module(f"relu{depth + 2}", nn.ReLU())
    return models.initialise(model, seed)


def upsampling_generator(noise: int = 64, width: int = 16, size: int = 28, channels: int = 1, seed: int = 0) -> nn.Module:
    """Images in [0, 1] from noise `[N, noise]`: one linear layer to a 7×7 grid, then nearest up-sampling and 3×3 convolutions; `[N, channels, size, size]`.

    `width` channels on the 7×7 grid, half of them after each up-sampling: the generator's passes are what data-free distillation costs. Raises ValueError for sizes that are not 7 times a power of two above 1.
    Source of the shape: Chen et al. 2019 (DAFL), with fewer channels.
    """
    doublings = int(math.log2(size / 7)) if size > 7 else 0
    if doublings < 1 or 7 << doublings != size:
        raise ValueError(f"size is {size}; expected 14, 28 or another 7·2^k")
    if width < 2:
        raise ValueError(f"width is {width}; expected at least 2 channels")
    model = nn.Sequential()
    model.add_module("linear", nn.Linear(noise, width * 49, bias=False))
    model.add_module("norm", nn.BatchNorm1d(width * 49))
    model.add_module("grid", nn.Unflatten(1, (width, 7, 7)))
    for depth in range(doublings):
        fan_in, fan_out = max(2, width >> depth), max(2, width >> depth + 1)
        model.add_module(f"up{depth}", nn.Upsample(scale_factor=2))
        model.add_module(f"conv{depth}", nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False))
        model.add_module(f"norm{depth}", nn.BatchNorm2d(fan_out))
        model.add_module(f"relu{depth}", nn.LeakyReLU(0.2))
    model.add_module("last", nn.Conv2d(fan_out, channels, 3, padding=1, bias=False))
    model.add_module("contrast", nn.BatchNorm2d(channels))  # keeps the images from fading to one grey
    model.add_module("sigmoid", nn.Sigmoid())
    models.initialise(model, seed)
    nn.init.constant_(model.contrast.weight, 2.0)
    return model


# ---- inputs that cost nothing ----


def pixel_noise(count: int, size: int, mean: float = 0.5, std: float | None = None, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Images of independent pixels, float32 `[count, channels, size, size]`: normal with this mean and standard deviation, or uniform in [0, 1] without one.

    Normal pixels are not clipped: what is cut off would change both numbers. Raises ValueError for a negative standard deviation.
    """
    if std is not None and not std >= 0:
        raise ValueError(f"std is {std}; expected a number of at least 0, or None for uniform pixels")
    shape, draw = (count, channels, size, size), models.stream(seed, "pixel noise")
    return torch.rand(shape, generator=draw) if std is None else mean + std * torch.randn(shape, generator=draw)


def random_strokes(count: int, size: int, strokes: int = 2, seed: int = 0) -> torch.Tensor:
    """Images of `strokes` random curves, float32 in [0, 1] `[count, 1, size, size]`: bright quadratic Bézier curves of random thickness on black.

    Somebody who knows that the data are pen strokes knows this much without seeing any. Raises ValueError for less than one stroke.
    """
    if strokes < 1:
        raise ValueError(f"strokes is {strokes}; expected at least 1")
    draw, t = models.stream(seed, "strokes"), torch.linspace(0, 1, 2 * size)
    bend = torch.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2])  # Bernstein polynomials [3, points]
    pixel, images = (torch.arange(size) + 0.5) / size, []
    for part in torch.arange(count).split(250):
        corners = 0.1 + 0.8 * torch.rand(len(part), strokes, 2, 3, generator=draw)
        thickness = (0.03 + 0.05 * torch.rand(len(part), strokes, 1, 1, generator=draw)) ** 2
        y, x = (corners @ bend).unbind(dim=2)  # [N, strokes, points]
        # The squared distance splits into rows and columns, and the largest of the points' products is found stroke by stroke.
        rows = (-((pixel - y[..., None]) ** 2) / thickness).unsqueeze(-1)  # [N, strokes, points, size, 1]
        columns = (-((pixel - x[..., None]) ** 2) / thickness).unsqueeze(-2)
        images.append((rows + columns).amax(dim=(1, 2)).exp())
    return torch.cat(images).unsqueeze(1)


# ---- records of activations ----


@contextlib.contextmanager
def seen_by_batch_norm(model: nn.Module):
    """Inside it, each forward pass fills the list with one pair (mean, variance) a batch-norm layer: what the layer's input has, channel by channel, in this batch.

    Gradients flow through them. The variance is the biased one, as batch norm divides by.
    """
    seen = []

    def look(module, inputs):
        values = inputs[0].float().transpose(0, 1).flatten(1)
        seen.append((values.mean(dim=1), values.var(dim=1, unbiased=False)))

    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        raise ValueError("the model has no batch norm, so it carries no statistics")
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def batch_norm_distance(model: nn.Module, seen) -> torch.Tensor:
    """How far the means and variances in `seen` (see `seen_by_batch_norm`) are from those the model's batch-norm layers recorded in training; a scalar.

    Sum over layers of the lengths of the differences, ‖μ − μ̂‖ + ‖σ² − σ̂²‖. Source: Yin et al. 2020 (DeepInversion), equation 4, with lengths as in their code.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if len(layers) != len(seen):
        raise ValueError(f"{len(seen)} pairs of statistics for {len(layers)} batch-norm layers; expected one pair a layer: one forward pass")
    return sum(
        (mean - layer.running_mean).norm() + (variance - layer.running_var).norm()
        for layer, (mean, variance) in zip(layers, seen)
    )


def class_moments(values: torch.Tensor, labels: torch.Tensor, covariance: bool = False) -> dict:
    """What a record keeps of activations `[N,D]` with labels `[N]`: for each class 0 to K−1 `mean` `[K,D]` and `std` `[K,D]`, or with `covariance` the matrices `[K,D,D]`.

    Moments of the images themselves (divided by their number), in float32. Raises ValueError for a class without an example or lengths that differ.
    """
    if values.ndim != 2 or labels.ndim != 1 or len(values) != len(labels):
        raise ValueError(f"activations {tuple(values.shape)}, labels {tuple(labels.shape)}; expected [N, D] and [N]")
    counts = labels.bincount()
    if len(counts) == 0 or counts.min() == 0:
        raise ValueError(f"examples of each class: {counts.tolist()}; expected at least one of every class up to the last")
    mean, spread = [], []
    for label in range(len(counts)):
        own = values[labels == label].double()
        mean.append(own.mean(dim=0))
        centred = own - mean[-1]
        spread.append(centred.T @ centred / len(own) if covariance else centred.pow(2).mean(dim=0).sqrt())
    return {"mean": torch.stack(mean).float(), "covariance" if covariance else "std": torch.stack(spread).float()}


def record_bytes(record: dict) -> int:
    """What a record of `class_moments` takes as float32 numbers; of a symmetric matrix one half and the diagonal."""
    numbers = sum(v.numel() for name, v in record.items() if name != "covariance")
    if "covariance" in record:
        classes, width, _ = record["covariance"].shape
        numbers += classes * width * (width + 1) // 2
    return 4 * numbers


def draw_from_moments(record: dict, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Activations `[N,D]` for `labels`, drawn from the normal distribution that the record describes for each class."""
    draw = models.stream(seed, "moments")
    mean = record["mean"]
    wild = torch.randn(len(labels), mean.shape[1], generator=draw)
    if "std" in record:
        return mean[labels] + record["std"][labels] * wild
    # A square root that also exists where the covariance is singular.
    values, vectors = torch.linalg.eigh(record["covariance"].double())
    root = (vectors * values.clamp_min(0).sqrt().unsqueeze(1)).float()
    return mean[labels] + torch.einsum("nij,nj->ni", root[labels], wild)


# ---- images by optimisation ----


def total_variation(images: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of neighbouring pixels of images `[N,C,H,W]`, down plus across; a scalar."""
    return images.diff(dim=2).abs().mean() + images.diff(dim=3).abs().mean()


def optimise_images(start: torch.Tensor, objective, steps: int, learning_rate: float = 0.1, batch_size: int = 500) -> torch.Tensor:
    """Images in (0, 1), moved from `start` by Adam until `objective(images, index)` is small; float32 `[N,C,H,W]`, on the CPU.

    The optimiser moves what stands behind a sigmoid, so no pixel leaves its range. objective: a scalar for a batch of images and their places `[B]` among all, a mean over
    the batch. Raises ValueError for start images outside [0, 1], FloatingPointError
    when the objective stops being finite.
    """
    if not (start.min() >= 0 and start.max() <= 1):
        raise ValueError(f"start images run from {start.min():g} to {start.max():g}; expected 0 to 1")
    device, found = lesson.device(), []
    for index in torch.arange(len(start)).split(batch_size):
        behind = torch.logit(start[index].float(), eps=0.02).to(device).requires_grad_()
        optimiser = torch.optim.Adam([behind], learning_rate, betas=(0.5, 0.9))
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            with _products():
                value = objective(torch.sigmoid(behind), index.to(device))
            if not torch.isfinite(value):
                raise FloatingPointError(f"step {step + 1}: the objective is {value.item()}")
            # The sum over the batch: with a mean, Adam's ε would weigh more in a larger one.
            (behind.grad,) = torch.autograd.grad(value * len(index), behind)
            optimiser.step()
        found.append(torch.sigmoid(behind.detach()).cpu())
    return torch.cat(found)


def _products():
    """Matrix products in the lesson's dtype, as `training.fit` has them."""
    return torch.autocast(lesson.device().type, lesson.dtype(), enabled=lesson.dtype() != torch.float32)


# ---- a generator against the teacher ----


def generator_objective(answers: torch.Tensor, pupil: torch.Tensor | None, weights: dict, norm_distance=0.0, variation=0.0) -> torch.Tensor:
    """What a generator minimises, from the teacher's logits `[N,K]` for its images and the student's: a weighted sum of five terms.

    weights, 0 where missing: `adversary` times minus the mean |student − teacher| (Fang et al. 2019, equation 3, DFAD), `one_hot` times the cross-entropy of the teacher with its own first choice, and
    `balance` times minus the entropy of its mean answer (Chen et al. 2019, equations 2 and 6, DAFL), `norms` times `norm_distance` and `smooth` times the images' total `variation` (Yin et al. 2020).
    """
    unknown = set(weights) - {"adversary", "one_hot", "balance", "norms", "smooth"}
    if unknown:
        raise ValueError(f"unknown term {sorted(unknown)[0]!r}; expected adversary, one_hot, balance, norms, smooth")
    value = weights.get("norms", 0.0) * norm_distance + weights.get("smooth", 0.0) * variation + torch.zeros((), device=answers.device)
    if weights.get("adversary"):
        value = value - weights["adversary"] * (pupil - answers).abs().mean()
    if weights.get("one_hot"):
        value = value + weights["one_hot"] * F.cross_entropy(answers, answers.argmax(dim=1))
    if weights.get("balance"):
        # From logarithms: a class that no image comes near has probability 0 in float32, where p·log p has no gradient.
        log_mean = F.log_softmax(answers, dim=1).logsumexp(dim=0) - math.log(len(answers))
        value = value + weights["balance"] * (log_mean.exp() * log_mean).sum()
    return value


def generator_duel(
    teacher: nn.Module,
    student: nn.Module,
    generator: nn.Module,
    *,
    weights: dict,
    iterations: int,
    student_steps: int,
    batch_size: int,
    learning_rate: float,
    generator_rate: float,
    seed: int,
    pool: int = 50,
    watch: data.Split | None = None,
    watch_every: int = 0,
) -> dict:
    """Train `generator` by `generator_objective` and `student` by the mean |student − teacher| on its images, in place; returns the record.

    Each iteration makes one batch of images, moves the generator one step and the student `student_steps` steps. The images and the teacher's answers go into
    a pool of `pool` batches, from which half of every student batch is drawn: a student step needs neither generator nor teacher, and what was learned is not forgotten. watch: a split
    whose errors are counted every `watch_every` iterations and at the end, for the record only.
    The record: init, loss (the student's, means of up to 100 stretches), disagreement (the generator's batches, likewise), steps, seconds, watched, and images `[M,C,H,W]`, what the
    pool holds at the end as uint8. Raises ValueError for numbers that are not positive, FloatingPointError for a loss that is not finite.
    """
    for name, value in (("iterations", iterations), ("student_steps", student_steps), ("pool", pool), ("batch_size", batch_size - 1)):
        if value < 1:
            raise ValueError(f"{name} is too small; expected at least {2 if name == 'batch_size' else 1}")
    device, started = lesson.device(), time.perf_counter()
    for model in (teacher, student, generator):
        model.to(device, memory_format=torch.channels_last)
    teacher.eval().requires_grad_(False)
    student.train(), generator.train()
    record = {"init": training._hash_weights(student)}
    learner = torch.optim.AdamW(student.parameters(), learning_rate, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(learner, learning_rate, total_steps=max(10, iterations * student_steps))
    maker = torch.optim.Adam(generator.parameters(), generator_rate, betas=(0.5, 0.999), fused=True)
    draw, noise = models.stream(seed, "duel"), generator.linear.in_features
    images = answers = None
    student_losses, disagreement, watched = [], [], []
    for iteration in range(iterations):
        for group in maker.param_groups:
            group["lr"] = generator_rate * (1 + math.cos(math.pi * iteration / iterations)) / 2
        made, said, apart = _generator_step(teacher, student, generator, maker, torch.randn(batch_size, noise, generator=draw).to(device), weights)
        if images is None:
            images = torch.empty(pool, *made.shape, device=device)
            answers = torch.empty(pool, *said.shape, device=device)
        # A full pool loses a batch at random, so that a few old ones stay for long.
        place = iteration if iteration < pool else int(torch.randint(pool, (), generator=draw))
        images[place], answers[place] = made, said
        disagreement.append(apart)
        filled, half = min(iteration + 1, pool), batch_size // 2
        for _ in range(student_steps):
            new = torch.randint(batch_size, (batch_size - half,), generator=draw) + place * batch_size
            index = torch.cat([new, torch.randint(filled * batch_size, (half,), generator=draw)]).to(device)
            batch = images.flatten(0, 1).index_select(0, index).contiguous(memory_format=torch.channels_last)
            learner.zero_grad(set_to_none=True)
            with _products():
                value = F.l1_loss(student(batch).float(), answers.flatten(0, 1).index_select(0, index))
            student_losses.append(value.item())
            if not math.isfinite(student_losses[-1]):
                raise FloatingPointError(f"iteration {iteration + 1}: the student's loss is {student_losses[-1]}")
            value.backward()
            learner.step()
            schedule.step()
        if watch is not None and ((watch_every and (iteration + 1) % watch_every == 0) or iteration + 1 == iterations):
            watched.append([iteration + 1, int((~training.correct(student, watch)).sum())])
    student.eval(), generator.eval()
    made = (255 * images[: min(iterations, pool)].flatten(0, 1)).round().to(torch.uint8).cpu().contiguous()
    record |= {"loss": training._curve(student_losses), "disagreement": training._curve(disagreement), "steps": len(student_losses)}
    return record | {"seconds": time.perf_counter() - started, "watched": watched, "images": made}


def _generator_step(teacher, student, generator, maker, z, weights: dict):
    """One step of the generator; its images before the step, the teacher's logits for them, and how far the student's are from these."""
    student.requires_grad_(False)
    with _products(), seen_by_batch_norm(teacher) if weights.get("norms") else contextlib.nullcontext() as seen:
        made = generator(z).float()
        said, pupil = teacher(made).float(), student(made).float()
        distance = batch_norm_distance(teacher, seen) if weights.get("norms") else 0.0
        value = generator_objective(said, pupil, weights, distance, total_variation(made))
    maker.zero_grad(set_to_none=True)
    value.backward()
    maker.step()
    student.requires_grad_(True)
    return made.detach(), said.detach(), (pupil - said).abs().mean().item()


# ---- teachers ----


def lenet_teacher(dataset: str, size: int, norm: bool, epochs: int, learning_rate: float, seed: int, count: int | None = None) -> dict:
    """A LeNet-5 trained on labels, with images moved a little, on all but the last 10,000 training images (the first `count` of them where given): its weights and record."""
    train, _ = pictures_of(dataset, size)
    model = scaled_lenet(1.0, size, norm, seed=seed)
    settings = {"epochs": epochs, "batch_size": 128, "learning_rate": learning_rate, "seed": seed}
    record = training.fit(model, train if count is None else train[:count], losses.hard_labels(), augment=data.jitter(size // 14), **settings)
    return record | {"weights": model.state_dict()}


def rebuild_lenet(weights: dict, size: int, norm: bool) -> nn.Module:
    """The network behind a `lenet_teacher`'s weights: frozen, ready to predict."""
    model = scaled_lenet(1.0, size, norm)
    model.load_state_dict(weights)
    return model.to(lesson.device()).eval().requires_grad_(False)


def pictures_of(dataset: str, size: int, part: str = "test") -> tuple[data.Split, data.Split]:
    """(training images, judged images) at 28 or 14 pixels: all but the last 10,000 training images; the "test" set, or those as "validation"."""
    data.load(dataset)  # every trial notes what it read, also when the images below are at hand
    whole, test = _shrunken(dataset, size)
    train, validation = data.hold_out(whole)
    return train, {"test": test, "validation": validation}[part]


@functools.lru_cache(maxsize=4)
def _shrunken(dataset: str, size: int) -> tuple[data.Split, data.Split]:
    whole = data.load(dataset)
    factor = whole.train.images.shape[2] // size
    return (whole.train, whole.test) if factor == 1 else (data.shrink(whole.train, factor), data.shrink(whole.test, factor))
