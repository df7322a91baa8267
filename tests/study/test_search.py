from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lrtune.study.opening import StudyFileError
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue
from lrtune.study.search import SAMPLERS, Asked, Search, place_of
from lrtune.study.space import Space

if TYPE_CHECKING:
    from pathlib import Path

SPACE = Space(0.01, 1.0, 1e-8, 1e-2)
CELLS = [(0.1, 0.0), (0.3, 1e-4)]
ROW = {"state": "complete", "curve": "c"}


class Asking:
    """A search with its queue, asked and told as a step does."""

    def __init__(
        self, path: str | None = None, sampler: str = "tpe", seed: int = 0, trials: int = 20
    ) -> None:
        self.queue = TrialQueue(StudyPlace(path, "refine"))
        self.search = Search(self.queue, SPACE, sampler, seed)
        self.wanted = self.search.wanted(trials, CELLS)

    def ask(self, count: int) -> list[Asked]:
        """Take and draw so many."""
        told = self.queue.told()
        missing = [one for one in self.wanted if one.identity not in told]
        self.queue.ensure(missing, count)
        return self.search.draw(self.queue.take(count, missing))

    def tell(self, asked: Asked) -> None:
        """Tell a trial; its rate is its loss."""
        self.queue.tell(asked.taken, ROW, asked.lr, {})


def test_given_cells_come_first() -> None:
    """The first trials are the cells exactly as given, the next is drawn within the space."""
    asking = Asking()
    assert [(one.lr, one.weight_decay) for one in asking.ask(2)] == CELLS
    (third,) = asking.ask(1)
    assert (third.lr, third.weight_decay) not in CELLS
    assert SPACE.lr_low <= third.lr <= SPACE.lr_high


@pytest.mark.parametrize("ended", ["given back", "killed"])
def test_drawn_settings_are_not_drawn_anew(tmp_path: Path, ended: str) -> None:
    """What was in training when a search ends, in good order or not, is trained with the same settings."""
    path = str(tmp_path / "study.db")
    asking = Asking(path)
    asked = asking.ask(4)
    asking.tell(asked[0])
    if ended == "given back":
        asking.queue.close()
    again = Asking(path)
    settings = {(one.lr, one.weight_decay) for one in again.ask(3)}
    assert settings == {(one.lr, one.weight_decay) for one in asked[1:]}
    for one in (again, asking):
        one.queue.close()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_repeat(sampler: str, tmp_path: Path) -> None:
    """The same seed draws the same settings, also when the search was closed in between; another draws others."""

    def asked(seed: int, path: str | None) -> list[tuple[float, float]]:
        settings = []
        asking = Asking(path, sampler, seed)
        for _ in range(5):
            if path:
                asking.queue.close()
                asking = Asking(path, sampler, seed)
            for one in asking.ask(2):
                settings.append((one.lr, one.weight_decay))
                asking.tell(one)
        asking.queue.close()
        return settings

    assert asked(3, str(tmp_path / "study.db")) == asked(3, None)
    assert asked(4, None)[2:] != asked(3, None)[2:]


def test_trials_of_a_batch_differ() -> None:
    """Trials that are drawn together are spread out, not one setting several times."""
    asking = Asking()
    for one in asking.ask(10):
        asking.tell(one)
    assert len({one.lr for one in asking.ask(5)}) == 5


def test_there_are_as_many_trials_as_wanted() -> None:
    """A search of three trials gives out three."""
    asking = Asking(trials=3)
    assert [place_of(one.taken.identity) for one in asking.ask(9)] == [0, 1, 2]
    assert asking.ask(9) == []


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look at" * 20, b"SQLite format 3\0" + b"\1" * 500]
)
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    """A file that is no study is told as such."""
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with pytest.raises(StudyFileError):
        Asking(str(path))
