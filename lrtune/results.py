"""What lrtune says: findings, the curves behind them, and one result a step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SCHEMA = 1  # of the JSON object; raised when a key changes its meaning

Severity = Literal["error", "warning", "info"]
Verdict = Literal["pass", "warn", "fail"]

GRIDS = ("coarse-grid", "refine-grid")
STEPS = ("check-init", "overfit", "find-lr", "coarse-grid", "refine-grid", "report")
WHOLES = ("run", "check")  # results made of those of several steps
# What a row of a grid's table may hold of its own; any other key is a further axis of the grid.
TRIAL_KEYS = (
    *("lr", "weight_decay", "val_loss", "train_loss", "metrics", "steps", "state", "seed", "curve"),
    *("last_loss", "error", "tries", "traceback"),
)
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")
VERDICTS: dict[Severity, Verdict] = {"info": "pass", "warning": "warn", "error": "fail"}


@dataclass(frozen=True)
class Finding:
    """One thing that was seen, judged.

    Attributes:
        code: Stable name of the finding, a key of the catalogue (`lrtune explain CODE`).
        severity: `error`, `warning` or `info`.
        message: One sentence with the numbers in it.
        measured: The number (or short text) that was judged; None when there is none.
        expected: What it was judged against, as text (`"<= 3"`).
        fix: What to do.
        source: Where the threshold comes from.
        follows_from: Code of the finding that explains this one, None where it stands for itself.
        explains: Codes of what may follow from it, where that is less than the catalogue says of its code.
    """

    code: str
    severity: Severity
    message: str
    measured: float | str | None
    expected: str | None
    fix: str
    source: str
    follows_from: str | None = None
    explains: tuple[str, ...] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Severity, code, message and fix, as `print` shows them."""
        if self.follows_from is not None:
            return f"    hence {self.severity} {self.code}: {self.message}"
        return f"  {self.severity} {self.code}: {self.message}\n    Fix: {self.fix}"

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain JSON values; `follows_from` is there only where it says something."""
        left_out = {"explains"} | ({"follows_from"} if self.follows_from is None else set())
        names = (item.name for item in fields(self) if item.name not in left_out)
        return {name: jsonable(getattr(self, name)) for name in names}


@dataclass
class Curve:
    """How one member's training went.

    Attributes:
        loss: The loss of each step's minibatch; it ends where the member diverged.
        evaluations: One row a measured point, with `epoch`, `step`, `train_loss` (on the fixed training subset),
            `val_loss` and the metrics by name.
    """

    loss: list[float] = field(default_factory=list)
    evaluations: list[dict[str, float | int | None]] = field(default_factory=list)

    def loss_after(self, epoch: int) -> float | None:
        """Return the loss that a trial is judged by, after an epoch; None where it was not measured."""
        return next((judged_loss(row) for row in self.evaluations if row.get("epoch") == epoch), None)


def axes_of(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's values on further axes of its grid."""
    return {str(key): value for key, value in trial.items() if key not in TRIAL_KEYS}


def further_axes(trials: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what trials differ in besides rate and decay: the further axes of a grid."""
    return list(dict.fromkeys(key for trial in trials for key in axes_of(trial)))


def judged_loss(row: Mapping[str, Any]) -> float | None:
    """Return what a trial or an evaluation is judged by: validation loss, else training loss; None without either."""
    loss: float | None = row.get("val_loss")
    return row.get("train_loss") if loss is None else loss


@dataclass(repr=False)
class StepResult:
    """The outcome of one step of the recipe.

    Attributes:
        step: One of `STEPS` or of `WHOLES`.
        findings: What was seen, the likeliest reason first.
        summary: The step's numbers; the keys are those of the design's table.
        seconds: Wall-clock time it took.
        run_dir: The directory that holds it, or None when nothing was written.
        details: Series and settings behind the summary, for charts and the report.
        curves: Training curves by name, each a file `curves/<name>.csv` of the run directory.
        reused: Whether it was read from the run directory instead of computed.
        steps: The results of a whole `run` or `check`, else empty.
    """

    step: str
    findings: list[Finding] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    run_dir: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    reused: bool = False
    steps: list[StepResult] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """`fail` with any error, else `warn` with any warning, else `pass`."""
        severities = [finding.severity for finding in self.findings]
        return VERDICTS[max(severities, key=SEVERITIES.index, default="info")]

    def __repr__(self) -> str:
        """One line: a notebook shows it for the last expression of a cell."""
        numbers = (f"{key}={value:.4g}" for key, value in self.summary.items() if isinstance(value, float))
        codes = (finding.code for finding in self.findings)
        return f"<{self.step}: {', '.join([self.verdict, *codes, *numbers])}>"

    def __str__(self) -> str:
        """The same line, then each finding with what to do; what follows from another stands beneath that."""
        return "\n".join([repr(self), *map(str, self.findings)])

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows in place of the plain line; see `notebook_html`."""
        return notebook_html(self) if notebook_html else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `--json` prints: plain values, None for what is not finite."""
        head: dict[str, Any] = {
            "schema": SCHEMA,
            "lrtune": __version__,
            "step": self.step,
            "verdict": self.verdict,
            "seconds": round(self.seconds, 3),
            "run_dir": self.run_dir,
            "findings": [finding.to_dict() for finding in self.findings],
            "summary": jsonable(self.summary),
        }
        if self.step in WHOLES:
            head["steps"] = [step.to_dict() for step in self.steps]
        return head

    def stored_in(self, run_dir: str) -> StepResult:
        """Return the same result, saying where it is kept."""
        return replace(self, run_dir=run_dir)


# How a notebook shows a result. What draws stands above this file, which imports nothing of it: `lrtune` itself, which
# may name every part, puts a function here.
notebook_html: Callable[[StepResult], str] | None = None


def jsonable(value: Any) -> Any:
    """Return `value` in JSON's own types: containers copied, numbers that are not finite as None.

    >>> jsonable({"a": float("nan"), 2: (1, 2.5)})
    {'a': None, '2': [1, 2.5]}
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # tensors and arrays, of any number of dimensions
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
