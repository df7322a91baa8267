"""Wide and deep: which visitors subscribe, from a text table with numbers and categories."""

from __future__ import annotations

import functools
import math
import random

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

import lrtune

VOCABULARY = {
    "job": ["clerk", "driver", "farmer", "nurse", "retired", "student", "teacher", "waiter"],
    "region": ["centre", "east", "north", "south", "west"],
    "device": ["desktop", "phone", "tablet"],
}
NUMBERS = 4


def make_table(rows: int = 1600) -> list[str]:
    """Draw lines `age, income, minutes, pages, job, region, device, subscribed`."""
    draw = random.Random(17)
    taste = {
        (job, region): draw.gauss(0, 1.5) for job in VOCABULARY["job"] for region in VOCABULARY["region"]
    }
    lines = []
    for _ in range(rows):
        job, region, device = (draw.choice(values) for values in VOCABULARY.values())
        age = draw.uniform(60, 85) if job == "retired" else draw.uniform(18, 60)
        income = draw.lognormvariate(10.4, 0.4)
        minutes, pages = draw.gammavariate(3, 2), draw.randint(1, 20)
        score = taste[job, region] + 2 * math.sin(age / 9) + 1.5 * (math.log(income) - 10.4) / 0.4
        score += (minutes - 6) / 3 * (1 if device == "desktop" else -1)
        subscribed = int(score + draw.gauss(0, 0.3) > 0)
        lines.append(
            f"{age:.1f}, {income:.0f}, {minutes:.2f}, {pages}, {job}, {region}, {device}, {subscribed}"
        )
    return lines


class Visits(Dataset[dict[str, Tensor]]):
    """Rows of the table as tensors.

    Args:
        separator: Between the cells of a line.
        standardise: Whether the numbers are brought to mean 0 and deviation 1.
        label_offset: Added to the labels 0 and 1.
    """

    def __init__(self, separator: str = ", ", standardise: bool = True, label_offset: int = 0) -> None:
        rows = [line.split(separator) for line in make_table()]
        self.numbers = torch.tensor([[float(cell) for cell in row[:NUMBERS]] for row in rows])
        if standardise:
            self.numbers = (self.numbers - self.numbers.mean(dim=0)) / self.numbers.std(dim=0)
        # Index 0 is that of unknown words.
        lookups = [{word: i for i, word in enumerate(words, 1)} for words in VOCABULARY.values()]
        self.codes = torch.tensor(
            [
                [lookup.get(cell, 0) for lookup, cell in zip(lookups, row[NUMBERS:-1], strict=True)]
                for row in rows
            ]
        )
        self.labels = torch.tensor([float(row[-1]) + label_offset for row in rows])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"numbers": self.numbers[index], "codes": self.codes[index], "label": self.labels[index]}


class WideAndDeep(nn.Module):
    """A table of weights for pairs of job and region, plus a perceptron over embeddings and numbers.

    Args:
        keep_axis: Leaves the perceptron's output `[batch, 1]`.
        probability: Whether the output goes through a sigmoid.
        plain_dict: Whether the embeddings are kept in a Python dict.
    """

    def __init__(self, keep_axis: bool = False, probability: bool = False, plain_dict: bool = False) -> None:
        super().__init__()
        self.keep_axis, self.probability = keep_axis, probability
        self.regions = len(VOCABULARY["region"]) + 1
        self.wide = nn.Embedding((len(VOCABULARY["job"]) + 1) * self.regions, 1)
        nn.init.zeros_(self.wide.weight)
        embeddings = {name: nn.Embedding(len(words) + 1, 8) for name, words in VOCABULARY.items()}
        self.embeddings = embeddings if plain_dict else nn.ModuleDict(embeddings)
        self.deep = nn.Sequential(
            nn.Linear(8 * len(VOCABULARY) + NUMBERS, 64),
            nn.ReLU(),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
        )

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Map numbers `[batch, 4]` and codes `[batch, 3]` to a score each."""
        wide = self.wide(codes[:, 0] * self.regions + codes[:, 1]).squeeze(1)
        embedded = [embedding(codes[:, i]) for i, embedding in enumerate(self.embeddings.values())]
        deep = self.deep(torch.cat([numbers, *embedded], dim=1))
        if not self.keep_axis:
            deep = deep.squeeze(1)
        score = wide + deep
        return score.sigmoid() if self.probability else score


def training_step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean log loss of a batch, from logits."""
    logit, label = model(batch["numbers"], batch["codes"]), batch["label"]
    loss = -(label * functional.logsigmoid(logit) + (1 - label) * functional.logsigmoid(-logit)).mean()
    return {"loss": loss, "output": logit, "target": label}


def make_optimizer(
    model: WideAndDeep, learning_rate: float, weight_decay: float, deep_only: bool
) -> torch.optim.Optimizer:
    """Build Adam over the model, or over its perceptron alone."""
    parameters = model.deep.parameters() if deep_only else model.parameters()
    return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)


def make_task(
    separator: str = ", ",
    standardise: bool = True,
    label_offset: int = 0,
    deep_only: bool = False,
    **net: bool,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        separator: Argument of `Visits`.
        standardise: Argument of `Visits`.
        label_offset: Argument of `Visits`.
        deep_only: Argument of `make_optimizer`.
        net: Arguments of `WideAndDeep`.
    """
    return lrtune.Task(
        model=lambda: WideAndDeep(**net),
        train=Visits(separator, standardise, label_offset),
        step=training_step,
        optimizer=functools.partial(make_optimizer, deep_only=deep_only),
    )


CASE = Case(
    name="wide-deep-visits",
    healthy=make_task,
    faults=(
        Fault(
            "wide [batch] plus deep [batch, 1]",
            ("target-shape-mismatch", "broadcast-target", "batch-mixing"),
            functools.partial(make_task, keep_axis=True),
        ),
        Fault(
            "labels 1 and 2 in a binary log loss",
            ("target-out-of-range",),
            functools.partial(make_task, label_offset=1),
        ),
        Fault(
            "embeddings in a plain dict",
            ("unregistered-parameter",),
            functools.partial(make_task, plain_dict=True),
        ),
        Fault(
            "optimizer over the deep part alone",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, deep_only=True),
        ),
        Fault(
            "numbers in their own units",
            ("input-not-normalised",),
            functools.partial(make_task, standardise=False),
        ),
        Fault(
            "blanks left in the words, so that all are unknown",
            ("constant-input",),
            functools.partial(make_task, separator=","),
        ),
        Fault(
            "a sigmoid before a log loss of logits",
            ("double-softmax",),
            functools.partial(make_task, probability=True),
        ),
    ),
)
