"""The blocks that a step's text is put together from: numbers, pairs, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


INDENT = (0, 0, 0, 2)  # of all that stands below a step's headline


def terminal_width() -> int:
    """Return how many columns a block may take: those of the terminal (80 where there is none) without the indent."""
    return Console().width - INDENT[-1]


def number(value: Any, digits: int = 4) -> str:
    """Return a number in few digits, a dash for None.

    >>> [number(x) for x in (None, 12345, 0.123456)]
    ['-', '12,345', '0.1235']
    """
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def rate(value: Any) -> str:
    """Return a learning rate in two digits, without an exponent where it is large.

    >>> [rate(x) for x in (None, 3.21e-5, 0.05, 912.0)]
    ['-', '3.2e-05', '0.05', '910']
    """
    if value is None:
        return "-"
    short = f"{value:.2g}"
    return f"{float(short):,.0f}" if 100 <= value < 1e5 else short


def pairs(*rows: tuple[str, str]) -> Table:
    """Return names with their values, one a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table


def columns(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[str] = ()) -> Table:
    """Return a table without lines.

    Args:
        heads: What stands above each column.
        rows: Its texts.
        left: The columns of words; those of numbers stand at the right.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    words = set(left)
    for head in heads:
        table.add_column(head, justify="left" if head in words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
