"""What a program gives torch's own losses, wherever it calls them: in a step that returns no output, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class LossCalls(TorchFunctionMode):
    """Tells of every call of some losses while it is entered.

    Args:
        losses: Functions of torch, each of an input and a target first.
        tell: Called with the input and the target of each call, of whatever type they are.
    """

    def __init__(self, losses: Sequence[Any], tell: Callable[[Any, Any], object]) -> None:
        super().__init__()
        self._losses = losses
        self._tell = tell

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at a call of torch and let it pass."""
        named = kwargs or {}
        if any(func is one for one in self._losses):
            given = dict(zip(("input", "target"), args, strict=False)) | named
            self._tell(given.get("input"), given.get("target"))
        return func(*args, **named)
