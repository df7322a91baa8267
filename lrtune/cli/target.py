"""Files that an option asks for: whether they can be written is known before any work is done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lrtune.errors import UsageError


def check_target(option: str, name: str) -> None:
    """Refuse a file that could not be written later, when the work is done.

    Args:
        option: The one that names the file, for the message.
        name: The file.

    Raises:
        UsageError: If nothing can be written there.
    """
    if reason := _obstacle(Path(name)):
        raise UsageError(f"{option}: cannot write {name}: {reason}")


def _obstacle(path: Path) -> str | None:
    """Return why a file cannot be written, None where it can; what is there stays as it is."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    if path.exists() and not path.is_file():  # /dev/stdout and pipes cannot be renamed onto
        return "it is no ordinary file"
    if path.exists() and not os.access(path, os.W_OK):
        return "permission denied"
    try:
        with tempfile.TemporaryFile(dir=path.parent):  # a read-only disk shows itself in nothing else
            return None
    except OSError as error:
        return error.strerror or str(error)
