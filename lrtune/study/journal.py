"""The journal file of a shared file system, kept readable whatever happens to those who write it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from lrtune.storage import StorageError

if TYPE_CHECKING:
    from collections.abc import Generator

_LOCK_GRACE = 10  # seconds; a line takes milliseconds, so a lock held for longer is that of a dead process
_LONGEST = 1 << 20  # bytes of a first line: it makes a study, and takes some hundred
_RECORD = ("op_code", "worker_id")  # what each of Optuna's records holds


class WholeLines(JournalFileBackend):
    """Optuna's journal file, in which a line that a dying process left unfinished is cut off before the next.

    Optuna appends without looking: the rest of a torn line and the next one would be a line that nobody can read.

    Args:
        path: The file, made where it is not there.

    Raises:
        StorageError: If the file holds something else than a journal; it is left as it is.
    """

    def __init__(self, path: str) -> None:
        self._named = path
        path = os.path.abspath(path)  # the lock is a link to it: a relative one would lead elsewhere
        super().__init__(path, JournalFileSymlinkLock(path, grace_period=_LOCK_GRACE))
        self._path = path
        self._refuse_other_files()

    def _refuse_other_files(self) -> None:
        if _begins_as_journal(self._path):
            return
        self._lock.acquire()  # its first line may be half written at this moment
        try:
            sound = _begins_as_journal(self._path)
        finally:
            self._lock.release()
        if not sound:
            raise self._unreadable("its first line is none of an Optuna journal")

    def _unreadable(self, why: str) -> StorageError:
        return StorageError(
            f"storage: {self._named} is no journal that can be read: {why}; the file was left as it is. "
            "Name another file (storage: journal:PATH), or move this one away"
        )

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield records; see `optuna.storages.journal.JournalFileBackend`.

        Raises:
            StorageError: If a line that is whole holds no record.
        """
        damage = None
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:  # of JSON and of UTF-8
            damage = str(error)
        if damage is not None:
            raise self._unreadable(damage)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records; see `optuna.storages.journal.JournalFileBackend`."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            end = self._cut_torn_line()
            try:
                with open(self._path, "ab") as file:
                    file.write(lines.encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:  # of a full disk: what is written by half is taken back
                os.truncate(self._path, end)
                raise
        finally:
            self._lock.release()

    def _cut_torn_line(self) -> int:
        """Return where the last whole line ends, with nothing behind it any more."""
        with open(self._path, "rb+") as file:
            size = file.seek(0, os.SEEK_END)
            whole = _end_of_last_line(file, size)
            if whole == 0 < size:  # no line of a journal: it was put there since we looked
                raise self._unreadable("its first line is none of an Optuna journal")
            if whole < size:
                file.truncate(whole)
            return whole


def _begins_as_journal(path: str) -> bool:
    """Whether a file is empty, or its first line is whole and a record."""
    with open(path, "rb") as file:
        line = file.readline(_LONGEST)
    if not line:
        return True
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return False
    return isinstance(record, dict) and all(key in record for key in _RECORD)


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
    """Return the storage of a journal file, made where it is not there; its folder must be.

    Raises:
        StorageError: If the file holds something else than a journal.
    """
    return JournalStorage(WholeLines(path))
