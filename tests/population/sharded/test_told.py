from __future__ import annotations

import gc
import traceback
import weakref

import pytest

from lrtune.errors import UserCodeError, user_code
from lrtune.population.sharded.told import raised, told


class PlainError(Exception):
    """Pickles as it is."""


class AwkwardError(Exception):
    """Takes two arguments and hands one on: its pickle cannot be read."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


def caught(error: BaseException) -> BaseException:
    """The error as user code raises it, from below a function of lrtune's."""

    def users_function() -> None:
        raise error

    with pytest.raises(UserCodeError) as found, user_code("training"):
        users_function()
    return found.value


def shown(error: BaseException) -> str:
    """What Python prints of it, without the marks beneath the lines, which need positions within them."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(line for line in lines if not set(line.strip()) <= set("^~"))


def test_prints_as_the_original() -> None:
    """Type, message, chain of causes and every line of the traceback are the original's."""
    error = caught(PlainError("too hot"))
    again = raised(told(error))
    assert type(again) is UserCodeError
    assert type(again.__cause__) is PlainError
    assert "in users_function\n    raise error" in shown(again)
    assert shown(again) == shown(error)


def test_a_class_that_cannot_be_pickled() -> None:
    """A stand-in has its name, message and lines."""
    error = caught(AwkwardError(7, "lost"))
    again = raised(told(error))
    assert type(again) is UserCodeError
    cause = again.__cause__
    assert type(cause).__name__ == "AwkwardError"
    assert str(cause) == "7: lost"
    assert "in users_function" in shown(again)


def test_a_ring_of_causes_ends() -> None:
    """Exceptions that are each other's cause are told to a certain depth."""
    one, other = PlainError("one"), PlainError("other")
    one.__cause__, other.__cause__ = other, one
    again = raised(told(one))
    assert (str(again), str(again.__cause__)) == ("one", "other")


def test_context_of_a_failure_in_a_handler() -> None:
    """What was being handled is told too, and left out where the user wrote `from None`."""

    def failing(hide: bool) -> BaseException:
        try:
            try:
                raise PlainError("first")
            except PlainError:
                if hide:
                    raise PlainError("second") from None
                raise PlainError("second")  # noqa: B904 - the context is what is tested
        except PlainError as error:
            return error

    for hide in (False, True):
        assert shown(raised(told(failing(hide)))) == shown(failing(hide))


def test_nothing_is_kept_alive() -> None:
    """An exception that is made again holds neither what the original's frames held nor who asked for it."""

    class Large:
        pass

    def users_function() -> None:
        kept.append(weakref.ref(large := Large()))
        assert large is not None
        raise PlainError("with a tensor")

    def arrived() -> BaseException:
        kept.append(weakref.ref(asking := Large()))
        assert asking is not None
        try:
            users_function()
        except PlainError as error:
            return raised(told(error))
        raise AssertionError

    kept: list[weakref.ref[Large]] = []
    error = arrived()
    gc.collect()
    assert [one() for one in kept] == [None, None]
    assert 'raise PlainError("with a tensor")' in shown(error)
