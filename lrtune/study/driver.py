"""Whether a database can be spoken to at all: known before anything is trained."""

from __future__ import annotations

from sqlalchemy.engine import make_url

from lrtune.storage import StorageError, storage_of
from lrtune.study.patience import refusal


def check_driver(setting: str) -> None:
    """Refuse a storage whose driver is unknown or not installed; nothing is connected to.

    Args:
        setting: What `storage:` says.

    Raises:
        StorageError: Naming what is missing.
    """
    storage = storage_of(setting)
    if storage is None or storage.kind != "database":
        return
    try:
        make_url(storage.address).get_dialect().import_dbapi()
    except Exception as error:
        why = refusal(error)
        if why is not None:
            raise StorageError(f"storage: {storage} refuses: {storage.hidden_in(why)}") from error
