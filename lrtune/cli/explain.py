"""`lrtune explain [CODE]`."""

from __future__ import annotations

from typing import Annotated

import typer

from lrtune.errors import UsageError, did_you_mean


def command(
    code: Annotated[str | None, typer.Argument(help="A finding's code; all of them when left out.")] = None,
) -> int:
    """What a finding means and how to fix it."""
    from lrtune.checks.catalogue import catalogue
    from lrtune.cli.catalogue_text import print_catalogue, print_entry

    entries = catalogue()
    if code is None:
        print_catalogue(entries)
    elif code in entries:
        print_entry(entries[code])
    else:
        raise UsageError(
            f"explain: no finding '{code}'{did_you_mean(code, entries)} (`lrtune explain` lists them all)"
        )
    return 0
