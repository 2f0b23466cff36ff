"""Each control removes what it says and keeps the rest."""

import pytest
import torch

from kdcourse import controls

torch.manual_seed(0)
LOGITS, LABELS = torch.randn(200, 10) * 6, torch.randint(0, 10, (200,))


def entropy(logits, temperature=1.0):
    p = torch.softmax(logits.double() / temperature, 1)
    return -(p * p.log()).sum(1)


def test_shuffling_keeps_each_class_s_outputs_and_moves_nearly_all():
    shuffled = controls.shuffle_within_class(LOGITS, LABELS, 0)
    for label in range(10):
        before, after = LOGITS[label == LABELS].tolist(), shuffled[label == LABELS].tolist()
        assert sorted(before) == sorted(after)
    assert (shuffled == LOGITS).all(1).float().mean() < 0.15
    assert torch.equal(shuffled, controls.shuffle_within_class(LOGITS, LABELS, 0))
    assert not torch.equal(shuffled, controls.shuffle_within_class(LOGITS, LABELS, 1))


def test_permuting_keeps_top_class_and_entropy_and_moves_second_choices():
    permuted = controls.permute_non_targets(LOGITS, 0)
    top = LOGITS.argmax(1)
    assert torch.equal(permuted.argmax(1), top)
    assert torch.equal(permuted[torch.arange(200), top], LOGITS[torch.arange(200), top])
    assert torch.equal(permuted.sort(1).values, LOGITS.sort(1).values)
    second = LOGITS.topk(2).indices[:, 1] == permuted.topk(2).indices[:, 1]
    assert 0.03 < second.float().mean() < 0.25  # one in nine by chance


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_smoothing_has_each_example_s_entropy_and_no_second_choice(temperature):
    smoothed = controls.smooth_to_same_entropy(LOGITS, temperature)
    assert torch.allclose(entropy(smoothed, temperature), entropy(LOGITS, temperature), atol=1e-4)
    assert torch.equal(smoothed.argmax(1), LOGITS.argmax(1))
    others = smoothed.sort(1).values[:, :-1]
    assert (others.max(1).values - others.min(1).values).max() < 1e-4
    with pytest.raises(ValueError, match="temperature is 0"):
        controls.smooth_to_same_entropy(LOGITS, 0)


def test_a_certain_teacher_stays_finite():
    assert torch.isfinite(controls.smooth_to_same_entropy(torch.tensor([[500.0, 0.0, 0.0]]), 1.0)).all()
