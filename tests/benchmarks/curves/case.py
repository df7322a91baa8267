"""What a benchmark curve is: a training as a grid would keep it, with what should be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.results import Curve

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HEALTHY: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One curve.

    Attributes:
        kind: What it shows, a row of the table.
        name: Of this curve within its kind.
        wanted: Codes of which any is right; none for a healthy curve, of which `converged` alone may be said.
        curve: The training.
        grid: The step that it is the answer of, `refine-grid` or `coarse-grid`.
    """

    kind: str
    name: str
    wanted: tuple[str, ...]
    curve: Curve
    grid: str = "refine-grid"

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(self.curve.evaluations) - 1


def drawn(
    level: Floats,
    val: Floats | None,
    epochs: int,
    noise: Callable[[int], Floats],
    jitter: Callable[[int], Floats],
    val_jitter: Callable[[int], Floats] | None = None,
) -> Curve:
    """Return a curve from its levels without noise.

    Args:
        level: Training loss before each step and after the last, `[steps + 1]`.
        val: Validation loss at each epoch, `[epochs + 1]`, or None where nothing is validated.
        epochs: Of equal length.
        noise: Added to the minibatch losses; told how many there are.
        jitter: Added to the evaluations of the training subset.
        val_jitter: Added to those of the validation set, `jitter` where it is None.
    """
    steps = len(level) - 1
    at = [steps * epoch // epochs for epoch in range(epochs + 1)]
    train = level[at] + jitter(epochs + 1)
    vals = None if val is None else val + (val_jitter or jitter)(epochs + 1)
    rows: list[dict[str, float | int | None]] = []
    for epoch, step in enumerate(at):
        row: dict[str, float | int | None] = {"epoch": epoch, "step": step, "train_loss": float(train[epoch])}
        if vals is not None:
            row["val_loss"] = float(vals[epoch])
        rows.append(row)
    return Curve([float(loss) for loss in level[:-1] + noise(steps)], rows)
