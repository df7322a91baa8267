from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import optuna
import pytest
from grid_processes import STEPS, Grids, ended
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeGrids = Callable[..., Grids]

REFINE = ("grid", "--refine", "slow.yaml", "--json")
WORKER = ("worker", "slow.yaml", "--wait", "60", "--json")
EPOCHS = 4


@pytest.fixture
def grids_in() -> Iterator[MakeGrids]:
    """Makes folders; what a test starts in them ends with it."""
    with ExitStack() as stack:
        yield lambda *arguments, **keys: stack.enter_context(Grids(*arguments, **keys))


def refine(**settings: object) -> list[str]:
    """The options that set a refined search."""
    pairs = {"trials": 12, "epochs": EPOCHS, "seeds": 1, **settings}
    return [word for key, value in pairs.items() for word in ("--set", f"refine.{key}={value}")]


def told(grids: Grids) -> list[optuna.trial.FrozenTrial]:
    """The trials of the search's study, as Optuna alone opens it."""
    storage = JournalStorage(JournalFileBackend(str(grids.folder / "study.log")))
    name = next(name for name in optuna.get_all_study_names(storage) if "refine" in name)
    return optuna.load_study(study_name=name, storage=storage).trials


def test_workers_share_a_pruned_search_and_its_further_round(tmp_path: Path, grids_in: MakeGrids) -> None:
    """With a pruner each trial is told once, the early ended as pruned, and a further round goes on with the study."""
    grids = grids_in(tmp_path, "journal:study.log", cells=2)
    settings = refine(pruner="median")
    workers = [grids.start(*WORKER, *settings, slow=0.02) for _ in range(2)]
    code, out, err = grids.run(*REFINE, *settings, slow=0.02)
    assert code == 0, err
    assert sum(_trials_of(ended(worker)) for worker in workers) > 0
    assert _states(json.loads(out)["summary"]["trials"]) == _states_of(told(grids), 12)

    helper = grids.start(*WORKER, *settings, slow=0.02)
    code, out, err = grids.run(*REFINE, *settings, "--more", "6", slow=0.02)
    assert code == 0, err
    _trials_of(ended(helper))
    rows = json.loads(out)["summary"]["trials"]
    assert _states(rows) == _states_of(told(grids), 18)
    # No training step was taken twice, in either round, by anybody; the coarse grid has one epoch a cell.
    assert sum(grids.steps_of().values()) == sum(row["steps"] for row in rows) + 2 * STEPS
    assert all(row["steps"] < EPOCHS * STEPS for row in rows if row["state"] == "pruned")


def test_a_timeout_ends_a_shared_search_for_all(tmp_path: Path, grids_in: MakeGrids) -> None:
    """When the time is up nobody begins another trial, what is under way is told; a later run goes on with the rest."""
    grids = grids_in(tmp_path, "journal:study.log", cells=2)
    settings = refine(timeout=1)
    worker = grids.start(*WORKER, *settings, slow=0.1)
    code, out, err = grids.run(*REFINE, *settings, slow=0.1)
    assert code == 0, err
    assert "the timeout of 1 s is up" in err
    _trials_of(ended(worker))
    rows = json.loads(out)["summary"]["trials"]
    assert 0 < len(rows) < 12
    assert not [trial for trial in told(grids) if trial.state == TrialState.RUNNING]

    code, out, err = grids.run(*REFINE, *refine())
    assert code == 0, err
    assert _states(json.loads(out)["summary"]["trials"]) == {"complete": 12}
    assert sum(grids.steps_of().values()) == 12 * EPOCHS * STEPS + 2 * STEPS


def _trials_of(outcome: tuple[int, str, str]) -> int:
    code, out, err = outcome
    assert code == 0, err
    return int(json.loads(out)["summary"]["trials"])


def _states(rows: list[dict[str, object]]) -> dict[str, int]:
    names = [str(row["state"]) for row in rows]
    return {name: names.count(name) for name in sorted(set(names))}


def _states_of(trials: list[optuna.trial.FrozenTrial], count: int) -> dict[str, int]:
    """Return how many trials ended how; every one of `count` exactly once."""
    ended_ones = [one for one in trials if one.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    cells = [one.user_attrs["lrtune:cell"] for one in ended_ones]
    assert len(cells) == len(set(cells)) == count
    names = [one.state.name.lower() for one in ended_ones]
    return {name: names.count(name) for name in sorted(set(names))}
