"""Exceptions as plain values: told by one process, raised in another, with the lines that they came from.

A traceback cannot be pickled, and a pickled exception leaves it behind. Here it is a list of places, from which a
traceback is made again whose frames bear the file, function and line of the original ones and hold nothing else.
"""

from __future__ import annotations

import ast
import pickle
import traceback
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from types import TracebackType

_DEEPEST = 20  # of a chain of causes: it may be a ring
_WIDE = 1000  # columns: the whole line, beneath which Python then sets no marks


@dataclass(frozen=True)
class Told:
    """An exception.

    Attributes:
        pickled: The exception without its traceback; None where it cannot be pickled.
        name: Of its class.
        text: Its message.
        places: File, function and line of each frame, the outermost first.
        cause: What it was raised from.
        context: What was being handled.
        suppressed: Whether the context is not to be shown.
    """

    pickled: bytes | None
    name: str
    text: str
    places: tuple[tuple[str, str, int], ...]
    cause: Told | None
    context: Told | None
    suppressed: bool


def told(error: BaseException, deepest: int = _DEEPEST) -> Told:
    """Return an exception as a value."""
    walked = traceback.walk_tb(error.__traceback__)
    places = tuple((frame.f_code.co_filename, frame.f_code.co_name, line or 1) for frame, line in walked)
    cause, context = (
        told(one, deepest - 1) if one is not None and deepest else None
        for one in (error.__cause__, error.__context__)
    )
    if error.__cause__ is not None:
        context = None  # shown nowhere
    suppressed = error.__suppress_context__
    return Told(_pickled(error), type(error).__name__, str(error), places, cause, context, suppressed)


def raised(value: Told) -> BaseException:
    """Return the exception again, of its own class where that can be had, with a traceback of the same places."""
    error: BaseException | None = None
    if value.pickled is not None:
        with suppress(Exception):
            error = pickle.loads(value.pickled)
    if error is None:
        error = type(value.name, (Exception,), {"__module__": "builtins"})(value.text)
    error.__cause__ = None if value.cause is None else raised(value.cause)
    error.__context__ = None if value.context is None else raised(value.context)
    error.__suppress_context__ = value.suppressed
    return error.with_traceback(_traceback(value.places))


def _pickled(error: BaseException) -> bytes | None:
    """Return a pickle that is known to come back as the same kind of exception with the same message."""
    try:
        pickled = pickle.dumps(error)
        again = pickle.loads(pickled)
    except Exception:  # whatever the user's class does
        return None
    return pickled if type(again) is type(error) and str(again) == str(error) else None


def _traceback(places: tuple[tuple[str, str, int], ...]) -> TracebackType | None:
    made: list[TracebackType | None] = [None]

    def make() -> None:
        for file, function, line in reversed(places):
            frame = _raising(file, function, line)
            made[0] = TracebackType(made[0], frame.tb_frame, frame.tb_lasti, frame.tb_lineno)

    # A frame keeps its callers. Those of a thread's are the thread's own, and not whoever wants the exception.
    thread = Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _raising(file: str, function: str, line: int) -> TracebackType:
    """Return a traceback of one frame that looks like the place."""
    tree = ast.parse("raise StopIteration")
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno = node.end_lineno = line
            node.col_offset, node.end_col_offset = 0, _WIDE
    code = compile(tree, file, "exec")
    try:
        exec(code.replace(co_name=function), {"__name__": "", "__file__": file})
    except StopIteration as error:
        found = error.__traceback__
    assert found is not None
    assert found.tb_next is not None
    return found.tb_next
