"""What only a CUDA device can show; elsewhere these are skipped."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task, blobs, program_of
from torch import nn
from torch.utils.data import TensorDataset

from lrtune.data.dataset import DatasetBatches
from lrtune.data.resident import ResidentBatches
from lrtune.population.fused.footprint import footprint
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.precision import products_in
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.population.program import Program

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = torch.device("cuda", 0)
MEMBERS = [Member(0.01 * (at + 1), 1e-4, at) for at in range(4)]
STEPS = 40


def network() -> nn.Module:
    """A network with statistics and a mask."""
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def program(**fields: Any) -> Program:
    """Return a classifier on the device, trained by AdamW."""
    return replace(program_of(blob_task(model=network), name="adamw"), device=GPU, **fields)


def train() -> ResidentBatches:
    """Return batches on the device."""
    return ResidentBatches(blobs(96), 16, GPU, Silent())


@contextmanager
def no_waiting() -> Iterator[None]:
    """Let whatever waits for the device raise."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("traced", [True, False])
def test_one_program_gives_what_each_alone_gives(traced: bool) -> None:
    """Over 40 steps the losses of a fused program are those of members trained in turn, within 1e-3."""
    alone = SerialPopulation(program(), MEMBERS, train(), {}).advance(STEPS)
    together = FusedPopulation(program(), MEMBERS, train(), {}, traced).advance(STEPS)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


def test_steps_wait_for_nothing() -> None:
    """Forward, backward and optimizer of a step queue their work and read nothing back."""
    fused = FusedPopulation(program(), MEMBERS, train(), {})
    serial = SerialPopulation(program(), MEMBERS[:1], train(), {})
    for one in (fused, serial):
        one.advance(8)
    batches = train().head(3, 0)
    with no_waiting():
        for batch in batches:
            losses, gradients = fused._gradient(batch, False)
            fused._optimizer.step(gradients, [0.01] * len(MEMBERS), [0.0] * len(MEMBERS))
            serial._slots[0]._step(batch)
    assert torch.isfinite(losses).all()


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_precisions_train(precision: Any) -> None:
    """In either precision the losses are near float32's, and not the same in bfloat16."""
    usual = SerialPopulation(program(), MEMBERS, train(), {}).advance(STEPS)
    with products_in(precision, GPU):
        found = SerialPopulation(program(precision=precision), MEMBERS, train(), {}).advance(STEPS)
    torch.testing.assert_close(found, usual, rtol=0.1, atol=0.1)
    assert precision == "tf32" or not torch.equal(found, usual)


def test_reading_ahead_into_pinned_memory() -> None:
    """Data that do not fit are read by processes, and are on the device what they are on the host."""
    data = TensorDataset(torch.arange(200.0).reshape(100, 2), torch.arange(100))
    batches = DatasetBatches(data, 5, GPU, "train", workers=2)
    found = list(batches.epoch(0, 0))
    assert {one.device for batch in found for one in batch} == {GPU}
    wanted = DatasetBatches(data, 5, torch.device("cpu"), "train").epoch(0, 0)
    for batch, other in zip(found, wanted, strict=True):
        assert all(torch.equal(one.cpu(), host) for one, host in zip(batch, other, strict=True))


def test_the_forecast() -> None:
    """What twelve members take is foretold within 10 % of the allocator's own count."""
    members = [Member(0.001, 0.0, at) for at in range(12)]
    wide = replace(
        program_of(blob_task(model=lambda: nn.Sequential(nn.Linear(4, 2048), nn.ReLU(), nn.Linear(2048, 3)))),
        device=GPU,
    )
    data = train()
    data.head(1, 0)
    forecast = footprint(wide, members, data, True).of(12)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats(GPU)
    before = torch.cuda.memory_allocated(GPU)
    FusedPopulation(wide, members, data, {}, True).advance(10)
    assert forecast == pytest.approx(torch.cuda.max_memory_allocated(GPU) - before, rel=0.1)
