from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lrtune
from lrtune.checks.catalogue import Entry, catalogue, finding
from lrtune.results import SEVERITIES, STEPS

WARNINGS = {
    "constant-input", "input-not-normalised", "conflicting-labels", "unshuffled-batches", "target-leak",
    "target-not-normalised", "class-imbalance",
    "never-diverged", "noisy-suggestion", "best-at-range-edge", "best-at-grid-edge",
    "within-seed-noise", "trial-failed", "refine-no-gain",
    "dead-units", "saturated-units",
    "nondeterministic-model", "train-eval-gap",
    "out-of-time", "regression-time",
    "overfitting", "underfitting", "still-improving", "plateau-at-start", "slow-descent", "oscillating", "loss-spike",
}  # fmt: skip


def functions_that_report() -> set[str]:
    """Names of functions that hand their first argument on to `finding`, and `finding` itself."""
    names = {"finding"}
    for tree in trees():
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and function.args.args:
                first = function.args.args[0].arg
                calls = (node for node in ast.walk(function) if is_call_of(node, {"finding"}))
                if any(isinstance(call.args[0], ast.Name) and call.args[0].id == first for call in calls):
                    names.add(function.name)
    return names


def trees() -> list[ast.Module]:
    """The package's files, parsed."""
    return [ast.parse(path.read_text()) for path in Path(lrtune.__file__).parent.rglob("*.py")]


def is_call_of(node: ast.AST, names: set[str]) -> bool:
    """Say whether this is a call of one of some functions, with an argument."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in names
        and bool(node.args)
    )


def codes_in_the_code() -> set[str]:
    """Every code that a call of `finding` can be given: literals, and literals of conditional assignments."""
    found: set[str] = set()
    reporting = functions_that_report()
    for tree in trees():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            assigned = {
                target.id: strings_of(node.value)
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for call in ast.walk(function):
                if is_call_of(call, reporting):
                    first = call.args[0]
                    found |= (
                        assigned.get(first.id, set()) if isinstance(first, ast.Name) else strings_of(first)
                    )
    return found


def strings_of(node: ast.AST) -> set[str]:
    """The string literals that an expression can be, conditions left out."""
    if isinstance(node, ast.IfExp):
        return strings_of(node.body) | strings_of(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_every_code_used_has_an_entry() -> None:
    """No finding can be made whose code the catalogue does not explain."""
    assert codes_in_the_code() - set(catalogue()) == set()


def test_every_entry_is_used() -> None:
    """The catalogue explains no code that lrtune cannot report."""
    assert set(catalogue()) - codes_in_the_code() == set()


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.code)
def test_entries_are_whole(entry: Entry) -> None:
    """Every code has title, reason, measurement, threshold, source, causes and fix."""
    for text in (
        entry.title,
        entry.why,
        entry.measured,
        entry.threshold,
        entry.source,
        entry.fix,
        *entry.causes,
    ):
        assert text.strip() == text
        assert len(text) > 3
    assert entry.causes
    assert entry.step in (*STEPS, "check")
    assert entry.severity in SEVERITIES
    assert entry.code == entry.code.lower().replace(" ", "-")


def test_severities_are_the_designs() -> None:
    """Codes that the design calls warnings are warnings, those without a mark errors; a new one is an info."""
    assert {code for code, entry in catalogue().items() if entry.severity == "warning"} == WARNINGS
    assert {code for code, entry in catalogue().items() if entry.severity == "info"} == {
        "converged",
        "expectation-unknown",
        "no-validation-data",
        "peers-disagree",
        "better-than-baseline",
    }


def test_findings_take_the_catalogues_texts() -> None:
    """A finding has severity, source and fix of its entry, unless it brings a fix for its own case."""
    entry = catalogue()["initial-loss-high"]
    plain = finding("initial-loss-high", "Too high.", 3, "<= 2")
    assert (plain.severity, plain.source, plain.fix) == ("error", entry.source, entry.fix)
    assert plain.measured == 3.0
    assert finding("initial-loss-high", "Too high.", fix="Mine.").fix == "Mine."
    with pytest.raises(KeyError):
        finding("no-such-code", "?")
