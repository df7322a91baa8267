"""The one place where exceptions become messages and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from lrtune.errors import LrtuneError, UserCodeError
from lrtune.user_trace import users_part

if TYPE_CHECKING:
    from collections.abc import Callable

PASSED = 0
FAILED = 1
USAGE = 2
CRASHED = 3
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def guarded(work: Callable[[], int], debug: bool, resumes: bool = False) -> int:
    """Run a command; return its exit code, or that of what it raised, said on stderr.

    Args:
        work: Returns the exit code.
        debug: Whether to print the traceback of every error.
        resumes: Whether the same command goes on where it was interrupted.
    """
    try:
        return work()
    except KeyboardInterrupt:
        kept = "; what was finished is kept, and the same command goes on from there" if resumes else ""
        _say(f"interrupted{kept}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has gone, as `| head` does
        sys.stderr.close()
        return PASSED
    except UserCodeError as error:
        _print_users_traceback(error, debug)
        _say(f"error: {error}")
        return CRASHED
    except LrtuneError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {error}")
        return USAGE
    except Exception as error:
        traceback.print_exc()
        _say(
            f"error: {type(error).__name__}: {error}; this is a fault of lrtune, please report it with the above"
        )
        return CRASHED


def exit_code_of(error: SystemExit) -> int:
    """Return the code that a `SystemExit` carries."""
    if error.code is None:
        return PASSED
    return error.code if isinstance(error.code, int) else FAILED


def _print_users_traceback(error: UserCodeError, debug: bool) -> None:
    cause = error.__cause__
    if debug or cause is None:
        traceback.print_exc()
        return
    traceback.print_exception(type(cause), cause, users_part(cause))


def _say(text: str) -> None:
    print(f"lrtune: {text}", file=sys.stderr)
