"""Measure how often step 6 names what is wrong with a training curve, and how often it cries wolf.

Run `python tests/benchmarks/curves/run.py --half fresh`; `--help` lists the options.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
HALVES = ("tuning", "held_out", "fresh")

if str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))

from benchmarks.curves import fresh, held_out, tuning  # noqa: E402  (after the path is set)
from benchmarks.curves.case import Case  # noqa: E402

from lrtune.results import Curve, StepResult  # noqa: E402
from lrtune.steps.loss_curves import loss_curves  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lrtune.results import Finding


@dataclass(frozen=True)
class Outcome:
    """What was said of one curve.

    Attributes:
        half: It belongs to.
        origin: `synthetic` or `recorded`.
        case: The curve.
        findings: Of step 6.
    """

    half: str
    origin: str
    case: Case
    findings: tuple[Finding, ...]

    @property
    def codes(self) -> list[str]:
        """All codes, as a user reads them."""
        return [found.code for found in self.findings]

    @property
    def alarms(self) -> list[str]:
        """Codes of errors and warnings."""
        return [found.code for found in self.findings if found.severity != "info"]

    @property
    def ill(self) -> bool:
        """Whether something is wrong with the curve."""
        return bool(self.case.wanted) and self.case.wanted != ("converged",)

    @property
    def detected(self) -> bool:
        """Whether anything was found to be wrong."""
        return bool(self.alarms)

    @property
    def named(self) -> bool:
        """Whether a right code is among those said; of a healthy curve, whether no alarm was raised."""
        return bool(set(self.codes) & set(self.case.wanted)) if self.case.wanted else not self.alarms

    @property
    def named_first(self) -> bool:
        """Whether the first code said is a right one."""
        return self.codes[:1] != [] and self.codes[0] in self.case.wanted if self.case.wanted else self.named


def cases(half: str) -> Iterator[tuple[str, Case]]:
    """Yield origin and curve of every case of a half."""
    for case in {"tuning": tuning, "held_out": held_out, "fresh": fresh}[half].cases():
        yield "synthetic", case
    for kept in json.loads((HERE / "recorded" / f"{half}.json").read_text()):
        yield (
            "recorded",
            Case(kept["kind"], kept["name"], tuple(kept["wanted"]), curve_from(kept), kept["grid"]),
        )


def curve_from(kept: dict[str, list[float]]) -> Curve:
    """Return the curve of a recording."""
    epochs = len(kept["train_loss"]) - 1
    rows: list[dict[str, float | int | None]] = [
        {"epoch": epoch, "step": len(kept["loss"]) * epoch // epochs, "train_loss": loss}
        for epoch, loss in enumerate(kept["train_loss"])
    ]
    for row, loss in zip(rows, kept["val_loss"] or [], strict=False):
        row["val_loss"] = loss
    return Curve(kept["loss"], rows)


def judged(case: Case) -> tuple[Finding, ...]:
    """Return what step 6 says of a grid whose only trial has this curve."""
    last = case.curve.evaluations[-1]
    trial = {
        "lr": 0.1,
        "weight_decay": 0.0,
        "val_loss": last.get("val_loss"),
        "train_loss": last["train_loss"],
        "metrics": {},
        "steps": len(case.curve.loss),
        "state": "complete",
        "seed": 0,
        "curve": "best",
    }
    summary = {"best": trial, "trials": [trial]}
    result = StepResult(
        case.grid, summary=summary, details={"epochs": case.epochs}, curves={"best": case.curve}
    )
    return tuple(loss_curves({case.grid: result}).findings)


def table(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Return a row a kind, and one for all: curves, detected, named, named first, false alarms."""
    kinds = sorted({one.case.kind for one in outcomes})
    rows = [_row(kind, [one for one in outcomes if one.case.kind == kind]) for kind in kinds]
    return [*rows, _row("all", outcomes)]


def _row(name: str, mine: Sequence[Outcome]) -> tuple[str, ...]:
    ill = [one for one in mine if one.ill]
    well = [one for one in mine if not one.ill]
    asked = [one for one in mine if one.case.wanted]
    return (
        name,
        str(len(mine)),
        _share(sum(one.detected for one in ill), len(ill)),
        _share(sum(one.named for one in asked), len(asked)),
        _share(sum(one.named_first for one in asked), len(asked)),
        _share(sum(bool(one.alarms) for one in well), len(well)),
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "-"


HEAD = ("kind", "curves", "detected", "named", "named first", "false alarms")


def print_table(title: str, outcomes: Sequence[Outcome], markdown: bool) -> None:
    """Print the rows of some outcomes."""
    lines = [HEAD, *table(outcomes)]
    if markdown:
        lines.insert(1, ("---",) * len(HEAD))
        print(f"\n{title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
        return
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    print(f"\n== {title} ==")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=(*HALVES, "all"), default="all", help="which curves (default: all)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--misses", action="store_true", help="list every curve that was judged wrongly")
    options = parser.parse_args()
    for half in HALVES if options.half == "all" else (options.half,):
        outcomes = [Outcome(half, origin, case, judged(case)) for origin, case in cases(half)]
        for origin in ("synthetic", "recorded"):
            print_table(
                f"{half}, {origin}", [one for one in outcomes if one.origin == origin], options.markdown
            )
        print_table(half, outcomes, options.markdown)
        for one in outcomes if options.misses else []:
            if not one.named:
                wanted = " or ".join(one.case.wanted) or "no alarm"
                print(
                    f"  {one.origin} / {one.case.kind}: {one.case.name} / wanted {wanted} / said {one.codes}"
                )


if __name__ == "__main__":
    main()
