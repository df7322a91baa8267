from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from programs import CPU, blob_task, program_of
from torch import nn

from lrtune.config import PopulationConfig
from lrtune.data.source import open_data
from lrtune.population.choosing import Choice
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.plans import Plan
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.population.sharded.refusal import CannotShardError
from lrtune.population.timing import Timed
from lrtune.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBERS = [Member(rate) for rate in (0.01, 0.03, 0.1, 0.3, 0.05, 0.02, 0.2, 0.15)]
STEPS = 1000
STEP = 0.01  # seconds of one member's step: 80 seconds one by one


def convolution() -> nn.Module:
    """Return a classifier of blobs as images of two by two."""
    return nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 8, 2), nn.Flatten(), nn.Linear(8, 3))


class Pool:
    """Two workers that nobody ever asks for anything."""

    def __init__(self, refused: str | None = None, reads_again: bool = False) -> None:
        self.size, self.refused, self.reads_again = 2, refused, reads_again


class Sharded:
    """Stands where members would be dealt out."""

    def __init__(
        self, program: Any, members: Any, train: Any, splits: Any, pool: Any, workers: int, nested: Any
    ) -> None:
        self.members, self.workers, self.nested = members, workers, nested


class Fused(FusedPopulation):
    """One program that remembers whether it is recorded."""

    def __init__(self, program: Any, members: Any, train: Any, splits: Any, traced: bool) -> None:
        super().__init__(program, members, train, splits, traced)
        self.traced = traced


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Plan | None]:
    """A function that chooses by given times: how many times as fast as one by one each execution is."""

    def chosen(
        speeds: dict[str, Any],
        pool: Pool | None = None,
        steps: int = STEPS,
        left: float = math.inf,
        images: bool = False,
        **settings: Any,
    ) -> Plan | None:
        def timed(build: Callable[[], Any], budget: Any) -> Timed:
            population = build()
            if isinstance(population, SerialPopulation):
                speed = speeds.get("channels", 1.0) if population._program.channels_last else 1.0
                return Timed(speeds.get("start", 0.0), STEP * len(population.members) / speed)
            if isinstance(population, Sharded):
                speed = speeds["each" if population.nested.execution == "fused" else "workers"]
                speed = speed * speeds["channels"] if population.nested.channels_last else speed
            else:
                assert isinstance(population, Fused)
                speed = speeds["recorded" if population.traced else "program"]
            if isinstance(speed, Exception):
                raise speed
            return Timed(0.0, STEP * len(population.members) / speed)

        monkeypatch.setattr("lrtune.population.choosing.timed", timed)
        monkeypatch.setattr("lrtune.population.choosing.FusedPopulation", Fused)
        monkeypatch.setattr("lrtune.population.choosing.ShardedPopulation", Sharded)
        monkeypatch.setattr("lrtune.population.timing.Budget.left", left)
        task = blob_task(model=convolution) if images else blob_task()
        train = open_data(task, 16, 0, CPU, Silent()).train
        config = PopulationConfig(**settings)
        return Choice(program_of(task), config, pool, MEMBERS, train, steps, False).made()  # type: ignore[arg-type]

    return chosen


SPEEDS: dict[str, tuple[dict[str, float], Plan]] = {
    "nothing gains": (
        {"program": 0.5, "recorded": 1.05, "workers": 0.9, "each": 0.4},
        Plan("serial", False, ""),
    ),
    "one program": ({"program": 3, "recorded": 1.5, "workers": 1.9, "each": 2.9}, Plan("fused", False, "")),
    "recorded": ({"program": 3, "recorded": 5, "workers": 1.9, "each": 4.9}, Plan("fused", True, "")),
    "workers": (
        {"program": 0.5, "recorded": 0.7, "workers": 1.9, "each": 1.2},
        Plan("sharded", False, "", 2),
    ),
    "a program in each worker": (
        {"program": 2, "recorded": 3, "workers": 1.9, "each": 5},
        Plan("sharded", True, "", 2, "fused"),
    ),
}


@pytest.mark.parametrize(("speeds", "wanted"), SPEEDS.values(), ids=SPEEDS)
def test_the_fastest_is_taken(speeds: dict[str, float], wanted: Plan, choose: Any) -> None:
    """Of all executions the fastest is chosen, one by one unless another is at least 1.1 times as fast."""
    plan = choose(speeds, Pool())
    assert (plan.execution, plan.traced, plan.workers, plan.nested) == (
        wanted.execution,
        wanted.traced,
        wanted.workers,
        wanted.nested,
    )


def test_reasons(choose: Any) -> None:
    """One line: the winner's ratio and the others'."""
    plan = choose({"program": 0.5, "recorded": 0.7, "workers": 1.9, "each": 1.2}, Pool())
    assert plan.reason == (
        "2 workers, measured 1.9 times as fast as one by one (recorded and played 0.7, one program 0.5)"
    )
    plan = choose({"program": 0.5, "recorded": 0.7}, None)
    assert plan.reason == "recorded and played 0.7, one program 0.5 times as fast"


def test_workers_that_cannot_save_enough_are_not_started(choose: Any) -> None:
    """Where one program leaves less to save than starting processes costs, they are not even measured."""
    short = {"program": 30.0, "recorded": 40.0, "workers": AssertionError(), "each": AssertionError()}
    assert choose(short, Pool()).execution == "fused"


def test_too_short(choose: Any) -> None:
    """A training of a moment is not planned at all."""
    assert choose({}, Pool(), steps=10) is None


def test_refused_workers(choose: Any) -> None:
    """Why there are no workers stands in the reason; one core alone is no reason worth a word."""
    speeds = {"program": 0.5, "recorded": 0.7}
    assert choose(speeds, Pool("CUDA is in use")).reason.endswith("; CUDA is in use")
    assert "worker" not in choose(speeds, Pool(), workers=1, members=1).reason


def test_workers_that_fail_while_measured(choose: Any) -> None:
    """A refusal is told, and the next best is taken; workers that could win nothing over it were not asked."""
    failing = CannotShardError("no further process can be started")
    plan = choose({"program": 2, "recorded": 1.5, "workers": failing, "each": failing}, Pool())
    assert plan.execution == "fused"
    assert plan.reason.endswith("; 2 workers with one program each: no further process can be started")


def test_reading_the_data_once_more(choose: Any) -> None:
    """Where workers would have to read the data anew, that must fit into the budget."""
    speeds = {"program": 0.5, "recorded": 0.7, "workers": 1.9, "each": 1.2, "start": 60.0}
    assert choose(speeds, Pool(reads_again=False), left=30.0).execution == "sharded"
    plan = choose(speeds, Pool(reads_again=True), left=30.0)
    assert plan.execution == "serial"
    assert plan.reason.endswith("worker processes would read the data once more (60.0 s)")


def test_no_time_to_measure(choose: Any) -> None:
    """With the budget spent nothing further is measured, and the reason says so."""
    plan = choose({}, Pool(), left=-1.0)
    assert plan.execution == "serial"
    assert "would take too long" in plan.reason


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"execution": "fused"}, ("fused", 1)),
        ({"execution": "sharded"}, ("sharded", 2)),
        ({"execution": "sharded", "members": 1}, ("sharded", 1)),
    ],
    ids=str,
)
def test_what_is_set_is_done(settings: dict[str, Any], wanted: tuple[str, int], choose: Any) -> None:
    """A user's choice holds though it was measured to be slower, and however short the training."""
    for steps in (STEPS, 1):
        plan = choose(
            {"program": 0.5, "recorded": 0.7, "workers": 0.4, "each": 0.3}, Pool(), steps, **settings
        )
        assert (plan.execution, plan.workers) == wanted


CHANNELS: dict[str, tuple[dict[str, float], tuple[str, bool]]] = {
    "faster": ({"channels": 1.5, "workers": 0.5, "each": 0.5}, ("serial", True)),
    "hardly faster": ({"channels": 1.05, "workers": 0.5, "each": 0.5}, ("serial", False)),
    "faster in workers": ({"channels": 1.5, "workers": 1.9, "each": 0.5}, ("sharded", True)),
    "slower in workers": ({"channels": 0.7, "workers": 1.9, "each": 0.5}, ("sharded", False)),
}


@pytest.mark.parametrize(("speeds", "wanted"), CHANNELS.values(), ids=CHANNELS)
def test_channels_last(speeds: dict[str, float], wanted: tuple[str, bool], choose: Any) -> None:
    """Convolutions lie channel by channel where that is measured to be faster, in workers too."""
    plan = choose({"program": 0.5, "recorded": 0.5, **speeds}, Pool(), images=True)
    assert (plan.execution, plan.channels_last) == wanted


def test_channels_last_is_told(choose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the order and its gain; where it gives other numbers, that."""
    slow = {"program": 0.5, "recorded": 0.4, "channels": 2.0}
    plan = choose(slow, None, images=True)
    assert plan.reason == (
        "channels last, measured 2 times as fast as one by one (one program 0.5, recorded and played 0.4)"
    )
    monkeypatch.setattr("lrtune.population.choosing.why_not_channels_last", lambda *_: "the loss differs")
    plan = choose(slow, None, images=True)
    assert not plan.channels_last
    assert "channels last: the loss differs" in plan.reason


def test_channels_last_is_only_for_the_planner(choose: Any) -> None:
    """Who sets an execution gets it as it is, and what is short of time is not compared."""
    speeds = {"program": 0.5, "recorded": 0.5, "workers": 1.9, "each": 0.5, "channels": 2.0}
    for execution in ("fused", "sharded"):
        assert not choose(speeds, Pool(), images=True, execution=execution).channels_last
    assert not choose(speeds, None, images=True, left=15 * STEP).channels_last
