from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest
from safetensors import safe_open

from lrtune import exports

if TYPE_CHECKING:
    from conftest import Project

COARSE = ("--set", "coarse.lr=[0.03,0.1,0.3]")  # no step before is needed
REFINE = ("grid", "--refine", "toy.yaml", *COARSE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("--coarse", "--more", "3"), "give it with --refine", id="of the coarse grid"),
        pytest.param(("--refine", "--more", "3"), "there is no refined search yet", id="of nothing"),
        pytest.param(("--refine", "--more", "0"), "Invalid value for '--more'", id="none"),
    ],
)
def test_more_of_nothing_is_refused(project: Project, arguments: tuple[str, ...], message: str) -> None:
    """`--more` without a refined search to go on with is a usage error, and nothing is trained."""
    outcome = project.lrtune("grid", "toy.yaml", *COARSE, *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (project.out / "coarse.json").exists()


def test_more_trials(project: Project) -> None:
    """`--more 2` adds two trials to those of the study; the same search with other epochs is another, and said."""
    first = project.lrtune(*REFINE, "--json").json["summary"]["trials"]
    outcome = project.lrtune(*REFINE, "--json", "--more", "2")
    trials = outcome.json["summary"]["trials"]
    assert len(trials) == len(first) + 2
    assert all(trial in trials for trial in first)
    assert "refine-grid: 2 more trials, 5 in all" in outcome.err
    again = project.lrtune(*REFINE, "--json")  # asked for without it, the round stays
    assert again.json["summary"]["trials"] == trials
    other = project.lrtune(*REFINE, "--more", "2", "--set", "refine.epochs=2")
    assert other.code == 2
    assert "--more: refine.epochs changed, and with that it is another search" in other.err


def test_a_longer_timeout_goes_on(project: Project) -> None:
    """A search that its timeout has ended says what it left out; with more time it trains the rest of the study."""
    outcome = project.lrtune(*REFINE, "--set", "refine.timeout=1.0e-9", "--set", "refine.trials=8")
    assert outcome.code == 0
    assert "3 of 8 trials were not begun" in " ".join(outcome.out.split())  # the first batch always begins
    whole = project.lrtune(*REFINE, "--json", "--set", "refine.trials=8")
    assert len(whole.json["summary"]["trials"]) == 8
    assert "5 trials are in the study already" in whole.err


def test_tables(project: Project) -> None:
    """After a grid every trial is a row of `trials.csv`, and `metrics.json` holds the best one's numbers."""
    result = project.lrtune(*REFINE, "--json").json["summary"]
    with (project.out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = project.record("coarse.json")["summary"]["trials"]
    assert [row["grid"] for row in rows].count("coarse") == len(cells)
    assert {row["trial"] for row in rows if row["grid"] == "refine"} == {t["curve"] for t in result["trials"]}
    numbers = project.record("metrics.json")
    assert numbers["val_loss"] == result["best"]["val_loss"]
    assert numbers["coarse_val_loss"] == cells[0]["val_loss"]


@pytest.mark.parametrize(
    "command", [REFINE, ("grid", "--coarse", "toy.yaml", *COARSE)], ids=["refine", "coarse"]
)
def test_the_best_weights_are_saved(project: Project, command: tuple[str, ...]) -> None:
    """`--save-best` writes the best trial's weights with its settings; a step that is done already trains it again."""
    best = project.lrtune(*command, "--json", "--save-best").json["summary"]["best"]
    path = project.out / "best.safetensors"
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
        told = json.loads(file.metadata()["lrtune"])
    assert {**told, **best} == told
    content = path.read_bytes()
    path.unlink()
    project.lrtune(*command, "--save-best")
    assert path.read_bytes() == content


def test_run_saves_the_weights_too(project: Project) -> None:
    """`lrtune run --save-best` writes the weights of the settings in `best.yaml`."""
    outcome = project.lrtune("run", "toy.yaml", "--json", "--save-best")
    best = outcome.json["summary"]["best"]
    with safe_open(project.out / "best.safetensors", "pt") as file:
        assert json.loads(file.metadata()["lrtune"])["lr"] == best["lr"]
    assert "wrote the weights of the best trial" in outcome.err


def test_weights_go_with_their_trial(project: Project) -> None:
    """A later run whose best is another one renames the weights of the earlier, or writes its own, and says so."""
    coarse = ("grid", "--coarse", "toy.yaml", *COARSE)
    path = project.out / "best.safetensors"
    project.lrtune(*coarse, "--save-best")
    assert "is now" not in project.lrtune(*coarse).err
    assert path.is_file()
    outcome = project.lrtune(*coarse, "--seed", "3")
    assert f"{path.relative_to(project.folder)} is now coarse-0" in outcome.err
    assert not path.exists()
    project.lrtune(*coarse, "--save-best")
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["lrtune"])["seed"] == 0


def test_weights_stay_while_a_search_is_unfinished(project: Project) -> None:
    """An interrupted round of a search says nothing of which trial is the best: its weights are left alone."""
    path, record = project.out / "best.safetensors", project.out / "refine.json"
    project.lrtune(*REFINE, "--save-best")
    content = path.read_bytes()
    record.write_text(record.read_text().replace('"complete": true', '"complete": false'))
    project.lrtune("report", "toy.yaml", *REFINE[3:])
    assert path.read_bytes() == content


def test_save_best_without_safetensors(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where safetensors is missing, the command that installs it is said before anything is trained."""
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    outcome = project.lrtune(*REFINE, "--save-best")
    assert outcome.code == 2
    assert "python -m pip install 'lrtune[weights]'" in outcome.err
    assert not project.out.exists()


def test_repeats_are_shown(project: Project) -> None:
    """The text of a refined search shows mean and spread of both settings over the seeds."""
    outcome = project.lrtune(*REFINE, "--set", "refine.trials=8")
    repeats = project.record("refine.json")["summary"]["repeats"]
    assert repeats is not None, "some trial beats the coarse cell"
    assert f"loss {repeats['refined']['mean']:.4g} ± {repeats['refined']['spread']:.2g}" in outcome.out
    taken = "refined" if repeats["gain"] > 0 else "coarse"
    assert f"taken the {taken} setting" in " ".join(outcome.out.split())
