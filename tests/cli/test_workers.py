from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from grid_processes import STEPS, Grids, ended, wait_until
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from postgres_server import Server, lacking

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeGrids = Callable[..., Grids]

GRID = ("grid", "--coarse", "slow.yaml", "--json")
WORKER = ("worker", "slow.yaml", "--wait", "60", "--json")


@pytest.fixture
def grids_in() -> Iterator[MakeGrids]:
    """Makes folders; what a test starts in them ends with it."""
    with ExitStack() as stack:
        yield lambda *arguments, **keys: stack.enter_context(Grids(*arguments, **keys))


def journal(grids: Grids) -> JournalStorage:
    """The journal of a folder, as Optuna alone opens it."""
    return JournalStorage(JournalFileBackend(str(grids.folder / "study.log")))


def all_ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Wait for all of some processes."""
    return [ended(process) for process in processes]


def counts(outcomes: list[tuple[int, str, str]]) -> list[dict[str, Any]]:
    """What workers say they have done; each must have ended well."""
    assert [code for code, _, _ in outcomes] == [0] * len(outcomes), outcomes
    return [json.loads(out)["summary"] for _, out, _ in outcomes]


def test_workers_on_a_journal_train_each_cell_once(tmp_path: Path, grids_in: MakeGrids) -> None:
    """A leader and three workers share cells and trials, train none twice, and give what one process alone gives."""
    grids = grids_in(tmp_path / "shared", "journal:study.log", cells=8)
    workers = [grids.start(*WORKER, slow=0.1) for _ in range(3)]
    code, out, err = grids.run("grid", "--refine", "slow.yaml", "--json", slow=0.1)
    assert code == 0, err
    done = counts(all_ended(workers))
    grids.assert_each_cell_once(journal(grids))
    assert sum(grids.steps_of().values()) == (8 + 6) * STEPS
    assert sum(one["cells"] for one in done) > 0
    assert len(json.loads(out)["summary"]["trials"]) == 6

    alone = grids_in(tmp_path / "alone", cells=8)
    assert alone.run(*GRID)[0] == 0
    assert alone.record()["summary"] == grids.record()["summary"]
    for path in (alone.out / "curves").iterdir():  # of the coarse grid
        assert (grids.out / "curves" / path.name).read_text() == path.read_text()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_what_a_stopped_worker_had_taken_is_trained_by_others(
    tmp_path: Path, grids_in: MakeGrids, how: signal.Signals
) -> None:
    """The cell of a worker that dies, or is told to end, is trained once more; no other is."""
    grids = grids_in(tmp_path, "journal:study.log", cells=4)
    worker = grids.start(*WORKER, slow=1.0)  # first: while it waits, it has loaded
    leader = grids.start(*GRID, slow=1.0)
    wait_until(lambda: _running(grids) >= 2, what="a cell in the worker's hands")
    worker.send_signal(how)
    code, _, err = ended(worker)
    assert (code, "interrupted" in err) == ((130, True) if how is signal.SIGTERM else (-how, False))
    code, _, err = ended(leader)
    assert code == 0, err
    grids.assert_each_cell_once(journal(grids))
    assert sum(grids.steps_of().values()) <= 5 * STEPS


def _running(grids: Grids) -> int:
    if not (grids.folder / "study.log").exists():
        return 0
    try:
        study = optuna.load_study(study_name="slow-coarse", storage=journal(grids))
    except KeyError:
        return 0
    return len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)))


@pytest.mark.parametrize("storage", [None, "sqlite:///study.db"])
def test_workers_need_a_storage_that_they_can_share(
    tmp_path: Path, grids_in: MakeGrids, storage: str | None
) -> None:
    """Without one, or on SQLite, a worker ends at once with the reason and what to set."""
    code, out, err = grids_in(tmp_path, storage).run(*WORKER)
    assert (code, out) == (2, "")
    assert "SQLite locks its whole file" in err
    assert "journal:PATH" in err


def test_a_worker_draws_no_chart(tmp_path: Path, grids_in: MakeGrids) -> None:
    """A chart that there will never be is refused before the work."""
    grids = grids_in(tmp_path, "journal:study.log")
    code, out, err = grids.run(*WORKER, "--plot", "w.png")
    assert (code, out) == (2, "")
    assert "a worker has no chart" in err
    assert not (tmp_path / "study.log").exists()


def test_a_worker_without_a_leader_ends_with_advice(tmp_path: Path, grids_in: MakeGrids) -> None:
    """A worker that finds no study waits as long as it is told, and says how to start one."""
    code, _, err = grids_in(tmp_path, "journal:study.log").run("worker", "slow.yaml", "--wait", "1")
    assert code == 2
    assert "no study 'slow-coarse'" in err
    assert "lrtune grid --coarse CONFIG" in err


def test_a_study_of_something_else_is_refused(tmp_path: Path, grids_in: MakeGrids) -> None:
    """A leader or worker with other settings than the study's is told the difference, and touches nothing."""
    grids = grids_in(tmp_path, "journal:study.log", cells=2)
    assert grids.run(*GRID)[0] == 0
    before = (grids.folder / "study.log").read_text()
    for command in (GRID, WORKER):
        code, _, err = grids.run(*command, "--set", "coarse.epochs=2", "--set", "run_dir=other")
        assert code == 2
        assert "coarse.epochs: 1 there, 2 here" in err
    assert (grids.folder / "study.log").read_text() == before
    assert grids.run(*GRID, "--set", "coarse.epochs=2", "--set", "study=other")[0] == 0


# --- on a real server -------------------------------------------------------------------------------------------

needs_postgres = pytest.mark.skipif(lacking() is not None, reason=str(lacking()))


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL server of the test's own."""
    made = Server()
    yield made
    made.remove()


@pytest.mark.postgres
@pytest.mark.slow
@needs_postgres
def test_four_workers_on_postgres(
    tmp_path: Path, grids_in: MakeGrids, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four processes, one killed, the server restarted: each cell complete once, and the password nowhere."""
    monkeypatch.setenv("OPTUNA_STORAGE", server.url)
    grids = grids_in(tmp_path, cells=12)
    leader = grids.start("grid", "--refine", "slow.yaml", slow=0.1)
    workers = [grids.start("worker", "slow.yaml", "--wait", "60", "--json", slow=0.2) for _ in range(3)]
    wait_until(lambda: sum(grids.steps_of().values()) > 0 and _told(server) >= 2, what="the first cells")
    workers[0].kill()
    ended(workers[0])
    server.stop()
    server.start()
    code, out, err = ended(leader)
    assert code == 0, err
    outcomes = all_ended(workers[1:])
    assert sum(one["cells"] for one in counts(outcomes)) > 0
    grids.assert_each_cell_once(server.opened(), "slow-coarse")
    assert grids.record("refine")["complete"]
    assert len(grids.record("refine")["summary"]["trials"]) == 6
    reported = grids.run("report", "slow.yaml", "--set", f"storage={server.url}")
    assert reported[0] == 0, reported
    said = [out, err, *reported[1:], *(text for _, one, other in outcomes for text in (one, other))]
    said += [path.read_text() for path in grids.out.rglob("*") if path.suffix in (".json", ".html", ".yaml")]
    assert not any("s3cret" in text for text in said)


def _told(server: Server) -> int:
    try:
        study = optuna.load_study(study_name="slow-coarse", storage=server.opened())
    except KeyError:
        return 0
    return len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))


@pytest.mark.postgres
@needs_postgres
def test_a_database_that_refuses_is_told_at_once(tmp_path: Path, grids_in: MakeGrids, server: Server) -> None:
    """A wrong password is no outage: it is told without waiting, and is not repeated."""
    grids = grids_in(tmp_path, server.url.replace("s3cret", "wr0ng"))
    code, _, err = grids.run(*WORKER)
    assert code == 2
    assert "authentication failed" in err
    assert "wr0ng" not in err
