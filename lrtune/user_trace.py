"""Of a traceback the part that is the user's: from the first line of a file of theirs on."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_INSTALLED = ("site-packages", "dist-packages")
_PACKAGE = str(Path(__file__).resolve().parent) + os.sep


def users_part(error: BaseException) -> TracebackType | None:
    """Return an exception's traceback without what comes before the user's first line; all of it where there is none.

    How lrtune and torch came to call that line is of no use to the user. A syntax error names the line itself, without
    a frame of theirs, and has None.
    """
    trace = error.__traceback__
    while trace is not None and not _is_users(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace or (None if isinstance(error, SyntaxError) else error.__traceback__)


def _is_users(file: str) -> bool:
    if file.startswith((_PACKAGE, "<frozen ")):  # importlib's frames are frozen
        return False
    return not any(f"{os.sep}{name}{os.sep}" in file for name in _INSTALLED)


def users_traceback(error: BaseException) -> str:
    """Return the traceback of what the user's code raised, from their first line on, as text."""
    cause = error.__cause__ or error
    return "".join(traceback.format_exception(type(cause), cause, users_part(cause)))
