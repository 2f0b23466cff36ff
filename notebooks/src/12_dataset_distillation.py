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
# # 12 · Dataset distillation
#
# **After this lesson you can press sixty thousand images into ten, say for whom the ten are good, and what they have to beat before you may call them good at all.**
#
# 40 minutes · needs [lesson 01](01_soft_targets.ipynb) · data: MNIST, Fashion-MNIST
#
# So far the knowledge went from one network into another. Here it goes into *images*: a **synthetic set** so small that you could print it on a beer mat, and so full that a network trained on nothing else recognises handwriting. Wang, Zhu, Torralba and Efros (2018) asked for ten images that take *one* network from its initial weights to a good one within a few
# steps, and reported about 94 % on MNIST. Zhao, Mopuri and Bilen (2021) asked for more: ten images on which *any* newborn network of a kind learns well, and reported 91.7 %. The two sound like the same thing with slightly different numbers. They are not: it takes the first half of the lesson to see the difference, and the second to see what remains of the gain when real images get every
# advantage the synthetic ones had.

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")  # "smoke": seconds, mechanics only · "quick": a laptop · "full": the paper's scale
first_seed = 0  # another number gives fresh seeds everywhere, teachers included

# %%
import io
import tempfile
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Image as Animation
from IPython.display import display
from PIL import Image

import kdcourse as kd

kd.plots.style()
lesson = kd.start("12", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("12")

# %% [markdown]
# ## Ten images
#
# Whoever may keep only ten images has two obvious choices: ten real ones, or the mean of each class. The `quick` profile works with images of 14×14 pixels and makes a set in seconds: it shows *that* a technique works, against baselines on equal terms. `full` has the original 28×28 pixels, networks twice as wide and minutes for each set: it asks how near a single core comes to the published numbers, and what has been recorded of it stands at the end of the lesson. Whatever is learned begins with real images and has to beat both obvious choices. The functions below make the sets; the picture shows the two obvious ones.

# %%
size = lesson.pick(smoke=14, quick=14, full=28)
seeds = lesson.seeds(smoke=1, quick=5, full=3)
DATASETS = ["mnist", "fashion_mnist"]
EXPERT = dict(
    size=size,
    width=lesson.pick(smoke=4, quick=32, full=64),
    epochs=lesson.pick(smoke=1, quick=1, full=3),
    count=lesson.pick(smoke=500, quick=None, full=None),
)
OBJECTIVES = {
    "gradient": kd.condense.gradient_matching,
    "distribution": kd.condense.distribution_matching,
    "kernel": kd.condense.kernel_regression,
}


def begin(arm_start, dataset, size, count, seed):
    """Images of `size` pixels to begin with, `count` of each class: real ones drawn at random, or the centres of clusters."""
    train, _ = kd.condense.pictures(dataset, size)
    choose = {"random": kd.condense.random_examples, "centres": kd.condense.class_centres}[arm_start]
    return choose(train, count, seed)


def condensed(seed, dataset, size, per_class, start, objective, learn, width, steps, learning_rate, batch, moves):
    """A synthetic set and how it came about. moves: by how much real and synthetic images are moved, turned and zoomed alike in every step, or None."""
    train, _ = kd.condense.pictures(dataset, size)
    shape = dict(channels=train.images.shape[1], size=size)
    made, record = kd.condense.condense(
        begin(start, dataset, size, per_class, seed),
        train,
        OBJECTIVES[objective],
        make=lambda s: kd.condense.convnet(width, seed=s, **shape),
        steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        batch=batch,
        learn=learn,
        augment=kd.condense.wobble(*moves) if moves else None,
        watch=max(1, steps // 24),
    )
    kept = {name: record[name] for name in ("history", "watched", "spent", "seconds", "loss")}
    return kept | {"images": made.images, "labels": made.labels}


def the_set(seed, arm, dataset, size, per_class, recipe):
    """The images and labels of an arm as the networks get them: real ones, centres, or a condensed set; with `_soft`, under a teacher's labels."""
    if arm in ("random", "centres"):
        return begin(arm, dataset, size, per_class, seed)
    if arm == "random_soft":
        return kd.Split(begin("random", dataset, size, per_class, seed).images, teacher_labels(dataset, per_class, seed))
    made = kd.run(condensed, seed=seed, dataset=dataset, size=size, per_class=per_class, **recipe)
    # Learned images keep the place of the real ones they began with, and so the teacher's labels of those.
    return kd.Split(made["images"], teacher_labels(dataset, per_class, seed) if arm.endswith("_soft") else made["labels"])


def all_the_data(seed, dataset, size, width, epochs, count, part="test"):
    """A newborn ConvNet trained on all (or the first `count`) images: its accuracy in %, its seconds and its weights."""
    train, judged = kd.condense.pictures(dataset, size, part)
    network = kd.condense.convnet(width, size=size, seed=seed)
    record = kd.fit(network, train[:count], kd.condense.labels_each(), epochs=epochs, batch_size=128, learning_rate=5e-3, seed=seed)
    return {"percent": 100 * kd.correct(network, judged).float().mean().item(), "seconds": record["seconds"], "weights": network.state_dict()}


def teacher_labels(dataset, per_class, seed, temperature=4.0):
    """Soft labels of the random images from a teacher that has seen all the data: the course's on MNIST at 28×28 pixels, a ConvNet on Fashion-MNIST."""
    if dataset == "mnist":
        seen = 28
        teacher = kd.teachers.rebuild(kd.run(kd.teachers.convolutional_teacher, dataset=dataset, epochs=8, seed=seed, count=None))
    else:
        seen, kept = EXPERT["size"], kd.run(all_the_data, dataset=dataset, seed=seed, **EXPERT)
        teacher = kd.condense.convnet(EXPERT["width"], size=seen, seed=seed)
        teacher.load_state_dict(kept["weights"])
    train, _ = kd.condense.pictures(dataset, seen)
    logits = kd.predict_logits(teacher, kd.condense.random_examples(train, per_class, seed).images)
    return F.softmax(logits / temperature, dim=1)


# %% tags=["slide:obvious", "slide-output"]
figure, axes = plt.subplots(2, 1, figsize=(8, 4.4))
for axis, dataset in zip(axes, DATASETS):
    rows = [kd.data.to_float(begin(start, dataset, size, 1, first_seed).images)[:, 0] for start in ("random", "centres")]
    axis.imshow(torch.cat([torch.cat([*row], dim=1) for row in rows]), vmin=0, vmax=1)
    axis.set_yticks([0.5 * size, 1.5 * size], ["drawn at random", "mean of the class"], fontsize=9)
    axis.set_xticks([(k + 0.5) * size for k in range(10)], kd.load(dataset).classes, fontsize=9)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
figure.suptitle("Two obvious ways to keep ten images", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Two rows of ten pictures for MNIST and two for Fashion-MNIST, a column for each class: a real image drawn at random, and the mean of all "
    "training images of the class. "
    "The means are blurred; those of digits still look like digits.",
)

# %% [markdown] tags=["slide:unrolled"]
# ## Ten images for one network
#
# Begin with one network and its initial weights $\theta_0$, known to both sides. A few steps of gradient descent on the synthetic images $\tilde x$ with labels $\tilde y$ and step sizes $\eta_1, \dots, \eta_T$ lead to
#
# $$ \theta_t = \theta_{t-1} - \eta_t \nabla_\theta\, \ell(\theta_{t-1}; \tilde x, \tilde y), \qquad t = 1, \dots, T, $$
#
# and the images and step sizes are chosen so that $\theta_T$ does well on *real* images: minimise $\ell(\theta_T;\, x, y)$ over $\tilde x$ and $\eta$. The images are now the parameters, and training is the function they go through. Its derivative is available because a gradient step is made of differentiable operations: it only takes the gradient of a gradient.


# %%
def descend(network, images, labels, rates):
    """The network's weights after one step of gradient descent for each rate, differentiable in the images."""
    weights = {name: w.detach().clone().requires_grad_() for name, w in network.named_parameters()}
    for rate in rates:
        loss = F.cross_entropy(torch.func.functional_call(network, weights, (images,)), labels)
        gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        weights = {name: w - rate * g for (name, w), g in zip(weights.items(), gradients)}
    return weights


tiny, some = kd.models.mlp(16, 8, 10, seed=first_seed), torch.rand(10, 1, 4, 4, generator=torch.Generator().manual_seed(0))
ours, theirs = (f(tiny, some, torch.arange(10), torch.tensor([0.5, 0.1])) for f in (descend, kd.unrolled.unroll))
assert all(torch.allclose(ours[name], theirs[name]) for name in theirs)

# %% [markdown]
# With paper and pencil: a linear network of one input and two classes with both weights 0, one image $x = 2$ of class 0, step size 1. Both probabilities are ½, the gradient of the weights is $(-½x, ½x) = (-1, 1)$, and one step makes them $(1, -1)$. The derivative of the first new weight with respect to $x$ is ½: a larger $x$ takes a larger step.

# %% tags=["nbval-check-output"]
line = torch.nn.Linear(1, 2, bias=False)
torch.nn.init.zeros_(line.weight)
x = torch.tensor([[2.0]], requires_grad=True)
after = kd.unrolled.unroll(line, x, torch.tensor([0]), torch.tensor([1.0]))["weight"]
print("weights after the step:", after.flatten().tolist())
print("derivative of the first by x:", torch.autograd.grad(after[0, 0], x)[0].item())

# %% [markdown]
# What would have to be true? The network reaches most of what it could learn from all the data, in a handful of steps. What would show that the ten images are *a data set*? That somebody else can use them: the same network in ordinary training, which takes the images in another order with other step sizes; the same steps from other initial weights; and both at once, a newborn network in
# ordinary training, beside one that gets ten real images.


# %%
def learner(kind, seed, size):
    """The network whose start is known: fully connected; or LeNet as in 1998, with tanh and means (gradients of gradients want smooth functions), born as in the paper, after Glorot."""
    if kind == "mlp":
        return kd.models.mlp(size**2, 100, 10, seed=seed)
    network, generator = kd.models.lenet5(seed=seed), kd.models.stream(seed, "glorot")
    for name, layer in [*network.named_children()]:
        if isinstance(layer, torch.nn.ReLU):
            network.register_module(name, torch.nn.Tanh())
        elif isinstance(layer, torch.nn.MaxPool2d):
            network.register_module(name, torch.nn.AvgPool2d(2))
        elif not isinstance(layer, torch.nn.Flatten):
            torch.nn.init.xavier_normal_(layer.weight, generator=generator)
            torch.nn.init.zeros_(layer.bias)
    return network


def one_start(seed, kind, dataset, size, descent, rate, steps, learning_rate, batch, epochs, part="test"):
    """Ten images for one network's initial weights, and what they are worth elsewhere: accuracy in % for each use."""
    train, judged = kd.condense.pictures(dataset, size, part)
    start = begin("random", dataset, size, 1, seed)
    network = learner(kind, seed, size)
    settings = dict(descent=descent, rate=rate, steps=steps, learning_rate=learning_rate, batch=batch, seed=seed)
    made, rates, record = kd.unrolled.condense_for(network, start, train, watch=max(1, steps // 10), **settings)

    def percent(model):
        return 100 * kd.correct(model, judged).float().mean().item()

    def as_made(start_seed):
        model = learner(kind, start_seed, size)
        model.load_state_dict({k: v.detach() for k, v in kd.unrolled.unroll(model, made.images, made.labels, rates).items()})
        return percent(model)

    def trained(split, start_seed):
        model = learner(kind, start_seed, size)
        kd.fit(model, split, kd.condense.labels_each(), epochs=epochs, batch_size=len(split), learning_rate=5e-3, seed=seed)
        return percent(model)

    others = [1000 * (seed + 1) + k for k in range(3)]
    return {
        "as_made": as_made(seed),
        "other_start": float(np.mean([as_made(s) for s in others])),
        "ordinary": trained(made, seed),
        "fresh": float(np.mean([trained(made, s) for s in others])),
        "random": float(np.mean([trained(start, s) for s in others])),
        "images": made.images,
        "rates": rates,
        "spent": record["seconds"],
    }


wang = dict(
    kind=lesson.pick(smoke="mlp", quick="mlp", full="lenet"),
    descent=3,
    rate=lesson.pick(smoke=0.05, quick=0.05, full=0.5),
    steps=lesson.pick(smoke=10, quick=400, full=3000),
    learning_rate=0.02,
    batch=lesson.pick(smoke=64, quick=512, full=256),
    epochs=lesson.pick(smoke=5, quick=100, full=100),
)
starts = kd.sweep(one_start, seeds=seeds, dataset="mnist", size=size, **wang)
USES = {
    "as_made": ("as made: its start,\nits steps", "soft"),
    "ordinary": ("its start,\nordinary training", "control"),
    "other_start": ("another start,\nits steps", "control"),
    "fresh": ("another start,\nordinary training", "control"),
    "random": ("ten real images,\nordinary training", "hard"),
}
uses = pd.concat([starts[["seed", arm]].rename(columns={arm: "percent"}).assign(arm=arm) for arm in USES], ignore_index=True)


# %% tags=["slide:one-start", "slide-output", "slide-vote"]
def draw_arms(axis, frame, arms, metric="percent"):
    """Every run a dot, runs of a seed joined, means with 95 % intervals and their numbers. arms: arm → (text, role)."""
    table = frame.pivot(index="seed", columns="arm", values=metric)[list(arms)]
    for _, row in table.iterrows():
        axis.plot(range(len(arms)), row, color="0.82", linewidth=0.8, zorder=1)
    for place, (arm, (_, role)) in enumerate(arms.items()):
        values, colour = table[arm].to_numpy(float), kd.plots.COLOURS[role]
        axis.scatter(np.full(len(values), place), values, s=14, color=colour, alpha=0.55, linewidths=0, zorder=2)
        axis.errorbar(place + 0.18, values.mean(), kd.plots.half_width(values), fmt="o", markersize=5, capsize=3, color=colour, zorder=3)
        axis.annotate(f"{values.mean():.1f}", (place + 0.18, values.mean()), xytext=(6, -3), textcoords="offset points", color=colour, fontweight="bold")
    axis.set_xticks(range(len(arms)), [text for text, _ in arms.values()], fontsize=9)
    axis.set_xlim(-0.4, len(arms) - 0.4)


mean = uses.groupby("arm").percent.mean()
figure, axis = plt.subplots(figsize=(8, 3.9))
draw_arms(axis, uses, USES)
axis.plot(-0.25, 94, "D", color=kd.plots.COLOURS["published"], markersize=6)
axis.annotate("Wang et al. 2018: 94", (-0.25, 94), xytext=(8, -1), textcoords="offset points", color="#007a5a", fontsize=9)
axis.set(ylim=(0, 102), ylabel="accuracy on the test images in %")
axis.set_title(f"For the network they were made for: {mean.as_made:.0f} %. For another one in ordinary training: {mean.fresh:.0f} %", fontsize=10)
kd.plots.show(
    figure,
    "Test accuracy in percent of networks that learn from ten images made for one network's initial weights: used as made, in ordinary training from the "
    "same start, with its own steps from other starts, in ordinary training from other starts; and, for comparison, ten real images in ordinary "
    "training. Every run is a dot, runs of a seed are joined, means have 95 percent intervals; a green diamond marks 94 percent of Wang et al. "
    "2018, for LeNet at 28 by 28 pixels.",
)
kd.judge("12-one-start", uses)

# %% [markdown] tags=["slide:anyone"]
# Used as they were made, the images are a *program* for one pair of hands: three instructions to a network whose every weight is known. Change the weights, or the steps, and the instructions address somebody who is not there: compare the first column with the next three. (Others who used images made in this way in their own training loops report 12 to 62 %, in the issues of the authors'
# repository.) Then compare the fourth column with the last. If it is higher, something in the images serves other networks as well, though nobody asked for it; ask of the panel of fully connected networks further down, whose set was made for many, whether that is much.
#
# A failure elsewhere is no fault of the method, if one start is what you want: a checkpoint in the form of ten images, or a proof of how much ten images can carry. But it is not what one means by data. Data are for *anyone*.
#
# ## Ten images for anyone
#
# To write for readers one does not know, one needs many of them. Zhao, Mopuri and Bilen (2021) draw a *newborn* network in every step and ask of the images only this: push its weights the way real images would. For each class, take the gradient of the loss on the synthetic images of the class and on real ones, and compare them layer by layer,
#
# $$ D = \sum_{\text{layers}} \sum_{o} \Big( 1 - \frac{g_o \cdot r_o}{\lVert g_o\rVert\,\lVert r_o\rVert} \Big), $$
#
# where $g_o$ and $r_o$ are the rows of the two gradients that belong to output channel $o$. Directions are compared and not lengths, as a step size can be chosen later. If each step is right for any network, the path is right, too: that is the hope, and nothing in $D$ guarantees it.
#
# Two other objectives ask less, or more, of the same newborn network. **Distribution matching** (Zhao & Bilen 2023) compares the mean features of each class, without any gradient. **Kernel ridge regression** (Nguyen et al. 2021; Zhou et al. 2022 with networks in training) asks: if the synthetic images were *all* the labelled data, and the last layer were fitted to them in closed form, how well would it do on real images?
# It unrolls the training of the last layer to its end, for the price of one small linear system. All three are in `kd.condense`. They share the loop and the networks, and differ in one function of some ten lines.


# %%
def gradient_distance(network, synthetic, labels, real):
    """Synthetic images [K, n, C, H, W], labels [K, n, K] and real images [K, b, C, H, W], class by class → how far their gradients point apart."""
    total, weights = 0.0, [p for p in network.parameters() if p.ndim > 1]  # scales and shifts of the norms are left out
    for k in range(len(real)):
        truth = torch.full((real.shape[1],), k)
        g = torch.autograd.grad(F.cross_entropy(network(synthetic[k]), labels[k]), weights, create_graph=True)
        r = torch.autograd.grad(F.cross_entropy(network(real[k]), truth), weights)
        for ours, theirs in zip(g, r):
            total = total + (1 - F.cosine_similarity(ours.flatten(1), theirs.flatten(1), dim=1)).sum()
    return total / len(real)


draw = torch.Generator().manual_seed(0)
newborn = kd.condense.convnet(8, size=14, seed=first_seed).double()
synthetic, real = (torch.rand(10, n, 1, 14, 14, generator=draw, dtype=torch.float64) for n in (1, 4))
hard = torch.eye(10, dtype=torch.float64)[:, None]
by_hand = gradient_distance(newborn, synthetic, hard, real)
assert torch.allclose(by_hand, kd.condense.gradient_matching(newborn, synthetic, hard, real))

# %% [markdown]
# The package's version does not loop over the classes. One backward pass through all images gives the gradients of the layers' *outputs*; a weight's gradient is their product with the layer's inputs, and that product can be added up within each class.
#
# ## The experiment
#
# What has to be beaten? Ten real images, drawn at random, with their labels. The same ten with the soft labels of a teacher that has seen all the data: Qin et al. (2024) found that on ImageNet-1K real images with an expert's soft labels keep up with distilled ones. The mean of each class, which costs one line. And then we take the synthetic set apart: only the *labels* of ten real images are learned
# (**label distillation**, Bohdal et al. 2020), or *both*, labels and pixels.
#
# Everyone is judged alike. Newborn ConvNets (five for each of five sets; three sets in `full`, where twenty wider ones judge once more at the end, as Zhao et al. have them for each of five sets) with other initial weights than any that took part train on the set alone, all images in every step; what counts is their mean accuracy (in `quick` on the first 1,000 test images, in the first experiment and in `full` on all). Learning rate and steps were chosen on validation images for the *real* images and then used for all (of two rates, between which the pilot could not decide, the larger; more steps gained little). The images are moved, turned and zoomed in every step. By how much was chosen on validation images, among no, small and large moves for
# real images and class means, among small and large ones for learned pixels: ten real digits get the large moves, all others the small ones. A weak recipe for the baseline is the cheapest way to a large gain; see *What goes wrong*.

# %%
judging = dict(
    judge_width=lesson.pick(smoke=4, quick=32, full=64),
    epochs=lesson.pick(smoke=3, quick=150, full=300),
    rate=lesson.pick(smoke=1e-2, quick=1e-2, full=1e-3),
    batch=256,  # all images of a small set in every step
    count=lesson.pick(smoke=200, quick=1_000, full=10_000),  # test images: the first so many
)
making = dict(
    width=lesson.pick(smoke=4, quick=32, full=64),
    steps=lesson.pick(smoke=3, quick=300, full=600),
    batch=lesson.pick(smoke=4, quick=16, full=16),
    learning_rate=0.05,
    start="random",
    objective="distribution",
    learn=["images"],
    moves=None,
)
kernel = making | {"objective": "kernel", "learning_rate": 0.1}
RECIPES = {
    "pixels": making,
    "gradient": making | {"objective": "gradient", "steps": lesson.pick(smoke=3, quick=100, full=200)},  # about the same seconds
    "both": kernel | {"learn": ["images", "labels"]} | lesson.pick(smoke={}, quick={}, full={"steps": 3000}),
    "labels": kernel | {"learn": ["labels"], "steps": lesson.pick(smoke=3, quick=100, full=500)},
}
SMALL, LARGE = lesson.pick(smoke=[1.0, 10.0, 0.1], quick=[1.0, 10.0, 0.1], full=[1.0, 5.0, 0.05]), [2.0, 20.0, 0.2]  # pixels, degrees, share
MOVES = {("mnist", arm): LARGE for arm in ("random", "random_soft", "labels")}  # small ones for all others
NETWORKS = {"convnet": lesson.pick(smoke=2, quick=5, full=5), "mlp": lesson.pick(smoke=1, quick=2, full=3), "cnn": lesson.pick(smoke=1, quick=2, full=3)}


def born(kind, seed, size, channels=1):
    """A newborn network of another kind than the ConvNet."""
    if kind == "cnn":
        return kd.models.cnn(*((16, 32, 64) if size >= 28 else (8, 16, 32)), channels=channels, size=size, seed=seed)
    return kd.models.mlp(channels * size**2, 100, 10, seed=seed)


def worth(seed, case, size, per_class, judge_width, epochs, rate, batch, count, part="test"):
    """Mean accuracy in % of newborn networks that train on this case's set alone."""
    split = the_set(seed, case["arm"], case["dataset"], size, per_class, case["recipe"])
    _, judged = kd.condense.pictures(case["dataset"], size, part)
    make = None if case["kind"] == "convnet" else lambda s: born(case["kind"], s, size, split.images.shape[1])
    settings = dict(networks=case["networks"], phases=[(epochs, rate)], batch_size=batch, width=judge_width, make=make)
    right = kd.condense.evaluate(split, judged[:count], seed=seed, augment=kd.condense.wobble(*case["moves"]), **settings)
    percents = 100 * right.float().mean(dim=1)
    return {"percent": percents.mean().item(), "percents": percents}


def cases(arms, dataset, kind="convnet"):
    """What is to be judged, arm by arm: by which networks, made how, and with which moves."""
    shared = dict(dataset=dataset, kind=kind, networks=NETWORKS[kind])
    return [shared | dict(arm=arm, recipe=RECIPES.get(arm), moves=MOVES.get((dataset, arm), SMALL)) for arm in arms]


def judge_sets(chosen, seeds, per_class=1, **changed):
    """A row for each case and seed; all of them in one sweep, so that no core waits for another."""
    runs = kd.sweep(worth, seeds=seeds, case=chosen, size=size, per_class=per_class, **(judging | changed))
    return pd.concat([runs.drop(columns="case"), pd.DataFrame([*runs.case])[["arm", "dataset", "kind"]]], axis=1)


arms_of = {"mnist": ["random", "random_soft", "centres", "labels", "both"], "fashion_mnist": ["random", "centres", "both"]}
KINDS = {"mlp": "fully connected", "cnn": "batch norm, max-pooling"}  # for a later section
asked = [case for dataset, arms in arms_of.items() for case in cases(arms, dataset)]
asked += [case for kind in KINDS for case in cases(["random", "centres", "both"], "mnist", kind)]
everyone = judge_sets(asked, seeds)
table = everyone[everyone.kind == "convnet"]

# %% tags=["main-figure", "slide:main", "slide-output"]
TEXTS = {
    "random": ("real,\nlabels", "hard"),
    "random_soft": ("real, soft\nlabels", "teacher"),
    "centres": ("class\nmeans", "control"),
    "labels": ("real, learned\nlabels", "soft"),
    "pixels": ("learned\npixels", "soft"),
    "gradient": ("gradient\nmatching", "soft"),
    "both": ("learned\nboth", "soft"),
}
PUBLISHED = {"mnist": 91.7, "fashion_mnist": 70.5}
NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.1), width_ratios=[5, 3])
for axis, dataset in zip(axes, DATASETS):
    frame, shown = table[table.dataset == dataset], {arm: TEXTS[arm] for arm in arms_of[dataset]}
    draw_arms(axis, frame, shown)
    axis.plot(len(shown) - 1.25, PUBLISHED[dataset], "D", color=kd.plots.COLOURS["published"], markersize=6, zorder=4)
    text = f"Zhao et al. 2021,\n28×28: {PUBLISHED[dataset]}"
    axis.annotate(text, (len(shown) - 1.25, PUBLISHED[dataset]), xytext=(-7, -6), textcoords="offset points", ha="right", fontsize=9, color="#007a5a")
    mean = frame.groupby("arm").percent.mean()
    obvious = mean[[arm for arm in ("random", "random_soft", "centres") if arm in mean]]
    axis.set_title(f"{NAMES[dataset]}: learned pixels and labels {mean.both:.1f} %,\nbest of the obvious {obvious.max():.1f} %", fontsize=10)
    axis.set_ylim(frame.percent.min() - 4, max(frame.percent.max(), PUBLISHED[dataset]) + 4)
axes[0].set_ylabel("accuracy on test images in %")
kd.plots.show(
    figure,
    "Test accuracy in percent of newborn networks that learned from ten images, in two panels, MNIST and Fashion-MNIST. In each: random real "
    "images with labels, class "
    "means, learned pixels and labels; on MNIST also the teacher's soft labels and learned labels on the real images. Every run is a dot (mean of "
    "several networks), runs "
    "of a seed are joined, means have 95 percent intervals; green diamonds mark published accuracies at 28 by 28 pixels. The axes do not start at zero.",
)

# %% tags=["slide", "slide-output"]
sets = table.assign(arm=[("m_" if d == "mnist" else "f_") + a for d, a in zip(table.dataset, table.arm)])
kd.judge("12-learned-beats-the-obvious", sets)

# %% [markdown]
# Two claims hide in this picture: what learned pixels add to learned labels, and what learned labels add to labels; the second card takes them one by one. (Labels alone were learned in fewer steps; more did not help them in the pilot.) Each dot is the mean of several networks, and a seed stands for everything at once: the images drawn, the newborn networks that took part, and those that judge. *Real*, *soft labels*, *learned labels* and *learned both* of a seed begin with the same ten images, so a line from left to right shows what was done to them. The green diamonds were measured at 28×28 pixels with
# networks four times as wide, with another objective; they say where the field stands, and our quick numbers are not their reproduction.

# %%
kd.judge("12-labels", sets)

# %% [markdown]
# ## Which objective?
#
# *Learned both* above came from kernel regression, which can learn labels as well. Here are the two others beside it, on MNIST, with pixels alone; all three get about the same seconds of one core (in `full` that is a shorter run of *learned both* than the one above): a step of gradient matching costs several of theirs, as it needs a second derivative. What is compared is what these few seconds buy; after a hundred times as many the order may be another.

# %%
few_seeds = seeds[:3]
in_time = RECIPES["both"] | {"steps": making["steps"]}  # in the quick profile the set above
objectives = judge_sets([*cases(["gradient", "pixels"], "mnist"), cases(["both"], "mnist")[0] | {"recipe": in_time}], few_seeds)
shown = {}
for arm, text in (("gradient", "gradients:\npixels"), ("pixels", "mean features:\npixels"), ("both", "kernel regression:\npixels and labels")):
    recipe = in_time if arm == "both" else RECIPES[arm]
    seconds = np.mean([kd.run(condensed, seed=s, dataset="mnist", size=size, per_class=1, **recipe)["seconds"] for s in few_seeds])
    shown[arm] = (f"{text}\n{recipe['steps']} steps, {seconds:.0f} s", "soft")
figure, axis = plt.subplots(figsize=(7, 3.5))
draw_arms(axis, objectives, shown)
start = table[(table.dataset == "mnist") & (table.arm == "random") & table.seed.isin(few_seeds)].percent.mean()
axis.axhline(start, color=kd.plots.COLOURS["hard"], linewidth=1.2)
axis.annotate(f"the real images they began with: {start:.1f}", (-0.4, start), xytext=(4, 4), textcoords="offset points", color=kd.plots.COLOURS["hard"])
axis.set(ylabel="accuracy on test images in %", ylim=(start - 5, objectives.percent.max() + 5))
mean = objectives.groupby("arm").percent.mean()
axis.set_title(f"MNIST: gradients {mean.gradient:.1f}, mean features {mean.pixels:.1f}, kernel regression {mean.both:.1f} %")
kd.plots.show(
    figure,
    "Test accuracy in percent of newborn networks from ten learned images, one column for each of three objectives with its steps and seconds: "
    "gradient matching, distribution "
    "matching, kernel ridge regression with learned labels. Every run is a dot, runs of a seed are joined, means have 95 percent intervals; a "
    "line marks the real images they began with.",
)
kd.judge("12-objectives", objectives)

# %% [markdown]
# ## How they came about
#
# Here are the images of *learned both* as they change, from the ten real ones on. Each column keeps its class; the rows are moments of the run.

# %% tags=["slide:made", "slide-output"]
made = {d: kd.run(condensed, seed=first_seed, dataset=d, size=size, per_class=1, **RECIPES["both"]) for d in DATASETS}
columns = 6
figure, axes = plt.subplots(2, 1, figsize=(8, 8))
for axis, dataset in zip(axes, DATASETS):
    history, watched = made[dataset]["history"], made[dataset]["watched"]
    moments = np.linspace(0, len(watched) - 1, columns).round().astype(int)
    axis.imshow(torch.cat([torch.cat([*history[m][:, 0]], dim=1) for m in moments]), vmin=0, vmax=1, aspect="equal")
    axis.set_yticks([(k + 0.5) * size for k in range(columns)], [f"{watched[m]} steps" for m in moments], fontsize=9)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    moved = (history[-1] - history[0]).abs().mean().item()
    axis.set_title(f"{NAMES[dataset]}: a pixel has moved by {moved:.2f} of 1 in the mean", fontsize=10)
kd.plots.show(
    figure,
    "Ten synthetic images, one of each class, as rows at six moments of their making, for MNIST above and Fashion-MNIST below. The top row of "
    "each block shows the "
    "real images they began with; the bottom row is the finished set.",
)


# %%
def animate(history, zoom=4):
    """The ten images side by side as an animated GIF, one frame for each kept moment."""
    frames = [torch.cat([*images[:, 0]], dim=1) for images in history]
    frames = [255 - (255 * f.clamp(0, 1)).round().to(torch.uint8).repeat_interleave(zoom, 0).repeat_interleave(zoom, 1).numpy() for f in frames]
    pictures, buffer = [Image.fromarray(frame) for frame in frames], io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=[*pictures[1:], *[pictures[-1]] * 8], duration=150, loop=0)
    return Animation(data=buffer.getvalue(), format="gif", alt="The ten images above as they change from real ones to the finished set.")


display(animate(made["mnist"]["history"][::2], zoom=3))

# %% [markdown]
# Do they look like digits? Like better ones than those they began with? The objective never asked for that. It asked for features from which a regression answers well, and a pixel that no person would draw is worth having if it helps there. What you see is what helped newborn ConvNets.
#
# ## For another architecture?
#
# "Anyone" has meant newborn ConvNets so far, the kind that took part in the making. Does a network of another kind learn from the same ten images: fully connected, or convolutional with batch norm and max-pooling? If the images carry knowledge of *digits*, the gain over real images and over class means survives. If they carry knowledge of *ConvNets*, it does not.

# %% tags=["slide:others", "slide-output"]
figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.6), sharey=True)
for axis, (kind, text) in zip(axes, {"convnet": "ConvNet, as in the making", **KINDS}.items()):
    frame = everyone[(everyone.dataset == "mnist") & (everyone.kind == kind)]
    draw_arms(axis, frame, {arm: TEXTS[arm] for arm in ("random", "centres", "both")})
    mean = frame.groupby("arm").percent.mean()
    axis.set_title(f"{text}:\nlearned − best other {mean.both - max(mean.random, mean.centres):+.1f}", fontsize=10)
axes[0].set_ylabel("accuracy on the test images in %")
kd.plots.show(
    figure,
    "Test accuracy in percent of three kinds of newborn networks, one panel each, from ten random real images, ten class means, and ten learned "
    "images. Every run is a "
    "dot, runs of a seed are joined, means have 95 percent intervals. The axes do not start at zero.",
)
others = everyone[everyone.kind != "convnet"]
others = others.assign(arm=others.kind + "_" + others.arm)
kd.judge("12-another-architecture", others)

# %%
kd.judge("12-other-means", others)

# %% [markdown]
# The gain over ten real images is one question, the gain over class means another, and the panels need not answer them alike. Class means are ten templates. Our reading, not tested here: a fully connected network sees every pixel at its place and can use a template as it is; a convolutional one looks for edges and strokes, and a mean has few. Compare the means' column across the panels before you praise a learned set: what is hard to beat depends on who learns.
#
# ## Ten images of each class
#
# With ten images of a class the task turns round. Real ones begin to show how differently a 4 can be written, and ten synthetic ones must not become ten times the same good 4. What would have to be true for a gain? The learned images keep the variety of the real ones they begin with, and add to each something of those that were left out.
#
# Not every objective does. In our pilots on MNIST's validation images at 14×14 pixels, kernel regression and gradient matching ended *below* the real images they had begun with, and matching features as it is set above no higher (our reading: a newborn network of the `quick` profile has 128 features, hardly more than there are images to be told apart, and a regression then fits them by rote). Two changes
# helped matching features: smaller steps, and in each of them the same small move for the real and the synthetic images, so that what is matched survives the moves of the later training. The baselines grow as well: besides real images there are the centres of ten clusters (**k-means**) in each class, and the teacher's soft labels, which can be put on real images and on learned
# ones alike (a learned image keeps the soft label of the real one it began with).

# %%
ten_judging = dict(per_class=10, judge_width=lesson.pick(smoke=4, quick=32, full=32), epochs=lesson.pick(smoke=2, quick=50, full=100), batch=50, rate=1e-2)
TEN_MOVES, ten_networks = [1.0, 10.0, 0.1], lesson.pick(smoke=1, quick=2, full=3)
RECIPES["features"] = RECIPES["features_soft"] = making | {
    "steps": lesson.pick(smoke=2, quick=100, full=400),
    "width": lesson.pick(smoke=4, quick=32, full=32),
    "learning_rate": 0.03,
    "moves": TEN_MOVES,
}
ten_arms = {
    "mnist": ["random", "random_soft", "centres", "features", "features_soft"],
    "fashion_mnist": ["random", *lesson.pick(smoke=[], quick=[], full=["random_soft"]), "centres", "features"],  # a teacher there costs too much for quick
}
asked = [case | {"moves": TEN_MOVES, "networks": ten_networks} for dataset, arms in ten_arms.items() for case in cases(arms, dataset)]
tens = judge_sets(asked[::-1], few_seeds, **ten_judging)  # the long ones first, so that no core waits at the end
TEXTS |= {"features": ("matched\nfeatures", "soft"), "features_soft": ("matched, soft\nlabels", "soft")}
TEN_TEXTS = TEXTS | {"centres": ("k-means\ncentres", "control")}
TEN_PUBLISHED = {"mnist": 97.4, "fashion_mnist": 82.3}
figure, axes = plt.subplots(1, 2, figsize=(8.4, 4.1), width_ratios=[5, 4])
for axis, dataset in zip(axes, DATASETS):
    frame, shown = tens[tens.dataset == dataset], {arm: TEN_TEXTS[arm] for arm in ten_arms[dataset]}
    draw_arms(axis, frame, shown)
    axis.plot(len(shown) - 1.25, TEN_PUBLISHED[dataset], "D", color=kd.plots.COLOURS["published"], markersize=6, zorder=4)
    text = f"Zhao et al. 2021,\n28×28: {TEN_PUBLISHED[dataset]}"
    axis.annotate(text, (len(shown) - 1.25, TEN_PUBLISHED[dataset]), xytext=(-7, -6), textcoords="offset points", ha="right", fontsize=9, color="#007a5a")
    mean = frame.groupby("arm").percent.mean()
    also = f", with soft labels {mean.random_soft:.1f}" if "random_soft" in mean else ""
    axis.set_title(f"{NAMES[dataset]}: matched features {mean.features:.1f} %,\nreal images {mean.random:.1f}{also} %", fontsize=10)
    half = frame.groupby("arm").percent.apply(lambda values: kd.plots.half_width(values.to_numpy(float)))
    axis.set_ylim((mean - half).min() - 1, max((mean + half).max(), TEN_PUBLISHED[dataset]) + 2)
axes[0].set_ylabel("accuracy on test images in %")
kd.plots.show(
    figure,
    "Test accuracy in percent of newborn networks that learned from ten images of each class, in two panels, MNIST and Fashion-MNIST. In each: "
    "real images with their labels, k-means centres, and images whose features were matched; on MNIST also real and matched images with a teacher's "
    "soft labels. Every run is a dot (mean of several networks), runs of a seed are joined, means have 95 percent intervals; "
    "green diamonds mark published accuracies at 28 by 28 pixels. The axes do not start at zero.",
)
tens = tens.assign(arm=[("m_" if d == "mnist" else "f_") + a for d, a in zip(tens.dataset, tens.arm)])
kd.judge("12-ten-per-class", tens)

# %%
kd.judge("12-ten-per-class-soft", tens)

# %% [markdown]
# (The sets are trained on in batches of fifty; by two networks each in `quick` and three in `full`. Soft labels on Fashion-MNIST need a teacher of its own, which only `full` trains.) Two cards, two questions. The first asks whether matched images are worth more than those they began with. The second asks what the making is worth beside a teacher who only *labels* ten real images: a trained network is needed for that, but no synthetic image at all. Compare the two columns beside each other before you pay for the making. The three seeds of the quick profile see large differences only;
# an interval that holds 0 says that the question is open, not that the answer is no.
#
# ## Latents instead of pixels
#
# A picture need not be stored as pixels. With a **generator**, a network that turns a few numbers into a picture, one can store the numbers: for the bytes of ten pictures there is room for many latents. The generator here is the second half of a small autoencoder, trained on the training images; its latents are what the same objective changes. The idea is Zhao and Bilen's (2022), whose generator is a GAN.


# %%
def generator(seed, dataset, size, latent, hidden, epochs, count):
    """The decoder of an autoencoder, trained on real images: its weights, and the latents of the images it begins with."""
    train, _ = kd.condense.pictures(dataset, size)
    encoder, decoder = (kd.models.mlp(*widths, seed=seed) for widths in ((size**2, hidden, latent), (latent, hidden, size**2)))

    def loss(model, batch):
        return F.binary_cross_entropy_with_logits(model(batch.images).float(), batch.images.flatten(1))

    model = torch.nn.Sequential(encoder, decoder)
    kd.fit(model, train[:count], loss, epochs=epochs, batch_size=128, learning_rate=3e-3, seed=seed)
    return {"encoder": encoder.state_dict(), "decoder": decoder.state_dict()}


def rendered(decoder, size):
    """Latents [N, L, 1, 1] → images [N, 1, size, size]."""
    return lambda latents: decoder(latents.flatten(1)).sigmoid().view(-1, 1, size, size)


def condensed_latents(seed, dataset, size, per_class, latent, hidden, epochs, count, recipe):
    """As many latents as fit into the bytes of `per_class` images of each class, changed until the images they stand for teach best."""
    train, _ = kd.condense.pictures(dataset, size)
    encoder, decoder = (kd.models.mlp(*widths, seed=seed) for widths in ((size**2, hidden, latent), (latent, hidden, size**2)))
    weights = kd.run(generator, seed=seed, dataset=dataset, size=size, latent=latent, hidden=hidden, epochs=epochs, count=count)
    encoder.load_state_dict(weights["encoder"])
    decoder.load_state_dict(weights["decoder"])
    decoder.requires_grad_(False).to(kd.lesson.device())
    start = kd.condense.random_examples(train, per_class * size**2 // latent, seed)
    points = kd.predict_logits(encoder, start.images)[:, :, None, None]
    make = lambda s: kd.condense.convnet(recipe["width"], size=size, seed=s)
    settings = dict(make=make, steps=recipe["steps"], learning_rate=recipe["learning_rate"], batch=recipe["batch"], seed=seed, bounds=None)
    begun = kd.Split(points, start.labels)
    if recipe["steps"]:
        begun, _ = kd.condense.condense(begun, train, OBJECTIVES[recipe["objective"]], render=rendered(decoder, size), **settings)
    with torch.no_grad():
        images = rendered(decoder, size)(begun.images.to(kd.lesson.device())).cpu()
    return {"latents": begun.images.flatten(1), "images": images, "labels": begun.labels}


def worth_latents(seed, dataset, size, latent, settings, networks, judge_width, epochs, rate, batch, count, part="test"):
    """As `worth`, for the images that a generator draws from as many numbers as ten images have pixels."""
    made = kd.run(condensed_latents, seed=seed, dataset=dataset, size=size, per_class=1, latent=latent, **settings)
    _, judged = kd.condense.pictures(dataset, size, part)
    split = kd.Split(made["images"], made["labels"])
    right = kd.condense.evaluate(
        split,
        judged[:count],
        networks=networks,
        phases=[(epochs, rate)],
        batch_size=batch,
        seed=seed,
        width=judge_width,
        augment=kd.condense.wobble(*SMALL),
    )
    return {"percent": 100 * right.float().mean().item(), "images": len(split)}


LATENT = lesson.pick(smoke=32, quick=32, full=64)
decoder = dict(hidden=128, epochs=lesson.pick(smoke=1, quick=4, full=10), count=lesson.pick(smoke=500, quick=20_000, full=50_000))
latent_recipes = {"latents": making | {"steps": lesson.pick(smoke=2, quick=100, full=150)}, "drawn": making | {"steps": 0}}
latents = kd.sweep(
    worth_latents,
    seeds=few_seeds,
    dataset="mnist",
    size=size,
    latent=LATENT,
    settings=[{**decoder, "recipe": recipe} for recipe in latent_recipes.values()],
    **(judging | {"networks": 2, "epochs": lesson.pick(smoke=1, quick=50, full=75), "batch": lesson.pick(smoke=30, quick=30, full=60)}),
)
latents["arm"] = ["drawn" if settings["recipe"]["steps"] == 0 else "latents" for settings in latents.settings]
latents = pd.concat([latents, objectives[objectives.arm == "pixels"]], ignore_index=True)
drawn = {
    arm: kd.run(condensed_latents, seed=first_seed, dataset="mnist", size=size, per_class=1, latent=LATENT, **decoder, recipe=r)
    for arm, r in latent_recipes.items()
}

figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6), width_ratios=[1.3, 1])
per_class = len(drawn["drawn"]["images"]) // 10
rows = [drawn[arm]["images"].view(10, per_class, size, size)[:, k] for k in range(2) for arm in ("drawn", "latents")]
left.imshow(torch.cat([torch.cat([*row], dim=1) for row in rows]), vmin=0, vmax=1)
left.set_yticks([(k + 0.5) * size for k in range(4)], ["began as", "became"] * 2, fontsize=9)
left.set_xticks([])
left.spines[:].set_visible(False)
left.tick_params(length=0)
left.set_title(f"Two of {per_class} images of each class,\n{LATENT} numbers each", fontsize=10)
shown = {"pixels": (f"10 images\n{10 * size**2:,} pixels", "soft"), "drawn": (f"{10 * per_class} images\nreal latents", "hard"),
         "latents": (f"{10 * per_class} images\nlearned latents", "soft")}  # fmt: skip
draw_arms(right, latents, shown)
mean = latents.groupby("arm").percent.mean()
half = max(kd.plots.half_width(group.percent) for _, group in latents.groupby("arm"))
right.set(ylabel="accuracy on test images in %", ylim=(min(mean.min() - half, latents.percent.min()) - 2, max(latents.percent.max(), mean.max() + half) + 2))
right.set_title(f"Latents {mean.latents:.1f}, untouched {mean.drawn:.1f},\npixels {mean.pixels:.1f} %", fontsize=10)
kd.plots.show(
    figure,
    "Left: images drawn by a generator from latents, four rows of ten digits: two examples of each class as real images encoded, and after their "
    "latents were learned. "
    "Right: test accuracy in percent of newborn networks from ten learned images, from the generator's images of real latents, and of learned "
    "latents, at about equal stored "
    "numbers. Every run is a dot, means have 95 percent intervals. The axis does not start at zero.",
)
kd.judge("12-latents", latents)

# %% [markdown]
# (Latents are judged by two networks a seed, pixels by more, which makes their dots scatter more. And these networks train in batches of half the set with fewer steps in all; what that does to their accuracy was not measured.) At equal bytes, latents buy numbers of examples with sharpness, and they hide a cost: whoever wants to see the images needs the generator, and it is larger than all of them. The ledger below counts it separately. If the generator is there anyway (because it is public, or because both sides have it), the latents are cheap. If it has to travel with them, the set is no longer small.
#
# ## The ledger
#
# What has been compressed, and what did it cost? Bytes as stored: one byte a pixel or latent, four for each number of a soft label. Seconds are those of the core on which the set was made, as the cache recorded them. One line trains a network of the same kind on all the images of MNIST but those kept for validation.


# %%
rows = []
for dataset in DATASETS:
    percent = table[table.dataset == dataset].groupby("arm").percent.mean()
    rows.append((dataset, "ten real images", 10 * size**2, 0.0, percent.random))
    for arm, text, labels in (("labels", "their labels learned", 400), ("both", "pixels and labels learned", 400)):
        if arm in percent:
            seconds = np.mean([kd.run(condensed, seed=s, dataset=dataset, size=size, per_class=1, **RECIPES[arm])["seconds"] for s in seeds])
            rows.append((dataset, text, 10 * size**2 + labels, seconds, percent[arm]))
images, whole = len(kd.condense.pictures("mnist", size)[0]), kd.run(all_the_data, seed=first_seed, dataset="mnist", **EXPERT)
rows.insert(3, ("mnist", "all images", images * size**2, whole["seconds"], whole["percent"]))
for dataset in DATASETS:
    percent = tens[tens.dataset == dataset].groupby("arm").percent.mean()
    arguments = dict(dataset=dataset, size=size, per_class=10, **RECIPES["features"])
    seconds = np.mean([kd.run(condensed, seed=s, **arguments)["seconds"] for s in few_seeds])
    rows.append((dataset, "a hundred real images", 100 * size**2, 0.0, percent[f"{dataset[0]}_random"]))
    rows.append((dataset, "features matched", 100 * size**2, seconds, percent[f"{dataset[0]}_features"]))
ledger = pd.DataFrame(rows, columns=["data", "set", "bytes", "seconds", "accuracy"])
ledger["share of bytes"] = ledger.bytes / rows[3][2]
print(
    ledger.to_string(
        index=False, formatters={"bytes": "{:,}".format, "seconds": "{:.1f}".format, "accuracy": "{:.1f} %".format, "share of bytes": "{:.1e}".format}
    )
)
weights = kd.run(generator, seed=first_seed, dataset="mnist", size=size, latent=LATENT, **decoder)["decoder"]
print(f"the generator of the latents: {4 * sum(w.numel() for w in weights.values()):,} bytes in float32, besides its latents' {10 * per_class * LATENT:,}")

# %% [markdown]
# *Seconds* are those of making a set, or of one training on all the data; training on ten images costs about as much for real ones as for learned ones. One set serves any number of trainings: whoever tries a hundred recipes pays for its making once. Whoever trains a single network has to add the making to it.
#
# ## A file for someone else
#
# A synthetic set is a file like any other. `kd.condense.save` writes the arrays that `kd.load` reads, from any folder you name; no part of this course is needed to use it, as NumPy alone can open it. Five lines for somebody's own network:

# %%
folder = tempfile.mkdtemp()
best_set = the_set(first_seed, "both", "mnist", size, 1, RECIPES["both"])
bytes_on_disk = kd.condense.save(f"{folder}/ten_digits.npz", best_set, classes=tuple("0123456789"))

# %%
ten = kd.load("ten_digits", root=folder).train
own_network = kd.models.mlp(size**2, 100, 10, seed=first_seed)
kd.fit(own_network, ten, kd.condense.labels_each(), epochs=100, batch_size=10, learning_rate=5e-3, seed=first_seed)
_, judged = kd.condense.pictures("mnist", size)
print(f"{len(ten)} images, {bytes_on_disk:,} bytes on disk: {100 * kd.correct(own_network, judged).float().mean():.1f} % of the test images right")

# %% [markdown]
# ## Ten of each class, before twenty judges
#
# Two things set the experiment with ten images of each class apart from the published ones. The first is who judges: Zhao, Mopuri and Bilen train twenty newborn ConvNets of width 128 on each set; ours were few and narrow. The second is whom the making asks. Newborn networks describe an image by random filters, and in our pilots a regression on such features ended below the real images. A **model pool** offers others: train twenty networks on *real* images, keep each of them after 2, 5, 10, 20 and 40 steps, and let every step of the making ask one of the
# hundred. The objective stays as it was. (Zhou et al. 2022 have a pool whose networks train on the synthetic set; Kim et al. 2022 match gradients of networks that train on real images.)
#
# What would have to be true? The set beats the real images it began with, which get a teacher's soft labels and the same kind of judges (three of them); and it reaches what Zhao et al. report, 97.4 and 82.3 %. This takes far longer than all the rest of the lesson, so only `full` runs it. Its rows in the table of the next section begin with *Full profile only*, and so do those of one image per class (the sets of the first experiment) before twenty judges.
#
# Keep in mind when you read them: our labels are learned, Zhao's are not, our judges have a recipe of their own, and there are three sets instead of five. Against the real images, pixels and labels have both changed. And the pool was never set against newborn networks at this size: a gain may also come from the 28×28 pixels, or from wider networks.


# %%
POOL = dict(networks=20, after=[2, 5, 10, 20, 40], width=64)
POOLED = dict(start="random", steps=600, learning_rate=0.02, batch=32, moves=TEN_MOVES, pool=POOL)


def condensed_with_pool(seed, dataset, size, per_class, start, steps, learning_rate, batch, moves, pool):
    """Images and labels learned by kernel regression on features of networks in training; the seconds are those of the pool and of the making."""
    train, _ = kd.condense.pictures(dataset, size)
    make = lambda s: kd.condense.convnet(pool["width"], size=size, seed=s)
    begun = time.perf_counter()
    kept = kd.modelpool.in_training(train, make, networks=pool["networks"], after=pool["after"], seed=seed)
    settings = dict(make=kd.modelpool.drawn_from(kept, make), steps=steps, learning_rate=learning_rate, seed=seed, batch=batch)
    objective = kd.modelpool.in_lesson_dtype(kd.condense.kernel_regression)
    first = begin(start, dataset, size, per_class, seed)
    made, _ = kd.condense.condense(first, train, objective, learn=("images", "labels"), augment=kd.condense.wobble(*moves), **settings)
    return {"images": made.images, "labels": made.labels, "seconds": time.perf_counter() - begun}


def before_judges(seed, case, size, width, part="test"):
    """Mean accuracy in % of newborn ConvNets of `width` that train on this case's set alone, on all images of `part`."""
    shared = dict(dataset=case["dataset"], size=size, per_class=case["per_class"])
    if case["arm"] == "pool":
        made = kd.run(condensed_with_pool, seed=seed, **shared, **case["recipe"])
        split = kd.Split(made["images"], made["labels"])
    else:
        split = the_set(seed, case["arm"], recipe=case["recipe"], **shared)
    _, judged = kd.condense.pictures(case["dataset"], size, part)
    settings = dict(networks=case["networks"], phases=[(case["epochs"], case["rate"])], batch_size=case["batch"], width=width, together=1)
    right = kd.condense.evaluate(split, judged, seed=seed, augment=kd.condense.wobble(*case["moves"]), **settings)
    percents = 100 * right.float().mean(dim=1)
    return {"percent": percents.mean().item(), "percents": percents}


if profile == "full":
    ten_each = dict(per_class=10, epochs=100, rate=1e-2, batch=50, moves=TEN_MOVES)
    one_each = dict(per_class=1, epochs=300, rate=1e-3, batch=256, moves=SMALL)
    cases_before = []
    for dataset in DATASETS:
        cases_before.append(dict(dataset=dataset, arm="pool", recipe=POOLED, networks=20, **ten_each))
        cases_before.append(dict(dataset=dataset, arm="random_soft", recipe=None, networks=3, **ten_each))
        cases_before.append(dict(dataset=dataset, arm="both", recipe=RECIPES["both"], networks=20, **one_each))
    judged_sets = kd.sweep(before_judges, seeds=seeds, case=cases_before, size=size, width=128)
    judged_sets["arm"] = [f"{case['dataset'][0]}_{case['arm']}" for case in judged_sets.case]
    print(judged_sets.pivot(index="arm", columns="seed", values="percent").round(2).to_string())
    for claim in ("12-full-pool", "12-full-judges-ten", "12-full-judges-one", "12-full-judges-stretch"):
        display(kd.judge(claim, judged_sets))

# %% [markdown]
# ## What `full` recorded
#
# Everything above ran in the `quick` profile, unless you asked for another. What the cell shows was not computed here. It is the record of the `full` profile as the repository keeps it, or the news that there is none yet: the same claims, judged on three seeds, at 28×28 pixels, on one CPU. For one start, a LeNet takes the place of the small network, as in the paper. One thing was not chosen on validation images alone: the number of steps for *learned both* was doubled after a set of the first seed had been judged on the test images, as `claims.toml` tells; the other two seeds had not been looked at. And the four rows that begin with *Full profile only* exist because the first record had missed the published numbers for ten images of each class: their recipe was chosen on validation images, the decision to look for one was not. Read every number beside the published one, and beside its own baselines. Three seeds give wide intervals: a claim that is reproduced above may be inconclusive here although its means lie further apart. And look for the row on class means: is the answer for fully connected networks still open?

# %%
kd.claims.recorded("12")

# %% [markdown]
# ## What goes wrong in practice
#
# **A starved baseline.** Sets that were made for training may be learned in fewer steps than real images, and need no augmentation. Take a recipe that suits the synthetic set, use it for both because "everything else must be equal", and the gain may be the recipe's. Below, the same two sets (of the first seed, two networks each, on validation images) under a hasty recipe and under the one chosen for the real images.


# %% tags=["slide:wrong", "slide-output"]
def under(recipe, arm):
    """Accuracy in % of newborn ConvNets from an arm's set of the first seed, under another training recipe."""
    split = the_set(first_seed, arm, "mnist", size, 1, RECIPES.get(arm))
    settings = dict(networks=2, width=judging["judge_width"], seed=first_seed)
    _, validation = kd.condense.pictures("mnist", size, "validation")
    return (
        100
        * kd.condense.evaluate(split, validation[: judging["count"]], phases=[(recipe["epochs"], recipe["rate"])], augment=recipe["augment"], **settings)
        .float()
        .mean()
        .item()
    )


hasty = dict(epochs=lesson.pick(smoke=2, quick=10, full=20), rate=1e-2, augment=None)
patient = dict(epochs=judging["epochs"], rate=judging["rate"], augment=kd.condense.wobble(*LARGE))
for name, recipe in (("hasty", hasty), ("as for the real images", patient)):
    found = {arm: under(recipe, arm) for arm in ("random", "both")}
    print(f"{name:24s}" + " · ".join(f"{arm} {value:.1f} %" for arm, value in found.items()) + f" · gain {found['both'] - found['random']:+.1f}")

# %% [markdown]
# Each arm deserves the recipe that suits it, found with equal effort. If you tune only one of them, tune the baseline.
#
# ## Exercises
#
# ### 1 · The gradient of a gradient
#
# A colleague's images do not change at all: the gradient with respect to them comes back as an error, or as zeros, because the training step was computed without a graph. Write the gradient of the loss after *one* step of gradient descent with respect to the images. `inner(weights, images)` is the loss on the synthetic images, `outer(weights)` that on real ones.


# %% tags=["exercise"]
def through_the_step(images, weights, rate, inner, outer):
    """images [M, D], weights [D, K] → the gradient of outer(weights after one step) with respect to the images, [M, D]."""
    images, weights = images.requires_grad_(), weights.requires_grad_()
    gradient = torch.autograd.grad(inner(weights, images), weights, create_graph=True)[0]
    after = ...
    return torch.autograd.grad(outer(after), images)[0]


# %% tags=["solution"]
def through_the_step(images, weights, rate, inner, outer):
    """images [M, D], weights [D, K] → the gradient of outer(weights after one step) with respect to the images, [M, D]."""
    images, weights = images.requires_grad_(), weights.requires_grad_()
    gradient = torch.autograd.grad(inner(weights, images), weights, create_graph=True)[0]
    after = weights - rate * gradient
    return torch.autograd.grad(outer(after), images)[0]


# %%
kd.checks.lesson12.through_the_step(through_the_step);

# %% [markdown]
# When it is right, try `create_graph=False` in a copy and read the error: it is the colleague's.
#
# ### 2 · The distance of two gradients
#
# A colleague flattens all gradients into one long vector and takes one cosine. The large layers then drown the small ones. Write the distance of one layer as the paper has it: for each output channel, 1 minus the cosine of the two rows; then the sum.


# %% tags=["exercise"]
def layer_distance(found, wanted):
    """Two gradients [out, fan_in] of one layer → a number: the sum over output channels of 1 - cosine."""
    cosine = ...
    return ...


# %% tags=["solution"]
def layer_distance(found, wanted):
    """Two gradients [out, fan_in] of one layer → a number: the sum over output channels of 1 - cosine."""
    cosine = F.cosine_similarity(found, wanted, dim=1)
    return (1 - cosine).sum()


# %%
kd.checks.lesson12.gradient_distance(layer_distance);

# %% [markdown]
# ### 3 · Training to the end, in closed form
#
# Kernel ridge regression fits the last layer to a few support images at once. With features $X_s$ of the support (labels $Y_s$) and $X_q$ of other images, the answer is $X_q X_s^\top (X_s X_s^\top + \lambda I)^{-1} Y_s$. Write it; the matrix to be inverted is as large as the support set, ten by ten, however wide the network is.


# %% tags=["exercise"]
def kernel_ridge(query, support, labels, ridge):
    """Features query [Q, D] and support [S, D], labels [S, K] → answers [Q, K]."""
    kernel = support @ support.T
    weights = ...
    return query @ support.T @ weights


# %% tags=["solution"]
def kernel_ridge(query, support, labels, ridge):
    """Features query [Q, D] and support [S, D], labels [S, K] → answers [Q, K]."""
    kernel = support @ support.T
    weights = torch.linalg.solve(kernel + ridge * torch.eye(len(kernel), dtype=kernel.dtype), labels)
    return query @ support.T @ weights


# %%
kd.checks.lesson12.kernel_ridge(kernel_ridge);

# %% [markdown]
# ## Takeaways
#
# - Ask of every synthetic set: *for whom?* Ten images with their steps for one known start are instructions first of all; ten images for newborn networks are something like data. The two are made by different objectives and must be judged by different tests. What the first are worth to others, others have to show, beside ten real images.
# - Matching gradients, matching features and kernel ridge regression replace the long unrolling by something that one newborn network can answer in one step.
# - The baselines are part of the method: real images, teacher's labels, class means, each with a recipe of its own. Without them the number says little, and with ten images of a class the real ones are harder to beat than with one.
# - A stored number can be spent on pixels, on labels, or on latents. The ledger has to count the generator too.
# - Synthetic images are made for a kind of network. The card on other architectures says how far ours travel.
#
# **Further reading.** Wang, Zhu, Torralba & Efros, *Dataset Distillation*, 2018 · Zhao, Mopuri & Bilen, *Dataset Condensation with Gradient Matching*, 2021 · Zhao & Bilen, *Dataset Condensation with Distribution Matching*, 2023 · Nguyen, Novak, Xiao & Lee, *Dataset Distillation with Infinitely Wide Convolutional Networks*, 2021 · Zhou, Nezhadarya & Ba,
# *Dataset Distillation using Neural Feature Regression*, 2022 · Kim et al., *Dataset Condensation via Efficient Synthetic-Data Parameterization*, 2022 · Bohdal, Yang & Hospedales, *Flexible Dataset Distillation: Learn Labels Instead of Images*, 2020 · Qin, Deng & Alvarez-Melis, *A Label is Worth a Thousand Images in Dataset Distillation*, 2024. [Lesson 13](13_poison_and_privacy.ipynb) turns the tools round: poison and privacy.
