from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from lrtune.population.sharded.parcel import packed, unpacked
from lrtune.population.sharded.refusal import CannotShardError

TENSORS = {
    "floats": torch.arange(6.0).reshape(2, 3),
    "half": torch.arange(6).bfloat16(),
    "whole numbers": torch.arange(5),
    "truth values": torch.tensor([True, False]),
    "one number": torch.tensor(3.5),
    "nothing": torch.zeros(0, 4),
    "complex": torch.tensor([1 + 2j, 3j]),
    "part of a larger one": torch.arange(1000.0).reshape(10, 100)[:, 3:5],
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "channels last": torch.arange(48.0).reshape(2, 3, 2, 4).contiguous(memory_format=torch.channels_last),
    "sparse": torch.eye(3).to_sparse(),
    "with a gradient": torch.ones(2, requires_grad=True),
}


def sent(value: Any, **known: Any) -> Any:
    """The value after the journey."""
    parcel = packed(value, known)
    try:
        return unpacked(parcel, known)
    finally:
        parcel.close()


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_tensors(tensor: Tensor) -> None:
    """Values, type, shape and order in memory arrive."""
    again = sent({"one": [tensor]})["one"][0]
    assert (again.dtype, again.shape, again.layout) == (tensor.dtype, tensor.shape, tensor.layout)
    assert torch.equal(again.to_dense(), tensor.to_dense())
    if tensor.layout is torch.strided and tensor.shape != (10, 2):  # a part of a larger one is packed densely
        assert again.stride() == tensor.stride()


def test_a_tensor_twice_is_one_tensor() -> None:
    """What was the same object in two places is so afterwards."""
    tensor = torch.ones(3)
    one, other = sent((tensor, tensor))
    assert one is other


def test_a_part_is_sent_without_the_rest() -> None:
    """Of a view on a large tensor only the view is sent."""
    large = torch.zeros(1_000_000)
    parcel = packed(large[:10], {})
    assert os.fstat(parcel.memory).st_size < 1000
    parcel.close()


def test_written_to_in_private() -> None:
    """Whoever changes what arrived changes it for himself."""
    parcel = packed(torch.zeros(4), {})
    one, other = unpacked(parcel, {}), unpacked(parcel, {})
    parcel.close()
    one += 1
    assert (one.tolist(), other.tolist()) == ([1.0] * 4, [0.0] * 4)


def test_what_is_known_is_not_sent() -> None:
    """An object of the table arrives as itself, also deep inside, and though nothing could pickle it."""
    generator = (part for part in ())
    assert sent({"a": (1, generator)}, handle=generator)["a"][1] is generator


def test_functions_without_a_name() -> None:
    """A closure, its defaults and what it closes over arrive, and see their module's names."""

    def scaled(factor: float) -> Any:
        return lambda value, plus=1.0, *, times=2: times * factor * value + plus + len(TENSORS)

    again = sent(partial(scaled(3.0), times=10))
    assert again(2.0) == 61.0 + len(TENSORS)
    assert sent(torch.relu) is torch.relu


def test_what_cannot_be_pickled() -> None:
    """The refusal names it."""
    with pytest.raises(CannotShardError, match=r"cannot be sent to another process: .*generator"):
        packed([(part for part in ())], {})
