"""What the user's code raised in a member: kept for the report, without the memory that it stood in."""

from __future__ import annotations

import traceback
from typing import TypeVar

AnyError = TypeVar("AnyError", bound=BaseException)


def freed(error: AnyError) -> AnyError:
    """Return an exception whose tracebacks, those of its causes included, tell their lines and hold nothing.

    A frame keeps its variables: the batch, the activations and the model of a member that has failed. Frames that are
    still running keep theirs.
    """
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        waiting += (one.__cause__, one.__context__)
    return error
