"""Teachers that come with the course, each a trial named by its recipe and seed, and measures of what one has learned."""

import torch

from kdcourse import data, lesson, losses, models, study, training


def convolutional_teacher(dataset: str, epochs: int, seed: int, count: int | None = None) -> dict:
    """A CNN of widths 16, 32, 64 trained on labels with images moved by up to 2 pixels; its weights and record.

    Trained on all but the last 10,000 training images (the first `count` of them where given).
    """
    train, _ = data.hold_out(data.load(dataset).train)
    model = models.cnn(16, 32, 64, seed=seed)
    record = training.fit(
        model,
        train if count is None else train[:count],
        losses.hard_labels(),
        epochs=epochs,
        batch_size=128,
        learning_rate=5e-3,
        seed=seed,
        augment=data.jitter(2),
    )
    return record | {"weights": model.state_dict()}


def rebuild(teacher: dict):
    """The network behind a convolutional teacher's result, ready to predict."""
    model = models.cnn(16, 32, 64)
    model.load_state_dict(teacher["weights"])
    return model.to(lesson.device()).eval()


def answers(dataset: str, epochs: int, seed: int, count: int, part: str = "test", teacher_count: int | None = None) -> dict:
    """A convolutional teacher's logits for the first `count` training images, and who of `part` it classifies correctly.

    part: "test", or "validation" (the last 10,000 training images) while anything is still being chosen.
    """
    whole = data.load(dataset)
    train, validation = data.hold_out(whole.train)
    judged = {"test": whole.test, "validation": validation}[part]
    model = rebuild(study.run(convolutional_teacher, dataset=dataset, epochs=epochs, seed=seed, count=teacher_count))
    judged_logits = training.predict_logits(model, judged.images)
    return {
        "logits": training.predict_logits(model, train.images[:count]),
        "judged_logits": judged_logits,
        "correct": judged_logits.argmax(dim=1) == judged.labels,
    }


def smoothed_teacher(dataset: str, epochs: int, seed: int, smoothing: float, count: int | None = None) -> dict:
    """The convolutional teacher of this seed, trained with label smoothing instead of plain labels: same initial weights, batches and shifts.

    smoothing: the share taken from the label and spread over all classes (Szegedy et al. 2016, section 7). Its weights and record.
    """
    # Written out beside the plain one on purpose: a shared body would change the recipe, and with it the name, of every shipped teacher.
    train, _ = data.hold_out(data.load(dataset).train)
    model = models.cnn(16, 32, 64, seed=seed)
    record = training.fit(
        model,
        train if count is None else train[:count],
        losses.label_smoothing(smoothing),
        epochs=epochs,
        batch_size=128,
        learning_rate=5e-3,
        seed=seed,
        augment=data.jitter(2),
    )
    return record | {"weights": model.state_dict()}


def spread_ratio(activations: torch.Tensor, labels: torch.Tensor) -> float:
    """How much images of one class differ, relative to how much classes differ: within-class over between-class variance.

    Activations `[N,D]`, labels `[N]`. Within: mean squared distance of an image to the mean of its class; between: of that mean to the mean of all.
    0 when every class is one point. Raises ValueError for a single class or lengths that differ. The decomposition is Fisher's, 1936.
    """
    classes, which = _classes(activations, labels)
    means = torch.stack([activations[which == c].mean(dim=0) for c in range(len(classes))])[which]
    within = (activations - means).pow(2).sum(dim=1).mean()
    between = (means - activations.mean(dim=0)).pow(2).sum(dim=1).mean()
    return float(within / between)


def _classes(values: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if values.ndim != 2 or labels.ndim != 1 or len(values) != len(labels):
        raise ValueError(f"got {tuple(values.shape)} and labels {tuple(labels.shape)}; expected [N, D] and [N]")
    classes, which = labels.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{len(classes)} class among the labels; expected at least 2")
    return classes, which


def template_plane(activations: torch.Tensor, templates: torch.Tensor) -> torch.Tensor:
    """Activations `[N,D]` of the penultimate layer, projected on the plane through three templates `[3,D]`: coordinates `[N,2]`.

    A template is a class's row of the last layer's weights. The basis is the QR decomposition of w₁ − w₃ and w₂ − w₃.
    Raises ValueError for shapes that do not fit. Source: Müller, Kornblith & Hinton 2019, section 2.
    """
    if (
        templates.ndim != 2
        or len(templates) != 3
        or activations.ndim != 2
        or activations.shape[1] != templates.shape[1]
    ):
        raise ValueError(
            f"activations {tuple(activations.shape)} and templates {tuple(templates.shape)}; expected [N, D] and [3, D]"
        )
    basis, _ = torch.linalg.qr((templates[:2] - templates[2]).T)
    return activations @ basis


def second_choices(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What logits `[N,K]` say about an image's other classes, beyond what they say of every image with its label: `[N,K-1]`.

    The logits of all classes but the label, without the row's mean (how sure) and without the mean over the images of that label (what the
    class is like). Raises ValueError for a single class or lengths that differ.
    """
    classes, _ = _classes(logits, labels)
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, labels[:, None], False)
    choices = logits[others].reshape(len(logits), -1)
    choices = choices - choices.mean(dim=1, keepdim=True)
    for label in classes:
        choices[labels == label] -= choices[labels == label].mean(dim=0)
    return choices
