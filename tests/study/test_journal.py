from __future__ import annotations

import os
from typing import TYPE_CHECKING

import optuna
import pytest

from lrtune.storage import StorageError, parsed
from lrtune.study.journal import journal_storage
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "content",
    [
        b'{"precious": "data"}',
        b'{"a": 1}\n{"b": 2}\n',
        b"a text\nof two lines\n",
        b"\xff\x00\xfe" * 900,
        b'{"op_code":0',
    ],
    ids=["json", "json lines", "text", "binary", "torn"],
)
def test_another_program_s_file_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    """What begins with anything else than a record is refused by name, and not a byte of it changes."""
    file = tmp_path / "p.json"
    file.write_bytes(content)
    with pytest.raises(StorageError, match=r"p\.json is no journal that can be read.*left as it is"):
        TrialQueue(StudyPlace(None, "coarse", parsed(f"journal:{file}")))
    assert file.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]


def test_a_file_replaced_while_it_is_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    """A torn line that is all there is of a file is never cut off."""
    file = tmp_path / "log"
    study = optuna.create_study(storage=journal_storage(str(file)))
    file.write_text("something else")
    with pytest.raises(StorageError, match="no journal"):
        study._storage.set_study_user_attr(study._study_id, "a", 1)
    assert file.read_text() == "something else"


def test_a_damaged_line_is_told(tmp_path: Path) -> None:
    """A whole line that holds no record ends the reading with the file's name."""
    file = tmp_path / "log"
    optuna.create_study(storage=journal_storage(str(file)), study_name="a")
    with file.open("ab") as journal:
        journal.write(b"no record\n" * 2)
    with pytest.raises(StorageError, match="log is no journal that can be read: Expecting value"):
        journal_storage(str(file))


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, what was written by half is taken back, and the next write is whole."""
    file = tmp_path / "log"
    storage = journal_storage(str(file))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        optuna.create_study(storage=storage, study_name="a")
    assert file.read_bytes() == b""
    monkeypatch.undo()
    optuna.create_study(storage=journal_storage(str(file)), study_name="a")
    assert file.read_bytes().count(b"\n") == 1
