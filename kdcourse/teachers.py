"""Teachers that more than one lesson uses, each a trial named by its recipe and seed."""

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
