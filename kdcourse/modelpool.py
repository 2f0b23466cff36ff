"""A pool of networks at several moments of their training, for objectives that ask more of features than newborn networks have to offer."""

import torch

from kdcourse import condense, training
from kdcourse.data import Split
from kdcourse.models import stream, stream_seed


def in_training(
    real: Split,
    make,
    *,
    networks: int,
    after: tuple[int, ...],
    seed: int,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
) -> list[dict]:
    """Train `networks` networks on random images of `real` and keep the weights of each after so many steps: `networks` times `len(after)` state dicts.

    make: seed → a newborn network. after: ascending numbers of steps of `batch_size` images; between two of them no image is seen twice, and the optimiser
    (AdamW, constant rate) begins anew. Raises ValueError for numbers that do not ascend from at least 1, or when `real` has too few images for the longest stretch.
    Source of the idea: Zhou et al. 2022 (there the pool trains on the synthetic set); Kim et al. 2022 (networks trained on real images).
    """
    stretches = [upto - since for since, upto in zip((0, *after), after)]
    if networks < 1 or not stretches or min(stretches) < 1:
        raise ValueError(
            f"{networks} networks kept after {tuple(after)} steps; expected at least one network and ascending steps from 1 on"
        )
    if max(stretches) * batch_size > len(real):
        raise ValueError(
            f"{max(stretches)} steps of {batch_size} images without a repetition; there are {len(real)} images"
        )
    kept = []
    for k in range(networks):
        network = make(stream_seed(seed, f"pool/{k}"))
        for steps, upto in zip(stretches, after):
            moment = stream_seed(seed, f"pool/{k}/{upto}")
            seen = torch.randperm(len(real), generator=stream(moment, "images"))[: steps * batch_size]
            settings = {
                "epochs": 1,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "seed": moment,
                "schedule": "constant",
            }
            training.fit(network, real[seen], condense.labels_each(), **settings)
            kept.append({name: weight.detach().cpu().clone() for name, weight in network.state_dict().items()})
    return kept


def drawn_from(kept: list[dict], make):
    """A function seed → a network with the weights of one of the pool, drawn by the seed: the `make` of `condense.condense`."""

    def draw(seed: int):
        network = make(seed)
        network.load_state_dict(kept[torch.randint(len(kept), (), generator=stream(seed, "drawn")).item()])
        return network

    return draw


def in_lesson_dtype(objective):
    """An objective of `condense` whose networks also see the synthetic images in the lesson's dtype; what it solves in float64 stays there.

    With bfloat16 the gradient is coarser than that of the objective itself, which keeps the synthetic side in float32.
    """

    def in_dtype(network, synthetic, labels, real):
        return condense._real_side(objective, network, synthetic, labels, real).to(synthetic.dtype)

    return in_dtype
