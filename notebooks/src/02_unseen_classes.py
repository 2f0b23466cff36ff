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
# # 02 · Classes never seen, and little data
#
# **After this lesson you can train a student on a class of which it never sees an example, choose the one number this needs without labels, tell which teachers
# it works with, and say how far soft targets stretch a small data set.**
#
# 40 minutes · needs [lesson 01](01_soft_targets.ipynb) · data: MNIST
#
# Take every 3 out of the transfer set. The student sees 2s, 5s and 8s, and its teacher's opinion of them: this 8 has a little of a 3, this 5 rather more. Nothing else about
# 3s ever reaches it. Then show it a 3. Hinton, Vinyals and Dean (2015) report that their student was wrong on 133 of the 1,010 threes of the test set, and that most of these errors had
# one cause: a single number in the last layer. With that number corrected it missed 14.
#
# That sounds too good, and they chose the number on the test set. So we choose it without, we ask what students of the controls do after *their* correction, and we look for the
# teacher with whom it fails. It is not the one you would expect.

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
lesson = kd.start("02", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("02")

# %% [markdown]
# ## All that a student will ever hear of a 3
#
# The teacher is the convolutional network of lesson 01. It has seen all ten digits. Below are images of four other digits: of each, the one in which it finds most of a 3.

# %%
everything_else = "012456789"  # the digits of the transfer set
scale = dict(
    count=lesson.pick(smoke=600, quick=50_000, full=50_000),  # training images from which the transfer set is taken
    teacher_epochs=lesson.pick(smoke=1, quick=8, full=20),
    teacher_count=lesson.pick(smoke=600, quick=None, full=None),  # images the teacher is trained on; None: all 50,000
)
train, validation = kd.hold_out(kd.load("mnist").train)  # the last 10,000 training images, kept for every choice made on the way
labels = train.labels[: scale["count"]]


def teacher_logits(seed, epochs, known, count):
    """What a convolutional teacher, trained on the first `known` images (None: all), says of the first `count`: logits [count, 10]."""
    result = kd.run(kd.teachers.convolutional_teacher, dataset="mnist", epochs=epochs, seed=seed, count=known)
    model = kd.teachers.rebuild(result).to(memory_format=torch.channels_last)
    return {"logits": kd.predict_logits(model, kd.load("mnist").train.images[:count])}


logits = kd.run(teacher_logits, seed=first_seed, epochs=scale["teacher_epochs"], known=scale["teacher_count"], count=scale["count"])["logits"]
beliefs = F.softmax(logits / 4, dim=1)  # softened, so that small beliefs can be seen

# %% tags=["slide:hearsay", "slide-output"]
figure, axes = plt.subplots(2, 4, figsize=(7, 3.9), height_ratios=[1.3, 1])
for column, digit in enumerate((2, 5, 8, 9)):
    clear = (labels == digit) & (logits.argmax(dim=1) == digit)  # the teacher's first choice is the label
    index = torch.where(clear, beliefs[:, 3], -1.0).argmax().item()
    axes[0, column].imshow(train.images[index, 0], vmin=0)
    axes[0, column].axis("off")
    axes[0, column].set_title(f"a {digit}", fontsize=10, fontweight="normal", loc="center")
    bars = axes[1, column].bar(range(10), beliefs[index], color="#9fb8c8")
    bars[3].set_color(kd.plots.COLOURS["soft"])
    axes[1, column].set(xticks=range(10), yticks=[0, 0.5, 1] if column == 0 else [], ylim=(0, 1))
axes[1, 0].set_ylabel("probability, T = 4")
without = labels != 3
figure.suptitle(f"Among {without.sum():,} images without a 3: of four digits, the one with most of a 3", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Four images of the digits 2, 5, 8 and 9, each above a bar chart of the teacher's probabilities for the ten digits at temperature 4. The blue bar is the digit 3, of which the "
    "teacher finds some in each image.",
)

# %% [markdown] tags=["slide:arms"]
# ## The students
#
# Seven arms. All students of a seed start from the same weights, and all but `seen` see the same batches. What they see differs in the targets:
#
# | arm | transfer set | targets | what it could know of a 3 |
# |---|---|---|---|
# | `seen` | all digits | the teacher's, T = 20 | everything |
# | `soft` | no 3s | the teacher's, T = 20 | which images have something of a 3 |
# | `shuffled` | no 3s | the teacher's, of another image with the same label | which *classes* have something of a 3 |
# | `permuted` | no 3s | the teacher's, second choices permuted within the image | how sure one can be of this image |
# | `smoothed` | no 3s | as unsure as the teacher's, image by image, and pointing nowhere | the same |
# | `untrained` | no 3s | those of a network with random weights | nothing |
# | `hard` | no 3s | the labels | that the answer is never 3 |
#
# What would have to be true? If the student learns 3s from the teacher's opinion of other images, then `soft`, after its shift, makes fewer errors on all ten digits than every control after its own. What would prove it wrong is a control with as few errors.
#
# The settings were chosen on the validation images by pilot seeds not used here, three learning rates and two seeds for every arm; one rate serves all of them, as none was better for one arm by more than
# pilot seeds differ. Students are two layers of 300 units: Hinton and his coauthors write that from 300 on all high temperatures do alike.


# %%
def places(part):
    """(training images, images whose labels are not read, images that are judged)."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    return (train, validation, mnist.test) if part == "test" else (train, train[-10_000:], validation)


def targets_of(arm, seed, labels, temperature, teacher_epochs, teacher_count):
    """The logits that an arm learns from, [count, 10]; None for labels."""
    if arm == "hard":
        return None
    if arm == "untrained":
        random_network = kd.models.mlp(784, 300, 300, 10, seed=seed + 1_000_000)
        return kd.predict_logits(random_network, kd.load("mnist").train.images[: len(labels)])
    logits = kd.run(teacher_logits, seed=seed, epochs=teacher_epochs, known=teacher_count, count=len(labels))["logits"]
    if arm == "shuffled":
        return kd.controls.shuffle_within_class(logits, labels, seed)
    if arm == "permuted":
        return kd.controls.permute_non_targets(logits, seed)
    if arm == "smoothed":
        return kd.controls.smooth_to_same_entropy(logits, temperature)
    return {"soft": logits}[arm]


def student(arm, kept, seed, count, epochs, learning_rate, temperature, width, teacher_epochs, teacher_count, part="test"):
    """A student whose transfer set holds only the digits in `kept`; its logits for the judged images and for the unlabelled ones."""
    train, unlabelled, judged = places(part)
    here = torch.isin(train.labels[:count], torch.tensor([int(digit) for digit in kept]))
    targets = targets_of(arm, seed, train.labels[:count], temperature, teacher_epochs, teacher_count)
    loss = kd.losses.hard_labels() if targets is None else kd.losses.soft_targets(temperature)
    model = kd.models.mlp(784, width, width, 10, seed=seed)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed)
    record = kd.fit(model, train[:count][here], loss, targets=None if targets is None else targets[here], **settings)
    logits = kd.predict_logits(model, judged.images)
    unlabelled_logits = kd.predict_logits(model, unlabelled.images)
    return record | {"logits": logits, "unlabelled_logits": unlabelled_logits, "correct": logits.argmax(dim=1) == judged.labels}


seeds = lesson.seeds(smoke=1, quick=5, full=10)
training = scale | dict(
    epochs=lesson.pick(smoke=1, quick=2, full=15),
    learning_rate=lesson.pick(smoke=8e-3, quick=8e-3, full=4e-3),
    temperature=20.0,
    width=lesson.pick(smoke=300, quick=300, full=800),
)
arms = ["soft", "shuffled", "permuted", "smoothed", "untrained", "hard"]
no_threes = kd.sweep(student, seeds=seeds, arm=arms, kept=everything_else, **training)
seen = kd.sweep(student, seeds=seeds, arm=["soft"], kept="0123456789", **training).assign(arm="seen")

# %% [markdown]
# First look, on validation images, which we may look at. What does the student of the first seed say to its first 3s?

# %%
first_look = kd.run(student, arm="soft", kept=everything_else, seed=first_seed, **training)["unlabelled_logits"].argmax(dim=1)
threes = (validation.labels == 3).nonzero().flatten()
found, missed = threes[first_look[threes] == 3], threes[first_look[threes] != 3]
figure, axes = plt.subplots(2, 7, figsize=(7, 2.5))
for row, (group, text) in enumerate(((found, "taken for a 3"), (missed, "taken for something else"))):
    for axis, index in zip(axes[row], group[:7].tolist()):
        axis.imshow(validation.images[index, 0], vmin=0)
        axis.set_title(f"“{first_look[index]}”", fontsize=11, loc="center", color=kd.plots.COLOURS["soft" if row == 0 else "control"])
    for axis in axes[row]:
        axis.axis("off")
taken = torch.bincount(first_look[missed], minlength=10)
said = ", ".join(f"{n} for {digit}" for digit, n in sorted(enumerate(taken.tolist()), key=lambda item: -item[1])[:3] if n)
figure.suptitle(f"Never saw a 3, and calls {len(found)} of {len(threes)} of them by name", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Two rows of handwritten threes, each with the student's answer above it: in the first row the answer is 3, in the second another digit. "
    "A row is shorter, or empty, when there are fewer such images.",
)
print(f"of the {len(missed)} others, the student takes {said}")

# %% [markdown] tags=["slide:bias"]
# Now read the second row. Are these odd 3s, or quite ordinary ones? And do the wrong answers look like confusions of an eye, or like a word that does not come to mind?
#
# ## One number is wrong
#
# The last layer adds a **bias** $b_k$ to the logit of class $k$, the same for every image. It learns from the loss like everything else. The derivative of the soft-target loss of lesson 01 with respect to the
# logits of one image is $T\,(q - p)/N$, where $q$ are the student's and $p$ the teacher's softened probabilities, $[N, K]$ for $N$ images and $K$ classes. A bias acts on all images alike, so it gets the sum:
#
# $$ \frac{\partial L}{\partial b_k} = T \cdot \frac1N \sum_{n=1}^{N} \left(q_{nk} - p_{nk}\right) $$
#
# The bias stops moving where both means agree. For the 3 that means: *averaged over images none of which is a 3*, at T = 20 the student believes in 3s as much as the teacher. A student who copied its teacher perfectly
# would meet this as well, with the right bias. One who copies imperfectly must make up for it with the bias, and nothing in its world says what that does to a real 3.


# %%
def bias_gradient(student_logits, teacher_logits, temperature):
    """[N, K] logits of both → [K], the derivative of the soft-target loss with respect to the biases of the last layer."""
    q = F.softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits / temperature, dim=1)
    return temperature * (q - p).mean(dim=0)


generator = torch.Generator().manual_seed(0)
some_student, some_teacher = (3 * torch.randn(2, 64, 10, generator=generator)).unbind()
for temperature in (1.0, 4.0, 20.0):
    bias = torch.zeros(10, requires_grad=True)
    kd.losses.soft_target_loss(some_student + bias, some_teacher, temperature).backward()
    assert torch.allclose(bias.grad, bias_gradient(some_student, some_teacher, temperature), atol=1e-6)

# %% [markdown]
# That suggests the repair. If only the prior is wrong, add one number to the logit of class 3, a **shift**, and leave the rest alone. Hinton and his coauthors raised the bias by 3.5, the value with the lowest error on the *test set*:
# the best of many numbers, picked by the images that then judge it.
#
# We need no labels at all. Suppose we know how frequent 3s are in the world where the student will work. Then take some of that world's images, without labels, and choose the shift at which the student *answers* 3 that
# often. An image is answered 3 when its **margin**, the logit of 3 minus the largest other logit, is above minus the shift. So the shift is minus the quantile of the margins at one minus the share.


# %%
def margin(logits, digits):
    """[N, 10] → [N]: the largest logit of `digits` minus the largest of the others."""
    others = [k for k in range(logits.shape[1]) if k not in digits]
    return logits[:, digits].amax(dim=1) - logits[:, others].amax(dim=1)


def shifted(logits, digits, shift):
    """The logits with one number added to those of `digits`."""
    moved = logits.clone()
    moved[:, digits] += shift
    return moved


def shift_for_share(logits, digits, share):
    """The shift at which a fraction `share` of the images is answered with one of `digits`."""
    return -torch.quantile(margin(logits, digits), 1 - share).item()


# %% [markdown]
# By hand, with three classes and five images of which two should be answered with the last class:

# %% tags=["nbval-check-output"]
five = torch.tensor([[9.0, 4, 1], [8, 2, 6], [3, 7, 6], [1, 5, 1], [6, 0, 2]])
print("margins of class 2:", margin(five, [2]).tolist())
shift = shift_for_share(five, [2], 0.4)
print(f"shift {shift:.1f}: between 2.0, where two of five flip, and 4.0, where more would")
print("answers before:", five.argmax(dim=1).tolist(), " after:", shifted(five, [2], shift).argmax(dim=1).tolist())

# %% [markdown]
# `torch.quantile` interpolates between the two neighbouring margins; with 10,000 images the difference is nothing.
#
# The unlabelled images are the validation images, whose labels stay unread here. The share is the frequency of 3s among all training images, before we took them out. That one number does come from labels; in practice you would have to know it from elsewhere. Every arm gets its own shift by the same rule, so that no control loses for want of a shift.

# %%
share = (train.labels[: scale["count"]] == 3).float().mean().item()
test_threes = (kd.load("mnist").test.labels == 3).numpy()


def after_shift(runs, digits, share, trial, settings, axes=("arm", "kept", "seed")):
    """The runs as they answer after the shift that each of them gets from its own answers to unlabelled images."""
    rows = []
    for row in runs.to_dict("records"):
        result = kd.run(trial, **{axis: row[axis] for axis in axes}, **settings)
        shift = shift_for_share(result["unlabelled_logits"], digits, share)
        predicted = shifted(result["logits"], digits, shift).argmax(dim=1)
        correct = (predicted == kd.load("mnist").test.labels).numpy()
        rows.append({**row, "shift": shift, "correct": correct, "errors": int((~correct).sum())})
    return pd.DataFrame(rows)


def with_recall(runs):
    """The runs with the outcome on the 3s of the test set, and how many of them were recognised."""
    threes = [correct[test_threes] for correct in runs.correct]
    return runs.assign(threes=threes, recall=[100 * outcome.mean() for outcome in threes])


before = with_recall(no_threes)
after = with_recall(after_shift(no_threes, [3], share, student, training))
seen = with_recall(seen)
means = {"before": before.groupby("arm")[["recall", "errors"]].mean(), "after": after.groupby("arm")[["recall", "errors"]].mean()}
pd.DataFrame({
    "3s found before, %": means["before"].recall,
    "after, %": means["after"].recall,
    "errors before": means["before"].errors,
    "after": means["after"].errors,
    "shift": after.groupby("arm")["shift"].mean(),
}).loc[arms].round(1)  # fmt: skip

# %% [markdown]
# Read the first column before the second. Before the shift, which arms ever find a 3? (A student of `untrained` says 3 now and then, to anything.) After the shift, all of them answer 3 as often as there are 3s, and
# some of those answers must hit. The controls are not powerless. One reading: they answer 3 where *no other class fits*, and such an image often is one; `shuffled` knows besides which classes have something of a 3. This is why recall alone proves
# nothing, and why the claim is about all errors on all digits. For a student that can only guess, the shift may also cost more than it brings: compare its two columns of errors.

# %% tags=["main-figure", "slide:main", "slide-output"]
columns = {
    "seen": ("3s were\nthere", "soft"),
    "before": ("no 3s,\nno shift", "soft"),
    "soft": ("no 3s,\nshift", "soft"),
    "shuffled": ("shuffled\nin class", "control"),
    "smoothed": ("smoothed\nas much", "control"),
    "permuted": ("second\nchoices\npermuted", "control"),
    "hard": ("labels", "hard"),
}
everyone = pd.concat([seen, before[before.arm == "soft"].assign(arm="before"), after], ignore_index=True)
mean = everyone.groupby("arm").errors.mean()
best_control = mean[["shuffled", "permuted", "smoothed", "hard"]].min()
title = f"A shift chosen without labels: {mean.before:.0f} → {mean.soft:.0f} errors; best control {best_control:.0f}"
figure = kd.plots.paired_arms(everyone, columns, label="errors among 10,000 test images", title=title)
green = dict(color=kd.plots.COLOURS["published"])
for position, value, away, where in ((0, 74, (-7, -3), "right"), (1, 206, (0, 7), "center"), (2, 109, (0, 7), "center")):
    figure.axes[0].plot(position - 0.2, value, "D", markersize=6, zorder=3, **green)
    figure.axes[0].annotate(f"{value}", (position - 0.2, value), xytext=away, textcoords="offset points", ha=where, fontsize=9, **green)
figure.axes[0].annotate("◆ Hinton 2015", (0.02, 0.97), xycoords="axes fraction", va="top", **green)
figure.axes[0].set_xlabel(f"Off the chart: targets of an untrained teacher, {mean.untrained:,.0f} errors", fontsize=9)
kd.plots.show(
    figure,
    "Test errors on all ten digits, one column an arm, every run a dot, the runs of a seed joined by thin lines, beside each column the mean with its 95 percent interval. All but the first column never saw a 3; from "
    "the third column on, each run has its own bias shift, chosen without labels. Diamonds: the paper's single runs. "
    + "; ".join(f"{arm}: mean {mean[arm]:.0f}" for arm in columns),
)

# %% tags=["slide", "slide-output"]
kd.judge("02-unseen-digit", after)

# %% [markdown]
# The paper's networks are larger, train on 60,000 images for as long as they like, and their shift has seen the test set. Compare the direction of each step from diamond to diamond, not heights or lengths.
#
# ## What a shift can buy, and what it cannot
#
# Turn the knob over its whole range. Left, all errors; right, the 3s found. On the right every student climbs towards the top: answer 3 to everything, and no 3 is missed.

# %%
grid = torch.linspace(-2, 24, 66)
digits = kd.load("mnist").test.labels
curves = {}
for arm in ("soft", "shuffled", "smoothed", "hard"):
    outputs = [kd.run(student, arm=arm, kept=everything_else, seed=seed, **training)["logits"] for seed in seeds]
    outcomes = [[shifted(z, [3], shift).argmax(dim=1) == digits for shift in grid] for z in outputs]
    errors = [[int((~right).sum()) for right in run] for run in outcomes]
    curves[arm] = np.array(errors), np.array([[100 * right[digits == 3].float().mean() for right in run] for run in outcomes])

figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.6))
looks = {"soft": ("soft", "soft targets"), "shuffled": ("control", "shuffled"), "smoothed": ("control", "smoothed"), "hard": ("hard", "labels")}
for arm, (role, text) in looks.items():
    for axis, values in ((left, curves[arm][0]), (right, curves[arm][1])):
        axis.plot(grid, values.mean(axis=0), color=kd.plots.COLOURS[role], linewidth=1.6, linestyle="--" if arm == "smoothed" else "-")
    chosen = after[after.arm == arm]
    left.scatter(chosen["shift"], chosen.errors, color=kd.plots.COLOURS[role], s=22, zorder=3)
    right.scatter(chosen["shift"], chosen.recall, color=kd.plots.COLOURS[role], s=22, zorder=3)
    height = {"soft": 35, "shuffled": 24, "smoothed": 14, "hard": 5}[arm]
    place = int(np.abs(curves[arm][1].mean(axis=0) - height).argmin())
    right.annotate(text, (grid[place], height), xytext=(6, -3), textcoords="offset points", color=kd.plots.COLOURS[role], fontweight="bold", fontsize=9,
                   bbox=dict(facecolor="white", edgecolor="none", pad=0.5))  # fmt: skip
lowest = {arm: values[0].min(axis=1).mean() for arm, values in curves.items()}
left.set(ylim=(0, 2200), xlabel="shift of the bias of class 3", ylabel="errors among 10,000 test images")
left.set_title(f"At best {lowest['soft']:.0f} errors with soft targets,\n{min(lowest['shuffled'], lowest['smoothed'], lowest['hard']):.0f} with the best of these controls", fontsize=10)
right.set(ylim=(0, 103), xlabel="shift of the bias of class 3", ylabel="3s recognised, %", title="Recall can be bought\nby anybody")
right.title.set_fontsize(10)
kd.plots.show(
    figure,
    "Two panels over the shift of the bias of class 3, one line for each kind of student (mean over runs): soft targets, shuffled targets, smoothed targets (dashed), labels. Left: errors on all digits. "
    "Right: the percentage of threes recognised, which rises with the shift for every student. Dots: each run at its own shift, chosen without labels.",
)

# %% [markdown]
# On the left, look at the depth of the valleys, and at whether the dots, which no label has placed, lie near their bottoms. How near? Compare with a shift that may use labels of the validation images (3s among them), and with one that commits the
# paper's sin.

# %%
candidates = torch.linspace(-5, 20, 501)


def best_shift(logits, labels):
    """The shift with the fewest errors on these labelled images."""
    rest, right = margin(logits, [3]), logits.clone()
    right[:, 3] = -float("inf")
    other = right.argmax(dim=1)  # the answer where it is not 3
    errors = [((torch.where(rest + shift > 0, 3, other)) != labels).sum() for shift in candidates]
    return candidates[int(torch.stack(errors).argmin())].item()


rows = []
for seed in seeds:
    result = kd.run(student, arm="soft", kept=everything_else, seed=seed, **training)
    rules = {
        "no labels: 3 is answered as often as it occurs": shift_for_share(result["unlabelled_logits"], [3], share),
        "labels of validation images, 3s among them": best_shift(result["unlabelled_logits"], validation.labels),
        "labels of the test images (a leak, for comparison)": best_shift(result["logits"], digits),
    }
    for rule, shift in rules.items():
        right = shifted(result["logits"], [3], shift).argmax(dim=1) == digits
        rows.append({"shift chosen by": rule, "shift": shift, "test errors": int((~right).sum()), "3s found, %": 100 * right[digits == 3].float().mean().item()})
pd.DataFrame(rows).groupby("shift chosen by", sort=False).mean().round(1)

# %% [markdown]
# And the paper's 98.6 % of all 3s, without the test set? The first card answers. If ours stays below, do not conclude too much: in the quick profile a student sees each image twice, and it learns from another kind of network than the
# paper's (we come back to that). The second card asks what never having seen a 3 costs.

# %%
kd.judge("02-recall-of-threes", after)

# %%
kd.judge("02-cost-of-not-seeing", everyone)

# %% [markdown]
# ## Only 7s and 8s
#
# The same again, much harder: the transfer set holds nothing but 7s and 8s, and the student is asked for all ten digits. Now two biases are wrong, and they are too high. One common shift lowers both, until "7 or 8" is answered as often as the two occur together.
# Hinton and his coauthors: 47.3 % errors, and 13.2 % after a shift of -7.6, which was again chosen on the test set.

# %%
two_digits = training | dict(epochs=lesson.pick(smoke=1, quick=10, full=60))
two_before = kd.sweep(student, seeds=seeds, arm=["soft", "permuted", "hard"], kept="78", **two_digits)
two_share = torch.isin(train.labels[: scale["count"]], torch.tensor([7, 8])).float().mean().item()
two_after = after_shift(two_before, [7, 8], two_share, student, two_digits)

figure, axis = plt.subplots(figsize=(7, 3.6))
for position, (arm, role, text) in enumerate((("soft", "soft", "soft targets"), ("permuted", "control", "second choices permuted"), ("hard", "hard", "labels"))):
    pairs = np.array([two_before[two_before.arm == arm].errors, two_after[two_after.arm == arm].errors], float)
    position *= 1.25
    axis.plot([position - 0.17, position + 0.17], pairs, color=kd.plots.COLOURS[role], alpha=0.5, linewidth=1, marker="o", markersize=4)
    for side, values in zip((-0.17, 0.17), pairs):
        axis.errorbar(position + 1.5 * side, values.mean(), kd.plots.half_width(values), fmt="o", capsize=4, color=kd.plots.COLOURS[role])
        axis.annotate(f"{values.mean():,.0f}", (position + 1.5 * side, values.mean()), xytext=(-8 if side < 0 else 8, -4), textcoords="offset points",
                      ha="right" if side < 0 else "left", color=kd.plots.COLOURS[role], fontweight="bold")  # fmt: skip
    axis.annotate(text, (position, 11_400), ha="center", va="top", color=kd.plots.COLOURS[role], fontweight="bold")
for side, value, away, where in ((-0.17, 4730, -8, "right"), (0.17, 1320, 8, "left")):
    axis.plot(side, value, marker="D", color=kd.plots.COLOURS["published"], linestyle="none")
    axis.annotate(f"Hinton 2015:\n{value:,}", (side, value), xytext=(away, -10), textcoords="offset points", ha=where, fontsize=9, color=kd.plots.COLOURS["published"])
axis.axhline(8000, color="0.8", linewidth=0.8, zorder=0)
axis.annotate("7 or 8 to\neverything", (3.2, 8000), xytext=(0, -4), textcoords="offset points", ha="right", va="top", fontsize=9, color="0.35")
axis.set_xticks([1.25 * p + side for p in range(3) for side in (-0.17, 0.17)], ["before", "after"] * 3)
axis.set(xlim=(-0.9, 3.2), ylim=(0, 11_500), yticks=range(0, 10_001, 2000), ylabel="errors among 10,000 test images")
two = two_after.groupby("arm").errors.mean()
axis.set_title(f"From 7s and 8s to ten digits: {two.soft:,.0f} errors after the shift,\nbetter control {min(two.permuted, two.hard):,.0f}", fontsize=10)
kd.plots.show(
    figure,
    "Errors on all ten digits of students who saw only sevens and eights, before and after the common shift of the two biases; the two ends of a line are one run. Three groups: soft targets, targets with "
    "permuted second choices, labels. Diamonds: the paper's single runs. The grey line at 8,000 is what answering 7 or 8 to everything costs.",
)

# %%
pairs = [before[before.arm == "soft"].assign(arm="before"), after[after.arm == "soft"]]
pairs += [two_before[two_before.arm == "soft"].assign(arm="two_before"), two_after[two_after.arm == "soft"].assign(arm="two")]
kd.judge("02-shift-repairs", pd.concat(pairs, ignore_index=True))

# %% [markdown]
# The grey line is the point of reference. A student who says 7 or 8 to everything is right on both and wrong on the rest. A student of labels knows no more than that, and lowering its two biases only moves its answers to classes
# it has never had a reason to tell apart.
#
# ## The teacher with whom it fails
#
# Kim and his coauthors (2021, supplement) did this with CIFAR-100 and a tenth of the classes. Their big teacher (WRN-28-4: a wide residual network of 28 layers and width 4) left a student (WRN-16-2) at 10.2 % accuracy on all hundred classes: it had learned the ten it saw. A *smaller* teacher
# (WRN-16-2) brought the same kind of student to 32.1 %, and a bigger student to 44.3 %. They explain it with the confidence of the big teacher.
#
# If they are right, it is not hard to arrange here. Train a big network without any regularisation until it makes no error on its training images. On those it is certain, and a student who sees
# only these images sees hardly any second choices. Then let it teach three digits, from among the images it was trained on. Five teachers:
#
# | arm | teacher | how long | the student sees |
# |---|---|---|---|
# | `small` | one hidden layer of 32 units | briefly | 1s, 4s and 7s the teacher was trained on |
# | `small_long` | the same | to (nearly) no training error | the same images |
# | `big_short` | two hidden layers of 300 units | briefly | the same images |
# | `big` | the same | to no training error | the same images |
# | `big_fresh` | the same network as `big` | | 1s, 4s and 7s the teacher has *not* been trained on |
#
# Kim's comparison is `big` against `small`. (The published 5,568 errors on the card below belong to a bigger student; with the student unchanged, as here, it would be 6,793. And note that our `big` is built like the student, which in Kim's pairs the smaller teacher is:
# being of one kind is no protection.) The other three separate what it mixes: size, length of training, and whether the teacher knows the images by heart. The students' learning rate was tried at three values with each
# teacher by two pilot seeds; one serves all.


# %%
def plain_teacher(width, depth, epochs, count, learning_rate, seed):
    """A fully connected teacher without any regularisation, from other initial weights than the students; its weights and training errors."""
    train, _ = kd.hold_out(kd.load("mnist").train)
    model = kd.models.mlp(784, *[width] * depth, 10, seed=seed + 1_000_000)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed + 1_000_000)
    record = kd.fit(model, train[:count], kd.losses.hard_labels(), **settings)
    return record | {"weights": model.state_dict(), "training_errors": int((~kd.correct(model, train[:count])).sum())}


def plain_teacher_again(width, depth, **settings):
    """The network behind a plain teacher's result, and the result."""
    result = kd.run(plain_teacher, width=width, depth=depth, **settings)
    model = kd.models.mlp(784, *[width] * depth, 10)
    model.load_state_dict(result["weights"])
    return model, result


def few_class_student(kept, seed, first, count, epochs, learning_rate, temperature, student_width, width, depth, teacher_epochs, teacher_rate, part="test"):
    """A student that sees the digits `kept` among `count` images from number `first` on; its teacher was trained on images 0 to `count`."""
    train, unlabelled, judged = places(part)
    teacher, result = plain_teacher_again(width, depth, epochs=teacher_epochs, count=count, learning_rate=teacher_rate, seed=seed)
    transfer = train[first : first + count]
    transfer = transfer[torch.isin(transfer.labels, torch.tensor([int(digit) for digit in kept]))]
    targets = kd.predict_logits(teacher, transfer.images)
    model = kd.models.mlp(784, student_width, student_width, 10, seed=seed)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed)
    record = kd.fit(model, transfer, kd.losses.soft_targets(temperature), targets=targets, **settings)
    logits = kd.predict_logits(model, judged.images)
    return record | {
        "logits": logits,
        "unlabelled_logits": kd.predict_logits(model, unlabelled.images),
        "correct": logits.argmax(dim=1) == judged.labels,
        "doubt": 1 - targets.double().softmax(dim=1).amax(dim=1),  # probability not on the first choice, at T = 1
        "teacher_errors": int((~kd.correct(teacher, judged)).sum()),
        "training_errors": result["training_errors"],
    }


few_classes = dict(
    kept="147",
    count=lesson.pick(smoke=300, quick=5_000, full=50_000),
    epochs=lesson.pick(smoke=2, quick=15, full=20),
    learning_rate=8e-3,
    temperature=20.0,
    student_width=300,
)
small, big = dict(width=32, depth=1), dict(width=300, depth=2)
kinds = {
    "small": small | dict(teacher_epochs=lesson.pick(smoke=1, quick=5, full=1), teacher_rate=4e-3, first=0),
    "small_long": small | dict(teacher_epochs=lesson.pick(smoke=2, quick=30, full=200), teacher_rate=8e-3, first=0),
    "big_short": big | dict(teacher_epochs=lesson.pick(smoke=1, quick=3, full=1), teacher_rate=4e-3, first=0),
    "big": big | dict(teacher_epochs=lesson.pick(smoke=2, quick=20, full=40), teacher_rate=4e-3, first=0),
}
kinds["big_fresh"] = kinds["big"] | dict(first=few_classes["count"] if profile != "full" else 0)
pupils = pd.concat([kd.sweep(few_class_student, seeds=seeds, **few_classes, **kind).assign(arm=arm) for arm, kind in kinds.items()], ignore_index=True)
three_share = torch.isin(train.labels, torch.tensor([1, 4, 7])).float().mean().item()
shifted_pupils = pd.concat(
    [after_shift(pupils[pupils.arm == arm], [1, 4, 7], three_share, few_class_student, few_classes | kind, axes=("seed",)) for arm, kind in kinds.items()],
    ignore_index=True,
)
learned = pupils.groupby("arm").training_errors.mean()
print("training errors of the teachers, mean over seeds:\n" + ", ".join(f"{arm} {learned[arm]:.1f}" for arm in kinds))

# %% tags=["slide:certain", "slide-output"]
words = {"big": "big, long", "big_fresh": "big, long, fresh images", "small_long": "small, long", "big_short": "big, briefly", "small": "small, briefly"}
lines = {"big": "-", "big_fresh": "-.", "small_long": "--", "big_short": ":", "small": "-"}
beside = {"big": (8, -4), "big_fresh": (8, -4), "small_long": (-8, -16), "big_short": (12, 6), "small": (-4, -18)}  # where the words stand, in points
figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.9), width_ratios=[1.2, 1])
for arm, text in words.items():
    rows = pupils[pupils.arm == arm]
    role = "soft" if arm in ("small", "big") else "control"
    left.scatter(rows.teacher_errors, rows.errors, color=kd.plots.COLOURS[role], s=24, marker="s" if arm.startswith("big") else "o", alpha=0.8)
    left.annotate(text, (rows.teacher_errors.mean(), rows.errors.mean()), xytext=beside[arm], textcoords="offset points", fontsize=9, color=kd.plots.COLOURS[role],
                  ha="right" if beside[arm][0] < -5 else "left")  # fmt: skip
    doubt = np.sort(np.concatenate(rows.doubt.tolist()))[::5]
    right.plot(np.maximum(doubt, 1e-9), np.linspace(0, 100, len(doubt)), color=kd.plots.COLOURS[role], linestyle=lines[arm], label=text,
               linewidth=1 if arm == "small" else 2)  # fmt: skip
left.set(xlabel="the teacher's own errors among 10,000", ylabel="its student's errors on all ten digits", ylim=(0, None))
left.margins(x=0.25)
right.set(xscale="log", xlim=(1e-9, 1), ylim=(0, 160), yticks=range(0, 101, 25))
right.set(xlabel="probability the teacher leaves\nto its other choices, T = 1", ylabel="transfer images with less, %")
right.legend(loc="upper left", fontsize=9, frameon=False, handlelength=2.4, labelspacing=0.2)
on = pupils.groupby("arm")[["errors", "teacher_errors"]].mean()
worse = on.errors["big"] > on.errors["small"] and on.teacher_errors["big"] < on.teacher_errors["small"]
figure.suptitle("The network with fewer errors is the worse teacher" if worse else "Here the network with fewer errors is not the worse teacher", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Left: a point a run, the teacher's own test errors against the errors of its student on all ten digits; squares are big teachers, circles small ones. Right: for each kind of teacher, the cumulative distribution over transfer "
    "images of the probability it leaves to its other choices. The further left a line, the more certain the teacher. "
    + "; ".join(f"{arm}: teacher {on.teacher_errors[arm]:.0f}, student {on.errors[arm]:.0f} errors" for arm in words),
)

# %% tags=["slide", "slide-output"]
shifts = shifted_pupils[shifted_pupils.arm.isin(["small", "big"])]
kd.judge("02-overconfident-teacher", pd.concat([pupils, shifts.assign(arm=shifts.arm + "_shifted")], ignore_index=True))

# %%
kd.judge("02-long-training", pupils)

# %% [markdown]
# Left panel: a good teacher stands to the left, a well taught student below. Where do the blue points lie? Right panel: the further left a line, the more certain the teacher. Note
# `big_fresh`: it is the same network as `big`, weight for weight, asked about other images. Compare their two lines, then their two groups of squares, which stand one above the other. Does certainty order the students as well as it orders the lines?
#
# Two warnings. Our small teacher was stopped early as well as being small; the three brown arms are there because of that. And "certain" cannot be the whole explanation: a certain
# teacher's logits still differ from image to image, and at T = 20 the student sees that. Perhaps long training takes away the *agreement* of these differences with how the images look; we have not tested it.
#
# ## Little data
#
# So far the student had many images of few classes. Now all classes, and few images. Hinton and his coauthors trained a speech model on 3 % of its data. With labels it reached 44.5 % frame accuracy (the share of short pieces of sound classified correctly), stopped early because it began to overfit; with the
# soft targets of the model that had seen everything it reached 57.0 %, without early stopping. That model itself had 58.9 %.
#
# A question hides in this that lesson 01 left open. The teacher has seen a hundred per cent. Does the student need fewer images because its targets are *soft*, or because somebody who knows more *answers*? Vary who teaches, on the same images:
#
# | arm | taught by | which knows |
# |---|---|---|
# | `hard_3` | labels | |
# | `few` | a network of the student's own kind | the same 3 % and no more |
# | `conv_few` | the convolutional network, trained with jitter (images moved by up to two pixels) | the same 3 % and no more, but that digits may be moved |
# | `conv` | the convolutional network, trained with jitter | all images |
# | `soft_3` | a network of the student's own kind | all images |
# | `shuffled_3` | the same, targets shuffled within the class | |
# | `hard_all` | labels, on all images: the teacher of `soft_3` | |


# %%
def little_data_targets(arm, seed, count, settings, width, everything, teacher_epochs, teacher_count, few_epochs):
    """Logits [count, 10] of one of the teachers for the first `count` training images; None for labels."""
    if arm == "hard":
        return None
    if arm in ("conv", "conv_few"):
        known, epochs = (teacher_count, teacher_epochs) if arm == "conv" else (count, few_epochs)
        return kd.run(teacher_logits, seed=seed, epochs=epochs, known=known, count=count)["logits"]
    learned = {"count": count, **settings} if arm == "few" else everything
    teacher, _ = plain_teacher_again(width, 2, seed=seed, **learned)
    train, _ = kd.hold_out(kd.load("mnist").train)
    logits = kd.predict_logits(teacher, train.images[:count])
    return kd.controls.shuffle_within_class(logits, train.labels[:count], seed) if arm == "shuffled" else logits


def little_data(arm, seed, count, epochs, learning_rate, temperature, width, everything, teacher_epochs, teacher_count, few_epochs, part="test"):
    """A student of the first `count` training images, from labels or from a teacher's soft targets."""
    train, _, judged = places(part)
    settings = dict(epochs=epochs, learning_rate=learning_rate)
    targets = little_data_targets(arm, seed, count, settings, width, everything, teacher_epochs, teacher_count, few_epochs)
    loss = kd.losses.hard_labels() if targets is None else kd.losses.soft_targets(temperature)
    model = kd.models.mlp(784, width, width, 10, seed=seed)
    watch = dict(watch=kd.hold_out(kd.load("mnist").train)[1][:2000], watch_every=40) if arm in ("hard", "soft") else {}
    record = kd.fit(model, train[:count], loss, batch_size=128, seed=seed, targets=targets, **settings, **watch)
    training_errors = int((~kd.correct(model, train[:count])).sum())
    return record | {"correct": kd.correct(model, judged), "training_errors": training_errors}


def network_of_all(seed, width, everything, part="test"):
    """The network that learned from the labels of all images: what more data would give, and the teacher of `soft`."""
    model, result = plain_teacher_again(width, 2, seed=seed, **everything)
    return {name: result[name] for name in ("init", "order", "training_errors")} | {"correct": kd.correct(model, places(part)[2])}


everything = dict(
    count=lesson.pick(smoke=600, quick=50_000, full=50_000),
    epochs=lesson.pick(smoke=1, quick=4, full=15),
    learning_rate=lesson.pick(smoke=4e-3, quick=4e-3, full=2e-3),
)
width = training["width"]
little = dict(everything=everything, temperature=20.0, width=width, learning_rate=1.6e-2 if width == 300 else 8e-3, few_epochs=lesson.pick(smoke=1, quick=30, full=60))
little |= {name: scale[name] for name in ("teacher_epochs", "teacher_count")}
sizes = {  # images of the transfer set → epochs
    lesson.pick(smoke=100, quick=500, full=500): lesson.pick(smoke=2, quick=40, full=120),
    lesson.pick(smoke=200, quick=1_500, full=1_500): lesson.pick(smoke=2, quick=40, full=120),
    lesson.pick(smoke=400, quick=5_000, full=5_000): lesson.pick(smoke=1, quick=12, full=40),
}
three_percent = list(sizes)[1]
teachers_and_labels = ["hard", "soft", "few", "shuffled", "conv", "conv_few"]
sweeps = [
    kd.sweep(little_data, seeds=seeds, arm=teachers_and_labels if count == three_percent else ["hard", "soft"], count=count, epochs=epochs, **little)
    for count, epochs in sizes.items()
]
little_runs = pd.concat(sweeps, ignore_index=True)
all_images = kd.sweep(network_of_all, seeds=seeds, width=width, everything=everything).assign(arm="hard_all", count=everything["count"])

# %%
curves = pd.concat([little_runs[little_runs.arm.isin(["hard", "soft"])], all_images.assign(arm="hard")], ignore_index=True)
figure, axis = plt.subplots(figsize=(7, 3.6))
for arm, text in (("hard", "labels"), ("soft", "soft targets of the network\nthat learned from all images")):
    rows = curves[curves.arm == arm]
    axis.scatter(rows["count"], rows.errors, s=16, color=kd.plots.COLOURS[arm], alpha=0.5, linewidths=0)
    means = rows.groupby("count").errors.mean()
    half = [kd.plots.half_width(rows[rows["count"] == count].errors) for count in means.index]
    axis.errorbar(means.index, means, half, color=kd.plots.COLOURS[arm], marker="o", capsize=4)
    axis.annotate(text, (means.index[0], means.iloc[0]), xytext=(8, 8) if arm == "hard" else (-4, -70), textcoords="offset points", color=kd.plots.COLOURS[arm],
                  fontweight="bold", va="bottom" if arm == "hard" else "top")  # fmt: skip
axis.axhline(all_images.errors.mean(), color=kd.plots.COLOURS["teacher"], linewidth=1, linestyle="--")
axis.set(xscale="log", yscale="log", xlabel="images of the student", ylabel="errors among 10,000 test images")
axis.set_xticks(list(means.index) + [everything["count"]], [f"{n:,}" for n in [*means.index, everything["count"]]])
ticks = [100, 200, 500, 1000, 2000]
axis.set_yticks(ticks, [f"{t:,}" for t in ticks])
axis.minorticks_off()
lost = curves[(curves.arm == "hard") & (curves["count"] == three_percent)].errors.mean() - all_images.errors.mean()
regained = curves[(curves.arm == "hard") & (curves["count"] == three_percent)].errors.mean() - curves[(curves.arm == "soft") & (curves["count"] == three_percent)].errors.mean()
axis.set_title(f"Of {lost:.0f} errors that {three_percent:,} images cost against {everything['count']:,}, soft targets take back {100 * regained / lost:.0f} %", fontsize=10)
kd.plots.show(
    figure,
    "Test errors against the number of images, both logarithmic, every run a dot, means with 95 percent intervals: students of labels and students of soft targets of a network that learned from all images. The dashed line is that network. "
    + "; ".join(f"{row.arm}, {row.count_:,} images: {row.errors:.0f}" for row in curves.groupby(["arm", "count"]).errors.mean().reset_index().rename(columns={"count": "count_"}).itertuples()),
)
at_three = little_runs[little_runs["count"] == three_percent]
print(f"training errors of students of {three_percent:,} images, and their validation error")
for arm in ("hard", "soft"):
    rows = at_three[at_three.arm == arm]
    ends, bests = [[f([errors for _, errors in row]) / 20 for row in rows.watched] for f in (lambda e: e[-1], min)]
    print(f"{arm}: {rows.training_errors.mean():4.1f} · {np.mean(ends):.2f} % at the end, {np.mean(bests):.2f} % at its best moment")

# %% [markdown]
# Dot by dot, the blue line should lie below the orange one. How far to the right must you go on the orange line to reach the height of a blue point? That is how many labelled images its soft targets are worth.
#
# The lines below the figure answer an objection. A student of labels overfits, so perhaps it was only trained too long. Labels and soft targets had twelve tries each on validation images (four learning rates, three lengths, two pilot seeds), which is early stopping of a kind; the other teachers below take over what these two chose. And
# "at its best moment" shows what stopping each single run at the best of its moments would still have saved.

# %% tags=["slide:who", "slide-output"]
columns = {
    "hard_3": ("labels", "hard"),
    "shuffled_3": ("shuffled\nin class", "control"),
    "few": ("own kind,\nsame 3 %", "soft"),
    "conv_few": ("convol.,\nsame 3 %", "soft"),
    "conv": ("convol.,\nall images", "soft"),
    "soft_3": ("own kind,\nall images", "soft"),
    "hard_all": ("labels on\nall images", "teacher"),
}
names = {"hard": "hard_3", "soft": "soft_3", "shuffled": "shuffled_3"}
who_teaches = pd.concat([at_three.assign(arm=at_three.arm.replace(names)), all_images], ignore_index=True)
mean = who_teaches.groupby("arm").errors.mean()
title = f"On {three_percent:,} images it matters who teaches: {mean.few:.0f}, {mean.conv_few:.0f}, {mean.conv:.0f}, {mean.soft_3:.0f} errors"
figure = kd.plots.paired_arms(who_teaches, columns, label="errors among 10,000 test images", title=title)
figure.axes[0].set_xlabel("who teaches, and what the teacher has seen")
kd.plots.show(
    figure,
    "Test errors of students that see 3 percent of the images, one column for each teacher, every run a dot, runs of a seed joined, means with 95 percent intervals; last column: the network that learned from the labels of all images. "
    + "; ".join(f"{arm}: mean {mean[arm]:.0f}" for arm in columns),
)

# %% tags=["slide", "slide-output"]
kd.judge("02-three-percent", who_teaches)

# %%
kd.judge("02-who-teaches-matters", who_teaches)

# %% [markdown]
# Read the four blue columns from left to right. The first teacher knows what the labels know, and no more. But it explains images it was trained on, and after the last section you know what that can cost: the column is what *this* softness is worth, not all softness. The second knows no more images, but it knows something about images, because convolutions and
# jitter say that a moved digit is the same digit. The last two have seen everything.
#
# And one of these comparisons may surprise you, as the last section did: the convolutional network makes fewer errors than the student's own kind (lesson 01), so if rank decided, `conv` would have to lie below `soft_3`. One reading: from few images, a
# student can only guess how its teacher's answers go on elsewhere, and it guesses better where the teacher is a function of its own kind.
# Other readings are possible: the two teachers differ in jitter (moved images), length of training and confidence too, and the recipe was tuned for labels and for the own kind. No card judges this comparison.
#
# ## Back to the missing 3
#
# Then who taught the first students of this lesson? The convolutional network. If its answers are hard to continue for a student of another kind, a teacher of the student's own kind should pass on the 3s better, though it makes
# more errors itself. We have one: the network that learned from all images. Everything else stays as it was, the weights, the batches, the rule for the shift.


# %%
def own_kind_student(seed, kept, count, epochs, learning_rate, temperature, width, everything, part="test"):
    """The student of the first experiment, taught by a network of its own kind that learned from the labels of all images."""
    train, unlabelled, judged = places(part)
    teacher, _ = plain_teacher_again(width, 2, seed=seed, **everything)
    here = torch.isin(train.labels[:count], torch.tensor([int(digit) for digit in kept]))
    transfer = train[:count][here]
    model = kd.models.mlp(784, width, width, 10, seed=seed)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed)
    record = kd.fit(model, transfer, kd.losses.soft_targets(temperature), targets=kd.predict_logits(teacher, transfer.images), **settings)
    logits = kd.predict_logits(model, judged.images)
    unlabelled_logits = kd.predict_logits(model, unlabelled.images)
    return record | {"logits": logits, "unlabelled_logits": unlabelled_logits, "correct": logits.argmax(dim=1) == judged.labels}


same = {name: training[name] for name in ("count", "epochs", "learning_rate", "temperature", "width")} | dict(kept=everything_else, everything=everything)
own_before = kd.sweep(own_kind_student, seeds=seeds, **same)
own = with_recall(after_shift(own_before, [3], share, own_kind_student, same, axes=("seed",))).assign(arm="own")
own_before = with_recall(own_before).assign(arm="own_before")
both = pd.concat([own_before, own, before[before.arm == "soft"].assign(arm="before"), after[after.arm == "soft"]], ignore_index=True)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
published = {"errors": (206, 109), "recall": (86.8, 98.6)}
for axis, metric, text in ((left, "errors", "errors among 10,000 test images"), (right, "recall", "3s recognised, %")):
    for position, first, second, role in ((0, "before", "soft", "control"), (2.8, "own_before", "own", "soft")):
        pairs = np.array([both[both.arm == arm].sort_values("seed")[metric] for arm in (first, second)], float)
        axis.plot([position - 0.2, position + 0.2], pairs, color=kd.plots.COLOURS[role], alpha=0.5, linewidth=1, marker="o", markersize=4)
        for side, values in zip((-0.2, 0.2), pairs):
            axis.errorbar(position + 1.4 * side, values.mean(), kd.plots.half_width(values), fmt="o", capsize=4, color=kd.plots.COLOURS[role])
            axis.annotate(f"{values.mean():.0f}", (position + 1.4 * side, values.mean()), xytext=(-7 if side < 0 else 7, -4), textcoords="offset points",
                          ha="right" if side < 0 else "left", color=kd.plots.COLOURS[role], fontweight="bold")  # fmt: skip
    axis.plot([4.8, 5.2], published[metric], marker="D", linestyle=":", color=kd.plots.COLOURS["published"])
    for x, value, away, where in zip((4.8, 5.2), published[metric], ((0, -16 if metric == "recall" else 8), (8, -3)), ("center", "left")):
        axis.annotate(f"{value:g}", (x, value), xytext=away, textcoords="offset points", ha=where, fontsize=9, color=kd.plots.COLOURS["published"])
    axis.set_xticks([0, 2.8, 5.0], ["convol.\nteacher", "teacher of\nits own kind", "Hinton\n2015"])
    axis.set(xlim=(-1.6, 6.2), ylim=(0, None if metric == "errors" else 109), ylabel=text)
best = both.groupby("arm")[["errors", "recall"]].mean()
left.set_title(f"{best.errors['soft']:.0f} errors after the shift,\n{best.errors['own']:.0f} with a teacher of its own kind", fontsize=10)
right.set_title(f"3s found before any shift:\n{best.recall['before']:.0f} % and {best.recall['own_before']:.0f} %", fontsize=10)
kd.plots.show(
    figure,
    "Two panels: errors on all ten digits, and the percentage of threes recognised, of students that never saw a three, before and after the shift chosen without labels; the two ends of a line are one run. In each panel the students of the "
    "convolutional teacher, the students of a teacher of their own kind, and the paper's single run as diamonds.",
)
kd.judge("02-own-kind", both)

# %% [markdown]
# Compare with the diamonds again: the paper's teacher was fully connected, as its student was, though it was trained with moved images, as our convolutional one is. And compare how much each teacher leaves for the shift to repair. Which of the two is better? For this student you see it; for another it may be the other, which we have not tried.
#
# ## What goes wrong in practice
#
# A report says: "Our student has never seen a 3, and recognises 98.6 % of them", the paper's number. Can you tell from this sentence what it was trained on? Ask every student of the first seed for the smallest
# shift with which it can print the sentence about validation images, whose labels we read for once.

# %% tags=["slide:wrong", "slide-output"]
threes_there = validation.labels == 3
print(f"{'':9s} {'shift':>5s} {'3s recognised':>15s} {'errors among 10,000':>21s}")
for arm in ("soft", "shuffled", "smoothed", "hard", "untrained"):
    z = kd.run(student, arm=arm, kept=everything_else, seed=first_seed, **training)["unlabelled_logits"]
    shift = -torch.quantile(margin(z[threes_there], [3]), 1 - 0.986, interpolation="lower").item() + 1e-3
    said = shifted(z, [3], shift).argmax(dim=1)
    found, wrong = 100 * (said[threes_there] == 3).float().mean(), int((said != validation.labels).sum())
    print(f"{arm:9s} {shift:5.1f} {found:13.1f} % {wrong:21,}")

# %% [markdown]
# All five can, even the student of a network with random weights. The sentence is true and says nothing, because the shift was chosen to make it true and the price was left out. The cure is to print the last column, and to choose the
# shift by a rule that does not look at the 3s. The same holds for every detector of rare things: recall without precision is for sale.
#
# ## Exercises
#
# ### 1 · The other rule
#
# A colleague objects: "I do not want my student to *answer* 3 in a tenth of the cases, I want it to *believe* in 3s to that amount on average." That is the rule of a published reproduction (cybertronai/hinton-problems): the shift at which the mean probability of class 3 (softmax at T = 1) equals its share.
# The mean rises with the shift, so halving an interval finds it. Fill in what is compared.


# %% tags=["exercise"]
def shift_for_mean_probability(logits, digit, share):
    """[N, K] logits → the shift of one digit's logit at which its mean probability over the N images is `share`."""
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        moved = logits.clone()
        moved[:, digit] = ...
        mean_probability = ...
        low, high = (middle, high) if mean_probability < share else (low, middle)
    return middle


# %% tags=["solution"]
def shift_for_mean_probability(logits, digit, share):
    """[N, K] logits → the shift of one digit's logit at which its mean probability over the N images is `share`."""
    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        moved = logits.clone()
        moved[:, digit] = logits[:, digit] + middle
        mean_probability = F.softmax(moved, dim=1)[:, digit].mean()
        low, high = (middle, high) if mean_probability < share else (low, middle)
    return middle


# %%
kd.checks.lesson02.shift_for_mean_probability(shift_for_mean_probability);

# %% [markdown]
# ### 2 · Why one number is enough
#
# Bayes says that the odds of a class given an image are its prior odds times how well the image fits. A student trained at T = 1 that is calibrated for a world in which 1 % of the images are 3s comes to a world in which 10 % are; 3s look
# the same in both. The odds of every image rise by one and the same factor, and a factor on the odds is a number added to the logit. Which one? Three decimals will do.

# %% tags=["exercise"]
shift = ...

# %% tags=["solution"]
shift = np.log(0.10 / 0.90) - np.log(0.01 / 0.99)

# %%
kd.checks.lesson02.prior_shift(shift);

# %% [markdown]
# Our students learn at T = 20 and from images without a single 3, where this formula would ask for an infinite shift; so this is why a shift should work, and no proof that it does.
#
# ### 3 · Find the leaks
#
# Six sentences from a draft report about a student that never saw a 3. In which does the test set choose something? Answer with their letters, as in `{"a", "b"}`.
#
# a. "We took the shift with the fewest errors on the test images." \
# b. "We took the shift at which 3 is answered as often as 3s occur, on 10,000 training images set aside, whose labels we did not read." \
# c. "We took the shift with the fewest errors on labelled validation images; these labels include 3s." \
# d. "We trained with five seeds and report the one that found most test 3s." \
# e. "We trained for as many epochs as gave the lowest test error." \
# f. "The teacher was trained on all digits, with the labels of the 3s."

# %% tags=["exercise"]
leaks = ...

# %% tags=["solution"]
leaks = {"a", "d", "e"}

# %%
kd.checks.lesson02.leaks(leaks);

# %% [markdown]
# ### 4 · How much was recovered?
#
# Three published results, in per cent correct. Speech (Hinton 2015, Table 5): labels on 3 % of the data 44.5, soft targets on 3 % 57.0, labels on everything 58.9. CIFAR-100 with a tenth of the images (Kim 2021, supplement,
# Table 4), students WRN-16-2: labels 42.51; soft targets of the big WRN-28-4 54.09; of a teacher of the student's own size 63.39; labels on everything 72.56. Which fraction of the gap between little and all data was recovered, in each case?

# %% tags=["exercise"]
speech = ...
big_teacher = ...
small_teacher = ...

# %% tags=["solution"]
speech = (57.0 - 44.5) / (58.9 - 44.5)
big_teacher = (54.09 - 42.51) / (72.56 - 42.51)
small_teacher = (63.39 - 42.51) / (72.56 - 42.51)

# %%
kd.checks.lesson02.fraction_of_gap(speech, big_teacher, small_teacher);

# %% [markdown]
# ## Takeaways
#
# - A teacher's opinion of other classes can carry a class that the student never sees. In a world without that class its bias can come out too low, how much depends on the teacher; one shift repairs a good part of the damage, and needs no labels, only the frequency of the class.
# - Judge such a student by all its errors. Recall of the missing class can be bought, with a large enough shift, by a student who knows nothing.
# - Give a control the same correction as the treatment. Students without a shift of their own are no comparison for one that has it.
# - The best teacher need not be the one with the fewest errors. With few classes or few images, ask what its answers *on the transfer images* still show, and try images it has not learned by heart.
# - "Soft targets need fewer images" mixes two things: what softness gives, and what a teacher knows that the student's images do not show. The figure with the four blue columns begins to take them apart.
#
# What was tested is one data set of easy images, students of two layers, one digit left out, one choice of three. Whether 3 is an easy digit to leave out we have not asked; to find out, change `everything_else` and every 3 that follows from it.
#
# **Further reading.** Hinton, Vinyals & Dean, *Distilling the Knowledge in a Neural Network*, 2015, sections 3 and 6 · Kim, Oh, Kim, Cho & Yun, *Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge
# Distillation*, 2021 (few classes and few images are in a supplement; lesson 04 has the main part) · Cho & Hariharan, *On the Efficacy of Knowledge Distillation*, 2019 (stopping teachers early) · Saerens, Latinne & Decaestecker, *Adjusting the Outputs of a
# Classifier to New a Priori Probabilities*, 2002 (exercise 2, done properly) · cybertronai/hinton-problems, `distillation-mnist-omitted-3` (the reproduction behind exercise 1).
