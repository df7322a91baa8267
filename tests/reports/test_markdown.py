from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from lrtune.reports.markdown import escaped, fenced, render
from lrtune.results import StepResult

if TYPE_CHECKING:
    from types import ModuleType


def test_whole_run(made: ModuleType) -> None:
    """The text has the answer, the settings, every step and at most ten trials a grid."""
    text = render(made.recipe(), "digits", made.CONTEXT)
    assert text.startswith("# digits\n\n- **Best settings:** learning rate 0.0677")
    assert "torch.optim.SGD(model.parameters(), lr=0.06769" in text
    assert "| 3 | Learning rate sweep | warnings | `noisy-suggestion` | 2.2 s |" in text
    assert len(re.findall(r"^\| coarse-\d", text, re.MULTILINE)) == 10
    assert "… and 5 more" in text
    assert "| find-lr | 2.2 s | 300 | – | – |" in text
    assert text.endswith("seed: 0\nbatch_size: 64\n```\n")


def test_tables_are_whole(made: ModuleType) -> None:
    """Every row of a table has as many cells as its head, whatever the strings in it."""
    results = made.recipe()
    results["coarse-grid"].summary["trials"][0]["metrics"] = {"a|b\nc": 1.0}
    text = render(results, "t", made.CONTEXT)
    widths: list[set[int]] = []
    for block in text.split("\n\n"):
        if block.startswith("|"):
            widths.append({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()})
    assert len(widths) == 12
    assert all(len(width) == 1 for width in widths)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<b>", "&lt;b&gt;"),
        ("a\n# b", "a \\# b"),
        ("`x`", "\\`x\\`"),
        ("[a](b)", "\\[a\\](b)"),
    ],
)
def test_escaped(text: str, shown: str) -> None:
    """What Markdown would read as markup is shown as it is."""
    assert escaped(text) == shown


def test_fence_is_longer_than_its_content() -> None:
    """Backticks in a config do not end its code block."""
    assert fenced("a\n```\nb").splitlines()[0] == "````"


def test_failure(made: ModuleType) -> None:
    """A failure is told with its fix before the steps."""
    text = render({"coarse-grid": made.all_diverged()}, "t", {})
    head = text[: text.index("## Steps")]
    assert "`all-diverged`: All 4 trials diverged." in head
    assert "**Fix:** Lower the learning rates." in head


ODD = {
    "nothing": lambda made: {},
    "empty-steps": lambda made: {step: StepResult(step) for step in made.recipe()},
    "lone-trial": lambda made: {"coarse-grid": made.lone_trial()},
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_odd_results_render(made: ModuleType, make: Any) -> None:
    """However little there is, the text lists all six steps."""
    assert len(re.findall(r"^\| \d \|", render(make(made), "t", {}), re.MULTILINE)) == 6


def test_sweep_tables(made: ModuleType) -> None:
    """The tables of step 3 are folded, each with blank lines around it, without which GitHub shows no table."""
    text = render({"find-lr": made.probed()}, "t", {})
    assert "<summary>What other tools' rules read from the same sweeps</summary>\n\n| rule |" in text
    assert "| torch-lr-finder | 0.011 | 0.22 |" in text
    assert "| 1.6 | – | 12 | diverged |" in text
    assert text.count("<details>") == text.count("\n\n</details>") == 3
