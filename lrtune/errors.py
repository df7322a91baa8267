"""What can go wrong that is not a finding: lrtune could not measure, and says why.

A fault of the user's model is a `Finding`, a value. An exception means that there is nothing to judge: the
request makes no sense (`UsageError` and its kinds), or code that is not ours raised (`UserCodeError`).
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class LrtuneError(Exception):
    """Base of every error that lrtune raises on purpose."""


class UsageError(LrtuneError):
    """The request cannot be carried out as it stands; the message says what to change."""


class ConfigError(UsageError):
    """A configuration file, a `--set` or a keyword of `Config` is wrong; all its faults are listed."""


class TaskError(UsageError):
    """A task cannot be loaded, or one of its fields holds something that lrtune cannot train."""


class RunDirError(UsageError):
    """The run directory cannot be read or written."""


class UserCodeError(LrtuneError):
    """The user's model, loss, metric, optimizer or data raised; the original is `__cause__`."""


def user_code(doing: str | Callable[[], str]) -> _UserCode:
    """Mark a block that runs the user's code.

    Args:
        doing: What runs, to be read after "while": `"calling the task's loss"`. A function where it takes time to
            say: this stands around every training step.

    Raises:
        UserCodeError: From whatever exception the block raised; lrtune's own errors pass through.
    """
    return _UserCode(doing)


class _UserCode:
    """A class, since a generator would cost twice as much at every step."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str | Callable[[], str]) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # A script that calls sys.exit(0) must not end lrtune with code 0.
        if not isinstance(error, Exception | SystemExit) or isinstance(error, LrtuneError):
            return
        doing = self._doing if isinstance(self._doing, str) else self._doing()
        raise UserCodeError(f"{type(error).__name__} while {doing}: {error}") from error


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest known name, or nothing when none is close.

    >>> did_you_mean("epoch", ["epochs", "lr"])
    "; did you mean 'epochs'?"
    >>> did_you_mean("zebra", ["epochs", "lr"])
    ''
    """
    close = difflib.get_close_matches(found, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
