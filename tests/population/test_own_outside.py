"""State that a task keeps outside its model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import CPU, batches_of, blob_task, blobs, mlp, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.config import PopulationConfig
from lrtune.data.resident import ResidentBatches
from lrtune.population.own_outside import Outside, OwnOutside
from lrtune.population.planner import Planner
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    import lrtune

RATES = (50.0, 0.01, 0.05)
STEPS = 40  # over one block of the engine


def squared(output: Tensor, target: Tensor) -> Tensor:
    """Squared error on one-hot labels, which a huge rate sends to infinity."""
    return F.mse_loss(output, F.one_hot(target, 3).float())


class InPlace(nn.Module):
    """Multiplies by a running mean, changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the scaled loss."""
        loss = squared(output, target)
        self.scale.mul_(0.9).add_(0.1 * loss.detach())
        return loss * self.scale


class Rebound(InPlace):
    """The same by putting another tensor into the buffer's place."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the scaled loss."""
        loss = squared(output, target)
        self.scale = 0.9 * self.scale + 0.1 * loss.detach()
        return loss * self.scale


class Number:
    """The same with a number and a list, in an object that is no module."""

    def __init__(self) -> None:
        self.scale, self.seen = 1.0, [1.0]

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the scaled loss."""
        loss = squared(output, target)
        self.seen.append(loss.item())
        self.scale = 0.9 * self.scale + 0.1 * self.seen[-1]
        return loss * (self.scale + 1 / len(self.seen))


class Learned(nn.Module):
    """A weight whose gradients add up, since no optimizer of lrtune's knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss, scaled by how far the gradient has grown."""
        grown = torch.zeros(()) if self.weight.grad is None else self.weight.grad.abs().clamp(max=1)
        return squared(output, target) * self.weight / (1 + grown)


def followed() -> dict[str, Any]:
    """A step whose teacher follows the model."""
    torch.manual_seed(3)
    teacher = mlp()

    def step(model: nn.Module, batch: Any) -> dict[str, Any]:
        inputs, target = batch
        output = model(inputs)
        with torch.no_grad():
            for own, other in zip(teacher.parameters(), model.parameters(), strict=True):
                own.data.lerp_(other, 0.1)
            aim = teacher(inputs)
        return {"loss": squared(output, target) + F.mse_loss(output, aim), "output": output, "target": target}

    return {"step": step, "loss": None}


TASKS: dict[str, Callable[[], lrtune.Task]] = {
    "in place": lambda: blob_task(loss=InPlace()),
    "rebound": lambda: blob_task(loss=Rebound()),
    "number": lambda: blob_task(loss=Number()),
    "method": lambda: blob_task(loss=Number().__call__),
    "gradient": lambda: blob_task(loss=Learned()),
    "teacher": lambda: blob_task(**followed()),
}


def grid(task: lrtune.Task, rates: tuple[float, ...]) -> SerialPopulation:
    """A population of some learning rates."""
    train = ResidentBatches(blobs(90), 7, CPU, Silent())
    return SerialPopulation(
        program_of(task), [Member(rate) for rate in rates], train, {"val": batches_of(blobs(48), 16)}
    )


def measured(population: SerialPopulation, evaluate: bool = True) -> tuple[Tensor, Tensor]:
    """Train in two parts; return the losses of all steps, and the validation losses."""
    losses = [population.advance(5)]
    if evaluate:
        population.evaluate("val")
    losses.append(population.advance(STEPS))
    return torch.cat(losses, 1), population.evaluate("val").loss


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_diverging_member_disturbs_nobody(task: Callable[[], lrtune.Task]) -> None:
    """The others' numbers are bit for bit those without it, and so are those of each alone."""
    losses, val = measured(grid(task(), RATES))
    assert torch.isnan(losses[0]).any()
    without = measured(grid(task(), RATES[1:]))
    assert torch.equal(losses[1:], without[0])
    assert torch.equal(val[1:], without[1])
    for row, rate in enumerate(RATES[1:], start=1):
        alone = measured(grid(task(), (rate,)))
        assert torch.equal(losses[row : row + 1], alone[0])
        assert torch.equal(val[row : row + 1], alone[1])


def test_a_member_is_the_plain_loop() -> None:
    """State goes on from block to block as it does in a script."""
    losses, _ = measured(grid(blob_task(loss=InPlace()), (0.02, 0.05)))
    for row, rate in enumerate((0.02, 0.05)):
        torch.manual_seed(0)
        model, loss_of = mlp(), InPlace()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        stream = ResidentBatches(blobs(90), 7, CPU, Silent()).stream(0)
        for step in range(5 + STEPS):
            inputs, target = next(stream)
            optimizer.zero_grad()
            loss = loss_of(model(inputs), target)
            loss.backward()
            optimizer.step()
            assert losses[row, step] == loss.item()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_evaluating_does_not_change_training(task: Callable[[], lrtune.Task]) -> None:
    """What a loss adds to its state in an evaluation is dropped."""
    assert torch.equal(
        measured(grid(task(), RATES[1:]))[0], measured(grid(task(), RATES[1:]), evaluate=False)[0]
    )


@pytest.mark.parametrize("kind", [InPlace, Rebound, Learned], ids=lambda kind: kind.__name__)
def test_the_callers_state_stays(kind: type[nn.Module]) -> None:
    """After every block the modules are as the caller left them, gradients included."""
    loss = kind()
    tensors = [*loss.parameters(), *loss.buffers()]
    population = grid(blob_task(loss=loss), RATES)
    for _ in range(2):
        population.advance(7)
        population.evaluate("val")
        assert [*loss.parameters(), *loss.buffers()] == tensors
        assert all(
            tensor is now for tensor, now in zip(tensors, (*loss.parameters(), *loss.buffers()), strict=True)
        )
        assert all(tensor.item() == 1.0 and tensor.grad is None for tensor in tensors)


def test_timing_leaves_the_state() -> None:
    """A planner that times members changes nothing outside them."""
    loss = Number()
    planner = Planner(program_of(blob_task(loss=loss)), PopulationConfig(execution="fused"))
    members = [Member(rate) for rate in RATES]
    planner.plan(members, ResidentBatches(blobs(90), 7, CPU, Silent()), 10_000)
    assert vars(loss) == {"scale": 1.0, "seen": [1.0]}


def test_a_frozen_teacher_is_not_copied() -> None:
    """A member holds only what it has changed."""
    frozen = copy.deepcopy(mlp())
    outside = Outside(
        blob_task(loss=lambda output, target: squared(output, target) + 0 * frozen[0].bias.sum())
    )
    own = OwnOutside(outside)
    with own:
        frozen[2].bias.data.add_(1.0)
    assert len(own._held._holders) == 1


def test_a_task_without_state_costs_nothing() -> None:
    """Plain functions hold nothing to swap."""
    assert not Outside(blob_task())
