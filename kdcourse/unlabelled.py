"""Labels that a network gives to images nobody labelled, and what may be done with them."""

import math

import torch
import torch.nn.functional as F

from kdcourse.data import to_float
from kdcourse.models import stream
from kdcourse.training import predict_logits


def transform(images: torch.Tensor, turn=0.0, zoom=1.0, down=0.0, right=0.0, mirror=False) -> torch.Tensor:
    """Images `[N,C,H,W]` turned by `turn` degrees (clockwise) about their centre, enlarged `zoom` times, moved by `down` and `right` pixels, zeros moving in.

    Each of the five is one value for all images or a tensor `[N]`; mirror swaps left and right first. Float32, pixels of uint8 images in [0, 1], bilinear
    between pixels. Raises ValueError for other shapes, a zoom that is not positive, or a tensor of another length.
    """
    if images.ndim != 4:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected [N, channels, height, width]")
    images, (count, _, height, width) = to_float(images), images.shape
    values = []
    for name, value in (("turn", turn), ("zoom", zoom), ("down", down), ("right", right), ("mirror", mirror)):
        value = torch.as_tensor(value, dtype=torch.float32, device=images.device)
        if value.ndim > 1 or (value.ndim == 1 and len(value) != count):
            raise ValueError(f"{name} has shape {tuple(value.shape)}; expected one value, or one for each of the {count} images")
        values.append(value.expand(count))
    turn, zoom, down, right, mirror = values
    if not (zoom > 0).all():
        raise ValueError(f"zoom goes down to {zoom.min():g}; expected positive numbers")
    angle, side = turn * (math.pi / 180), 1 - 2 * mirror
    # grid_sample asks where each pixel of the result comes from: back by the move, then by the turn and the zoom; its unit is half an image.
    y, x = 2 * down / height, 2 * right / width
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    aspect = height / width
    first = torch.stack([side * cos, side * sin * aspect, -side * (cos * x + sin * aspect * y)], dim=1)
    second = torch.stack([-sin / aspect, cos, sin / aspect * x - cos * y], dim=1)
    # As F.affine_grid, in one product for the whole batch, which takes a fifth of its time.
    across, along = (2 * torch.arange(side_length, device=images.device) / side_length + 1 / side_length - 1 for side_length in (width, height))
    pixels = torch.stack([across.repeat(height), along.repeat_interleave(width), torch.ones(height * width, device=images.device)])
    grid = torch.stack([first @ pixels, second @ pixels], dim=2).view(count, height, width, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _draw(count: int, generator, turn: float, zoom: float, shift: float, mirror: bool) -> dict:
    uniform = 2 * torch.rand(4, count, generator=generator) - 1
    drawn = {"turn": turn * uniform[0], "zoom": 1 + zoom * uniform[1], "down": shift * uniform[2], "right": shift * uniform[3]}
    return drawn | ({"mirror": torch.rand(count, generator=generator) < 0.5} if mirror else {})


def _check_limits(turn: float, zoom: float, shift: float) -> None:
    if not turn >= 0 or not 0 <= zoom < 1 or not shift >= 0:
        raise ValueError(f"turn {turn}, zoom {zoom}, shift {shift}; expected turn ≥ 0 degrees, 0 ≤ zoom < 1, shift ≥ 0 pixels")


def random_transform(turn: float = 0.0, zoom: float = 0.0, shift: float = 0.0, mirror: bool = False):
    """An augmentation for `fit`: every image gets a `transform` of its own, drawn anew in each step.

    turn: up to so many degrees each way. zoom: by factors from 1 - zoom to 1 + zoom. shift: up to so many pixels in each direction. mirror: half of the images.
    Raises ValueError for negative limits or a zoom of 1 and more.
    """
    _check_limits(turn, zoom, shift)

    def augment(images, generator):
        drawn = {name: value.to(images.device) for name, value in _draw(len(images), generator, turn, zoom, shift, mirror).items()}
        return transform(images, **drawn), torch.zeros(len(images), dtype=torch.int64, device=images.device)

    augment.variants = 1  # whatever the transform, an image keeps its one label
    return augment


def views(count: int, seed: int, turn: float = 0.0, zoom: float = 0.0, shift: float = 0.0, mirror: bool = False) -> list[dict]:
    """`count` transforms to look at images through: the image as it is, then draws from the limits of `random_transform`, the same for all images.

    A list of arguments for `transform`. More of them begin with the fewer ones of the same seed. Raises ValueError for less than one, and as `random_transform` does.
    """
    _check_limits(turn, zoom, shift)
    if count < 1:
        raise ValueError(f"{count} views; expected at least 1")
    drawn = [_draw(1, stream(seed, f"view/{number}"), turn, zoom, shift, mirror) for number in range(1, count)]
    return [{}, *({name: value.item() for name, value in one.items()} for one in drawn)]


def answers(model, images: torch.Tensor, through: list[dict], batch_size: int = 500) -> torch.Tensor:
    """The model's probabilities `[V,N,K]` for images `[N,C,H,W]` seen through each of V `views`. Raises ValueError without a view."""
    if not through:
        raise ValueError("no view to look through; expected at least one, as `views` makes them")
    parts = images.split(batch_size)
    return torch.stack(
        [torch.cat([F.softmax(predict_logits(model, transform(part, **view) if view else part), dim=1) for part in parts]) for view in through]
    )


def transform_ensemble(model, images: torch.Tensor, through: list[dict]) -> torch.Tensor:
    """What one model says of images `[N,C,H,W]` when it sees each of them through V `views`: the mean of its V probabilities, `[N,K]`.

    Raises ValueError without a view. Source: Radosavovic et al. 2018, section 3 (multi-transform inference; their boxes and keypoints are averaged likewise).
    """
    return answers(model, images, through).mean(dim=0)


def most_confident(probabilities: torch.Tensor, count: int) -> torch.Tensor:
    """Of each predicted class the `count` images with the highest confidence, or all where there are fewer: a sorted index, int64.

    probabilities `[N,K]`; an image's class is its largest probability, and that is its confidence. Ties: the earlier image. Raises ValueError for other shapes or
    count < 1. Source: Xie et al. 2020 (Noisy Student) balance their classes so, with repeats where a class has too few.
    """
    if probabilities.ndim != 2 or count < 1:
        raise ValueError(f"{count} of {tuple(probabilities.shape)}; expected probabilities [N, K] and at least 1 image a class")
    confidence, predicted = probabilities.max(dim=1)
    kept = []
    for label in predicted.unique():
        rows = (predicted == label).nonzero().flatten()
        kept.append(rows[confidence[rows].argsort(descending=True, stable=True)[:count]])
    return torch.cat(kept).sort().values if kept else torch.empty(0, dtype=torch.int64)
