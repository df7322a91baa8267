"""Where in the user's own code something happens that a probe hears of while it happens."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

_OTHERS = tuple(
    str(path.resolve().parent) for path in (Path(torch.__file__), Path(__file__).parents[2] / "x")
)


def user_line() -> str:
    """Return `file:line` of the innermost code under way that is neither torch's nor lrtune's, empty without one.

    Constructors are passed over: the layers of a block are built where the block is.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((*_OTHERS, "<")) and frame.f_code.co_name != "__init__":
            return f"{Path(name).name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""
