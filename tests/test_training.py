"""The training loop: reproducible to the bit, paired streams, the right targets for the right images, honest errors."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdcourse import data, losses, models, training
from kdcourse.data import Split


def toy(n=60, k=3, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, size, size), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, k, (n,), generator=generator))


SETTINGS = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "seed": 3, "dtype": torch.float32}


def trained(loss=None, split=None, model=None, **changes):
    model = model or models.mlp(36, 8, 3, seed=1)
    split = toy() if split is None else split
    record = training.fit(model, split, loss or losses.hard_labels(), **(SETTINGS | changes))
    return record, torch.cat([p.detach().flatten() for p in model.parameters()])


def test_fit_equals_a_plain_loop_written_out():
    """Adam by hand in float64 on the same order of batches, with a constant learning rate."""
    split = toy()
    _, weights = trained(split=split, schedule="constant", optimizer=lambda p, lr: torch.optim.SGD(p, lr=lr))
    model, generator = models.mlp(36, 8, 3, seed=1).double(), models.stream(3, "order")
    for _ in range(2):
        for index in torch.randperm(60, generator=generator).split(16):
            loss = F.cross_entropy(model(split.images[index].double() / 255), split.labels[index])
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients):
                    parameter -= 1e-2 * gradient
    expected = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert torch.allclose(weights.double(), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_seed_gives_the_same_bits(dtype):
    def once():
        model = models.cnn(4, 8, classes=3, size=8, dropout=0.5, seed=1)
        return trained(split=toy(size=8), model=model, augment=data.jitter(1), dtype=dtype)

    (first, weights), (second, again) = once(), once()
    assert torch.equal(weights, again)
    assert (first["init"], first["order"], first["loss"]) == (second["init"], second["order"], second["loss"])


def test_the_seed_changes_the_order_and_only_the_constructor_the_weights():
    record, _ = trained()
    other, _ = trained(seed=4)
    assert record["order"] != other["order"]
    assert record["init"] == other["init"]
    assert trained(model=models.mlp(36, 8, 3, seed=2))[0]["init"] != record["init"]


def test_arms_of_one_seed_share_initial_weights_and_batch_order():
    """Pairing survives what arms differ in: the loss, a teacher, augmentation, dropout, another architecture (order only)."""
    split, teacher = toy(), models.mlp(36, 5, 3, seed=9)
    hard, _ = trained(split=split)
    soft, _ = trained(losses.soft_targets(4.0), split, targets=teacher)
    moved, _ = trained(split=split, augment=data.jitter(1))
    dropped, _ = trained(split=split, model=models.mlp(36, 8, 3, dropout=(0.2, 0.5), seed=1))
    wide, _ = trained(split=split, model=models.mlp(36, 9, 3, seed=1))
    assert hard["order"] == soft["order"] == moved["order"] == dropped["order"] == wide["order"]
    assert hard["init"] == soft["init"] == moved["init"]


def test_one_example_s_targets_stay_with_that_example():
    """Targets that encode the index arrive beside the images of that index, whatever the shuffling."""
    split = Split(
        torch.arange(50, dtype=torch.float32).reshape(50, 1, 1, 1).expand(50, 1, 2, 2).clone(), torch.arange(50)
    )
    seen = []

    def loss(model, batch):
        seen.append(batch.index)
        assert torch.equal(batch.targets[:, 0], batch.images[:, 0, 0, 0])
        assert torch.equal(batch.labels, batch.index)
        return model(batch.images).sum() * 0

    trained(loss, split, models.mlp(4, 2), targets=torch.arange(50.0).reshape(50, 1).expand(50, 2), epochs=1)
    assert sorted(torch.cat(seen).tolist()) == list(range(50))
    assert torch.cat(seen).tolist() != list(range(50))


def test_cached_answers_to_all_shifts_equal_the_live_teacher_s():
    split, teacher, augment = toy(), models.mlp(36, 5, 3, seed=9), data.jitter(1)
    shifts = [
        data.shift(split.images, torch.full((60,), v // 3 - 1), torch.full((60,), v % 3 - 1), 1) for v in range(9)
    ]
    cached = torch.stack([training.predict_logits(teacher, images) for images in shifts], dim=1)
    _, live = trained(losses.soft_targets(2.0), split, targets=teacher, augment=augment)
    _, recalled = trained(losses.soft_targets(2.0), split, targets=cached, augment=augment)
    assert torch.allclose(live, recalled, atol=1e-6)


def test_the_teacher_neither_learns_nor_updates_its_batch_statistics():
    teacher = models.cnn(4, classes=3, size=6, dropout=0.5, seed=9).train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    answers = []

    def loss(model, batch):
        answers.append(batch.targets)
        assert not batch.targets.requires_grad
        return losses.soft_target_loss(model(batch.images), batch.targets, 2.0)

    trained(loss, toy(), targets=teacher)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_one_cycle_rises_and_ends_near_zero():
    rates = []

    def watching(parameters, learning_rate):
        optimiser = torch.optim.SGD(parameters, lr=learning_rate)
        optimiser.register_step_post_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
        return optimiser

    trained(optimizer=watching, epochs=10)
    assert max(rates) == pytest.approx(1e-2, rel=0.05)
    assert rates[0] < 0.1 * max(rates)
    assert rates[-1] < 0.01 * max(rates)
    rates.clear()
    trained(optimizer=watching, schedule="constant")
    assert set(rates) == {1e-2}


def test_losses_are_computed_in_float32_also_under_bfloat16():
    """A student that equals its teacher has a divergence of 0, not the -0.5 that a log-softmax in bfloat16 may give."""
    split, seen = toy(), []
    teacher = models.mlp(36, 8, 3, seed=1)
    logits = training.predict_logits(teacher, split.images) * 20

    def loss(model, batch):
        student_logits = model(batch.images)
        value = losses.soft_target_loss(student_logits * 20, batch.targets, 20.0)
        seen.append(
            (student_logits.dtype, value.item(), (student_logits.detach() * 20 - batch.targets).abs().max().item())
        )
        return value * 0

    trained(loss, split, teacher, targets=logits, dtype=torch.bfloat16, weight_decay=0.0)
    assert {dtype for dtype, _, _ in seen} == {torch.float32}
    assert all(0 <= value < 1e-3 for _, value, _ in seen)
    assert max(gap for _, _, gap in seen) > 0, "the network itself did run in bfloat16"
    assert not teacher._forward_hooks
    both = nn.ModuleDict({"student": models.mlp(36, 8, 3, seed=1), "teacher": teacher})
    trained(
        lambda m, b: seen.append((m["student"](b.images).dtype, 0, 0)) or m["student"](b.images).sum(),
        split,
        both,
        dtype=torch.bfloat16,
    )
    assert seen[-1][0] == torch.float32


def test_the_record_says_what_was_run():
    record, _ = trained(watch=toy(seed=5), watch_every=3)
    assert record["steps"] == 2 * 4
    assert len(record["loss"]) == 8
    assert all(value == value for value in record["loss"])
    assert [step for step, _ in record["watched"]] == [3, 6, 8]
    assert record["dtype"] == "float32"
    assert record["threads"] == torch.get_num_threads()
    assert record["seconds"] > 0


def test_training_learns():
    split = toy(300)
    images = split.images.clone()
    images[torch.arange(300), 0, 0, split.labels] = 255
    images[:, 0, 0, :3] = images[:, 0, 0, :3] * (torch.nn.functional.one_hot(split.labels, 3)).byte()
    model = models.mlp(36, 16, 3, seed=0)
    training.fit(model, Split(images, split.labels), losses.hard_labels(), **(SETTINGS | {"epochs": 20}))
    assert training.correct(model, Split(images, split.labels)).float().mean() > 0.98


def test_a_diverging_loss_names_the_step_and_a_likely_cause():
    calls = []

    def loss(model, batch):
        calls.append(1)
        return model(batch.images).sum() * (float("nan") if len(calls) == 3 else 1.0)

    with pytest.raises(FloatingPointError, match=r"step 3: the loss is nan.*learning rate"):
        trained(loss)


def test_logits_that_overflow_are_named_with_their_step():
    with pytest.raises(ValueError, match="step 1: teacher logits contain NaN"):
        trained(losses.soft_targets(1.0), targets=torch.full((60, 3), float("inf")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"schedule": "cosine"}, "unknown schedule 'cosine'"),
        ({"targets": torch.zeros(59, 3)}, "59 targets for 60 examples"),
        ({"targets": torch.zeros(60, 3), "augment": data.jitter(1)}, "has to see the same augmented images"),
        ({"split": Split(torch.zeros(0, 1, 6, 6), torch.zeros(0))}, "examples is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        trained(**changes)


def test_predict_logits_leaves_the_model_as_it_was_and_uses_running_statistics():
    model = models.cnn(4, classes=3, size=6, dropout=0.5, seed=0).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    split = toy()
    together, apart = training.predict_logits(model, split.images, 60), training.predict_logits(model, split.images, 7)
    assert model.training
    assert torch.allclose(together, apart, atol=1e-5)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.equal(training.correct(model, split), together.argmax(1) == split.labels)


def test_no_progress_bar_for_short_runs(capsys):
    trained()
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_any_module_can_be_trained():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(36, 3)

        def forward(self, images):
            return self.layer(images.flatten(1))

    record, _ = trained(model=models.initialise(Own(), seed=0))
    assert record["steps"] == 8
