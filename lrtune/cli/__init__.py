"""The command line: one file a command. The only place that imports typer and rich.

Nothing here imports torch until a command has been chosen and its arguments parsed.
"""

from __future__ import annotations

import io
import os
import sys


def main() -> int:
    """Run `lrtune`; return its exit code."""
    # OpenMP reads it when torch is imported. Its default, threads that spin while they wait, starves small models
    # as soon as another process wants a core: on 2 cores beside other work a grid of the digits example took 6 to
    # 17 s spinning and 0.95 s so (two runs each, alternating).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no ± shall show ?, not a traceback
            stream.reconfigure(errors="replace")

    from lrtune.cli.app import run_app

    return run_app()
