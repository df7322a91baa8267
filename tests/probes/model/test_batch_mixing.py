from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task, codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.probes.model.batch_mixing import BatchMixing, batch_mixing
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init

if TYPE_CHECKING:
    from collections.abc import Callable

WAVES = torch.randn(7, 6, 4, generator=generator(0))  # [time, batch, features]


def measured(model: Callable[[], nn.Module], train: Any, step: Any) -> BatchMixing | None:
    """What the probe says of a task of batches of its own."""
    context = context_of(lrtune.Task(model=model, train=train, step=step))
    train = context.data.train
    return batch_mixing(Sample(context.program, train, train.head(4, 0), 0))


class Centred(nn.Module):
    """A layer that takes the batch's mean away."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.layer(inputs - inputs.mean(0))


def in_parts(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """A step that cuts its batch, as gradient accumulation does."""
    parts = zip(batch["x"].split(16), batch["y"].split(16), strict=True)
    return torch.stack([F.cross_entropy(model(x), y) for x, y in parts]).mean()


def test_a_step_that_calls_the_model_in_parts() -> None:
    """One example less makes one call less: which calls belong together is not known, and nothing is claimed."""
    rows = [{"x": torch.randn(17, 4, generator=generator(i)), "y": torch.arange(17) % 3} for i in range(4)]
    assert measured(Centred, rows, in_parts) is None


@pytest.mark.parametrize("mixes", [False, True])
def test_a_number_beside_rows(mixes: bool) -> None:
    """A batch may begin with a tensor that has no rows, and have its examples in the second dimension."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(4, 3)

        def forward(self, waves: Tensor) -> Tensor:
            waves = waves - waves.mean(1, keepdim=True) if mixes else waves
            return self.layer(waves)[0]

    def step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["x"]).flatten(0, 1), batch["y"].flatten())

    batch = {"t": torch.tensor(0.5), "x": WAVES, "y": torch.randint(3, (7, 6), generator=generator(1))}
    assert (measured(Model, [batch] * 4, step) is not None) == mixes


@pytest.mark.parametrize("row", [0, -1], ids=["first", "last"])
def test_one_example_answers_for_all(row: int) -> None:
    """An index that takes the first or the last example's features for everyone's is mixing."""

    class Indexed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs[row]).expand(len(inputs), 3)

    assert "batch-mixing" in codes(check_init(context_of(blob_task(model=Indexed))))
