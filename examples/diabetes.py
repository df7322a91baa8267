"""A regression: its loss starts near the variance of the target, which is 1 once the target is standardised.

scikit-learn's diabetes study: ten measurements of each of 442 patients, and how far the disease had come a
year later. Run the whole recipe with::

    lrtune run configs/diabetes.yaml
"""

import sklearn.datasets
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def load_diabetes() -> tuple[TensorDataset, TensorDataset]:
    """Load the patients as pairs of standardised measurements `[10]` and a standardised progression `[1]`.

    Returns:
        The training set (352 patients) and the validation set (90).
    """
    measurements, progression = map(torch.from_numpy, sklearn.datasets.load_diabetes(return_X_y=True))
    order = torch.randperm(len(progression), generator=torch.Generator().manual_seed(0))
    val, train = order.split([90, 352])
    inputs = standardise(measurements, train)
    # A column, like the output: against [batch], mse_loss would broadcast [batch, 1] to [batch, batch].
    targets = standardise(progression.unsqueeze(1), train)
    return TensorDataset(inputs[train], targets[train]), TensorDataset(inputs[val], targets[val])


def standardise(columns: Tensor, train: Tensor) -> Tensor:
    """Scale columns `[rows, columns]` to mean 0 and deviation 1, both taken from the training rows alone."""
    return ((columns - columns[train].mean(dim=0)) / columns[train].std(dim=0)).float()


def make_mlp(hidden: int = 128) -> nn.Module:
    """Build a perceptron with two hidden layers that maps `[batch, 10]` measurements to `[batch, 1]`."""
    return nn.Sequential(
        nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
    )


def make_task(hidden: int = 128) -> lrtune.Task:
    """Describe the training to lrtune.

    Args:
        hidden: Units in each hidden layer.
    """
    train, val = load_diabetes()
    return lrtune.Task(
        model=lambda: make_mlp(hidden),
        train=train,
        val=val,
        loss=nn.functional.mse_loss,
        metrics={"mae": nn.functional.l1_loss},
    )
