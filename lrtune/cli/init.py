"""`lrtune init`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from lrtune.errors import UsageError

_STARTER = ("lrtune_task.py", "lrtune.yaml")


def command(
    folder: Annotated[str, typer.Argument(help="Where to write them.")] = ".",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> int:
    """Write a starter task and config."""
    target = Path(folder)
    taken = [str(target / name) for name in _STARTER if (target / name).exists()]
    if taken and not force:
        exist = "exist" if len(taken) > 1 else "exists"
        raise UsageError(f"init: {' and '.join(taken)} {exist} already; --force overwrites")
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in _STARTER:
            text = files("lrtune.cli").joinpath("starter", f"{name}.txt").read_text(encoding="utf-8")
            (target / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"init: cannot write to {folder}: {error.strerror}") from None
    config = target / _STARTER[1]
    typer.echo(f"wrote {target / _STARTER[0]} and {config}\nnext: lrtune run {config}")
    return 0
