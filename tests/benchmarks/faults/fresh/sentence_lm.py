"""Words of simple sentences: a causal transformer with tied embeddings over a list of token batches."""

from __future__ import annotations

import random
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn

import lrtune

FACTS = """
cats chase mice behind the barn
dogs bury bones under the porch
bees make honey inside the hive
bakers knead dough before the dawn
sailors tie ropes along the pier
farmers grow wheat beyond the hill
children draw chalk across the yard
owls hunt voles over the field
potters shape clay near the kiln
foxes steal eggs from the coop
"""
HOW = ["often", "gladly", "rarely", "quietly"]
VOCABULARY = sorted({*FACTS.split(), *HOW, "."})
TIME = 24


def make_batches(batches: int, size: int) -> list[Tensor]:
    """Write sentences and cut them into batches `[size, TIME + 1]` of word numbers."""
    draw = random.Random(61)
    facts = [fact.split() for fact in FACTS.strip().splitlines()]
    words: list[str] = []
    while len(words) < batches * size * TIME + 1:
        subject, *rest = draw.choice(facts)
        words += [subject, draw.choice(HOW), *rest, "."]
    numbers = torch.tensor([VOCABULARY.index(word) for word in words])
    windows = numbers.unfold(0, TIME + 1, TIME)[: batches * size]
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(62))
    return list(windows[order].split(size))


class Decoder(nn.Module):
    """Attention to earlier words, then a perceptron."""

    def __init__(self, width: int, heads: int, bug: str) -> None:
        super().__init__()
        self.heads, self.bug = heads, bug
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def attend(self, x: Tensor) -> Tensor:
        """Mix the words of each sequence `[batch, time, width]`."""
        batch, time, width = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        if self.bug == "time first":
            q, k, v = (t.reshape(time, batch, self.heads, -1).permute(1, 2, 0, 3) for t in (q, k, v))
        else:
            q, k, v = (t.view(batch, time, self.heads, -1).transpose(1, 2) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.bug != "no mask")
        return self.proj(mixed.transpose(1, 2).reshape(batch, time, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, time, width]` to the same shape."""
        x = x + self.attend(self.ln1(x))
        y = F.gelu(self.up(self.ln2(x)))
        if self.bug == "dropout":
            y = F.dropout(y, p=0.2)
        return x + self.down(y)


class Writer(nn.Module):
    """A language model whose output weights are its embeddings."""

    def __init__(self, width: int = 48, bug: str = "") -> None:
        super().__init__()
        self.words = nn.Embedding(len(VOCABULARY), width)
        self.places = nn.Embedding(TIME, width)
        self.decoders = nn.ModuleList(Decoder(width, 4, bug) for _ in range(2))
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(VOCABULARY), bias=False)
        self.head.weight = self.words.weight
        for name, p in self.named_parameters():
            if p.dim() > 1 and not (bug == "default embedding" and name == "words.weight"):
                nn.init.normal_(p, std=0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map words `[batch, time]` to logits of the next ones."""
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        for decoder in self.decoders:
            x = decoder(x)
        return self.head(self.ln(x))


def next_word(model: nn.Module, tokens: Tensor, bug: str = "") -> dict[str, Tensor]:
    """Score the guesses of all next words."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    if bug == "no shift":
        inputs = targets
    logits = model(inputs)
    if bug == "targets time first":
        # The rows of the logits are sequence by sequence, those of the targets word by word.
        loss = F.cross_entropy(logits.flatten(0, 1), targets.T.flatten())
    else:
        reduction = "sum" if bug == "sum" else "mean"
        loss = F.cross_entropy(logits.transpose(1, 2), targets, reduction=reduction)
    return {"loss": loss, "output": logits, "target": targets}


def make_optimizer(
    model: nn.Module, lr: float, weight_decay: float, matrices_only: bool = False
) -> torch.optim.AdamW:
    """Decay matrices; gains and biases stay free."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}]
    if not matrices_only:
        groups.append({"params": vectors, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))


def make_task(bug: str = "", matrices_only: bool = False) -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: Writer(bug=bug),
        train=make_batches(30, 32),
        step=partial(next_word, bug=bug),
        optimizer=partial(make_optimizer, matrices_only=matrices_only),
    )


CASE = Case(
    name="sentence language model",
    healthy=make_task,
    faults=(
        Fault("no causal mask", ("target-leak",), lambda: make_task("no mask")),
        Fault("targets not shifted", ("target-leak",), lambda: make_task("no shift")),
        Fault("targets flattened time first", ("cannot-overfit",), lambda: make_task("targets time first")),
        Fault("heads split as if time came first", ("batch-mixing",), lambda: make_task("time first")),
        Fault("loss summed over the words", ("loss-not-mean",), lambda: make_task("sum")),
        Fault(
            "tied embedding with its default init",
            ("initial-loss-high",),
            lambda: make_task("default embedding"),
        ),
        Fault("functional dropout", ("nondeterministic-model",), lambda: make_task("dropout")),
        Fault("vectors in no group", ("parameter-not-in-optimizer",), lambda: make_task(matrices_only=True)),
    ),
)
