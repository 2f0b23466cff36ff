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
# # 00 · Start here: can you believe a distillation result?
#
# **After this lesson you have distilled a network yourself, have broken it in five ways that really happened, and can read a claim card.**
#
# 25 minutes · needs a first course in neural networks and a little PyTorch · data: MNIST, in this repository
#
# A much-read tutorial on knowledge distillation tells its readers to expect 98.1 % from the distilled student. On the same page it prints
# 96.92 % for that student, and 97.78 % for the same network trained without any teacher. Text and output stand side by side. The
# text belongs to a first version of the code, in which teacher and student had changed places.
#
# Distillation is easy to get wrong in ways that do not crash. This course therefore treats every result as a **claim**: written down
# before the run, tested on several seeds, against controls where a teacher is said to help, and shown with its verdict whatever that is. In this lesson you see why. The table below lists its claims; the words in them are explained on the way.

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
from scipy import stats
from torch import nn

import kdcourse as kd

kd.plots.style()
lesson = kd.start("00", profile, first_seed)

# %%
kd.claims.announce("00")

# %% [markdown]
# ## Your first student, in under a minute
#
# Three terms. The **teacher** is a network that is good at the task. The **student** is the network we want in the end. **Soft targets** are the teacher's
# probabilities for all ten digits, where a **hard label** names just one.
#
# The teacher comes with the course: a small convolutional network, trained on 50,000 digits. Here is what it says about a few of them.

# %% tags=["slide:teacher", "slide-output"]
scale = dict(
    count=lesson.pick(smoke=600, quick=10_000, full=50_000),  # images the student sees
    teacher_epochs=lesson.pick(smoke=1, quick=8, full=20),
    teacher_count=lesson.pick(smoke=600, quick=None, full=None),  # images the teacher was trained on; None: all 50,000
)
mnist = kd.load("mnist")
train, validation = kd.hold_out(mnist.train)
train = train[: scale["count"]]


def teacher(seed, count, teacher_epochs, teacher_count, part="test"):
    """A trained teacher's logits for the first `count` training images, and who of the judged images it classifies correctly."""
    settings = dict(dataset="mnist", epochs=teacher_epochs, seed=seed, count=count, teacher_count=teacher_count, part=part)
    return kd.run(kd.teachers.answers, **settings)


teacher_logits = teacher(seed=first_seed, **scale)["logits"]  # [count, 10]: numbers before the softmax
soft_targets = F.softmax(teacher_logits / 4, dim=1)  # divided by a temperature of 4, so that second choices can be seen
unsure = soft_targets.max(dim=1).values.argsort()[5:400:66][:6]

figure, axes = plt.subplots(1, 6, figsize=(7, 2.2))
for axis, index in zip(axes, unsure):
    first, second = soft_targets[index].topk(2).indices.tolist()
    axis.imshow(train.images[index, 0], vmin=0)
    axis.axis("off")
    text = f"label {train.labels[index]}\nteacher: {first} ({soft_targets[index, first]:.0%})\nor {second} ({soft_targets[index, second]:.0%})"
    axis.set_title(text, fontsize=9, fontweight="normal", loc="center")
figure.suptitle("The teacher's first two choices, softened (T = 4)", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(figure, "Six handwritten digits of which the teacher is unsure, each with its label and the teacher's first and second choice at temperature 4.")

# %% [markdown]
# The label gives one digit. The teacher gives all ten, with odds; here are its first two. A student that learns to give the same odds is **distilled**.
#
# A network's outputs before the softmax are its **logits**. Dividing them by a **temperature** T before the softmax makes the probabilities softer: T = 4 in the picture, T = 20 in training. The soft part of the loss is the
# Kullback-Leibler divergence from teacher to student, KL(teacher‖student), both at T, times T². It has weight α = 0.9; the cross-entropy with the labels keeps 1 − α. Lesson 01 derives this.
#
# Train two students now: the same network, the same initial weights, the same batches. One learns from labels alone, one mostly from soft targets.

# %% tags=["slide:first", "slide-output"]
recipe = dict(epochs=lesson.pick(smoke=1, quick=10, full=15), batch_size=128, learning_rate=8e-3, seed=first_seed)

from_labels = kd.models.mlp(784, 300, 300, 10, seed=first_seed)
kd.fit(from_labels, train, kd.losses.hard_labels(), **recipe)

distilled = kd.models.mlp(784, 300, 300, 10, seed=first_seed)
kd.fit(distilled, train, kd.losses.soft_targets(temperature=20.0, alpha=0.9), targets=teacher_logits, **recipe)

for name, model in (("from labels", from_labels), ("distilled", distilled)):
    errors = int((~kd.correct(model, validation)).sum())
    print(f"student {name:12s} {errors:4d} errors among 10,000 validation images")

# %% [markdown]
# That is distillation: a teacher's outputs, one changed loss, the usual training loop. Two numbers stand above, and in most tutorials the story ends here. Before you believe them, ask four questions. Would another
# seed give the same order? Is the difference bigger than chance among 10,000 images? Do the two differ in one thing only? And does the code do what the text says?
#
# ## A page that does not ask
#
# The tutorial of the beginning, with the numbers as its page prints them (`keras-team/keras-io`, `examples/vision/md/knowledge_distillation.md`, commit 04128482; MNIST, 10,000 test images, one run).

# %% tags=["slide:page", "slide-output"]
said, printed = 98.1, {"teacher": 97.81, "student from scratch": 97.78, "distilled student": 96.92}
wrong = {name: round(100 * (100 - accuracy)) for name, accuracy in printed.items()}

figure, axis = plt.subplots(figsize=(7, 1.9))
for row, (name, role) in enumerate((("distilled student", "soft"), ("student from scratch", "hard"), ("teacher", "teacher"))):
    axis.plot(wrong[name], row, "o", color=kd.plots.COLOURS[role], markersize=8)
    axis.annotate(f"{name}: {wrong[name]} errors", (wrong[name], row), xytext=(8, -3), textcoords="offset points", color=kd.plots.COLOURS[role])
axis.plot(10_000 - 100 * said, 0, "D", color=kd.plots.COLOURS["published"], markersize=8)
axis.annotate("what the text says", (10_000 - 100 * said, 0), xytext=(-4, 9), textcoords="offset points", color=kd.plots.COLOURS["published"])
axis.set(yticks=[], ylim=(-0.6, 2.6), xlim=(170, 400), xlabel="errors among 10,000 test images")
difference = wrong["distilled student"] - wrong["student from scratch"]
axis.set_title(f"The page's distilled student makes {difference} errors more than the one without a teacher")
kd.plots.show(
    figure,
    f"Errors on the page, one dot each: teacher {wrong['teacher']}, student from scratch {wrong['student from scratch']}, distilled student "
    f"{wrong['distilled student']}. A diamond marks the {10_000 - 100 * said:.0f} errors that the text announces for the distilled student.",
)
standard_error = np.sqrt(sum(wrong[name] for name in ("distilled student", "student from scratch")))
print(f"difference {difference} errors; chance among test images alone would give about ±{standard_error:.0f}; chance among seeds: unknown, there is one run")

# %% [markdown] tags=["slide:bugs"]
# The page's own output says that distillation did harm there. Nobody can tell whether it always would: there is one run of each, so the spread between runs is unknown. And the number in the text, the best of all, came from the
# *teacher's* network: in the first version the constructor read `self.teacher = student; self.student = teacher` (keras-io issue #257).
#
# ## Break it yourself
#
# Here are five bugs from public distillation code. Each is one line, and none of them crashes.
#
# | bug | what happens | where it really happened |
# |---|---|---|
# | `no T²` | the soft part of the loss is not multiplied by T² | keras-io #869, IntelLabs/distiller #122 |
# | `mean` | the divergence is averaged over batch × classes instead of summed over classes | TAKD, DGKD and others: the default of `KLDivLoss` |
# | `mismatch` | the teacher's stored outputs are in another order than the images | haitongli/knowledge-distillation-pytorch, pull request 16 |
# | `not frozen` | the optimiser also trains the teacher (whose batch norm then runs in training mode) | forums, again and again |
# | `swapped` | teacher and student change places, and the teacher's errors are reported as the student's | keras-io #257 |
#
# Guess first: which of them makes the reported number *worse*, which leaves it as it is, and which makes it *better*? Then run the cells.


# %%
def loss_with(bug, temperature, alpha):
    """The distillation loss with one bug switched on; any other word means none."""

    def loss(model, batch):
        if bug == "not frozen":
            student_logits, teacher_logits = model["student"](batch.images), model["teacher"](batch.images)
        else:
            student_logits, teacher_logits = model(batch.images), batch.targets
        log_q = F.log_softmax(student_logits / temperature, dim=1)
        log_p = F.log_softmax(teacher_logits / temperature, dim=1)
        divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
        if bug == "mean":
            divergence = divergence / log_p.shape[1]  # what reduction="mean" does
        if bug != "no T²":
            divergence = divergence * temperature**2
        return alpha * divergence + (1 - alpha) * F.cross_entropy(student_logits, batch.labels)

    return loss


def trained_student(bug, seed, count, epochs, teacher_epochs, teacher_count, part="test"):
    """One student with one bug (or "labels", or "none"); returns who of the judged images the *reported* network gets right."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    train, judged = train[:count], {"test": mnist.test, "validation": validation}[part]
    student = kd.models.mlp(784, 300, 300, 10, seed=seed)
    trained = kd.run(kd.teachers.convolutional_teacher, dataset="mnist", epochs=teacher_epochs, seed=seed, count=teacher_count)
    network = kd.teachers.rebuild(trained)
    targets = teacher(seed, count, teacher_epochs, teacher_count, part)["logits"]
    if bug == "mismatch":
        targets = targets[torch.randperm(count, generator=kd.models.stream(seed, "mismatch"))]
    loss = kd.losses.hard_labels() if bug == "labels" else loss_with(bug, temperature=20.0, alpha=0.9)
    optimised = nn.ModuleDict({"student": student, "teacher": network}) if bug == "not frozen" else student
    targets = None if bug in ("labels", "not frozen") else targets
    record = kd.fit(optimised, train, loss, epochs=epochs, batch_size=128, learning_rate=8e-3, seed=seed, targets=targets)
    reported = network if bug == "swapped" else student
    return record | {"correct": kd.correct(reported, judged), "teacher_errors": int((~kd.correct(network, judged)).sum())}


# %%
bugs = ["labels", "none", "no T²", "mean", "mismatch", "swapped"]
seeds = lesson.seeds(smoke=1, quick=5, full=10)
runs = pd.concat(
    [
        kd.sweep(trained_student, seeds=seeds, bug=bugs, epochs=recipe["epochs"], **scale),
        kd.sweep(trained_student, seeds=seeds[:2], bug="not frozen", epochs=recipe["epochs"], **scale),  # trains a CNN as well: two seeds must do
    ],
    ignore_index=True,
)
arms = {"labels": "labels", "none": "correct", "no T²": "no_t_squared", "mean": "elementwise_mean", "mismatch": "mismatch", "not frozen": "not_frozen", "swapped": "swapped"}
runs["arm"] = runs.bug.map(arms)

# %% tags=["main-figure", "slide:main", "slide-output"]
columns = {
    "labels": ("labels,\nno teacher", "hard"),
    "correct": ("distilled,\nno bug", "soft"),
    "no_t_squared": ("no T²", "control"),
    "elementwise_mean": ("mean over\nclasses", "control"),
    "not_frozen": ("teacher\nnot\nfrozen", "control"),
    "mismatch": ("outputs\nof other\nimages", "control"),
    "swapped": ("roles\nswapped", "teacher"),
}
mean = runs.groupby("arm").errors.mean()
best = mean.idxmin()
title = f"The best number comes from {'a bug: ' + best.replace('_', ' ') if best not in ('correct', 'labels') else 'code without a bug'}"
figure = kd.plots.paired_arms(runs, columns, label="errors among 10,000 test images", title=title)
figure.axes[0].set(yscale="log", ylim=(40, 12_000))
figure.axes[0].set_yticks([50, 100, 200, 500, 1000, 5000, 10000], ["50", "100", "200", "500", "1,000", "5,000", "10,000"])
kd.plots.show(
    figure,
    "Reported test errors for students with one bug each, logarithmic axis. Every run is a dot, thin lines join the runs of one seed, beside each column the mean with its interval. "
    + "; ".join(f"{arm.replace('_', ' ')}: mean {mean[arm]:.0f}" for arm in columns),
)
print(runs.groupby("bug", sort=False).agg(mean_errors=("errors", "mean"), least=("errors", "min"), most=("errors", "max"), teacher_errors=("teacher_errors", "mean")).round(0).astype(int))

# %% [markdown]
# Go through the columns from left to right.
#
# - **no T²**: at T = 20 the soft part's gradients are far too small; exercise 1 asks by how much. The labels have a tenth of the weight, and now they dominate. Compare this column with *labels* and with *no bug*: how much of the gain is left, and is reported as what distillation gives?
# - **mean over classes**: the soft part is ten times too small, which still leaves it far larger than the hard part here. If your column shows no harm, take it as a warning: *a result cannot show that the code is right*. At another T or α the same bug can matter much more, and numbers from two
#   repositories with different reductions cannot be compared.
# - **teacher not frozen**: two networks that are paid for agreeing can meet anywhere. Compare `teacher_errors` in its row with the other rows: has the teacher pulled the student up, or the student the teacher down?
# - **outputs of other images**: the student learns the average answer. Its column says whether you would notice.
# - **roles swapped**: the number is the teacher's own. A student was trained, and nobody looked at it. (We only report the wrong network; in the Keras version the teacher's network was also trained on, with the small one as its teacher.)
#
# A bug that makes the number worse invites a search. One that leaves it alone, or improves it, can stay in papers and tutorials for years; the table above names some.
#
# ## How to read a claim card
#
# Here is the verdict on the first sentence we would like to be true.

# %% tags=["slide", "slide-output"]
kd.judge("00-soft-beats-labels", runs)

# %% [markdown] tags=["slide:card"]
# Line by line:
#
# - **The claim and its minimum effect.** Written down before the run. The minimum effect δ is how large the difference must be to be worth a sentence. It is not zero: with enough seeds every difference is
#   "significant".
# - **Published beside ours.** What somebody else reported, where there is a number, and whether the protocol is theirs (*direct*) or only the idea is (*conceptual*).
# - **Paired.** Both students of a seed started from the same weights and saw the same batches in the same order. The machine checks this: it compares fingerprints of the weights and of the order, and refuses runs that differ. Pairing removes from the spread what both arms share; the next cell shows how much that is here. It may be little: then seeds share nothing that matters, and only the pairing on test images helps.
# - **The interval.** Two things vary: seeds, and which images happen to be in the test set. The interval covers both. Three primary claims a lesson share the usual 5 %, so each of their intervals is a little wider than 95 %.
# - **The verdict.** REPRODUCED: the whole interval lies above δ. SMALLER: above zero, but below δ. REFUTED: below δ, and not above zero. INCONCLUSIVE: anything else, with the number of seeds that would decide it. A refuted claim stays in the course. The effect is *shown* when the interval lies above zero. The line on variance says how much of the doubt comes from seeds, from
#   test images, and from both together.
#
# What the card does not say: in the quick profile the teacher was trained on 50,000 images and the students see 10,000 of them. Some of the gain may be those other images; lesson 01 returns to this.

# %%
table = runs.pivot(index="seed", columns="arm", values="errors")
paired = (table["labels"] - table["correct"]).astype(int)
if len(table) > 1:
    apart = np.sqrt(table["labels"].var() + table["correct"].var())
    print(f"seed by seed, labels minus distilled: {paired.tolist()}")
    print(f"they spread by {paired.std():.0f} errors; unpaired runs with these spreads would differ by ±{apart:.0f}")

# %% tags=["slide", "slide-output"]
kd.judge("00-no-t-squared", runs)

# %% tags=["slide", "slide-output"]
kd.judge("00-swapped-flatters", runs)

# %% [markdown]
# Two more bugs get **exploratory** cards: an interval, no verdict. Only a direction was written down for them, no minimum effect, and they take no share of the 5 %.

# %%
kd.judge("00-elementwise-mean-adds", runs)

# %%
kd.judge("00-not-frozen", runs[runs.seed.isin(seeds[:2])])

# %% [markdown]
# The first card says that a teacher helps, and a **negative control** is missing from it: a student who gets targets of the same form with the knowledge taken out. Fewer errors than from labels could also come from softer targets as such. Lesson 01 asks again, with five controls.
#
# ## Exercises
#
# ### 1 · Before you run it
#
# A colleague's student does not learn at T = 20. The loss is α · KL(p‖q) + (1 − α) · cross-entropy, where p and q are the softmax of the teacher's and the student's logits divided by T. One factor is missing. How many times too small are the
# gradients of the soft part?

# %% tags=["exercise"]
times_too_small = ...

# %% tags=["solution"]
times_too_small = 20**2

# %%
kd.checks.lesson00.missing_factor(times_too_small);

# %% [markdown]
# ### 2 · Repair it
#
# The colleague sends the function. Fill in the blanks so that it is KL(teacher‖student) at temperature T, summed over classes, averaged over the batch, times T².
#
# <details><summary>A hint about kl_div</summary>
#
# `F.kl_div(input, target)` wants the student's **log**-probabilities first and the teacher's probabilities second, and its default reduction is not the one you want.
#
# </details>


# %% tags=["exercise"]
def soft_loss(student_logits, teacher_logits, T):
    student_log_probabilities = ...
    teacher_probabilities = ...
    return ...


# %% tags=["solution"]
def soft_loss(student_logits, teacher_logits, T):
    student_log_probabilities = F.log_softmax(student_logits / T, dim=1)
    teacher_probabilities = F.softmax(teacher_logits / T, dim=1)
    return F.kl_div(student_log_probabilities, teacher_probabilities, reduction="batchmean") * T**2


# %%
kd.checks.lesson00.repaired_loss(soft_loss);

# %% [markdown]
# ### 3 · Your own interval
#
# Five seeds gave five paired differences. Write the 95 % interval of their mean (seeds only, leave the test images aside). `scipy.stats.t.ppf(0.975, df)` is the quantile you need.

# %% tags=["exercise"]
def interval(differences):
    """Tensor of n paired differences → (lower, upper)."""
    half_width = ...
    return ...


# %% tags=["solution"]


def interval(differences):
    """Tensor of n paired differences → (lower, upper)."""
    half_width = stats.t.ppf(0.975, len(differences) - 1) * differences.std() / len(differences) ** 0.5
    return differences.mean() - half_width, differences.mean() + half_width


# %%
kd.checks.lesson00.paired_interval(interval);

# %% [markdown]
# ## Takeaways
#
# - Distillation changes one thing in training: the targets. A teacher's logits, a temperature, a divergence.
# - One run of each arm is an anecdote. Pair the seeds, show the spread, say beforehand what would count.
# - The dangerous bugs are those that improve the number, or leave it alone.
# - From here on every claim comes with a card like the ones above. `claims.toml` is the ledger; `results/` holds what each verdict was computed from.
#
# **Further reading.** Hinton, Vinyals & Dean, *Distilling the Knowledge in a Neural Network*, 2015 · Bouthillier et al., *Accounting for Variance in Machine Learning Benchmarks*, 2021 · next:
# [01 · Soft targets and dark knowledge](01_soft_targets.ipynb).
