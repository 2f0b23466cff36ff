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
# 45 minutes · needs [lesson 12](12_dataset_distillation.ipynb) · data: MNIST, Fashion-MNIST
#
# [Lesson 12](12_dataset_distillation.ipynb) ended with a set of images that does to a network what its maker wants. The maker wanted it to learn. Suppose he wants something else. Wang, Zhu, Torralba and Efros (2018) asked for images after which, in *one* step of gradient descent, a well-trained network takes one class for another, and found them for networks whose weights the attacker had never seen. Whoever trains on data from strangers
# (scraped, bought, sent in by customers) should have seen how that looks, and what a cheap screen at the door does about it. That is the first half. The second half turns to the people in the data: distilled images are nobody's picture, so it seems, and it has been claimed that this protects everybody. Both halves use small networks of our own on public digits, and their aim is defence.

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

# %% [markdown] tags=["slide:step"]
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
# That learned images turn more of the class than real ones with wrong labels, *at the same number, in the same batch, at the same rate*. But a longer step turns more. No attacker chooses the victim's rate, yet a sceptic may ask what wrong labels would do at a better one: so they also get their **best rate**, chosen on the attacker's own networks. And "turned" is only half of what he wants: an attack that breaks every other class is a breakdown, and breakdowns are noticed. We report both: the share of class $a$ that is called $b$, and the share of all other images still classified correctly.
#
# Three controls: uniform noise with the label $b$ (any push towards $b$ might do), real images of class $a$ with their right labels (any batch might do), and the victim before the step.
#
# In the paper's set-up the batch consists of poison alone, the rate is 0.02, and nothing keeps a pixel within the range of a picture. We test that, and then something nearer to practice: a batch of 50 at rate 0.2 in which only some images are poison, the others honest, and every pixel has to lie in the range of a picture. Each seed has its own victims and its own pair of classes, the digit equal to the seed's last figure and the next one; the paper's example, 0 to 1, is the first.

# %%
size = lesson.pick(smoke=14, quick=14, full=28)
seeds = lesson.seeds(smoke=1, quick=5, full=3)
few_seeds = seeds[: lesson.pick(smoke=1, quick=3, full=1)]
crowds = dict(
    kind=lesson.pick(smoke="mlp", quick="mlp", full="lenet"),
    size=size,
    public=lesson.pick(smoke=3, quick=12, full=8),  # networks that the attacker trains himself
    held_out=lesson.pick(smoke=2, quick=6, full=4),  # victims he never sees
    count=lesson.pick(smoke=600, quick=40_000, full=20_000),
    epochs=lesson.pick(smoke=1, quick=2, full=2),
    clean=lesson.pick(smoke=100, quick=1000, full=400),  # images by which a victim sets its screens, and as many that test them
)
JUDGED = lesson.pick(smoke=500, quick=5000, full=2000)  # test images: the first so many
search = dict(
    steps=lesson.pick(smoke=4, quick=100, full=100),
    learning_rate=0.1,
    batch=lesson.pick(smoke=64, quick=256, full=128),
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
    settings = dict(
        attacked=attacked, target=target, rate=rate, among=among, steps=steps, learning_rate=learning_rate / 2 if quiet else learning_rate, batch=batch
    )
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


# %%
before = [kd.run(victims, seed=s, **crowds)["accuracy"] for s in seeds]
print("held-out victims before the step, % of test images right: " + ", ".join(f"{a:.1f}" for a in before))
RATES = [0.02, 0.05, 0.1, 0.15, 0.2]
ten = dict(images=10, crowds=crowds, judged=JUDGED, seeds=seeds)
alone = kd.sweep(attack, arm="distilled", rate=0.02, free=True, **ten, **search)
alone_picture = kd.sweep(attack, arm="distilled", rate=0.1, **ten, **search)
wrong = kd.sweep(attack, arm="wrong", rate=RATES, **ten)
noise = kd.sweep(attack, arm="noise", rate=[0.05, 0.2], **ten)
right = kd.sweep(attack, arm="right", rate=[0.2], **ten)

# %% [markdown]
# ## Look at it first
#
# What does an image look like that does this? Below, for three pairs of classes, the real image that a search began with and what became of it: with any pixel values at rate 0.02, and in the range of a picture at rate 0.1.

# %% tags=["slide:look", "slide-output"]
shown = seeds[:3]
arms = {
    "began as": dict(arm="wrong", rate=0.02, free=False),
    "any pixels": dict(arm="distilled", rate=0.02, free=True),
    "a picture's range": dict(arm="distilled", rate=0.1, free=False),
}
figure, axes = plt.subplots(len(shown), 9, figsize=(8, 0.25 + 0.95 * len(shown)), squeeze=False)
for place, (row, seed) in enumerate(zip(axes, shown)):
    for block, (text, arm) in enumerate(arms.items()):
        extra = search if arm["arm"] == "distilled" else dict(steps=0, learning_rate=0.0, batch=0)
        images = kd.run(poison, seed=seed, images=10, among=0, known=False, quiet=None, crowds=crowds, **arm, **extra)["images"]
        for k in range(3):
            axis, limit = row[3 * block + k], max(1.0, images.abs().max().item())
            axis.imshow(images[k, 0], cmap="gray_r" if not arm["free"] else "RdGy", vmin=-limit if arm["free"] else 0, vmax=limit)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if place == 0 and k == 1:
                axis.set_title(text, fontsize=10)
    attacked, target = classes_of(seed)
    row[0].set_ylabel(f"{attacked} to {target}", fontsize=10, rotation=0, ha="right", va="center")
kd.plots.show(
    figure,
    "One row for each of three pairs of classes, nine images each: three real images of the attacked class as the search began with them, "
    "what they became when "
    "pixels may take any value (red negative, black positive), and what they became within the range of a picture.",
)

# %% [markdown]
# Compare the three images of a block with each other before you read on. They began as three different real images with one label. A step only sees the *mean* of its examples' gradients, so whatever one image can do alone, ten copies of it do as well; if the three have become alike, the search found one image and repeated it. "How many images?" is therefore hardly a question for a batch that holds nothing else. It becomes one when honest images share the batch: then each poisoned one has to outvote some of them.
#
# ## Is it better than wrong labels?
#
# Every dot is a seed (the mean of its held-out victims). The upper right corner is where the attacker wants to be: all of class $a$ turned, everything else as before. The line follows wrong labels from small rates to large ones.

# %% tags=["main-figure", "slide:main", "slide-output", "slide-vote"]
COLOURS = kd.plots.COLOURS
figure, axis = plt.subplots(figsize=(7.4, 4.2))
for frame, colour, text in ((wrong, COLOURS["hard"], "wrong labels"), (noise, COLOURS["control"], "noise")):
    mean = frame.groupby("rate")[["others", "turned"]].mean()
    axis.plot(mean.others, mean.turned, color=colour, linewidth=1.2, zorder=1)
    axis.scatter(frame.others, frame.turned, s=12, color=colour, alpha=0.5, linewidths=0, zorder=2)
    for rate, point in mean.iterrows():
        axis.annotate(f"{rate:g}", (point.others, point.turned), xytext=(-4, -4), textcoords="offset points", ha="right", va="top", color=colour, fontsize=9)
    last = mean.iloc[-1]
    axis.annotate(
        text,
        (last.others, last.turned),
        xytext=(0, 9),
        textcoords="offset points",
        ha="center",
        color="#75604f" if text == "noise" else colour,
        fontweight="bold",
    )
axis.scatter(right.others, right.turned, s=12, color=COLOURS["teacher"], linewidths=0)
axis.annotate(
    "right labels", (right.others.mean(), right.turned.mean()), xytext=(10, -3), textcoords="offset points", color=COLOURS["teacher"], fontweight="bold"
)
for frame, marker, text, height in (
    (alone, "o", "● distilled,\nany pixels,\nrate 0.02", 97),
    (alone_picture, "s", "■ distilled,\na picture's range,\nrate 0.1", 73),
):
    axis.scatter(frame.others, frame.turned, s=16, marker=marker, color=COLOURS["soft"], alpha=0.55, linewidths=0, zorder=3)
    axis.errorbar(frame.others.mean(), frame.turned.mean(), kd.plots.half_width(frame.turned), kd.plots.half_width(frame.others), fmt=marker, markersize=6, capsize=3,
                  color=COLOURS["soft"], zorder=4)  # fmt: skip
    axis.annotate(text, (101, height), va="center", color=COLOURS["soft"], fontweight="bold", annotation_clip=False)
best = wrong.loc[wrong.groupby("seed").tuned.idxmax()]
axis.set(xlabel="all other images still classified correctly, %", ylabel="attacked class called the target, %", ylim=(-4, 112), xlim=(0, 100))
same = wrong[wrong.rate == 0.02].turned.mean()
axis.set_title(f"At rate 0.02, ten distilled images turn {alone.turned.mean():.0f} % of the class, ten wrong labels {same:.0f} %")
kd.plots.show(
    figure,
    "Share of the attacked class that is called the target after one step, against the share of all other images still classified correctly. "
    "A line follows ten wrong "
    "labels from rate 0.02 to 0.2, another one noise images; dots are seeds. Two clusters with 95 percent intervals show ten distilled "
    "images, with any pixel values at rate 0.02 and in a "
    "picture's range at 0.1; right labels lie at the bottom right. The better an attack, the further up and right.",
)

# %% [markdown]
# Read the orange line against the blue clusters. A longer step lets wrong labels turn more and more of the class, so what distilling can buy is not the turning as such: it is turning at a *rate the victim uses anyway*, or leaving more of the rest alone. The card compares the mean of both shares; wrong labels stand there at the rate that was best, for each seed, on the attacker's own networks.

# %%
versus = pd.concat([alone.assign(arm="alone"), best.assign(arm="wrong_best")], ignore_index=True)
kd.judge("13-poison-best-rate", versus)

# %% [markdown]
# ## How many images?
#
# Now the batch nearer to practice: 50 images, rate 0.2, and every pixel in the range of a picture. The honest images are others than those the attacker searched with; he knows that there will be some, not which. If he knows the victim's weights, he searches for exactly these. Watch both distances: from wrong labels to distilled, and from an unknown start to a known one.

# %%
shared = dict(rate=0.2, crowds=crowds, judged=JUDGED)
counts, parts = [3, 10, 25], []
for count in counts:
    those = dict(images=count, among=50 - count, seeds=seeds if count == 10 else few_seeds, **shared)
    parts.append(kd.sweep(attack, arm="wrong", **those))
    parts.append(kd.sweep(attack, arm="distilled", **those, **search))
    parts.append(kd.sweep(attack, arm="distilled", known=True, **those, **search).assign(arm="known"))
batches = pd.concat(parts, ignore_index=True)

# %%
LINES = {
    "wrong": ("wrong labels", COLOURS["hard"]),
    "distilled": ("distilled,\nunknown start", COLOURS["soft"]),
    "known": ("distilled,\nknown start", COLOURS["teacher"]),
}
figure, (left, other) = plt.subplots(1, 2, figsize=(8.4, 3.6))
for place, (arm, (text, colour)) in enumerate(LINES.items()):
    frame, nudge = batches[batches.arm == arm], 0.14 * (place - 1)
    for axis, metric in ((left, "turned"), (other, "others")):
        mean = frame.groupby("images")[metric].mean()
        values = [frame[frame.images == c][metric] for c in counts]
        half = [kd.plots.half_width(v) if len(v) > 3 else np.nan for v in values]  # three seeds are shown as dots
        axis.errorbar(np.arange(3) + nudge, mean, half, fmt="o-", markersize=5, capsize=3, linewidth=1.2, color=colour)
        axis.scatter([counts.index(c) + nudge for c in frame.images], frame[metric], s=12, color=colour, alpha=0.5, linewidths=0)
    left.annotate(text, (0.02, 0.97 - 0.17 * place), xycoords="axes fraction", va="top", color=colour, fontweight="bold", fontsize=9)
for axis in (left, other):
    axis.set_xticks(range(3), [f"{c}" for c in counts])
    axis.set_xlabel("poisoned images in a batch of 50")
left.set(ylabel="attacked class called the target, %", ylim=(-5, 108), xlim=(-1.15, 2.4))
other.set(ylabel="other images still right, %")
at_ten = batches[batches.images == 10].groupby("arm").turned.mean()
left.set_title(f"Ten of fifty: wrong labels {at_ten.wrong:.0f} %,\nunknown start {at_ten.distilled:.0f} %, known {at_ten.known:.0f} %", fontsize=10)
other.set_title(f"What it costs the other classes\n(before the step {np.mean(before):.0f} %)", fontsize=10)
kd.plots.show(
    figure,
    "Two panels against the number of poisoned images in a batch of fifty: 3, 10, 25. Left: share of the attacked class called the target; "
    "right: share of the other test images still "
    "classified correctly. Three lines: wrong labels, images distilled for an unknown start, images distilled for the known start. Every run "
    "is a dot, means of more than three have 95 percent intervals.",
)

# %% tags=["slide", "slide-output"]
ten_of_fifty = batches[batches.images == 10]
attacks = pd.concat([ten_of_fifty, alone.assign(arm="alone"), wrong[wrong.rate == 0.02].assign(arm="alone_wrong")], ignore_index=True)
kd.judge("13-poison-ten-images", attacks)

# %% [markdown]
# Pairs of classes differ. In the left panel, find the seed for which wrong labels come nearest to the distilled images: our reading is that the networks hold its two digits for neighbours, so that cheap poison does and distilling has less to add. Five pairs are few for a mean over such differences. Compare the widths of the card's two intervals before you read its verdict: the first contrast mixes easy and hard pairs among honest images, the second asks in the paper's set-up. And look at the right panel again: an owner who checks the other classes after every step has a screen, too.

# %%
kd.judge("13-poison-unknown-start", ten_of_fifty)

# %% [markdown]
# The second card matters for defence. If a known start gains little, keeping the weights secret protects little: networks of one architecture, trained on the same kind of data, can be moved by the same images. (The attacker's networks here share the victims' architecture and data and differ in initial weights and order of batches only. Another architecture was not tested.)
#
# ## Screens
#
# A victim can look at each image before it learns from it. Two cheap scores: the **loss** of the example under the current weights, and the **norm of its own gradient**, the length of the step that it alone would cause. A network that is already good gives most honest images little of either. With paper and pencil: a linear network of one input, two classes and weights $(1, -1)$, and the image $x = 2$. The logits are $(2, -2)$, the probability of class 1 is $1/(1+e^4)$. The gradient for label $k$ is $(p - e_k)\,x$; for label 1 it is longer than for label 0 by exactly $p_0/p_1 = e^4$.

# %% tags=["nbval-check-output"]
line = torch.nn.Linear(1, 2, bias=False).double()
x, one = torch.tensor([[2.0]]).double(), {"weight": torch.tensor([[[1.0], [-1.0]]]).double()}
honest, false = (kd.poison.gradient_norms(line, one, x, torch.tensor([k])).item() for k in (0, 1))
losses = [kd.poison.losses(line, one, x, torch.tensor([k])).item() for k in (0, 1)]
print(f"label 0: loss {losses[0]:.3f}, gradient norm {honest:.3f}")
print(f"label 1: loss {losses[1]:.3f}, gradient norm {false:.3f}")
print(f"ratio of the norms {false / honest:.2f}, exp(4) = {np.exp(4):.2f}")

# %% [markdown]
# Gradients of single examples are what `loss.backward()` does *not* give: it returns their mean. `torch.func` gives each of them, by differentiating a function of one example and mapping it over the batch. Here against one backward pass for each example:


# %%
def norms_of_each(network, images, labels):
    def loss(weights, image, label):
        return F.cross_entropy(torch.func.functional_call(network, weights, (image[None],)), label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(dict(network.named_parameters()), images, labels)  # name → [N, …]
    return torch.sqrt(sum(g.flatten(1).pow(2).sum(dim=1) for g in each.values()))


def one_by_one(network, image, label):
    gradients = torch.autograd.grad(F.cross_entropy(network(image[None]), label[None]), list(network.parameters()))
    return torch.cat([g.flatten() for g in gradients]).norm()


mapped = norms_of_each(pair[0], some, labels)
assert torch.allclose(mapped, torch.stack([one_by_one(pair[0], x, y) for x, y in zip(some, labels)]), atol=1e-5)
assert torch.allclose(mapped, kd.poison.gradient_norms(pair[0], kd.poison.members(crowd, slice(1)), some, labels)[0], atol=1e-5)

# %% [markdown]
# Each victim sets a **threshold** for each score: what one honest image in a hundred exceeds, on images that it did not learn from. An image above it is left out of the batch. That is a promise about false alarms; about poison it promises nothing, so we look.
#
# An attacker who knows about screens can stay below them: the **quiet** attacker adds a penalty for every image whose norm (or norm and loss) exceeds four fifths of the threshold of one of his own networks. And there is a third defence, which needs no decision about anyone: **clipping** shortens each example's gradient to a fixed length before the mean is taken, as in DP-SGD, which the second half of this lesson uses. We clip at the length that one honest image in *ten* exceeds.

# %%
half = dict(images=25, among=25, seeds=seeds, **shared)
quiet = kd.sweep(attack, arm="distilled", quiet="norm", images=10, among=40, seeds=seeds, **shared, **search)
quiet_half = kd.sweep(attack, arm="distilled", quiet="norm", **half, **search)
hidden = kd.sweep(attack, arm="distilled", quiet="both", **half, **search)

# %%
made = kd.run(victims, seed=first_seed, **crowds)
limits = {name: kd.poison.threshold(made["reference"][name])[0].item() for name in ("norm", "loss")}
KINDS = {
    "wrong labels": (ten_of_fifty[ten_of_fifty.arm == "wrong"], COLOURS["hard"], "^"),
    "distilled": (ten_of_fifty[ten_of_fifty.arm == "distilled"], COLOURS["soft"], "o"),
    "quiet in norm": (quiet, "#56b4e9", "s"),
    "quiet in both": (hidden, COLOURS["teacher"], "D"),
}
figure, axis = plt.subplots(figsize=(7.4, 4.2))
clean_norm, clean_loss = (made["honest"][name][0] for name in ("norm", "loss"))
axis.scatter(clean_norm.clamp(min=1e-3), clean_loss.clamp(min=1e-4), s=5, color="0.75", linewidths=0)
for text, (frame, colour, marker) in KINDS.items():
    row = frame[frame.seed == first_seed].iloc[0]
    axis.scatter(np.clip(row.norm, 1e-3, None), np.clip(row.loss, 1e-4, None), s=26, marker=marker, color=colour, alpha=0.7, linewidths=0, label=text)
axis.axvline(limits["norm"], color="0.3", linewidth=1, linestyle="--")
axis.axhline(limits["loss"], color="0.3", linewidth=1, linestyle="--")
axis.set(xscale="log", yscale="log", xlabel="norm of the example's own gradient", ylabel="loss of the example")
axis.annotate("one honest reference image in a hundred is above", (1.1e-3, limits["loss"]), xytext=(0, 4), textcoords="offset points", fontsize=9, color="0.3")
axis.annotate("honest images", (0.03, 0.003), color="0.45", fontweight="bold", ha="left", xytext=(14, -16), textcoords="offset points")
axis.legend(loc="lower right", frameon=False, fontsize=9)
caught = {text: frame.caught_norm.mean() for text, (frame, _, _) in KINDS.items()}
axis.set_title(
    f"Above the norm threshold: distilled {caught['distilled']:.0f} %, wrong labels {caught['wrong labels']:.0f} %, quiet {caught['quiet in norm']:.0f} %",
    fontsize=10,
)
kd.plots.show(
    figure,
    "Loss against gradient norm of single examples under one victim, both axes logarithmic: grey dots are honest test images, markers the "
    "poisoned images of four attackers: wrong labels, "
    "distilled, quiet in norm, quiet in norm and loss. Dashed lines mark the two thresholds; what lies right of or above them is caught. The "
    "title's shares are means over all seeds and victims.",
)

# %%
alarms = {
    name: np.mean(
        [
            (kd.run(victims, seed=s, **crowds)["honest"][name] > kd.poison.threshold(kd.run(victims, seed=s, **crowds)["reference"][name]))
            .float()
            .mean()
            .item()
            for s in seeds
        ]
    )
    for name in limits
}
print(f"honest test images above the threshold (1 % was promised): norm {100 * alarms['norm']:.1f} %, loss {100 * alarms['loss']:.1f} %")
print(f"{'':24s}{'area under the curve':>24s}{'caught, % of images':>28s}")
print(f"{'':24s}{'norm':>14s}{'loss':>10s}{'norm':>12s}{'loss':>8s}{'either':>8s}")
for text, (frame, _, _) in KINDS.items():
    m = frame[["auc_norm", "auc_loss", "caught_norm", "caught_loss", "caught_either"]].mean()
    print(f"{text:24s}{m.auc_norm:14.3f}{m.auc_loss:10.3f}{m.caught_norm:12.0f}{m.caught_loss:8.0f}{m.caught_either:8.0f}")
kd.judge("13-poison-caught", ten_of_fifty)

# %% [markdown]
# The **area under the curve** is the chance that a poisoned image scores higher than an honest one, over all thresholds. It hides what a screen has to decide: compare the two first columns with the three last ones for the quiet attackers. An attacker needs to beat one threshold, and near 1 is not 1. (In the figure, ten images that have become alike lie on one dot.)
#
# Where distilled images are louder than wrong labels, the likely reason is that nobody told them to be quiet: when the step is short, a long gradient is the way to move far. Honest images that the network finds hard are loud, too, and so are honest mistakes in the labels: a screen throws them out first. It costs hard examples, from which there may be most to learn.
#
# ## What remains after a defence
#
# What counts in the end is not who is caught, but what is turned. For each attack: the share turned without defence, behind the norm screen, behind both screens, and under clipping.

# %% tags=["slide:defences", "slide-output"]
DEFENCES = {"": "no\ndefence", "_norm": "norm\nscreen", "_either": "both\nscreens", "_clipped": "clipping"}
PANELS = {
    "ten of 50, distilled": ten_of_fifty[ten_of_fifty.arm == "distilled"],
    "ten of 50, quiet in norm": quiet,
    "half, quiet in norm": quiet_half,
    "half, quiet in both": hidden,
}
figure, axes = plt.subplots(1, 4, figsize=(8.6, 3.7), sharey=True)
for axis, (text, frame) in zip(axes, PANELS.items()):
    values = frame[[f"turned{d}" for d in DEFENCES]].to_numpy(float)
    axis.plot(range(4), values.T, color="0.82", linewidth=0.8, zorder=1)
    for place, d in enumerate(DEFENCES):
        colour = COLOURS["hard"] if not d else COLOURS["soft"] if d == "_clipped" else COLOURS["control"]
        axis.scatter(np.full(len(values), place), values[:, place], s=14, color=colour, alpha=0.6, linewidths=0, zorder=2)
        mean, half_width = values[:, place].mean(), kd.plots.half_width(values[:, place])
        axis.errorbar(place + 0.2, mean, half_width, fmt="o", markersize=5, capsize=3, color=colour, zorder=3)
        axis.annotate(f"{mean:.0f}", (place + 0.2, 115), ha="center", color="#75604f" if d in ("_norm", "_either") else colour, fontweight="bold")
    axis.set_xticks(range(4), DEFENCES.values(), fontsize=9, rotation=55)
    axis.set_title(text, fontsize=9.5)
    axis.set(xlim=(-0.4, 3.6), ylim=(-4, 124), yticks=range(0, 101, 20))
axes[0].set_ylabel("attacked class called the target, %")
over = {d: max(f[f"turned{d}"].mean() for f in PANELS.values()) for d in DEFENCES}
figure.suptitle(
    f"The best of four attacks: {over['']:.0f} % undefended, {over['_either']:.0f} % behind both screens, {over['_clipped']:.0f} % under clipping",
    fontsize=11,
    fontweight="bold",
    x=0.01,
    ha="left",
)
kd.plots.show(
    figure,
    "Four panels, one for each attack: ten distilled images in a batch of fifty, ten that are quiet in norm, half a batch quiet in norm, "
    "half a batch quiet in norm and loss. In each, the share of the "
    "attacked class that is called the target without defence, behind the norm screen, behind both screens, and under clipping. Every run is "
    "a dot, runs of a seed are joined, means with 95 percent "
    "intervals stand beside them and as numbers on top.",
)

# %% tags=["slide", "slide-output"]
ten_arms = [ten_of_fifty[ten_of_fifty.arm == "distilled"], quiet.assign(arm="quiet")]
ten_arms.append(ten_arms[0].assign(arm="clipped", turned=ten_arms[0].turned_clipped))
kd.judge("13-poison-defences", pd.concat(ten_arms, ignore_index=True))

# %%
behind = pd.concat(
    [hidden.assign(arm=f"hidden_{name}", turned=hidden[f"turned_{column}"]) for name, column in (("screened", "either"), ("clipped", "clipped"))],
    ignore_index=True,
)
kd.judge("13-poison-hidden", behind)

# %% [markdown]
# A screen asks *who are you?* and is passed by whoever looks like an honest hard example. Clipping asks nothing: it bounds what anyone can do, since no example moves the weights further than rate times limit over batch size. The two panels on the right show attackers who fill half of the batch, the last one trying to stay below both thresholds; compare their last two columns. The thresholds are high because honest hard examples are loud, and below them there is room; clipping sits where nine in ten honest images never notice.
#
# What this does not say. One step: an attacker who may come a hundred times can be patient, and then a bound on each step bounds nothing for long. One kind of network, well trained, on five pairs of digits: screens work because honest gradients are short here; a network in its first epoch, or one whose honest data have many wrong labels, would get higher thresholds, and more would pass below them. And an attacker who knew of the clipping would search through it; ours did not. What clipping costs an honest training was not measured here; the private training below uses it at every step.
#
# ## What goes wrong in practice
#
# **The threshold comes from the training set.** A screen needs honest scores, and the training images are at hand. But the network has seen them: it gives them less loss and shorter gradients than it gives to honest strangers, the more so the longer it trained. Below, victims that saw 1,000 images many times, and the false alarms that a threshold of 1 % gives on honest test images: set by the training images, and set by others.

# %% tags=["slide:wrong", "slide-output"]
whole, test = kd.condense.pictures("mnist", size)
few, spare, strangers = whole[:1000], whole[40_000 : 40_000 + crowds["clean"]], test[: crowds["clean"]]
over_trained = kd.poison.train_crowd(
    lambda s: kd.models.mlp(size**2, 64, 10, seed=s),
    few,
    range(first_seed, first_seed + 2),
    epochs=lesson.pick(smoke=2, quick=40, full=60),
    batch_size=100,
    learning_rate=1e-2,
)
network = kd.models.mlp(size**2, 64, 10).to(kd.lesson.device())


def scores(split):
    images, labels = (t.to(kd.lesson.device()) for t in (kd.data.to_float(split.images), split.labels))
    return kd.poison.gradient_norms(network, over_trained, images, labels).cpu()


for text, split in (("its own training images", few), ("honest images it never saw", spare)):
    alarm = (scores(strangers) > kd.poison.threshold(scores(split))).float().mean().item()
    print(f"threshold at 1 % of {text:28s}: {100 * alarm:.1f} % of honest test images are thrown out")

# %% [markdown]
# The bug is easy to make and easy to miss, since poison is caught all the same: it is your honest contributors who disappear, the unusual ones first. Set thresholds on honest images the network has *not* seen. That the gap exists at all is worth a second thought: whoever can ask a network for its loss can guess, better than by a coin, whether an image was in its training set. That is the second half of this lesson.

# %% [markdown] tags=["slide:privacy"]
# ## Does a distilled set keep a secret?
#
# A hospital may not hand out its patients' records. May it hand out ten images per class that were *distilled* from them? No image of the set is a patient, one might say; each is a mixture of many. Dong, Zhao and Lyu (2022, "Privacy for Free") argued that networks which train on condensed data hardly reveal who was in the original. Carlini, Feldman and Nasr (2022, "No Free Lunch") answered that they find no statistically significant
# evidence that this protects better than a naive baseline, and that differentially private training is more accurate and leaks provably less. Both cannot be right about the same thing, so let us measure it.
#
# The question has a precise form, **membership inference**: someone knows a picture, and asks a network whether the picture was in its training data. A **candidate** is a picture that may or may not have been there; those that were are **members**. We draw a pool of candidates and toss a coin for each: that is one **world**, with members of its own. In each world the whole pipeline runs once: distil, train, publish. Then
# many worlds stand side by side, and in about half of them a given picture is a member. The pool stays small on purpose: this is a toy for looking at leaks, and each picture weighs enough to be seen.
#
# What would an attacker look at? A network is surer about what it has learned by heart. Let $p$ be the probability that it gives to the right class, and
#
# $$ \varphi = \log\frac{p}{1-p} = z_y - \log\sum_{j\ne y} e^{z_j}, $$
#
# its **logit-scaled confidence** ($z$ are the logits, $y$ the right class). On this scale the values of one candidate over many worlds look roughly normal, which $p$ itself, crowded at 1, does not. Some pictures are easy, and any network is sure about them; so what counts is not whether $\varphi$ is large, but whether it is larger *than it would be without this picture*. Attackers can find out: they run the pipeline in worlds of their own, fit one normal distribution
# to $\varphi$ where the picture was a member and one where it was not, and ask which of them the published network's $\varphi$ fits better. This is **LiRA**, the likelihood-ratio attack of Carlini et al. (2022). Networks trained for the attackers' own worlds are called **shadow models**.

# %%
world = dict(
    dataset="fashion_mnist",
    size=14,
    candidates=lesson.pick(smoke=1600, quick=2000, full=2000),
    worlds=lesson.pick(smoke=24, quick=32, full=128),
)
fitting = dict(hidden=64, steps=lesson.pick(smoke=3, quick=100, full=100), rate=0.01)
making = dict(steps=lesson.pick(smoke=2, quick=100, full=100), width=128)
private = dict(kind="private", steps=lesson.pick(smoke=2, quick=30, full=30), rate=0.1, clip=1.0)
DELTA = 1e-5

NAIVE = {"naive_one": 1, "naive_five": 5, "naive_ten": 10, "naive_twenty": 20, "naive_forty": 40}
RECIPES = {arm: {"kind": "random", "per_class": count} for arm, count in NAIVE.items()}
RECIPES["distilled_one"] = {"kind": "distilled", "per_class": 1, "start": "noise", "rate": 0.1, **making}
RECIPES["distilled_ten"] = {"kind": "distilled", "per_class": 10, "start": "real", "rate": 0.05, **making}
RECIPES["noise_ten"] = {"kind": "distilled", "per_class": 10, "start": "noise", "rate": 0.2, **making} | {"steps": 2 * making["steps"]}
RECIPES |= {"private_strict": {**private, "rho": 0.15}, "private_loose": {**private, "rho": 2.4}}
RECIPES["members"] = {"kind": "members"}


def pool_of(seed, dataset, size, candidates, part="test"):
    """The candidates of a seed, and the images by which accuracy is judged."""
    train, judged = kd.condense.pictures(dataset, size, part)
    return train[torch.randperm(len(train), generator=kd.models.stream(seed, "pool"))[:candidates]], judged


def published_sets(seed, dataset, size, candidates, worlds, kind, per_class, start="real", steps=0, rate=0.0, width=0):
    """What each world hands out: images [W, K·n, D] in bytes, and which members they are, or began as: indices [W, K·n]."""
    pool, _ = pool_of(seed, dataset, size, candidates)
    members = kd.privacy.memberships(worlds, candidates, seed)
    drawn = kd.privacy.drawn(members, pool.labels, per_class, seed)
    device = kd.lesson.device()
    images = kd.data.to_float(pool.images).flatten(1).to(device)
    made = images[drawn.to(device)]
    if kind == "distilled":
        if start == "noise":
            made = torch.rand(made.shape, generator=kd.models.stream(seed, "noise")).to(device)
        settings = dict(steps=steps, learning_rate=rate, width=width, seed=seed)
        made = kd.privacy.condense_worlds(images, pool.labels.to(device), members.to(device), made, **settings)
    return {"images": (255 * made).round().to(torch.uint8), "drawn": drawn}


def attacked(seed, dataset, size, candidates, worlds, recipe, hidden, steps, rate, part="test"):
    """Train a network in each world by the arm's recipe, attack them all, and say how far the attack came."""
    device, kind = kd.lesson.device(), recipe["kind"]
    pool, judged = pool_of(seed, dataset, size, candidates, part)
    members = kd.privacy.memberships(worlds, candidates, seed)
    images, labels = kd.data.to_float(pool.images).flatten(1).to(device), pool.labels.to(device)
    weights = kd.privacy.newborn(worlds, (images.shape[1], hidden, 10), seed)
    found = {}
    if kind in ("random", "distilled"):
        made = kd.run(published_sets, seed=seed, dataset=dataset, size=size, candidates=candidates, worlds=worlds, **recipe)
        shown, drawn = kd.data.to_float(made["images"]).to(device), made["drawn"]
        weights = kd.privacy.descend(weights, shown, labels[drawn.to(device)], steps=steps, learning_rate=rate)
        nearness = -torch.stack([torch.cdist(images, own).min(dim=1).values for own in shown]).cpu()
        found["auc_of_set"] = kd.privacy.area_under_curve(kd.privacy.likelihood_ratios(nearness, members), members).mean().item()
        nearest = torch.stack([torch.cdist(own, images).argmin(dim=1) for own in shown]).cpu()
        found["starts_found"] = 100 * (nearest == drawn).float().mean().item()
    else:
        index, counts = (t.to(device) for t in kd.privacy.gathered(members))
        settings = dict(steps=steps, learning_rate=rate)
        if kind == "private":
            noise = (recipe["steps"] / (2 * recipe["rho"])) ** 0.5
            settings = dict(steps=recipe["steps"], learning_rate=recipe["rate"], clip=recipe["clip"], noise=noise, size=candidates / 2, seed=seed)
        weights = kd.privacy.descend(weights, images[index], labels[index], counts=counts, **settings)
    observed = kd.privacy.logit_confidence(kd.privacy.logits(weights, images), labels).cpu()
    scores = kd.privacy.likelihood_ratios(observed, members)
    if kind == "random" or recipe.get("start") == "real":
        mine = torch.zeros_like(members).scatter_(1, drawn, True)
        for name, asked in (("auc_drawn", mine), ("auc_others", ~mine)):
            found[name] = kd.privacy.area_under_curve(scores, members, asked).mean().item()
    return found | {
        "auc": kd.privacy.area_under_curve(scores, members).mean().item(),
        "found_1": 100 * kd.privacy.true_positive_rate(scores, members, 0.01),
        "found_01": 100 * kd.privacy.true_positive_rate(scores, members, 0.001),
        "percent": 100 * kd.privacy.accuracy(weights, judged).mean().item(),
        "observed": observed,
    }


seeds = lesson.seeds(smoke=1, quick=5, full=5)
runs = pd.concat([kd.sweep(attacked, seeds=seeds, recipe=recipe, **world, **fitting).assign(arm=arm) for arm, recipe in RECIPES.items()], ignore_index=True)
print(f"{world['worlds']} worlds a seed, {world['candidates']:,} candidates, about half of them members in each")

# %% [markdown]
# First the arm that must leak: a network trained on the members themselves, in as many steps as every other arm without noise. Each dot below is one world's network, asked about one and the same picture. Above, a picture *chosen* because its two groups lie far apart; below, one whose shift is the median. The attack decides by the two normal curves.

# %%
pool, _ = pool_of(first_seed, world["dataset"], world["size"], world["candidates"])
members = kd.privacy.memberships(world["worlds"], world["candidates"], first_seed)
observed = kd.run(attacked, seed=first_seed, recipe=RECIPES["members"], **world, **fitting)["observed"]


def groups(column):
    """A candidate's logit-scaled confidences in the worlds where it is a member, and in the others."""
    return [observed[inside, column].numpy() for inside in (members[:, column], ~members[:, column])]


shifts = np.array([inside.mean() - outside.mean() for inside, outside in map(groups, range(len(pool)))])
picked = [int(shifts.argmax()), int(shifts.argsort()[len(shifts) // 2])]
figure, axes = plt.subplots(2, 2, figsize=(7.5, 3.8), width_ratios=[1, 6])
for (left, right), column, how in zip(axes, picked, ("far apart", "median")):
    left.imshow(pool.images[column, 0])
    left.axis("off")
    left.set_title(kd.load(world["dataset"]).classes[pool.labels[column]], fontsize=10)
    for row, (values, text, role) in enumerate(zip(groups(column), ("member", "not a member"), ("hard", "control"))):
        colour = kd.plots.COLOURS[role]
        right.scatter(values, np.full(len(values), row), s=16, color=colour, alpha=0.6, linewidths=0)
        line = np.linspace(values.mean() - 3 * values.std(), values.mean() + 3 * values.std(), 99)
        right.plot(line, row - 0.15 - 0.55 * np.exp(-((line - values.mean()) ** 2) / (2 * values.var() + 1e-9)), color=colour, linewidth=1.2)
    right.set_yticks([0, 1], ["member", "not a member"])
    right.set_ylim(1.4, -0.9)
    right.set_title(f"{how}: with the picture {shifts[column]:+.1f}", fontsize=10)
axes[1, 1].set_xlabel("logit-scaled confidence in the right class")
kd.plots.show(
    figure,
    "Two pictures of clothes, one row each: the candidate with the largest shift and one with the median shift. Beside each, dots for the logit-scaled confidence of "
    "every world's network in the right class, above for worlds where the picture is a member, below for the others, with a normal curve for each group. "
    "The further apart the two groups, the easier the attack.",
)

# %% [markdown]
# Here is the attack in code, for the world numbered `target`. The means are each candidate's own; the two variances are shared by all of them, since a few dozen worlds cannot say more. The world under attack must not teach the attacker anything, so it is left out.


# %%
def likelihood_attack(observed, members, target):
    """Confidences [W, N] and memberships [W, N] → for each candidate, how much likelier world `target` is with it as a member: log ratios [N]."""
    x, others = observed.double(), torch.arange(len(observed)) != target
    log_densities = []
    for chosen in (members & others[:, None], ~members & others[:, None]):
        number = chosen.sum(dim=0)
        mean = (x * chosen).sum(dim=0) / number
        variance = ((x - mean).square() * chosen).sum() / (number - 1).sum()
        log_densities.append(-((x[target] - mean) ** 2) / (2 * variance) - variance.log() / 2)
    return log_densities[0] - log_densities[1]


assert torch.allclose(likelihood_attack(observed, members, 3), kd.privacy.likelihood_ratios(observed, members, shrink=False)[3])

# %% [markdown]
# The package's version attacks every world in turn and draws the candidates' shifts towards their common mean where the worlds are too few to tell them apart; that is meant for arms in which little leaks. Two numbers sum it up. The **area under the curve** (AUC) is the chance that a random member scores above a random other candidate: ½ is guessing. It is an average over all members, and an average can be small while one patient is exposed. So we also count the share of members found by a threshold that only one in a thousand of the others passes.
#
# By hand, with a threshold that one of four others may pass: members score 3, 1, 0, others 2, 0, -1, -2. Of twelve pairs the member wins nine and one is a tie: $9.5/12$. One in four others passes a threshold of 0, and two of three members do.

# %% tags=["nbval-check-output"]
scores = torch.tensor([[3.0, 1.0, 0.0, 2.0, 0.0, -1.0, -2.0]])
inside = torch.tensor([[True, True, True, False, False, False, False]])
print("area under the curve:", round(float(kd.privacy.area_under_curve(scores, inside)[0]), 4))
print("members found:", round(kd.privacy.true_positive_rate(scores, inside, 0.25), 4))
print("logit-scaled confidence of probability 0.9:", round(float(kd.privacy.logit_confidence(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([0]))[0]), 4))
print("rho of 30 steps with noise 10:", kd.privacy.privacy_spent(10, 30), "· epsilon:", round(kd.privacy.epsilon(0.15, 1e-5), 2))

# %% [markdown]
# ### A control that must find nothing, and one that finds too much
#
# If the tool is honest, an attack with the *wrong* list of members finds nothing: toss all coins again, hand the attack the new list, and judge it by that. The second column below makes an easy mistake. It lets the attacked world take part in the fit: now each candidate's own value pulls the mean of its own group towards itself. Nothing leaks, and the attack "works".


# %%
def shuffled(seed, recipe, repeats, **settings):
    """The attack on an arm's networks by memberships that have nothing to do with them: honest, and with the attacked world in the fit."""
    observed = kd.run(attacked, seed=seed, recipe=recipe, **settings)["observed"].double()
    areas = {"auc": [], "auc_seen": []}
    for k in range(repeats):
        wrong = kd.privacy.memberships(*observed.shape, kd.models.stream_seed(seed, f"shuffled/{k}"))
        areas["auc"].append(kd.privacy.area_under_curve(kd.privacy.likelihood_ratios(observed, wrong), wrong).mean())
        inside, outside = ((observed * m).sum(dim=0) / m.sum(dim=0) for m in (wrong, ~wrong))
        areas["auc_seen"].append(kd.privacy.area_under_curve((observed - outside) ** 2 - (observed - inside) ** 2, wrong).mean())
    return {name: float(torch.stack(values).mean()) for name, values in areas.items()}


controls = {"shuffled": "members", "shuffled_distilled": "distilled_ten"}
nothing = pd.concat(
    [
        kd.sweep(shuffled, seeds=seeds, recipe=RECIPES[of], repeats=lesson.pick(smoke=1, quick=4, full=4), **world, **fitting).assign(arm=arm)
        for arm, of in controls.items()
    ],
    ignore_index=True,
)
runs = pd.concat([runs, nothing], ignore_index=True)
means = nothing.groupby("arm")[["auc", "auc_seen"]].mean()
print(means.rename(columns={"auc": "attacked world left out", "auc_seen": "attacked world in the fit"}).round(3).to_string())

# %%
kd.judge("13-privacy-null", runs)

# %% [markdown]
# ## What is handed out
#
# Three ways to hand out ten images per class instead of the members. *Naive*: ten random members as they are. *Distilled from real images*: begin with these ten and match the mean features of all members (distribution matching, [lesson 12](12_dataset_distillation.ipynb)). *Distilled from noise*: the same, begun with random pixels. Look at them before you look at any number. All are from world 0, the first image of each class: a member, what was made of it, and which of all candidates is nearest to that; the same for the images begun with noise; and the one image per class.

# %% tags=["slide:handed", "slide-output"]
made = {arm: kd.run(published_sets, seed=first_seed, **world, **RECIPES[arm]) for arm in ("distilled_ten", "noise_ten", "distilled_one")}
size = world["size"]
candidates = kd.data.to_float(pool.images).flatten(1)


def nearest(arm):
    """For the first image of each class of world 0's set: the nearest of all candidates."""
    return candidates[torch.cdist(first_of(arm), candidates).argmin(dim=1)]


def first_of(arm):
    images = kd.data.to_float(made[arm]["images"][0])
    return images[:: RECIPES[arm]["per_class"]]


rows = {
    "a member": candidates[made["distilled_ten"]["drawn"][0, ::10]],
    "distilled from it": first_of("distilled_ten"),
    "nearest candidate": nearest("distilled_ten"),
    "distilled from noise": first_of("noise_ten"),
    "nearest candidate ": nearest("noise_ten"),
    "one per class": first_of("distilled_one"),
}
figure, axis = plt.subplots(figsize=(7.5, 4.9))
axis.imshow(torch.cat([torch.cat([*row.view(-1, size, size)], dim=1) for row in rows.values()]), vmin=0, vmax=1)
axis.set_yticks([(k + 0.5) * size for k in range(len(rows))], list(rows), fontsize=9)
axis.set_xticks([(k + 0.5) * size for k in range(10)], kd.load(world["dataset"]).classes, fontsize=9)
axis.tick_params(length=0)
axis.spines[:].set_visible(False)
given_away = runs[runs.arm == "distilled_ten"].starts_found.mean()
axis.set_title(f"Of the images begun with real ones, {given_away:.0f} % are nearest to the member they began as", fontsize=10)
kd.plots.show(
    figure,
    "Six rows of ten pictures of clothes, one for each class: a member, the image distilled from it, the candidate nearest to that image, an image distilled from noise, "
    "the candidate nearest to it, and the single image per class. Compare the first three rows: where they show the same piece of clothing, the distilled image gives its member away.",
)

# %% [markdown]
# A distilled image that began as a member needs no attack by statistics: whoever has the picture lays the two side by side. That settles nothing about the second question, whether the *others*, whose pictures were never in the set, leave a trace in it.
#
# ## The protection that can be proved
#
# **Differentially private training** (Abadi et al. 2016) limits what any one picture can do. In every step the gradient of each single image is cut to a length $C$ at most, the gradients are added up, and normal noise of standard deviation $\sigma C$ is added to the sum. One picture more or less moves the sum by no more than $C$, and the noise hides it. For $T$ steps on all the data the account is short (Bun & Steinke 2016):
#
# $$ \rho = \frac{T}{2\sigma^2}, \qquad \varepsilon = \rho + 2\sqrt{\rho \ln(1/\delta)}. $$
#
# At the ends: $\sigma \to \infty$ gives $\rho = 0$, a network that has seen nothing; $\sigma \to 0$ gives no promise at all. All the noisy sums together tell an attacker no more than one normal observation whose mean moves by $\sqrt{2\rho}$ standard deviations, so that no attack on one picture, however clever, has an AUC above $\Phi(\sqrt\rho)$, where $\Phi$ is the normal distribution function (Dong, Roth & Su 2022). The naive baseline has a ceiling as well: a share $f$ of the members is handed out, the others never touched anything, hence at most $\tfrac12 + \tfrac f2$. Distilled
# sets come with no such line.
#
# ## Accuracy against leak
#
# A protection that costs accuracy has to be compared at equal accuracy: a network that knows nothing keeps every secret. So the naive baseline gets one to forty images per class, and private training a strict and a loose budget. Every arm of a seed has the same worlds, members and newborn networks. Rates and steps were looked for on validation images of another seed: three to five settings for each kind of arm, eight for each private budget. Accuracy decided; where more steps gained a point or less, the fewer were taken. Such a search looks at the members, too; its price is not in ε.

# %% tags=["slide:leak", "slide-output"]
FAMILIES = {
    "random members as they are": (list(NAIVE), kd.plots.COLOURS["hard"], list(map(str, NAIVE.values()))),
    "distilled": (["distilled_one", "noise_ten", "distilled_ten"], kd.plots.COLOURS["soft"], ["1", "10, from noise", "10, from real"]),
    "private training": (["private_strict", "private_loose"], "#8c4a86", [f"ε = {kd.privacy.epsilon(r, DELTA):.0f}" for r in (0.15, 2.4)]),
    "all members": (["members"], kd.plots.COLOURS["teacher"], [""]),
}
METRICS = {"auc": "area under the curve", "found_01": "members found in %\n(1 in 1,000 others passes)"}
figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.8))
for axis, (metric, label) in zip(axes, METRICS.items()):
    for family, (arms, colour, texts) in FAMILIES.items():
        table = [runs[runs.arm == arm] for arm in arms]
        points = np.array([(t.percent.mean(), t[metric].mean()) for t in table])
        if family != "distilled":
            axis.plot(*points.T, color=colour, linewidth=1, alpha=0.5, zorder=1)
        for t, (x, y), text in zip(table, points, texts):
            axis.scatter(t.percent, t[metric], s=9, color=colour, alpha=0.5, linewidths=0, zorder=2)
            axis.errorbar(x, y, kd.plots.half_width(t[metric]), kd.plots.half_width(t.percent), fmt="o", markersize=5, capsize=2, color=colour, zorder=3)
            if metric == "auc":
                where = {"distilled": (-5, 19) if "real" in text else (-5, 6), "private training": (-7, -4)}.get(family, (5, -13))
                axis.annotate(text, (x, y), xytext=where, textcoords="offset points", ha="right" if where[0] < 0 else "left", fontsize=9, color=colour)
        if metric == "auc":
            axis.plot([], [], "o", color=colour, label=family)
    axis.axhline({"auc": 0.5, "found_01": 0.1}[metric], color=kd.plots.COLOURS["control"], linewidth=1)
    axis.set(xlabel="accuracy on test images in %", ylabel=label)
axes[1].set(yscale="log", ylim=(0.04, 5))
axes[1].set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
axes[1].minorticks_off()
axes[0].legend(loc="upper left", frameon=False, fontsize=9)
mean = runs.groupby("arm").auc.mean()
axes[0].set_title(f"Ten images per class: distilled {mean.distilled_ten:.3f}\n(noise: {mean.noise_ten:.3f}), as they are {mean.naive_ten:.3f}", fontsize=10)
rare = runs.groupby("arm").found_01.mean()
axes[1].set_title(f"The most exposed: distilled {rare.distilled_ten:.2f} %\n(noise: {rare.noise_ten:.2f} %), as they are {rare.naive_ten:.2f} %", fontsize=10)
kd.plots.show(
    figure,
    "Two panels with accuracy on test images across and the success of membership inference upwards: the area under the curve on the left, the share of members found at one false "
    "alarm in a thousand on the right, on a logarithmic axis. Four families of networks: trained on 1 to 40 random members per class, on distilled sets, privately, and on all members. Small dots are "
    "seeds, large ones means with 95 percent intervals; a line marks guessing; numbers beside the dots are images per class, ε that of the private budget. Lower and further right is better.",
)

# %% tags=["slide", "slide-output"]
kd.judge("13-privacy-distilled", runs)

# %%
kd.judge("13-privacy-members", runs)

# %% [markdown]
# The first card compares equal numbers of images, and distilled ones also teach more. Is the leak only the price of that accuracy? The next two cards put each distilled set beside the naive one whose accuracy the pilot found nearest: one asks whether the accuracies are equal indeed, the other which of them leaks more. (In a card that asks for equality, "a difference shown" says that the interval does not hold 0; see in its numbers whether it stays within the points asked for.)

# %%
kd.judge("13-privacy-accuracy", runs)

# %%
kd.judge("13-privacy-equal-accuracy", runs)

# %% [markdown]
# ### Who pays?
#
# The averages hide who they are averages of. Below, the members are divided into those that were drawn (handed out as they are, or used as a start) and all others; each group is compared with the candidates that are not members. For the naive baseline the second group is a control: nothing of theirs was used, and their area must be ½. *From the set* is an attack that needs no network: the distance from a picture to the nearest image handed out, put through the same likelihood ratio.

# %%
names = {
    "auc_drawn": "members drawn",
    "auc_others": "other members",
    "auc": "all members",
    "auc_of_set": "all, from the set",
    "starts_found": "starts found, %",
}
who = runs[runs.arm.isin(["naive_ten", "distilled_ten", "noise_ten", "distilled_one", "private_strict", "private_loose", "members"])]
print(who.groupby("arm")[list(names)].mean().rename(columns=names).round(3).to_string(na_rep="–"))

# %%
kd.judge("13-privacy-who", runs)

# %% [markdown]
# Handing out members as they are exposes those few, and by construction nobody else. Distilling can make everyone pay a little, as everyone's features are in the mean that the images are made to match, and those it begins with pay more if their pictures can still be recognised; table and card say whether it does. Which of the two is worse is no question of machine learning. But "no image of the set is a patient" answers neither.
#
# ### Against private training
#
# What is claimed of private training is a better accuracy together with a smaller leak. The cards compare the strict budget with the one-image set, and the loose one with ten images made from noise; the third asks about the most exposed, and compares the loose budget with the naive baseline nearest in accuracy.

# %%
kd.judge("13-privacy-dp", runs)

# %%
kd.judge("13-privacy-dp-accuracy", runs)

# %%
kd.judge("13-privacy-most-exposed", runs)

# %%
for arm in ("private_strict", "private_loose"):
    rho = RECIPES[arm]["rho"]
    share = runs[runs.arm == arm]
    print(
        f"{arm}: ε = {kd.privacy.epsilon(rho, DELTA):.1f} at δ = {DELTA:g} · no attack above AUC {kd.privacy.largest_area(rho):.3f} · ours {share.auc.mean():.3f}"
    )
number = world["candidates"] / 2
print(f"naive_ten: about {100 / number:.0%} of the members are handed out · no attack above AUC {0.5 + 50 / number:.3f} · ours {mean.naive_ten:.3f}")

# %% [markdown]
# Look at the distance between the proved line and the attack. It has two sides: the proof covers every attack and the worst picture, and ours is one attack on average pictures; or the account is generous. A measured attack is a lower bound of what leaks, the proof an upper one, and a distilled set has only the former: tomorrow's attack may be better. Look also at the naive line in both panels above: the area is an average over everyone, the right panel asks about the few who are easiest to find, and the two need not put the families in the same order.
#
# What these cards cannot say: our networks are small and fully connected, the set is matched in features of one newborn layer, a pool has two thousand candidates (with more of them each one weighs less, in every arm), and the attacker knows the whole pipeline, its newborn feature networks included. Dong et al. used convolutional networks on larger data.

# %% [markdown]
# ## At a larger scale
#
# Everything above was computed in the profile that the first cell prints. The profile `full` repeats the poison with LeNet-5 on images of 28×28 pixels, three pairs of classes, eight networks of the attacker's and four victims each, and the privacy half with four times as many worlds. What has been recorded there:

# %%
kd.claims.recorded("13")

# %% [markdown]
# The rates of the two steps are the same as for the small networks, and that is not the same attack: another network is moved further by a step of the same rate, or less far. So read the means of the arms before the contrasts. Where real images with wrong labels turn nearly the whole class by themselves, nothing is left for distilling to add, and what it may still win is quiet: the other classes, in the card on the best rate. And a screen is as good as its threshold: where honest images have long gradients, a threshold that lets ninety-nine in a hundred of them pass lets much else pass, too. Where a claim on poison holds above and is refuted here, it holds for the small networks at their rates, and for no more than these.
#
# ## Exercises
#
# ### 1 · The length of each gradient
#
# A colleague screens batches by the norm of `weights.grad` after `loss.backward()`, and lets a batch with one poisoned image in fifty pass: its gradient is divided by fifty before he looks. Write the norm of *each* example's gradient for a linear network. `vmap` has to know which arguments have a dimension for the examples.


# %% tags=["exercise"]
def norms_of_examples(weights, images, labels):
    """weights [D, K], images [N, D], labels [N] → the length of each example's gradient of the cross-entropy, [N]."""

    def loss(weights, image, label):
        return F.cross_entropy((image @ weights)[None], label[None])

    each = vmap(grad(loss), in_dims=...)(weights, images, labels)  # [N, D, K]
    return ...


# %% tags=["solution"]
def norms_of_examples(weights, images, labels):
    """weights [D, K], images [N, D], labels [N] → the length of each example's gradient of the cross-entropy, [N]."""

    def loss(weights, image, label):
        return F.cross_entropy((image @ weights)[None], label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(weights, images, labels)  # [N, D, K]
    return each.flatten(1).norm(dim=1)


# %%
kd.checks.lesson13.norms_of_each(norms_of_examples);

# %% [markdown]
# ### 2 · What the attacker minimises
#
# To know what to look for, write down what he wants. You have the victim's logits on real images *after* the step, and the true labels. Images of class `attacked` are to be called `target`, and nobody is to notice.


# %% tags=["exercise"]
def attackers_loss(logits, labels, attacked, target):
    """logits [N, K] after the step, true labels [N] → what the attacker minimises, a number."""
    wanted = ...
    return F.cross_entropy(logits, wanted)


# %% tags=["solution"]
def attackers_loss(logits, labels, attacked, target):
    """logits [N, K] after the step, true labels [N] → what the attacker minimises, a number."""
    wanted = torch.where(labels == attacked, target, labels)
    return F.cross_entropy(logits, wanted)


# %%
kd.checks.lesson13.attackers_loss(attackers_loss);

# %% [markdown]
# ### 3 · Found at a price
#
# A colleague reports an attack with "accuracy 53 %" and concludes that nothing leaks. Write the number that would change her mind: the share of members whose score lies above a threshold that only a share `false_positive_rate` of the others passes.


# %% tags=["exercise"]
def found_at(member_scores, other_scores, false_positive_rate):
    """Scores [M] of members and [N] of others → the share of members above the threshold that int(rate · N) others pass."""
    allowed = int(false_positive_rate * len(other_scores))
    threshold = ...
    return ...


# %% tags=["solution"]
def found_at(member_scores, other_scores, false_positive_rate):
    """Scores [M] of members and [N] of others → the share of members above the threshold that int(rate · N) others pass."""
    allowed = int(false_positive_rate * len(other_scores))
    threshold = other_scores.sort(descending=True).values[allowed]
    return (member_scores > threshold).double().mean()


# %%
kd.checks.lesson13.found_at(found_at);

# %% [markdown]
# ### 4 · What the noise is worth
#
# A colleague trains for 40 steps with noise σ = 8 and wants to write ε into the report. Every step spends $1/(2\sigma^2)$; the spendings add up to ρ; and ρ becomes ε at a δ of your choice.


# %% tags=["exercise"]
def spent(noise, steps, delta):
    """Noise in units of the clip, number of steps on all the data, δ → ε."""
    rho = ...
    return ...


# %% tags=["solution"]
def spent(noise, steps, delta):
    """Noise in units of the clip, number of steps on all the data, δ → ε."""
    rho = steps / (2 * noise**2)
    return rho + 2 * (rho * np.log(1 / delta)) ** 0.5


# %%
kd.checks.lesson13.privacy_price(spent);

# %% [markdown]
# Then turn it round: which σ does ε = 1 need, for the same 40 steps? (First find ρ; it is the smaller root of a quadratic equation in $\sqrt\rho$.)
#
# ## Takeaways
#
# - One step on a handful of images can turn one class into another in a network that is already good. How much distilling adds to plain wrong labels depends on the rate, on the share of the batch and on the pair of classes: the cards say where it was shown. Count what happens to the other classes, too.
# - The images are found on networks the attacker trained himself. The card on known starts says how much secrecy of the weights was worth here.
# - Screen with scores of single examples, thresholds from honest images the network has not seen, and the share *turned* as the measure. An area under the curve near 1 says little about an attacker who knows the threshold.
# - Clipping bounds what any example can do in one step, recognised or not.
# - Privacy is measured by an attack, the strongest you can build: it knows the pipeline, has worlds of its own, and asks about each picture what *that* picture does. A weak attack that finds nothing has shown nothing.
# - Compare with the baseline that is as small: hand out as many real images. And compare at equal accuracy.
# - Say who pays. An area under the curve near ½ can hide a few who are exposed in full.
# - An attack bounds the leak from below, a proof from above. Private training has a proof for each picture, handing out a few members one for the average, and the distilled sets have none.
#
# **Further reading.** On poison: Wang, Zhu, Torralba & Efros, *Dataset Distillation*, 2018 (the attack on pre-trained networks) · Biggio, Nelson & Laskov, *Poisoning Attacks against Support Vector Machines*, 2012 (the first by gradients through training) · Koh, Steinhardt & Liang, *Stronger Data Poisoning Attacks Break Data Sanitization Defenses*, 2022 (attackers who know the screen) · Abadi et al., *Deep Learning with Differential Privacy*, 2016 (clipping each example's gradient, and noise). On privacy: Dong, Zhao & Lyu, *Privacy for Free: How does Dataset Condensation Help Privacy?*, 2022 · Carlini, Feldman & Nasr, *No Free Lunch in "Privacy for Free: How does Dataset Condensation Help Privacy"*, 2022 · Carlini et al., *Membership Inference Attacks From First Principles*, 2022 · Bun & Steinke, *Concentrated Differential Privacy*, 2016 · Dong, Roth & Su, *Gaussian Differential Privacy*, 2022.
