"""The journal file of a shared file system, kept readable whatever happens to those who write it."""

from __future__ import annotations

import json
import os
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

_LOCK_GRACE = 10  # seconds; a line takes milliseconds, so a lock held for longer is that of a dead process


class WholeLines(JournalFileBackend):
    """Optuna's journal file, in which a line that a dying process left unfinished is cut off before the next.

    Optuna appends without looking: the rest of a torn line and the next one would be a line that nobody can read.
    """

    def __init__(self, path: str) -> None:
        path = os.path.abspath(path)  # the lock is a link to it: a relative one would lead elsewhere
        super().__init__(path, JournalFileSymlinkLock(path, grace_period=_LOCK_GRACE))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records; see `optuna.storages.journal.JournalFileBackend`."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            self._cut_torn_line()
            with open(self._path, "ab") as file:
                file.write(lines.encode())
                file.flush()
                os.fsync(file.fileno())
        finally:
            self._lock.release()

    def _cut_torn_line(self) -> None:
        with open(self._path, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            whole = _end_of_last_line(file, size)
            if whole < size:
                file.truncate(whole)


def _end_of_last_line(file: Any, size: int) -> int:
    """Return where the last line feed ends, reading backwards; 0 where there is none."""
    block = 4096
    at = size
    while at > 0:
        start = max(at - block, 0)
        file.seek(start)
        found = file.read(at - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        at = start
    return 0


def journal_storage(path: str) -> JournalStorage:
    """Return the storage of a journal file, made where it is not there; its folder must be."""
    return JournalStorage(WholeLines(path))
