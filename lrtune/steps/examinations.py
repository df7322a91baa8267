"""Which measurements step 1 takes of an untrained model, and which checks judge each.

A new check: a probe that measures, a function that judges, its text in the catalogue, and one line in `EXAMINATIONS`.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.checks import activations as activation_checks
from lrtune.checks import behaviour as behaviour_checks
from lrtune.checks import categories as category_checks
from lrtune.checks import examples as example_checks
from lrtune.checks import gradients as gradient_checks
from lrtune.checks import inputs as input_checks
from lrtune.checks import leakage as leakage_checks
from lrtune.checks import loss as loss_checks
from lrtune.checks import order as order_checks
from lrtune.checks import parameters as parameter_checks
from lrtune.checks import partners as partner_checks
from lrtune.checks import reach as reach_checks
from lrtune.checks import targets as target_checks
from lrtune.checks import untrained_parts as untrained_checks
from lrtune.errors import LrtuneError
from lrtune.probes.data.categories import categories
from lrtune.probes.data.causality import causality
from lrtune.probes.data.class_counts import label_counts
from lrtune.probes.data.duplicates import duplicates
from lrtune.probes.data.inputs import inputs
from lrtune.probes.data.leakage import leak
from lrtune.probes.data.order import order
from lrtune.probes.data.reach import reach
from lrtune.probes.data.target_shapes import own_misfit
from lrtune.probes.data.target_values import answers, target_sameness, target_scale
from lrtune.probes.losses.batch_lengths import batch_lengths
from lrtune.probes.losses.error_weights import error_weights
from lrtune.probes.losses.label_weights import label_weights
from lrtune.probes.losses.log_targets import log_targets
from lrtune.probes.losses.loss_reduction import loss_reduction
from lrtune.probes.losses.output_kind import output_kind
from lrtune.probes.losses.partners import partners
from lrtune.probes.losses.silent_broadcast import silent_broadcast
from lrtune.probes.losses.soft_labels import soft_labels
from lrtune.probes.model.activations import activations
from lrtune.probes.model.determinism import determinism
from lrtune.probes.model.input_use import input_use
from lrtune.probes.model.masked_tokens import masked_tokens
from lrtune.probes.model.mode_gap import mode_gap
from lrtune.probes.model.place_in_batch import dependence
from lrtune.probes.parameters.custom_gradients import custom_gradients
from lrtune.probes.parameters.drawn_paths import drawn_path
from lrtune.probes.parameters.frozen_weights import frozen_weights
from lrtune.probes.parameters.gradient_flow import awake_gradient_flow, first_gradient_flow
from lrtune.probes.parameters.optimizer_steps import optimizer_steps
from lrtune.probes.parameters.symmetry import symmetry
from lrtune.probes.parameters.unregistered import unregistered
from lrtune.steps.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lrtune.probes.sample import Sample
    from lrtune.progress import Progress
    from lrtune.results import Finding


@dataclass(frozen=True)
class Examination:
    """One measurement with its judgements.

    Attributes:
        name: What is looked at, for the progress bar and the result's details.
        probe: Measures; None where there is nothing to measure on this task.
        checks: Each turns the measurement into a finding or None.
        wiring: Whether step 2 looks as well: learning a sample by heart may hide such a fault.
        as_trained: Whether the program runs as training runs it: what is raised there would be raised in training.
        passes: What it costs on a slow model, in forward and backward passes; the cheaper ones come first.
    """

    name: str
    probe: Callable[[Sample], Any]
    checks: tuple[Callable[[Any], Finding | None], ...]
    wiring: bool = False
    as_trained: bool = False
    passes: float = 0.5


@dataclass(frozen=True)
class Examined:
    """What came of one examination.

    Attributes:
        name: Of the examination.
        seconds: That it took.
        findings: What was seen.
        skipped: Why nothing was measured, None where something was.
    """

    name: str
    seconds: float
    findings: list[Finding]
    skipped: str | None

    def told(self) -> dict[str, Any]:
        """Return what the result's details keep."""
        return {"name": self.name, "seconds": round(self.seconds, 4), "skipped": self.skipped}


EXAMINATIONS: tuple[Examination, ...] = (
    Examination(
        "inputs",
        inputs,
        (input_checks.constant_input, category_checks.one_kind, input_checks.input_not_normalised),
        passes=2.0,
    ),
    Examination("categories", categories, (category_checks.constant_categories,)),
    Examination("order of batches", order, (order_checks.unshuffled_batches,)),
    Examination("target among inputs", leak, (leakage_checks.target_in_columns,)),
    Examination("tokens ahead", causality, (leakage_checks.target_in_tokens, leakage_checks.tokens_crossed)),
    Examination("equal inputs", duplicates, (input_checks.conflicting_labels,)),
    Examination("target shapes", own_misfit, (target_checks.target_shape_mismatch,)),
    Examination("pairs of examples", silent_broadcast, (target_checks.silent_broadcast,), wiring=True),
    Examination("target scale", target_scale, (target_checks.target_not_normalised,)),
    Examination("reach of the outputs", reach, (reach_checks.target_out_of_reach,)),
    Examination("target values", target_sameness, (target_checks.constant_target,)),
    Examination("answers of yes and no", answers, (example_checks.answers_out_of_range,)),
    Examination("class shares", label_counts, (target_checks.class_imbalance,)),
    Examination(
        "activations",
        activations,
        (activation_checks.dead_units, activation_checks.saturated_units),
        passes=2.0,
    ),
    Examination(
        "registration",
        unregistered,
        (parameter_checks.unregistered_parameter, parameter_checks.loss_parameter_not_in_optimizer),
        wiring=True,
        passes=1.0,
    ),
    Examination(
        "optimizer",
        optimizer_steps,
        (parameter_checks.parameter_not_in_optimizer, parameter_checks.optimizer_does_not_step),
        wiring=True,
        as_trained=True,
    ),
    Examination("symmetry", symmetry, (parameter_checks.symmetric_init,)),
    Examination("frozen weights", frozen_weights, (untrained_checks.frozen_at_random,)),
    Examination("what is drawn", drawn_path, (untrained_checks.deaf_to_draws,), wiring=True),
    Examination("custom gradients", custom_gradients, (parameter_checks.wrong_gradient,), passes=2.0),
    Examination(
        "gradient flow",
        awake_gradient_flow,
        (gradient_checks.gradient_stopped, gradient_checks.vanishing_gradient),
        passes=1.0,
    ),
    Examination("gradient size", first_gradient_flow, (gradient_checks.exploding_gradient,), passes=1.0),
    Examination("loss of repeated batches", loss_reduction, (loss_checks.loss_not_mean,), passes=2.5),
    Examination(
        "weights of the labels", label_weights, (loss_checks.labels_summed, loss_checks.padding_in_mean)
    ),
    Examination("weights of the errors", error_weights, (loss_checks.errors_summed,)),
    Examination("targets of log losses", log_targets, (loss_checks.log_targets_out_of_range,), wiring=True),
    Examination("labels of a softmax", soft_labels, (loss_checks.several_labels,), wiring=True),
    Examination(
        "partners of pairs", partners, (partner_checks.finds_itself, partner_checks.one_vector), wiring=True
    ),
    Examination("what reaches the loss", output_kind, (loss_checks.double_softmax,), wiring=True),
    Examination("use of the input", input_use, (behaviour_checks.input_ignored,), passes=2.0),
    Examination("padding instead of tokens", masked_tokens, (behaviour_checks.tokens_masked,)),
    Examination(
        "independence of examples", dependence, (behaviour_checks.batch_mixing,), wiring=True, passes=3.0
    ),
    Examination("lengths over the batch", batch_lengths, (behaviour_checks.divided_over_batch,), wiring=True),
    Examination("equal answers", determinism, (behaviour_checks.nondeterministic_model,)),
    Examination("modes", mode_gap, (behaviour_checks.train_eval_gap,), passes=1.5),
)

_NOTHING = "nothing to measure"
_NO_TIME = "no time left: the model is slow"

# What all examinations together may take. Theirs on a slow convolutional net were 20 passes, on a slow language model
# 17; where a pass takes half a second and more, a user waits for as many.
_SECONDS = 10.0
_PASSES = 20

WIRING = tuple(one for one in EXAMINATIONS if one.wiring)


def examine(
    sample: Sample, progress: Progress, examinations: Iterable[Examination], pass_seconds: float = 0.0
) -> list[Examined]:
    """Take measurements, the cheaper first; one that fails says why and does not stop the others.

    The program itself has run before: what raises here is the program on batches or models that lrtune altered. Its
    optimizer has not.

    Args:
        sample: What is measured on.
        progress: Told how far it is, and what time did not suffice for.
        examinations: What to measure.
        pass_seconds: What a forward and backward pass of the model takes: those examinations that would last beyond
            what is spent at most are left out.

    Returns:
        One entry an examination, in the order given.

    Raises:
        LrtuneError: What a program raises where it runs as in training.
    """
    examinations = tuple(examinations)
    allowed, watch = max(_SECONDS, _PASSES * pass_seconds), Stopwatch()
    done: dict[str, Examined] = {}
    with progress.bar("examining the untrained model", len(examinations)) as bar:
        for examination in sorted(examinations, key=lambda one: one.passes):
            started = time.perf_counter()
            in_time = watch.seconds() + examination.passes * pass_seconds <= allowed
            findings, skipped = _taken(examination, sample, progress) if in_time else ([], _NO_TIME)
            done[examination.name] = Examined(
                examination.name, time.perf_counter() - started, findings, skipped
            )
            bar.advance()
    if left_out := [name for name, one in done.items() if one.skipped == _NO_TIME]:
        progress.note(
            f"a pass of the model takes {pass_seconds:.2g} s; {allowed:.0f} s of examinations did not suffice for: "
            f"{', '.join(left_out)}"
        )
    return [done[examination.name] for examination in examinations]


def _taken(examination: Examination, sample: Sample, progress: Progress) -> tuple[list[Finding], str | None]:
    try:
        with (
            warnings.catch_warnings()
        ):  # on what lrtune altered; the user's own were shown when the program ran
            warnings.simplefilter("ignore")
            measured = examination.probe(sample)
        if measured is None:
            return [], _NOTHING
        return [found for check in examination.checks if (found := check(measured))], None
    except (LrtuneError, RuntimeError) as error:
        if examination.as_trained and isinstance(error, LrtuneError):
            raise
        return [], _first_line(error)
    except Exception as error:  # one measurement less is better than no result at all
        reason = unexpected(error)
        progress.note(f"not examined: {examination.name} ({reason}); this is a bug of lrtune's")
        return [], reason


def unexpected(error: Exception) -> str:
    """Return why an examination ended where neither torch nor the user's code was expected to raise."""
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
