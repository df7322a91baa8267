"""A small vision transformer that tells on which side of a bright dot the pale one lies; attention written by hand."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

SIDES = ((0, 5), (5, 0), (0, -5), (-5, 0))
SIZE, PATCH, WIDTH, HEADS = 16, 4, 32, 4
MEAN, DEVIATION = 0.023, 0.1


def draw_dots(count: int) -> tuple[Tensor, Tensor]:
    """Draw pictures `[count, 1, 16, 16]` between 0 and 1, and the side."""
    generator = torch.Generator().manual_seed(64)
    side = torch.randint(len(SIDES), (count,), generator=generator)
    pictures = 0.02 * torch.rand(count, 1, SIZE, SIZE, generator=generator)
    for picture, where in zip(pictures, side.tolist(), strict=True):
        down, right = SIDES[where]
        y = int(torch.randint(max(0, -down), SIZE - 1 - max(0, down), (), generator=generator))
        x = int(torch.randint(max(0, -right), SIZE - 1 - max(0, right), (), generator=generator))
        picture[0, y : y + 2, x : x + 2] += 0.9
        picture[0, y + down : y + down + 2, x + right : x + right + 2] += 0.45
    return pictures, side


class Attention(nn.Module):
    """Attention of several heads."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.axis = 0 if bug == "axis" else -1
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, tokens, width]` to the same shape."""
        q, k, v = self.qkv(x).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(WIDTH // HEADS), dim=self.axis)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention and a perceptron, each after a normalisation and beside the identity."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention(bug)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, tokens, width]` to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class DotViT(nn.Module):
    """Sixteen patches, a class token and two layers."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        tokens = (SIZE // PATCH) ** 2 + 1
        self.embed = nn.Linear(PATCH * PATCH, WIDTH)
        self.cls = nn.Parameter(torch.zeros(1, 1, WIDTH))
        if bug == "unsqueeze":
            self.pos = nn.Parameter(0.02 * torch.randn(tokens, WIDTH)).unsqueeze(0)
        else:
            self.pos = nn.Parameter(0.02 * torch.randn(1, tokens, WIDTH))
        self.layers = nn.ModuleList([Layer(bug), Layer(bug)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(SIDES))
        if bug == "wide head":
            nn.init.normal_(self.head.weight)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures to logits `[batch, sides]`."""
        patches = pictures.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).flatten(4).flatten(1, 3)
        x = self.embed(patches)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], dim=1) + self.pos
        for layer in self.layers:
            if self.bug == "not assigned":
                layer(x)
            else:
                x = layer(x)
        return self.head(self.norm(x[:, 0]))


def configure(model: DotViT, learning_rate: float, weight_decay: float, bug: str) -> torch.optim.Optimizer:
    """Build AdamW that decays the linear layers' weights only."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            decayed.append(module.weight)
            kept.append(module.bias)
        elif isinstance(module, nn.LayerNorm):
            kept += [module.weight, module.bias]
    if bug != "modules":
        kept += [parameter for parameter in (model.cls, model.pos) if isinstance(parameter, nn.Parameter)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    pictures, side = draw_dots(1000)
    mean, deviation = (DEVIATION, MEAN) if bug == "swapped" else (MEAN, DEVIATION)
    pictures = (pictures - mean) / deviation
    train = TensorDataset(pictures[:800], side[:800])
    val = TensorDataset(pictures[800:], side[800:])
    generator = torch.Generator().manual_seed(3)
    return lrtune.Task(
        model=lambda: DotViT(bug),
        train=DataLoader(train, batch_size=50, shuffle=True, generator=generator),
        val=DataLoader(val, batch_size=50),
        loss=nn.functional.cross_entropy,
        optimizer=functools.partial(configure, bug=bug),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="dots-vit",
    healthy=make_task,
    faults=(
        # PetrochukM/PyTorch-NLP#2, nerdai/llms-from-scratch-rs#30: softmax along the first dimension.
        fault("attention's softmax runs over the batch", "axis", "batch-mixing"),
        # PyTorch forum, "nn.Parameter(...).to(device) is not in parameters()"; pytorch/pytorch#4761.
        fault("the position table is a view of a parameter", "unsqueeze", "unregistered-parameter"),
        # Humbatova 2020, "wrong API usage"; tensorflow/models#4215: the result is not assigned.
        fault(
            "the layers' result is not assigned",
            "not assigned",
            "parameter-without-gradient",
            "input-ignored",
        ),
        # Karpathy's recipe, "verify loss @ init" and "init well".
        fault("the head's weights are drawn with deviation 1", "wide head", "initial-loss-high"),
        # Loops over module types as in minGPT's configure_optimizers, whose assertion exists for this fault.
        fault(
            "the optimizer's groups forget class token and positions", "modules", "parameter-not-in-optimizer"
        ),
        # 37 reasons "check the preprocessing"; PyTorch forum, Normalize(std, mean).
        fault("mean and deviation are exchanged when normalising", "swapped", "input-not-normalised"),
    ),
)
