"""`lrtune explain [CODE]`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lrtune.errors import UsageError, did_you_mean
from lrtune.results import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.checks.catalogue import Entry


def command(
    code: Annotated[str | None, typer.Argument(help="A finding's code; all of them when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> int:
    """What a finding means and how to fix it."""
    from lrtune.checks.catalogue import catalogue
    from lrtune.cli.catalogue_text import print_catalogue, print_entry

    entries = catalogue()
    if code is not None and code not in entries:
        raise UsageError(
            f"explain: no finding '{code}'{did_you_mean(code, entries)} (`lrtune explain` lists them all)"
        )
    if as_json:
        print(_as_json(entries, code))
    elif code is None:
        print_catalogue(entries)
    else:
        print_entry(entries[code])
    return 0


def _as_json(entries: Mapping[str, Entry], code: str | None) -> str:
    told = asdict(entries[code]) if code else {"codes": [asdict(entry) for entry in entries.values()]}
    return json.dumps({"schema": SCHEMA, **told}, indent=2)
