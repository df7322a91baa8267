"""Whether a tumour is malignant, from thirty measurements of its cells: a perceptron, by plain SGD."""

from __future__ import annotations

import sklearn.datasets
import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import nn

import lrtune


def _patients() -> Split:
    columns, malignant = map(torch.from_numpy, sklearn.datasets.load_breast_cancer(return_X_y=True))
    order = torch.randperm(len(columns), generator=torch.Generator().manual_seed(22))
    columns, malignant = columns[order].float(), malignant[order].float().unsqueeze(1)
    train = columns[:400]
    return split_rows((columns - train.mean(0)) / train.std(0), malignant, 400)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


def _task() -> lrtune.Task:
    train, val = _patients().datasets()
    loss = nn.functional.binary_cross_entropy_with_logits
    return lrtune.Task(model=_mlp, train=train, val=val, loss=loss)


CASE = Case(
    name="tumours-mlp",
    task=_task,
    config={"batch_size": 8, "optimizer": {"name": "sgd"}, "coarse": {"epochs": 4}},
    guess=0.1,
)
