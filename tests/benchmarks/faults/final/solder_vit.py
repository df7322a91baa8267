"""A small vision transformer with attention by hand, for solder joints; batches are dicts, the optimizer AdamW."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

DEFECTS = 4
SIZE, PATCH, WIDTH, HEADS = 24, 4, 32, 4
TOKENS = (SIZE // PATCH) ** 2


def photograph_joints(joints: int) -> list[dict[str, Tensor]]:
    """Draw standardised images `[1, 24, 24]` of solder joints, each with its defect, as dicts."""
    generator = torch.Generator().manual_seed(64)
    row = torch.arange(SIZE).view(-1, 1) - 11.5
    column = torch.arange(SIZE).view(1, -1) - 11.5
    examples = []
    for _ in range(joints):
        defect = torch.randint(DEFECTS, (), generator=generator)
        y, x = row - torch.randn((), generator=generator), column - torch.randn((), generator=generator)
        dot = (x * x + y * y < 49).float()
        if defect == 1:
            dot = dot * (x * x + y * y > 9)
        elif defect == 2:
            dot = torch.maximum(dot, ((y.abs() < 2) & (x > 0)).float())
        elif defect == 3:
            dot = dot * (y < 2)
        noisy = dot + 0.2 * torch.randn(SIZE, SIZE, generator=generator)
        examples.append({"image": ((noisy - 0.3) / 0.5).unsqueeze(0), "defect": defect})
    return examples


class Attention(nn.Module):
    """Several heads; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, tokens, width]` to the same shape."""
        batch, tokens, width = x.shape
        joined = self.qkv(x)
        if self.bug == "reshape":
            q, k, v = joined.reshape(3, batch, HEADS, tokens, width // HEADS)
        else:
            q, k, v = joined.view(batch, tokens, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / (width // HEADS) ** 0.5
        shares = scores.softmax(dim=0 if self.bug == "softmax" else -1)
        return self.out((shares @ v).transpose(1, 2).reshape(batch, tokens, width))


class Layer(nn.Module):
    """Attention and a perceptron, normalised before."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.attention = Attention(bug)
        self.norm_one, self.norm_two = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, tokens, width]` to the same shape."""
        one = nn.functional.layer_norm(x, x.shape) if self.bug == "layer_norm" else self.norm_one(x)
        x = x + self.attention(one)
        return x + self.mlp(self.norm_two(x))


class ViT(nn.Module):
    """Patches, two layers, and the mean of the tokens."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.patches = nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)
        self.positions = nn.Parameter(0.02 * torch.randn(1, TOKENS, WIDTH))
        layers = {str(index): Layer(bug) for index in range(2)}
        self.layers = layers if bug == "dict" else nn.ModuleDict(layers)
        if bug == "layer_norm":
            for layer in layers.values():
                layer.norm_one = nn.Identity()
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, DEFECTS)
        deviation = 2.0 if bug == "deviation" else 0.02
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=deviation, a=-4.0, b=4.0)
                nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Map images `[batch, 1, 24, 24]` to logits `[batch, defects]`."""
        x = self.patches(image).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers.values():
            x = layer(x)
        return self.head(self.norm(x).mean(dim=0 if self.bug == "mean" else 1))


def train_step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return loss, output and target of a batch."""
    logits = model(batch["image"])
    return {
        "loss": nn.functional.cross_entropy(logits, batch["defect"]),
        "output": logits,
        "target": batch["defect"],
    }


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    examples = photograph_joints(500)
    generator = torch.Generator().manual_seed(5)
    return lrtune.Task(
        model=lambda: ViT(bug),
        train=DataLoader(examples[:400], 32, shuffle=True, drop_last=True, generator=generator),
        val=DataLoader(examples[400:], 32, drop_last=True),
        step=train_step,
        optimizer=lambda model, lr, decay: torch.optim.AdamW(model.parameters(), lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="solder-vit",
    healthy=make_task,
    faults=(
        fault("queries, keys and values split by reshape(3, batch, ...)", "reshape", "batch-mixing"),
        fault("attention's softmax over the batch", "softmax", "batch-mixing"),
        fault("layer_norm(x, x.shape) takes the batch in", "layer_norm", "batch-mixing"),
        fault("the mean over the batch instead of the tokens", "mean", "target-shape-mismatch"),
        fault("layers in a plain dict", "dict", "unregistered-parameter"),
        fault("weights of deviation 2 instead of 0.02", "deviation", "initial-loss-high"),
    ),
)
