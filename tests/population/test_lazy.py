from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from programs import CPU, accuracy, blob_task, blobs, context_of, language_task, mlp, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.data.resident import ResidentBatches
from lrtune.errors import TaskError
from lrtune.population.lazy import has_lazy_layers, materialise
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.population.program import Program

FEATURES = 4


def lazy() -> nn.Module:
    """Layers and statistics without shapes."""
    return nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(3))


def eager() -> nn.Module:
    """The same with shapes."""
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))


def program(task: lrtune.Task) -> Program:
    """Return the task's program, which can ask for a first batch."""
    data = ResidentBatches(blobs(90), 7, CPU, Silent())
    return replace(program_of(task), first_batch=lambda: data.head(1, 0)[0])


def test_lazy_layers_train_as_their_twins_with_shapes() -> None:
    """Parameters, running statistics and losses are bitwise those of the same model with its shapes written out."""
    members = [Member(0.03, 0.0, 0, 0), Member(0.01, 0.01, 1, 5)]
    rows = []
    for model in (lazy, eager):
        data = ResidentBatches(blobs(90), 7, CPU, Silent())
        made = SerialPopulation(program(blob_task(model=model)), members, data, {})
        losses = made.advance(20)
        rows.append((losses, [made.export(at) for at in range(2)]))
    (losses, states), (expected, twins) = rows
    assert torch.equal(losses, expected)
    for state, twin in zip(states, twins, strict=True):
        assert state.keys() == twin.keys()
        assert all(torch.equal(state[key], twin[key]) for key in twin)


def test_the_random_stream_is_that_of_a_dry_run() -> None:
    """A plain script that runs the batch through the model before its optimizer draws the same numbers."""
    task = blob_task(model=lambda: nn.Sequential(nn.LazyLinear(8), nn.Dropout(0.5), nn.LazyLinear(3)))
    made = program(task)
    with seeded(3):
        model = made.build_model()
        drawn = torch.rand(1)
    with seeded(3), torch.no_grad():
        plain = task.model()
        plain(made.first_batch()[0])
        assert torch.equal(torch.rand(1), drawn)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_other_models_see_no_batch() -> None:
    """A model whose parameters all have shapes is built without reading any data."""

    def unread() -> None:
        raise AssertionError("nothing should be read")

    made = replace(program_of(blob_task()), first_batch=unread)
    with seeded(0):
        model = made.build_model()
    with seeded(0):
        plain = mlp()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), plain.parameters(), strict=True))


def test_modes_are_the_models_own() -> None:
    """The dry run is in training mode, and modes are as the task set them afterwards."""
    model = lazy()
    model[1].eval()
    seen: list[bool] = []
    materialise(model, lambda: (seen.append(model[1].training), model(torch.randn(8, FEATURES))))
    assert seen == [True]
    assert [module.training for module in model] == [True, False, True, True]


def test_layers_that_no_batch_reaches() -> None:
    """A lazy layer that the forward pass leaves out is named."""

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.LazyLinear(3), nn.LazyLinear(3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.used(inputs)

    with pytest.raises(TaskError, match=r"leaves unused\.weight, unused\.bias without a shape"):
        program(blob_task(model=Unused)).build_model()


def test_targets_are_not_looked_at() -> None:
    """Labels that would break the loss do not break the building of a model."""

    def broken(output: Tensor, target: Tensor) -> Tensor:
        raise AssertionError("no loss is needed")

    assert not has_lazy_layers(program(blob_task(model=lazy, loss=broken)).build_model())


@pytest.mark.parametrize(
    "make",
    [
        lambda: blob_task(model=lazy),
        lambda: language_task(head=lambda vocabulary: nn.LazyLinear(vocabulary)),
        lambda: blob_task(model=lazy, loss=None, metrics={}, step=step),
    ],
    ids=["loss", "dict batches", "step"],
)
def test_lazy_models_through_a_context(make: Callable[[], lrtune.Task]) -> None:
    """A context's models are ready to train whatever the batches are, and fresh ones."""
    made = context_of(make()).program
    model = made.build_model()
    assert not has_lazy_layers(model)
    made.build_optimizer(model, 0.1, 0.0)


def step(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Return the loss and a metric of a pair."""
    output = model(batch[0])
    return {"loss": F.cross_entropy(output, batch[1]), "accuracy": accuracy(output, batch[1])}


def test_lazy_models_find_a_rate() -> None:
    """The learning rate of a lazy model is that of its twin with shapes."""
    found = [
        lrtune.find_lr(blob_task(model=model), lrtune.Config(device="cpu", find_lr={"repeats": 1}))
        for model in (lazy, eager)
    ]
    assert found[0].verdict != "fail"
    assert found[0].summary["suggestion"] == found[1].summary["suggestion"]
