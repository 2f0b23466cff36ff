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
# # 06 · What to match: responses, features, relations
#
# **After this lesson you can name the quantities of a teacher that a student may match, write each of them as a loss, choose layers and weights without fooling yourself, and say what a
# look inside the teacher adds to its answers.**
#
# 40 minutes · needs [lesson 01](01_soft_targets.ipynb) and [lesson 03](03_temperature.ipynb) · data: MNIST
#
# So far the student heard only what its teacher says. A teacher is a stack of layers, and each of them has an opinion on the image. In 2015, FitNets showed a thin and deep student the *middle* of its teacher, a **hint**: on MNIST it went from 1.9 % errors by plain
# backpropagation to 0.65 % with soft targets and 0.51 % with hints; its teacher made 0.55 % (Romero et al. 2015). A long line of work followed: match attention maps, relations, contrasts. Then two tables appeared. In RepDistiller's benchmark on CIFAR-100
# (Tian et al. 2020), plain distillation is ahead of FitNets in six of seven pairs of one family; in the supplement of Kim et al. (2021), plain distillation at $T = 20$, the best of three runs, is ahead of every feature method in the table, with numbers copied from an earlier paper. Was the middle of the teacher worth the trouble? And when was it?

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
lesson = kd.start("06", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("06")

# %% [markdown]
# ## Three things to match
#
# Whatever is matched, it falls into one of three kinds. A **response** is what the network answers: its logits. A **feature** is what it computes on the way. A **relation** says how the images of a batch lie to each other inside it, whatever the coordinates.


# %% tags=["slide:kinds", "slide-output"]
def network_drawing(axis, x, heights, colour, name):
    """A network as a row of upright bars, from the image on the left to the answer on the right; returns the bars' middles."""
    places = np.linspace(1.2, 8.6, len(heights))
    for place, height in zip(places, heights):
        axis.add_patch(plt.Rectangle((place - 0.16, x - height / 2), 0.32, height, facecolor=colour, edgecolor="white"))
    axis.annotate("", (9.5, x), (0.3, x), arrowprops=dict(arrowstyle="->", color="0.6"), zorder=0)
    axis.text(0.2, x, name, ha="right", va="center", color=colour, fontweight="bold")
    axis.text(9.6, x, "logits", ha="left", va="center", color=colour)
    return places


figure, axis = plt.subplots(figsize=(8, 3.9))
teacher_bars = network_drawing(axis, 3.6, [1.7, 1.7, 1.4, 1.4, 1.1], kd.plots.COLOURS["teacher"], "teacher")
student_bars = network_drawing(axis, 0.6, [1.1, 0.8], kd.plots.COLOURS["soft"], "student")
arrow = dict(arrowstyle="->", linewidth=2)
for below, above in ((0, 1), (1, 4)):
    axis.annotate("", (student_bars[below], 1.2), (teacher_bars[above], 2.7), arrowprops=arrow | dict(color="#cc79a7"))
axis.text(2.65, 1.85, "features:\nhints, attention maps,\ncontrasts", va="center", color="#a3457d")
axis.annotate("", (10.2, 0.9), (10.2, 3.3), arrowprops=arrow | dict(color=kd.plots.COLOURS["soft"]))
axis.text(10.45, 2.1, "responses:\nsoft targets, logits", va="center", color=kd.plots.COLOURS["soft"])
for middle in (3.6, 0.6):  # three images as seen from inside
    axis.plot([5.4, 6.2, 5.9, 5.4], [middle + 0.25, middle + 0.4, middle - 0.35, middle + 0.25], "o-", color="#e69f00", markersize=5, linewidth=1.2)
axis.annotate("", (5.85, 1.2), (5.85, 3.0), arrowprops=arrow | dict(color="#e69f00"))
axis.text(6.0, 1.85, "relations:\nwho is near\nwhom", va="center", color="#8a6100")
axis.set(xlim=(-1.2, 13), ylim=(-0.2, 4.7))
axis.axis("off")
axis.set_title("A student may copy what a teacher says, what it sees, or what it finds alike")
kd.plots.show(
    figure,
    "A drawing: the teacher as a row of five bars, one for each layer, the student below it as two bars, both ending in "
    "logits. Arrows lead from the teacher's logits "
    "to the student's (responses), and from the teacher's layers 2 and 5 to the student's layers 1 and 2 (features). Two "
    "triangles of points, joined by an arrow, stand for relations between images.",
)

# %% [markdown]
# Responses of two networks have the same shape, and each number the same meaning. Features have neither: other widths, other grids, and no reason why the third channel of the one should be the third channel of the other. That is the whole difficulty of this lesson, and its
# methods differ in how they get around it. A **regressor** (hints) learns a translation and is thrown away later. An **attention map** sums the channels away. A **contrastive** loss asks only that the two embeddings of one image find each other among those of other images. A relation needs no translation at all.
#
# ## Look inside
#
# Images are shrunk to 14 × 14 pixels, so that a student trains in seconds; the teacher is a network of five convolutional layers with batch norm, trained on all 50,000 images, moved by a pixel. Its students get a small part of them. Here is what its layers make of four
# digits. A layer's **attention map** is the sum of its squared activations over channels (Zagoruyko & Komodakis 2017): where is something going on?

# %%
scale = dict(
    dataset=lesson.pick(smoke="mnist", quick="mnist", full="cifar10"),
    recipes=lesson.pick(  # how the teachers are trained; count: on the first so many images, all 50,000 where it is not given
        smoke={kind: dict(epochs=1, learning_rate=5e-3, count=600) for kind in ("deep", "attention", "mlp", "cnn")},
        quick=dict(
            deep=dict(epochs=5, learning_rate=5e-3),
            attention=dict(epochs=10, learning_rate=8e-3),
            mlp=dict(epochs=6, learning_rate=1.2e-2),
            cnn=dict(epochs=2, learning_rate=2e-2),
        ),
        full=dict(
            deep=dict(epochs=30, learning_rate=5e-3),
            attention=dict(epochs=60, learning_rate=1e-3),
            mlp=dict(epochs=30, learning_rate=1e-3),
            cnn=dict(epochs=10, learning_rate=1e-2),
        ),
    ),
)


def teacher_network(kind, dataset, seed, recipes):
    """The trained teacher of this kind and seed."""
    weights = kd.run(kd.features.teacher, kind=kind, dataset=dataset, seed=seed, **recipes[kind])["weights"]
    return kd.features.rebuild(kind, dataset, seed, weights)


transfer, validation = kd.features.images_for(scale["dataset"], 2000, part="validation")
layers = [f"relu{k}" for k in range(5)]
logits, insides = kd.features.activations(teacher_network("deep", seed=first_seed, **scale), transfer.images[:500], layers)
for number, inside in enumerate(insides, 1):
    print(f"layer {number}: {' × '.join(map(str, inside.shape[1:]))} numbers an image, from 0 to {inside.max():.0f}")

# %% tags=["slide:maps", "slide-output"]
shown = [(transfer.labels[:500] == digit).nonzero()[0].item() for digit in (2, 4, 7, 9)]
figure, axes = plt.subplots(4, 6, figsize=(7.2, 4.9))
for row, index in enumerate(shown):
    axes[row, 0].imshow(transfer.images[index].permute(1, 2, 0).squeeze(), vmin=0)
    for column, inside in enumerate(insides, 1):
        axes[row, column].imshow(inside[index].pow(2).sum(dim=0), cmap="Blues", vmin=0)
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
for column, inside in enumerate([None, *insides]):
    title = "image" if inside is None else f"layer {column}\n{inside.shape[2]} × {inside.shape[3]}"
    axes[0, column].set_title(title, fontsize=10, fontweight="normal", loc="center")
figure.suptitle("Where five layers look, from pixels to a few coarse cells", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Four images, each in a row with the attention maps of the teacher's five layers: the sum of squared activations over the channels. Early maps follow the "
    "strokes on a fine grid; the last one has three by three cells.",
)

# %% [markdown] tags=["slide:losses"]
# Read a row from left to right: up to which layer could you still name the digit? The grid coarsens until nine cells are left, and it is the channels, summed away here, that have to hold the rest. FitNets took its hint from the middle, where the pixels are behind and the answer is still to come.
#
# ## From the idea to code
#
# Let $F_s$, of shape $[C_s, H, W]$, be what a student's layer computes for an image, and $F_t$, $[C_t, H, W]$, what the teacher's does.
#
# **Hint** (Romero et al. 2015, equation 3): $\frac12 \lVert F_t - r(F_s) \rVert^2$, where the **regressor** $r$ is a convolution from $C_s$ to $C_t$ channels. If the student computes the same thing in other coordinates, a linear map finds that out, and the loss can become 0. First the part of the student below the hint learns
# from this loss alone, then the whole student learns from the answers. A hint comes in **stages**: it is a way to begin.
#
# **Attention transfer** (Zagoruyko & Komodakis 2017): with the map $a = \sum_c F_c^2$, flattened and divided by its length, $\lVert a_s/\lVert a_s\rVert - a_t/\lVert a_t\rVert \rVert^2$. No regressor, any two widths; signs and channels are gone. (The code below takes means where the formula has sums: over channels that changes nothing, over cells it divides the loss by their number.)
#
# **Contrastive distillation** (CRD; Tian et al. 2020, equations 10 and 19). Embed both, $s = W_s F_s$ and $t = W_t F_t$, scale them to length 1, and let $e_{ij} = \exp(s_i \cdot t_j/\tau)$ for images $i$ and $j$ of the batch. A judge sees a pair and says how likely it is that both belong to one image, against $n$ strangers:
#
# $$ h_{ij} = \frac{e_{ij}}{e_{ij} + n\,\bar e}, \qquad L = -\frac1N \sum_i \Big[ \log h_{ii} + \sum_{j\,\text{stranger to}\,i} \log(1 - h_{ij}) \Big]. $$
#
# At the ends: if all embeddings are alike, $h = 1/(n+1)$ everywhere and nothing is known. If every own pair agrees and no other does, the strangers' part of $L$ all but vanishes; the own pairs' $h$ stops at $N/(N+n)$, because they are part of $\bar e$ themselves, and so $L$ stays above 0. The student need not copy any number of the teacher; it has to keep apart what the teacher keeps apart. The strangers here are the other classes' images in the
# batch, and $\bar e$ is the batch's mean over all pairs, which the gradient takes for a constant. The paper draws thousands of strangers from a memory that holds an embedding of every training image, and its formula has $1/M$ for $\bar e$, with $M$ images; its code has a mean there too, taken once, in the first batch.


# %%
def hint(student, teacher):
    return 0.5 * (student - teacher).pow(2).sum(dim=(1, 2, 3)).mean()


def attention_transfer(student, teacher):
    student_map, teacher_map = (F.normalize(x.pow(2).mean(dim=1).flatten(1), dim=1) for x in (student, teacher))
    return (student_map - teacher_map).pow(2).mean()  # over images and cells, as in the authors' code


def contrastive(student, teacher, labels, temperature=0.1):
    scores = F.normalize(student, dim=1) @ F.normalize(teacher, dim=1).T / temperature  # [N, N]
    strangers = labels[:, None] != labels[None, :]
    noise = strangers.sum(dim=1, keepdim=True) * scores.exp().mean().detach()  # n times the mean e
    h = scores.exp() / (scores.exp() + noise)
    return -(h.diagonal().log() + (strangers * (1 - h).log()).sum(dim=1)).mean()


generator = torch.Generator().manual_seed(0)
some_student, some_teacher = torch.randn(2, 12, 6, 4, 4, generator=generator, dtype=torch.float64).unbind()
some_labels = torch.arange(12) % 3
assert torch.allclose(hint(some_student, some_teacher), kd.losses.hint_loss(some_student, some_teacher))
assert torch.allclose(attention_transfer(some_student, some_teacher[:, :3]), kd.losses.attention_transfer_loss(some_student, some_teacher[:, :3]))
flat = some_student.flatten(1), some_teacher.flatten(1)
assert torch.allclose(contrastive(*flat, some_labels), kd.features.contrastive_loss(*flat, labels=some_labels))

# %% [markdown]
# Our lines agree with the package's versions, which are tested against slow loops over pairs and used from here on. Now by hand: one image, two channels, a grid of one row and two cells. The student's channels are (3, 0) and (0, 4), the teacher's (3, 4) and (4, 3).
# The hint adds up 0, 16, 16 and 1, half of that is 16.5. The maps are (9, 16) and (25, 25) before scaling: the teacher looks everywhere alike, the student more to the right. For the contrast take two images and $\tau = 1$: own pairs score 1, strangers 0. Then $\bar e = (e + 1)/2$.

# %% tags=["nbval-check-output"]
one = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]]]]).double(), torch.tensor([[[[3.0, 4.0]], [[4.0, 3.0]]]]).double()
maps = [F.normalize(x.pow(2).mean(dim=1).flatten(1), dim=1) for x in one]
print(f"hint {hint(*one).item():.1f} · maps {maps[0].numpy().round(3)} and {maps[1].numpy().round(3)} · attention transfer {attention_transfer(*one).item():.4f}")
two = torch.eye(2).double()
by_hand = np.log(1 + (np.e + 1) / 2 / np.e) + np.log(1 + 2 / (np.e + 1))
print(f"contrast {contrastive(two, two, torch.tensor([0, 1]), temperature=1.0).item():.4f}, by hand {by_hand:.4f}")
turned = 5 * one[1].flip(1)  # other channel order, other scale
print(f"teacher with its channels exchanged, times 5: hint {hint(one[1], turned).item():.1f}, attention transfer {abs(attention_transfer(one[1], turned).item()):.4f}")

# %% [markdown]
# The last line is the point of the second loss: it does not see which channel does the work, nor how loud. A hint does, and needs its regressor.
#
# Now the trial. It trains one student: from labels or soft targets, with or without a feature term, at any pairs of layers. One thing in it is easily overlooked: **the teacher's features are divided by their root mean square**, layer by layer. What that is good for is a question for the end.


# %%
def adapters(match, mine, theirs, seed):
    """What translates between student and teacher while the student learns, and is thrown away afterwards."""
    modules = {}
    for k, (m, t) in enumerate(zip(mine, theirs)):
        if match in ("hint", "hint_sum"):
            modules[f"regressor{k}"] = nn.Conv2d(m.shape[1], t.shape[1], 1)
        if match == "contrastive":
            modules |= {f"embed_student{k}": nn.Linear(m[0].numel(), 64), f"embed_teacher{k}": nn.Linear(t[0].numel(), 64)}
    return kd.models.initialise(nn.ModuleDict(modules), seed)


def feature_loss(match, adapters, k, mine, theirs, labels):
    """The k-th pair of layers, compared in one of four ways. Maps of different grids are averaged down to the coarser one first."""
    if match in ("hint", "hint_sum"):
        mine, theirs = kd.features.same_grid(adapters[f"regressor{k}"](mine).float(), theirs)
        return F.mse_loss(mine, theirs) if match == "hint" else 2 * kd.losses.hint_loss(mine, theirs)
    if match == "attention":
        return kd.losses.attention_transfer_loss(*kd.features.same_grid(mine, theirs))
    if match == "relation":
        return kd.losses.rkd_distance_loss(mine.flatten(1), theirs.flatten(1))
    embedded = adapters[f"embed_student{k}"](mine.flatten(1)), adapters[f"embed_teacher{k}"](theirs.flatten(1))
    return kd.features.contrastive_loss(*embedded, labels=labels)


def objective(response, match, weight, layers, shapes, temperature):
    """A loss for `fit`: the response ("labels", "soft" or None) plus `weight` times each feature term."""

    def loss(model, batch):
        teacher_logits, *theirs = kd.features.unpack(batch.targets, shapes)
        logits, mine = kd.features.tap(model["student"], batch.images, layers)
        total = torch.zeros((), device=logits.device)
        if response == "labels":
            total = F.cross_entropy(logits, batch.labels)
        elif response == "soft":
            total = kd.losses.soft_target_loss(logits, teacher_logits, temperature)
        for k, (m, t) in enumerate(zip(mine, theirs)):
            total = total + weight * feature_loss(match, model["adapters"], k, m, t, batch.labels)
        return total

    return loss


def teacher_answers(kind, dataset, seed, recipes, part="test"):
    """What the teacher says of the judged images, computed once for all its students."""
    _, judged = kd.features.images_for(dataset, 10, part)
    answer = kd.predict_logits(teacher_network(kind, dataset, seed, recipes), judged.images).argmax(dim=1)
    return {"answer": answer, "correct": answer == judged.labels}


def student(kind, seed, dataset, recipes, count, epochs, learning_rate, batch_size, temperature, guide="deep", response="labels", match=None, pairs=(),
            weight=1.0, hint_epochs=0, control=None, standard=True, part="test"):  # fmt: skip
    """One student and who is right. pairs: [student's layer, teacher's layer]. hint_epochs: of all epochs, how many only match features, before the response.
    control: features of an "untrained" teacher, or of other images of the class ("shuffled"); its answers stay those of the trained one."""
    train, judged = kd.features.images_for(dataset, count, part)
    teacher = teacher_network(guide, dataset, seed, recipes)
    mine, theirs = ([f"relu{pair[side] - 1}" for pair in pairs] for side in (0, 1))
    logits, features = kd.features.activations(teacher, train.images, theirs)
    if control == "untrained":
        _, features = kd.features.activations(kd.features.network(guide, dataset, seed), train.images, theirs)
    shapes = [x.shape[1:] for x in (logits, *features)]
    if standard:
        features = [f / f.pow(2).mean().sqrt() for f in features]
    if control == "shuffled":
        features = kd.features.unpack(kd.controls.shuffle_within_class(kd.features.pack(features), train.labels, seed), shapes[1:])
    network = kd.features.network(kind, dataset, seed)
    init = kd.features.birth(network)  # of the student alone: adapters differ from arm to arm
    _, born = kd.features.activations(network, train.images[:2], mine)
    model = nn.ModuleDict({"student": network, "adapters": adapters(match, born, features, seed)})
    targets = kd.features.pack([logits, *features])
    settings = dict(batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    if hint_epochs:
        kd.fit(model, train, objective(None, match, weight, mine, shapes, temperature), epochs=hint_epochs, targets=targets, **settings)
        mine, shapes, targets = [], shapes[:1], logits
    record = kd.fit(model, train, objective(response, match, weight, mine, shapes, temperature), epochs=epochs - hint_epochs, targets=targets, **settings)
    answer = kd.predict_logits(network, judged.images).argmax(dim=1)
    said = kd.run(teacher_answers, kind=guide, dataset=dataset, seed=seed, recipes=recipes, part=part)["answer"]
    return record | {"init": init, "correct": answer == judged.labels, "agrees": answer == said}


def as_arm(how, seed, **common):
    """`student` with what sets its arm apart in one argument, so that a sweep runs all arms of all seeds side by side."""
    return student(seed=seed, **common, **how)


def train_arms(arms, seeds, **common):
    """One row a run: every arm (a name and its options) with every seed."""
    names, options = list(arms), list(arms.values())
    runs = kd.sweep(as_arm, seeds=seeds, how=options, **scale, **common)
    return runs.assign(arm=[names[options.index(how)] for how in runs.how])


seeds = lesson.seeds(smoke=1, quick=5, full=3)

# %% [markdown]
# ## Thin and deep: where hints come from
#
# Romero and his co-authors wanted students thinner and *deeper* than their teachers, at a time when depth was hard to train: no batch norm, no residual connections. A gradient that has to pass many thin layers arrives faint and garbled, whatever the targets at the far end. A hint starts half-way. If that is how hints help, then
#
# - a thin deep student makes fewer errors with hints and then soft targets than with soft targets for the same number of epochs;
# - the gain is gone when the hints come from an untrained teacher (a fine place to start from, but nothing to learn), or from other images of the same class;
# - and a student that trains well anyway, the same layers *with* batch norm, has little use for them.
#
# The two controls share everything else with the hints, also the second start of the learning rate, which soft targets alone do not get.
#
# Our student has eight layers of eight channels. All arms get the same number of epochs, soft targets are at $T = 4$; those with hints spend a third of them on the hint (the teacher's layer 3 for the student's layer 4), with a learning-rate schedule of its own. Nobody is given labels, except the arm that learns from nothing else.

# %%
thin = dict(
    count=lesson.pick(smoke=300, quick=2000, full=40_000),
    epochs=lesson.pick(smoke=2, quick=30, full=60),
    batch_size=lesson.pick(smoke=64, quick=64, full=128),
    temperature=4.0,
)
hints = dict(response="soft", match="hint", pairs=[lesson.pick(smoke=[4, 3], quick=[4, 3], full=[7, 3])], hint_epochs=max(1, thin["epochs"] // 3))
plain_rate, norm_rate = 2e-2, 4e-2  # chosen on validation images with pilot seeds, among three for each kind of student
thin_arms = {
    "labels": {},
    "soft": dict(response="soft"),
    "hints": hints,
    "untrained": hints | dict(control="untrained"),
    "shuffled": hints | dict(control="shuffled"),
}
plain = train_arms(thin_arms, seeds, kind="thin", learning_rate=plain_rate, **thin)
norm_arms = {f"norm_{arm}": thin_arms[arm] for arm in ("soft", "hints")}
normed = train_arms(norm_arms, seeds, kind="thin_norm", learning_rate=norm_rate, **thin)
thin_runs = pd.concat([plain, normed], ignore_index=True)

# %% tags=["slide:thin", "slide-output", "slide-vote"]
table = thin_runs.pivot(index="seed", columns="arm", values="errors")
looks = {
    "labels": ("labels", "hard"),
    "soft": ("soft\ntargets", "soft"),
    "hints": ("hints, then\nsoft targets", "soft"),
    "untrained": ("hints,\nuntrained", "control"),
    "shuffled": ("hints,\nshuffled", "control"),
}
looks |= {f"norm_{arm}": looks[arm] for arm in ("soft", "hints")}
figure, axes = plt.subplots(1, 2, figsize=(8, 3.9), sharey=True, width_ratios=[5, 2])
for axis, arms in ((axes[0], list(thin_arms)), (axes[1], list(norm_arms))):
    for _, row in table[arms].iterrows():
        axis.plot(range(len(arms)), row, color="0.85", linewidth=0.8, zorder=1)
    for position, arm in enumerate(arms):
        colour, values = kd.plots.COLOURS[looks[arm][1]], table[arm].to_numpy(float)
        axis.scatter(np.full(len(values), position), values, s=16, color=colour, alpha=0.5, linewidths=0)
        filled = dict(markerfacecolor="white") if arm.endswith("soft") else {}
        axis.errorbar(position + 0.2, values.mean(), kd.plots.half_width(values), fmt="o", markersize=6, capsize=4, color=colour, **filled)
        axis.annotate(f"{values.mean():,.0f}", (position + 0.2, values.mean()), xytext=(7, -3), textcoords="offset points", color=colour, fontweight="bold")
    axis.set_xticks(range(len(arms)), [looks[arm][0] for arm in arms], fontsize=9)
    axis.set_xlim(-0.5, len(arms) - 0.1)
axes[0].set(ylim=(0, None), ylabel="errors per 10,000 test images")
for position, value in enumerate((190, 65, 51)):
    axes[0].plot(position - 0.25, value, "D", markersize=6, color=kd.plots.COLOURS["published"])
    axes[0].annotate(str(value), (position - 0.25, value), xytext=(6, -3), textcoords="offset points", fontsize=9, color="#007a5a")
axes[0].text(2.3, 51, "Romero 2015, other networks", fontsize=9, color="#007a5a", va="center")
mean = table.mean()
axes[0].set_title(f"Plain: soft targets {mean.soft:,.0f}, after hints {mean.hints:,.0f},\nafter shuffled hints {mean.shuffled:,.0f}", fontsize=10)
axes[1].set_title(f"Batch norm: {mean.norm_soft:,.0f},\nafter hints {mean.norm_hints:,.0f}", fontsize=10)
kd.plots.show(
    figure,
    "Two panels of test errors, every run a dot, with means and 95 percent intervals over seeds. Left: eight thin layers "
    "without batch norm, from labels, from soft targets, from hints and "
    "then soft targets, and with hints of an untrained teacher and of other images. Right: the same layers with batch norm, "
    "from soft targets, and from hints and then soft targets. "
    "Green diamonds: the errors Romero and others printed in 2015 for their own networks.",
)

# %% tags=["slide", "slide-output"]
kd.judge("06-hints-start-thin-students", thin_runs)

# %%
kd.judge("06-batch-norm-instead", thin_runs)

# %% [markdown]
# Compare first within the left panel: hints against soft targets, and hints against the two controls beside them. Then compare the panels. The first card says whether a hint helps a student that cannot find its own way, and whether it is the *teacher's* hint that does it. A control that keeps part of the gain is worth a second look: features of another 7 still say what a 7 usually looks like inside, so whatever the shuffled hints save is
# a good start, and only the rest is knowledge about the image. The second card asks whether
# the cure is still needed where the disease is gone. It has two parts: do soft targets with batch norm make fewer errors than hints without? And is what hints add smaller with batch norm? (Counted in errors, not in shares: where fewer errors are made, there are fewer to save.) Whether hints are still worth something with batch norm is a question of its own; the lines of the right panel answer it for these seeds.
#
# The first claim has four parts and is as strong as its weakest. When a card says INCONCLUSIVE, look for the part that held it up, and for the number of seeds that would decide it; a part that is undecided is not a part that is refuted.
#
# Mind what "equal" means here. Equal are the epochs, the transfer set and the temperature, and within a panel the learning rate: one of three, chosen on validation images for the panel and not for every arm. How much hints save depends on it: the ledger has the pilot's numbers at two rates. Between the panels the rate differs, and a network with batch norm is another network. Other cures of 2015's disease could have been the witness (better initial weights,
# shortcuts); we took the one that nearly everybody uses now. And the length matters: in the pilot, with fewer than half of these epochs, the plain students scattered so much that hints could not be told from their controls. In 2015 the question was how to train thin deep networks at all, and hints were one good answer. Benchmarks that came later ask it of networks that train well anyway.
#
# ## Which layer to which?
#
# A student of two convolutional layers, a teacher of five. Practice has rules of thumb: early to early, late to late, say the student's layer 1 to the teacher's 2 and its 2 to the teacher's 5. Can one measure beforehand which pairing will help? Two measures of how alike two layers are, both for the same images:
#
# - **CKA** (Kornblith et al. 2019), for activations $X$, $[N, D]$, and $Y$, $[N, E]$, with the mean of every column taken off: $\lVert X^\top Y\rVert^2 / (\lVert X^\top X\rVert\,\lVert Y^\top Y\rVert)$. It asks whether the two layers find the *same images alike*. 1 means equal up to rotation, scale and shift.
# - **Regression fit**: the share of the variance of the teacher's layer that a linear map from the student's layer explains, on images it was not fitted to and on the coarser of the two grids. It asks how much of the teacher's layer the student holds already. (The map sees all cells at once; a hint's regressor sees one cell at a time.)
#
# We take a student that has learned from labels alone, compute both for all ten pairs, then train a student with a hint at each single pair (labels plus hint from the first step on, weight 1) and see what it was worth. "Before training" in the claim means before any hint.

# %%
small = dict(
    kind="cnn",
    count=lesson.pick(smoke=300, quick=2000, full=40_000),
    epochs=lesson.pick(smoke=1, quick=12, full=60),
    batch_size=128,
    learning_rate=4e-2,
    temperature=20.0,
)
good_pairs, crossed_pairs = [[1, 2], [2, 5]], [[1, 5], [2, 2]]
pair_arms = {f"s{s}t{t}": dict(match="hint", pairs=[[s, t]]) for s in (1, 2) for t in range(1, 6)}
pair_arms |= {"labels": {}, "right": dict(match="hint", pairs=good_pairs, weight=1.0), "crossed": dict(match="hint", pairs=crossed_pairs)}
map_seeds = seeds[:3]  # ten pairs each: three seeds must do
pair_runs = train_arms(pair_arms, map_seeds, **small)


def layer_maps(seed, kind, dataset, recipes, count, epochs, batch_size, learning_rate):
    """CKA and regression fit of every layer of a student from labels with every layer of its teacher, on 1,000 images it did not learn from."""
    train, validation = kd.features.images_for(dataset, count, part="validation")
    network = kd.features.network(kind, dataset, seed)
    kd.fit(network, train, kd.losses.hard_labels(), epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    _, mine = kd.features.activations(network, validation.images[:1000], ["relu0", "relu1"])
    _, theirs = kd.features.activations(teacher_network("deep", dataset, seed, recipes), validation.images[:1000], [f"relu{k}" for k in range(5)])
    cka = [[kd.features.linear_cka(m, t) for t in theirs] for m in mine]
    fit = [[kd.features.regression_fit(*kd.features.same_grid(m, t)) for t in theirs] for m in mine]
    return {"cka": cka, "fit": fit}


maps = kd.sweep(layer_maps, seeds=map_seeds, **scale, **{name: value for name, value in small.items() if name != "temperature"})

# %%
measured = pair_runs.pivot(index="seed", columns="arm", values="errors")
gains = np.array([[[measured.labels[s] - measured[f"s{m}t{t}"][s] for t in range(1, 6)] for m in (1, 2)] for s in map_seeds])  # [seeds, 2, 5]
tables = {name: np.array(maps.sort_values("seed")[name].tolist()) for name in ("cka", "fit")}  # [seeds, 2, 5]
rank = {
    name: [stats.spearmanr(values[k].ravel(), gains[k].ravel())[0] for k in range(len(map_seeds))]
    for name, values in tables.items()
}

figure, axes = plt.subplots(1, 3, figsize=(8.2, 2.7))
scatter = gains.std(axis=0, ddof=1) if len(map_seeds) > 1 else np.zeros((2, 5))
panels = {"CKA": tables["cka"].mean(axis=0), "regression fit, R²": tables["fit"].mean(axis=0), "errors saved by a hint": gains.mean(axis=0)}
for axis, (title, values) in zip(axes, panels.items()):
    whole = title.startswith("errors")
    axis.imshow(values, cmap="Blues", aspect="auto")
    for row in range(2):
        for column in range(5):
            dark = values[row, column] > (values.min() + 0.6 * (values.max() - values.min()))
            text = f"{values[row, column]:.0f}\n± {scatter[row, column]:.0f}".replace("-", "−") if whole else f"{values[row, column]:.2f}"
            axis.text(column, row, text, ha="center", va="center", fontsize=10, color="white" if dark else "black")
    axis.set(xticks=range(5), xticklabels=range(1, 6), yticks=[0, 1], yticklabels=[1, 2], xlabel="teacher's layer")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(title, fontsize=10)
axes[0].set_ylabel("student's layer")
ranges = {name: f"{min(values):+.2f} to {max(values):+.2f}" for name, values in rank.items()}
figure.suptitle(
    f"Rank correlation with what a hint saved, by seed: CKA {ranges['cka']}, fit {ranges['fit']}".replace("-", "−"),
    fontsize=10.5, fontweight="bold", x=0.01, ha="left",
)  # fmt: skip
best = np.unravel_index(panels["errors saved by a hint"].argmax(), (2, 5))
kd.plots.show(
    figure,
    "Three heat maps, each of two student layers by five teacher layers, means over the seeds: CKA, regression fit, and the "
    "test errors that a hint at this single pair saved "
    "against labels alone, with the standard deviation over seeds. "
    f"The pair that saved most is the student's layer {best[0] + 1} with the teacher's layer {best[1] + 1}.",
)

# %%
ranks = pd.DataFrame([{"arm": name, "seed": s, "rank": value} for name, values in rank.items() for s, value in zip(map_seeds, values)])
kd.judge("06-maps-predict-pairs", ranks)

# %%
kd.judge("06-right-way-round", pair_runs)

# %% [markdown]
# If a measure of likeness predicts what a hint is worth, dark cells are in the same places in all three panels, and the ranks agree: +1 is the same order, 0 no relation. Before you trust either measure, ask what it is a measure *of*. Two layers that are already alike have little to tell each other; two that
# share nothing cannot follow. And look at how small or large the numbers on the right are beside the standard deviations under them (which have a part in common, the run from labels that all cells are measured against): a difference between two cells is a difference between two means of few seeds, and no measure can foretell an order that the seeds themselves do not agree on.
#
# The last card has a confounder built in. The pairs called right are also those of equal grids, 7 × 7 with 7 × 7 and 3 × 3 with 3 × 3; in the crossed pairs the finer side is averaged down. Whether depth or grid makes a difference, these two networks cannot tell.
#
# ## What to match, when the student trains well
#
# Now the question of the benchmarks, asked of the same small student with batch norm: its two layers train without help. Labels alone; labels plus one feature term; soft targets alone; soft targets plus one feature term. Every feature term had four weights tried in the pilot (contrasts a fifth), for labels and for
# soft targets separately, and keeps about the best (that pilot trained a little longer, at half the learning rate, so the best there need not be the best here); soft targets have no weight, and their $T = 20$ comes from the published table. The relation here is the distances alone, of Park et al. (2019); lesson 07 does them properly.
#
# Two controls: hints and contrasts with the features of *other images of the same class*. The contrastive loss knows the labels, as it chooses strangers by them, so it could help without any teacher.

# %%
last = good_pairs[1:]
terms = {
    "hint": dict(match="hint", pairs=good_pairs, weight=1.0),
    "attention": dict(match="attention", pairs=good_pairs, weight=0.1),
    "relation": dict(match="relation", pairs=last, weight=30.0),
    "contrastive": dict(match="contrastive", pairs=last, weight=1.0),
}
with_soft = {"hint": 1.0, "attention": 0.1, "relation": 30.0, "contrastive": 0.3}
match_arms = {"labels": {}, **terms, "soft": dict(response="soft")}
match_arms |= {f"soft_{name}": term | dict(response="soft", weight=with_soft[name]) for name, term in terms.items()}
match_arms |= {f"{name}_shuffled": terms[name] | dict(control="shuffled") for name in ("hint", "contrastive")}
match_runs = train_arms(match_arms, seeds, **small)

# %% tags=["main-figure", "slide:main", "slide-output"]
table = match_runs.pivot(index="seed", columns="arm", values="errors")
mean = table.mean()
names = {"hint": "hints", "attention": "attention maps", "relation": "distances", "contrastive": "contrasts"}
rows = [("labels", "labels alone", "hard"), *((term, f"labels + {text}", "hard") for term, text in names.items()), ("soft", "soft targets alone", "soft")]
rows += [*((f"soft_{term}", f"soft targets + {text}", "soft") for term, text in names.items())]
rows += [(f"{term}_shuffled", f"labels + {names[term]}, shuffled", "control") for term in ("hint", "contrastive")]

# Accuracy in points, Tian et al. 2020 (RepDistiller), seven teacher-student pairs of one family, CIFAR-100
published = {
    "student": [73.26, 71.98, 69.06, 69.06, 71.14, 72.50, 70.36],
    "soft": [74.92, 73.54, 70.66, 70.67, 73.08, 73.33, 72.98],
    "hint": [73.58, 72.24, 69.21, 68.99, 71.06, 73.50, 71.02],
    "attention": [74.08, 72.77, 70.55, 70.22, 72.31, 73.44, 71.43],
    "relation": [73.35, 72.22, 69.61, 69.25, 71.82, 71.90, 71.48],
    "contrastive": [75.48, 74.14, 71.16, 71.46, 73.48, 75.51, 73.94],
}
figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 4.6), width_ratios=[1.5, 1], sharey=True)
for position, (arm, text, role) in enumerate(rows):
    values, colour = table[arm].to_numpy(float), kd.plots.COLOURS[role]
    left.scatter(values, np.full(len(values), position), s=16, color=colour, alpha=0.5, linewidths=0)
    left.errorbar(values.mean(), position - 0.25, xerr=kd.plots.half_width(values), fmt="o", markersize=5, capsize=3, color=colour)
    if arm in published:
        gain = 100 * (np.array(published[arm]) - published["student"])
        right.scatter(gain, np.full(len(gain), position), marker="D", s=22, color=kd.plots.COLOURS["published"], alpha=0.7, linewidths=0)
for arm, colour in (("labels", "hard"), ("soft", "soft")):
    left.axvline(mean[arm], color=kd.plots.COLOURS[colour], linewidth=1, alpha=0.6, zorder=0)
right.axvline(0, color=kd.plots.COLOURS["hard"], linewidth=1, alpha=0.6)
left.set_yticks(range(len(rows)), [text for _, text, _ in rows])
for label, (_, _, role) in zip(left.get_yticklabels(), rows):
    label.set_color({"control": "#75604f"}.get(role, kd.plots.COLOURS[role]))
left.invert_yaxis()
left.set(xlabel="errors per 10,000 test images")
right.set(xlabel="saved per 10,000 (← more)")
right.invert_xaxis()  # as on the left: better is further left
right.tick_params(left=False)
right.spines["left"].set_visible(False)
right.set_title("Tian 2020, CIFAR-100: saved\nagainst labels, seven pairs", fontsize=9, color="#007a5a")
with_term = mean[list(terms)]
left.set_title(f"Labels and one term: {with_term.min():.0f} to {with_term.max():.0f};\nsoft targets alone: {mean.soft:.0f}", fontsize=10)
kd.plots.show(
    figure,
    "Left: test errors of the small student for twelve objectives, every run a dot, means with 95 percent intervals: labels "
    "alone and with one of four feature terms, soft targets alone and "
    "with the same terms, and two controls with shuffled features. Vertical lines continue the means of labels alone and "
    "soft targets alone. Right: published accuracy gains over labels "
    "of seven teacher-student pairs, as green diamonds in the same rows, more to the left.",
)

# %% tags=["slide", "slide-output"]
kd.judge("06-answers-before-features", match_runs)

# %%
kd.judge("06-features-on-top", match_runs)

# %%
kd.judge("06-features-carry-knowledge", match_runs)

# %% [markdown]
# Start with the orange rows: does a feature term beat labels alone, and does any of them reach the blue line? Then the blue rows: does a feature term add anything where the answers are matched already? The brown rows say how much of the orange rows' gain needs the *right image's* features.
#
# The first card is the claim of the two tables, put to our students, and to contrasts as well, of which the benchmark says the opposite. It has four parts, and is as strong as the weakest of them: that soft targets are ahead of a term and that they are ahead by more than its margin are two questions, and the card answers both. The second asks whether a feature term changes what soft targets reach by as much as 40 errors, either way: one margin, chosen for what would be worth the trouble. The third compares hints and contrasts with their shuffled controls.
#
# The diamonds come from other networks, other data, more classes, and students that see all the training data; their soft targets keep labels with a weight of 0.1, at $T = 4$, and their distances come with angles. Their student of contrasts is ahead of soft targets in every pair. In our runs the transfer set is a small part of what the teacher learned from, and what it tells may carry something of the rest. Whether the order is the same where teacher and student see the same images, these runs do not ask.

# %% [markdown]
# ## Does the student need its teacher's architecture?
#
# Answers can pass between any two networks; layers hardly. But can a network of another kind *follow* the answers? One source says that a few convolutions cannot imitate attention. And one might expect that a teacher of the student's own kind is the easier one to learn from. We test both at once: three teachers, trained to be about equally good, an MLP,
# a small convolutional network and a small vision transformer (`kd.models.attention_net`: patches, two blocks of self-attention, no convolution), all trained on the 50,000 images. Their students are the *same three networks*, untrained, with 2,000 of the images and one teacher's soft targets. Every teacher meets every student.
#
# If convolutions could not imitate attention, the convolutional student would give the attention teacher's answer more rarely than the attention teacher's own kind does. If kind mattered, a teacher of the student's own kind would teach better than an equally good stranger. One caution beforehand: two networks that are right agree. A student with fewer errors tends to agree more with any good teacher, whatever their kinds.

# %%
small_rates = dict(mlp=4e-2, cnn=4e-2, attention=1e-2)  # best of three each, on validation images with pilot seeds
families = {"mlp": "MLP", "cnn": "convolutions", "attention": "attention"}
rates = lesson.pick(smoke=small_rates, quick=small_rates, full=dict(mlp=1e-3, cnn=1e-2, attention=1e-3))
crossing_arms = {}
for kind in families:
    own = dict(kind=kind, learning_rate=rates[kind])
    crossing_arms[f"{kind}_from_labels"] = own
    crossing_arms |= {f"{kind}_from_{guide}": own | dict(guide=guide, response="soft") for guide in families}
common = {name: value for name, value in small.items() if name not in ("kind", "learning_rate")}
guides = kd.sweep(teacher_answers, seeds=seeds, kind=list(families), part="test", **scale)
crossing = train_arms(crossing_arms, seeds, **common)
crossing["agreement"] = [10_000 * (~agrees).mean() for agrees in crossing.agrees]  # answers unlike the teacher's, per 10,000

# %% tags=["slide:cross", "slide-output"]
cross_errors, cross_unlike = (crossing.groupby("arm")[column].agg(["mean", kd.plots.half_width]) for column in ("errors", "agreement"))
guide_errors = guides.groupby("kind").errors.mean()
figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.9), width_ratios=[4, 3])
grids = [
    (axes[0], cross_errors, ["labels", *families], "Student's errors per 10,000 test images"),
    (axes[1], cross_unlike, list(families), "Answers unlike the teacher's, of 10,000"),
]
for axis, values, columns, title in grids:
    grid, half = (np.array([[values[part][f"{kind}_from_{guide}"] for guide in columns] for kind in families]) for part in ("mean", "half_width"))
    relative = grid / grid.min(axis=1, keepdims=True)
    axis.imshow(relative, cmap="Oranges", aspect="auto", vmin=0.9, vmax=2.2)
    for row in range(3):
        for column in range(len(columns)):
            bold = "bold" if grid[row, column] == grid[row].min() else "normal"
            colour = "white" if relative[row, column] > 1.7 else "black"
            axis.text(column, row - 0.12, f"{grid[row, column]:,.0f}", ha="center", va="center", fontweight=bold, color=colour)
            axis.text(column, row + 0.2, f"± {half[row, column]:.0f}", ha="center", va="center", fontsize=9, color=colour)
    axis.set_xticks(range(len(columns)), [f"{families[c]}\n({guide_errors[c]:.0f})" if c in families else c for c in columns])
    axis.set_yticks(range(3), families.values() if axis is axes[0] else [])
    axis.set(xlabel="taught by (the teacher's own errors)")
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(title, fontsize=9.5)
axes[0].set_ylabel("student")
by_arm = crossing.pivot(index="seed", columns="arm", values="errors")
saved = {}
for kind in families:
    others = np.mean([by_arm[f"{kind}_from_{guide}"] for guide in families if guide != kind], axis=0)
    saved[kind] = others - by_arm[f"{kind}_from_{kind}"].to_numpy()
gaps = ", ".join(f"{families[kind]} {gap.mean():.0f} ± {kd.plots.half_width(gap):.0f}" for kind, gap in saved.items())
figure.suptitle(f"Errors saved by a teacher of the own kind: {gaps}".replace("-", "−"), fontsize=10.5, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "Two tables of numbers on colour, rows the student's kind (MLP, convolutions, attention), columns its teacher's. Left: "
    "test errors, with a column for labels. Right: test answers "
    "that differ from the teacher's. Each is a mean over seeds with half its 95 percent interval; bold is the smallest of "
    "each row. Under the columns stand the teachers' own errors.",
)

# %% tags=["slide", "slide-output"]
kd.judge("06-convolutions-imitate-attention", crossing)

# %%
kd.judge("06-own-kind", crossing)

# %% [markdown]
# Read the left table along its rows, for that is where only the teacher changes. Then read the column of the attention teacher in the right table: who follows it best? The teachers' errors stand below the columns, so that you can see how equal their skill is; a difference between columns that follows this order may be about skill, not kind: for each student, ask whether its own kind's teacher is also the best teacher.
#
# What the cards do not say: the transfer set is small, and an attention network has to learn from data what a convolution is born with, that a stroke is a stroke wherever it is. With 2,000 images it may fail to follow *anyone*: look along its row, and compare it with the column of labels. A teacher that saves nothing there was not imitated, and a card that compares with such a student says little about attention and much about small data. Nor is it done learning after these epochs; in a pilot with four times as many the gap was smaller and kept its sign (the ledger has the numbers). "Imitates better" is said of these students with these images. And as agreement is
# for the most part being right together, hold each row of the right table against the same row of the left. The fairer question stands within the row of convolutions: does that student follow the attention teacher less than the others, beyond what their skill explains?
#
# ## What goes wrong in practice
#
# **One half here, one half there.** A line that is found in many notebooks: `loss = 0.5 * ce + 0.5 * mse(student_features, teacher_features)`. Half labels, half teacher. But what is one half of an MSE? Summed over a layer it is hundreds of times the mean (PyTorch's `reduction="sum"` adds up the batch as well; ours stays with the mean over images), and its value grows with the square of whatever scale the teacher's layer has. The cross-entropy of a newborn student is a few
# nats. What counts is how hard each term pulls on the weights: its gradient.


# %%
def pulls(sums, standard):
    """Gradient norms on a newborn student, of the labels' term and of the feature term, over 500 images."""
    train, _ = kd.features.images_for(scale["dataset"], 500)
    network = kd.features.network("cnn", scale["dataset"], first_seed)
    logits, mine = kd.features.tap(network, kd.data.to_float(train.images), [f"relu{s - 1}" for s, _ in good_pairs])
    _, features = kd.features.activations(teacher_network("deep", seed=first_seed, **scale), train.images, [f"relu{t - 1}" for _, t in good_pairs])
    if standard:
        features = [f / f.pow(2).mean().sqrt() for f in features]
    modules = adapters("hint", mine, features, first_seed)
    term = sum(feature_loss("hint_sum" if sums else "hint", modules, k, m, t, None) for k, (m, t) in enumerate(zip(mine, features)))
    norms = []
    for value in (F.cross_entropy(logits, train.labels), term):
        gradients = torch.autograd.grad(value, list(network.parameters()), retain_graph=True, allow_unused=True)
        norms.append(torch.cat([g.flatten() for g in gradients if g is not None]).norm().item())
    return norms


ways = {"mean, as it comes": (False, False), "sum, as it comes": (True, False), "mean, features scaled": (False, True), "sum, features scaled": (True, True)}
share = {}
for name, (sums, standard) in ways.items():
    labels_pull, feature_pull = pulls(sums, standard)
    share[name] = feature_pull / labels_pull
    print(f"0.5 · CE + 0.5 · MSE ({name:21s}): gradient of the labels' half {labels_pull / 2:6.2f}, of the features' half {feature_pull / 2:8.2f}")

# %% [markdown]
# Four readings of one line of code. Divide the second number of each line by the first: only where that is near 1 were they two halves. Then compare the lines with and without scaling. Adam will not save you: it rescales the *sum* of the two, not each. Here is what weights do, seen on validation images, which is where a weight is to be chosen. Features are scaled to a root mean square of 1; the ratio of the two pulls is that at birth.

# %% tags=["slide:weights", "slide-output"]
weights = lesson.pick(smoke=[1.0, 100.0], quick=[0.1, 1.0, 10.0, 100.0, 1000.0], full=[0.1, 1.0, 10.0, 100.0, 1000.0])
trap_arms = {"labels": {}} | {f"w{w:g}": dict(match="hint", pairs=good_pairs, weight=w) for w in weights}
trap_arms |= {name: dict(match="hint_sum" if sums else "hint", pairs=good_pairs, standard=standard) for name, (sums, standard) in ways.items() if not standard}
trap = train_arms(trap_arms, seeds[:2], part="validation", **small)
mean = trap.groupby("arm").errors.mean()

figure, axis = plt.subplots(figsize=(7, 3.4))
unit = share["mean, features scaled"]
for arm, ratio, colour in (
    *((f"w{w:g}", w * unit, kd.plots.COLOURS["soft"]) for w in weights),
    *((name, share[name], kd.plots.COLOURS["control"]) for name in trap_arms if name in ways),
):
    axis.plot([ratio] * len(seeds[:2]), trap[trap.arm == arm].errors, "o", markersize=5, color=colour, alpha=0.6)
axis.plot([w * unit for w in weights], [mean[f"w{w:g}"] for w in weights], color=kd.plots.COLOURS["soft"], linewidth=1.2)
for name in ("mean, as it comes", "sum, as it comes"):
    axis.axvline(share[name], color=kd.plots.COLOURS["control"], linewidth=1, linestyle=":", zorder=0)
    side = dict(ha="right", xytext=(-5, 0)) if "sum" in name else dict(ha="left", xytext=(5, 0))
    axis.annotate(f"0.5 and 0.5,\n{name}", (share[name], 0.05), xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9, color="#75604f", **side)
axis.axhline(mean.labels, color=kd.plots.COLOURS["hard"], linewidth=1.2)
runs = trap[trap.arm == "labels"].errors
axis.plot([0.012] * len(runs), runs, "o", markersize=5, color=kd.plots.COLOURS["hard"], alpha=0.6, transform=axis.get_yaxis_transform())
axis.annotate("labels alone", (0.4, mean.labels), xycoords=("axes fraction", "data"), xytext=(0, 4), textcoords="offset points", color=kd.plots.COLOURS["hard"])
low, high = trap.errors.min(), trap.errors.max()
axis.set(xscale="log", ylim=(low - 0.5 * (high - low), high + 0.2 * (high - low)))
axis.set(xlabel="pull of the feature term at birth, in units of the labels' pull", ylabel="validation errors per 10,000")
best_weight = min(weights, key=lambda w: mean[f"w{w:g}"])
axis.set_title(f"Two seeds a weight: the smallest mean is at weight {best_weight:g}")
kd.plots.show(
    figure,
    "Validation errors of students with labels plus a hint, against the ratio of the feature term's gradient to the labels' "
    "gradient at the start, on a logarithmic axis. Blue: mean-reduced "
    "squared error at several weights, two seeds each; brown: weight 1 on features as they come, mean-reduced and "
    "sum-reduced; the orange line and dots are labels alone.",
)

# %% [markdown]
# Three repairs, cheapest first. **Scale the teacher's features** to a root mean square of 1, once, where you compute them: then a weight means about the same for every layer and every teacher. (Batch norm before every ReLU gives our teacher a scale already: compare the printed rows. A teacher without it may have any.) **Look at the two gradient norms** in the first step. **Choose the weight on validation images**, in steps of 3 or 10. A weight copied from a paper is
# worthless without its reduction: RepDistiller uses 100 for hints and 1,000 for attention maps, others use 0.5, and both may be right.
#
# A second trap, without a figure: the regressor belongs to the training only. If you count parameters, save the model or average its weights, leave it out; if your optimiser was built before it, it never learns.
#
# ## Exercises
#
# ### 1 · Where the network looks
#
# A colleague's attention transfer does nothing. Their maps are `features.sum(dim=1).flatten(1)`. Two things are wrong: think of two channels of opposite sign, and of a layer that is five times as loud as its neighbour. Write the maps of Zagoruyko and Komodakis instead, one row for each image.


# %% tags=["exercise"]
def attention_maps(features):
    """[N, C, H, W] → [N, H·W], every row of length 1."""
    maps = ...
    return ...


# %% tags=["solution"]
def attention_maps(features):
    """[N, C, H, W] → [N, H·W], every row of length 1."""
    maps = features.pow(2).sum(dim=1).flatten(1)
    return F.normalize(maps, dim=1)


# %%
kd.checks.lesson06.attention_maps(attention_maps);

# %% [markdown]
# ### 2 · A fair half
#
# You want the feature term to pull `ratio` times as hard on the weights as the labels do. You have both gradients, each as a list of tensors, one for each parameter. Which weight does it take? (A gradient is one long vector; its norm is that of all its parts together.)


# %% tags=["exercise"]
def balanced_weight(label_gradients, feature_gradients, ratio):
    """Two lists of tensors → the weight of the feature term at which its gradient is `ratio` times as long as the labels'."""

    def length(gradients):
        return torch.cat([g.flatten() for g in gradients]).norm()

    return ...


# %% tags=["solution"]
def balanced_weight(label_gradients, feature_gradients, ratio):
    """Two lists of tensors → the weight of the feature term at which its gradient is `ratio` times as long as the labels'."""

    def length(gradients):
        return torch.cat([g.flatten() for g in gradients]).norm()

    return ratio * length(label_gradients) / length(feature_gradients)


# %%
kd.checks.lesson06.balanced_weight(balanced_weight);

# %% [markdown]
# When it is right, compare with the figure: at which ratio did the students do best?
#
# ### 3 · How alike are two layers?
#
# Write linear CKA. Think of its C: if a feature is always 5, with a little news on top, the 5 says nothing about which images are alike.


# %% tags=["exercise"]
def similarity(x, y):
    """[N, D] and [N, E] activations of the same N images → linear CKA, a number from 0 to 1."""
    x, y = ..., ...
    return (x.T @ y).norm() ** 2 / ...


# %% tags=["solution"]
def similarity(x, y):
    """[N, D] and [N, E] activations of the same N images → linear CKA, a number from 0 to 1."""
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return (x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())


# %%
kd.checks.lesson06.similarity(similarity);

# %% [markdown]
# ## Takeaways
#
# - A student may match responses, features or relations. Responses need nothing; features need a translation (a regressor, a map without channels, an embedding) and a choice of layers; relations need the choice alone.
# - Hints were invented for networks that were hard to train, as a way to begin. Check the card on batch norm before you use them on networks that are not.
# - Start with soft targets ([lesson 03](03_temperature.ipynb) for their temperature). Add a feature term when it beats them on *your* validation images, at equal epochs and with as many trials for the one as for the other; the main figure says what that was worth here.
# - That two layers are alike is no promise that matching them helps.
# - Scale the teacher's features and look at the gradients' norms before you believe in any "0.5".
# - Answers pass between architectures; the tables of the three families say how well, to whom, and from how few images.
#
# **Further reading.** Romero et al., *FitNets: Hints for Thin Deep Nets*, 2015, sections 2.2 and 3 · Zagoruyko & Komodakis, *Paying More Attention to Attention*, 2017, section 3.1 · Tian, Krishnan & Isola, *Contrastive Representation Distillation*, 2020, section 3 and table 1 · Kornblith et al., *Similarity of Neural Network
# Representations Revisited*, 2019, section 3 · Kim et al., *Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge Distillation*, 2021 · Park et al., *Relational Knowledge Distillation*, 2019 ([lesson 07](07_relational_distillation.ipynb)).
