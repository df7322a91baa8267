from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import codes, context_of, generator, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import Dataset

import lrtune
from lrtune.probes.losses.silent_broadcast import silent_broadcast
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init
from lrtune.steps.overfit import overfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.probes.losses.pair_watch import Crossing

    Step = Callable[[nn.Module, dict[str, Tensor]], Any]

ROWS = [
    {
        "x": torch.randn(4, generator=generator(i)),
        "image": torch.randn(1, 3, 3, generator=generator(i)),
        "number": torch.randn((), generator=generator(500 + i)),
        "column": torch.randn(1, generator=generator(700 + i)),
        "weight": torch.rand((), generator=generator(900 + i)) + 0.5,
        "label": torch.tensor(i % 3),
    }
    for i in range(64)
]


class Rows(Dataset[Any]):
    """Examples of any form.

    Args:
        rows: One an example.
    """

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def task_of(step: Step, outputs: int = 1, model: Callable[[], nn.Module] | None = None) -> lrtune.Task:
    """A task of rows with everything that the steps below need."""
    return lrtune.Task(model=model or (lambda: mlp(4, outputs)), train=Rows(ROWS), step=step)


def measured(step: Step, outputs: int = 1, model: Any = None, batch_size: int = 32) -> Crossing | None:
    """What the probe says."""
    context = context_of(task_of(step, outputs, model), batch_size=batch_size)
    train = context.data.train
    return silent_broadcast(Sample(context.program, train, train.head(2, 0), 0))


# --- by accident --------------------------------------------------------------------------------------------------


def by_hand(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Squared error of `[batch, 1]` and `[batch]`, and nothing told of outputs."""
    return ((model(batch["x"]) - batch["number"]) ** 2).mean()


def in_parts(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """One of two parts of the loss."""
    return model(batch["x"]).square().mean() + F.smooth_l1_loss(model(batch["x"]), batch["number"])


def weighed(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Weights `[batch]` times losses `[batch, 1]`."""
    each = F.mse_loss(model(batch["x"]), batch["column"], reduction="none")
    return (each * batch["weight"]).mean()


def unsqueezed(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """A column too many on the target: `[batch, 1, 1]` beside `[batch, 3]`."""
    error = batch["column"].unsqueeze(1) - model(batch["x"])
    return {"loss": torch.maximum(0.1 * error, -0.9 * error).mean()}


def columned(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Targets made a column beside outputs without one."""
    return (model(batch["x"])[:, 0] - batch["number"].unsqueeze(1)).abs().mean()


def channels(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Maps `[batch, 1, 3, 3]` beside `[batch, 3, 3]`, summed over the pixels first."""
    error = (model(batch["image"]) - batch["image"].squeeze(1)).square()
    return error.sum((-2, -1)).mean()


class Summed(nn.Module):
    """A number `[batch]` plus a number `[batch, 1]`."""

    def __init__(self, squeeze: bool = False) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.wide, self.deep = nn.Linear(4, 1), mlp(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return scores."""
        deep = self.deep(inputs)
        return self.wide(inputs).squeeze(1) + (deep.squeeze(1) if self.squeeze else deep)


def logistic(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """A log loss by hand, whatever the shape."""
    score, label = model(batch["x"]), (batch["number"] > 0).float()
    return -(label * F.logsigmoid(score) + (1 - label) * F.logsigmoid(-score)).mean()


def convolution() -> nn.Module:
    """One channel in, one out."""
    return nn.Conv2d(1, 1, 3, padding=1)


@pytest.mark.filterwarnings("ignore:Using a target size")  # torch warns for some of its losses
@pytest.mark.parametrize(
    ("step", "outputs", "model"),
    [
        (by_hand, 1, None),
        (in_parts, 1, None),
        (weighed, 1, None),
        (unsqueezed, 3, None),
        (columned, 1, None),
        (channels, 1, convolution),
        (logistic, 1, Summed),
    ],
    ids=["by hand", "in parts", "weights", "unsqueezed", "column", "channels", "in the model"],
)
def test_pairs_by_accident(step: Step, outputs: int, model: Any) -> None:
    """The place is told, and both shapes; the finding names the cause."""
    seen = measured(step, outputs, model)
    assert seen is not None
    assert len(seen.left) != len(seen.right)
    assert seen.result[:2] == [seen.count] * 2
    assert seen.line.startswith("test_silent_broadcast.py:")
    result = check_init(context_of(task_of(step, outputs, model)))
    assert codes(result).count("target-shape-mismatch") == 1


def test_a_pair_s_own_loss() -> None:
    """A loss of output and target that adds a dimension."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return (output - target.unsqueeze(1)).abs().mean()

    rows = [(row["x"], row["column"]) for row in ROWS]
    result = check_init(context_of(lrtune.Task(model=lambda: mlp(4, 3), train=Rows(rows), loss=loss)))
    assert "target-shape-mismatch" in codes(result)


# --- on purpose, and neighbours ------------------------------------------------------------------------------------


def fits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Shapes that agree."""
    return ((model(batch["x"]).squeeze(1) - batch["number"]) ** 2).mean()


def ranks(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """All pairs of scores, against all pairs of numbers."""
    score, number = model(batch["x"]).squeeze(1), batch["number"]
    return F.softplus(-(score[:, None] - score) * torch.sign(number[:, None] - number)).mean()


def one_against_all(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Every score beside all scores of another view: the mean over all pairs of two outputs is meant."""
    good, bad = model(batch["x"]).squeeze(1), model(-batch["x"]).squeeze(1)
    return F.softplus(bad - good.unsqueeze(1)).mean()


def kernel(first: Tensor, second: Tensor) -> Tensor:
    """Mean of Gaussian kernels of all pairs."""
    return torch.exp(-(first.unsqueeze(1) - second).square().sum(-1)).mean()


def discrepancy(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Maximum mean discrepancy of outputs and data."""
    made, real = model(batch["x"]), batch["x"]
    return kernel(made, made) + kernel(real, real) - 2 * kernel(real, made)


def energy(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Energy distance of numbers."""
    made, real = model(batch["x"]).squeeze(1), batch["number"]
    return (2 * (made[:, None] - real).abs() - (made[:, None] - made).abs()).mean()


def contrast(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Distances by norms `[batch, 1]` and `[batch]`, and the others of the batch as negatives."""
    one, other = model(batch["x"]), model(batch["x"] + 0.1)
    squares = one.square().sum(1, keepdim=True) + other.square().sum(1) - 2 * one @ other.T
    return F.cross_entropy(-squares, torch.arange(len(one)))


def supervised(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Supervised contrast: masks of equal labels."""
    similar = model(batch["x"]) @ model(batch["x"]).T
    same = (batch["label"][:, None] == batch["label"]).float()
    return -(same * similar.log_softmax(1)).sum(1).div(same.sum(1)).mean()


def masked(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Distances of outputs and numbers in pairs, of which a mask takes some."""
    far = (model(batch["x"]) - batch["number"]).square()
    return (far * (batch["label"][:, None] == batch["label"]).float()).mean()


def attends(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Additive attention over a batch that is one graph."""
    score = F.leaky_relu(model(batch["x"]) + model(-batch["x"]).squeeze(1))
    return (score.softmax(1) @ batch["column"]).square().mean()


def added(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Two parts of a loss, `[batch, 1]` and `[batch]`: the mean of all sums is the sum of both means."""
    error = (model(batch["x"]).squeeze(1) - batch["number"]).square()
    return (error + 0.1 * model(batch["x"]).square()).mean()


def in_features(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """A table `[features]` beside rows."""
    return (model(batch["x"]) - torch.arange(4.0)).square().mean()


@pytest.mark.parametrize(
    ("step", "outputs"),
    [
        (fits, 1),
        (ranks, 1),
        (one_against_all, 1),
        (discrepancy, 4),
        (energy, 1),
        (contrast, 3),
        (supervised, 3),
        (masked, 1),
        (attends, 1),
        (added, 1),
        (in_features, 4),
    ],
)
def test_pairs_on_purpose(step: Step, outputs: int) -> None:
    """Nothing is said of programs that compare examples, nor of a broadcast without pairs."""
    assert measured(step, outputs) is None


@pytest.mark.parametrize("width", [5, 7, 11, 13])
def test_other_dimensions_of_the_same_size(width: int) -> None:
    """A first token `[batch, 1, 4]` beside positions `[time, 4]`: time alone is as long as a batch may be."""

    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def forward(self, inputs: Tensor) -> Tensor:
            positions = torch.linspace(0, 1, width)[:, None].expand(width, 4)
            return self.layer((inputs.unsqueeze(1) + positions).square()).mean(1)

    assert measured(lambda model, batch: F.mse_loss(model(batch["x"]), batch["column"]), 1, Positions) is None


def test_small_batches_are_passed_over() -> None:
    """Batches of fewer examples than the sizes tried tell nothing."""
    assert measured(by_hand, batch_size=4) is None


def test_no_compiler_is_loaded() -> None:
    """To listen loads nothing that takes seconds."""
    code = (
        "import sys, torch\n"
        "from lrtune.probes.losses.pair_watch import PairWatch\n"
        "with PairWatch(7) as watch:\n"
        "    (torch.ones(7, 1, requires_grad=True) - torch.ones(7)).square().mean()\n"
        "assert len(watch.unmeant) == 1\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_step_2_looks_as_well() -> None:
    """What learning by heart may hide is told there, too."""
    context = context_of(task_of(in_features, 4), overfit={"steps": 10, "batches": 2})
    assert "target-shape-mismatch" not in codes(overfit(context))
    context = context_of(task_of(weighed), overfit={"steps": 10, "batches": 2})
    assert "target-shape-mismatch" in codes(overfit(context))
