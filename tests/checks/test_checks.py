from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.checks import examples, gradients, grid, initial_loss, overfitting
from lrtune.checks.overfitting import Attempt
from lrtune.probes.data.examples import NotFinite
from lrtune.probes.initialisation import Gradients, InitialLoss
from lrtune.probes.learning.attainable import Attainable
from lrtune.probes.losses.expectation import Expectation
from lrtune.probes.losses.loss_family import declared_family

CLASSES, BINARY, SQUARES = (
    declared_family(loss) for loss in (F.cross_entropy, F.binary_cross_entropy_with_logits, F.mse_loss)
)


def code(found: Any) -> str | None:
    """The code of a finding, None without one."""
    return None if found is None else found.code


# --- step 1 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "shape", "target", "expected"),
    [
        pytest.param(CLASSES, (4, 3), torch.zeros(4, dtype=torch.int64), None, id="classes int64"),
        pytest.param(CLASSES, (4, 3), torch.zeros(4, dtype=torch.uint8), None, id="classes uint8"),
        pytest.param(CLASSES, (4, 3), torch.zeros(4, dtype=torch.int32), "int64", id="classes int32"),
        pytest.param(CLASSES, (4, 3), torch.zeros(2, 3), None, id="probabilities of a short batch"),
        pytest.param(CLASSES, (4, 3), torch.zeros(4), "int64", id="classes float"),
        pytest.param(CLASSES, (4, 3), torch.zeros(4, 3), None, id="probabilities"),
        pytest.param(CLASSES, (4, 3), [0, 1], None, id="no tensor"),
        pytest.param(BINARY, (4, 1), torch.zeros(4, 1), None, id="binary float"),
        pytest.param(BINARY, (4, 1), torch.zeros(4, 1, dtype=torch.bool), "float32", id="binary bool"),
        pytest.param(SQUARES, (4, 1), torch.zeros(4, 1, dtype=torch.int64), "float32", id="regression int"),
        pytest.param(SQUARES, (4, 1), torch.zeros(4, 1, dtype=torch.float64), None, id="regression double"),
    ],
)
def test_target_dtype(family: Any, shape: tuple[int, ...], target: Any, expected: str | None) -> None:
    """Class indices must be int64, everything that is compared with a real output floating point."""
    found = examples.target_dtype(family, torch.zeros(shape), target)
    if isinstance(target, list):
        assert code(found) == "target-dtype"
    elif expected is None:
        assert found is None
    else:
        assert (found.code, found.expected) == ("target-dtype", expected)


@pytest.mark.parametrize(
    ("family", "target", "measured"),
    [
        pytest.param(CLASSES, [0, 1, 2], None, id="in range"),
        pytest.param(CLASSES, [1, 2, 3], 3, id="from one"),
        pytest.param(CLASSES, [-1, 0, 1], -1, id="below zero"),
        pytest.param(CLASSES, [0, -100], None, id="ignored"),
        pytest.param(CLASSES, [-100], None, id="all ignored"),
        pytest.param(BINARY, [0.0, 1.0, 0.3], None, id="binary"),
        pytest.param(BINARY, [0.0, 255.0], 255, id="binary pixels"),
        pytest.param(BINARY, [-1.0, 1.0], -1, id="plus and minus one"),
        pytest.param(SQUARES, [1e9], None, id="regression"),
    ],
)
def test_target_out_of_range(family: Any, target: list[float], measured: float | None) -> None:
    """Labels lie in 0 to C-1, binary targets in 0 to 1; the worst one is told."""
    found = examples.target_out_of_range(family, 3, torch.tensor(target), ignore=-100)
    assert code(found) == (None if measured is None else "target-out-of-range")
    assert found is None or found.measured == measured


def test_nonfinite_counts() -> None:
    """Values that are not finite are told with the number of examples, and none are silent."""
    assert examples.nonfinite_input(NotFinite(0, 0, 10)) is None
    assert "2 of 10 inputs" in examples.nonfinite_input(NotFinite(3, 2, 10)).message
    assert code(examples.nonfinite_target(NotFinite(1, 1, 10))) == "nonfinite-target"


@pytest.mark.parametrize(
    ("check", "seen", "expected"),
    [
        (gradients.frozen_model, Gradients(False, 0, 9), "frozen-model"),
        (gradients.frozen_model, Gradients(True, 9, 9), None),
        (gradients.detached_loss, Gradients(False, 9, 9), "detached-loss"),
        (gradients.detached_loss, Gradients(False, 0, 9), None),
        (gradients.detached_loss, Gradients(True, 9, 9), None),
        (gradients.parameter_without_gradient, Gradients(True, 9, 9, ["a"]), "parameter-without-gradient"),
        (gradients.parameter_without_gradient, Gradients(False, 9, 9, ["a"]), None),
        (gradients.nonfinite_gradient, Gradients(True, 9, 9, [], ["a"]), "nonfinite-gradient"),
        (gradients.nonfinite_gradient, Gradients(True, 9, 9), None),
    ],
    ids=lambda value: getattr(
        value, "__name__", str(value) if value is None or isinstance(value, str) else ""
    ),
)
def test_gradients(check: Any, seen: Gradients, expected: str | None) -> None:
    """One cause, one code: a frozen model is not also detached, a detached loss has no unused parameters."""
    assert code(check(seen)) == expected


def test_listed() -> None:
    """The first four names and how many more."""
    assert gradients.listed(["a"]) == "a"
    assert gradients.listed(list("abcd")) == "a, b, c, d"
    assert gradients.listed(list("abcdef")) == "a, b, c, d and 2 more"


def seen_loss(mean: float, error: float | None = 0.0, std: float | None = None) -> InitialLoss:
    """A measured loss where theory says between 1 and 2, and 3 at the outputs' largest sane deviation."""
    theory = Expectation(1.0, 2.0, "between 1 and 2", lambda std: 3.0)
    return InitialLoss(mean, error, mean, [mean], 100, std, theory)


@pytest.mark.parametrize(
    ("mean", "error", "high", "low"),
    [
        pytest.param(2.0, 0.0, False, False, id="neutral"),
        pytest.param(3.0, 0.0, False, False, id="on the limit"),
        pytest.param(3.01, 0.0, True, False, id="above"),
        pytest.param(3.29, 0.1, False, False, id="within three standard errors"),
        pytest.param(3.31, 0.1, True, False, id="beyond three standard errors"),
        pytest.param(0.9, 0.0, False, False, id="nine tenths of the best constant"),
        pytest.param(0.89, 0.0, False, True, id="below"),
        pytest.param(0.61, 0.1, False, False, id="below, within three standard errors"),
        pytest.param(0.59, None, False, True, id="one batch: no error known"),
    ],
)
def test_initial_loss(mean: float, error: float | None, high: bool, low: bool) -> None:
    """The loss lies between 0.9 times the best constant's and what sane outputs explain, within three errors."""
    seen = seen_loss(mean, error)
    assert code(initial_loss.initial_loss_high(seen)) == ("initial-loss-high" if high else None)
    assert code(initial_loss.initial_loss_low(seen, pretrained=False)) == (
        "initial-loss-low" if low else None
    )
    assert initial_loss.initial_loss_low(seen, pretrained=True) is None


def test_a_fix_of_its_own() -> None:
    """Where the outputs are too wide, the fix says by how much to scale the last layer down."""
    assert "about 15" in initial_loss.initial_loss_high(seen_loss(50.0, 0.0, std=15.0)).fix
    assert "about" not in initial_loss.initial_loss_high(seen_loss(50.0, 0.0, std=1.0)).fix


@pytest.mark.parametrize(
    ("mean", "expected"), [(1.0, None), (1.09, None), (1.11, "initial-loss-high"), (0.89, "initial-loss-low")]
)
def test_given_expectation(mean: float, expected: str | None) -> None:
    """The user's own expectation of 1 may be missed by a tenth."""
    assert code(initial_loss.initial_loss_given(seen_loss(mean), 1.0)) == expected


def test_nonfinite_and_vector_losses() -> None:
    """NaN in any batch, and a loss of several numbers, are told."""
    assert initial_loss.nonfinite_loss([1.0, 2.0]) is None
    assert "1 of 2 batches" in initial_loss.nonfinite_loss([1.0, math.nan]).message
    assert initial_loss.loss_not_scalar([1, 1]) is None
    assert initial_loss.loss_not_scalar([4]).measured == "[4]"


# --- step 2 -----------------------------------------------------------------------------------------------------

LABELLED = Attainable(1.0, 0.0, 1.0, True)
CEILING = Attainable(0.75, 0.5, 1.0, True)
TOKENS = Attainable(0.97, 0.1, 3.0, False)
NUMBERS = Attainable(None, 0.0, 2.0, False)
UNKNOWN = Attainable(None, None, None, False)


@pytest.mark.parametrize(
    ("aim", "loss", "accuracy", "learnt"),
    [
        pytest.param(LABELLED, 0.5, 1.0, True, id="every label"),
        pytest.param(LABELLED, 0.001, 0.99, False, id="one label wrong"),
        pytest.param(CEILING, 0.9, 0.75, True, id="the ceiling of conflicting labels"),
        pytest.param(CEILING, 0.5, 0.70, False, id="below the ceiling"),
        pytest.param(TOKENS, 0.2, 0.9, True, id="tokens: near the floor"),
        pytest.param(TOKENS, 1.0, 0.97, True, id="tokens: at the ceiling"),
        pytest.param(TOKENS, 0.5, 0.9, False, id="tokens: neither"),
        pytest.param(NUMBERS, 0.1, None, True, id="numbers: R² of 0.95"),
        pytest.param(NUMBERS, 0.11, None, False, id="numbers: less"),
        pytest.param(UNKNOWN, 2.5, None, True, id="unknown loss: half of the first"),
        pytest.param(UNKNOWN, 2.6, None, False, id="unknown loss: more"),
    ],
)
def test_has_overfit(aim: Attainable, loss: float, accuracy: float | None, learnt: bool) -> None:
    """The sample is learnt at its ceiling of accuracy, or near its floor where no accuracy decides; first loss 5."""
    attempt = Attempt(0.1, 5.0, loss, accuracy, None, 100)
    assert overfitting.has_overfit(attempt, aim) is learnt
    found = overfitting.cannot_overfit([attempt], aim, 5)
    assert code(found) == (None if learnt else "cannot-overfit")
    assert overfitting.loss_explodes([attempt]) is None


def test_negative_losses_have_an_aim() -> None:
    """A loss below zero counts as learnt when it has fallen by half of its size."""
    assert overfitting.loss_aim(Attempt(0.1, -2.0, -2.0, None, None, 1), UNKNOWN) == -3.0


@pytest.mark.parametrize(
    ("first", "loss", "mismatched", "learnt"),
    [
        pytest.param(11.1, 10.0, 13.0, True, id="an offset, learnt by its input"),
        pytest.param(11.1, 10.0, 10.0, False, id="an input that is ignored"),
        pytest.param(2.0, 1.7, 2.05, False, id="the beginning of a descent"),
        pytest.param(1e6, 0.4, 2.0, True, id="a bad start, half of the mismatched"),
        pytest.param(1e6, 1.0, 1.0, False, id="a bad start and an ignored input"),
        pytest.param(5.0, 2.6, None, False, id="no parts known: half of the first"),
    ],
)
def test_unknown_losses(first: float, loss: float, mismatched: float | None, learnt: bool) -> None:
    """Without any known loss a sample is learnt when the loss fell because of the input."""
    attempt = Attempt(0.1, first, loss, None, None, 100, mismatched)
    assert overfitting.has_overfit(attempt, UNKNOWN) is learnt
    assert "half the first loss" in overfitting.aim_text(attempt, UNKNOWN)


def test_a_floor_that_is_unknown() -> None:
    """Where only the best constant's loss is known, half of it is the aim."""
    assert (
        overfitting.loss_aim(Attempt(0.1, 9.0, 9.0, None, None, 1), Attainable(None, None, 3.0, False)) == 1.5
    )


def test_explosions() -> None:
    """Only where every rate ends in NaN does the loss explode; a diverged try has learnt nothing."""
    lost, fine = Attempt(0.1, 5.0, 4.0, 1.0, 7, 6), Attempt(0.01, 5.0, 0.0, 1.0, None, 100)
    assert not overfitting.has_overfit(lost, LABELLED)
    assert code(overfitting.loss_explodes([lost, lost])) == "loss-explodes"
    assert overfitting.cannot_overfit([lost, lost], LABELLED, 5) is None
    assert overfitting.loss_explodes([lost, fine]) is None
    assert overfitting.loss_explodes([]) is None


@pytest.mark.parametrize(
    ("first", "loss", "told"),
    [
        pytest.param(44.0, -2e9, True, id="a divergence of the wrong sign"),
        pytest.param(0.01, -3.0, False, id="a density that sharpens, from near 0"),
        pytest.param(700.0, -3000.0, False, id="a density summed over pixels"),
        pytest.param(-2.0, -8.0, False, id="a negative loss that falls on"),
    ],
)
def test_losses_without_a_bottom(first: float, loss: float, told: bool) -> None:
    """A loss that falls below every number is no success, whatever other rates do."""
    attempts = [Attempt(0.1, first, loss, None, None, 25), Attempt(0.01, first, 0.9 * first, None, None, 25)]
    found = overfitting.loss_explodes(attempts)
    assert code(found) == ("loss-explodes" if told else None)
    if found is not None:
        assert "wrong sign" in found.fix


# --- steps 4 and 5 ----------------------------------------------------------------------------------------------


def trial(state: str = "complete", **values: Any) -> dict[str, Any]:
    """A row of a grid's table."""
    return {"lr": 0.1, "weight_decay": 0.0, "val_loss": 1.0, "train_loss": 1.0, "state": state, **values}


def test_all_diverged() -> None:
    """Nothing completed is an error; a single complete trial is enough."""
    assert code(grid.all_diverged([trial("diverged"), trial("failed")])) == "all-diverged"
    assert grid.all_diverged([trial("diverged"), trial()]) is None
    assert grid.all_diverged([]) is None


def test_trial_failed() -> None:
    """The first failure is told with its settings."""
    assert grid.trial_failed([], 5) is None
    assert "lr 1: boom" in grid.trial_failed([("lr 1", ValueError("boom"))], 5).message


@pytest.mark.parametrize(
    ("value", "values", "gain", "expected"),
    [
        pytest.param(1.0, [0.01, 0.1, 1.0], 0.5, "best-at-grid-edge", id="highest"),
        pytest.param(0.01, [0.01, 0.1, 1.0], 0.5, "best-at-grid-edge", id="lowest"),
        pytest.param(0.1, [0.01, 0.1, 1.0], 0.5, None, id="inside"),
        pytest.param(1.0, [0.01, 0.1, 1.0], 0.01, None, id="gain too small to matter"),
        pytest.param(0.1, [0.1], 0.5, None, id="a single value"),
        pytest.param(0.0, [0.0, 0.1], 0.5, None, id="no decay: nothing below"),
    ],
)
def test_grid_edge(value: float, values: list[float], gain: float, expected: str | None) -> None:
    """The best value should have neighbours on both sides, where the axis makes a difference."""
    assert code(grid.best_at_grid_edge(trial(lr=value), "lr", values, gain)) == expected


@pytest.mark.parametrize(
    ("coarse", "refined", "expected"),
    [
        # Gains 1, 2, 3: mean 2, standard error 1/√3; t(0.95, 2) = 2.91999 makes the limit 1.68586.
        pytest.param([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], None, id="beyond the limit"),
        # Gains 0, 1, 2: mean 1 against the same limit.
        pytest.param([1.0, 3.0, 5.0], [1.0, 2.0, 3.0], 1.0, id="within the limit"),
        pytest.param([1.0, 1.0], [1.0, 1.0], 0.0, id="no difference"),
        pytest.param([1.0, 1.0], [2.0, 2.0], -1.0, id="worse"),
        pytest.param([1.0, 1.5], [0.9, 1.4], None, id="equal gains have no error"),
    ],
)
def test_paired_t_test(coarse: list[float], refined: list[float], expected: float | None) -> None:
    """A gain counts when it exceeds Student's t(0.95, n - 1) standard errors."""
    found = grid.within_seed_noise(coarse, refined)
    assert (None if found is None else found.measured) == expected
    if expected == 1.0:
        assert found.expected == "> 1.69"


def test_one_seed_is_no_sample() -> None:
    """With a single seed nothing is said of noise, and the gain has no error."""
    assert grid.within_seed_noise([2.0], [1.0]) is None
    assert grid.paired_gain([2.0], [1.5]) == (0.5, 0.0)


def test_false_alarms_of_the_t_test() -> None:
    """Without any difference about 5% of tests find one: over 2000 draws of 5 seeds, 3% to 7%."""
    draw = np.random.default_rng(0)
    found = [
        grid.within_seed_noise(draw.standard_normal(5), draw.standard_normal(5)) is None for _ in range(2000)
    ]
    assert 0.03 < np.mean(found) < 0.07


@pytest.mark.parametrize(
    ("coarse", "refined", "said"),
    [
        pytest.param([1.0, 3.0, 5.0], [1.0, 2.0, 3.0], "gains 1 over", id="a gain within the noise"),
        pytest.param([1.0, 2.0, 3.0], [1.0, 2.5, 2.9], "is 0.133 worse than", id="a loss within the noise"),
        pytest.param(
            [1.0, 2.0, 3.0], [2.0, 3.1, 4.2], "worse than the coarse one, by 1.1", id="a loss beyond it"
        ),
    ],
)
def test_a_setting_that_is_worse_beyond_the_noise_is_called_worse(
    coarse: list[float], refined: list[float], said: str
) -> None:
    """Chance is only blamed for differences that it explains, in either direction."""
    found = grid.within_seed_noise(coarse, refined)
    assert found is not None
    assert said in found.message


@pytest.mark.parametrize(
    ("before", "best", "epochs", "told"),
    [
        pytest.param(0.5, 0.6, 15, True, id="worse after more epochs"),
        pytest.param(0.5, 0.5, 15, False, id="as good"),
        pytest.param(0.5, 0.4, 15, False, id="better"),
        pytest.param(0.5, 0.6, 3, False, id="no more epochs than in the grid"),
    ],
)
def test_longer_is_no_better(before: float, best: float, epochs: int, told: bool) -> None:
    """A search that ends above what the grid had reached after fewer epochs is told, with both losses and epochs."""
    found = grid.longer_is_no_better(before, 3, best, epochs, "lr 0.1, weight decay 0")
    assert (found is not None) == told
    if found is not None:
        assert found.code == "refine-no-gain"
        assert all(word in found.message for word in ("After 15 epochs", "0.5 that lr 0.1", "after 3", "0.6"))
        assert "refine.epochs=3" in found.fix


def test_refine_no_gain() -> None:
    """The coarse grid's cell as the best trial of the refined search is told."""
    assert grid.refine_no_gain("lr 0.1, hidden 8", from_coarse=False) is None
    found = grid.refine_no_gain("lr 0.1, hidden 8", from_coarse=True)
    assert code(found) == "refine-no-gain"
    assert "(lr 0.1, hidden 8)" in found.message


def test_no_validation_data() -> None:
    """That settings were chosen by the training loss is said, as no more than information."""
    assert grid.no_validation_data(validated=True) is None
    found = grid.no_validation_data(validated=False)
    assert found is not None
    assert (found.code, found.severity) == ("no-validation-data", "info")
