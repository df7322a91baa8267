"""The best settings in forms that one can paste: YAML, a line of PyTorch, words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import finite, number
from lrtune.results import further_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import StepResult

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


def yaml_lines(trial: Mapping[str, Any], optimizer: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Return the settings as lines of YAML; arguments as for `trained_with`."""
    others = other_axes(optimizer, trial, places)
    optimizer = trained_with(optimizer, trial, places)
    lines = [f"learning_rate: {exact(trial.get('lr'))}"]
    if trial.get("weight_decay") is not None:
        lines.append(f"weight_decay: {exact(trial['weight_decay'])}")
    if optimizer.get("name") and optimizer["name"] != _TASKS_OWN:
        items = {"name": optimizer["name"], **_keywords(optimizer)}
        lines.append(f"optimizer: {_yaml(items)}")
    lines += [f"{key}: {_yaml(value)}" for key, value in others.items()]
    return "\n".join(lines)


def torch_line(trial: Mapping[str, Any], optimizer: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Return the line of PyTorch that builds the optimizer; an own one is called as lrtune calls it.

    Arguments as for `trained_with`.
    """
    optimizer = trained_with(optimizer, trial, places)
    name = str(optimizer.get("name") or "sgd")
    rate, decay = exact(trial.get("lr")), exact(trial.get("weight_decay") or 0)
    rest = "".join(f", {key}={_python(value)}" for key, value in _keywords(optimizer).items())
    if _is_own(optimizer):
        own = name.rpartition(":")[2]
        if own[:1].isupper():  # a class, as Python names them: it is called as torch's are
            return f"optimizer = {own}(model.parameters(), lr={rate}, weight_decay={decay}{rest})"
        return f"optimizer = {own}(model, {rate}, {decay}{rest})"
    found = _BY_NAME.get(name.lower(), name)
    return f"optimizer = torch.optim.{found}(model.parameters(), lr={rate}, weight_decay={decay}{rest})"


def optimizer_words(optimizer: Mapping[str, Any]) -> str:
    """Return the optimizer in words, empty if it is not known.

    >>> optimizer_words({"name": "sgd", "momentum": 0.9})
    'SGD (momentum 0.9)'
    """
    name = str(optimizer.get("name") or "")
    rest = ", ".join(f"{key} {_words(value)}" for key, value in _keywords(optimizer).items())
    own = f"optimizer {name.rpartition(':')[2]}"
    shown = own if _is_own(optimizer) else _BY_NAME.get(name.lower(), name)
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


def axis_places(results: Mapping[str, StepResult]) -> dict[str, str]:
    """Return where in the settings the grid's further axes stand, by name, as the grid itself has resolved them.

    Args:
        results: By step.
    """
    grid = results.get("coarse-grid")
    return dict(grid.details.get("axes") or {}) if grid else {}


def trained_with(
    optimizer: Mapping[str, Any], trial: Mapping[str, Any], places: Mapping[str, str]
) -> dict[str, Any]:
    """Return the optimizer of one trial: of the configuration, with what the trial's own axes say instead.

    Args:
        optimizer: Of the configuration: its name and its keywords.
        trial: Its learning rate, its weight decay and its values on further axes.
        places: Where the axes stand in the settings, see `axis_places`.

    >>> places = {"momentum": "optimizer.momentum", "alpha": "args.alpha"}
    >>> trained_with({"name": "sgd", "momentum": 0.9}, {"lr": 0.1, "momentum": 0.8, "alpha": 64}, places)
    {'name': 'sgd', 'momentum': 0.8}
    """
    return {**optimizer, **_placed(optimizer, trial, places).get("optimizer", {})}


def other_axes(
    optimizer: Mapping[str, Any], trial: Mapping[str, Any], places: Mapping[str, str]
) -> dict[str, Any]:
    """Return what a trial was trained with besides its optimizer, as the configuration has it; arguments as above.

    >>> places = {"momentum": "optimizer.momentum", "alpha": "args.alpha", "batch_size": "batch_size"}
    >>> other_axes({"name": "sgd"}, {"lr": 0.1, "momentum": 0.8, "alpha": 64, "batch_size": 8}, places)
    {'args': {'alpha': 64}, 'batch_size': 8}
    """
    placed = _placed(optimizer, trial, places)
    return {section: values for section, values in placed.items() if section != "optimizer"}


def _placed(
    optimizer: Mapping[str, Any], trial: Mapping[str, Any], places: Mapping[str, str]
) -> dict[str, Any]:
    """Return a trial's values on further axes where the configuration has them."""
    found: dict[str, Any] = {}
    for axis in further_axes([trial]):
        if trial[axis] is None:
            continue
        # A result of before places were kept: its axes that the configuration's optimizer has are the optimizer's.
        place = places.get(axis) or (f"optimizer.{axis}" if axis in optimizer else axis)
        section, dot, key = place.partition(".")
        if dot:
            found.setdefault(section, {})[key] = trial[axis]
        else:
            found[section] = trial[axis]
    return found


def _is_own(optimizer: Mapping[str, Any]) -> bool:
    return ":" in str(optimizer.get("name") or "")


def _keywords(optimizer: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in optimizer.items() if key not in _FOUND}


def _yaml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, float):
        return exact(value)
    plain = isinstance(value, str) and value.isidentifier()
    return str(value) if plain else json.dumps(value, default=str)


def _python(value: Any) -> str:
    return exact(value) if isinstance(value, float) else repr(value)


def _words(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)
