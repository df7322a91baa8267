"""From a place to an Optuna study: its storage opened, its directory made, a damaged file told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from lrtune.storage import ADVICE, StorageError
from lrtune.study.journal import journal_storage

if TYPE_CHECKING:
    from lrtune.study.place import StudyPlace

DAMAGED = ("not a database", "malformed")  # SQLite's words
_ANOTHERS = ("no such table", "no such column")  # of a file that another program wrote; a lock is no damage


class StudyFileError(Exception):
    """The study's file is no study: damaged, or another program's."""


class NoStudyError(Exception):
    """There is no study of this name yet."""


def open_storage(place: StudyPlace) -> BaseStorage:
    """Open what a place names.

    Raises:
        StudyFileError: If the file of this process alone cannot be read as a study.
        StorageError: If a URL is none that the database's driver knows.
    """
    if place.storage is None:
        return InMemoryStorage() if place.path is None else _own_file(place.path)
    if place.storage.kind == "journal":
        return journal_storage(place.storage.address)
    url = place.storage.address.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
    if place.storage.kind == "sqlite":
        return RDBStorage(url)
    return RDBStorage(
        url,
        engine_kwargs={"pool_pre_ping": True},  # a connection of before a restart is noticed, and replaced
        heartbeat_interval=place.heartbeat,
        grace_period=place.grace,
    )


def open_study(storage: BaseStorage, name: str) -> optuna.Study:
    """Open a study that is there.

    Raises:
        NoStudyError: If it is not.
    """
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise NoStudyError(name) from None


def _own_file(path: str) -> RDBStorage:
    """Open a SQLite file that no other process writes.

    Written without waiting for the disk: a killed process loses nothing by that, and after a power cut the results
    stand in the run directory's plain files, which are waited for.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("pragma synchronous=off")
        return connection

    try:
        _look_for_damage(path)
        return RDBStorage(
            f"sqlite:///{Path(path).name.replace('{', '').replace('}', '')}", {"creator": connect}
        )
    except Exception as error:
        if not any(words in str(error) for words in (*DAMAGED, *_ANOTHERS)):
            raise
        raise StudyFileError(str(error).splitlines()[0]) from error


def _look_for_damage(path: str) -> None:
    """A damaged page further in shows itself only when it is read."""
    if not Path(path).exists():
        return
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("pragma quick_check").fetchone()
    if found != ("ok",):
        raise StudyFileError(f"malformed: {found[0] if found else 'no answer'}")


def check_shared(place: StudyPlace) -> None:
    """Refuse what more than one process must not write.

    Raises:
        StorageError: For a file of one process.
    """
    if place.shared:
        return
    kept = (
        "in a SQLite file of this machine's run directory" if place.storage is None else f"in {place.storage}"
    )
    raise StorageError(
        f"storage: the study is kept {kept}, and workers need one that they can share: SQLite locks its whole file "
        "for each write, and on most network file systems not even that, so that trials would fail or be taken twice; "
        f"{ADVICE}"
    )
