from __future__ import annotations

import contextlib
import copy
import math
import random
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from programs import blobs, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, Dataset, TensorDataset

import lrtune
from lrtune.random_state import seed_everything

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS: dict[str, Any] = {"device": "cpu", "batch_size": 16, "overfit": {"batches": 2, "steps": 50}}


class Augmented(Dataset[Any]):
    """Examples that global randomness changes at every reading."""

    def __init__(self) -> None:
        self.inputs, self.labels = blobs().tensors

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = 0.1 * torch.randn(4) + random.gauss(0, 0.1) + float(np.random.normal(0, 0.1))
        return self.inputs[index] + noise, self.labels[index]


class Cell(nn.Module):
    """Everything that a pass through a model can change: statistics, a dropout mask, a counter, its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(32, 3)
        nn.init.zeros_(self.head.weight)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        self.calls += 1
        return self.head(self.body(inputs.mul_(0.5)))


def loader(data: Dataset[Any]) -> DataLoader[Any]:
    """A shuffling loader with a generator of its own."""
    return DataLoader(data, 16, shuffle=True, generator=generator(3))


DATA: dict[str, Callable[[], Any]] = {
    "dataset": blobs,
    "loader": lambda: loader(blobs()),
    "augmented": lambda: loader(Augmented()),
    "list of batches": lambda: list(zip(*(one.split(16) for one in blobs().tensors), strict=True)),
}


def trained(task: lrtune.Task, data: Any) -> dict[str, Tensor]:
    """The state after two epochs of the user's own training script."""
    model = task.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = DataLoader(data, 16, shuffle=True) if isinstance(data, TensorDataset) else data
    for _ in range(2):
        for inputs, target in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs.clone()), target).backward()
            optimizer.step()
    drawn = {
        "torch": torch.rand(3),
        "numpy": torch.tensor(np.random.rand()),
        "python": torch.tensor(random.random()),
    }
    return {**model.state_dict(), **drawn}


@pytest.mark.parametrize("make", DATA.values(), ids=DATA)
def test_training_afterwards_is_bit_identical(make: Any) -> None:
    """A script that runs steps 1 and 2 first trains as one that does not: model, data order and random numbers."""
    states = []
    for looks in (False, True):
        data = make()
        task = lrtune.Task(model=Cell, train=data, loss=F.cross_entropy)
        seed_everything(5)
        if looks:
            lrtune.check_init(task, lrtune.Config(**SETTINGS))
            lrtune.overfit(task, lrtune.Config(**SETTINGS))
        states.append(trained(task, data))
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_data_are_as_before() -> None:
    """Neither step writes into the user's tensors, though the model works in place."""
    data = blobs()
    before = [tensor.clone() for tensor in data.tensors]
    task = lrtune.Task(model=Cell, train=data, val=data, loss=F.cross_entropy)
    lrtune.check_init(task, lrtune.Config(**SETTINGS))
    lrtune.overfit(task, lrtune.Config(**SETTINGS))
    assert all(torch.equal(*pair) for pair in zip(before, data.tensors, strict=True))


def test_a_failure_leaves_no_trace() -> None:
    """An exception from the user's code in the middle leaves the random generators as they were, too."""
    calls = []

    def failing(output: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 20:
            raise ValueError("enough")
        return F.cross_entropy(output, target)

    task = lrtune.Task(model=Cell, train=blobs(), loss=failing)
    seed_everything(5)
    expected = torch.rand(3), np.random.rand(), random.random()
    seed_everything(5)
    with pytest.raises(lrtune.UserCodeError, match="enough"):
        lrtune.overfit(task, lrtune.Config(**SETTINGS))
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]


class Centred(nn.Module):
    """A loss with a parameter, a running mean and a mode of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the scaled loss, and move the mean."""
        loss = F.cross_entropy(self.scale * output, target)
        self.mean.lerp_(loss.detach(), 0.1)
        return loss


@pytest.mark.parametrize(
    "step", [lrtune.check_init, lrtune.overfit, lrtune.find_lr], ids=lambda step: step.__name__
)
def test_modules_outside_the_model_are_as_before(step: Any) -> None:
    """A loss module keeps its values and gradients, though the optimizer trains it."""
    loss = Centred()
    loss.scale.grad = torch.full((), 7.0)

    def optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD([*model.parameters(), *loss.parameters()], lr)

    task = lrtune.Task(model=Cell, train=blobs(), loss=loss, optimizer=optimizer)
    step(task, lrtune.Config(**SETTINGS))
    assert (float(loss.scale.detach()), float(loss.mean), float(loss.scale.grad)) == (1.0, 0.0, 7.0)


class Own:
    """What a script holds before it looks: a model with buffers, an optimizer that has moved, and a loader."""

    def __init__(self, data: Dataset[Any], training: bool, **keys: Any) -> None:
        seed_everything(5)
        self.model = Cell().train(training)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.loader = DataLoader(data, 16, shuffle=True, **keys)
        F.cross_entropy(self.model(torch.ones(4, 4)), torch.arange(4) % 3).backward()
        self.optimizer.step()

    def task(self, loss: Any = F.cross_entropy) -> lrtune.Task:
        """Return the task that goes on from this model."""
        return lrtune.Task(model=lambda: copy.deepcopy(self.model), train=self.loader, loss=loss)

    def state(self) -> dict[str, Any]:
        """Return all that may change, as it is now."""
        values = dict(self.model.state_dict())
        for name, one in self.model.named_parameters():
            values |= {f"{name}.grad": one.grad, f"{name}.mean": self.optimizer.state[one]["momentum_buffer"]}
        modes = torch.tensor([one.training for one in self.model.modules()])
        return {name: one.clone() for name, one in values.items()} | {"modes": modes}

    def trained(self) -> dict[str, Any]:
        """Return the same after two epochs, with the next random numbers."""
        for _ in range(2):
            for inputs, target in self.loader:
                self.optimizer.zero_grad()
                F.cross_entropy(self.model(inputs.clone()), target).backward()
                self.optimizer.step()
        drawn = torch.tensor([float(torch.rand(())), np.random.rand(), random.random()], dtype=torch.float64)
        return {**self.state(), "drawn": drawn}


def check_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bitwise."""
    for name in one.keys() | other.keys():
        assert torch.equal(one[name], other[name]), name


class Failing:
    """A loss that raises at one call, or from it on.

    It counts the calls of all members: of what it remembers itself each member would have its own copy.
    """

    counts: ClassVar[dict[int, int]] = {}

    def __init__(self, call: float, error: BaseException, for_good: bool = False) -> None:
        self.call, self.error, self.for_good = call, error, for_good
        self.counts[id(self)] = 0

    @property
    def calls(self) -> int:
        """How often it was called."""
        return self.counts[id(self)]

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss, or raise."""
        self.counts[id(self)] += 1
        if self.calls == self.call or (self.for_good and self.calls > self.call):
            raise self.error
        return F.cross_entropy(output, target)


FAILURES: dict[str, Callable[[], Any]] = {
    "nothing raised": lambda: Failing(math.inf, ValueError()),
    "raised in a sweep": lambda: Failing(55, ValueError("once")),
    "raised in a probe": lambda: Failing(450, ValueError("once")),
    "raised in every probe": lambda: Failing(450, ValueError("for good"), for_good=True),
    "raised from the first step on": lambda: Failing(1, ValueError("for good"), for_good=True),
    "interrupted in a sweep": lambda: Failing(55, KeyboardInterrupt()),
    "interrupted in a probe": lambda: Failing(450, KeyboardInterrupt()),
}
OWN: dict[str, Callable[[], Own]] = {
    "global randomness": lambda: Own(blobs(), True),
    "augmented, evaluation mode": lambda: Own(Augmented(), False),
    "a generator of its own": lambda: Own(blobs(), True, generator=generator(3)),
}
# 150 steps of sweeps, then those at constant rates; as one program the loss would be called less often.
SHORT = {**SETTINGS, "find_lr": {"steps": 50}, "population": {"execution": "serial"}}


@pytest.mark.parametrize("make_loss", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_find_lr_leaves_no_trace(make: Any, make_loss: Any) -> None:
    """Model, optimizer, loader and random numbers of a script are as without step 3, however it ends."""
    states = []
    for looks in (False, True):
        own, loss = make(), make_loss()
        before = own.state()
        if looks:
            with contextlib.suppress(lrtune.UserCodeError, KeyboardInterrupt):
                lrtune.find_lr(own.task(loss), lrtune.Config(**SHORT))
            assert loss.calls >= min(loss.call, 500)
            check_equal(before, own.state())
        states.append(own.trained())
    check_equal(*states)
