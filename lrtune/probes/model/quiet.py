"""Random operations of a model: which are active, and a run without the known ones."""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from collections.abc import Mapping

_DROPPING: tuple[Any, ...] = (
    F.dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.dropout,
    torch.feature_dropout,
    torch.alpha_dropout,
    torch.feature_alpha_dropout,
)
_ATTENTION: Any = F.scaled_dot_product_attention


class DropoutCalls(TorchFunctionMode):
    """Notes every call of a dropout that drops, and can switch it off.

    Args:
        model: Only calls inside it count: a step may corrupt its inputs on purpose.
        off: Whether nothing is dropped.

    Attributes:
        seen: The highest probability of each place, which is the name of the innermost module that is running.
    """

    def __init__(self, model: nn.Module, off: bool = False) -> None:
        super().__init__()
        self.seen: dict[str, float] = {}
        self._off = off
        self._inside: list[str] = []
        self._listening = ExitStack()
        self._model = model

    def __enter__(self) -> DropoutCalls:
        listening = hooked(self._model, pre=self._entered, post=self._left, always=True)
        self._listening.enter_context(listening)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)  # type: ignore[no-untyped-call]
        self._listening.close()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at a call of torch and let it pass, the dropouts without effect where they are switched off."""
        named = dict(kwargs or {})
        probability = _probability(func, args, named)
        if probability <= 0 or not self._inside:
            return func(*args, **named)
        place = self._inside[-1]
        self.seen[place] = max(probability, self.seen.get(place, 0.0))
        if not self._off:
            return func(*args, **named)
        if func is _ATTENTION:
            return func(*args[:4], **(named | {"dropout_p": 0.0, **_sixth(args)}))
        return args[0] if args else named["input"]

    def _entered(self, name: str, *_: Any) -> None:
        self._inside.append(name)

    def _left(self, *_: Any) -> None:
        self._inside.pop()


def without_dropout(model: nn.Module) -> nn.Module:
    """Set the probability of every dropout layer in a model to zero, in place, and return the model."""
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            module.dropout = 0.0
    return model


def dropout_layers(model: nn.Module) -> dict[str, float]:
    """Return the probability of each layer that drops, by its name."""
    found: dict[str, float] = {}
    for name, module in model.named_modules():
        if isinstance(module, _DropoutNd):
            found[name] = float(module.p)
        elif isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            found[name] = float(module.dropout)
    return {name: probability for name, probability in found.items() if probability > 0}


def _probability(func: Any, args: Any, named: Mapping[str, Any]) -> float:
    """Return the probability with which a call of torch drops, 0 where it is no dropout or is not training."""
    if func is _ATTENTION:
        return float(named.get("dropout_p", args[4] if len(args) > 4 else 0.0))
    if not any(func is one for one in _DROPPING):
        return 0.0
    if inspect.isbuiltin(func):  # (input, p, train)
        probability, training = named.get("p", args[1:2]), named.get("train", args[2:3])
    else:  # (input, p=0.5, training=..., inplace=False)
        defaults = inspect.signature(func).parameters
        probability = named.get("p", args[1:2] or defaults["p"].default)
        training = named.get("training", args[2:3] or defaults["training"].default)
    active = bool(_single(training))
    return float(_single(probability)) if active else 0.0


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _sixth(args: Any) -> dict[str, Any]:
    return {"is_causal": args[5]} if len(args) > 5 else {}
