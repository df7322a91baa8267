"""Tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def print_rows(rows: Sequence[tuple[str, ...]], markdown: bool) -> None:
    """Print a table, header first, as Markdown or in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        if markdown:
            print("| " + " | ".join(row) + " |")
            if index == 0:
                print("|---" * len(row) + "|")
        else:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
