"""A folder that one process alone works in."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HELD = (errno.EAGAIN, errno.EACCES)  # by another process; EWOULDBLOCK is the former
_held: set[int] = set()  # descriptors that hold a lock


@contextlib.contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Keep other processes from this folder for the length of the block; `kill -9` gives it back too.

    On Windows, and where the file system has no locks, two processes at once are the user's to avoid.

    Raises:
        BlockingIOError: If another process holds it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    _held.add(handle)
    try:
        _lock(handle)
        yield
    finally:
        _let_go(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise BlockingIOError(error.errno, error.strerror) from None
        # Some network file systems have no locks: two processes at once are then the user's to avoid, as on Windows.


def _let_go(handle: int) -> None:
    """Close the descriptor, which gives the lock back."""
    _held.discard(handle)
    os.close(handle)


def _let_go_in_child() -> None:
    """A forked child (a worker, a data loader's) that held on to the lock would keep it when its parent is gone."""
    for handle in list(_held):
        _let_go(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
