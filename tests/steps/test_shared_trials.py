from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lrtune.results import Curve
from lrtune.steps.shared_trials import Role, SharedTrials, curve_text
from lrtune.storage import parsed
from lrtune.study.grid import wanted_cells
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue

if TYPE_CHECKING:
    from pathlib import Path

CELLS = wanted_cells({"cell 0": {"lr": 0.1, "weight_decay": 0.0}})
CURVE = Curve([1.0, 0.5], [{"epoch": 1, "step": 2, "val_loss": 0.5}])


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "worker"])
def test_curves_of_others(tmp_path: Path, leads: bool) -> None:
    """Who leads writes the curves that others have trained; a worker keeps what the plan asks for, the evaluations."""
    queue = TrialQueue(StudyPlace(None, "coarse", parsed(f"journal:{tmp_path / 'log'}")))
    queue.ensure(CELLS)
    (taken,) = queue.take(1, CELLS)
    queue.tell(taken, {"state": "complete", "curve": "c"}, 0.5, {1: 0.5}, curve_text(CURVE))
    trials = SharedTrials(queue, Role(leads=leads), {})
    assert trials.rows == {"cell 0": {"state": "complete", "curve": "c"}}
    assert trials.curves["c"] == (CURVE if leads else Curve([], CURVE.evaluations))
    queue.close()
