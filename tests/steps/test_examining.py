from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
from programs import blob_task, context_of

from lrtune.probes.sample import Sample
from lrtune.steps.examining import Examination, Examined, examine, left_out

if TYPE_CHECKING:
    from programs import Notes

taken: list[str] = []


def probe(name: str) -> Any:
    """Return a probe that says that it was asked."""
    return lambda sample: taken.append(name)


DEAR = tuple(
    Examination(name, probe(name), (), codes=(f"code-{name}",), passes=passes)
    for name, passes in (("dear", 59.0), ("cheap", 0.5), ("dearest", 61.0))
)


def examined(pass_seconds: float) -> list[Examined]:
    """Examine a model of which a pass takes so many seconds."""
    context = context_of(blob_task())
    sample = Sample(context.program, context.data.train, context.data.train.head(1, 0), 0)
    taken.clear()
    found = examine(sample, context.progress, DEAR, pass_seconds)
    assert cast("Notes", context.progress).notes == []
    return found


def test_the_cheapest_come_first() -> None:
    """What time does not suffice for is left out, with the codes that were not looked for; the list's order stays."""
    done = examined(5.0)
    assert taken == ["cheap", "dear"]
    assert [one.name for one in done] == ["dear", "cheap", "dearest"]
    assert [one.skipped for one in done] == ["nothing to measure", "nothing to measure", "no time left"]
    assert [one.unseen for one in done] == [(), (), ("code-dearest",)]
    assert done[2].told()["unseen"] == ["code-dearest"]
    assert "unseen" not in done[0].told()


def test_what_was_left_out_is_a_finding() -> None:
    """The message counts and names it."""
    late = left_out(examined(5.0))
    assert late is not None
    assert (late.code, late.severity) == ("out-of-time", "warning")
    assert late.message.startswith("1 of 3 examinations of the untrained model were not done")
    assert late.message.endswith(": dearest.")


@pytest.mark.parametrize("pass_seconds", [0.0, 0.01, 0.36, 0.9])
def test_models_of_usual_size_are_examined_whole(pass_seconds: float) -> None:
    """Sixty seconds are enough for whatever a pass of less than one takes, so that the clock decides nothing."""
    done = examined(pass_seconds)
    assert set(taken) == {"cheap", "dear", "dearest"}
    assert left_out(done) is None


def test_one_that_fails_names_what_it_did_not_look_for() -> None:
    """A probe that raises on what lrtune altered leaves its codes unseen; one with nothing to measure does not."""

    def broken(sample: Any) -> Any:
        raise RuntimeError("odd batch")

    context = context_of(blob_task())
    sample = Sample(context.program, context.data.train, context.data.train.head(1, 0), 0)
    both = (Examination("broken", broken, (), codes=("target-leak",)), DEAR[1])
    first, second = examine(sample, context.progress, both)
    assert (first.skipped, first.unseen) == ("odd batch", ("target-leak",))
    assert (second.skipped, second.unseen) == ("nothing to measure", ())
    assert left_out([first, second]) is None
