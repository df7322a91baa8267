"""A new head on a frozen convolutional net that was trained on other spectra before; weights come as a state_dict."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

BINS = 48
OLD, NEW = 6, 4


def measure_spectra(spectra: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw counts `[spectra, 1, 48]` of peaks over a ground, and the substances."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(classes, 3, generator=generator) * (BINS - 8) + 4
    kinds = torch.randint(classes, (spectra,), generator=generator)
    moved = places[kinds] + 0.6 * torch.randn(spectra, 3, generator=generator)
    bins = torch.arange(BINS).view(1, 1, -1)
    peaks = torch.exp(-((bins - moved.unsqueeze(-1)) ** 2) / 6).sum(1)
    counts = 900 + 300 * peaks + 40 * torch.randn(spectra, BINS, generator=generator)
    return counts.unsqueeze(1), kinds


class SpectrumNet(nn.Module):
    """Two convolutions and a layer that names the substance."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(),
        )  # fmt: skip
        self.fc = nn.Linear(16 * BINS // 4, classes)

    def forward(self, spectra: Tensor) -> Tensor:
        """Map spectra `[batch, 1, 48]` to logits `[batch, classes]`."""
        return self.fc(self.features(spectra))


def standardise(counts: Tensor) -> Tensor:
    """Bring counts to the scale that the net was trained on."""
    return (counts - 940) / 100


@functools.cache
def trained_weights() -> dict[str, Tensor]:
    """Train on six other substances and return the weights as a data-parallel wrapper would name them."""
    counts, kinds = measure_spectra(600, OLD, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = SpectrumNet(OLD)
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(standardise(counts)), kinds).backward()
            optimizer.step()
    return {f"module.{name}": value.detach() for name, value in net.state_dict().items()}


def build(bug: str) -> nn.Module:
    """Load the weights, freeze them, and put on a new head; `bug` names the line that is wrong."""
    net = SpectrumNet(OLD)
    weights = trained_weights()
    if bug != "not loaded":
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    net.load_state_dict(weights, strict=False)
    for parameter in net.parameters():
        parameter.requires_grad = False
    head = nn.Linear(16 * BINS // 4, NEW)
    if bug == "classifier":
        net.classifier = head
        net.fc.requires_grad_(True)
    else:
        net.fc = nn.Sequential(head, nn.Softmax(dim=1)) if bug == "softmax" else head
    return net


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    counts, kinds = measure_spectra(640, NEW, seed=2)
    spectra = counts if bug == "counts" else standardise(counts)
    if bug == "buffer":
        buffer = torch.empty_like(spectra[0])
        spectra = (
            torch.stack([buffer.copy_(spectrum) for spectrum in spectra][-1:]).expand_as(spectra).clone()
        )
    return lrtune.Task(
        model=lambda: build(bug),
        train=TensorDataset(spectra[:512], kinds[:512]),
        val=TensorDataset(spectra[512:], kinds[512:]),
        loss=nn.CrossEntropyLoss(),
        optimizer=lambda model, lr, decay: torch.optim.Adam(
            [one for one in model.parameters() if one.requires_grad], lr=lr, weight_decay=decay
        ),
        pretrained=True,
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="spectra-backbone",
    healthy=make_task,
    faults=(
        fault(
            "the new head under a name that forward does not use", "classifier", "parameter-without-gradient"
        ),
        fault(
            "counts of 900 for a net that was trained on standardised ones", "counts", "input-not-normalised"
        ),
        fault("a softmax behind the new head", "softmax", "double-softmax"),
        fault("all spectra are one buffer, read last", "buffer", "constant-input", "conflicting-labels"),
        fault("names of weights that do not fit, strict=False", "not loaded", "frozen-model"),
    ),
)
