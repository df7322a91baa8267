"""What a failed fused run says, in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_LONGEST = 160  # characters of another's message: the rest tells developers of torch where to turn


def told(error: Exception, model: torch.nn.Module) -> str:
    """Return the layer in which an exception arose, and the first sentence of its first cause."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    paths = {id(module): path for path, module in model.named_modules()}
    layers = [
        one for cause in chain for frame in _frames(cause) if id(one := frame.f_locals.get("self")) in paths
    ]
    layer = next((one for one in reversed(layers) if not isinstance(one, torch.nn.Sequential)), None)
    where = "" if layer is None else f"{type(layer).__name__}{at(paths[id(layer)])} "
    return f"{where}cannot be batched over members: {first_line(chain[-1])}".strip()


def at(path: str) -> str:
    """Return a layer's path in brackets, nothing for the model itself."""
    return f" ({path})" if path else ""


def first_line(error: BaseException) -> str:
    """Return the first sentence of an exception's message, shortened; its type where it says nothing."""
    line = next(iter(str(error).strip().splitlines()), "").split(". ")[0] or type(error).__name__
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next
