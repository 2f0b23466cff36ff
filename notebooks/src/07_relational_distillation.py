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
# # 07 · Relational distillation
#
# **After this lesson you can teach a student whose embedding has another width than the teacher's, say which changes of an embedding such a teacher does not see, and name the rivals
# and controls that a gain from relations has to pass, on classes nobody has seen and in classification.**
#
# 35 minutes · needs [lesson 01](01_soft_targets.ipynb); [lesson 06](06_what_to_match.ipynb) helps · data: Fashion-MNIST, MNIST (the full profile also Omniglot, CIFAR-10)
#
# A teacher describes every image by 128 numbers, an **embedding**: images of the same thing lie close together. Your student has room for 32. Which of the 128 should the student's third number
# imitate? There is no answer, because no single number means anything: turn the whole space, and all of them change while every distance stays. So do not ask the student for the numbers. Ask it for what the numbers
# are good for: who is near whom, and at which angle. That is **relational knowledge distillation** (RKD; Park, Kim, Lu and Cho 2019).
#
# The paper's ground is **metric learning**: an embedding is trained on some classes and used on others, which nobody has seen. We follow it there, and then look at the other half of the truth, which is
# classification.

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")  # "smoke": seconds, mechanics only · "quick": a laptop · "full": the paper's scale
first_seed = 0  # another number gives fresh seeds everywhere, teachers included

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import display
from scipy import stats
from torch import nn

import kdcourse as kd

kd.plots.style()
lesson = kd.start("07", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("07")

# %% [markdown]
# ## Clothes nobody has seen
#
# Fashion-MNIST has ten classes. In every run six are trained on, and four are left out: a shop's new goods. Which four changes with the seed, so that no claim rests on one lucky choice. There are five choices, each of two tops (a dress counts as one), a pair of shoes, and trousers or a bag; after five seeds they come
# round again. We made them by hand: they leave out every class at least once, but they are no random sample of what a shop may bring. Six classes are few to learn from; turned by quarter turns they become 24, an old trick from Omniglot.
#
# All images are moved by up to two pixels each way before they are shrunk to 14×14, once and for all. You should know why. The clothes of Fashion-MNIST are so well centred that comparing raw pixels is hard to beat; we made the task harder for pixels, on validation images, before the claims were written.

# %% tags=["slide:clothes", "slide-output"]
scale = dict(
    dataset="fashion_mnist",
    count=lesson.pick(smoke=300, quick=4000, full=30_000),  # images that the students learn from
    teacher_epochs=lesson.pick(smoke=1, quick=6, full=20),
    teacher_count=lesson.pick(smoke=600, quick=None, full=None),  # None: all of the six classes, 30,000
)
train, unseen, seen = kd.metric.clothes("fashion_mnist", first_seed)
names = kd.load("fashion_mnist").classes
left_out = kd.metric.unseen(first_seed)
kept = [c for c in range(10) if c not in left_out]

figure, axes = plt.subplots(2, 12, figsize=(8, 2.5))
for axis in axes.flat:
    axis.axis("off")
for position in range(12):
    label = 4 * (position // 2) + 2 * (position % 2) + position // 2 % 2  # two of the four turns of every class
    row = (train.labels == label).nonzero()[0].item()
    axes[0, position].imshow(train.images[row, 0], vmin=0)
    if position % 2 == 0:
        axes[0, position].set_title(names[kept[position // 2]], fontsize=9, fontweight="normal")
    column = left_out[position // 3]
    row = (unseen.labels == column).nonzero()[position % 3].item()
    axes[1, position].imshow(unseen.images[row, 0], vmin=0)
    if position % 3 == 0:
        axes[1, position].set_title(names[column], fontsize=9, fontweight="normal")
figure.suptitle("Above: learn from these, turned. Below: judged on these, upright", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Two rows of twelve images of clothes, 14 by 14 pixels. Above, two images of each of the six classes that this seed trains on, turned by "
    "quarter turns. Below, three images of each of the four classes that are left out: " + ", ".join(names[c] for c in left_out) + ".",
)

# %% [markdown]
# How good is an embedding for classes it has never met? Two questions, both answered by distances alone.
#
# - **Recall@1.** Put an image of an unseen class on the table, look for its nearest neighbour in a gallery: is it of the same class? Our galleries have 100 images, about 25 of each unseen class; every image is a query in its own gallery. That makes 4,000 queries in a run; we count **misses**, per 10,000 queries.
# - **Few-shot.** Show five images (or one) of each of the four classes. Take the mean of each five as a prototype; a new image belongs to the nearest.
#
# ## The idea in a picture
#
# Five images, as points in the teacher's space, and what students might make of them. Write $t_i$ and $s_i$ for the embeddings of image $i$. **RKD-D** compares distances, each divided by the mean distance of its own space. **RKD-A** compares the cosine of the angle at $t_i$ between $t_j$ and $t_k$, for all triplets.

# %% tags=["slide:shapes", "slide-output"]
teacher_points = torch.tensor([[0.0, 0.0], [1.0, 0.2], [0.4, 1.1], [2.2, 0.9], [1.9, 1.8]])
c, s = np.cos(2.2), np.sin(2.2)
tilted, _ = torch.linalg.qr(torch.tensor([[0.9, 0.3], [0.2, 1.0], [0.5, -0.4]]))
pupils = {
    "the teacher": teacher_points,
    "turned, moved, larger": 1.5 * teacher_points @ torch.tensor([[c, s], [-s, c]]).float() + 3,
    "mirrored, tiny": 0.01 * teacher_points * torch.tensor([-1.0, 1.0]),
    "in a plane of 3-d": teacher_points @ tilted.T,
    "stretched": teacher_points * torch.tensor([2.5, 1.0]),
    "two swapped": teacher_points[[3, 1, 2, 0, 4]],
}
figure, axes = plt.subplots(1, len(pupils), figsize=(8, 2.5))
for axis, (name, points) in zip(axes, pupils.items()):
    d = kd.losses.rkd_distance_loss(points, teacher_points).item()
    a = kd.losses.rkd_angle_loss(points, teacher_points).item()
    drawn = points[:, :2] - points[:, :2].mean(dim=0)
    drawn = drawn / drawn.abs().max()
    colour, free = kd.plots.COLOURS["teacher" if name == "the teacher" else "soft"], max(d, a) < 1e-5
    axis.plot(*drawn[[0, 1, 3, 4, 2, 0]].T, color=colour, linewidth=1, alpha=0.6, linestyle="-" if free else ":")
    axis.scatter(*drawn.T, s=26, facecolor=colour if free else "white", edgecolor=colour, zorder=3)
    for number, point in enumerate(drawn):
        axis.annotate(str(number), point, xytext=(3, 3), textcoords="offset points", fontsize=9)
    axis.set(xlim=(-1.4, 1.5), ylim=(-1.4, 1.5), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.set_title(name.replace(", ", ",\n") if "," in name else name + "\n", fontsize=9, fontweight="normal", loc="center")
    axis.set_xlabel(f"distances {abs(d):.3f}\nangles {abs(a):.3f}", fontsize=9, color=colour, fontweight="normal" if free else "bold")
unharmed = sum(max(kd.losses.rkd_distance_loss(p, teacher_points), kd.losses.rkd_angle_loss(p, teacher_points)) < 1e-5 for p in pupils.values()) - 1
figure.suptitle(f"{unharmed} of {len(pupils) - 1} changes cost the student nothing", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Six small drawings of five numbered points joined by lines: the teacher's points, then the same points turned, moved and enlarged; mirrored and shrunk; placed in a plane "
    "of three-dimensional space (drawn by two coordinates); stretched; and with two points exchanged. Below each drawing the distance loss and the angle loss against the teacher. "
    "Filled points and solid lines: both losses are zero. Hollow points and dotted lines: they are not.",
)

# %% [markdown] tags=["slide:rkd"]
# Everything that keeps shapes costs nothing: moving, turning, mirroring, enlarging, and a space with more dimensions than needed. What changes the shape costs. (The plane in three dimensions looks squeezed only because paper has two.)
#
# ## From the picture to the formula
#
# What should happen at the ends? Two embeddings with all distances in the same proportion: loss 0, whatever their widths. The further a distance is from its proportion, the larger the penalty; but one wild distance must not drown the rest, so the squared difference turns
# into a straight line beyond 1. That is the **Huber loss** $h(x) = x^2/2$ for $|x| \le 1$, else $|x| - 1/2$. With $N$ images in the batch and $\mu_t$, the mean of the teacher's $N(N-1)$ distances,
#
# $$ \psi^t_{ij} = \frac{\lVert t_i - t_j\rVert}{\mu_t}, \qquad \phi^t_{ijk} = \Big\langle \frac{t_j - t_i}{\lVert t_j - t_i\rVert},\, \frac{t_k - t_i}{\lVert t_k - t_i\rVert} \Big\rangle, $$
#
# the same for the student with its own $\mu_s$, and
#
# $$ \text{RKD-D} = \frac{1}{N(N-1)}\sum_{i \ne j} h(\psi^s_{ij} - \psi^t_{ij}), \qquad \text{RKD-A} = \frac{1}{N^3}\sum_{i,j,k} h(\phi^s_{ijk} - \phi^t_{ijk}). $$


# %%
def distance_loss(student, teacher):
    def relations(points):
        distances = F.pdist(points)  # every pair once
        return distances / distances.mean()

    return F.smooth_l1_loss(relations(student), relations(teacher))


def angle_loss(student, teacher):
    def relations(points):
        directions = F.normalize(points[None] - points[:, None], dim=2)  # [N, N, D]: from i to j
        return torch.einsum("ijd,ikd->ijk", directions, directions)  # [N, N, N]: cosines at i

    return F.smooth_l1_loss(relations(student), relations(teacher))


generator = torch.Generator().manual_seed(0)
student_points, wide_points = torch.randn(40, 16, generator=generator), torch.randn(40, 128, generator=generator)
for written_out, packaged in ((distance_loss, kd.losses.rkd_distance_loss), (angle_loss, kd.losses.rkd_angle_loss)):
    values, gradients = [], []
    for loss in (written_out, packaged):
        points = student_points.clone().requires_grad_()
        values.append(loss(points, wide_points))
        gradients.append(torch.autograd.grad(values[-1], points)[0])
    assert torch.allclose(*values, rtol=1e-5)
    assert (gradients[0] - gradients[1]).abs().max() < 1e-5 * gradients[0].abs().max()

# %% [markdown]
# Values and gradients agree with the package's. Now with paper and pencil: the teacher has a right angle with legs 3 and 4, the student puts the same three points on one line. Distances 3, 4, 5 (mean 4) against 3, 4, 7 (mean 14/3); cosines 0, 3/5, 4/5
# against −1, 1, 1.

# %% tags=["nbval-check-output"]
corner = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
line = torch.tensor([[0.0], [3.0], [-4.0]], dtype=torch.float64)
print("teacher's distances over their mean:", [f"{x:.4f}" for x in (F.pdist(corner) / F.pdist(corner).mean()).tolist()])
print("student's distances over their mean:", [f"{x:.4f}" for x in (F.pdist(line) / F.pdist(line).mean()).tolist()])
print(f"RKD-D {kd.losses.rkd_distance_loss(line, corner):.5f}: each pair counts, halves of the squared differences, mean of 3")
print(f"RKD-A {kd.losses.rkd_angle_loss(line, corner):.5f}: (1/2 + 2/25 + 1/50) · 2 of 27 triplets = {2 * (1 / 2 + 2 / 25 + 1 / 50) / 27:.5f}")

# %% [markdown]
# Why is the package's version another one? The written-out angles first make all differences, $N \times N \times D$ numbers. But a scalar product of differences needs none of them: with the **Gram matrix** $G_{ij} = s_i^\top s_j$ it is $G_{jk} - G_{ij} - G_{ik} + G_{ii}$, and the width is gone after one matrix product. `kdcourse/relations.py` does that in blocks which fit into a
# processor's cache, and brings its own backward pass, so that nothing of size $N^3$ is ever kept. The cell prints the memory; run it yourself and it also prints the time on your machine.

# %%
N, D = 64, 128
print(f"N = {N}, D = {D}: the differences are {N * N * D * 4 / 2**20:.0f} MB, the cosines {N**3 * 4 / 2**20:.0f} MB; a Gram matrix {N * N * 4 / 2**20:.3f} MB")
points, others = torch.randn(2, N, D, generator=generator).unbind()
for name, loss in (("written out", angle_loss), ("from Gram matrices", kd.losses.rkd_angle_loss)):
    times = []
    for _ in range(5):
        leaf, started = points.clone().requires_grad_(), time.perf_counter()
        loss(leaf, others).backward()
        times.append(1000 * (time.perf_counter() - started))
    kd.lesson.say(f"{name}: {min(times):.1f} ms forward and backward")

# %% [markdown]
# ## What such a teacher does not see
#
# An **invariance** is a change that a loss does not notice. For a student it is freedom: it may put its cloud of points wherever, however large and however turned, if only the shape is right. This is what regression on the numbers themselves forbids. We check it instead of believing it: the teacher is a cloud of points, the student the same cloud after a change.

# %% tags=["slide:invariance", "slide-output"]
rotation, _ = torch.linalg.qr(torch.randn(16, 16, generator=generator))
wider = torch.linalg.qr(torch.randn(40, 40, generator=generator))[0][:16]  # 16 orthogonal directions in 40 dimensions
changes = {
    "moved": student_points + 5 * torch.randn(16, generator=generator),
    "7 times as large": 7 * student_points,
    "turned": student_points @ rotation,
    "in 40 dimensions": student_points @ wider,
    "one axis stretched": student_points * torch.cat([torch.tensor([4.0]), torch.ones(15)]),
    "on the unit sphere": F.normalize(student_points, dim=1),
}
print("the changed student against the unchanged one:")
print(f"{'':20s} {'distance loss':>14s} {'angle loss':>11s} {'squared error':>14s}")
for name, changed in changes.items():
    d, a = kd.losses.rkd_distance_loss(changed, student_points).item(), kd.losses.rkd_angle_loss(changed, student_points).item()
    square = f"{(changed - student_points).pow(2).mean().item():14.4f}" if changed.shape == student_points.shape else f"{'no such thing':>14s}"
    print(f"{name:20s} {d:14.4f} {abs(a):11.4f} {square}")
    assert (max(d, a) < 1e-5) == (name in ("moved", "7 times as large", "turned", "in 40 dimensions"))

# %% [markdown]
# The last line is a warning. Putting embeddings on the unit sphere, which metric learning does as a habit, is *not* free: it changes the shape. Park et al. report that students do better without it. We shall see.
#
# Can 32 numbers hold the relations of 128? A wider space can always hold those of a narrower one. The other way round it depends on how many of the teacher's directions matter. Principal components tell: squeeze the teacher into its best $k$ directions and ask what is lost. One teacher, 200 images: a look, not a test.

# %%
# The students' own loss, on images of the training set.
taught = kd.run(kd.metric.wide_teacher, dataset=scale["dataset"], epochs=scale["teacher_epochs"], seed=first_seed, count=scale["teacher_count"])
embedded = kd.metric.embed(kd.metric.wide_embedding(taught["weights"]), train.images[:200])
untaught = kd.metric.embed(kd.metric.wide_embedding(None, first_seed), train.images[:200])
widths = [2, 4, 8, 16, 32, 64, 128]
lost = {"trained": [], "untrained": []}
for name, points in (("trained", embedded), ("untrained", untaught)):
    for k in widths:
        squeezed = kd.metric.principal(points, k)
        lost[name].append([kd.losses.rkd_distance_loss(squeezed, points).item(), kd.losses.rkd_angle_loss(squeezed, points).item()])
shape_of = {name: np.array(values).clip(1e-6) for name, values in lost.items()}

figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.1), sharey=True)
for axis, column, title in zip(axes, (0, 1), ("distances (RKD-D)", "angles (RKD-A)")):
    for name, role in (("trained", "teacher"), ("untrained", "control")):
        axis.loglog(widths, shape_of[name][:, column], "o-", color=kd.plots.COLOURS[role], markersize=4)
    axis.axvspan(14, 146, color=kd.plots.COLOURS["soft"], alpha=0.1)
    axis.set(xlabel="directions kept", ylim=(1e-6, 1))
    axis.set_xticks(widths, [str(k) for k in widths])
    axis.minorticks_off()
    axis.set_title(title, fontsize=10)
axes[0].legend(["trained teacher", "the same, untrained"], frameon=False, fontsize=9, loc="lower left")
axes[1].text(45, 0.3, "our students' widths", ha="center", color=kd.plots.COLOURS["soft"], fontsize=9)
axes[0].set_ylabel("loss of the squeezed teacher\nagainst the whole one")
left = 100 * shape_of["trained"][widths.index(32), 0] / shape_of["trained"][0, 0]
figure.suptitle(f"Squeezed into 32 directions, this teacher has {left:.2g} % of the distance loss it has in 2", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Two panels with logarithmic axes: the distance loss and the angle loss of a teacher squeezed into its k principal directions, against the whole teacher, for k from 2 "
    "to 128; one line for the trained teacher, one for the same network before training. A blue band marks the widths of the students, 16 to 128. Values below one in a million are drawn there.",
)

# %% [markdown]
# Where the lines are low, a student of that width *could* have nearly all of the teacher's relations, if it could compute them. (Where they are high, it might still: principal components are one way to squeeze, not the best one for these losses.) Room is one limit, the student's layers are the other.
#
# ## The experiment
#
# The teacher is a convolutional network of widths 16, 24 and 128, trained to tell the 24 turned classes apart; its embedding is the layer before the last, 128 numbers on the unit sphere. (Park et al. train theirs with triplets. With as few classes as ours, triplets gave us teachers worse than raw pixels in the pilot; with the many characters of Omniglot, at the end of the lesson, we do as they did.)
# Students have widths 8, 16 and 32 and a last linear layer to 32 numbers, and see 4,000 images in the quick profile.
#
# | student | what it is asked for |
# |---|---|
# | triplets | no teacher: an image of the same class must be nearer than one of another, by a margin of 0.2 (Schroff et al. 2015), negatives weighted by distance as in Wu et al. 2017 |
# | labels | no teacher: the classes, through one more linear layer, as the teacher itself was trained |
# | regression | the teacher's 128 numbers, through a linear map from 32 to 128 that is thrown away (we measure the 32) |
# | squeezed | the teacher's best 32 directions, number by number |
# | relations | RKD-D + 2 · RKD-A (the paper's weights, $\lambda_D = 1$ and $\lambda_A = 2$), nothing else: no labels, not put on the sphere |
# | distances, angles | one of the two alone |
# | on the sphere | relations, the student's embedding on the unit sphere |
# | *untrained* | a control: relations of the teacher before its training |
# | *shuffled* | a control: relations of the teacher, each image given the embedding of another one of its class |
#
# If relations carry what the teacher knows of clothes in general, *relations* should miss fewer unseen clothes than students without a teacher, and the two controls should not repeat the gain.
#
# Three students are asked for the same teacher's embedding with growing freedom. *Squeezed* has to hit given numbers. *Relations* may move, turn and enlarge the cloud. *Regression* may also stretch it, as long as a linear map finds the way back: the shape of its 32 numbers is nobody's business. If the freedom to turn is
# worth something, *relations* beat *squeezed*; if the shape is, they beat *regression*.
#
# What would prove it wrong: the untrained teacher's students do as well. Then relations of any network would do, and the gain would be that of copying a bigger picture of the pixels.
#
# All students of a seed start from the same weights and see the same batches of 64. For each arm three learning rates were tried on validation images, with pilot seeds that are not used here, and for seven of the ten a fourth, twice as high; it was level with the third within the noise, and all arms use the third. (Two pilot seeds a rate. Margin, weights of the losses and size of the batch were tuned for nobody.) The pilot's five choices of unseen classes are those of this run; teachers, students, moves and the judged images are new.


# %%
def measures(embeddings, judged, seed):
    """Misses among 10,000 queries in galleries of 100, and few-shot accuracy in percent."""
    few = dict(ways=4, episodes=200, seed=seed)
    return {
        "misses": 10_000 * (~kd.metric.nearest_is_right(embeddings, judged.labels, gallery=100)).double().mean().item(),
        "five_shot": 100 * kd.metric.few_shot_accuracy(embeddings, judged.labels, shots=5, **few),
        "one_shot": 100 * kd.metric.few_shot_accuracy(embeddings, judged.labels, shots=1, **few),
    }


def student(arm, dimensions, seed, dataset, count, epochs, learning_rate, teacher_epochs, teacher_count, part="test"):
    """Train a student with an embedding of `dimensions` numbers and measure it on classes it has not seen (and, for comparison, on those it has)."""
    train, unseen, seen = kd.metric.clothes(dataset, seed, part)
    train = train[:count]
    taught = kd.run(kd.metric.wide_teacher, dataset=dataset, epochs=teacher_epochs, seed=seed, count=teacher_count)
    teacher = kd.metric.wide_embedding(None if arm == "untrained" else taught["weights"], seed)  # the control: from the teacher's initial weights
    targets = kd.metric.embed(teacher, train.images)  # [count, 128]
    if arm == "shuffled":
        targets = kd.controls.shuffle_within_class(targets, train.labels, seed)
    if arm == "squeezed":
        targets = kd.metric.principal(targets, dimensions)
    network = model = kd.models.cnn(8, 16, 32, classes=dimensions, size=14, seed=seed)
    born = sum(weights.double().abs().sum() for weights in network.parameters()).item()  # the same for all arms of a seed
    if arm in ("labels", "regression"):  # one more layer, thrown away afterwards
        model = nn.Sequential(network, kd.models.mlp(dimensions, {"labels": 24, "regression": 128}[arm], seed=seed))
    loss = {
        "triplets": kd.metric.triplet(margin=0.2),
        "labels": kd.metric.labelled(),
        "regression": kd.metric.regression(),
        "squeezed": kd.metric.regression(),
        "distances": kd.metric.relational(distance=1, angle=0),
        "angles": kd.metric.relational(distance=0, angle=2),
        "on_sphere": kd.metric.relational(distance=1, angle=2, normalise=True),
    }.get(arm, kd.metric.relational(distance=1, angle=2))
    record = kd.fit(model, train, loss, epochs=epochs, batch_size=64, learning_rate=learning_rate, seed=seed, targets=targets)
    sphere = arm in ("triplets", "labels", "on_sphere")  # these know directions only
    found = measures(kd.metric.embed(network, unseen.images, sphere), unseen, seed)
    seen_misses = 10_000 * (~kd.metric.nearest_is_right(kd.metric.embed(network, seen.images, sphere), seen.labels, gallery=100)).double().mean().item()
    return record | found | {"seen_misses": seen_misses, "born": born}


def yardstick(arm, seed, dataset, teacher_epochs, teacher_count, part="test"):
    """The same measures of the teacher itself and of raw pixels."""
    _, unseen, _ = kd.metric.clothes(dataset, seed, part)
    if arm == "pixels":
        return measures(unseen.images.float().flatten(1), unseen, seed)
    taught = kd.run(kd.metric.wide_teacher, dataset=dataset, epochs=teacher_epochs, seed=seed, count=teacher_count)
    return measures(kd.metric.embed(kd.metric.wide_embedding(taught["weights"]), unseen.images), unseen, seed)


# %%
seeds = lesson.seeds(smoke=1, quick=5, full=5)
more_seeds = lesson.seeds(smoke=1, quick=10, full=10)  # for the two arms that differ most from one choice of classes to the next
few_seeds = lesson.seeds(smoke=1, quick=3, full=3)  # where a picture is all we want
training = dict(epochs=lesson.pick(smoke=1, quick=10, full=40), learning_rate=4e-2)
groups = [  # (arms, their seeds)
    (["triplets", "relations"], more_seeds),
    (["labels", "regression", "squeezed", "on_sphere", "untrained", "shuffled"], seeds),
    (["distances", "angles"], few_seeds),
]
students = pd.concat([kd.sweep(student, seeds=mine, arm=arms, dimensions=32, **training, **scale) for arms, mine in groups])
yardsticks = kd.sweep(yardstick, seeds=seeds, arm=["teacher", "pixels"], **{name: value for name, value in scale.items() if name != "count"})
runs = pd.concat([students, yardsticks], ignore_index=True)
five = runs[runs.seed.isin(seeds)]


def gaps(arm, other, metric="misses", table=runs):
    """Differences of two arms, one for each seed that both have."""
    by_seed = table.pivot(index="seed", columns="arm", values=metric)
    return (by_seed[arm] - by_seed[other]).dropna().to_numpy()


# %% tags=["main-figure", "slide:main", "slide-output"]
rows = {
    "triplets": ("triplets", "hard"),
    "labels": ("labels", "hard"),
    "regression": ("regression", "soft"),
    "squeezed": ("squeezed", "soft"),
    "distances": ("distances alone", "soft"),
    "angles": ("angles alone", "soft"),
    "on_sphere": ("relations on the sphere", "soft"),
    "untrained": ("relations, untrained teacher", "control"),
    "shuffled": ("relations, shuffled", "control"),
    "teacher": ("the teacher itself", "teacher"),
    "pixels": ("raw pixels", "control"),
}
figure, axis = plt.subplots(figsize=(8, 4.6))
axis.axvline(0, color=kd.plots.COLOURS["soft"], linewidth=1.5)
for row, (arm, (name, role)) in enumerate(rows.items()):
    more, colour = gaps(arm, "relations"), kd.plots.COLOURS[role]
    axis.scatter(more, np.full(len(more), row), s=18, color=colour, alpha=0.55, linewidths=0)
    axis.errorbar(more.mean(), row + 0.3, xerr=kd.plots.half_width(more), fmt="o", markersize=6, capsize=3, color=colour)
    axis.annotate(f"{more.mean():+,.0f}".replace("-", "−") + f" ({len(more)})", (1.01, row), xycoords=("axes fraction", "data"), va="center", color="#75604f" if role == "control" else colour, fontweight="bold")
    if arm in ("labels", "on_sphere", "shuffled"):
        axis.axhline(row + 0.62, color="0.85", linewidth=0.8)
axis.set_yticks(range(len(rows)), [name for name, _ in rows.values()])
axis.set_ylim(len(rows) - 0.3, -0.9)
axis.annotate("relations", (0, -0.5), xytext=(-5, 0), textcoords="offset points", ha="right", va="center", color=kd.plots.COLOURS["soft"], fontweight="bold")
axis.annotate("mean (seeds)", (1.01, -0.62), xycoords=("axes fraction", "data"), va="center", fontsize=9)
axis.set_xlabel("misses per 10,000 queries of unseen classes, minus those of relations with the same seed")
gain, (margin, control) = gaps("triplets", "relations").mean(), min((gaps(arm, "relations").mean(), arm) for arm in ("untrained", "shuffled"))
title = f"Relations miss {abs(gain):,.0f} {'fewer' if gain > 0 else 'more'} than triplets, {abs(margin):,.0f} {'fewer' if margin > 0 else 'more'} than the better control, {control}"
figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "One row for each kind of student, for the teacher and for raw pixels: how many more misses per 10,000 queries of unseen classes it has than the student of relations of the same seed, which "
    "is the blue line at 0. Every seed is a dot, below it the mean with its 95 percent interval, at the right the mean as a number and how many seeds it has. "
    + "; ".join(f"{name}: {gaps(arm, 'relations').mean():+.0f}" for arm, (name, _) in rows.items()),
)
level = five.groupby("arm").misses.mean()
worse = [name for arm, (name, _) in rows.items() if arm in five.arm.unique() and level[arm] > level["pixels"]]
print(f"behind raw pixels (means of {len(seeds)} seeds): {'; '.join(worse) or 'none'}")

# %% [markdown]
# Right of the blue line is worse than *relations*. Everything is a difference within one seed, because some choices of unseen classes are much harder than others. Above the first grey line: no teacher. Below it: the same teacher, asked for something else. Then the controls, and at the bottom the teacher itself and raw pixels: an embedding
# that does not beat pixels was not worth its training.
#
# Read that last row before the cards. Does its interval reach across the blue line? Then *relations* have not been shown to beat pixels here. And the line below the figure names the rivals that fell behind pixels: to beat one of these is less than it sounds.
#
# Compare the two controls with each other. Each keeps one thing and drops another. The untrained teacher sees the single image, as random weights see it, and knows of no class. The shuffled one tells the student which classes lie near each other, and nothing of the single image.
#
# Two cards. The first says whether relations of a teacher beat triplets of labels, the second whether it takes this teacher's knowledge of these images. Queries that share a gallery depend on each other, and the classes change with the seed, so the unit of evidence here is the run: five seeds are five choices of classes. *Triplets* and *relations*
# have ten seeds in the quick profile, because in the pilot they differed most from one choice to the next; *distances* and *angles* have three.
#
# But ten seeds are five choices, each twice, and two runs of one choice are not strangers. The card counts ten: it answers for new runs of these five choices. The lines below it first take the mean of each choice and count five: read those if you ask about a choice that nobody has made yet. Where that interval holds the number claimed, the card's word does not reach so far.

# %% tags=["slide", "slide-output"]
kd.judge("07-relations-beat-triplets", runs)

# %%
more = gaps("triplets", "relations")
choices = np.array([more[k::5].mean() for k in range(min(5, len(more)))])  # seeds k and k + 5 leave out the same classes
print("triplets - relations, means of the runs of one choice of classes:")
print(", ".join(f"{x:,.1f}" for x in choices))
if len(choices) > 1:
    half = stats.t.ppf(1 - 0.05 / 3 / 2, len(choices) - 1) * stats.sem(choices)  # 98.3 %, as on the card
    print(f"{choices.mean():,.1f}, 98.3 % interval over {len(choices)} choices {choices.mean() - half:,.1f} to {choices.mean() + half:,.1f}; claimed: more than 150")

# %% tags=["slide", "slide-output"]
kd.judge("07-teacher-is-needed", five)

# %% [markdown]
# What the cards do not say. This is one data set of small grey pictures and one pair of architectures; the paper has birds, cars and products. Weights, images and batches are the same for all arms, but more than the loss differs:
#
# - *Labels* and *regression* learn with one more layer. *Triplets*, *labels* and *on the sphere* are measured by directions alone.
# - Triplets are used to better batches. The paper's hold five images of each class; ours are 64 random ones of 24 classes.
# - *Triplets* and *labels* use labels where the others use a teacher. It has seen all 30,000 images of its six classes, the students 4,000 in the quick profile: part of what relations hand on may be these images. And it learned from labels, not from triplets: a gain over *triplets* may be owed to that.
# - A pass with relations takes more time than one with labels.
#
# A card says two things. The verdict is about the threshold: INCONCLUSIVE means that values on both sides of it fit these runs. The effect is about zero: it can be shown, and still be too uncertain to exceed the threshold. Neither word ever means "nothing there": read the interval. If a number of seeds would decide, the card says which.
#
# The other rows of the figure are questions without a verdict. On the sphere or off it? What is the freedom to turn worth, against a rival who has to hit the teacher's best 32 directions, and what is the shape worth, against one who may stretch it? Does it take a teacher at all, or does a student trained as the teacher was get as far? And does the student beat its teacher? (One rival is missing: a student of this teacher's logits.)

# %%
kd.judge("07-sphere-hurts", five)

# %%
kd.judge("07-freedom-to-turn", five)

# %%
kd.judge("07-relations-beat-labels", five)

# %%
kd.judge("07-beats-its-teacher", five)

# %% [markdown]
# Park et al. let their students off the sphere and report that some of them, on cars, do better than their teacher. The cards above ask both questions here. If the sphere helps where the paper says it hurts, think of what differs: our teacher's embedding lies on the sphere itself, so a student who is put there too
# starts with the right kind of shape; and our students have no ImageNet behind them.
#
# Few-shot accuracy asks the same embeddings another question, about whole classes and not about nearest neighbours. And the last column of the table asks for misses among images of the classes that were trained on; we come back to it.

# %%
order = ["triplets", "labels", "regression", "squeezed", "relations", "on_sphere", "untrained", "shuffled"]
few = five.groupby("arm")[["five_shot", "one_shot", "misses", "seen_misses"]].mean().loc[[*order, "teacher", "pixels"]]
few.columns = ["5-shot %", "1-shot %", "misses, unseen", "misses, seen"]
print(f"means over {len(seeds)} seeds, without their spread; misses per 10,000 queries;\nfew-shot chance is 25 % for four classes")
print(few.round(1).to_string(na_rep="–"))
kd.judge("07-few-shot", five)

# %% [markdown]
# ## From 16 to 128 numbers
#
# How wide must the student's embedding be? Same network, same recipe, only the last layer changes; three seeds in the quick profile. The learning rate was chosen at 32 numbers.

# %%
other_widths = kd.sweep(student, seeds=few_seeds, arm=["triplets", "relations"], dimensions=lesson.pick(smoke=[16, 128], quick=[16, 128], full=[16, 64, 128]), **training, **scale)
by_width = pd.concat([other_widths, students[students.arm.isin(["triplets", "relations"]) & students.seed.isin(few_seeds)]])
dims = sorted(by_width.dimensions.unique())

figure, axis = plt.subplots(figsize=(7.6, 3.5))
for arm, role in (("triplets", "hard"), ("relations", "soft")):
    table = by_width[by_width.arm == arm].pivot(index="seed", columns="dimensions", values="misses")[dims]
    for seed, row in table.iterrows():
        axis.plot(dims, row, "o-", color=kd.plots.COLOURS[role], alpha=0.45, markersize=3.5, linewidth=0.8)
        axis.annotate(f"seed {seed}", (dims[0], row.iloc[0]), xytext=(-7, 0), textcoords="offset points", ha="right", va="center", fontsize=9, color=kd.plots.COLOURS[role])
    axis.plot(dims, table.mean(), "o-", color=kd.plots.COLOURS[role], markersize=6)
    axis.annotate(arm, (dims[-1], table.mean().iloc[-1]), xytext=(8, -3), textcoords="offset points", color=kd.plots.COLOURS[role], fontweight="bold")
for arm, role in (("teacher", "teacher"), ("pixels", "control")):
    level = yardsticks[(yardsticks.arm == arm) & yardsticks.seed.isin(few_seeds)].misses.mean()
    axis.axhline(level, color=kd.plots.COLOURS[role], linewidth=1, linestyle="--")
    axis.annotate({"teacher": "teacher, 128", "pixels": "raw pixels, 196"}[arm], (1.01, level), xycoords=("axes fraction", "data"), fontsize=9, va="center", color=kd.plots.COLOURS[role] if arm == "teacher" else "#75604f")
axis.set(xscale="log", xlabel="numbers in the student's embedding", ylabel="misses per 10,000 queries", xlim=(12.3, 190))
axis.set_xticks(dims, [str(d) for d in dims])
axis.minorticks_off()
middle = by_width.groupby(["arm", "dimensions"]).misses.mean()
axis.set_title("Relations against triplets: " + ", ".join(f"{middle['relations', d] - middle['triplets', d]:+,.0f}" for d in dims).replace("-", "−") + " misses at " + ", ".join(map(str, dims)) + " numbers")
kd.plots.show(
    figure,
    "Misses on unseen classes against the width of the student's embedding, 16 to 128 numbers, for students from triplets and from relations. Thin lines are single seeds, named at their left ends, "
    "thick ones means; dashed lines mark the teacher and raw pixels. The axis does not begin at 0.",
)

# %% [markdown]
# Each colour has three thin lines in the quick profile, one for each of the first three choices of unseen classes: compare lines of the same seed, and ask whether the distance between the colours grows or shrinks with the width. There is no card here; three choices of five show a tendency at most, and their mean at 32 numbers is not that of the main figure.
#
# ## The other half of the truth: classification
#
# Everything above was about embeddings. Relations are also offered as a general method: add them to the loss of a classifier, on its penultimate layer. RepDistiller (Tian, Krishnan and Isola 2020) trained 13 pairs of networks on CIFAR-100 with many methods, among them RKD with labels ($\lambda_D = 25$, $\lambda_A = 50$) and plain distillation of logits with labels (KD, $T = 4$). Their table, drawn as it stands, without a spread:

# %% tags=["slide:published", "slide-output"]
published = {  # accuracy in %, student alone, KD, RKD: README of RepDistiller
    "WRN-40-2 → 16-2": (73.26, 74.92, 73.35), "WRN-40-2 → 40-1": (71.98, 73.54, 72.22), "ResNet56 → 20": (69.06, 70.66, 69.61),
    "ResNet110 → 20": (69.06, 70.67, 69.25), "ResNet110 → 32": (71.14, 73.08, 71.82), "ResNet32x4 → 8x4": (72.50, 73.33, 71.90),
    "VGG13 → VGG8": (70.36, 72.98, 71.48), "VGG13 → MobileNetV2": (64.60, 67.37, 64.52), "ResNet50 → MobileNetV2": (64.60, 67.35, 64.43),
    "ResNet50 → VGG8": (70.36, 73.81, 71.50), "ResNet32x4 → ShuffleV1": (70.50, 74.07, 72.28), "ResNet32x4 → ShuffleV2": (71.82, 74.45, 73.21),
    "WRN-40-2 → ShuffleV1": (70.50, 74.83, 72.21),
}  # fmt: skip
figure, axis = plt.subplots(figsize=(7.4, 4.2))
for row, (alone_, kd_, rkd_) in enumerate(published.values()):
    axis.plot([alone_ - kd_, 0], [row, row], color="0.85", linewidth=1, zorder=1)
    axis.plot(alone_ - kd_, row, "o", markersize=5, markerfacecolor="white", markeredgecolor=kd.plots.COLOURS["hard"])
    axis.plot(rkd_ - kd_, row, "D", markersize=6, color=kd.plots.COLOURS["published"])
axis.axvline(0, color=kd.plots.COLOURS["soft"], linewidth=1.5)
axis.set_yticks(range(len(published)), list(published), fontsize=9)
axis.set_ylim(len(published) - 0.4, -1.6)
axis.annotate("plain KD", (0, -1.1), xytext=(-4, 0), textcoords="offset points", ha="right", va="center", color=kd.plots.COLOURS["soft"], fontweight="bold")
first = next(iter(published.values()))
axis.annotate("RKD", (first[2] - first[1], 0), xytext=(8, 5), textcoords="offset points", color="#007a5a", fontweight="bold")
axis.annotate("labels alone", (first[0] - first[1], 0), xytext=(-8, 5), textcoords="offset points", ha="right", color=kd.plots.COLOURS["hard"])
axis.set_xlabel("accuracy on CIFAR-100 minus that of plain KD, percentage points (Tian et al. 2020)")
behind = sum(rkd_ < kd_ for _, kd_, rkd_ in published.values())
below = sum(rkd_ < alone_ for alone_, _, rkd_ in published.values())
axis.set_title(f"RKD is behind plain KD in {behind} of {len(published)} published pairs, behind labels in {below}")
kd.plots.show(
    figure,
    "Thirteen teacher and student pairs of the RepDistiller benchmark, one row each. The blue line is plain distillation of logits; a green diamond shows how far relational distillation with labels lies from it, "
    "a hollow orange dot the student from labels alone, in percentage points of accuracy on CIFAR-100.",
)

# %% [markdown]
# Before our own runs: what would explain it? A classifier's logits say which class. Relations between images do not: turn the whole embedding, and they stay while every answer changes. So relations need the labels to fix the directions, and much of what they say about classes the labels say already. On *logits*, where each direction is a class, they should be
# at their worst: there are no directions left to choose.
#
# Our test: the convolutional teachers of lesson 01 on MNIST, students with two layers of 300 units, 4,000 images in the quick profile. *Labels*; *KD* at $T = 20$ as in lesson 01; *RKD* on the penultimate layer (300 numbers against the teacher's 576) plus labels, with the libraries' $\lambda_D = 25$ and $\lambda_A = 50$, which nobody tuned for these data; the same
# on the logits; and KD plus RKD. The teachers have seen 50,000 images, moved about, and *labels* has no share in that. In the `full` profile: residual networks of 32 and 8 layers on CIFAR-10, and $T = 4$, at learning rates that were chosen for the quick one.


# %%
RATES = {"hard": 6e-3, "kd": 12e-3, "rkd": 6e-3, "rkd_on_logits": 12e-3, "kd_and_rkd": 12e-3}


def residual_teacher(dataset, epochs, seed, count):
    """The big teacher of the full profile: its weights and record."""
    train = kd.hold_out(kd.load(dataset).train)[0][:count]
    model = kd.models.resnet(32, seed=seed)
    record = kd.fit(model, train, kd.losses.hard_labels(), epochs=epochs, batch_size=128, learning_rate=5e-3, weight_decay=5e-4, seed=seed)
    return record | {"weights": model.state_dict()}


def classifier(arm, seed, dataset, count, epochs, temperature, teacher_epochs, teacher_count, part="test"):
    """A student classifier that learns from labels, logits, relations or both: who is right."""
    whole = kd.load(dataset)
    train, validation = kd.hold_out(whole.train)
    train, judged = train[:count], {"test": whole.test, "validation": validation}[part]
    if dataset == "mnist":
        teacher = kd.teachers.rebuild(kd.run(kd.teachers.convolutional_teacher, dataset=dataset, epochs=teacher_epochs, seed=seed, count=teacher_count))
        model = kd.models.mlp(784, 300, 300, 10, seed=seed)
    else:
        teacher, model = kd.models.resnet(32), kd.models.resnet(8, seed=seed)
        teacher.load_state_dict(kd.run(residual_teacher, dataset=dataset, epochs=teacher_epochs, seed=seed, count=teacher_count)["weights"])
    features = kd.predict_logits(teacher[:-1], train.images)  # of the penultimate layer
    with torch.no_grad():
        logits = teacher[-1].cpu()(features)

    def loss(model, batch):
        layer = model[:-1](batch.images)  # the penultimate layer
        answer, layer = model[-1](layer).float(), layer.float()
        known, soft = batch.targets[:, :-10], batch.targets[:, -10:]
        value = F.cross_entropy(answer, batch.labels) if arm in ("hard", "rkd", "rkd_on_logits") else kd.losses.soft_target_loss(answer, soft, temperature)
        if "rkd" in arm:
            pair = (answer, soft) if arm == "rkd_on_logits" else (layer, known)
            value = value + 25 * kd.losses.rkd_distance_loss(*pair) + 50 * kd.losses.rkd_angle_loss(*pair)
        return value

    targets = torch.cat([features, logits], dim=1)
    record = kd.fit(model, train, loss, epochs=epochs, batch_size=64, learning_rate=RATES[arm], seed=seed, targets=targets)
    return record | {"correct": kd.correct(model, judged)}


classes = dict(
    dataset=lesson.pick(smoke="mnist", quick="mnist", full="cifar10"),
    count=lesson.pick(smoke=300, quick=4000, full=40_000),
    epochs=lesson.pick(smoke=1, quick=10, full=60),
    temperature=lesson.pick(smoke=20.0, quick=20.0, full=4.0),
    teacher_epochs=lesson.pick(smoke=1, quick=8, full=60),
    teacher_count=lesson.pick(smoke=600, quick=None, full=None),
)
answers = kd.sweep(classifier, seeds=seeds, arm=["hard", "kd", "rkd"], **classes)
answers = pd.concat([answers, kd.sweep(classifier, seeds=few_seeds, arm=["rkd_on_logits", "kd_and_rkd"], **classes)], ignore_index=True)

# %% tags=["slide:classes", "slide-output"]
kinds = {
    "hard": ("labels", "hard"),
    "kd": ("KD", "soft"),
    "rkd": ("RKD\n+ labels", "soft"),
    "rkd_on_logits": ("RKD on logits\n+ labels", "soft"),
    "kd_and_rkd": ("KD + RKD", "soft"),
}
behind, added = gaps("rkd", "kd", "errors", answers).mean(), gaps("kd_and_rkd", "kd", "errors", answers).mean()
title = f"Means against plain KD: RKD + labels {behind:+,.0f} errors, both together {added:+,.0f}".replace("-", "−")
figure = kd.plots.paired_arms(answers, kinds, label="errors among 10,000 test images", title=title)
kd.plots.show(
    figure,
    "Test errors of student classifiers from labels, from logits (KD), from relations of the penultimate layer with labels, from relations of the logits with labels, and from logits and relations together. "
    "Every run a dot, runs of one seed joined, means with 95 percent intervals. The last two columns have fewer seeds in the quick profile.",
)
kd.judge("07-behind-plain-kd", answers)

# %%
kd.judge("07-on-logits", answers[answers.seed.isin(few_seeds)])

# %%
kd.judge("07-adds-to-kd", answers[answers.seed.isin(few_seeds)])

# %% [markdown]
# Hold the two halves of the lesson side by side. The thought behind them: where an embedding is the product and tomorrow's classes are unknown, its shape is what to hand on; where ten answers are the product, the teacher's logits say it more directly. A thought, until its cards bear it out; and each card speaks of one data set, one pair of
# architectures and one number of images. In the pilot of this half the distance between RKD and KD changed with the last two. (RKD is judged with the labels here, and KD without, as in lesson 01; each at its best learning rate of three or four on validation images. The last two cards rest on three seeds and can show large effects only. And 10,000 test images are a limit of their own, which the intervals of the figure do not know: the first card says how much of the doubt comes from them.)
#
# ## What goes wrong in practice
#
# **A distance of zero.** Most people write pairwise distances with broadcasting, the diagonal included. The loss is finite and looks right. But the derivative of a square root at 0 is infinite, the gradient multiplies it by 0, and $\infty \cdot 0$ is not a number. One such step, and the weights are no numbers either.

# %% tags=["slide:wrong", "slide-output"]
leaf = student_points.clone().requires_grad_()


def careless(points):
    distances = (points[:, None] - points[None]).pow(2).sum(dim=2).sqrt()  # [N, N], zeros on the diagonal
    return distances / distances.mean()


def careful(points):
    squares = (points[:, None] - points[None]).pow(2).sum(dim=2)
    distances = squares[~torch.eye(len(points), dtype=torch.bool)].sqrt()  # the diagonal is gone before the root
    return distances / distances.mean()


for relations in (careless, careful):
    value = F.smooth_l1_loss(relations(leaf), relations(wide_points))
    gradient = torch.autograd.grad(value, leaf)[0]
    print(f"{relations.__name__}: loss {value:.4f}, numbers in the gradient that are not numbers: {int(gradient.isnan().sum())} of {gradient.numel()}")

# %% [markdown]
# The diagonal goes *before* the root; multiplying it away afterwards is too late. Two identical images in one batch bring the same accident back; the package's losses count the angles of such a pair as 0, and it gives no gradient.
#
# **Judged on the classes it learned.** The classes of the training set are at hand, so people measure on them. The table after the few-shot cell has both columns; the next cell reads it for you.

# %%
order = few.loc[order]
best_unseen, best_seen = order["misses, unseen"].idxmin(), order["misses, seen"].idxmin()
ranks = order[["misses, unseen", "misses, seen"]].rank().astype(int)
print(f"by these means, fewest misses on unseen classes: {best_unseen}; on seen classes: {best_seen}")
print(f"rank of the student from labels among {len(order)}: {ranks.loc['labels', 'misses, seen']} on seen classes, {ranks.loc['labels', 'misses, unseen']} on unseen ones")

# %% [markdown]
# The galleries of seen classes hold 24 kinds and those of unseen ones four, so compare ranks and not numbers. If the ranks agree, you were lucky; the claim of metric learning is about classes that come later, and only they can test it.
#
# ## Exercises
#
# ### 1 · Distances of another size
#
# A colleague's student has an embedding ten times as large as the teacher's, and the distance loss stays high whatever it learns. Write the relations that RKD-D compares: all distances between different images, divided by their own mean.


# %% tags=["exercise"]
def relative_distances(points):
    """[N, D] embeddings → [N·(N−1)/2]: the distance of every pair i < j, divided by the mean of all these."""
    ends = points[torch.triu_indices(len(points), len(points), offset=1)]  # [2, pairs, D]: both ends of every pair
    distances = ...
    return ...


# %% tags=["solution"]
def relative_distances(points):
    """[N, D] embeddings → [N·(N−1)/2]: the distance of every pair i < j, divided by the mean of all these."""
    ends = points[torch.triu_indices(len(points), len(points), offset=1)]  # [2, pairs, D]: both ends of every pair
    distances = (ends[0] - ends[1]).norm(dim=1)
    return distances / distances.mean()


# %%
kd.checks.lesson07.relative_distances(relative_distances);

# %% [markdown]
# ### 2 · The corner
#
# Now one angle. Three embeddings, $a$, $b$ and $c$: write the cosine of the angle at $a$. Before you run it, say what it is for a corner with legs along two axes, and what happens to it when all three points move by the same step.


# %% tags=["exercise"]
def cosine_at(a, b, c):
    """Three embeddings [D] → the cosine of the angle at a between b and c."""
    to_b, to_c = ..., ...
    return ...


# %% tags=["solution"]
def cosine_at(a, b, c):
    """Three embeddings [D] → the cosine of the angle at a between b and c."""
    to_b, to_c = b - a, c - a
    return (to_b @ to_c) / (to_b.norm() * to_c.norm())


# %%
kd.checks.lesson07.cosine_at(cosine_at);

# %% [markdown]
# ### 3 · Too good to be true
#
# "Recall@1 is 100 %", says a report, and the code looks harmless. Write it so that it can fail: the share of images whose nearest *other* image has their label.


# %% tags=["exercise"]
def recall_at_one(embeddings, labels):
    """[N, D] embeddings and [N] labels → the share of queries whose nearest other image has the query's label."""
    distances = torch.cdist(embeddings, embeddings)
    ...
    return ...


# %% tags=["solution"]
def recall_at_one(embeddings, labels):
    """[N, D] embeddings and [N] labels → the share of queries whose nearest other image has the query's label."""
    distances = torch.cdist(embeddings, embeddings)
    distances.fill_diagonal_(float("inf"))
    return (labels[distances.argmin(dim=1)] == labels).double().mean()


# %%
kd.checks.lesson07.recall_at_one(recall_at_one);

# %% [markdown]
# ## Other alphabets: the full profile
#
# Ten classes are a small world. Omniglot has 1,623 characters of 50 alphabets, each drawn by 20 people: the 964 characters of 30 alphabets to learn from (800 of them; the last 164 are for validation), and the 659 of 20 *other* alphabets to be judged on. With so many classes, a random batch would hardly hold two drawings of one character. So an example of this training set is five drawings of one character, and a batch is 24 characters: 120 images, five of each class, nearly as in the paper (128). The teacher learns from triplets,
# as theirs did, with 512 numbers; the students have 16 or 64. Learning rates were tuned for none of these arms: one that learns badly here is an untuned rival, no defeated one. As the data do not come with the course, these cells compute in the `full` profile only.


# %%
def letters(dataset, seed, part, rounds):
    """(training examples of five drawings each, judged drawings): `rounds` times all characters but the last 164, each time grouped anew; characters of other alphabets, or those 164."""
    whole = kd.load(dataset)
    known = whole.train.labels < 800
    train, validation = whole.train[known], whole.train[~known]
    drawings = train.images.view(-1, 20, 28, 28)  # 20 people drew each character
    generator = kd.models.stream(seed, "groups")
    shuffles = [torch.rand(drawings.shape[:2], generator=generator).argsort(dim=1) for _ in range(rounds)]
    images = torch.cat([drawings.gather(1, s[:, :, None, None].expand(-1, -1, 28, 28)).view(-1, 5, 28, 28) for s in shuffles])
    labels = train.labels[::20].repeat_interleave(4).repeat(rounds)
    return kd.Split(images, labels), {"test": whole.test, "validation": validation}[part]


def letters_teacher(dataset, seed, rounds):
    """A wide embedding of 512 numbers, trained with triplets on groups of five drawings: its weights and record."""
    train, _ = letters(dataset, seed, "test", rounds)
    model = kd.models.cnn(64, 128, 128, classes=512, seed=seed)
    record = kd.fit(model, train, kd.metric.triplet(margin=0.2), epochs=1, batch_size=24, learning_rate=2e-3, seed=seed)
    return record | {"weights": model.state_dict()}


def letters_student(arm, dimensions, seed, dataset, rounds, teacher_rounds, part="test"):
    """A small embedding from triplets, from relations or from regression: misses among all judged drawings, and 20-way accuracy with one and with five examples."""
    train, judged = letters(dataset, seed, part, rounds)
    teacher = kd.models.cnn(64, 128, 128, classes=512, seed=seed)
    if arm != "untrained":
        teacher.load_state_dict(kd.run(letters_teacher, dataset=dataset, seed=seed, rounds=teacher_rounds)["weights"])
    single = train.images.view(-1, 1, 28, 28)
    targets = kd.metric.embed(teacher.to(kd.lesson.device()), single).view(len(train), -1)  # [groups, 5 · 512]
    network = model = kd.models.cnn(16, 16, 32, classes=dimensions, seed=seed)
    born = sum(weights.double().abs().sum() for weights in network.parameters()).item()
    if arm == "regression":
        model = nn.Sequential(network, kd.models.mlp(dimensions, 512, seed=seed))
    loss = {"triplets": kd.metric.triplet(margin=0.2), "regression": kd.metric.regression()}.get(arm, kd.metric.relational(distance=1, angle=2))
    record = kd.fit(model, train, loss, epochs=1, batch_size=24, learning_rate=5e-3, seed=seed, targets=targets)
    embedded = kd.metric.embed(network, judged.images, arm == "triplets")
    few = {f"{shots}_shot": 100 * kd.metric.few_shot_accuracy(embedded, judged.labels, ways=20, shots=shots, episodes=500, seed=seed) for shots in (1, 5)}
    misses = 10_000 * (~kd.metric.nearest_is_right(embedded, judged.labels)).double().mean().item()
    return record | {"misses": misses, "one_shot": few["1_shot"], "five_shot": few["5_shot"], "born": born}


def alphabets():
    """The name under which Omniglot is found: an npz file of it in a data folder, or torchvision's."""
    return "npz/omniglot" if any((folder / "npz" / "omniglot.npz").exists() for folder in kd.data.data_folders()) else "omniglot"


if profile == "full":
    arms = ["triplets", "relations", "regression", "untrained"]
    written = kd.sweep(letters_student, seeds=few_seeds, arm=arms, dimensions=[16, 64], dataset=alphabets(), rounds=40, teacher_rounds=40)
    print(written.groupby(["dimensions", "arm"])[["misses", "one_shot", "five_shot"]].mean().round(1).to_string())
    display(kd.judge("07-omniglot-recall", written[written.dimensions == 16]))
    display(kd.judge("07-omniglot-one-shot", written[written.dimensions == 16]))
else:
    print("Omniglot is part of the full profile. Two claims of the table at the beginning,")
    print("those that begin with “Full profile only”, are judged there alone.")

# %% [markdown]
# ## Takeaways
#
# - Relations are distances and angles between images, divided by a scale of their own. They do not see where a student's embedding lies, how large it is and how it is turned; so student and teacher may have different widths.
# - Stretching an embedding, or putting it on the sphere, does change its relations. Whether that hurts is a question for the cards above, not for habit.
# - Let an untrained teacher teach, and compare with raw pixels. On unseen classes these are rivals to be beaten, not formalities.
# - For classification on CIFAR-100, plain KD was ahead in all 13 public pairs. A gain with embeddings is not yet one with classes: judge a student on the question it will be asked.
#
# **Further reading.** Park, Kim, Lu & Cho, *Relational Knowledge Distillation*, 2019, sections 3.2 and 4.1 · Tian, Krishnan & Isola, *Contrastive Representation Distillation*, 2020, and their benchmark RepDistiller ([lesson 06](06_what_to_match.ipynb)) · Wu et al., *Sampling Matters in Deep Embedding Learning*, 2017 (distance-weighted negatives) ·
# Schroff, Kalenichenko & Philbin, *FaceNet*, 2015 (triplets) · Snell, Swersky & Zemel, *Prototypical Networks for Few-shot Learning*, 2017 · Lake, Salakhutdinov & Tenenbaum, *Human-level concept learning through probabilistic program induction*, 2015 (Omniglot).
