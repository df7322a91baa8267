from __future__ import annotations

import math

import pytest
import vl_convert

from lrtune.charts.numbers import number, rounded, vega_number

CASES = {
    "plain": (0.01, "0.01"),
    "small": (0.0032, "3.2e-3"),
    "tiny": (1e-5, "1e-5"),
    "zero": (0.0, "0"),
    "one": (1.0, "1"),
    "rounds-up-to-plain": (0.0099999, "0.01"),
    "thousands": (12345.0, "12,345"),
    "huge": (3.2e7, "3.2e7"),
    "negative": (-0.25, "-0.25"),
    "digits": (2.302585, "2.3"),
}


@pytest.mark.parametrize(("value", "text"), CASES.values(), ids=CASES)
def test_number(value: float, text: str) -> None:
    """A number is written with three significant digits and no needless zeros."""
    assert number(value) == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf], ids=str)
def test_number_missing(value: float | None) -> None:
    """What is not finite is a dash, never `nan`."""
    assert number(value) == "–"


def test_number_keeps_zeros() -> None:
    """In a column the digits can be kept, so that numbers line up."""
    assert number(0.959, 4, trim=False) == "0.9590"


def test_counts_are_whole() -> None:
    """An integer is a count and keeps all its digits."""
    assert number(109386) == "109,386"


def test_rounded() -> None:
    """Stored values keep four significant digits."""
    assert rounded(0.123456) == 0.1235


@pytest.mark.parametrize("value", [0.01, 0.0032, 1e-5, 0, 2.3, 250, 3.2e7], ids=str)
def test_vega_says_the_same(value: float) -> None:
    """Axis labels, written by Vega, read as the texts written by Python."""
    spec = {
        "data": {"values": [{"v": value}]},
        "transform": [{"calculate": vega_number("datum.v"), "as": "shown"}],
        "mark": "text",
        "encoding": {"text": {"field": "shown"}},
    }
    assert f">{number(value)}<" in vl_convert.vegalite_to_svg(spec)
