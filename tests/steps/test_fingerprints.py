from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import Constant, blob_task, blobs, codes, context_of, generator, linear_data, linear_task, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.checks.fingerprints import double_softmax, input_ignored, may_be_squashed
from lrtune.checks.overfitting import Attempt
from lrtune.probes.learning.attainable import Attainable
from lrtune.probes.losses.floors import perfect_floor, squashed_floor
from lrtune.probes.losses.loss_family import FAMILIES, declared_family
from lrtune.steps.overfit import overfit

if TYPE_CHECKING:
    from collections.abc import Callable

BY_NAME = {family.name: family for family in FAMILIES}
SOFTMAX, BINARY = BY_NAME["softmax cross-entropy"], BY_NAME["binary cross-entropy with logits"]


def tried(task: lrtune.Task, **keys: Any) -> lrtune.StepResult:
    """The second step's result, on minibatches of 8."""
    return overfit(context_of(task, **{"batch_size": 8, **keys}))


# --- where outputs between 0 and 1 stop ---------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "floor"), [(2, 0.31326), (3, 0.5514), (10, 1.4612), (1000, 5.9095)])
@pytest.mark.parametrize("own", [F.cross_entropy, None], ids=["its loss", "the reference"])
def test_the_floor_of_a_softmax(classes: int, floor: float, own: Any) -> None:
    """Perfect probabilities before cross-entropy give ln(1 + (C - 1)/e)."""
    target = torch.arange(40) % classes
    assert squashed_floor(SOFTMAX, own, [(torch.zeros(40, classes), target)]) == pytest.approx(
        floor, rel=1e-4
    )


def test_the_floor_of_a_sigmoid() -> None:
    """Perfect probabilities before a binary logit give ln(1 + 1/e) for yes and ln 2 for no."""
    target = torch.tensor([[1.0], [0.0]])
    floor = squashed_floor(BINARY, F.binary_cross_entropy_with_logits, [(torch.zeros(2, 1), target)])
    assert floor == pytest.approx((math.log(1 + 1 / math.e) + math.log(2)) / 2)


def test_the_floor_in_other_layouts() -> None:
    """Labels per position, classes in any dimension, ignored labels: the answer is one-hot where a label stands."""
    target = torch.tensor([[0, 1, -100], [2, 2, 1]])
    expected = pytest.approx(math.log(1 + 2 / math.e), rel=1e-4)
    assert squashed_floor(SOFTMAX, F.cross_entropy, [(torch.zeros(2, 3, 3), target)]) == expected
    assert (
        squashed_floor(SOFTMAX, F.cross_entropy, [(torch.zeros(2, 3, 5), torch.zeros(2, 5).long())])
        == expected
    )


@pytest.mark.parametrize("name", [None, "squared error", "absolute error", "binary cross-entropy"])
def test_no_floor_without_logits(name: str | None) -> None:
    """A loss that expects no logits has no such floor."""
    assert squashed_floor(BY_NAME.get(name or ""), None, [(torch.zeros(4, 1), torch.zeros(4, 1))]) is None


# --- the judgements on numbers alone ------------------------------------------------------------------------------

TEN = Attainable(1.0, 0.0, math.log(10), True, squashed_loss=1.4612)


def attempt(loss: float, accuracy: float | None = 0.5, mismatched: float | None = None) -> Attempt:
    """A try that began at ln 10."""
    return Attempt(0.1, math.log(10), loss, accuracy, None, 300, mismatched)


@pytest.mark.parametrize(
    ("loss", "named"),
    [
        pytest.param(1.4613, True, id="at the floor"),
        pytest.param(1.54, True, id="close to it"),
        pytest.param(1.60, False, id="on the way"),
        pytest.param(1.42, False, id="below it"),
        pytest.param(0.01, False, id="learnt"),
        pytest.param(2.30, False, id="at the constant"),
    ],
)
def test_double_softmax_by_its_floor(loss: float, named: bool) -> None:
    """A loss that stops where squashed outputs stop is named; one that goes below is not."""
    assert (double_softmax([attempt(loss), attempt(2.3)], TEN) is not None) == named


def test_in_doubt() -> None:
    """Right answers at a loss that squashed outputs reach leave a doubt; a lower loss leaves none."""
    assert may_be_squashed(attempt(1.5, 1.0), TEN)
    assert not may_be_squashed(attempt(0.3, 1.0), TEN)
    assert not may_be_squashed(attempt(1.5, 1.0), Attainable(1.0, 0.0, 2.3, True))


@pytest.mark.parametrize(
    ("loss", "mismatched", "named"),
    [
        pytest.param(2.30, 2.30, True, id="at the constant, whatever the input"),
        pytest.param(2.30, None, True, id="at the constant, inputs unknown"),
        pytest.param(2.27, 2.60, False, id="near the constant, and the input counts"),
        pytest.param(1.50, 4.00, False, id="learning"),
        pytest.param(1.90, 1.90, True, id="below the constant's loss without its input"),
    ],
)
def test_input_ignored_by_its_loss(loss: float, mismatched: float | None, named: bool) -> None:
    """A stall at the best constant's loss, or no influence of the inputs, names an ignored input."""
    assert (input_ignored([attempt(loss, 0.1, mismatched)], TEN) is not None) == named


# --- whole programs -----------------------------------------------------------------------------------------------


class Squashed(nn.Module):
    """A sound net with one thing after its last layer."""

    def __init__(self, last: Callable[[Tensor], Tensor], classes: int) -> None:
        super().__init__()
        self.net, self.last = mlp(4, classes, 64), last

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the last function makes of the logits."""
        return self.last(self.net(inputs))


SQUASHES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(1),
    "sigmoid": torch.sigmoid,
    "own softmax": lambda logits: logits.exp() / logits.exp().sum(1, keepdim=True),
}


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("last", SQUASHES.values(), ids=SQUASHES)
@pytest.mark.parametrize("as_step", [False, True], ids=["loss", "step"])
def test_double_softmax(last: Any, classes: int, as_step: bool) -> None:
    """Squashed outputs before cross-entropy are named, though all answers may be right; also through a step."""

    def step(model: nn.Module, batch: Any) -> dict[str, Tensor]:
        output = model(batch[0])
        return {"loss": F.cross_entropy(output, batch[1]), "output": output, "target": batch[1]}

    task = blob_task(
        model=lambda: Squashed(last, classes),
        train=blobs(80, classes),
        val=None,
        **({"loss": None, "step": step, "metrics": {}} if as_step else {}),
    )
    result = tried(task, optimizer={"name": "adam"})
    assert result.verdict == "fail"
    assert result.findings[0].code == "double-softmax"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "last",
    [lambda logits: logits, lambda logits: logits.log_softmax(1), lambda logits: logits + 5],
    ids=["logits", "log-softmax", "shifted"],
)
def test_sound_outputs_are_silent(last: Any, seed: int) -> None:
    """Logits, shifted ones and log-probabilities are what cross-entropy takes."""
    assert codes(tried(blob_task(model=lambda: Squashed(last, 3)), seed=seed)) == []


def random_tables(examples: int, features: int, noise: float, seed: int) -> TensorDataset:
    """Regression data that a linear model explains but for the noise."""
    draw = generator(seed)
    inputs = torch.randn(examples, features, generator=draw)
    target = inputs @ torch.randn(features, 1, generator=draw)
    return TensorDataset(inputs, target + noise * torch.randn(examples, 1, generator=draw))


@pytest.mark.parametrize("seed", range(3))
def test_a_small_model_learns_what_it_can_hold(seed: int) -> None:
    """Where a model has fewer numbers than the sample examples, a part that it can hold is enough."""
    task = lrtune.Task(
        model=lambda: nn.Linear(10, 1), train=random_tables(400, 10, 3.0, seed), loss=F.mse_loss
    )
    result = tried(task, batch_size=64, seed=seed)
    assert codes(result) == []
    assert result.details["examples"] == 5


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_on_its_way_down_gets_a_smaller_sample(seed: int) -> None:
    """Noise that takes more steps than there are to learn by heart is no fault: a smaller sample shows it."""
    task = lrtune.Task(model=lambda: mlp(10, 1, 64), train=random_tables(400, 10, 2.0, seed), loss=F.mse_loss)
    result = tried(task, batch_size=64, seed=seed)
    assert codes(result) == []
    assert result.details["examples"] in (16, 64, 320)


@pytest.mark.parametrize("log_input", [True, False], ids=["log rates", "rates"])
def test_the_floor_of_counts(log_input: bool) -> None:
    """Poisson's loss of the counts themselves is not 0: rate - count ln(rate) at rate = count."""
    target = torch.tensor([[1.0], [5.0], [20.0]])
    loss = functools.partial(F.poisson_nll_loss, log_input=log_input)
    family = declared_family(loss)
    expected = float((target - target * target.log()).mean())
    assert perfect_floor(family, loss, [(torch.zeros(3, 1), target)]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_learnt_from_a_prior(seed: int) -> None:
    """A bias that begins at the mean rate has learnt nothing yet: steps are taken until the counts are known."""
    draw = generator(seed)
    inputs = torch.randn(40, 4, generator=draw)
    counts = torch.poisson((inputs[:, :1] + 2).exp(), generator=draw)

    def model() -> nn.Module:
        net = mlp(4, 1, 64)
        nn.init.constant_(net[2].bias, float(counts.mean().log()))
        return net

    task = lrtune.Task(model=model, train=TensorDataset(inputs, counts), loss=F.poisson_nll_loss)
    result = tried(task, seed=seed, optimizer={"name": "adam"})
    assert codes(result) == []
    assert result.summary["steps"] > 0
    assert result.summary["loss_last"] < result.summary["loss_first"]


class Halved(nn.Module):
    """A net whose evaluation mode is another one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(4, 3, 64)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits in training mode, those of other inputs in evaluation mode."""
        return self.net(inputs if self.training else -inputs)


def test_what_evaluation_mode_loses() -> None:
    """A sample learnt in training mode that evaluation mode does not know is a gap between the modes."""
    result = tried(blob_task(model=Halved))
    assert "train-eval-gap" in codes(result)
    assert result.verdict == "warn"


@pytest.mark.parametrize("seed", range(3))
def test_young_running_statistics_are_no_gap(seed: int) -> None:
    """BatchNorm's statistics lag in the first steps; they catch up before the modes are judged."""
    model = lambda: nn.Sequential(  # noqa: E731 - a factory in a line
        nn.Linear(4, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 3),
    )
    assert codes(tried(blob_task(model=model), seed=seed)) == []


def test_what_follows_is_folded() -> None:
    """An ignored input is the cause, that the sample cannot be learnt follows from it."""
    result = tried(
        linear_task(model=lambda: Constant(0.0), train=linear_data(64)), overfit={"batches": 3, "steps": 100}
    )
    assert [(one.code, one.follows_from) for one in result.findings] == [
        ("input-ignored", None),
        ("cannot-overfit", "input-ignored"),
    ]


# --- targets that are blown up ------------------------------------------------------------------------------------


def flat_target(examples: int = 64) -> TensorDataset:
    """A regression whose targets have lost their second dimension."""
    inputs, target = linear_data(examples).tensors
    return TensorDataset(inputs, target.squeeze(1))


@pytest.mark.parametrize("as_step", [False, True], ids=["loss", "step"])
def test_broadcast_target(as_step: bool) -> None:
    """[batch, 1] against [batch] is named, with where the loss stops: the variance of a minibatch's targets."""

    def squared(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).mean()

    def step(model: nn.Module, batch: Any) -> dict[str, Tensor]:
        output = model(batch[0])
        return {"loss": squared(output, batch[1]), "output": output, "target": batch[1]}

    parts: dict[str, Any] = {"step": step} if as_step else {"loss": squared}
    task = lrtune.Task(model=lambda: nn.Linear(4, 1), train=flat_target(), **parts)
    result = tried(task, overfit={"batches": 3, "steps": 100})
    assert result.verdict == "fail"
    assert "broadcast-target" in codes(result)
    batches = context_of(task, batch_size=8).data.train.head(3, 0)
    within = sum(float(target.var(correction=0)) for _, target in batches) / 3
    assert result.summary["loss_last"] == pytest.approx(within, rel=0.5)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_broadcast_target_of_a_declared_loss() -> None:
    """Torch's squared error only warns; the cause, the shapes, comes first, what it does follows."""
    task = lrtune.Task(model=lambda: nn.Linear(4, 1), train=flat_target(), loss=F.mse_loss)
    result = tried(task, overfit={"batches": 3, "steps": 100})
    assert codes(result)[:2] == ["target-shape-mismatch", "broadcast-target"]
    assert result.findings[1].follows_from == "target-shape-mismatch"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            TensorDataset(torch.randn(32, 4), torch.full((32,), 3)), "target-out-of-range", id="range"
        ),
        pytest.param(
            TensorDataset(torch.randn(32, 4), torch.zeros(32, 1).long()), "target-shape-mismatch", id="shape"
        ),
        pytest.param(
            TensorDataset(torch.full((32, 4), math.nan), torch.zeros(32).long()), "nonfinite-input", id="NaN"
        ),
    ],
)
def test_data_that_no_loss_takes(data: Any, expected: str) -> None:
    """Step 2 by itself names what is wrong with the data, in place of the crash that it would cause."""
    result = tried(blob_task(train=data, val=None))
    assert codes(result) == [expected]
    assert result.summary["loss_first"] is None


# --- what cannot be learnt by heart -------------------------------------------------------------------------------


class Denoiser(nn.Module):
    """Predicts noise from what it was added to, and how much."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(5, 4, 64)

    def forward(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Return the noise, `[batch, 4]`."""
        return self.net(torch.cat([noisy, level], 1))


def denoise(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Draw noise and its level anew at each call, as diffusion models are trained."""
    inputs = batch[0]
    level, noise = torch.rand(len(inputs), 1), torch.randn_like(inputs)
    output = model((1 - level) * inputs + level * noise, level)
    return {"loss": F.mse_loss(output, noise), "output": output, "target": noise}


@pytest.mark.parametrize("seed", range(3))
def test_targets_that_a_step_draws(seed: int) -> None:
    """Noise that is new at every call cannot be learnt by heart; that the loss falls is all that can be asked."""
    result = tried(lrtune.Task(model=Denoiser, train=blobs(), step=denoise), seed=seed)
    assert codes(result) == []
    assert "draws" in result.details["target"]["reason"]


def test_a_drawn_target_that_nothing_learns() -> None:
    """Where the loss does not fall at all it fails all the same."""

    def detached(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
        noise = torch.randn_like(batch[0])
        output = 0 * model(batch[0], batch[0][:, :1])
        return {"loss": F.mse_loss(output, noise), "output": output, "target": noise}

    result = tried(
        lrtune.Task(model=Denoiser, train=blobs(), step=detached), overfit={"batches": 3, "steps": 50}
    )
    assert "cannot-overfit" in codes(result)


@pytest.mark.parametrize("step", [lrtune.check_init, lrtune.overfit], ids=lambda step: step.__name__)
def test_gradients_inside_the_program(step: Any) -> None:
    """A loss with a gradient of its own, as in a differential equation or a penalty, is measured like any other."""

    def residual(model: nn.Module, batch: list[Tensor]) -> Tensor:
        at = batch[0].requires_grad_()
        value = model(at)
        (slope,) = torch.autograd.grad(value.sum(), at, create_graph=True)
        return (slope[:, :1] + value).square().mean() + (value[:1] - 1).square().mean()

    task = lrtune.Task(model=lambda: mlp(4, 1, 32), train=blobs(), val=blobs(16), step=residual)
    result = step(task, lrtune.Config(device="cpu", batch_size=16, overfit={"batches": 2, "steps": 100}))
    assert result.verdict == "pass"
