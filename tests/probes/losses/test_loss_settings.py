from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses.constant_outputs import class_constants
from lrtune.probes.losses.floors import squashed_floor
from lrtune.probes.losses.loss_family import FAMILIES, ignored_index
from lrtune.probes.losses.loss_settings import setting, weighs_classes

LABELS = torch.tensor([0, 0, 1, 2])


class Own:
    """A loss with attributes of its own, which may be named as torch's are."""

    def __init__(self, **named: Any) -> None:
        vars(self).update(named)

    def __call__(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(output, target)


@pytest.mark.parametrize(
    ("loss", "label"),
    [
        pytest.param(nn.CrossEntropyLoss(ignore_index=0), 0, id="torch's"),
        pytest.param(functools.partial(F.cross_entropy, ignore_index=2), 2, id="partial"),
        pytest.param(Own(ignore_index=torch.tensor(1)), 1, id="tensor"),
        pytest.param(Own(ignore_index=(0, 255)), -100, id="several"),
        pytest.param(Own(ignore_index="0"), -100, id="text"),
        pytest.param(Own(ignore_index=True), -100, id="switch"),
    ],
)
def test_the_label_that_is_left_out(loss: Any, label: int) -> None:
    """Only a whole number is a label, whatever a loss of the user's own keeps under that name."""
    assert ignored_index(loss) == label
    assert len(class_constants(3, LABELS, loss)) == 2


@pytest.mark.parametrize("smoothing", ["much", (0.1, 0.2), None, True])
def test_what_is_no_smoothing(smoothing: Any) -> None:
    """Other things under a name of torch's are not torch's setting."""
    assert setting(Own(label_smoothing=smoothing), "label_smoothing", 0.0) == 0


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        pytest.param(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 1.0])), True, id="a number a class"),
        pytest.param(nn.CrossEntropyLoss(weight=torch.ones(3)), False, id="one number for all classes"),
        pytest.param(nn.BCEWithLogitsLoss(pos_weight=torch.ones(2)), False, id="yes as much as no"),
        pytest.param(nn.BCEWithLogitsLoss(pos_weight=torch.tensor(9.0)), True, id="of yes"),
        pytest.param(Own(weight=torch.tensor([1.0, 2.0, 1.0])), True, id="own"),
        pytest.param(Own(weight=0.5), False, id="a number for all"),
        pytest.param(Own(weight=torch.tensor(0.5)), False, id="a tensor of one number for all"),
        pytest.param(Own(weight="balanced", pos_weight=None), False, id="text"),
    ],
)
def test_weights_of_classes(loss: Any, expected: bool) -> None:
    """A number by which the whole loss is multiplied does nothing for rare classes."""
    assert weighs_classes(loss) == expected


@pytest.mark.parametrize("output", [torch.randn(2, 3), torch.randn(2, 3, 4), torch.randn(2, 3, 4, 5)])
def test_the_one_hot_answer_lies_where_classes_do(output: torch.Tensor) -> None:
    """A perfect answer between 0 and 1 has the loss ln(1 + 2/e) for three classes, in any shape."""
    target = torch.zeros(2, *output.shape[2:], dtype=torch.int64)
    floor = squashed_floor(FAMILIES[0], F.cross_entropy, [(output, target)])
    assert floor == pytest.approx(float(torch.tensor(1 + 2 / torch.e).log()))
