"""Judge each seed of a measurement against a baseline of three others, as `lrtune check --baseline` would.

Run `python tests/benchmarks/baseline/table.py FILE ...` on what `measure.py` wrote. Nothing has changed but the seed:
every regression is a false alarm. `recorded/` holds what was measured on two CPU cores for the README's figures, of
each step no more than a baseline compares: `set` 7 programs with 12 seeds, `held_out` 12 with 8.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from lrtune.baseline import Baseline, over_seeds  # noqa: E402 - needs the path above
from lrtune.results import StepResult  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STEPS = ("check-init", "overfit", "find-lr", "coarse-grid")


def results(row: dict[str, Any]) -> list[StepResult]:
    """Return the steps' results of one program and seed; one that failed in itself is left out."""
    spacing = 1e8 ** (1 / 99)  # of the default sweep
    details = {"learning_rates": [1.0, spacing]}
    grid = {"initial_loss": row["check-init"]["summary"]["initial_loss"]}
    return [
        StepResult(step, [], row[step]["summary"], details=grid if step == "coarse-grid" else details)
        for step in STEPS
        if step in row
        and row[step]["verdict"] != "fail"
        and (step != "coarse-grid" or row[step]["summary"]["best"])
    ]


def false_alarms(rows: Sequence[dict[str, Any]]) -> tuple[int, Counter[str]]:
    """Return how many comparisons were made, and how many of them report each regression."""
    alarms: Counter[str] = Counter()
    count = 0
    for chosen in combinations(range(len(rows)), 3):
        values = over_seeds([results(rows[index]) for index in chosen])
        baseline = Baseline(values, same_machine=False, place="")
        for index in set(range(len(rows))) - set(chosen):
            count += 1
            found = (baseline.compared(result).findings for result in results(rows[index]))
            codes = {one.code for findings in found for one in findings if one.severity == "error"}
            alarms.update(codes or [])
            alarms["any"] += bool(codes)
    return count, alarms


def main(files: Iterable[str]) -> None:
    """Print a Markdown table, a row a program."""
    print("| program | seeds | comparisons | false alarms | of these |\n|---|---|---|---|---|")
    for file in files:
        programs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in Path(file).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            programs[row["program"]].append(row)
        for name, rows in programs.items():
            count, alarms = false_alarms(rows)
            which = ", ".join(f"{code} {number}" for code, number in alarms.most_common() if code != "any")
            print(
                f"| {name} | {len(rows)} | {count} | {alarms['any']} ({alarms['any'] / count:.1%}) | {which} |"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
