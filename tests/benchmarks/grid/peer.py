"""The peers by name: who trains the grid, and how that is measured."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Peer:
    """One way to train a grid.

    Attributes:
        name: On the command line and in tables.
        module: File of `peers/` with `run(workload) -> losses`, and `run_timed` where it starts processes.
        keywords: Of its `run`.
        starts_processes: Whether it does: then their start-up is in its time, and it is not run once before.
        usual: Whether it is compared unless others are asked for.
    """

    name: str
    module: str
    keywords: Mapping[str, Any] = field(default_factory=dict)
    starts_processes: bool = False
    usual: bool = True

    def load(self) -> Any:
        """Import the module.

        Raises:
            ModuleNotFoundError: If what it is written with is not installed.
        """
        return importlib.import_module(f"benchmarks.grid.peers.{self.module}")


PEERS = {
    peer.name: peer
    for peer in (
        Peer("plain_loop", "plain_loop"),
        Peer("resident_loop", "resident_loop"),
        Peer("optuna_one", "optuna_one"),
        Peer("optuna_two", "optuna_two", starts_processes=True),
        Peer("ray_tune", "ray_tune", starts_processes=True),
        Peer("lrtune_grid", "lrtune_grid"),
        Peer("lrtune_serial", "lrtune_grid", {"execution": "serial"}, usual=False),
        Peer("lrtune_fused", "lrtune_grid", {"execution": "fused"}, usual=False),
        Peer("lrtune_sharded", "lrtune_grid", {"execution": "sharded"}, usual=False),
    )
}
REFERENCE = "plain_loop"
