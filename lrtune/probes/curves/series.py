"""A curve as arrays: the minibatch losses, and the evaluations that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lrtune.results import Curve

    Floats = NDArray[np.float64]

_MOST = 1e150  # a loss beyond it has exploded, and its square is not finite any more
_PHASES = 10  # that stand in for evaluations where none were made


@dataclass(frozen=True)
class Series:
    """What was measured of one training.

    Attributes:
        loss: Minibatch losses, `[steps]`, up to the first that is not finite.
        epochs: Of the evaluations, `[evaluations]`; equal parts of the steps where there are none.
        train: Training loss on the fixed subset at those, `[evaluations]`.
        val: Validation loss at those, or None where it was not measured at all of them.
        ended: Whether the loss stopped being finite.
    """

    loss: Floats
    epochs: Floats
    train: Floats
    val: Floats | None
    ended: bool


def series_of(curve: Curve) -> Series:
    """Return a curve's numbers as arrays."""
    loss = _until_not_finite(curve.loss)
    rows = curve.evaluations
    train = _until_not_finite([row.get("train_loss") for row in rows])
    ended = len(loss) < len(curve.loss) or 0 < len(train) < len(rows)
    if len(train) < 2:
        parts = np.array_split(loss, _PHASES) if len(loss) >= 2 * _PHASES else []
        means = np.asarray([part.mean() for part in parts], dtype=float)
        return Series(loss, np.arange(len(means), dtype=float), means, None, ended)
    epochs = np.asarray([float(row.get("epoch") or 0) for row in rows[: len(train)]])
    val = _until_not_finite([row.get("val_loss") for row in rows])[: len(train)]
    return Series(loss, epochs, train, val if len(val) == len(train) else None, ended)


def _until_not_finite(values: Sequence[float | int | None]) -> Floats:
    kept: list[float] = []
    for value in values:
        if value is None or not abs(value) < _MOST:
            break
        kept.append(float(value))
    return np.asarray(kept, dtype=float)
