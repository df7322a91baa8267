"""Which measurements step 1 takes of an untrained model, and which checks judge each.

A new check: a probe that measures, a function that judges, its text in the catalogue, and one line in `EXAMINATIONS`.
"""

from __future__ import annotations

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
from lrtune.steps.examining import Examination

EXAMINATIONS: tuple[Examination, ...] = (
    Examination(
        "inputs",
        inputs,
        (input_checks.constant_input, category_checks.one_kind, input_checks.input_not_normalised),
        codes=("constant-input", "input-not-normalised"),
        passes=2.0,
    ),
    Examination("categories", categories, (category_checks.constant_categories,), codes=("constant-input",)),
    Examination("order of batches", order, (order_checks.unshuffled_batches,), codes=("unshuffled-batches",)),
    Examination("target among inputs", leak, (leakage_checks.target_in_columns,), codes=("target-leak",)),
    Examination(
        "tokens ahead",
        causality,
        (leakage_checks.target_in_tokens, leakage_checks.tokens_crossed),
        codes=("target-leak", "target-shape-mismatch"),
    ),
    Examination(
        "equal inputs", duplicates, (input_checks.conflicting_labels,), codes=("conflicting-labels",)
    ),
    Examination(
        "target shapes", own_misfit, (target_checks.target_shape_mismatch,), codes=("target-shape-mismatch",)
    ),
    Examination(
        "pairs of examples",
        silent_broadcast,
        (target_checks.silent_broadcast,),
        codes=("target-shape-mismatch",),
        wiring=True,
    ),
    Examination(
        "target scale", target_scale, (target_checks.target_not_normalised,), codes=("target-not-normalised",)
    ),
    Examination(
        "reach of the outputs", reach, (reach_checks.target_out_of_reach,), codes=("target-out-of-range",)
    ),
    Examination(
        "target values", target_sameness, (target_checks.constant_target,), codes=("constant-target",)
    ),
    Examination(
        "answers of yes and no",
        answers,
        (example_checks.answers_out_of_range,),
        codes=("target-out-of-range",),
    ),
    Examination("class shares", label_counts, (target_checks.class_imbalance,), codes=("class-imbalance",)),
    Examination(
        "activations",
        activations,
        (activation_checks.dead_units, activation_checks.saturated_units),
        codes=("dead-units", "saturated-units"),
        passes=2.0,
    ),
    Examination(
        "registration",
        unregistered,
        (parameter_checks.unregistered_parameter, parameter_checks.loss_parameter_not_in_optimizer),
        codes=("parameter-not-in-optimizer", "unregistered-parameter"),
        wiring=True,
        passes=1.0,
    ),
    Examination(
        "optimizer",
        optimizer_steps,
        (parameter_checks.parameter_not_in_optimizer, parameter_checks.optimizer_does_not_step),
        codes=("optimizer-does-not-step", "parameter-not-in-optimizer"),
        wiring=True,
        as_trained=True,
    ),
    Examination("symmetry", symmetry, (parameter_checks.symmetric_init,), codes=("symmetric-init",)),
    Examination(
        "frozen weights", frozen_weights, (untrained_checks.frozen_at_random,), codes=("frozen-model",)
    ),
    Examination(
        "what is drawn",
        drawn_path,
        (untrained_checks.deaf_to_draws,),
        codes=("parameter-without-gradient",),
        wiring=True,
    ),
    Examination(
        "custom gradients",
        custom_gradients,
        (parameter_checks.wrong_gradient,),
        codes=("wrong-gradient",),
        passes=2.0,
    ),
    Examination(
        "gradient flow",
        awake_gradient_flow,
        (gradient_checks.gradient_stopped, gradient_checks.vanishing_gradient),
        codes=("vanishing-gradient",),
        passes=1.0,
    ),
    Examination(
        "gradient size",
        first_gradient_flow,
        (gradient_checks.exploding_gradient,),
        codes=("exploding-gradient",),
        passes=1.0,
    ),
    Examination(
        "loss of repeated batches",
        loss_reduction,
        (loss_checks.loss_not_mean,),
        codes=("loss-not-mean",),
        passes=2.5,
    ),
    Examination(
        "weights of the labels",
        label_weights,
        (loss_checks.labels_summed, loss_checks.padding_in_mean),
        codes=("loss-not-mean",),
    ),
    Examination(
        "weights of the errors", error_weights, (loss_checks.errors_summed,), codes=("loss-not-mean",)
    ),
    Examination(
        "targets of log losses",
        log_targets,
        (loss_checks.log_targets_out_of_range,),
        codes=("target-out-of-range",),
        wiring=True,
    ),
    Examination(
        "labels of a softmax",
        soft_labels,
        (loss_checks.several_labels,),
        codes=("target-out-of-range",),
        wiring=True,
    ),
    Examination(
        "partners of pairs",
        partners,
        (partner_checks.finds_itself, partner_checks.one_vector),
        codes=("cannot-overfit", "target-leak"),
        wiring=True,
    ),
    Examination(
        "what reaches the loss",
        output_kind,
        (loss_checks.double_softmax,),
        codes=("double-softmax",),
        wiring=True,
    ),
    Examination(
        "use of the input", input_use, (behaviour_checks.input_ignored,), codes=("input-ignored",), passes=2.0
    ),
    Examination(
        "padding instead of tokens",
        masked_tokens,
        (behaviour_checks.tokens_masked,),
        codes=("input-ignored",),
    ),
    Examination(
        "independence of examples",
        dependence,
        (behaviour_checks.batch_mixing,),
        codes=("batch-mixing",),
        wiring=True,
        passes=3.0,
    ),
    Examination(
        "lengths over the batch",
        batch_lengths,
        (behaviour_checks.divided_over_batch,),
        codes=("batch-mixing",),
        wiring=True,
    ),
    Examination(
        "equal answers",
        determinism,
        (behaviour_checks.nondeterministic_model,),
        codes=("nondeterministic-model",),
    ),
    Examination("modes", mode_gap, (behaviour_checks.train_eval_gap,), codes=("train-eval-gap",), passes=1.5),
)

WIRING = tuple(one for one in EXAMINATIONS if one.wiring)
