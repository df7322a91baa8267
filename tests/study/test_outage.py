from __future__ import annotations

import threading
import time

import pytest
from optuna.trial import TrialState
from postgres_server import Server, lacking

from lrtune.storage import parsed
from lrtune.study.grid import wanted_cells
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue

CELLS = wanted_cells({f"cell {at}": {"lr": 0.1 * (at + 1), "weight_decay": 0.0} for at in range(2)})


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.skipif(lacking() is not None, reason=str(lacking()))
def test_the_living_survive_an_outage_longer_than_the_grace() -> None:
    """After an outage, who comes back first fails nobody that lives, and what they tell then counts."""
    server = Server()
    place = StudyPlace(None, "coarse", parsed(server.url), heartbeat=1, patience=60)
    one, other = TrialQueue(place), TrialQueue(place)
    try:
        one.ensure(CELLS)
        taken = one.take(2, CELLS)
        assert len(taken) == 2
        server.stop()
        took: list[int] = []
        waiting = threading.Thread(target=lambda: took.append(len(other.take(2, CELLS))))
        waiting.start()
        time.sleep(place.grace + 3)
        server.start()
        waiting.join()
        assert took == [0]
        states = [trial.state for trial in other.study.get_trials(deepcopy=False)]
        assert states == [TrialState.RUNNING] * 2
        row = {"state": "complete", "curve": "c"}
        assert [one.tell(each, row, 0.5, {1: 0.5}) for each in taken] == [True, True]
        assert sorted(other.told()) == ["cell 0", "cell 1"]
    finally:
        for queue in (one, other):
            queue.close()
        server.remove()
