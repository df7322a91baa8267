"""The members' numbers at one step, as the columns and kernels that update all rows at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch import Tensor


class RowNumbers:
    """One number a member, with the arithmetic that multiplies rows by them.

    Each method gives row k, bit for bit on the CPU, what torch's kernel gives with the number as its scalar:
    `addcmul_` fuses the multiplication into the addition as `add_(alpha=)` does, and `addcdiv_(value=)`
    multiplies before it divides. That holds for float32 and float64, and not in narrower types, whose
    kernels keep a scalar in float32; one member alone is given to the scalar kernels themselves.

    Args:
        values: `[members]`.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self.values = tuple(values)
        self._cache: dict[Hashable, Tensor] = {}

    def add_product_(self, target: Tensor, tensor: Tensor) -> None:
        """Add number x tensor to the target, both `[members, *shape]`."""
        if len(self.values) == 1:
            target.add_(tensor, alpha=self.values[0])
        else:
            target.addcmul_(tensor, self._column(target))

    def add_quotient_(self, target: Tensor, numerator: Tensor, denominator: Tensor) -> None:
        """Add number x numerator / denominator to the target, all `[members, *shape]`."""
        if len(self.values) == 1:
            target.addcdiv_(numerator, denominator, value=self.values[0])
        else:
            target.addcdiv_(numerator * self._column(target), denominator)

    def scale_(self, target: Tensor) -> None:
        """Multiply the target, `[members, *shape]`."""
        target.mul_(self.values[0] if len(self.values) == 1 else self._column(target))

    def plus_product_where_nonzero(self, base: Tensor, tensor: Tensor) -> Tensor:
        """Return base + number x tensor, and the untouched base in rows whose number is 0.

        0 x inf is NaN, and -0.0 + 0.0 is 0.0: a number of 0 has to mean that nothing is added.
        """
        if not any(self.values):
            return base
        if len(self.values) == 1:
            return base.add(tensor, alpha=self.values[0])
        total = base.addcmul(tensor, self._column(base))
        if all(self.values):
            return total
        zeros = self._zeros(base.device)  # copying these rows back costs a third of torch.where
        return total.index_copy_(0, zeros, base.index_select(0, zeros))

    def _column(self, like: Tensor) -> Tensor:
        """Return the numbers as `[members, 1, ...]` that broadcasts over `like`."""
        key = (like.dtype, like.device, like.ndim)
        if key not in self._cache:
            flat = (like.dtype, like.device)
            if flat not in self._cache:
                # Rounded on the host, as a scalar is; MPS knows no float64 at all.
                host = torch.tensor(self.values, dtype=torch.float64).to(like.dtype)
                self._cache[flat] = _sent(host, like.device)
            self._cache[key] = self._cache[flat].view(-1, *[1] * (like.ndim - 1))
        return self._cache[key]

    def _zeros(self, device: torch.device) -> Tensor:
        """Return the positions of the rows whose number is 0."""
        if device not in self._cache:
            # From the host's numbers: a tiny decay that is 0 in float32 is still one that torch.optim applies.
            rows = [row for row, value in enumerate(self.values) if value == 0]
            self._cache[device] = _sent(torch.tensor(rows), device)
        return self._cache[device]


class StepNumbers:
    """The rates and decays of one step; what is derived from them is computed once, not for each parameter.

    Args:
        rates: Learning rates, `[members]`.
        decays: Weight decays, `[members]`.
    """

    def __init__(self, rates: Sequence[float], decays: Sequence[float]) -> None:
        self._rates = tuple(rates)
        self.decays = RowNumbers(decays)
        self.descent = RowNumbers([-rate for rate in rates])
        self._derived: dict[Hashable, RowNumbers] = {}

    def row(self, index: int) -> StepNumbers:
        """Return one member's numbers alone."""
        return StepNumbers([self._rates[index]], [self.decays.values[index]])

    def derived(self, key: Hashable, function: Callable[[float, float], float]) -> RowNumbers:
        """Return function(rate, decay) of each member, remembered under a key; float64 on the host."""
        if key not in self._derived:
            pairs = zip(self._rates, self.decays.values, strict=True)
            self._derived[key] = RowNumbers([function(rate, decay) for rate, decay in pairs])
        return self._derived[key]


def _sent(host: Tensor, device: torch.device) -> Tensor:
    # Not waiting spares a wait for all that the device has queued. CUDA has read ordinary memory by the time the
    # call returns; other devices do not promise it.
    return host.to(device, non_blocking=device.type == "cuda")
