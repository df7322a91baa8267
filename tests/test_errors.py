from __future__ import annotations

import pytest

from lrtune import ConfigError, LrtuneError, RunDirError, TaskError, UsageError, UserCodeError
from lrtune.errors import did_you_mean, user_code


@pytest.mark.parametrize("kind", [ConfigError, TaskError, RunDirError])
def test_kinds_of_usage_error(kind: type[Exception]) -> None:
    """A wrong config, task or run directory is the request's fault, not a crash."""
    assert issubclass(kind, UsageError)
    assert not issubclass(kind, UserCodeError)


@pytest.mark.parametrize("kind", [UsageError, UserCodeError])
def test_everything_raised_on_purpose_is_an_lrtune_error(kind: type[Exception]) -> None:
    """One except clause catches all of lrtune's errors."""
    assert issubclass(kind, LrtuneError)


@pytest.mark.parametrize(
    "error", [ValueError("boom"), KeyError("boom"), AssertionError(), SystemExit(0)], ids=repr
)
def test_what_user_code_raises_becomes_the_cause(error: BaseException) -> None:
    """The message says what kind was raised while doing what; the original is kept whole."""
    with pytest.raises(UserCodeError) as caught, user_code("calling the task's loss"):
        raise error
    assert caught.value.__cause__ is error
    assert str(caught.value) == f"{type(error).__name__} while calling the task's loss: {error}"


@pytest.mark.parametrize("error", [TaskError("x"), UserCodeError("x")], ids=repr)
def test_lrtunes_own_errors_pass_through(error: LrtuneError) -> None:
    """An error that lrtune has worded already is not worded again."""
    with pytest.raises(type(error)) as caught, user_code("calling the task's loss"):
        raise error
    assert caught.value is error


def test_an_interrupt_passes_through() -> None:
    """Ctrl-C in the user's code is an interruption, not a fault of that code."""
    with pytest.raises(KeyboardInterrupt), user_code("calling the task's loss"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param("epoch", "; did you mean 'epochs'?", id="close"),
        pytest.param("weight-decay", "; did you mean 'weight_decay'?", id="hyphen"),
        pytest.param("zebra", "", id="far"),
        pytest.param("", "", id="empty"),
    ],
)
def test_did_you_mean(found: str, said: str) -> None:
    """The closest known name is offered, where one is close."""
    assert did_you_mean(found, ["lr", "weight_decay", "epochs"]) == said
