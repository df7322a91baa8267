"""Descriptors that no forked child may hold on to: a peer is known to be gone only when the last copy is closed."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Closable(Protocol):
    """A socket or a connection."""

    def close(self) -> None:
        """Close the descriptor of this process."""


_private: WeakSet[Closable] = WeakSet()


def keep_private(end: Closable) -> None:
    """Have an end of a connection closed in whatever child is forked from now on, a data loader's worker included."""
    _private.add(end)


def _close_all() -> None:
    for end in list(_private):
        end.close()
    _private.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)
