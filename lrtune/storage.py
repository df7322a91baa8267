"""Where studies are kept: what `storage:` may say, who may share it, and its password, which is never shown."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from lrtune.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "OPTUNA_STORAGE"  # the environment variable that Optuna's own command line reads
_JOURNAL = "journal:"
_STRUCK = "***"
_TELLING = 4  # characters of a password; a shorter one is found in any word
# scheme://user:PASSWORD@host. SQLAlchemy takes a password that holds / and spaces, and one may hold an unquoted @: all
# counts up to the last @. Rather too much is struck out than a part is shown.
_IN_PLACE = re.compile(r"(\w://[^/:]*:)(?!\*{3}@).*@", re.DOTALL)
_IN_QUERY = re.compile(r"([?&](?:password|passwd|sslpassword)=)[^&]+", re.IGNORECASE)
_URL = re.compile(r"^[a-z][a-z0-9_]*(\+[a-z0-9_]+)?://", re.IGNORECASE)
FORMS = "postgresql+psycopg://user:password@host/database, journal:PATH on a shared file system, or sqlite:///PATH"

ADVICE = (
    "set storage: postgresql+psycopg://user:password@host/database (or the environment variable OPTUNA_STORAGE), or "
    "storage: journal:PATH on a file system that all of them see"
)

Kind = Literal["sqlite", "database", "journal"]


class StorageError(UsageError):
    """A storage cannot be used: it is not there, stays away, or holds something else under the same name."""


@dataclass(frozen=True, repr=False)
class Storage:
    """A place for studies besides the run directory.

    Attributes:
        kind: A SQLite file, a database server, or a journal file.
        address: The URL, or the journal's path; it may hold a password.
    """

    kind: Kind
    address: str

    @property
    def shared(self) -> bool:
        """Whether several processes may work in it."""
        return self.kind != "sqlite"

    def __str__(self) -> str:
        """The address without its password."""
        return without_password(f"{_JOURNAL}{self.address}" if self.kind == "journal" else self.address)

    __repr__ = __str__

    def hidden_in(self, text: str) -> str:
        """Return a text, such as a driver's error, in which nothing of this address's password is left."""
        found = _IN_PLACE.search(self.address)
        secret = found.group()[len(found.group(1)) : -1] if found else ""
        text = text.replace(self.address, str(self))
        if len(secret) >= _TELLING:
            text = text.replace(secret, _STRUCK).replace(unquote(secret), _STRUCK)
        # Of a password with an unquoted @, drivers take what follows it for a part of the host.
        for part in (secret[at + 1 :] for at, sign in enumerate(secret) if sign == "@"):
            text = text.replace(f"{part}@", f"{_STRUCK}@")
        return without_password(text)


def storage_of(setting: str | None) -> Storage | None:
    """Return what `storage:` says; None where it says nothing.

    Raises:
        ValueError: If it has none of the forms; `Config` has made sure of that.
    """
    return parsed(setting) if setting else None


def storage_from_environment() -> str | None:
    """Return what the environment variable says, for the command line; None where it is not set.

    Raises:
        ConfigError: If it has none of the forms.
    """
    named = os.environ.get(VARIABLE)
    try:
        if named:
            parsed(named)
    except ValueError as error:
        raise ConfigError(f"{VARIABLE}: {error}") from None
    return named or None


def parsed(text: str) -> Storage:
    """Return the storage that a text names.

    Raises:
        ValueError: If it names none; what it holds is not repeated, since it may be a password.
    """
    if text.startswith(_JOURNAL) and text.removeprefix(_JOURNAL):
        return Storage("journal", text.removeprefix(_JOURNAL))
    if not _URL.match(text):
        raise ValueError(f"must be {FORMS}")
    return Storage("sqlite" if text.lower().startswith("sqlite") else "database", text)


def without_password(text: str) -> str:
    """Return a text with the passwords of the URLs in it struck out.

    >>> without_password("postgresql+psycopg://me:s3cret@db/lr")
    'postgresql+psycopg://me:***@db/lr'
    """
    return _IN_QUERY.sub(rf"\1{_STRUCK}", _IN_PLACE.sub(rf"\1{_STRUCK}@", text))


def shown_command(arguments: Sequence[str]) -> str:
    """Return a command line as a shell takes it, with the passwords in its arguments struck out.

    >>> shown_command(["lrtune", "--set", "storage=postgresql://me:s3 cret@db/lr", "--note", "to you@home"])
    "lrtune --set 'storage=postgresql://me:***@db/lr' --note 'to you@home'"
    """
    return shlex.join(without_password(argument) for argument in arguments)
