from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

import pytest

from lrtune.storage import StorageError, parsed
from lrtune.study.place import StudyPlace
from lrtune.study.sqlite_lock import locked, unlock

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

FORK = multiprocessing.get_context("fork")


def place_in(folder: Path) -> StudyPlace:
    """A SQLite file by its URL."""
    return StudyPlace(None, "coarse", parsed(f"sqlite:///{folder / 'x.db'}"))


def wait(connection: Connection) -> None:
    """Live until told to end."""
    connection.send("there")
    connection.recv()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """While a child lives that was forked under the lock, the lock holds; given back, it is free at once."""
    place = place_in(tmp_path)
    handle = locked(place)
    assert handle is not None
    here, there = FORK.Pipe()
    child = FORK.Process(target=wait, args=(there,))
    child.start()
    try:
        assert here.recv() == "there"
        with pytest.raises(StorageError, match="SQLite serves one at a time"):
            locked(place)
        unlock(handle)
        again = locked(place)
        assert again is not None
        unlock(again)
    finally:
        here.send("end")
        child.join()
    assert child.exitcode == 0


@pytest.mark.parametrize("storage", ["journal:x", "sqlite:///:memory:", "postgresql://h/d"])
def test_only_files_are_locked(storage: str) -> None:
    """What other processes may share, or cannot see, needs no lock."""
    assert locked(StudyPlace(None, "coarse", parsed(storage))) is None
