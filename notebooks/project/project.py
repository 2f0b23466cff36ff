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
# # Project · A small, honest distillation study of your own
#
# **At the end you have asked one question on data that no lesson has used, and answered it so that somebody else can believe the answer, whatever it is.**
#
# 3 to 5 hours · needs lessons [00](00_start_here.ipynb), [01](01_soft_targets.ipynb) and one more of your choice · the task and how it is marked: `docs/project.md`
#
# A claim that is refuted or stays inconclusive gets full marks; a claim that was fitted to its runs gets none. What is marked is how you know.
#
# How to work:
#
# - Fill in every `...` in code cells and every *Write here* in text cells (replace these two words by yours). Add cells where you need them; keep the headings, the checker looks for them.
# - Rehearse with `profile = "smoke"` until the notebook runs from top to bottom: that takes seconds and judges nothing. Then set `"quick"`, restart the kernel and run all cells.
# - At any time: `kdcourse check-project work/project.ipynb` in a terminal says what is there, what is missing and what to do.

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "smoke")  # "smoke": a rehearsal of seconds · "quick": the study itself
first_seed = 0  # another number, below 9000, gives fresh runs: a new claim needs them

# %%
import matplotlib.pyplot as plt

import kdcourse as kd
from kdcourse import project

kd.plots.style()
lesson = project.begin(profile, first_seed)

# %% [markdown]
# ## 1 · The data
#
# Three ways, each one command in a terminal, in the course's folder:
#
# | data | command | then |
# |---|---|---|
# | ten letters that are easy to confuse, drawn on your machine, no network | `kdcourse import-images --letters` | `data = "letters"` |
# | KMNIST: cursive Japanese characters, one download | `kdcourse import-images --kmnist` | `data = "kmnist"` |
# | your own images, one sub-folder a class (200 or more images a class, or the test set is too small to show anything) | `kdcourse import-images my_birds path/to/folder` | `data = "my_birds"` |
#
# Say in three or four sentences where the images are from, who may use them and under which licence, how many there are, and what would be a mistake that matters.
#
# *Write here*

# %%
data = ...
held_out = ...  # how many of the last training images are for validation: about a sixth (letters: 2000, which are of fonts of their own)
whole = kd.load(data)
train, validation = kd.hold_out(whole.train, held_out)
print(f"{data}: {len(train):,} images to train on, {len(validation):,} to choose with, {len(whole.test):,} to judge with; classes {', '.join(whole.classes)}")

# %% [markdown]
# ## 2 · Look at it
#
# Look at training images only; the test images are seen once, by the study. Which classes do you confuse yourself? Are the classes as frequent as each other? Is anything in the picture (a border, a
# watermark, the paper) that gives the class away?

# %%
figure, axes = plt.subplots(len(whole.classes), 12, figsize=(7, 0.58 * len(whole.classes)))
for row, name in enumerate(whole.classes):
    for axis, index in zip(axes[row], (train.labels == row).nonzero().flatten()):
        axis.imshow(train.images[index, 0])
    for axis in axes[row]:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    axes[row, 0].set_ylabel(name, rotation=0, ha="right", va="center")
figure.suptitle(...)  # one message: what is hard about these images
kd.plots.show(figure, ...)  # for those who cannot see it: what is drawn and how to read it

# %% [markdown]
# ## 3 · The claim
#
# Now, before any network is trained, write your claim into `project_claims.toml`, which lies beside this notebook. It needs
#
# - a **statement** that can turn out false,
# - its **contrasts**: differences of arms (an arm is one way to train the student) such as `labels - distilled`, each with a **minimum effect** in errors per 10,000,
# - at least one **negative control** among them: `shuffled - distilled`, where the control's targets come from `kd.controls`. If a student learns as much from shuffled answers, it has not learned what the teacher knows of each image.
#
# The minimum effects may wait for the pilot in section 6; statement and arms may not. Good questions are small. Is a teacher worth more with fewer images? Does a teacher of half the size do as well (`equivalent` instead of
# `greater`, with a margin)? Does what lesson 03 found about temperature hold here?

# %%
kd.claims.announce("project", ledger=project.read_claims())

# %% [markdown]
# ## 4 · If it comes out otherwise
#
# Still before the runs: what will you conclude if the verdict is REFUTED? What if it is INCONCLUSIVE? Two or three sentences each, in your own words: which explanation would you look at first, and what would you then do?
#
# *Write here*

# %% [markdown]
# ## 5 · A teacher and its students
#
# Two trials, as in lesson 01: functions of plain arguments that return who was classified correctly. `part` decides which images are judged: "validation" while you choose, "test" in the study. All arms of a seed have the same student, the
# same images, the same epochs; they differ in their targets and in nothing else.


# %%
def parts(data, held_out, part):
    """(training images, the images that are judged)."""
    whole = kd.load(data)
    train, validation = kd.hold_out(whole.train, held_out)
    return train, {"validation": validation, "test": whole.test}[part]


def teacher(seed, data, held_out, teacher_epochs, part):
    train, judged = parts(data, held_out, part)
    model = ...  # a network that knows better than the student: why should it? kd.models.cnn(...)
    record = ...  # kd.fit(model, train, ...) with labels
    return record | {"logits": kd.predict_logits(model, train.images), "correct": kd.correct(model, judged)}


def targets_of(arm, seed, labels, **teacher_settings):
    """The teacher's logits that an arm learns from, [N, K]; None for labels."""
    if arm == "labels":
        return None
    logits = kd.run(teacher, seed=seed, **teacher_settings)["logits"][: len(labels)]
    if arm == "distilled":
        return logits
    return ...  # your negative control: see kd.controls


def student(arm, seed, data, held_out, count, epochs, learning_rate, temperature, teacher_epochs, part):
    train, judged = parts(data, held_out, part)
    transfer = train[:count]  # the images all arms learn from
    targets = targets_of(arm, seed, transfer.labels, data=data, held_out=held_out, teacher_epochs=teacher_epochs, part=part)
    loss = ...  # of labels, or of soft targets at this temperature: kd.losses
    model = ...  # the same for all arms: the seed decides its initial weights
    record = kd.fit(model, transfer, loss, targets=targets, epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed)
    return record | {"correct": kd.correct(model, judged)}


# %% [markdown]
# ## 6 · The pilot
#
# Whatever can be chosen (learning rate, epochs, temperature, size of the student, minimum effect) is chosen here: on validation images, with seeds from 9000 on, and with as many tries for each arm as for the others.
# `project.pilot` sees to the first two and writes down what you tried.

# %%
arms = ["labels", "distilled", ...]
fixed = dict(
    data=data,
    held_out=held_out,
    count=lesson.pick(smoke=600, quick=..., full=...),  # images in the transfer set
    epochs=lesson.pick(smoke=1, quick=..., full=...),
    teacher_epochs=lesson.pick(smoke=1, quick=..., full=...),
    temperature=...,
)
is_teacher_good = project.pilot(teacher, seeds=[9000, 9001], data=data, held_out=held_out, teacher_epochs=fixed["teacher_epochs"])
pilots = project.pilot(student, seeds=[9000, 9001], arm=arms, learning_rate=..., **fixed)  # a list: the same tries for every arm
print(f"validation errors of the teachers: {is_teacher_good.errors.tolist()} of {len(validation):,}")
pilots.pivot_table(index="learning_rate", columns="arm", values="errors")

# %% [markdown]
# What did you choose, and why? By how much do two seeds of one arm differ? Set the minimum effects in `project_claims.toml` with that in mind: what difference would matter to somebody who uses the student?
#
# *Write here*
#
# ## 7 · Register the claim
#
# From here on the claim is fixed. The code that the cell prints stands for its exact words and numbers: show it to somebody before you go on.

# %%
project.register()

# %% [markdown]
# ## 8 · The study
#
# Five seeds or more, all arms of a seed paired, everything but the arm fixed. This reads the test images, once.

# %%
runs = project.run_study(
    student,
    seeds=lesson.seeds(smoke=1, quick=..., full=...),
    roles={"labels": "hard", "distilled": "soft", ...: "control"},
    learning_rate=...,
    **fixed,
)
runs.pivot_table(index="seed", columns="arm", values="errors")

# %% [markdown]
# ## 9 · The figure
#
# One message. Every run is drawn, runs of one seed are joined, and the title is computed from the runs, so that it is true whatever came out.

# %%
mean = runs.groupby("arm").errors.mean()
title = ...  # computed: an f-string with what was measured, and other words if nothing was saved
figure = kd.plots.paired_arms(runs, {"labels": ("labels", "hard"), ...: ...}, label=f"errors among {len(whole.test):,} test images", title=title)
kd.plots.show(figure, ...)

# %% [markdown]
# ## 10 · The verdict

# %%
kd.judge("project-distilled-beats-labels", runs, ledger=project.read_claims())

# %% [markdown]
# ## 11 · What this does not show
#
# One data set, one pair of networks, one budget: which sentences would a hurried reader conclude that your runs do not support? What else differs between the arms than the thing you mean? Could the teacher have had an advantage
# that has nothing to do with distillation (more images, other augmentation)? Which explanation does your control exclude, and which not?
#
# *Write here*
#
# ## 12 · In one paragraph
#
# What you asked, what you did, what came out (name the verdict as the card shows it), and what you would do next. For a reader who sees only this paragraph. If it came out otherwise than you hoped, compare with what you wrote in section 4.
#
# *Write here*

# %% [markdown]
# ## 13 · Hand in
#
# The last cell puts ledger, log and records into the notebook, so that the notebook alone can be checked. Set `profile = "quick"`, restart the kernel, run all cells, save, and see what the checker says:
# `kdcourse check-project work/project.ipynb`

# %%
project.hand_in()
