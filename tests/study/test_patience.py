from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from sqlalchemy import exc

from lrtune.storage import StorageError, parsed
from lrtune.study.patience import Patience
from lrtune.study.place import StudyPlace
from lrtune.study.uninterrupted import uninterrupted

URL = "postgresql+psycopg://me:s3cret@host/db"


def outage(text: str = "server closed the connection") -> Exception:
    """What SQLAlchemy raises of a server that is away."""
    error = exc.OperationalError("select 1", {}, Exception(text))
    error.__cause__ = Exception(text)
    return error


class Storage:
    """Fails with given errors before it answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.notes: list[str] = []
        self.pauses: list[float] = []
        place = StudyPlace(None, "coarse", parsed(URL), patience=20, note=self.notes.append)
        self.patiently = Patience(place, self.pauses.append)

    def answer(self) -> int:
        """Return 1, or raise the next error."""
        if self.errors:
            raise self.errors.pop(0)
        return 1


def test_an_outage_is_waited_for() -> None:
    """Work is repeated until the storage is back; a longer absence is said once, and so is its end."""
    storage = Storage(*[outage() for _ in range(4)])
    assert storage.patiently(storage.answer) == 1
    assert storage.pauses == [0.2, 0.4, 0.8, 1.6]
    assert len(storage.notes) == 2
    assert "out of reach (server closed the connection)" in storage.notes[0]
    assert "s3cret" not in str(storage.notes)


def test_a_hiccup_is_not_worth_a_word() -> None:
    """What passes at the second attempt is not told."""
    storage = Storage(outage())
    assert storage.patiently(storage.answer) == 1
    assert storage.notes == []


def test_patience_ends() -> None:
    """After so many seconds there is one clear error; what is done afterwards waits no more."""
    storage = Storage(*[outage() for _ in range(100)])
    with pytest.raises(StorageError, match="out of reach for 20 s") as caught:
        storage.patiently(storage.answer)
    assert 20 <= sum(storage.pauses) <= 31
    assert "s3cret" not in str(caught.value)
    before = len(storage.pauses)
    with pytest.raises(StorageError):
        storage.patiently(storage.answer)
    assert len(storage.pauses) == before


@pytest.mark.parametrize(
    "error",
    [
        outage("FATAL: password authentication failed for user"),
        outage('FATAL: database "x" does not exist'),
        ImportError("no psycopg"),
        exc.NoSuchModuleError("no such dialect"),
        FileNotFoundError(2, "No such file or directory"),
    ],
    ids=["password", "database", "driver", "dialect", "folder"],
)
def test_a_refusal_is_told_at_once(error: Exception) -> None:
    """No waiting helps against a wrong password, a missing driver or a missing folder."""
    storage = Storage(error)
    with pytest.raises(StorageError, match="refuses"):
        storage.patiently(storage.answer)
    assert storage.pauses == []


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("psycopg", r"pip install 'lrtune\[postgres\]'"),
        ("psycopg2", r"write postgresql\+psycopg://"),
        ("pymysql", "the Python module pymysql$"),
    ],
)
def test_a_missing_driver_is_named(module: str, told: str) -> None:
    """The advice is that of the driver which is missing, also where the error is wrapped in one without a name."""
    error = ImportError("failed to import the driver")
    error.__cause__ = ModuleNotFoundError(f"No module named {module!r}", name=module)
    storage = Storage(error)
    with pytest.raises(StorageError, match=told):
        storage.patiently(storage.answer)


def test_how_long_the_storage_has_been_there() -> None:
    """From the last outage on, whether work or a sign of life has met it; for ever where there was none."""
    now = [0.0]
    place = StudyPlace(None, "coarse", parsed(URL), patience=20)
    patiently = Patience(place, lambda seconds: None, lambda: now[0])
    assert patiently.steady() > 1e9
    errors = [outage()]

    def work() -> None:
        if errors:
            raise errors.pop()

    now[0] = 5
    patiently(work)
    now[0] = 9
    assert patiently.steady() == 4
    patiently.missed()
    assert patiently.steady() == 0


def test_a_fault_of_ours_is_no_outage() -> None:
    """Other exceptions pass through at once."""
    storage = Storage(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        storage.patiently(storage.answer)
    assert storage.pauses == []


def test_tables_that_another_process_makes() -> None:
    """Two processes that begin on an empty database make its tables at once: the slower tries again."""
    storage = Storage(
        exc.ProgrammingError("create table", {}, Exception('relation "studies" already exists'))
    )
    assert storage.patiently(storage.answer) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_an_interruption_waits_for_the_write(times: int, request: pytest.FixtureRequest) -> None:
    """Ctrl-C within a write is heard when it is done; a second one at once."""
    # A shell's background jobs ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    done: list[Any] = []

    def write() -> None:
        with uninterrupted():
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ([1] if times == 1 else [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
