"""The direction of noisy gratings: a vision transformer with a class token, batches as dicts, AdamW groups."""

from __future__ import annotations

import math
from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

DIRECTIONS = 6
SIZE = 12
PATCH = 3


class Gratings(Dataset):
    """Dicts of `pixel_values` `[1, SIZE, SIZE]` and `labels`."""

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(DIRECTIONS, (count,), generator=draw)
        angle = (math.pi * self.labels / DIRECTIONS).reshape(-1, 1, 1)
        period = 3.5 + 2 * torch.rand(count, 1, 1, generator=draw)
        phase = 2 * math.pi * torch.rand(count, 1, 1, generator=draw)
        rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        waves = (2 * math.pi / period * (rows * angle.sin() + columns * angle.cos()) + phase).sin()
        images = waves + 0.3 * torch.randn(waves.shape, generator=draw)
        self.images = ((images - images.mean()) / images.std()).unsqueeze(1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


class Layer(nn.Module):
    """Attention and a perceptron, normalised before each."""

    def __init__(self, width: int, batch_first: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=batch_first)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens `[batch, tokens, width]` to the same shape."""
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A small vision transformer; `bug` names the line that is wrong."""

    def __init__(self, width: int = 32, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        tokens = (SIZE // PATCH) ** 2 + 1
        self.patches = nn.Conv2d(1, width, PATCH, stride=PATCH)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        positions = 0.02 * torch.randn(1, tokens, width)
        self.positions = positions.requires_grad_() if bug == "bare tensor" else nn.Parameter(positions)
        self.layers = nn.Sequential(*(Layer(width, bug != "batch_first") for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, DIRECTIONS)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=1.0 if bug == "wide init" else 0.05)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits of the directions."""
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = self.positions.expand(len(x), -1, -1) if self.bug == "not added" else x + self.positions
        x = self.head(self.norm(self.layers(x))[:, 0])
        return x.softmax(dim=-1) if self.bug == "softmax" else x


def training_step(model: nn.Module, batch: dict[str, Tensor], argmax: bool = False) -> dict[str, Tensor]:
    """Score a batch."""
    logits = model(batch["pixel_values"])
    if argmax:
        loss = nn.functional.mse_loss(logits.argmax(dim=-1).float(), batch["labels"].float())
    else:
        loss = nn.functional.cross_entropy(logits, batch["labels"])
    return {"loss": loss, "output": logits, "target": batch["labels"]}


def configure_optimizer(
    model: nn.Module, lr: float, weight_decay: float, by_name: bool = False
) -> torch.optim.AdamW:
    """Decay the weights, and neither biases nor tokens nor norms."""
    named = dict(model.named_parameters())
    decay = [p for n, p in named.items() if n.endswith("weight") and p.dim() > 1]
    if by_name:
        plain = [p for n, p in named.items() if n.endswith("bias") or ("norm" in n and n.endswith("weight"))]
    else:
        plain = [p for n, p in named.items() if not (n.endswith("weight") and p.dim() > 1)]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr)


def make_task(bug: str = "", argmax: bool = False, by_name: bool = False) -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: ViT(bug=bug),
        train=Gratings(1200, seed=41),
        step=partial(training_step, argmax=argmax),
        optimizer=partial(configure_optimizer, by_name=by_name),
    )


CASE = Case(
    name="gratings ViT",
    healthy=make_task,
    faults=(
        Fault(
            "attention without batch_first",
            ("batch-mixing", "input-ignored"),
            lambda: make_task("batch_first"),
        ),
        Fault(
            "positions instead of patches plus positions",
            ("input-ignored", "parameter-without-gradient"),
            lambda: make_task("not added"),
        ),
        Fault("positions as a bare tensor", ("unregistered-parameter",), lambda: make_task("bare tensor")),
        Fault("softmax before cross-entropy", ("double-softmax",), lambda: make_task("softmax")),
        Fault("standard normal weights", ("initial-loss-high",), lambda: make_task("wide init")),
        Fault("loss of the argmax", ("detached-loss",), lambda: make_task(argmax=True)),
        Fault("tokens in no group", ("parameter-not-in-optimizer",), lambda: make_task(by_name=True)),
    ),
    config={"batch_size": 32},
)
