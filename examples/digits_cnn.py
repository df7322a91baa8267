"""A convolutional network with batch normalisation, trained by AdamW.

The same digits as in `digits_mlp.py`, now as images `[1, 8, 8]`. Run the whole recipe with::

    lrtune run configs/digits-cnn.yaml
"""

import sklearn.datasets
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def load_digits() -> tuple[TensorDataset, TensorDataset]:
    """Load the digits as pairs of a standardised image `[1, 8, 8]` and a class.

    Returns:
        The training set (four fifths of every class) and the validation set (the rest).
    """
    pixels, classes = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    by_class = order[classes[order].argsort(stable=True)]
    val = torch.zeros(len(classes), dtype=torch.bool)
    val[by_class[::5]] = True
    train = ~val
    standardised = (pixels - pixels[train].mean()) / pixels[train].std()
    images = standardised.float().unflatten(1, (1, 8, 8))
    return TensorDataset(images[train], classes[train]), TensorDataset(images[val], classes[val])


def convolution(inputs: int, outputs: int) -> nn.Module:
    """Build a 3x3 convolution with normalisation and activation; the image keeps its size."""
    return nn.Sequential(
        # No bias: the normalisation that follows would subtract it again.
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def make_cnn(channels: int = 16) -> nn.Module:
    """Build a network that maps images `[batch, 1, 8, 8]` to logits `[batch, 10]`."""
    return nn.Sequential(
        convolution(1, channels),
        nn.MaxPool2d(2),
        convolution(channels, 2 * channels),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * channels * 2 * 2, 10),
    )


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return how often the largest of the logits `[batch, 10]` is that of the target `[batch]`."""
    return (output.argmax(dim=1) == target).float().mean()


def make_task(channels: int = 16) -> lrtune.Task:
    """Describe the training to lrtune.

    Args:
        channels: Feature maps of the first convolution; the second has twice as many.
    """
    train, val = load_digits()
    return lrtune.Task(
        model=lambda: make_cnn(channels),
        train=train,
        val=val,
        loss=nn.functional.cross_entropy,
        metrics={"accuracy": accuracy},
    )
