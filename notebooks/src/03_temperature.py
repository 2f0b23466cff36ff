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
# # 03 · Temperature
#
# **After this lesson you can say what the temperature does to a teacher's answer and to its student's gradient, what remains of the loss when it is very high, and
# how to choose it for a student of a given size.**
#
# 30 minutes · needs [lesson 01](01_soft_targets.ipynb) · data: MNIST
#
# One number turns a teacher's answer from "a 9" into "a 9, or else a 4, hardly a 7", and further into "every class, nearly alike". Hinton, Vinyals and Dean (2015, section 3) tried many values on MNIST and left two
# remarks without numbers. With 300 or more units in each of the student's two hidden layers, all temperatures above 8 gave fairly similar results. With 30 units, temperatures from 2.5 to 4 worked significantly better than higher or lower ones. The first
# remark says that above 8 you need not care, the second that you must. We test both, and first find out what the number does.

# %% tags=["parameters"]
import os

profile = os.environ.get("KDCOURSE_PROFILE", "quick")  # "smoke": seconds, mechanics only · "quick": a laptop · "full": the paper's scale
first_seed = 0  # another number gives fresh seeds everywhere, teachers included

# %%
import io

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import display

import kdcourse as kd

kd.plots.style()
lesson = kd.start("03", profile, first_seed)

# %% [markdown]
# These are the claims of the lesson. They and their thresholds were written down before the runs that test them; `claims.toml` has them with their history.

# %%
kd.claims.announce("03")

# %% [markdown]
# ## One answer, many temperatures
#
# The **temperature** $T$ divides the logits before the softmax. The **teacher** is the convolutional network of lesson 01, and we take a 9 that leans like a 4 from the **transfer set**, the images on which its students will learn.
#
# Under each of its answers we draw what a **student** feels, with the factor $T^2$ of lesson 01 in the loss. Imagine one that knows nothing yet: all its logits are 0, it gives each of the ten classes a tenth. Gradient descent then pushes
# its logits up where the teacher's probability is above a tenth, and down where it is below.

# %% tags=["slide:answer", "slide-output"]
scale = dict(
    count=lesson.pick(smoke=600, quick=10_000, full=50_000),  # images in the transfer set
    teacher_epochs=lesson.pick(smoke=1, quick=8, full=20),
    teacher_count=lesson.pick(smoke=600, quick=None, full=None),  # images the teacher is trained on; None: all 50,000
)
mnist = kd.load("mnist")
train, validation = kd.hold_out(mnist.train)  # the last 10,000 training images, kept for every choice made on the way
transfer = train[: scale["count"]]


def teacher(seed, count, teacher_epochs, teacher_count, part="test"):
    """A trained teacher's logits for the transfer set and for the judged images, and which of these it classifies correctly."""
    settings = dict(dataset="mnist", epochs=teacher_epochs, seed=seed, count=count, teacher_count=teacher_count, part=part)
    return kd.run(kd.teachers.answers, **settings)


logits = teacher(seed=first_seed, **scale)["logits"]  # [count, 10]
fours = F.softmax(logits / 4, dim=1)[:, 4] + (logits.argmax(dim=1) == 9)  # most of a 4 among the 9s that the teacher calls 9
leaning = torch.where(transfer.labels == 9, fours, -1.0).argmax().item()


def draw_answer(above, below, teacher_logits, temperature):
    """Bars of a teacher's softened answer, and of the push that a student with logits 0 gets from the loss with T²."""
    p = F.softmax(teacher_logits / temperature, dim=0)
    push = temperature * (p - 1 / len(p))  # minus the gradient of T² · KL, T² · (p - q)/T
    colours = [kd.plots.COLOURS["hard"] if k == 9 else kd.plots.COLOURS["soft"] if k == 4 else "#9fb8c8" for k in range(len(p))]
    above.bar(range(len(p)), p, color=colours)
    above.set(ylim=(0, 1), xticks=[0, 4, 9], title=f"T = {temperature:g}")
    below.bar(range(len(p)), push, color=colours)
    below.axhline(0, color="black", linewidth=0.8)
    below.set(ylim=(-1.5, 2.6), xticks=[0, 4, 9], xlabel="class")


shown = [0.3, 1, 4, 20, 80]
figure, axes = plt.subplots(2, 1 + len(shown), figsize=(8, 3.7), sharey="row")
for axis in axes[:, 0]:
    axis.remove()
picture = figure.add_subplot(2, 1 + len(shown), 1)
picture.imshow(transfer.images[leaning, 0], vmin=0)
picture.axis("off")
picture.set_title("label 9", fontsize=10, fontweight="normal")
for column, temperature in enumerate(shown, 1):
    draw_answer(axes[0, column], axes[1, column], logits[leaning], temperature)
for row, text in enumerate(("teacher's\nprobability", "push on the\nstudent's logits")):
    axes[row, 1].set_ylabel(text)
    axes[row, 1].tick_params(labelleft=True)
figure.suptitle("Hot answers look empty. The push they give does not", fontsize=11, fontweight="bold", x=0.01, ha="left")
kd.plots.show(
    figure,
    "A handwritten nine and, for five temperatures from 0.3 to 80, two bar charts over the ten classes. Above: the teacher's softened probabilities, "
    "at 0.3 nearly all on class 9, at 80 nearly equal. Below: the push on the ten logits of a student that knows nothing, with the factor T "
    "squared; class 9 is orange, class 4 blue.",
)

# %% [markdown]
# From left to right the bars above lose their shape. The bars below do not: they become a picture of the teacher's *logits*, each class as loud as its logit is far from the mean, however unlikely it is. At low temperatures all classes that the teacher holds for impossible go down alike, whatever it
# thinks of each of them. That is the whole choice: **how much attention the student pays to classes that the teacher already holds for nearly impossible.**
#
# In JupyterLab you can move the temperature yourself; elsewhere the picture above says it all.


# %%
def temperature_slider(teacher_logits):
    """A slider that redraws the two bar charts; the picture is a PNG in an image widget."""
    slider = ipywidgets.FloatLogSlider(value=4.0, base=10, min=-1, max=2, step=0.02, description="T", readout_format=".2f")
    image = ipywidgets.Image(format="png", width=430)

    def redraw(change):
        figure, (above, below) = plt.subplots(2, 1, figsize=(4.6, 4))
        draw_answer(above, below, teacher_logits, slider.value)
        above.set(title=f"T = {slider.value:.2f}", ylabel="probability")
        below.set(ylabel="push, with T²")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        plt.close(figure)
        image.value = buffer.getvalue()

    slider.observe(redraw, names="value")
    redraw(None)
    return ipywidgets.VBox([slider, image])


widget = temperature_slider(logits[leaning])
display({**widget._repr_mimebundle_(), "text/plain": "[a slider for T, alive in JupyterLab: run this cell]"}, raw=True)

# %% [markdown] tags=["slide:limit"]
# ## From the ends to the formula
#
# Write $z$ for the student's logits and $v$ for the teacher's, $K$ numbers each, and
#
# $$ q_k = \frac{\exp(z_k/T)}{\sum_j \exp(z_j/T)}, \qquad p_k = \frac{\exp(v_k/T)}{\sum_j \exp(v_j/T)}. $$
#
# **$T \to 0$.** The largest logit takes all: the answer is a vote, and a student of such targets learns from labels, the teacher's.
#
# **$T \to \infty$.** Each class gets $1/K$. What tells the classes apart shrinks like $1/T$: with $\hat v_k = v_k - \frac1K\sum_j v_j$, the logits **centred** for each image, $p_k \approx \frac1K(1 + \hat v_k/T)$.
#
# **Derivative.** From $\partial q_k/\partial z_j = q_k(\delta_{kj} - q_j)/T$ ($\delta_{kj}$ is 1 for $k = j$, else 0) follows the gradient of the divergence,
#
# $$ \frac{\partial}{\partial z_k} \mathrm{KL}(p\,\|\,q) = \frac{q_k - p_k}{T} \;\approx\; \frac{\hat z_k - \hat v_k}{K\,T^2} \quad\text{for high } T. $$
#
# One factor $1/T$ is the chain rule, the other one sits in the difference $q_k - p_k$. This is why the loss carries $T^2$.
#
# **What remains.** With $T^2$ in front, the gradient tends to $(\hat z_k - \hat v_k)/K$, and that is the gradient of
#
# $$ \lim_{T\to\infty} T^2\, \mathrm{KL}(p\,\|\,q) = \frac{1}{2K} \sum_k (\hat z_k - \hat v_k)^2 : $$
#
# half the mean squared difference of centred logits. A hot softmax is regression. Hinton, Vinyals and Dean show this in section 2.1 for logits of mean zero; centring makes it true for all, because adding a number to all logits of an image changes no probability.
#
# <details><summary>How fast: the next term</summary>
#
# Let $A(x) = \log\sum_k \exp x_k$. Then $\mathrm{KL}(p\,\|\,q) = A(z/T) - A(v/T) - \sum_k p_k (z_k - v_k)/T$, and $p$ is the gradient of $A$ at $v/T$. Around 0, $A(x) = \log K + \bar x + \frac{1}{2K}\sum_k \hat x_k^2 + \frac{1}{6K}\sum_k \hat x_k^3 + \dots$ (the cumulants of
# $x_k$ for a class drawn evenly). The second-order term gives the limit. The third-order term gives, with $d_k = \hat z_k - \hat v_k$,
#
# $$ T^2\,\mathrm{KL}(p\,\|\,q) = \frac{1}{2K}\sum_k d_k^2 + \frac{1}{T}\cdot\frac{1}{6K}\sum_k d_k^2\,(\hat z_k + 2\hat v_k) + O(T^{-2}). $$
#
# So the difference from the limit falls like $1/T$, unless that sum happens to vanish.
# </details>


# %%
def centred(logits):
    return logits - logits.mean(dim=1, keepdim=True)


def high_temperature_limit(student_logits, teacher_logits):
    difference = centred(student_logits) - centred(teacher_logits)
    return 0.5 * difference.pow(2).mean(dim=1).mean()  # over classes, then over images


def next_term(student_logits, teacher_logits):
    """What T² · KL exceeds the limit by, times T, for each image."""
    z, v = centred(student_logits), centred(teacher_logits)
    return ((z - v).pow(2) * (z + 2 * v)).mean(dim=1) / 6


generator = torch.Generator().manual_seed(0)
some_student, some_teacher = (4 * torch.randn(2, 32, 10, generator=generator, dtype=torch.float64) + 3).unbind()
limit = high_temperature_limit(some_student, some_teacher)
assert torch.allclose(limit, 0.5 * kd.losses.logit_matching_loss(centred(some_student), centred(some_teacher)))
assert torch.allclose(limit, kd.losses.soft_target_loss(some_student, some_teacher, 1e5), rtol=1e-3)
z = some_student[0].clone().requires_grad_()
derivative = torch.autograd.functional.jacobian(lambda z: F.softmax(z / 3, dim=0), z)  # [10, 10], T = 3
q = F.softmax(z / 3, dim=0)
assert torch.allclose(derivative, (torch.diag(q) - torch.outer(q, q)) / 3)

# %% [markdown]
# The limit equals half the package's logit-matching loss of centred logits, the package's soft loss at $T = 10^5$ comes close to it, and the derivative is right too. Now with numbers for paper and pencil. Student (1, 2, 0) and teacher (6, 2, −2) become (0, 1, −1) and (4, 0, −4) when centred, the differences are −4, 1, 3, their squares add up to 26, and
# the limit is 26/6. The next term is (16 · 8 + 1 · 1 − 9 · 9)/18 = 48/18, divided by $T$.

# %% tags=["nbval-check-output"]
student_logits, teacher_logits = torch.tensor([[1.0, 2.0, 0.0]]).double(), torch.tensor([[6.0, 2.0, -2.0]]).double()
exact = high_temperature_limit(student_logits, teacher_logits).item()
print(f"limit {exact:.3f} · next term {next_term(student_logits, teacher_logits).item():.3f} / T")
temperatures = [10, 100, 1000, 10_000]
above = [kd.losses.soft_target_loss(student_logits, teacher_logits, T).item() - exact for T in temperatures]
for T, difference in zip(temperatures, above):
    print(f"T = {T:6,}: T² · KL = {exact + difference:.4f}, above the limit by {difference:.5f} = {T * difference:.1f} / T")
print(f"slope in a log-log plot, from T = 100 on: {np.polyfit(np.log(temperatures[1:]), np.log(above[1:]), 1)[0]:.1f}")

# %% [markdown]
# And on real answers: our teacher, and a student after its first epoch. Everything is computed twice, in double and in single precision.

# %%
few = transfer[:2000] if len(transfer) > 2000 else transfer
young = kd.models.mlp(784, 300, 300, 10, seed=first_seed)
kd.fit(young, few, kd.losses.hard_labels(), epochs=1, batch_size=128, learning_rate=2e-3, seed=first_seed)
young_logits, few_logits = kd.predict_logits(young, few.images), logits[: len(few)]


def divergence(student_logits, teacher_logits, temperature):
    """T² · KL(teacher‖student) for each image, [N]."""
    log_q, log_p = (F.log_softmax(x / temperature, dim=1) for x in (student_logits, teacher_logits))
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1)


temperatures = np.logspace(0, 4, 25)
z, v = young_logits.double(), few_logits.double()
limits = 0.5 * (centred(z) - centred(v)).pow(2).mean(dim=1)
double = np.array([(divergence(z, v, T) - limits).abs().mean().item() for T in temperatures])
single = np.array([(divergence(z.float(), v.float(), T).double() - limits).abs().mean().item() for T in temperatures])
predicted = next_term(z, v).abs().mean().item() / temperatures
worse = next((T for T, d, s in zip(temperatures, double, single) if s > 2 * d and T > 10), None)

figure, axis = plt.subplots(figsize=(7, 3.4))
axis.loglog(temperatures, predicted, color="black", linewidth=1, linestyle="--")
axis.loglog(temperatures, single, "s", markersize=4, color=kd.plots.COLOURS["control"])
axis.loglog(temperatures, double, "o", markersize=5, color=kd.plots.COLOURS["soft"])
axis.annotate("double precision", (temperatures[-1], double[-1]), xytext=(-10, -4), textcoords="offset points", ha="right",
              color=kd.plots.COLOURS["soft"], fontweight="bold")  # fmt: skip
text = f"single precision:\ntwice the distance at T ≈ {worse:,.0f}" if worse else "single precision"
axis.annotate(text, (temperatures[-1], single[-1]), xytext=(-45, -14), textcoords="offset points", ha="right", color="#75604f", fontweight="bold")
axis.annotate("next term / T", (temperatures[1], predicted[1]), xytext=(6, 4), textcoords="offset points")
axis.axhline(limits.mean().item(), color="0.6", linewidth=1)
axis.annotate("size of the limit itself", (temperatures[-1], limits.mean().item()), xytext=(0, 4), textcoords="offset points", color="0.35", ha="right")
axis.set_xlim(right=temperatures[-1] * 1.05)
axis.set(xlabel="temperature T", ylabel="|T² · KL − limit|, mean")
slope = np.polyfit(np.log(temperatures[12:]), np.log(double[12:]), 1)[0]
axis.set_title(f"The distance from regression falls like T to the power {slope:.2f}")
kd.plots.show(
    figure,
    "The mean absolute difference between T squared times the divergence and its limit, against the temperature, both axes logarithmic. "
    "Double precision follows the dashed line of the predicted next term over T at high temperatures; single precision leaves it, because nearly "
    "equal probabilities lose their digits.",
)

# %% [markdown]
# On the right the blue dots should lie on the dashed line: then the rate is right, and so is its factor. Look at the other end as well: compare the dots at the temperatures people use with the grey line, and you see how far $T = 20$ still is from regression.
#
# The brown squares are a warning about arithmetic. At very high temperatures all probabilities are nearly equal, their differences disappear in the rounding, and $T^2$ makes the rounding errors large again. (The loss's value suffers first; its gradient, a plain difference of probabilities, keeps more digits.) If you want the limit, use its formula.
#
# ## How much is said, and how loudly
#
# Two things change with $T$: how much the targets say beyond the first choice, and how large the gradient is. The entropy of an answer splits exactly into two: is it the first choice or not, and if not, which one is it? Here $p_1$ is the largest probability, $H$ the entropy, and $h(x) = -x\log x-(1-x)\log(1-x)$.
#
# $$ H(p) = \underbrace{h(p_1)}_{\text{first choice or not}} + \underbrace{(1-p_1)\, H(p_2, \dots, p_K \mid \text{not the first})}_{\text{which one else}} $$

# %% tags=["slide:loud", "slide-output"]
temperatures = np.logspace(-0.5, 2, 26)  # 0.3 to 100, 1 among them
share, entropy, norms = [], [], {"with T²": [], "without T²": []}
for T in temperatures:
    p = F.softmax(v / T, dim=1)
    whole = -torch.xlogy(p, p).sum(dim=1)
    first = p.max(dim=1).values
    which_else = whole + torch.xlogy(first, first) + torch.xlogy(1 - first, 1 - first)
    entropy.append([whole.mean().item(), which_else.mean().item()])
    share.append((which_else.sum() / whole.sum()).item())
    gradient = (F.softmax(z / T, dim=1) - p) / T
    norms["without T²"].append(gradient.norm(dim=1).mean().item())
    norms["with T²"].append(T**2 * norms["without T²"][-1])
entropy = np.array(entropy) / np.log(10)

figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.3))
left.fill_between(temperatures, 0, entropy[:, 1], color=kd.plots.COLOURS["soft"], alpha=0.75)
left.fill_between(temperatures, entropy[:, 1], entropy[:, 0], color=kd.plots.COLOURS["hard"], alpha=0.6)
left.text(31, 0.3, "which one\nelse", color="white", fontweight="bold", ha="center")
left.annotate("first choice or not", (temperatures[14], entropy[14].mean()), xytext=(0.03, 0.62), textcoords="axes fraction", color="#a04000",
              arrowprops=dict(arrowstyle="-", color="#a04000"))  # fmt: skip
left.set(xscale="log", ylim=(0, 1), xlabel="temperature T", ylabel="mean entropy of the teacher's\nanswer, of the most possible")
half = next((T for T, s in zip(temperatures, share) if s > 0.5), None)
left.set_title("How much is said" + (f": above T ≈ {half:.1f}\nmost of it is about other classes" if half else ""), fontsize=10)
for name, values in norms.items():
    colour = kd.plots.COLOURS["soft" if name == "with T²" else "control"]
    right.loglog(temperatures, values, color=colour, linewidth=2)
    offset = (-62, 7 if name == "with T²" else -4)
    right.annotate(name, (temperatures[-1], values[-1]), xytext=offset, textcoords="offset points", color=colour, fontweight="bold")
right.set(xlabel="temperature T", ylabel="gradient on the logits of the\nyoung student, mean length")
one = int(np.abs(temperatures - 1).argmin())
fall = {name: values[-1] / values[one] for name, values in norms.items()}
right.set_title(f"How loudly: from T = 1 to {temperatures[-1]:.0f}\n× {fall['without T²']:.0e} without, × {fall['with T²']:.1f} with T²", fontsize=10)
for axis in (left, right):
    axis.set_xticks([1, 4, 20, 100], ["1", "4", "20", "100"])
kd.plots.show(
    figure,
    "Left: mean entropy of the teacher's softened answers against temperature, split into the doubt about the first choice and the information "
    "which other class it might be; the second part takes over as T grows. Right: length of the gradient with respect to the logits against T "
    "on logarithmic axes, with and without the factor T squared.",
)

# %% [markdown] tags=["slide:experiment"]
# Where the blue area begins, the answer begins to say something about the other classes; whether it is worth knowing, the picture does not say. Entropy alone is no measure of worth: uniform targets have most of it and say nothing. But the picture shows what a student of low temperature cannot hear.
#
# The right panel is the reason for $T^2$ once more, on real logits. How much it matters depends on your optimiser: Adam divides each gradient by its own usual size, so a *pure* soft loss hardly notices the factor. It decides as soon as the soft loss is
# *added* to something: labels, weight decay in the loss, a second teacher. Lesson 00 shows that accident.
#
# ## The experiment
#
# What would have to be true? If second choices carry knowledge, students who hear them ($T$ above 1) make fewer errors than students who hear mostly the vote ($T = 1$). If a hot softmax is regression on logits, then beyond some temperature nothing changes any
# more: the loss has reached its limit. That is a good limit for a student who can reproduce ten logits. A narrow student cannot; it has to choose, and at a high temperature it is told to care about all logits alike, the hopeless ones included. Then it should do best somewhere in
# between. Wrong would be: a wide student with a clear best temperature, or a narrow one without.
#
# Students have two hidden layers of 10, 30, 100 or 300 units. For each size and seed, one student learns from labels and eight from soft targets, at one temperature each; no labels are mixed in. All nine start from the same weights and see the same batches.


# %%
def arm_of(temperature):
    return "hard" if temperature is None else f"t{temperature:g}"


def students(width, seed, temperatures, epochs, learning_rate, count, teacher_epochs, teacher_count, part="test"):
    """A student of each temperature (None: from labels), all in one stack: who is right, and how sure, on the judged images at T = 1."""
    mnist = kd.load("mnist")
    train, validation = kd.hold_out(mnist.train)
    transfer, judged = train[:count], {"test": mnist.test, "validation": validation}[part]
    targets = teacher(seed=seed, count=count, teacher_epochs=teacher_epochs, teacher_count=teacher_count, part=part)["logits"]
    stack = kd.models.mlp_stack(784, width, width, 10, copies=len(temperatures), seed=seed)
    settings = dict(epochs=epochs, batch_size=128, learning_rate=learning_rate, seed=seed)
    record = kd.fit(stack, transfer, kd.losses.soft_targets_each(temperatures), targets=targets, **settings)
    outputs, own = (kd.predict_logits(stack, images) for images in (judged.images, transfer.images))  # [N, S, 10]
    for copy, temperature in enumerate(temperatures):
        confidence, answer = F.softmax(outputs[:, copy], dim=1).max(dim=1)
        record[f"correct {arm_of(temperature)}"] = answer == judged.labels
        record[f"confidence {arm_of(temperature)}"] = confidence
        record[f"transfer {arm_of(temperature)}"] = (own[:, copy].argmax(dim=1) != transfer.labels).double().mean().item()
    return record


# %% [markdown]
# The trial trains nine students at once. Small networks leave a processor idle: most of a step's time goes into starting the operations, not into doing them. `kd.models.mlp_stack` puts $S$ copies of a network side by side, the first layer as one matrix product for all, the others as a batched
# one. The loss is the *sum* over the copies, so the gradient of each is its own, and Adam treats every weight by itself: each copy takes the steps it would take alone. Believe it when you have seen it:

# %%
S = [None, 1.0, 4.0, 20.0]
settings = dict(epochs=1, batch_size=128, learning_rate=8e-3, seed=first_seed, targets=few_logits, dtype=torch.float32)
stack = kd.models.mlp_stack(784, 30, 30, 10, copies=len(S), seed=first_seed)
together = kd.fit(stack, few, kd.losses.soft_targets_each(S), **settings)
largest = 0.0
for copy, temperature in enumerate(S):
    alone = kd.models.mlp(784, 30, 30, 10, seed=first_seed)
    loss = kd.losses.hard_labels() if temperature is None else kd.losses.soft_targets(temperature)
    kd.fit(alone, few, loss, **settings)
    largest = max(largest, (stack.weight0.view(len(S), 30, 784)[copy] - alone.linear0.weight).abs().max().item())
assert largest < 1e-3
print(f"first-layer weights of {len(S)} students in a stack and alone differ by at most {largest:.0e}")

# %% [markdown]
# All temperatures of a size share learning rate and epochs, chosen on validation images with pilot seeds that are not used here: three learning rates for every size at ten epochs, and
# at thirty epochs three again for 30 units and one for 10. The narrow students get a higher rate and three times the epochs, so that
# time limits them less and their size more. With Adam and $T^2$ one rate for all temperatures is roughly fair: the sizes of the gradients do not differ much. A temperature that would have preferred another rate is at a disadvantage all the same; we cannot rule that out.

# %%
seeds = lesson.seeds(smoke=1, quick=5, full=10)
more_seeds = lesson.seeds(smoke=1, quick=10, full=20)  # for the narrow students of Hinton's remark, whose runs differ more
temperatures = lesson.pick(
    smoke=[None, 1.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0],
    quick=[None, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0, 80.0],
    full=[None, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 8.0, 10.0, 20.0, 40.0, 80.0],
)
training = dict(
    narrow=dict(epochs=lesson.pick(smoke=1, quick=30, full=60), learning_rate=2e-2),
    wide=dict(epochs=lesson.pick(smoke=1, quick=10, full=30), learning_rate=8e-3),
)
narrowest = kd.sweep(students, seeds=seeds, width=10, temperatures=[temperatures], **training["narrow"], **scale)
narrow = kd.sweep(students, seeds=more_seeds, width=30, temperatures=[temperatures], **training["narrow"], **scale)
wide = kd.sweep(students, seeds=seeds, width=[100, 300], temperatures=[temperatures], **training["wide"], **scale)


def one_row_an_arm(table):
    """From one row a stack to one row a student."""
    rows = []
    for run in table.to_dict("records"):
        for temperature in run["temperatures"]:
            arm = arm_of(temperature)
            row = {name: run[name] for name in ("width", "seed", "init", "order")} | {"arm": arm, "temperature": temperature}
            rows.append(row | {name: run[f"{name} {arm}"] for name in ("correct", "confidence", "transfer")})
    return pd.DataFrame(rows).assign(errors=lambda frame: [int((~correct).sum()) for correct in frame.correct])


runs = one_row_an_arm(pd.concat([narrowest, narrow, wide], ignore_index=True))
by_width = {width: runs[runs.width == width] for width in (10, 30, 100, 300)}
soft_arms = [arm_of(T) for T in temperatures if T is not None]

# %% tags=["main-figure", "slide:main", "slide-output"]
figure, axes = plt.subplots(1, 2, figsize=(8, 3.9))
hot = [T for T in temperatures if T]
best = {}
for axis, width in zip(axes, (30, 300)):
    table = by_width[width].pivot(index="seed", columns="arm", values="errors")
    mean = table[soft_arms].mean()
    best[width] = hot[int(mean.to_numpy().argmin())]
    for _, row in table.iterrows():
        axis.plot(hot, row[soft_arms], "o", markersize=3.5, color=kd.plots.COLOURS["soft"], alpha=0.4, markeredgewidth=0)
    axis.errorbar(hot, mean, [kd.plots.half_width(table[arm]) for arm in soft_arms], fmt="o-", markersize=5, capsize=3, color=kd.plots.COLOURS["soft"])
    labelled = table["hard"].mean()
    axis.axhspan(labelled - kd.plots.half_width(table["hard"]), labelled + kd.plots.half_width(table["hard"]), color=kd.plots.COLOURS["hard"], alpha=0.2)
    axis.axhline(labelled, color=kd.plots.COLOURS["hard"], linewidth=1.5)
    axis.text(0.98, 0.95, f"from labels: {labelled:.0f}", transform=axis.transAxes, ha="right", color=kd.plots.COLOURS["hard"], fontweight="bold")
    low, high = table.to_numpy().min(), table.to_numpy().max()
    axis.set_ylim(low - 0.3 * (high - low), high + 0.25 * (high - low))
    said = (2.5, 4) if width == 30 else (8, 100)
    bottom = low - 0.17 * (high - low)
    axis.plot(said, [bottom] * 2, color=kd.plots.COLOURS["published"], linewidth=4, solid_capstyle="butt")
    axis.plot(np.sqrt(said[0] * said[1]), bottom, marker="D", color=kd.plots.COLOURS["published"], markersize=6)
    text = "Hinton 2015: best here" if width == 30 else "Hinton 2015: all alike here"
    axis.annotate(text, (np.sqrt(said[0] * said[1]), bottom), xytext=(0, -14), textcoords="offset points", ha="center", fontsize=9, color="#007a5a")
    axis.set(xscale="log", xlabel="temperature T", xlim=(0.85, 100))
    axis.set_xticks([1, 2, 3, 5, 10, 20, 40, 80], ["1", "2", "3", "5", "10", "20", "40", "80"])
    axis.minorticks_off()
    alike = mean[[arm_of(T) for T in hot if T > 8]]
    found = f"best at T = {best[width]:g}" if width == 30 else f"T > 8 within {alike.max() - alike.min():.0f} errors"
    axis.set_title(f"{width} units a layer: {found}", fontsize=10)
axes[0].set_ylabel("errors among 10,000 test images")
kd.plots.show(
    figure,
    "Two panels of test errors against the temperature: students with 30 and with 300 units in each hidden layer. Every run is a dot, the line "
    "joins the means with their 95 percent intervals over seeds, the orange band is the student from labels. Green bars mark the temperatures "
    "that Hinton, Vinyals and Dean name. "
    + "; ".join(f"{w} units: best at T = {best[w]:g}" for w in best),
)

# %% [markdown]
# Look at the shapes, each panel on its own scale. Where does the curve come down from $T = 1$, and does it come up again on the right? Does it cross the line of the labels? (The green bars are ranges named in the paper, not measured points.)
#
# Three cards on this. The first two judge the wide students. The second asks of *every* pair of temperatures above 8 whether it differs by less than the margin: the largest difference decides. For such a claim "no difference shown" says only that 0 lies in the interval. What counts is that the whole interval
# stays inside the margin. The third card compares T = 3 with 1 and 20 only; how sharp the optimum is, the neighbours in the map below must say.

# %% tags=["slide", "slide-output"]
kd.judge("03-warm-beats-one", by_width[300])

# %% tags=["slide", "slide-output"]
kd.judge("03-wide-students-do-not-care", by_width[300])

# %% tags=["slide", "slide-output"]
kd.judge("03-narrow-students-do", by_width[30])

# %% [markdown]
# What the cards do not say: one data set, one teacher architecture, 10,000 images in the quick profile where the paper had 60,000. And "alike" means that the whole interval lies inside the margin: it is a statement about this margin, set at 50, a little less than half of what labels
# lost against the best temperature in the pilot. A practitioner who fights for the last ten errors has another one. (Of the 30-unit students there are ten seeds, of the others five.)
#
# ## Size against temperature
#
# If the best temperature is a matter of what a student can hold, it should rise with its size. For each size, the map shows how many more errors each temperature costs than the best one of that size. A small ring marks cells that the
# seeds cannot tell from the best: the 95 % interval of the paired difference contains 0. As the best is itself chosen from the same runs, this is a lower bound on the doubt.

# %% tags=["slide:size", "slide-output"]
widths = list(by_width)
cost, unsure = np.zeros((len(widths), len(hot))), np.zeros((len(widths), len(hot)), bool)
for row, width in enumerate(widths):
    table = by_width[width].pivot(index="seed", columns="arm", values="errors")[soft_arms]
    top = table.mean().idxmin()
    difference = table.sub(table[top], axis=0)
    cost[row] = difference.mean()
    unsure[row] = [difference[arm].mean() <= kd.plots.half_width(difference[arm]) for arm in soft_arms]
columns = range(len(hot))

figure, axis = plt.subplots(figsize=(7, 3.2))
image = axis.imshow(np.sqrt(cost), cmap="Blues", aspect="auto")
for row, width in enumerate(widths):
    for column in columns:
        dark = np.sqrt(cost[row, column]) > 0.6 * np.sqrt(cost).max()
        axis.text(column, row, f"+{cost[row, column]:.0f}" if cost[row, column] else "best", ha="center", va="center", color="white" if dark else "black",
                  fontweight="normal" if cost[row, column] else "bold")  # fmt: skip
        if unsure[row, column] and cost[row, column]:
            axis.plot(column + 0.36, row - 0.32, "o", markersize=5, markerfacecolor="none", markeredgecolor="white" if dark else "black")
axis.set(xticks=columns, yticks=range(len(widths)), xlabel="temperature T", ylabel="units a layer")
axis.set_xticklabels([f"{T:g}" for T in hot])
axis.set_yticklabels([f"{width}\nlabels {by_width[width][by_width[width].arm == 'hard'].errors.mean():,.0f}" for width in widths])
axis.spines[:].set_visible(False)
axis.tick_params(length=0)
tops = [hot[int(row.argmin())] for row in cost]
axis.set_title("Best T by units a layer: " + " · ".join(f"{width} → {T:g}" for width, T in zip(widths, tops)))
kd.plots.show(
    figure,
    "A heat map, student size by temperature: how many more test errors than at the best temperature of that size, mean over the "
    "seeds. The best cell of each row says so; rings mark cells that the seeds cannot tell from it.",
)

# %%
choices = runs[(runs.arm != "hard") & runs.seed.isin(seeds)].loc[lambda frame: frame.groupby(["width", "seed"]).errors.idxmin()].copy()
choices = choices.assign(arm=[f"n{width}" for width in choices.width], log2_best=np.log2(choices.temperature.astype(float)))
for width in widths:
    print(f"{width:3d} units, best temperature of each seed: {', '.join(f'{T:g}' for T in sorted(choices[choices.width == width].temperature))}")
kd.judge("03-best-t-rises", choices)

# %% [markdown]
# The seeds' own best temperatures scatter: between neighbours of nearly equal worth, the noise of 10,000 test images decides. Read the row, not the winner. Where a seed's best lies at the edge of our grid, its true best may lie beyond. And mind the training: 10 and 30 units share one recipe, 100 and 300 another. Within each pair only the size
# differs, between the pairs the epochs and the learning rate do as well: look which step of the card above crosses from one recipe to the other.
#
# Is it really the size? A student could also lose at high $T$ because it learns the transfer set by heart and fails on new images. Then its errors on the *transfer set* would stay low. If it cannot follow its targets in the first place, they rise together with the test errors.

# %%
table = runs.groupby(["width", "arm"]).transfer.mean().unstack()[["hard", *soft_arms]] * 10_000
print("errors per 10,000 images of the transfer set itself, mean over seeds")
print(table.round(0).astype(int).to_string())
own = np.mean([10_000 * (teacher(seed=s, **scale)["logits"].argmax(dim=1) != transfer.labels).double().mean().item() for s in seeds])
print(f"their teachers: {own:.0f}")

# %% [markdown]
# Read each row against the same row of the heat map. Where both rise to the right, the student makes more mistakes even on images whose targets it saw in every epoch: it did not fit, for want of room or of steps; the table cannot tell which, and it counts errors against the labels, not the distance
# from the targets. Compare 30 with 100 units before you believe in it. Where the transfer errors rise and the test errors do not, the high temperature may
# only have kept the student from learning its images by heart. And look at the column of labels: is the student who fits the transfer set best also the one who does best on new images?
#
# ## Sure, and right?
#
# Dark knowledge is knowledge about doubt. Does the student inherit it? A network is **calibrated** when it is right as often as it says: of the answers it gives with 80 % confidence (the largest probability), 80 % are right. The **reliability diagram** plots the one against the other in bins of confidence, the
# **expected calibration error** (ECE) is the distance, averaged over the bins, each weighted by its number of images. We use 15 equally wide bins, as Guo et al. (2017). All students are asked at $T = 1$, whatever temperature they learned at.

# %%
calibrated = [*by_width[300].to_dict("records")]
for s in seeds:
    answers = teacher(seed=s, **scale)
    confidence, answer = F.softmax(answers["judged_logits"], dim=1).max(dim=1)
    calibrated.append({"arm": "teacher", "seed": s, "confidence": confidence.numpy(), "correct": answers["correct"].numpy()})
calibrated = pd.DataFrame(calibrated)
calibrated["ece"] = [100 * kd.training.calibration_error(torch.tensor(c), torch.tensor(r)) for c, r in zip(calibrated.confidence, calibrated.correct)]

shown = {arm: kd.plots.COLOURS[role] for arm, role in (("hard", "hard"), ("t20", "soft"), ("teacher", "teacher"))} | {"t1": "#56b4e9"}
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), width_ratios=[1, 1.25])
left.plot([0, 1], [0, 1], color="0.75", linewidth=1)
for arm, colour in shown.items():
    mine = calibrated[calibrated.arm == arm]
    confidence, correct = np.concatenate([*mine.confidence]), np.concatenate([*mine.correct])
    place = np.clip(np.ceil(15 * confidence).astype(int) - 1, 0, 14)
    filled = [b for b in range(15) if (place == b).sum() >= 20]
    left.plot([confidence[place == b].mean() for b in filled], [correct[place == b].mean() for b in filled], "o-", markersize=3.5, linewidth=1.2, color=colour)
left.set(xlim=(0.2, 1.02), ylim=(0.1, 1.04), xlabel="confidence", ylabel="share of right answers", aspect="equal")
left.set_title("Above the line: too modest,\nbelow it: too sure", fontsize=10)
order = ["hard", *soft_arms, "teacher"]
for position, arm in enumerate(order):
    values = calibrated[calibrated.arm == arm].ece.to_numpy()
    colour = shown.get(arm, kd.plots.COLOURS["control"])
    right.scatter(np.full(len(values), position), values, s=14, color=colour, alpha=0.5, linewidths=0)
    right.errorbar(position + 0.2, values.mean(), kd.plots.half_width(values), fmt="o", markersize=5, capsize=3, color=colour)
right.set_xticks(range(len(order)), ["labels", *(f"{T:g}" for T in hot), "\nteacher"])
for position, arm in enumerate(order):
    if arm in shown:
        right.get_xticklabels()[position].set_color(shown[arm])
        right.get_xticklabels()[position].set_fontweight("bold")
right.set(ylim=(0, None), xlabel="learned at T", ylabel="ECE in % (asked at T = 1)")
mean_ece = calibrated.groupby("arm").ece.mean()
title = f"ECE from labels {mean_ece.hard:.1f} %, at T = 1: {mean_ece.t1:.1f} %,\nat T = 20: {mean_ece.t20:.1f} %, their teacher {mean_ece.teacher:.1f} %"
right.set_title(title, fontsize=10)
kd.plots.show(
    figure,
    "Left: reliability diagram, share of right test answers against confidence in 15 bins, for students with 300 units from labels, at T = 1 and "
    "T = 20, and for the teacher, all seeds together, bins of at least 20 answers; the diagonal is perfect calibration. Right: expected calibration "
    "error of every run for all arms, with means and 95 percent intervals.",
)
kd.judge("03-calibration", calibrated)

# %% [markdown]
# The colours of the words under the right panel are those of the lines on the left. A network that is mostly sure has most of its answers in the last bin, and the middle of the diagram rests on few images: let the ECE speak and the diagram explain.
#
# Before you credit the temperature, compare *labels* with *1* on the right, and the lines of 1 and 20 on the left. And remember that a network which is nearly always sure lowers its ECE by making fewer errors: the card does not separate the two.
#
# ## What goes wrong in practice
#
# **Softmax twice.** A service returns probabilities, or a colleague stored them, and the loss expects logits. Nothing crashes: ten numbers in, ten numbers out. But numbers between 0 and 1, divided by 20 and put through a softmax, are nearly equal, and what is left of them is a vote. The third row below
# repairs it with what is there: $\log p$ are logits, up to a constant for each image that no softmax sees.

# %% tags=["slide:wrong", "slide-output"]
stored = F.softmax(logits, dim=1)  # what was kept
students_of = {}
for name, targets in (("probabilities as logits", stored), ("logits", logits), ("log of the probabilities", stored.clamp_min(1e-30).log())):
    model = students_of[name] = kd.models.mlp(784, 300, 300, 10, seed=first_seed)
    kd.fit(model, transfer, kd.losses.soft_targets(20.0), targets=targets, batch_size=128, seed=first_seed, **training["wide"])
    highest = F.softmax(targets / 20, dim=1).max(dim=1).values.mean()
    sure = F.softmax(kd.predict_logits(model, validation.images), dim=1).max(dim=1).values.mean()
    errors = int((~kd.correct(model, validation)).sum())
    print(f"{name:25s} mean top target {highest:.3f} · {errors:4d} validation errors · student's mean confidence at T = 1: {sure:.2f}")

# %% [markdown]
# Without the second row beside it, the first student's errors raise no alarm, as the largest target is still the largest. It has become a regression on probabilities, nearly a vote; and as its logits are taught to lie between 0 and 1, it is sure of nothing. Before you train, look at one row of
# targets and ask whether it adds up to 1; if it does, it holds no logits.
#
# **The temperature is left on.** Training is done at $T = 20$, and the evaluation code keeps dividing. Nobody notices, since the largest logit stays the largest. Then somebody uses the probabilities: "answer alone above 90 % confidence, else ask a person".

# %%
outputs = kd.predict_logits(students_of["logits"], validation.images)
for T, remark in ((20, "left on"), (1, "taken off")):
    confidence, answer = F.softmax(outputs / T, dim=1).max(dim=1)
    right_answers = answer == validation.labels
    ece = kd.training.calibration_error(confidence, right_answers)
    errors, alone = int((~right_answers).sum()), int((confidence > 0.9).sum())
    print(f"T = {T:2d} {remark:9s}: {errors:4d} errors of 10,000 · ECE {100 * ece:4.1f} % · answered alone: {alone:5d}")

# %% [markdown]
# The same errors, and confidences that mean nothing. The temperature belongs to the *loss*; a trained student is asked at $T = 1$.
#
# ## Exercises
#
# ### 1 · What is it that shrinks?
#
# A colleague adds a soft loss to a hard one. At $T = 2$ it helped, at $T = 20$ the soft part seems to be switched off. Write the gradient of the *plain* divergence, mean over the batch and without any $T^2$, with respect to the student's logits. No autograd needed: it is one line, and you can read off what is missing.


# %% tags=["exercise"]
def divergence_gradient(student_logits, teacher_logits, temperature):
    """[N, K] logits → [N, K]: the gradient of KL(teacher‖student) at `temperature`, mean over the N images."""
    q = F.softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits / temperature, dim=1)
    return ...


# %% tags=["solution"]
def divergence_gradient(student_logits, teacher_logits, temperature):
    """[N, K] logits → [N, K]: the gradient of KL(teacher‖student) at `temperature`, mean over the N images."""
    q = F.softmax(student_logits / temperature, dim=1)
    p = F.softmax(teacher_logits / temperature, dim=1)
    return (q - p) / (temperature * len(q))


# %%
kd.checks.lesson03.divergence_gradient(divergence_gradient);

# %% [markdown]
# When it is right, try it in a new cell: `divergence_gradient(young_logits, few_logits, 20.0).norm() / divergence_gradient(young_logits, few_logits, 40.0).norm()`. Guess first: one factor $1/T$ would give 2, two of them 4.
#
# ### 2 · As sure as right?
#
# Write the expected calibration error. Bin $b$ of $B$ holds the answers with confidence in $((b-1)/B,\, b/B]$; empty bins count nothing.


# %% tags=["exercise"]
def expected_calibration_error(confidence, right, bins):
    """[N] confidences and [N] bools → a number: |mean confidence - share right| of each bin, weighted by its share of the images."""
    place = (confidence * bins).ceil().clamp(min=1)
    error = 0.0
    for b in range(1, bins + 1):
        here = place == b
        if here.any():
            error += ...
    return error


# %% tags=["solution"]
def expected_calibration_error(confidence, right, bins):
    """[N] confidences and [N] bools → a number: |mean confidence - share right| of each bin, weighted by its share of the images."""
    place = (confidence * bins).ceil().clamp(min=1)
    error = 0.0
    for b in range(1, bins + 1):
        here = place == b
        if here.any():
            error += here.double().mean() * (confidence[here].mean() - right[here].double().mean()).abs()
    return error


# %%
kd.checks.lesson03.calibration(expected_calibration_error);

# %% [markdown]
# ### 3 · Choose a temperature and keep your honesty
#
# You have trained students at several temperatures, some seeds each, and counted errors on validation images and on test images. Which temperature do you recommend, and which number may stand beside it? Return the column of the temperature and the mean errors that you may report with it.


# %% tags=["exercise"]
def choose_temperature(validation_errors, test_errors):
    """Two tables [seeds, temperatures] → (the column to recommend, the mean errors to report for it)."""
    column = ...
    return column, ...


# %% tags=["solution"]
def choose_temperature(validation_errors, test_errors):
    """Two tables [seeds, temperatures] → (the column to recommend, the mean errors to report for it)."""
    column = validation_errors.mean(dim=0).argmin()
    return column, test_errors[:, column].mean()


# %%
kd.checks.lesson03.choose_temperature(choose_temperature);

# %% [markdown]
# The titles of the main figure, the heat map and the best temperatures below it break this rule on purpose: they are chosen on the test images they are shown on. That is why none of them carries a verdict.
#
# ## Takeaways
#
# - The temperature sets how much a student attends to classes that its teacher holds for nearly impossible. At 0 it sees a vote, at infinity every logit counts alike.
# - $T^2\,\mathrm{KL}$ tends to half the mean squared difference of centred logits, with an error of order $1/T$. The factor keeps the gradient's size; without it the soft part fades like $1/T^2$.
# - How high you can go seems to depend on the student's size: compare the two panels of the main figure at both ends. (Narrow and wide students also had different recipes.) The cards above say how far our runs bear out both of Hinton's remarks. Try a few values on validation images, spaced like 1, 3, 10, 30; finer steps need more seeds than most of us run.
# - Ask a trained student at $T = 1$, and look at its calibration if anyone will use its confidence.
#
# **Further reading.** Hinton, Vinyals & Dean, *Distilling the Knowledge in a Neural Network*, 2015, sections 2, 2.1 and 3 · Kim et al., *Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge Distillation*, 2021 (the limit, and where a low temperature
# wins; [lesson 04](04_logits.ipynb)) · Guo et al., *On Calibration of Modern Neural Networks*, 2017 (ECE, and a temperature with another purpose: set after training, to be as sure as right) · Cho & Hariharan, *On the Efficacy of Knowledge Distillation*, 2019 (students too small for their teachers).
