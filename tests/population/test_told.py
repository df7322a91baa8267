from __future__ import annotations

from lrtune.population.plans import Plan
from lrtune.population.told import Told
from lrtune.progress import Silent


class Notes(Silent):
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        self.notes.append(text)


def test_a_step_is_named_once_for_each_execution() -> None:
    """A line names the step, how many members and how; the next step begins anew."""
    notes = Notes()
    told = Told(notes)
    told.begin("overfit")
    for count in (9, 3):
        told.choose(count, Plan("serial", False, "so"))
    told.choose(9, Plan("fused", True, "fast"))
    told.begin("find-lr")
    told.choose(1, Plan("sharded", True, "faster", 4, "fused"))
    assert notes.notes == [
        "overfit: 9 members one after the other",
        "overfit: 9 members as one program",
        "find-lr: 1 member in 4 processes, as one program in each",
    ]


def test_reasons_are_kept_and_not_said() -> None:
    """Each plan that is used stands with its reason once, until the next step begins."""
    notes = Notes()
    told = Told(notes)
    told.begin("overfit")
    for _ in range(2):
        told.use(9, Plan("serial", False, "too short", channels_last=True))
    assert told.reasons == ["9 members one after the other, channels last: too short"]
    told.begin("find-lr")
    assert (told.reasons, notes.notes) == ([], [])
