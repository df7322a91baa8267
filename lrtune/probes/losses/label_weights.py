"""What each label counts in a cross-entropy, read off the loss's gradient.

The gradient of w·cross-entropy with respect to a row of logits is w (softmax - one-hot), so that a step which masks,
weights and averages by its own code still tells the weight w of every label. Those of a mean add up to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.probes.losses.binary_weights import answer_reading, fits_answers
from lrtune.probes.losses.class_reading import class_reading
from lrtune.probes.losses.inferred_labels import with_labels
from lrtune.probes.model.heard import with_output

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome
    from lrtune.probes.sample import Sample


@dataclass(frozen=True)
class LabelWeights:
    """The labels of one batch as the loss counts them.

    Attributes:
        total: Sum of the weights: 1 for a mean, the number of labels for a sum. Answers of yes and no are all taken
            at the weight of a no, which pos_weight does not change.
        counted: How many labels have a weight.
        labels: How many there are.
        classes: Width of the output.
        entropy: Of the labels that count, in nats.
    """

    total: float
    counted: int
    labels: int
    classes: int
    entropy: float


def label_weights(sample: Sample) -> LabelWeights | None:
    """Measure the first batch; None where its gradient is not that of a weighted cross-entropy."""
    outcome = _outcome(sample)
    found = weights_of(outcome)
    if found is None and fits_answers(outcome):
        # Outputs of a head that begins at zero are alike, and their gradients fit any loss.
        found = _answer_weights(sample.run(sample.awake, sample.batches[0], training=True, graph=True))
    # A sum in a loss function shows when the batch is repeated; only what it leaves out does not.
    hidden = found is not None and sample.program.task.step is None and found.counted == found.labels
    return None if hidden else found


def _outcome(sample: Sample) -> Outcome:
    """Run the first batch; of a step that returns its loss alone, output and labels are found out."""

    def run() -> Outcome:
        return sample.run(sample.model, sample.batches[0], training=True, graph=True)

    if sample.program.task.step is None:
        return run()
    outcome = with_output(sample.model, run)
    return with_labels(outcome) or outcome


def weights_of(outcome: Outcome) -> LabelWeights | None:
    """Return the weights of class labels in one outcome, which carries its graph."""
    seen = class_reading(outcome)
    if seen is None:
        return None
    counts, unknown = seen.counts, seen.weights.isnan()
    weights = seen.weights[counts]
    shares = torch.bincount(seen.labels[counts]).double() / int(counts.sum())
    entropy = float(torch.special.entr(shares).sum())
    # What cannot be told counts like the others: it must not look as if it were left out.
    total = float(weights.sum()) + float(weights.mean()) * int(unknown.sum())
    return LabelWeights(total, len(weights) + int(unknown.sum()), len(seen.labels), seen.classes, entropy)


def _answer_weights(outcome: Outcome) -> LabelWeights | None:
    seen = answer_reading(outcome)
    if seen is None:
        return None
    counts, unknown = seen.counts, seen.weights.isnan()
    told = {label: counts[seen.labels == label] for label in (0, 1)}
    if any(bool(told[label].all()) and not bool(told[1 - label].any()) for label in (0, 1)):
        return None  # a loss of the yes alone, or of the no
    of_no = seen.weights[counts & (seen.labels == 0)]
    usual = float((of_no if len(of_no) else seen.weights[counts]).mean())
    counted = int(counts.sum()) + int(unknown.sum())
    return LabelWeights(usual * counted, counted, len(seen.labels), 1, 0.0)
