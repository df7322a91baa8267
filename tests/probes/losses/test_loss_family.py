from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from programs import generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses.expectation import expectation
from lrtune.probes.losses.loss_family import FAMILIES, declared_family, ignored_index, matching_family

LABELS = torch.tensor([0, 0, 0, 1, 1, 2])
ENTROPY = -sum(p * math.log(p) for p in (1 / 2, 1 / 3, 1 / 6))
LOGITS = torch.randn(6, 3, generator=generator(0))
BITS = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
BIT_ENTROPY = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
NUMBERS = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
WEIGHTS = torch.tensor([1.0, 2.0, 5.0])


def smoothed_prior() -> float:
    """The lowest loss of a constant under label smoothing of 0.3: the entropy of the smoothed labels."""
    prior = 0.7 * torch.tensor([1 / 2, 1 / 3, 1 / 6]) + 0.3 / 3
    return float(-(prior * prior.log()).sum())


def weighted_prior() -> float:
    """The lowest loss of a constant under class weights: the entropy of the weighted labels."""
    prior = torch.tensor([1 / 2, 1 / 3, 1 / 6]) * WEIGHTS
    prior /= prior.sum()
    return float(-(prior * prior.log()).sum())


CASES = {
    "cross-entropy": (F.cross_entropy, LOGITS, LABELS, ENTROPY, math.log(3)),
    "module": (nn.CrossEntropyLoss(), LOGITS, LABELS, ENTROPY, math.log(3)),
    "label smoothing": (
        nn.CrossEntropyLoss(label_smoothing=0.3),
        LOGITS,
        LABELS,
        smoothed_prior(),
        math.log(3),
    ),
    "probabilities": (F.cross_entropy, LOGITS, F.one_hot(LABELS).float(), ENTROPY, math.log(3)),
    "images": (
        F.cross_entropy,
        torch.zeros(6, 3, 4, 4),
        LABELS[:, None, None].expand(6, 4, 4),
        ENTROPY,
        math.log(3),
    ),
    "log-likelihood": (F.nll_loss, LOGITS.log_softmax(1), LABELS, ENTROPY, math.log(3)),
    "binary logits": (F.binary_cross_entropy_with_logits, torch.zeros(4, 1), BITS, BIT_ENTROPY, math.log(2)),
    "binary": (F.binary_cross_entropy, torch.full((4, 1), 0.3), BITS, BIT_ENTROPY, math.log(2)),
    "squared error": (F.mse_loss, torch.zeros(4, 1), NUMBERS, 3.5, 12.5),
    "absolute error": (nn.L1Loss(), torch.zeros(4, 1), NUMBERS, 1.5, 3.0),
    "no dimension": (F.mse_loss, torch.zeros(4), NUMBERS[:, 0], 3.5, 12.5),
}


@pytest.mark.parametrize(("loss", "output", "target", "low", "high"), CASES.values(), ids=CASES)
def test_expectations(loss: Any, output: Tensor, target: Tensor, low: float, high: float) -> None:
    """The best constant reaches the entropy or the variance, the neutral output ln C or the mean square."""
    family = declared_family(loss)
    assert family is not None
    theory = expectation(family, loss, [(output, target)])
    assert theory is not None
    assert theory.low == pytest.approx(low, rel=1e-4)
    assert theory.high == pytest.approx(high, rel=1e-4)
    assert theory.at_spread(0.0) == pytest.approx(high, rel=1e-4)
    assert theory.at_spread(2.0) > theory.at_spread(1.0) > theory.high


def test_class_weights() -> None:
    """Class weights are in the number: the labels' plain prior would be worse than equal logits."""
    loss = nn.CrossEntropyLoss(weight=WEIGHTS)
    theory = expectation(declared_family(loss), loss, [(LOGITS, LABELS)])
    assert sorted([theory.low, theory.high]) == pytest.approx(
        sorted([weighted_prior(), math.log(3)]), rel=1e-4
    )


@pytest.mark.parametrize(
    "make",
    [nn.CrossEntropyLoss, lambda **keys: functools.partial(F.cross_entropy, **keys)],
    ids=["module", "partial"],
)
def test_ignored_labels_do_not_count(make: Any) -> None:
    """Labels that the loss ignores are left out of the prior."""
    loss = make(ignore_index=2)
    assert ignored_index(loss) == 2
    rest = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    assert expectation(declared_family(loss), loss, [(LOGITS, LABELS)]).low == pytest.approx(rest, rel=1e-4)
    padded = make(ignore_index=-1)
    target = torch.where(LABELS == 2, -1, LABELS)
    assert expectation(declared_family(padded), padded, [(LOGITS, target)]).low == pytest.approx(
        rest, rel=1e-4
    )


@pytest.mark.parametrize(
    "loss",
    [
        F.mse_loss,
        functools.partial(F.mse_loss, reduction="sum"),
        nn.MSELoss(),
        functools.partial(functools.partial(F.mse_loss)),
    ],
    ids=["function", "partial", "module", "partial of a partial"],
)
def test_declared(loss: Any) -> None:
    """Torch's own losses are known as functions, modules and partials of them."""
    assert declared_family(loss).name == "squared error"


def test_not_declared() -> None:
    """A function of the user's is not known by name."""
    assert declared_family(lambda output, target: F.mse_loss(output, target)) is None
    assert ignored_index(lambda output, target: 0) == -100


@pytest.mark.parametrize(("loss", "output", "target", "low", "high"), CASES.values(), ids=CASES)
def test_matching_by_value(loss: Any, output: Tensor, target: Tensor, low: float, high: float) -> None:
    """A wrapped loss is recognised by the number that it computes, unless its settings change the number."""
    value = float(loss(output, target))
    found = matching_family(value, output, target)
    declared = declared_family(loss)
    if isinstance(loss, nn.CrossEntropyLoss) and loss.label_smoothing:
        assert found is None
    elif found is not declared:  # two losses of the same value: which one it is makes no difference
        assert float(found.reference(output, target)) == pytest.approx(value, rel=1e-4)
    assert matching_family(value + 0.1, output, target) is None


def test_language_models_match() -> None:
    """Logits with the classes last against token targets are cross-entropy, flattened or not."""
    logits, tokens = (
        torch.randn(2, 5, 7, generator=generator(1)),
        torch.randint(7, (2, 5), generator=generator(2)),
    )
    value = float(F.cross_entropy(logits.flatten(0, 1), tokens.flatten()))
    for output in (logits, logits.flatten(0, 1)):
        family = matching_family(value, output, tokens)
        assert family is FAMILIES[0]
        assert expectation(family, None, [(output, tokens)]).high == pytest.approx(math.log(7))


@pytest.mark.parametrize(
    "output", [None, (LOGITS, LOGITS), {"logits": LOGITS}], ids=["none", "tuple", "dict"]
)
def test_outputs_that_are_no_tensor(output: Any) -> None:
    """Nothing is claimed of outputs that are no tensor."""
    assert matching_family(1.0, output, LABELS) is None


def test_labels_out_of_range_match_nothing() -> None:
    """A label that no class has makes the reference raise, and is no match rather than a crash."""
    assert matching_family(1.0, LOGITS, LABELS + 5) is None


@pytest.mark.parametrize("sizes", [[6], [4, 2], [2, 2, 2]], ids=str)
def test_sums_are_taken_per_batch(sizes: list[int]) -> None:
    """A loss summed over the batch is expected at a batch's sum, averaged as the loss is, not at the pool's."""
    loss = functools.partial(F.cross_entropy, reduction="sum")
    pairs = list(zip(LOGITS.split(sizes), LABELS.split(sizes), strict=True))
    theory = expectation(declared_family(loss), loss, pairs, sizes)
    factor = sum(size * size for size in sizes) / 6
    assert theory.high == pytest.approx(factor * math.log(3), rel=1e-4)
    assert theory.low == pytest.approx(
        sum(
            size * float(F.cross_entropy(prior_logits(size), labels, reduction="sum"))
            for size, (_, labels) in zip(sizes, pairs, strict=True)
        )
        / 6,
        rel=1e-4,
    )
    assert "over 3 classes" in theory.text


def prior_logits(count: int) -> Tensor:
    """The label prior's logits for some examples."""
    return torch.tensor([1 / 2, 1 / 3, 1 / 6]).log().expand(count, 3)


def test_large_sums_have_an_expectation() -> None:
    """The number of classes comes from the output's shape: a sum of thousands is no power of e."""
    loss = functools.partial(F.cross_entropy, reduction="sum")
    pairs = [(torch.zeros(2000, 10), torch.arange(2000) % 10)]
    theory = expectation(declared_family(loss), loss, pairs)
    assert theory.high == pytest.approx(2000 * math.log(10), rel=1e-4)
    assert "over 10 classes" in theory.text


def picky(output: Tensor, target: Tensor) -> Tensor:
    """A loss of the user's that insists on type and batch size."""
    assert output.dtype == torch.float32
    assert len(output) == 3
    return F.cross_entropy(output, target)


def test_a_loss_that_insists_on_types_and_sizes() -> None:
    """The user's loss is called as training calls it: batch by batch, in the output's own type."""
    pairs = list(zip(LOGITS.split(3), LABELS.split(3), strict=True))
    assert expectation(FAMILIES[0], picky, pairs).high == pytest.approx(math.log(3), rel=1e-5)


def test_a_loss_that_raises_has_no_expectation() -> None:
    """Whatever a loss raises on constant outputs, there is then no expectation, and no crash."""
    assert expectation(FAMILIES[0], picky, [(LOGITS, LABELS)]) is None
    assert expectation(FAMILIES[0], lambda o, t: {}["none"], [(LOGITS, LABELS)]) is None


def test_a_context_as_long_as_the_vocabulary() -> None:
    """Where the classes could stand in two dimensions, the loss's value decides; else they are the last."""
    logits = torch.randn(3, 5, 5, generator=generator(3))
    tokens = torch.randint(5, (3, 5), generator=generator(4))
    last = matching_family(float(F.cross_entropy(logits.flatten(0, 1), tokens.flatten())), logits, tokens)
    second = matching_family(float(F.cross_entropy(logits, tokens)), logits, tokens)
    assert (last.dimension(logits, tokens), second.dimension(logits, tokens)) == (2, 1)
    zeros = torch.zeros_like(logits)
    assert matching_family(math.log(5), zeros, tokens).dimension(zeros, tokens) == 2


def test_byte_labels() -> None:
    """Labels of uint8, which torch takes, have the same expectation as those of int64."""
    theory = expectation(FAMILIES[0], F.cross_entropy, [(LOGITS, LABELS.to(torch.uint8))])
    assert theory.low == pytest.approx(ENTROPY, rel=1e-4)


def test_sequences_of_several_lengths() -> None:
    """Batches whose sequences differ in length pool their labels all the same."""
    pairs = [(torch.zeros(2, 3, time), torch.zeros(2, time, dtype=torch.int64)) for time in (4, 7)]
    assert expectation(FAMILIES[0], F.cross_entropy, pairs).high == pytest.approx(math.log(3), rel=1e-5)
