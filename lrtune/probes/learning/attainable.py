"""How well a small sample can be learnt by heart at all.

Repeated inputs with different targets set a ceiling to the accuracy, sum over inputs of the most frequent label's
count, and a floor to the loss, the conditional entropy H(target | input) (for squared error the mean variance within
equal inputs). For a sequence to sequence task of tokens (a language model) the input of position t is what stands
up to t. Floors are told in the loss's own scale, as the share of what the best constant output reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count
from lrtune.probes.data.examples import joined
from lrtune.probes.learning.sample_inputs import input_keys, one_per_position
from lrtune.probes.losses.expectation import expectation
from lrtune.probes.losses.floors import perfect_floor
from lrtune.probes.losses.loss_family import LossFamily, ignored_index

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.task import Task


@dataclass(frozen=True)
class Attainable:
    """What a sample allows.

    Attributes:
        accuracy: The highest training accuracy, None where accuracy means nothing or no ceiling is known.
        loss: The lowest loss, None where no floor is known.
        constant_loss: What a model that ignores its input reaches, None where unknown.
        per_example: Whether each example has one label (100% is then the aim, not only the ceiling).
        parameters: Numbers in the model that training may change.
        examples: How many examples the sample holds.
        squashed_loss: What perfect answers between 0 and 1 reach, where the loss expects logits.
        drawn: Whether the step draws what is to be predicted (noise of a diffusion, a latent code), so that the loss of
            one batch differs from call to call in evaluation mode; where no floor is known, in training mode.
    """

    accuracy: float | None
    loss: float | None
    constant_loss: float | None
    per_example: bool
    parameters: int = 0
    examples: int = 0
    squashed_loss: float | None = None
    drawn: bool = False


_UNKNOWN = Attainable(None, None, None, False)


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
    if family is None or not all(
        isinstance(part, torch.Tensor) and part.ndim for pair in pairs for part in pair
    ):
        return _UNKNOWN
    theory = expectation(family, task.loss, pairs, [example_count(batch) for batch in batches])
    if theory is None:
        return _UNKNOWN
    targets = [target for _, target in pairs]
    keys = input_keys(batches, targets)
    if family.kind == "classes" and not targets[0].is_floating_point():
        several = one_per_position(batches[0], targets[0])
        return _of_classes(keys, targets, ignored_index(task.loss), theory.low, several)
    target = joined(targets)
    if target is None:
        return Attainable(None, None, theory.low, False)
    if family.kind == "binary":
        ceiling, share = _of_bits(keys, target)
        return Attainable(ceiling, share * theory.low, theory.low, True)
    share = _variance_within(keys, target) if family.name == "squared error" else 0.0
    perfect = perfect_floor(family, task.loss, pairs) or 0.0
    return Attainable(None, perfect + share * (theory.low - perfect), theory.low, False)


def accuracy_of(
    family: LossFamily | None, ignore: int = -100
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
    """Return `(output, target) -> share that is right` for a classification loss, else None.

    Args:
        family: Which loss it is.
        ignore: The label that the loss leaves out.
    """
    if family is None or family.kind == "regression":
        return None
    if family.kind == "binary":
        yes = family.yes
        return lambda output, target: ((output > yes) == (target > 0.5)).cpu().double().mean()
    return lambda output, target: _class_accuracy(family, ignore, output, target)


def _class_accuracy(
    family: LossFamily, ignore: int, output: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    if target.is_floating_point():
        return (output.argmax(1) == target.argmax(1)).cpu().double().mean()
    dimension = family.dimension(output, target)
    assert dimension is not None
    labels = target.flatten().long()
    right = output.argmax(dimension).flatten() == labels
    return right[labels != ignore].cpu().double().mean()


def _of_classes(
    keys: torch.Tensor | None, targets: Sequence[torch.Tensor], ignore: int, constant: float, several: bool
) -> Attainable:
    labels = torch.cat([target.flatten() for target in targets]).cpu().long()
    kept = labels != ignore
    if keys is not None and len(keys) == len(labels) and bool(kept.any()):
        ceiling, share = _of_labels(keys[kept], labels[kept])
        return Attainable(ceiling, share * constant, constant, not several)
    # One label per example: inputs as a rule differ. Positions of a sequence often do not.
    return Attainable(None, None, constant, False) if several else Attainable(1.0, 0.0, constant, True)


def _of_labels(keys: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Return the ceiling of the accuracy, and H(label | input) as a share of H(label)."""
    ceiling, within = _conditional(keys, labels)
    _, whole = _conditional(torch.zeros_like(keys), labels)
    return ceiling, _share(within, whole)


def _conditional(keys: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    _, groups = torch.unique(keys, return_inverse=True)
    pairs, counts = torch.unique(torch.stack([groups, labels]), dim=1, return_counts=True)
    counts = counts.double()
    size = torch.zeros(int(groups.max()) + 1, dtype=torch.float64).index_add(0, pairs[0], counts)
    most = torch.zeros_like(size).scatter_reduce(0, pairs[0], counts, "amax")
    entropy = -(counts * (counts / size[pairs[0]]).log()).sum() / counts.sum()
    return float(most.sum() / counts.sum()), float(entropy)


def _of_bits(keys: torch.Tensor | None, target: torch.Tensor) -> tuple[float, float]:
    """Return ceiling and share for targets of 0 to 1, `[examples, ...]`, each element of an example by itself."""
    values = target.detach().cpu().double().reshape(target.shape[0], -1)
    keys = keys if keys is not None and len(keys) == len(values) else torch.arange(len(values))
    answers = _group_means(keys, (values > 0.5).double())[keys]
    ceiling = float(torch.maximum(answers, 1 - answers).mean())
    within = float(_bit_entropy(_group_means(keys, values)[keys]).mean())
    return ceiling, _share(within, float(_bit_entropy(values.mean(0)).mean()))


def _bit_entropy(share: torch.Tensor) -> torch.Tensor:
    entropy: torch.Tensor = torch.special.entr(share) + torch.special.entr(1 - share)
    return entropy


def _variance_within(keys: torch.Tensor | None, target: torch.Tensor) -> float:
    """Return the variance that equal inputs leave, as a share of that around the mean; `[examples, ...]`."""
    if keys is None or len(keys) != target.shape[0]:
        return 0.0
    values = target.detach().cpu().double().reshape(target.shape[0], -1)
    within = ((values - _group_means(keys, values)[keys]) ** 2).mean()
    return _share(float(within), float(((values - values.mean(0)) ** 2).mean()))


def _group_means(keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return `[groups, values]` of `[rows, values]`."""
    groups = int(keys.max()) + 1 if len(keys) else 0
    size = torch.zeros(groups, dtype=torch.float64).index_add(0, keys, torch.ones(len(keys)).double())
    sums = torch.zeros(groups, values.shape[1], dtype=torch.float64).index_add(0, keys, values)
    return sums / size[:, None]


def _share(within: float, whole: float) -> float:
    return min(max(within / whole, 0.0), 1.0) if whole > 0 else 0.0
