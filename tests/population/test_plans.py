from __future__ import annotations

import json
from typing import Any

import pytest

from lrtune.population.plans import Plan, as_values, from_values, key_of, trusted_orders

PLANS = {
    key_of(4, several=False): Plan("serial", False, "so"),
    key_of(9, several=False): Plan("fused", True, "fast"),
    key_of(9, several=True): Plan("sharded", True, "faster", 4, "fused"),
    key_of(2, several=False): Plan("serial", False, "channels last", channels_last=True),
}


def test_kept_as_plain_values() -> None:
    """Plans come back from JSON as they were."""
    assert from_values(json.loads(json.dumps(as_values(PLANS)))) == PLANS


def test_of_before_there_were_workers() -> None:
    """What a version without workers has written is read."""
    old = {"9": {"execution": "fused", "traced": True, "reason": "measured 3 times as fast"}}
    assert from_values(old) == {"9": Plan("fused", True, "measured 3 times as fast")}


@pytest.mark.parametrize(
    "values",
    [
        {"execution": "warped", "traced": True, "reason": ""},
        {"execution": "fused", "traced": True, "reason": "", "warp": 9},
        {"execution": "fused", "traced": "yes", "reason": ""},
        {"execution": "sharded", "traced": False, "reason": "", "workers": 0},
        {"execution": "sharded", "traced": False, "reason": "", "workers": "2"},
        {"execution": "sharded", "traced": False, "reason": "", "nested": "sharded"},
        {"execution": "serial", "traced": False, "reason": "", "channels_last": 1},
        {"execution": "fused"},
        ["fused"],
        None,
    ],
    ids=str,
)
def test_of_another_version(values: Any) -> None:
    """What cannot be understood is left out; the rest is read."""
    known = {"3": values, "4": {"execution": "serial", "traced": False, "reason": "so"}}
    assert from_values(known) == {"4": Plan("serial", False, "so")}


def test_trust() -> None:
    """A plan with a fused program says that the preflight has passed for its kind of orders."""
    assert trusted_orders({}) == set()
    assert trusted_orders({"4": PLANS["4"]}) == set()
    assert trusted_orders({"9": PLANS["9"]}) == {False}
    assert trusted_orders(PLANS) == {False, True}
