from __future__ import annotations

import json
import math
import statistics
from typing import Any

import pytest
from programs import blob_task, context_of

from lrtune.steps.repeats import Repeats, repeated, repeats_from

ROWS = ({"lr": 0.03, "weight_decay": 0.0, "curve": "a"}, {"lr": 0.3, "weight_decay": 1e-4, "curve": "b"})


def run(known: Repeats, seeds: int = 3, **keys: Any) -> tuple[Repeats, list[int]]:
    """Repeat both settings; return how many trainings were begun, too."""
    refine = {"epochs": 1, "seeds": seeds}
    made = context_of(blob_task(), batch_size=16, refine=refine, population={"execution": "serial"}, **keys)
    begun: list[int] = []
    return repeated(made, *ROWS, known, begun.append, lambda steps: None), begun


def test_mean_and_spread() -> None:
    """Each setting is trained under seeds that chose neither; the summary holds mean and standard deviation."""
    found, begun = run(Repeats())
    assert begun == [6]
    assert list(found.losses) == [1, 2, 3]
    summary = found.summary()
    assert summary is not None
    for at, kind in enumerate(("coarse", "refined")):
        losses = [pair[at] for pair in found.losses.values()]
        assert summary[kind]["mean"] == pytest.approx(statistics.fmean(losses))
        assert summary[kind]["spread"] == pytest.approx(statistics.stdev(losses))
    assert summary["gain"] == pytest.approx(summary["coarse"]["mean"] - summary["refined"]["mean"])


def test_known_repeats_are_not_trained_again() -> None:
    """More seeds train those that are new; other settings begin anew; the numbers are those of one go."""
    first, _ = run(Repeats(), seeds=2)
    more, begun = run(repeats_from(json.loads(json.dumps(first.to_dict()))), seeds=4)
    assert begun == [4]
    assert more == run(Repeats(), seeds=4)[0]
    _, begun = run(Repeats(("a", "other"), first.losses), seeds=2)
    assert begun == [4]


def test_one_seed_and_one_setting_have_no_repeats() -> None:
    """One seed has no spread, and a setting is not compared with itself."""
    assert run(Repeats(), seeds=1) == (Repeats(), [])
    assert Repeats().summary() is None
    assert Repeats().gain == (None, None)


def test_a_seed_that_diverges_is_left_out() -> None:
    """A pair in which a training did not complete does not count, and comes back from a file as such."""
    found = Repeats(("a", "b"), {1: (1.0, 0.5), 2: (1.0, math.inf), 3: (2.0, 1.0)})
    assert found.pairs == {"coarse": [1.0, 2.0], "refined": [0.5, 1.0]}
    assert repeats_from(found.to_dict()) == found
    none = Repeats(("a", "b"), {1: (1.0, math.inf)})
    assert none.gain == (None, None)
    assert none.summary()["refined"] == {"mean": None, "spread": None}  # type: ignore[index]
