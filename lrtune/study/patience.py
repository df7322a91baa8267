"""A storage that goes away for a while is waited for: nothing that is computed is lost to a restart of a server."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import exc

from lrtune.storage import StorageError, without_password
from lrtune.study.opening import DAMAGED
from lrtune.study.uninterrupted import uninterrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lrtune.study.place import StudyPlace

Result = TypeVar("Result")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds between attempts; each pause is twice the one before
_FAREWELL = 3.0  # seconds that a process which is interrupted gives to giving its trials back
# What servers say of requests that no waiting helps, in lower case.
_HOPELESS = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "access denied",
    "no such table",
    "no such column",
    "permission denied",
    "unable to open database file",
)
# Two processes that make the tables of a new database at the same time: the slower one finds them made.
_MADE_BY_ANOTHER = ("already exists", "duplicate key", "unique constraint")


class Patience:
    """Runs work on a storage, and runs it again while the storage is out of reach.

    Args:
        place: Says how long to wait, and whom to tell.
        pause: Sleeps for so many seconds.
        clock: Tells seconds.
    """

    def __init__(
        self,
        place: StudyPlace,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._clock = clock
        self._out_of_reach = -math.inf
        self._pause = pause
        self._left = float(place.patience)

    def hurry(self) -> None:
        """Wait for little more from now on: the process is about to end."""
        self._left = min(self._left, _FAREWELL)

    def missed(self) -> None:
        """Hear that the storage is out of reach at this moment."""
        self._out_of_reach = self._clock()

    def steady(self) -> float:
        """Return for how many seconds the storage has not been found out of reach."""
        return self._clock() - self._out_of_reach

    def __call__(self, work: Callable[[], Result]) -> Result:
        """Return what the work returns; it may be run several times, the last of which succeeds.

        Raises:
            StorageError: If the storage has stayed away for longer than the patience lasts, or refuses us.
        """
        waited, pause, said = 0.0, _FIRST_PAUSE, False
        while True:
            try:
                with uninterrupted():
                    result = work()
            except Exception as error:
                if self._place.storage is not None and (why := refusal(error)) is not None:
                    raise StorageError(f"storage: {self._place} refuses: {self._hidden(why)}") from error
                if not is_outage(error):
                    raise
                self.missed()
                if waited >= self._left:
                    self._left = 0.0  # it has been waited for: what is done on the way out waits no more
                    raise StorageError(self._lost(error)) from error
                if not said and pause > _FIRST_PAUSE:  # what passes at once is not worth a word
                    self._place.note(
                        f"the study's storage ({self._place}) is out of reach ({self._shown(error)}); waiting up to "
                        f"{self._place.patience} s for it"
                    )
                    said = True
                self._pause(pause)
                waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)
                continue
            if said:
                self._place.note("the study's storage is there again; going on")
            return result

    def _shown(self, error: Exception) -> str:
        return self._hidden(_told(error))

    def _hidden(self, text: str) -> str:
        return text if self._place.storage is None else self._place.storage.hidden_in(text)

    def _lost(self, error: Exception) -> str:
        return (
            f"storage: {self._place} has been out of reach for {self._place.patience} s ({self._shown(error)}); "
            "results that are stored are kept: start the same command again when it is back"
        )


def is_outage(error: BaseException) -> bool:
    """Say whether an error may pass by itself: a server that is away or restarting, a lock, a stale file handle."""
    if refusal(error) is not None:
        return False
    for one in _chain(error):
        if isinstance(one, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
            return True
        if isinstance(one, exc.DBAPIError) and one.connection_invalidated:
            return True
        if isinstance(one, exc.IntegrityError | exc.ProgrammingError) and _says(one, _MADE_BY_ANOTHER):
            return True
        if isinstance(one, OSError) and not isinstance(one, FileNotFoundError | PermissionError):
            return True
    return False


def refusal(error: BaseException) -> str | None:
    """Return why a storage will never take us, None where waiting may help."""
    for one in _chain(error):
        if isinstance(one, ImportError):
            return _driver_missing(one)
        if isinstance(one, exc.ArgumentError | exc.NoSuchModuleError):
            return _told(one)
        if isinstance(one, exc.OperationalError | exc.ProgrammingError) and _says(one, _HOPELESS):
            return _told(one)
        if isinstance(one, exc.DatabaseError) and _says(one, DAMAGED):
            return f"{_told(one)}; the file was left as it is: name another, or move it away"
        if isinstance(one, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
            return _told(one)
    return None


def _driver_missing(error: ImportError) -> str:
    """Return which Python module a database needs, and where it is got."""
    name = next((one.name for one in _chain(error) if isinstance(one, ImportError) and one.name), None)
    if name in ("psycopg", "psycopg_binary"):
        return "its database driver is not installed: python -m pip install 'lrtune[postgres]'"
    if name == "psycopg2":  # what postgresql:// alone stands for
        return (
            "its database driver psycopg2 is not installed; write postgresql+psycopg:// for the one that comes with "
            "python -m pip install 'lrtune[postgres]'"
        )
    return f"its database driver is not installed: the Python module {name or _told(error)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def _told(error: BaseException) -> str:
    """Return the first line of the innermost error that says something, its password struck out."""
    deepest = [one for one in _chain(error) if str(one).strip()][-1:] or [error]
    return without_password((str(deepest[0]).strip() or type(deepest[0]).__name__).splitlines()[0])
