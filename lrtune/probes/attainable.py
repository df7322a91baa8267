"""How well a small sample can be learnt by heart at all.

Repeated inputs with different targets set a ceiling to the accuracy, sum over inputs of the most frequent label's
count, and a floor to the loss, the conditional entropy H(target | input) (for squared error the mean variance within
equal inputs). For a sequence to sequence task of tokens (a language model) the input of position t is what stands
up to t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.probes.examples import joined
from lrtune.probes.loss_family import FAMILIES, LossFamily, class_dimension, expectation, ignored_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.task import Task

_HASH = (
    6364136223846793005  # multiplier of Knuth's MMIX generator: odd, so that a rolling hash keeps every bit
)
_CLASS_LOSSES = frozenset({"softmax cross-entropy", "negative log-likelihood"})
_BINARY = {"binary cross-entropy with logits": 0.0, "binary cross-entropy": 0.5}  # where yes begins
assert {family.name for family in FAMILIES} >= _CLASS_LOSSES | set(_BINARY)


@dataclass(frozen=True)
class Attainable:
    """What a sample allows.

    Attributes:
        accuracy: The highest training accuracy, None where accuracy means nothing.
        loss: The lowest loss, None where no floor is known.
        constant_loss: What a model that ignores its input reaches, None where unknown.
        per_example: Whether each example has one label (100% is then the aim, not only the ceiling).
        parameters: Numbers in the model that training may change.
        examples: How many examples the sample holds.
    """

    accuracy: float | None
    loss: float | None
    constant_loss: float | None
    per_example: bool
    parameters: int = 0
    examples: int = 0


def attainable(
    task: Task, family: LossFamily | None, pairs: Sequence[tuple[Any, Any]], batches: Sequence[Any]
) -> Attainable:
    """Return what the sample allows.

    Args:
        task: Brings the loss.
        family: Which loss it is, None when unknown.
        pairs: The untrained model's output and the target, a pair a batch.
        batches: The batches themselves, whose inputs are compared.
    """
    if family is None or not all(isinstance(part, torch.Tensor) for part in pairs[0]):
        return Attainable(None, None, None, False)
    output, target = joined([output for output, _ in pairs]), joined([target for _, target in pairs])
    theory = (
        expectation(family, task.loss, output, target) if output is not None and target is not None else None
    )
    if target is None or theory is None:
        return Attainable(None, None, None, False)
    constant = theory.low
    keys = _input_keys(
        [_inputs_for(batch, pair[1]) for batch, pair in zip(batches, pairs, strict=True)], target
    )
    if family.name in _CLASS_LOSSES and not target.is_floating_point():
        kept = (target != ignored_index(task.loss)).flatten()
        ceiling, floor = _of_labels(keys[kept] if keys is not None else None, target.flatten()[kept])
        return Attainable(ceiling, floor, constant, target.ndim == 1)
    if family.name in _BINARY:
        # Entropies of the labels would need each bit apart; the ceiling of 1 is exact unless inputs repeat.
        return Attainable(1.0, 0.0, constant, True)
    floor = _variance_within(keys, target) if family.name == "squared error" else 0.0
    return Attainable(None, floor, constant, False)


def accuracy_of(family: LossFamily | None) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """Return `(output, target) -> share that is right` for a classification loss, else None."""
    if family is None:
        return None
    if family.name in _CLASS_LOSSES:
        return _class_accuracy
    if family.name in _BINARY:
        yes = _BINARY[family.name]
        return lambda output, target: ((output > yes) == (target > 0.5)).double().mean()
    return None


def _class_accuracy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if target.is_floating_point():
        return (output.argmax(1) == target.argmax(1)).double().mean()
    dimension = class_dimension(output, target)
    assert dimension is not None
    right = output.argmax(dimension).flatten() == target.flatten()
    counted = target.flatten() >= 0  # every index that a loss ignores by default is negative
    return right[counted].double().mean()


def _inputs_for(batch: Any, target: torch.Tensor) -> torch.Tensor | None:
    """Return the one tensor of the batch that the target is predicted from, None when that is not clear."""
    if isinstance(batch, list | tuple) and len(batch) == 2:
        return batch[0] if isinstance(batch[0], torch.Tensor) else None
    if isinstance(batch, Mapping):
        others = [
            value
            for value in batch.values()
            if isinstance(value, torch.Tensor) and value.shape[:1] == target.shape[:1] and value is not target
        ]
        return others[0] if len(others) == 1 else None
    return None


def _input_keys(inputs: list[torch.Tensor | None], target: torch.Tensor) -> torch.Tensor | None:
    """Return a number for what each target is predicted from, int64 `[targets]`; equal inputs have equal numbers."""
    if any(part is None for part in inputs):
        return None
    whole = joined([part for part in inputs if part is not None])
    if whole is None or whole.shape[0] != target.shape[0]:
        return None
    if target.ndim == 2 and whole.shape == target.shape and not whole.is_floating_point():
        return _prefix_keys(whole.cpu().long())
    if target.ndim > 1 and target[0].numel() > 1:
        return None
    rows = whole.detach().cpu().reshape(whole.shape[0], -1)
    _, groups = torch.unique(rows, dim=0, return_inverse=True)
    return groups  # type: ignore[no-any-return]


def _prefix_keys(tokens: torch.Tensor) -> torch.Tensor:
    keys = torch.empty_like(tokens)
    state = torch.zeros_like(tokens[:, 0])
    for position in range(tokens.shape[1]):
        state = (state + tokens[:, position] + 1) * _HASH  # int64 wraps, as a hash may
        state = state ^ (state >> 29)
        keys[:, position] = state
    return keys.flatten()


def _of_labels(keys: torch.Tensor | None, labels: torch.Tensor) -> tuple[float, float]:
    """Return ceiling of the accuracy and floor of the loss."""
    labels = labels.cpu()
    if keys is None or labels.numel() == 0:
        return 1.0, 0.0
    _, groups = torch.unique(keys, return_inverse=True)
    pairs, counts = torch.unique(torch.stack([groups, labels]), dim=1, return_counts=True)
    counts = counts.double()
    size = torch.zeros(int(groups.max()) + 1, dtype=torch.float64).index_add(0, pairs[0], counts)
    most = torch.zeros_like(size).scatter_reduce(0, pairs[0], counts, "amax")
    entropy = -(counts * (counts / size[pairs[0]]).log()).sum() / counts.sum()
    return float(most.sum() / counts.sum()), max(float(entropy), 0.0)


def _variance_within(keys: torch.Tensor | None, target: torch.Tensor) -> float:
    if keys is None:
        return 0.0
    values = target.detach().cpu().double().flatten()
    size = torch.zeros(int(keys.max()) + 1, dtype=torch.float64).index_add(0, keys, torch.ones_like(values))
    mean = torch.zeros_like(size).index_add(0, keys, values) / size
    return float(((values - mean[keys]) ** 2).mean())
