from __future__ import annotations

import inspect
from typing import Any

import pytest
from programs import Notes, blob_task

import lrtune

STEPS = ["check_init", "overfit", "find_lr", "coarse_grid", "refine_grid", "report", "run"]


@pytest.mark.parametrize("name", STEPS)
def test_functions_take_a_task_and_a_config(name: str) -> None:
    """Each function of the recipe is called with a task, optional settings and optional progress."""
    parameters = inspect.signature(getattr(lrtune, name)).parameters
    assert list(parameters)[:3] == ["task", "config", "progress"]
    assert all(parameter.default is None for parameter in list(parameters.values())[1:3])
    assert getattr(lrtune, name).__doc__


@pytest.mark.parametrize("name", lrtune.__all__)
def test_names_are_there(name: str) -> None:
    """Every public name can be had from the package."""
    assert getattr(lrtune, name) is not None
    assert name in dir(lrtune)


def test_unknown_names_are_told() -> None:
    """A name that is not there is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="no attribute 'chek_init'"):
        _ = lrtune.chek_init


def test_without_a_config_the_defaults_hold() -> None:
    """No config means every default: batches of 64 and SGD with momentum."""
    result = lrtune.check_init(blob_task())
    assert result.verdict == "pass"
    assert len(result.details["batch_losses"]) == 2  # 96 examples


def test_progress_is_told() -> None:
    """Steps say what they are doing."""
    notes = Notes()
    settings: dict[str, Any] = {"device": "cpu", "overfit": {"batches": 2, "steps": 25}}
    lrtune.overfit(blob_task(), lrtune.Config(**settings), notes)
    assert notes.labels == ["overfitting a small sample", "examining the untrained model"]
