from __future__ import annotations

import functools
import math
from typing import Any, cast

import pytest
import torch
from programs import (
    Constant,
    Notes,
    blob_task,
    blobs,
    codes,
    context_of,
    generator,
    language_task,
    linear_data,
    linear_task,
    mlp,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, TensorDataset

import lrtune
from lrtune.errors import UserCodeError
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init
from lrtune.steps.examining import Examination, examine

SEEDS = range(5)


def checked(task: lrtune.Task, **keys: Any) -> lrtune.StepResult:
    """The first step's result."""
    return check_init(context_of(task, **keys))


def initial(task: lrtune.Task, **keys: Any) -> float:
    """The initial loss of a task that must be without errors."""
    result = checked(task, **keys)
    assert result.verdict != "fail", result.findings
    return result.summary["initial_loss"]


def zero_head(features: int = 4, outputs: int = 3) -> nn.Module:
    """A net whose last layer begins at zero."""
    head = nn.Linear(8, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Linear(features, 8), nn.Tanh(), head)


# --- known answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_zero_logits(classes: int) -> None:
    """Zero logits over C classes give exactly ln C, the upper expectation; the lower is the labels' entropy."""
    task = blob_task(model=lambda: zero_head(4, classes), train=blobs(1200, classes), val=None, metrics={})
    result = checked(task)
    assert codes(result) == []
    assert result.summary["initial_loss"] == pytest.approx(math.log(classes), rel=1e-6)
    assert result.summary["expected_high"] == pytest.approx(math.log(classes), rel=1e-6)
    assert result.summary["expected_low"] == pytest.approx(math.log(classes), rel=1e-2)
    assert result.summary["parameters"] == sum(p.numel() for p in zero_head(4, classes).parameters())
    assert f"ln {classes}" in result.details["expectation"]


def test_prior_bias() -> None:
    """A bias set to the label prior gives the labels' entropy, without an alarm."""
    labels = torch.tensor([0, 0, 0, 1] * 30)
    data = TensorDataset(torch.randn(120, 4, generator=generator(0)), labels)
    prior = functools.partial(Constant, math.log(0.75), math.log(0.25))
    task = blob_task(model=prior, train=data, val=None, metrics={})
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    result = checked(task)
    assert result.verdict == "pass"
    assert result.summary["initial_loss"] == pytest.approx(entropy, rel=1e-5)
    assert result.summary["expected_low"] == pytest.approx(entropy, rel=1e-4)


def test_binary_logits() -> None:
    """A binary logit of zero gives ln 2."""
    bits = (torch.arange(128) % 4 == 0).float()[:, None]
    task = lrtune.Task(
        model=lambda: Constant(0.0),
        train=TensorDataset(torch.zeros(128, 4), bits),
        loss=F.binary_cross_entropy_with_logits,
    )
    assert initial(task) == pytest.approx(math.log(2), rel=1e-6)


@pytest.mark.parametrize(("output", "extra"), [(5.0, 0.0), (0.0, 25.0)], ids=["the mean", "zero"])
def test_squared_error(output: float, extra: float) -> None:
    """Squared error is the target's variance for its mean as output, and the square of the mean more for zero."""
    target = torch.tensor([3.0, 7.0] * 40)[:, None]
    data = TensorDataset(torch.randn(80, 4, generator=generator(0)), target)
    task = linear_task(model=lambda: Constant(output), train=data)
    result = checked(task)
    assert result.verdict == "pass"
    assert result.summary["initial_loss"] == pytest.approx(4.0 + extra, rel=1e-6)
    assert (result.summary["expected_low"], result.summary["expected_high"]) == pytest.approx((4.0, 29.0))


@pytest.mark.parametrize("vocabulary", [5, 28])
def test_language_model(vocabulary: int) -> None:
    """A language model of dict batches and a `step` begins at ln V; the family is known by its number."""
    result = checked(language_task(vocabulary), batch_size=8)
    assert codes(result) == []
    assert result.summary["initial_loss"] == pytest.approx(math.log(vocabulary), rel=1e-6)
    assert result.summary["expected_high"] == pytest.approx(math.log(vocabulary), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 0.2])),
        nn.CrossEntropyLoss(label_smoothing=0.2),
        nn.CrossEntropyLoss(ignore_index=2),
        nn.CrossEntropyLoss(),
        lambda output, target: F.cross_entropy(output, target),
        lambda output, target: F.nll_loss(output.log_softmax(1), target),
    ],
    ids=["class weights", "label smoothing", "ignore_index", "module", "wrapped", "log-softmax and nll"],
)
def test_losses_of_classes(loss: Any) -> None:
    """Healthy nets raise no alarm with any form of the classification loss, over five seeds."""
    for seed in SEEDS:
        result = checked(blob_task(loss=loss, train=blobs(300)), seed=seed)
        assert codes(result) == []
        assert result.summary["expected_high"] == pytest.approx(math.log(3), rel=1e-5)


# --- false alarms -----------------------------------------------------------------------------------------------


class Tied(nn.Module):
    """An embedding that is also the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.head = nn.Linear(8, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next token."""
        return self.head(self.embedding(tokens))


def frozen_backbone() -> nn.Module:
    """A net of which only the head is trained."""
    model = mlp()
    model[0].requires_grad_(False)
    return model


def normalised() -> nn.Module:
    """Batch normalisation and dropout before the head."""
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


class Residual(nn.Module):
    """A residual branch that begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(()))
        self.branch, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(inputs + self.gamma * self.branch(inputs))


HEALTHY = {
    "perceptron": lambda: blob_task(),
    "frozen backbone": lambda: blob_task(model=frozen_backbone),
    "batch norm and dropout": lambda: blob_task(model=normalised),
    "zero head": lambda: blob_task(model=zero_head),
    "zero gamma": lambda: blob_task(model=Residual),
    "tied weights": lambda: lrtune.Task(**{**vars_of(language_task()), "model": Tied}),
    "regression": lambda: linear_task(model=lambda: nn.Linear(4, 1), train=linear_data(300)),
    "list of batches": lambda: blob_task(
        train=list(zip(*(t.split(24) for t in blobs().tensors), strict=True))
    ),
    "one example a batch": lambda: blob_task(train=[(x[None], y[None]) for x, y in blobs()]),
}


def vars_of(task: lrtune.Task) -> dict[str, Any]:
    """The fields that make a task."""
    return {name: getattr(task, name) for name in ("train", "val", "loss", "step")}


@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY)
def test_healthy_programs_are_silent(make: Any) -> None:
    """Legitimate programs raise no error, over five seeds."""
    for seed in SEEDS:
        result = checked(make(), seed=seed)
        assert [finding for finding in result.findings if finding.severity == "error"] == []


# --- faults -----------------------------------------------------------------------------------------------------


def scaled_head(factor: float) -> nn.Module:
    """A net whose last layer is too large."""
    model = mlp()
    with torch.no_grad():
        model[2].weight *= factor
    return model


class Leaky(nn.Module):
    """Reads the label, which stands among the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits that know the answer."""
        return 0.1 * self.layer(inputs[:, :4]) + 8 * inputs[:, 4:]


def leaking_data() -> TensorDataset:
    """The classes' examples with the label among the inputs."""
    inputs, labels = blobs(300).tensors
    return TensorDataset(torch.cat([inputs, F.one_hot(labels, 3)], dim=1), labels)


def test_last_layer_too_large() -> None:
    """A last layer a hundred times too large is initial-loss-high, over five seeds, and the fix names a factor."""
    for seed in SEEDS:
        result = checked(blob_task(model=lambda: scaled_head(100)), seed=seed)
        assert codes(result) == ["initial-loss-high"]
        assert "Scale the last layer down" in result.findings[0].fix


def test_leaked_target() -> None:
    """A target among the inputs explains initial-loss-low, which is not judged for a trained model."""
    leaking = {"model": Leaky, "train": leaking_data(), "val": None}
    assert codes(checked(blob_task(**leaking))) == ["target-leak", "initial-loss-low"]
    assert codes(checked(blob_task(**leaking, pretrained=True))) == ["target-leak"]


@pytest.mark.parametrize(
    ("expected", "found"),
    [(math.log(3), []), (0.1, ["initial-loss-high"]), (30.0, ["initial-loss-low"])],
    ids=["right", "lower", "higher"],
)
def test_the_users_own_expectation(expected: float, found: list[str]) -> None:
    """A given expectation stands in for theory, and is the band that the summary tells."""
    result = checked(blob_task(model=zero_head, expected_initial_loss=expected))
    assert codes(result) == found
    assert (result.summary["expected_low"], result.summary["expected_high"]) == (expected, expected)


@pytest.mark.parametrize(
    "loss", [lambda o, t: F.cross_entropy(o, t) + o.pow(2).mean() + 1, lambda o, t: o.exp().mean()]
)
def test_unknown_losses_say_so(loss: Any) -> None:
    """A loss that is none of torch's is shown, not judged."""
    result = checked(blob_task(loss=loss))
    assert codes(result) == ["expectation-unknown"]
    assert result.verdict == "pass"
    assert result.summary["expected_low"] is None
    assert math.isfinite(result.summary["initial_loss"])


def with_value(tensor: Tensor, value: float) -> Tensor:
    """A copy whose sixth row is a value."""
    changed = tensor.clone()
    changed[5] = value
    return changed


INPUTS, LABELS = blobs().tensors
X, Y = linear_data().tensors
FAULTY_DATA = {
    "NaN input": (F.cross_entropy, with_value(INPUTS, torch.nan), LABELS, "nonfinite-input"),
    "infinite input": (F.cross_entropy, with_value(INPUTS, torch.inf), LABELS, "nonfinite-input"),
    "NaN target": (
        F.mse_loss,
        INPUTS,
        with_value(LABELS[:, None].expand(-1, 3).float(), torch.nan),
        "nonfinite-target",
    ),
    "labels from one": (F.cross_entropy, INPUTS, LABELS + 1, "target-out-of-range"),
    "label of -1": (F.cross_entropy, INPUTS, with_value(LABELS, -1), "target-out-of-range"),
    "label of 255 in a module": (
        nn.CrossEntropyLoss(),
        INPUTS,
        with_value(LABELS, 255),
        "target-out-of-range",
    ),
    "int32 labels": (F.cross_entropy, INPUTS, LABELS.int(), "target-dtype"),
    "float labels": (F.cross_entropy, INPUTS, LABELS.float(), "target-dtype"),
    "nll": (F.nll_loss, INPUTS, LABELS + 1, "target-out-of-range"),
    "binary in 0 to 255": (
        F.binary_cross_entropy_with_logits,
        INPUTS,
        255 * F.one_hot(LABELS).float(),
        "target-out-of-range",
    ),
    "integer regression": (F.mse_loss, INPUTS, F.one_hot(LABELS), "target-dtype"),
}


@pytest.mark.parametrize(("loss", "inputs", "target", "expected"), FAULTY_DATA.values(), ids=FAULTY_DATA)
def test_faulty_data_are_findings(loss: Any, inputs: Tensor, target: Tensor, expected: str) -> None:
    """NaN, labels out of range and of a wrong type are findings, before the loss could crash on them."""
    result = checked(blob_task(loss=loss, train=TensorDataset(inputs, target), val=None, metrics={}))
    assert codes(result) == [expected]
    assert result.verdict == "fail"
    assert result.summary["initial_loss"] is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param(LABELS + 1, "target-out-of-range", id="labels from one"),
        pytest.param(LABELS.int(), "target-dtype", id="int32 labels"),
    ],
)
def test_faulty_labels_of_a_wrapped_loss(target: Tensor, expected: str) -> None:
    """Where a loss of the user's own crashes on integer labels that no class has, the labels are the finding."""
    task = blob_task(loss=lambda o, t: F.cross_entropy(o, t), train=TensorDataset(INPUTS, target), metrics={})
    result = checked(task)
    assert codes(result) == [expected]
    assert result.verdict == "fail"


@pytest.mark.parametrize("target", [LABELS, LABELS.float()], ids=["healthy labels", "floating point"])
def test_other_crashes_are_the_users(target: Tensor) -> None:
    """A loss that raises on sound labels, or on real targets, is the user's code and not a finding."""
    task = blob_task(loss=lambda o, t: o.nothing, train=TensorDataset(INPUTS, target), metrics={})
    with pytest.raises(UserCodeError, match="calling the task's loss"):
        checked(task)


def test_nan_in_the_dict_of_a_step() -> None:
    """NaN inside the dict batches of a `step` is found, too."""
    batches = [{"x": torch.tensor([[1.0], [torch.nan]])}]
    task = lrtune.Task(
        model=lambda: nn.Linear(1, 1), train=batches, step=lambda model, batch: model(batch["x"]).mean()
    )
    assert codes(checked(task)) == ["nonfinite-input"]


class Unused(nn.Module):
    """Has a layer that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.used(inputs)


def frozen() -> nn.Module:
    """A net without anything to train."""
    return mlp().requires_grad_(False)


def square_root_at_zero() -> nn.Module:
    """A finite loss whose gradient is infinite."""
    return nn.Sequential(zero_head(), RootOfAbsolute())


class RootOfAbsolute(nn.Module):
    """√|x|: its slope at 0 has no end."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the root."""
        return inputs.abs().sqrt()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param(
            {"loss": lambda o, t: F.cross_entropy(o, t, reduction="none")}, ["loss-not-scalar"], id="vector"
        ),
        pytest.param(
            {"loss": lambda o, t: F.cross_entropy(o, t) * torch.nan},
            ["nonfinite-loss", "nonfinite-gradient"],
            id="NaN",
        ),
        pytest.param({"loss": lambda o, t: F.cross_entropy(o.detach(), t)}, ["detached-loss"], id="detached"),
        pytest.param({"model": frozen}, ["frozen-model"], id="frozen"),
        pytest.param({"model": Unused}, ["parameter-without-gradient"], id="unused parameter"),
        pytest.param({"model": square_root_at_zero}, ["nonfinite-gradient"], id="infinite gradient"),
    ],
)
def test_wiring_faults(fields: dict[str, Any], expected: list[str]) -> None:
    """Each fault of loss or model is told by its own code and by no other."""
    result = checked(blob_task(**fields))
    assert [code for code in codes(result) if code != "expectation-unknown"] == expected
    assert result.verdict == "fail"


def test_the_first_batch_training_will_see() -> None:
    """The standard error comes from the spread of batch means, and covers the true mean within four of it."""
    for seed in SEEDS:
        task = blob_task(train=blobs(2000), metrics={})
        result = checked(task, seed=seed)
        torch.manual_seed(seed)
        inputs, labels = blobs(2000).tensors
        truth = F.cross_entropy(mlp()(inputs), labels).item()
        assert abs(result.summary["initial_loss"] - truth) < 4 * result.summary["standard_error"]
        assert 0 < result.summary["standard_error"] < 0.1 * truth


def test_data_that_fit_one_batch_have_no_error() -> None:
    """With a single batch there is no standard error to tell."""
    assert checked(blob_task(), batch_size=500).summary["standard_error"] is None


def test_both_modes_are_measured() -> None:
    """The judged loss is that of training mode; evaluation mode is told beside it."""
    model = lambda: nn.Sequential(nn.BatchNorm1d(4, eps=1e-8), zero_head())  # noqa: E731
    result = checked(blob_task(model=model))
    assert {"initial_loss", "initial_loss_eval"} <= set(result.summary)


def test_a_branch_for_some_inputs_is_silent() -> None:
    """A layer that only some batches use is no unused parameter."""
    first, second = blobs(24, seed=0).tensors, blobs(24, seed=1).tensors
    batches = [(inputs, labels) for inputs, labels in (first, second)]

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            layer = self.one if torch.equal(inputs, batches[0][0]) else self.other
            return layer(inputs)

    assert codes(checked(blob_task(model=Branch, train=batches))) == []


def test_summed_losses_are_compared_with_sums() -> None:
    """A healthy model under a summed loss raises no alarm but that of the sum, whatever the batches."""
    loss = functools.partial(F.cross_entropy, reduction="sum")
    result = checked(blob_task(loss=loss, train=blobs(1200), metrics={}))
    assert codes(result) == ["loss-not-mean"]
    assert result.summary["expected_high"] > 10 * math.log(3)


@pytest.mark.parametrize(("size", "seen"), [(4, 1024), (64, 1024), (500, 2000)])
def test_a_loaders_own_batches(size: int, seen: int) -> None:
    """Whatever the size of a loader's batches, about 1,024 examples are seen, in four batches or more."""
    loader = DataLoader(blobs(4000), batch_size=size)
    assert checked(blob_task(train=loader)).summary["examples"] == seen


def test_a_list_as_target_in_a_later_batch() -> None:
    """Targets that are no tensor in one of the batches are a finding."""
    inputs, labels = blobs(24).tensors
    result = checked(blob_task(train=[(inputs, labels), (inputs, labels.tolist())], metrics={}))
    assert codes(result) == ["target-dtype"]


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        pytest.param(lambda inputs, target: inputs[3].fill_(math.nan), "nonfinite-input", id="nan"),
        pytest.param(lambda inputs, target: target[3].fill_(9), "target-out-of-range", id="label"),
    ],
)
def test_validation_data_are_looked_at_too(damage: Any, expected: str) -> None:
    """A fault that only the validation data have is a finding that says so, not a crash hours later."""
    inputs, target = (tensor.clone() for tensor in blobs(seed=1).tensors)
    damage(inputs, target)
    result = checked(blob_task(val=TensorDataset(inputs, target)))
    assert codes(result) == [expected]
    assert result.findings[0].message.startswith("In the validation data: ")


def test_the_accepted_range_is_told() -> None:
    """The summary holds the bounds that are judged by, which lie around the expectation."""
    found = checked(blob_task()).summary
    assert found["accepted_low"] < found["expected_low"] <= found["expected_high"] < found["accepted_high"]
    assert checked(blob_task(pretrained=True)).summary["accepted_low"] is None


# --- what torch's losses refuse inside a step ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "target", "loss", "expected"),
    [
        pytest.param(3, torch.tensor([0, 1, -1, 2]), F.cross_entropy, "target-out-of-range", id="padding"),
        pytest.param(
            1, torch.tensor([[0.0], [2.0], [1.0], [0.0]]), "bce", "target-out-of-range", id="above 1"
        ),
        pytest.param(3, torch.zeros(4, 1).long(), F.cross_entropy, "target-shape-mismatch", id="[B, 1]"),
        pytest.param(3, torch.zeros(8).long(), F.cross_entropy, "target-shape-mismatch", id="two a row"),
        pytest.param(
            1, torch.zeros(4), F.binary_cross_entropy_with_logits, "target-shape-mismatch", id="[B]"
        ),
        pytest.param(3, torch.zeros(4), F.cross_entropy, "target-dtype", id="floats"),
        pytest.param(3, torch.zeros(4).to(torch.int32), F.cross_entropy, "target-dtype", id="int32"),
    ],
)
def test_refused_inside_a_step(outputs: int, target: Tensor, loss: Any, expected: str) -> None:
    """A step that torch's loss raises in is told by what the loss refuses, not by a traceback."""

    def step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        output = model(batch["x"])
        if loss == "bce":
            return F.binary_cross_entropy(output.sigmoid(), batch["y"])
        return loss(output, batch["y"])

    batches = [{"x": torch.randn(4, 4, generator=generator(0)), "y": target}]
    task = lrtune.Task(model=lambda: nn.Linear(4, outputs), train=batches, step=step)
    assert codes(checked(task)) == [expected]


def test_what_is_no_refusal_stays_the_users_error() -> None:
    """Any other exception in a step is the user's own."""

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        raise ValueError("batch of the wrong kind")

    task = lrtune.Task(model=lambda: nn.Linear(4, 1), train=[torch.zeros(2, 4)], step=step)
    with pytest.raises(UserCodeError, match="wrong kind"):
        checked(task)


def test_a_bug_in_an_examination_costs_one_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """An examination that raises what nobody expected is told and left out; the others are there."""

    def broken(sample: Any) -> Any:
        raise KeyError("x")

    notes: list[str] = []
    examinations = (Examination("broken", broken, ()), Examination("sound", lambda sample: None, ()))
    monkeypatch.setattr("lrtune.steps.examining.unexpected", lambda error: f"{type(error).__name__}: {error}")
    context = context_of(blob_task())
    monkeypatch.setattr(context.progress, "note", notes.append)
    sample = Sample(context.program, context.data.train, context.data.train.head(1, 0), 0)
    done = examine(sample, context.progress, examinations)
    assert [one.skipped for one in done] == ["KeyError: 'x'", "nothing to measure"]
    assert len(notes) == 1
    assert "broken" in notes[0]


def test_what_no_time_was_left_for_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the time did not suffice for, the result names examinations and codes."""
    monkeypatch.setattr("lrtune.steps.examining.SECONDS", 0.0)
    monkeypatch.setattr("lrtune.steps.examining.PASSES", 0.0)
    context = context_of(blob_task(), batch_size=8)
    result = check_init(context)
    (late,) = result.findings
    assert (late.code, result.verdict) == ("out-of-time", "warn")
    assert "independence of examples" in late.message
    examined = result.details["examined"]
    assert {one["skipped"] for one in examined} == {"no time left"}
    assert {code for one in examined for code in one["unseen"]} >= {"batch-mixing", "dead-units"}


@pytest.mark.parametrize(("forward", "examples"), [(0.9, 96), (1.1, 32)], ids=["below the bound", "above"])
def test_slow_models_see_fewer_batches(
    monkeypatch: pytest.MonkeyPatch, forward: float, examples: int
) -> None:
    """The loss of a model whose forward pass takes more than a second is that of four batches; a note says so."""
    monkeypatch.setattr("lrtune.steps.stopwatch.Stopwatch.seconds", lambda self: forward)
    context = context_of(blob_task(), batch_size=8)
    result = check_init(context)
    assert result.summary["examples"] == examples
    assert result.details["pass_seconds"] == pytest.approx(3 * forward)
    told = any("4 batches instead of 12" in note for note in cast("Notes", context.progress).notes)
    assert told == (forward > 1)


def test_recognised_answers_of_yes_and_no() -> None:
    """A binary loss in a wrapper of the user's own gets its range checked as torch's own does."""
    data = TensorDataset(torch.randn(64, 4, generator=generator(0)), 2.0 * torch.randint(2, (64, 3)) - 1)
    task = blob_task(
        train=data, val=None, metrics={}, loss=lambda o, t: F.binary_cross_entropy_with_logits(o, t)
    )
    assert codes(checked(task))[0] == "target-out-of-range"


def test_logits_far_sharper_than_any_in_use() -> None:
    """A loss that nothing is known of is still judged by the size of what goes into it."""

    def both_ways(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target) + output.logsumexp(0).mean() / 7

    model = lambda: nn.Sequential(mlp(), nn.Linear(3, 3))  # noqa: E731 - a factory in a line
    sharp = blob_task(model=lambda: Scaled(model(), 2000.0), loss=both_ways)
    assert "initial-loss-high" in codes(checked(sharp))
    assert "initial-loss-high" not in codes(
        checked(blob_task(model=lambda: Scaled(model(), 20.0), loss=both_ways))
    )


class Scaled(nn.Module):
    """A net whose outputs are multiplied."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the product."""
        return self.scale * self.net(inputs)
