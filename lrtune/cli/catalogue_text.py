"""The catalogue of findings as text: what `lrtune explain` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lrtune.cli.blocks import INDENT
from lrtune.cli.text import COLOURS, printed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.checks.catalogue import Entry

_CODES = 27  # columns of the terminal for a code


def print_catalogue(entries: Mapping[str, Entry]) -> None:
    """Print every code with its title, by step."""
    with printed() as console:
        step = ""
        for entry in entries.values():
            if entry.step != step:
                step = entry.step
                console.print(Text(step, style="bold"))
            colour = COLOURS[entry.severity]
            row = Table.grid(padding=(0, 1))  # a title that is long goes on below itself
            row.add_column(width=_CODES, no_wrap=True)
            row.add_column()
            row.add_row(Text(entry.code, style=colour), Text(entry.title))
            console.print(Padding(row, INDENT, expand=False))
        console.print(Text("\nlrtune explain CODE tells what one means and how to fix it.", style="dim"))


def print_entry(entry: Entry) -> None:
    """Print all that the catalogue says of a code."""
    with printed() as console:
        console.print(
            Text.assemble(
                (entry.code, "bold"), "  ", (entry.severity, COLOURS[entry.severity]), f"  {entry.step}"
            )
        )
        console.print(Text(entry.title))
        parts = {
            "Why it matters": entry.why,
            "How it is measured": entry.measured,
            "When it is reported": entry.threshold,
            "Source": entry.source,
            "Likely causes": "\n".join(f"- {cause}" for cause in entry.causes),
            "What may follow from it": ", ".join(entry.explains),
            "Fix": entry.fix,
            "In code": entry.code_line,
            "False alarm": entry.false_alarm,
        }
        for name, text in parts.items():
            if text and text != "-":
                console.print(Text(f"\n{name}", style="bold"))
                console.print(Padding(Text(text), INDENT, expand=False))
