"""How members are trained, and what is remembered of it from one command to the next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Execution = Literal["serial", "fused", "sharded"]
Nested = Literal["serial", "fused"]

AS_SET = "as set"  # the reason of a plan that the user has chosen
_SEVERAL = " in several orders"


@dataclass(frozen=True)
class Plan:
    """How members are trained.

    Attributes:
        execution: What trains them.
        traced: Whether a fused program, nested or not, is recorded and played again.
        reason: Why, in a line.
        workers: Processes of a sharded execution, else 1.
        nested: What trains the members within a worker.
        channels_last: Whether convolutions' weights lie in memory channel by channel; where members train one by one.
    """

    execution: Execution
    traced: bool
    reason: str
    workers: int = 1
    nested: Nested = "serial"
    channels_last: bool = False

    @property
    def words(self) -> str:
        """How, for a person: what follows "9 members"."""
        laid = ", channels last" if self.channels_last else ""
        if self.execution == "serial":
            return f"one after the other{laid}"
        if self.execution == "fused":
            return "as one program"
        within = "as one program in each" if self.nested == "fused" else "one after the other in each"
        return f"in {self.workers} processes, {within}{laid}"

    @property
    def fuses(self) -> bool:
        """Whether a fused program is part of it."""
        return "fused" in (self.execution, self.nested)


def one_by_one(reason: str) -> Plan:
    """Return the plan that always works."""
    return Plan("serial", traced=False, reason=reason)


def key_of(count: int, several: bool) -> str:
    """Return what a plan is kept under: how many members it is for, and whether in several data orders."""
    return f"{count}{_SEVERAL if several else ''}"


def trusted_orders(plans: Mapping[str, Plan]) -> set[bool]:
    """Return for one order (False) and for several (True) whether a plan says that the preflight has passed."""
    return {key.endswith(_SEVERAL) for key, plan in plans.items() if plan.fuses}


def as_values(plans: Mapping[str, Plan]) -> dict[str, Any]:
    """Return plans as plain values."""
    return {key: asdict(plan) for key, plan in plans.items()}


def from_values(known: Mapping[str, Any]) -> dict[str, Plan]:
    """Return the plans that plain values say, leaving out what another version of lrtune may have written."""
    try:
        return {key: Plan(**values) for key, values in known.items() if _is_plan(values)}
    except (TypeError, AttributeError):
        return {}


def _is_plan(values: Any) -> bool:
    if not isinstance(values, dict) or values.keys() - {field.name for field in fields(Plan)}:
        return False
    workers = values.get("workers", 1)
    executions = values.get("execution") in get_args(Execution) and values.get(
        "nested", "serial"
    ) in get_args(Nested)
    flags = (values.get("traced"), values.get("channels_last", False))
    said = all(isinstance(flag, bool) for flag in flags) and isinstance(values.get("reason"), str)
    return executions and said and type(workers) is int and workers >= 1
