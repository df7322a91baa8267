"""What a step of a sweep costs beside the same step of a bare PyTorch loop.

Run `python tests/benchmarks/learning_rate/cost.py`. Both train the same model on the same batches in memory, one after
the other, again and again; what is printed is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.config import Config
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent
from lrtune.steps.context import open_context
from lrtune.task_file import load_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.steps.context import Context

BATCH, EXAMPLES, CLASSES = 64, 2048, 10
RATES = tuple(1e-7 * 1.2**step for step in range(100))


def perceptron() -> nn.Module:
    """Return one of 1.3 million parameters, for 3 x 16 x 16."""
    layers = (nn.Linear(768, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Linear(800, CLASSES))
    return nn.Sequential(nn.Flatten(), *layers)


def convolutional() -> nn.Module:
    """Return a net of three convolutions with batch normalisation, for 3 x 16 x 16."""
    blocks: list[nn.Module] = []
    for inside, outside in ((3, 32), (32, 64), (64, 64)):
        blocks += [
            nn.Conv2d(inside, outside, 3, padding=1),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(256, CLASSES))


MODELS: dict[str, Callable[[], nn.Module]] = {"perceptron": perceptron, "convolutional": convolutional}


def data() -> TensorDataset:
    """Return random images and labels."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(EXAMPLES, 3, 16, 16, generator=draw)
    return TensorDataset(images, torch.randint(0, CLASSES, (EXAMPLES,), generator=draw))


def sweep_seconds(context: Context, steps: int) -> float:
    """Return the time of some steps of one sweep."""
    population = SerialPopulation(
        context.program, [Member(RATES[0], 0.0, 0, 0, RATES)], context.data.train, {}
    )
    population.advance(2)  # the first steps make the optimizer's state
    started = time.perf_counter()
    population.advance(steps)
    return time.perf_counter() - started


def bare_seconds(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int) -> float:
    """Return the time of the same steps of a loop that does nothing else but keep its losses."""
    optimizer = torch.optim.SGD(model.parameters(), RATES[0], momentum=0.9)
    losses: list[float] = []
    started = 0.0
    for step in range(-2, steps):
        if step == 0:
            started = time.perf_counter()
        if step % (EXAMPLES // BATCH) == 0:
            order = torch.randperm(EXAMPLES)
        chosen = order[(step % (EXAMPLES // BATCH)) * BATCH :][:BATCH] if step >= 0 else torch.arange(BATCH)
        for group in optimizer.param_groups:
            group["lr"] = RATES[max(step, 0) % len(RATES)]
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return time.perf_counter() - started


def main() -> None:
    """Compare on each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=9, help="how often both are timed (default: 9)")
    parser.add_argument("--steps", type=int, default=60, help="steps each time (default: 60)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    examples = data()
    images, labels = examples.tensors
    for name, build in MODELS.items():
        task = lrtune.Task(model=build, train=examples, loss=F.cross_entropy)
        config = Config(device="cpu", batch_size=BATCH)
        context = open_context(task, config, Silent(), lambda place, role: load_function(place, role, None))
        ratios, bare = [], []
        for _ in range(options.pairs):
            bare.append(bare_seconds(build(), images, labels, options.steps))
            ratios.append(sweep_seconds(context, options.steps) / bare[-1])
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        milliseconds = 1000 * statistics.median(bare) / options.steps
        print(
            f"{name}: sweep / bare loop {statistics.median(ratios):.3f} ({spread}, {options.pairs} pairs), "
            f"bare {milliseconds:.2f} ms a step"
        )


if __name__ == "__main__":
    main()
