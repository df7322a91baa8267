"""Step 1: the loss at initialisation against what theory expects, and what the first backward pass reaches."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import chain, cycle, islice
from typing import TYPE_CHECKING, Any

import torch

from lrtune.checks import gradients as gradient_checks
from lrtune.checks import initial_loss as loss_checks
from lrtune.checks.causes import cause_first
from lrtune.data.batches import FixedBatches
from lrtune.errors import LrtuneError, TaskError, UserCodeError
from lrtune.population.evaluation import evaluate_model
from lrtune.population.forward import measured_metrics, run_batch
from lrtune.population.modes import in_mode
from lrtune.probes.initialisation import gradients, initial_loss
from lrtune.probes.parameters.backward import dense
from lrtune.probes.sample import Sample
from lrtune.random_state import seeded
from lrtune.results import StepResult
from lrtune.steps.data_checks import (
    behind_the_crash,
    data_findings,
    hinted,
    in_validation,
)
from lrtune.steps.examinations import EXAMINATIONS
from lrtune.steps.examining import examine, left_out
from lrtune.steps.loss_findings import loss_findings
from lrtune.steps.slow_models import FEWEST_BATCHES, affordable, forward_seconds
from lrtune.steps.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.steps.context import Context
    from lrtune.task import Task

_EXAMPLES = 1024  # the standard error of a mean is then 3% of the losses' spread
_FORWARDS = 3  # a forward and backward pass takes as long as: the backward one has two products a layer
_GRADIENT_BATCHES = 16  # at most, in each of which a parameter must be idle before it is called unused


def check_init(context: Context) -> StepResult:
    """Measure and judge the untrained model.

    Data are looked at before anything is computed from them: a label out of range is a finding here, where the
    loss would only crash.

    Raises:
        TaskError: If the task's parts do not fit together.
        UserCodeError: If the user's code raises for a reason that no check has seen.
    """
    with hinted():
        return _checked(context)


def _checked(context: Context) -> StepResult:
    config, program = context.config, context.program
    batches = _sample(context)
    if not batches:
        raise TaskError("Task.train: gave no batch at all")
    with seeded(config.seed):
        model = program.build_model()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    summary: dict[str, Any] = {
        "initial_loss": None,
        "expected_low": None,
        "expected_high": None,
        "standard_error": None,
        "parameters": parameters,
    }
    with context.progress.bar("initial loss", 2) as bar:
        data_seen = list(data_findings(context, model, batches, _EXAMPLES))
        bar.advance()
        if any(finding.severity == "error" for finding in data_seen):
            return StepResult("check-init", data_seen, summary)
        result = _measured(context, model, batches, summary)
        bar.advance()
    seen = [*data_seen, *result.findings]
    if summary["initial_loss"] is not None:  # else nothing could be run
        _try_evaluation(context, model)
        sample = Sample(program, context.data.train, batches, config.seed)
        examined = examine(sample, context.progress, EXAMINATIONS, result.details["pass_seconds"])
        seen += [found for one in examined for found in one.findings]
        seen += [late] if (late := left_out(examined)) else []
        result.details["examined"] = [one.told() for one in examined]
    result.findings = cause_first(seen)
    return result


def _sample(context: Context) -> list[Any]:
    """Return the first batches of training, as many as hold enough examples: their size may be the user's."""
    train, seed = context.data.train, context.config.seed
    batches = train.subset(_EXAMPLES, seed)
    return batches if len(batches) >= FEWEST_BATCHES else train.head(FEWEST_BATCHES, seed)


def _try_evaluation(context: Context, model: torch.nn.Module) -> None:
    """Evaluate a batch as the grids will, so that what raises there ends the first step and not the fourth.

    Raises:
        UserCodeError: If the model or a metric raises, on the batch and on the whole split: a metric may need that.
    """
    data = context.data
    with nullcontext() if data.val is None else in_validation():
        first = (data.train if data.val is None else data.val).head(1, context.config.seed)
        if not first or _can_be_evaluated(context, model, first[0]):
            return
        whole = FixedBatches(data.training_subset()) if data.val is None else data.val
        with seeded(context.config.seed):
            evaluate_model(context.program.task, model, whole)


def _can_be_evaluated(context: Context, model: torch.nn.Module, batch: Any) -> bool:
    task = context.program.task
    try:
        with seeded(context.config.seed), in_mode(model, training=False), torch.no_grad():
            outcome = run_batch(task, model, batch)
            measured_metrics(task, outcome.output, outcome.target)
    except LrtuneError:
        return False
    return True


def refuse_own_backward(task: Task, model: torch.nn.Module) -> None:
    """Refuse a task that backpropagates itself.

    Args:
        task: The user's task.
        model: Fresh before its first batch went through.

    Raises:
        TaskError: If that batch has left a gradient.
    """
    grads = (one.grad for one in model.parameters())
    if any(bool(dense(grad).any()) for grad in grads if grad is not None):
        what = "loss" if task.step is None else "step"
        raise TaskError(
            f"Task.{what}: it calls backward() itself; return the loss only, lrtune backpropagates and steps the "
            "optimizer"
        )


def _measured(
    context: Context, model: torch.nn.Module, batches: Sequence[Any], summary: dict[str, Any]
) -> StepResult:
    program, seed = context.program, context.config.seed
    with seeded(seed), in_mode(model, training=True):
        watch = Stopwatch()
        try:
            first = run_batch(program.task, model, batches[0])
        except UserCodeError as error:
            if crashed := list(behind_the_crash(context, model, batches, error)):
                return StepResult("check-init", crashed, summary)
            raise
        forward = watch.seconds()
        refuse_own_backward(context.task, model)
        if wrong := loss_checks.loss_not_scalar(list(first.loss.shape)):
            return StepResult("check-init", [wrong], summary)
        # Before the mode ends: putting running statistics back would spoil the graph.
        turns = islice(cycle(batches), 1, _GRADIENT_BATCHES)
        later = (run_batch(program.task, model, batch) for batch in turns)
        reached = gradients(model, chain([first], later))
    forward = forward_seconds(program, model, batches[0], seed, forward)
    batches = affordable(batches, forward, context.progress.note)
    seen = initial_loss(program, model, batches, seed)
    judged = [
        gradient_checks.frozen_model(reached),
        gradient_checks.detached_loss(reached),
        loss_checks.nonfinite_loss(seen.batch_losses),
        *loss_findings(context, seen, batches),
        gradient_checks.nonfinite_gradient(reached),
        gradient_checks.parameter_without_gradient(reached),
    ]
    theory = seen.expectation
    given = context.task.expected_initial_loss
    low, high = loss_checks.accepted(seen, given, context.task.pretrained)
    summary |= {
        "initial_loss": seen.mean,
        "expected_low": given if given is not None else theory.low if theory else None,
        "expected_high": given if given is not None else theory.high if theory else None,
        "standard_error": seen.standard_error,
        "accepted_low": low,
        "accepted_high": high,
        "initial_loss_eval": seen.eval_mean,
        "output_std": seen.output_std,
        "examples": seen.examples,
    }
    told = (
        f"the task's own expectation, {given:.4g}" if given is not None else theory.text if theory else None
    )
    details = {
        "batch_losses": seen.batch_losses,
        "expectation": told,
        "pass_seconds": round(_FORWARDS * forward, 4),
    }
    return StepResult("check-init", [finding for finding in judged if finding], summary, details=details)
