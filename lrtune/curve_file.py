"""A training curve as a CSV file."""

from __future__ import annotations

import csv
import io
from typing import Any

from lrtune.results import Curve

_EVALUATION_COLUMNS = ("epoch", "train_loss", "val_loss")


def curve_to_csv(curve: Curve) -> str:
    """Return a curve as CSV: a row a step with the minibatch `loss`, and the evaluations in the row of their step.

    Columns: `step`, `loss`, `epoch`, `train_loss`, `val_loss`, then the metrics. An empty cell was not measured.
    """
    metrics = sorted({key for row in curve.evaluations for key in row} - {*_EVALUATION_COLUMNS, "step"})
    columns = ["step", "loss", *_EVALUATION_COLUMNS, *metrics]
    rows: list[dict[str, Any]] = [{"step": step, "loss": loss} for step, loss in enumerate(curve.loss, 1)]
    for evaluation in curve.evaluations:
        step = int(evaluation["step"] or 0)
        if 0 < step <= len(curve.loss) and "epoch" not in rows[step - 1]:
            rows[step - 1] |= evaluation
        else:
            rows.append(dict(evaluation))
    rows.sort(key=lambda row: (row["step"], row.get("epoch") or 0))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def curve_from_csv(text: str) -> Curve:
    """Return the curve that `curve_to_csv` wrote."""
    curve = Curve()
    for row in csv.DictReader(io.StringIO(text)):
        if row["loss"]:
            curve.loss.append(float(row["loss"]))
        if row["epoch"]:
            measured = {key: _number(value) for key, value in row.items() if key != "loss"}
            curve.evaluations.append(measured)
    return curve


def _number(cell: str) -> float | int | None:
    if not cell:
        return None
    return int(cell) if cell.lstrip("-").isdigit() else float(cell)
