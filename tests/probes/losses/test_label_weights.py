from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import pytest
import torch
from programs import codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.checks.loss import labels_summed, padding_in_mean
from lrtune.population.forward import Outcome
from lrtune.probes.losses import class_reading
from lrtune.probes.losses.label_weights import LabelWeights, weights_of
from lrtune.steps.check_init import check_init

if TYPE_CHECKING:
    from collections.abc import Callable

LOGITS = torch.randn(6, 5, 4, generator=generator(0))  # [batch, time, classes]
LABELS = torch.randint(4, (6, 5), generator=generator(1))
MASK = torch.rand(6, 5, generator=generator(2)) < 0.6
COUNTED = int(MASK.sum())
CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 3.0, 4.0])


def each(logits: Tensor, labels: Tensor = LABELS) -> Tensor:
    """The loss of every position, `[batch, time]`."""
    return F.cross_entropy(logits.movedim(2, 1), labels, reduction="none")


LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], float, int]] = {
    "mean": (lambda x: each(x).mean(), 1.0, 30),
    "sum": (lambda x: each(x).sum(), 30.0, 30),
    "divided twice": (lambda x: each(x).mean() / 6, 1 / 6, 30),
    "half": (lambda x: each(x).mean() / 2, 0.5, 30),
    "masked mean": (lambda x: (each(x) * MASK).sum() / MASK.sum(), 1.0, COUNTED),
    "masked, averaged over all": (lambda x: (each(x) * MASK).mean(), COUNTED / 30, COUNTED),
    "class weights": (lambda x: F.cross_entropy(x.flatten(0, 1), LABELS.flatten(), CLASS_WEIGHTS), 1.0, 30),
}


@pytest.mark.parametrize(("loss", "total", "counted"), LOSSES.values(), ids=LOSSES)
def test_weights(loss: Callable[[Tensor], Tensor], total: float, counted: int) -> None:
    """The weights of a mean add up to 1, of a sum to the number of labels, whoever masks them."""
    logits = LOGITS.clone().requires_grad_()
    seen = weights_of(Outcome(loss(logits), logits, LABELS))
    assert seen is not None
    assert (seen.counted, seen.labels, seen.classes) == (counted, 30, 4)
    assert seen.total == pytest.approx(total, rel=1e-4)


def test_ignored_labels() -> None:
    """Labels that the loss ignores have no weight; the entropy is that of the others."""
    labels = torch.tensor([[0, 1, -100, -100, 0]] * 6)
    logits = LOGITS.clone().requires_grad_()
    seen = weights_of(Outcome(F.cross_entropy(logits.flatten(0, 1), labels.flatten()), logits, labels))
    assert seen is not None
    assert (seen.counted, seen.labels) == (18, 30)
    assert seen.total == pytest.approx(1.0, rel=1e-4)
    assert seen.entropy == pytest.approx(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(
            lambda x: F.cross_entropy(x.flatten(0, 1), LABELS.flatten(), label_smoothing=0.1), id="smooth"
        ),
        pytest.param(lambda x: x.square().mean(), id="another loss"),
        pytest.param(lambda x: -each(x).mean(), id="of the wrong sign"),
        pytest.param(lambda x: each(x).mean() + x.square().mean(), id="a penalty on the logits"),
        pytest.param(lambda x: each(x.detach()).mean(), id="detached"),
    ],
)
def test_other_losses_have_no_weights(loss: Callable[[Tensor], Tensor]) -> None:
    """Nothing is claimed of a gradient that is not a weighted cross-entropy's."""
    logits = LOGITS.clone().requires_grad_()
    assert weights_of(Outcome(loss(logits), logits, LABELS)) is None


def test_many_labels_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts of a batch give what the whole gives."""
    found = []
    for rows in (4096, 7):
        monkeypatch.setattr(class_reading, "_ROWS", rows)
        logits = LOGITS.clone().requires_grad_()
        found.append(weights_of(Outcome(each(logits)[MASK].mean(), logits, LABELS)))
    whole, parts = found
    assert whole is not None
    assert parts is not None
    assert (parts.counted, parts.entropy) == (whole.counted, whole.entropy) == (COUNTED, whole.entropy)
    assert parts.total == pytest.approx(whole.total, rel=1e-6)


@pytest.mark.parametrize(
    ("total", "counted", "told"),
    [
        pytest.param(1.0, 18, False, id="mean of those that count"),
        pytest.param(0.6, 18, True, id="divided by all"),
        pytest.param(0.5, 18, False, id="a factor of its own"),
        pytest.param(1.0, 30, False, id="all count"),
        pytest.param(0.99, 30, False, id="nearly one"),
    ],
)
def test_padding_in_mean(total: float, counted: int, told: bool) -> None:
    """Only weights that add up to the share of labels that count are told."""
    assert (padding_in_mean(LabelWeights(total, counted, 30, 4, 1.0)) is not None) == told


class Tagger(nn.Module):
    """A tag for each word."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(20, 16), nn.Linear(16, 6)
        nn.init.normal_(self.head.weight, std=gain)

    def forward(self, words: Tensor) -> Tensor:
        """Return logits `[batch, time, tags]`."""
        return self.head(self.words(words))


def tagging(all_in_mean: bool = False, gain: float = 0.1, alone: bool = False) -> lrtune.Task:
    """Sentences of different lengths, padded with tags that a mask leaves out; the loss `alone`, or all there is."""
    draw = generator(4)
    lengths = torch.randint(2, 12, (64, 1), generator=draw)
    words = torch.randint(20, (64, 12), generator=draw)
    mask = (torch.arange(12) < lengths).float()
    parts = zip(words.split(16), (words % 6).split(16), mask.split(16), strict=True)

    def step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor] | Tensor:
        output = model(batch["words"])
        losses = each(output, batch["tags"]) * batch["mask"]
        loss = losses.mean() if all_in_mean else losses.sum() / batch["mask"].sum()
        return loss if alone else {"loss": loss, "output": output, "target": batch["tags"]}

    batches = [{"words": a, "tags": b, "mask": c} for a, b, c in parts]
    return lrtune.Task(model=functools.partial(Tagger, gain), train=batches, step=step)


@pytest.mark.parametrize("alone", [False, True], ids=["outputs told", "loss alone"])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_with_a_mask_of_its_own(seed: int, alone: bool) -> None:
    """It has the expectation of the labels that count, and each fault of it its name, whatever the step returns."""
    healthy = check_init(context_of(tagging(alone=alone), seed=seed))
    assert codes(healthy) == []
    assert healthy.summary["expected_high"] == pytest.approx(math.log(6), rel=1e-4)
    assert codes(check_init(context_of(tagging(gain=5.0, alone=alone), seed=seed))) == ["initial-loss-high"]
    assert (
        codes(check_init(context_of(tagging(all_in_mean=True, alone=alone), seed=seed)))[0] == "loss-not-mean"
    )


@pytest.mark.parametrize(
    ("total", "counted", "told"),
    [
        pytest.param(30.0, 30, True, id="sum"),
        pytest.param(1.0, 30, False, id="mean"),
        pytest.param(6.0, 30, False, id="a mean over some dimensions"),
        pytest.param(2.0, 2, False, id="too few labels to tell"),
    ],
)
def test_labels_summed(total: float, counted: int, told: bool) -> None:
    """Weights that add up to the number of labels are those of a sum."""
    assert (labels_summed(LabelWeights(total, counted, counted, 4, 1.0)) is not None) == told
