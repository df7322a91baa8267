from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lrtune.cli.summaries import SUMMARIES
from lrtune.cli.text import print_text
from lrtune.results import STEPS, StepResult

if TYPE_CHECKING:
    from types import ModuleType

    from .conftest import Project


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The factory of results that the reports' tests have."""
    path = Path(__file__).parents[1] / "reports" / "made.py"
    spec = importlib.util.spec_from_file_location("lrtune_tests_made", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def text(result: StepResult, capsys: pytest.CaptureFixture[str], verbose: bool = False) -> str:
    """Return what a result prints."""
    print_text(result, quiet=False, verbose=verbose)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    return printed


def test_every_step_has_a_summary() -> None:
    """A step that the recipe has can be printed."""
    assert set(SUMMARIES) == set(STEPS)


def test_find_lr_tells_its_numbers(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Rate, confidence, where it is stable and where it diverges, the effective rate and what it took."""
    lines = [line.strip() for line in text(made.probed(), capsys).splitlines()]
    for line in (
        "learning rate   0.05   (interval 0.012 to 0.18)",
        "confidence      high, from 3 sweeps",
        "stable up to    0.6",
        "diverges at     1.6",
        "effective rate  0.5   (learning rate / (1 - momentum))",
        "gradient steps  300",
        "o loss on the training subset after 100 steps at one rate; x diverged",
    ):
        assert line in lines


def test_find_lr_draws_its_probes(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The plot has a marker for each finished training and a cross for each that diverged."""
    plot = [line for line in text(made.probed(), capsys).splitlines() if "│" in line]
    drawn = "".join(plot)
    assert (drawn.count("o"), drawn.count("x")) == (6, 2)
    assert plot[0].count("x") == 2  # at the upper edge


def test_stopped_probes_differ(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A training that was stopped has a marker of its own, which the line below explains."""
    result = made.probed()
    result.details["probes"]["rates"][0]["state"] = "stopped"
    printed = text(result, capsys)
    drawn = "".join(line for line in printed.splitlines() if "│" in line)
    assert (drawn.count("o"), drawn.count("s"), drawn.count("x")) == (5, 1, 2)
    assert "s stopped earlier" in printed


def test_old_find_lr(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A result of a version without probes shows what it has."""
    printed = text(made.find_lr(), capsys, verbose=True)
    assert "diverges at     1.6" in printed
    for word in ("stable up to", "effective", "at one rate", "rules"):
        assert word not in printed


def test_find_lr_verbose(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """`--verbose` adds the trainings at one rate, and other tools' rules with their ratio to the suggestion."""
    rows = [line.split() for line in text(made.probed(), capsys, verbose=True).splitlines()]
    assert ["0.05", "0.3", "100", "complete"] in rows
    assert ["1.6", "-", "12", "diverged"] in rows
    assert ["fastai", "slide", "0.5", "10"] in rows
    assert ["Lightning", "-", "-"] in rows


def all_diverged(result: StepResult) -> None:
    """Let every sweep and training diverge at once."""
    result.summary |= {
        "suggestion": None,
        "low": None,
        "high": None,
        "largest_stable": None,
        "effective": None,
    }
    result.details["median"] = [2.3, 1e9, *[None] * 98]
    for probe in result.details["probes"]["rates"]:
        probe |= {"loss": None, "state": "diverged"}


def extreme(result: StepResult) -> None:
    """Let the losses be huge and negative, and one rate large."""
    result.details["median"] = [None if loss is None else -1e11 * loss for loss in result.details["median"]]
    result.summary["diverged_at"] = 912.0


ODD: dict[str, Any] = {
    "all diverged": all_diverged,
    "extreme": extreme,
    "no curve": lambda result: result.details.update(median=[None] * 100),
    "nothing": lambda result: (result.details.clear(), result.summary.clear()),
}


@pytest.mark.parametrize("spoil", ODD.values(), ids=ODD)
def test_odd_sweeps_print(made: ModuleType, capsys: pytest.CaptureFixture[str], spoil: Any) -> None:
    """However little a sweep has, or however large it is, its text fits 80 columns."""
    result = made.probed()
    spoil(result)
    assert text(result, capsys, verbose=True).startswith("find-lr")


def test_rates_are_plain_where_they_are_large(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A rate of hundreds has no exponent."""
    result = made.probed()
    extreme(result)
    assert "diverges at     910\n" in text(result, capsys)


def test_check_init_verbose(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """`--verbose` says what was examined, and what was not and why."""
    result = made.check_init()
    result.details["examined"] = [
        {"name": "inputs", "seconds": 0.1, "skipped": None},
        {"name": "tokens ahead", "seconds": 0.0, "skipped": "nothing to measure"},
    ]
    printed = text(result, capsys, verbose=True)
    assert "examined      inputs\n" in printed
    assert "not examined  tokens ahead (nothing to measure)" in printed
    assert "tokens ahead" not in text(result, capsys)


def test_overfit_verbose(made: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """`--verbose` tells each rate that was tried."""
    rows = [line.split() for line in text(made.overfit(), capsys, verbose=True).splitlines()]
    assert [row[0] for row in rows if row[-1:] in (["complete"], ["diverged"])] == [
        "0.003",
        "0.03",
        "0.3",
        "3",
    ]
    assert "rates tried" not in text(made.overfit(), capsys)


@pytest.mark.parametrize("options", [("--verbose", "--quiet"), ("-v", "-q"), ("-qv", "--json")])
def test_verbose_and_quiet(project: Project, options: tuple[str, ...]) -> None:
    """Both at once is bad usage, found before anything runs."""
    outcome = project.lrtune("check-init", "no.yaml", *options)
    message = "lrtune: error: give at most one of --quiet and --verbose\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)


def test_verbose_changes_no_json(finished: Project) -> None:
    """With `--json` the object is the same."""
    plain = finished.lrtune("find-lr", "toy.yaml", "--json").json
    verbose = finished.lrtune("find-lr", "toy.yaml", "--json", "-v").json
    assert plain["summary"] == verbose["summary"]
    assert plain.keys() == verbose.keys()


def test_verbose_run(project: Project) -> None:
    """The option reaches the steps' texts."""
    outcome = project.lrtune("check-init", "toy.yaml", "--verbose")
    assert outcome.code == 0, outcome.err
    assert "\n  examined" in outcome.out
