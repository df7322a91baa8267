from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from programs import language_task, linear_task
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.probes.learning.attainable import accuracy_of, attainable
from lrtune.probes.losses.loss_family import FAMILIES, declared_family

ZEROS = torch.zeros(4, 3)


def aim_of(loss: Any, inputs: Tensor, output: Tensor, target: Tensor) -> Any:
    """What one batch allows."""
    task = lrtune.Task(model=lambda: None, train=[0], loss=loss)
    return attainable(task, declared_family(loss), [(output, target)], [(inputs, target)])


@pytest.mark.parametrize(
    ("inputs", "labels", "accuracy", "loss"),
    [
        pytest.param([0, 1, 2, 3], [0, 1, 2, 0], 1.0, 0.0, id="all inputs differ"),
        pytest.param(
            [5, 5, 5, 5], [0, 0, 0, 1], 0.75, -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), id="one input"
        ),
        pytest.param([5, 5, 6, 6], [0, 1, 2, 2], 0.75, 0.5 * math.log(2), id="one pair conflicts"),
        pytest.param([5, 5, 6, 6], [1, 1, 2, 2], 1.0, 0.0, id="repeated and agreeing"),
    ],
)
def test_conflicting_labels(inputs: list[int], labels: list[int], accuracy: float, loss: float) -> None:
    """The ceiling is the most frequent label's share, the floor the labels' entropy given the input."""
    aim = aim_of(F.cross_entropy, torch.tensor(inputs).float()[:, None], ZEROS, torch.tensor(labels))
    assert aim.accuracy == pytest.approx(accuracy)
    assert aim.loss == pytest.approx(loss, rel=1e-4)
    assert aim.per_example


def test_squared_error_within_equal_inputs() -> None:
    """The floor of squared error is the variance that equal inputs leave, its ceiling the whole variance."""
    target = torch.tensor([[0.0], [2.0], [5.0], [5.0]])
    aim = aim_of(F.mse_loss, torch.tensor([[1.0], [1.0], [2.0], [3.0]]), torch.zeros(4, 1), target)
    assert (aim.accuracy, aim.loss) == (None, pytest.approx(0.5))
    assert aim.constant_loss == pytest.approx(float(target.var(correction=0)))


def test_ignored_labels_do_not_count() -> None:
    """Examples that the loss leaves out do not lower the ceiling."""
    labels = torch.tensor([0, 0, -100, 1])
    aim = aim_of(F.cross_entropy, torch.tensor([[1.0], [1.0], [1.0], [2.0]]), ZEROS, labels)
    assert (aim.accuracy, aim.loss) == (1.0, 0.0)


def test_language_models_by_their_prefix() -> None:
    """For tokens, what stands up to a position is the input: equal beginnings that part set the ceiling."""
    tokens = torch.tensor([[1, 2, 3], [1, 2, 4]])
    batch = {"tokens": tokens[:, :-1], "targets": tokens[:, 1:]}
    aim = attainable(language_task(), FAMILIES[0], [(torch.zeros(2, 2, 7), batch["targets"])], [batch])
    assert aim.accuracy == pytest.approx(0.75)
    assert aim.loss == pytest.approx(0.5 * math.log(2), rel=1e-4)
    assert not aim.per_example


@pytest.mark.parametrize("output", [None, {"logits": ZEROS}], ids=["none", "dict"])
def test_nothing_is_claimed_without_tensors(output: Any) -> None:
    """Where outputs or the family are unknown, neither ceiling nor floor is claimed."""
    aim = attainable(linear_task(), declared_family(F.mse_loss), [(output, ZEROS)], [(ZEROS, ZEROS)])
    assert (aim.accuracy, aim.loss, aim.constant_loss) == (None, None, None)
    assert attainable(linear_task(), None, [(ZEROS, ZEROS)], [(ZEROS, ZEROS)]).loss is None


@pytest.mark.parametrize(
    ("loss", "output", "target", "share"),
    [
        pytest.param(F.cross_entropy, [[1.0, 0.0], [1.0, 0.0]], [0, 1], 0.5, id="classes"),
        pytest.param(F.cross_entropy, [[1.0, 0.0], [1.0, 0.0]], [0, -100], 1.0, id="ignored"),
        pytest.param(
            F.cross_entropy, [[1.0, 0.0], [1.0, 0.0]], [[0.9, 0.1], [0.2, 0.8]], 0.5, id="probabilities"
        ),
        pytest.param(F.binary_cross_entropy_with_logits, [[0.3], [-0.3]], [[1.0], [1.0]], 0.5, id="logits"),
        pytest.param(F.binary_cross_entropy, [[0.3], [0.7]], [[0.0], [1.0]], 1.0, id="binary probabilities"),
    ],
)
def test_accuracies(loss: Any, output: Any, target: Any, share: float) -> None:
    """Lrtune's own accuracy is the share of right answers, of any kind of classification."""
    measure = accuracy_of(declared_family(loss))
    assert float(measure(torch.tensor(output), torch.tensor(target))) == pytest.approx(share)


def test_regressions_have_no_accuracy() -> None:
    """No accuracy is made up where it means nothing."""
    assert accuracy_of(declared_family(F.mse_loss)) is None
    assert accuracy_of(None) is None


TOKENS = torch.tensor([[1, 2, 3], [1, 2, 4]])
LANGUAGE_BATCHES = {
    "cloned": ({"tokens": TOKENS[:, :-1], "targets": TOKENS[:, 1:]}, TOKENS[:, 1:].clone()),
    "with a mask": (
        {"tokens": TOKENS[:, :-1], "mask": torch.ones(2, 2).long(), "targets": TOKENS[:, 1:]},
        TOKENS[:, 1:].clone(),
    ),
    "flattened": ({"tokens": TOKENS[:, :-1], "targets": TOKENS[:, 1:]}, TOKENS[:, 1:].flatten()),
    "shifted in the step": ({"tokens": TOKENS, "mask": torch.ones(2, 3).bool()}, TOKENS[:, 1:].clone()),
    "labels of their own": ({"tokens": TOKENS, "labels": TOKENS.clone()}, TOKENS[:, 1:].clone()),
    "one tensor": ([TOKENS], TOKENS[:, 1:].clone()),
}


@pytest.mark.parametrize(("batch", "target"), LANGUAGE_BATCHES.values(), ids=LANGUAGE_BATCHES)
def test_tokens_are_found_by_value(batch: Any, target: Tensor) -> None:
    """The target that a step hands out is a copy; the tokens are told from it and from masks by their values."""
    output = torch.zeros(*target.shape, 7)
    aim = attainable(language_task(), FAMILIES[0], [(output, target)], [batch])
    assert aim.accuracy == pytest.approx(0.75)
    assert aim.loss == pytest.approx(0.5 * math.log(2), rel=1e-4)
    assert not aim.per_example


def test_sequences_of_unknown_inputs_have_no_ceiling() -> None:
    """Where nobody can say what a position is predicted from, neither 100% nor a loss of 0 is promised."""
    batch = {"one": torch.randn(2, 5), "other": torch.randn(2, 4), "targets": TOKENS[:, 1:]}
    aim = attainable(
        language_task(), FAMILIES[0], [(torch.zeros(2, 2, 7), batch["targets"].clone())], [batch]
    )
    assert (aim.accuracy, aim.loss) == (None, None)
    assert aim.constant_loss is not None


@pytest.mark.parametrize(
    "loss", [F.binary_cross_entropy_with_logits, F.binary_cross_entropy], ids=["logits", "probabilities"]
)
def test_conflicting_bits(loss: Any) -> None:
    """Repeated inputs with other bits lower the ceiling and raise the floor, each element by itself."""
    inputs = torch.tensor([[5.0], [5.0], [6.0], [7.0]])
    target = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    aim = aim_of(loss, inputs, torch.full((4, 2), 0.5), target)
    assert aim.accuracy == pytest.approx(7 / 8)
    assert aim.loss == pytest.approx(math.log(2) / 4, rel=1e-4)


def test_a_floor_has_the_losss_own_scale() -> None:
    """Of a summed squared error the floor is a sum, too."""
    target = torch.tensor([[0.0], [2.0], [5.0], [5.0]])
    inputs = torch.tensor([[1.0], [1.0], [2.0], [3.0]])
    aim = aim_of(functools.partial(F.mse_loss, reduction="sum"), inputs, torch.zeros(4, 1), target)
    assert aim.loss == pytest.approx(2.0)


def test_accuracy_leaves_out_the_losss_own_index() -> None:
    """A padding label of 0 that the loss ignores counts neither as right nor as wrong."""
    measure = accuracy_of(FAMILIES[0], ignore=0)
    output = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert float(measure(output, torch.tensor([1, 0, 1]))) == 0.5


@pytest.mark.parametrize(
    ("pairs", "batches"),
    [
        pytest.param([(torch.zeros(3), torch.tensor(1))], [(ZEROS, torch.tensor(1))], id="0-dim target"),
        pytest.param(
            [(ZEROS, torch.zeros(4).long()), (ZEROS, [0, 1])],
            [(ZEROS, torch.zeros(4).long()), (ZEROS, [0, 1])],
            id="a list in one batch",
        ),
    ],
)
def test_odd_targets_are_unknown(pairs: Any, batches: Any) -> None:
    """Targets that do not join are no crash, and nothing is claimed of them."""
    aim = attainable(linear_task(), FAMILIES[0], pairs, batches)
    assert (aim.accuracy, aim.loss) == (None, None)


def test_complex_inputs() -> None:
    """Complex inputs are compared by their real and imaginary parts."""
    inputs = torch.tensor([1 + 1j, 1 + 1j, 1 - 1j, 2 + 0j])[:, None]
    aim = aim_of(F.cross_entropy, inputs, ZEROS, torch.tensor([0, 1, 2, 0]))
    assert aim.accuracy == pytest.approx(0.75)


def test_soft_bits_cannot_reach_zero() -> None:
    """Targets between 0 and 1 have an entropy of their own, which no model undercuts."""
    target = torch.tensor([[0.5], [0.5], [0.0], [1.0]])
    aim = aim_of(F.binary_cross_entropy_with_logits, torch.arange(4.0)[:, None], torch.zeros(4, 1), target)
    assert aim.loss == pytest.approx(math.log(2) / 2, rel=1e-4)
