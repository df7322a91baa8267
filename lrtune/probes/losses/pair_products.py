"""Whether a program compares all examples of a batch with each other: a product of as many rows as columns."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_PRODUCTS = frozenset(
    {"matmul", "__matmul__", "__rmatmul__", "mm", "linear", "einsum", "cdist", "cosine_similarity", "inner"}
)
_FEWEST = 3  # rows: a product of two by two is nearly anything


class PairProducts(TorchFunctionMode):
    """Notes the sizes of the square matrices that products have while it is entered.

    A square may be one of weights by chance. One whose size follows the batch's when that is doubled is not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at the result of a call of torch and let it pass."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in _PRODUCTS and isinstance(result, torch.Tensor):
            rows, columns = result.shape if result.ndim == 2 else (0, 1)
            if rows == columns >= _FEWEST:
                self.sizes.add(rows)
        return result
