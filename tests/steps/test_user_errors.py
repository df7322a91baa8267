from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task, blobs, codes, context_of, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

from lrtune.errors import TaskError, UserCodeError
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init
from lrtune.steps.examining import Examination, examine
from lrtune.steps.overfit import overfit

if TYPE_CHECKING:
    from lrtune.steps.context import Context

INPUTS, LABELS = blobs().tensors


def stepping(**fields: Any) -> Context:
    """A classifier trained by a step."""
    return context_of(blob_task(loss=None, metrics={}, **fields))


# --- a step that trains ---------------------------------------------------------------------------------------


def trains(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Do the whole training step, as a loop of one's own has it."""
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    return loss


def clears(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """The same with the gradients cleared at the end."""
    loss = trains(model, batch)
    model.zero_grad()
    return loss


def attacked(model: nn.Module, batch: list[Tensor]) -> Tensor:
    """Train on inputs moved along their gradient, which a backward pass of the step's own gives."""
    moved = batch[0].clone().requires_grad_()
    F.cross_entropy(model(moved), batch[1]).backward()
    assert moved.grad is not None
    model.zero_grad()
    return F.cross_entropy(model(moved.detach() + 0.01 * moved.grad.sign()), batch[1])


@pytest.mark.parametrize("run", [check_init, overfit])
def test_a_step_that_calls_backward(run: Any) -> None:
    """A step that backpropagates itself is told so, instead of torch's advice to retain the graph."""
    with pytest.raises(TaskError, match=r"Task.step: it calls backward\(\) itself; return the loss only"):
        run(stepping(step=trains))


def test_a_step_that_clears_what_it_trained_by() -> None:
    """Where only torch's error tells of it, the error asks for it."""
    with pytest.raises(UserCodeError, match=r"does the step call backward\(\) itself"):
        check_init(stepping(step=clears))


def test_a_backward_pass_into_the_inputs() -> None:
    """A step that takes a gradient and clears up trains as any other."""
    assert codes(check_init(stepping(step=attacked))) in ([], ["expectation-unknown"])


# --- what training would raise hours later ----------------------------------------------------------------------


class Unready(torch.optim.SGD):
    """An optimizer that cannot step."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Raise."""
        raise RuntimeError("boom")


def twice(model: nn.Module, lr: float, decay: float) -> torch.optim.Optimizer:
    """Hold the last layer in two groups."""
    return torch.optim.Adam([{"params": model.parameters()}, {"params": model[2].parameters()}], lr=lr)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        pytest.param(
            lambda m, lr, decay: {}["x"], "KeyError while calling the task's optimizer", id="raises"
        ),
        pytest.param(twice, "more than one parameter group", id="twice"),
        pytest.param(lambda m, lr, decay: Unready(m.parameters(), lr), "optimizer's step: boom", id="step"),
    ],
)
def test_an_optimizer_that_raises(optimizer: Any, said: str) -> None:
    """What the user's optimizer raises ends the first step."""
    with pytest.raises(UserCodeError, match=said):
        check_init(context_of(blob_task(optimizer=optimizer)))


def raising(output: Tensor, target: Tensor) -> Tensor:
    """A metric with a mistake in it."""
    return output.nothing


@pytest.mark.parametrize("val", [None, blobs(48, seed=1)], ids=["training data", "validation data"])
def test_a_metric_that_raises(val: Any) -> None:
    """It is called once in the first step, as it will be in the grids."""
    with pytest.raises(UserCodeError, match="AttributeError while calling the metric 'm'"):
        check_init(context_of(blob_task(val=val, metrics={"m": raising})))


def test_a_metric_that_needs_the_whole_split() -> None:
    """A metric that raises on a batch alone, of which it never sees one, is sound."""

    def whole(output: Tensor, target: Tensor) -> Tensor:
        if len(target) < 48:
            raise ValueError("only one class present")
        return target.float().mean()

    result = check_init(context_of(blob_task(val=blobs(48, seed=1), metrics={"m": whole}), batch_size=8))
    assert codes(result) == []


def test_validation_data_that_the_model_does_not_take() -> None:
    """What is raised while the validation data are looked at says so, and keeps its cause."""
    val = TensorDataset(INPUTS[:, :3], LABELS)
    with pytest.raises(UserCodeError, match=r"^In the validation data: RuntimeError while calling") as raised:
        check_init(context_of(blob_task(val=val, metrics={})))
    assert isinstance(raised.value.__cause__, RuntimeError)


def normalised() -> nn.Module:
    """A net whose first layer needs several examples in training."""
    return nn.Sequential(nn.BatchNorm1d(4), mlp())


def test_a_batch_of_one_example() -> None:
    """Batch normalisation's complaint comes with what to do; for an evaluation such a batch is sound."""
    one = [(INPUTS[:1], LABELS[:1])]
    with pytest.raises(UserCodeError, match=r"more than 1 value per channel.*drop_last=True"):
        check_init(context_of(blob_task(model=normalised, train=[(INPUTS, LABELS), *one], val=None)))
    check_init(context_of(blob_task(model=normalised, val=one)))


# --- what belongs to the user and what does not ------------------------------------------------------------------


def warns(inputs: Tensor) -> Tensor:
    """Warn in passing."""
    warnings.warn("careful", stacklevel=1)
    return inputs


def test_warnings_of_altered_runs_are_not_shown() -> None:
    """What a program warns of reaches the user, but not where lrtune runs it on what it altered."""

    class Warns(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(warns(inputs))

    context = context_of(blob_task(model=lambda: Warns(4, 3)))
    sample = Sample(context.program, context.data.train, context.data.train.head(1, 0), 0)
    probe = Examination("probe", lambda sample: warns(INPUTS), ())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        examine(sample, context.progress, [probe])
        assert caught == []
        check_init(context)
    assert {str(one.message) for one in caught} == {"careful"}


class Mixing(nn.Linear):
    """Multiplies integers by its weights."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Raise what torch's losses say of targets, too."""
        return torch.einsum("bij,bjk->bik", inputs.long()[:, None], self.weight.T.expand(len(inputs), 4, 3))


def test_a_layer_that_refuses_its_input_is_not_the_loss() -> None:
    """An error of torch's that a layer raises inside a step stays the user's, whatever its words."""
    step = lambda model, batch: F.cross_entropy(model(batch[0])[:, 0], batch[1])  # noqa: E731
    with pytest.raises(UserCodeError, match="expected scalar type Long but found"):
        check_init(stepping(model=lambda: Mixing(4, 3), step=step))


def test_the_fix_for_an_unknown_loss() -> None:
    """A task with a loss, whose output and target are known, is asked for its expectation alone."""
    own = context_of(blob_task(loss=lambda o, t: F.cross_entropy(o, t) + o.square().mean() + 1, metrics={}))
    bare = stepping(step=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]) + 1)
    fixes = [check_init(context).findings[-1].fix for context in (own, bare)]
    assert fixes[0].startswith("State the loss that you expect: Task(..., expected_initial_loss=")
    assert fixes[1].startswith("Return output and target from the step")
