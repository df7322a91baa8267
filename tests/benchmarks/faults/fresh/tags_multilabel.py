"""Several tags for each short text: embedded words, pooled by attention, and one logit per tag."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

WORDS = 160
TAGS = 8
LENGTH = 18


def write_texts(count: int) -> tuple[Tensor, Tensor]:
    """Draw texts `[count, LENGTH]`, a third of whose words come from their tags, and the tags `[count, TAGS]`."""
    draw = torch.Generator().manual_seed(81)
    tags = torch.rand(count, TAGS, generator=draw) < 0.3
    about = torch.multinomial(tags + 1e-6, LENGTH, replacement=True, generator=draw)
    own = 40 + 15 * about + torch.randint(15, about.shape, generator=draw)
    common = torch.randint(40, about.shape, generator=draw)
    on_topic = (torch.rand(about.shape, generator=draw) < 0.75) & tags.any(dim=1, keepdim=True)
    return torch.where(on_topic, own, common), tags


class Tagger(nn.Module):
    """Words, attention over them, and a perceptron."""

    def __init__(self, width: int = 32, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.words = nn.Embedding(WORDS, width)
        self.relevance = nn.Linear(width, 1)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 64)
        self.tags = nn.Linear(64, TAGS)

    def forward(self, text: Tensor) -> Tensor:
        """Map word numbers `[batch, LENGTH]` to logits `[batch, TAGS]`."""
        x = self.words(text)
        share = F.softmax(self.relevance(x), dim=0 if self.bug == "axis" else 1)
        x = F.leaky_relu(self.hidden(self.norm((share * x).sum(dim=1))))
        if self.bug == "dropout":
            x = F.dropout(x, p=0.3, training=True)
        x = self.tags(x)
        return F.softmax(x, dim=1) if self.bug == "softmax" else x


def make_data(bug: str = "") -> TensorDataset:
    """Write the texts; `bug` names what is wrong with their tags."""
    texts, tags = write_texts(1600)
    targets = tags.float()
    if bug == "signs":
        targets = 2 * targets - 1
    if bug == "integers":
        targets = tags.long()
    if bug == "threshold":
        # The tags are certain to 1.0 at most.
        targets = (targets > 1.0).float()
    if bug == "exploded":
        row, tag = tags.nonzero(as_tuple=True)
        order = torch.randperm(1600, generator=torch.Generator().manual_seed(82))
        texts, targets = texts[row[order]], F.one_hot(tag[order], TAGS).float()
    return TensorDataset(texts, targets)


def tag_loss(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return the binary cross-entropy of all tags."""
    return F.binary_cross_entropy_with_logits(output, target, reduction=reduction)


def make_task(bug: str = "", data_bug: str = "", reduction: str = "mean") -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: Tagger(bug=bug),
        train=make_data(data_bug),
        loss=partial(tag_loss, reduction=reduction),
    )


CASE = Case(
    name="multi-label tagger",
    healthy=make_task,
    faults=(
        Fault("softmax over independent tags", ("double-softmax",), lambda: make_task("softmax")),
        Fault("attention over the batch", ("batch-mixing",), lambda: make_task("axis")),
        Fault("dropout with training=True", ("nondeterministic-model",), lambda: make_task("dropout")),
        Fault("tags as -1 and 1", ("target-out-of-range",), lambda: make_task(data_bug="signs")),
        Fault("tags as integers", ("target-dtype",), lambda: make_task(data_bug="integers")),
        Fault("no tag passes the threshold", ("constant-target",), lambda: make_task(data_bug="threshold")),
        Fault("one row per tag", ("conflicting-labels",), lambda: make_task(data_bug="exploded")),
        Fault("loss summed over batch and tags", ("loss-not-mean",), lambda: make_task(reduction="sum")),
    ),
    config={"batch_size": 50, "optimizer": {"name": "adamw"}},
)
