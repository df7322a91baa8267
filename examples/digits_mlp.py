"""The smallest task: a classifier from two datasets, a loss and a metric.

scikit-learn's 1797 handwritten digits of 8x8 pixels, and a multilayer perceptron. Run the whole recipe with::

    lrtune run configs/digits-mlp.yaml
"""

import sklearn.datasets
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def load_digits() -> tuple[TensorDataset, TensorDataset]:
    """Load the digits as pairs of 64 standardised pixels and a class.

    Returns:
        The training set (four fifths of every class) and the validation set (the rest).
    """
    pixels, classes = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    by_class = order[classes[order].argsort(stable=True)]
    held_out = torch.zeros(len(classes), dtype=torch.bool)
    held_out[by_class[::5]] = True
    # One mean and one deviation for all pixels: those at the border are constant and have no deviation of their own.
    inputs = ((pixels - pixels[~held_out].mean()) / pixels[~held_out].std()).float()
    return TensorDataset(inputs[~held_out], classes[~held_out]), TensorDataset(
        inputs[held_out], classes[held_out]
    )


def make_mlp(hidden: int = 128) -> nn.Module:
    """Build a perceptron with two hidden layers that maps `[batch, 64]` pixels to `[batch, 10]` logits."""
    return nn.Sequential(
        nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10)
    )


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of the rows of logits `[batch, classes]` whose largest entry is the target's `[batch]`."""
    return (output.argmax(dim=1) == target).float().mean()


def make_task(hidden: int = 128) -> lrtune.Task:
    """Describe the training to lrtune.

    Args:
        hidden: Units in each hidden layer.
    """
    train, val = load_digits()
    return lrtune.Task(
        model=lambda: make_mlp(hidden),
        train=train,
        val=val,
        loss=nn.functional.cross_entropy,
        metrics={"accuracy": accuracy},
    )
