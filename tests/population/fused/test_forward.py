from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from programs import CPU, accuracy, batches_of, blob_task, blobs, program_of
from torch import Tensor, nn

from lrtune.data.resident import ResidentBatches
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.protocol import Evaluation, Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent

if TYPE_CHECKING:
    import lrtune

MEMBERS = [Member(10.0**-exponent, 0.0, seed) for seed, exponent in enumerate((1, 1.5, 2, 2.5))]


def normed() -> nn.Module:
    """A perceptron whose evaluation mode is another function than its training mode."""
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def step_with_extra(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """A step that returns a scalar of its own beside the loss."""
    output = model(batch[0])
    loss = nn.functional.cross_entropy(output, batch[1])
    return {"loss": loss, "norm": output.square().mean(), "output": output, "target": batch[1]}


TASKS = {
    "loss alone": blob_task(model=normed),
    "metrics": replace(blob_task(model=normed), metrics={"accuracy": accuracy}),
    "further scalars": replace(blob_task(model=normed), loss=None, step=step_with_extra),
}


def pair(task: lrtune.Task) -> tuple[SerialPopulation, FusedPopulation]:
    """The members alone and together; the split's last batch is shorter."""
    program = program_of(task)
    train = ResidentBatches(blobs(90), 8, CPU, Silent())
    splits = {"val": batches_of(blobs(90, seed=1), 16)}
    return (
        SerialPopulation(program, MEMBERS, train, splits),
        FusedPopulation(program, MEMBERS, train, splits),
    )


def assert_equal(found: Evaluation, wanted: Evaluation) -> None:
    """Both hold the same losses and metrics, up to rounding in float32."""
    torch.testing.assert_close(found.loss, wanted.loss, rtol=1e-4, atol=1e-5)
    assert found.metrics.keys() == wanted.metrics.keys()
    for name, values in wanted.metrics.items():
        torch.testing.assert_close(found.metrics[name], values, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("training_mode", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_recorded_evaluations_are_those_of_members_alone(name: str, training_mode: bool) -> None:
    """Computed, recorded or played, on new values and in another mode: what each member alone would measure."""
    alone, together = pair(TASKS[name])
    for _ in range(5):  # a batch's shape is recorded at its third appearance; the split has six of one shape
        assert_equal(together.evaluate("val", training_mode), alone.evaluate("val", training_mode))
        assert_equal(together.evaluate("val"), alone.evaluate("val"))
        alone.advance(3)
        together.advance(3)


def test_evaluations_follow_the_members_that_are_left() -> None:
    """After some members have gone the others are measured, in their order."""
    alone, together = pair(TASKS["metrics"])
    for population in (alone, together):
        population.advance(5)
        population.evaluate("val")
        population.keep([3, 1])
        population.advance(2)
    for _ in range(2):
        assert_equal(together.evaluate("val"), alone.evaluate("val"))


def test_a_member_that_diverged_measures_nothing() -> None:
    """Its loss and metrics are NaN, those of the others are as before."""
    program = program_of(TASKS["further scalars"])
    members = [Member(1e-2), Member(1e38, seed=1)]
    splits = {"val": batches_of(blobs(90, seed=1), 16)}
    together = FusedPopulation(program, members, ResidentBatches(blobs(90), 8, CPU, Silent()), splits)
    together.advance(8)
    found = together.evaluate("val")
    assert found.loss.isnan().tolist() == [False, True]
    assert found.metrics["norm"].isnan().tolist() == [False, True]
