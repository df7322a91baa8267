"""Where, when and with what a result was obtained: kept with it, for whoever reads it later."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from importlib import metadata
from typing import Any

from lrtune.storage import without_password
from lrtune.version import __version__

_PACKAGES = ("torch", "numpy", "optuna")  # whose versions can change the numbers


def environment(command: str = "") -> dict[str, Any]:
    """Return the versions, the machine, the time and the command line; nothing is imported for it.

    Args:
        command: The command line, empty where there was none; no password of it is kept.
    """
    return {
        "command": without_password(command) or None,
        "when": datetime.now().astimezone().isoformat(" ", "seconds"),
        "versions": {"lrtune": __version__, "Python": platform.python_version(), **_installed()},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _installed() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a torch built by hand may carry no metadata
            continue
    return found
