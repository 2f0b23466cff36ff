"""Small synthetic sets that stand in for a large data set: made by several objectives, judged by networks that have never seen anything else."""

import math
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from kdcourse import data, lesson, training, unlabelled
from kdcourse.data import Split, to_float
from kdcourse.models import initialise, stream, stream_seed

# ---- the networks of this field ---------------------------------------------------------------------------------------


class _InstanceNorm(nn.GroupNorm):
    """Group norm with as many groups as channels. Its kernel for channels-last images is dozens of times slower in bfloat16, so it gets the other layout."""

    def __init__(self, channels: int):
        super().__init__(channels, channels)

    def forward(self, x):
        normed = super().forward(x.contiguous())
        last = x.is_contiguous(memory_format=torch.channels_last)
        return normed.contiguous(memory_format=torch.channels_last) if last else normed


def convnet(
    width: int = 128, classes: int = 10, channels: int = 1, size: int = 28, depth: int = 3, seed: int = 0
) -> nn.Sequential:
    """`depth` blocks of 3×3 convolution, instance norm, ReLU and 2×2 average pooling, then one linear layer; logits `[N, classes]`.

    The first convolution pads until every pooling halves evenly: 28 pixels become 32, 14 become 16. No biases in the convolutions: the norm behind them
    would take them out again. Raises ValueError for images that cannot be halved so often.
    Source: Zhao, Mopuri & Bilen 2021, section 3.1 (after Gidaris & Komodakis 2018).
    """
    if min(width, depth, channels) < 1 or size < 2**depth // 2 + 1:
        raise ValueError(f"width {width} and depth {depth} do not fit images of {size} pixels and {channels} channels")
    model, fan_in, lacking = nn.Sequential(), channels, -size % 2**depth
    if lacking % 2:
        raise ValueError(f"images of {size} pixels cannot be padded evenly to a multiple of {2**depth}")
    for block in range(depth):
        padding = 1 + lacking // 2 if block == 0 else 1
        model.add_module(f"conv{block}", nn.Conv2d(fan_in, width, 3, padding=padding, bias=False))
        model.add_module(f"norm{block}", _InstanceNorm(width))
        model.add_module(f"relu{block}", nn.ReLU())
        model.add_module(f"pool{block}", nn.AvgPool2d(2))
        fan_in = width
    model.add_module("flatten", nn.Flatten())
    model.add_module("linear", nn.Linear(width * ((size + lacking) >> depth) ** 2, classes))
    return initialise(model, seed)


class _Heads(nn.Module):
    """The last linear layers of S networks: features of all, side by side in the channels, to logits `[N, S, K]`."""

    def __init__(self, layers):
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))

    def forward(self, features):
        rows = features.reshape(len(features), len(self.weight), -1).transpose(0, 1)
        return torch.baddbmm(self.bias, rows, self.weight).transpose(0, 1)


def side_by_side(networks) -> nn.Sequential:
    """S networks from `convnet`, computed together by grouped convolutions; logits `[N, S, K]`.

    With a loss that is the sum of the networks' own losses (`labels_each`) and an optimiser that treats every weight by itself, each learns as
    it would alone. Raises ValueError for networks of different shapes.
    """
    shapes = [[tuple(p.shape) for p in network.parameters()] for network in networks]
    if not networks or any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"{len(networks)} networks of shapes {shapes[:2]}…; expected at least one, all of one shape")
    stack, copies = nn.Sequential(), len(networks)
    for name, layer in networks[0].named_children():
        twins = [network.get_submodule(name) for network in networks]
        if isinstance(layer, nn.Conv2d):
            groups = copies if len(stack) else 1  # all first layers look at the same images
            joined = nn.Conv2d(groups * layer.in_channels, copies * layer.out_channels, layer.kernel_size,
                               padding=layer.padding, groups=groups, bias=False)  # fmt: skip
            joined.weight = nn.Parameter(torch.cat([twin.weight.detach() for twin in twins]))
        elif isinstance(layer, nn.GroupNorm):
            joined = _InstanceNorm(copies * layer.num_channels)
            joined.weight = nn.Parameter(torch.cat([twin.weight.detach() for twin in twins]))
            joined.bias = nn.Parameter(torch.cat([twin.bias.detach() for twin in twins]))
        elif isinstance(layer, nn.Flatten):
            continue
        else:
            joined = _Heads(twins) if isinstance(layer, nn.Linear) else layer
        stack.add_module(name, joined)
    return stack


# ---- what a synthetic set is worth ------------------------------------------------------------------------------------


def as_probabilities(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Labels `[N]` as one-hot rows, soft ones `[N,K]` as they are: float32 `[N,K]`."""
    return F.one_hot(labels, classes).float() if labels.ndim == 1 else labels.float()


def labels_each():
    """A loss for `fit`: cross-entropy with hard `[N]` or soft `[N,K]` labels, mean over images, summed over the networks of a stack."""

    def loss(model, batch):
        logits = model(batch.images)
        logits = logits if logits.ndim == 3 else logits[:, None]
        wanted = as_probabilities(batch.labels, logits.shape[2])
        return -(wanted[:, None] * F.log_softmax(logits, dim=2)).sum() / len(wanted)

    return loss


def evaluate(
    condensed: Split,
    judged: Split,
    *,
    networks: int,
    phases,
    seed: int,
    width: int = 32,
    make=None,
    augment=None,
    optimizer=None,
    schedule: str = "one_cycle",
    batch_size: int = 256,
    together: int = 5,
) -> torch.Tensor:
    """Train `networks` newborn networks on `condensed` alone, and say which images of `judged` each classifies correctly: bool `[networks, N]`.

    phases: (epochs, learning rate) pairs, one after the other, in batches of up to `batch_size`. ConvNets of `width` are trained `together` at a time;
    make: seed → network, for another kind, one at a time. `seed` gives each its own initial weights. augment, optimizer, schedule: as for `fit`.
    Zhao et al.: 20 ConvNets of width 128, SGD with momentum 0.9 and weight decay 5e-4, phases (500, 0.01) and (500, 0.001), schedule "constant".
    """
    classes = condensed.labels.shape[1] if condensed.labels.ndim == 2 else int(judged.labels.max()) + 1
    shape = {"classes": classes, "channels": condensed.images.shape[1], "size": condensed.images.shape[2]}
    right, together = [], 1 if make else together
    for first in range(0, networks, together):
        seeds = [stream_seed(seed, f"fresh/{k}") for k in range(first, min(first + together, networks))]
        model = make(seeds[0]) if make else side_by_side([convnet(width, seed=s, **shape) for s in seeds])
        for phase, (epochs, learning_rate) in enumerate(phases):
            training.fit(
                model,
                condensed,
                labels_each(),
                epochs=epochs,
                batch_size=min(batch_size, len(condensed)),
                learning_rate=learning_rate,
                seed=stream_seed(seed, f"evaluate/{first}/{phase}"),
                augment=augment,
                optimizer=optimizer,
                schedule=schedule,
            )
        right.append(judged.labels.cpu() == _answers(model, judged.images).view(len(judged), -1).T)
    return torch.cat(right)


@torch.no_grad()
def _answers(model: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    """The classes that the network, or each of a stack, answers: features in the lesson's dtype, the last layer in float32, so that no answers tie."""
    device = next(model.parameters()).device
    model.eval()
    logits = [model[-1](_real_side(model[:-1], to_float(part.to(device))).float()) for part in images.split(100)]
    return torch.cat(logits).argmax(dim=-1).cpu()


def wobble(shift: float = 2.0, turn: float = 15.0, zoom: float = 0.2):
    """An augmentation: images `[N,C,H,W]` moved by up to `shift` pixels, turned by up to `turn` degrees, zoomed by up to 1 + `zoom` either way.

    Takes a batch and a torch.Generator, returns (float images, None), as `fit` wants it. With `alike=True` all images of the batch
    undergo the same change; gradients pass. Source of the idea: Zhao & Bilen 2021 (one and the same augmentation for real and synthetic images).
    """

    def augment(images, generator, alike: bool = False):
        drawn = (2 * torch.rand(4, 1 if alike else len(images), generator=generator) - 1).expand(4, len(images))
        values = {"turn": turn * drawn[0], "zoom": (1 + zoom) ** drawn[1], "right": shift * drawn[2], "down": shift * drawn[3]}
        return unlabelled.transform(images, **values), None

    return augment


# ---- objectives: how far is the synthetic set from the real one, as one network sees it -------------------------------
# Each takes a network from `convnet`, synthetic images [K,n,C,H,W] with labels [K,n,K], and real images [K,b,C,H,W], class by class.


def _real_side(function, *arguments):
    """What needs no gradient with respect to the synthetic images, in the lesson's dtype."""
    dtype = lesson.dtype()
    with torch.autocast(lesson.device().type, dtype, enabled=dtype != torch.float32):
        return function(*arguments)


def _embed(network, images):
    """`[K,n,C,H,W]` → the features before the last layer, `[K,n,D]`."""
    return network[:-1](images.flatten(0, 1)).unflatten(0, images.shape[:2])


def distribution_matching(network, synthetic, labels, real) -> torch.Tensor:
    """Squared distance of the mean features of each class's synthetic images from its real images', mean over classes.

    Source: Zhao & Bilen 2023, equation 4. The labels play no part.
    """
    with torch.no_grad():
        wanted = _real_side(_embed, network, real).to(synthetic.dtype).mean(dim=1)
    return (_embed(network, synthetic).mean(dim=1) - wanted).pow(2).sum(dim=1).mean()


def class_gradients(network, images, labels, create_graph: bool = False) -> list[torch.Tensor]:
    """For each layer with weights, the gradient of each class's own mean loss: `[K, out, fan_in]`, of all classes in one pass.

    images `[K,n,C,H,W]`, labels `[K,n,K]` (probabilities). One backward pass gives the gradients of all layers' outputs; a weight's gradient is their
    product with the layer's inputs, added up within each class only.
    """
    groups, inputs, outputs, x = images.shape[:2], [], [], images.flatten(0, 1)
    for layer in network:
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            x = layer(x)
            continue
        inputs.append(x)
        x = layer(x)
        if not x.requires_grad:
            x.requires_grad_()
        outputs.append(x)
    loss = -(labels.flatten(0, 1) * F.log_softmax(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)).sum() / groups[1]
    gradients = []
    for layer, before, after in zip(
        [layer for layer in network if isinstance(layer, nn.Conv2d | nn.Linear)],
        inputs,
        torch.autograd.grad(loss, outputs, create_graph=create_graph),
    ):
        before, after = (t.unflatten(0, groups) for t in (before.to(after.dtype), after))
        if isinstance(layer, nn.Conv2d):  # the classes become the groups of one convolution: [n, K·C, H, W]
            before, after = (t.transpose(0, 1).flatten(1, 2) for t in (before, after))
            gradients.append(_weight_gradient(layer, before, after, groups[0]).flatten(1).unflatten(0, (groups[0], -1)))
        else:
            gradients.append(after.mT @ before)
    return gradients


def _weight_gradient(layer, inputs, slopes, groups: int):
    """The gradient of a grouped convolution's weight, `[groups·out, fan_in, h, w]`; itself differentiable."""
    weight = layer.weight.detach().to(slopes.dtype).repeat(groups, 1, 1, 1)  # only its shape is read
    options = (None, layer.stride, layer.padding, layer.dilation, False, (0, 0), groups, (False, True, False))
    return torch.ops.aten.convolution_backward(slopes, inputs, weight, *options)[1]


def gradient_matching(network, synthetic, labels, real) -> torch.Tensor:
    """1 - cosine between the weight gradients that synthetic and real images cause, added up over output channels and layers, mean over classes.

    Source: Zhao, Mopuri & Bilen 2021, equations 9 and 10.
    """
    truth = torch.eye(len(real), labels.shape[2], device=labels.device)[:, None].expand(-1, real.shape[1], -1)
    wanted = _real_side(class_gradients, network, real, truth)
    found = class_gradients(network, synthetic, labels, create_graph=True)
    return sum((1 - F.cosine_similarity(f, w.to(f.dtype), dim=2, eps=1e-6)).sum(dim=1).mean() for f, w in zip(found, wanted))


def kernel_regression(network, synthetic, labels, real, ridge: float = 1e-3) -> torch.Tensor:
    """Squared error, on real images, of kernel ridge regression from the synthetic images in the network's features; half the sum over classes, mean
    over images.

    `ridge` is relative to the mean of the kernel's diagonal. Targets are centred: probability - 1/K. Solved in float64.
    Source: Nguyen et al. 2021 (kernel of an infinite network), Zhou et al. 2022, section 3 (features of networks in training).
    """
    with torch.no_grad():
        seen = _real_side(_embed, network, real).flatten(0, 1).double()
    own, classes = _embed(network, synthetic).flatten(0, 1).double(), labels.shape[2]
    gram = own @ own.T
    level = ridge * gram.diagonal().mean().expand(len(gram)).diag()
    solved = torch.linalg.solve(gram + level, labels.flatten(0, 1).double() - 1 / classes)
    predicted = (seen @ own.T) @ solved
    truth = torch.eye(classes, dtype=torch.float64, device=gram.device)[: len(real)].repeat_interleave(real.shape[1], dim=0) - 1 / classes
    return 0.5 * (predicted - truth).pow(2).sum(dim=1).mean().to(synthetic.dtype)


# ---- the loop that all objectives share -------------------------------------------------------------------------------


def _class_by_class(split: Split, what: str) -> torch.Tensor:
    """The indices of each class's images, `[K, n]`; n is the smallest class's number."""
    if split.labels.ndim != 1:
        raise ValueError(f"{what} have labels of shape {tuple(split.labels.shape)}; expected classes [N]")
    rows = [(split.labels == label).nonzero().flatten() for label in split.labels.unique()]
    return torch.stack([row[: min(map(len, rows))] for row in rows])


def condense(
    start: Split,
    real: Split,
    objective,
    *,
    make,
    steps: int,
    learning_rate: float,
    seed: int,
    batch: int = 64,
    learn=("images",),
    label_rate: float | None = None,
    render=None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    augment=None,
    watch: int = 0,
) -> tuple[Split, dict]:
    """Change the images of `start`, or their labels, until `objective` finds them like the real ones; returns the set and a record.

    start: images sorted by class, equally many of each, labels `[N]`, or soft `[N,K]` in that order. objective: one of this module's. make: seed → a newborn
    network; every step asks another one, as features of newborn networks suit short budgets (networks in training made worse sets in our pilots).
    batch: real images of each class a step. learn: "images", "labels" or both. render: stored images `[N,…]` → the images that networks see (N or a
    multiple, class by class), such as `enlarge` of smaller ones or a generator of its latents; the returned set holds what is stored. bounds: where
    stored values are kept. augment: see `wobble`; real and synthetic images undergo the same change.
    watch: keep a copy of the set every so many steps (record["history"] `[T,N,…]`, record["watched"] the steps, record["spent"] the seconds).
    Adam with a cosine schedule. Raises ValueError for classes of different size, FloatingPointError when the objective stops being finite.
    """
    if not set(learn) <= {"images", "labels"} or not learn:
        raise ValueError(f"learn is {tuple(learn)}; expected 'images', 'labels' or both")
    device, members = lesson.device(), _class_by_class(real, "the real images")
    classes = len(members)
    if len(start) % classes or (start.labels.ndim == 1 and not torch.equal(start.labels, start.labels.unique().repeat_interleave(len(start) // classes))):
        raise ValueError(f"{len(start)} images to start from for {classes} classes; expected equally many of each, sorted by class")
    images = to_float(start.images).to(device).clone().requires_grad_("images" in learn)
    given = as_probabilities(start.labels, classes).to(device)
    # Learned labels are a softmax of free numbers; they start near the given ones, where its gradient has not died out.
    free = (0.9 * given + 0.1 / classes).log().requires_grad_("labels" in learn)
    groups = [{"params": [images], "lr": learning_rate}] * ("images" in learn)
    groups += [{"params": [free], "lr": label_rate or learning_rate}] * ("labels" in learn)
    optimiser = torch.optim.Adam(groups, betas=(0.9, 0.99))
    schedule, pixels = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps), real.images.to(device)
    generator, started, spent = stream(seed, "condense"), time.perf_counter(), []
    record = {"loss": [], "watched": [], "history": []}
    for step in range(steps + 1):
        if watch and (step % watch == 0 or step == steps):
            record["watched"].append(step)
            record["history"].append(images.detach().cpu().clone())
            spent.append(time.perf_counter() - started)
        if step == steps:
            break
        chosen = torch.randint(members.shape[1], (classes, batch), generator=generator)
        truth = to_float(pixels[members.gather(1, chosen).flatten()])
        shown = images if render is None else render(images)
        labels = (free.softmax(dim=1) if "labels" in learn else given).repeat_interleave(len(shown) // len(images), dim=0)
        ours = shown
        if augment is not None:
            both, _ = augment(torch.cat([truth, shown]), generator, alike=True)
            truth, ours = both[: len(truth)].detach(), both[len(truth) :]
        network = make(stream_seed(seed, f"pool/{step}")).to(device, memory_format=torch.channels_last)
        value = objective(network, *(t.unflatten(0, (classes, -1)) for t in (ours, labels, truth)))
        record["loss"].append(value.item())
        if not math.isfinite(record["loss"][-1]):
            raise FloatingPointError(f"step {step + 1}: the objective is {record['loss'][-1]}; lower the learning rate ({learning_rate:g})")
        optimiser.zero_grad(set_to_none=True)
        value.backward(inputs=[group["params"][0] for group in groups])  # and not the network's weights
        optimiser.step()
        schedule.step()
        if bounds is not None:
            images.data.clamp_(*bounds)
    record |= {"seconds": time.perf_counter() - started, "spent": spent}
    record["history"] = torch.stack(record["history"]) if watch else None
    labels = free.softmax(dim=1) if "labels" in learn else given
    return Split(images.detach().cpu(), start.labels if "labels" not in learn else labels.detach().cpu()), record


def enlarge(images: torch.Tensor, factor: int = 2) -> torch.Tensor:
    """Images `[N,C,H,W]` enlarged `factor` times each way, bilinear. factor² smaller images take the place of one: Kim et al. 2022, section 3.2."""
    return F.interpolate(to_float(images), scale_factor=factor, mode="bilinear", align_corners=False)


# ---- where the images come from, and what has to be beaten --------------------------------------------------------------------------------------------


def pictures(dataset: str, size: int = 28, part: str = "test") -> tuple[Split, Split]:
    """(training images, judged images) of a data set, shrunk to `size` pixels; all but the last 10,000 training images, which part="validation" judges.

    The tensors are shared, do not write into them.
    """
    data.load(dataset)  # in every trial, so that its result names what it read
    return _pictures(dataset, size, part)


@lru_cache(maxsize=8)
def _pictures(dataset: str, size: int, part: str) -> tuple[Split, Split]:
    whole = data.load(dataset)
    train, validation = data.hold_out(whole.train)
    judged = {"test": whole.test, "validation": validation}[part]
    factor = train.images.shape[2] // size
    return (train, judged) if factor == 1 else (data.shrink(train, factor), data.shrink(judged, factor))


def random_examples(split: Split, per_class: int, seed: int) -> Split:
    """`per_class` real examples of each class, drawn without replacement, sorted by class."""
    members, generator = _class_by_class(split, "the images"), stream(seed, "examples")
    if not 0 < per_class <= members.shape[1]:
        raise ValueError(f"per_class is {per_class}; the smallest class has {members.shape[1]} examples")
    drawn = [row[torch.randperm(len(row), generator=generator)[:per_class]] for row in members]
    return split[torch.cat(drawn)]


def class_centres(split: Split, per_class: int, seed: int, rounds: int = 20) -> Split:
    """The centres of `per_class` clusters of pixels in each class (k-means, begun at random examples): float images in [0, 1], sorted by class.

    One centre is the mean of the class. Source: Lloyd 1982.
    """
    begun = random_examples(split, per_class, seed)
    points, centres = to_float(split.images).flatten(1), to_float(begun.images).flatten(1).clone()
    for label in begun.labels.unique():
        mine, here = points[split.labels == label], begun.labels == label
        for _ in range(rounds if per_class > 1 else 1):
            nearest = torch.cdist(mine, centres[here]).argmin(dim=1)
            sums = torch.zeros(per_class, mine.shape[1]).index_add_(0, nearest, mine)
            counts = nearest.bincount(minlength=per_class)[:, None]
            centres[here] = torch.where(counts > 0, sums / counts.clamp(min=1), centres[here])  # an empty cluster stays
    return Split(centres.view(begun.images.shape), begun.labels)


# ---- a file for others ------------------------------------------------------------------------------------------------


def save(path, condensed: Split, classes=()) -> int:
    """Write a synthetic set as NAME.npz that `kd.load(NAME)` reads; returns its size in bytes.

    Values within [0, 1] are stored as bytes (`to_float` gives them back to half a step of 1/255), others as float32; labels int64 `[N]` or float32 `[N,K]`.
    The file has no test images: a synthetic set is judged on real ones.
    """
    path, images = Path(path), condensed.images
    if path.suffix != ".npz":
        raise ValueError(f"{path} is to hold a synthetic set; expected a name that ends in .npz")
    if images.dtype != torch.uint8 and images.numel() and images.min() >= 0 and images.max() <= 1:
        images = (images * 255).round().to(torch.uint8)
    labels = condensed.labels if condensed.labels.ndim == 1 else condensed.labels.float()
    arrays = {"train_images": images.numpy(), "train_labels": labels.numpy()}
    arrays |= {"test_images": images[:0].numpy(), "test_labels": np.zeros(0, np.int64)}
    if len(classes):
        arrays["classes"] = np.array(classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.stem + ".tmp.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(path)
    return path.stat().st_size
