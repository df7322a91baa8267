"""Where studies are kept: what `storage:` may say, who may share it, and its password, which is never shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from lrtune.errors import ConfigError, UsageError

VARIABLE = "OPTUNA_STORAGE"  # the environment variable that Optuna's own command line reads
_JOURNAL = "journal:"
_PASSWORDS = (
    # scheme://user:PASSWORD@host; a password may hold an unquoted @, so that the last one before the host counts.
    (re.compile(r"(\w://[^\s/:@]*:)[^\s/]*@"), r"\1***@"),
    (re.compile(r"([?&](?:password|passwd|sslpassword)=)[^&\s'\"]+", re.IGNORECASE), r"\1***"),
)
_URL = re.compile(r"^[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://", re.IGNORECASE)
FORMS = "postgresql+psycopg://user:password@host/database, journal:PATH on a shared file system, or sqlite:///PATH"

Kind = Literal["sqlite", "database", "journal"]


class StorageError(UsageError):
    """A storage cannot be used: it is not there, stays away, or holds something else under the same name."""


@dataclass(frozen=True, repr=False)
class Storage:
    """A place for studies besides the run directory.

    Attributes:
        kind: A SQLite file, a database server, or a journal file.
        address: The URL, or the journal's path; it may hold a password.
        source: Where it was set, for messages.
    """

    kind: Kind
    address: str
    source: str

    @property
    def shared(self) -> bool:
        """Whether several processes may work in it."""
        return self.kind != "sqlite"

    def __str__(self) -> str:
        """The address without its password."""
        return without_password(f"{_JOURNAL}{self.address}" if self.kind == "journal" else self.address)

    __repr__ = __str__


def storage_of(setting: str | None) -> Storage | None:
    """Return what `storage:` or else the environment variable says; None where neither does.

    Raises:
        ConfigError: If the variable has none of the forms.
        ValueError: If the setting has none; `Config` has made sure of that.
    """
    if setting:
        return parsed(setting)
    named = os.environ.get(VARIABLE)
    try:
        return parsed(named, VARIABLE) if named else None
    except ValueError as error:
        raise ConfigError(f"{VARIABLE}: {error}") from None


def parsed(text: str, source: str = "storage") -> Storage:
    """Return the storage that a text names.

    Raises:
        ValueError: If it names none; what it holds is not repeated, since it may be a password.
    """
    if text.startswith(_JOURNAL) and text.removeprefix(_JOURNAL):
        return Storage("journal", text.removeprefix(_JOURNAL), source)
    if not _URL.match(text):
        raise ValueError(f"must be {FORMS}")
    return Storage("sqlite" if text.lower().startswith("sqlite") else "database", text, source)


def without_password(text: str) -> str:
    """Return a text with the passwords of all URLs in it struck out.

    >>> without_password("postgresql+psycopg://me:s3cret@db/lr")
    'postgresql+psycopg://me:***@db/lr'
    """
    for pattern, replacement in _PASSWORDS:
        text = pattern.sub(replacement, text)
    return text
