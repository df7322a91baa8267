from __future__ import annotations

import pytest
import torch
from layer_families import FUSED, REFUSED, Family, batches, program

from lrtune.population.fused.equivalence import why_not_fused
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation

MEMBERS = [Member(0.05, 0.01, seed) for seed in range(3)]
ORDERS = [Member(0.05, 0.01, seed, order=seed) for seed in range(3)]
RANDOM = {
    "alpha dropout",
    "attention function with dropout",
    "dropout",
    "dropout 2d",
    "noise",
    "stochastic depth",
    "transformer encoder",
    "transformer with dropout",
}
# What reads values cannot be recorded, and is computed each time.
UNRECORDED = {"ctc", "item of the batch"}
# Each order has batches of its own, whose values cannot be read.
ONE_ORDER_ONLY = {"item of the batch"}
COARSE = {"bfloat16": 0.1, "float16": 2e-2}  # of the losses: a few roundings of the type


@pytest.mark.parametrize("traced", [True, False], ids=["tape", "plain"])
@pytest.mark.parametrize("name", FUSED)
def test_layer_is_fused(name: str, traced: bool) -> None:
    """A family of layers is equal to its members trained alone, recorded or not, in both modes."""
    assert why_not_fused(program(FUSED[name]), MEMBERS, batches(FUSED[name]), traced) is None


@pytest.mark.parametrize("name", [name for name in FUSED if name not in ONE_ORDER_ONLY])
def test_layer_is_fused_with_orders_and_adam(name: str) -> None:
    """The same where each member has batches of its own, and under another optimizer."""
    assert why_not_fused(program(FUSED[name], "Adam"), ORDERS, batches(FUSED[name])) is None


@pytest.mark.parametrize("traced", [True, False], ids=["tape", "plain"])
@pytest.mark.parametrize("name", REFUSED)
def test_layer_is_refused(name: str, traced: bool) -> None:
    """A family that cannot be fused is refused in one line that names the cause."""
    family, cause = REFUSED[name]
    reason = why_not_fused(program(family), MEMBERS, batches(family), traced)
    assert reason is not None
    assert cause in reason
    assert "\n" not in reason
    assert len(reason) < 300


@pytest.mark.parametrize("name", sorted(FUSED.keys() - RANDOM))
def test_layer_trains_as_alone(name: str) -> None:
    """Six steps of a family give the losses, the evaluations and the tensors of the serial execution."""
    family = FUSED[name]
    alone, together = populations(family)
    tolerance = COARSE.get(name, 1e-4)
    torch.testing.assert_close(together.advance(6), alone.advance(6), rtol=tolerance, atol=tolerance)
    for training_mode in (False, True):
        found, wanted = (one.evaluate("val", training_mode) for one in (together, alone))
        torch.testing.assert_close(found.loss, wanted.loss, rtol=tolerance, atol=tolerance)
        assert found.metrics.keys() == wanted.metrics.keys()
    found_state, state = together.export(1), alone.export(1)
    assert list(found_state) == list(state)
    for key, value in state.items():
        torch.testing.assert_close(found_state[key], value, rtol=100 * tolerance, atol=tolerance, msg=key)


def populations(family: Family) -> tuple[SerialPopulation, FusedPopulation]:
    """A family's members in both executions, at a small rate."""
    members = [Member(1e-3 * (1 + seed), 0.01, seed) for seed in range(3)]
    splits = {"val": batches(family)}
    arguments = (program(family), members, batches(family), splits)
    return SerialPopulation(*arguments), FusedPopulation(*arguments)


@pytest.mark.parametrize("name", sorted(FUSED))
def test_what_is_recorded(name: str) -> None:
    """Every family is recorded but those that read values."""
    together = FusedPopulation(program(FUSED[name]), MEMBERS, batches(FUSED[name]), {})
    together.advance(4)
    tapes = together._gradient._tapes
    assert [tape is not None for tape in tapes._tapes.values()] == [name not in UNRECORDED]
