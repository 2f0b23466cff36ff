"""Transfer sets made from what a teacher knows, when its training data cannot leave the building."""

import contextlib
import copy
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


def perceptron(width: int, size: int = 28, norm: bool = False, classes: int = 10, seed: int = 0) -> nn.Module:
    """Two hidden layers of `width` ReLU units on the pixels of square images; logits `[N, classes]`.

    Without batch norm it is `models.mlp(size**2, width, width, classes)`, from the same initial weights. norm: batch norm before each ReLU.
    Source: Hinton et al. 2015, section 3 (1200 units, dropout aside), "HintonNet" in the data-free papers, where the student has 800.
    """
    model = nn.Sequential()
    model.add_module("flatten", nn.Flatten())
    for depth, (fan_in, fan_out) in enumerate(((size**2, width), (width, width), (width, classes))):
        model.add_module(f"linear{depth}", nn.Linear(fan_in, fan_out))
        if depth < 2:
            if norm:
                model.add_module(f"norm{depth}", nn.BatchNorm1d(fan_out))
            model.add_module(f"relu{depth}", nn.ReLU())
    return models.initialise(model, seed)


class _Abreast(nn.Module):
    """Perceptrons of one shape as three batched products: network s sees channel s."""

    def __init__(self, networks):
        super().__init__()
        layers = list(zip(*([m for m in network if isinstance(m, nn.Linear)] for network in networks)))
        self.weights = nn.ParameterList(torch.stack([twin.weight.detach().T for twin in twins]).contiguous() for twins in layers)
        self.biases = nn.ParameterList(torch.stack([twin.bias.detach()[None] for twin in twins]) for twins in layers)

    def forward(self, images):
        x = images.flatten(2).transpose(0, 1)  # [S, N, pixels]
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = torch.baddbmm(bias, torch.relu(x) if depth else x, weight)
        return x.transpose(0, 1).flatten(1)


class _InTurn(nn.ModuleList):
    """Any networks, one after the other: network s sees channel s."""

    def forward(self, images):
        return torch.cat([network(images[:, s : s + 1]) for s, network in enumerate(self)], dim=1)


def abreast(networks) -> nn.Module:
    """S networks as one, for images `[N,S,H,W]`: network s sees channel s as its image; logits `[N, S·K]`, network by network.

    With a loss that is the sum of the networks' own losses and an optimiser that treats every weight by itself, each learns as it would alone, and S small
    networks take the time of two or three. The weights are copied. Raises ValueError for networks of different shapes.
    """
    shapes = [[tuple(p.shape) for p in network.parameters()] for network in networks]
    if not networks or any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"{len(networks)} networks of shapes {shapes[:2]}; expected at least one, all of one shape")
    plain = all(isinstance(m, nn.Flatten | nn.Linear | nn.ReLU) for network in networks for m in network)
    return _Abreast(networks) if plain else _InTurn(map(copy.deepcopy, networks))


class _Grid(nn.Module):
    """Rows of numbers as channels on a 7×7 grid, channels last: up-sampling and convolutions of few channels take half the time so."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, values):
        return values.view(-1, self.channels, 7, 7).contiguous(memory_format=torch.channels_last)


class _Standardise(nn.Module):
    """Values to images with this mean and standard deviation over the batch, whatever comes in: tanh, then batch norm that learns nothing."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, values):
        values = torch.tanh(values.float())
        return self.mean + self.std * (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()


def upsampling_generator(mean: float, std: float, noise: int = 64, width: int = 32, size: int = 28, seed: int = 0) -> nn.Module:
    """Images `[N,1,size,size]` from noise `[N, noise]`: a linear layer to `width` channels on a 7×7 grid, then nearest up-sampling and 3×3 convolutions; every batch has the pixels' `mean` and standard deviation `std` given.

    The last convolution but one leaves half of the channels. Raises ValueError for sizes that are not 7 times a power of two above 1.
    Source of the shape, and of the batch norm behind the last tanh: Chen et al. 2019 (DAFL) and the code of Fang et al. 2019, with a grid of 7 for 8 and fewer channels.
    """
    doublings = int(math.log2(size / 7)) if size > 7 else 0
    if doublings < 1 or 7 << doublings != size:
        raise ValueError(f"size is {size}; expected 14, 28 or another 7·2^k")
    if width < 2:
        raise ValueError(f"width is {width}; expected at least 2 channels")
    model = nn.Sequential()
    model.add_module("linear", nn.Linear(noise, width * 49))
    model.add_module("grid", _Grid(width))
    model.add_module("norm", nn.BatchNorm2d(width))
    for depth in range(doublings):
        fan_out = width if depth + 1 < doublings else width // 2
        model.add_module(f"up{depth}", nn.Upsample(scale_factor=2))
        model.add_module(f"conv{depth}", nn.Conv2d(width, fan_out, 3, padding=1))
        model.add_module(f"norm{depth}", nn.BatchNorm2d(fan_out))
        model.add_module(f"relu{depth}", nn.LeakyReLU(0.2))
    model.add_module("last", nn.Conv2d(fan_out, 1, 3, padding=1))
    model.add_module("contrast", _Standardise(mean, std))
    return models.initialise(model, seed)


# ---- inputs that cost nothing ----


def pixel_noise(count: int, size: int, mean: float = 0.5, std: float | None = None, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Images of independent pixels, float32 `[count, channels, size, size]`: normal with this mean and standard deviation, or uniform in [0, 1] without one.

    Normal pixels are not clipped: what is cut off would change both numbers. Raises ValueError for a negative standard deviation.
    """
    if std is not None and not std >= 0:
        raise ValueError(f"std is {std}; expected a number of at least 0, or None for uniform pixels")
    shape, draw = (count, channels, size, size), models.stream(seed, "pixel noise")
    return torch.rand(shape, generator=draw) if std is None else mean + std * torch.randn(shape, generator=draw)


def smooth_noise(count: int, size: int, mean: float, std: float, reach: int = 1, seed: int = 0) -> torch.Tensor:
    """Normal noise whose neighbouring pixels are alike, float32 `[count, 1, size, size]`: pixel noise, averaged with its neighbours `reach` times (weights 1, 2, 1, down and across), then scaled to this mean and standard deviation.

    Rows and columns are rings while averaging, so that no pixel is special. Raises ValueError for a negative reach.
    """
    if reach < 0:
        raise ValueError(f"reach is {reach}; expected at least 0")
    images = pixel_noise(count, size, 0.0, 1.0, seed=seed)
    for _ in range(reach):
        for dim in (2, 3):
            images = images / 2 + (images.roll(1, dim) + images.roll(-1, dim)) / 4
    return mean + std * images / images.std()


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


def class_moments(values: torch.Tensor, labels: torch.Tensor) -> dict:
    """What a record keeps of activations `[N,D]` with labels `[N]`: for each class 0 to K−1 `mean` `[K,D]` and `std` `[K,D]`.

    Moments of the images themselves (divided by their number), in float32. Raises ValueError for a class without an example or lengths that differ.
    """
    if values.ndim != 2 or labels.ndim != 1 or len(values) != len(labels):
        raise ValueError(f"activations {tuple(values.shape)}, labels {tuple(labels.shape)}; expected [N, D] and [N]")
    counts = labels.bincount()
    if len(counts) == 0 or counts.min() == 0:
        raise ValueError(f"examples of each class: {counts.tolist()}; expected at least one of every class up to the last")
    groups = [values[labels == label].double() for label in range(len(counts))]
    mean, std = (torch.stack(found).float() for found in ([own.mean(dim=0) for own in groups], [own.std(dim=0, unbiased=False) for own in groups]))
    return {"mean": mean, "std": std}


def record_bytes(record: dict) -> int:
    """What a record of `class_moments` takes as float32 numbers."""
    return 4 * sum(numbers.numel() for numbers in record.values())


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


def generator_objective(answers: torch.Tensor, pupil: torch.Tensor | None, weights: dict) -> torch.Tensor:
    """What a generator minimises, from the teacher's logits `[N,K]` for its images and the student's: a weighted sum of three terms.

    weights, 0 where missing: `adversary` times minus the mean |student − teacher| (Fang et al. 2019, equation 3, DFAD), `one_hot` times the cross-entropy of the teacher with its own first choice, and
    `balance` times minus the entropy of its mean answer (Chen et al. 2019, equations 2 and 6, DAFL).
    """
    unknown = set(weights) - {"adversary", "one_hot", "balance"}
    if unknown:
        raise ValueError(f"unknown term {sorted(unknown)[0]!r}; expected adversary, one_hot, balance")
    value = torch.zeros((), device=answers.device)
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
    keep: int = 1000,
    company: torch.Tensor | None = None,
    watch: data.Split | None = None,
    watch_every: int = 0,
) -> dict:
    """Train `generator` by `generator_objective` and `student` by the mean |student − teacher| on its images, in place; returns the record.

    Each iteration moves the generator one step and the student `student_steps` steps, each on a batch of new images. A generator_rate of 0 leaves the generator as it was born. Both rates fall to 0 along a line: a student that
    warmed up slowly would face a generator that knows it too well. watch: a split whose errors are counted every `watch_every` iterations and at the end, for the record only.
    company: images that make up half of every batch of the student, in place of half of the generator's.
    The record: init, loss (the student's, means of up to 100 stretches), disagreement (the generator's batches, likewise), steps, seconds, watched, and images `[keep,C,H,W]`, made
    at the end. Raises ValueError for numbers that are not positive, FloatingPointError for a loss that is not finite.
    """
    for name, value in (("iterations", iterations), ("student_steps", student_steps), ("keep", keep), ("batch_size", batch_size - 1)):
        if value < 1:
            raise ValueError(f"{name} is too small; expected at least {2 if name == 'batch_size' else 1}")
    device, started = lesson.device(), time.perf_counter()
    for model in (teacher, student, generator):
        model.to(device, memory_format=torch.channels_last)
    teacher.eval().requires_grad_(False)
    student.train(), generator.train()
    record = {"init": training._hash_weights(student)}
    learner = torch.optim.AdamW(student.parameters(), learning_rate, weight_decay=0.0, fused=True)
    maker = torch.optim.Adam(generator.parameters(), generator_rate, fused=True)
    draw, noise = models.stream(seed, "duel"), generator.linear.in_features
    half = batch_size // 2
    if company is not None:
        company_answers, company = training.predict_logits(teacher, company).to(device), company.to(device)
    student_losses, disagreement, watched = [], [], []
    for iteration in range(iterations):
        left = 1 - iteration / iterations
        learner.param_groups[0]["lr"] = learning_rate * left
        if generator_rate:
            maker.param_groups[0]["lr"] = generator_rate * left
            disagreement.append(_generator_step(teacher, student, generator, maker, torch.randn(batch_size, noise, generator=draw).to(device), weights))
        with torch.no_grad(), _products():
            made = generator(torch.randn(student_steps * batch_size, noise, generator=draw).to(device)).float()
            said = teacher(made).float()
        for images, answers in zip(made.split(batch_size), said.split(batch_size)):
            if company is not None:
                index = torch.randint(len(company), (half,), generator=draw).to(device)
                images = torch.cat([images[half:], data.to_float(company.index_select(0, index))])
                answers = torch.cat([answers[half:], company_answers.index_select(0, index)])
            learner.zero_grad(set_to_none=True)
            with _products():
                value = F.l1_loss(student(images).float(), answers)
            student_losses.append(value.item())
            if not math.isfinite(student_losses[-1]):
                raise FloatingPointError(f"iteration {iteration + 1}: the student's loss is {student_losses[-1]}")
            value.backward()
            learner.step()
        if watch is not None and ((watch_every and (iteration + 1) % watch_every == 0) or iteration + 1 == iterations):
            watched.append([iteration + 1, int((~training.correct(student, watch)).sum())])
    with torch.no_grad():
        made = generator(torch.randn(keep, noise, generator=draw).to(device)).float().cpu()
    student.eval(), generator.eval()
    record |= {"loss": training._curve(student_losses), "disagreement": training._curve(disagreement or [0.0]), "steps": len(student_losses)}
    return record | {"seconds": time.perf_counter() - started, "watched": watched, "images": made.contiguous()}


def _generator_step(teacher, student, generator, maker, z, weights: dict) -> float:
    """One step of the generator; how far the student's logits are from the teacher's on its images before it."""
    student.requires_grad_(False)
    with _products():
        made = generator(z).float()
        said, pupil = teacher(made).float(), student(made).float()
    value = generator_objective(said, pupil, weights)
    maker.zero_grad(set_to_none=True)
    value.backward()
    maker.step()
    student.requires_grad_(True)
    return (pupil - said).abs().mean().item()


# ---- teachers ----


def network(kind: str, student: bool = False, size: int = 28, norm: bool = False, seed: int = 0) -> nn.Module:
    """The teacher of a data-free experiment, or its student: "lenet", LeNet-5 and the half of it; "perceptron", two hidden layers of a tenth of HintonNet's 1200 or 800 units.

    Raises ValueError for another kind.
    """
    if kind == "lenet":
        return scaled_lenet(0.5 if student else 1.0, size, norm, seed=seed)
    if kind == "perceptron":
        return perceptron(80 if student else 120, size, norm, seed=seed)
    raise ValueError(f"unknown kind of network {kind!r}; expected 'lenet' or 'perceptron'")


def born(model: nn.Module) -> str:
    """A hash of the network's weights: before training, what `fit` writes down as `init`."""
    return training._hash_weights(model)


def trained_teacher(kind: str, dataset: str, size: int, norm: bool, epochs: int, batch_size: int, learning_rate: float, seed: int, count: int | None = None) -> dict:
    """A teacher trained on labels, with images moved a little, on all but the last 10,000 training images (the first `count` of them where given): its weights and record."""
    train, _ = pictures_of(dataset, size)
    model = network(kind, size=size, norm=norm, seed=seed)
    settings = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    record = training.fit(model, train if count is None else train[:count], losses.hard_labels(), augment=data.jitter(size // 14), **settings)
    return record | {"weights": model.state_dict()}


def rebuild_teacher(weights: dict, kind: str, size: int, norm: bool) -> nn.Module:
    """The network behind a `trained_teacher`'s weights: frozen, ready to predict."""
    model = network(kind, size=size, norm=norm)
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
