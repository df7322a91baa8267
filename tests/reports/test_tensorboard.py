from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import pytest

from lrtune.errors import UsageError
from lrtune.reports import tensorboard as module
from lrtune.results import Curve, StepResult

if TYPE_CHECKING:
    from pathlib import Path


def grid(**trial: Any) -> StepResult:
    """Return a grid of one trial with a spike, and one that diverged."""
    losses = [1.0] * 5000
    losses[3210] = 77.0
    rows = [{"epoch": 1, "step": 5000, "train_loss": 0.5, "val_loss": 0.7, "accuracy": 0.9}]
    good = {
        "lr": 0.1,
        "weight_decay": 1e-4,
        "curve": "coarse-000",
        "state": "complete",
        "seed": 3,
        "steps": 5000,
        "val_loss": 0.7,
        "train_loss": 0.5,
        "metrics": {"accuracy": 0.9},
    } | trial
    lost = good | {
        "curve": "coarse-001",
        "state": "diverged",
        "val_loss": None,
        "train_loss": None,
        "metrics": {},
    }
    curves = {"coarse-000": Curve(losses, rows), "coarse-001": Curve([2.0, 9.0])}  # type: ignore[arg-type]
    return StepResult("coarse-grid", summary={"best": good, "trials": [good, lost]}, curves=curves)


def read(folder: Path) -> Any:
    """Return what TensorBoard itself reads from a run."""
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    events = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


def test_scalars_are_read_back(tmp_path: Path) -> None:
    """TensorBoard reads every trial's losses and metrics at their steps, a spike of one step among them."""
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    assert module.write_events({"coarse-grid": grid()}, tmp_path) == 2
    found = read(tmp_path / "coarse-000")
    minibatch = {event.step: event.value for event in found.Scalars("loss/minibatch")}
    assert minibatch[3211] == 77.0
    assert len(minibatch) <= 1000
    assert [(e.step, round(e.value, 4)) for e in found.Scalars("loss/validation")] == [(5000, 0.7)]
    assert [(e.step, round(e.value, 4)) for e in found.Scalars("metric/accuracy")] == [(5000, 0.9)]


def test_hyperparameters_are_read_back(tmp_path: Path) -> None:
    """The HParams tab finds rate, decay, seed, state and further axes, and what they reached."""
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    module.write_events({"coarse-grid": grid(momentum=0.8)}, tmp_path)
    plugin = importlib.import_module("tensorboard.plugins.hparams.plugin_data_pb2")
    content = read(tmp_path / "coarse-000").PluginTagToContent("hparams")
    data = plugin.HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    values = data.session_start_info.hparams
    assert {
        key: values[key].number_value for key in ("learning_rate", "weight_decay", "momentum", "seed")
    } == {
        "learning_rate": 0.1,
        "weight_decay": 1e-4,
        "momentum": 0.8,
        "seed": 3.0,
    }
    assert values["state"].string_value == "complete"
    experiment = plugin.HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment
    reached = {info.name.tag for info in experiment.metric_infos}
    assert reached == {"reached/val_loss", "reached/train_loss", "reached/accuracy"}


def test_a_second_export_replaces_the_first(tmp_path: Path) -> None:
    """Written again, a trial's files are as many as before; other files stay."""
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    (tmp_path / "mine.txt").write_text("mine")
    module.write_events({"coarse-grid": grid()}, tmp_path)
    first = len(list((tmp_path / "coarse-000").iterdir()))
    module.write_events({"coarse-grid": grid()}, tmp_path)
    assert len(list((tmp_path / "coarse-000").iterdir())) == first
    assert (tmp_path / "mine.txt").is_file()


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without TensorBoard the message says what to install, before any work."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="python -m pip install tensorboard"):
        module.check_target(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A file in the way is named before any work."""
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--tensorboard: cannot write to"):
        module.check_target(tmp_path / "file")
