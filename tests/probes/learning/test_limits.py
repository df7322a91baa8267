from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task, blobs, generator, linear_task, mlp, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.learning.limits import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    import lrtune
    from lrtune.probes.learning.limits import Limits


def limits_of(task: lrtune.Task, *batches: Any) -> Limits | None:
    """What the bounds of an untrained model's outputs mean on some batches."""
    program = program_of(task, name="sgd")
    torch.manual_seed(0)
    return limits(program, program.build_model().state_dict(), batches, 0)


def bounded(classes: int, last: nn.Module) -> Callable[[], nn.Module]:
    """A factory of nets whose outputs go through a last module."""
    return lambda: nn.Sequential(mlp(4, classes, 32), last)


@pytest.mark.parametrize(("classes", "floor"), [(2, 0.12693), (3, 0.23954), (10, 0.79656)])
def test_the_floor_of_tanh_logits(classes: int, floor: float) -> None:
    """Logits within [-1, 1] allow ln(1 + (C - 1) exp(-2)), free ones 0, zeros ln C."""
    batch = tuple(blobs(96, classes).tensors)
    found = limits_of(blob_task(model=bounded(classes, nn.Tanh())), batch)
    assert found is not None
    assert floor == pytest.approx(math.log(1 + (classes - 1) * math.exp(-2)), abs=1e-4)
    assert found.loss == pytest.approx(floor, rel=1e-3)
    assert found.free_loss == pytest.approx(0, abs=1e-6)
    assert found.constant_loss == pytest.approx(math.log(classes))
    assert found.harm == pytest.approx(floor / math.log(classes), rel=1e-3)


@pytest.mark.parametrize(
    "loss",
    [nn.CrossEntropyLoss(label_smoothing=0.1), lambda o, t: F.cross_entropy(o, t, label_smoothing=0.1)],
    ids=["declared", "own"],
)
def test_label_smoothing_has_a_floor_of_its_own(loss: Any) -> None:
    """Free outputs stop at the entropy of the smoothed labels, which is not held against the bounds."""
    found = limits_of(blob_task(model=bounded(3, nn.Tanh()), loss=loss), tuple(blobs().tensors))
    right, wrong = 0.9 + 0.1 / 3, 0.1 / 3
    assert found is not None
    entropy = -right * math.log(right) - 2 * wrong * math.log(wrong)
    assert found.free_loss == pytest.approx(
        entropy, rel=0.05
    )  # the gaps that are tried are a root of 2 apart
    assert 0 < found.harm < 0.15


def test_ignored_labels_and_weights_are_in_the_numbers() -> None:
    """An ignored label may be any number, and a class may weigh more: the user's own loss is asked."""
    inputs, target = blobs().tensors
    target = target.clone()
    target[::4] = -100
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0, 2.0]))
    found = limits_of(blob_task(model=bounded(3, nn.Tanh()), loss=loss), (inputs, target))
    assert found is not None
    assert found.loss == pytest.approx(math.log(1 + 2 * math.exp(-2)), rel=1e-3)


def test_a_scale_inside_the_loss_makes_room() -> None:
    """Cosines that the loss itself multiplies by 30 are not held up."""
    task = blob_task(model=bounded(3, nn.Tanh()), loss=lambda o, t: F.cross_entropy(30 * o, t))
    found = limits_of(task, tuple(blobs().tensors))
    assert found is None or found.harm < 0.01


@pytest.mark.parametrize(
    ("last", "floor"),
    [
        pytest.param(nn.Tanh(), math.log(1 + math.exp(-1)), id="tanh"),
        pytest.param(nn.ReLU(), 0.5 * math.log(2), id="ReLU"),
    ],
)
def test_the_floor_of_binary_logits(last: nn.Module, floor: float) -> None:
    """A logit within [-1, 1] costs ln(1 + 1/e) whatever the answer, one above 0 costs ln 2 for each no."""
    inputs = torch.randn(64, 4, generator=generator(0))
    target = (torch.arange(64) % 2).float().unsqueeze(1)
    task = linear_task(model=bounded(1, last), loss=F.binary_cross_entropy_with_logits)
    found = limits_of(task, (inputs, target))
    assert found is not None
    assert found.loss == pytest.approx(floor, rel=1e-3)


@pytest.mark.parametrize(
    ("last", "floor"),
    [
        pytest.param(nn.Tanh(), (4 + 0 + 1 + 1) / 4, id="tanh"),
        pytest.param(nn.Sigmoid(), (4 + 1 + 1 + 4) / 4, id="sigmoid"),
        pytest.param(nn.ReLU(), (0 + 1 + 0 + 4) / 4, id="ReLU"),
    ],
)
def test_targets_beyond_the_range(last: nn.Module, floor: float) -> None:
    """Targets of 3, -1, 2 and -2 stay as far off as they are: squares of 2, 0, 1 and 1 from [-1, 1], and so on."""
    inputs = torch.randn(64, 4, generator=generator(0))
    target = torch.tensor([3.0, -1.0, 2.0, -2.0]).repeat(16).unsqueeze(1)
    found = limits_of(linear_task(model=bounded(1, last)), (inputs, target))
    assert found is not None
    assert found.loss == pytest.approx(floor, rel=0.02)
    assert (found.free_loss, found.targets) == (0, (-2.0, 3.0))


def test_targets_within_the_range_cost_nothing() -> None:
    """A sigmoid for targets of 0 to 1 is as it should be."""
    inputs = torch.randn(64, 4, generator=generator(0))
    found = limits_of(linear_task(model=bounded(1, nn.Sigmoid())), (inputs, torch.rand(64, 1)))
    assert found is not None
    assert found.harm == 0


def test_mixed_labels_are_left_unjudged() -> None:
    """The best logits of labels that are mixtures are not one-hot."""
    inputs, target = blobs().tensors
    mixed = 0.7 * F.one_hot(target, 3).float() + 0.3 * F.one_hot(target.roll(1), 3).float()
    assert limits_of(blob_task(model=bounded(3, nn.Tanh())), (inputs, mixed)) is None
    exact = F.one_hot(target, 3).float()
    assert limits_of(blob_task(model=bounded(3, nn.Tanh())), (inputs, exact)) is not None


def contrast(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    """In-batch negatives: which of the batch's rows is this one's other view."""
    one, other = F.normalize(model(batch[0])), F.normalize(model(batch[0] + 0.01))
    target = torch.arange(len(one))
    output = one @ other.T / 0.5
    return {"loss": F.cross_entropy(output, target), "output": output, "target": target}


def classify(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    """An ordinary classifier through a step."""
    output = model(batch[0])
    return {"loss": F.cross_entropy(output, batch[1]), "output": output, "target": batch[1]}


def test_a_step_is_judged_where_its_target_is_the_datas() -> None:
    """Likeness among a batch is bounded by design; labels of the data are not made by the step."""
    batch = tuple(blobs().tensors)
    parts: dict[str, Any] = {"loss": None, "metrics": {}, "model": bounded(3, nn.Tanh())}
    assert limits_of(blob_task(step=contrast, **parts), batch) is None
    assert limits_of(blob_task(step=classify, **parts), batch) is not None


def test_right_answers_held_at_the_bound() -> None:
    """A ReLU that is never on holds its class's right answers at exactly 0."""
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 0]]))
        net[0].bias.copy_(torch.tensor([9.0, 9.0, -1.0]))
    inputs, target = blobs().tensors
    program = program_of(blob_task(model=lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU())), name="sgd")
    found = limits(program, net.state_dict(), [(inputs, target)], 0)
    assert found is not None
    assert found.stuck == pytest.approx(float((target == 2).float().mean()), abs=0.02)
    assert found.harm == pytest.approx(0, abs=1e-6)
