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

# %% [markdown] tags=["slide:published"]
# # 11 · Distillation without data
#
# **After this lesson you can distil a network whose training data you will never see, say what each way of doing so lets out of the building, and tell an honest baseline in this literature from a straw man.**
#
# 40 minutes · needs [lesson 01](01_soft_targets.ipynb) and the second half of [lesson 04](04_logits.ipynb); [lesson 10](10_unlabelled_data.ipynb) is about the case next to this one · data: MNIST, Fashion-MNIST
#
# A hospital has trained a network on pictures of its patients. You may have the network. You may not have the pictures, nobody may. Your device holds a part of the network, so you want to distil it: you have the **teacher**, you have a **student**, and nothing to show them. Distillation needs no labels, the teacher gives those. It needs
# *inputs*, a **transfer set**. What shall the two of them look at?
#
# The papers of this lesson asked that of two teachers on MNIST, LeNet-5 with a student of half its widths and **HintonNet**, two hidden layers of 1200 units, with a student of 800. Test accuracies, in per cent:
#
# | what they look at | what leaves the building besides the teacher | LeNet-5 | HintonNet |
# |---|---|---|---|
# | the training images | everything | 98.9 | 98.4 |
# | noise | nothing, or two numbers | 88.0; 74.7 (Fang et al. 2019) | 87.6 |
# | other people's images | nothing | 94.6 (digits of the postal service); 95.7 ("unrelated", Fang et al. 2019) | 94.0 |
# | images rebuilt from recorded activations (Lopes et al. 2017) | a file of statistics | 92.5 | 91.2 |
# | a generator trained against the teacher | nothing, or two numbers | 98.2 (DAFL); 98.3 (DFAD, Fang et al. 2019) | 97.9 (DAFL) |
#
# (From Chen et al. 2019, Table 1, where no other source is named.) Keep three footnotes in mind. The last row is the accuracy at the best epoch *on the test set*: both programs evaluate there after every epoch and report the maximum. The same row of two papers, noise, differs by 13 points: "noise" is not one thing. And both generators end in a layer that gives every batch the mean and the variance of
# the teacher's inputs: they know two numbers about the data.

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
from IPython.display import display

import kdcourse as kd

kd.plots.style()
lesson = kd.start("11", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("11")

# %% [markdown]
# ## Look at the inputs first
#
# Everything is HintonNet divided by ten: two hidden layers of 120 units for the teacher, of 80 for the student, on images of 14 × 14 pixels. (The `full` profile adds LeNet-5 and its half on 28 × 28.) Here is what such a teacher says of things that are no digits:
#
# - **uniform noise**: every pixel by itself, between black and white;
# - **normal noise**: every pixel by itself, with the mean and the standard deviation of the pixels of MNIST, two numbers that somebody has to tell you;
# - **smooth noise**: the same two numbers, but every pixel averaged with its neighbours first. Whoever knows that the inputs were *pictures* knows that neighbouring pixels are alike;
# - **random strokes**, two curves drawn by a few lines of code, for somebody who also knows that the pictures were written with a pen;
# - Fashion-MNIST, **unrelated images** from the internet.

# %% tags=["slide:inputs", "slide-output"]
scale = dict(
    kind="perceptron",
    dataset="mnist",
    size=14,  # pixels
    teacher_epochs=lesson.pick(smoke=2, quick=6, full=6),
    teacher_rate=1e-2,
    teacher_count=lesson.pick(smoke=1000, quick=None, full=None),  # images the teacher is trained on; None: all 50,000
)


def teacher_network(seed, kind, dataset, size, teacher_epochs, teacher_rate, teacher_count, norm=False):
    """The trained teacher of this seed, frozen; with or without batch norm."""
    settings = dict(epochs=teacher_epochs, batch_size=250, learning_rate=teacher_rate, seed=seed, count=teacher_count)
    found = kd.run(kd.datafree.trained_teacher, kind=kind, dataset=dataset, size=size, norm=norm, **settings)
    return kd.datafree.rebuild_teacher(found["weights"], kind, size, norm)


def two_numbers(dataset, size):
    """Mean and standard deviation of the training pixels."""
    pixels = kd.data.to_float(kd.datafree.pictures_of(dataset, size)[0].images)
    return float(pixels.mean()), float(pixels.std())


def free_images(source, seed, dataset, size, count):
    """Images that nobody has to ask the hospital for (normal and smooth noise: two numbers), and the real ones; float32 [count, 1, size, size]."""
    if source in ("real", "unrelated"):
        named = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}[dataset] if source == "unrelated" else dataset
        return kd.data.to_float(kd.datafree.pictures_of(named, size)[0].images[:count])
    if source == "strokes":
        return kd.datafree.random_strokes(count, size, seed=seed)
    if source == "uniform":
        return kd.datafree.pixel_noise(count, size, seed=seed)
    if source == "normal":
        return kd.datafree.pixel_noise(count, size, *two_numbers(dataset, size), seed=seed)
    reach = (size // 14) ** 2  # k averagings reach √k pixels far: once for 14 pixels, four times for 28
    return kd.datafree.smooth_noise(count, size, *two_numbers(dataset, size), reach=reach, seed=seed)


def draw_row(axes, images, teacher, name):
    """A row of images, each with the teacher's answer and how sure it is."""
    confidence, answer = F.softmax(kd.predict_logits(teacher, images), dim=1).max(dim=1)
    for axis, image, c, a in zip(axes, images, confidence, answer):
        if image.isnan().any():
            continue  # no such image
        axis.imshow((7 * image[0].clamp(0, 1)).round(), vmin=0, vmax=7)  # eight greys make a light picture
        axis.set_title(f"{a.item()} · {100 * c.item():.0f} %", fontsize=9, fontweight="normal", loc="center", pad=2)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)


def classes_in_use(teacher, images):
    """How many classes the teacher's first choices spread over, as the exponential of their entropy: from 1 to 10."""
    share = kd.predict_logits(teacher, images).argmax(dim=1).bincount(minlength=10).double() / len(images)
    return torch.xlogy(share, share).sum().neg().exp().item()


teacher = teacher_network(first_seed, **scale)
_, validation = kd.datafree.pictures_of(scale["dataset"], scale["size"], "validation")
wrong = int((~kd.correct(teacher, validation)).sum())
parameters = [kd.models.count_parameters(kd.datafree.network(scale["kind"], student, scale["size"])) for student in (False, True)]
print(f"the teacher: {parameters[0]:,} parameters, {wrong} errors among 10,000 validation images; the student will have {parameters[1]:,} parameters")
names = dict(real="real images", unrelated="unrelated", strokes="strokes", smooth="smooth noise", normal="normal noise", uniform="uniform noise")
looked = {source: free_images(source, first_seed, scale["dataset"], scale["size"], 1000) for source in names}
used = {source: classes_in_use(teacher, images) for source, images in looked.items()}

figure, axes = plt.subplots(6, 8, figsize=(7.4, 6.2))
for row, (source, images) in zip(axes, looked.items()):
    draw_row(row, images[:8], teacher, f"{names[source]}\n{used[source]:.1f} classes")
figure.suptitle(f"Shown uniform noise, the teacher uses {used['uniform']:.1f} of its ten answers, smooth noise {used['smooth']:.1f}", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Six rows of eight images: real digits, Fashion-MNIST, random strokes, smooth noise, normal noise, uniform noise. Above each image the teacher's answer and its confidence. "
    "Left of each row, over how many classes its answers to 1,000 such images spread: " + ", ".join(f"{names[s]} {n:.1f}" for s, n in used.items()) + ".",
)

# %% [markdown] tags=["slide:families"]
# Read the small numbers. A classifier has no answer "none of these". It has to call a shoe something, and may be quite sure of it. That is a nuisance elsewhere and our chance here: *any* input gets an answer, and every answer says a little about the function we want to copy.
#
# How much it says depends on the row. Where all inputs get nearly the same answer, a student can agree with its teacher and know nothing else. Even then the ten *logits* vary from image to image, which is why students of this lesson match logits ([lesson 04](04_logits.ipynb)) and not softened probabilities: their loss is the mean $|z - v|$ over the classes, with $z$ the student's logits and $v$ the teacher's, as in DFAD, for everyone alike.
#
# ## What a trained network gives away
#
# Now the families that *make* images. They start from the fact that a network can be run backwards: ask not "which weights make this image a 3", but "which image makes these weights say 3", and follow the gradient with respect to the pixels.
#
# **Ask for a class.** Find images $x$ with small cross-entropy to a class that we choose, and small **total variation**, the mean difference of neighbouring pixels, because pictures are smoother than noise. At the end of that road stands an image which excites the network and looks like nothing.
#
# **Ask for the usual activations as well.** LeNet-5 (1998) and HintonNet (2015) have no batch norm, but most networks since do, and every batch-norm layer has recorded the mean $\hat\mu$ and the variance $\hat\sigma^2$ of each channel or unit over the training images; it needs them to predict, so they sit in the file of weights. Require that the made-up batch has them too (**DeepInversion**, Yin et al. 2020):
#
# $$ R(x) = \sum_{\text{layers}} \lVert \mu(x) - \hat\mu \rVert + \lVert \sigma^2(x) - \hat\sigma^2 \rVert. $$
#
# **Ask for a record.** Lopes et al. (2017) let the owner record more on purpose: statistics of the activations of every layer. We record mean and standard deviation of every unit, class by class, and find images that have them.
#
# **Let a generator find images.** One network $G$ turns random numbers $u$ into images. What shall it strive for? With $v$ and $z$ the teacher's and the student's logits for a batch of $N$ of its images and $K$ classes, $p$ the teacher's probabilities and $\bar p$ their mean over the batch, it minimises a sum of
#
# $$ \underbrace{-\tfrac{1}{NK}\textstyle\sum |z - v|}_{\text{adversary}} \qquad \underbrace{-\tfrac1N\textstyle\sum \log \max_k p_k}_{\text{one-hot}} \qquad \underbrace{\textstyle\sum_k \bar p_k \log \bar p_k}_{\text{balance}} $$
#
# with weights. **DAFL** (Chen et al. 2019) uses the second and third: images the teacher is sure of, all classes alike. (It has another term, on the size of features, which we leave out.) **DFAD** (Fang et al. 2019) uses the first alone: find what the student does *not yet* imitate; the student in turn learns to imitate there. It is a game, and nobody in it cares what digits look like.


# %%
def generator_objective(answers, pupil, weights):
    p = F.softmax(answers, dim=1)
    mean_answer = p.mean(dim=0)
    adversary = -(pupil - answers).abs().mean()
    one_hot = -p.max(dim=1).values.log().mean()
    balance = (mean_answer * mean_answer.log()).sum()
    return weights["adversary"] * adversary + weights["one_hot"] * one_hot + weights["balance"] * balance


def norm_distance(activations, layer):  # [N, D] as they enter a batch-norm layer
    mean, variance = activations.mean(dim=0), activations.var(dim=0, unbiased=False)
    return (mean - layer.running_mean).norm() + (variance - layer.running_var).norm()


some_images = looked["strokes"][:64].to(kd.lesson.device())
normed = teacher_network(first_seed, norm=True, **scale)  # the same network with batch norm
with torch.no_grad():
    with kd.datafree.seen_by_batch_norm(normed) as seen:
        some_answers = normed(some_images)
    _, (first, second) = kd.features.tap(normed, some_images, ["linear0", "linear1"])
ours = norm_distance(first, normed.norm0) + norm_distance(second, normed.norm1)
assert torch.allclose(ours, kd.datafree.batch_norm_distance(normed, seen), rtol=1e-4)
some_weights = dict(adversary=1.0, one_hot=0.5, balance=5.0)
arguments = some_answers.double(), some_answers.double().flip(0), some_weights
assert torch.allclose(generator_objective(*arguments), kd.datafree.generator_objective(*arguments))

# %% [markdown]
# Our lines agree with the package's versions, which are used from here on. By hand: two images, two classes, the teacher's logits are $(\ln 9, 0)$ and $(0, \ln 9)$, so it is 90 % sure of each. Minus the logarithm of 0.9 is 0.105. The mean answer is a half for both classes, its entropy $\ln 2$, the best there is. A student that says 0 to everything differs by
# $\ln 9$ in two of four logits, $\ln 3$ on average. If both images were the first one, the mean answer would be (0.9, 0.1), and the balance worse.

# %% tags=["nbval-check-output"]
by_hand = torch.log(torch.tensor([[9.0, 1.0], [1.0, 9.0]])).double()
for words, images in (("one of each class", by_hand), ("twice the first", by_hand[[0, 0]])):
    terms = {name: kd.datafree.generator_objective(images, torch.zeros_like(images), {name: 1.0}).item() for name in ("adversary", "one_hot", "balance")}
    print(f"{words:18s} " + " · ".join(f"{name} {value:.3f}" for name, value in terms.items()))

# %% [markdown]
# ## Made-up images
#
# Three ways of making images out of a trained network by gradient descent on the pixels. They begin at the same uniform noise and take the same number of steps.
#
# - **impressions**: the class we ask for, and smoothness. Nothing else leaves the building.
# - **norms**: and the teacher's own batch-norm record. For these two the teacher is the network *with* batch norm, so that they differ in one term only.
# - **layers**: a record of every unit of every layer of the network without batch norm: mean and standard deviation for each class. The images of a class have to match them together.
#
# And two generators, in a game with a student as described: **dfad**, and **idle**, its control: the same game, but the generator never learns. It stays as it was born, a network of random weights that makes images with the two numbers of the data. If the search for the student's errors is what counts, dfad has to beat idle.

# %% tags=["slide:made", "slide-output"]
LAYERS = ("relu0", "relu1", "linear2")  # the outputs of all layers
WITH_NORM = ("impressions", "norms")  # made from the teacher with batch norm, whose answers their students imitate


def labels_objective(teacher, smooth, norms):
    """Cross-entropy with the class asked for and total variation; with `norms`, the distance from the batch-norm record too."""

    def objective(images, index):
        with kd.datafree.seen_by_batch_norm(teacher) as seen:
            logits = teacher(images).float()
        value = F.cross_entropy(logits, index % 10) + smooth * kd.datafree.total_variation(images)
        return value + norms * kd.datafree.batch_norm_distance(teacher, seen) if norms else value

    return objective


def layers_objective(teacher, train, smooth, layers):
    """Mean and standard deviation of every unit over the batch's images of each class against the record; the classes of a batch take turns. And the record's bytes."""
    _, values = kd.features.activations(teacher, train.images, layers)
    records = [kd.datafree.class_moments(value.flatten(1), train.labels) for value in values]
    moments = [[record[name].to(kd.lesson.device()) for name in ("mean", "std")] for record in records]

    def objective(images, index):
        _, found = kd.features.tap(teacher, images, layers)
        total = smooth * kd.datafree.total_variation(images)
        for values, (mean, std) in zip(found, moments):
            groups = values.flatten(1).view(-1, *mean.shape)  # [images of a class, classes, units]
            unit = std + 0.1 * std.mean()  # a unit that never moved in training must not count without end
            total = total + ((groups.mean(dim=0) - mean) / unit).pow(2).mean() + ((groups.std(dim=0, unbiased=False) - std) / unit).pow(2).mean()
        return total

    return objective, sum(map(kd.datafree.record_bytes, records))


def made_up(source, seed, made, steps, smooth, norms, rate, **scale):
    """Images made by gradient descent from the teacher and what its owner recorded; and the bytes of that record."""
    teacher = teacher_network(seed, norm=source in WITH_NORM, **scale)
    if source == "layers":
        objective, size = layers_objective(teacher, kd.datafree.pictures_of(scale["dataset"], scale["size"])[0], smooth, LAYERS)
    else:
        objective = labels_objective(teacher, smooth, norms if source == "norms" else 0)
        size = 4 * sum(2 * len(m.running_mean) for m in teacher.modules() if hasattr(m, "running_mean")) if source == "norms" else 0
    start = kd.datafree.pixel_noise(made, scale["size"], seed=seed)
    return {"images": kd.datafree.optimise_images(start, objective, steps, learning_rate=rate), "bytes": size}


def duel(how, seed, iterations, student_steps, batch_size, learning_rate, width, watch_every, part, **scale):
    """A generator against the teacher and a student, at once: who is right among the judged images at the end, errors on the way, and images.

    how: the weights of the generator's objective and its learning rate, 0 for one that never learns; and, where given, the free images that keep it company in the student's batches.
    """
    teacher = teacher_network(seed, **scale)
    student = kd.datafree.network(scale["kind"], True, scale["size"], seed=seed)
    generator = kd.datafree.upsampling_generator(*two_numbers(scale["dataset"], scale["size"]), width=width, size=scale["size"], seed=seed)
    _, judged = kd.datafree.pictures_of(scale["dataset"], scale["size"], part)
    settings = dict(iterations=iterations, student_steps=student_steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    company = free_images(how["company"], seed, scale["dataset"], scale["size"], 20_000) if "company" in how else None
    record = kd.datafree.generator_duel(
        teacher, student, generator, weights=how["weights"], generator_rate=how["rate"], watch=judged, watch_every=watch_every, company=company, **settings
    )
    return record | {"correct": kd.correct(student, judged)}


def duels_of(names, seeds, dueling, scale):
    """One row a run of the game, from generators by name."""
    table = kd.sweep(duel, seeds=seeds, how=[GENERATORS[name] for name in names], **dueling, **scale)
    return table.assign(arm=[next(name for name in names if GENERATORS[name] == how) for how in table.how])


count = lesson.pick(smoke=100, quick=20_000, full=20_000)  # images in every transfer set
batch_size = lesson.pick(smoke=20, quick=128, full=128)
epochs = lesson.pick(smoke=2, quick=13, full=13)
student_steps = lesson.pick(smoke=2, quick=5, full=5)  # for each of the generator's
learning_rate = 1e-2  # every student's, at its largest
making = dict(made=lesson.pick(smoke=50, quick=2000, full=2000), steps=lesson.pick(smoke=2, quick=100, full=100), smooth=5.0, norms=0.3, rate=1.0)
dueling = dict(
    iterations=epochs * -(-count // batch_size) // student_steps,  # as many steps for the student as those of a transfer set take
    student_steps=student_steps,
    batch_size=batch_size,
    learning_rate=learning_rate,
    width=8,  # channels of the generator's grids
    watch_every=lesson.pick(smoke=2, quick=34, full=34),
    part="test",
)
GENERATORS = dict(dfad=dict(weights=dict(adversary=1.0), rate=1e-2), idle=dict(weights=dict(), rate=0.0), dafl=dict(weights=dict(one_hot=1.0, balance=2.0), rate=1e-2))

seeds = lesson.seeds(smoke=1, quick=5, full=5)
played = duels_of(["dfad", "idle"], seeds, dueling, scale)
kd.sweep(made_up, seeds=seeds, source=["impressions", "norms", "layers"], **making, **scale)
shown = {source: kd.run(made_up, source=source, seed=first_seed, **making, **scale) for source in ("impressions", "norms", "layers")}
shown |= {name: kd.run(duel, how=GENERATORS[name], seed=first_seed, **dueling, **scale) for name in ("dfad", "idle")}


def one_of_each(teacher, images):
    """Of each class the first image that the teacher calls so; not a number where it never does."""
    answer = kd.predict_logits(teacher, images).argmax(dim=1)
    picked = torch.full((10, *images.shape[1:]), float("nan"))
    for k in range(10):
        if (answer == k).any():
            picked[k] = images[(answer == k).nonzero()[0, 0]]
    return picked


figure, axes = plt.subplots(5, 10, figsize=(7.4, 4.6))
used = {}
for row, (name, result) in zip(axes, shown.items()):
    asked = normed if name in WITH_NORM else teacher
    used[name] = classes_in_use(asked, result["images"])
    draw_row(row, one_of_each(asked, result["images"]), asked, f"{name}\n{used[name]:.1f} classes")
figure.suptitle("Images that the teacher calls 0 to 9, from five ways of making them", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Five rows of ten made-up images, one that the teacher calls by each class, with its answer and confidence above: impressions, norms and layers by gradient descent on the pixels, then those of a generator that "
    "learned and of one that did not; empty where there is none. Left of each row over how many classes the teacher's answers spread: " + ", ".join(f"{name} {n:.1f}" for name, n in used.items()) + ".",
)
print("bytes that leave the building with the teacher:")
print(f"  {4 * parameters[0]:10,d} the teacher itself · {50_000 * scale['size'] ** 2:,d} its training images, for comparison · 8 the two numbers of its pixels")
for source in ("norms", "layers"):
    print(f"  {shown[source]['bytes']:10,d} {source}" + (" (they are in the file of a teacher with batch norm anyway)" if source == "norms" else ""))

# %% [markdown]
# Look at a row and ask yourself whether you would have called it a digit. Then look at the confidence. The teacher can be surer of an impression than of a real digit: it was optimised for that. Looking real, being called right with confidence, and being useful to a student are three properties, and only the third is our question.
#
# ## The experiment
#
# What would have to be true? If a student learns what its inputs let the teacher say, then inputs nearer to the data should serve it better: with the batch-norm record better than without, from a record better than from noise. If what counts is where student and teacher still differ, then a generator that looks for such places should beat images which came for free, and the same generator left idle.
#
# But that comparison needs an honest opponent. Every generator above is built of up-samplings and convolutions: its images may be smooth before it has learned anything, and they have the two numbers of the data. Noise with *independent* pixels lacks the first, and uniform noise lacks both. So the free images are here in order of what they know: uniform (nothing), normal (two numbers), smooth (and that neighbours are alike), strokes (and that there was a pen).
#
# All students of a seed start from the same weights, take the same number of steps with the same largest learning rate and the same loss, and are judged after the last step. Transfer sets have one size. The generators' students see new images in every step, and their learning rate falls along a line from its largest value, where that of the others rises first: a student that warmed up slowly would meet a generator that knows it too well. What is made by gradient descent is dear, so there is less of it, and the rest of those transfer sets are copies moved by a pixel. Students from transfer sets learn side by side, as one network with a channel for each, so that they share the batch order too. Nobody sees a label. The
# control **untrained** imitates an untrained teacher on real images.


# %%
def absolute_each(copies):
    """The mean |student − teacher| of each of several networks side by side, summed: each learns as it would alone."""

    def loss(model, batch):
        return copies * F.l1_loss(model(batch.images), batch.targets)

    return loss


def in_many_places(images, count, reach, seed):
    """`count` images: these, and then copies of them that are moved by up to `reach` pixels."""
    draw = kd.models.stream(seed, "places")
    dy, dx = (torch.randint(-reach, reach + 1, (count,), generator=draw) for _ in range(2))
    dy[: len(images)] = dx[: len(images)] = 0
    return kd.data.shift(images.repeat(-(-count // len(images)), 1, 1, 1)[:count], dy, dx, reach)


def students(sources, seed, count, epochs, batch_size, learning_rate, making, part, **scale):
    """Students that imitate the teacher's logits on images of one source each (`sources`: names with spaces between): who is right among the judged images."""
    images, targets = [], []
    for source in sources.split():
        guide = teacher_network(seed, norm=source in WITH_NORM, **scale)
        if source == "untrained":
            guide = kd.datafree.network(scale["kind"], size=scale["size"], seed=seed).to(kd.lesson.device())
        if source in ("impressions", "norms", "layers"):
            found = kd.run(made_up, source=source, seed=seed, **making, **scale)["images"]
            images.append(in_many_places(found, count, scale["size"] // 14, seed))
        else:
            images.append(free_images("real" if source == "untrained" else source, seed, scale["dataset"], scale["size"], count))
        targets.append(kd.predict_logits(guide, images[-1]))
    one = kd.datafree.network(scale["kind"], True, scale["size"], seed=seed)
    side_by_side = kd.datafree.abreast([one] * len(images))
    split = kd.Split(torch.cat(images, dim=1), torch.zeros(count, dtype=torch.int64))  # labels there are none
    settings = dict(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    record = kd.fit(side_by_side, split, absolute_each(len(images)), targets=torch.cat(targets, dim=1), **settings)
    _, judged = kd.datafree.pictures_of(scale["dataset"], scale["size"], part)
    answers = kd.predict_logits(side_by_side, judged.images.expand(-1, len(images), -1, -1)).view(len(judged), len(images), -1).argmax(dim=2)
    right = {f"right_{source}": answers[:, s] == judged.labels for s, source in enumerate(sources.split())}
    return record | right | {"init": kd.datafree.born(one)}


def one_of(job, seed):
    """A duel, or students side by side, with all arguments but the seed in one."""
    return {"duel": duel, "students": students}[job["trial"]](seed=seed, **{name: value for name, value in job.items() if name != "trial"})


def answers_of_teacher(seed, part, **scale):
    """Who of the judged images the teacher itself gets right."""
    _, judged = kd.datafree.pictures_of(scale["dataset"], scale["size"], part)
    return {"correct": kd.correct(teacher_network(seed, **scale), judged)}


def arms_of(table):
    """One row an arm and seed, from a table with a column `right_…` for each arm."""
    found = [
        {"arm": name.removeprefix("right_"), "seed": run["seed"], "correct": run[name], "init": run["init"], "order": run["order"]}
        for run in table.to_dict("records")
        for name in run
        if name.startswith("right_")
    ]
    return pd.DataFrame(found)


few_seeds = lesson.seeds(smoke=1, quick=3, full=3)  # of what only completes the picture
learning = dict(count=count, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, making=making, part="test")
offline = kd.sweep(students, seeds=seeds, sources="uniform normal smooth unrelated strokes impressions norms layers real untrained", **learning, **scale)
clothes = scale | dict(dataset="fashion_mnist")
worn_sources = "normal smooth unrelated strokes real"
beside = [  # three that complete the picture, together, so that no core waits
    dict(trial="duel", how=GENERATORS["dafl"], **dueling, **scale),
    dict(trial="duel", how=GENERATORS["dfad"], **dueling, **clothes),
    dict(trial="students", sources=worn_sources, **learning, **clothes),
]
completed = kd.sweep(one_of, seeds=few_seeds, job=beside)
dafl, worn_duels, worn = (completed[[job == one for job in completed.job]].dropna(axis=1) for one in beside)
played = pd.concat([played, dafl.assign(arm="dafl")])
teachers = kd.sweep(answers_of_teacher, seeds=seeds, part="test", **scale).assign(arm="teacher")
runs = pd.concat([arms_of(offline), played, teachers], ignore_index=True)
runs["errors"] = [10_000 * (~right).mean() for right in runs.correct]

# %% tags=["main-figure", "slide:main", "slide-output"]
ROWS = [
    ("teacher", "the teacher itself", "teacher", None),
    ("real", "real images", "hard", (9839, "Chen 2019")),
    ("strokes", "random strokes", "soft", None),
    ("smooth", "smooth noise", "soft", None),
    ("unrelated", "unrelated images", "soft", (9399, "Chen 2019, USPS")),
    ("normal", "normal noise", "soft", (8758, "Chen 2019")),
    ("uniform", "uniform noise", "soft", None),
    ("impressions", "impressions, batch-norm teacher", "soft", None),
    ("norms", "norms, batch-norm teacher", "soft", None),
    ("layers", "record of all layers", "soft", (9124, "Lopes 2017")),
    ("dfad", "dfad, a generator in a game", "soft", None),
    ("dafl", "dafl, another objective", "soft", (9791, "Chen 2019")),
    ("idle", "idle, a generator that never learns", "control", None),
    ("untrained", "untrained teacher, real images", "control", None),
]
table = runs.pivot(index="seed", columns="arm", values="errors")


def count_axis(axis, least):
    """A logarithmic axis of errors, from a little under the least to all of them, labelled with plain numbers."""
    axis.set(xscale="log", xlim=(0.75 * least, 12_000))
    axis.set_xticks([tick for tick in (100, 200, 500, 1000, 2000, 5000, 10_000) if tick > 0.75 * least])
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.minorticks_off()


bytes_told = {"norms": shown["norms"]["bytes"], "layers": shown["layers"]["bytes"]} | dict.fromkeys(["normal", "smooth", "dfad", "dafl", "idle"], 8)
figure, axis = plt.subplots(figsize=(8, 5.6))
for place, (arm, label, role, published) in enumerate(ROWS):
    values = table[arm].dropna().to_numpy(float)
    axis.scatter(values, np.full(len(values), place), s=16, color=kd.plots.COLOURS[role], alpha=0.5, linewidths=0)
    axis.errorbar(values.mean(), place + 0.25, xerr=kd.plots.half_width(values), fmt="o", markersize=5, capsize=3, color=kd.plots.COLOURS[role])
    if published:
        axis.plot(10_000 - published[0], place - 0.3, "D", color=kd.plots.COLOURS["published"], markersize=6)
        axis.annotate(published[1], (10_000 - published[0], place - 0.3), xytext=(7, 0), textcoords="offset points", fontsize=9, color="#007a5a", va="center")
    axis.annotate(f"{values.mean():,.0f}", (1.01, place), xycoords=("axes fraction", "data"), fontsize=9, va="center", color=kd.plots.COLOURS[role], fontweight="bold")
axis.set_yticks(range(len(ROWS)), [f"{label} ({bytes_told[arm]:,d} B)" if arm in bytes_told else label for arm, label, _, _ in ROWS])
axis.set(xlabel="errors among 10,000 test images, logarithmic", ylim=(len(ROWS) - 0.3, -0.7))
count_axis(axis, min(table.min().min(), *(10_000 - row[3][0] for row in ROWS if row[3])))
labels = {arm: label for arm, label, *_ in ROWS}
free = ["strokes", "smooth", "unrelated", "normal", "uniform"]
best = min(free, key=lambda arm: table[arm].mean())
axis.set_title(f"Mean errors: real images {table.real.mean():,.0f}; the best free ones ({labels[best]}) {table[best].mean():,.0f}; the game {table.dfad.mean():,.0f}", x=-0.6)
kd.plots.show(
    figure,
    "Test errors of students on a logarithmic axis, one row for each kind of inputs they learned from; every run is a dot, below it the mean with its 95 percent interval, at the right its value. In brackets the bytes that have to leave the building with "
    "the teacher. Green diamonds are published numbers at full size. Mean errors: " + ", ".join(f"{arm} {table[arm].mean():.0f}" for arm, *_ in ROWS) + ".",
)

# %% [markdown]
# How to read it: the axis is logarithmic, every step to the left is a share of the errors saved. In brackets stand the bytes that leave the building besides the teacher; two numbers are 8. Read the free images from top to bottom: each row knows one thing less than the one above it (unrelated images aside). Then **impressions** against **norms**, which share a teacher. Then the game against its own idle twin, and against smooth noise: the same two numbers, no game.
#
# The green diamonds belong to networks ten times as wide and to many more steps on larger batches. They say where a method has been, not where our dots should lie.

# %% tags=["slide", "slide-output"]
kd.judge("11-game-beats-pixel-noise", runs)

# %% tags=["slide", "slide-output"]
kd.judge("11-smoothness-is-worth-most", runs)

# %% tags=["slide", "slide-output"]
kd.judge("11-records-help", runs)

# %%
kd.judge("11-game-beats-smooth-noise", runs)

# %%
fewer = runs[runs.seed.isin(few_seeds)]  # arms that have no more than these
kd.judge("11-dfad-ahead-of-dafl", fewer)

# %%
kd.judge("11-strokes-near-real-images", runs)

# %%
kd.judge("11-unrelated-beats-pixel-noise", runs)

# %% [markdown]
# The published rows of noise are noise of independent pixels. A generator of convolutions is then compared with an opponent that lacks its smoothness, and the difference is easily put down to the search. Ask for the missing rows: smooth noise with the same two numbers, and the generator left idle. (In residual networks on colour images noise of any kind may do far worse; this lesson has not tried it.)
#
# If a card is undecided, look in the figure for the arm whose dots lie far apart. What a generator draws before it has learned anything is an accident of the weights it was born with: a lucky one may draw spots, an unlucky one something like independent pixels. A search that starts from any of them and ends in nearly the same place would be worth something that a difference of means hides in its interval. And "other people's images" is
# not one thing either: the postal digits of the published row are digits, clothes are not.
#
# What the cards do not say. They belong to fully connected networks and small images; the full profile below asks LeNet-5. All arms share one largest learning rate and one number of steps; an arm that would have gone on improving is judged where the others stop, and the published games took more steps on larger batches. A verdict on the game is here a verdict at *this* number of steps. What the arms do *not* share is our attention: `claims.toml` lists how many settings were tried for which. The validation images are
# real and labelled: with the *real* problem of this lesson you would not have them, and every number here, like every number in the papers, is tuned a little better than you could do without data. And MNIST is kind: its pictures are strokes on black, so that curves drawn at random are half-way to a digit. Nobody knows how to draw a random tumour.
#
# ## The same on clothes
#
# So take a data set that nobody would draw with a pen. Fashion-MNIST, its own teacher, its own two numbers, the same settings without further tuning; the unrelated images are now the digits. If smoothness was the secret of digits alone, it fails here.

# %%
worn_teachers = kd.sweep(answers_of_teacher, seeds=few_seeds, part="test", **clothes).assign(arm="teacher")
fashion = pd.concat([arms_of(worn), worn_duels.assign(arm="dfad"), worn_teachers], ignore_index=True)
fashion["errors"] = [10_000 * (~right).mean() for right in fashion.correct]
means = {name: frame.groupby("arm").errors.mean() for name, frame in (("mnist", fewer), ("fashion", fashion))}
arms = ["teacher", "real", "strokes", "smooth", "unrelated", "normal", "dfad"]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.3), sharey=True)
for axis, (name, frame) in zip(axes, (("MNIST", fewer), ("Fashion-MNIST", fashion))):
    for place, arm in enumerate(arms):
        values = frame[frame.arm == arm].errors.to_numpy(float)
        colour = kd.plots.COLOURS[{"teacher": "teacher", "real": "hard"}.get(arm, "soft")]
        axis.scatter(values, np.full(len(values), place), s=16, color=colour, alpha=0.5, linewidths=0)
        axis.errorbar(values.mean(), place + 0.2, xerr=kd.plots.half_width(values), fmt="o", markersize=5, capsize=3, color=colour)
        axis.annotate(f"{values.mean():,.0f}", (1.02, place), xycoords=("axes fraction", "data"), fontsize=9, va="center", color=colour, fontweight="bold")
    axis.set(xlabel="test errors among 10,000, logarithmic", title=name, ylim=(len(arms) - 0.4, -0.6))
    count_axis(axis, frame[frame.arm.isin(arms)].errors.min())
axes[0].set_yticks(range(len(arms)), [labels[arm].split(",")[0] for arm in arms])
order = {name: min(["strokes", "smooth", "unrelated", "normal"], key=lambda arm: mean[arm]) for name, mean in means.items()}
best = [labels[order[name]] for name in ("mnist", "fashion")]
for_which = f"{best[0]}, for digits and for clothes" if best[0] == best[1] else f"{best[0]} for digits, {best[1]} for clothes"
figure.suptitle(f"The best free images: {for_which}", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Two panels, digits and clothes: test errors on a logarithmic axis for the teacher and for students of real images, strokes, smooth noise, unrelated images, normal noise and the game; a dot a run, below it the mean with its interval. "
    + "; ".join(f"{name}: " + ", ".join(f"{arm} {mean[arm]:.0f}" for arm in arms) for name, mean in means.items()) + ".",
)  # fmt: skip
kd.judge("11-smooth-noise-on-clothes", fashion)

# %% [markdown]
# Compare the distance between teacher and student in the two panels, not the errors themselves: the teacher of clothes makes more errors of its own. And look at the strokes, which are no clothes: where they are ahead here as well, likeness to a digit is not all that makes them useful.
#
# ## The best of many moments
#
# Both generator papers evaluate on the test set after every epoch and report the best. Whoever has no data has no test set either, cannot find the best moment, and must take the last. Our game's runs look at the test set on the way, for the record only; what would the published protocol have reported?

# %%
watched = played[played.arm == "dfad"]
curves = {run["seed"]: np.array(run["watched"]) for run in watched.to_dict("records")}
moments = pd.DataFrame(
    [
        {"arm": arm, "seed": seed, "test_errors": float(value), "init": init}
        for (seed, curve), init in zip(curves.items(), watched.init)
        for arm, value in (("best", curve[:, 1].min()), ("last", curve[-1, 1]))
    ]
)
flattery = moments.pivot(index="seed", columns="arm", values="test_errors").pipe(lambda frame: frame["last"] - frame["best"])
figure, axis = plt.subplots(figsize=(7, 3.4))
for curve in curves.values():
    axis.plot(curve[:, 0], curve[:, 1], color=kd.plots.COLOURS["soft"], linewidth=1.2, alpha=0.7)
    best = curve[curve[:, 1].argmin()]
    axis.plot(*best, "o", markersize=8, markerfacecolor="none", markeredgecolor="black", markeredgewidth=1.4)
    axis.plot(*curve[-1], "o", markersize=5, color=kd.plots.COLOURS["soft"])
axis.set(xlabel="iterations of the generator", ylabel="test errors of its student", yscale="log")
axis.yaxis.set_major_formatter("{x:,.0f}")
axis.yaxis.set_minor_formatter("{x:,.0f}")
axis.tick_params(axis="y", which="both", labelsize=9)
axis.set_title(f"The best of {len(next(iter(curves.values())))} moments (rings) has {flattery.mean():.0f} errors fewer than the last")
kd.plots.show(
    figure,
    "Test errors of the game's student against the iterations, logarithmic, one line a seed. A ring marks the moment with the fewest test errors, a dot the last one. "
    f"On average the ring lies {flattery.mean():.0f} errors below the dot.",
)
kd.judge("11-best-moment-is-not-the-last", moments)

# %% [markdown]
# Two things can be in such a difference: luck, because the smallest of many noisy numbers is small, and *early stopping with the answers in hand*, where a curve goes up again. Our learning rates fall to nothing at the end, which leaves less to choose than the constant rate of the published programs. Look also at the right end of the curves: whether they are still falling there tells whether the game was over.
#
# ## What a record gives away
#
# "We do not share images, only means of activations." A mean of what? If the record of a class is a mean over thousands of people, its picture is a blur, everybody's and nobody's. But classes are not always large: a rare disease, one user's keyboard, the one
# patient in a small hospital. So record the mean activations of $n$ images of each digit, and reconstruct *one* image for each class whose activations come close to them.


# %% tags=["slide:leak", "slide-output"]
def leak(n, seed, groups, steps, smooth, **scale):
    """One image for each group of n training images of a class, found from the layers' mean activations; how much it looks like (correlation of pixels) one of those n and a stranger of the class."""
    teacher = teacher_network(seed, **scale)
    train, _ = kd.datafree.pictures_of(scale["dataset"], scale["size"])
    order = torch.randperm(len(train), generator=kd.models.stream(seed, "members"))
    members, strangers = [], []
    for group in range(groups):
        own = order[train.labels[order] == group % 10][group // 10 * 101 :]  # no two groups share an image
        members.append(own[:n])
        strangers.append(own[100])
    chosen = train.images[torch.cat(members)]
    _, values = kd.features.activations(teacher, chosen, LAYERS)
    means = [v.flatten(1).view(groups, n, -1).mean(dim=1).to(kd.lesson.device()) for v in values]
    units = [v.flatten(1).std(dim=0).mean().item() for v in values]

    def objective(images, index):
        _, found = kd.features.tap(teacher, images, LAYERS)
        misfit = sum(((v.flatten(1) - mean[index]) / unit).pow(2).mean() for v, mean, unit in zip(found, means, units))
        return misfit + smooth * kd.datafree.total_variation(images)

    start = torch.full((groups, 1, scale["size"], scale["size"]), 0.5)
    images = kd.datafree.optimise_images(start, objective, steps, learning_rate=0.2)
    real = kd.data.to_float(train.images)

    def likeness(others):
        pairs = zip(images.flatten(1), real[others].flatten(1))
        return float(np.mean([torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in pairs]))

    firsts = torch.stack([own[0] for own in members])
    found = {"own": likeness(firsts), "stranger": likeness(torch.stack(strangers))}
    return found | {"images": images[:10], "members": real[firsts[:10]]}


leaking = dict(groups=lesson.pick(smoke=10, quick=50, full=50), steps=lesson.pick(smoke=5, quick=150, full=150), smooth=0.1)
sizes = [1, 10, 100]
leaks = kd.sweep(leak, seeds=few_seeds, n=sizes, **leaking, **scale)
likeness = pd.DataFrame(
    [{"arm": f"{whose}_{run['n']}", "seed": run["seed"], "likeness": run[whose]} for run in leaks.to_dict("records") for whose in ("own", "stranger")]
)
pictures = {n: kd.run(leak, n=n, seed=first_seed, **leaking, **scale) for n in sizes}
mean_likeness = likeness.groupby("arm").likeness.mean()

figure, axes = plt.subplots(4, 10, figsize=(8, 3.7))
named = [("one member", pictures[1]["members"]), *((f"from the mean\nof {n}", pictures[n]["images"]) for n in sizes)]
for row, (name, images) in zip(axes, named):
    for axis, image in zip(row, images):
        axis.imshow((15 * image[0]).round(), vmin=0, vmax=15)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
title = f"Likeness to a member and to a stranger: mean of 1 image {mean_likeness.own_1:.2f} and {mean_likeness.stranger_1:.2f}, of 100 {mean_likeness.own_100:.2f} and {mean_likeness.stranger_100:.2f}"
figure.suptitle(title, fontsize=10, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Ten digits: in the first row a training image, below it what is found from the mean activations of that image alone, of ten images of the class that include it, and of a hundred. "
    + "; ".join(f"n = {n}: likeness to the member {mean_likeness[f'own_{n}']:.2f}, to a stranger of the class {mean_likeness[f'stranger_{n}']:.2f}" for n in sizes)
    + ".",
)
kd.judge("11-mean-of-one-leaks", likeness)

# %% [markdown]
# Compare each column from top to bottom, and the two likenesses for each $n$: the difference is what the record says about *this* image beyond its class. That the record is a mean protects somebody only if the mean is over many, and exercise 3 shows a way around even that. Nor is the teacher itself a safe thing to hand out: that a network's weights remember
# single training images is another literature, and none of the methods above checks what the teacher gives away about one person.
#
# ## The papers' scale: the full profile
#
# LeNet-5 without batch norm at 28 × 28 pixels, a student of half its widths, DFAD's game with batches of 256, three seeds, judged after the last step; the same game in company, where half of each batch of the student are strokes; and next to them free images for as many steps. Then random strokes alone, with no generator at all, four times as many for four times the steps: images that cost nothing can be had in any number. On Fashion-MNIST the game again, beside its teacher. These runs take more than an hour of one core, so they belong to the `full` profile; the cell
# shows its recorded result, or says that there is none yet. Two things differ from the small networks above: convolutions know themselves which pixels are neighbours, and there are four times as many pixels to be wrong about.

# %%
LENET = dict(kind="lenet", size=28, teacher_epochs=8, teacher_rate=5e-3, teacher_count=None)
LARGE = dict(iterations=800, student_steps=5, batch_size=256, learning_rate=5e-3, width=16, watch_every=50, part="test")
FREE = dict(sources="normal smooth strokes real", count=32_000, epochs=16, batch_size=128, learning_rate=5e-3, making={}, part="test")
LONG = FREE | dict(sources="strokes", count=128_000)
GENERATORS["game"] = dict(weights=dict(adversary=1.0), rate=3e-3)
GENERATORS["accompanied"] = GENERATORS["game"] | dict(company="strokes")
if profile == "full":
    three = seeds[:3]
    digits = [arms_of(kd.sweep(students, seeds=three, dataset="mnist", **FREE, **LENET)), duels_of(["game", "accompanied"], three, LARGE, LENET | dict(dataset="mnist"))]
    digits.append(arms_of(kd.sweep(students, seeds=three, dataset="mnist", **LONG, **LENET)).assign(arm="long_strokes"))
    dressed = [duels_of(["game"], three, LARGE, LENET | dict(dataset="fashion_mnist"))]
    for frames, dataset in ((digits, "mnist"), (dressed, "fashion_mnist")):
        frames.append(kd.sweep(answers_of_teacher, seeds=three, part="test", dataset=dataset, **LENET).assign(arm="teacher"))
    digits, dressed = pd.concat(digits, ignore_index=True), pd.concat(dressed, ignore_index=True)
    both = pd.concat([digits.assign(dataset="MNIST"), dressed.assign(dataset="Fashion-MNIST")])
    both["accuracy"] = [100 * right.mean() for right in both.correct]
    print(both.pivot(index=["dataset", "arm"], columns="seed", values="accuracy").round(2).to_string())
    display(kd.judge("11-full-lenet-game", digits), kd.judge("11-full-lenet-accompanied", digits), kd.judge("11-full-lenet-stretch", digits))
    display(kd.judge("11-full-strokes", digits), kd.judge("11-full-strokes-stretch", digits))
    display(kd.judge("11-full-game-beats-free", digits), kd.judge("11-full-clothes", dressed))
else:
    display(kd.claims.recorded("11", "full"))

# %% [markdown]
# In the recorded table, the rows that begin with *Full profile only* are LeNet-5's; the others repeat the small networks, whose settings are the same in both profiles. Compare the game with the published number, and with smooth noise. It is not their game in everything: it takes fewer steps on smaller batches, and the last step instead of the best. Then look at the width of the intervals: a game may end well with one seed and badly with another, and three seeds then leave much open. A goal that was missed stays in the table.
#
# The two rows on strokes *alone* were added when the game had missed its goal: in its first record strokes had come out ahead of it, on the test images, so the decision to go on with them was made with the test set in sight. How many and how long was chosen on validation images. Read the two rows as what a few lines of code can be worth for digits, not as a fair race against a generator that was never told what digits are made of.
#
# ## What goes wrong in practice
#
# **The teacher is left in training mode.** You freeze its weights (`requires_grad_(False)`), you run everything under `no_grad`, and you think that nothing can happen to it. But a batch-norm layer in training mode updates its record with every batch it sees. Show it noise, and it forgets what digits are like, without a single gradient.

# %% tags=["slide:wrong", "slide-output"]
for mode in ("train", "eval"):
    careless = teacher_network(first_seed, norm=True, **scale).train(mode == "train")
    before = int((~kd.correct(careless, validation)).sum())
    with torch.no_grad():
        for batch in free_images("uniform", first_seed, scale["dataset"], scale["size"], 4000).split(100):
            careless(batch.to(kd.lesson.device()))
    print(f"{mode:5s} mode: {before:5,d} validation errors before 40 batches of noise, {int((~kd.correct(careless, validation)).sum()):5,d} after")

# %% [markdown]
# (Errors are counted in evaluation mode, as always: `kd.correct` switches and switches back.) `eval()` belongs to every frozen network, also where "no gradients" sounds like enough.
#
# **The student's agreement is taken for success.** Without data you can still measure one thing: how well the student imitates its teacher *on the inputs you made*. It is not the thing you want. The cell trains two students, on normal and on smooth noise, and measures the distance from the teacher on new noise of each kind, on strokes and on digits.


# %%
def distances(source):
    """A student of this noise: how far its logits are from the teacher's on new noise of two kinds, on strokes, on digits; and its validation errors."""
    images = free_images(source, first_seed, scale["dataset"], scale["size"], count)
    split = kd.Split(images, torch.zeros(len(images), dtype=torch.int64))
    model = kd.datafree.network(scale["kind"], True, scale["size"], seed=first_seed)
    kd.fit(model, split, absolute_each(1), targets=teacher, epochs=max(1, epochs // 4), batch_size=batch_size, learning_rate=learning_rate, seed=first_seed)
    looks = [free_images(kind, first_seed + 1, scale["dataset"], scale["size"], 1000) for kind in ("normal", "smooth", "strokes")] + [validation.images[:1000]]
    apart = [(kd.predict_logits(model, x) - kd.predict_logits(teacher, x)).abs().mean().item() for x in looks]
    return apart, int((~kd.correct(model, validation)).sum())


for source in ("normal", "smooth"):
    (normal, smooth, strokes, digits), wrong = distances(source)
    print(f"student of {source} noise, off by (mean over logits): normal noise {normal:.2f} · smooth noise {smooth:.2f} · strokes {strokes:.2f} · digits {digits:.2f} · {wrong:5,d} validation errors")

# %% [markdown]
# Read the first line from left to right, then compare the two lines in the column of their own noise and in the column of the digits: does the better imitator on its own inputs make fewer errors? The repair needs no data either: measure on inputs from *another* source than the one you trained on, strokes for a student of noise, noise for a student of strokes.
#
# ## Exercises
#
# ### 1 · A generator of ones
#
# A colleague's generator makes a thousand different ones and nothing else. Their balance term is the mean over the batch of each answer's entropy. Write the right one: what the generator *minimises*, from the teacher's logits for a batch.


# %% tags=["exercise"]
def balance(logits):
    """[N, K] logits of the teacher for N made-up images → a number, smallest when the batch as a whole uses all classes alike."""
    mean_answer = ...
    return ...


# %% tags=["solution"]
def balance(logits):
    """[N, K] logits of the teacher for N made-up images → a number, smallest when the batch as a whole uses all classes alike."""
    mean_answer = F.softmax(logits, dim=1).mean(dim=0)
    return (mean_answer * mean_answer.log()).sum()


# %%
kd.checks.lesson11.balance(balance);

# %% [markdown]
# When it is right, ask what the colleague's version did: every single image may be as doubtful or as clear as it likes, and still all of them can be ones.
#
# ### 2 · Read the record
#
# A batch-norm layer has recorded `mean` and `variance` of its channels. A batch of activations arrives. How far is it from the record, as in the formula above? Mind what is averaged over, and by which number batch norm divides.


# %% tags=["exercise"]
def distance_from_record(values, mean, variance):
    """[N, C, H, W] activations and the record [C], [C] → ‖μ − μ̂‖ + ‖σ² − σ̂²‖, a number."""
    own_mean = ...
    own_variance = ...
    return (own_mean - mean).norm() + (own_variance - variance).norm()


# %% tags=["solution"]
def distance_from_record(values, mean, variance):
    """[N, C, H, W] activations and the record [C], [C] → ‖μ − μ̂‖ + ‖σ² − σ̂²‖, a number."""
    own_mean = values.mean(dim=(0, 2, 3))
    own_variance = values.var(dim=(0, 2, 3), unbiased=False)
    return (own_mean - mean).norm() + (own_variance - variance).norm()


# %%
kd.checks.lesson11.norm_distance(distance_from_record);

# %% [markdown]
# ### 3 · The one who left
#
# The hospital publishes the mean activations of its `n` patients with a rare disease. One of them withdraws consent. A month later the hospital publishes the mean of the others, over `n - 1`, as the law demands. You kept the old file. Write down the activations of the one who left.


# %% tags=["exercise"]
def the_one_who_left(mean_before, mean_after, n):
    """Mean activations [D] of n patients, and of the n - 1 who stayed → the activations [D] of the one who left."""
    return ...


# %% tags=["solution"]
def the_one_who_left(mean_before, mean_after, n):
    """Mean activations [D] of n patients, and of the n - 1 who stayed → the activations [D] of the one who left."""
    return n * mean_before - (n - 1) * mean_after


# %%
kd.checks.lesson11.forgotten_one(the_one_who_left);

# %% [markdown]
# And the picture of the ten digits above, row *from the mean of 1*, shows how much of an image can be made of them. "Only aggregates" is no protection when there are two of them. (Differential privacy is an answer to this subtraction: noise in every published mean.)
#
# ## Takeaways
#
# - Distillation needs inputs, not labels, and any input gets an answer. How much the answers vary over your inputs is the first thing to look at: it needs no data.
# - Before you build a generator, try what is free: noise with the right moments *and* neighbours that are alike, other people's images, a few lines of code that draw what you know about the domain. The cards above say what each was worth here.
# - A baseline has to have what the method has apart from its idea: smooth noise and an idle generator are the baselines of a generator of convolutions.
# - A network with batch norm carries a record of its training data in the weights file. A record made on purpose is another file that everybody can read: ask what it adds, in errors saved and in bytes, before you hand it out.
# - The fewer a mean is over, the more it can say about each of them; two means that differ by one person give away that person's own numbers.
# - The best epoch on the test set is a number that nobody without data can have. Ask for the last step, several seeds, and the spread.
# - `eval()` the teacher. Agreement on made-up inputs is agreement on made-up inputs: measure it on another source than the one you trained on.
#
# **Further reading.** Lopes, Fenu & Starner, *Data-Free Knowledge Distillation for Deep Neural Networks*, 2017 (records of activations) · Chen et al., *Data-Free Learning of Student Networks*, 2019 (DAFL; Table 1 has all rows of ours) · Fang et al., *Data-Free Adversarial Distillation*, 2019 (DFAD) · Yin et al., *Dreaming to Distill*, 2020 (DeepInversion, section 3) ·
# Micaelli & Storkey, *Zero-shot Knowledge Transfer via Adversarial Belief Matching*, 2019 · Nayak et al., *Zero-Shot Knowledge Distillation in Deep Networks*, 2019 (impressions, with targets drawn from a Dirichlet distribution) · Fang et al., *Up to 100× Faster Data-Free Knowledge Distillation*, 2022 (a generator that starts from what earlier ones learned).
