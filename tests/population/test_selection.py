from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import CPU, blob_task, blobs, context_of

from lrtune.population.protocol import Member
from lrtune.population.selection import Halving
from lrtune.population.training import Run, train_members
from lrtune.results import Curve
from lrtune.steps.coarse_grid import coarse_grid

if TYPE_CHECKING:
    from lrtune.steps.context import Context

RATES = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3)
EPOCHS = 4


def context(resident: bool = True, **keys: Any) -> Context:
    """A task in memory, or one whose data are read anew."""
    train = blobs() if resident else torch.utils.data.DataLoader(blobs(), 16, shuffle=True)
    return context_of(blob_task(train=train), batch_size=16, population={"execution": "serial"}, **keys)


def runs(made: Context, halving: Halving | None, steps: list[int] | None = None) -> dict[float, Run]:
    """All rates trained, by rate."""
    members = [Member(rate) for rate in RATES]
    on_steps = (steps if steps is not None else []).append
    done = train_members(made.planner, members, made.data, EPOCHS, on_steps, halving)
    return {run.member.learning_rate: run for run in done}


@pytest.mark.parametrize(
    ("share", "epochs", "rungs"), [(2, 4, [1, 2]), (3, 9, [1, 3]), (3, 3, [1]), (2, 1, []), (4, 10, [1, 3])]
)
def test_rungs(share: int, epochs: int, rungs: list[int]) -> None:
    """Rungs lie a factor apart, counted from the end, the last epoch left out."""
    assert Halving(share).rungs(epochs) == rungs


@pytest.mark.parametrize("resident", [True, False], ids=["one at a time", "side by side"])
def test_the_best_go_on(resident: bool) -> None:
    """After each rung half of those left go on, by validation loss; their curves are those without halving."""
    steps: list[int] = []
    halved = runs(context(resident), Halving(2), steps)
    whole = runs(context(resident), None)
    per_epoch = 6
    taken = sorted(run.steps for run in halved.values())
    assert taken == [per_epoch * epochs for epochs in (1, 1, 1, 2, 4, 4)]
    assert sum(steps) == len(RATES) * EPOCHS * per_epoch
    for rate, run in halved.items():
        assert run.pruned is (run.steps < EPOCHS * per_epoch)
        assert run.curve.evaluations == whole[rate].curve.evaluations[: len(run.curve.evaluations)]
        assert run.curve.loss == whole[rate].curve.loss[: run.steps]
    at_first = sorted(RATES, key=lambda rate: whole[rate].curve.evaluations[1]["val_loss"])
    assert {rate for rate, run in halved.items() if run.steps > per_epoch} == set(at_first[:3])


def test_peers_compete() -> None:
    """Cells trained before take part at the rungs that they came to: with better ones there, all are left behind."""
    peers = [Curve(evaluations=[{"epoch": 1, "val_loss": 1e-6}]) for _ in RATES]
    assert {run.steps for run in runs(context(), Halving(2, peers)).values()} == {6}


def test_too_much_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that cannot all be held compete in halves, and this is told; nothing fails."""
    made = context()
    build, most = made.planner.population, 3
    alive: list[int] = []

    def scarce(members: Any, *rest: Any, **keys: Any) -> Any:
        alive.append(len(members))
        if len(alive) == most + 1:
            raise torch.OutOfMemoryError("out of memory")
        return build(members, *rest, **keys)

    monkeypatch.setattr(made.planner, "population", scarce)
    notes: list[str] = []
    monkeypatch.setattr(made.planner, "note", notes.append)
    done = runs(made, Halving(2))
    assert set(done) == set(RATES)
    assert notes == ["out of memory: training 3 members at a time"]
    assert sum(not run.pruned for run in done.values()) == 2
    assert made.device == CPU


def test_a_grid_with_halving() -> None:
    """Cells left behind are `pruned`, ranked after the complete ones; the best is complete."""
    coarse = {"lr": list(RATES), "weight_decay": [0.0], "epochs": EPOCHS, "halving": 2}
    result = coarse_grid(context(coarse=coarse), None)
    states = [trial["state"] for trial in result.summary["trials"] if trial["lr"] in RATES]
    assert states.count("pruned") == 4
    assert states[:2] == ["complete", "complete"]
    again = coarse_grid(context(coarse=coarse), None)
    assert again.summary == result.summary
