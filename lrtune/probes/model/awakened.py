"""A model whose deliberate zeros are filled, so that what lies behind them can be seen.

Heads, residual gammas and gates are often zero at the beginning (Goyal et al., "Accurate, Large Minibatch SGD", 2017;
Zhang et al., "Fixup Initialization", 2019; Bachlechner et al., "ReZero", 2020), or tiny (Touvron et al., "Going
deeper with Image Transformers", 2021: LayerScale of 1e-6). They open in the first steps of training; until then they
keep gradients and outputs from everything behind them.
"""

from __future__ import annotations

import torch
from torch import nn

_TINY = (
    1e-2  # gains all equal and no larger than this are gates that training opens: LayerScale has 0.1 to 1e-6
)
_GAIN = 1.0  # what such a gain is set to
_SPREAD = 0.1  # of other one-dimensional zeros: they may be added, so that they must stay small


def awaken(model: nn.Module, seed: int) -> list[str]:
    """Fill a model's zeros in place, and return the names of the parameters that were changed.

    Weights of two or more dimensions that are all zero get the spread of torch's default, 1/sqrt(fan in); gains of
    normalisations that are zero, and gains all equal and tiny, become 1; other zeros of one dimension that are no
    biases get small numbers. Biases stay.

    Args:
        model: It is changed.
        seed: Of the numbers drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    changed = []
    with torch.no_grad():
        for prefix, module in model.named_modules():
            for name, parameter in module.named_parameters(recurse=False):
                if _woken(parameter, name, generator):
                    changed.append(f"{prefix}.{name}".lstrip("."))
    return changed


def _woken(parameter: nn.Parameter, name: str, generator: torch.Generator) -> bool:
    if not parameter.is_floating_point() or parameter.numel() == 0 or "bias" in name:
        return False
    largest = float(parameter.abs().max())
    if parameter.ndim >= 2:
        if largest > 0:
            return False
        fan_in = max(parameter.numel() // parameter.shape[0], 1)
        parameter.copy_(_normal(parameter, generator) / fan_in**0.5)
        return True
    if largest > _TINY or float(parameter.min()) != float(parameter.max()):
        return False
    if name == "weight" or largest > 0:
        parameter.fill_(_GAIN)
    else:
        parameter.copy_(_SPREAD * _normal(parameter, generator))
    return True


def _normal(parameter: nn.Parameter, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(parameter.shape, generator=generator).to(parameter)
