"""Checks of what a contrastive loss compares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.probes.losses.partners import Partners
    from lrtune.results import Finding


def finds_itself(seen: Partners) -> Finding | None:
    """No example stands among the candidates for its own partner."""
    if not seen.finds_itself:
        return None
    message = (
        f"A cross-entropy looks for each vector's partner among all {seen.rows}, its own among them: in every row the "
        f"similarity to itself is the largest, so that the loss cannot fall below ln 2 = {math.log(2):.4g} and no "
        "partner is ever found first."
    )
    fix = "Mask the diagonal before the loss: scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -torch.inf)."
    return finding("cannot-overfit", message, seen.score, "a masked diagonal", fix)


def one_vector(seen: Partners) -> Finding | None:
    """The two halves of a pair are not one vector."""
    if not seen.one_vector:
        return None
    message = (
        f"A cross-entropy looks for each vector's partner among {seen.rows}, and the untrained model finds all of them "
        f"with just the same similarity ({seen.score:.4g}): both halves of each pair are one vector."
    )
    fix = (
        "Give the loss two views of each example: draw the augmentation anew for each of them, and look whether one "
        "input or one encoder is used for both."
    )
    return finding("target-leak", message, seen.score, "similarities that differ", fix)
