from __future__ import annotations

import pytest
import torch
from programs import context_of, generator, mlp
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.checks.leakage import target_in_columns
from lrtune.probes.data.leakage import leak
from lrtune.probes.sample import Sample

X = torch.randn(128, 5, generator=generator(0))
BROKEN = (torch.rand(128, generator=generator(1)) < 0.3).long()
COST = 2 + torch.rand(128, generator=generator(2))


def told(column: Tensor, labels: Tensor = BROKEN) -> str | None:
    """What is said of a table with one column more."""
    data = TensorDataset(torch.cat([X, column[:, None]], dim=1), labels)
    context = context_of(lrtune.Task(model=lambda: mlp(6, 3), train=data, loss=F.cross_entropy))
    seen = leak(Sample(context.program, context.data.train, context.data.train.head(2, 0), 0))
    found = None if seen is None else target_in_columns(seen)
    return None if found is None else found.message


def test_a_number_that_marks_a_class() -> None:
    """What is zero for one class alone was measured afterwards; offset and scale do not hide it."""
    for column in (BROKEN * COST, 5 - 3 * BROKEN * COST):
        message = told(column)
        assert message is not None
        assert "column 5" in message
        assert "for one class and for no other" in message


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(BROKEN + 0.1 * COST, id="classes that one column tells apart"),
        pytest.param(torch.where(torch.arange(128) == 5, 0.0, BROKEN * COST), id="one exception"),
        pytest.param((torch.arange(128) % 2) * COST, id="zeros of both classes"),
        pytest.param(torch.zeros(128), id="a constant"),
    ],
)
def test_what_marks_nothing(column: Tensor) -> None:
    """A good feature is no leak, and neither are zeros that both classes have."""
    if column[5] == 0 and BROKEN[5] == 0:
        column = column.clone()
        column[5] = 1.0
    assert told(column) is None
