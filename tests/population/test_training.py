from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import CPU, Choosy, blob_task, blobs, mlp, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader

from lrtune.config import PopulationConfig
from lrtune.data.source import open_data
from lrtune.errors import UserCodeError
from lrtune.population.planner import Planner
from lrtune.population.protocol import Member
from lrtune.population.training import Run, train_members
from lrtune.progress import Silent

if TYPE_CHECKING:
    import lrtune

EPOCHS, SIZE = 3, 16
PER_EPOCH = 6  # 96 examples
TEN = [Member(0.01 * (rate + 1)) for rate in range(10)]


def trained(task: lrtune.Task, members: list[Member], steps: list[int] | None = None) -> dict[float, Run]:
    """Train members of a task, and return the runs by learning rate."""
    data = open_data(task, SIZE, 0, CPU, Silent())
    told = (steps if steps is not None else []).append
    runs = train_members(planner_of(task), members, data, EPOCHS, on_steps=told)
    return {run.member.learning_rate: run for run in runs}


def planner_of(task: lrtune.Task) -> Planner:
    """A planner that trains one member after the other."""
    return Planner(program_of(task), PopulationConfig(execution="serial"))


def loader(data: Any) -> DataLoader[Any]:
    """Data that are read anew each time: members advance side by side."""
    return DataLoader(data, SIZE, shuffle=True)


def diverging(output: Tensor, target: Tensor) -> Tensor:
    """Squared error on one-hot labels, which a huge rate sends to infinity."""
    return F.mse_loss(output, F.one_hot(target, 3).float())


def test_a_whole_training() -> None:
    """A run holds each step's loss and an evaluation at initialisation and after each epoch, and learns."""
    run = trained(blob_task(), [Member(0.5)])[0.5]
    assert (run.steps, len(run.curve.loss), run.finished, run.diverged, run.failure) == (
        18,
        18,
        True,
        False,
        None,
    )
    rows = run.curve.evaluations
    assert [(row["epoch"], row["step"]) for row in rows] == [(0, 0), (1, 6), (2, 12), (3, 18)]
    assert [set(row) for row in rows] == [{"epoch", "step", "train_loss", "val_loss", "accuracy"}] * 4
    assert run.last("val_loss") < 0.3 * rows[0]["val_loss"]
    assert run.last("accuracy") > 0.9
    assert run.last("nothing") is None


def test_without_validation() -> None:
    """Without a validation set the metrics are those of the fixed training subset."""
    run = trained(blob_task(val=None), [Member(0.5)])[0.5]
    assert set(run.curve.evaluations[0]) == {"epoch", "step", "train_loss", "accuracy"}


@pytest.mark.parametrize("make", [lambda data: data, loader], ids=["one at a time", "side by side"])
def test_company_changes_nothing(make: Any) -> None:
    """Members trained with others, some of which diverge, give exactly the runs they give alone."""
    task = blob_task(train=make(blobs()), loss=diverging)
    members = [Member(0.1), Member(1e10), Member(0.05, 0.01)]
    steps: list[int] = []
    together = trained(task, members, steps)
    assert sum(steps) == 3 * EPOCHS * PER_EPOCH
    for member in (members[0], members[2]):
        alone = trained(task, [member])[member.learning_rate]
        assert together[member.learning_rate].curve == alone.curve
    lost = together[1e10]
    assert (lost.diverged, lost.finished) == (True, True)
    assert lost.steps == len(lost.curve.loss) < EPOCHS * PER_EPOCH
    assert all(torch.isfinite(torch.tensor(lost.curve.loss)))


def test_failures_are_told() -> None:
    """A member whose model raises has a failure and is not called diverged; the others finish."""
    runs = trained(blob_task(model=Choosy, train=loader(blobs())), [Member(0.1), Member(1e6)])
    assert isinstance(runs[1e6].failure, UserCodeError)
    assert (runs[1e6].diverged, runs[1e6].finished) == (False, True)
    assert (runs[0.1].failure, runs[0.1].steps) == (None, 18)


def test_divergence_in_the_last_step() -> None:
    """A loss that is not finite after an epoch of finite minibatches is a divergence."""

    def last_only(model: nn.Module, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        return loss if model.training else loss * torch.nan

    run = trained(blob_task(loss=None, metrics={}, step=last_only), [Member(0.1)])[0.1]
    assert run.diverged
    assert run.last("train_loss") is None


@pytest.mark.parametrize(("resident", "size"), [(True, 1), (False, 10)], ids=["in memory", "read anew"])
def test_groups(resident: bool, size: int) -> None:
    """Where reading costs, all members that fit go together; where it costs nothing, one at a time."""
    task = blob_task(train=blobs() if resident else loader(blobs()))
    data = open_data(task, SIZE, 0, CPU, Silent())
    assert planner_of(task).group_size(TEN, data.train, EPOCHS) == size


def test_groups_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's members fit in half of the free memory, with four copies of the parameters each."""
    held = 4 * 4 * sum(parameter.numel() for parameter in mlp().parameters())
    task = blob_task(train=loader(blobs()))
    data = open_data(task, SIZE, 0, CPU, Silent())
    for free, size in ((2 * 3 * held, 3), (1, 1)):
        monkeypatch.setattr("lrtune.population.memory.free_bytes", lambda device, free=free: free)
        assert planner_of(task).group_size(TEN, data.train, EPOCHS) == size


def test_groups_of_several_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """How members are dealt into groups changes no number."""
    task, members = blob_task(train=loader(blobs())), [Member(rate) for rate in (0.1, 0.2, 0.3, 0.4, 0.5)]
    whole = trained(task, members)
    monkeypatch.setattr(Planner, "group_size", lambda *_: 2)
    assert trained(task, members) == whole
