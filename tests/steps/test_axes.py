from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from programs import blob_task

import lrtune
from lrtune.errors import ConfigError
from lrtune.recipe import Recipe
from lrtune.steps.axes import Axes

if TYPE_CHECKING:
    from pathlib import Path

TASK = """\
import lrtune, torch
from torch import nn
from torch.utils.data import TensorDataset

def make_task(hidden=4, momentum=None):
    data = TensorDataset(torch.randn(32, 2, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2)
    model = lambda: nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 2))
    return lrtune.Task(model=model, train=data, val=data, loss=nn.functional.cross_entropy)
"""
SMALL: dict[str, Any] = {"lr": [0.03, 0.1, 0.3], "weight_decay": [0.0], "epochs": 1}


def config(axes: dict[str, list[Any]], **keys: Any) -> lrtune.Config:
    """Settings with these axes."""
    return lrtune.Config(**{"device": "cpu", "batch_size": 16, "coarse": {**SMALL, "axes": axes}, **keys})


@pytest.fixture
def task(tmp_path: Path) -> lrtune.Task:
    """A task that is loaded by its name."""
    (tmp_path / "axes_task.py").write_text(TASK)
    return lrtune.load_task(f"{tmp_path / 'axes_task.py'}:make_task")


def test_each_name_has_its_place(task: lrtune.Task) -> None:
    """The batch size, a keyword of the optimizer and an argument of the task are put where they belong."""
    settings = config({"batch_size": [8], "nesterov": [True], "hidden": [2], "optimizer.momentum": [0.5]})
    axes = Axes(task, settings, None)
    values = (("batch_size", 8), ("nesterov", True), ("hidden", 2), ("optimizer.momentum", 0.5))
    made = axes.settings(values)
    assert (made.batch_size, made.args) == (8, {"hidden": 2})
    assert made.optimizer.keywords == {"momentum": 0.5, "nesterov": True}
    assert axes.task(values).model()[0].out_features == 2
    assert axes.task(values[:2]) is task
    assert axes.places == {
        "batch_size": "batch_size",
        "nesterov": "optimizer.nesterov",
        "hidden": "args.hidden",
        "optimizer.momentum": "optimizer.momentum",
    }


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"momentun": [0.9]}, "coarse.axes.momentun: neither batch_size.*did you mean 'momentum'"),
        ({"momentum": [0.9]}, "write optimizer.momentum or args.momentum"),
        ({"args.hiden": [1]}, "did you mean 'hidden'"),
        ({"batch_size": [8, 0]}, r"batch_size\[1\]: must be a whole number of at least 1, found 0"),
        ({"batch_size": ["x"]}, r"batch_size\[0\]: must be a whole number of at least 1, found 'x'"),
    ],
    ids=["unknown", "two places", "prefixed", "no batch", "no number"],
)
def test_names_that_stand_for_nothing(task: lrtune.Task, axes: dict[str, list[Any]], said: str) -> None:
    """A name that nothing takes, or two things, or a batch of no size, is refused before any work."""
    with pytest.raises(ConfigError, match=said):
        Recipe(task, config(axes))


def test_arguments_of_a_task_in_code() -> None:
    """A task object has no arguments to vary, and the message says what has."""
    with pytest.raises(ConfigError, match="loaded by its name"):
        Recipe(blob_task(), config({"args.hidden": [2, 4]}))


def test_values_of_several_kinds_share_a_study(task: lrtune.Task, tmp_path: Path) -> None:
    """Whole and broken numbers, texts and truth values: each axis is of one kind in all of the study's trials."""
    axes = {"optimizer.momentum": [0, 0.9], "nesterov": [False], "foreach": [None, True]}
    coarse = {"lr": [0.1], "weight_decay": [0.0, 1e-4], "epochs": 1, "axes": axes}
    result = lrtune.coarse_grid(task, config({}, coarse=coarse, run_dir=str(tmp_path / "run")))
    found = {(one["optimizer.momentum"], one["foreach"]) for one in result.summary["trials"]}
    assert found == {(0, None), (0.9, None), (0, True), (0.9, True)}


def test_an_argument_named_like_a_rows_own_key(tmp_path: Path) -> None:
    """An argument of the task called `seed` is an axis as `args.seed` alone, and stands beside the row's seed."""
    (tmp_path / "seeded.py").write_text(TASK.replace("momentum=None", "seed=0"))
    task = lrtune.load_task(f"{tmp_path / 'seeded.py'}:make_task")
    said = r"coarse.axes.seed: 'seed' is what a trial's row says of itself; write args.seed; refine.seeds"
    with pytest.raises(lrtune.ConfigError, match=said):
        Recipe(task, config({"seed": [5, 6]}))
    grid = lrtune.coarse_grid(task, config({"args.seed": [5, 6]}))
    assert {(one["seed"], one["args.seed"]) for one in grid.summary["trials"]} == {(0, 5), (0, 6)}


def test_a_grid_over_further_axes(task: lrtune.Task, tmp_path: Path) -> None:
    """Every combination is trained, rows hold its values, and the refined search is around the best one's."""
    axes = {"hidden": [2, 16], "optimizer.momentum": [0.0, 0.9]}
    keys = {"run_dir": str(tmp_path / "run"), "refine": {"trials": 3, "epochs": 1, "seeds": 1}}
    coarse = lrtune.coarse_grid(task, config(axes, **keys))
    assert coarse.details["axes"] == {"hidden": "args.hidden", "optimizer.momentum": "optimizer.momentum"}
    trials = coarse.summary["trials"]
    found = {(one["lr"], one["hidden"], one["optimizer.momentum"]) for one in trials}
    assert {(lr, hidden, m) for lr in (0.03, 0.1, 0.3) for hidden in (2, 16) for m in (0.0, 0.9)} <= found
    best = coarse.summary["best"]
    alone = config(
        {}, args={"hidden": best["hidden"]}, optimizer={"name": "sgd", "momentum": best["optimizer.momentum"]}
    )
    same_task = lrtune.load_task(task.name, {"hidden": best["hidden"]})
    same = [one for one in lrtune.coarse_grid(same_task, alone).summary["trials"] if one["lr"] == best["lr"]]
    assert same[0]["val_loss"] == best["val_loss"]
    refined = lrtune.refine_grid(task, config(axes, **keys))
    for one in refined.summary["trials"]:
        assert (one["hidden"], one["optimizer.momentum"]) == (best["hidden"], best["optimizer.momentum"])
    again = lrtune.coarse_grid(task, config(axes, **keys))
    assert again.summary == coarse.summary
