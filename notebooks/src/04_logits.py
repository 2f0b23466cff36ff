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
# # 04 · Logits against softmax
#
# **After this lesson you know the one number per image that a softmax throws away, can get all the others back from probabilities, and can say when
# matching logits beats matching the softmax at T = 1 and when it copies a teacher's mistakes.**
#
# 40 minutes · needs [lesson 01](01_soft_targets.ipynb) and the limit of high temperatures from [lesson 03](03_temperature.ipynb) · data: MNIST
#
# One year before soft targets had their name, Ba and Caruana (2014) trained shallow networks to imitate deep ones. They did not match probabilities. They matched the **logits**, the numbers before the
# softmax, by plain regression: a probability of 0.0001 and one of 0.0000001 are nearly the same target, their logarithms are not, and the difference may be something the teacher knows. Seven years later Kim et al. (2021)
# compared the two losses again and preferred the regression, except where the teacher had learned from wrong labels. This lesson puts both sentences to the test. And it asks what is left to do when somebody else
# owns the teacher, and all you get is probabilities, rounded.

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
lesson = kd.start("04", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson: who said it, their number, and what would count. They and their thresholds were written down before the
# runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("04")

# %% [markdown]
# ## What a softmax throws away
#
# The teacher is the convolutional network of lesson 01, which comes with the course. Take the image of the transfer set that it is least sure of, and look at its answer three times: as it leaves the network, after
# the softmax, and as the logarithm of that.

# %% tags=["slide:thrown", "slide-output"]
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
probabilities = F.softmax(logits, dim=1)
unsure = probabilities.max(dim=1).values.argmin().item()
z, p = logits[unsure], probabilities[unsure]

figure, axes = plt.subplots(1, 4, figsize=(7.6, 2.7), width_ratios=[0.8, 1, 1, 1])
axes[0].imshow(transfer.images[unsure, 0], vmin=0)
axes[0].axis("off")
axes[0].set_title(f"label {int(transfer.labels[unsure])}", fontsize=10, fontweight="normal")
for axis, values, title in ((axes[1], z, "logits z"), (axes[2], p, "softmax p"), (axes[3], p.log(), "log p")):
    axis.bar(range(10), values, color=kd.plots.COLOURS["teacher"])
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(xticks=range(10), title=title)
for axis, values in ((axes[1], z), (axes[3], p.log())):
    axis.axhline(values.mean(), color=kd.plots.COLOURS["soft"], linewidth=1.5, linestyle="--")
    axis.text(10.2, values.mean(), "mean", color=kd.plots.COLOURS["soft"], fontsize=9, va="center")
low = min(float(z.min()), float(p.log().min())) - 1
for axis in (axes[1], axes[3]):
    axis.set_ylim(low, max(float(z.max()), 1) + 1)
constant = float((z - p.log()).mean())
figure.suptitle(f"z and log p have one shape; they differ by {constant:.2f} for every class", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "The image the teacher is least sure of, and three bar charts of its answer for the ten classes: logits, probabilities, logarithms of the probabilities. The "
    "first and the last have the same shape at different heights; the dashed lines are their means.",
)

# %% [markdown] tags=["slide:log"]
# In the middle, most classes have vanished. To the right they are back, all of them: the logarithm undoes the exponential. What does not come back is the height, because
#
# $$ \log p_k = z_k - \log \sum_j e^{z_j}, $$
#
# and the last term is one number for the whole image. Subtract the mean over the classes, written with a bar, on both sides, and it cancels:
#
# $$ \log p_k - \overline{\log p} = z_k - \bar z . $$
#
# That is the whole proof. **Centred logits**, $z_k - \bar z$, can be read off probabilities; the mean $\bar z$ cannot. Nor did anybody teach it to the teacher: trained by cross-entropy, it is
# judged by its probabilities alone, and is free to add to all ten logits of an image what it likes.


# %%
def centred(logits):
    return logits - logits.mean(dim=1, keepdim=True)


def recover(probabilities):
    """[N, K] probabilities → the logits behind them, up to one number per row: centred."""
    return centred(probabilities.log())


exact = logits.double()
assert torch.allclose(recover(F.softmax(exact, dim=1)), centred(exact), rtol=0, atol=1e-12)  # float64: nothing is lost but the mean
gap = (recover(probabilities) - centred(logits)).abs().max()
print(f"float32: the largest difference over {len(logits)} images is {gap:.1e}, where centred logits go up to {centred(logits).abs().max():.1f}")
assert gap < 1e-3
print(f"what is gone: the mean logit of an image, which varies with a standard deviation of {logits.mean(dim=1).std():.2f} between images")

# %% [markdown]
# Once by hand, with three classes whose probabilities are powers of two.

# %% tags=["nbval-check-output"]
by_hand = torch.tensor([[1 / 2, 1 / 4, 1 / 4]], dtype=torch.float64)
print("logarithms, base 2:  ", (by_hand.log2()).tolist()[0])
print("their mean:          ", f"{by_hand.log2().mean():.4f}")
print("centred, base 2:     ", [f"{x:.4f}" for x in centred(by_hand.log2())[0].tolist()])
print("centred logits:      ", [f"{x:.4f}" for x in recover(by_hand)[0].tolist()])
print("softmax of those:    ", [f"{x:.4f}" for x in F.softmax(recover(by_hand), dim=1)[0].tolist()])

# %% [markdown] tags=["slide:loss"]
# ## From the picture to a loss
#
# **Logit matching** is the mean squared error (MSE) between the student's logits $z$ and the teacher's $v$, over the $K$ classes and the $N$ images of the batch:
#
# $$ L_\text{logit} = \frac{1}{NK} \sum_{n=1}^{N}\sum_{k=1}^{K} (z_{nk} - v_{nk})^2 $$
#
# Two facts tie it to what you know. First, the mean comes off by Pythagoras: for each image,
#
# $$ \frac1K\sum_k (z_k - v_k)^2 = \frac1K\sum_k \big((z_k-\bar z) - (v_k - \bar v)\big)^2 + (\bar z - \bar v)^2 . $$
#
# The second term asks the student to predict the number that the teacher was free to choose. Second, lesson 03 shows that $T^2 \cdot$ KL becomes, as $T \to \infty$, half of the first term. So between a soft-target loss at high temperature and
# logit matching there is no gulf: a factor of two, and the mean.


# %%
def logit_matching_loss(student_logits, teacher_logits):
    return ((student_logits - teacher_logits) ** 2).mean()


generator = torch.Generator().manual_seed(0)
some_student, some_teacher = (4 * torch.randn(2, 32, 10, generator=generator, dtype=torch.float64)).unbind()
assert torch.allclose(logit_matching_loss(some_student, some_teacher), kd.losses.logit_matching_loss(some_student, some_teacher))

shape = logit_matching_loss(centred(some_student), centred(some_teacher))
height = ((some_student.mean(dim=1) - some_teacher.mean(dim=1)) ** 2).mean()
assert torch.allclose(logit_matching_loss(some_student, some_teacher), shape + height)  # Pythagoras
for T in (1, 4, 20, 100, 1000):
    print(f"T = {T:4d}: T²·KL / (half the centred MSE) = {kd.losses.soft_target_loss(some_student, some_teacher, T) / (shape / 2):.4f}")
assert torch.allclose(kd.losses.soft_target_loss(some_student, some_teacher, 1e5), shape / 2, rtol=1e-3)

# %% [markdown] tags=["slide:arms"]
# ## The experiment
#
# What would have to be true? If small probabilities carry knowledge and the softmax at $T = 1$ hides it, students who match logits make fewer errors than students who match that softmax. If matching logits is at least as good as any temperature, as Kim et al. report
# for CIFAR-100, $T = 20$ does not beat it. If the mean is ballast, taking it out helps. And the controls of lesson 01 have to fail with this loss as they did with the other.
#
# | arm | what the student matches |
# |---|---|
# | `hard` | labels |
# | `kl_1`, `kl_4`, `kl_20` | the teacher's softmax at T = 1, 4, 20, by T²·KL |
# | `mse` | the teacher's logits |
# | `mse_centred` | the teacher's centred logits, with the student's own centred as well |
# | `shuffled`, `permuted` | as `mse_centred`, from tampered logits: those of another image of the label; non-target logits permuted within the image |
#
# The student has two layers of 300 units. All arms of a seed start from the same weights and see the same batches in the same order. One thing more than the loss differs: the learning rate. Losses of different steepness may need different
# rates, so each of the six arms in the next cell has its own, chosen with an equal budget: the same tries for every arm, on the validation images, by two pilot seeds that are not used here. Tampered and withheld targets were *not*
# tuned: they take the rate of `mse_centred`, whose loss they share. That favours `mse_centred` if anything; keep it in mind for the controls and for the API.

# %%
rates = {"hard": 8e-3, "kl_1": 8e-3, "kl_4": 16e-3, "kl_20": 8e-3, "mse": 16e-3, "mse_centred": 8e-3}
print("learning rates tried for each arm: 2e-3, 4e-3, 8e-3, 16e-3, 32e-3, by two seeds each, 10 epochs")
print("chosen: " + ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items()))


# %%
def logit_matching(centre=False):
    """The loss of logit matching for `fit`, against `batch.targets`; with `centre`, on centred logits of both sides."""

    def loss(model, batch):
        student, target = model(batch.images), batch.targets
        if centre:
            student, target = centred(student), centred(target)
        return kd.losses.logit_matching_loss(student, target)

    return loss


def loss_for(arm):
    if arm == "hard":
        return kd.losses.hard_labels()
    if arm.startswith("kl_"):
        return kd.losses.soft_targets(float(arm.removeprefix("kl_")))
    return logit_matching(centre=arm != "mse")


def what_is_returned(arm, logits):
    """What somebody who sees `arm` of the teacher's answer makes of it: centred logits [N, 10], zeros and gaps filled."""
    probabilities, classes = F.softmax(logits.double(), dim=1), logits.shape[1]
    if arm.startswith("digits_"):
        unit = 10.0 ** -int(arm.removeprefix("digits_"))
        rounded = (probabilities / unit).round() * unit
        return recover(torch.where(rounded < unit / 2, unit / 2, rounded)).float()  # a zero: half a unit of the last digit
    k = 1 if arm == "label" else int(arm.removeprefix("top_"))
    best, where = probabilities.topk(k, dim=1)
    if arm == "label":
        best = torch.full_like(best, 0.999)  # nobody said how sure the teacher is
    rest = (1 - best.sum(dim=1, keepdim=True)).clamp_min(1e-6) / (classes - k)  # spread evenly over the others
    return recover(rest.expand(-1, classes).scatter(1, where, best)).float()


def targets_for(arm, seed, labels, scale):
    """The logits an arm learns from, [count, 10]; None for labels."""
    if arm == "hard":
        return None
    logits = teacher(seed=seed, **scale)["logits"]
    if arm == "shuffled":
        return kd.controls.shuffle_within_class(logits, labels, seed)
    if arm == "permuted":
        return kd.controls.permute_non_targets(logits, seed)
    if arm.startswith(("digits_", "top_", "label")):
        return what_is_returned(arm, logits)
    return logits


def student(arm, seed, epochs, learning_rate, schedule, watch_every, count, teacher_epochs, teacher_count, part="test"):
    """A 784-300-300-10 student of one arm: who of the judged images it classifies correctly, and its validation errors on the way."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    transfer, judged = train[:count], {"test": mnist.test, "validation": validation}[part]
    scale = dict(count=count, teacher_epochs=teacher_epochs, teacher_count=teacher_count, part=part)
    targets = targets_for(arm, seed, transfer.labels, scale)
    model = kd.models.mlp(784, 300, 300, 10, seed=seed)
    watch = dict(watch=validation[:2000], watch_every=watch_every) if watch_every else {}
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed, schedule=schedule, **watch)
    record = kd.fit(model, transfer, loss_for(arm), targets=targets, **settings)
    return record | {"correct": kd.correct(model, judged)}


def students(arms, rates, **settings):
    """One sweep for each learning rate, put together; an arm without a rate of its own has that of `mse_centred`."""
    rate = {arm: rates.get(arm, rates["mse_centred"]) for arm in arms}
    sweeps = [kd.sweep(student, arm=[a for a in arms if rate[a] == r], learning_rate=r, **settings) for r in sorted(set(rate.values()))]
    return pd.concat(sweeps, ignore_index=True)


arms = [*rates, "shuffled", "permuted"]
seeds = lesson.seeds(smoke=1, quick=5, full=10)
training = dict(epochs=lesson.pick(smoke=1, quick=10, full=20), schedule="one_cycle", watch_every=0)
runs = students(arms, rates, seeds=seeds, **training, **scale)

# %% tags=["main-figure", "slide:main", "slide-output"]
names = {
    "hard": ("labels", "hard"),
    "kl_1": ("softmax\nT = 1", "soft"),
    "kl_4": ("softmax\nT = 4", "soft"),
    "kl_20": ("softmax\nT = 20", "soft"),
    "mse": ("logits", "soft"),
    "mse_centred": ("logits,\ncentred", "soft"),
    "shuffled": ("logits\nshuffled\nin class", "control"),
    "permuted": ("logits\npermuted", "control"),
}
mean = runs.groupby("arm").errors.mean()
title = f"{mean.kl_1:.0f} errors at T = 1, {mean.kl_20:.0f} at T = 20, {mean.mse:.0f} from logits, {mean.mse_centred:.0f} from centred ones"
figure = kd.plots.paired_arms(runs, names, label="errors among 10,000 test images", title=title)
kd.plots.show(
    figure,
    "Test errors of every run, one column for each thing a student can match. Thin lines join the runs of one seed. Beside each column the mean with its 95 percent "
    "interval over seeds. " + "; ".join(f"{arm}: mean {mean[arm]:.0f}" for arm in names),
)

# %% [markdown]
# Go from left to right. From $T = 1$ to $T = 20$ the softmax opens: at first the student hardly sees more than the label, at the end it sees the small probabilities. Then compare the three columns that see everything: $T = 20$, logits, centred logits.
# By the algebra above, the first and the last are nearly one loss, and should end near each other. The one in the middle asks for one number more.

# %% tags=["slide", "slide-output"]
kd.judge("04-logits-beat-softmax", runs)

# %%
kd.judge("04-logits-beat-high-temperature", runs)

# %%
kd.judge("04-the-mean-is-ballast", runs)

# %%
kd.judge("04-centred-is-high-temperature", runs)

# %%
kd.judge("04-controls-fail", runs)

# %% [markdown]
# Two of these cards belong together. If logits lose to $T = 20$ and centred logits beat plain ones, then what plain logit matching pays for is more likely the mean than the logits. (The two arms of the centring card also differ in their learning
# rate, printed above.) And the card of `mse_centred` and $T = 20$ asks for *equality*: there "no difference shown" says that 0 lies in the interval. Whether the two are close enough, you read off the interval: does it lie inside the margin?
#
# What the verdicts do not say: one data set, one student, a teacher far better than its students. Kim et al. have a hundred classes, where the mean is one number beside 99 others; here it is one
# beside nine. If our order differs from theirs, that may be why; it is a guess. And what Ba and Caruana compared with was labels and probabilities at $T = 1$; the paper that raised the temperature came a year later.
#
# ## Does it also learn faster?
#
# "Faster" needs a goal, and a goal can favour an arm. We take one that every arm reaches: for each seed, the last smoothed validation error (mean of five counts) of the *worst* of the four arms below. A one-cycle schedule would blur the count, as its steps get small on purpose
# towards the end; so here the rate is constant and the training short. Of three rates, tried for each arm by two pilot seeds, the highest reached the goal first, or as early as another, in all arms; all use it. The highest rate tried won, so a still higher one might be faster for some
# arms; the card compares the losses at this rate only.
#
# One thing speaks against the claim before we look. A softmax cares for differences between logits, and at $T = 1$ hardly for their size once the first choice is clear. A student of logits has to bring its outputs to the teacher's size, and their mean too, and an optimiser like
# AdamW moves each weight by about the learning rate a step. The arm T = 20 separates the two: it asks for the size and not for the mean. If size is what slows a student down, T = 20 is slow as well; if it is not slow, look at the mean.

# %%
sprint = dict(epochs=lesson.pick(smoke=1, quick=4, full=4), schedule="constant", watch_every=lesson.pick(smoke=1, quick=10, full=10))
racers = {"hard": ("labels", "hard", "-."), "kl_1": ("softmax, T = 1", "soft", ":"), "kl_20": ("softmax, T = 20", "soft", "--"), "mse": ("logits", "soft", "-")}
print("constant learning rates tried for each arm: 1e-3, 2e-3, 4e-3, by two seeds each; chosen for all: 4e-3")
fast = kd.sweep(student, seeds=seeds, arm=[*racers], learning_rate=4e-3, **sprint, **scale)


def smoothed(watched):
    """Steps, and validation errors averaged over five neighbouring counts: a lucky dip does not count as arriving."""
    steps, errors = np.array(watched, dtype=float).T
    width = min(5, len(errors))
    return steps[width - 1 :], np.convolve(errors, np.ones(width) / width, mode="valid")


def steps_to_reach(watched, goal):
    """The first step at which the smoothed errors are down to the goal; the last step when they never are."""
    steps, errors = smoothed(watched)
    return steps[np.argmax(errors <= goal)] if (errors <= goal).any() else steps[-1]


goal = {seed: max(smoothed(row.watched)[1][-1] for row in group.itertuples()) for seed, group in fast.groupby("seed")}
fast["steps_to_goal"] = [steps_to_reach(row.watched, goal[row.seed]) for row in fast.itertuples()]

figure, axis = plt.subplots(figsize=(7, 3.4))
for arm, (text, role, line) in racers.items():
    curves = [smoothed(row.watched) for row in fast[fast.arm == arm].itertuples()]
    for steps, errors in curves:
        axis.plot(steps, errors / 20, color=kd.plots.COLOURS[role], linestyle=line, linewidth=0.7, alpha=0.35)
    axis.plot(curves[0][0], np.mean([errors for _, errors in curves], axis=0) / 20, color=kd.plots.COLOURS[role], linestyle=line, linewidth=2, label=text)
axis.axhline(np.mean(list(goal.values())) / 20, color="0.4", linewidth=0.8)
axis.annotate("goal", (1, np.mean(list(goal.values())) / 20), xycoords=("axes fraction", "data"), xytext=(3, -3), textcoords="offset points", fontsize=9)
axis.set(xlabel="step, constant learning rate", ylabel="errors in % of 2,000\nvalidation images", yscale="log")
axis.set_yticks([3, 4, 5, 7, 10, 20, 50], ["3", "4", "5", "7", "10", "20", "50"])
axis.minorticks_off()
axis.legend(frameon=False)
steps = fast.groupby("arm").steps_to_goal.mean()
title = f"Steps to one goal: {steps.hard:.0f} from labels, {steps.kl_1:.0f} at T = 1, {steps.kl_20:.0f} at T = 20, {steps.mse:.0f} from logits"
axis.set_title(title, fontsize=10)
kd.plots.show(
    figure,
    "Validation error against training step at a constant learning rate, on a logarithmic vertical axis: thin lines are runs, thick ones means over seeds, for students of labels, of the "
    "softmax at temperatures 1 and 20, and of logits. A horizontal line marks the mean goal. " + "; ".join(f"{arm}: {steps[arm]:.0f} steps" for arm in racers),
)

# %%
kd.judge("04-logits-are-faster", fast)

# %% [markdown]
# A few hundred steps are the beginning of a training, not its end: read the card as a sentence about the beginning. It does not say who ends lower after a full training; that is the first figure of results.
#
# ## When the teacher is wrong
#
# Everything so far assumed that what the teacher says about small probabilities is worth knowing. Now take a teacher that learned from bad labels. Half of them are replaced by classes drawn at random (a tenth of those happen to be right), and the
# network, the student's twin in size, is trained until it has learned many of these by heart. Its students learn from it *on the same images*, so they are shown what it memorised.
#
# Kim et al. saw the order of the losses turn here: KL at a small temperature, $T \le 1$, did better than logit matching. Their reason is what you have just seen from its good side: logit matching hands on *everything*. A softmax at small $T$ hands on
# the first choice, and little else. They report the same turn for a teacher trained too briefly.
#
# If wrong labels learned by heart are the reason, the turn must be gone when the same network on the same labels is stopped before it has learned the wrong ones. And if *wrong* labels are the reason, a teacher
# of right labels must not show it. So four teachers:
#
# | teacher | labels | training | arms |
# |---|---|---|---|
# | `memorised` | half of them random | long | `hard`, T = 0.5, 1, 20, logits |
# | `stopped` | the same | stopped early | T = 1, logits |
# | `clean` | all right | long | T = 1, logits |
# | `hasty` | all right | five steps | T = 1, logits |
#
# Each teacher has one learning rate for all its students: of the rates in the next cell the one at which logit matching did best, or within the spread of the pilot seeds of its best. They were chosen by two pilot seeds on validation
# images with *right* labels, the same tries for T = 1 and for logits. (For `memorised`, T = 0.5 and T = 20 were tried with three of the five.)

# %%
kinds = {  # share of labels drawn at random, epochs, images (None: all), the students' learning rate
    "memorised": (0.5, 30, None, 1e-3),
    "stopped": (0.5, 3, None, 16e-3),
    "clean": (0.0, 30, None, 16e-3),
    "hasty": (0.0, 1, 640, 8e-3),
}
print("learning rates tried: memorised 5e-4, 1e-3, 2e-3, 8e-3, 16e-3; stopped and clean 2e-3, 8e-3, 16e-3; hasty 2e-3, 8e-3")
print("chosen: " + ", ".join(f"{kind} {rate:g}" for kind, (*_, rate) in kinds.items()))


def mislabelled(split, share, seed):
    """The split with a share of its labels drawn anew at random, and which they are: bool [N]."""
    generator = kd.models.stream(seed, "wrong labels")
    drawn = torch.rand(len(split), generator=generator) < share
    return kd.data.Split(split.images, torch.where(drawn, torch.randint(0, 10, (len(split),), generator=generator), split.labels)), drawn


def poor_teacher(seed, count, wrong, teacher_epochs, images, part="test"):
    """A 784-300-300-10 teacher from labels of which a share is wrong: its logits for the transfer set, and how many of the drawn labels it repeats."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    transfer, drawn = mislabelled(train[:count], wrong, seed)
    model = kd.models.mlp(784, 300, 300, 10, seed=seed + 1_000_000)
    lessons = transfer if images is None else transfer[:images]
    kd.fit(model, lessons, kd.losses.hard_labels(), epochs=teacher_epochs, batch_size=128, learning_rate=2e-3, seed=seed + 1_000_000)
    logits = kd.predict_logits(model, transfer.images)
    repeats = (logits.argmax(dim=1) == transfer.labels)[drawn].float().mean().item() if wrong else 0.0
    return {"logits": logits, "repeats": repeats, "correct": kd.correct(model, {"test": mnist.test, "validation": validation}[part])}


def pupil(arm, seed, count, wrong, teacher_epochs, images, epochs, learning_rate, part="test"):
    """A student of a poor teacher, on the images and, for the arm `hard`, on the labels that its teacher had."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    transfer, _ = mislabelled(train[:count], wrong, seed)
    settings = dict(count=count, wrong=wrong, teacher_epochs=teacher_epochs, images=images, part=part)
    targets = None if arm == "hard" else kd.run(poor_teacher, seed=seed, **settings)["logits"]
    model = kd.models.mlp(784, 300, 300, 10, seed=seed)
    record = kd.fit(model, transfer, loss_for(arm), targets=targets, epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed)
    return record | {"correct": kd.correct(model, {"test": mnist.test, "validation": validation}[part])}


poor_scale = dict(count=lesson.pick(smoke=600, quick=3000, full=10_000), epochs=lesson.pick(smoke=1, quick=10, full=10))
poor = []
for kind, (wrong, teacher_epochs, images, rate) in kinds.items():
    source = dict(count=poor_scale["count"], wrong=wrong, teacher_epochs=lesson.pick(smoke=1, quick=teacher_epochs, full=teacher_epochs), images=images)
    answered = ["hard", "kl_0.5", "kl_1", "kl_20", "mse"] if kind == "memorised" else ["kl_1", "mse"]
    sweep = kd.sweep(pupil, seeds=seeds, arm=answered, epochs=poor_scale["epochs"], learning_rate=rate, **source)
    poor.append(sweep.assign(teacher=kind, arm=kind + "_" + sweep.arm.str.replace("kl_0.5", "kl_half")))
    teachers = [kd.run(poor_teacher, seed=s, part="test", **source) for s in seeds]  # trained by their students already
    repeats = f", repeats {np.mean([t['repeats'] for t in teachers]):.0%} of the labels drawn at random" if wrong else ""
    print(f"{kind:10s} teacher: test errors {[int((~t['correct']).sum()) for t in teachers]}{repeats}")
poor = pd.concat(poor, ignore_index=True)

# %% tags=["slide:poor", "slide-output"]
order = ["kl_half", "kl_1", "kl_20", "mse"]
shown = {"memorised": ("soft", "o"), "stopped": ("control", "s"), "clean": ("control", "^"), "hasty": ("control", "D")}  # colour and marker
change = poor.groupby("arm").errors.mean()
figure, axis = plt.subplots(figsize=(7, 3.9))
for kind, (role, marker) in shown.items():
    table = poor[poor.teacher == kind].pivot(index="seed", columns="arm", values="errors")
    there = [(k, f"{kind}_{arm}") for k, arm in enumerate(order) if f"{kind}_{arm}" in table]
    places = [k + 0.05 * [*shown].index(kind) for k, _ in there]  # side by side where they would hide each other
    for _, row in table.iterrows():
        axis.plot(places, [row[arm] for _, arm in there], color=kd.plots.COLOURS[role], linewidth=0.7, alpha=0.4)
        axis.scatter(places, [row[arm] for _, arm in there], color=kd.plots.COLOURS[role], s=12, alpha=0.5, linewidths=0)
    means, halves = [table[arm].mean() for _, arm in there], [kd.plots.half_width(table[arm]) for _, arm in there]
    axis.errorbar(places, means, halves, color=kd.plots.COLOURS[role], fmt=f"{marker}-", markersize=6, capsize=4, linewidth=1.8)
    axis.annotate(kind, (places[-1], means[-1]), xytext=(10, 0), textcoords="offset points", va="center", color=kd.plots.COLOURS[role], fontweight="bold")
axis.axhline(change.memorised_hard, color=kd.plots.COLOURS["hard"], linestyle=":", linewidth=1.5)
below = dict(xytext=(0, -4), textcoords="offset points", va="top", fontsize=9, color=kd.plots.COLOURS["hard"])
axis.annotate("no teacher, the same\nhalf-random labels", (-0.35, change.memorised_hard), **below)
axis.set_xticks(range(4), ["softmax\nT = 0.5", "softmax\nT = 1", "softmax\nT = 20", "logits"])
axis.set(xlim=(-0.4, 3.9), ylabel="errors among 10,000 test images")
axis.set_ylim(bottom=0)
more = {kind: change[f"{kind}_mse"] - change[f"{kind}_kl_1"] for kind in kinds}
changes = ", ".join(f"{kind} {value:+,.0f}" for kind, value in more.items()).replace("-", "−")
axis.set_title(f"Errors, logits minus T = 1: {changes}", fontsize=10)
kd.plots.show(
    figure,
    "Test errors of students of four poor teachers against what they match: the softmax at temperatures 0.5, 1 and 20, and the logits. Blue: the teacher that memorised; brown: the three others. Thin lines and dots are runs, means with 95 percent "
    "intervals. A dotted line: a network trained on the same half-random labels without a teacher. " + "; ".join(f"{arm}: {value:.0f}" for arm, value in change.items()),
)

# %% tags=["slide", "slide-output"]
kd.judge("04-noise-turns-the-order", poor)

# %%
kd.judge("04-noise-half-temperature", poor)

# %%
kd.judge("04-stopped-teacher", poor)

# %%
kd.judge("04-clean-twin", poor)

# %%
kd.judge("04-noise-adds", poor)

# %%
kd.judge("04-hasty-teacher", poor)

# %% [markdown]
# Compare the line of `memorised` with the dotted one before you take a small temperature for a cure: the same network, trained for as long as these students on the same labels without any teacher, is the alternative you have in any case. Then look at `stopped`,
# the same network on the same labels with less time to learn the wrong ones by heart.
#
# And look at `clean`, the control that asks whether it is the *wrong* labels that count. Its labels are right, yet it is only the student's twin, trained on the very images its students see, which lesson 01 met under the name `weak`.
# A student who copies its logits exactly can at best become it; a student at $T = 1$ sees little more than the labels, and is free to differ. So a turn of the order at `clean` would mean that wrong labels are not needed for it; a teacher whose small
# numbers are not worth copying may be enough. The last card but one says how much the wrong labels add to that. In the first figure of results the teacher knew better than its students: compare the order there.
#
# `stopped` differs from `memorised` in two things: it has learned hardly any of the wrong labels, and it is less sure, so that $T = 1$ already shows its small numbers. The control cannot tell these apart. Students of different teachers also have different learning
# rates. And for scale: a teacher that memorised nothing would still repeat a tenth of the labels drawn at random, by chance.
#
# `hasty` is the second case of Kim et al. If its card shows no difference, think of how small its logits must still be after five steps. For small logits $T = 1$ is already
# a high temperature: KL is close to half the centred squared error, and the losses have little to differ about. (A reason that fits, not one we tested.) The card of `stopped` asks for *equality*, as above: read whether its interval lies inside the margin.
#
# ## Only probabilities: what does an API return?
#
# Where the teacher is somebody else's service you get probabilities. If you get all of them, exactly, nothing is lost: `recover` gives the centred logits, and the student who learns from them is the same student. Not nearly the same: the
# loss is the same function. We train both and compare.

# %%
few = transfer[:2000]
few_logits = logits[: len(few)]
small = dict(epochs=lesson.pick(smoke=1, quick=5, full=5), batch_size=128, learning_rate=8e-3, seed=first_seed, dtype=torch.float32)
ends = {}
for name, targets in (("the teacher's logits", few_logits), ("recovered from probabilities", recover(F.softmax(few_logits, dim=1)))):
    model = kd.models.mlp(784, 100, 10, seed=first_seed)
    record = kd.fit(model, few, logit_matching(centre=True), targets=targets, **small)
    ends[name] = kd.predict_logits(model, validation.images)
    print(f"{name:30s} last loss {record['loss'][-1]:.4f}, validation errors {int((ends[name].argmax(dim=1) != validation.labels).sum())}")
first, second = ends.values()
print(f"different answers on {int((first.argmax(dim=1) != second.argmax(dim=1)).sum())} of {len(validation)} validation images (rounding in float32)")

# %% [markdown]
# Real services return less. Probabilities are rounded to three or two digits; or only the best three classes come back; or the first choice with its probability; or the first choice alone. Owners do
# this to save bytes, and Tramèr et al. (2016, section 7) discuss rounding as a defence against copying. How much does it withhold?
#
# Whatever is missing has to be *filled*, since no logarithm of zero is a target. Our rules, the same for all arms: a probability that was rounded to zero becomes half a unit of the last digit (0.0005 for three digits); what the top
# classes leave (at least a millionth) is spread evenly over the others; a first choice that comes without its probability is given 0.999. Renormalising afterwards is not needed: it adds the same number to all logarithms of an image, and `recover` takes that out again.

# %%
alone = {digits: ((probabilities * 10**digits).round() > 0).sum(dim=1).eq(1).float().mean().item() for digits in (6, 3, 2)}
print(f"the teacher's first choice differs from the label on {int((logits.argmax(dim=1) != transfer.labels).sum())} of {len(transfer)} images")
print("images of which rounding leaves the first choice and zeros: " + ", ".join(f"{digits} digits {share:.0%}" for digits, share in alone.items()))

withheld = ["digits_6", "digits_3", "digits_2", "top_3", "top_1", "label"]
partial = students(withheld, rates, seeds=seeds, **training, **scale)
api = pd.concat([partial, runs[runs.arm.isin(["hard", "mse_centred"])]], ignore_index=True)

# %% tags=["slide:api", "slide-output"]
seen = {
    "mse_centred": ("everything", "soft"),
    "digits_6": ("6 digits", "soft"),
    "digits_3": ("3 digits", "soft"),
    "digits_2": ("2 digits", "soft"),
    "top_3": ("the best\nthree", "soft"),
    "top_1": ("the best,\nwith its\nprobability", "soft"),
    "label": ("the best,\nnothing\nelse", "soft"),
    "hard": ("people's\nlabels", "hard"),
}
mean = api.groupby("arm").errors.mean()
title = f"{mean.mse_centred:.0f} errors from all probabilities, {mean.digits_3:.0f} from three digits, {mean.label:.0f} from the first choice"
figure = kd.plots.paired_arms(api, seen, label="errors among 10,000 test images", title=title)
figure.axes[0].set_xlabel("what the API returns")
kd.plots.show(
    figure,
    "Test errors of students against what the teacher's owner returns, from everything on the left to the first choice alone, and people's labels for comparison. One dot a run, thin lines join "
    "the runs of one seed, means with 95 percent intervals. " + "; ".join(f"{arm}: mean {mean[arm]:.0f}" for arm in seen),
)

# %% tags=["slide", "slide-output"]
kd.judge("04-three-digits-cost", api)

# %%
kd.judge("04-labels-alone-cost", api)

# %%
kd.judge("04-two-digits-beat-a-label", api)

# %%
kd.judge("04-top-three-beat-three-digits", api)

# %% [markdown]
# Two things to read off. The last two columns have nearly the same labels (how nearly stands above the figure); what separates them is, above all, the loss: a regression on one large gap against cross-entropy. Count from the
# column of the first choice, not from the last one, when you ask what the *teacher's knowledge* is worth. And how much three digits leave depends on how sure the teacher is: see above for how many images they leave nothing but a one and
# nine zeros. A teacher of a hundred classes, or one that was smoothed ([lesson 05](05_label_smoothing.ipynb)), spreads its probability otherwise.
#
# ## What goes wrong in practice
#
# "Mean squared error between student and teacher": said that way, it invites a mean squared error between their *probabilities*. It looks harmless, is bounded, and has the right minimum. Look at its gradient. The
# teacher is sure of class 0; the student prefers class 1 by a growing margin: the wronger it is, the more it should be pulled.

# %% tags=["slide:wrong", "slide-output"]
margins = torch.linspace(0, 20, 101, dtype=torch.float64)
sure = torch.zeros(len(margins), 10, dtype=torch.float64)
sure[:, 0] = 10.0
wrong = torch.zeros_like(sure)
wrong[:, 1] = margins


def gradient_size(loss):
    """The length of the gradient with respect to the student's logits, image by image."""
    logits = wrong.clone().requires_grad_()
    (len(logits) * loss(logits, sure)).backward()
    return logits.grad.norm(dim=1)


def probability_mse(student_logits, teacher_logits, temperature):
    return F.mse_loss(F.softmax(student_logits / temperature, dim=1), F.softmax(teacher_logits / temperature, dim=1))


pulls = {  # loss, colour, line, where the words stand (points above the end of the line)
    "logits, MSE": (kd.losses.logit_matching_loss, "soft", "-", 6),
    "T²·KL, T = 20": (lambda s, t: kd.losses.soft_target_loss(s, t, 20.0), "soft", "--", -4),
    "KL, T = 1": (lambda s, t: kd.losses.soft_target_loss(s, t, 1.0), "soft", ":", -11),
    "probabilities,\nMSE, T = 20": (lambda s, t: probability_mse(s, t, 20.0), "hard", "--", 0),
    "probabilities,\nMSE, T = 1": (lambda s, t: probability_mse(s, t, 1.0), "hard", "-", 0),
}
figure, axis = plt.subplots(figsize=(7, 3.5))
sizes = {text: gradient_size(loss) for text, (loss, *_) in pulls.items()}
for text, (_, role, line, above) in pulls.items():
    axis.plot(margins, sizes[text], color=kd.plots.COLOURS[role], linestyle=line, linewidth=1.8)
    axis.annotate(text, (margins[-1], sizes[text][-1]), xytext=(6, above), textcoords="offset points", va="center", fontsize=9, color=kd.plots.COLOURS[role])
axis.set(yscale="log", ylim=(1e-9, 30), xlim=(0, 20), xlabel="the student's logit of the wrong class; all its others are 0", ylabel="size of the gradient")
weakest = sizes["KL, T = 1"][-1] / sizes["probabilities,\nMSE, T = 1"][-1]
power = int(np.floor(np.log10(weakest.item())))
axis.set_title(f"At the right edge KL pulls over 10$^{{{power}}}$ times as hard as MSE on probabilities (both T = 1)", fontsize=10)
kd.plots.show(
    figure,
    "Size of the gradient with respect to the student's logits, on a logarithmic axis, against how strongly the student prefers a wrong class. The curve of the mean squared error of probabilities at temperature 1 falls "
    "towards zero as the student gets more wrong; at temperature 20 it is small everywhere; KL levels off and logit matching grows.",
)

# %% [markdown]
# The derivative of a softmax carries a factor $q(1-q)$, which vanishes when the student is sure, rightly or wrongly. KL has a logarithm that cancels this factor; the square does not. At high $T$ the curve does not fall, but two factors of $1/T$ and two of $1/K$ make it small throughout (its ratio to the gradient of $T^2\cdot$KL tends to $2/(TK)^2$),
# and a mixed loss no longer notices its soft part. Here is what comes of it under three conditions. AdamW divides every gradient by its usual size, so it does not notice that a loss is too small as a whole; SGD takes gradients at their word; and in a mixed loss
# the ratio of the parts counts, whatever the optimiser.


# %%
def sgd(parameters, learning_rate):
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=0.9)


def mixed(soft_loss):
    """Nine parts soft loss, one part cross-entropy with the labels, as it stands in many training scripts."""

    def loss(model, batch):
        student_logits = model(batch.images)
        return 0.9 * soft_loss(student_logits, batch.targets) + 0.1 * F.cross_entropy(student_logits, batch.labels)

    return loss


soft_losses = {
    "MSE of probabilities, T = 20": lambda s, t: probability_mse(s, t, 20.0),
    "T²·KL, T = 20": lambda s, t: kd.losses.soft_target_loss(s, t, 20.0),
    "MSE of centred logits": lambda s, t: kd.losses.logit_matching_loss(centred(s), centred(t)),
}
few, epochs = transfer[:3000], lesson.pick(smoke=1, quick=8, full=8)
by_adam, by_sgd = dict(learning_rate=8e-3), dict(learning_rate=0.05, optimizer=sgd)
print(f"validation errors of 10,000 · {'AdamW, alone':>15s} {'SGD, alone':>15s} {'SGD, mixed':>15s}")
for name, soft_loss in soft_losses.items():
    by_itself = lambda model, batch, soft_loss=soft_loss: soft_loss(model(batch.images), batch.targets)
    errors = []
    for loss, optimiser in ((by_itself, by_adam), (by_itself, by_sgd), (mixed(soft_loss), by_sgd)):
        model = kd.models.mlp(784, 300, 10, seed=first_seed)
        kd.fit(model, few, loss, targets=logits[: len(few)], epochs=epochs, batch_size=128, seed=first_seed, **optimiser)
        errors.append(int((~kd.correct(model, validation)).sum()))
    print(f"{name:28s}" + "".join(f"{wrong:16,d}" for wrong in errors))

# %% [markdown]
# In the last column of the first line the soft part is there on paper only: what the student gets is the labels' gradient, a tenth of it. It is a relative of the missing $T^2$ of [lesson 00](00_start_here.ipynb), but $T^2$ alone does not mend it, as $K^2/2$ remains. In the first column AdamW hides the fault. (One seed, one
# learning rate per optimiser, nothing tuned: an illustration, not a comparison of losses.) Match logits, or match probabilities by KL with its $T^2$;
# a square of probabilities is the wrong distance between them.
#
# ## Exercises
#
# ### 1 · Three digits
#
# A service returns its probabilities rounded to `digits` decimals. Turn them into targets for logit matching, by the rule above: what was rounded to zero counts as half a unit of the last digit; then back to centred logits.


# %% tags=["exercise"]
def targets_from_rounded(probabilities, digits):
    """[N, K] probabilities rounded to `digits` decimals → centred logits [N, K]."""
    smallest = ...
    filled = torch.where(probabilities == 0, smallest, probabilities)
    return ...


# %% tags=["solution"]
def targets_from_rounded(probabilities, digits):
    """[N, K] probabilities rounded to `digits` decimals → centred logits [N, K]."""
    smallest = 0.5 * 10.0**-digits
    filled = torch.where(probabilities == 0, smallest, probabilities)
    return filled.log() - filled.log().mean(dim=1, keepdim=True)


# %%
kd.checks.lesson04.targets_from_rounded(targets_from_rounded);

# %% [markdown]
# ### 2 · The teacher that moved
#
# A colleague matches logits. They exchange the teacher's file for one that stores log-probabilities, "the same thing up to a constant", and the loss of their finished student jumps. With KL it would not have moved. Write a logit-matching
# loss that does not notice either: one number per image, added to all of the teacher's logits or to all of the student's, must not change it. It is the mean square of what is left of their difference when each image's mean is taken off both sides.


# %% tags=["exercise"]
def steadfast_loss(student_logits, teacher_logits):
    """Logits [N, K] → scalar: the mean squared error over batch and classes, whatever constant each image's logits carry."""
    return ...


# %% tags=["solution"]
def steadfast_loss(student_logits, teacher_logits):
    """Logits [N, K] → scalar: the mean squared error over batch and classes, whatever constant each image's logits carry."""
    return F.mse_loss(student_logits - student_logits.mean(dim=1, keepdim=True), teacher_logits - teacher_logits.mean(dim=1, keepdim=True))


# %%
kd.checks.lesson04.steadfast_loss(steadfast_loss);

# %% [markdown]
# ### 3 · Changing the loss in a recipe
#
# A recipe that works has `0.9 * soft_target_loss(student, teacher, temperature=T) + 0.1 * cross_entropy`, with a very high $T$. You replace the first loss (which has its factor $T^2$ inside) by logit matching on centred logits, the mean over batch and classes as in this lesson, and want the gradients of both parts to
# keep their sizes. Which number takes the place of the 0.9?

# %% tags=["exercise"]
weight = ...

# %% tags=["solution"]
weight = 0.9 / 2  # T²·KL tends to half the centred mean squared error

# %%
kd.checks.lesson04.same_weight(weight);

# %% [markdown]
# ## Takeaways
#
# - A softmax throws away one number per image, the mean logit, which the teacher was never taught. Everything else comes back from the logarithm of the probabilities, if you have all their digits.
# - Logit matching is soft targets at $T \to \infty$ (a factor of two) plus a regression on that mean. Centre both sides, and the second part is gone.
# - A loss that hands on everything hands on mistakes. Before choosing between $T = 1$ and logits, ask how good the teacher's small numbers are; the figure of the poor teachers shows how much hangs on it.
# - What an API withholds is withheld from the student. How zeros are filled is a choice: state it.
# - Squares of differences belong between logits, not between probabilities.
#
# **Further reading.** Ba & Caruana, *Do Deep Nets Really Need to be Deep?*, 2014, section 2 · Urban et al., *Do Deep Convolutional Nets Really Need to be Deep and Convolutional?*, 2017 (how far logit matching carries a
# shallow student) · Hinton, Vinyals & Dean, *Distilling the Knowledge in a Neural Network*, 2015, section 2.1 (the limit of high temperatures) · Kim et al., *Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge Distillation*,
# 2021 · Tramèr et al., *Stealing Machine Learning Models via Prediction APIs*, 2016 · the next question, what a smoothed teacher's logits have lost: [lesson 05](05_label_smoothing.ipynb).
