from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lrtune.storage import StorageError, parsed
from lrtune.study.agreement import agree, differing, wait_for_study
from lrtune.study.opening import check_shared
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> StudyPlace:
    """A journal."""
    return StudyPlace(None, "toy-coarse", parsed(f"journal:{tmp_path / 'log'}"))


def test_the_first_says_what_a_study_is_of(place: StudyPlace) -> None:
    """Who comes later agrees, or is told the difference; in what is the study's own word, that counts."""
    queue = TrialQueue(place)
    setup = {"made_from": {"seed": 0, "coarse": {"epochs": 1}}, "suggestion": 0.1}
    assert agree(queue, setup) == setup
    assert agree(queue, {**setup, "suggestion": None}, ("suggestion",)) == setup
    with pytest.raises(StorageError, match=r"made_from.coarse.epochs: 1 there, 3 here.*--set study=NAME"):
        agree(queue, {**setup, "made_from": {"seed": 0, "coarse": {"epochs": 3}}})
    queue.close()


@pytest.mark.parametrize("other", [{"a": 1, "suggestion": 0.3}, {"a": 2, "suggestion": 0.3}])
def test_two_that_begin_at_once_agree(place: StudyPlace, other: dict[str, float]) -> None:
    """Where another has written at the same moment, its word is the study's: the same, or a difference to be told."""
    queue, rival = TrialQueue(place), TrialQueue(place)
    found: list[dict[str, float]] = []

    def meanwhile(seconds: float) -> None:
        rival.set_up(other)

    def begin() -> None:
        found.append(agree(queue, {"a": 1, "suggestion": 0.1}, ("suggestion",), meanwhile))

    if other["a"] == 1:
        begin()
        assert found == [other]
    else:
        with pytest.raises(StorageError, match="a: 2 there, 1 here"):
            begin()
    queue.close()
    rival.close()


def test_differences_are_short() -> None:
    """A key that one side lacks, and a long value, are told in a line."""
    assert differing({"a": 1}, {"b": "x" * 100}) == [
        "a: 1 there, nothing here",
        f"b: nothing there, {'x' * 57}... here",
    ]


def test_a_study_is_waited_for(place: StudyPlace) -> None:
    """A study that is made, and has said what it is of, is found; the wait is told once."""
    pauses: list[float] = []
    told: list[int] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        queue = TrialQueue(place)
        if len(pauses) == 2:  # at first it is there and has said nothing
            queue.set_up({"a": 1})
        queue.close()

    found = wait_for_study([place], 5, pause, lambda: told.append(1))
    assert found is not None
    assert found.setup == {"a": 1}
    assert (len(pauses), told) == (2, [1])
    found.close()


def test_the_wait_ends(place: StudyPlace) -> None:
    """Where nobody makes the study, there is none."""
    pauses: list[float] = []
    assert wait_for_study([place], 2.5, pauses.append) is None
    assert sum(pauses) == 2.5


def test_what_cannot_be_shared_is_refused(place: StudyPlace) -> None:
    """Memory and SQLite are of one process; a journal is for all."""
    for storage in (None, parsed("sqlite:///x.db")):
        with pytest.raises(StorageError, match="SQLite locks its whole file"):
            check_shared(StudyPlace(None, "x", storage))
    check_shared(place)
