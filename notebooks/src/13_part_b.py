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
# # 13 · Privacy
#
# **After this lesson you can measure whether a network, or a distilled set, gives away who was in the training data, and say what would protect them.**
#
# 20 minutes · needs [lesson 12](12_dataset_distillation.ipynb) · data: Fashion-MNIST

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")  # "smoke": seconds, mechanics only · "quick": a laptop · "full": the paper's scale
first_seed = 0  # another number gives fresh seeds everywhere, teachers included

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import kdcourse as kd

kd.plots.style()
lesson = kd.start("13", profile, first_seed)

# %%
kd.claims.announce("13")

# %% [markdown]
# ## Does a distilled set keep a secret?
#
# A hospital may not hand out its patients' records. May it hand out ten images per class that were *distilled* from them? No image of the set is a patient; each is a mixture of many. Dong, Zhao and Lyu (2022, "Privacy for Free") argued that networks which train on condensed data hardly reveal who was in the original. Carlini, Feldman and Nasr (2022, "No Free Lunch") answered that they find no statistically significant
# evidence that this protects better than a naive baseline, and that differentially private training is more accurate and leaks provably less. Both cannot be right about the same thing, so let us measure it.
#
# The question has a precise form, **membership inference**: someone knows a picture, and asks a network whether the picture was in its training data. A **candidate** is a picture that may or may not have been there; those that were are **members**. We draw a pool of candidates and toss a coin for each: that is one **world**, with members of its own. In each world the whole pipeline runs once: distil, train, publish. Then
# many worlds stand side by side, and in about half of them a given picture is a member. The pool stays small on purpose: this is a toy for looking at leaks, and each picture weighs enough to be seen.
#
# What would an attacker look at? A network is surer about what it has learned by heart. Let $p$ be the probability that it gives to the right class, and
#
# $$ \varphi = \log\frac{p}{1-p} = z_y - \log\sum_{j\ne y} e^{z_j}, $$
#
# its **logit-scaled confidence** ($z$ are the logits, $y$ the right class). On this scale the values of one candidate over many worlds look roughly normal, which $p$ itself, crowded at 1, does not. Some pictures are easy, and any network is sure about them; so what counts is not whether $\varphi$ is large, but whether it is larger *than it would be without this picture*. Attackers can find out: they run the pipeline in worlds of their own, fit one normal distribution
# to $\varphi$ where the picture was a member and one where it was not, and ask which of them the published network's $\varphi$ fits better. This is **LiRA**, the likelihood-ratio attack of Carlini et al. (2022). Networks trained for the attackers' own worlds are called **shadow models**.

# %%
world = dict(
    dataset="fashion_mnist",
    size=14,
    candidates=lesson.pick(smoke=1600, quick=2000, full=2000),
    worlds=lesson.pick(smoke=24, quick=32, full=128),
)
fitting = dict(hidden=64, steps=lesson.pick(smoke=3, quick=100, full=100), rate=0.01)
making = dict(steps=lesson.pick(smoke=2, quick=100, full=100), width=128)
private = dict(kind="private", steps=lesson.pick(smoke=2, quick=30, full=30), rate=0.1, clip=1.0)
DELTA = 1e-5

NAIVE = {"naive_one": 1, "naive_five": 5, "naive_ten": 10, "naive_twenty": 20, "naive_forty": 40}
RECIPES = {arm: {"kind": "random", "per_class": count} for arm, count in NAIVE.items()}
RECIPES["distilled_one"] = {"kind": "distilled", "per_class": 1, "start": "noise", "rate": 0.1, **making}
RECIPES["distilled_ten"] = {"kind": "distilled", "per_class": 10, "start": "real", "rate": 0.05, **making}
RECIPES["noise_ten"] = {"kind": "distilled", "per_class": 10, "start": "noise", "rate": 0.2, **making} | {"steps": 2 * making["steps"]}
RECIPES |= {"private_strict": {**private, "rho": 0.15}, "private_loose": {**private, "rho": 2.4}}
RECIPES["members"] = {"kind": "members"}


def pool_of(seed, dataset, size, candidates, part="test"):
    """The candidates of a seed, and the images by which accuracy is judged."""
    train, judged = kd.condense.pictures(dataset, size, part)
    return train[torch.randperm(len(train), generator=kd.models.stream(seed, "pool"))[:candidates]], judged


def published_sets(seed, dataset, size, candidates, worlds, kind, per_class, start="real", steps=0, rate=0.0, width=0):
    """What each world hands out: images [W, K·n, D] in bytes, and which members they are, or began as: indices [W, K·n]."""
    pool, _ = pool_of(seed, dataset, size, candidates)
    members = kd.privacy.memberships(worlds, candidates, seed)
    drawn = kd.privacy.drawn(members, pool.labels, per_class, seed)
    device = kd.lesson.device()
    images = kd.data.to_float(pool.images).flatten(1).to(device)
    made = images[drawn.to(device)]
    if kind == "distilled":
        if start == "noise":
            made = torch.rand(made.shape, generator=kd.models.stream(seed, "noise")).to(device)
        settings = dict(steps=steps, learning_rate=rate, width=width, seed=seed)
        made = kd.privacy.condense_worlds(images, pool.labels.to(device), members.to(device), made, **settings)
    return {"images": (255 * made).round().to(torch.uint8), "drawn": drawn}


def attacked(seed, dataset, size, candidates, worlds, recipe, hidden, steps, rate, part="test"):
    """Train a network in each world by the arm's recipe, attack them all, and say how far the attack came."""
    device, kind = kd.lesson.device(), recipe["kind"]
    pool, judged = pool_of(seed, dataset, size, candidates, part)
    members = kd.privacy.memberships(worlds, candidates, seed)
    images, labels = kd.data.to_float(pool.images).flatten(1).to(device), pool.labels.to(device)
    weights = kd.privacy.newborn(worlds, (images.shape[1], hidden, 10), seed)
    found = {}
    if kind in ("random", "distilled"):
        made = kd.run(published_sets, seed=seed, dataset=dataset, size=size, candidates=candidates, worlds=worlds, **recipe)
        shown, drawn = kd.data.to_float(made["images"]).to(device), made["drawn"]
        weights = kd.privacy.descend(weights, shown, labels[drawn.to(device)], steps=steps, learning_rate=rate)
        nearness = -torch.stack([torch.cdist(images, own).min(dim=1).values for own in shown]).cpu()
        found["auc_of_set"] = kd.privacy.area_under_curve(kd.privacy.likelihood_ratios(nearness, members), members).mean().item()
        nearest = torch.stack([torch.cdist(own, images).argmin(dim=1) for own in shown]).cpu()
        found["starts_found"] = 100 * (nearest == drawn).float().mean().item()
    else:
        index, counts = (t.to(device) for t in kd.privacy.gathered(members))
        settings = dict(steps=steps, learning_rate=rate)
        if kind == "private":
            noise = (recipe["steps"] / (2 * recipe["rho"])) ** 0.5
            settings = dict(steps=recipe["steps"], learning_rate=recipe["rate"], clip=recipe["clip"], noise=noise, size=candidates / 2, seed=seed)
        weights = kd.privacy.descend(weights, images[index], labels[index], counts=counts, **settings)
    observed = kd.privacy.logit_confidence(kd.privacy.logits(weights, images), labels).cpu()
    scores = kd.privacy.likelihood_ratios(observed, members)
    if kind == "random" or recipe.get("start") == "real":
        mine = torch.zeros_like(members).scatter_(1, drawn, True)
        for name, asked in (("auc_drawn", mine), ("auc_others", ~mine)):
            found[name] = kd.privacy.area_under_curve(scores, members, asked).mean().item()
    return found | {
        "auc": kd.privacy.area_under_curve(scores, members).mean().item(),
        "found_1": 100 * kd.privacy.true_positive_rate(scores, members, 0.01),
        "found_01": 100 * kd.privacy.true_positive_rate(scores, members, 0.001),
        "percent": 100 * kd.privacy.accuracy(weights, judged).mean().item(),
        "observed": observed,
    }


seeds = lesson.seeds(smoke=1, quick=5, full=5)
runs = pd.concat([kd.sweep(attacked, seeds=seeds, recipe=recipe, **world, **fitting).assign(arm=arm) for arm, recipe in RECIPES.items()], ignore_index=True)
print(f"{world['worlds']} worlds a seed, {world['candidates']:,} candidates, about half of them members in each")

# %% [markdown]
# First the arm that must leak: a network trained on the members themselves, in as many steps as every other arm without noise. Each dot below is one world's network, asked about one and the same picture. Above, a picture *chosen* because its two groups lie far apart; below, one whose shift is the median. The attack decides by the two normal curves.

# %%
pool, _ = pool_of(first_seed, world["dataset"], world["size"], world["candidates"])
members = kd.privacy.memberships(world["worlds"], world["candidates"], first_seed)
observed = kd.run(attacked, seed=first_seed, recipe=RECIPES["members"], **world, **fitting)["observed"]


def groups(column):
    """A candidate's logit-scaled confidences in the worlds where it is a member, and in the others."""
    return [observed[inside, column].numpy() for inside in (members[:, column], ~members[:, column])]


shifts = np.array([inside.mean() - outside.mean() for inside, outside in map(groups, range(len(pool)))])
picked = [int(shifts.argmax()), int(shifts.argsort()[len(shifts) // 2])]
figure, axes = plt.subplots(2, 2, figsize=(7.5, 3.8), width_ratios=[1, 6])
for (left, right), column, how in zip(axes, picked, ("far apart", "median")):
    left.imshow(pool.images[column, 0])
    left.axis("off")
    left.set_title(kd.load(world["dataset"]).classes[pool.labels[column]], fontsize=10)
    for row, (values, text, role) in enumerate(zip(groups(column), ("member", "not a member"), ("hard", "control"))):
        colour = kd.plots.COLOURS[role]
        right.scatter(values, np.full(len(values), row), s=16, color=colour, alpha=0.6, linewidths=0)
        line = np.linspace(values.mean() - 3 * values.std(), values.mean() + 3 * values.std(), 99)
        right.plot(line, row - 0.15 - 0.55 * np.exp(-((line - values.mean()) ** 2) / (2 * values.var() + 1e-9)), color=colour, linewidth=1.2)
    right.set_yticks([0, 1], ["member", "not a member"])
    right.set_ylim(1.4, -0.9)
    right.set_title(f"{how}: with the picture {shifts[column]:+.1f}", fontsize=10)
axes[1, 1].set_xlabel("logit-scaled confidence in the right class")
kd.plots.show(
    figure,
    "Two pictures of clothes, one row each: the candidate with the largest shift and one with the median shift. Beside each, dots for the logit-scaled confidence of "
    "every world's network in the right class, above for worlds where the picture is a member, below for the others, with a normal curve for each group. "
    "The further apart the two groups, the easier the attack.",
)

# %% [markdown]
# Here is the attack in code, for the world numbered `target`. The means are each candidate's own; the two variances are shared by all of them, since a few dozen worlds cannot say more. The world under attack must not teach the attacker anything, so it is left out.


# %%
def attack(observed, members, target):
    """Confidences [W, N] and memberships [W, N] → for each candidate, how much likelier world `target` is with it as a member: log ratios [N]."""
    x, others = observed.double(), torch.arange(len(observed)) != target
    log_densities = []
    for chosen in (members & others[:, None], ~members & others[:, None]):
        number = chosen.sum(dim=0)
        mean = (x * chosen).sum(dim=0) / number
        variance = ((x - mean).square() * chosen).sum() / (number - 1).sum()
        log_densities.append(-((x[target] - mean) ** 2) / (2 * variance) - variance.log() / 2)
    return log_densities[0] - log_densities[1]


assert torch.allclose(attack(observed, members, 3), kd.privacy.likelihood_ratios(observed, members, shrink=False)[3])

# %% [markdown]
# The package's version attacks every world in turn and draws the candidates' shifts towards their common mean where the worlds are too few to tell them apart; where little leaks, that makes the attack stronger. Two numbers sum it up. The **area under the curve** (AUC) is the chance that a random member scores above a random other candidate: ½ is guessing. It is an average over all members, and an average can be small while one patient is exposed. So we also count the share of members found by a threshold that only one in a thousand of the others passes.
#
# By hand, with a threshold that one of four others may pass: members score 3, 1, 0, others 2, 0, -1, -2. Of twelve pairs the member wins nine and one is a tie: $9.5/12$. One in four others passes a threshold of 0, and two of three members do.

# %% tags=["nbval-check-output"]
scores = torch.tensor([[3.0, 1.0, 0.0, 2.0, 0.0, -1.0, -2.0]])
inside = torch.tensor([[True, True, True, False, False, False, False]])
print("area under the curve:", round(float(kd.privacy.area_under_curve(scores, inside)[0]), 4))
print("members found:", round(kd.privacy.true_positive_rate(scores, inside, 0.25), 4))
print("logit-scaled confidence of probability 0.9:", round(float(kd.privacy.logit_confidence(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([0]))[0]), 4))
print("rho of 30 steps with noise 10:", kd.privacy.privacy_spent(10, 30), "· epsilon:", round(kd.privacy.epsilon(0.15, 1e-5), 2))

# %% [markdown]
# ### A control that must find nothing, and one that finds too much
#
# If the tool is honest, an attack with the *wrong* list of members finds nothing: toss all coins again, hand the attack the new list, and judge it by that. The second line below makes the commonest mistake. It lets the attacked world take part in the fit: now each candidate's own value pulls the mean of its own group towards itself. Nothing leaks, and the attack "works".


# %%
def shuffled(seed, recipe, repeats, **settings):
    """The attack on an arm's networks by memberships that have nothing to do with them: honest, and with the attacked world in the fit."""
    observed = kd.run(attacked, seed=seed, recipe=recipe, **settings)["observed"].double()
    areas = {"auc": [], "auc_seen": []}
    for k in range(repeats):
        wrong = kd.privacy.memberships(*observed.shape, kd.models.stream_seed(seed, f"shuffled/{k}"))
        areas["auc"].append(kd.privacy.area_under_curve(kd.privacy.likelihood_ratios(observed, wrong), wrong).mean())
        inside, outside = ((observed * m).sum(dim=0) / m.sum(dim=0) for m in (wrong, ~wrong))
        areas["auc_seen"].append(kd.privacy.area_under_curve((observed - outside) ** 2 - (observed - inside) ** 2, wrong).mean())
    return {name: float(torch.stack(values).mean()) for name, values in areas.items()}


controls = {"shuffled": "members", "shuffled_distilled": "distilled_ten"}
nothing = pd.concat(
    [kd.sweep(shuffled, seeds=seeds, recipe=RECIPES[of], repeats=lesson.pick(smoke=1, quick=4, full=4), **world, **fitting).assign(arm=arm) for arm, of in controls.items()],
    ignore_index=True,
)
runs = pd.concat([runs, nothing], ignore_index=True)
means = nothing.groupby("arm")[["auc", "auc_seen"]].mean()
print(means.rename(columns={"auc": "attacked world left out", "auc_seen": "attacked world in the fit"}).round(3).to_string())

# %%
kd.judge("13-privacy-null", runs)

# %% [markdown]
# ## What is handed out
#
# Three ways to hand out ten images per class instead of the members. *Naive*: ten random members as they are. *Distilled from real images*: begin with these ten and match the mean features of all members (distribution matching, [lesson 12](12_dataset_distillation.ipynb)). *Distilled from noise*: the same, begun with random pixels. Look at them before you look at any number. All are from world 0, the first image of each class: a member, what was made of it, and which of all candidates is nearest to that; the same for the images begun with noise; and the one image per class.

# %%
made = {arm: kd.run(published_sets, seed=first_seed, **world, **RECIPES[arm]) for arm in ("distilled_ten", "noise_ten", "distilled_one")}
size = world["size"]
candidates = kd.data.to_float(pool.images).flatten(1)


def nearest(arm):
    """For the first image of each class of world 0's set: the nearest of all candidates."""
    return candidates[torch.cdist(first_of(arm), candidates).argmin(dim=1)]


def first_of(arm):
    images = kd.data.to_float(made[arm]["images"][0])
    return images[:: RECIPES[arm]["per_class"]]


rows = {
    "a member": candidates[made["distilled_ten"]["drawn"][0, ::10]],
    "distilled from it": first_of("distilled_ten"),
    "nearest candidate": nearest("distilled_ten"),
    "distilled from noise": first_of("noise_ten"),
    "nearest candidate ": nearest("noise_ten"),
    "one per class": first_of("distilled_one"),
}
figure, axis = plt.subplots(figsize=(7.5, 4.9))
axis.imshow(torch.cat([torch.cat([*row.view(-1, size, size)], dim=1) for row in rows.values()]), vmin=0, vmax=1)
axis.set_yticks([(k + 0.5) * size for k in range(len(rows))], list(rows), fontsize=9)
axis.set_xticks([(k + 0.5) * size for k in range(10)], kd.load(world["dataset"]).classes, fontsize=9)
axis.tick_params(length=0)
axis.spines[:].set_visible(False)
given_away = runs[runs.arm == "distilled_ten"].starts_found.mean()
axis.set_title(f"Of the images begun with real ones, {given_away:.0f} % are nearest to the member they began as", fontsize=10)
kd.plots.show(
    figure,
    "Six rows of ten pictures of clothes, one for each class: a member, the image distilled from it, the candidate nearest to that image, an image distilled from noise, "
    "the candidate nearest to it, and the single image per class. Compare the first three rows: where they show the same piece of clothing, the distilled image gives its member away.",
)

# %% [markdown]
# A distilled image that began as a member needs no attack by statistics: whoever has the picture lays the two side by side. That settles nothing about the second question, whether the *others*, whose pictures were never in the set, leave a trace in it.
#
# ## The protection that can be proved
#
# **Differentially private training** (Abadi et al. 2016) limits what any one picture can do. In every step the gradient of each single image is cut to a length $C$ at most, the gradients are added up, and normal noise of standard deviation $\sigma C$ is added to the sum. One picture more or less moves the sum by no more than $C$, and the noise hides it. For $T$ steps on all the data the account is short (Bun & Steinke 2016):
#
# $$ \rho = \frac{T}{2\sigma^2}, \qquad \varepsilon = \rho + 2\sqrt{\rho \ln(1/\delta)}. $$
#
# At the ends: $\sigma \to \infty$ gives $\rho = 0$, a network that has seen nothing; $\sigma \to 0$ gives no promise at all. All the noisy sums together tell an attacker no more than one normal observation whose mean moves by $\sqrt{2\rho}$ standard deviations, so that no attack on one picture, however clever, has an AUC above $\Phi(\sqrt\rho)$, where $\Phi$ is the normal distribution function (Dong, Roth & Su 2022). The naive baseline has a ceiling as well: a share $f$ of the members is handed out, the others never touched anything, hence at most $\tfrac12 + \tfrac f2$. Distilled
# sets come with no such line.
#
# ## Accuracy against leak
#
# A protection that costs accuracy has to be compared at equal accuracy: a network that knows nothing keeps every secret. So the naive baseline gets one to forty images per class, and private training a strict and a loose budget. Every arm of a seed has the same worlds, members and newborn networks. Rates and steps were looked for on validation images of another seed: three to five settings for each kind of arm, eight for each private budget. Accuracy decided; where more steps gained a point or less, the fewer were taken. Such a search looks at the members, too; its price is not in ε.

# %%
FAMILIES = {
    "random members as they are": (list(NAIVE), kd.plots.COLOURS["hard"], list(map(str, NAIVE.values()))),
    "distilled": (["distilled_one", "noise_ten", "distilled_ten"], kd.plots.COLOURS["soft"], ["1", "10, from noise", "10, from real"]),
    "private training": (["private_strict", "private_loose"], "#8c4a86", [f"ε = {kd.privacy.epsilon(r, DELTA):.0f}" for r in (0.15, 2.4)]),
    "all members": (["members"], kd.plots.COLOURS["teacher"], [""]),
}
METRICS = {"auc": "area under the curve", "found_01": "members found in %\n(1 in 1,000 others passes)"}
figure, axes = plt.subplots(1, 2, figsize=(8.6, 4.8))
for axis, (metric, label) in zip(axes, METRICS.items()):
    for family, (arms, colour, texts) in FAMILIES.items():
        table = [runs[runs.arm == arm] for arm in arms]
        points = np.array([(t.percent.mean(), t[metric].mean()) for t in table])
        if family != "distilled":
            axis.plot(*points.T, color=colour, linewidth=1, alpha=0.5, zorder=1)
        for t, (x, y), text in zip(table, points, texts):
            axis.scatter(t.percent, t[metric], s=9, color=colour, alpha=0.5, linewidths=0, zorder=2)
            axis.errorbar(x, y, kd.plots.half_width(t[metric]), kd.plots.half_width(t.percent), fmt="o", markersize=5, capsize=2, color=colour, zorder=3)
            if metric == "auc":
                where = {"distilled": (-5, 19) if "real" in text else (-5, 6), "private training": (-7, -4)}.get(family, (5, -13))
                axis.annotate(text, (x, y), xytext=where, textcoords="offset points", ha="right" if where[0] < 0 else "left", fontsize=9, color=colour)
        if metric == "auc":
            axis.plot([], [], "o", color=colour, label=family)
    axis.axhline({"auc": 0.5, "found_01": 0.1}[metric], color=kd.plots.COLOURS["control"], linewidth=1)
    axis.set(xlabel="accuracy on test images in %", ylabel=label)
axes[1].set(yscale="log", ylim=(0.04, 5))
axes[1].set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
axes[1].minorticks_off()
axes[0].legend(loc="upper left", frameon=False, fontsize=9)
mean = runs.groupby("arm").auc.mean()
axes[0].set_title(f"Ten images per class: distilled {mean.distilled_ten:.3f}\n(noise: {mean.noise_ten:.3f}), as they are {mean.naive_ten:.3f}", fontsize=10)
rare = runs.groupby("arm").found_01.mean()
axes[1].set_title(f"The most exposed: distilled {rare.distilled_ten:.2f} %,\n(noise: {rare.noise_ten:.2f} %), as they are {rare.naive_ten:.2f} %", fontsize=10)
kd.plots.show(
    figure,
    "Two panels with accuracy on test images across and the success of membership inference upwards: the area under the curve on the left, the share of members found at one false "
    "alarm in a thousand on the right, on a logarithmic axis. Four families of networks: trained on 1 to 40 random members per class, on distilled sets, privately, and on all members. Small dots are "
    "seeds, large ones means with 95 percent intervals; a line marks guessing; numbers beside the dots are images per class, ε that of the private budget. Lower and further right is better.",
)

# %%
kd.judge("13-privacy-distilled", runs)

# %%
kd.judge("13-privacy-members", runs)

# %% [markdown]
# The first card compares equal numbers of images, and distilled ones also teach more. Is the leak only the price of that accuracy? The next two cards put each distilled set beside the naive one whose accuracy the pilot found nearest: one asks whether the accuracies are equal indeed, the other which of them leaks more.

# %%
kd.judge("13-privacy-accuracy", runs)

# %%
kd.judge("13-privacy-equal-accuracy", runs)

# %% [markdown]
# ### Who pays?
#
# The averages hide who they are averages of. Below, the members are divided into those that were drawn (handed out as they are, or used as a start) and all others; each group is compared with the candidates that are not members. For the naive baseline the second group is a control: nothing of theirs was used, and their area must be ½. *From the set* is an attack that needs no network: the distance from a picture to the nearest image handed out, put through the same likelihood ratio.

# %%
names = {"auc_drawn": "members drawn", "auc_others": "other members", "auc": "all members", "auc_of_set": "all, from the set", "starts_found": "starts found, %"}
who = runs[runs.arm.isin(["naive_ten", "distilled_ten", "noise_ten", "distilled_one", "private_strict", "private_loose", "members"])]
print(who.groupby("arm")[list(names)].mean().rename(columns=names).round(3).to_string(na_rep="–"))

# %%
kd.judge("13-privacy-who", runs)

# %% [markdown]
# Handing out members as they are exposes those few, and by construction nobody else. Distilling can make everyone pay a little, as everyone's features are in the mean that the images are made to match, and those it begins with pay more if their pictures can still be recognised; table and card say whether it does. Which of the two is worse is no question of machine learning. But "no image of the set is a patient" answers neither.
#
# ### Against private training
#
# What is claimed of private training is a better accuracy together with a smaller leak. The cards compare the strict budget with the one-image set, and the loose one with ten images made from noise; the third asks about the most exposed, and compares the loose budget with the naive baseline nearest in accuracy.

# %%
kd.judge("13-privacy-dp", runs)

# %%
kd.judge("13-privacy-dp-accuracy", runs)

# %%
kd.judge("13-privacy-most-exposed", runs)

# %%
for arm in ("private_strict", "private_loose"):
    rho = RECIPES[arm]["rho"]
    share = runs[runs.arm == arm]
    print(f"{arm}: ε = {kd.privacy.epsilon(rho, DELTA):.1f} at δ = {DELTA:g} · no attack above AUC {kd.privacy.largest_area(rho):.3f} · ours {share.auc.mean():.3f}")
number = world["candidates"] / 2
print(f"naive_ten: about {100 / number:.0%} of the members are handed out · no attack above AUC {0.5 + 50 / number:.3f} · ours {mean.naive_ten:.3f}")

# %% [markdown]
# Look at the distance between the proved line and the attack. It has two sides: the proof covers every attack and the worst picture, and ours is one attack on average pictures; or the account is generous. A measured attack is a lower bound of what leaks, the proof an upper one, and a distilled set has only the former: tomorrow's attack may be better. Look also at the naive line in both panels above: the area is an average over everyone, the right panel asks about the few who are easiest to find, and the two need not put the families in the same order.
#
# What these cards cannot say: our networks are small and fully connected, the set is matched in features of one newborn layer, a pool has two thousand candidates (with more of them each one weighs less, in every arm), and the attacker knows the whole pipeline, its newborn feature networks included. Dong et al. used convolutional networks on larger data.
#
# ## Exercises
#
# ### 1 · Found at a price
#
# A colleague reports an attack with "accuracy 53 %" and concludes that nothing leaks. Write the number that would change her mind: the share of members whose score lies above a threshold that only a share `false_positive_rate` of the others passes.


# %% tags=["exercise"]
def found_at(member_scores, other_scores, false_positive_rate):
    """Scores [M] of members and [N] of others → the share of members above the threshold that int(rate · N) others pass."""
    allowed = int(false_positive_rate * len(other_scores))
    threshold = ...
    return ...


# %% tags=["solution"]
def found_at(member_scores, other_scores, false_positive_rate):
    """Scores [M] of members and [N] of others → the share of members above the threshold that int(rate · N) others pass."""
    allowed = int(false_positive_rate * len(other_scores))
    threshold = other_scores.sort(descending=True).values[allowed]
    return (member_scores > threshold).double().mean()


# %%
kd.checks.lesson13.found_at(found_at);

# %% [markdown]
# ### 2 · What the noise is worth
#
# A colleague trains for 40 steps with noise σ = 8 and wants to write ε into the report. Every step spends $1/(2\sigma^2)$; the spendings add up to ρ; and ρ becomes ε at a δ of your choice.


# %% tags=["exercise"]
def spent(noise, steps, delta):
    """Noise in units of the clip, number of steps on all the data, δ → ε."""
    rho = ...
    return ...


# %% tags=["solution"]
def spent(noise, steps, delta):
    """Noise in units of the clip, number of steps on all the data, δ → ε."""
    rho = steps / (2 * noise**2)
    return rho + 2 * (rho * np.log(1 / delta)) ** 0.5


# %%
kd.checks.lesson13.privacy_price(spent);

# %% [markdown]
# Then turn it round: which σ does ε = 1 need, for the same 40 steps? (First find ρ; it is the smaller root of a quadratic equation in $\sqrt\rho$.)
#
# ## Takeaways
#
# - Privacy is measured by an attack, the strongest you can build: it knows the pipeline, has worlds of its own, and asks about each picture what *that* picture does. A weak attack that finds nothing has shown nothing.
# - Compare with the baseline that is as small: hand out as many real images. And compare at equal accuracy.
# - Say who pays. An area under the curve near ½ can hide a few who are exposed in full.
# - An attack bounds the leak from below, a proof from above. Only added noise with cut gradients gives the proof.
#
# **Further reading.** Dong, Zhao & Lyu, *Privacy for Free: How does Dataset Condensation Help Privacy?*, 2022 · Carlini, Feldman & Nasr, *No Free Lunch in "Privacy for Free: How does Dataset Condensation Help Privacy"*, 2022 · Carlini et al., *Membership Inference Attacks From First Principles*, 2022 · Abadi et al., *Deep Learning with Differential Privacy*, 2016 · Bun & Steinke, *Concentrated Differential Privacy*, 2016 · Dong, Roth & Su, *Gaussian Differential Privacy*, 2022.
