"""A write that an interruption does not tear: the signal is heard when the write is done."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C, and a SIGTERM that is handled, until the block is done; a second one is heard at once."""
    if threading.current_thread() is not threading.main_thread():  # Python delivers signals to that one alone
        yield
        return
    heard: list[tuple[int, Any]] = []
    handlers = {one: signal.getsignal(one) for one in _SIGNALS}

    def note(number: int, frame: Any) -> None:
        heard.append((number, frame))
        handler = handlers[signal.Signals(number)]
        if len(heard) > 1 and callable(handler):
            handler(number, frame)

    for one, handler in handlers.items():
        if callable(handler):
            signal.signal(one, note)
    try:
        yield
    finally:
        for one, handler in handlers.items():
            if callable(handler):
                signal.signal(one, handler)
    if len(heard) == 1:
        number, frame = heard[0]
        handler = handlers[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)
