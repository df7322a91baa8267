from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from programs import Constant, blob_task, blobs, codes, context_of, generator, linear_data, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import lrtune
from lrtune.steps.check_init import check_init

OWN = {
    "target-shape-mismatch", "target-not-normalised", "constant-target", "class-imbalance", "target-dtype",
    "target-out-of-range", "initial-loss-high", "initial-loss-low",
}  # fmt: skip
INPUTS = torch.randn(300, 4, generator=generator(0))
NUMBERS = INPUTS @ torch.tensor([1.0, -2.0, 0.5, 3.0]) / 4
COUNTS = torch.poisson((INPUTS[:, 0] + 1).exp(), generator=generator(1))
LABELS = (torch.arange(300) * 7) % 3


def seen(loss: Any, target: Tensor, model: Any = None, seed: int = 0, **fields: Any) -> lrtune.StepResult:
    """The first step's result for four random inputs an example and these targets."""
    width = 1 if target.is_floating_point() else 3
    parts = {
        "model": model or (lambda: mlp(4, width)),
        "train": TensorDataset(INPUTS[: len(target)], target),
        "loss": loss,
    }
    return check_init(context_of(lrtune.Task(**{**parts, **fields}), seed=seed))


def own(result: lrtune.StepResult) -> list[str]:
    """The codes that this file is about."""
    return [code for code in codes(result) if code in OWN]


class Squeezed(nn.Module):
    """A perceptron whose output is `[batch]`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return one number an example."""
        return self.net(inputs)[:, 0]


# --- shapes -------------------------------------------------------------------------------------------------------


def squared(output: Tensor, target: Tensor) -> Tensor:
    """Squared error by hand."""
    return (output - target).square().mean()


def log_cosh(output: Tensor, target: Tensor) -> Tensor:
    """A loss that torch has not."""
    return (output - target).cosh().log().mean()


BITS = (NUMBERS > 0).float()
MISMATCHED = {
    "mse [B, 1] [B]": (F.mse_loss, NUMBERS, None, "target.unsqueeze(1)"),
    "l1 [B, 1] [B]": (nn.L1Loss(), NUMBERS, None, "target.unsqueeze(1)"),
    "huber [B] [B, 1]": (nn.HuberLoss(), NUMBERS[:, None], Squeezed, "target.squeeze(1)"),
    "mse [B, 1] [B, 5]": (F.mse_loss, NUMBERS[:, None].expand(-1, 5), None, "as many outputs"),
    "bce [B, 1] [B]": (F.binary_cross_entropy_with_logits, BITS, None, "target.unsqueeze(1)"),
    "poisson [B, 1] [B]": (nn.PoissonNLLLoss(), COUNTS, None, "target.unsqueeze(1)"),
    "labels [B, 1]": (F.cross_entropy, LABELS[:, None], None, "target.squeeze(1)"),
    "one-hot integers": (F.cross_entropy, F.one_hot(LABELS, 3), None, "target.argmax(1)"),
    "own squared error": (squared, NUMBERS, None, "target.unsqueeze(1)"),
    "own loss": (log_cosh, NUMBERS, None, "target.unsqueeze(1)"),
    "wrapped bce": (lambda o, t: F.binary_cross_entropy_with_logits(o, t), BITS, None, "target.unsqueeze(1)"),
    "wrapped labels": (lambda o, t: F.cross_entropy(o, t), LABELS[:, None], None, "target.squeeze(1)"),
}


@pytest.mark.parametrize(("loss", "target", "model", "fix"), MISMATCHED.values(), ids=MISMATCHED)
def test_mismatched_shapes(loss: Any, target: Tensor, model: Any, fix: str) -> None:
    """Shapes that do not fit are one finding with the expression that makes them fit, over two seeds."""
    for seed in range(2):
        result = seen(loss, target, model, seed)
        assert "target-shape-mismatch" in own(result)
        assert fix in next(f.fix for f in result.findings if f.code == "target-shape-mismatch")


def sequence(channels_last: bool) -> Any:
    """Embeds tokens: `[batch, time, classes]`, or with the classes in dimension 1."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(7, 5)

        def forward(self, tokens: Tensor) -> Tensor:
            output = self.embedding(tokens)
            return output if channels_last else output.transpose(1, 2)

    return Tagger


def test_classes_last() -> None:
    """The classes of a sequence in the last dimension are told before cross_entropy raises."""
    tokens = torch.randint(7, (40, 9), generator=generator(2))
    data = TensorDataset(tokens, tokens % 5)
    wrong = check_init(context_of(lrtune.Task(model=sequence(True), train=data, loss=F.cross_entropy)))
    assert codes(wrong) == ["target-shape-mismatch"]
    assert "output.transpose(1, 2)" in wrong.findings[0].fix
    right = check_init(context_of(lrtune.Task(model=sequence(False), train=data, loss=F.cross_entropy)))
    assert "target-shape-mismatch" not in codes(right)


def test_validation_shapes() -> None:
    """A mismatch that only the validation data have says so."""
    result = seen(F.mse_loss, NUMBERS[:, None], val=TensorDataset(INPUTS, NUMBERS))
    assert codes(result) == ["target-shape-mismatch"]
    assert result.findings[0].message.startswith("In the validation data: ")


@pytest.mark.parametrize("zero", [False, True], ids=["random head", "zero head"])
@pytest.mark.parametrize(("flat", "expected"), [(True, ["target-shape-mismatch"]), (False, [])])
def test_steps_that_broadcast(zero: bool, flat: bool, expected: list[str]) -> None:
    """A step that returns output and target is known by its number, also behind a head of zeros."""

    def make() -> nn.Module:
        model = mlp(4, 1)
        if zero:
            nn.init.zeros_(model[2].weight)
            nn.init.zeros_(model[2].bias)
        return model

    def step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        output = model(batch["x"])
        target = batch["y"] if flat else batch["y"][:, None]
        return {"loss": squared(output, target), "output": output, "target": target}

    batches = [{"x": x, "y": y} for x, y in zip(INPUTS.split(50), NUMBERS.split(50), strict=True)]
    result = check_init(context_of(lrtune.Task(model=make, train=batches, step=step)))
    assert own(result) == expected


def quantiles(output: Tensor, target: Tensor) -> Tensor:
    """The pinball loss of several quantiles against one target each."""
    levels = torch.linspace(0.1, 0.9, output.shape[1])
    error = target - output
    return torch.maximum(levels * error, (levels - 1) * error).mean()


HEALTHY_SHAPES = {
    "squeezes by itself": (lambda o, t: squared(o.squeeze(1), t), NUMBERS, None),
    "unsqueezes by itself": (lambda o, t: squared(o, t[:, None]), NUMBERS, None),
    "quantiles": (quantiles, NUMBERS[:, None], lambda: mlp(4, 5)),
    "moments": (lambda o, t: (o.mean() - t.mean()).square(), NUMBERS, None),
    "no target": (lambda o, t: o.square().mean(), NUMBERS, None),
    "contrastive": (
        lambda o, t: F.cross_entropy(F.normalize(o) @ F.normalize(o).T, torch.arange(len(o))),
        NUMBERS,
        lambda: mlp(4, 5),
    ),
    "labels": (F.cross_entropy, LABELS, None),
    "probabilities": (F.cross_entropy, F.one_hot(LABELS, 3).float(), lambda: mlp(4, 3)),
    "flat": (F.mse_loss, NUMBERS, Squeezed),
}


@pytest.mark.parametrize(("loss", "target", "model"), HEALTHY_SHAPES.values(), ids=HEALTHY_SHAPES)
def test_losses_that_know_their_shapes(loss: Any, target: Tensor, model: Any) -> None:
    """Shapes that differ for a reason are silent."""
    assert own(seen(loss, target, model)) == []


def test_a_precision_that_the_loss_refuses() -> None:
    """Targets of float64 are a finding where loss or gradient raises, and silent where torch mixes the two."""
    assert codes(seen(nn.HuberLoss(), NUMBERS[:, None].double())) == ["target-dtype"]
    assert own(seen(F.l1_loss, NUMBERS[:, None].double())) == []


# --- scale --------------------------------------------------------------------------------------------------------


def biased(value: float) -> Any:
    """A perceptron whose last bias is the targets' mean."""

    def make() -> nn.Module:
        model = mlp(4, 1)
        nn.init.constant_(model[2].bias, value)
        return model

    return make


class Rescaled(nn.Module):
    """A perceptron that undoes a standardisation itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the prediction in its own units."""
        return 5000 + 2000 * self.net(inputs)


@pytest.mark.parametrize(
    ("scale", "shift", "model", "loss", "expected"),
    [
        pytest.param(1.0, 0.0, None, F.mse_loss, False, id="standardised"),
        pytest.param(0.3, 0.5, None, F.mse_loss, False, id="in 0 to 1"),
        pytest.param(1.1, 3.5, None, F.l1_loss, False, id="ratings"),
        pytest.param(50.0, 0.0, None, F.mse_loss, True, id="large"),
        pytest.param(2000.0, 5000.0, None, nn.SmoothL1Loss(), True, id="prices"),
        pytest.param(2000.0, 5000.0, Rescaled, F.mse_loss, False, id="a model that rescales"),
        pytest.param(0.001, 0.0, None, F.mse_loss, True, id="tiny"),
        pytest.param(1.0, 40.0, None, F.mse_loss, True, id="offset"),
        pytest.param(1.0, 40.0, biased(40.0), F.mse_loss, False, id="prior-initialised bias"),
        pytest.param(50.0, 0.0, None, squared, True, id="a loss of one's own"),
    ],
)
def test_scale_of_targets(scale: float, shift: float, model: Any, loss: Any, expected: bool) -> None:
    """Targets far from the size of first answers are a warning, unless the model is made for them; three seeds."""
    for seed in range(3):
        result = seen(loss, scale * NUMBERS[:, None] + shift, model, seed)
        assert ("target-not-normalised" in own(result)) == expected
        assert set(own(result)) <= {"target-not-normalised", "initial-loss-high"}


def pinball(output: Tensor, target: Tensor) -> Tensor:
    """Three quantiles of one number."""
    error, levels = target - output, torch.tensor([0.1, 0.5, 0.9])
    return torch.maximum(levels * error, (levels - 1) * error).mean()


class TwoHeads(nn.Module):
    """Logits and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.classes, self.time = mlp(4, 16), nn.Linear(16, 3), nn.Linear(16, 1)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return both."""
        features = self.body(inputs).relu()
        return self.classes(features), self.time(features)[:, 0]


def joint(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The sum of a log loss and a squared error, which is all that is told."""
    logits, times = model(batch[0])
    return F.cross_entropy(logits, batch[1]) + F.mse_loss(times, batch[2])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("scale", "expected"), [(1.0, False), (60.0, True)], ids=["standardised", "minutes"])
def test_scale_under_other_losses(scale: float, expected: bool, seed: int) -> None:
    """Quantiles, and a part of a sum inside a step that returns nothing but its loss."""
    found = [own(seen(pinball, scale * NUMBERS[:, None], lambda: mlp(4, 3), seed))]
    data = TensorDataset(INPUTS, LABELS, scale * NUMBERS)
    task = lrtune.Task(model=TwoHeads, train=data, step=joint)
    found.append(own(check_init(context_of(task, seed=seed))))
    assert found == [["target-not-normalised"] if expected else []] * 2


def test_the_column_is_named() -> None:
    """Of several numbers the one in other units is named, in message and fix."""
    result = seen(F.mse_loss, torch.stack([NUMBERS, 500 * NUMBERS], 1), lambda: mlp(4, 2))
    found = next(f for f in result.findings if f.code == "target-not-normalised")
    assert "column 1" in found.message
    assert "targets[:, 1]" in found.fix


# --- nothing to learn ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "target", "outputs", "expected"),
    [
        pytest.param(F.cross_entropy, torch.ones(300, dtype=torch.int64), 3, True, id="one class"),
        pytest.param(F.mse_loss, torch.full((300, 1), 0.3), 1, True, id="one number"),
        pytest.param(
            F.binary_cross_entropy_with_logits,
            torch.tensor([1.0, 0.0, 1.0]).expand(300, 3),
            3,
            True,
            id="every column",
        ),
        pytest.param(lambda o, t: (o - t).abs().pow(1.5).mean(), torch.zeros(300, 1), 1, True, id="own loss"),
        pytest.param(F.cross_entropy, torch.ones(5, dtype=torch.int64), 3, False, id="five examples"),
        pytest.param(lambda o, t: o.square().mean(), torch.zeros(300, 1), 1, False, id="unused target"),
        pytest.param(F.cross_entropy, LABELS, 3, False, id="classes"),
    ],
)
def test_constant_targets(loss: Any, target: Tensor, outputs: int, expected: bool) -> None:
    """Targets that are all alike are told where the loss depends on them."""
    result = seen(loss, target, lambda: mlp(4, outputs))
    assert ("constant-target" in codes(result)) == expected


def test_sorted_data_are_not_constant() -> None:
    """A loader that brings one class after the other is read further before targets are called alike."""
    inputs, labels = torch.randn(4000, 4, generator=generator(3)), torch.arange(4000) // 2000
    loader = DataLoader(TensorDataset(inputs, labels), batch_size=64)
    result = check_init(context_of(blob_task(train=loader, val=None, metrics={})))
    assert "constant-target" not in codes(result)


# --- class shares -------------------------------------------------------------------------------------------------


def imbalanced(rare: int, dtype: torch.dtype = torch.int64) -> TensorDataset:
    """Of a thousand examples, a few of class 1, among them."""
    labels = (torch.arange(1000) % (1000 // rare) == 0).to(dtype)
    return TensorDataset(torch.randn(1000, 4, generator=generator(4)), labels)


def own_weights(output: Tensor, target: Tensor) -> Tensor:
    """Class weights inside a loss of one's own."""
    return F.cross_entropy(output, target, weight=torch.tensor([0.5, 50.0]))


def focal(output: Tensor, target: Tensor) -> Tensor:
    """A loss that is made for rare classes."""
    losses = F.cross_entropy(output, target, reduction="none")
    return ((1 - (-losses).exp()).square() * losses).mean()


def binary(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of `[batch, 1]` against `[batch]`."""
    return F.binary_cross_entropy_with_logits(output[:, 0], target)


@pytest.mark.parametrize(
    ("loss", "rare", "expected"),
    [
        pytest.param(F.cross_entropy, 10, True, id="99 to 1"),
        pytest.param(lambda o, t: F.cross_entropy(o, t), 10, True, id="wrapped"),
        pytest.param(F.cross_entropy, 100, False, id="9 to 1"),
        pytest.param(nn.CrossEntropyLoss(weight=torch.tensor([0.5, 50.0])), 10, False, id="class weights"),
        pytest.param(own_weights, 10, False, id="own class weights"),
        pytest.param(focal, 10, False, id="focal"),
    ],
)
def test_class_shares(loss: Any, rare: int, expected: bool) -> None:
    """A rare class is a warning unless the loss makes up for it, over three seeds."""
    for seed in range(3):
        task = blob_task(model=lambda: mlp(4, 2), train=imbalanced(rare), loss=loss, val=None, metrics={})
        result = check_init(context_of(task, seed=seed))
        assert own(result) == (["class-imbalance"] if expected else [])


def test_rare_bits() -> None:
    """Binary targets are classes, too; with pos_weight they are weighed."""
    data = imbalanced(10, torch.float32)
    plain = lrtune.Task(model=Squeezed, train=data, loss=F.binary_cross_entropy_with_logits)
    assert own(check_init(context_of(plain))) == ["class-imbalance"]
    weighed = lrtune.Task(
        model=Squeezed, train=data, loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(99.0))
    )
    assert own(check_init(context_of(weighed))) == []


def test_a_weighted_sampler() -> None:
    """A loader that draws the rare class more often is silent."""
    data = imbalanced(10)
    weights = torch.where(data.tensors[1] == 1, 50.0, 0.5)
    loader = DataLoader(data, 64, sampler=WeightedRandomSampler(weights.tolist(), 1000))
    task = blob_task(model=lambda: mlp(4, 2), train=loader, val=None, metrics={})
    assert own(check_init(context_of(task))) == []


def test_many_balanced_classes() -> None:
    """Hundreds of classes with two examples each in the sample are no imbalance."""
    labels = torch.randint(500, (1024,), generator=generator(5))
    task = blob_task(
        model=lambda: mlp(4, 500),
        train=TensorDataset(torch.randn(1024, 4, generator=generator(6)), labels),
        val=None,
        metrics={},
    )
    assert own(check_init(context_of(task))) == []


# --- the initial loss ---------------------------------------------------------------------------------------------


def shifted() -> nn.Module:
    """Logits of a constant far from zero, which softmax does not see."""
    model = mlp()
    nn.init.constant_(model[2].bias, 30.0)
    return model


def test_shifted_logits_are_silent() -> None:
    """A constant added to all logits changes neither the loss nor the spread that is told."""
    result = check_init(context_of(blob_task(model=shifted)))
    assert own(result) == []
    assert result.summary["output_std"] < 1


@pytest.mark.parametrize("log_input", [True, False])
def test_poisson(log_input: bool) -> None:
    """A rate of 1 gives a loss of 1, the mean rate m - m ln m, however negative that is."""
    counts = 20 * COUNTS[:, None]
    mean = float(counts.mean())
    best = mean - mean * math.log(mean)
    loss = nn.PoissonNLLLoss(log_input=log_input)
    for rate, expected in ((1.0, 1.0), (mean, best)):
        value = math.log(rate) if log_input else rate
        result = seen(loss, counts, lambda value=value: Constant(value))
        assert own(result) == []
        assert result.summary["initial_loss"] == pytest.approx(expected, rel=1e-3)
        assert (result.summary["expected_low"], result.summary["expected_high"]) == pytest.approx(
            (best, 1.0), rel=1e-3
        )


@pytest.mark.parametrize(
    ("loss", "target", "model", "expected"),
    [
        pytest.param(
            F.poisson_nll_loss, COUNTS[:, None], lambda: Constant(8.0), "initial-loss-high", id="exp"
        ),
        pytest.param(F.poisson_nll_loss, -COUNTS[:, None], None, "target-out-of-range", id="negative"),
        pytest.param(F.poisson_nll_loss, COUNTS[:, None].long(), lambda: mlp(4, 1), None, id="integers"),
    ],
)
def test_counts(loss: Any, target: Tensor, model: Any, expected: str | None) -> None:
    """Counts may be integers and not negative; a log-rate of 8 is too high."""
    assert own(seen(loss, target, model)) == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        pytest.param(F.nll_loss, "no log-probabilities", id="logits"),
        pytest.param(lambda o, t: -F.cross_entropy(o, t), "sign is turned", id="sign"),
        pytest.param(
            lambda o, t: -F.cross_entropy(o, t, weight=torch.tensor([1.0, 2.0, 3.0])),
            "sign",
            id="weighted sign",
        ),
    ],
)
def test_why_it_is_low(loss: Any, words: str) -> None:
    """A loss below what any model can reach names its likely cause, over three seeds."""
    for seed in range(3):
        result = check_init(context_of(blob_task(loss=loss, train=blobs(300), val=None), seed=seed))
        found = next(f for f in result.findings if f.code == "initial-loss-low")
        assert words in found.message


def test_the_wide_layer_is_named() -> None:
    """Logits that are too wide name their layer, and how much of the loss they explain."""

    def make() -> nn.Module:
        model = mlp()
        with torch.no_grad():
            model[2].weight *= 100
        return model

    found = check_init(context_of(blob_task(model=make))).findings[0]
    assert found.code == "initial-loss-high"
    assert "model[2].weight.data.div_(" in found.fix
    assert "explains about" in found.message


def test_small_targets_and_usual_outputs() -> None:
    """Targets of a deviation of 0.1 do not make first answers of 0.5 too high; answers of 30 are."""
    for seed in range(5):
        data = linear_data(300, seed=seed)
        data = TensorDataset(data.tensors[0], 0.03 * data.tensors[1])
        task = {"train": data, "loss": F.mse_loss}
        assert (
            own(check_init(context_of(lrtune.Task(model=lambda: nn.Linear(4, 1), **task), seed=seed))) == []
        )
        wide = lrtune.Task(model=lambda: nn.Sequential(nn.Linear(4, 1), Scaled()), **task)
        assert "initial-loss-high" in own(check_init(context_of(wide, seed=seed)))


class Scaled(nn.Module):
    """Multiplies by fifty."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the product."""
        return 50 * inputs


def test_enormous_outputs_under_an_unknown_loss() -> None:
    """Where no loss is known, outputs hundreds of times their targets are told, usual ones are not."""
    loss = lambda o, t: (o - t).abs().pow(1.5).mean()  # noqa: E731
    wide = lambda: nn.Sequential(mlp(4, 1), Scaled(), Scaled())  # noqa: E731
    assert own(seen(loss, NUMBERS[:, None], wide)) == ["initial-loss-high"]
    assert own(seen(loss, NUMBERS[:, None])) == []


@pytest.mark.parametrize("how", ["torch's", "own", "step"])
def test_a_softmax_over_one_output(how: str) -> None:
    """Cross-entropy of one output is 0 whatever it says: told, also through a loss of one's own and a step."""
    target = (LABELS % 2).float()[:, None]

    def step(model: nn.Module, batch: Any) -> dict[str, Tensor]:
        output = model(batch[0])
        return {"loss": F.cross_entropy(output, batch[1]), "output": output, "target": batch[1]}

    losses = {"torch's": F.cross_entropy, "own": lambda o, t: F.cross_entropy(o, t), "step": None}
    result = seen(losses[how], target, **({"step": step} if how == "step" else {}))
    assert own(result)[0] == "target-shape-mismatch"
    assert "a softmax over one output is always 1" in result.findings[0].message
    assert "binary_cross_entropy_with_logits" in result.findings[0].fix


def test_masks_up_to_255() -> None:
    """The fix for a binary loss is about its targets, not about class indices."""
    result = seen(F.binary_cross_entropy_with_logits, 255 * (LABELS % 2).float()[:, None])
    assert own(result) == ["target-out-of-range"]
    assert "divide by 255" in result.findings[0].fix
