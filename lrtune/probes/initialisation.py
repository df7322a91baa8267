"""The freshly initialised model on the first batches of training."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import byte_count, example_count
from lrtune.population.forward import Outcome, run_batch
from lrtune.population.modes import in_mode
from lrtune.probes.losses.expectation import Expectation, expectation
from lrtune.probes.losses.expected_spread import class_text, softmax_at
from lrtune.probes.losses.fixed_scale import compares_examples
from lrtune.probes.losses.inferred_labels import is_cross_entropy, with_labels
from lrtune.probes.losses.label_weights import weights_of
from lrtune.probes.losses.loss_behaviour import sign_of, told_family
from lrtune.probes.losses.loss_family import LossFamily, LossFunction, declared_family
from lrtune.probes.losses.output_spread import Spread, spread_of, watched
from lrtune.probes.model.heard import with_output
from lrtune.probes.parameters.backward import backpropagate, dense
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lrtune.population.program import Program

_STEADY = 4  # passes that leave out just the same parameters: nothing is drawn or routed
_KEPT_BYTES = 256 * 2**20  # of outputs and targets; a language model's logits over all examples would not fit


@dataclass(frozen=True)
class InitialLoss:
    """The loss before any training.

    Attributes:
        mean: Over the examples, in training mode.
        standard_error: Of the mean, from the spread of the batch means; None with a single batch.
        eval_mean: The same in evaluation mode.
        batch_losses: One value a batch.
        examples: How many examples were seen.
        output_std: Standard deviation of the outputs, of logits around their row's mean; None without a tensor.
        expectation: What theory says, None where it says nothing.
        spread: More of the outputs.
        last_layer: Name of the layer that gave the outputs, None where it cannot be told.
        batch_size: Examples in a batch.
        kind: Of the loss's targets, None where the loss is unknown.
        compares: Whether each example's answer is another example, which may be alike before any training.
    """

    mean: float
    standard_error: float | None
    eval_mean: float
    batch_losses: list[float]
    examples: int
    output_std: float | None
    expectation: Expectation | None
    spread: Spread = field(default_factory=lambda: Spread(None))
    last_layer: str | None = None
    batch_size: float = 0.0
    kind: str | None = None
    compares: bool = False


@dataclass(frozen=True)
class Gradients:
    """What the first backward passes reach.

    Attributes:
        connected: Whether the loss depends on any parameter that requires a gradient.
        trainable: Number of numbers in parameters that require a gradient.
        total: Number of numbers in all parameters.
        missing: Names of parameters that require a gradient and got none from any batch.
        not_finite: Names of parameters whose gradient holds NaN or infinities.
    """

    connected: bool
    trainable: int
    total: int
    missing: list[str] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)


def first_outcome(program: Program, model: torch.nn.Module, batch: Any, seed: int) -> Outcome:
    """Return what the first training step computes, with its graph; running statistics of the model move."""
    model.train()
    with seeded(seed):
        return run_batch(program.task, model, batch)


def initial_loss(program: Program, model: torch.nn.Module, batches: Sequence[Any], seed: int) -> InitialLoss:
    """Measure the loss on some batches, without a gradient.

    Args:
        program: The task on its device.
        model: Freshly initialised; it is as before afterwards.
        batches: At least one.
        seed: Of dropout's random stream.
    """
    losses, weights, counts, kept = [], [], [], 0
    pairs: list[tuple[Any, Any]] = []
    with seeded(seed), in_mode(model, training=True), torch.no_grad(), watched(model) as layer:
        for batch in batches:
            outcome = run_batch(program.task, model, batch)
            losses.append(float(outcome.scalar))
            weights.append(example_count(batch))
            pair = (outcome.output, outcome.target)
            if kept <= _KEPT_BYTES and _alike(pair, (pairs or [pair])[0]):
                pairs.append(pair)
                counts.append(weights[-1])
                kept += byte_count(pair)
    with seeded(seed), in_mode(model, training=False), torch.no_grad():
        eval_losses = [float(run_batch(program.task, model, batch).scalar) for batch in batches]
    own = program.task.loss
    family = told_family(own, losses[0], *pairs[0])
    spread = spread_of(family, pairs)
    return InitialLoss(
        mean=_weighted_mean(losses, weights),
        standard_error=_standard_error(losses, weights),
        eval_mean=_weighted_mean(eval_losses, weights),
        batch_losses=losses,
        examples=sum(weights),
        output_std=spread.std,
        expectation=_expectation(family, own, pairs, counts) or _of_weights(program, model, batches[0], seed),
        spread=spread,
        last_layer=layer.of(outcome.output),
        batch_size=sum(weights) / len(weights),
        kind=None if family is None else family.kind,
        compares=compares_examples(*pairs[0]),
    )


def _alike(pair: tuple[Any, Any], first: tuple[Any, Any]) -> bool:
    """Say whether a batch's output has the rows of the first one's: a short batch of pairs has fewer classes."""
    output, other = pair[0], first[0]
    if not (isinstance(output, torch.Tensor) and isinstance(other, torch.Tensor)):
        return True
    return output.ndim == other.ndim and (output.ndim != 2 or output.shape[1] == other.shape[1])


def gradients(model: torch.nn.Module, outcomes: Iterable[Outcome]) -> Gradients:
    """Backpropagate batches until every parameter has been reached; the model keeps no gradient.

    One batch need not reach all: a branch may be for some inputs only, or be drawn. Where what is reached changes from
    batch to batch more of them are looked at, and parts that are built alike (experts, dropped layers) are taken to
    have their turn at another time.

    Args:
        model: Whose parameters are looked at.
        outcomes: Of some batches, each taken when it is needed.

    Raises:
        UserCodeError: If a backward pass of the user's own raises.
    """
    parameters = list(model.parameters())
    trainable = {name: one for name, one in model.named_parameters() if one.requires_grad}
    infinite, passes = dict[str, None](), list[set[str]]()
    for outcome in outcomes:
        if not trainable or not outcome.loss.requires_grad:
            continue
        _clear(parameters)
        backpropagate(outcome.scalar, parameters)
        reached = {name: one.grad for name, one in trainable.items() if one.grad is not None}
        infinite |= {name: None for name, gradient in reached.items() if not _finite(gradient)}
        passes.append(set(trainable) - set(reached))
        _clear(parameters)
        if not set.intersection(*passes) or (
            len(passes) == _STEADY and len(set(map(frozenset, passes))) == 1
        ):
            break
    missing = [name for name in trainable if name in _idle(passes or [set(trainable)])]
    count = sum(parameter.numel() for parameter in trainable.values())
    total = sum(parameter.numel() for parameter in parameters)
    return Gradients(len(missing) < len(trainable), count, total, missing, list(infinite))


def _idle(passes: list[set[str]]) -> set[str]:
    """Return what no pass has reached, but for the kin of what some have reached and others have not."""
    always = set.intersection(*passes)
    now_and_then = {_kind(name) for name in set.union(*passes) - always}
    return {name for name in always if _kind(name) not in now_and_then}


def _kind(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _clear(parameters: list[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _finite(gradient: torch.Tensor) -> bool:
    return bool(torch.isfinite(dense(gradient)).all())


def _of_weights(program: Program, model: torch.nn.Module, batch: Any, seed: int) -> Expectation | None:
    """Return what to expect of a step that masks and averages a cross-entropy by its own code."""
    if program.task.step is None:
        return None
    with seeded(seed), in_mode(model, training=True), torch.enable_grad():
        outcome = with_output(model, lambda: run_batch(program.task, model, batch))
        outcome = with_labels(outcome) or outcome
        seen = weights_of(outcome) if is_cross_entropy(outcome) else None
    if seen is None:
        return None
    high, low = seen.total * math.log(seen.classes), seen.total * seen.entropy
    text = class_text("softmax cross-entropy")(seen.classes, low, high)
    return Expectation(low, high, text, functools.partial(softmax_at, seen.classes, high))


def _expectation(
    family: LossFamily | None, own: LossFunction | None, pairs: list[tuple[Any, Any]], weights: list[int]
) -> Expectation | None:
    if family is None:
        return None
    output, target = pairs[0]
    if own is not None and declared_family(own) is None and family.kind == "classes":
        own = own if sign_of(own, output, target) >= 0 else None  # a turned sign is told by the reference
    return expectation(family, own, pairs, weights)


def _weighted_mean(values: list[float], weights: list[int]) -> float:
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


def _standard_error(losses: list[float], weights: list[int]) -> float | None:
    if len(losses) < 2:
        return None
    mean = _weighted_mean(losses, weights)
    # Batch means scatter with variance s²/n_b around the mean: weighting by n_b estimates s²/N for unequal batches.
    between = math.fsum(w * (x - mean) ** 2 for x, w in zip(losses, weights, strict=True)) / (len(losses) - 1)
    return math.sqrt(between / sum(weights))
