# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 13 · Poison and privacy
#
# **After this lesson you can say what a handful of made-up images can do to a network that learns from them, which screens see them and what each screen costs, and you can measure what a network trained on distilled data still tells about the people in the data.**
#
# 40 minutes · needs [lesson 12](12_dataset_distillation.ipynb) · data: MNIST
#
# [Lesson 12](12_dataset_distillation.ipynb) ended with a set of images that does to a network what its maker wants. The maker wanted it to learn. Suppose he wants something else. Wang, Zhu, Torralba and Efros (2018) asked for images after which, in *one* step of gradient descent, a well-trained network takes one class for another, and found them for networks whose weights the attacker had never seen. Whoever trains on data from strangers
# (scraped, bought, sent in by customers) should have seen how that looks, and what a cheap screen at the door does about it. That is the first half. The second half turns to the people in the data: distilled images look like nobody, and it has been claimed that this protects everybody. Both halves use small networks of our own on public digits, and their aim is defence.

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")  # "smoke": seconds, mechanics only · "quick": a laptop · "full": the paper's scale
first_seed = 0  # another number gives fresh seeds everywhere, teachers included

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

import kdcourse as kd

kd.plots.style()
lesson = kd.start("13", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("13")

# %% [markdown]
# ## One step
#
# A **victim** is a network that is already good and takes one more step of gradient descent on a batch, as it would in any fine-tuning or online learning. The **attacker** does one thing: he puts images into that batch. He would like every image of class $a$ (the *attacked* class) to be called $b$ (the *target*) afterwards, and everything else to stay as it is, so that nobody looks twice.
#
# The obvious way is to send real images of class $a$ with the label $b$: **wrong labels**. The way of lesson 12 is to *learn* the images $\tilde x$, labels fixed at $b$, through the step:
#
# $$ \min_{\tilde x}\; \ell\big(\theta - \eta\,\nabla_\theta\,\ell(\theta;\,\tilde x, b);\; x,\, r(y)\big), \qquad r(y) = \begin{cases} b & \text{if } y = a,\\ y & \text{otherwise,} \end{cases} $$
#
# over real images $x$ with relabelled $y$. If the attacker knows $\theta$ (a checkpoint that anyone can download), he uses it: a **known start**. If not, he trains networks of the same kind himself, draws some of them in every step of his search, and hopes for the best: an **unknown start**. We judge an unknown start on **held-out victims** that took no part.


# %%
def after_one_step(network, images, labels, rate):
    """The victim's weights after its step, differentiable in the images."""
    weights = dict(network.named_parameters())
    loss = F.cross_entropy(torch.func.functional_call(network, weights, (images,)), labels)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    return {name: w - rate * g for (name, w), g in zip(weights.items(), gradients)}


def attackers_objective(network, images, labels, rate, real, truth, attacked, target):
    logits = torch.func.functional_call(network, after_one_step(network, images, labels, rate), (real,))
    return F.cross_entropy(logits, torch.where(truth == attacked, target, truth))


# %% [markdown]
# The package does the same for a crowd of victims at once: the weights of all of them in one tensor with a leading dimension, and `torch.func.vmap` over it. Two victims, checked against the lines above and against the unrolled step of lesson 12:

# %%
pair = [kd.models.mlp(16, 8, 10, seed=s) for s in (first_seed, first_seed + 1)]
crowd = {name: torch.stack([dict(n.named_parameters())[name].detach() for n in pair]) for name, _ in pair[0].named_parameters()}
draw = torch.Generator().manual_seed(0)
some, labels = torch.rand(10, 1, 4, 4, generator=draw), torch.arange(10)
moved = kd.poison.step(pair[0], crowd, some, labels, rate=0.5)
for k, network in enumerate(pair):
    ours, unrolled = after_one_step(network, some, labels, 0.5), kd.unrolled.unroll(network, some, labels, torch.tensor([0.5]))
    assert all(torch.allclose(ours[name], moved[name][k], atol=1e-6) and torch.allclose(ours[name], unrolled[name]) for name in ours)
real, truth = torch.rand(20, 1, 4, 4, generator=draw), torch.arange(20) % 10
after = [torch.func.functional_call(n, {name: w[k] for name, w in moved.items()}, (real,)) for k, n in enumerate(pair)]
theirs = [F.cross_entropy(logits, kd.poison.relabelled(truth, 0, 1)) for logits in after]
assert all(torch.allclose(attackers_objective(n, some, labels, 0.5, real, truth, 0, 1), value, atol=1e-6) for n, value in zip(pair, theirs))

# %% [markdown]
# ## What would have to be true?
#
# That learned images turn more of the class than real ones with wrong labels, *at the same number, in the same batch, at the same rate*. But a longer step turns more, and the attacker cannot choose the victim's rate while we can choose ours: so wrong labels get their **best rate** as well, chosen on the attacker's own networks. And "turned" is only half of what he wants: an attack that breaks every other class is a breakdown, and breakdowns are noticed. We report both: the share of class $a$ that is called $b$, and the share of all other images still classified correctly.
#
# Three controls: uniform noise with the label $b$ (any push towards $b$ might do), real images of class $a$ with their right labels (any batch might do), and the victim before the step.
#
# In the paper the attacked batch consists of poison alone, rate 0.02, and a pixel may take any value. We test that, and then something nearer to practice: a batch of 50 at rate 0.2 in which only some images are poison, the others honest, and every pixel has to lie in the range of a picture. Each seed has its own victims and its own pair of classes, the digit equal to the seed's last figure and the next one; the paper's example, 0 to 1, is the first.

# %%
size = lesson.pick(smoke=14, quick=14, full=28)
seeds = lesson.seeds(smoke=1, quick=5, full=3)
few_seeds = seeds[: lesson.pick(smoke=1, quick=3, full=1)]
crowds = dict(
    kind=lesson.pick(smoke="mlp", quick="mlp", full="lenet"),
    size=size,
    public=lesson.pick(smoke=3, quick=12, full=12),  # networks that the attacker trains himself
    held_out=lesson.pick(smoke=2, quick=6, full=4),  # victims he never sees
    count=lesson.pick(smoke=600, quick=40_000, full=20_000),
    epochs=lesson.pick(smoke=1, quick=2, full=2),
    clean=lesson.pick(smoke=100, quick=1000, full=400),  # images by which a victim sets its screens, and as many that test them
)
JUDGED = lesson.pick(smoke=500, quick=5000, full=2000)  # test images: the first so many
search = dict(
    steps=lesson.pick(smoke=4, quick=100, full=150),
    learning_rate=0.1,
    batch=lesson.pick(smoke=64, quick=256, full=256),
)


def born(kind, size, seed):
    return kd.models.lenet5(seed=seed) if kind == "lenet" else kd.models.mlp(size**2, 64, 10, seed=seed)


def victims(seed, kind, size, public, held_out, count, epochs, clean, part="test"):
    """Trained networks, the attacker's first; what honest images score on them: reference images for the screens, and others to test them."""
    train, judged = kd.condense.pictures("mnist", size, part)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=1e-2 if kind == "mlp" else 5e-3)
    crowd = kd.poison.train_crowd(lambda s: born(kind, size, s), train[:count], range(1000 * (seed + 1), 1000 * (seed + 1) + public + held_out), **settings)
    network, faced, scores = born(kind, size, seed).to(kd.lesson.device()), kd.poison.members(crowd, slice(public, None)), {}
    # No victim has learned from either; the attacker sets his limits by the first of his own networks.
    for name, split, who in (("reference", train[40_000:], faced), ("honest", judged, faced), ("attacker", train[40_000:], kd.poison.members(crowd, slice(1)))):
        images, labels = kd.data.to_float(split.images[:clean]).to(kd.lesson.device()), split.labels[:clean].to(kd.lesson.device())
        scores[name] = {"norm": kd.poison.gradient_norms(network, who, images, labels), "loss": kd.poison.losses(network, who, images, labels)}
    right = (kd.poison.answers(network, faced, judged) == judged.labels).float().mean()
    return {"crowd": crowd, "accuracy": 100 * right.item(), **scores}


def classes_of(seed):
    return seed % 10, (seed + 1) % 10  # attacked, target


def poison(seed, arm, images, rate, among, free, known, quiet, crowds, steps, learning_rate, batch, part="test"):
    """The attacker's images and labels. among: honest images in the same batch. quiet: None, "norm" or "both", the scores he keeps below the screens' thresholds."""
    train, _ = kd.condense.pictures("mnist", crowds["size"], part)
    (attacked, target), real = classes_of(seed), train[:10_000]
    chosen = (real.labels == attacked).nonzero().flatten()
    chosen = chosen[torch.randperm(len(chosen), generator=kd.models.stream(seed, "start"))[:images]]
    start = kd.Split(kd.data.to_float(real.images[chosen]), torch.full((images,), attacked if arm == "right" else target))
    if arm == "noise":
        start = kd.Split(torch.rand(start.images.shape, generator=kd.models.stream(seed, "noise")), start.labels)
    if arm != "distilled":
        return {"images": start.images, "labels": start.labels}
    made = kd.run(victims, seed=seed, part=part, **crowds)
    own = slice(crowds["public"], crowds["public"] + 1) if known else slice(0, crowds["public"])
    crowd = {name: w.to(kd.lesson.device()) for name, w in kd.poison.members(made["crowd"], own).items()}
    limits = [0.8 * kd.poison.threshold(made["attacker"][name]).item() for name in ("norm", "loss")]
    settings = dict(attacked=attacked, target=target, rate=rate, among=among, steps=steps, learning_rate=learning_rate / 2 if quiet else learning_rate, batch=batch)
    settings |= dict(bounds=None if free else (0.0, 1.0), quiet=None if quiet is None else (limits[0], limits[1] if quiet == "both" else 1e9), weight=20.0)
    network = born(crowds["kind"], crowds["size"], seed).to(kd.lesson.device())
    found, _ = kd.poison.craft(network, crowd, start, real, seed=seed, **settings)
    return {"images": found.images, "labels": found.labels}


def attack(seed, arm, images, rate, crowds, judged, among=0, free=False, known=False, quiet=None, steps=0, learning_rate=0.0, batch=0, part="test"):
    """What the poison does to held-out victims (the one known victim for a known start) in one step: undefended, screened, clipped."""
    train, test = kd.condense.pictures("mnist", crowds["size"], part)
    made, device = kd.run(victims, seed=seed, part=part, **crowds), kd.lesson.device()
    settings = dict(arm=arm, images=images, rate=rate, among=among, free=free, known=known, quiet=quiet, crowds=crowds)
    sent = kd.run(poison, seed=seed, part=part, steps=steps, learning_rate=learning_rate, batch=batch, **settings)
    public = crowds["public"]
    faced, rows = (slice(public, public + 1), slice(1)) if known else (slice(public, None), slice(None))
    network = born(crowds["kind"], crowds["size"], seed).to(device)
    company = train[41_000 + torch.randperm(9000, generator=kd.models.stream(seed, "company"))[:among]]
    pixels, labels = torch.cat([sent["images"], kd.data.to_float(company.images)]).to(device), torch.cat([sent["labels"], company.labels]).to(device)

    def done(which, split, shares=None):
        crowd = {name: w.to(device) for name, w in kd.poison.members(made["crowd"], which).items()}
        moved = kd.poison.step(network, crowd, pixels, labels, rate, shares)
        return {k: v.mean().item() for k, v in kd.poison.outcome(kd.poison.answers(network, moved, split), split.labels, *classes_of(seed)).items()}

    result = done(faced, test[:judged]) | {"tuned": done(slice(0, public), train[:2000])["both"]}  # what the attacker sees on his own networks
    crowd = {name: w.to(device) for name, w in kd.poison.members(made["crowd"], faced).items()}
    scores = {"norm": kd.poison.gradient_norms(network, crowd, pixels, labels), "loss": kd.poison.losses(network, crowd, pixels, labels)}
    flags = {}
    for name, found in scores.items():
        flags[name] = found > kd.poison.threshold(made["reference"][name][rows]).to(device)
        honest = made["honest"][name][rows].to(device)
        result[f"auc_{name}"] = kd.poison.area_under_curve(found[:, :images], honest).mean().item()
    flags["either"] = flags["norm"] | flags["loss"]
    limit = kd.poison.threshold(made["reference"]["norm"][rows], 0.1).to(device)  # what one honest image in ten exceeds
    defences = {name: kd.poison.screened(flag) for name, flag in flags.items()} | {"clipped": kd.poison.clipped(scores["norm"], limit)}
    for name, flag in flags.items():
        result[f"caught_{name}"] = 100 * flag[:, :images].float().mean().item()
    for name, shares in defences.items():
        result |= {f"{k}_{name}": value for k, value in done(faced, test[:judged], shares).items()}
    return result | {name: found[0, :images] for name, found in scores.items()}  # the first victim's scores, for the pictures
