from __future__ import annotations

import pytest

from lrtune.errors import ConfigError
from lrtune.storage import VARIABLE, parsed, storage_of, without_password


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


def test_the_environment_comes_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting counts, else the variable, else there is none; a faulty variable is named and not repeated."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert storage_of(None) is None
    monkeypatch.setenv(VARIABLE, "postgresql://h/d")
    assert str(storage_of(None)) == "postgresql://h/d"
    assert str(storage_of("journal:x")) == "journal:x"
    monkeypatch.setenv(VARIABLE, "s3cret")
    with pytest.raises(ConfigError, match=f"{VARIABLE}: must be") as caught:
        storage_of(None)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("password", ["pw", "p@w", "p:w", "%40"])
def test_passwords_are_struck_out(password: str) -> None:
    """Wherever in a text the URL stands, and whatever the password holds, nothing of it is left."""
    text = f"lrtune run a.yaml --set storage=postgresql://me:{password}@h/d and x"
    assert without_password(text) == "lrtune run a.yaml --set storage=postgresql://me:***@h/d and x"
