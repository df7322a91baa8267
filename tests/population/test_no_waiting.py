"""That nothing waits for an accelerator within a block of steps.

Torch's meta device stands in for one: its tensors have shapes and no values, so that whatever would read one raises.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from programs import blob_task, program_of
from torch import Tensor, nn

from lrtune.data.batches import FixedBatches
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation

META = torch.device("meta")
MEMBERS = [Member(0.01, 1e-4), Member(0.02, 0.0, 1)]
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "momentum": 0.9, "nesterov": True},
    "adam": {"name": "adam"},
    "adamw": {"name": "adamw", "amsgrad": True},
    "rmsprop": {"name": "rmsprop", "momentum": 0.9, "centered": True},
    "adagrad": {"name": "adagrad"},
    "nadam, an instance a member": {"name": "nadam"},
}


def network() -> nn.Module:
    """Return a network with what steps usually move: statistics and masks."""
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of what was read from the device."""
    found: list[torch.Size] = []

    def read(tensor: Tensor) -> Tensor:
        found.append(tensor.shape)
        return torch.zeros(tensor.shape)

    monkeypatch.setattr(torch.Tensor, "cpu", read)
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_losses_are_all_that_is_read(
    optimizer: dict[str, Any], precision: Any, reads: list[torch.Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward, backward and optimizer read nothing; the losses are read once a block, a member's or all members'."""
    program = replace(program_of(blob_task(model=network), **optimizer), device=META)
    if (
        precision == "bfloat16"
    ):  # the meta device has no autocast of its own; the CPU's stands for an accelerator's
        object.__setattr__(program.task, "autocast", "cpu")
    batch = torch.empty(8, 4, device=META), torch.empty(8, dtype=torch.long, device=META)
    for place in ("blocks", "fused.population"):
        monkeypatch.setattr(f"lrtune.population.{place}.BLOCK_STEPS", 4)
    SerialPopulation(program, MEMBERS, FixedBatches([batch]), {}).advance(6)
    blocks = [torch.Size([4]), torch.Size([2])]
    assert reads == [block for block in blocks for _ in MEMBERS]
    reads.clear()
    FusedPopulation(program, MEMBERS, FixedBatches([batch]), {}, traced=False).advance(6)
    assert reads == [torch.Size([2, 4]), torch.Size([2, 2])]


def test_a_read_would_be_seen() -> None:
    """A model that reads a value in its forward pass raises on this device: the test can fail."""
    with pytest.raises(RuntimeError, match="meta"):
        float(torch.ones(1, device=META).sum())
