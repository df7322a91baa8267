"""A plain recurrent network reads a digit row by row and names it, by SGD with momentum."""

from __future__ import annotations

from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits, standardise_pixels
from torch import Tensor, nn

import lrtune


class _RNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(8, 64, batch_first=True), nn.Linear(64, 10)
        nn.init.orthogonal_(self.rnn.weight_hh_l0)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.rnn(images.squeeze(1))[0][:, -1])


def _task() -> lrtune.Task:
    train, val = standardise_pixels(load_digits(copies=4, seed=26)).datasets()
    return lrtune.Task(model=_RNN, train=train, val=val, loss=nn.functional.cross_entropy)


CASE = Case(
    name="digit-rows-rnn",
    task=_task,
    config={"batch_size": 64, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 3}},
    guess=0.1,
)
