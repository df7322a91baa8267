"""A perceptron tells malignant from benign tumours; one logit, binary cross-entropy, a shuffling DataLoader."""

from __future__ import annotations

from functools import partial

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lrtune


class _Classifier(nn.Module):
    def __init__(self, columns: int, probabilities: bool) -> None:
        super().__init__()
        self.first = nn.Linear(columns, 64)
        self.second = nn.Linear(64, 64)
        self.third = nn.Linear(64, 32)
        self.out = nn.Linear(32, 1)
        self.probabilities = probabilities

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.first(x))
        x = functional.silu(self.second(x))
        logit = self.out(functional.silu(self.third(x)))
        return torch.sigmoid(logit) if self.probabilities else logit


def _by_hand(output: Tensor, target: Tensor) -> Tensor:
    return (functional.softplus(output) - target * output).mean()


def _task(
    scale: bool = True,
    probabilities: bool = False,
    flat_target: bool = False,
    drop_label: bool = True,
    codes: tuple[int, int] = (0, 1),
) -> lrtune.Task:
    table = sklearn.datasets.load_breast_cancer()
    columns = torch.tensor(table.data)
    malignant = torch.tensor(table.target == 0)
    label = torch.where(malignant, codes[1], codes[0]).float()
    if not drop_label:
        columns = torch.cat([label.unsqueeze(1), columns], dim=1)
    if scale:
        columns = (columns - columns.mean(dim=0)) / columns.std(dim=0)
    x = columns.float()
    y = label if flat_target else label.unsqueeze(1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(11))
    train, val = order[:455], order[455:]
    return lrtune.Task(
        model=lambda: _Classifier(x.shape[1], probabilities),
        train=DataLoader(
            TensorDataset(x[train], y[train]),
            batch_size=32,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
        ),
        val=DataLoader(TensorDataset(x[val], y[val]), batch_size=64),
        loss=_by_hand if flat_target else functional.binary_cross_entropy_with_logits,
    )


CASE = Case(
    name="tumour-mlp",
    healthy=_task,
    faults=(
        Fault(
            "columns as they were measured, 0.001 to 4000",
            ("input-not-normalised",),
            partial(_task, scale=False),
        ),
        Fault("sigmoid, then BCE with logits", ("double-softmax",), partial(_task, probabilities=True)),
        Fault(
            "labels [B] against logits [B, 1] in a loss by hand",
            ("target-shape-mismatch", "broadcast-target"),
            partial(_task, flat_target=True),
        ),
        Fault(
            "the label stays in the table as a feature", ("target-leak",), partial(_task, drop_label=False)
        ),
        Fault(
            "labels coded 2 and 4, as in the original file",
            ("target-out-of-range",),
            partial(_task, codes=(2, 4)),
        ),
    ),
)
