"""Step 2: learn a few minibatches by heart, at several rates side by side before the model is blamed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.checks import fingerprints, overfitting
from lrtune.checks.catalogue import catalogue
from lrtune.checks.causes import cause_first
from lrtune.checks.gradients import detached_loss, frozen_model
from lrtune.checks.initial_loss import loss_not_scalar
from lrtune.data.nest import example_count, first_rows
from lrtune.errors import TaskError, UserCodeError
from lrtune.probes.data.target_shapes import blown_up
from lrtune.probes.initialisation import first_outcome, gradients
from lrtune.probes.learning.attainable import Attainable, attainable
from lrtune.probes.learning.capacity import within_capacity
from lrtune.probes.learning.drawn import is_drawn, is_drawn_in_training
from lrtune.probes.learning.mismatched import mismatched
from lrtune.probes.losses.floors import squashed_floor
from lrtune.probes.losses.loss_family import LossFamily, declared_family, matching_family
from lrtune.probes.sample import Sample
from lrtune.random_state import seeded
from lrtune.results import Finding, StepResult
from lrtune.steps.check_init import check_init, refuse_own_backward
from lrtune.steps.data_checks import behind_the_crash, split_findings
from lrtune.steps.effort import FORWARDS, SLOW, USUAL, effort_for
from lrtune.steps.examinations import WIRING
from lrtune.steps.examining import examine, left_out
from lrtune.steps.overfit_trial import Trial
from lrtune.steps.slow_models import forward_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.checks.overfitting import Attempt
    from lrtune.steps.context import Context
    from lrtune.steps.effort import Effort
    from lrtune.steps.examining import Examined

_QUARTER = 4  # of one minibatch: the second smaller sample
_FEWEST = 8  # examples: fewer are learnt by nearly everything


def overfit(context: Context) -> StepResult:
    """Train on a few minibatches until one rate has learnt them, without weight decay.

    Where none does, the untrained model is examined for the cause.

    Raises:
        TaskError: If the task's parts do not fit together.
        UserCodeError: If the user's code raises.
    """
    config = context.config
    batches = context.data.train.head(config.overfit.batches, config.seed)
    if not batches:
        raise TaskError("Task.train: gave no batch at all")
    seen, hopeless = _before(context, batches)
    if hopeless:
        return StepResult("overfit", cause_first(seen), _summary(None))
    forward = _forward_seconds(context, batches[0])
    effort = effort_for(forward)
    if effort is not USUAL:
        context.progress.note(
            f"a forward pass takes {forward:.2g} s: trying {len(effort.rates)} rates instead of {len(USUAL.rates)}"
        )
    trial, aim, batches = _tried(context, batches, effort)
    sample = Sample(context.program, context.data.train, batches, context.config.seed)
    examined = examine(sample, context.progress, WIRING, FORWARDS * forward)
    seen += _wired(sample, trial, examined)
    symptoms, bounded = _judged(trial, aim, len(batches))
    symptoms += [overfitting.loss_explodes(trial.attempts), left_out(examined)]
    told = {finding.code for finding in seen}
    seen += [found for found in symptoms if found and found.code not in told]
    if bounded and not any(finding.code == "double-softmax" for finding in seen):  # which says the same
        seen = [bounded, *(finding for finding in seen if finding.code != bounded.code)]
    findings = _with_causes(context, seen)
    best = trial.best()
    target = {
        "accuracy": aim.accuracy,
        "loss": overfitting.loss_aim(best, aim),
        "reason": overfitting.aim_text(best, aim),
    }
    details = {
        "target": target,
        "members": _members(trial),
        "batches": len(batches),
        "examples": aim.examples,
    }
    curves = {_curve_name(index): curve for index, curve in enumerate(trial.curves.values())}
    return StepResult("overfit", findings, _summary(best), details=details, curves=curves)


def _judged(trial: Trial, aim: Attainable, batches: int) -> tuple[list[Finding | None], Finding | None]:
    """Return what the tries show, and apart from it that bounds of the outputs keep the loss up."""
    best = trial.best()
    bounded = fingerprints.bounded_outputs(best, trial.limits, aim, not trial.still_falling)
    symptoms = [
        overfitting.cannot_overfit(trial.attempts, aim, batches),
        overfitting.train_eval_gap(best, aim),
        None if bounded and _below_zero(trial) else fingerprints.double_softmax(trial.attempts, aim),
        fingerprints.input_ignored(trial.attempts, aim),
    ]
    return symptoms, bounded


def _below_zero(trial: Trial) -> bool:
    """Say whether outputs that are bounded go below zero, as those of a softmax or sigmoid do not."""
    return trial.limits is not None and trial.limits.bounds.low < 0


def _forward_seconds(context: Context, batch: Any) -> float:
    """Return what a forward pass takes; one that seems slow is timed again, for the machine may have been busy."""
    with seeded(context.config.seed):
        model = context.program.build_model()
    seconds = math.inf
    for _ in range(2):
        seconds = forward_seconds(context.program, model, batch, context.config.seed, seconds)
        if seconds < SLOW:
            break
    return seconds


def _tried(context: Context, batches: list[Any], effort: Effort) -> tuple[Trial, Attainable, list[Any]]:
    """Try the whole sample, then smaller ones where size may be the reason; return the one that tells most."""
    whole = trial, aim, sample = _on_sample(context, batches, effort)
    while not trial.succeeded and (fewer := _fewer(context, trial, sample)):
        trial, aim, sample = _on_sample(context, fewer, effort)
    return (trial, aim, sample) if trial.succeeded else whole


def _on_sample(context: Context, batches: list[Any], effort: Effort) -> tuple[Trial, Attainable, list[Any]]:
    family, aim, others = _aim(context, batches)
    trial = Trial(context, batches, family, aim, others, effort)
    trial.run()
    return trial, aim, batches


def _fewer(context: Context, trial: Trial, batches: list[Any]) -> list[Any] | None:
    """Return a smaller sample where size alone may be what keeps a sound model from learning this one.

    It has fewer parameters than the sample has examples, or the loss was still on its way down at the end.
    """
    collated = context.data.train.collated  # else the first dimension may be another one
    if trial.still_falling:
        if len(batches) > 1:
            return batches[:1]
        share = example_count(batches[0]) // _QUARTER
        return [first_rows(batches[0], share)] if collated and share >= _FEWEST else None
    if not collated:
        return None
    with seeded(context.config.seed):
        model = context.program.build_model()
    return within_capacity(context.program, model, batches, context.config.seed)


def _before(context: Context, batches: list[Any]) -> tuple[list[Finding], bool]:
    """Return what is wrong before anything is tried, and whether there is then nothing to try."""
    with seeded(context.config.seed):
        model = context.program.build_model()
    seen = list(split_findings(context, model, batches))
    errors = {finding.code for finding in seen if finding.severity == "error"}
    if errors - {"target-shape-mismatch"}:  # what a device may not survive
        return seen, True
    try:
        outcome = first_outcome(context.program, model, batches[0], context.config.seed)
    except UserCodeError as error:
        if crashed := seen or list(behind_the_crash(context, model, batches, error)):
            return crashed, True
        raise
    refuse_own_backward(context.task, model)
    if several := loss_not_scalar(list(outcome.loss.shape)):
        return [*seen, several], True
    reached = gradients(model, [outcome])
    cut_off = [found for found in (frozen_model(reached), detached_loss(reached)) if found]
    return seen + cut_off, bool(cut_off)


def _aim(context: Context, batches: Sequence[Any]) -> tuple[LossFamily | None, Attainable, list[Any] | None]:
    """Return the loss's family, what the sample allows, and the sample with the inputs of other examples."""
    program, seed = context.program, context.config.seed
    with seeded(seed):
        model = program.build_model()
    with torch.no_grad():
        outcomes = [first_outcome(program, model, batch, seed) for batch in batches]
    first, pairs = outcomes[0], [(outcome.output, outcome.target) for outcome in outcomes]
    family = declared_family(context.task.loss) or matching_family(
        float(first.scalar), first.output, first.target
    )
    aim = replace(
        attainable(context.task, family, pairs, batches),
        parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        examples=sum(map(example_count, batches)),
        squashed_loss=squashed_floor(family, context.task.loss, pairs),
        drawn=context.task.step is not None and is_drawn(program, model, batches[0], seed),
    )
    if context.task.step is not None and aim.loss is None and not aim.drawn:
        aim = replace(aim, drawn=is_drawn_in_training(program, batches[0], seed))
    return family, aim, mismatched(program, model, batches, [target for _, target in pairs], seed)


def _wired(sample: Sample, trial: Trial, examined: Sequence[Examined]) -> list[Finding]:
    """Return what learning by heart may hide: the sample can be learnt through a softmax too many."""
    found = [finding for one in examined for finding in one.findings]
    crossed = blown_up(sample)
    return [*found, fingerprints.broadcast_target(crossed, trial.attempts)] if crossed else found


def _with_causes(context: Context, findings: list[Finding]) -> list[Finding]:
    """Add what the untrained model shows that explains the errors, and put causes first."""
    errors = {finding.code for finding in findings if finding.severity == "error"}
    if errors & fingerprints.SYMPTOMS:
        known = {finding.code for finding in findings}
        explained = errors & fingerprints.SYMPTOMS
        findings = findings + [
            cause
            for cause in check_init(context).findings
            if cause.code not in known and explained & set(catalogue()[cause.code].explains)
        ]
    return cause_first(findings)


def _members(trial: Trial) -> list[dict[str, Any]]:
    return [
        {
            "learning_rate": attempt.learning_rate,
            "curve": _curve_name(index),
            "diverged_at": attempt.diverged_at,
            "loss": attempt.loss,
            "accuracy": attempt.accuracy,
        }
        for index, attempt in enumerate(trial.attempts)
    ]


def _curve_name(index: int) -> str:
    return f"overfit-{index:03d}"


def _summary(best: Attempt | None) -> dict[str, Any]:
    return {
        "loss_first": best.loss_first if best else None,
        "loss_last": best.loss if best else None,
        "accuracy": best.accuracy if best else None,
        "learning_rate": best.learning_rate if best else None,
        "steps": best.steps if best else 0,
    }
