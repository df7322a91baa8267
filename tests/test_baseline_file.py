from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from programs import blob_task

import lrtune
from lrtune.baseline_file import read_baseline, write_baseline
from lrtune.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = lrtune.Config(device="cpu", batch_size=16, optimizer={"name": "sgd", "momentum": 0.9})
LOSS = {"initial_loss": 1.123456789, "standard_error": 0.01, "expected_low": 1.09, "expected_high": 1.1}
LEARNT = {"steps": 50, "learning_rate": 0.1, "loss_first": 1.1, "loss_last": 0.01, "accuracy": 1.0}
RATE = {
    "suggestion": 0.1, "low": 0.03, "high": 0.3, "largest_stable": 0.5, "diverged_at": 0.6, "confidence": "high",
    "gradient_steps": 500,
}  # fmt: skip
BEST = {"best": {"val_loss": 0.2, "train_loss": 0.1}, "trials": []}


def results() -> list[StepResult]:
    """Return what the first four steps found."""
    return [
        StepResult("check-init", [], LOSS, 1.0),
        StepResult("overfit", [], LEARNT, 1.0),
        StepResult("find-lr", [], RATE, 1.0, details={"learning_rates": [1e-7, 1.2e-7]}),
        StepResult("coarse-grid", [], BEST, 1.0, details={"initial_loss": 1.1}),
        StepResult("report", [], {"best": None}, 1.0),
    ]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A baseline of the results above."""
    path = str(tmp_path / "baseline.json")
    write_baseline(path, [results()], blob_task(), CONFIG)
    return path


def changed(file: str, change: Callable[[dict[str, Any]], Any]) -> str:
    """Edit the file's object."""
    with open(file, encoding="utf-8") as text:
        content = json.load(text)
    change(content)
    with open(file, "w", encoding="utf-8") as text:
        json.dump(content, text)
    return file


def test_what_is_written_is_read(file: str) -> None:
    """Every step's numbers come back, to six digits, as those of this machine."""
    baseline = read_baseline(file, blob_task(), CONFIG)
    assert baseline.same_machine
    assert baseline.values["check-init"] == LOSS | {"initial_loss": 1.12346}
    assert baseline.values["overfit"] == {key: LEARNT[key] for key in LEARNT if key != "accuracy"}
    assert baseline.values["find-lr"]["milliseconds_per_step"] == 2.0
    assert baseline.values["coarse-grid"] == {"loss": 0.2, "kind": "validation", "initial_loss": 1.1}
    assert set(baseline.values) == {"check-init", "overfit", "find-lr", "coarse-grid"}


def test_the_file_reads_well(file: str) -> None:
    """A line a number, in the order of the recipe, and no trace of folders or of what numbers do not depend on."""
    with open(file, encoding="utf-8") as text:
        written = text.read()
    content = json.loads(written)
    assert written == json.dumps(content, indent=2) + "\n"
    assert list(content) == ["schema", "lrtune", "task", "settings", "machine", "steps"]
    common = ["args", "batch_size", "optimizer", "precision"]
    assert list(content["settings"]) == [*common, "overfit", "find_lr", "coarse"]


def test_only_what_was_measured_is_written(tmp_path: Path) -> None:
    """A step without a number, and the settings of steps that were not run, are not in it."""
    path = str(tmp_path / "b.json")
    measured = [results()[0], StepResult("overfit", [], dict.fromkeys(LEARNT))]
    write_baseline(path, [measured], blob_task(), CONFIG)
    content = json.loads((tmp_path / "b.json").read_text())
    assert list(content["steps"]) == ["check-init"]
    assert "overfit" not in content["settings"]


def test_another_machine(file: str) -> None:
    """Numbers of another machine are read, and known to be."""
    baseline = read_baseline(
        changed(file, lambda one: one["machine"].update(cores=1234)), blob_task(), CONFIG
    )
    assert not baseline.same_machine
    assert "times are of another machine" in baseline.left_out(list(baseline.values))


def test_another_seed_or_step_is_no_other_baseline(file: str) -> None:
    """What the numbers do not depend on beyond noise may differ, and settings of steps that it does not hold."""
    read_baseline(file, blob_task(), CONFIG.updated(seed=7, run_dir="x", refine={"trials": 3}))

    def without_grid(content: dict[str, Any]) -> None:
        del content["steps"]["coarse-grid"]

    read_baseline(changed(file, without_grid), blob_task(), CONFIG.updated(coarse={"epochs": 9}))


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "schema": (
        lambda one: one.update(schema=2, lrtune="9.0"),
        "has schema 2, written by lrtune 9.0; this is lrtune",
    ),
    "no schema": (lambda one: one.pop("schema"), "has schema None"),
    "task": (lambda one: one.update(task="other.py:make"), "is of the task other.py:make, this is task"),
    "settings": (
        lambda one: one["settings"].update(batch_size=64),
        r"was made with other settings \(batch_size: 64 there, 16 here\)",
    ),
    "optimizer": (
        lambda one: one["settings"]["optimizer"].update(momentum=0.5),
        "optimizer: {.*0.5} there, {",
    ),
    "unknown setting": (
        lambda one: one["settings"].update(batchsize=64),
        "not those of this lrtune: .*batchsize",
    ),
    "no steps": (lambda one: one.pop("steps"), r"is no baseline of lrtune \(no 'steps'\)"),
    "a result": (lambda one: one.update(step="check", steps=[]), "it is a result that --json wrote"),
    "no number": (
        lambda one: one["steps"]["find-lr"].update(low="x"),
        "steps.find-lr.low: expected a number, found 'x'",
    ),
    "null": (
        lambda one: one["steps"]["overfit"].update(steps=None),
        "steps.overfit.steps: expected a number",
    ),
    "no number at all": (
        lambda one: one["steps"]["overfit"].update(spread="wide"),
        "steps.overfit.spread: expected a number, found 'wide'",
    ),
    "a rate of 0": (
        lambda one: one["steps"]["find-lr"].update(suggestion=0),
        r"steps.find-lr.suggestion: expected a number above 0 \(from 1e-30\), found 0",
    ),
    "a negative spread": (
        lambda one: one["steps"]["check-init"].update(spread=-0.5),
        "steps.check-init.spread: expected a number of 0 or more, found -0.5",
    ),
    "a number beyond all": (
        lambda one: one["steps"]["find-lr"].update(range_spread=1e300),
        "range_spread: expected a number between -1e.30 and 1e.30, found 1e.300",
    ),
    "an integer beyond all": (
        lambda one: one["steps"]["overfit"].update(steps=10**400),
        "steps.overfit.steps: expected a number between .*, found a larger one",
    ),
    "not a number": (lambda one: one["steps"]["overfit"].update(steps=float("nan")), "found nan"),
    "another kind": (
        lambda one: one["steps"]["coarse-grid"].update(kind="test"),
        "steps.coarse-grid.kind: expected validation or training, found 'test'",
    ),
    "true": (lambda one: one["steps"]["overfit"].update(steps=True), "expected a number, found True"),
    "missing": (lambda one: one["steps"]["overfit"].pop("steps"), r"\(no 'steps'\)"),
    "unknown step": (lambda one: one["steps"].update(magic={}), "steps.magic: no step of a baseline"),
    "steps a list": (lambda one: one.update(steps=[1]), "is no baseline of lrtune"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_baseline_of_something_else_is_refused(file: str, change: Any, message: str) -> None:
    """The message names the file, what differs and what to do."""
    with pytest.raises(lrtune.UsageError, match=message) as caught:
        read_baseline(changed(file, change), blob_task(), CONFIG)
    assert str(caught.value).startswith(f"{file}: ")
    assert str(caught.value).endswith("write it anew with --update-baseline")


OPTIONAL = [
    (step, key, gone)
    for step, keys in {
        "check-init": ("standard_error", "expected_low", "expected_high", "spread"),
        "overfit": ("spread",),
        "find-lr": ("largest_stable", "diverged_at", "spread", "range_spread", "milliseconds_per_step", "spacing"),
    }.items()
    for key in keys
    for gone in (True, False)
]  # fmt: skip


@pytest.mark.parametrize(("step", "key", "gone"), OPTIONAL)
def test_what_was_not_measured_is_not_needed(tmp_path: Path, step: str, key: str, gone: bool) -> None:
    """A number that a baseline can do without may be missing or null, and the step is compared all the same."""
    path = str(tmp_path / "b.json")
    write_baseline(path, [results(), results()], blob_task(), CONFIG)  # two runs: with spreads

    def change(content: dict[str, Any]) -> None:
        assert key in content["steps"][step]
        content["steps"][step][key] = None
        if gone:
            del content["steps"][step][key]

    baseline = read_baseline(changed(path, change), blob_task(), CONFIG)
    (now,) = [one for one in results() if one.step == step]
    assert baseline.compared(now).details["baseline"]
    assert baseline.compared(now).findings == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; --update-baseline writes a first one"),
        (b"{", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", r"is no baseline of lrtune \(a list\)"),
    ],
    ids=["missing", "cut", "binary", "nested", "a list"],
)
def test_a_file_that_is_no_baseline(tmp_path: Path, content: bytes | None, message: str) -> None:
    """What is no JSON object is told as such."""
    path = tmp_path / "b.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(lrtune.UsageError, match=message):
        read_baseline(str(path), blob_task(), CONFIG)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """What cannot be read or written says the system's reason."""
    with pytest.raises(lrtune.UsageError, match="cannot be read: Is a directory"):
        read_baseline(str(tmp_path), blob_task(), CONFIG)
    with pytest.raises(lrtune.UsageError, match="cannot be written: "):
        write_baseline(str(tmp_path / "no" / "b.json"), [results()], blob_task(), CONFIG)
