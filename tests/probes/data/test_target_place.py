from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, TensorDataset

import lrtune
from lrtune.checks.order import unshuffled_batches
from lrtune.probes.data import order as order_module
from lrtune.probes.data.class_counts import label_counts
from lrtune.probes.data.duplicates import duplicates
from lrtune.probes.data.order import order
from lrtune.probes.sample import Sample

TABLE, LABELS = torch.randn(320, 4, generator=generator(0)), torch.arange(320) // 110


def sample_of(task: lrtune.Task) -> Sample:
    """The first batches of a task."""
    context = context_of(task)
    return Sample(context.program, context.data.train, context.data.train.head(4, 0), 0)


def test_a_target_whose_key_changes() -> None:
    """Batches of two sources may name their labels differently: then nothing is said, and nothing raised."""

    def step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        target = batch["label"] if "label" in batch else batch["class"]
        output = model(batch["x"])
        return {"loss": F.cross_entropy(output, target), "output": output, "target": target}

    parts = zip(TABLE.split(16), LABELS.split(16), strict=True)
    rows = [{"x": x, ("class" if i % 2 else "label"): y} for i, (x, y) in enumerate(parts)]
    sample = sample_of(lrtune.Task(model=lambda: nn.Linear(4, 3), train=rows, step=step))
    assert order(sample) is None
    assert duplicates(sample) is None
    assert all(torch.equal(told, LABELS[16 * i : 16 * i + 16]) for i, told in enumerate(sample.targets))


def test_the_order_is_read_up_to_a_number_of_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long epoch is read to the same batch on any machine; the finding says how many were."""
    monkeypatch.setattr(order_module, "_EXAMPLES", 160)
    loader = DataLoader(TensorDataset(TABLE, LABELS), batch_size=16)
    seen = order(sample_of(lrtune.Task(model=lambda: nn.Linear(4, 3), train=loader, loss=F.cross_entropy)))
    assert seen is not None
    assert (seen.batches, seen.examples, seen.complete) == (10, 160, False)
    found = unshuffled_batches(seen)
    assert found is not None
    assert "the first 10 batches (160 examples)" in found.message


class Picky:
    """A loss that refuses outputs it has not seen before."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return cross-entropy, but not for outputs of zero."""
        if not bool(output.any()):
            raise self.error
        return F.cross_entropy(output, target)


@pytest.mark.parametrize("error", [AssertionError, NotImplementedError, KeyError])
def test_a_loss_that_raises_on_other_outputs(error: Any) -> None:
    """What the user's loss raises on outputs of lrtune's does not escape: its weights are not known then."""
    data = TensorDataset(TABLE, LABELS)
    seen = label_counts(sample_of(lrtune.Task(model=lambda: nn.Linear(4, 3), train=data, loss=Picky(error))))
    assert seen is not None
    assert seen.weighed == {}
