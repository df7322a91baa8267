"""The command line: one file a command. The only place that imports typer and rich.

Nothing here imports torch until a command has been chosen and its arguments parsed.
"""

from __future__ import annotations

import io
import os
import sys


def main() -> int:
    """Run `lrtune`; return its exit code."""
    # OpenMP reads it when torch is imported. Its threads spin 300,000 rounds before they sleep, which starves small
    # models as soon as other processes want the cores; sleeping at once costs as much where nobody does. Measured on
    # 2 cores: the recipe on the digits example alone 15.1 s by default, 29.3 s without spinning, 15.9 s at 10,000
    # rounds (a run each); a part of its grid beside two busy processes 11.8, 1.7 and 1.9 s.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no ± shall show ?, not a traceback
            stream.reconfigure(errors="replace")

    from lrtune.cli.clock import start

    start()
    from lrtune.cli.app import run_app

    return run_app()
