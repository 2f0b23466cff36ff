"""Who was in the training data? Membership inference in many small worlds at once, private training, and what its noise guarantees."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F

from kdcourse import lesson
from kdcourse.data import Split, to_float
from kdcourse.models import stream

# A world is one run of a whole pipeline on members of its own. All worlds share a pool of candidates [N], a member of each world is a row of bool [W, N], and everything
# below computes the worlds side by side: weights are [W, in, out], images [N, D] (the same for all) or [W, n, D].

# ---- worlds -----------------------------------------------------------------------------------------------------------


def memberships(worlds: int, candidates: int, seed: int) -> torch.Tensor:
    """Who is a member of which world, bool `[worlds, candidates]`: a coin of its own for each.

    Coins, and not halves of equal size: then one candidate's membership says nothing about another's, as the definition of privacy has it.
    """
    if worlds < 4 or candidates < 2:
        raise ValueError(f"{worlds} worlds of {candidates} candidates; expected at least 4 (an attack learns from the others) and 2")
    return torch.rand(worlds, candidates, generator=stream(seed, "memberships")) < 0.5


def drawn(members: torch.Tensor, labels: torch.Tensor, per_class: int, seed: int) -> torch.Tensor:
    """Members drawn at random in each world, `per_class` of each class, sorted by class: indices `[W, K·per_class]`.

    Raises ValueError where a world has too few members of a class.
    """
    order = torch.rand(members.shape, generator=stream(seed, "drawn")).masked_fill(~members, 2.0)
    columns = []
    for label in labels.unique():
        mine = (labels == label).nonzero().flatten()
        least = int(members[:, mine].sum(dim=1).min())
        if not 0 < per_class <= least:
            raise ValueError(f"per_class is {per_class}; a world has {least} members of class {int(label)}")
        columns.append(mine[order[:, mine].argsort(dim=1)[:, :per_class]])
    return torch.cat(columns, dim=1)


def gathered(members: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The members of each world as indices `[W, n]`, filled up to the largest world's number, and which of them count: bool `[W, n]`."""
    order = members.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : int(members.sum(dim=1).max())]
    return order, members.gather(1, order)


# ---- networks, side by side -------------------------------------------------------------------------------------------


def newborn(worlds: int, widths, seed: int) -> list[torch.Tensor]:
    """Weights and biases of one ReLU network with a hidden layer in each world: `widths` (D, H, K), uniform in ±1/sqrt(fan_in) as elsewhere in the course."""
    weights, generator = [], stream(seed, "worlds")
    for fan_in, fan_out in pairwise(widths):
        for rows in (fan_in, 1):
            weights.append((2 * torch.rand(worlds, rows, fan_out, generator=generator) - 1) / math.sqrt(fan_in))
    return [w.to(lesson.device()) for w in weights]


def logits(weights: list[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """What every world's network answers: images `[N,D]` or `[W,n,D]` → `[W, N, K]`."""
    return torch.baddbmm(weights[3], _hidden(weights, images), weights[2])


def _hidden(weights, images):
    images = images.expand(len(weights[0]), *images.shape[-2:])
    return torch.baddbmm(weights[1], images, weights[0]).relu_()


def descend(
    weights: list[torch.Tensor],
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    steps: int,
    learning_rate: float,
    counts: torch.Tensor | None = None,
    clip: float = math.inf,
    noise: float = 0.0,
    size: float | None = None,
    seed: int = 0,
) -> list[torch.Tensor]:
    """Weights after `steps` of Adam on all images of each world, `[W,n,D]` with labels `[W,n]`; in every world the cross-entropy of its own images.

    counts: bool `[W,n]`, the images that take part. With `noise` this is differentially private: the gradient of every image is cut to the length `clip`, the
    sum gets normal noise of standard deviation noise·clip, and is divided by `size` (a public number, such as the expected number of images). `privacy_spent` says
    what `steps` such sums give away. Raises ValueError for noise without a finite clip.
    Source: Abadi et al. 2016, algorithm 1, with all images in each batch; the lengths as in Goodfellow 2015.
    """
    if noise and not (0 < clip < math.inf and size):
        raise ValueError(f"noise {noise:g} with clip {clip:g} and size {size}; noise is measured in units of a finite clip, and size must not be counted in secret")
    weights, generator = [w.clone() for w in weights], stream(seed, "noise")
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    counts = torch.ones(labels.shape, dtype=torch.bool, device=labels.device) if counts is None else counts
    share = counts / (size or counts.sum(dim=1, keepdim=True))
    truth, lengths = F.one_hot(labels, weights[3].shape[2]).float(), 1 + images.square().sum(dim=2)
    for step in range(1, steps + 1):
        hidden = _hidden(weights, images)
        upper = torch.baddbmm(weights[3], hidden, weights[2]).softmax(dim=2) - truth
        lower = (upper @ weights[2].mT).mul_(hidden > 0)
        factor = share
        if clip < math.inf:
            norm = (upper.square().sum(dim=2) * (1 + hidden.square().sum(dim=2)) + lower.square().sum(dim=2) * lengths).sqrt()
            factor = share * (clip / norm.clamp_min(clip))
        upper, lower = upper * factor[..., None], lower * factor[..., None]
        gradients = [images.mT @ lower, lower.sum(dim=1, keepdim=True), hidden.mT @ upper, upper.sum(dim=1, keepdim=True)]
        rate = learning_rate * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
        for w, g, m, v in zip(weights, gradients, first, second):
            if noise:
                g += noise * clip / size * torch.randn(g.shape, generator=generator).to(g.device)
            m.lerp_(g, 0.1)
            v.lerp_(g.square(), 0.001)
            w -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    return weights


def accuracy(weights: list[torch.Tensor], split: Split) -> torch.Tensor:
    """The share of `split` that each world's network classifies correctly, `[W]`."""
    right = [
        logits(weights, to_float(part.images.to(weights[0].device)).flatten(1)).argmax(dim=2).cpu() == part.labels
        for part in (split[start : start + 1000] for start in range(0, len(split), 1000))
    ]
    return torch.cat(right, dim=1).float().mean(dim=1)


# ---- distilled sets, side by side -------------------------------------------------------------------------------------


def condense_worlds(
    images: torch.Tensor,
    labels: torch.Tensor,
    members: torch.Tensor,
    start: torch.Tensor,
    *,
    steps: int,
    learning_rate: float,
    width: int,
    seed: int,
) -> torch.Tensor:
    """Distribution matching in every world: sets `[W, K·n, D]` whose mean features are those of the world's members, class by class.

    images `[N,D]` with labels `[N]`: the pool. start: `[W, K·n, D]`, sorted by class. The features are those of one hidden ReLU layer of `width`, newborn in every
    step and the same in all worlds; all members take part in every step. Adam with a cosine schedule, pixels stay in [0, 1].
    Source: Zhao & Bilen 2023, equation 4.
    """
    worlds, classes = len(members), int(labels.max()) + 1
    shares = F.one_hot(labels, classes).T[None] * members[:, None].float()  # [W, K, N]
    shares = (shares / shares.sum(dim=2, keepdim=True)).flatten(0, 1)
    made, generator = start.clone().requires_grad_(), stream(seed, "condense")
    optimiser = torch.optim.Adam([made], lr=learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps))
    for _ in range(steps):
        layer, bias = (((2 * torch.rand(rows, width, generator=generator) - 1) / math.sqrt(images.shape[1])).to(images.device) for rows in (images.shape[1], 1))
        wanted = (shares @ (images @ layer + bias).relu_()).unflatten(0, (worlds, classes))
        found = (made @ layer + bias).relu().unflatten(1, (classes, -1)).mean(dim=2)
        optimiser.zero_grad(set_to_none=True)
        (found - wanted).square().sum().backward()
        optimiser.step()
        schedule.step()
        made.data.clamp_(0, 1)
    return made.detach()


# ---- the attack -------------------------------------------------------------------------------------------------------


def logit_confidence(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log(p / (1 - p)) of the right class's probability p: logits `[..., N, K]`, labels `[N]` → `[..., N]`.

    Computed from the logits, as p itself rounds to 1. Source: Carlini et al. 2022 (membership inference from first principles), section IV.
    """
    right = F.one_hot(labels, logits.shape[-1]).bool()
    others = logits.masked_fill(right, -math.inf).logsumexp(dim=-1)
    return logits.gather(-1, labels.expand(logits.shape[:-1])[..., None])[..., 0] - others


def likelihood_ratios(observed: torch.Tensor, members: torch.Tensor, shrink: bool = True) -> torch.Tensor:
    """For every world and candidate, how much likelier its observation is if the candidate was a member: log ratios `[W, N]`.

    observed `[W,N]`, say logit-scaled confidences; members bool `[W,N]`. The attack on a world learns from all *other* worlds: for each candidate a normal
    distribution of what is observed with it and one without it; the two variances are shared by all candidates, as few worlds cannot say more. shrink: the
    candidates' shifts are drawn towards their mean, as far as the worlds are too few to tell them apart. Raises ValueError where a candidate is (almost) never, or always, a member.
    Source: Carlini et al. 2022, algorithm 1 (online, with their fixed variance).
    """
    if observed.shape != members.shape or members.dtype != torch.bool:
        raise ValueError(f"observed {tuple(observed.shape)} and members {tuple(members.shape)} of {members.dtype}; expected [W, N] both, the second bool")
    x, own = observed.double(), members.double()
    means, numbers, variances = [], [], []
    for chosen in (own, 1 - own):  # members, then the others; the world that is attacked is left out
        number = chosen.sum(dim=0) - chosen
        if number.min() < 1:
            raise ValueError("a candidate is a member of too few worlds, or of too many, to learn from the others; draw more worlds")
        mean = ((chosen * x).sum(dim=0) - chosen * x) / number
        square = (chosen * x.square()).sum(dim=0) - chosen * x.square() - number * mean.square()
        means.append(mean)
        numbers.append(number)
        variances.append(square.sum(dim=1, keepdim=True) / (number - 1).sum(dim=1, keepdim=True))
    shift, count = means[0] - means[1], numbers[0] + numbers[1]
    if shrink:
        error = variances[0] / numbers[0] + variances[1] / numbers[1]
        common = shift.mean(dim=1, keepdim=True)
        spread = ((shift - common).square() - error).mean(dim=1, keepdim=True).clamp_min(0)
        shift = common + spread / (spread + error) * (shift - common)
    centre = (numbers[0] * means[0] + numbers[1] * means[1]) / count
    inside, outside = centre + numbers[1] / count * shift, centre - numbers[0] / count * shift
    ratio = (x - outside).square() / variances[1] - (x - inside).square() / variances[0] + (variances[1] / variances[0]).log()
    return ratio / 2


def area_under_curve(scores: torch.Tensor, members: torch.Tensor, counted: torch.Tensor | None = None) -> torch.Tensor:
    """In each world, how often a random member scores above a random other candidate (ties count half): `[W]` from `[W, N]`. ½ is guessing.

    counted: bool `[W,N]`, the members to ask about, if not all. Never candidates of two worlds are compared, so that a world as such needs no scale.
    """
    areas = []
    for score, member, asked in zip(scores, members, members if counted is None else members & counted):
        mine, others = score[asked], score[~member].sort().values.contiguous()
        if not len(mine) or not len(others):
            raise ValueError("a world has no member to ask about, or none but members; an area needs both")
        below = torch.searchsorted(others, mine) + torch.searchsorted(others, mine, right=True)
        areas.append(below.double().mean() / (2 * len(others)))
    return torch.stack(areas)


def true_positive_rate(scores: torch.Tensor, members: torch.Tensor, false_positive_rate: float) -> float:
    """The share of members that a threshold finds which at most `false_positive_rate` of the others pass; all worlds with one threshold."""
    others = scores[~members].sort(descending=True).values
    allowed = int(false_positive_rate * len(others))
    return float((scores[members] > others[allowed]).double().mean()) if allowed < len(others) else 1.0


# ---- what noise guarantees --------------------------------------------------------------------------------------------


def privacy_spent(noise: float, steps: int) -> float:
    """ρ of zero-concentrated differential privacy for `steps` sums of clipped gradients, noise in units of the clip: steps/(2·noise²).

    One example is added or removed. Source: Bun & Steinke 2016, proposition 1.6 and lemma 1.7.
    """
    if not noise > 0 or steps < 0:
        raise ValueError(f"noise {noise:g} and {steps} steps; expected noise above 0 (without noise nothing is guaranteed) and no negative number of steps")
    return steps / (2 * noise**2)


def epsilon(rho: float, delta: float) -> float:
    """ε of (ε, δ)-differential privacy that follows from ρ: ρ + 2·sqrt(ρ·ln(1/δ)). Source: Bun & Steinke 2016, proposition 1.3."""
    if rho < 0 or not 0 < delta < 1:
        raise ValueError(f"rho {rho:g} and delta {delta:g}; expected rho of at least 0 and delta between 0 and 1")
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))


def largest_area(rho: float) -> float:
    """The area under the curve that no attack on one example can pass after normal noise worth ρ: Φ(sqrt(ρ)).

    All noisy sums together tell members from others no better than one normal observation whose mean moves by sqrt(2ρ) standard deviations.
    Source: Dong, Roth & Su 2022 (Gaussian differential privacy), theorem 2.7 and corollary 3.3.
    """
    return 0.5 * (1 + math.erf(math.sqrt(rho) / math.sqrt(2)))
