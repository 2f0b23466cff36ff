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
# # 09 · Many teachers, many students
#
# **After this lesson you can put an ensemble into one network, say which part of its gain survives and on which images, and judge whether peers, generations, noise or specialists are worth what they cost.**
#
# 40 minutes · needs [lesson 01](01_soft_targets.ipynb), [lesson 03](03_temperature.ipynb) · data: MNIST
#
# Train one network five times, from five random starts, and let their mean answer decide. As a rule it makes fewer errors than they do, and it costs five times as much whenever somebody asks. Hinton, Vinyals and Dean (2015, section 4) put ten acoustic models of a speech recogniser into one of the same
# size and kept more than 80 % of what the ten had gained. Ensembles had been put into single networks nine years before (Buciluă, Caruana and Niculescu-Mizil, 2006): it is the oldest promise of distillation, and the simplest. No big teacher is needed, only several small ones.
#
# Where does the gain come from, and what is it that the student inherits? And does one need a teacher at all? We try two students that teach each other, a student that teaches its successor, a teacher that makes deliberate mistakes, one that listens to its students, and one that knows only the difficult cases.

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
lesson = kd.start("09", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("09")

# %% [markdown]
# ## Five opinions
#
# We have a thousand digits with labels, halved to 14×14 pixels, and nine thousand digits of the same kind without. Labels are expensive, images are not: that is how it is in practice, and it gives us something to look at that no network has learned. The thousand are the **own images** of
# every network below, the nine thousand are the **new** ones; their labels exist, and we hide them from all training. Both together are the **pool**.
#
# A **member** is a small convolutional network trained on the labels of the thousand. Five members with different initial weights and batch orders are our **ensemble**. Every run of the lesson has five of its own.

# %%
data = dict(
    dataset=lesson.pick(smoke="mnist", quick="mnist", full="cifar10"),
    factor=lesson.pick(smoke=2, quick=2, full=1),  # images are made smaller by this factor
    known=lesson.pick(smoke=300, quick=1_000, full=10_000),  # images with labels
    pool=lesson.pick(smoke=600, quick=10_000, full=40_000),  # these and the new ones, without labels
    part="test",  # who is judged on; everything was chosen on "validation"
)
scale = data | dict(
    kind=lesson.pick(smoke="small", quick="small", full="resnet20"),
    epochs=lesson.pick(smoke=1, quick=20, full=60),  # of a member, through the images with labels: the unit in which all training is counted
)
seeds = lesson.seeds(smoke=1, quick=5, full=3)


def network(kind, seed, classes=10):
    """The one architecture of the lesson, for 14×14 digits or for CIFAR-10."""
    if kind == "small":
        return kd.models.cnn(16, 32, 64, size=14, classes=classes, seed=seed)
    return kd.models.resnet(20, classes=classes, seed=seed)


def material(dataset, factor, known, pool, part):
    """The images with labels; all the images for training, new ones included; the judged images."""
    whole = kd.load(dataset)
    train, validation = kd.hold_out(whole.train)
    everything, judged = (kd.data.shrink(split, factor) for split in (train[:pool], {"test": whole.test, "validation": validation}[part]))
    return everything[:known], everything, judged


def train_network(model, split, loss, epochs, seed, targets=None):
    return kd.fit(model, split, loss, epochs=epochs, batch_size=128, learning_rate=5e-3, seed=seed, targets=targets)


def member(seed, index, differ, epochs, kind, dataset, factor, known, pool, part):
    """Member `index` of this run's ensemble, trained on labels: its weights, and its answers to all training images and to the judged ones.

    differ: in what the members differ, "all" (initial weights and batch order), "init", "order", or "images" (all, and a bootstrap sample each).
    """
    labelled, everything, judged = material(dataset, factor, known, pool, part)
    first, own = 1000 * (seed + 1), 1000 * (seed + 1) + index  # no other run has these members
    if differ == "images":
        labelled = labelled[torch.randint(known, (known,), generator=torch.Generator().manual_seed(own))]
    model = network(kind, first if differ == "order" else own)
    record = train_network(model, labelled, kd.losses.hard_labels(), epochs, first if differ == "init" else own)
    answers = kd.predict_logits(model, judged.images)
    asked = everything.images if differ == "all" else everything.images[:known]
    record |= {"logits": kd.predict_logits(model, asked), "judged_logits": answers, "correct": answers.argmax(dim=1) == judged.labels}
    return record | ({"weights": model.state_dict()} if differ == "all" else {})


def ensemble(seed, differ="all", members=5, **scale):
    """What this run's members answer: logits [members, N, classes] for the training images, and for the judged ones."""
    kinds = ["all" if differ == "order" and index == 0 else differ for index in range(members)]  # the first in the common order is member 0
    found = [kd.run(member, seed=seed, index=index, differ=kinds[index], **scale) for index in range(members)]
    asked = None if differ == "all" else scale["known"]  # the others were asked about their own images only
    return torch.stack([one["logits"][:asked] for one in found]), torch.stack([one["judged_logits"] for one in found])


every_member = kd.sweep(member, seeds=seeds, index=[0, 1, 2, 3, 4], differ="all", **scale)

# %% [markdown]
# Look at what we hide and what the members say about it: new images on which they answer differently, and beside them the five answers and their mean.

# %% tags=["slide:opinions", "slide-output"]
labelled, everything, _ = material(**data)
classes = kd.load(scale["dataset"]).classes
all_logits, _ = ensemble(first_seed, **scale)
votes = all_logits.argmax(dim=2)  # [5, pool]
new = torch.arange(len(everything)) >= scale["known"]
different = torch.tensor([len(column.unique()) for column in votes.T])
mean_answer = F.softmax(all_logits, dim=2).mean(dim=0)
fewest = mean_answer.max(dim=1).values.where(new & (different >= 2), torch.tensor(1.0))
shown = fewest.argsort()[:: max(1, int((fewest < 1).sum()) // 4)][:4]

figure, axes = plt.subplots(4, 2, figsize=(7.4, 4.6), width_ratios=[0.13, 1])
for row, index in enumerate(shown.tolist()):
    picture, axis = axes[row]
    picture.imshow(everything.images[index].permute(1, 2, 0).squeeze())
    picture.axis("off")
    picture.set_title(f"{classes[everything.labels[index]]}", fontsize=10, fontweight="normal", pad=2)
    answers = F.softmax(all_logits[:, index], dim=1)
    axis.imshow(torch.cat([answers, answers.mean(dim=0, keepdim=True)]), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axis.axhline(4.5, color="white", linewidth=4)
    axis.set_xticks(range(len(classes)), classes if row == 3 and len(classes[0]) == 1 else [""] * len(classes))
    axis.set_yticks([0, 4, 5], ["member 0", "member 4", "their mean"], fontsize=9)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
axes[3, 1].set_xlabel("class")
kinds = [(different[group] > 1).double().mean().item() for group in (~new, new)]
figure.suptitle(
    f"Not of one mind: on {100 * kinds[0]:.1f} % of their own images, on {100 * kinds[1]:.1f} % of the new ones",
    fontsize=11,
    fontweight="bold",
    x=0.01,
    ha="left",
)
kd.plots.show(
    figure,
    "Four new images, each with the label above it, and beside each a table of shades: rows are the five members and, below a white line, their mean; "
    "columns the ten classes; the darker, the more probable. In each table at least two members have their darkest cell in different columns.",
)

# %% [markdown] tags=["slide:ambiguity"]
# Read the rows of one picture against each other: they were trained alike, on the same thousand digits, and do not say the same. A pale row is a member in doubt, a dark cell one that is sure. The mean is never surer than its members are on average, and where sure members contradict each other it alone doubts. Now compare the two numbers of the title. Where the first one is 0, whoever asks the five about images that they have learned
# hears one first choice five times, and if they know these images by heart, it was on the label already.
#
# ## What a mean is worth
#
# If all members gave the same answer, their mean would be that answer, and nothing would be gained. If each were wrong in its own way, the mean would cancel a good part of it. So the gain must be a matter of how much they differ, and for the squared error this is exact. With answers $p_m$ (probabilities), their mean
# $\bar p$ and the label's one-hot vector $y$,
#
# $$ \underbrace{\|\bar p - y\|^2}_{\text{ensemble}} \;=\; \underbrace{\frac1M\sum_m \|p_m - y\|^2}_{\text{members, on average}} \;-\; \underbrace{\frac1M\sum_m \|p_m - \bar p\|^2}_{\text{ambiguity}} . $$
#
# To see it, write $p_m - y = (p_m - \bar p) + (\bar p - y)$ and square: the mixed term vanishes in the mean. Krogh and Vedelsby (1995) call the last term the **ambiguity**. It never mentions the label: how much the members differ can be measured without knowing who is right. And in squared error the ensemble is never worse than its members are *on
# average*; than the best of them it may well be.


# %%
def ambiguity(probabilities, labels):
    """Members' mean squared error, ambiguity, ensemble's squared error, for probabilities [M, N, K]."""
    y = F.one_hot(labels, probabilities.shape[2])
    mean = probabilities.mean(dim=0)

    def distance(a, b):
        return (a - b).pow(2).sum(dim=-1).mean().item()

    return distance(probabilities, y), distance(probabilities, mean), distance(mean, y)


probabilities = F.softmax(all_logits[:, new].double(), dim=2)
assert np.allclose(ambiguity(probabilities, everything.labels[new]), kd.ensembles.ambiguity(probabilities, everything.labels[new]))

# %% [markdown]
# With numbers for paper and pencil: two members, two classes, the label is the first one. One says (1, 0), the other (0, 1). Their squared errors are 0 and 2, 1 on average; the mean (½, ½) has ½² + ½² = ½; each member is ½ away from it, squared. The two then agree on (1, 0): nothing to lose, nothing to gain. Last, both say
# (0, 1), wrong together.
#
# The cell also shows the two ways to average. The **arithmetic** mean of the probabilities is what the formula has. The mean of the *logits* gives the **geometric** mean of the probabilities, divided by its sum. One member that holds a class to be impossible can veto it there; in the arithmetic mean it cannot.

# %% tags=["nbval-check-output"]
label = torch.tensor([0])
for first, second in (((1, 0), (0, 1)), ((1, 0), (1, 0)), ((0, 1), (0, 1))):
    two = torch.tensor([[first], [second]]).double()  # [members, images, classes]
    members_error, spread, ensemble_error = kd.ensembles.ambiguity(two, label)
    print(f"{first} and {second}: members {members_error:.1f} - ambiguity {spread:.1f} = ensemble {ensemble_error:.1f}")
two = torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]]]).double()
for of in ("probabilities", "logits"):
    print(f"mean of {of:13s}", [round(p, 2) for p in F.softmax(kd.ensembles.average(two.log(), of), dim=1)[0].tolist()])
geometric = two.prod(dim=0).sqrt()
print("by hand, geometric ", [round(p, 2) for p in (geometric / geometric.sum())[0].tolist()])

# %% [markdown]
# Where do differences come from? Members, three at a time here, may start from different weights, see the batches in different orders, or learn different images (**bagging**: each draws its thousand with replacement). Going to the right in the picture, one more thing differs.

# %% tags=["slide:differ", "slide-output"]
few_seeds = lesson.seeds(smoke=1, quick=3, full=3)  # for the questions on the side
kd.sweep(member, seeds=few_seeds, index=[1, 2], differ="order", **scale)  # the first is member 0
kd.sweep(member, seeds=few_seeds, index=[0, 1, 2], differ="images", **scale)
judged_labels = material(**data)[2].labels


def errors_of(logits):
    return 10_000 * (logits.argmax(dim=-1) != judged_labels).double().mean(dim=-1)


groups = []
for differ, text in (("order", "batch order\nalone"), ("all", "initial weights\nand order"), ("images", "images, weights\nand order")):
    for s in few_seeds:
        asked_own, asked = ensemble(s, differ, members=3, **scale)
        spread = [100 * kd.ensembles.disagreement(a) for a in (asked_own[:, : scale["known"]], asked)]
        groups.append({"differ": differ, "text": text, "seed": s, "members": errors_of(asked).mean().item(), "on_own": spread[0], "on_judged": spread[1]})
        groups[-1] |= {"ensemble": errors_of(asked.mean(dim=0)).item(), "right": asked.mean(dim=0).argmax(dim=1) == judged_labels}
groups = pd.DataFrame(groups)

figure, axis = plt.subplots(figsize=(7, 3.6))
shades = {"order": kd.plots.COLOURS["control"], "all": kd.plots.COLOURS["teacher"], "images": "#56b4e9"}
for differ, group in groups.groupby("differ"):
    for _, run in group.iterrows():
        axis.plot([run.on_judged] * 2, [run.members, run.ensemble], color=shades[differ], linewidth=1, alpha=0.5)
    axis.plot(group.on_judged, group.members, "o", markersize=6, markerfacecolor="white", color=shades[differ])
    axis.plot(group.on_judged, group.ensemble, "o", markersize=7, color=shades[differ])
    place = (group.on_judged.mean(), group.members.max())
    axis.annotate(group.text.iloc[0], place, xytext=(0, 8), textcoords="offset points", ha="center", color=shades[differ] if differ != "images" else "#2c7fb0")
top = groups[["members", "ensemble"]].to_numpy().max()
axis.set(
    xlim=(0, 1.15 * groups.on_judged.max()),
    ylim=(0, 1.3 * top),
    xlabel="two members give different answers, % of test images",
    ylabel="errors among 10,000 test images",
)
axis.text(0.02, 0.05, "○ members, mean of three    ● the three together", transform=axis.transAxes)
before, after = groups.groupby("differ").members.mean(), groups.groupby("differ").ensemble.mean()
steps = (("order", "order"), ("weights", "all"), ("bagging", "images"))
axis.set_title("Errors of one member → of three together:\n" + ", ".join(f"{name} {before[differ]:.0f} → {after[differ]:.0f}" for name, differ in steps))
kd.plots.show(
    figure,
    "Errors against disagreement for three kinds of ensembles of three, each run a pair of circles joined by a line: open for the members' mean "
    "errors, filled for the errors of the three together. Grey-brown: members that differ in batch order alone; dark: in initial weights and order; light "
    "blue: in the sample of images as well.",
)
own_spread = groups.groupby("differ").on_own.mean()
print("on their own images two members differ:", ", ".join(f"{name} {own_spread[differ]:.2f} %" for name, differ in steps))

# %% [markdown]
# The length of each line is what the three gain. The formula promises it for squared errors and mean probabilities, and says that ambiguity pays for it; here are wrong first choices and mean logits, so hold the picture against the formula, do not take it for a proof. Look at what bagging pays first: its members have seen fewer different images, and a line that starts
# higher has that to make up for. Then look at the left: which random numbers matter?

# %%
rows = groups.rename(columns={"right": "correct"}).assign(arm=groups.differ.map({"order": "same_start", "all": "ensemble", "images": "bagged"}))
rows = rows.assign(correct=[np.asarray(right) for right in rows.correct])
kd.judge("09-start-makes-differences", rows)

# %% [markdown]
# One caution. This is our training: short, with a learning rate that falls to zero. Other training may let networks part company from the order of the batches alone. Measure it: it needs no labels.
#
# ## Five into one
#
# Now the student: one network of the same architecture, which learns from the mean of the five members' logits. Hinton, Vinyals and Dean report 58.9 % of speech frames right for one network, 61.1 % for ten together and 60.8 % for the student of the ten. What would have to be true for such a success? The student must be able to hear where the members
# differ. On images that they know by heart it cannot, at a low temperature: there they all repeat the label. What is left there is how *far* each wrong class lies below, and a higher temperature makes that audible ([lesson 03](03_temperature.ipynb)). On new images the differences are in plain sight.
#
# So we ask twice: with the own images only, as in the paper (its networks had seen hundreds of millions of frames and were far from knowing them by heart), and with the whole pool, new images included. No student of a teacher hears a label (the paper's did as well, at a relative weight of ½). And beside each student of five stands a student of *one* member, on the same images, with the
# same temperature. Its teacher costs a fifth, and whatever soft targets or more images give by themselves, it gets too. The difference between the two is what the *ensemble* gives.
#
# The controls: on the own images, answers shuffled among the images of a class, and answers replaced by a smoothed first choice with the same entropy; on the pool, the bare **vote** of the five (the first choice of their mean logits) as if it were a label, and answers shuffled within the voted class. Controls get three seeds, the others five. All students of a seed, the one from labels included, start from the same weights and take nearly the same number
# of steps, two and a half times as many as a member. The temperatures, 4 on the own images and 2 on the pool, were chosen for the students of five, from 1, 2, 4 and 8 on validation images; the students of one get the same, and might have preferred another.
#
# Before training, listen to the targets. If the members repeat the labels on their own images, little but certainty is left there at $T = 1$.

# %%
asked_images = {"own images": slice(0, scale["known"]), "new images": slice(scale["known"], None)}
right = [100 * (votes[:, group] == everything.labels[group]).double().mean() for group in (~new, new)]
print(f"members right, on average: {right[0]:.1f} % of their own images, {right[1]:.1f} % of the new ones")
print("the five's mean logits, softened:")
print("mean probability of the first choice, mean entropy of the answer")
for name, where in asked_images.items():
    for T in (1.0, 4.0):
        p = F.softmax(all_logits[:, where].mean(dim=0) / T, dim=1)
        bits = -(torch.xlogy(p, p).sum(dim=1) / np.log(2)).mean()
        print(f"{name}, T = {T:g}: {p.max(dim=1).values.mean():.3f}, {bits:.2f} bits")

# %%
ARMS = dict(  # what a student hears: how many teachers, about which images, at which temperature (None: labels), changed how
    single=dict(teachers=0, images="own", temperature=None, change="none"),
    own=dict(teachers=5, images="own", temperature=4.0, change="none"),
    own_one=dict(teachers=1, images="own", temperature=4.0, change="none"),
    own_shuffled=dict(teachers=5, images="own", temperature=4.0, change="shuffled"),
    own_smoothed=dict(teachers=5, images="own", temperature=4.0, change="smoothed"),
    fresh=dict(teachers=5, images="pool", temperature=2.0, change="none"),
    fresh_one=dict(teachers=1, images="pool", temperature=2.0, change="none"),
    fresh_mean=dict(teachers=5, images="pool", temperature=2.0, change="probabilities"),
    fresh_shuffled=dict(teachers=5, images="pool", temperature=2.0, change="shuffled"),
    votes=dict(teachers=5, images="pool", temperature=None, change="none"),
    noise50=dict(teachers=1, images="own", temperature=4.0, change="noise"),  # these two are for the next section
    fixed50=dict(teachers=1, images="own", temperature=4.0, change="fixed noise"),
)


def student(seed, teachers, images, temperature, change, length, epochs, kind, dataset, factor, known, pool, part):
    """A student of the run's members, judged: trained for `length` units, a unit being what a member gets."""
    scale = dict(epochs=epochs, kind=kind, dataset=dataset, factor=factor, known=known, pool=pool, part=part)
    labelled, everything, judged = material(dataset, factor, known, pool, part)
    split = labelled if images == "own" else everything
    model, loss, targets = network(kind, seed), kd.losses.hard_labels(), None
    if teachers:
        members, _ = ensemble(seed, members=teachers, **scale)
        targets = kd.ensembles.average(members[:, : len(split)], "probabilities" if change == "probabilities" else "logits", temperature or 1.0)
        voted = targets.argmax(dim=1)  # for new images nobody knows more
        if temperature is None:
            split, targets = kd.Split(split.images, voted), None
        else:
            loss = kd.losses.soft_targets(temperature)
            if change == "shuffled":
                targets = kd.controls.shuffle_within_class(targets, labelled.labels if images == "own" else voted, seed)
            elif change == "smoothed":
                targets = kd.controls.smooth_to_same_entropy(targets, temperature)
            elif change == "noise":
                loss = kd.ensembles.noisy_targets(temperature, sigma=0.5)
            elif change == "fixed noise":
                targets = targets * (1 + 0.5 * torch.randn(targets.shape, generator=torch.Generator().manual_seed(seed)))
    passes = max(1, round(length * epochs * known / len(split)))
    record = train_network(model, split, loss, passes, seed, targets)
    return record | {"correct": kd.correct(model, judged)}


few = ["own_shuffled", "own_smoothed", "fresh_mean", "fresh_shuffled", "votes", "noise50", "fixed50"]  # arms that get fewer seeds
students = [kd.sweep(student, seeds=few_seeds if arm in few else seeds, length=2.5, **settings, **scale).assign(arm=arm) for arm, settings in ARMS.items()]
answers = []
for s in seeds:
    _, asked = ensemble(s, **scale)
    for arm, of in (("ensemble", "logits"), ("ensemble_mean", "probabilities")):
        answers.append({"arm": arm, "seed": s, "correct": (kd.ensembles.average(asked, of).argmax(dim=1) == judged_labels).numpy()})
runs = pd.concat([*students, pd.DataFrame(answers)], ignore_index=True)
runs["errors"] = [10_000 * (~correct).mean() for correct in runs.correct]


# %% tags=["slide:five", "slide-output", "slide-vote"]
def draw_arms(axis, frame, groups):
    """Every run a dot, runs of a seed joined within a group of arms, means with 95 % intervals. groups: lists of (arm, text, role)."""
    ticks, position = [], 0.0
    for group in groups:
        places = position + np.arange(len(group))
        table = frame.pivot(index="seed", columns="arm", values="errors")[[arm for arm, _, _ in group]]  # an arm may have fewer seeds
        for _, row in table.iterrows():
            there = row.notna().to_numpy()
            axis.plot(places[there], row[there], color="0.82", linewidth=0.8, zorder=1)
        for place, (arm, text, role) in zip(places, group):
            values, colour = table[arm].dropna().to_numpy(float), kd.plots.COLOURS[role]
            axis.scatter(np.full(len(values), place), values, s=14, color=colour, alpha=0.55, linewidths=0, zorder=2)
            axis.errorbar(place + 0.2, values.mean(), kd.plots.half_width(values), fmt="o", markersize=5, capsize=3, color=colour, zorder=3)
            axis.annotate(
                f"{values.mean():.0f}", (place + 0.2, values.mean()), xytext=(6, -3), textcoords="offset points", color=colour, fontweight="bold", fontsize=9
            )
            ticks.append((place, text))
        position = places[-1] + 1.5
    axis.set_xticks([place for place, _ in ticks], [text for _, text in ticks], fontsize=9)
    axis.set_xlim(-0.5, position - 0.7)


mean = runs.groupby("arm").errors.mean()
gain, member_mean = mean.single - mean.ensemble, every_member.errors.mean()
kept = {arm: 100 * (mean.single - mean[arm]) / gain for arm in ("own", "own_one", "fresh", "fresh_one")}
by_seed = runs.pivot(index="seed", columns="arm", values="errors")
by_seed = {arm: 100 * (by_seed.single - by_seed[arm]) / (by_seed.single - by_seed.ensemble) for arm in kept}
share = {arm: f"{kept[arm]:.0f} % ({by_seed[arm].min():.0f} to {by_seed[arm].max():.0f})" for arm in kept}
figure, axes = plt.subplots(1, 2, figsize=(8, 4), sharey=True)
own_arms = [
    ("own_shuffled", "shuffled\nin class", "control"),
    ("own_smoothed", "same\nentropy", "control"),
    ("own_one", "one\nteaches", "soft"),
    ("own", "five\nteach", "soft"),
]
pool_arms = [
    ("fresh_shuffled", "shuffled\nin class", "control"),
    ("votes", "bare\nvote", "control"),
    ("fresh_one", "one\nteaches", "soft"),
    ("fresh", "five\nteach", "soft"),
]
for axis, arms in zip(axes, (own_arms, pool_arms)):
    for arm, role, text in (("single", "hard", "labels alone"), ("ensemble", "teacher", "the five themselves")):
        values = runs[runs.arm == arm].errors.to_numpy(float)
        axis.axhspan(
            values.mean() - kd.plots.half_width(values), values.mean() + kd.plots.half_width(values), color=kd.plots.COLOURS[role], alpha=0.13, linewidth=0
        )
        axis.axhline(values.mean(), color=kd.plots.COLOURS[role], linewidth=1.2)
    axis.axhline(member_mean, color=kd.plots.COLOURS["hard"], linewidth=1, linestyle=":")
    draw_arms(axis, runs, [arms])
    axis.axhline(mean.single - 0.8 * gain, color=kd.plots.COLOURS["published"], linewidth=1, linestyle="--")
    published = (60.8 - 58.9) / (61.1 - 58.9)
    axis.plot(3 - 0.3, mean.single - published * gain, marker="D", markersize=6, color=kd.plots.COLOURS["published"], zorder=4)
axes[1].annotate("80 % kept", (-0.45, mean.single - 0.8 * gain), xytext=(0, 3), textcoords="offset points", color="#007a5a", fontsize=9)
points = dict(textcoords="offset points")
axes[0].annotate("◆ Hinton et al.\n2015, speech", (2.7, mean.single - published * gain), xytext=(0, -50), color="#007a5a", fontsize=9, ha="center", **points)
axes[0].annotate(f"the five themselves {mean.ensemble:.0f}", (-0.45, mean.ensemble), xytext=(0, -28), color=kd.plots.COLOURS["teacher"], **points)
axes[1].annotate(f"a member {member_mean:.0f}", (3.4, member_mean), xytext=(0, -12), color=kd.plots.COLOURS["hard"], ha="right", **points)
axes[1].annotate(f"labels alone {mean.single:.0f}", (3.4, mean.single), xytext=(0, 4), textcoords="offset points", color=kd.plots.COLOURS["hard"], ha="right")
axes[0].set_title(f"Own images: five keep {share['own']}\nof the gain, one {share['own_one']}", fontsize=10)
axes[1].set_title(f"New images too: five keep {share['fresh']}\nof the gain, one {share['fresh_one']}", fontsize=10)
for axis in axes:
    axis.text(0.02, 0.03, f"controls: {len(few_seeds)} seeds, others {len(seeds)}", transform=axis.transAxes, fontsize=9)
axes[0].set(ylim=(0, None), ylabel="errors among 10,000 test images")
kd.plots.show(
    figure,
    "Test errors of students in two panels, every run a dot, runs of a seed joined, means with 95 percent intervals. Left: students that learn on the "
    "members' own images; right: on the pool with new images. In each: two controls, the student of one member, the student of five. An orange band is the "
    "network from labels, a dotted line a member, a dark band the ensemble itself; a dashed green line marks 80 percent of the ensemble's gain kept, "
    "green diamonds the share that Hinton, Vinyals and Dean report for speech. In the titles: the share of the gain that is kept, by the means, and in "
    "brackets from the lowest to the highest seed.",
)

# %% tags=["slide", "slide-output"]
print(f"from labels, as many steps as the students: {mean.single:.0f} errors; a member, fewer: {member_mean:.0f}")
print("kept of the gain over a member:")
print(", ".join(f"{arm} {100 * (member_mean - mean[arm]) / (member_mean - mean.ensemble):.0f} %" for arm in kept))
kd.judge("09-keeps-eighty-own", runs)

# %% tags=["slide", "slide-output"]
kd.judge("09-keeps-eighty-new", runs)

# %%
kd.judge("09-five-teach-more-than-one", runs[runs.seed.isin(few_seeds)])

# %% [markdown]
# Compare within a panel, not across: on the right the students have seen ten times as many images, each of them a tenth as often. The dots joined by a line started from the same weights. The share that is kept depends on what one starts from: the claims take a network from labels with as many
# steps as the students have (the orange band is the interval of its mean); the printed line takes a member, trained for a shorter time. And a share is a quotient: its range over seeds, in the titles, is wide where the gain is small. Whether 80 % is reached, the cards say, not the titles.
#
# The paper's networks kept their promise on their own data, and ours are asked to do it on theirs. There is a difference that a percentage hides: those had far more data than they could learn by heart, with 63.4 % of the training frames right against 58.9 % of the test frames. Ours had a thousand images (the line before the training says how many they get right), and about an image that all know by heart five can say
# little that one does not say. Where the verdict on the own images is the worse of the two, that is the reason we offer, with the first figure as a hint: an ensemble has more to tell than its members where they differ. We have not tested it by itself, as the two panels differ in more than that.
#
# The third card shows whether five can be heard above one on the own images nevertheless, at $T = 4$. Mind its last line. The control there has the first choice and *how sure* the five are, and nothing about the other classes. If the interval contains 0, nothing here shows that this student has taken more from its teachers than how sure to be of each image.
#
# Now to the right, and a warning. A control was built there to be bad: each new image gets the answer that the five gave to *another* image they had voted into the same class. All knowledge of this image is gone, except the vote. Look where it ended up, compared with the student of five, with the bare vote, and with the five themselves. A control that works is a bug until it is explained.

# %%
kd.judge("09-the-vote-is-enough", runs[runs.seed.isin(few_seeds)])

# %% [markdown]
# Where a part of the card lies above 0, this is a reading. On new images, what the student lacks most is *labels*, and the vote is a good label. What the soft answer adds is the members' doubt about this image; a student that copies the doubt doubts as well, where the vote would make it decide. Shuffling keeps the vote and puts the usual doubt of its class
# in the place of the image's own: a kind of label smoothing, fitted to the class. Then what survives is mostly the ensemble's better first choice, self-training rather than dark knowledge, and a student may even pass its teachers.
#
# One arm that the lesson does not run could contradict this reading: the vote, smoothed to the entropy of the image's *own* answer. It keeps how much the five doubt this image (in bits) and drops which other classes they think of. By our reading it should do no better than the student of five. If it goes with the controls instead, look for the harm in the second choices rather than in the doubt.
# Say what you expect, then try it in a new cell: `(~kd.run(student, seed=0, teachers=5, images="pool", temperature=2.0, change="smoothed", length=2.5, **scale)["correct"]).sum()` counts its errors for one seed.
#
# And which mean? Geometric or arithmetic, both for the ensemble itself and for its student:

# %%
kd.judge("09-either-mean", runs[runs.seed.isin(few_seeds)])

# %% [markdown]
# Members that were trained alike are about equally sure, and then one expects little between the two; how much the runs leave open, the intervals say. (Under *What goes wrong* the members are not equally sure.)
#
# ## A teacher that errs on purpose
#
# If doubt keeps a student from becoming too sure, it may not even have to be the teacher's. Sau and Balasubramanian (2016) disturb the logits of *one* teacher with random noise in every step and compare the result with an ensemble: many slightly different opinions for the price of one. Here each logit of member 0 is multiplied by $1 + \sigma\xi$ with $\xi$ drawn from a
# standard normal distribution. Students learn on the own images at $T = 4$, as those of the last section did, and *quiet* is the student of one from there. The control draws the noise once and keeps it, so that it can be learned by heart.

# %%
noisy = runs[runs.arm.isin(["own_one", "noise50", "fixed50"]) & runs.seed.isin(few_seeds)].replace({"arm": {"own_one": "quiet"}})
print("errors among 10,000 test images, seed by seed")
print(noisy.pivot(index="arm", columns="seed", values="errors").loc[["quiet", "noise50", "fixed50"]].round(0).to_string())
kd.judge("09-noise-helps", noisy)

# %% [markdown] tags=["slide:peers"]
# Two arms have noise of the same size; in one it is fresh. Fresh noise leaves the teacher's logits as they are in the mean, and no student can follow it from step to step. Noise that stays is part of the answer, and can be learned like the rest of it. (In the paper the noise hits a random part of the examples and the loss is squared; the idea is the same, the recipe is ours.) The strength σ = 0.5 was the best of
# three on validation images, tried for the fresh noise alone. With three seeds, an interval that contains 0 leaves even the direction open.
#
# ## Two students and no teacher
#
# Zhang et al. (2018) leave the teacher out. In **deep mutual learning** two students start from different weights and learn side by side: each from the labels, and from what the other one says at the moment,
#
# $$ L_a = \mathrm{CE}(y, a) + \mathrm{KL}(b\,\|\,a), \qquad L_b = \mathrm{CE}(y, b) + \mathrm{KL}(a\,\|\,b), $$
#
# and in each loss the other's answer is a constant. They report that both become better. That must sound strange: neither knows anything that is not in the labels, and at the start both know nothing. What would have to be true? They agree on what the labels say, differ in the rest, and each is kept from being surer than the other. If it is
# knowledge about *this* image that they exchange, then a peer that answers for another image of the same class should be of no use.
#
# We soften both sides with $T = 2$, better than 1 and as good as 4 on validation images, train half as long again as a member, and compare with twins that learn alone from the same two starts.


# %%
def mutual_learning(a_logits, b_logits, labels, temperature):
    """The summed loss of two students, as `kd.ensembles.mutual_learning` has it."""
    total = F.cross_entropy(a_logits, labels) + F.cross_entropy(b_logits, labels)
    for student_logits, peer_logits in ((a_logits, b_logits), (b_logits, a_logits)):
        total = total + kd.losses.soft_target_loss(student_logits, peer_logits.detach(), temperature)
    return total


two = torch.nn.ModuleDict({"a": network("small", 0), "b": network("small", 1)})
some = kd.Batch(torch.rand(32, 1, 14, 14, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 10, torch.arange(32), None)
by_hand = mutual_learning(two["a"](some.images), two["b"](some.images), some.labels, 2.0)
assert torch.allclose(by_hand, kd.ensembles.mutual_learning(2.0)(two, some), rtol=1e-4)


# %%
def pair(seed, how, temperature, length, epochs, kind, dataset, factor, known, pool, part):
    """Two students trained side by side on labels: alone, mutual, or mutual with the peer's answers shuffled; who of them is right, and together."""
    labelled, _, judged = material(dataset, factor, known, pool, part)
    two = torch.nn.ModuleDict({"a": network(kind, seed), "b": network(kind, 1000 * (seed + 1))})
    loss = kd.ensembles.alone() if how == "alone" else kd.ensembles.mutual_learning(temperature, shuffled=how == "shuffled")
    record = train_network(two, labelled, loss, round(length * epochs), seed)
    a, b = (kd.predict_logits(network, judged.images) for network in two.values())
    answers = {"a": a, "b": b, "both": (a + b) / 2}
    return record | {f"correct_{name}": logits.argmax(dim=1) == judged.labels for name, logits in answers.items()}


pair_seeds = lesson.seeds(smoke=1, quick=8, full=3)
pairs = kd.sweep(pair, seeds=pair_seeds, how=["alone", "mutual"], temperature=2.0, length=1.5, **scale)
pairs = pd.concat([pairs, kd.sweep(pair, seeds=seeds, how="shuffled", temperature=2.0, length=1.5, **scale)], ignore_index=True)
pairs = pd.concat([pairs.assign(arm=pairs.how + "_" + one, correct=pairs[f"correct_{one}"]) for one in ("a", "b", "both")], ignore_index=True)

# %% tags=["slide:mutual", "slide-output"]
pairs["errors"] = [10_000 * (~correct).mean() for correct in pairs.correct]

figure, axis = plt.subplots(figsize=(8, 3.9))
common = pairs[pairs.seed.isin(seeds)]  # the seeds that all three arms have
trios = [
    [(f"alone_{one}", "labels\nalone", "hard"), (f"shuffled_{one}", "peer\nshuffled", "control"), (f"mutual_{one}", "mutual", "soft")]
    for one in ("a", "b", "both")
]
draw_arms(axis, common, trios)
for start, trio in zip((0, 3.5, 7), trios):
    for place, (arm, _, role) in zip(start + np.arange(3), trio):
        more = pairs[(pairs.arm == arm) & ~pairs.seed.isin(seeds)].errors
        axis.plot([place] * len(more), more, "o", markersize=4, markerfacecolor="none", color=kd.plots.COLOURS[role], alpha=0.6)
low, high = pairs.errors.min(), pairs.errors.max()
for place, text in ((1, "student a"), (4.5, "student b"), (8, "a and b asked together")):
    axis.text(place, high + 0.08 * (high - low), text, ha="center", fontweight="bold")
axis.set(ylim=(low - 0.2 * (high - low), high + 0.2 * (high - low)), ylabel="errors among 10,000 test images")
table = common.groupby("arm").errors.mean()
saved = [table[f"alone_{one}"] - table[f"{how}_{one}"] for how in ("mutual", "shuffled") for one in ("a", "b")]
axis.text(0.01, 0.02, f"○ seeds without a shuffled run; means, intervals and title: the other {len(seeds)}", transform=axis.transAxes, fontsize=9)
axis.set_title("Errors saved by a peer, a and b: mutual {:.0f} and {:.0f}, shuffled {:.0f} and {:.0f}".format(*saved))
kd.plots.show(
    figure,
    "Test errors in three groups: student a, student b, and both asked together (mean of their logits). In each group: trained on labels alone, with "
    "a peer whose answers were shuffled within the class, and with mutual "
    "learning. Every run is a dot, runs of a seed are joined, means of these have 95 percent intervals; "
    "open dots are seeds that have no shuffled run. The axis does not start at zero.",
)

# %% tags=["slide", "slide-output"]
kd.judge("09-mutual-both", pairs)

# %%
kd.judge("09-mutual-knowledge-of-the-image", pairs[pairs.seed.isin(seeds)])

# %% [markdown]
# Read the two cards together: the first asks *whether* it works, with eight seeds, the second *why*, with the five seeds of the figure's means. If the second card's intervals contain 0 or lie below it, this experiment shows no use of a peer that looks at the image over one that knows its class alone, and the simplest reading is the one of the last section: any company that is not too sure may do. For large networks on hard data there may be more to exchange; the control is cheap:
# run it.
#
# Then the price. Two students are trained, so compare with what two *unrelated* ones do when both are asked: the right group of the figure. Does what a network gains from its peer come on top of what two networks gain by being two?
#
# ## Born again, and again
#
# One student, the same architecture, its own teacher: Furlanello et al. (2018) train a network, then a second one on the answers of the first, a third on those of the second, and call them **born again**. On CIFAR-100 a DenseNet of theirs went from 17.16 % errors to 16.36 %, and to 15.5 % in the third generation. On CIFAR-10 some became worse.
#
# Ours start from member 0. Every generation gets fresh weights, as many steps as its parent, $T = 4$ and no labels (1, 2 and 4 were tried on validation images, and labels mixed in by half). Generation $g$ begins like member $g$, same weights and same batches, so each has a twin that learned from labels.


# %%
def born_again(seed, generations, epochs, kind, dataset, factor, known, pool, part):
    """Generation 1 learns from member 0, each later one from the one before; start and batches are those of the member of its number."""
    labelled, _, judged = material(dataset, factor, known, pool, part)
    where = dict(kind=kind, dataset=dataset, factor=factor, known=known, pool=pool, part=part)
    parent = kd.run(member, seed=seed, index=0, differ="all", epochs=epochs, **where)["logits"][:known]
    found, answers = {}, []
    for generation in range(1, generations + 1):
        own = 1000 * (seed + 1) + generation
        model = network(kind, own)
        record = train_network(model, labelled, kd.losses.soft_targets(4.0), epochs, own, parent)
        parent, judged_logits = kd.predict_logits(model, labelled.images), kd.predict_logits(model, judged.images)
        answers.append(judged_logits)
        found |= {f"init_{generation}": record["init"], f"order_{generation}": record["order"]}
        found[f"correct_{generation}"] = judged_logits.argmax(dim=1) == judged.labels
    return found | {"correct_all": torch.stack(answers).mean(dim=0).argmax(dim=1) == judged.labels}


dynasties = kd.sweep(born_again, seeds=seeds, generations=3, **scale)
born = [dynasties.assign(arm=f"born{g}", init=dynasties[f"init_{g}"], order=dynasties[f"order_{g}"], correct=dynasties[f"correct_{g}"]) for g in (1, 2, 3)]
born = pd.concat([*born, every_member.assign(arm=[f"labels{index}" for index in every_member["index"]])], ignore_index=True)

# %%
born["errors"] = [10_000 * (~correct).mean() for correct in born.correct]

figure, axis = plt.subplots(figsize=(7, 3.7))
for kind_of, role, shift in (("labels", "hard", -0.12), ("born", "soft", 0.12)):
    for g in range(4):
        values = born[born.arm == f"{kind_of}{g}"].errors.to_numpy(float)
        if len(values):
            axis.scatter(np.full(len(values), g + shift), values, s=14, color=kd.plots.COLOURS[role], alpha=0.5, linewidths=0)
            axis.errorbar(g + 1.9 * shift, values.mean(), kd.plots.half_width(values), fmt="o", markersize=5, capsize=3, color=kd.plots.COLOURS[role])
for g in range(1, 4):
    for s in seeds:
        ends = [born[(born.arm == f"{kind_of}{g}") & (born.seed == s)].errors.item() for kind_of in ("labels", "born")]
        axis.plot([g - 0.12, g + 0.12], ends, color="0.8", linewidth=0.8, zorder=0)
table = born.groupby("arm").errors.mean()
top = born.errors.max()
axis.text(3.45, table["labels3"], "labels", color=kd.plots.COLOURS["hard"], fontweight="bold", ha="left", va="center")
axis.text(3.45, table["born3"], "born again", color=kd.plots.COLOURS["soft"], fontweight="bold", ha="left", va="center")
axis.set(xlim=(-0.5, 4.3), ylim=(0, 1.1 * top), xlabel="generation", ylabel="errors among 10,000 test images")
axis.set_xticks(range(4), ["0: the first\nteacher", "1", "2", "3"])
means = {kind_of: ", ".join(f"{table[f'{kind_of}{g}']:.0f}" for g in range(1, 4)) for kind_of in ("born", "labels")}
axis.set_title(f"Generations 1 to 3: {means['born']} errors; their twins from labels: {means['labels']}", fontsize=10)
kd.plots.show(
    figure,
    "Test errors of generations zero to three. Orange: networks from labels, blue: networks born again from the answers of the generation before. "
    "Every run is a dot, a grey line joins a network with "
    "the twin that started from the same weights; means have 95 percent intervals.",
)

# %%
kd.judge("09-born-again", born)

# %%
kd.judge("09-born-again-goes-on", born)

# %%
twins = [errors_of(ensemble(s, **scale)[1][1:4].mean(dim=0)).item() for s in seeds]
of_one_kind = {"three generations": np.mean([10_000 * (~c).mean() for c in dynasties.correct_all]), "their three twins from labels": np.mean(twins)}
print("errors, asked together:", ", ".join(f"{name} {errors:.0f}" for name, errors in of_one_kind.items()))

# %% [markdown]
# When do they stop helping? Look for the generation after which the blue means no longer fall, with their intervals, and at the second card, which asks whether generation 3 has gained more on its twin than generation 1. (A difference of twins can also grow because the orange ones get worse.) A family can be asked together, as
# in the paper; the last line has that, beside as many networks from labels.
#
# ## A teacher that listens
#
# So far knowledge flows one way. In **online distillation** teacher and students are trained at once, and the teacher may hear its students: where they cannot follow, it is corrected. Our teacher and its two students have one architecture; with feedback, the teacher's loss has a divergence towards the mean of its students' logits beside the labels, with the same weight; without, labels alone. The students' loss is the same in both.


# %%
def together(seed, feedback, epochs, kind, dataset, factor, known, pool, part):
    """A teacher and two students trained at once; the teacher hears its students with weight `feedback`."""
    labelled, _, judged = material(dataset, factor, known, pool, part)
    three = {"teacher": network(kind, 1000 * (seed + 1)), "a": network(kind, seed), "b": network(kind, 1000 * (seed + 1) + 1)}
    three = torch.nn.ModuleDict(three)
    record = train_network(three, labelled, kd.ensembles.online_distillation(feedback, temperature=2.0), epochs, seed)
    return record | {f"correct_{name}": kd.correct(one, judged) for name, one in three.items()}


online = kd.sweep(together, seeds=few_seeds, feedback=[0.0, 1.0], **scale)

# %%
listening = [
    online.assign(arm=f"{one}_{'heard' if feedback else 'deaf'}", correct=online[f"correct_{one}"])[online.feedback == feedback]
    for one in ("teacher", "a", "b")
    for feedback in (0.0, 1.0)
]
listening = pd.concat(listening, ignore_index=True)
listening["errors"] = [10_000 * (~correct).mean() for correct in listening.correct]
print("errors among 10,000 test images, seed by seed")
print(listening.pivot(index="arm", columns="seed", values="errors").round(0).to_string())
kd.judge("09-feedback", listening)

# %% [markdown]
# Who gains? The card has the teacher first, then its students. A teacher that listens to students of its own size is half a partner in mutual learning; the section on that says what to expect, and which control is missing here. And there are three seeds: an interval that contains 0 leaves even the direction open.
#
# ## Specialists
#
# Hinton, Vinyals and Dean (2015, section 5) had a data set so large that an ensemble was out of the question. Their way out: one **generalist** and many small **specialists**, each for a set of classes that are easily confused, with all others in one **dustbin** class. A specialist starts from the generalist's weights and learns from
# images of which half are from its classes. With 61 specialists their accuracy rose from 25.0 to 26.1 %.
#
# At the end, an image whose likeliest class belongs to a specialist goes to it, and the answer $q$ is the one that is closest to both opinions: it minimises $\mathrm{KL}(p^g\,\|\,q) + \mathrm{KL}(p^s\,\|\,q)$, where the specialist compares its dustbin with the sum of $q$ over all the other classes. For one specialist you can solve that by hand. Inside its classes $q$ is the mean of both
# answers; the rest of $q$ is the mean of what both leave for the rest, shared out as the generalist does. The specialist has seen only a share of the other images, so its dustbin is too small: the logarithm of one over that share is added to the dustbin's logit.


# %%
def consult(general_logits, special_logits, classes, drawn):
    """The answer [N, K] of a generalist and one specialist; `drawn`: the share of the other images in the specialist's training set."""
    special_logits = special_logits.clone()
    special_logits[:, -1] += np.log(1 / drawn)
    general, special = F.softmax(general_logits, dim=1), F.softmax(special_logits, dim=1)
    others = [k for k in range(general.shape[1]) if k not in classes]
    q = torch.empty_like(general)
    q[:, classes] = (general[:, classes] + special[:, :-1]) / 2
    rest = general[:, others].sum(dim=1, keepdim=True)
    q[:, others] = general[:, others] / rest * (rest + special[:, -1:]) / 2
    asked = torch.isin(general.argmax(dim=1), torch.tensor(classes))
    return torch.where(asked[:, None], q, general)


generator = torch.Generator().manual_seed(0)
some_general, some_special = torch.randn(20, 6, generator=generator), torch.randn(20, 3, generator=generator)
assert torch.allclose(consult(some_general, some_special, [1, 4], 0.5), kd.ensembles.consult(some_general, some_special, [1, 4], 0.5), atol=1e-6)

# %% [markdown]
# Which classes? Those that member 0 mixes up on new images, for which it takes no labels: the four that share its answers most. The controls cost about as many steps: a specialist for four random classes, and the generalist's weights trained on, for all classes, the two answers averaged. And there is an older rival, a second member.


# %%
def specialist(seed, how, size, epochs, kind, dataset, factor, known, pool, part):
    """Member 0 as a generalist that consults one specialist, who starts from its weights: for confusable classes, for random ones, or for all."""
    labelled, _, judged = material(dataset, factor, known, pool, part)
    where = dict(kind=kind, dataset=dataset, factor=factor, known=known, pool=pool, part=part)
    general = kd.run(member, seed=seed, index=0, differ="all", epochs=epochs, **where)
    covered = kd.ensembles.confusable_classes(F.softmax(general["logits"][known:], dim=1), size)  # on new images, no labels needed
    if how == "random":
        count = general["logits"].shape[1]
        covered = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:size].sort().values.tolist()
    split, drawn = kd.ensembles.specialist_split(labelled, covered, seed)
    passes = epochs if how != "all" else max(1, round(epochs * len(split) / known))  # as many steps for all classes
    model = network(kind, seed, classes=general["logits"].shape[1] if how == "all" else size + 1)
    start = {name: weight for name, weight in general["weights"].items() if how == "all" or not name.startswith("linear")}
    model.load_state_dict(start, strict=how == "all")
    record = train_network(model, labelled if how == "all" else split, kd.losses.hard_labels(), passes, seed)
    asked, special = general["judged_logits"], kd.predict_logits(model, judged.images)
    if how == "all":
        q = (F.softmax(asked, dim=1) + F.softmax(special, dim=1)) / 2
    else:
        q = kd.ensembles.consult(asked, special, covered, drawn)
    return record | {"correct": q.argmax(dim=1) == judged.labels, "covered": covered, "cost": len(split) / known}


specialists = kd.sweep(specialist, seeds=few_seeds, how=["confusable", "random", "all"], size=4, **scale)

# %%
specialists = specialists.assign(arm=specialists.how.map({"confusable": "specialist", "random": "random_classes", "all": "trained_on"}))
generalists = every_member[(every_member["index"] == 0) & every_member.seed.isin(few_seeds)].assign(arm="generalist")
seconds = []
for s in few_seeds:
    _, asked = ensemble(s, members=2, **scale)
    seconds.append({"arm": "second_member", "seed": s, "correct": (kd.ensembles.average(asked, "probabilities").argmax(dim=1) == judged_labels).numpy()})
consulted = pd.concat([specialists, generalists, pd.DataFrame(seconds)], ignore_index=True)
consulted["errors"] = [10_000 * (~correct).mean() for correct in consulted.correct]
order = ["generalist", "specialist", "random_classes", "trained_on", "second_member"]
for s, covered in specialists[specialists.arm == "specialist"].set_index("seed").covered.items():
    print(f"seed {s}: specialist for {', '.join(classes[k] for k in covered)}")
print("errors among 10,000 test images, seed by seed")
print(consulted.pivot(index="arm", columns="seed", values="errors").loc[order].round(0).to_string())
paid = 1 + specialists[specialists.arm == "specialist"].cost.mean()
print(f"cost, in members: generalist 1, with specialist {paid:.1f}, with a second member 2")
kd.judge("09-specialist", consulted)

# %% [markdown]
# The card compares the specialist with its generalist, and with the two controls of the same cost. To beat the generalist would not be a success yet: any second opinion may do that. A thousand images learned by heart should leave a specialist little that is new; in the paper there were a hundred million images, and each specialist had three hundred classes. Ten classes are
# a toy for this idea, and one set of specialists no test of it.
#
# ## What it costs, and what it brings
#
# All on one picture. The unit of cost is the training of one member; asking a teacher about a training image costs a third of a training step, as there is no way back. Open circles have to ask more than one network for every answer they will ever give.

# %% tags=["main-figure", "slide:main", "slide-output"]
one = kd.models.count_flops(network(scale["kind"], 0), tuple(everything.images.shape[1:]))
unit = 3 * one * scale["epochs"] * scale["known"]  # forward once, backward twice as much
own_asked, pool_asked = (one * images / unit for images in (scale["known"], scale["pool"]))  # one teacher's answers to all of them
special_cost = specialists[specialists.arm == "specialist"].cost.mean()
everyone = pd.concat([runs, pairs, born, listening, consulted, every_member.assign(arm="member")])
table = everyone[everyone.seed.isin(few_seeds)].groupby(["seed", "arm"]).errors.mean().unstack()  # the same seeds for all
recipes = [  # what, errors, units of training, networks asked for an answer, role, where the text goes
    ("a member", table.member, 1, 1, "hard", (8, 0)),
    ("labels, longer", table.single, 2.5, 1, "hard", (8, 0)),
    ("five members", table.ensemble, 5, 5, "teacher", (8, 0)),
    ("five → one, own", table.own, 5 + 2.5 + 5 * own_asked, 1, "soft", (-8, 0)),
    ("five → one, new", table.fresh, 5 + 2.5 + 5 * pool_asked, 1, "soft", (-8, 3)),
    ("their vote, new", table.votes, 5 + 2.5 + 5 * pool_asked, 1, "control", (-12, -18)),
    ("shuffled, new", table.fresh_shuffled, 5 + 2.5 + 5 * pool_asked, 1, "control", (-8, -2)),
    ("one → one, own", table.own_one, 1 + 2.5 + own_asked, 1, "soft", (10, 50)),
    ("one → one, new", table.fresh_one, 1 + 2.5 + pool_asked, 1, "soft", (30, -18)),
    ("noisy, own", table.noise50, 1 + 2.5 + own_asked, 1, "soft", (12, -52)),
    ("mutual, one of two", (table.mutual_a + table.mutual_b) / 2, 3, 1, "soft", (-24, 46)),
    ("mutual, both", table.mutual_both, 3, 2, "soft", (10, -58)),
    ("two alone, both", table.alone_both, 3, 2, "hard", (-10, -50)),
    ("born again", table.born1, 2 + own_asked, 1, "soft", (-8, 0)),
    ("third generation", table.born3, 4 + 3 * own_asked, 1, "soft", (8, 0)),
    ("listening teacher", table.teacher_heard, 3, 1, "soft", (-10, -34)),
    ("with specialist", table.specialist, 1 + special_cost, 2, "soft", (-8, 0)),
    ("with second member", table.second_member, 2, 2, "hard", (-8, 0)),
]
apart = {"mutual, one of two": 1.05, "listening teacher": 0.95, "two alone, both": 0.95, "mutual, both": 1.05, "noisy, own": 0.97, "one → one, new": 1.02}  # drawn apart
figure, axis = plt.subplots(figsize=(8, 6.2))
for text, errors, cost, networks, role, offset in recipes:
    colour = kd.plots.COLOURS[role]
    cost *= apart.get(text, 1)
    axis.plot([cost] * len(errors), errors, "o", markersize=3, color=colour, alpha=0.45, markeredgewidth=0, zorder=1)
    filling = colour if networks == 1 else "white"
    axis.plot(cost, errors.mean(), "o", markersize=7, color=colour, markerfacecolor=filling, markeredgewidth=1.5)
    thread = dict(arrowstyle="-", color=colour, linewidth=0.7, shrinkA=0, shrinkB=4) if max(map(abs, offset)) > 8 else None
    axis.annotate(text, (cost, errors.mean()), xytext=offset, textcoords="offset points", ha="left" if offset[0] > 0 else "right", va="center",
                  color="#75604f" if role == "control" else colour, arrowprops=thread)  # fmt: skip
found = {text: errors.mean() for text, errors, *_ in recipes}
low, high = min(errors.min() for _, errors, *_ in recipes), max(errors.max() for _, errors, *_ in recipes)
axis.set(xscale="log", xlabel="cost of training, in members", ylabel="errors among 10,000 test images")
axis.set_xticks([1, 2, 3, 4, 5, 8], ["1", "2", "3", "4", "5", "8"])
axis.minorticks_off()
axis.set(xlim=(0.88, 9.6), ylim=(low - 0.08 * (high - low), high + 0.06 * (high - low)))
axis.text(0.99, 0.99, f"● one network answers   ○ several do\nmeans and runs of {len(few_seeds)} seeds", transform=axis.transAxes, ha="right", va="top")
axis.set_title(
    f"A member {found['a member']:.0f} errors, five of them {found['five members']:.0f};\none network in their place {found['five → one, new']:.0f} "
    f"with new images, {found['five → one, own']:.0f} without"
)
kd.plots.show(
    figure,
    "Errors against the cost of training, counted in trainings of one member, for all recipes of the lesson: means with their runs as small dots. Filled: "
    "one network answers; open: several are needed for each answer. Orange: labels alone; blue: with teachers, peers or specialists; grey-brown: the bare "
    "vote and shuffled answers; dark: the five members. The horizontal axis is logarithmic, the vertical one does not start at zero, and some recipes of one cost stand a little apart. Lower "
    "and further left is better. " + "; ".join(f"{r[0]} {found[r[0]]:.0f} errors at {r[2]:.1f}" for r in recipes),
)

# %% [markdown]
# Look along the lower edge: for each cost, which filled dot is lowest? And what buys more, another network or new images? The picture compares recipes that use unequal data: what is called *new* has seen ten times as many images as the rest. Does any dot stand below the five members, and what has it heard? And read the picture as a map, not as a race: neighbours may change places with other seeds, and six recipes of almost one cost are drawn a few per cent to the side, so that no dot hides another.
#
# ## What goes wrong in practice
#
# **One loud member.** You collect five networks from five colleagues. One was trained longer, or exports its logits at another scale. In the mean of the *logits*, whoever shouts is heard: a logit ten times as large has ten votes. No label is wrong and nothing crashes.

# %% tags=["slide:wrong", "slide-output"]
_, asked = ensemble(first_seed, **scale)
loud = asked.clone()
loud[0] *= 10
quiet_again = loud / loud.std(dim=(1, 2), keepdim=True) * asked.std(dim=(1, 2)).mean()
first = asked[0].argmax(dim=1)
print(f"member 0 alone: {errors_of(asked[0]).item():.0f} errors; below, errors (and answers that are member 0's)")
print(f"{'':30s} {'mean of logits':>15s} {'of probabilities':>18s}")
for name, members in (("five members", asked), ("member 0 is loud", loud), ("each divided by its own spread", quiet_again)):
    means = {of: kd.ensembles.average(members, of) for of in ("logits", "probabilities")}
    said = [f"{errors_of(z).item():.0f} ({100 * (z.argmax(dim=1) == first).double().mean():.1f} %)" for z in means.values()]
    print(f"{name:30s} {said[0]:>15s} {said[1]:>18s}")

# %% [markdown]
# Compare *member 0 is loud* with *five members*, in both columns. Probabilities stop at 1, so shouting helps them less than logits, but a loud member is also a member that is always sure. Before you average, print the spread of each member's logits; if they differ, divide, or find for each a temperature on validation images ([lesson 03](03_temperature.ipynb)).
#
# **Peers that feel each other's loss.** In mutual learning the other's answer has to be a constant. Forget `.detach()`, and each student is moved by the *other's* loss as well. Nothing looks wrong, as the value of the loss is the same; only the gradients tell. Exercise 3 checks them.
#
# ## Exercises
#
# ### 1 · Is it worth averaging?
#
# Four colleagues give you four models, and you have images without labels. By how much will the mean answer beat the four on average, in squared error? You do not need labels to know. Write it.


# %% tags=["exercise"]
def ambiguity_without_labels(probabilities):
    """[M, N, K] probabilities of M members → a number: their mean squared distance from the mean answer."""
    mean = probabilities.mean(dim=0)
    return ...


# %% tags=["solution"]
def ambiguity_without_labels(probabilities):
    """[M, N, K] probabilities of M members → a number: their mean squared distance from the mean answer."""
    mean = probabilities.mean(dim=0)
    return (probabilities - mean).pow(2).sum(dim=2).mean()


# %%
kd.checks.lesson09.ambiguity(ambiguity_without_labels);

# %% [markdown]
# When it is right, try it in a new cell: `ambiguity_without_labels(F.softmax(all_logits[:, ~new], dim=2))` and the same with `new`. It says in two numbers what the first figure shows.
#
# ### 2 · A loss that wants logits
#
# Your loss, `kd.losses.soft_targets(T)`, takes a teacher's logits and divides them by $T$ before its softmax. You want it to hear the *arithmetic mean* of your members' softened probabilities. Which logits do you hand over?


# %% tags=["exercise"]
def mean_of_probabilities(logits, temperature):
    """[M, N, K] logits of M members → [N, K] logits whose softmax at `temperature` is the mean of the members' softened probabilities."""
    p = F.softmax(logits / temperature, dim=2).mean(dim=0)
    return ...


# %% tags=["solution"]
def mean_of_probabilities(logits, temperature):
    """[M, N, K] logits of M members → [N, K] logits whose softmax at `temperature` is the mean of the members' softened probabilities."""
    p = F.softmax(logits / temperature, dim=2).mean(dim=0)
    return temperature * p.log()


# %%
kd.checks.lesson09.mean_of_probabilities(mean_of_probabilities);

# %% [markdown]
# ### 3 · Whose loss is it?
#
# A colleague trains two students with one sum of losses, and finds that each term moves both of them. Fill in what this student learns from its peer, at $T = 1$, so that the peer does not feel it.


# %% tags=["exercise"]
def mutual_loss(student_logits, peer_logits, labels):
    """Logits [N, K] of a student and its peer, labels [N] → what the student minimises; the peer must not feel it."""
    p = ...
    soft = F.kl_div(F.log_softmax(student_logits, dim=1), p, reduction="batchmean")
    return F.cross_entropy(student_logits, labels) + soft


# %% tags=["solution"]
def mutual_loss(student_logits, peer_logits, labels):
    """Logits [N, K] of a student and its peer, labels [N] → what the student minimises; the peer must not feel it."""
    p = F.softmax(peer_logits.detach(), dim=1)
    soft = F.kl_div(F.log_softmax(student_logits, dim=1), p, reduction="batchmean")
    return F.cross_entropy(student_logits, labels) + soft


# %%
kd.checks.lesson09.mutual_loss(mutual_loss);

# %% [markdown]
# ## Takeaways
#
# - A mean of answers is better than its members are on average by exactly as much as they differ (for the squared error). Measure the difference on images that they have not learned; it needs no labels.
# - So ask an ensemble about *new* images if you can. On images that its members know by heart they repeat the labels; a higher temperature can make audible what lies below.
# - Always train the student of *one* teacher beside the student of five, and students of the bare vote and of shuffled answers beside both. What is left after that is what the ensemble's soft answers are worth.
# - Noise, peers and generations need no second architecture. They may all work by keeping a network from being too sure; that is our reading of the controls, not a measurement. A control such as the shuffled peer can show whether anything else is exchanged.
# - Count networks, in training and in use, before you compare errors.
#
# **Further reading.** Hinton, Vinyals & Dean, *Distilling the Knowledge in a Neural Network*, 2015, sections 4 and 5 · Buciluă, Caruana & Niculescu-Mizil, *Model Compression*, 2006 · Krogh & Vedelsby, *Neural Network Ensembles, Cross Validation, and Active Learning*, 1995 · Zhang et al., *Deep Mutual Learning*, 2018 · Furlanello et al., *Born-Again Neural Networks*, 2018, tables of CIFAR-10 and CIFAR-100 ·
# Sau & Balasubramanian, *Deep Model Compression: Distilling Knowledge from Noisy Teachers*, 2016 · Lakshminarayanan, Pritzel & Blundell, *Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles*, 2017 · Allen-Zhu & Li, *Towards Understanding Ensemble, Knowledge Distillation and Self-Distillation in Deep Learning*, 2020 (a theory of what members see differently).
