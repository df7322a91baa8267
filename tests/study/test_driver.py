from __future__ import annotations

import pytest

import lrtune
from lrtune.storage import StorageError
from lrtune.study.driver import check_driver


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        pytest.param("mysql://me:s3cret@db/lr", "driver is not installed: the Python module", id="no module"),
        pytest.param("nosuch://me:s3cret@db/lr", "nosuch", id="no dialect"),
    ],
)
def test_a_database_that_nobody_can_speak_to(storage: str, said: str) -> None:
    """It is refused before anything is trained or connected to, and its password is not told."""
    with pytest.raises(StorageError, match=said) as caught:
        check_driver(storage)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "storage", ["journal:study.log", "sqlite:///study.db", "sqlite+pysqlite:///study.db"]
)
def test_files_need_no_driver(storage: str) -> None:
    """Journals and SQLite are always at hand."""
    check_driver(storage)


def test_a_recipe_asks_before_it_begins() -> None:
    """The first step is not run where a later one could not be."""
    from programs import blob_task

    with pytest.raises(StorageError, match="refuses"):
        lrtune.check_init(blob_task(), lrtune.Config(device="cpu", storage="nosuch://db/lr"))
