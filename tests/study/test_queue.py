from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.trial import TrialState

from lrtune.storage import StorageError, parsed
from lrtune.study.grid import wanted_cells
from lrtune.study.life import InAttributes
from lrtune.study.opening import NoStudyError
from lrtune.study.patience import Patience
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue
from lrtune.study.trials import Wanted, losses_by_epoch
from lrtune.study.waiting import enqueue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CELLS = wanted_cells({f"cell {at}": {"lr": 0.1 * (at + 1), "weight_decay": 0.0} for at in range(4)})
ROW = {"state": "complete", "curve": "c"}


@pytest.fixture(params=["memory", "file", "journal"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StudyPlace:
    """Each place that needs no server."""
    return place_in(request.param, tmp_path)


def place_in(kind: str, folder: Path, heartbeat: int = 60) -> StudyPlace:
    """A place of a kind."""
    if kind == "journal":
        return StudyPlace(None, "coarse", parsed(f"journal:{folder / 'study.log'}"), heartbeat)
    return StudyPlace(str(folder / "study.db") if kind == "file" else None, "coarse")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[list[TrialQueue]]:
    """Two processes' queues on one journal."""
    queues = [TrialQueue(place_in("journal", tmp_path)) for _ in range(2)]
    yield queues
    for queue in queues:
        queue.close()


def states(queue: TrialQueue) -> list[TrialState]:
    """The states of all trials."""
    return [trial.state for trial in queue.study.get_trials(deepcopy=False)]


def tell(queue: TrialQueue, taken: Any, state: str = "complete") -> bool:
    """Tell a trial with a loss of 0.5."""
    loss = 0.5 if state == "complete" else None
    return queue.tell(taken, {**ROW, "state": state}, loss, {1: 0.7, 2: 0.5}, "curve")


def test_trials_are_enqueued_once(place: StudyPlace) -> None:
    """Each identity has one trial with its parameters, however often it is asked for."""
    queue = TrialQueue(place)
    queue.ensure(CELLS)
    queue.ensure(CELLS)
    trials = queue.study.get_trials()
    assert [trial.params["lr"] for trial in trials] == [pytest.approx(0.1 * at) for at in range(1, 5)]
    assert set(states(queue)) == {TrialState.WAITING}
    queue.close()


def test_taking_telling_and_what_optuna_sees(place: StudyPlace) -> None:
    """What is taken is nobody else's, what is told is there with row, curve and losses; states are Optuna's."""
    queue = TrialQueue(place)
    queue.ensure(CELLS)
    taken = queue.take(3, CELLS)
    assert [one.identity for one in taken] == ["cell 0", "cell 1", "cell 2"]
    for one, state in zip(taken, ("complete", "diverged", "pruned"), strict=True):
        assert tell(queue, one, state)
    assert states(queue) == [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, TrialState.WAITING]
    assert queue.study.best_value == 0.5
    assert queue.study.trials[0].intermediate_values == {1: 0.7, 2: 0.5}
    told = queue.told()
    assert {name: one.row["state"] for name, one in told.items()} == {
        "cell 0": "complete", "cell 1": "diverged", "cell 2": "pruned",
    }  # fmt: skip
    assert told["cell 0"].curve == "curve"
    queue.ensure(CELLS)
    assert len(states(queue)) == 4
    queue.close()


@pytest.mark.parametrize("kind", ["file", "journal"])
def test_what_is_not_told_goes_back_to_the_queue(tmp_path: Path, kind: str) -> None:
    """A queue that is closed gives its trials back: the next finds them waiting, and nobody has died."""
    queue = TrialQueue(place_in(kind, tmp_path))
    queue.ensure(CELLS)
    first, _ = queue.take(2, CELLS)
    tell(queue, first)
    queue.close()
    again = TrialQueue(place_in(kind, tmp_path))
    assert list(again.told()) == ["cell 0"]
    taken = again.take(9, CELLS)
    assert {one.identity for one in taken} == {"cell 1", "cell 2", "cell 3"}
    assert {one.deaths for one in taken} == {0}
    again.close()


def test_a_killed_process_leaves_its_trials_to_the_next(tmp_path: Path) -> None:
    """Alone, what was in training is enqueued again; what killed two processes comes alone the next time."""
    for taken_at_once in (2, 2, 1):
        queue = TrialQueue(place_in("file", tmp_path))
        queue.ensure(CELLS[:2])
        taken = queue.take(2, CELLS)
        assert len(taken) == taken_at_once
    assert taken[0].deaths == 2
    queue.close()


def test_two_processes_take_each_trial_once(journal: list[TrialQueue]) -> None:
    """Whatever two processes take at the same time, no trial is in both hands."""
    one, other = journal
    one.ensure(CELLS)
    taken: list[str] = []

    def work(queue: TrialQueue) -> None:
        while batch := queue.take(1, CELLS):
            taken.append(batch[0].identity)

    threads = [threading.Thread(target=work, args=(queue,)) for queue in (one, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(cell.identity for cell in CELLS)
    assert one.under_way([CELLS[0].identity]) + other.under_way([CELLS[0].identity]) == 1


def test_of_two_trials_of_one_identity_the_first_counts(journal: list[TrialQueue]) -> None:
    """Where two processes have enqueued a cell at once, the later trial is dropped and never trained."""
    one, other = journal
    one.ensure(CELLS[:1])
    enqueue(one.study, CELLS[0], [])  # what another process does that has not seen the first yet
    (taken,) = one.take(9, CELLS)
    assert other.take(9, CELLS) == []
    assert tell(one, taken)
    assert other.take(9, CELLS) == []
    assert states(one) == [TrialState.COMPLETE, TrialState.FAIL]


@pytest.mark.parametrize("first", ["late", "other"])
def test_of_two_that_train_a_trial_the_first_to_tell_counts(journal: list[TrialQueue], first: str) -> None:
    """One thought dead that comes back, and the one that trains its trial anew: one row, whoever tells it first."""
    one, other = journal
    one.ensure(CELLS[:1])
    (taken,) = one.take(1, CELLS)
    other.storage.set_trial_state_values(taken.trial_id, TrialState.FAIL)
    other.ensure(CELLS[:1])
    (again,) = other.take(1, CELLS)
    assert again.deaths == 1
    tellers = [(one, taken), (other, again)] if first == "late" else [(other, again), (one, taken)]
    assert [tell(*teller) for teller in tellers] == [True, False]
    assert list(one.told()) == list(other.told()) == ["cell 0"]
    assert states(one).count(TrialState.COMPLETE) == 1
    assert TrialState.RUNNING not in states(one)


def test_a_late_result_is_not_trained_again(journal: list[TrialQueue]) -> None:
    """A result that comes before anybody has begun anew ends the waiting trial, has its parameters, and is no death."""
    one, other = journal
    one.ensure(CELLS[:1])
    (taken,) = one.take(1, CELLS)
    other.storage.set_trial_state_values(taken.trial_id, TrialState.FAIL)
    other.ensure(CELLS[:1])
    assert tell(one, taken)
    assert tell(one, taken)  # as after an answer that was lost on the way
    assert states(other) == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    told = other.study.trials[-1]
    assert (told.value, told.params, told.intermediate_values) == (0.5, CELLS[0].params, {1: 0.7, 2: 0.5})
    assert other.told()["cell 0"].curve == "curve"
    other.set_aside([told.number])
    other.ensure(CELLS[:1])
    (again,) = other.take(1, CELLS)
    assert again.deaths == 0


def test_after_an_outage_the_living_have_time(tmp_path: Path) -> None:
    """Whoever was cut off from the storage holds nobody for dead before a whole grace has passed."""
    now = [0.0]
    one, other = (TrialQueue(place_in("journal", tmp_path, heartbeat=5)) for _ in range(2))
    one.ensure(CELLS[:1])
    one.take(1, CELLS)
    other._life = InAttributes(other.study, other.storage, other.place.grace, lambda: now[0])
    other._connection.patiently = Patience(other.place, clock=lambda: now[0])
    other.take(1, CELLS)  # sees the trial
    now[0] = 100
    other.patiently.missed()
    for at in (101, 119):
        now[0] = at
        other.take(1, CELLS)
        assert states(other) == [TrialState.RUNNING]
    now[0] = 120
    other.take(1, CELLS)
    assert states(other) == [TrialState.FAIL]
    one.close()
    other.close()


def test_a_trial_told_by_half_is_trained_anew(tmp_path: Path) -> None:
    """A process that died between a row and its state has not told: the loss would be missing."""
    queue = TrialQueue(place_in("file", tmp_path))
    queue.ensure(CELLS[:1])
    (taken,) = queue.take(1, CELLS)
    queue.storage.set_trial_user_attr(taken.trial_id, "lrtune", ROW)
    again = TrialQueue(place_in("file", tmp_path))
    assert again.told() == {}
    again.ensure(CELLS[:1])
    assert len(again.take(1, CELLS)) == 1
    for one in (again, queue):
        one.close()


def test_set_aside_trials_are_trained_anew(place: StudyPlace) -> None:
    """A trial set aside is told no more, and its identity gets another."""
    queue = TrialQueue(place)
    queue.ensure(CELLS[:1])
    tell(queue, queue.take(1, CELLS)[0], "failed")
    queue.set_aside([queue.told()["cell 0"].number])
    assert queue.told() == {}
    queue.ensure(CELLS[:1])
    (again,) = queue.take(1, CELLS)
    assert tell(queue, again)
    assert list(queue.told()) == ["cell 0"]
    queue.close()


def test_two_set_aside_at_once(journal: list[TrialQueue]) -> None:
    """What two processes set aside without having heard of each other is set aside, all of it."""
    one, other = journal
    one.ensure(CELLS[:2])
    for taken in one.take(2, CELLS):
        tell(one, taken)
    numbers = [told.number for told in one.told().values()]
    assert len(other.told()) == 2
    one.set_aside(numbers[:1])
    other.set_aside(numbers[1:])
    assert one.told() == other.told() == {}


def test_drawn_parameters_stay(place: StudyPlace) -> None:
    """A trial that is enqueued again has the parameters that were drawn for it, and only as many wait as asked."""
    queue = TrialQueue(place)
    wanted = [Wanted(f"trial {at}") for at in range(5)]
    queue.ensure(wanted, ahead=2)
    assert len(states(queue)) == 2
    (taken,) = queue.take(1, wanted)
    drawn = optuna.Trial(queue.study, taken.trial_id).suggest_float("lr", 0, 1)
    queue.give_back()
    (again,) = [one for one in queue.take(2, wanted) if one.identity == "trial 0"]
    assert optuna.Trial(queue.study, again.trial_id).suggest_float("lr", 0, 1) == drawn
    queue.close()


def test_adopted_rows_are_told(place: StudyPlace) -> None:
    """A row of the plain files becomes a finished trial of the study."""
    queue = TrialQueue(place)
    queue.adopt(CELLS[0], ROW, 0.25, {1: 0.25})
    assert queue.told()["cell 0"].row == ROW
    assert queue.study.best_value == 0.25
    queue.close()


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    """Whoever is not to make a study is told that there is none; nothing is made."""
    with pytest.raises(NoStudyError):
        TrialQueue(place_in("journal", tmp_path), create=False)


def test_sqlite_by_url_serves_one_process(tmp_path: Path) -> None:
    """A second process on the same SQLite file is refused, with the reason, until the first has closed."""
    place = StudyPlace(None, "coarse", parsed(f"sqlite:///{tmp_path / 'x.db'}"))
    queue = TrialQueue(place)
    with pytest.raises(StorageError, match="SQLite serves one at a time"):
        TrialQueue(place)
    queue.close()
    TrialQueue(place).close()


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 9000])
def test_damaged_sqlite_by_url_is_named(tmp_path: Path, content: bytes) -> None:
    """A damaged file that the user named is told by its name, left as it is, and not taken for the run directory's."""
    file = tmp_path / "bad.db"
    file.write_bytes(content)
    with pytest.raises(StorageError, match=r"bad\.db refuses: .*left as it is"):
        TrialQueue(StudyPlace(str(tmp_path / "study.db"), "coarse", parsed(f"sqlite:///{file}")))
    assert file.read_bytes() == content


def test_losses_by_epoch() -> None:
    """The validation loss after each epoch, else the training loss; not that before any training."""
    rows: list[dict[str, Any]] = [
        {"epoch": 0, "val_loss": 3.0},
        {"epoch": 1, "val_loss": 2.0, "train_loss": 1.0},
        {"epoch": 2, "val_loss": None, "train_loss": 0.5},
        {"epoch": 3, "val_loss": None},
    ]
    assert losses_by_epoch(rows) == {1: 2.0, 2: 0.5}
