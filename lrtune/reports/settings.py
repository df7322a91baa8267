"""The best settings in forms that one can paste: YAML, a line of PyTorch, words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import finite, number
from lrtune.reports.tables import further_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

# torch.optim's classes (torch 2.13) by their name in lower case; the report must not import torch to know them.
_CLASSES = (
    *("ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam"),
    *("RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam"),
)
_BY_NAME = {name.lower(): name for name in _CLASSES}
_TASKS_OWN = "task:task.optimizer"
_PLAIN_FROM, _PLAIN_TO = 1e-3, 1e4
_FOUND = ("name", "lr", "weight_decay")  # what a trial decides or the line starts with


def exact(value: object) -> str:
    """Return a number with four significant digits that Python and YAML 1.1 both read as a number.

    >>> [exact(x) for x in (0.05, 1e-05, 0, 0.123456, 0.00020876)]
    ['0.05', '1.0e-05', '0', '0.1235', '2.088e-04']
    """
    known = finite(value)
    if known is None:
        return "null"
    if known == 0 or _PLAIN_FROM <= abs(known) < _PLAIN_TO:
        return f"{known:.4g}"
    mantissa, _, exponent = f"{known:.3e}".partition("e")
    stripped = mantissa.rstrip("0")
    return f"{stripped}0e{exponent}" if stripped.endswith(".") else f"{stripped}e{exponent}"


def optimizer_of(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer that the trials were trained with; the task's own one, where it has one, is `task`'s."""
    if context.get("own_optimizer"):
        return {"name": _TASKS_OWN}
    return dict(context.get("optimizer") or {})


def yaml_lines(trial: Mapping[str, Any], optimizer: Mapping[str, Any]) -> str:
    """Return the settings as lines of YAML."""
    optimizer = trained_with(optimizer, trial)
    lines = [f"learning_rate: {exact(trial.get('lr'))}"]
    if trial.get("weight_decay") is not None:
        lines.append(f"weight_decay: {exact(trial['weight_decay'])}")
    if optimizer.get("name") and optimizer["name"] != _TASKS_OWN:
        items = {"name": optimizer["name"], **_keywords(optimizer)}
        inside = ", ".join(f"{key}: {_yaml(value)}" for key, value in items.items())
        lines.append(f"optimizer: {{{inside}}}")
    lines += [f"{axis}: {_yaml(value)}" for axis, value in other_axes(trial).items()]
    return "\n".join(lines)


def torch_line(trial: Mapping[str, Any], optimizer: Mapping[str, Any]) -> str:
    """Return the line of PyTorch that builds the optimizer; an own one is called as lrtune calls it."""
    optimizer = trained_with(optimizer, trial)
    name = str(optimizer.get("name") or "sgd")
    rate, decay = exact(trial.get("lr")), exact(trial.get("weight_decay") or 0)
    if _is_own(optimizer):
        return f"optimizer = {name.rpartition(':')[2]}(model, {rate}, {decay})"
    found = _BY_NAME.get(name.lower(), name)
    rest = "".join(f", {key}={_python(value)}" for key, value in _keywords(optimizer).items())
    return f"optimizer = torch.optim.{found}(model.parameters(), lr={rate}, weight_decay={decay}{rest})"


def optimizer_words(optimizer: Mapping[str, Any]) -> str:
    """Return the optimizer in words, empty if it is not known.

    >>> optimizer_words({"name": "sgd", "momentum": 0.9})
    'SGD (momentum 0.9)'
    """
    if _is_own(optimizer):
        return f"optimizer {str(optimizer['name']).rpartition(':')[2]}"
    name = str(optimizer.get("name") or "")
    rest = ", ".join(f"{key} {_words(value)}" for key, value in _keywords(optimizer).items())
    shown = _BY_NAME.get(name.lower(), name)
    return f"{shown} ({rest})" if shown and rest else shown


def suggested_words(suggestion: object) -> str:
    """Return what there is to say of the settings when only the sweep has run.

    >>> suggested_words(0.0704), suggested_words(None)
    ('learning rate 0.0704 (suggested by the sweep, not yet trained with)', 'none found')
    """
    known = finite(suggestion)
    if known is None:
        return "none found"
    return f"learning rate {number(known)} (suggested by the sweep, not yet trained with)"


# Keywords of torch.optim's classes that a grid may vary; any other axis is none of the optimizer's.
_OPTIMIZER_KEYS = ("momentum", "dampening", "nesterov", "betas", "eps", "alpha", "rho", "amsgrad", "lr_decay")

_OPTIMIZER = "optimizer."  # before an axis's name says that it is the optimizer's keyword, not the task's argument


def trained_with(optimizer: Mapping[str, Any], trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer of one trial: of the configuration, with what the trial's own axes say instead.

    >>> trained_with({"name": "sgd", "momentum": 0.9}, {"lr": 0.1, "momentum": 0.8, "hidden": 64})
    {'name': 'sgd', 'momentum': 0.8}
    """
    if _is_own(optimizer):
        return dict(optimizer)
    plain = {key: trial[key] for key in _OPTIMIZER_KEYS if trial.get(key) is not None}
    named = {key.removeprefix(_OPTIMIZER): trial[key] for key in trial if key.startswith(_OPTIMIZER)}
    return {**optimizer, **plain, **named}


def other_axes(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial was trained with besides its optimizer: batch size and arguments of the task.

    >>> other_axes({"lr": 0.1, "curve": "coarse-000", "momentum": 0.8, "hidden": 64})
    {'hidden': 64}
    """
    others = (axis for axis in further_axes([trial]) if axis not in _OPTIMIZER_KEYS)
    return {axis: trial[axis] for axis in others if not axis.startswith(_OPTIMIZER)}


def _is_own(optimizer: Mapping[str, Any]) -> bool:
    return ":" in str(optimizer.get("name") or "")


def _keywords(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in optimizer.items() if key not in _FOUND}


def _yaml(value: Any) -> str:
    if isinstance(value, float):
        return exact(value)
    plain = isinstance(value, str) and value.isidentifier()
    return str(value) if plain else json.dumps(value, default=str)


def _python(value: Any) -> str:
    return exact(value) if isinstance(value, float) else repr(value)


def _words(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)
