"""The scores among which a contrastive loss looks for each example's partner, as a cross-entropy is given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses.loss_calls import LossCalls

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 6  # rows: in fewer all may stand out by chance
_EQUAL = 1e-5  # of the largest score: float32 of one cosine computed in two ways
_APART = 1e-3  # of the same: how far above its row's middle a score must be to stand out


@dataclass(frozen=True)
class Partners:
    """One call's scores, `[rows, rows]`.

    Attributes:
        rows: How many vectors are compared.
        finds_itself: Whether in every row the largest score is the diagonal's, which is no row's partner.
        one_vector: Whether in every row the partner's score is the largest, and the same number in all rows.
        score: That number, or the mean of the diagonal.
    """

    rows: int
    finds_itself: bool
    one_vector: bool
    score: float


def partners(sample: Sample) -> Partners | None:
    """Measure the first batch's calls on the untrained model; None where no such loss is computed."""
    found: list[Partners] = []

    def keep(scores: Any, target: Any) -> None:
        if _are_scores(scores, target):
            found.append(measured(scores.detach().float(), target.detach()))

    with LossCalls((F.cross_entropy,), keep):
        sample.run(sample.awake, sample.batches[0], training=True)
    return next((one for one in found if one.finds_itself or one.one_vector), found[0] if found else None)


def _are_scores(scores: Any, target: Any) -> bool:
    """Say whether every row's label is another column, of as many columns as rows."""
    if not (isinstance(scores, torch.Tensor) and isinstance(target, torch.Tensor)):
        return False
    if scores.ndim != 2 or scores.shape[0] != scores.shape[1] or target.is_floating_point():
        return False
    rows = len(scores)
    if (
        target.shape != scores.shape[:1]
        or rows < _FEWEST
        or not bool(((target >= 0) & (target < rows)).all())
    ):
        return False
    return int(torch.unique(target).numel()) == rows


def measured(scores: torch.Tensor, target: torch.Tensor) -> Partners:
    """Judge nothing: tell where the largest scores stand.

    Args:
        scores: `[rows, rows]`.
        target: `[rows]`, each column once.
    """
    places = torch.arange(len(scores), device=scores.device)
    own, chosen = scores.diagonal(), scores[places, target]
    finds_itself = not bool((target == places).any()) and _stand_out(own, scores)
    alike = float(chosen.amax() - chosen.amin()) <= _EQUAL * float(chosen.abs().amax())
    one_vector = alike and not finds_itself and _stand_out(chosen, scores)
    return Partners(len(scores), finds_itself, one_vector, float((own if finds_itself else chosen).mean()))


def _stand_out(picked: torch.Tensor, scores: torch.Tensor) -> bool:
    """Say whether one score of each row is the largest of it, and not because all are alike."""
    size = float(picked.abs().amax())  # not that of all scores: masked ones are huge
    largest = bool((picked >= scores.amax(1) - _EQUAL * size).all())
    return largest and bool((picked - scores.median(1).values > _APART * size).all())
