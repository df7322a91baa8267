"""Losses at initialisation that are another one by design: outputs of a fixed scale, and examples that are compared.

Cosine classifiers (Wang et al., "CosFace", 2018; Deng et al., "ArcFace", 2019) multiply the cosines of normalised
vectors by a constant of 16 to 64, so that the first loss is far above ln C whatever the weights. Contrastive losses
(Chen et al., "SimCLR", 2020) ask for each example's other view among the batch, which is alike before any training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.probes.model.heard import with_output

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FACTOR = 0.5  # what the classes' weights are multiplied by
_SAME = 1e-3  # of the outputs: the small number under a norm, and float32
_FEWEST = 4  # examples: fewer labels may all differ by chance


def has_fixed_scale(sample: Sample) -> bool:
    """Say whether the logits stay the same when the classes' weights are halved: something normalises them."""
    model, batch = sample.build(), sample.batches[0]
    run = lambda: sample.run(model, batch, training=False)  # noqa: E731
    before = with_output(model, run).output
    if not isinstance(before, torch.Tensor) or before.ndim < 2:
        return False
    # Zeros stay what they are when halved, and would prove anything.
    matrices = [one for one in model.parameters() if one.ndim >= 2 and bool(one.detach().any())]
    of_classes = [[one for one in matrices if before.shape[place] in one.shape[:2]] for place in (-1, 1)]
    # Language models have their classes last; a segmentation's last dimension is a width.
    weights = of_classes[0] if before.ndim == 3 and of_classes[0] else of_classes[1]
    with torch.no_grad():
        for weight in weights:
            weight.mul_(_FACTOR)
    after = with_output(model, run).output
    size = float(before.detach().float().abs().max())
    change = float((after - before).detach().float().abs().max())
    return bool(weights) and size > 0 and change <= _SAME * size


def compares_examples(output: Any, target: Any) -> bool:
    """Say whether each example's answer is another of the batch: as many classes as examples, and no label twice."""
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return False
    if output.ndim != 2 or target.ndim != 1 or target.is_floating_point() or len(target) < _FEWEST:
        return False
    examples, classes = output.shape
    return examples == len(target) == torch.unique(target).numel() and examples - 1 <= classes <= 2 * examples
