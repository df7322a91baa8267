from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.reports.content import content
from lrtune.results import StepResult

if TYPE_CHECKING:
    from types import ModuleType


def test_answer_of_a_whole_run(made: ModuleType) -> None:
    """The three lines say the settings, what they reach, and what to mind."""
    said = content(made.recipe(), made.CONTEXT)
    assert said.settings == "learning rate 0.0677, weight decay 2.09e-4, SGD (momentum 0.9)"
    assert said.reaches.startswith("validation loss 0.1504, training loss 0.1223, accuracy 0.9592")
    assert said.state == "nothing failed; 2 warnings: Learning rate sweep, Loss curves"
    assert said.verdict == "warn"


def test_nothing_was_run() -> None:
    """Without any result the report says so, with all six steps not run."""
    said = content({}, {})
    assert (said.settings, said.state, said.verdict) == ("none found", "nothing was run", "none")
    assert [section.word for section in said.sections] == ["not run"] * 6


def test_failure_comes_first(made: ModuleType) -> None:
    """An error sets the verdict and is listed as a problem of its step; later steps were not run."""
    said = content({"coarse-grid": made.all_diverged()}, {})
    assert said.verdict == "fail"
    assert [(section.step, finding.code) for section, finding in said.problems] == [
        ("coarse-grid", "all-diverged")
    ]
    assert said.state.startswith("failed: Coarse grid; not run: Loss at initialisation")
    assert said.reaches == "nothing yet: no trial was trained to its end"


def test_sweep_alone(made: ModuleType) -> None:
    """Before any trial the sweep's suggestion is named as what it is."""
    said = content({"find-lr": made.find_lr()}, {})
    assert said.settings == "learning rate 0.05 (suggested by the sweep, not yet trained with)"


def test_better_grid_wins(made: ModuleType) -> None:
    """Without the report's word, the lower validation loss of the two grids' best decides."""
    coarse = {"lr": 0.1, "weight_decay": 0.0, "val_loss": 0.1}
    refined = {"lr": 0.2, "weight_decay": 0.0, "val_loss": 0.2}
    results = {
        "coarse-grid": StepResult("coarse-grid", summary={"best": coarse}),
        "refine-grid": StepResult("refine-grid", summary={"best": refined}),
    }
    assert content(results, {}).best == coarse


def test_run_is_unpacked(made: ModuleType) -> None:
    """The result of a whole run may be given in place of its steps."""
    run = StepResult("run", steps=list(made.recipe().values()))
    assert content({"run": run}, {}).best == made.recipe()["report"].summary["best"]


def test_table_is_best_first(made: ModuleType) -> None:
    """The trials' table has a column for every loss and metric there is, and the best trial first."""
    section = content(made.recipe(), {}).sections[3]
    assert section.table.columns == [
        *("trial", "learning rate", "weight decay", "validation loss", "training loss", "accuracy"),
        *("steps", "state", "seed"),
    ]
    assert section.table.lines[0].best
    assert section.table.lines[0].cells[:3] == ["coarse-008", "0.05", "1e-4"]
    assert sum(line.best for line in section.table.lines) == 1


def test_no_validation_no_column(made: ModuleType) -> None:
    """Where nothing was validated there is no column for it."""
    section = content({"coarse-grid": made.grid(val=False)}, {}).sections[3]
    assert "validation loss" not in section.table.columns


def test_stale_steps_are_marked(made: ModuleType) -> None:
    """A stale result is shown, but said to be stale."""
    said = content(made.recipe(), {"stale": ["overfit"]})
    assert [section.step for section in said.sections if section.stale] == ["overfit"]


def test_sweep_tables(made: ModuleType) -> None:
    """Step 3 has the trainings at one rate and other tools' rules beside it, no other step has any."""
    sections = content(made.recipe(), {}).sections
    median, probes, rules = sections[2].asides
    assert median.title == "Smoothed loss of the sweep, median of its repeats (31 of 100 rates)"
    assert probes.title == "Loss on the training subset after 100 steps at one rate (2.3 before)"
    assert probes.table.columns == ["learning rate", "loss", "steps", "state"]
    assert probes.table.lines[3].cells == ["0.05", "0.3", "100", "complete"]
    assert probes.table.lines[-1].cells == ["5", "–", "12", "diverged"]
    assert rules.table.columns == ["rule", "learning rate", "times the suggestion"]
    assert rules.table.lines[1].cells == ["fastai slide", "0.5", "10"]
    assert rules.table.lines[-1].cells == ["Lightning", "–", "–"]


def test_sweep_numbers(made: ModuleType) -> None:
    """Step 3 tells the largest stable and the effective rate where it has them."""
    known = dict(content(made.recipe(), {}).sections[2].facts)
    assert (known["stable up to"], known["effective rate (with momentum)"]) == ("0.6", "0.5")
    old = content({"find-lr": made.find_lr()}, {}).sections[2]
    assert "stable up to" not in dict(old.facts)
    assert len(old.asides) == 1  # the sweep itself


def test_the_chosen_trial_stands_first(made: ModuleType) -> None:
    """The best trial heads the table also where, over seeds, it is not the one of the lowest loss."""
    grid = made.grid()
    grid.summary["best"] = grid.summary["trials"][3]
    first, second = content({"coarse-grid": grid}, {}).sections[3].table.lines[:2]
    assert (first.best, first.curve) == (True, grid.summary["trials"][3]["curve"])
    assert second.curve == grid.summary["trials"][0]["curve"]


def test_further_axes_are_told(made: ModuleType) -> None:
    """What else a grid varied is a column of the table and a part of the best settings."""
    grid = made.grid()
    for number, trial in enumerate(grid.summary["trials"]):
        trial |= {"momentum": 0.8, "hidden": 32 + number, "last_loss": 2.5, "tries": 1}
    said = content({"coarse-grid": grid}, made.CONTEXT)
    assert said.settings.endswith("SGD (momentum 0.8), hidden 32")
    assert said.sections[3].table.columns[3:6] == ["momentum", "hidden", "validation loss"]
    assert said.sections[3].table.lines[0].cells[3:5] == ["0.8", "32"]
