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
    val = torch.zeros(len(classes), dtype=torch.bool)
    val[by_class[::5]] = True
    train = ~val
    # One deviation for all pixels: some at the border are always 0 and have none of their own.
    inputs = ((pixels - pixels[train].mean()) / pixels[train].std()).float()
    return TensorDataset(inputs[train], classes[train]), TensorDataset(inputs[val], classes[val])


def make_mlp(hidden: int = 128) -> nn.Module:
    """Build a perceptron with two hidden layers that maps `[batch, 64]` pixels to `[batch, 10]` logits."""
    return nn.Sequential(
        nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10)
    )


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return how often the largest of the logits `[batch, 10]` is that of the target `[batch]`."""
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
