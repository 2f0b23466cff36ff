"""A stack of networks is what its copies would be one by one: same start, same steps, nothing leaks from one to another."""

import pytest
import torch

from kdcourse import data, losses, models, training

WIDTHS = (784, 20, 12, 10)


@pytest.fixture(scope="module")
def split():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (96, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return data.Split(images, torch.randint(0, 10, (96,), generator=generator))


@pytest.fixture(scope="module")
def teacher(split):
    return 4 * torch.randn(len(split), 10, generator=torch.Generator().manual_seed(1))


SETTINGS = {"epochs": 3, "batch_size": 16, "learning_rate": 3e-3, "seed": 5, "dtype": torch.float32}


def stack_of(split, teacher, temperatures, settings=SETTINGS):
    stack = models.mlp_stack(*WIDTHS, copies=len(temperatures), seed=3)
    return stack, training.fit(stack, split, losses.soft_targets_each(temperatures), targets=teacher, **settings)


def test_copies_are_born_as_the_network_alone(split):
    alone, stack = models.mlp(*WIDTHS, seed=3), models.mlp_stack(*WIDTHS, copies=3, seed=3)
    one, all_of_them = (training.predict_logits(model, split.images) for model in (alone, stack))
    assert all_of_them.shape == (len(split), 3, 10)
    torch.testing.assert_close(all_of_them, one[:, None].expand(-1, 3, -1), rtol=1e-5, atol=1e-6)
    assert models.count_parameters(stack) == 3 * models.count_parameters(alone)


def test_every_copy_learns_as_it_would_alone(split, teacher):
    temperatures = [1.0, None, 20.0, 4.0]
    stack, record = stack_of(split, teacher, temperatures)
    together = training.predict_logits(stack, split.images)
    orders = {record["order"]}
    for copy, temperature in enumerate(temperatures):
        alone = models.mlp(*WIDTHS, seed=3)
        loss = losses.hard_labels() if temperature is None else losses.soft_targets(temperature)
        orders.add(training.fit(alone, split, loss, targets=teacher, **SETTINGS)["order"])
        torch.testing.assert_close(
            together[:, copy], training.predict_logits(alone, split.images), rtol=1e-4, atol=2e-4
        )
        torch.testing.assert_close(stack.weight0.view(4, 20, 784)[copy], alone.linear0.weight, rtol=0, atol=2e-5)
        torch.testing.assert_close(stack.weights[1][copy].T, alone.linear2.weight, rtol=0, atol=2e-5)
        torch.testing.assert_close(stack.biases[0][copy, 0], alone.linear1.bias, rtol=0, atol=2e-5)
    assert len(orders) == 1
    assert (together[:, 0] - together[:, 2]).abs().max() > 0.01, "copies at other temperatures differ"


def test_nothing_leaks_from_copy_to_copy(split, teacher):
    """The gradient of one copy's logits reaches its own weights alone, and neighbours do not change what a copy becomes."""
    stack = models.mlp_stack(*WIDTHS, copies=3, seed=3)
    stack(data.to_float(split.images[:8]))[:, 1].pow(2).sum().backward()
    for gradient in (stack.weight0.grad.view(3, -1), *(p.grad.flatten(1) for p in [*stack.weights, *stack.biases])):
        assert gradient[1].abs().max() > 0
        assert torch.equal(gradient[[0, 2]], torch.zeros_like(gradient[[0, 2]]))
    few = SETTINGS | {"epochs": 1}
    one, two = (
        training.predict_logits(stack_of(split, teacher, [4.0, other], few)[0], split.images) for other in (1.0, 60.0)
    )
    assert torch.equal(one[:, 0], two[:, 0])
    assert not torch.equal(one[:, 1], two[:, 1])


def test_the_loss_is_the_sum_of_the_single_ones(split, teacher):
    logits = torch.randn(len(split), 3, 10, generator=torch.Generator().manual_seed(2), requires_grad=True)
    batch = training.Batch(None, split.labels, None, teacher)
    total = losses.soft_targets_each([1.0, 20.0, None])(lambda _: logits, batch)
    single = [losses.soft_target_loss(logits[:, s], teacher, T) for s, T in enumerate((1.0, 20.0))]
    single.append(torch.nn.functional.cross_entropy(logits[:, 2], split.labels))
    torch.testing.assert_close(total, sum(single), rtol=1e-5, atol=1e-5)
    labels_alone = losses.soft_targets_each([None])(lambda _: logits[:, 2:], batch._replace(targets=None))
    torch.testing.assert_close(labels_alone, single[2])


def test_bad_input_is_refused(split, teacher):
    with pytest.raises(ValueError, match="copies is 0"):
        models.mlp_stack(*WIDTHS, copies=0)
    for temperatures in ([], [1.0, 0.0], [-2.0], [float("nan")]):
        with pytest.raises(ValueError, match="expected at least one, each positive"):
            losses.soft_targets_each(temperatures)
    batch = training.Batch(None, split.labels, None, teacher)
    loss = losses.soft_targets_each([1.0, 2.0])
    with pytest.raises(ValueError, match=r"expected \[N, 2, classes\]"):
        loss(lambda _: torch.zeros(len(split), 3, 10), batch)
    with pytest.raises(ValueError, match="NaN or infinity"):
        loss(lambda _: torch.full((len(split), 2, 10), float("nan")), batch)
    with pytest.raises(ValueError, match="no teacher's logits"):
        loss(lambda _: torch.zeros(len(split), 2, 10), batch._replace(targets=None))
    with pytest.raises(ValueError, match="labels run from"):
        losses.soft_targets_each([None])(
            lambda _: torch.zeros(len(split), 1, 10), batch._replace(labels=split.labels + 5)
        )
