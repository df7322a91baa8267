"""Checks of targets: their shape beside the output's, their scale, and whether there is anything to learn."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.class_weights import (
    certain_ratio,
    drawn_inverted,
    padding_counts,
    weights_inverted,
    weights_misplaced,
    weights_overdone,
)

if TYPE_CHECKING:
    from lrtune.probes.data.class_counts import Labels
    from lrtune.probes.data.target_shapes import Misfit
    from lrtune.probes.data.target_values import Column, Same
    from lrtune.probes.losses.pair_watch import Crossing
    from lrtune.results import Finding

LARGE, SMALL = 10.0, 0.01  # of the targets' standard deviation; see target-not-normalised in the catalogue
OWN_SCALE = 10.0  # times the targets' deviation: outputs narrower than that are scaled by the model itself
FAR = 5.0  # of the targets' mean from the model's first answers, in standard deviations
_SHIFT = 1.0  # a mean nearer than this is where a bias gets in a few steps, however narrow the targets are
FEWEST = 8  # targets: fewer may be alike by chance
IMBALANCE = 15.0  # the most frequent class beside the rarest; see class-imbalance
_CERTAIN = 10.0  # the same ratio is at least this beyond doubt


def target_shape_mismatch(seen: Misfit | None) -> Finding | None:
    """Output and target have shapes that the loss compares element by element, or label by label."""
    if seen is None:
        return None
    name = seen.loss or "the loss"
    message = f"The output is {seen.output} and the target {seen.target}: "
    if seen.one_class:
        message += (
            f"{name} of one class is 0 whatever the model says, since a softmax over one output is always 1."
        )
    elif seen.broadcast:
        count = f"{math.prod(seen.broadcast):,}"
        message += (
            f"{name} compares them as {seen.broadcast}, {count} pairs of which most belong to no example."
        )
    else:
        message += f"{name} takes no such pair."
    if seen.one_class:
        fix = "Use binary_cross_entropy_with_logits (targets as floats of 0 and 1), or one output a class."
    elif seen.fix:
        fix = f"Use {seen.fix} before the loss, so that the shapes agree."
    else:
        fix = "Give the last layer as many outputs as the target has values, a row an example."
    return finding(
        "target-shape-mismatch", message, f"{seen.output} and {seen.target}", "shapes that fit", fix
    )


def silent_broadcast(seen: Crossing) -> Finding | None:
    """No operation pairs every example with every other one where nothing asks for pairs."""
    where = seen.line or "An operation"
    message = (
        f"{where} combines {seen.left} with {seen.right}: broadcasting makes {seen.result} of them, each example "
        f"paired with every other one of a trial batch of {seen.count}, and the loss takes all pairs together."
    )
    fix = "Give both the same shape before, x.squeeze(1) of what is [batch, 1]; or take away an unsqueeze too many."
    measured = f"{seen.left} and {seen.right}"
    return finding("target-shape-mismatch", message, measured, "shapes of one rank", fix)


def target_not_normalised(seen: list[Column]) -> Finding | None:
    """Targets of a regression are of the size that an untrained model answers with."""
    widest = max(seen, key=_beside_output)
    if _beside_output(widest) > LARGE:
        return _not_normalised(
            widest, widest.std, f"<= {LARGE:g}", "an untrained model answers within about 1"
        )
    answers = max(one.output_std for one in seen)
    if widest.std < SMALL and widest.std * OWN_SCALE < answers:
        why = f"the untrained model's answers have one of {answers:.2g}"
        return _not_normalised(widest, widest.std, f">= {SMALL:g}", why)
    usual = math.sqrt(math.fsum(one.std**2 for one in seen) / len(seen))
    far = max(seen, key=lambda one: _offset(one) / max(one.std, usual))
    measured = _offset(far) / max(far.std, usual)
    if measured <= FAR or _offset(far) <= _SHIFT * max(far.output_std, 1.0):
        return None
    why = (
        f"the untrained model's answers, {far.output_mean:.3g} on average, are {measured:.3g} deviations away"
    )
    return _not_normalised(far, measured, f"<= {FAR:g}", why)


def _beside_output(column: Column) -> float:
    return column.std / max(column.output_std, 1.0)  # a model may scale its answers itself


def _offset(column: Column) -> float:
    # A prior-initialised bias is near the mean; outputs that are far off themselves say nothing of the targets.
    return min(abs(column.mean - column.output_mean), abs(column.mean))


def _not_normalised(column: Column, measured: float, expected: str, why: str) -> Finding:
    where = "" if column.index is None else f" in column {column.index}"
    message = (
        f"The targets{where} have mean {column.mean:.4g} and standard deviation {column.std:.3g}; {why}."
    )
    part = "targets" if column.index is None else f"targets[:, {column.index}]"
    fix = (
        f"Standardise them with numbers of the training data, {part} = ({part} - {column.mean:.4g}) / "
        f"{column.std:.4g}, and undo it on predictions."
    )
    return finding("target-not-normalised", message, measured, expected, fix)


def constant_target(seen: Same) -> Finding | None:
    """Not all targets are alike."""
    if not seen.alike or seen.examples < FEWEST:
        return None
    message = f"All {seen.examples:,} targets looked at are alike ({seen.value})."
    return finding("constant-target", message, 1, "> 1 value")


def class_imbalance(seen: Labels) -> Finding | None:
    """No class is many times as frequent as another without the loss or the sampler making up for it."""
    weighed = (judge(seen.groups) for judge in (weights_inverted, weights_misplaced, weights_overdone))
    wrong = next(filter(None, weighed), None) or padding_counts(seen.padding)
    wrong = wrong or drawn_inverted(seen.counts, seen.dataset)
    if wrong or len(seen.counts) < 2 or seen.compensated:
        return wrong
    most, least = max(seen.counts, key=seen.counts.__getitem__), min(seen.counts, key=seen.counts.__getitem__)
    high, low = seen.counts[most], seen.counts[least]
    made_up = high / low / seen.weighed.get(least, 1.0) * seen.weighed.get(most, 1.0)
    if min(high / low, made_up) < IMBALANCE or certain_ratio(high, low, sum(seen.counts.values())) < _CERTAIN:
        return None
    total = sum(seen.counts.values())
    message = (
        f"Class {most} has {high:,} of {total:,} labels ({high / total:.1%}), class {least} {low:,} "
        f"({low / total:.1%}): a constant answer reaches {high / total:.1%} accuracy."
    )
    return finding("class-imbalance", message, high / low, f"< {IMBALANCE:g}")
