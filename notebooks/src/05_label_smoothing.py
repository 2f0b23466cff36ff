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
# # 05 · Label-smoothing pitfalls
#
# **After this lesson you know what label smoothing takes out of a teacher, why papers disagree on whether that harms the student, and what to ask before you
# believe either side.**
#
# 40 minutes · needs [lesson 01](01_soft_targets.ipynb); [lesson 03](03_temperature.ipynb) helps · data: MNIST
#
# You want a good teacher, and somebody says: "Train it with label smoothing, it costs one argument and the teacher gets better." Somebody else says: "Whatever you do, not with label smoothing, it
# makes useless teachers." Both can cite a paper. The quarrel is worth your time, because half of it is about facts and half about where each side writes a $T$. We settle for our scale what can be settled here, and count
# the seeds that the rest would need.

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")  # "smoke": seconds, mechanics only · "quick": a laptop · "full": the paper's scale
first_seed = 0  # another number gives fresh seeds everywhere, teachers included

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

import kdcourse as kd
from kdcourse import inference

kd.plots.style()
lesson = kd.start("05", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson: who said it, their number, and what would count. They and their thresholds were written down before the
# runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("05")

# %% [markdown] tags=["slide:dispute"]
# ## The dispute
#
# **Label smoothing** replaces the label by $1-\varepsilon$ for its class plus $\varepsilon$ spread evenly over all $K$ classes, its own included (Szegedy et al. 2016). Here is who found what, as printed in the papers.
#
# | who | data | where the temperature $T$ stands | what they report | their advice |
# |---|---|---|---|---|
# | Müller, Kornblith & Hinton 2019 | MNIST | none: logits are matched, squared error, 0.6 of it and 0.4 of the labels | teacher 0.67 → 0.59 % error with ε = 0.1, its student 0.74 → 0.91 % | do not smooth the teacher |
# | the same | CIFAR-10 | teacher at $T$, **student at 1** | students of smoothed teachers do no better, sometimes worse, than a student trained with smoothed labels alone | the same |
# | Wagner et al. 2025 (a replication) | MNIST | as Müller | teacher 0.81 → 0.69 %, student 0.93 → 1.05 %; the figure of mutual information could not be reproduced | (ordering confirmed) |
# | Shen et al. 2021 | ImageNet, ResNet-50 → 18 | $T = 1$ **on both sides**, no labels | student 71.4 → 71.8 % accuracy | smoothing is compatible |
# | Chandrasegaran et al. 2022 | ImageNet, ResNet-50 → 18 | $T$ **on both sides**, times $T^2$, no labels | $T = 1$: 71.5 → 71.7 %; $T = 2$: 71.4 → 68.9 %; $T = 64$: 66.2 → 64.4 % | smoothed teacher: only with $T = 1$ |
# | the same | ImageNet, ResNet-50 → 50 | the same | $T = 1$: 76.3 → 76.9 %; $T = 2$: 76.2 → 76.1 %; $T = 3$: 75.5 → 75.8 %; $T = 64$: 74.3 → 74.6 % | ($T = 1$ and 2 with their rule, $T = 3$ and 64 against it) |
#
# Nobody lies. Müller's MNIST numbers are one run each as far as the paper says; Shen tests one temperature; Chandrasegaran and Müller both write "$T$" and mean different losses. And look at sizes: 0.17 points of MNIST error are 17 images of
# 10,000.
#
# ## What smoothing asks of a teacher
#
# Before any training: which logits would fit a smoothed label exactly? Cross-entropy is least when the softmax *equals* the target. The target has $1-\varepsilon+\varepsilon/K$ on the label and $\varepsilon/K$ on every other class, so the optimum is a label logit that stands above all others by
#
# $$ \text{gap} = \log\frac{1-\varepsilon+\varepsilon/K}{\varepsilon/K}, $$
#
# and others that are **all the same**. Two things follow. Without smoothing the gap would be infinite, and a teacher keeps pushing; with smoothing it stops at a finite place. And at the optimum an image has no second choices: nothing that a 9 could
# tell about 4s. Real networks do not reach their optimum, so the question is how far they go.


# %%
def smoothed_labels(labels, epsilon, classes):
    return (1 - epsilon) * F.one_hot(labels, classes).float() + epsilon / classes


def cross_entropy(logits, targets):
    return -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


generator = torch.Generator().manual_seed(0)
some_logits, some_labels = torch.randn(32, 10, generator=generator), torch.randint(0, 10, (32,), generator=generator)
batch = kd.Batch(images=some_logits, labels=some_labels, index=torch.arange(32), targets=None)
for epsilon in (0.0, 0.1, 0.2):
    packaged = kd.losses.label_smoothing(epsilon)(lambda images: images, batch)  # a "model" that hands the logits through
    assert torch.allclose(cross_entropy(some_logits, smoothed_labels(some_labels, epsilon, 10)), packaged)

# %% [markdown]
# Both agree with the package. Now once by hand, three classes and ε = 0.3: the label keeps 0.7 and gets a third of 0.3 back.

# %% tags=["nbval-check-output"]
target = smoothed_labels(torch.tensor([0]), 0.3, 3)
gap = math.log(0.8 / 0.1)
for name, logits in (("gap log 8", [gap, 0.0, 0.0]), ("gap too small", [1.0, 0.0, 0.0]), ("gap too large", [4.0, 0.0, 0.0]), ("a second choice", [gap, 0.7, 0.0])):
    print(f"{name:16s} logits {logits[0]:.3f} {logits[1]:.3f} {logits[2]:.3f}   loss {cross_entropy(torch.tensor([logits]), target):.3f}")
print("target:", [f"{x:.1f}" for x in target[0].tolist()], f"· its entropy, the least loss possible: {-(target * target.log()).sum():.3f}")

# %% [markdown]
# Read the line *a second choice*: a teacher that gives one of the other classes a higher logit pays for it, on every image. Without smoothing it would pay as well, but only because the label's probability falls; how the rest is shared among the others
# would cost nothing. Under smoothing the sharing itself has a price, and equal shares are the cheapest. Smoothing charges a fee for second choices.
#
# ## The teachers
#
# For every seed we train three convolutional networks that differ in ε alone: 0, 0.1 and 0.2. Same initial weights, same batches, same shifts by up to two pixels, 50,000 images. Those of the quick profile come with the
# course. A claim about teachers needs more than one of each, so each seed has its own three.

# %%
SMOOTHING = {"plain": 0.0, "ls10": 0.1, "ls20": 0.2}
NAMES = {"plain": "no smoothing", "ls10": "ε = 0.1", "ls20": "ε = 0.2"}
SHADES = {"plain": kd.plots.COLOURS["teacher"], "ls10": "#cc79a7", "ls20": "#8c4a72"}
seeds = lesson.seeds(smoke=1, quick=5, full=10)
scale = dict(
    count=lesson.pick(smoke=600, quick=10_000, full=50_000),  # images in the transfer set
    teacher_epochs=lesson.pick(smoke=1, quick=8, full=20),
    teacher_count=lesson.pick(smoke=600, quick=None, full=None),  # images the teacher is trained on; None: all 50,000
    part="test",  # the images that are judged; "validation" while anything was still being chosen
)


def network_of(kind, seed, teacher_epochs, teacher_count):
    """The trained teacher of one kind and seed: weights and record."""
    settings = dict(dataset="mnist", epochs=teacher_epochs, seed=seed, count=teacher_count)
    if kind == "plain":
        return kd.run(kd.teachers.convolutional_teacher, **settings)
    return kd.run(kd.teachers.smoothed_teacher, smoothing=SMOOTHING[kind], **settings)


def teacher(kind, seed, count, teacher_epochs, teacher_count, part="test"):
    """What a teacher says of the transfer set and of the judged images, and how far its classes have collapsed on the latter."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    judged = {"test": mnist.test, "validation": validation}[part]
    trained = network_of(kind, seed, teacher_epochs, teacher_count)
    network = kd.teachers.rebuild(trained)
    activations = kd.predict_logits(network[:-1], judged.images)  # of the penultimate layer
    judged_logits = kd.predict_logits(network[-1:], activations)
    return {
        "init": trained["init"],
        "order": trained["order"],
        "logits": kd.predict_logits(network, train.images[:count]),
        "judged_logits": judged_logits,
        "correct": judged_logits.argmax(dim=1) == judged.labels,
        "spread_ratio": kd.teachers.spread_ratio(activations, judged.labels),
    }


teachers = kd.sweep(teacher, seeds=seeds, kind=list(SMOOTHING), **scale).assign(arm=lambda runs: runs.kind)
print("test errors of the teachers, one column a seed")
print(teachers.pivot(index="kind", columns="seed", values="errors").to_string())

# %%
kd.judge("05-teacher-gain", teachers)

# %% [markdown]
# Smoothing (in place of dropout) saved Müller's teacher eight errors, the replication's twelve. Look at how much the teachers of one row differ among themselves, and then which of the two gaps the intervals still allow. These teachers are other networks than Müller's,
# and "not shown" does not say that nothing is there.
#
# ## What they say about one image
#
# Take a 9 that leans like a 4. How much more likely than the least likely class is its second choice? The axis is logarithmic, so that small probabilities are not lost.

# %% tags=["slide:image", "slide-output"]
mnist = kd.load("mnist")
transfer = kd.hold_out(mnist.train)[0][: scale["count"]]
said = {kind: kd.run(teacher, kind=kind, seed=first_seed, **scale)["logits"] for kind in SMOOTHING}
softened = F.softmax(said["plain"] / 4, dim=1)
nines = (transfer.labels == 9) & (said["plain"].argmax(dim=1) == 9)
doubt = {other: torch.where(nines, softened[:, other], -1.0).argmax().item() for other in (4, 7, 3)}


def contrast_of_others(logits, labels):
    """Median over images of: probability of the likeliest other class over that of the least likely one."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, labels[:, None], False)
    rest = logits[others].reshape(len(logits), -1)
    return (rest.max(dim=1).values - rest.min(dim=1).values).median().exp().item()


figure, axes = plt.subplots(2, 3, figsize=(7, 4.4), height_ratios=[1, 1.6])
for column, (other, index) in enumerate(doubt.items()):
    axes[0, column].imshow(transfer.images[index, 0], vmin=0)
    axes[0, column].axis("off")
    axes[0, column].set_title(f"label 9, a little like {other}", fontsize=9, fontweight="normal", loc="center")
    for kind, marker in (("plain", "o"), ("ls10", "s")):
        probability = F.softmax(said[kind][index], dim=0)
        axes[1, column].plot(range(10), probability, marker, color=SHADES[kind], markersize=5)
    axes[1, column].axhline(0.01, color="0.6", linewidth=1, linestyle="--", zorder=0)
    axes[1, column].set(yscale="log", xticks=range(10), ylim=(1e-12, 3), xlabel="class")
    axes[1, column].set_yticks([1, 1e-3, 1e-6, 1e-9], ["1", "10⁻³", "10⁻⁶", "10⁻⁹"] if column == 0 else [""] * 4)
axes[1, 0].set_ylabel("probability, T = 1")
axes[1, 0].set_title("● " + NAMES["plain"], color=SHADES["plain"], fontsize=9)
axes[1, 1].set_title("■ smoothed, ε = 0.1", color="#a84f80", fontsize=9)
axes[1, 2].annotate("ε/K", (1.02, 0.01), xycoords=("axes fraction", "data"), va="center", color="0.4", fontsize=9, annotation_clip=False)
apart = {kind: float(f"{contrast_of_others(said[kind], transfer.labels):.1g}") for kind in said}
figure.suptitle(f"Likeliest over least likely other class: {apart['plain']:,.0f} times without smoothing, {apart['ls10']:,.0f} with (medians)", fontsize=10,
                fontweight="bold", x=0.01, ha="left")  # fmt: skip
kd.plots.show(
    figure,
    "Three handwritten nines above the probabilities of the ten classes on a logarithmic axis, as dots for the teacher without smoothing and squares for "
    "the one with smoothing 0.1. A dashed line marks the tenth of the smoothing that every class receives. See how far the dots of the classes other than 9 lie apart, and how far the squares.",
)

# %% [markdown]
# The dashed line is where smoothing wants every other class to be. The title counts over the whole transfer set. The ratio alone does not prove that knowledge is gone: whatever is compressed could be stretched again, which is what a temperature below 1 does. And these are the three 9s that the plain teacher doubts most: look whether the squares still have a second choice, and how far it stands above the rest; the title tells about the typical image. So
# we look inside, and then at the student.
#
# ## Three classes on a plane
#
# Müller's picture. The last layer gives class $k$ the logit $w_k^\top x + b_k$, where $x$, of $D$ numbers, is what the **penultimate layer** (the last before the logits) makes of an image, and the row $w_k$ is the class's **template**. Three templates are three points, three points span a plane, and
# every image can be projected on it: orthonormalise $w_1 - w_3$ and $w_2 - w_3$ with a QR decomposition and take the coordinates of $x$ in that basis. Smoothing wants an image equally far from all templates of other classes. If it succeeds, what remains of a class is a tight bunch.

# %% tags=["slide:plane", "slide-output"]
CLASSES = {4: ("o", "#56b4e9"), 9: ("s", "#e69f00"), 0: ("^", "#999999")}  # two that look alike and one that does not
figure, axes = plt.subplots(2, 2, figsize=(7, 5.6))
for row, kind in enumerate(("plain", "ls10")):
    network = kd.teachers.rebuild(network_of(kind, first_seed, scale["teacher_epochs"], scale["teacher_count"]))
    templates = network[-1].weight.detach().cpu()[list(CLASSES)]
    for column, (name, split) in enumerate((("training images", transfer), ("test images", mnist.test))):
        for digit, (marker, colour) in CLASSES.items():
            images = split.images[split.labels == digit][:300]
            points = kd.teachers.template_plane(kd.predict_logits(network[:-1], images), templates)
            axes[row, column].scatter(*points.T, s=9, marker=marker, color=colour, alpha=0.6, linewidths=0)
            axes[row, column].annotate(str(digit), points.median(dim=0).values.tolist(), fontsize=14, fontweight="bold", ha="center", va="center")
        axes[row, column].set(xticks=[], yticks=[], aspect="equal")
        axes[row, column].set_title(f"{NAMES[kind]}, {name}", fontsize=9, fontweight="normal")
means = teachers.groupby("arm").spread_ratio.mean()
figure.suptitle(f"Spread within over between classes, all ten, test images: {means.plain:.2f} without smoothing, {means.ls10:.2f} with", fontsize=10,
                fontweight="bold", x=0.01, ha="left")  # fmt: skip
kd.plots.show(
    figure,
    "Four scatter plots of images of the digits 4, 9 and 0, projected on the plane through the three classes' templates. Upper row the teacher without smoothing, lower row the "
    "one with 0.1; left training images, right test images. Compare how tight the three clouds are and whether 4 and 9 reach towards each other.",
)

# %% [markdown]
# Each panel has its own scale: compare a cloud with the distances between clouds in the same panel. (The title's number counts all dimensions, where there is more spread within classes than this plane shows; 0 would be a full collapse.)
# Look at the shapes before the numbers: does a cloud of 4s stretch towards the 9s, and does it still with smoothing? Are training and test images alike in that? One plane shows three classes of one teacher; the measures below take all classes, all $D$ dimensions and every seed.
#
# ## Two measures: collapse and agreement
#
# **Collapse**: the mean squared distance of an image to the mean of its class, over that of the class means to the mean of all. It is computed in the penultimate layer on test images; 0 means that each class is a point.
#
# **Agreement**: does the teacher still know what an image resembles? We need a referee that had no part in it: the *plain* teacher of the next seed. From each teacher's logits we drop the label's, subtract each
# row's mean (how sure it is) and each class's mean (what all 9s look like), and keep what is said about *this* image's other classes: `kd.teachers.second_choices`. Then we correlate teacher and referee over the images of a class and average over
# classes. A correlation does not care about size: compressed second choices would score as high as loud ones. But it sees only one and the same pattern, louder or softer; knowledge kept in any other form, even a linear one, lowers it.


# %%
def agreement_on_second_choices(logits, referee, labels):
    """Correlation of two teachers' second choices within each class, averaged over classes."""
    ours, theirs = kd.teachers.second_choices(logits, labels), kd.teachers.second_choices(referee, labels)
    return float(torch.stack([torch.cosine_similarity(ours[labels == c].flatten(), theirs[labels == c].flatten(), dim=0) for c in labels.unique()]).mean())


referee_of = {seed: seeds[(position + 1) % len(seeds)] for position, seed in enumerate(seeds)}
judged_logits = {(kind, seed): kd.run(teacher, kind=kind, seed=seed, **scale)["judged_logits"] for kind in SMOOTHING for seed in seeds}
teachers["second_choices"] = [
    agreement_on_second_choices(judged_logits[row.kind, row.seed], judged_logits["plain", referee_of[row.seed]], mnist.test.labels) for row in teachers.itertuples()
]
same_kind = {
    kind: np.mean([agreement_on_second_choices(judged_logits[kind, seed], judged_logits[kind, referee_of[seed]], mnist.test.labels) for seed in seeds])
    for kind in ("ls10", "ls20")
}  # a referee smoothed as much

figure, panels = plt.subplots(1, 2, figsize=(7, 3.3))
for panel, column, words in zip(panels, ("spread_ratio", "second_choices"), ("variance within over between classes", "correlation with a plain teacher\nof another seed")):
    table = teachers.pivot(index="seed", columns="arm", values=column)[list(SMOOTHING)]
    panel.plot(range(3), table.T, color="0.8", linewidth=0.8, zorder=1)
    for position, kind in enumerate(SMOOTHING):
        values = table[kind].to_numpy()
        panel.scatter(np.full(len(values), position), values, s=16, color=SHADES[kind], alpha=0.6, linewidths=0)
        panel.errorbar(position + 0.15, values.mean(), kd.plots.half_width(values), fmt="o", markersize=5, capsize=4, color=SHADES[kind])
        panel.annotate(f"{values.mean():.2f}", (position + 0.15, values.mean()), xytext=(6, -3), textcoords="offset points", color=SHADES[kind], fontweight="bold")
    panel.set_xticks(range(3), list(NAMES.values()))
    panel.set(ylim=(0, None), xlim=(-0.4, 2.7), ylabel=words)
for position, kind in ((1, "ls10"), (2, "ls20")):
    panels[1].plot(position + 0.15, same_kind[kind], "D", markerfacecolor="white", color=SHADES[kind], markersize=6)
panels[1].annotate("◇ judged by a referee\nsmoothed as much", (0.03, 0.03), xycoords="axes fraction", fontsize=9, color="0.3")
panels[0].set_title("Collapse of the classes")
panels[1].set_title("Agreement on second choices")
kd.plots.show(
    figure,
    "Two panels against the smoothing of the teacher, 0, 0.1 and 0.2; one dot a seed, lines join teachers that started from the same weights, means with 95 percent intervals. "
    "Left: variance within classes over variance between classes in the penultimate layer. Right: correlation of second choices with an independent plain teacher; hollow diamonds: with an "
    "independent teacher smoothed as much. "
    + "; ".join(f"{NAMES[kind]}: {teachers[teachers.arm == kind].second_choices.mean():.2f}" for kind in SMOOTHING),
)

# %%
kd.judge("05-collapse", teachers)

# %%
kd.judge("05-information-lost", teachers)

# %% [markdown] tags=["slide:losses"]
# Seeds take turns as referee, so the five values of one kind are not fully independent: read the interval as a guide. And a referee without smoothing measures what *plain* teachers have in common, which need not be all there is to know. Hence the
# diamonds: two teachers smoothed alike, from different seeds. What they agree on is not noise. If their agreement is lower than that of two plain teachers, there is less to agree on; if it is higher than their agreement with a plain teacher, they know some of it in another way.
#
# ## Three places for a temperature
#
# Now the students. Write $z$ for the student's logits and $v$ for the teacher's, both $[N, K]$. Three losses have been called distillation in this dispute:
#
# | name here | loss, per image | who |
# |---|---|---|
# | `both` | $T^2 \cdot \mathrm{KL}\big(\mathrm{softmax}(v/T)\,\Vert\,\mathrm{softmax}(z/T)\big)$ | Chandrasegaran; Shen at $T=1$; lesson 01 |
# | `teacher` | $-\sum_k \mathrm{softmax}(v/T)_k \log \mathrm{softmax}(z)_k$: the student stays at 1 | Müller, CIFAR-10 |
# | `match` | $0.4 \cdot$ cross-entropy with the label $+\ 0.6 \cdot \tfrac12 \lVert z - v\rVert^2$ | Müller, MNIST |
#
# At $T=1$ the first two are the same loss up to a constant. At high $T$ they ask for different students: under `both` the student is to have logits like $v$, under `teacher` like $v/T$, all of them small.


# %%
def teacher_at(temperature):
    """Müller's temperature: it softens the teacher's probabilities, the student answers at T = 1."""

    def loss(model, batch):
        return cross_entropy(model(batch.images), F.softmax(batch.targets / temperature, dim=1))

    return loss


def logits_and_labels(weight=0.6):
    """Müller's MNIST loss: logits matched in squared error, summed over classes, and the rest of the weight on the labels."""

    def loss(model, batch):
        logits = model(batch.images)
        distance = 0.5 * (logits - batch.targets).pow(2).sum(dim=1).mean()
        return weight * distance + (1 - weight) * F.cross_entropy(logits, batch.labels)

    return loss


for temperature in (1.0, 20.0):  # the promise above, at T = 1 equal gradients, at T = 20 not
    gradients = []
    for make in (kd.losses.soft_targets, teacher_at):
        student_logits = some_logits.clone().requires_grad_()
        batch = kd.Batch(student_logits, some_labels, torch.arange(32), 8 * some_logits.flip(0))
        make(temperature)(lambda images: images, batch).backward()
        gradients.append(student_logits.grad)
    assert torch.allclose(*gradients, atol=1e-6) == (temperature == 1.0)

# %% [markdown]
# ## The experiment
#
# If Shen is right, students of smoothed teachers make fewer errors at $T=1$. If Chandrasegaran are right, raising $T$ spoils that: the *difference between teachers* moves against the smoothed one. If Müller is right, with the temperature
# where Müller puts it, the student of the smoothed teacher is the worse one. Three statements that may well all be true, and each of them can fail.
#
# | arm | teacher | loss |
# |---|---|---|
# | `plain_both1`, `ls10_both1`, `ls20_both1` | ε = 0, 0.1, 0.2 | `both`, T = 1 |
# | `…_both4`, `…_both20` | the same | `both`, T = 4 and 20 |
# | `…_teacher20` | the same | `teacher`, T = 20 |
# | `plain_match`, `ls10_match` | ε = 0, 0.1 | `match` |
# | `permuted_both20` | ε = 0, its second choices permuted within each image | `both`, T = 20 |
# | `plain_teacher100` | ε = 0 | `teacher`, T = 100 |
# | `hard` | none: labels | cross-entropy |
#
# All students are 784-300-300-10, learn from 10,000 unshifted images, and within a seed start from the same weights and see the same batches. Learning rates were chosen on validation images with pilot seeds, three tries (4e-3, 8e-3, 16e-3; for
# the teacher alone at 20 also 2e-3) for every teacher and loss of the comparison, two seeds each: one rate for all teachers of a loss, half as large for `teacher`, whose targets are the weakest signal. Labels and the permuted control use the rate of `both`. One rate for all teachers of a loss keeps the loss the same, but it can
# suit one teacher better: in the pilots the smoothed teachers' students suffered first when it was too high. A gap against them may contain some of that.

# %%
ARMS = {f"{kind}_both{T}": (kind, "both", T) for T in (1, 4, 20) for kind in SMOOTHING}
ARMS |= {f"{kind}_teacher20": (kind, "teacher", 20) for kind in SMOOTHING}
ARMS |= {f"{kind}_match": (kind, "match", 0) for kind in ("plain", "ls10")}
ARMS |= {"permuted_both20": ("plain", "both", 20), "plain_teacher100": ("plain", "teacher", 100), "hard": ("plain", "hard", 0)}
RATES = {"both": 8e-3, "match": 8e-3, "teacher": 4e-3, "hard": 8e-3}


def loss_of(place, temperature):
    """The loss of an arm, for `fit`."""
    if place == "both":
        return kd.losses.soft_targets(temperature)
    if place == "teacher":
        return teacher_at(temperature)
    return logits_and_labels() if place == "match" else kd.losses.hard_labels()


def student(arm, seed, epochs, count, teacher_epochs, teacher_count, part="test"):
    """A 784-300-300-10 student of one arm; who of the judged images it classifies correctly, and how it got there."""
    kind, place, temperature = ARMS[arm]
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    judged = {"test": mnist.test, "validation": validation}[part]
    scale = dict(count=count, teacher_epochs=teacher_epochs, teacher_count=teacher_count, part=part)
    targets = kd.run(teacher, kind=kind, seed=seed, **scale)["logits"]
    if arm == "permuted_both20":
        targets = kd.controls.permute_non_targets(targets, seed)
    model = kd.models.mlp(784, 300, 300, 10, seed=seed)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=RATES[place], seed=seed)
    record = kd.fit(model, train[:count], loss_of(place, temperature), targets=targets, **settings)
    return record | {"correct": kd.correct(model, judged)}


runs = kd.sweep(student, seeds=seeds, arm=list(ARMS), epochs=lesson.pick(smoke=1, quick=10, full=15), **scale)

# %% [markdown]
# For every loss and every seed: the errors of the smoothed teacher's student minus those of the plain teacher's. First as a table with 95 % intervals for new seeds and new test images, then as a picture with every run in it.

# %%
LOSSES = {"both1": "T = 1\non both sides", "both4": "T = 4\non both sides", "both20": "T = 20\non both sides", "match": "logits matched,\n0.4 labels", "teacher20": "teacher at T = 20,\nstudent at 1"}  # fmt: skip
outcome = {(row.arm, row.seed): row.correct for row in runs.itertuples()}


def paired_effect(worse, better):
    """Errors per 10,000 of one arm minus another's: one number a seed, and the mean with its 95 % interval over seeds and test images."""
    differences = 1e4 * np.stack([outcome[better, seed].astype(float) - outcome[worse, seed] for seed in seeds])
    if len(seeds) < 2:
        return differences.mean(axis=1), differences.mean(), (np.nan, np.nan)
    found = inference.estimate(differences, unit=1e4)
    return differences.mean(axis=1), differences.mean(), inference.bounds(found, 0.95)


def in_words(effect):
    _, mean, (low, high) = effect
    return f"{mean:+z.0f} [{low:+z.0f}, {high:+z.0f}]" if low == low else f"{mean:+z.0f} (one seed)"


effects = {(kind, loss): paired_effect(f"{kind}_{loss}", f"plain_{loss}") for loss in LOSSES for kind in ("ls10", "ls20") if f"{kind}_{loss}" in ARMS}
table = {
    NAMES[kind]: {text.replace("\n", " "): in_words(effects[kind, loss]) if (kind, loss) in effects else "not trained" for loss, text in LOSSES.items()}
    for kind in ("ls10", "ls20")
}
print("errors of 10,000: student of the smoothed teacher minus student of the plain one")
print(pd.DataFrame(table).to_string())

# %% tags=["main-figure", "slide:main", "slide-output"]
figure, axis = plt.subplots(figsize=(7, 4.2))
axis.axvline(0, color="0.4", linewidth=1, zorder=0)
for row, (loss, text) in enumerate(LOSSES.items()):
    for kind, offset in (("ls10", -0.17), ("ls20", 0.17)):
        if (kind, loss) not in effects:
            continue
        single, mean, (low, high) = effects[kind, loss]
        axis.scatter(single, np.full(len(single), row + offset), s=16, color=SHADES[kind], alpha=0.5, linewidths=0)
        axis.errorbar(mean, row + offset, xerr=[[np.nan_to_num(mean - low)], [np.nan_to_num(high - mean)]], fmt="o", markersize=6, capsize=4, color=SHADES[kind])
        if row == 0:
            axis.annotate(NAMES[kind], (max(single.max(), np.nan_to_num(high)), row + offset), xytext=(8, 0), textcoords="offset points", color=SHADES[kind], fontweight="bold", va="center")
position = list(LOSSES).index("match")
for value, source, height in ((17, "Müller 2019: 17", -0.42), (12, "Wagner 2025: 12", 0.25)):
    axis.plot(value, position + height, "D", color=kd.plots.COLOURS["published"], markersize=6)
    axis.annotate(source, (value, position + height), xytext=(8, 0), textcoords="offset points", color=kd.plots.COLOURS["published"], fontsize=9, va="center")
axis.set_yticks(range(len(LOSSES)), LOSSES.values())
axis.set_ylim(len(LOSSES) - 0.4, -0.6)
axis.set_xlabel("errors more than the plain teacher's student, of 10,000 (left of 0: the smoothed teacher's is better)", fontsize=9)
at_one, at_twenty = effects["ls10", "both1"][1], effects["ls10", "teacher20"][1]
axis.set_title(f"ε = 0.1, same teachers: {at_one:+z.0f} errors at T = 1, {at_twenty:+z.0f} with the teacher alone at 20".replace("-", "−"), fontsize=10)
kd.plots.show(
    figure,
    "One row for each loss: by how many test errors the student of a smoothed teacher differs from the student of the plain teacher of the same seed. Dots are seeds, large dots means with 95 percent "
    "intervals over seeds and test images; left of zero the smoothed teacher's student is better. Diamonds: published gaps of the MNIST protocol. "
    + "; ".join(f"{NAMES[kind]}, {LOSSES[loss]}: {effect[1]:+z.0f}".replace("\n", " ") for (kind, loss), effect in effects.items()),
)

# %% [markdown]
# Go down the rows and watch the sign. Each row compares the same teachers; the loss changes, and with it, in the last row, the learning rate. The three cards below test three sentences about this picture.

# %% tags=["slide", "slide-output"]
kd.judge("05-helps-at-one", runs)

# %% tags=["slide", "slide-output"]
kd.judge("05-temperature-turns-it", runs)

# %% tags=["slide", "slide-output"]
kd.judge("05-harms-with-teacher-at-twenty", runs)

# %% [markdown]
# An INCONCLUSIVE card whose effect is "shown" has an interval that excludes zero and still holds the minimum effect written down beforehand: the direction is clear, the size is not, and the card says how many seeds would probably settle it, if the estimate holds. A card this near its
# bound can change its word with anything that shuffles the noise, other seeds or float32 in place of bfloat16; the interval is the result, the word a summary.
#
# The second card is about a *change*: a claim that $T$ moves the comparison against the smoothed teacher. It does not say on which side of zero one ends up, which is the business of the next card, exploratory like all that follow.

# %%
kd.judge("05-harms-with-both-at-twenty", runs)

# %% [markdown]
# A difference has two ends. Is the smoothed teacher's student better at $T = 1$ because it is good, or because the plain teacher's is bad? Look at the errors themselves.

# %%
figure, axis = plt.subplots(figsize=(7, 3.8))
for position, loss in enumerate(LOSSES):
    for kind, offset in (("plain", -0.2), ("ls10", 0.0), ("ls20", 0.2)):
        values = runs[runs.arm == f"{kind}_{loss}"].errors.to_numpy()
        if len(values):
            axis.scatter(np.full(len(values), position + offset), values, s=14, color=SHADES[kind], alpha=0.5, linewidths=0)
            axis.errorbar(position + offset, values.mean(), kd.plots.half_width(values), fmt="o", markersize=6, capsize=3, color=SHADES[kind])
for place, (kind, words) in zip((0.01, 0.4, 0.6), NAMES.items()):
    axis.text(place, 0.03, f"teacher with {words}" if kind == "plain" else words, transform=axis.transAxes, color=SHADES[kind], fontweight="bold")
reference = runs[runs.arm == "hard"].errors.mean()
axis.axhline(reference, color=kd.plots.COLOURS["hard"], linestyle="--", linewidth=1)
axis.annotate("from labels", (4.45, reference), xytext=(0, 4), textcoords="offset points", color=kd.plots.COLOURS["hard"], fontweight="bold", ha="right")
axis.set_xticks(range(len(LOSSES)), LOSSES.values(), fontsize=9)
axis.set_xlim(-0.5, 4.5)
axis.set_ylabel("errors among 10,000 test images")
mean = runs.groupby("arm").errors.mean()
best = {kind: min(mean[f"{kind}_{loss}"] for loss in LOSSES if f"{kind}_{loss}" in mean) for kind in SMOOTHING}
axis.set_ylim(0, axis.get_ylim()[1] * 1.05)
axis.set_title(f"Best loss for each teacher, ε = 0, 0.1, 0.2: {best['plain']:.0f}, {best['ls10']:.0f} and {best['ls20']:.0f} errors", fontsize=10)
kd.plots.show(
    figure,
    "Test errors of the students, one group for each loss, in each group the students of the teachers without smoothing, with 0.1 and with 0.2; dots are seeds, means with 95 percent intervals. "
    f"A dashed line marks students from labels, {reference:.0f} errors. " + "; ".join(f"{arm}: {value:.0f}" for arm, value in mean.items()),
)

# %% [markdown]
# The title picks the best of several losses after the fact, for every teacher alike; take it as a map, not as a test. It is still the question of practice: nobody is obliged to use a plain teacher at $T = 1$.
#
# ## Müller's own protocol, and how many seeds it needs
#
# The row `match` has the published loss on smaller students and fewer images. The claim of 2019 is a gap of 17 errors. What would it take to see one?

# %%
matched = 1e4 * np.stack([outcome["plain_match", seed].astype(float) - outcome["ls10_match", seed] for seed in seeds])
if len(seeds) < 2:
    print("one seed has no spread: run the quick profile")
else:
    found = {key: float(value) for key, value in inference.estimate(matched, unit=1e4).items()}
    by_images = math.sqrt(max(found["example_part"] - found["residual_part"], 0.0))
    print(f"spread of the difference from seed to seed: {matched.mean(axis=1).std(ddof=1):.1f} errors")
    print(f"standard error that no number of seeds removes: {by_images:.1f} errors (these test images);")
    print(f"a gap below about {2.8 * by_images:.0f} stays invisible")
    print("seeds to see a gap four times out of five:")
    ours = sum(runs[runs.arm == arm].errors.mean() for arm in ("plain_match", "ls10_match"))
    for gap, whose, theirs in ((17, "Müller 2019", 74 + 91), (12, "Wagner et al. 2025", 93 + 105)):
        for words, share in ("as many errors as here", 1.0), (f"the paper's {theirs // 2} errors", theirs / ours):
            scaled = {key: value * (share if key == "variance" or key.endswith("_part") else 1.0) for key, value in found.items()}
            needed = inference.seeds_to_decide("greater", 0.0, {**scaled, "estimate": float(gap)}, len(seeds), matched.shape[1], 0.95)
            print(f"{gap} ({whose}), {words}: {needed or 'none suffices, 10,000 test images are too few'}")

# %% [markdown]
# (2.8 standard errors: 1.96 for the interval, and 0.84 to be outside it four times out of five. The spread itself is estimated from these few seeds: take the counts as orders of magnitude.)
#
# Networks that make fewer errors also differ on fewer images. The second line of each pair scales all variances by the ratio of the errors, as counts do; that is an assumption, and only running the protocol tells its spread. Five seeds of the reduced version are no test of the
# published gap, whatever the card below shows. Read it as an interval: which gaps does it still allow?
#
# The protocol itself is written below, to be run as the `full` profile: teachers 784-1200-1200-10, shifts by up to two pixels, **dropout without smoothing against smoothing without dropout**
# (so the two differ in two things, which is the paper's design and its weakness), students 784-800-800-10 from unshifted images, 100 epochs, a learning rate that falls linearly from 1, a tenth of it in the last layer. Batch size and dropout rate are not in the paper; 512 and 0.5 are the
# replication's. Initial weights are ours (the paper draws Gaussian ones of "variance 0.03"). **It has no `full` record yet**, and this lesson claims nothing about it. In `smoke` a slice of it runs so that it does not rust.


# %%
def falling_sgd(steps):
    """Stochastic gradient descent with averaged gradients (0.9), a rate that falls linearly to 0, and a tenth of it in the last layer."""

    def make(parameters, learning_rate):
        *body, weight, bias = parameters
        groups = [{"params": body}, {"params": [weight, bias], "lr": learning_rate / 10}]
        optimiser = torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, dampening=0.9)
        falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: max(0.0, 1 - step / steps))
        optimiser.register_step_post_hook(lambda *_: falling.step())
        return optimiser

    return make


def protocol_settings(seed, epochs, examples):
    steps = epochs * math.ceil(examples / 512)
    return dict(epochs=epochs, batch_size=512, learning_rate=1.0, seed=seed, schedule="constant", optimizer=falling_sgd(steps))


def protocol_teacher(kind, seed, epochs, examples):
    """Müller's MNIST teacher: dropout without smoothing, or smoothing without dropout. Its logits on the images as they are."""
    mnist = kd.load("mnist")
    model = kd.models.mlp(784, 1200, 1200, 10, dropout=(0.0, 0.5, 0.5) if kind == "plain" else (), seed=seed)
    loss = kd.losses.label_smoothing(SMOOTHING[kind])
    record = kd.fit(model, mnist.train[:examples], loss, augment=kd.jitter(2), **protocol_settings(seed, epochs, examples))
    return record | {"logits": kd.predict_logits(model, mnist.train.images[:examples]), "correct": kd.correct(model, mnist.test)}


def protocol_student(arm, seed, epochs, examples):
    """Müller's MNIST student of the plain or the smoothed teacher."""
    mnist = kd.load("mnist")
    logits = kd.run(protocol_teacher, kind=arm.removesuffix("_match"), seed=seed, epochs=epochs, examples=examples)["logits"]
    model = kd.models.mlp(784, 800, 800, 10, seed=seed)
    record = kd.fit(model, mnist.train[:examples], logits_and_labels(), targets=logits, **protocol_settings(seed, epochs, examples))
    return record | {"correct": kd.correct(model, mnist.test)}


protocol_seeds = lesson.seeds(smoke=1, quick=0, full=60)  # about what a gap of 12 asks for at the replication's errors
protocol = dict(epochs=lesson.pick(smoke=1, quick=None, full=100), examples=lesson.pick(smoke=600, quick=None, full=60_000))
if protocol_seeds:
    matching = kd.sweep(protocol_student, seeds=protocol_seeds, arm=["plain_match", "ls10_match"], **protocol)
else:
    matching = runs
    print("the protocol is not run in this profile: the card below judges the reduced version")
kd.judge("05-mueller-mnist", matching)

# %% [markdown]
# ## What exactly is missing?
#
# A student of a smoothed teacher sees second choices that stand out less. Is it as badly off as a student whose second choices point nowhere? The control `permuted_both20` learns from the plain teacher at $T = 20$ with the second choices permuted inside each image: it knows how much doubt
# there is and not where it points.

# %%
kd.judge("05-more-than-permuted", runs)

# %% [markdown]
# And is it information at all, or only size? Smoothing makes logits small, so "$T = 20$" is hotter for a smoothed teacher than for a plain one. The figure shows how far the targets are from flat: the share that the entropy of the softmax at $T$ lacks of the largest possible one, $\log K$.

# %%
grid = np.geomspace(0.5, 128, 60)


def flatness(logits, temperature):
    """Mean entropy of the softened targets, as a share of log K."""
    log_p = F.log_softmax(logits.double() / temperature, dim=1)
    return float(-(log_p.exp() * log_p).sum(dim=1).mean()) / math.log(logits.shape[1])


curves = {kind: [flatness(said[kind], T) for T in grid] for kind in SMOOTHING}
same = float(np.interp(flatness(said["ls10"], 20), curves["plain"], grid))
figure, axis = plt.subplots(figsize=(7, 3.4))
for kind in SMOOTHING:
    missing = [1 - value for value in curves[kind]]
    axis.plot(grid, missing, color=SHADES[kind], linewidth=2)
    height = {"plain": -3, "ls10": 2, "ls20": -11}[kind]  # the last two curves end close together
    axis.annotate(NAMES[kind], (grid[-1], missing[-1]), xytext=(6, height), textcoords="offset points", color=SHADES[kind], fontweight="bold")
level = 1 - flatness(said["ls10"], 20)
axis.plot([20, same], [level, level], color="0.3", linestyle=":", linewidth=2, marker="o", markersize=5)
axis.set(xscale="log", yscale="log", ylim=(missing[-1] / 4, 2), xlabel="T", ylabel="how far the targets are from flat:\n1 − entropy / log K")
axis.set_xticks([1, 4, 20, 100], ["1", "4", "20", "100"])
axis.minorticks_off()
axis.set_title(f"Equally flat: T = 20 with ε = 0.1, T = {same:.0f} without (seed {first_seed})")
kd.plots.show(
    figure,
    "How much of the largest possible entropy the softened targets lack, against temperature, both axes logarithmic, one curve for each teacher. A dotted line joins the temperatures at which "
    f"the teacher with smoothing 0.1 (T = 20) and the plain one (T = {same:.0f}) are equally flat.",
)

# %% [markdown]
# So the fair opponent for the smoothed teacher at 20 is not the plain teacher at 20 but a hotter one. We trained one where size matters most, in the loss that keeps the student at 1: `plain_teacher100`,
# whose temperature was read off the same curves of pilot teachers. If the interval on the card lies near zero, flatness explains the gap; if it excludes zero, something else is left; if it holds zero *and* the whole gap of the last row in the main figure, these seeds
# cannot say. The arm at $T = 100$ has the learning rate of $T = 20$, not one of its own.

# %%
kd.judge("05-equally-flat", runs)

# %% [markdown]
# ## What goes wrong in practice
#
# A colleague wants to check "smoothed teachers make bad students" and distils at T = 20. Two files in the repository have a function called `kd_loss`. Both run, both converge, and nobody notices that they differ, because they agree at $T=1$, where it is tempting to test.

# %% tags=["slide:wrong", "slide-output"]


def kd_loss_of_file_one(student_logits, teacher_logits, temperature):
    return temperature**2 * F.kl_div(F.log_softmax(student_logits / temperature, dim=1), F.softmax(teacher_logits / temperature, dim=1), reduction="batchmean")


def kd_loss_of_file_two(student_logits, teacher_logits, temperature):
    return F.kl_div(F.log_softmax(student_logits, dim=1), F.softmax(teacher_logits / temperature, dim=1), reduction="batchmean")


for loss, place in (("both20", "file one, T = 20"), ("teacher20", "file two, T = 20")):
    for kind in ("ls10", "ls20"):
        print(f"{place}, {NAMES[kind]}: {in_words(effects[kind, loss])} errors against the plain teacher's student")

# %% [markdown]
# Two audits, the same teachers, the same "T = 20". Look first whether even the sign agrees; whether two sizes of the same sign really differ is not tested here. (The numbers are those of the arms above, whose losses are these two functions up to a constant.) Whatever the
# numbers: the two are different questions, and one file name cannot tell them apart. The test that tells the losses apart takes no training: the student that a loss *asks for*. Give each loss a student that already is
# perfect in its own sense and look at the gradient.

# %%
teacher_logits = said["plain"][:64]
for name, kd_loss in (("file one", kd_loss_of_file_one), ("file two", kd_loss_of_file_two)):
    for words, candidate in (("logits v", teacher_logits), ("logits v/T", teacher_logits / 20)):
        logits = candidate.clone().requires_grad_()
        kd_loss(logits, teacher_logits, 20.0).backward()
        print(f"{name}: student with {words:10s} {'is finished (no gradient)' if logits.grad.abs().max() < 1e-6 else 'is still pushed'}")

# %% [markdown]
# The repair is a name that says the definition: call the loss after where $T$ stands, as in the table above, and assert what it asks for. In this course $T$ stands on both sides, with $T^2$.
#
# ## Exercises
#
# ### 1 · What smoothing asks for
#
# Four classes, the label is class 1 (counting from 0), ε = 0.2. Write down the smoothed target, a list or tensor of four numbers, and the gap between the label's logit and any other at the optimum. Three decimals will do.

# %% tags=["exercise"]
smoothed_target = ...
optimal_gap = ...

# %% tags=["solution"]
smoothed_target = torch.tensor([0.05, 0.85, 0.05, 0.05])
optimal_gap = math.log(0.85 / 0.05)

# %%
kd.checks.lesson05.smoothed_optimum(smoothed_target, optimal_gap);

# %% [markdown]
# ### 2 · Measure a collapse
#
# A reviewer calls your scatter plot "a lucky pair of axes". Give them one number for all dimensions: the mean squared distance of an image to the mean of its class, over the mean squared distance of its class's mean to the mean of all images. Both means run over
# all images, so a class counts as often as it occurs. Classes may differ in size.


# %% tags=["exercise"]
def spread_ratio(activations, labels):
    """[N, D] activations and [N] labels, classes 0 to K-1 → variance within over between classes, one number."""
    class_means = torch.stack([activations[labels == c].mean(dim=0) for c in range(int(labels.max()) + 1)])
    within = ...
    between = ...
    return within / between


# %% tags=["solution"]
def spread_ratio(activations, labels):
    """[N, D] activations and [N] labels, classes 0 to K-1 → variance within over between classes, one number."""
    class_means = torch.stack([activations[labels == c].mean(dim=0) for c in range(int(labels.max()) + 1)])
    within = (activations - class_means[labels]).pow(2).sum(dim=1).mean()
    between = (class_means[labels] - activations.mean(dim=0)).pow(2).sum(dim=1).mean()
    return within / between


# %%
kd.checks.lesson05.spread_ratio(spread_ratio);

# %% [markdown]
# ### 3 · The plane of three templates
#
# Write the projection. Any orthonormal basis of the plane is accepted, and any origin: a picture may be turned, mirrored and moved. It may not be sheared.


# %% tags=["exercise"]
def template_plane(activations, templates):
    """[N, D] activations and [3, D] templates → [N, 2] coordinates in the plane through the templates."""
    edges = ...
    basis = ...
    return activations @ basis


# %% tags=["solution"]
def template_plane(activations, templates):
    """[N, D] activations and [3, D] templates → [N, 2] coordinates in the plane through the templates."""
    edges = torch.stack([templates[0] - templates[2], templates[1] - templates[2]], dim=1)
    basis = torch.linalg.qr(edges).Q
    return activations @ basis


# %%
kd.checks.lesson05.template_plane(template_plane);

# %% [markdown]
# ### 4 · How many seeds for 17 errors?
#
# A pilot with many seeds says: the difference between two students spreads with a standard deviation of 25 errors from seed to seed (paired, one test set), and the test images add a standard error of 4 errors that seeds cannot remove. With $n$ seeds the standard error is
# $\sqrt{25^2/n + 4^2}$. To see a gap four times out of five at the usual level it has to be 2.8 standard errors wide (1.96 for the interval, 0.84 to be outside it four times out of five); take exactly 2.8. How many seeds does a gap of 17 need? And which gap (`floor`) would stay just out of reach with endless seeds?

# %% tags=["exercise"]
seeds_needed = ...
floor = ...

# %% tags=["solution"]
seeds_needed = math.ceil(25**2 / ((17 / 2.8) ** 2 - 4**2))
floor = 2.8 * 4

# %%
kd.checks.lesson05.seeds_needed(seeds_needed, floor);

# %% [markdown]
# ## A rule for practice
#
# **Scope first**: MNIST, one convolutional teacher and one small fully connected student, ε of 0.1 and 0.2, students from 10,000 images without augmentation and without labels in the loss (except `match`). The cards say how far each sentence holds even there.
#
# 1. Ask where $T$ stands before you ask what it should be. A result about smoothed teachers without that is not a result you can use.
# 2. If the teacher is smoothed and cannot be changed (a public checkpoint, say), Shen and Chandrasegaran advise $T = 1$; the picture of the errors themselves says whether that was its best place here. Compare at least $T = 1$, a moderate and a high $T$ on validation data. With $T$ on the teacher alone smoothing
#    counts twice, as targets that are already flat get flatter: look at that row before you use it.
# 3. Do not read one row as the answer. At $T=1$ a smoothed teacher may meet a plain teacher that is far from its best; at $T = 20$ with the student at 1, its own targets are the flattest. Choose $T$ for each teacher on validation data, then compare.
# 4. If you train the teacher for the sake of its students, measure the students. The teacher's own errors say little about it, and its second choices are what you paid for.
# 5. Nothing here is about ImageNet, where teachers do not fit their training set.
#
# ## Takeaways
#
# - Smoothing rewards logits whose other classes are all alike: finite gap, no second choices. The two measures show how far real teachers go in that direction.
# - "Does smoothing the teacher harm the student?" has no answer without the loss. Three published losses are three questions.
# - A temperature is no fixed amount of softness: it divides logits, and smoothing has changed their size.
# - A gap of 17 images needs a seed count, and a test set, that can carry it. Compute both before the runs.
#
# **Further reading.** Müller, Kornblith & Hinton, *When Does Label Smoothing Help?*, 2019, sections 2 and 4, appendix A.5 · Wagner et al., ReScience C, 2025 (the replication) · Shen et al., *Is Label Smoothing Truly Incompatible with Knowledge Distillation?*, 2021 · Chandrasegaran et al.,
# *Revisiting Label Smoothing and Knowledge Distillation Compatibility: What was Missing?*, 2022 · Szegedy et al., *Rethinking the Inception Architecture*, 2016, section 7 · Yuan et al., *Revisiting Knowledge Distillation via Label Smoothing Regularization*, 2020.
