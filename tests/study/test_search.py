from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.trial import TrialState

from lrtune.study.search import SAMPLERS, Search, StudyFileError
from lrtune.study.space import Space

if TYPE_CHECKING:
    from pathlib import Path

SPACE = Space(0.01, 1.0, 1e-8, 1e-2)
CELLS = [(0.1, 0.0), (0.3, 1e-4)]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a study is kept."""
    return str(tmp_path / "study.db")


def search(path: str | None = None, sampler: str = "tpe", seed: int = 0) -> Search:
    """A search over the space, its cells suggested."""
    made = Search(SPACE, path, "refine", sampler, seed)
    made.suggest(CELLS)
    return made


def test_suggested_cells_come_first() -> None:
    """The queue is asked first, exactly as given; suggesting again adds nothing."""
    made = search()
    made.suggest(CELLS)
    assert [(one.lr, one.weight_decay) for one in made.ask(2)] == CELLS
    third = made.ask(1)[0]
    assert (third.lr, third.weight_decay) not in CELLS
    assert SPACE.lr_low <= third.lr <= SPACE.lr_high


def test_told_rows_come_back(path: str) -> None:
    """Rows told are there again in another search, whatever their end, and their settings are not asked anew."""
    made = search(path)
    one, other = made.ask(2)
    made.tell(one.number, {"row": 1}, 0.5)
    made.tell(other.number, {"row": 2}, None)
    again = search(path)
    assert again.told == [{"row": 1}, {"row": 2}]
    asked = again.ask(3)
    assert not {(new.lr, new.weight_decay) for new in asked} & set(CELLS)
    states = [
        trial.state for trial in optuna.load_study(study_name="refine", storage=f"sqlite:///{path}").trials
    ]
    assert states[:2] == [TrialState.COMPLETE, TrialState.FAIL]


@pytest.mark.parametrize("ended", ["given back", "killed"])
def test_untold_settings_are_asked_again(path: str, ended: str) -> None:
    """Settings in training when a search ends, in good order or not, are the next ones asked for."""
    made = search(path)
    one, other = made.ask(2)
    made.tell(one.number, {"row": 1}, 0.5)
    if ended == "given back":
        made.give_back()
    again = search(path)
    assert again.told == [{"row": 1}]
    asked = again.ask(1)[0]
    assert (asked.lr, asked.weight_decay) == (other.lr, other.weight_decay)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_seeds_repeat(sampler: str, path: str) -> None:
    """The same seed asks for the same settings, also when the search was closed in between; another for others."""

    def asked(seed: int, place: str | None) -> list[tuple[float, float]]:
        settings = []
        for _ in range(5):
            made = search(place, sampler, seed) if place or not settings else made  # noqa: F821
            for one in made.ask(2):
                settings.append((one.lr, one.weight_decay))
                made.tell(one.number, {}, one.lr)
        return settings

    assert asked(3, path) == asked(3, None)
    assert asked(4, None)[2:] != asked(3, None)[2:]


def test_trials_of_a_batch_differ() -> None:
    """Trials that are asked for together are spread out, not one setting several times."""
    made = search()
    for one in made.ask(10):
        made.tell(one.number, {}, one.lr)
    assert len({one.lr for one in made.ask(5)}) == 5


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look at" * 20, b"SQLite format 3\0" + b"\1" * 500]
)
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    """A file that is no study is told as such."""
    place = tmp_path / "study.db"
    place.write_bytes(content)
    with pytest.raises(StudyFileError):
        search(str(place))
