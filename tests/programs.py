"""Small programs whose right answers are known, and the means to train them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.config import OptimizerConfig
from lrtune.data.batches import FixedBatches
from lrtune.population.optimizers import optimizer_factory
from lrtune.population.program import Program
from lrtune.progress import Silent
from lrtune.steps.context import Context, open_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lrtune.population.protocol import Member

CPU = torch.device("cpu")


class Notes(Silent):
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.labels: list[str] = []

    @contextmanager
    def bar(self, label: str, total: int) -> Iterator[Any]:
        """Remember the label."""
        self.labels.append(label)
        with super().bar(label, total) as bar:
            yield bar

    def note(self, text: str) -> None:
        """Remember the note."""
        self.notes.append(text)


class Constant(nn.Module):
    """A model that ignores its input: the same trainable output for every example."""

    def __init__(self, *output: float) -> None:
        super().__init__()
        self.output = nn.Parameter(torch.tensor(output))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output once an example."""
        return self.output.expand(len(inputs), -1)


class Choosy(nn.Linear):
    """Raises when its weights have moved far, as an assertion in user code would."""

    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits of small weights."""
        if self.weight.detach().abs().max() > 50:
            raise ValueError("weights out of bounds")
        return super().forward(inputs)


class Weight(nn.Module):
    """One number, at first 1."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))


def generator(seed: int) -> torch.Generator:
    """Return a generator of its own."""
    return torch.Generator().manual_seed(seed)


def blobs(examples: int = 96, classes: int = 3, features: int = 4, seed: int = 0) -> TensorDataset:
    """Classes around well separated centres, equally frequent: any sane classifier learns them."""
    draw = generator(seed)
    centres = 3 * torch.randn(classes, features, generator=generator(17))
    labels = torch.arange(examples) % classes
    inputs = centres[labels] + 0.5 * torch.randn(examples, features, generator=draw)
    return TensorDataset(inputs / 3, labels)


def mlp(features: int = 4, classes: int = 3, hidden: int = 16) -> nn.Module:
    """A perceptron with one hidden layer."""
    return nn.Sequential(nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, classes))


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of examples whose largest logit is the target's."""
    return (output.argmax(1) == target).float().mean()


def blob_task(**fields: Any) -> lrtune.Task:
    """A healthy classifier; `fields` replace any of its parts."""
    healthy: dict[str, Any] = {
        "model": mlp,
        "train": blobs(seed=0),
        "val": blobs(48, seed=1),
        "loss": F.cross_entropy,
        "metrics": {"accuracy": accuracy},
    }
    return lrtune.Task(**{**healthy, **fields})


def linear_data(examples: int = 64, noise: float = 0.0, seed: int = 0) -> TensorDataset:
    """A linear regression of one number on four features, exact but for the noise."""
    draw = generator(seed)
    inputs = torch.randn(examples, 4, generator=draw)
    target = inputs @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    return TensorDataset(inputs, target + noise * torch.randn(examples, 1, generator=draw))


def linear_task(**fields: Any) -> lrtune.Task:
    """Least squares, whose largest curvature is known."""
    parts: dict[str, Any] = {
        "model": lambda: nn.Linear(4, 1, bias=False),
        "train": linear_data(),
        "loss": F.mse_loss,
    }
    return lrtune.Task(**{**parts, **fields})


def quadratic_task(curvature: float = 4.0) -> lrtune.Task:
    """The loss `curvature * w² / 2`: gradient descent multiplies w by `1 - lr * curvature` each step."""
    return lrtune.Task(
        model=Weight,
        train=[torch.zeros(1)],
        step=lambda model, batch: 0.5 * curvature * model.weight**2,
    )


def language_task(vocabulary: int = 7, head: Callable[[int], nn.Module] | None = None) -> lrtune.Task:
    """A language model of dict batches: the next token is the last one plus one."""
    tokens = (torch.arange(40).reshape(-1, 1) * 3 + torch.arange(9)) % vocabulary
    batches = [{"tokens": part[:, :-1], "targets": part[:, 1:]} for part in tokens.split(8)]

    def zero_head() -> nn.Module:
        layer = nn.Linear(8, vocabulary)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    def step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = model(batch["tokens"])
        loss = F.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten())
        return {"loss": loss, "output": logits, "target": batch["targets"]}

    return lrtune.Task(
        model=lambda: nn.Sequential(nn.Embedding(vocabulary, 8), head(vocabulary) if head else zero_head()),
        train=batches,
        step=step,
    )


def no_loader(name: str, role: str) -> Any:
    """Stand where functions are imported by name, in tests that name none."""
    raise AssertionError(f"nothing should be loaded, got {name} for {role}")


def program_of(task: lrtune.Task, **optimizer: Any) -> Program:
    """Return the task with an optimizer, SGD unless named."""
    factory, decays = optimizer_factory(task, OptimizerConfig(**optimizer), no_loader)
    return Program(task, factory, CPU, decays)


def context_of(task: lrtune.Task, **keys: Any) -> Context:
    """Return the task made ready on the CPU, settings by the YAML's keys."""
    return open_context(task, lrtune.Config(device="cpu", **keys), Notes(), no_loader)


def batches_of(data: TensorDataset, size: int) -> FixedBatches:
    """Return the data's batches in their own order."""
    parts = zip(*(tensor.split(size) for tensor in data.tensors), strict=True)
    return FixedBatches([tuple(part) for part in parts])


def codes(result: lrtune.StepResult | list[lrtune.Finding]) -> list[str]:
    """Return the codes of a result's findings."""
    findings = result if isinstance(result, list) else result.findings
    return [finding.code for finding in findings]


def trained_alone(
    program: Program, member: Member, batches: list[Any]
) -> tuple[list[float], dict[str, Tensor]]:
    """Train one member as a plain script would, and return its losses and final state."""
    torch.manual_seed(member.seed)
    model = program.task.model()
    optimizer = program.optimizer(model, member.learning_rate, member.weight_decay)
    losses = []
    model.train()
    for inputs, target in batches:
        optimizer.zero_grad()
        loss = program.task.loss(model(inputs), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, {key: value.clone() for key, value in model.state_dict().items()}
