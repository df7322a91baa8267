from __future__ import annotations

import math
import random
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from programs import batches_of, generator, mlp, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.probes.data.class_counts import label_counts
from lrtune.probes.data.target_shapes import broadcast, broadcast_target, misfit
from lrtune.probes.data.target_values import target_sameness, target_scale
from lrtune.probes.losses.loss_behaviour import sign_of, told_family
from lrtune.probes.losses.loss_family import FAMILIES, declared_family
from lrtune.probes.losses.loss_settings import setting, weighs_classes
from lrtune.probes.losses.output_spread import spread_of, watched
from lrtune.probes.sample import Sample

OUTPUT = torch.randn(8, 1, generator=generator(0))
TARGET = torch.randn(8, generator=generator(1))
LOGITS = torch.randn(8, 3, generator=generator(2))
LABELS = torch.arange(8) % 3


def squared(output: Tensor, target: Tensor) -> Tensor:
    """Squared error by hand."""
    return (output - target).square().mean()


@pytest.mark.parametrize(
    ("loss", "output", "target", "fix", "blown_up"),
    [
        (F.mse_loss, (8, 1), (8,), "target.unsqueeze(1)", [8, 8]),
        (F.mse_loss, (8,), (8, 1), "target.squeeze(1)", [8, 8]),
        (F.mse_loss, (8, 5, 3), (8, 3, 5), "target.permute(0, 2, 1)", None),
        (F.mse_loss, (8, 1), (8, 5), "", [8, 5]),
        (F.l1_loss, (8, 6), (8, 2, 3), "target.reshape(output.shape)", None),
        (F.binary_cross_entropy_with_logits, (8, 1), (8,), "target.unsqueeze(1)", None),
        (F.mse_loss, (1, 1), (1,), None, None),
        (F.mse_loss, (8, 1), (8, 1), None, None),
    ],
)
def test_numbers(
    loss: Any, output: tuple[int, ...], target: tuple[int, ...], fix: str | None, blown_up: Any
) -> None:
    """Numbers are compared one by one: what differs in shape is told with what it becomes and its fix."""
    family = declared_family(loss)
    found = misfit(family, torch.zeros(output), torch.zeros(target))
    assert (found and found.fix) == fix
    assert (found and found.broadcast) == blown_up


@pytest.mark.parametrize(
    ("output", "target", "fix"),
    [
        ((8, 3), (8, 1), "target.squeeze(1)"),
        ((8, 5, 3), (8, 5), "output.transpose(1, 2)"),
        ((8, 4, 5, 3), (8, 4, 5), "output.movedim(-1, 1)"),
        ((8, 3, 4, 5), (8, 1, 4, 5), "target.squeeze(1)"),
        ((40, 3), (8, 5), "target.flatten()"),
        ((8, 5, 3), (40,), "output.flatten(0, -2)"),
        ((8, 3), (7,), ""),
        ((8, 3), (8,), None),
        ((8, 3, 5), (8, 5), None),
        ((3,), (), None),
    ],
)
def test_labels(output: tuple[int, ...], target: tuple[int, ...], fix: str | None) -> None:
    """Labels go with outputs whose classes stand in dimension 1."""
    found = misfit(FAMILIES[0], torch.zeros(output), torch.zeros(target, dtype=torch.int64))
    assert (found and found.fix) == fix


def test_broadcasting() -> None:
    """A loss that crosses outputs and targets is told without a warning of torch's; one that squeezes is not."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for loss in (squared, F.mse_loss, lambda o, t: F.mse_loss(o, t), F.huber_loss):
            assert broadcast(loss, OUTPUT, TARGET).broadcast == [8, 8]
        for loss in (lambda o, t: squared(o[:, 0], t), lambda o, t: squared(o, t[:, None])):
            assert broadcast(loss, OUTPUT, TARGET) is None
        assert broadcast(F.mse_loss, OUTPUT, TARGET[:, None]) is None
        for value, found in ((squared(OUTPUT, TARGET), True), (squared(OUTPUT[:, 0], TARGET), False)):
            assert (broadcast(None, OUTPUT, TARGET, float(value)) is not None) == found
        assert broadcast(None, (OUTPUT, OUTPUT), TARGET, 1.0) is None


@pytest.mark.parametrize(
    ("loss", "sign"),
    [
        pytest.param(lambda o, t: F.cross_entropy(o, t), 1, id="wrapped"),
        pytest.param(lambda o, t: F.cross_entropy(o, t, label_smoothing=0.2), 1, id="smoothing"),
        pytest.param(
            lambda o, t: -F.cross_entropy(o, t, weight=torch.tensor([1.0, 2, 3])), -1, id="negative"
        ),
        pytest.param(lambda o, t: F.multi_margin_loss(o, t), 0, id="margin"),
        pytest.param(lambda o, t: F.cross_entropy(o, t) ** 2, 0, id="square"),
        pytest.param(lambda o, t: o.nothing, 0, id="raises"),
    ],
)
def test_behaviour(loss: Any, sign: int) -> None:
    """Forms of softmax cross-entropy are known by ln C at zero and blindness to a shift."""
    assert sign_of(loss, LOGITS, LABELS) == sign


def test_padding() -> None:
    """A step's number is recognised where the loss leaves a label out."""
    kept = LABELS != 0
    value = float(F.cross_entropy(LOGITS[kept], LABELS[kept]))
    family = told_family(None, value, LOGITS, LABELS)
    assert setting(family.reference, "ignore_index", -100) == 0
    assert told_family(None, value + 0.1, LOGITS, LABELS) is None


def test_settings() -> None:
    """Settings are read from modules and partials, and None stands for none."""
    assert setting(nn.HuberLoss(delta=3.0), "delta", 1.0) == 3.0
    assert setting(nn.CrossEntropyLoss(), "weight", "none") == "none"
    assert weighs_classes(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])))
    assert not weighs_classes(nn.BCEWithLogitsLoss(pos_weight=torch.ones(1)))
    assert not weighs_classes(F.cross_entropy)


def test_spread_of_logits() -> None:
    """Logits of deviation 2 around any row mean: known deviation and known excess, ln C subtracted."""
    rows = 2 * torch.randn(4000, 10, generator=generator(3)) + 100 * torch.randn(4000, 1)
    labels = torch.arange(4000) % 10
    seen = spread_of(FAMILIES[0], [(rows, labels)])
    assert seen.std == pytest.approx(2.0, rel=0.03)
    assert seen.explained == pytest.approx(float(F.cross_entropy(rows, labels)) - math.log(10), abs=0.1)
    normal = spread_of(FAMILIES[1], [(rows.log_softmax(1), labels)])
    assert normal.exponential_sum == pytest.approx(1.0, abs=1e-5)


def test_the_last_layer() -> None:
    """The last layer to run is named as it is written, unless the output has another size."""
    model = mlp()
    with watched(model) as layer:
        output = model(torch.zeros(2, 4))
    assert layer.of(output) == "2"
    assert layer.of(output[:, :1]) is None
    assert not any(module._forward_hooks for module in model.modules())


def sample_of(loss: Any, *tensors: Tensor, outputs: int = 1) -> Sample:
    """A sample of a perceptron with dropout and batch normalisation."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, outputs))

    data = TensorDataset(*tensors)
    program = program_of(lrtune.Task(model=make, train=data, loss=loss))
    train = batches_of(data, 8)
    return Sample(program, train, list(train.in_order()), 0)


INPUTS = torch.randn(32, 4, generator=generator(4))


@pytest.mark.parametrize("probe", [target_scale, target_sameness, label_counts, broadcast_target])
@pytest.mark.parametrize("labelled", [False, True])
def test_probes_leave_everything_as_found(probe: Any, labelled: bool) -> None:
    """Models, modes, gradients, batches and the three global generators are bit for bit as before."""
    target = torch.arange(32) % 3 if labelled else INPUTS[:, 0]
    loss = (lambda o, t: F.cross_entropy(o, t)) if labelled else squared
    sample = sample_of(loss, INPUTS.clone(), target.clone(), outputs=3 if labelled else 1)
    states = [{k: v.clone() for k, v in one.state_dict().items()} for one in (sample.model, sample.awake)]
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    probe(sample)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert (before[2] == np.random.get_state()[1]).all()
    for model, state in zip((sample.model, sample.awake), states, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert model.training
        assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.cat([x for x, _ in sample.batches]), INPUTS)
    assert torch.equal(torch.cat([y for _, y in sample.batches]), target)


def test_scale() -> None:
    """Mean and deviation of each column that varies."""
    target = torch.stack([INPUTS[:, 0] * 3 + 7, torch.ones(32), INPUTS[:, 1]], 1)
    columns = target_scale(sample_of(F.mse_loss, INPUTS, target, outputs=3))
    assert [column.index for column in columns] == [0, 2]
    assert columns[0].mean == pytest.approx(float(target[:, 0].mean()), rel=1e-5)
    assert columns[0].std == pytest.approx(float(target[:, 0].std()), rel=1e-5)


def test_counts() -> None:
    """Labels are counted over all batches; sequences and numbers are not."""
    seen = label_counts(sample_of(F.cross_entropy, INPUTS, torch.arange(32) % 3, outputs=3))
    assert seen.counts == {0: 11, 1: 11, 2: 10}
    assert label_counts(sample_of(F.mse_loss, INPUTS, INPUTS[:, :1])) is None


def test_sameness() -> None:
    """Targets that are alike in every batch, and ones of which one differs."""
    alike = torch.ones(32, 1)
    assert target_sameness(sample_of(F.mse_loss, INPUTS, alike)).alike
    alike[-1] = 2
    assert not target_sameness(sample_of(F.mse_loss, INPUTS, alike)).alike


@pytest.mark.parametrize(
    ("output", "target", "lone"),
    [
        pytest.param((8, 1), torch.ones(8, 1), True, id="shares"),
        pytest.param((8, 1), LABELS % 2, True, id="labels"),
        pytest.param((8, 1), (LABELS % 2)[:, None], True, id="labels of two dimensions"),
        pytest.param((8, 1, 5), torch.zeros(8, 5).long(), True, id="a map"),
        pytest.param((8, 2), LABELS % 2, False, id="two classes"),
        pytest.param((8, 2, 1), (LABELS % 2)[:, None], False, id="a map of one place"),
    ],
)
def test_a_softmax_over_one_output(output: tuple[int, ...], target: Tensor, lone: bool) -> None:
    """Cross-entropy of a single class fits in shape and says nothing."""
    found = misfit(FAMILIES[0], torch.zeros(output), target)
    assert (found is not None and found.one_class) == lone
    assert lone or found is None
