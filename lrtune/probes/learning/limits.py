"""What bounded outputs cost: the least loss that they allow, beside the least that free ones reach.

Logits within [-1, 1] leave softmax cross-entropy over C classes at ln(1 + (C - 1) exp(-2)) or more: 0.797 for 10
classes. Numbers within [0, 1] leave targets beyond them as far off as they are. Both are measured by the user's own
loss on the best answers within a range, so that class weights, smoothing and ignored labels are in the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import tensors_of
from lrtune.errors import LrtuneError
from lrtune.population.forward import run_batch
from lrtune.population.modes import in_mode
from lrtune.probes.data.batch_parts import is_target
from lrtune.probes.learning.bounds import output_bounds, trained_model
from lrtune.probes.losses.fixed_scale import compares_examples
from lrtune.probes.losses.loss_behaviour import quiet, told_family
from lrtune.probes.losses.same_number import same
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.population.forward import Outcome
    from lrtune.population.program import Program
    from lrtune.population.protocol import State
    from lrtune.probes.learning.bounds import Bounds
    from lrtune.probes.losses.loss_family import LossFamily, LossFunction

# Half the gap between right and wrong answers: from one that says little to one at which float32's loss is 0, in
# steps of a root of 2. Label smoothing of 0.1 over 10 classes is best at a half gap of 2.26.
_GAPS = tuple(2 ** (half_step / 2) for half_step in range(-8, 13))
_LOGITS = ("softmax cross-entropy", "binary cross-entropy with logits")
_ERRORS = ("squared error", "absolute error", "smooth absolute error")

Pairs = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Limits:
    """What the bounds of a model's outputs mean for its loss on a sample.

    Attributes:
        bounds: Of the outputs.
        loss: The least that answers within them reach.
        free_loss: The least that any answers reach.
        constant_loss: What an answer without knowledge reaches: zeros, or the mean of the targets.
        targets: Lowest and highest of a regression's, None for classes.
        stuck: Share of the labels whose right answer's output is exactly the lower bound.
    """

    bounds: Bounds
    loss: float
    free_loss: float
    constant_loss: float
    targets: tuple[float, float] | None = None
    stuck: float = 0.0

    @property
    def harm(self) -> float:
        """How far from the free floor to the constant's loss the bounds keep the loss."""
        whole = self.constant_loss - self.free_loss
        return (self.loss - self.free_loss) / whole if whole > 0 else 0.0


def limits(program: Program, state: State, batches: Sequence[Any], seed: int) -> Limits | None:
    """Return what the bounds of a trained model's outputs mean, None where there are none or the loss is unknown.

    Args:
        program: The task on its device.
        state: Of a trained member.
        batches: The sample.
        seed: Of dropout's random stream.
    """
    bounds = output_bounds(program, state, batches, seed)
    if bounds is None:
        return None
    try:
        outcomes = _outcomes(program, state, batches, seed)
    except (LrtuneError, RuntimeError):
        return None
    if not all(_known_target(program, *each) for each in zip(batches, outcomes, strict=True)):
        return None
    known = _loss_of(program, outcomes)
    return None if known is None else _limits(bounds, *known, [(one.output, one.target) for one in outcomes])


def _outcomes(program: Program, state: State, batches: Sequence[Any], seed: int) -> list[Outcome]:
    model = trained_model(program, state, seed)
    with seeded(seed), in_mode(model, training=True), torch.no_grad():
        return [run_batch(program.task, model, batch) for batch in batches]


def _known_target(program: Program, batch: Any, outcome: Outcome) -> bool:
    """Say whether the target comes with the data: a step that compares examples bounds their likeness by design."""
    target = outcome.target
    if not isinstance(target, torch.Tensor):
        return False
    if program.task.step is None:
        return True
    if compares_examples(outcome.output, target):  # numbers of the rows, which a collate may have handed on
        return False
    tensors = list(tensors_of(batch))
    later = [one[:, 1:] for one in tensors if one.ndim > 1]  # a language model's own tokens, moved by one
    return any(is_target(one, target) for one in tensors + later)


def _loss_of(program: Program, outcomes: list[Outcome]) -> tuple[LossFamily, LossFunction] | None:
    """Return the loss's family and what to call: the user's own, or the reference that gives a step's number."""
    own, first = program.task.loss, outcomes[0]
    value = float(first.scalar)
    family = told_family(own, value, first.output, first.target)
    if family is None or family.name not in _LOGITS + _ERRORS:
        return None
    if own is not None:
        return family, own
    found = quiet(family.reference, first.output, first.target)
    return (family, family.reference) if found is not None and same(found, value) else None


def _limits(bounds: Bounds, family: LossFamily, loss: LossFunction, pairs: Pairs) -> Limits | None:
    if not all(family.fits(*pair) for pair in pairs):
        return None
    answer = _ANSWERS[family.kind]
    soft = family.kind == "classes" and pairs[0][1].is_floating_point()
    if soft and not all(bool(((target == 0) | (target == 1)).all()) for _, target in pairs):
        return None  # the best logits of mixed labels are other ones

    def least(low: float, high: float) -> float | None:
        found = [
            _mean(loss, pairs, lambda *pair, gap=gap: answer(family, *pair, low, high, gap)) for gap in _GAPS
        ]
        known = [one for one in found if one is not None]
        return min(known, default=None)

    reached, free = least(bounds.low, bounds.high), least(-math.inf, math.inf)
    constant = _mean(loss, pairs, _mean_target if family.kind == "regression" else _zeros)
    if reached is None or free is None or constant is None:
        return None
    targets = [target for _, target in pairs]
    extremes = min(float(one.min()) for one in targets), max(float(one.max()) for one in targets)
    stuck = _stuck(family, pairs, bounds.low)
    return Limits(bounds, reached, free, constant, extremes if family.kind == "regression" else None, stuck)


def _mean(loss: LossFunction, pairs: Pairs, answer: Callable[..., torch.Tensor]) -> float | None:
    found = [quiet(loss, answer(output, target), target) for output, target in pairs]
    known = [one for one in found if one is not None]
    return sum(known) / len(known) if len(known) == len(found) else None


def _zeros(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(output)


def _mean_target(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return target.mean(0, keepdim=True).expand_as(output).to(output.dtype)


def _of_classes(
    family: LossFamily, output: torch.Tensor, target: torch.Tensor, low: float, high: float, gap: float
) -> torch.Tensor:
    right = one_hot(family, output, target)
    if high - low >= 2 * gap:  # only the gap counts; where there is room, the range may lie anywhere
        low, high = (low, low + 2 * gap) if math.isfinite(low) else (min(high, gap) - 2 * gap, min(high, gap))
    return low + (high - low) * right


def _of_bits(
    family: LossFamily, output: torch.Tensor, target: torch.Tensor, low: float, high: float, gap: float
) -> torch.Tensor:
    return target.to(output.dtype).logit().clamp(max(low, -gap), min(high, gap)).clamp(low, high)


def _of_numbers(
    family: LossFamily, output: torch.Tensor, target: torch.Tensor, low: float, high: float, gap: float
) -> torch.Tensor:
    return target.to(output.dtype).clamp(low, high)


_ANSWERS: dict[str, Callable[..., torch.Tensor]] = {
    "classes": _of_classes,
    "binary": _of_bits,
    "regression": _of_numbers,
}


def one_hot(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return 1 where the right class's output stands and 0 elsewhere, in the output's shape."""
    if target.is_floating_point():
        return target.to(output.dtype)
    dimension = family.dimension(output, target)
    assert dimension is not None
    rows = output.movedim(dimension, -1)
    labels = target.clamp(0, rows.shape[-1] - 1).reshape(
        rows.shape[:-1]
    )  # an ignored label may be any number
    right = torch.nn.functional.one_hot(labels.long(), rows.shape[-1])
    return right.movedim(-1, dimension).to(output.dtype)


def _stuck(family: LossFamily, pairs: Pairs, low: float) -> float:
    if family.kind != "classes":
        return 0.0
    right = torch.cat([output[one_hot(family, output, target) == 1] for output, target in pairs])
    return float((right == low).float().mean())
