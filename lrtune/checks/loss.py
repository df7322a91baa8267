"""Checks of the loss function itself: its reduction, and what it is given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.probes.losses.error_weights import ErrorWeights
    from lrtune.probes.losses.label_weights import LabelWeights
    from lrtune.probes.losses.log_targets import LogTargets
    from lrtune.probes.losses.loss_reduction import LossReduction
    from lrtune.probes.losses.output_kind import OutputKind
    from lrtune.probes.losses.soft_labels import SoftLabels
    from lrtune.results import Finding

# Losses of k copies go as k to a power: 0 for a mean, 1 for a sum, -1 where the mean is divided by the batch again.
POWER = 0.1  # how near to 1 or -1: sums 0.93 to 1.00 under noise; means within 0.1 of 0; one over pairs has no power
STRAIGHT = (
    0.25  # how near to equal the third copy's share is to the second's: losses over pairs grow by logarithms
)
# A loss that tells each example from the others of the batch (InfoNCE, NT-Xent) is about log(batch) for each: with
# half of them it is log 2 smaller. Other losses over pairs, a mean's too, grow by other steps.
PAIRS = 0.35  # relative, of those steps: temperatures of 0.1 and more, 16 to 64 examples
FACTORS = (1.0, 2.0)  # both directions may be added up
# Relative, of the loss of halves from that of the whole: where terms are added up and none is of a pair they are the
# same but for float32. Sigmoid losses over pairs (SigLIP) with batches of 16 and 64 were off by 1e-3 and more.
ADDED = 3e-4

FULL = 0.98  # of the labels: what few leave out makes no difference worth a word
FEWEST_LABELS = 4  # a sum of fewer may be a factor that is meant
SHARE_MATCH = 0.01  # relative: nothing else makes the weights add up to just the share of labels that count

_HALF = {"squared": (0.5,)}  # halved squares, and Huber's error where all are small
# Smoothed and noisy answers of a discriminator reach 1.2 (Chintala et al., "How to train a GAN?", 2016) on purpose.
ANSWERS = (-0.25, 1.25)
# Of the rows given to a cross-entropy: soft labels, smoothed, mixed and distilled ones have none that sums to 1.5 or
# more; four tags, each on a fifth of the examples, leave 18% of the rows with several, six on a third each 68%.
SEVERAL_LABELS = 0.1


def loss_not_mean(seen: LossReduction) -> Finding | None:
    """Every example twice gives the same loss."""
    if seen.twice <= 0 or seen.thrice <= 0:
        return None
    powers = math.log(seen.twice) / math.log(2), math.log(seen.thrice) / math.log(3)
    if not any(all(abs(power - wanted) <= POWER for power in powers) for wanted in (1, -1)):
        return _sum_over_pairs(seen)
    if seen.pairs and not (powers[0] > 0 and _adds_up(seen)):
        return None  # a mean over examples that are compared with a batch's others: copies bring new pairs
    if powers[0] < 0:
        message = (
            f"With every example twice the loss is {seen.twice:.3g} times as large: it is divided by the size of the "
            f"batch once too often, so that it and its gradients are {seen.count} times too small."
        )
        fix = "Leave out the division: the loss's default reduction is the mean already."
        return finding("loss-not-mean", message, seen.twice, "1", fix)
    if abs((seen.thrice - seen.twice) / (seen.twice - 1) - 1) > STRAIGHT:
        return None
    factor = f"{seen.count}"
    if seen.elements is not None and seen.elements > 1:
        factor += f" to {seen.count * seen.elements:,} (every number of the target)"
    message = (
        f"With every example twice the loss is {seen.twice:.3g} times as large: it is a sum over the batch, so that "
        f"it and its gradients are larger than the mean's by a factor of {factor}."
    )
    return finding("loss-not-mean", message, seen.twice, "1")


def _adds_up(seen: LossReduction) -> bool:
    """Say whether the batch's loss is that of its halves added up."""
    return len(seen.parts) == 3 and abs(seen.parts[0] / seen.parts[1] - 1) <= ADDED


def _sum_over_pairs(seen: LossReduction) -> Finding | None:
    """Judge losses that compare the batch's examples, whose mean grows by a logarithm with each further doubling."""
    if len(seen.parts) != 3:
        return None
    each = seen.parts
    steps = [(each[0] - each[1]) / math.log(2), (each[1] - each[2]) / math.log(2)]
    if min(each) <= 0 or not all(any(abs(step / k - 1) <= PAIRS for k in FACTORS) for step in steps):
        return None
    if abs(steps[0] / steps[1] - 1) > PAIRS:
        return None
    ratio = 2 * each[0] / each[1]
    message = (
        f"The loss of all {seen.count} examples of a batch is {ratio:.3g} times that of half of them, and "
        f"{each[0]:.3g} for each: it compares examples and is a sum over the batch, {seen.count} times the mean."
    )
    return finding("loss-not-mean", message, ratio, "< 2")


def labels_summed(seen: LabelWeights) -> Finding | None:
    """The weights of the labels add up to 1, and not to their number."""
    if seen.counted < FEWEST_LABELS or abs(seen.total / seen.counted - 1) > SHARE_MATCH:
        return None
    message = (
        f"The losses of {seen.counted:,} labels are added up: the loss and its gradients are larger than the "
        f"mean's by a factor of {seen.counted:,}."
    )
    return finding("loss-not-mean", message, seen.total, "1")


def padding_in_mean(seen: LabelWeights) -> Finding | None:
    """Labels that do not count are not counted in the mean either."""
    share = seen.counted / seen.labels
    if share > FULL or abs(seen.total / share - 1) > SHARE_MATCH:
        return None
    message = (
        f"{seen.counted:,} of {seen.labels:,} labels count, yet their losses are divided by all {seen.labels:,}: the "
        f"loss and its gradients are {share:.3g} times the mean's, more or less so from batch to batch."
    )
    fix = "Divide by the mask's sum: (losses * mask).sum() / mask.sum()."
    return finding("loss-not-mean", message, seen.total, "1", fix)


def errors_summed(seen: ErrorWeights) -> Finding | None:
    """The errors of a regression have the weights of a mean, which do not depend on their number."""
    whole = any(abs(seen.each / one - 1) <= SHARE_MATCH for one in (1.0, *_HALF.get(seen.kind, ())))
    if (
        not whole or math.log10(seen.counted).is_integer()
    ):  # a mean times 10, 100, ... is a weight that people choose
        return None
    message = (
        f"The {seen.kind} errors of {seen.counted:,} numbers are added up: the loss and its gradients are larger "
        f"than the mean's by a factor of {seen.counted:,}."
    )
    return finding("loss-not-mean", message, seen.each * seen.counted, "1")


def log_targets_out_of_range(seen: LogTargets) -> Finding | None:
    """What torch's losses of yes and no are given inside a step are answers between 0 and 1."""
    if seen.low >= ANSWERS[0] and seen.high <= ANSWERS[1]:
        return None
    message = (
        f"A binary cross-entropy is given {seen.outside:,} of {seen.total:,} targets outside 0 to 1 (found "
        f"{seen.low:g} to {seen.high:g}): it then falls without bound as the outputs grow."
    )
    worst = seen.low if seen.low < ANSWERS[0] else seen.high
    fix = "Bring the targets into 0 to 1 (pixels: divide by their largest possible value), or use a squared error."
    return finding("target-out-of-range", message, worst, "0 to 1", fix)


def several_labels(seen: SoftLabels) -> Finding | None:
    """Rows of probabilities that a cross-entropy is given sum to 1: it is the loss of a single label.

    Numbers above 1 are weights of examples, and let through.
    """
    if seen.low < 0 or seen.high > 1 or seen.several < SEVERAL_LABELS * seen.rows:
        return None
    least, mean, most = seen.sums
    message = (
        f"A softmax cross-entropy is given rows of {seen.classes} numbers as probabilities, yet {seen.several:,} of "
        f"{seen.rows:,} rows hold more than one label: they sum to {least:.3g} to {most:.3g}, {mean:.3g} on average."
    )
    fix = "For several labels an example use F.binary_cross_entropy_with_logits; else divide each row by its sum."
    return finding("target-out-of-range", message, most, "rows that sum to 1", fix)


def double_softmax(seen: OutputKind) -> Finding | None:
    """No probabilities go into a loss that expects logits."""
    if seen.squashed_by is None:
        return None
    what = (
        "Probabilities go"
        if seen.squashed_by == "probabilities"
        else f"The result of a {seen.squashed_by} goes"
    )
    wanted = "log-probabilities" if "likelihood" in seen.expects else "logits"
    message = f"{what} into {seen.expects}, which expects {wanted}"
    if seen.module is not None:
        message += f"; it comes from model.{seen.module}"
    if seen.classes is not None and seen.expects == "cross-entropy":
        floor = math.log(1 + (seen.classes - 1) / math.e)
        message += (
            f". Perfect answers would keep a loss of {floor:.4g}, the untrained model has {seen.loss:.4g}"
        )
    fix = None
    if wanted == "log-probabilities":
        fix = "Use log_softmax instead of softmax, or cross_entropy on the logits."
    elif seen.module is not None:
        fix = f"Remove model.{seen.module}; apply it only where probabilities are read."
    return finding("double-softmax", message + ".", seen.squashed_by, wanted, fix)
