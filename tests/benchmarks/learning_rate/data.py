"""Data that several programs share: handwritten digits, and prose from scikit-learn's descriptions of its data."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import sklearn.datasets
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import TensorDataset

TRAIN_DIGITS = 1437  # four fifths


class Split(NamedTuple):
    """Inputs and targets for training and validation, the first dimension being the example's."""

    inputs: Tensor
    targets: Tensor
    val_inputs: Tensor
    val_targets: Tensor

    def datasets(self) -> tuple[TensorDataset, TensorDataset]:
        """Return the training set and the validation set as pairs."""
        return TensorDataset(self.inputs, self.targets), TensorDataset(self.val_inputs, self.val_targets)


def load_digits(copies: int = 1, seed: int = 0) -> Split:
    """Load images `[n, 1, 8, 8]` with pixels from 0 to 16 and their classes `[n]`.

    Args:
        copies: Of every training image; all but the first are shifted by up to a pixel each way.
        seed: Draws the split and the shifts.
    """
    generator = torch.Generator().manual_seed(seed)
    pixels, classes = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(classes), generator=generator)
    images, classes = pixels[order].float().unflatten(1, (1, 8, 8)), classes[order]
    train = images[:TRAIN_DIGITS]
    shifted = [train, *(shift(train, generator) for _ in range(copies - 1))]
    return Split(
        torch.cat(shifted),
        classes[:TRAIN_DIGITS].repeat(copies),
        images[TRAIN_DIGITS:],
        classes[TRAIN_DIGITS:],
    )


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move each of the images `[n, 1, height, width]` by up to a pixel each way; zeros move in."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (1, 1, 1, 1))
    down, right = torch.randint(3, (2, len(images), 1, 1), generator=generator)
    rows = down + torch.arange(height)[None, :, None]
    columns = right + torch.arange(width)[None, None, :]
    return padded[torch.arange(len(images))[:, None, None], 0, rows, columns].unsqueeze(1)


def standardise_pixels(split: Split) -> Split:
    """Scale all inputs by one mean and one deviation, those of the training set."""
    mean, std = split.inputs.mean(), split.inputs.std()
    return split._replace(inputs=(split.inputs - mean) / std, val_inputs=(split.val_inputs - mean) / std)


def split_rows(inputs: Tensor, targets: Tensor, train: int) -> Split:
    """Take the first rows for training and the rest for validation."""
    return Split(inputs[:train], targets[:train], inputs[train:], targets[train:])


def load_prose() -> str:
    """Return the descriptions of scikit-learn's data sets, English with tables and references, as one text."""
    folder = resources.files("sklearn.datasets.descr")
    pages = sorted(page.name for page in folder.iterdir() if page.name.endswith(".rst"))
    return "\n".join((folder / page).read_text(encoding="utf-8") for page in pages)


def split_windows(tokens: Tensor, context: int, stride: int) -> Split:
    """Cut a text `[tokens]` into overlapping windows whose targets are the tokens one further on.

    Args:
        tokens: Of the whole text; its last tenth is for validation.
        context: Tokens in a window.
        stride: From one training window to the next.
    """
    border = len(tokens) * 9 // 10
    train = tokens[:border].unfold(0, context + 1, stride)
    val = tokens[border:].unfold(0, context + 1, context)
    return Split(train[:, :-1], train[:, 1:], val[:, :-1], val[:, 1:])
