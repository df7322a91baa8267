"""A perceptron with dropout that classifies digits from 64 standardised pixels."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def load_digits(
    scaling: str = "standard", copies: bool = False, float_labels: bool = False
) -> tuple[TensorDataset, TensorDataset]:
    """Load the digits, four fifths for training; pixels run from 0 to 16 in the source.

    Args:
        scaling: `standard`; `bytes` leaves 0 to 255; `unsigned` stores the scaled pixels as bytes again.
        copies: Adds a copy of every image for augmentation, the labels repeated in another order.
        float_labels: Keeps the labels as the numbers of the CSV file.
    """
    pixels, labels = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(labels), generator=generator)
    images = (pixels[order] * 255 / 16).round()
    labels = labels[order].float() if float_labels else labels[order]
    if scaling == "standard":
        images = (images - images[:1437].mean()) / images[:1437].std()
    elif scaling == "unsigned":
        images = (images / 256).to(torch.uint8)
    images = images.float()
    train_images, train_labels = images[:1437], labels[:1437]
    if copies:
        train_images = train_images.repeat(2, 1)
        train_labels = train_labels.repeat_interleave(2)
    return TensorDataset(train_images, train_labels), TensorDataset(images[1437:], labels[1437:])


def make_mlp(init: str = "default", softmax: bool = False) -> nn.Sequential:
    """Build a network from `[batch, 64]` to logits `[batch, 10]`."""
    model = nn.Sequential(
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    for layer in model:
        if isinstance(layer, nn.Linear) and init != "default":
            nn.init.zeros_(layer.bias)
            if init == "normal":
                nn.init.normal_(layer.weight)
            else:
                nn.init.constant_(layer.weight, 0.05)
    if softmax:
        model.append(nn.Softmax(dim=1))
    return model


@functools.cache
def best_checkpoint() -> dict[str, Tensor]:
    """Train a network, as an earlier run would have done, and return its weights."""
    images, labels = load_digits()[0].tensors
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make_mlp()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return model.state_dict()


def make_resumed_mlp() -> nn.Sequential:
    """Build the network with the weights of the earlier run."""
    model = make_mlp()
    model.load_state_dict(best_checkpoint())
    return model


def make_task(
    scaling: str = "standard",
    copies: bool = False,
    float_labels: bool = False,
    init: str = "default",
    softmax: bool = False,
    resumed: bool = False,
    log_softmax_forgotten: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    train, val = load_digits(scaling, copies, float_labels)
    return lrtune.Task(
        model=make_resumed_mlp if resumed else lambda: make_mlp(init, softmax),
        train=train,
        val=val,
        loss=nn.functional.nll_loss if log_softmax_forgotten else nn.functional.cross_entropy,
    )


CASE = Case(
    name="digits-mlp",
    healthy=make_task,
    faults=(
        Fault(
            "pixels left as bytes 0..255",
            ("input-not-normalised",),
            functools.partial(make_task, scaling="bytes"),
        ),
        Fault(
            "pixels scaled below 1, then stored as uint8",
            ("constant-input",),
            functools.partial(make_task, scaling="unsigned"),
        ),
        Fault(
            "images repeated, labels repeated in another order",
            ("conflicting-labels",),
            functools.partial(make_task, copies=True),
        ),
        Fault(
            "labels read as floats",
            ("target-dtype",),
            functools.partial(make_task, float_labels=True),
        ),
        Fault(
            "weights drawn with deviation 1",
            ("initial-loss-high",),
            functools.partial(make_task, init="normal"),
        ),
        Fault(
            "all weights set to one constant",
            ("symmetric-init",),
            functools.partial(make_task, init="constant"),
        ),
        Fault(
            "softmax as the last layer",
            ("double-softmax",),
            functools.partial(make_task, softmax=True),
        ),
        Fault(
            "the builder loads the weights of an earlier run",
            ("initial-loss-low",),
            functools.partial(make_task, resumed=True),
        ),
        Fault(
            "nll_loss of raw logits",
            ("initial-loss-low", "loss-explodes"),
            functools.partial(make_task, log_softmax_forgotten=True),
        ),
    ),
)
