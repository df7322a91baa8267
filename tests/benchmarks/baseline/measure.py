"""Measure how far what a baseline holds moves when nothing but the seed does.

A change that merely shifts noise (another order of layers, one more random number drawn) does to a training what
another seed does. Each program is run with several seeds; `table.py` prints how far apart two of them lie.

Run `python tests/benchmarks/baseline/measure.py --set set --out FILE`; it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
for place in (HERE.parents[1], ROOT):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    import lrtune

Program = tuple[str, "Callable[[], lrtune.Task]", dict[str, Any]]
SMALL = ("blob_task", "linear_task", "language_task")
EXAMPLES = ("digits-mlp", "digits-cnn", "diabetes", "char-transformer")
SETS = ("set", "held_out")


def programs(name: str) -> list[Program]:
    """Return the programs of a set: thresholds come from `set`, and `held_out` had no say in them."""
    if name == "held_out":
        folder = HERE.parent / "learning_rate" / "held_out"
        found = [
            importlib.import_module(f"benchmarks.learning_rate.held_out.{path.stem}").CASE
            for path in sorted(folder.glob("[a-z]*.py"))
        ]
        return [(case.name, case.task, dict(case.config)) for case in found]
    import programs as small

    from lrtune.config_file import load_config
    from lrtune.task_file import load_task

    rows: list[Program] = []
    for example in EXAMPLES:
        config = load_config(ROOT / "configs" / f"{example}.yaml")
        keys = {
            key: value for key, value in config.model_dump(exclude_unset=True).items() if key != "run_dir"
        }
        keys.pop("seed", None)
        place, args = str(config.task), config.args
        rows.append(
            (example, lambda place=place, args=args: load_task(place, args, str(ROOT / "configs")), keys)
        )
    rows += [(task, getattr(small, task), {"batch_size": 16}) for task in SMALL]
    return rows


def measured(task: lrtune.Task, keys: dict[str, Any], seed: int, coarse: bool) -> dict[str, Any]:
    """Return what a baseline would hold, of one program with one seed."""
    import lrtune

    config = lrtune.Config(**{**keys, "seed": seed, "device": "cpu"})
    steps = [lrtune.check_init, lrtune.overfit, lrtune.find_lr, *([lrtune.coarse_grid] if coarse else [])]
    row: dict[str, Any] = {}
    for step in steps:
        started = time.perf_counter()
        result = step(task, config)
        summary = {key: value for key, value in result.summary.items() if key != "trials"}
        row[result.step] = {
            "seconds": round(time.perf_counter() - started, 2),
            "verdict": result.verdict,
            "codes": [finding.code for finding in result.findings],
            "summary": summary,
            "batch_losses": result.details.get("batch_losses"),
        }
    return row


def main() -> None:
    """Append a line a program and seed to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=SETS, default="set")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--coarse", action="store_true", help="The coarse grid, too.")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = options.out.read_text(encoding="utf-8").splitlines() if options.out.exists() else []
    known = {(row["program"], row["seed"]) for row in map(json.loads, lines)}
    tasks = [(name, make(), keys) for name, make, keys in programs(options.set)]
    for seed in range(options.seeds):
        for name, task, keys in tasks:
            if (name, seed) in known:
                continue
            row = {"program": name, "seed": seed, **measured(task, keys, seed, options.coarse)}
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
