"""Tumours from thirty measurements of their cells: a perceptron with a single logit, fed by a DataLoader."""

from __future__ import annotations

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune


class Tumour(nn.Module):
    """A perceptron that maps `[batch, inputs]` to logits `[batch]`."""

    def __init__(self, inputs: int, plain_list: bool = False, sigmoid: bool = False) -> None:
        super().__init__()
        layers = [nn.Linear(inputs, 64), nn.Linear(64, 64), nn.Linear(64, 32)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.hidden = layers if plain_list else nn.ModuleList(layers)
        self.out = nn.Linear(32, 1)
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        """Return how malignant each tumour looks."""
        for layer in self.hidden:
            x = nn.functional.silu(layer(x))
        x = self.out(x).squeeze(-1)
        return torch.sigmoid(x) if self.sigmoid else x


def load(
    scale: bool = True,
    by_diagnosis: bool = False,
    one_based: bool = False,
    keep_diagnosis: bool = False,
    gaps: bool = False,
) -> DataLoader:
    """Read the table and batch its rows."""
    cells, diagnosis = map(torch.from_numpy, sklearn.datasets.load_breast_cancer(return_X_y=True))
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(11))
    if by_diagnosis:
        order = diagnosis.argsort(stable=True)
    cells, labels = cells[order], diagnosis[order].float()
    if keep_diagnosis:
        cells = torch.cat([cells, labels.double().unsqueeze(1)], dim=1)
    if scale:
        cells = (cells - cells.mean(dim=0)) / cells.std(dim=0)
    if gaps:
        cells[::12, 6] = torch.nan
    if one_based:
        labels = labels + 1
    return DataLoader(
        TensorDataset(cells.float(), labels),
        batch_size=32,
        shuffle=not by_diagnosis,
        generator=torch.Generator().manual_seed(12),
    )


def make_task(plain_list: bool = False, sigmoid: bool = False, **table: bool) -> lrtune.Task:
    """Describe the training."""
    train = load(**table)
    inputs = train.dataset.tensors[0].shape[1]
    return lrtune.Task(
        model=lambda: Tumour(inputs, plain_list, sigmoid),
        train=train,
        loss=nn.functional.binary_cross_entropy_with_logits,
    )


CASE = Case(
    name="cancer perceptron",
    healthy=make_task,
    faults=(
        Fault("columns in their units", ("input-not-normalised",), lambda: make_task(scale=False)),
        Fault("rows sorted by diagnosis", ("unshuffled-batches",), lambda: make_task(by_diagnosis=True)),
        Fault("labels 1 and 2", ("target-out-of-range",), lambda: make_task(one_based=True)),
        Fault("diagnosis left among the columns", ("target-leak",), lambda: make_task(keep_diagnosis=True)),
        Fault("gaps in a column", ("nonfinite-input",), lambda: make_task(gaps=True)),
        Fault("hidden layers in a list", ("unregistered-parameter",), lambda: make_task(plain_list=True)),
        Fault("sigmoid before a loss on logits", ("double-softmax",), lambda: make_task(sigmoid=True)),
    ),
)
