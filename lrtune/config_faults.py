"""How the faults of a configuration are told: each with its place, what is wrong and the value found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_WORDS = {
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must hold at least one value",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "list_type": "must be a list such as [0.01, 0.1]",
    "dict_type": "must be keys and values such as {{name: adamw}}",
    "model_type": "must be keys and values such as {{name: adamw}}",
    "model_attributes_type": "must be keys and values such as {{name: adamw}}",
    "string_pattern_mismatch": "must be auto, cpu, cuda, cuda:N or mps",
}


def faults_of(
    error: ValidationError, raw: Mapping[str, Any], place: str, overridden: Mapping[str, str], model: Any
) -> list[str]:
    """Return one line a fault: where it is, what is wrong, the value found.

    Args:
        error: What pydantic found.
        raw: The keys as the user gave them.
        place: The file, or `Config`.
        overridden: Key paths that come from the command line, each with its option: `--set`, `--seed`.
        model: Whose keys they are.
    """
    return [_one_fault(fault, raw, place, overridden, model) for fault in error.errors()]


def listed(faults: Sequence[str]) -> str:
    """Return faults as one message."""
    if len(faults) == 1:
        return faults[0]
    return f"{len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults)


def _one_fault(
    fault: ErrorDetails, raw: Mapping[str, Any], place: str, overridden: Mapping[str, str], model: Any
) -> str:
    keys = _keys_into(raw, fault["loc"])
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    where = f"{place}: {path}"
    if given := [how for key, how in overridden.items() if _meet(path, key)]:
        where = given[-1] if given[-1] != "--set" else f"--set {path}"
    if fault["type"] == "extra_forbidden":
        known = _known_keys(keys[:-1], model)
        return f"{where}: unknown key{did_you_mean(str(keys[-1]), known)} (known: {', '.join(known)})"
    found = fault["input"]
    unsaid = path == "storage" or (isinstance(found, dict) and fault["type"] == "value_error")  # a password
    shown = "" if unsaid else f", found {found!r}"
    return f"{where}: {_reworded(fault)}{shown}"


def _meet(path: str, key: str) -> bool:
    """Say whether one path leads to the other: `coarse` leads to `coarse.lr[2]`, `run` not to `run_dir`."""
    return f"{path}.".startswith((f"{key}.", f"{key}[")) or key.startswith(f"{path}.")


def _keys_into(raw: Any, loc: Sequence[str | int]) -> list[str | int]:
    """Return the part of pydantic's location that leads through the user's own keys (it adds tags of unions)."""
    keys: list[str | int] = []
    for key in loc:
        if (isinstance(raw, dict) and key in raw) or (isinstance(raw, list) and isinstance(key, int)):
            keys.append(key)
            raw = raw[key]  # type: ignore[index]
    return keys


def _known_keys(keys: Sequence[str | int], model: Any) -> list[str]:
    for key in keys:
        model = model.model_fields[key].annotation
    return list(model.model_fields)


def _reworded(fault: ErrorDetails) -> str:
    if fault["type"] == "value_error":
        return str(fault["msg"]).removeprefix("Value error, ")
    words = _WORDS.get(fault["type"])
    return words.format(**fault.get("ctx", {})) if words else fault["msg"]
