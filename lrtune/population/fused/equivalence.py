"""Equivalence before trust: a few steps of both executions, compared, before the fused one is used.

Running over rows goes wrong in silence for some models: a buffer that `forward` binds anew, a counter, a hook, a number
that a tape has frozen. No list of such causes would be complete, so the numbers are compared: from equal parameters, on
equal batches, each member's loss, gradients, buffers and update against those of its own model trained alone. Both go
on from the fused execution's values, so that each step tests one pass and no difference has time to grow.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lrtune.data.nest import map_nest
from lrtune.errors import LrtuneError
from lrtune.population.doubled import double, in_double
from lrtune.population.fused.comparison import DifferentError, UnlikeError
from lrtune.population.fused.failing import first_line
from lrtune.population.fused.held_state import HeldState, outside_holders
from lrtune.population.fused.lockstep import Lockstep
from lrtune.population.fused.preflight_batches import preflight_batches
from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.fused.undrawn import Undrawn
from lrtune.population.outside import outside_kept
from lrtune.population.protocol import Member
from lrtune.random_state import RandomStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program

_MEMBERS = 3  # two could agree by chance with a dimension of the model's, and swap with it
_STEPS = 3  # computed, recorded and played, and played on another batch and other parameters
_SPREAD = 2.0  # between the rates of neighbours: enough to tell the rows apart
_DECAY = 1e-2  # AdamW's own, where the members have none


def why_not_fused(
    program: Program, members: Sequence[Member], train: Batches, traced: bool = True
) -> str | None:
    """Return in a line why these members cannot be trained as one program; None if they can.

    Costs nine steps of one member and about as many of the fused program of three, twice that where float32 leaves
    it open: on a CPU 0.03 s of a perceptron, 0.5 s of a small residual network. Random states, and the modules of the
    task's loss and step, are as before afterwards; what is trained are models of its own.

    Args:
        program: Model, loss and optimizer.
        members: Those to be trained; up to three are imitated, at rates of their range, decays and seeds that differ.
        train: The training batches.
        traced: Whether the program is to be recorded and played.
    """
    imitated = _imitated(members)
    outside = HeldState(outside_holders(program.task), registered=True)
    with RandomStream(members[0].seed), outside_kept(program.task):
        try:
            batches = preflight_batches(train, [member.order for member in imitated], _STEPS)
            return _difference(program, imitated, batches, traced)
        except LrtuneError as error:
            return f"a member trained alone fails: {first_line(error)}"
        finally:
            outside.put_back()


def _difference(
    program: Program, members: Sequence[Member], batches: list[list[Any]], traced: bool
) -> str | None:
    undrawn = Undrawn()
    try:
        _compare(Lockstep(program, members, traced, undrawn), batches)
    except DifferentError as error:
        # A batch norm over few examples, or a ReLU at zero, makes much of the last bits: those of float64 are other
        # ones. Where half precision is used (autocast leaves float64 alone) that would be another program.
        doubled = None if undrawn.halved else in_double(program)
        if doubled is None:
            return str(error)
        return str(error) if _fails_in_double(doubled, members, map_nest(double, batches), traced) else None
    except (UnlikeError, CannotFuseError) as error:
        return str(error)
    return None


def _fails_in_double(
    program: Program, members: Sequence[Member], batches: list[list[Any]], traced: bool
) -> bool:
    try:
        _compare(Lockstep(program, members, traced, Undrawn()), batches)
    except (UnlikeError, CannotFuseError, LrtuneError):
        return True
    return False


def _compare(lockstep: Lockstep, batches: list[list[Any]]) -> None:
    for batch in batches:
        lockstep.step(batch)
    lockstep.check_attributes(batches[0])
    for training_mode in (False, True):
        lockstep.evaluate([own[0] for own in batches], training_mode)
    lockstep.check_independence(batches[-1])


def _imitated(members: Sequence[Member]) -> list[Member]:
    """Return members that differ in everything that members may differ in."""
    count = min(max(len(members), 2), _MEMBERS)
    rates = [rate for one in members for rate in (*one.schedule, one.learning_rate) if rate > 0] or [1e-3]
    low, high = min(rates), max(rates)
    middle = math.sqrt(low) * math.sqrt(high)
    spread = min(_SPREAD, math.sqrt(high / low)) if high > low else _SPREAD
    decay = max(one.weight_decay for one in members) or _DECAY
    orders = list(dict.fromkeys(one.order for one in members))
    return [
        Member(
            learning_rate=middle * spread ** (at - 1),
            weight_decay=decay / 2**at,
            seed=members[0].seed + at,
            order=orders[at % len(orders)],
        )
        for at in range(count)
    ]
