"""How names of parameters and modules are written in messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMED = 4  # listed in a message before "and N more"


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def in_model(name: str) -> str:
    """Return a module's name as code has it.

    >>> in_model("blocks.0.fc")
    'model.blocks[0].fc'
    """
    return "model" + "".join(
        f"[{part}]" if part.isdigit() else f".{part}" for part in name.split(".") if part
    )
