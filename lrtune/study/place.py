"""Where a study is kept, and by what name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.storage import Storage

_SILENT_BEATS = 4  # a beat may be late by a restart of the database; a worker that misses this many is dead


def _unsaid(text: str) -> None:
    pass


@dataclass(frozen=True)
class StudyPlace:
    """Where a study is kept.

    Attributes:
        path: A SQLite file of this process alone, or None for memory.
        name: Of the study.
        storage: In place of `path`: a database server or a journal file, which other processes may share.
        heartbeat: Seconds between two signs of life of a worker.
        patience: Seconds that a storage out of reach is waited for.
        note: Told what a person should know of the storage.
    """

    path: str | None
    name: str
    storage: Storage | None = None
    heartbeat: int = 15
    patience: int = 300
    note: Callable[[str], object] = _unsaid

    @property
    def shared(self) -> bool:
        """Whether other processes may work in the same study."""
        return self.storage is not None and self.storage.shared

    @property
    def grace(self) -> int:
        """Seconds of silence after which a worker counts as dead."""
        return _SILENT_BEATS * self.heartbeat

    def __str__(self) -> str:
        """Where, without a password."""
        return str(self.storage or self.path or "memory")
