"""The lock on a SQLite file that is named by a URL: one process works with it at a time."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from lrtune.storage import ADVICE, StorageError

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from lrtune.study.place import StudyPlace

_held: set[int] = set()  # descriptors of this process


def locked(place: StudyPlace) -> int | None:
    """Keep other processes from a SQLite file that is named by a URL; return what `unlock` takes.

    That of a run directory is guarded by the run directory's own lock.

    Raises:
        StorageError: If another process works on it.
    """
    if place.storage is None or place.storage.kind != "sqlite" or fcntl is None:
        return None
    try:
        file = make_url(place.storage.address).database
    except ArgumentError as error:
        raise StorageError(f"storage: {place}: {error}") from None
    if not file or file == ":memory:":
        return None
    try:
        handle = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StorageError(f"storage: cannot write beside {file}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StorageError(
            f"storage: another process works with {file}, and SQLite serves one at a time; wait for it, or {ADVICE}"
        ) from None
    _held.add(handle)
    return handle


def unlock(handle: int) -> None:
    """Give a lock back, whoever was forked in the meantime and holds the descriptor too."""
    _held.discard(handle)
    fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


def _close_in_child() -> None:
    """A forked child would keep the lock when its parent is gone; it closes, since LOCK_UN would take the parent's."""
    for handle in list(_held):
        _held.discard(handle)
        with contextlib.suppress(OSError):
            os.close(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
