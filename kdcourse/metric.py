"""Metric learning: objectives on embeddings, how well an embedding finds images of classes nobody trained it on, and lesson 07's data and teachers."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn

from kdcourse import data, lesson, losses, models, training

NEAR, FAR = 0.5, 1.4  # distances on the unit sphere between which distance weighting works, as in Wu et al.'s code


def _check(embeddings: torch.Tensor, labels: torch.Tensor) -> None:
    if embeddings.ndim != 2 or labels.ndim != 1 or len(embeddings) != len(labels) or len(labels) < 2:
        raise ValueError(
            f"got embeddings {tuple(embeddings.shape)} and labels {tuple(labels.shape)}; expected [N, D] and [N] with N ≥ 2"
        )


def _distances(points: torch.Tensor) -> torch.Tensor:
    """All distances `[N,N]` of rows; from the Gram matrix, with a floor that keeps the gradient of a zero distance finite."""
    squares = points.pow(2).sum(dim=1)
    return (squares[:, None] + squares - 2 * points @ points.T).clamp_min(1e-8).sqrt()


def triplet_loss(embeddings: torch.Tensor, labels: torch.Tensor, margin: float = 0.2) -> torch.Tensor:
    """How far positives are from being nearer than negatives by `margin`: mean over all anchors and positives of a batch.

    Embeddings `[N,D]` are put on the unit sphere, labels `[N]`; a scalar, 0 without positives or negatives. For every anchor the negatives are weighted by how rare their
    distance is on the sphere, which is the expectation of distance-weighted sampling (Wu et al. 2017, section 4.1). Raises ValueError for a margin ≤ 0 and for
    shapes that do not fit. Source: Schroff et al. 2015, equation 1, with plain distances as in Park et al. 2019.
    """
    _check(embeddings, labels)
    if not margin > 0:
        raise ValueError(f"margin is {margin}; expected a positive number")
    distances, width = _distances(F.normalize(embeddings.float(), dim=1)), embeddings.shape[1]
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    with torch.no_grad():
        d = distances.clamp(NEAR, FAR)
        rare = -(width - 2) * d.log() - (width - 3) / 2 * (1 - d.pow(2) / 4).log()
        usable = ~same & (distances < FAR)
        # A row without usable negatives has weight 0.
        weight = F.softmax(rare.masked_fill(~usable, -math.inf), dim=1).nan_to_num(0.0)
    anchor, partner = positive.nonzero(as_tuple=True)
    hinge = F.relu(distances[anchor, partner][:, None] - distances[anchor] + margin)
    return (weight[anchor] * hinge).sum() / max(1, len(anchor))


def _pictures(batch) -> torch.Tensor:
    """Images `[B·G,1,H,W]`: an example of a grouped split is `G` images of one class."""
    return batch.images.flatten(0, 1)[:, None] if batch.images.shape[1] > 1 else batch.images


def _labels(batch) -> torch.Tensor:
    return batch.labels.repeat_interleave(batch.images.shape[1])


def triplet(margin: float = 0.2):
    """The loss of metric learning for `fit`: `triplet_loss` on the model's embeddings."""

    def loss(model, batch):
        return triplet_loss(model(_pictures(batch)), _labels(batch), margin)

    return loss


def relational(distance: float = 1.0, angle: float = 2.0, normalise: bool = False):
    """The loss of relational distillation for `fit`: `distance` · RKD-D + `angle` · RKD-A against the teacher's embeddings in `batch.targets`.

    normalise: put the student's embeddings on the unit sphere first. Defaults are those of Park et al. 2019 for metric learning.
    Raises ValueError for weights below 0 or both 0.
    """
    if min(distance, angle) < 0 or not distance + angle > 0:
        raise ValueError(f"weights are {distance} and {angle}; expected numbers of at least 0, not both 0")

    def loss(model, batch):
        student = model(_pictures(batch))
        student = F.normalize(student, dim=1) if normalise else student
        teacher = batch.targets.reshape(len(student), -1)
        value = distance * losses.rkd_distance_loss(student, teacher) if distance else 0.0
        return value + angle * losses.rkd_angle_loss(student, teacher) if angle else value

    return loss


def regression():
    """The loss of direct regression for `fit`: squared distance of the model's embedding to the teacher's in `batch.targets`, which has its width.

    Where the widths differ, give the model a last linear layer (thrown away after training), or the targets the student's width (`principal`).
    """

    def loss(model, batch):
        student = model(_pictures(batch))
        return (student - batch.targets.reshape(len(student), -1)).pow(2).sum(dim=1).mean()

    return loss


def labelled():
    """The loss of a classifier for `fit`, also on a grouped split: cross-entropy of the model's outputs with the labels."""

    def loss(model, batch):
        return F.cross_entropy(model(_pictures(batch)), _labels(batch))

    return loss


def principal(embeddings: torch.Tensor, width: int) -> torch.Tensor:
    """Embeddings `[N,D]` in the `width` orthogonal directions that keep most of their distances: centred, `[N,width]`.

    Raises ValueError where `width` is below 1 or above N or D. Source: principal components, Pearson 1901.
    """
    if embeddings.ndim != 2 or not 1 <= width <= min(embeddings.shape):
        raise ValueError(
            f"embeddings are {tuple(embeddings.shape)}, width is {width}; expected [N, D] and a width up to N and D"
        )
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    return (centred @ directions.flip(1)[:, :width]).to(embeddings.dtype)


def nearest_is_right(embeddings: torch.Tensor, labels: torch.Tensor, gallery: int | None = None) -> torch.Tensor:
    """For every image as a query: has the nearest other image of its gallery the same label? Bool `[N]`; its mean is recall@1.

    Embeddings `[N,D]`, labels `[N]`; Euclidean distances. gallery: consecutive images that are searched together, all of them unless given.
    Raises ValueError for shapes that do not fit and for a gallery of less than 2.
    """
    _check(embeddings, labels)
    size = len(labels) if gallery is None else gallery
    if size < 2:
        raise ValueError(f"gallery is {gallery}; expected at least 2 images, a query and something to find")
    right = []
    for points, names in zip(embeddings.float().split(size), labels.split(size)):
        for rows in torch.arange(len(names), device=names.device).split(1000):
            distances = torch.cdist(points[rows], points, compute_mode="donot_use_mm_for_euclid_dist")
            distances[torch.arange(len(rows)), rows] = math.inf
            right.append(names[distances.argmin(dim=1)] == names[rows])
    return torch.cat(right)


def few_shot_accuracy(
    embeddings: torch.Tensor, labels: torch.Tensor, *, ways: int, shots: int, episodes: int, seed: int, queries: int = 5
) -> float:
    """Share of queries whose nearest class mean is right, over seeded episodes: `ways` classes, `shots` images to form each mean, `queries` others.

    Embeddings `[N,D]`, labels `[N]`. Raises ValueError where there are fewer classes, or fewer images of one. Source: Snell et al. 2017, section 2 (prototypes).
    """
    _check(embeddings, labels)
    rows = [(labels == c).nonzero().flatten() for c in labels.unique()]
    fewest = min(map(len, rows))
    if not 2 <= ways <= len(rows) or min(shots, queries, episodes) < 1 or shots + queries > fewest:
        raise ValueError(
            f"{ways} ways, {shots} shots and {queries} queries of {len(rows)} classes with at least {fewest} images each; expected "
            "2 or more ways, no more than there are classes, and shots and queries that one class can give"
        )
    generator, right = models.stream(seed, "episodes"), 0
    for _ in range(episodes):
        chosen = [rows[c] for c in torch.randperm(len(rows), generator=generator)[:ways].tolist()]
        drawn = torch.stack(
            [own[torch.randperm(len(own), generator=generator)[: shots + queries].to(own.device)] for own in chosen]
        )
        points = embeddings[drawn].float()  # [ways, shots + queries, D]
        means = points[:, :shots].mean(dim=1)
        nearest = torch.cdist(points[:, shots:].flatten(0, 1), means).argmin(dim=1).view(ways, queries)
        right += int(nearest.T.eq(torch.arange(ways, device=labels.device)).sum())
    return right / (episodes * ways * queries)


def of_classes(split: data.Split, classes) -> data.Split:
    """The examples whose label is among `classes`, in their order; ValueError where there are none."""
    wanted = torch.isin(split.labels, torch.as_tensor(list(classes)))
    if not wanted.any():
        raise ValueError(f"no example of the classes {list(classes)}; there are {split.labels.unique().tolist()}")
    return split[wanted]


# Of Fashion-MNIST in the order of its labels: two tops, a pair of shoes, and trousers or a bag.
SPLITS = ((0, 2, 5, 1), (4, 6, 7, 8), (3, 0, 9, 1), (2, 4, 5, 8), (6, 3, 7, 1))


def unseen(seed: int) -> tuple[int, ...]:
    """Which four of ten classes nobody is trained on in the run of this seed; five seeds in a row have five different choices."""
    return SPLITS[seed % len(SPLITS)]


def moved(split: data.Split, limit: int, generator: torch.Generator) -> data.Split:
    """Every image moved, once and for all, by up to `limit` pixels each way, zeros moving in."""
    dy, dx = (torch.randint(-limit, limit + 1, (len(split),), generator=generator) for _ in range(2))
    return data.Split(data.shift(split.images, dy, dx, limit), split.labels)


def turned(split: data.Split, generator: torch.Generator) -> data.Split:
    """Every image turned by 0 to 3 quarter turns, which makes four classes of each: labels `4 · rank of the class + turns`."""
    turns = torch.randint(4, (len(split),), generator=generator)
    images = split.images.clone()
    for k in range(1, 4):
        images[turns == k] = torch.rot90(split.images[turns == k], k, (2, 3))
    return data.Split(images, 4 * torch.searchsorted(split.labels.unique(), split.labels) + turns)


def clothes(dataset: str, seed: int, part: str = "test") -> tuple[data.Split, data.Split, data.Split]:
    """(training images, judged images of four classes nobody has seen, judged images of the seen classes): ten classes, 14×14 pixels.

    All images are moved by up to 2 of 28 pixels; those of the six seen classes are also turned, which makes 24 classes of them. part: "test",
    or "validation" (the last 10,000 training images) while anything is still being chosen. The tensors are shared, do not write into them.
    """
    data.load(dataset)  # in every trial, so that its result names what it read
    return _clothes(dataset, seed, part)


@lru_cache(maxsize=32)  # made anew in every trial it would cost up to a third of it
def _clothes(dataset: str, seed: int, part: str):
    whole, left_out = data.load(dataset), unseen(seed)
    train, validation = data.hold_out(whole.train)
    judged = {"test": whole.test, "validation": validation}[part]
    kept = [c for c in range(10) if c not in left_out]
    parts = {"train": of_classes(train, kept), "unseen": of_classes(judged, left_out), "seen": of_classes(judged, kept)}
    for name, split in parts.items():
        split = moved(split, 2, models.stream(seed, f"moved/{name}"))
        parts[name] = data.shrink(split if name == "unseen" else turned(split, models.stream(seed, f"turned/{name}")))
    return parts["train"], parts["unseen"], parts["seen"]


def wide_teacher(dataset: str, epochs: int, seed: int, count: int | None = None) -> dict:
    """A CNN of widths 16, 24, 128 that tells the turned clothes of `clothes` apart, with fresh shifts by a pixel; its weights and record.

    Its 128 activations before the last layer, on the unit sphere, are the embedding that students imitate. count: the first so many images, all unless given.
    """
    train = clothes(dataset, seed)[0]
    train, model = train if count is None else train[:count], models.cnn(16, 24, 128, classes=24, size=14, seed=seed)
    settings = {"epochs": epochs, "batch_size": 128, "learning_rate": 5e-3, "seed": seed, "augment": data.jitter(1)}
    return training.fit(model, train, losses.hard_labels(), **settings) | {"weights": model.state_dict()}


def wide_embedding(weights: dict | None, seed: int = 0) -> nn.Module:
    """The network behind a wide teacher's weights without its last layer, ready to embed; None: untrained, from this seed."""
    model = models.cnn(16, 24, 128, classes=24, size=14, seed=seed)
    if weights is not None:
        model.load_state_dict(weights)
    return model[:-1].to(lesson.device()).eval()


def embed(model: nn.Module, images: torch.Tensor, normalise: bool = True) -> torch.Tensor:
    """Embeddings `[N,D]` of images, on the unit sphere unless `normalise` is False."""
    embeddings = training.predict_logits(model, images)
    return F.normalize(embeddings, dim=1) if normalise else embeddings
