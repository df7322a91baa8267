from __future__ import annotations

import traceback
from typing import Any

import pytest
from programs import blob_task, mlp, no_loader

from lrtune.config import OptimizerConfig
from lrtune.errors import UserCodeError
from lrtune.population.optimizers import optimizer_factory
from lrtune.user_trace import users_part, users_traceback


def raising(model: Any, lr: float, weight_decay: float) -> Any:
    """Stand for an optimizer of the user's that raises."""
    raise KeyError("head")


def test_it_begins_with_the_users_first_line() -> None:
    """Frames of lrtune before it are left out, the user's own stay."""
    build, _ = optimizer_factory(blob_task(optimizer=raising), OptimizerConfig(), no_loader)
    with pytest.raises(UserCodeError) as caught:
        build(mlp(), 0.1, 0.0)
    cause = caught.value.__cause__
    assert cause is not None
    assert len(traceback.extract_tb(cause.__traceback__)) == 2
    assert [frame.name for frame in traceback.extract_tb(users_part(cause))] == ["raising"]


def test_an_exception_that_no_file_raised() -> None:
    """Where there is no frame there is nothing to show; a syntax error names its line itself."""
    assert users_part(ValueError("no frames")) is None
    assert users_part(SyntaxError("bad")) is None


def test_as_text() -> None:
    """The text names the user's own lines and what was raised, and no line of lrtune's."""
    build, _ = optimizer_factory(blob_task(optimizer=raising), OptimizerConfig(), no_loader)
    with pytest.raises(UserCodeError) as caught:
        build(mlp(), 0.1, 0.0)
    told = users_traceback(caught.value)
    assert told.startswith("Traceback")
    assert told.endswith("KeyError: 'head'\n")
    assert "in raising" in told
    assert "optimizers.py" not in told
