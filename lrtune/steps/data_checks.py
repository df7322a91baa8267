"""Step 1's look at the data, before anything is computed from them: what would crash the loss is a finding here."""

from __future__ import annotations

import os
import traceback
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.checks import examples as example_checks
from lrtune.checks import targets as target_checks
from lrtune.data.nest import tensors_of
from lrtune.errors import LrtuneError, UserCodeError
from lrtune.population.forward import call_model, run_batch, split_pair
from lrtune.population.modes import in_mode
from lrtune.probes.data.examples import not_finite
from lrtune.probes.data.target_shapes import misfit
from lrtune.probes.data.target_types import refused_type
from lrtune.probes.losses.loss_family import FAMILIES, LossFamily, declared_family, ignored_index
from lrtune.probes.model.model_calls import Call, listening
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lrtune.results import Finding
    from lrtune.steps.context import Context

_SHAPES = (
    "size",
    "shape",
    "dimension",
    "1d",
    "1-d",
    "batch",
)  # words of torch's errors on shapes that do not fit
_VALIDATION = "In the validation data: "
_HINTS = (
    (
        "Expected more than 1 value per channel",
        "a batch of one example has no variance to normalise by: a DataLoader with drop_last=True leaves out such a "
        "last batch",
    ),
    (
        "backward through the graph a second time",
        "does the step call backward() itself, or keep a tensor with its graph from one batch to the next?",
    ),
)  # of torch's errors whose reason lies elsewhere
_TORCH = f"{os.sep}torch{os.sep}"
_LOSS_NAMES = ("loss", "cross_entropy", "div", "backward")  # functions of torch's that refuse targets
_BINARY = next(family for family in FAMILIES if family.kind == "binary")


def data_findings(
    context: Context, model: torch.nn.Module, batches: Sequence[Any], examples: int
) -> Iterator[Finding]:
    """Yield what is wrong with the data of training, then what else is with those of validation.

    Args:
        context: The task made ready.
        model: Freshly built; one forward pass tells the width of its output.
        batches: Of training.
        examples: How many of the validation data are looked at.
    """
    seen = list(split_findings(context, model, batches))
    yield from seen
    if context.data.val is not None:
        with in_validation():
            sample = context.data.val.subset(examples, context.config.seed)
            found = list(split_findings(context, model, sample, training=False))
        told = {finding.code for finding in seen}  # what is wrong with both was prepared alike
        for finding in found:
            if finding.code not in told:
                yield replace(finding, message=f"{_VALIDATION}{finding.message}")


@contextmanager
def in_validation() -> Iterator[None]:
    """Say of what the user's code raises that the validation data are looked at."""
    try:
        yield
    except UserCodeError as error:
        raise UserCodeError(f"{_VALIDATION}{error}") from error.__cause__


@contextmanager
def hinted() -> Iterator[None]:
    """Add the usual reason to errors of torch's that do not name it."""
    try:
        yield
    except UserCodeError as error:
        hint = next((hint for said, hint in _HINTS if said in str(error)), None)
        if hint is None:
            raise
        raise UserCodeError(f"{error} ({hint})") from error.__cause__


def split_findings(
    context: Context, model: torch.nn.Module, batches: Sequence[Any], training: bool = True
) -> Iterator[Finding]:
    """Yield what is wrong with some batches; arguments as above.

    Args:
        context: The task made ready.
        model: Freshly built.
        batches: Of either split.
        training: Whether the model sees them in training mode: a batch of one example may do for an evaluation only.
    """
    if context.task.loss is None:
        found = _nonfinite_of_step(context, model, batches)
        yield from [found] if found else []
        return
    pairs = [split_pair(batch) for batch in batches]
    judged = [
        example_checks.nonfinite_input(not_finite([inputs for inputs, _ in pairs])),
        example_checks.nonfinite_target(not_finite([target for _, target in pairs])),
    ]
    yield from (finding for finding in judged if finding)
    family = declared_family(context.task.loss)
    if not any(judged) and family is not None:
        yield from _target_findings(context, _output(context, model, pairs, training), pairs, family)


def _nonfinite_of_step(context: Context, model: torch.nn.Module, batches: Sequence[Any]) -> Finding | None:
    """Judge a step's batches, whose parts are not known: what the step compares with is a target."""
    seen = not_finite(batches)
    bad = next((batch for batch in batches if seen.values and not_finite([batch]).values), None)
    if bad is None:
        return None
    calls: list[Call] = []
    try:
        with (
            seeded(context.config.seed),
            in_mode(model, training=True),
            listening(model, calls),
            torch.no_grad(),
        ):
            target = run_batch(context.task, model, bad).target
    except LrtuneError:  # of what is not finite
        target = None
    given = any(_not_finite(one) for call in calls for one in call.inputs)
    leaves = [one for one in tensors_of(bad) if _not_finite(one)]
    alone = isinstance(target, torch.Tensor) and all(_is_same(one, target) for one in leaves)
    if alone and leaves and calls and not given:
        return example_checks.nonfinite_target(seen)
    return example_checks.nonfinite_input(seen)


def _not_finite(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() and not bool(tensor.isfinite().all())


def _is_same(leaf: torch.Tensor, target: torch.Tensor) -> bool:
    return leaf.shape == target.shape and torch.equal(leaf.nan_to_num(), target.to(leaf.dtype).nan_to_num())


def behind_the_crash(
    context: Context, model: torch.nn.Module, batches: Sequence[Any], error: BaseException
) -> Iterator[Finding]:
    """Judge targets as those of torch's losses where a loss of the user's own has raised on them, or a step.

    Args:
        context: The task made ready.
        model: Freshly built.
        batches: Of training.
        error: What was raised; shapes are judged only if it speaks of them.
    """
    if context.task.loss is not None and declared_family(context.task.loss) is None:
        seen = list(_behind_own_loss(context, model, batches, error))
    else:
        seen = []
    cause = error.__cause__ or error
    said = example_checks.refused_by_torch(str(cause)) if _of_a_loss(cause) else None
    yield from seen or ([said] if said else [])


def _of_a_loss(error: BaseException) -> bool:
    """Say whether one of torch's losses may have raised: none of its layers did, whose messages are alike."""
    innermost = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1:]
    inside = [f.f_code.co_name for f in innermost if _TORCH in f.f_code.co_filename]
    return all(any(word in name for word in _LOSS_NAMES) for name in inside)


def _behind_own_loss(
    context: Context, model: torch.nn.Module, batches: Sequence[Any], error: BaseException
) -> Iterator[Finding]:
    pairs = [split_pair(batch) for batch in batches]
    target = pairs[0][1]
    if not isinstance(target, torch.Tensor):
        return
    speaks = any(word in f"{error} {error.__cause__}".lower().split("):")[-1] for word in _SHAPES)
    if not target.is_floating_point():
        yield from _target_findings(
            context, _output(context, model, pairs), pairs, FAMILIES[0], shapes=speaks
        )
    elif speaks:
        yield from _shape_findings(_output(context, model, pairs), pairs, _BINARY)


def _target_findings(
    context: Context,
    output: torch.Tensor | None,
    pairs: list[tuple[Any, Any]],
    family: LossFamily,
    shapes: bool = True,
) -> Iterator[Finding]:
    """Judge targets against the first batch's output; the loss is not called on them."""
    if output is None:
        return
    judged = (example_checks.target_dtype(family, output, target) for _, target in pairs)
    if wrong := next((found for found in judged if found), None):
        yield wrong
        return
    refused = refused_type(context.task.loss, family, output, pairs[0][1])
    if wrong := example_checks.target_type_refused(family, refused):
        yield wrong
        return
    if shapes and (misfits := list(_shape_findings(output, pairs, family))):
        yield from misfits
        return
    dimension = family.dimension(output, pairs[0][1])
    classes = output.shape[min(1, output.ndim - 1) if dimension is None else dimension]
    targets = torch.cat([target.flatten() for _, target in pairs])
    found = example_checks.target_out_of_range(family, classes, targets, ignored_index(context.task.loss))
    yield from [found] if found else []


def _shape_findings(
    output: torch.Tensor | None, pairs: list[tuple[Any, Any]], family: LossFamily
) -> Iterator[Finding]:
    seen = None if output is None else misfit(family, output, pairs[0][1])
    found = target_checks.target_shape_mismatch(seen)
    yield from [found] if found else []


def _output(
    context: Context, model: torch.nn.Module, pairs: list[tuple[Any, Any]], training: bool = True
) -> torch.Tensor | None:
    with seeded(context.config.seed), in_mode(model, training), torch.no_grad():
        output = call_model(context.task, model, pairs[0][0])
    return output if isinstance(output, torch.Tensor) and output.ndim >= 1 else None
