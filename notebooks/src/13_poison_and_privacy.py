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
    """The attacker's images and labels. among: honest images in the same batch. quiet: None, "norm" or "both", the scores he keeps below "
    "the screens' thresholds."""
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

# %%
shown = seeds[:3]
arms = {
    "began as": dict(arm="wrong", rate=0.02, free=False),
    "any pixels": dict(arm="distilled", rate=0.02, free=True),
    "a picture's range": dict(arm="distilled", rate=0.1, free=False),
}
figure, axes = plt.subplots(len(shown), 9, figsize=(8, 0.25 + 0.95 * len(shown)), squeeze=False)
for row, seed in zip(axes, shown):
    for block, (text, arm) in enumerate(arms.items()):
        extra = search if arm["arm"] == "distilled" else dict(steps=0, learning_rate=0.0, batch=0)
        images = kd.run(poison, seed=seed, images=10, among=0, known=False, quiet=None, crowds=crowds, **arm, **extra)["images"]
        for k in range(3):
            axis, limit = row[3 * block + k], max(1.0, images.abs().max().item())
            axis.imshow(images[k, 0], cmap="gray_r" if not arm["free"] else "RdGy", vmin=-limit if arm["free"] else 0, vmax=limit)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if row is axes[0] and k == 1:
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
# Compare the three images of a block with each other before you read on. They began as three different real images. All ten carry the same label, one step only sees the *mean* of their gradients, and if there is a best image, the best set of ten is that image ten times. So "how many images?" is the wrong question for a batch that holds nothing else. It becomes a question when honest images share the batch: then each poisoned one has to outvote some of them.
#
# ## Is it better than wrong labels?
#
# Every dot is a seed (the mean of its held-out victims). The upper right corner is where the attacker wants to be: all of class $a$ turned, everything else as before. The line follows wrong labels from small rates to large ones.

# %% tags=["main-figure"]
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
# Read the orange line against the blue clusters. A longer step lets wrong labels turn more and more of the class, so what distilling buys is not the turning as such: it is turning at a *rate the victim uses anyway*, and leaving more of the rest alone. The card compares the mean of both shares; wrong labels stand there at the rate that was best, for each seed, on the attacker's own networks.

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
        half = [kd.plots.half_width(frame[frame.images == c][metric]) for c in counts]
        axis.errorbar(np.arange(3) + nudge, mean, half, fmt="o-", markersize=5, capsize=3, linewidth=1.2, color=colour)
        axis.scatter([counts.index(c) + nudge for c in frame.images], frame[metric], s=12, color=colour, alpha=0.5, linewidths=0)
    left.annotate(text, (0.02, 0.97 - 0.17 * place), xycoords="axes fraction", va="top", color=colour, fontweight="bold", fontsize=9)
for axis in (left, other):
    axis.set_xticks(range(3), [f"{c}" for c in counts])
    axis.set_xlabel("poisoned images in a batch of 50")
left.set(ylabel="attacked class called the target, %", ylim=(-5, 105), xlim=(-0.9, 2.4))
other.set(ylabel="other images still right, %")
at_ten = batches[batches.images == 10].groupby("arm").turned.mean()
left.set_title(f"Ten of fifty: wrong labels {at_ten.wrong:.0f} %,\nunknown start {at_ten.distilled:.0f} %, known {at_ten.known:.0f} %", fontsize=10)
other.set_title(f"What it costs the other classes\n(before the step {np.mean(before):.0f} %)", fontsize=10)
kd.plots.show(
    figure,
    "Two panels against the number of poisoned images in a batch of fifty: 3, 10, 25. Left: share of the attacked class called the target; "
    "right: share of the other test images still "
    "classified correctly. Three lines: wrong labels, images distilled for an unknown start, images distilled for the known start. Every run "
    "is a dot, means have 95 percent intervals.",
)

# %%
ten_of_fifty = batches[batches.images == 10]
attacks = pd.concat([ten_of_fifty, alone.assign(arm="alone"), wrong[wrong.rate == 0.02].assign(arm="alone_wrong")], ignore_index=True)
kd.judge("13-poison-ten-images", attacks)

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
# The **area under the curve** is the chance that a poisoned image scores higher than an honest one, over all thresholds. It hides what a screen has to decide: compare the two first columns with the three last ones for the quiet attackers. An attacker needs to beat one threshold, and near 1 is not 1.
#
# Why are distilled images louder than wrong labels? Because nobody told them to be quiet: with a short step, a long gradient is the cheapest way to move far. The same holds for honest images the network finds hard, and for honest mistakes in the labels: those the screen throws out first. A screen costs exactly the examples from which there is most to learn.
#
# ## What remains after a defence
#
# What counts in the end is not who is caught, but what is turned. For each attack: the share turned without defence, behind the norm screen, behind both screens, and under clipping.

# %%
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
        axis.annotate(f"{mean:.0f}", (place + 0.2, 105), ha="center", color="#75604f" if d in ("_norm", "_either") else colour, fontweight="bold")
    axis.set_xticks(range(4), DEFENCES.values(), fontsize=9, rotation=55)
    axis.set_title(text, fontsize=9.5)
    axis.set(xlim=(-0.4, 3.6), ylim=(-4, 113), yticks=range(0, 101, 20))
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

# %%
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
# A screen asks *who are you?* and is passed by whoever looks like an honest hard example. Clipping asks nothing: it bounds what anyone can do, since no example moves the weights further than rate times limit over batch size. The two panels on the right show an attacker who fills half of the batch and obeys both thresholds; compare their last two columns. The thresholds are high because honest hard examples are loud, and below them there is room; clipping sits where nine in ten honest images never notice.
#
# What this does not say. One step: an attacker who may come a hundred times can be patient, and then a bound on each step bounds nothing for long. One kind of network, well trained, on digits: screens work because honest gradients are short here; a network in its first epoch, or data with many wrong labels, gives thresholds that let anything pass. And an attacker who knew of the clipping would search through it; ours did not.
#
# ## What goes wrong in practice
#
# **The threshold comes from the training set.** A screen needs honest scores, and the training images are at hand. But the network has seen them: it gives them less loss and shorter gradients than it gives to honest strangers, the more so the longer it trained. Below, victims that saw 1,000 images many times, and the false alarms that a threshold of 1 % gives on honest test images: set by the training images, and set by others.

# %%
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
# The bug is easy to make and easy to miss, since poison is caught all the same: it is your honest contributors who disappear, the unusual ones first. Set thresholds on honest images the network has *not* seen. That the gap exists at all is worth a second thought: whoever can ask a network for its loss can tell whether an image was in its training set. That is the second half of this lesson.

# %% [markdown]
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
kd.checks.lesson13.norms_of_each(norms_of_examples)

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
kd.checks.lesson13.attackers_loss(attackers_loss)

# %% [markdown]
# ## Takeaways
#
# - One step on a handful of images can turn one class into another in a network that is already good. Distilled images do it at the rate the network uses anyway; wrong labels need a longer step or a larger share of the batch. Count what happens to the other classes, too.
# - The images are found on networks the attacker trained himself. The card on known starts says how much secrecy of the weights was worth here.
# - Screen with scores of single examples, thresholds from honest images the network has not seen, and the share *turned* as the measure. An area under the curve near 1 says little about an attacker who knows the threshold.
# - Clipping bounds what any example can do, seen or unseen.
#
# **Further reading.** Wang, Zhu, Torralba & Efros, *Dataset Distillation*, 2018 (the attack on pre-trained networks) · Biggio, Nelson & Laskov, *Poisoning Attacks against Support Vector Machines*, 2012 (the first by gradients through training) · Koh, Steinhardt & Liang, *Stronger Data Poisoning Attacks Break Data Sanitization Defenses*, 2022 (attackers who know the screen) · Abadi et al., *Deep Learning with Differential Privacy*, 2016 (clipping each example's gradient).
