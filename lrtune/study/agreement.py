"""That a shared study is of what this process is asked to work on: the same task, settings and space."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from lrtune.storage import StorageError
from lrtune.study.opening import NoStudyError
from lrtune.study.queue import TrialQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.study.place import StudyPlace

_PAUSE = 1.0  # seconds between two looks for what another process is to make, or makes at this moment
_SHOWN = 60  # characters of a value in a message


def agree(
    queue: TrialQueue,
    setup: Mapping[str, Any],
    apart_from: tuple[str, ...] = (),
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Return what a study is of, saying it where nobody has.

    Args:
        queue: The study.
        setup: What this process takes it to be of, as plain values.
        apart_from: Keys in which the study's own word counts.
        pause: Sleeps for so many seconds.

    Raises:
        StorageError: If it is of something else, with the difference.
    """
    plain: dict[str, Any] = json.loads(json.dumps(setup))
    if queue.setup is None:
        queue.set_up(plain)
        if (
            queue.place.shared
        ):  # another may have found nothing too: whoever writes last has said it, for both
            pause(_PAUSE)
    found = queue.setup or plain
    differences = list(differing(found, plain, apart_from))
    if differences:
        raise StorageError(
            f"storage: the study '{queue.place.name}' in {queue.place} is of something else: {'; '.join(differences)}. "
            "Give this one another name (--set study=NAME), or take back what has changed"
        )
    return found


def differing(
    found: Mapping[str, Any], wanted: Mapping[str, Any], apart_from: tuple[str, ...] = (), above: str = ""
) -> list[str]:
    """Return what differs, a line a key: `coarse.epochs: 3 there, 5 here`."""
    lines: list[str] = []
    for key in {**found, **wanted}:
        there, here = found.get(key), wanted.get(key)
        if f"{above}{key}" in apart_from or there == here:
            continue
        if isinstance(there, dict) and isinstance(here, dict):
            lines += differing(there, here, apart_from, f"{above}{key}.")
        else:
            lines.append(f"{above}{key}: {_short(there)} there, {_short(here)} here")
    return lines


def wait_for_study(
    places: Sequence[StudyPlace],
    seconds: float,
    pause: Callable[[float], None] = time.sleep,
    told: Callable[[], object] = lambda: None,
) -> TrialQueue | None:
    """Open the first study that is there of some that another process makes; None where none is in so many seconds.

    Args:
        places: Where they will be, in the order of their turn.
        seconds: How long to wait.
        pause: Sleeps for so many seconds.
        told: Called once before the first pause.
    """
    waited = 0.0
    while True:
        for place in places:
            if (queue := _opened(place)) is not None:
                return queue
        if waited >= seconds:
            return None
        if waited == 0:
            told()
        step = min(_PAUSE, seconds - waited)
        pause(step)
        waited += step


def _opened(place: StudyPlace) -> TrialQueue | None:
    try:
        queue = TrialQueue(place, create=False)
    except NoStudyError:
        return None
    if queue.setup is not None:
        return queue
    queue.close()  # made, and not yet said what it is of
    return None


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
