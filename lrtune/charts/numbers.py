"""Numbers as people read them, in Python and in Vega's expressions: one rule, so that both say the same."""

from __future__ import annotations

import math

MISSING = "–"
_PLAIN_FROM = 1e-2  # below, zeros are harder to count than an exponent is to read
_PLAIN_TO = 1e5


def number(value: object, digits: int = 3, trim: bool = True) -> str:
    """Return `value` as a short text with `digits` significant digits, without zeros at the end if `trim`.

    >>> [number(x) for x in (0.01, 0.0032, 1e-05, 0, 12345, 2.302585, None)]
    ['0.01', '3.2e-3', '1e-5', '0', '12,345', '2.3', '–']
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return MISSING if value is None else str(value)
    if not math.isfinite(value):
        return MISSING
    if isinstance(value, int) or value == 0:
        return f"{value:,.0f}"
    if _PLAIN_FROM <= abs(rounded(value, digits)) < _PLAIN_TO:
        return _stripped(_plain(value, digits)) if trim else _plain(value, digits)
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{_stripped(mantissa) if trim else mantissa}e{int(exponent)}"


def rounded(value: float, digits: int = 4) -> float:
    """Return `value` to `digits` significant digits: what a picture can show, at a third of the bytes."""
    return float(f"{value:.{digits}g}")


def finite(value: object) -> float | None:
    """Return a number that can be drawn, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _plain(value: float, digits: int) -> str:
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded(value, digits)))))
    return f"{value:,.{decimals}f}"


def _stripped(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def vega_number(value: str = "datum.value", digits: int = 3) -> str:
    """Return the Vega expression that writes the expression `value` as `number` does."""
    exponent = f"replace(format({value}, '.{digits - 1}~e'), '+', '')"
    plain = f"format({value}, ',.{digits}~r')"
    return (
        f"{value} == 0 ? '0' : abs({value}) >= {_PLAIN_FROM} && abs({value}) < {_PLAIN_TO:.0f} "
        f"? {plain} : {exponent}"
    )
