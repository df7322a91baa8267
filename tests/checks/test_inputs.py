from __future__ import annotations

from dataclasses import replace

import pytest

from lrtune.checks.inputs import conflicting_labels, constant_input, input_not_normalised
from lrtune.checks.leakage import target_in_columns, target_in_tokens
from lrtune.checks.order import unshuffled_batches
from lrtune.probes.data.causality import Causality
from lrtune.probes.data.duplicates import Duplicates
from lrtune.probes.data.inputs import Columns, Inputs
from lrtune.probes.data.leakage import Leak
from lrtune.probes.data.order import Order
from lrtune.probes.data.tokens import Tokens

COLUMNS = Columns(
    "first", "Linear", 2, [0, 1], [1.6, 1.6], [0.0, 0.0], [1.0, 1.0], [6.0, 6.0], [0.01, 0.01], True
)
INPUTS = Inputs(100, False, None, None, COLUMNS, False)
ORDER = Order(40, 800, True, 0.9, 0.8, 8, 100.0)
LEAK = Leak(100, "numbers", [3], 0.0, False, 600.0)
CAUSALITY = Causality(0.0, 1.0, 0.3, 16, 5)
COPIES = Duplicates(100, 100, 100, True, 0.69, 0.69, 0.5, 0.5, 1e-6, 4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"size": [300.0, 1.6]}, "column 0: 300"),
        ({"mean": [0.0, 2000.0]}, "1: 2000 ± 1"),
        ({"mean": [0.0, 4.0], "deviation": [1.0, 0.3]}, None),
        ({"deviation": [1.0, 1e-3], "span": [6.0, 6e-3]}, "factor of 1e+03"),
        ({"deviation": [1.0, 1e-3]}, None),
        ({"deviation": [1.0, 1e-3], "span": [6.0, 6e-3], "most_common": [0.01, 0.6]}, None),
    ],
    ids=["healthy", "large", "far", "near", "unequal", "heavy tail", "rarely other than 0"],
)
def test_scales(changes: dict[str, list[float]], told: str | None) -> None:
    """Each of the three ways is told with its column; deviations alone, small means and sparse columns are not."""
    found = input_not_normalised(replace(INPUTS, columns=replace(COLUMNS, **changes)))
    assert (found is None) == (told is None)
    assert found is None or str(told) in found.message


def table(mean: list[float], deviation: float, total: int = 0, comparable: bool = True) -> Inputs:
    """A table whose columns vary alike around their means."""
    count = len(mean)
    size = [abs(one) + deviation for one in mean]
    spread, span = [deviation] * count, [6 * deviation] * count
    columns = Columns(
        "", "Linear", total or count, list(range(count)), size, mean, spread, span, [0.01] * count, comparable
    )
    return replace(INPUTS, columns=columns)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (table([0.0] * 10, 0.048), "deviations of 0.048 or less"),
        (table([0.0], 0.02), None),
        (table([0.0] * 768, 1 / 768**0.5), None),
        (table([0.0] * 512, 0.02), None),
        (table([0.01] * 100, 0.008), None),
        (table([0.0] * 10, 0.048, comparable=False), None),
        (replace(table([0.0] * 10, 0.048), pretrained=True), None),
        (table([0.0] * 10, 0.1), None),
        (table([1.0, -1.0] * 5, 0.02), "each row was standardised"),
        (table([-0.8], 0.004, comparable=False), "scaled down twice"),
        (table([0.8], 0.03, total=1), "hardly differ"),
        (table([0.5], 0.04, total=1), None),
        (table([0.3] * 5, 0.2), None),
    ],
    ids=[
        "columns of length 1",
        "a quiet signal",
        "unit vectors",
        "word vectors",
        "shares of a whole",
        "images",
        "pretrained",
        "a tenth",
        "rows standardised",
        "pixels divided twice",
        "nearly constant",
        "low contrast",
        "pixels",
    ],
)
def test_small_inputs(seen: Inputs, told: str | None) -> None:
    """Small columns are told where no row makes up for them, faint ones at any size."""
    found = input_not_normalised(seen)
    assert (found is None) == (told is None)
    assert found is None or str(told) in found.message


@pytest.mark.parametrize(
    ("tokens", "reported"),
    [
        (Tokens(1000, 0, 0.8, 4, 100), True),
        (Tokens(1000, 0, 0.8, 60, 100), False),
        (Tokens(1000, 0, 0.8, 2, 4), False),
        (Tokens(1000, 0, 0.3, 4, 100), False),
    ],
    ids=["unknown", "held notes", "bases", "few kinds"],
)
def test_one_token(tokens: Tokens, reported: bool) -> None:
    """One token must prevail, and most of a large vocabulary be missing."""
    assert (constant_input(replace(INPUTS, tokens=tokens)) is not None) == reported


@pytest.mark.parametrize(
    ("seen", "reported"),
    [
        (ORDER, True),
        (replace(ORDER, significance=3.0), False),
        (replace(ORDER, between_batches=0.3, between_stretches=0.02), False),
        (replace(ORDER, between_batches=1.0, between_stretches=0.02), True),
        (replace(ORDER, batches=10, between_batches=0.3, between_stretches=0.25), False),
    ],
    ids=["sorted", "by chance", "drawn classes", "pure batches", "drawn classes, few batches"],
)
def test_order(seen: Order, reported: bool) -> None:
    """Sorted or pure batches are reported; batches of drawn classes are not, however few there are."""
    assert (unshuffled_batches(seen) is not None) == reported


def test_leaks_need_evidence() -> None:
    """A perfect column counts when chance is excluded, a nearly perfect one never does."""
    assert target_in_columns(LEAK) is not None
    assert target_in_columns(replace(LEAK, bits=20.0)) is None
    assert target_in_columns(replace(LEAK, distance=1e-3)) is None


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({}, True),
        ({"ahead": 0.0}, False),
        ({"copied": True}, False),
        ({"following": 0.0, "same": 1.0, "ahead": 0.0}, True),
        ({"following": 0.0, "same": 1.0}, False),
        ({"following": 0.1, "same": 0.1}, False),
    ],
    ids=["sees ahead", "causal", "encoder beside", "not shifted", "autoencoder", "other labels"],
)
def test_tokens_ahead(changes: dict[str, float], reported: bool) -> None:
    """Seeing ahead is a leak of next tokens, reading from left to right one of the same tokens."""
    assert (target_in_tokens(replace(CAUSALITY, **changes)) is not None) == reported


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({}, True),
        ({"conflicting": 1}, False),
        ({"chance": 10.0}, True),
        ({"chance": 10.0, "ceiling": 0.8}, False),
        ({"classes": False, "ceiling": None, "floor": 0.5}, True),
        ({"classes": False, "ceiling": None, "floor": 0.05}, False),
        ({"classes": False, "ceiling": None, "columns": 1}, False),
    ],
    ids=["copies", "one pair", "useless", "categories", "noise", "little noise", "a curve"],
)
def test_conflicts(changes: dict[str, float], reported: bool) -> None:
    """Copies conflict at once; where equal inputs are common the labels must be half noise."""
    assert (conflicting_labels(replace(COPIES, **changes)) is not None) == reported
