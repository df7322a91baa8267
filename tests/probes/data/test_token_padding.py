from __future__ import annotations

import pytest
import torch
from programs import generator

from lrtune.probes.data.token_padding import counted_padding
from lrtune.probes.losses.weight_reading import Reading

LENGTHS = torch.arange(3, 11)[:, None]
TEXT = torch.randint(1, 9, (8, 12), generator=generator(0))
PADDED = torch.where(torch.arange(12) < LENGTHS, TEXT, 0)


def reading(target: torch.Tensor, counted: torch.Tensor | None = None) -> Reading:
    """What a loss says that counts all labels, or the given ones."""
    weights = torch.ones(target.shape) if counted is None else counted.float()
    return Reading(weights.flatten(), target.flatten(), 9)


def test_padding_that_counts() -> None:
    """The share of the weights that lies on the padding is told, for tags as for the next word."""
    tags = PADDED % 3
    seen = counted_padding({"x": PADDED}, tags, reading(tags))
    assert seen is not None
    assert (seen.token, seen.label, seen.rows) == (0, 0, 8)
    assert seen.share == pytest.approx(float((PADDED == 0).float().mean()))
    following = PADDED[:, 1:]
    seen = counted_padding({"text": PADDED}, following, reading(following))
    assert seen is not None
    assert seen.share == pytest.approx(float((following == 0).float().mean()))


def test_padding_that_is_left_out() -> None:
    """It has no share."""
    seen = counted_padding([PADDED, PADDED % 3], PADDED % 3, reading(PADDED % 3, PADDED > 0))
    assert seen is None or seen.share == 0


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param(TEXT, id="full rows"),
        pytest.param(torch.where(torch.arange(12) < 7, TEXT, 0), id="all of one length"),
        pytest.param(torch.where(torch.arange(12) < LENGTHS, TEXT % 4, 0), id="a token of the text"),
        pytest.param(PADDED.float(), id="real numbers"),
        pytest.param(PADDED.flip(1), id="at the beginning"),
    ],
)
def test_no_evident_padding(tokens: torch.Tensor) -> None:
    """Nothing is claimed where rows may end alike for another reason."""
    target = tokens.long() % 3
    assert counted_padding([tokens], target, reading(target)) is None
