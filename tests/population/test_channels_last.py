from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import CPU, blob_task, generator, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.data.source import open_data
from lrtune.population.channels_last import convolves_images, laid_out, why_not_channels_last
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBER = Member(0.05, 1e-4, 3)
IMAGES = TensorDataset(
    torch.randn(48, 3, 8, 8, generator=generator(0)), torch.randint(4, (48,), generator=generator(1))
)


def network(*layers: nn.Module) -> nn.Module:
    """A small convolutional network with some layers between its two."""
    first = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*first, *layers, nn.Conv2d(8, 4, 3, stride=2), nn.Flatten(), nn.Linear(36, 4))


def task_of(*layers: Callable[[], nn.Module]) -> lrtune.Task:
    """A classifier of images."""
    return lrtune.Task(
        model=lambda: network(*(layer() for layer in layers)), train=IMAGES, loss=F.cross_entropy
    )


def refused(task: lrtune.Task) -> str | None:
    """Return why a task's models cannot lie channel by channel."""
    train = open_data(task, 16, 0, CPU, Silent()).train
    return why_not_channels_last(program_of(task), MEMBER, train)


class Flattened(nn.Module):
    """Reads a map as one row of memory."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs."""
        return inputs.view(len(inputs), -1).view_as(inputs)


class ByStride(nn.Module):
    """Computes something else by the order in memory."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, a tenth larger where channels come last."""
        return inputs * (1.1 if inputs.stride(1) == 1 else 1.0)


class Forgetful(nn.Module):
    """Forgets in evaluation mode where channels come last."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, or zeros."""
        return inputs if self.training or inputs.stride(1) != 1 else torch.zeros_like(inputs)


ALIKE: dict[str, list[Callable[[], nn.Module]]] = {
    "plain": [],
    "transposed": [lambda: nn.ConvTranspose2d(8, 8, 3, padding=1)],
    "grouped": [lambda: nn.Conv2d(8, 8, 3, padding=1, groups=8)],
    "channels dropped": [lambda: nn.Dropout2d(0.5)],
    "norms": [lambda: nn.GroupNorm(2, 8), lambda: nn.InstanceNorm2d(8)],
    "deep": [lambda: nn.Conv2d(8, 8, 3, padding=1), lambda: nn.BatchNorm2d(8), nn.ReLU] * 3,
}


@pytest.mark.parametrize("layers", ALIKE.values(), ids=ALIKE)
def test_alike(layers: list[Callable[[], nn.Module]]) -> None:
    """Usual layers pass, and training gives the losses of the usual order within 1e-4."""
    task = task_of(*layers)
    assert refused(task) is None
    program = program_of(task)
    train = open_data(task, 16, 0, CPU, Silent()).train
    usual, other = (
        SerialPopulation(laid_out(program, order), [MEMBER], train, {"train": train})
        for order in (False, True)
    )
    torch.testing.assert_close(other.advance(6), usual.advance(6), rtol=1e-4, atol=1e-4)
    found, wanted = other.evaluate("train"), usual.evaluate("train")
    torch.testing.assert_close(found.loss, wanted.loss, rtol=1e-3, atol=1e-4)
    assert all(one.is_contiguous() for one in other.export(0).values())


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "reads memory": (Flattened, "view"),
    "another number": (ByStride, "the loss differs by"),
    "another evaluation": (Forgetful, "evaluated loss differs by"),
    "draws by place": (lambda: nn.Dropout(0.5), "differs by"),
}


@pytest.mark.parametrize(("layer", "why"), REFUSED.values(), ids=REFUSED)
def test_refused(layer: Callable[[], nn.Module], why: str) -> None:
    """What reads the order in memory raises or gives other numbers, and is told."""
    assert why in str(refused(task_of(layer)))


def test_nothing_is_left_behind() -> None:
    """The comparison leaves random states and what the loss remembers as they were."""

    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            self.mean.mul_(0.9).add_(0.1 * output.detach().mean())
            return F.cross_entropy(output - self.mean, target)

    loss = Remembering()
    task = lrtune.Task(model=network, train=IMAGES, loss=loss)
    with seeded(7):
        assert refused(task) is None
        after = torch.rand(3)
    with seeded(7):
        assert torch.equal(after, torch.rand(3))
    assert loss.mean == 0


def test_only_convolutions_of_images() -> None:
    """The order is worth a thought only where there are convolutions over two dimensions."""
    assert convolves_images(program_of(task_of()))
    assert not convolves_images(program_of(blob_task()))
    one_dimension: Any = lambda: nn.Sequential(  # noqa: E731
        nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(4, 3)
    )
    assert not convolves_images(program_of(blob_task(model=one_dimension)))


def test_weights_lie_so() -> None:
    """Laid out anew, weights of four dimensions have channels last; laid out as it is, a program is itself."""
    program = program_of(task_of())
    assert laid_out(program, False) is program
    weight = laid_out(program, True).build_model()[0].weight  # type: ignore[index]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert laid_out(laid_out(program, True), False).build_model()[0].weight.is_contiguous()  # type: ignore[index]
