"""What the planner measured, kept in the run directory: the next command need not measure again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lrtune.provenance import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.run_dir import RunDir

NAME = "population.json"


class PlanFile:
    """`population.json`: the executions chosen, for the program that they were measured on.

    Args:
        run_dir: Where it lies; None keeps nothing.
        made_from: What the program depends on; of another one nothing is taken over.
    """

    def __init__(self, run_dir: RunDir | None, made_from: Mapping[str, Any]) -> None:
        self._run_dir = run_dir
        self._fingerprint = fingerprint(made_from)

    def read(self) -> dict[str, Any]:
        """Return what is known; nothing where there is no file, or one that cannot be read."""
        if self._run_dir is None:
            return {}
        try:
            stored = json.loads((self._run_dir.path / NAME).read_text(encoding="utf-8"))
            known = stored["known"] if stored["program"] == self._fingerprint else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return known if isinstance(known, dict) else {}

    def write(self, known: Mapping[str, Any]) -> None:
        """Keep what is known."""
        if self._run_dir is not None:
            stored = {"program": self._fingerprint, "known": dict(known)}
            self._run_dir.write(NAME, json.dumps(stored, indent=1) + "\n")
