from __future__ import annotations

from typing import Any

import pytest
import torch

from lrtune.probes.data.examples import joined, not_finite

NAN, INF = torch.nan, torch.inf


@pytest.mark.parametrize(
    ("parts", "values", "examples", "of_examples"),
    [
        pytest.param([torch.zeros(3, 2)], 0, 0, 3, id="finite"),
        pytest.param(
            [torch.tensor([[NAN, INF], [0, 1]]), torch.zeros(3, 2)], 2, 1, 5, id="two in one example"
        ),
        pytest.param([(torch.tensor([NAN, 0]), torch.tensor([NAN, INF]))], 3, 2, 2, id="two tensors"),
        pytest.param([torch.tensor([1, 2])], 0, 0, 2, id="integers"),
        pytest.param([{"x": torch.tensor([NAN]), "y": torch.tensor([1])}], 1, 1, 1, id="dict"),
        pytest.param([(torch.zeros(4, 2), torch.tensor(NAN))], 1, 1, 4, id="scalar"),
        pytest.param([torch.tensor([complex(NAN, 0)])], 1, 1, 1, id="complex"),
        pytest.param([torch.zeros(0, 2)], 0, 0, 0, id="empty"),
    ],
)
def test_not_finite(parts: list[Any], values: int, examples: int, of_examples: int) -> None:
    """Values and examples that are NaN or infinite are counted over all tensors of all batches."""
    seen = not_finite(parts)
    assert (seen.values, seen.examples, seen.of_examples) == (values, examples, of_examples)


def test_joined() -> None:
    """Batches join along the first dimension where the others agree."""
    assert joined([torch.zeros(2, 3), torch.ones(1, 3)]).shape == (3, 3)
    assert joined([torch.zeros(2, 3), torch.ones(1, 4)]) is None
    assert joined([torch.tensor(1.0)]) is None
    assert joined([]) is None
