from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from lrtune.checks.class_weights import (
    padding_counts,
    weights_inverted,
    weights_misplaced,
    weights_overdone,
)
from lrtune.probes.data.token_padding import CountedPadding
from lrtune.probes.losses.class_weighing import Weighing

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = {0: 600.0, 1: 300.0, 2: 80.0, 3: 20.0}
RULES = weights_inverted, weights_misplaced, weights_overdone


def weighing(weight: Callable[[float], float], counts: dict[int, float] = COUNTS) -> list[Weighing]:
    """Classes whose weights follow their counts."""
    return [Weighing(counts, {label: weight(count) for label, count in counts.items()})]


@pytest.mark.parametrize(
    "weight",
    [
        pytest.param(lambda n: 1 / n, id="inverse"),
        pytest.param(lambda n: n**-0.5, id="inverse root"),
        pytest.param(lambda n: (1 - 0.999) / (1 - 0.999**n), id="effective number"),
        pytest.param(lambda n: 1 / math.log(1.02 + n / 1000), id="ENet"),
        pytest.param(lambda n: 1.0, id="equal"),
        pytest.param(lambda n: 2.0 if n < 100 else 1.0, id="a factor of its own"),
    ],
)
def test_usual_weights(weight: Callable[[float], float]) -> None:
    """The known schemes, and none, are no fault."""
    for counts in (COUNTS, {0: 900.0, 1: 100.0}):
        assert [rule(weighing(weight, counts)) for rule in RULES] == [None] * 3


def test_weights_that_go_with_the_counts() -> None:
    """Weights that are the classes' shares are told, of two classes as of four."""
    for counts in (COUNTS, {0: 900.0, 1: 100.0}, {0: 300.0, 1: 700.0}):
        assert weights_inverted(weighing(lambda n: n, counts)) is not None
    assert weights_inverted(weighing(lambda n: n, {0: 55.0, 1: 45.0})) is None


def test_weights_in_another_order() -> None:
    """The right weights at the wrong classes are told."""
    wrong = [Weighing(COUNTS, {0: 1 / 20, 1: 1 / 600, 2: 1 / 300, 3: 1 / 80})]
    found = weights_misplaced(wrong)
    assert found is not None
    assert "class 0 has the weight that fits class 3" in found.message


def test_columns_in_another_order() -> None:
    """Each column's pos_weight is compared with the other columns'."""
    shares = (0.5, 0.3, 0.1, 0.05)
    for places, told in (((0, 1, 2, 3), False), ((3, 2, 1, 0), True)):
        groups = [
            Weighing(
                {0: 1000 * (1 - share), 1: 1000 * share}, {0: 1.0, 1: (1 - shares[at]) / shares[at]}, column
            )
            for column, (share, at) in enumerate(zip(shares, places, strict=True))
        ]
        assert (weights_misplaced(groups) is not None) == told


@pytest.mark.parametrize(("weight", "told"), [(9.0, False), (50.0, False), (300.0, True)])
def test_weights_far_from_the_counts(weight: float, told: bool) -> None:
    """A rare class may be made dearer than the others, but not many times."""
    groups = [Weighing({0: 900.0, 1: 100.0}, {0: 1.0, 1: weight})]
    assert (weights_overdone(groups) is not None) == told


def test_few_labels_prove_nothing() -> None:
    """Two labels of a rare class do not say how rare it is."""
    groups = [Weighing({0: 30.0, 1: 2.0}, {0: 1.0, 1: 400.0})]
    assert weights_overdone(groups) is None


@pytest.mark.parametrize(("share", "told"), [(0.0, False), (0.17, False), (0.44, True)])
def test_padding(share: float, told: bool) -> None:
    """Only padding that makes much of the loss is told."""
    assert (padding_counts(CountedPadding(0, 0, share, 8)) is not None) == told
    assert padding_counts(None) is None
