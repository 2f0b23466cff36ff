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
# # 01 · Soft targets and dark knowledge
#
# **After this lesson you can say what a teacher knows that the labels do not, turn it into a loss, and show with controls which part of it
# helps a student.**
#
# 35 minutes · needs [lesson 00](00_start_here.ipynb) and a first course in neural networks · data: MNIST
#
# Some handwritten 9s could nearly be a 4, others nearly a 7. Whoever labelled them had to write a 9 and could not say so. A trained network can: it gives every class a
# probability, and on such an image the second choice is no accident. The differences between those small probabilities are called **dark knowledge**. Hinton, Vinyals
# and Dean (2015) reported that a student who is shown them makes 74 errors on the MNIST test set, where the same network makes 146 from labels. This lesson asks
# how much of that we see ourselves, and what exactly the student has learned from.

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

import kdcourse as kd

kd.plots.style()
lesson = kd.start("01", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson: who said it, their number, and what would count. They and their thresholds were written down before the
# runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("01")

# %% [markdown]
# ## What the teacher sees
#
# Some terms first. The **teacher** is a network that is good at the task. The **student** is the network we want in the end. The **transfer
# set** is the set of images on which the student learns from the teacher. **Hard labels** are the classes that people wrote down; **soft targets**
# are the teacher's probabilities for all classes.
#
# Our teacher is a small convolutional network, trained on 50,000 images that are moved by up to two pixels in each direction, as in the paper. It comes with
# the course, so you need not wait for its training; `first_seed` above makes new ones. The students of this lesson are two fully
# connected layers of 800 units, as in the paper. They have more than forty times the teacher's parameters. A teacher is not the bigger network, it is the
# one that knows better.

# %%
scale = dict(
    count=lesson.pick(smoke=600, quick=10_000, full=50_000),  # images in the transfer set
    teacher_epochs=lesson.pick(smoke=1, quick=8, full=20),
    teacher_count=lesson.pick(smoke=600, quick=None, full=None),  # images the teacher is trained on; None: all 50,000
)
mnist = kd.load("mnist")
train, validation = kd.hold_out(mnist.train)  # the last 10,000 training images, kept for every choice made on the way
transfer = train[: scale["count"]]


def teacher(seed, count, teacher_epochs, teacher_count, part="test"):
    """A trained teacher's logits for the transfer set, and who of the judged images it classifies correctly."""
    settings = dict(dataset="mnist", epochs=teacher_epochs, seed=seed, count=count, teacher_count=teacher_count, part=part)
    return kd.run(kd.teachers.answers, **settings)


logits = teacher(seed=first_seed, **scale)["logits"]  # [count, 10]
probabilities = F.softmax(logits / 4, dim=1)  # softened: the next section says why 4 and not 1
nines = (transfer.labels == 9) & (logits.argmax(dim=1) == 9)
doubt = {other: torch.where(nines, probabilities[:, other], -1.0).argmax().item() for other in (4, 7, 3, 5)}

# %% tags=["slide:nines", "slide-output"]
figure, axes = plt.subplots(2, 4, figsize=(7, 3.9), height_ratios=[1.3, 1])
for column, (other, index) in enumerate(doubt.items()):
    axes[0, column].imshow(transfer.images[index, 0], vmin=0)
    axes[0, column].axis("off")
    axes[0, column].set_title(f"label 9, a little like {other}", fontsize=9, fontweight="normal", loc="center")
    bars = axes[1, column].bar(range(10), probabilities[index], color="#9fb8c8")
    bars[9].set_color(kd.plots.COLOURS["hard"])
    bars[other].set_color(kd.plots.COLOURS["soft"])
    axes[1, column].set(xticks=range(10), yticks=[0, 0.5, 1] if column == 0 else [], ylim=(0, 1))
axes[1, 0].set_ylabel("probability, T = 4")
figure.suptitle("Four 9s. The labels are the same, the teacher's answers are not", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Four handwritten nines, each above a bar chart of the teacher's probabilities for the ten classes at temperature 4. Class 9 is "
    "the orange bar; the blue bars are the classes 4, 7, 3 and 5, which the images resemble a little.",
)

# %% [markdown]
# Read the bars under each image: orange is the 9, blue is the class we searched for; of all 9s, this one has most of it. Nobody
# wrote these second choices down. The teacher learned them from labels alone, because images that look alike end up close to each other inside it.
#
# Averaged over all images of a class, the second choices become a map of which digits look alike.

# %% tags=["slide:map", "slide-output"]
similarity = F.one_hot(transfer.labels, 10).float().T @ probabilities  # sums by label, [10, 10]: rows label, columns the teacher's answer
similarity = similarity / similarity.sum(dim=1, keepdim=True)
off_diagonal = similarity.clone().fill_diagonal_(float("nan")).numpy()
closest = [f"{c}→{np.nanargmax(off_diagonal[c])}" for c in range(10)]

figure, axis = plt.subplots(figsize=(5.2, 4.2))
image = axis.imshow(1000 * off_diagonal, cmap="Blues")
axis.set(xticks=range(10), yticks=range(10), xlabel="class the teacher also considers", ylabel="label")
axis.set_title("Which digits look alike, read off the teacher")
for row in range(10):
    column = int(np.nanargmax(off_diagonal[row]))
    axis.text(column, row, f"{1000 * off_diagonal[row, column]:.0f}", ha="center", va="center", fontsize=9, color="white" if
              off_diagonal[row, column] > 0.6 * np.nanmax(off_diagonal) else "black")  # fmt: skip
figure.colorbar(image, label="mean probability × 1000, T = 4")
kd.plots.show(
    figure,
    "A ten by ten heat map: for each label, the teacher's mean probability for each other class, times 1000. The largest entry of each row is "
    f"written in its cell. Nearest neighbours: {', '.join(closest)}.",
)

# %% [markdown]
# Is that more than **label smoothing**, which takes a fixed share from the label and spreads it evenly over all classes, the label's own included? Smoothing gives every
# image the same second choices: none. The teacher's targets differ in two ways. Some images get more doubt than others, and the doubt points
# somewhere. Later we take these two apart.

# %%
others = probabilities.clone().scatter_(1, logits.argmax(dim=1, keepdim=True), 0.0)
total_doubt, second = others.sum(dim=1), others.max(dim=1).values
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
left.hist(total_doubt, bins=45, range=(0, 0.9), color=kd.plots.COLOURS["soft"])
left.axvline(0.09, color=kd.plots.COLOURS["control"], linewidth=2)
left.set(xlabel="probability not on the first choice, T = 4", ylabel="images", yscale="log", title="How much doubt")
right.hist(second / total_doubt, bins=40, range=(0, 1), color=kd.plots.COLOURS["soft"])
right.axvline(1 / 9, color=kd.plots.COLOURS["control"], linewidth=2)
right.set(xlabel="share of that on the second choice", yscale="log", title="How strongly it points")
for axis in (left, right):
    axis.set_ylim(top=axis.get_ylim()[1] * 12)  # room for the words
left.annotate("label smoothing 0.1:\nthe same for all", (0.09, 1), xycoords=("data", "axes fraction"), xytext=(8, -26), textcoords="offset points",
              fontsize=9, color="#75604f")  # fmt: skip
right.annotate("smoothing: 1 in 9", (1 / 9, 1), xycoords=("data", "axes fraction"), xytext=(8, -14), textcoords="offset points", fontsize=9, color="#75604f")
kd.plots.show(
    figure,
    "Two histograms over the images of the transfer set. Left: how much probability the teacher leaves to classes other than its first choice. "
    "Right: which share of that the second choice takes. Label smoothing would be one vertical line in each, at 0.09 and at one ninth.",
)

# %% [markdown] tags=["slide:loss"]
# ## From the picture to a loss
#
# A trained teacher is sure of itself. For most images it gives the first choice nearly all the probability, and a student who copies it sees nearly
# nothing of the second choices. So we soften. Divide the **logits** $z$ (the numbers before the softmax, one for each of $K$ classes) by a
# **temperature** $T$:
#
# $$ q_k = \frac{\exp(z_k/T)}{\sum_j \exp(z_j/T)} $$
#
# Two limits frame it. As $T$ goes to 0, all probability goes to the largest logit, and we are back at a label. As $T$ grows, all classes approach $1/K$, and what tells them apart
# shrinks like $1/T$. Where between the two a student learns best is the question of [lesson 03](03_temperature.ipynb).
#
# The student with logits $z$ learns to be like the teacher with logits $v$, both at $T$. Write $q$ for the student's softened probabilities and $p$ for the teacher's, the same softmax of $v$; both are $[N, K]$
# for a batch of $N$ images. The loss is the Kullback-Leibler divergence KL(teacher‖student), summed over classes and averaged over the batch,
#
# $$ L_\text{soft} = T^2 \cdot \frac1N \sum_{n=1}^{N} \sum_{k=1}^{K} p_{nk} \log\frac{p_{nk}}{q_{nk}} $$
#
# and, if we like, we mix in $L_\text{hard}$, the ordinary cross-entropy with the labels at $T = 1$: $L = \alpha L_\text{soft} + (1-\alpha) L_\text{hard}$, where $\alpha$ is the weight of the soft part. Why $T^2$? The gradient of the divergence
# with respect to a logit is $(q_k - p_k)/T$, and the difference of two softened probabilities is itself about $T$ times smaller when $T$ is high. Without the factor, a higher temperature would
# quietly switch the soft part off.


# %% tags=["slide:code"]
def soft_target_loss(student_logits, teacher_logits, temperature):
    student_log_q = F.log_softmax(student_logits / temperature, dim=1)
    teacher_log_p = F.log_softmax(teacher_logits / temperature, dim=1)
    divergence = (teacher_log_p.exp() * (teacher_log_p - student_log_q)).sum(dim=1)  # one number an image
    return temperature**2 * divergence.mean()


def distillation_loss(student_logits, teacher_logits, labels, temperature, alpha):
    soft = soft_target_loss(student_logits, teacher_logits, temperature)
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


generator = torch.Generator().manual_seed(0)
some_student, some_teacher = torch.randn(2, 32, 10, generator=generator).unbind()
some_labels = torch.randint(0, 10, (32,), generator=generator)
for temperature in (1.0, 4.0, 20.0):
    assert torch.allclose(soft_target_loss(some_student, some_teacher, temperature), kd.losses.soft_target_loss(some_student, some_teacher, temperature))
    ours = distillation_loss(some_student, some_teacher, some_labels, temperature, 0.7)
    assert torch.allclose(ours, kd.losses.distillation_loss(some_student, some_teacher, some_labels, temperature, 0.7))

# %% [markdown]
# Both agree with the package, which we use from here on. Now once by hand, with three classes and round numbers, so that you can follow it on paper.

# %% tags=["nbval-check-output"]
student_logits, teacher_logits, label = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[6.0, 2.0, -2.0]]), torch.tensor([0])
T, alpha = 4.0, 0.5
p, q = F.softmax(teacher_logits / T, dim=1), F.softmax(student_logits / T, dim=1)
soft = T**2 * (p * (p / q).log()).sum()
hard = -F.log_softmax(student_logits, dim=1)[0, 0]
print("teacher at T = 1:", [f"{x:.3f}" for x in F.softmax(teacher_logits, dim=1)[0].tolist()])
print("teacher at T = 4:", [f"{x:.3f}" for x in p[0].tolist()])
print("student at T = 4:", [f"{x:.3f}" for x in q[0].tolist()])
print(f"soft part, with T²: {soft:.3f} · hard part: {hard:.3f} · {alpha} × soft + {1 - alpha} × hard = {alpha * soft + (1 - alpha) * hard:.3f}")

# %% [markdown] tags=["slide:arms"]
# ## The experiment
#
# What would have to be true? If soft targets carry knowledge, a student who sees them makes fewer errors than one who sees labels. If it is the *second choices of this very image*
# that carry it, then students whose targets were tampered with lose a good part of the gain (how much at least stands in the claims above):
#
# | arm | its targets | what is kept | what is gone |
# |---|---|---|---|
# | `hard` | the labels | the class | everything else |
# | `soft` | the teacher's, at T = 20 | everything | nothing |
# | `shuffled` | the teacher's, of *another* image of the same label | what a 9 is like in general | what this image is like |
# | `permuted` | the teacher's, other classes permuted within the image | first choice, the size of every probability | where the doubt points |
# | `smoothed` | label smoothing with the entropy of the teacher's answer at T = 20, image by image | first choice, entropy at T = 20 | where the doubt points |
# | `untrained` | those of a teacher with random weights | ten numbers an image | all knowledge |
# | `weak` | those of a teacher no better than the student | the form of soft targets | a better teacher |
#
# The last one matters in practice. Its teacher is the student's twin: same network, same images, trained on labels from other initial weights. If
# the softness itself were the benefit, the twin's targets would help as well.
#
# All arms of a seed start from the same weights and see the same batches in the same order. They differ in their targets (labels come with their own loss, cross-entropy at T = 1) and in nothing else. Everything that could be
# chosen (learning rate, epochs, temperature) was chosen on the validation images by pilot seeds that are not used here, with the same number of tries for each arm: three learning rates, two seeds each. One rate is used for all, as none
# was better for one arm by more than pilot seeds differ among themselves.


# %%
def twin(seed, count, epochs, learning_rate):
    """The weak teacher: the student's own architecture, trained on labels, from other initial weights."""
    train, _ = kd.hold_out(kd.load("mnist").train)
    model = kd.models.mlp(784, 800, 800, 10, seed=seed + 1_000_000)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed + 1_000_000)
    kd.fit(model, train[:count], kd.losses.hard_labels(), **settings)
    return {"logits": kd.predict_logits(model, train.images[:count]), "correct": kd.correct(model, kd.load("mnist").test)}


def targets_of(arm, seed, labels, temperature, epochs, learning_rate, scale):
    """The teacher's logits that an arm learns from, [count, 10]; None for labels."""
    if arm == "hard":
        return None
    if arm == "weak":
        return kd.run(twin, seed=seed, count=len(labels), epochs=epochs, learning_rate=learning_rate)["logits"]
    if arm == "untrained":
        return kd.predict_logits(kd.models.cnn(16, 32, 64, seed=seed), kd.load("mnist").train.images[: len(labels)])
    logits = teacher(seed=seed, **scale)["logits"]
    if arm == "shuffled":
        return kd.controls.shuffle_within_class(logits, labels, seed)
    if arm == "permuted":
        return kd.controls.permute_non_targets(logits, seed)
    if arm == "smoothed":
        return kd.controls.smooth_to_same_entropy(logits, temperature)
    return {"soft": logits}[arm]


def student(arm, seed, epochs, learning_rate, temperature, count, teacher_epochs, teacher_count, part="test"):
    """A 784-800-800-10 student of one arm; returns what it says of the judged images and how it got there."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    transfer, judged = train[:count], {"test": mnist.test, "validation": validation}[part]
    scale = dict(count=count, teacher_epochs=teacher_epochs, teacher_count=teacher_count, part=part)
    targets = targets_of(arm, seed, transfer.labels, temperature, epochs, learning_rate, scale)
    loss = kd.losses.hard_labels() if targets is None else kd.losses.soft_targets(temperature)
    model = kd.models.mlp(784, 800, 800, 10, seed=seed)
    watch = validation[:2000] if arm in ("hard", "soft") else None
    every = max(1, count * epochs // 128 // 20)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed, watch=watch, watch_every=every)
    record = kd.fit(model, transfer, loss, targets=targets, **settings)
    predicted = kd.predict_logits(model, judged.images).argmax(dim=1)
    return record | {"predicted": predicted.byte(), "correct": predicted == judged.labels}


arms = ["hard", "soft", "shuffled", "permuted", "smoothed", "untrained", "weak"]
seeds = lesson.seeds(smoke=1, quick=5, full=10)
training = dict(
    epochs=lesson.pick(smoke=1, quick=10, full=15),
    learning_rate=lesson.pick(smoke=8e-3, quick=8e-3, full=4e-3),
    temperature=20.0,
)
teachers = kd.sweep(teacher, seeds=seeds, **scale).assign(arm="teacher")
runs = kd.sweep(student, seeds=seeds, arm=arms, **training, **scale)

# %% tags=["main-figure", "slide:main", "slide-output"]
labels = {
    "hard": ("labels", "hard"),
    "soft": ("soft\ntargets", "soft"),
    "shuffled": ("shuffled\nin class", "control"),
    "permuted": ("second\nchoices\npermuted", "control"),
    "smoothed": ("smoothed\nas much", "control"),
    "weak": ("teacher's\na twin", "control"),
    "teacher": ("the\nteacher", "teacher"),
}
everyone = pd.concat([runs, teachers], ignore_index=True)
mean = everyone.groupby("arm").errors.mean()
best_control = mean[["shuffled", "permuted", "smoothed", "weak"]].min()
saved, saved_by_control = mean.hard - mean.soft, max(mean.hard - best_control, 0)
title = f"Soft targets save {saved:.0f} of {mean.hard:.0f} errors, the best control {saved_by_control:.0f}" if saved > 0 else "Soft targets save nothing"
published = {"hard": (146, "Hinton 2015"), "soft": (74, "Hinton 2015"), "teacher": (67, "Hinton 2015")}
figure = kd.plots.paired_arms(everyone, labels, published=published, label="errors among 10,000 test images", title=title)
figure.axes[0].set_xlabel(f"Off the chart: targets of an untrained teacher, {mean.untrained:,.0f} errors", fontsize=9)
kd.plots.show(
    figure,
    "Test errors of every run, one column for each kind of targets and one for the teachers. Thin lines join the runs of one seed. Beside each column the mean "
    "with its 95 percent interval over seeds. Diamonds: the paper's single runs, which had six times as many images. "
    + "; ".join(f"{arm}: mean {mean[arm]:.0f}" for arm in [*labels, "untrained"]),
)

# %% [markdown]
# Follow one thin line: it belongs to one seed, and all students on it started from the same weights and saw the same batches. From *labels* to *soft targets* it should fall; the question is how much of
# that fall each control repeats. The diamonds are the paper's numbers. Compare the order of the columns, not their heights or distances: in the quick profile our students see a sixth of the paper's images.

# %% tags=["slide", "slide-output"]
kd.judge("01-soft-beats-hard", runs)

# %% tags=["slide", "slide-output"]
kd.judge("01-beats-controls", runs)

# %% tags=["slide", "slide-output"]
own = [int((~kd.run(twin, seed=s, count=scale["count"], epochs=training["epochs"], learning_rate=training["learning_rate"])["correct"]).sum()) for s in seeds]
print(f"test errors of the twins that teach `weak`: {own}; of the students from labels: {runs[runs.arm == 'hard'].errors.tolist()}")
kd.judge("01-weak-teacher", runs)

# %% [markdown]
# What the verdicts do not say: this is one data set, one pair of architectures, and in the quick profile a transfer set of 10,000 images, where the teacher was trained on 50,000 (moved about as well). The teacher may therefore
# hand on what it learned from 40,000 images that its student never sees. [Lesson 02](02_unseen_classes.ipynb) begins to tell this from the worth of softness itself.
#
# Look at the control called `smoothed` once more. It knows for each image *how much* doubt there is, and nothing about where it points. If its column lies between labels and soft targets,
# then a part of the gain needs no direction: to know how much certainty each image deserves is enough for it. Label smoothing as people use it, the same for all images, does not even have that.
#
# ## Does it also learn faster?
#
# Two more sentences are often read: the student of soft targets needs *fewer steps*, because its gradients *vary less*. We look at both; for the gradients, at how they differ from batch to batch. Both cards are exploratory: intervals, no verdict.


# %%
def steps_to_reach(watched, errors):
    """The first watched step with at most this many validation errors; the last step when there is none."""
    return next((step for step, found in watched if found <= errors), watched[-1][0])


curves = runs[runs.arm.isin(["hard", "soft"])].copy()
goal = {row.seed: row.watched[-1][1] for row in curves[curves.arm == "hard"].itertuples()}  # where labels end
curves["steps_to_goal"] = [steps_to_reach(row.watched, goal[row.seed]) for row in curves.itertuples()]

figure, axis = plt.subplots(figsize=(7, 3.2))
for row in curves.itertuples():
    steps, errors = zip(*row.watched)
    axis.plot(steps, np.array(errors) / 20, color=kd.plots.COLOURS[row.arm], alpha=0.7, linewidth=1.2)
for arm, text in (("hard", "labels"), ("soft", "soft targets")):
    last = np.mean([row.watched[-1][1] for row in curves[curves.arm == arm].itertuples()]) / 20
    axis.annotate(text, (axis.get_xlim()[1], last), color=kd.plots.COLOURS[arm], fontweight="bold", va="center")
axis.set(xlabel="step", ylabel="errors in % of 2,000\nvalidation images", yscale="log")
axis.set_yticks([2, 3, 5, 10, 20, 30], ["2", "3", "5", "10", "20", "30"])
axis.minorticks_off()
steps = curves.groupby("arm").steps_to_goal.mean()
axis.set_title(f"The labels' final error is reached after {steps.soft:.0f} steps with soft targets, {steps.hard:.0f} with labels", fontsize=10)
kd.plots.show(figure, "Validation error against training step, one line a run, students of labels and of soft targets, logarithmic vertical axis.")
kd.judge("01-fewer-steps", curves)

# %% [markdown]
# Reaching somebody's end point earlier also follows from ending lower, so the card does not show that each *step* is worth more. And it is one schedule of one length.
#
# For the gradients, mind the denominator. The shared weights below come from one epoch on labels, so the mean gradient of the labels is already small there, and noise *relative to it* may be large for that reason alone. The card
# cannot tell this from calmer gradients; weights from soft targets, or fresh ones, would have to give the same order.


# %%
def gradient_noise(arm, seed, count, teacher_epochs, teacher_count, batches=48):
    """How much the gradient of one batch of 32 differs from the mean gradient, relative to that mean, at weights both arms share."""
    train, _ = kd.hold_out(kd.load("mnist").train)
    transfer = train[:count]
    logits = teacher(seed=seed, count=count, teacher_epochs=teacher_epochs, teacher_count=teacher_count)["logits"]
    model = kd.models.mlp(784, 800, 800, 10, seed=seed)
    record = kd.fit(model, transfer, kd.losses.hard_labels(), epochs=1, batch_size=128, learning_rate=1e-3, seed=seed, schedule="constant")
    batches = torch.randperm(count, generator=kd.models.stream(seed, "noise"))[: 32 * batches].split(32)
    gradients = []
    for index in batches:
        model.zero_grad()
        outputs = model(kd.data.to_float(transfer.images[index]))
        if arm == "soft":
            kd.losses.soft_target_loss(outputs, logits[index], 20.0).backward()
        else:
            F.cross_entropy(outputs, transfer.labels[index]).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    gradients = torch.stack(gradients)
    mean = gradients.mean(dim=0)
    return {"init": record["init"], "order": record["order"], "noise": ((gradients - mean).pow(2).sum(dim=1).mean() / mean.pow(2).sum()).sqrt().item()}


noise = kd.sweep(gradient_noise, seeds=seeds, arm=["hard", "soft"], **scale)
kd.judge("01-gradient-noise", noise)

# %% [markdown]
# ## What kind of student does it become?
#
# Two networks with the same number of errors need not make the same ones. How alike are student and teacher? Count on how many test images two networks disagree, for every pair of networks,
# and draw the networks so that the distances on paper come as close as possible to these counts (classical multidimensional scaling). It is a map of where students land, with and without guidance.

# %%
predictions = [*runs[runs.arm.isin(["hard", "soft"])].itertuples()]
said = {("teacher", s): teacher(seed=s, **scale)["judged_logits"].argmax(dim=1).numpy() for s in seeds}
said |= {(row.arm, row.seed): row.predicted.astype(int) for row in predictions}
names, table = list(said), np.stack(list(said.values()))
disagreement = (table[:, None] != table[None]).sum(axis=2)

centred = np.eye(len(names)) - 1 / len(names)
values, vectors = np.linalg.eigh(-0.5 * centred @ disagreement.astype(float) ** 2 @ centred)
place = vectors[:, -2:][:, ::-1] * np.sqrt(np.maximum(values[-2:][::-1], 0))
figure, axis = plt.subplots(figsize=(6, 4))
for role, marker, text in (("teacher", "s", "teachers"), ("soft", "o", "students of soft targets"), ("hard", "^", "students of labels")):
    rows = [k for k, (arm, _) in enumerate(names) if arm == role]
    axis.scatter(*place[rows].T, color=kd.plots.COLOURS[role], marker=marker, s=45)
    axis.annotate(text, (place[rows, 0].mean(), place[rows, 1].max()), xytext=(0, 10), textcoords="offset points", color=kd.plots.COLOURS[role], ha="center", fontweight="bold")
axis.margins(0.25)
corner = axis.get_xlim()[0], axis.get_ylim()[0]
axis.plot([corner[0], corner[0] + 100], [corner[1]] * 2, color="black", linewidth=2)
axis.annotate("100 test images with different answers", corner, xytext=(0, 5), textcoords="offset points", fontsize=9)
axis.set(aspect="equal", xticks=[], yticks=[])
apart = {arm: np.mean([disagreement[names.index((arm, s)), names.index(("teacher", s))] for s in seeds]) for arm in ("soft", "hard")}
axis.set_title(f"On {apart['soft']:.0f} images a student of soft targets differs from its teacher, one of labels on {apart['hard']:.0f}", fontsize=10)
kd.plots.show(
    figure,
    "A map of networks: teachers, students of soft targets and students of labels, one point a network; two points are the further apart, the more test images the "
    "two networks classify differently.",
)

# %%
agreement = runs[runs.arm.isin(["hard", "soft"])].copy()
agreement["agreement"] = [(row.predicted.astype(int) == said["teacher", row.seed]).sum() for row in agreement.itertuples()]
kd.judge("01-agreement", agreement)

# %% [markdown]
# A student with fewer errors agrees more with a good teacher in any case. Before you conclude more from this card, compare its difference with the difference in errors further up.
#
# In the paper the student all but catches up with its teacher. The next card asks the same of ours, who in the quick profile see a sixth of the paper's images.

# %%
kd.judge("01-student-equals-teacher", everyone)

# %% [markdown]
# ## What goes wrong in practice
#
# The teacher's outputs on a fixed transfer set are computed once and kept: that alone makes distillation as cheap as ordinary training. It also invites a bug that lesson 00
# has met. The outputs are written down in the order of the data set, the loader then *shuffles*, and output 17 meets image 4,203. Nothing crashes. Watch the loss.

# %% tags=["slide:wrong", "slide-output"]
few = transfer[:2000] if len(transfer) > 2000 else transfer
few_logits = logits[: len(few)]
shuffled_by_a_loader = few_logits[torch.randperm(len(few), generator=torch.Generator().manual_seed(0))]
small = dict(epochs=lesson.pick(smoke=1, quick=5, full=5), batch_size=64, learning_rate=4e-3, seed=first_seed)
for name, targets in (("outputs in another order", shuffled_by_a_loader), ("outputs of the same images", few_logits)):
    model = kd.models.mlp(784, 100, 10, seed=first_seed)
    record = kd.fit(model, few, kd.losses.soft_targets(20.0), targets=targets, **small)
    wrong = int((~kd.correct(model, validation)).sum())
    print(f"{name:28s} loss {record['loss'][0]:6.2f} → {record['loss'][-1]:6.2f}   validation errors {wrong:5d} of 10,000")

# %% [markdown]
# A falling loss proves nothing here: the first student can still learn the mean of all targets, which says nothing about any image. The cure is to carry the *index* of each image through the loader and to look the targets up by it. `kd.fit` does
# that: `batch.index` names the images, and `targets[index]` are theirs. A test of the package feeds it targets that encode their own index and checks that they arrive beside the right images.
#
# ## Exercises
#
# ### 1 · The loss, on paper and in code
#
# A student has logits (2, 0), its teacher (4, 0), the label is class 0. With T = 2 and α = 0.9: what is the distillation loss? `soft_part` is $L_\text{soft}$ with its $T^2$ and `hard_part` is $L_\text{hard}$, both before they are weighed; `total` is the loss.
# Three decimals will do; Python may serve as your pocket calculator.

# %% tags=["exercise"]
soft_part = ...
hard_part = ...
total = ...

# %% tags=["solution"]
soft_part = 2**2 * float(F.kl_div(F.log_softmax(torch.tensor([2.0, 0.0]) / 2, 0), F.softmax(torch.tensor([4.0, 0.0]) / 2, 0), reduction="sum"))
hard_part = float(F.cross_entropy(torch.tensor([[2.0, 0.0]]), torch.tensor([0])))
total = 0.9 * soft_part + 0.1 * hard_part

# %%
kd.checks.lesson01.worked_example(soft_part, hard_part, total);

# %% [markdown]
# ### 2 · Read the teacher's map
#
# Write the class-similarity matrix as a function: row $c$ is the mean of the teacher's softened probabilities over the images with label $c$.


# %% tags=["exercise"]
def class_similarity(teacher_logits, labels, temperature):
    """[N, K] logits and [N] labels → [K, K]; row c: mean probabilities of the images with label c."""
    return ...


# %% tags=["solution"]
def class_similarity(teacher_logits, labels, temperature):
    """[N, K] logits and [N] labels → [K, K]; row c: mean probabilities of the images with label c."""
    return torch.stack([F.softmax(teacher_logits / temperature, dim=1)[labels == c].mean(dim=0) for c in range(teacher_logits.shape[1])])


# %%
kd.checks.lesson01.class_similarity(class_similarity);

# %% [markdown]
# ### 3 · Take the knowledge out
#
# A reviewer says: "Your student only profits from the teacher's *doubt*; where it points does not matter." Build the control that answers: permute all logits but the largest, for each
# image on its own. First choice and entropy stay, the pointing goes.


# %% tags=["exercise"]
def permute_non_targets(teacher_logits, generator):
    """[N, K] → [N, K]: the largest logit of each row stays where it is, the others are permuted within the row."""
    permuted = teacher_logits.clone()
    for row, top in enumerate(teacher_logits.argmax(dim=1)):
        others = ...
        permuted[row, others] = ...
    return permuted


# %% tags=["solution"]
def permute_non_targets(teacher_logits, generator):
    """[N, K] → [N, K]: the largest logit of each row stays where it is, the others are permuted within the row."""
    permuted = teacher_logits.clone()
    for row, top in enumerate(teacher_logits.argmax(dim=1)):
        others = [k for k in range(teacher_logits.shape[1]) if k != top]
        permuted[row, others] = teacher_logits[row, others][torch.randperm(len(others), generator=generator)]
    return permuted


# %%
kd.checks.lesson01.permute_non_targets(permute_non_targets);

# %% [markdown]
# ## Takeaways
#
# - Soft targets say of each image how sure one can be and what else it could be. Labels say neither.
# - The loss is a divergence at temperature $T$, times $T^2$, with the roles in the right order: KL(teacher‖student), summed over classes, averaged over the batch.
# - A gain from distillation counts as knowledge only as far as the controls do not share it. The figure shows how much each of them kept.
# - Soft targets from just any network are not enough, or the twin's would do. Twin and teacher differ in architecture, training images and augmentation; this lesson does not say which of these counts.
#
# **Further reading.** Hinton, Vinyals & Dean, *Distilling the Knowledge in a Neural Network*, 2015, sections 1 to 3 · Ba & Caruana, *Do Deep Nets Really Need to be Deep?*, 2014 (the same idea
# with logits; [lesson 04](04_logits.ipynb)) · Müller, Kornblith & Hinton, *When Does Label Smoothing Help?*, 2019 ([lesson 05](05_label_smoothing.ipynb)) · Furlanello et al., *Born-Again Neural Networks*, 2018 (twins that do help; [lesson 09](09_many_teachers.ipynb)) · Yuan et
# al., *Revisiting Knowledge Distillation via Label Smoothing Regularization*, 2020 (the reviewer of exercise 3).
