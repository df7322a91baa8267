"""Listening to the modules of a model: no hook outlives its block, whatever happens in it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    Before = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any]], None]
    After = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any], Any], None]


@contextmanager
def hooked(
    model: nn.Module,
    *,
    pre: Before | None = None,
    post: After | None = None,
    only: Callable[[str, nn.Module], bool] = lambda name, module: True,
    always: bool = False,
) -> Iterator[None]:
    """Call functions before and after the forward pass of modules inside the block.

    Modules of TorchScript take no hooks and are passed over. Compiled modules run as they were written: a compiler
    would trace the listeners, too.

    Args:
        model: The model, whose modules are all listened to, itself among them.
        pre: Called with a module's dotted name, the module, and its positional and named arguments.
        post: Called with the same and the module's output.
        only: Says by name and module which modules are meant.
        always: Whether `post` is called also where the forward pass raises, with None for its output.
    """
    with ExitStack() as handles:
        handles.enter_context(uncompiled(model))
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule) or not only(name, module):
                continue
            if pre is not None:
                before = module.register_forward_pre_hook(partial(pre, name), with_kwargs=True)
                handles.callback(before.remove)
            if post is not None:
                after = module.register_forward_hook(
                    partial(post, name), with_kwargs=True, always_call=always
                )
                handles.callback(after.remove)
        yield


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run what `torch.compile` has made of a model's modules as it was written."""
    if not any(map(_is_compiled, model.modules())):  # the line below would load the compiler for nothing
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _is_compiled(module: nn.Module) -> bool:
    # By name: to import the class is to load the compiler, which takes seconds.
    return (
        type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None
    )
