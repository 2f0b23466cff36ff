"""What the inside of a network says, and objectives that match it: taps, similarity of layers, contrastive distillation; the networks of lesson 06."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from kdcourse import data, lesson, losses, models, training


def tap(model: nn.Module, images: torch.Tensor, layers) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The model's output for a batch, and the outputs of its named `layers` on the way, in float32.

    layers: names of submodules as in `model.named_modules()`. Gradients flow through all of them. Raises ValueError for a name that is not there.
    """
    modules, caught = dict(model.named_modules()), {}
    missing = [name for name in layers if name not in modules]
    if missing:
        raise ValueError(f"no layer {', '.join(missing)} in the model; it has {', '.join(filter(None, modules))}")

    def keep(name):
        def hook(module, inputs, output):
            caught[name] = output.float()

        return hook

    hooks = [modules[name].register_forward_hook(keep(name)) for name in set(layers)]
    try:
        output = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return output.float(), [caught[name] for name in layers]


@torch.no_grad()
def activations(
    model: nn.Module, images: torch.Tensor, layers, batch_size: int = 500
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """`tap` for many images (uint8 or float `[N,C,H,W]`) in evaluation mode, without gradients, on the CPU in float32: (logits, features)."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    parts = [tap(model, data.to_float(part.to(device)), layers) for part in images.split(batch_size)]
    model.train(was_training)
    logits = torch.cat([logits.cpu() for logits, _ in parts])
    return logits, [torch.cat([features[k].cpu() for _, features in parts]) for k in range(len(layers))]


def pack(tensors) -> torch.Tensor:
    """Several tensors of N rows side by side, `[N, D]`: what `fit` takes as the teacher's targets."""
    return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)


def unpack(packed: torch.Tensor, shapes) -> list[torch.Tensor]:
    """The tensors behind `pack`, given their shapes without the first dimension. Raises ValueError when they do not add up to the rows."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    if packed.ndim != 2 or sum(sizes) != packed.shape[1]:
        raise ValueError(
            f"shapes {list(map(tuple, shapes))} need {sum(sizes)} columns; the tensor is {tuple(packed.shape)}"
        )
    return [part.reshape(len(packed), *shape) for part, shape in zip(packed.split(sizes, dim=1), shapes)]


def same_grid(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two feature maps `[N,C,H,W]`, the finer one averaged down to the other's height and width."""
    if student.ndim != 4 or teacher.ndim != 4:
        raise ValueError(
            f"features have shapes {tuple(student.shape)} and {tuple(teacher.shape)}; expected [N, C, H, W] for both"
        )
    grid = tuple(map(min, student.shape[2:], teacher.shape[2:]))
    return tuple(maps if maps.shape[2:] == grid else F.adaptive_avg_pool2d(maps, grid) for maps in (student, teacher))


def _centred(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if len(x) != len(y) or len(x) < 2 or min(x.ndim, y.ndim) < 2:
        raise ValueError(
            f"activations have shapes {tuple(x.shape)} and {tuple(y.shape)}; expected [N, …] with the same N ≥ 2"
        )
    x, y = x.flatten(1).double(), y.flatten(1).double()
    return x - x.mean(dim=0), y - y.mean(dim=0)


def linear_cka(x: torch.Tensor, y: torch.Tensor) -> float:
    """Linear centred kernel alignment of two layers' activations `[N,…]` for the same N images; from 0 to 1.

    1 for layers equal up to rotation, scale and shift. 0 when either is constant. Raises ValueError for shapes that do not fit.
    Source: Kornblith et al. 2019, section 3 (the biased estimator).
    """
    x, y = _centred(x, y)
    # With fewer images than features the N×N Gram matrices are the smaller ones; the value is the same.
    if len(x) < max(x.shape[1], y.shape[1]):
        x, y = x @ x.T, y @ y.T
        cross, own = (x * y).sum(), x.norm() * y.norm()
    else:
        cross, own = (x.T @ y).pow(2).sum(), (x.T @ x).norm() * (y.T @ y).norm()
    return float(cross / own) if own > 0 else 0.0


def regression_fit(x: torch.Tensor, y: torch.Tensor, ridge: float = 1e-3) -> float:
    """How much of `y`'s variance a linear map of `x` explains on images it was not fitted to: R², at most 1.

    Activations `[N,…]` of the same images; fitted on every other image, judged on the rest. ridge: in units of x's mean variance times images.
    Not symmetric: x is the student's layer, y the teacher's. Raises ValueError for shapes that do not fit and fewer than 4 images.
    Source: linear regression as in Kornblith et al. 2019, section 4.1, here with held-out images.
    """
    if len(x) < 4:
        raise ValueError(f"{len(x)} images; expected at least 4")
    _centred(x, y)
    x, y = x.flatten(1).double(), y.flatten(1).double()
    centre_x, centre_y = x[::2].mean(dim=0), y[::2].mean(dim=0)
    inside, wanted, outside, judged = x[::2] - centre_x, y[::2] - centre_y, x[1::2] - centre_x, y[1::2] - centre_y
    strength = ridge * inside.pow(2).sum() / inside.shape[1] + torch.finfo(torch.float64).tiny
    # Two forms of the same solution; the smaller system is solved.
    if inside.shape[1] <= len(inside):
        gram = inside.T @ inside + strength * torch.eye(inside.shape[1], dtype=torch.float64)
        guessed = outside @ torch.linalg.solve(gram, inside.T @ wanted)
    else:
        gram = inside @ inside.T + strength * torch.eye(len(inside), dtype=torch.float64)
        guessed = outside @ (inside.T @ torch.linalg.solve(gram, wanted))
    total = (judged - judged.mean(dim=0)).pow(2).sum()
    return float(1 - (judged - guessed).pow(2).sum() / total) if total > 0 else 0.0


def contrastive_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    temperature: float = 0.1,
    labels: torch.Tensor | None = None,
    population: int | None = None,
) -> torch.Tensor:
    """Contrastive representation distillation: tell the teacher's embedding of the same image from those of the batch's other images.

    Embeddings `[N,D]` of one width, scaled to length 1 here. With e = exp(s·t/τ), n negatives of an image and h = e / (e + n·c): minus log h of its own
    pair, minus the sum of log(1 − h) over its negatives, mean over the batch; a scalar in nats. c is the batch's mean e, without gradient (their code fixes it in
    the first batch); with `population`, M images in the transfer set, it is 1/M as the paper prints it. labels: int64 `[N]`; images of the same class are then no
    negatives. Negatives are the batch's; the paper draws thousands from a memory of all images' embeddings, which are as old as their image's last visit.
    Gradients reach both embeddings. Raises ValueError for shapes that differ, fewer than 2 images, τ ≤ 0, a population below the batch.
    Source: Tian, Krishnan & Isola 2020 (CRD), equations 9, 10 and 19, and their code's normalisation.
    """
    if student.ndim != 2 or student.shape != teacher.shape or len(student) < 2:
        raise ValueError(
            f"embeddings have shapes {tuple(student.shape)} and {tuple(teacher.shape)}; expected the same [N, D] with N ≥ 2 (add projections)"
        )
    if not temperature > 0 or (population is not None and population < len(student)):
        raise ValueError(
            f"temperature is {temperature}, population {population}; expected T > 0 and at least {len(student)} images"
        )
    own = torch.eye(len(student), dtype=torch.bool, device=student.device)
    negative = ~own if labels is None else labels[:, None] != labels[None, :]
    student, teacher = (x if x.dtype == torch.float64 else x.float() for x in (student, teacher))
    scores = F.normalize(student, dim=1) @ F.normalize(teacher, dim=1).T / temperature
    log_mean = scores.detach().flatten().logsumexp(dim=0) - math.log(scores.numel())
    log_noise = log_mean if population is None else -math.log(population)
    # h is the logistic function of score − log(n·c): both logarithms are softplus, which does not overflow.
    margin = scores - negative.sum(dim=1, keepdim=True).clamp_min(1).log() - log_noise
    return (F.softplus(-margin).diagonal() + (F.softplus(margin) * negative).sum(dim=1)).mean()


# ---- the networks of lesson 06 ----


def network(kind: str, dataset: str, seed: int) -> nn.Module:
    """A network of lesson 06 for 14×14 MNIST ("mnist", "fashion_mnist") or for CIFAR ("cifar10"), by its kind.

    deep: five convolutional layers, the teacher with an inside to match. thin, thin_norm: eight narrow ones, without and with batch norm. cnn, mlp, attention:
    one small network of each family. Raises ValueError for a kind or data set that is not among these.
    """
    grey = {
        "deep": lambda **kw: models.deep_cnn(16, 16, 32, 32, 32, pools=(2, 5), **kw),
        "thin": lambda **kw: models.deep_cnn(*[8] * 8, pools=(1, 5), norm=False, **kw),
        "thin_norm": lambda **kw: models.deep_cnn(*[8] * 8, pools=(1, 5), **kw),
        "cnn": lambda **kw: models.deep_cnn(8, 16, pools=(1, 2), **kw),
        "attention": lambda **kw: models.attention_net(32, 2, patch=5, **kw),
        "mlp": lambda size, channels, seed: models.mlp(channels * size**2, 100, 100, 10, seed=seed),
    }
    colour = {
        "deep": lambda **kw: models.deep_cnn(64, 64, 128, 128, 256, pools=(2, 3, 5), **kw),
        "thin": lambda **kw: models.deep_cnn(*[32] * 13, pools=(2, 5, 9), norm=False, **kw),
        "thin_norm": lambda **kw: models.deep_cnn(*[32] * 13, pools=(2, 5, 9), **kw),
        "cnn": lambda **kw: models.deep_cnn(32, 64, pools=(1, 2), **kw),
        "attention": lambda **kw: models.attention_net(128, 6, heads=4, **kw),
        "mlp": lambda size, channels, seed: models.mlp(channels * size**2, 1000, 1000, 10, seed=seed),
    }
    sizes = {"mnist": (14, 1), "fashion_mnist": (14, 1), "cifar10": (32, 3)}
    if kind not in grey or dataset not in sizes:
        raise ValueError(
            f"no network {kind!r} for {dataset!r}; expected one of {', '.join(grey)} for {', '.join(sizes)}"
        )
    size, channels = sizes[dataset]
    return (grey if channels == 1 else colour)[kind](size=size, channels=channels, seed=seed)


def images_for(dataset: str, count: int | None = None, part: str = "test"):
    """(transfer set, judged images) of lesson 06: the first `count` training images, and the "test" or "validation" part; grey images at half size."""
    whole = data.load(dataset)
    train, validation = data.hold_out(whole.train)
    transfer, judged = train[:count], {"test": whole.test, "validation": validation}[part]
    return (transfer, judged) if whole.train.images.shape[1] == 3 else (data.shrink(transfer), data.shrink(judged))


def teacher(kind: str, dataset: str, epochs: int, learning_rate: float, seed: int, count: int | None = None) -> dict:
    """A network of lesson 06 trained on labels, with images moved a little, on all but the last 10,000 training images: its weights and record."""
    train, _ = images_for(dataset, count)
    model = network(kind, dataset, seed)
    reach = train.images.shape[2] // 14  # 1 pixel of 14, 2 of 32
    settings = {"epochs": epochs, "batch_size": 128, "learning_rate": learning_rate, "seed": seed}
    record = training.fit(model, train, losses.hard_labels(), augment=data.jitter(reach), **settings)
    return record | {"weights": model.state_dict()}


def rebuild(kind: str, dataset: str, seed: int, weights: dict) -> nn.Module:
    """The network behind a `teacher`'s result, ready to predict."""
    model = network(kind, dataset, seed)
    model.load_state_dict(weights)
    return model.to(lesson.device()).eval()


def birth(model: nn.Module) -> str:
    """A hash of a network's weights as they are: taken before training, it shows which students were born alike, whatever is trained beside them."""
    return training._hash_weights(model)
