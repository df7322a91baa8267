from __future__ import annotations

import pytest

from lrtune.errors import ConfigError
from lrtune.storage import (
    VARIABLE,
    parsed,
    shown_command,
    storage_from_environment,
    storage_of,
    without_password,
)


@pytest.mark.parametrize(
    ("text", "kind", "shared", "shown"),
    [
        ("postgresql+psycopg://me:pw@h:5/d", "database", True, "postgresql+psycopg://me:***@h:5/d"),
        ("mysql://h/d?password=pw&ssl=1", "database", True, "mysql://h/d?password=***&ssl=1"),
        ("sqlite:///a/b.db", "sqlite", False, "sqlite:///a/b.db"),
        ("journal:/mnt/x.log", "journal", True, "journal:/mnt/x.log"),
    ],
    ids=["postgres", "mysql", "sqlite", "journal"],
)
def test_kinds(text: str, kind: str, shared: bool, shown: str) -> None:
    """Each form is known for what it is, and shows itself without its password."""
    storage = parsed(text)
    assert (storage.kind, storage.shared, str(storage), repr(storage)) == (kind, shared, shown, shown)


@pytest.mark.parametrize("text", ["study.db", "journal:", "://x", ""])
def test_anything_else_is_refused(text: str) -> None:
    """A path alone says not whether it is SQLite's or a journal."""
    with pytest.raises(ValueError, match="must be postgresql"):
        parsed(text)


def test_the_environment_is_read_by_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting there is no storage, whatever the variable says; a faulty one is named and not repeated."""
    assert storage_from_environment() is None
    monkeypatch.setenv(VARIABLE, "postgresql://h/d")
    assert storage_from_environment() == "postgresql://h/d"
    assert storage_of(None) is None
    assert str(storage_of("journal:x")) == "journal:x"
    monkeypatch.setenv(VARIABLE, "s3cret")
    with pytest.raises(ConfigError, match=f"{VARIABLE}: must be") as caught:
        storage_from_environment()
    assert "s3cret" not in str(caught.value)


PASSWORDS = ["pw", "p@w", "p:w", "%40", "top/secret", "top secret", "a@b/c:d %e?f", "'quoted'"]


@pytest.mark.parametrize("password", PASSWORDS)
def test_passwords_are_struck_out(password: str) -> None:
    """Wherever in a text the URL stands, and whatever the password holds, nothing of it is left."""
    text = f"lrtune run a.yaml --set storage=postgresql://me:{password}@h/d and x"
    struck = "lrtune run a.yaml --set storage=postgresql://me:***@h/d and x"
    assert without_password(text) == struck
    assert without_password(struck) == struck


@pytest.mark.parametrize("password", PASSWORDS)
def test_commands_are_shown_without_passwords(password: str) -> None:
    """Each argument by itself: an @ further on takes nothing else away."""
    command = [
        "lrtune",
        "run",
        "--set",
        f"storage=postgresql://me:{password}@h/d",
        "--set",
        "args.who=you@home",
    ]
    shown = "lrtune run --set 'storage=postgresql://me:***@h/d' --set args.who=you@home"
    assert shown_command(command) == shown
    assert (
        without_password("lrtune --set 'storage=mysql://h/d?password=a b'")
        == "lrtune --set 'storage=mysql://h/d?password=***"
    )


@pytest.mark.parametrize("password", [one for one in PASSWORDS if len(one) > 3] + ["s3cr@t"])
def test_errors_of_drivers_are_shown_without_passwords(password: str) -> None:
    """What a driver repeats of an address: all of it, its password, or what it took for the host."""
    storage = parsed(f"postgresql://me:{password}@h/d")
    told = f"cannot open postgresql://me:{password}@h/d: host '{password.rpartition('@')[2]}@h', password {password}"
    hidden = storage.hidden_in(told)
    assert password not in hidden
    assert "postgresql://me:***@h" in hidden
    assert password.rpartition("@")[2] + "@" not in hidden
