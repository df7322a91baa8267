"""Registration, optimizer, symmetry and custom gradients, from a task to its findings."""

from __future__ import annotations

import copy
import itertools
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from programs import blob_task, codes, context_of, generator, language_task, linear_task, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.checkpoint import checkpoint
from torch.utils.data import TensorDataset

from lrtune.probes.sample import Sample
from lrtune.progress import Silent
from lrtune.steps.check_init import check_init
from lrtune.steps.examinations import EXAMINATIONS
from lrtune.steps.examining import examine

if TYPE_CHECKING:
    from collections.abc import Callable

    import lrtune

FAMILY = [
    one for one in EXAMINATIONS if {check.__module__ for check in one.checks} == {"lrtune.checks.parameters"}
]
SEEDS = range(2)


def sample_of(task: lrtune.Task, seed: int = 0, **keys: Any) -> Sample:
    """The task's first batches."""
    context = context_of(task, seed=seed, **keys)
    return Sample(context.program, context.data.train, context.data.train.head(4, seed), seed)


def found(task: lrtune.Task, seed: int = 0) -> list[lrtune.Finding]:
    """What this family sees in a task; none may fail to measure."""
    examined = examine(sample_of(task, seed), Silent(), FAMILY)
    assert {one.skipped for one in examined} <= {None, "nothing to measure"}
    return [finding for one in examined for finding in one.findings]


class Net(nn.Module):
    """A perceptron whose hidden layers are kept as a test says.

    Args:
        keep: Stores the layers on the model.
        layers: Returns them again.
    """

    def __init__(self, keep: Callable[[Any, list[nn.Module]], None], layers: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        keep(self, [nn.Linear(8, 8), nn.Linear(8, 8)])
        self._layers_of = layers

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        hidden = self.first(inputs).tanh()
        for layer in self._layers_of(self):
            hidden = layer(hidden).tanh()
        return self.head(hidden)


class Holder:
    """A plain object."""

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)


class Apply(nn.Module):
    """A function of the model's own parameters and the input.

    Args:
        forward: Of (module, input).
        parts: Set as attributes.
    """

    def __init__(self, forward: Callable[[Any, Tensor], Tensor], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._function = forward

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the function's value."""
        return self._function(self, inputs)


# --- unregistered-parameter ---------------------------------------------------------------------------------------


def listed() -> nn.Module:
    """Layers in a plain list."""
    return Net(lambda net, layers: setattr(net, "layers", layers), lambda net: net.layers)


UNREGISTERED = {
    "list": (listed, "layers[0].weight", "`layers` into nn.ModuleList"),
    "tuple": (
        lambda: Net(lambda net, layers: setattr(net, "stack", tuple(layers)), lambda net: net.stack),
        "stack[0].weight",
        "`stack` into nn.ModuleList",
    ),
    "dict": (
        lambda: Net(
            lambda net, layers: setattr(net, "parts", dict(zip("ab", layers, strict=True))),
            lambda net: net.parts.values(),
        ),
        "parts['a'].weight",
        "`parts` into nn.ModuleDict",
    ),
    "set": (
        lambda: Net(lambda net, layers: setattr(net, "some", set(layers)), lambda net: net.some),
        "some{…}.weight",
        "`some` into nn.ModuleList",
    ),
    "list in a list": (
        lambda: Net(lambda net, layers: setattr(net, "deep", [[layers]]), lambda net: net.deep[0][0]),
        "deep[0][0][0].weight",
        "`deep` into nn.ModuleList",
    ),
    "object": (
        lambda: Net(
            lambda net, layers: setattr(net, "box", Holder(layers=layers)), lambda net: net.box.layers
        ),
        "box.layers[0].weight",
        "`box` (Holder) an nn.Module",
    ),
    "list in a submodule": (
        lambda: nn.Sequential(listed(), nn.Identity()),
        "0.layers[0].weight",
        "`0.layers` into nn.ModuleList",
    ),
    "parameters in a list": (
        lambda: Apply(
            lambda own, x: own.layer(x) * own.scales[0],
            layer=nn.Linear(4, 3),
            scales=[nn.Parameter(torch.ones(3))],
        ),
        "scales[0]",
        "`scales` into nn.ParameterList",
    ),
    "tensor": (
        lambda: Apply(
            lambda own, x: own.layer(x) * own.scale,
            layer=nn.Linear(4, 3),
            scale=torch.ones(3, requires_grad=True),
        ),
        "scale",
        "`scale` an nn.Parameter",
    ),
    "parameter times a number": (
        lambda: Apply(
            lambda own, x: own.layer(x) + own.shift,
            layer=nn.Linear(4, 3),
            shift=nn.Parameter(torch.randn(3)) + 0.1,
        ),
        "shift",
        "computing nothing from it",
    ),
    "below a reentrant checkpoint": (
        lambda: Apply(
            lambda own, x: own.head(checkpoint(own.layers[0], own.first(x), use_reentrant=True)),
            first=nn.Linear(4, 8),
            layers=[nn.Linear(8, 8)],
            head=nn.Linear(8, 3),
        ),
        "layers[0].weight",
        "`layers` into nn.ModuleList",
    ),
    "nothing registered": (
        lambda: Apply(lambda own, x: own.layers[0](x), layers=[nn.Linear(4, 3)]),
        "layers[0].weight",
        "nn.ModuleList",
    ),
}


@pytest.mark.parametrize(("model", "path", "fix"), UNREGISTERED.values(), ids=UNREGISTERED)
def test_unregistered(model: Callable[[], nn.Module], path: str, fix: str) -> None:
    """Whatever hides trainable tensors from parameters(), they are named by their path, with the cure."""
    (one,) = found(blob_task(model=model))
    assert one.code == "unregistered-parameter"
    assert path in one.message
    assert fix in one.fix


def test_unregistered_explains() -> None:
    """Where nothing is registered, the frozen model is a symptom."""
    result = check_init(context_of(blob_task(model=UNREGISTERED["nothing registered"][0])))
    assert codes(result)[0] == "unregistered-parameter"
    assert [one.follows_from for one in result.findings if one.code == "frozen-model"] == [
        "unregistered-parameter"
    ]


def test_a_parameter_outside_the_model() -> None:
    """An nn.Parameter that a step uses and no optimizer holds is told by its shape."""
    scale = nn.Parameter(torch.ones(3))
    task = blob_task(loss=lambda output, target: F.cross_entropy(output * scale, target))
    (one,) = found(task)
    assert one.code == "unregistered-parameter"
    assert "[3] outside the model" in one.message
    assert scale.grad is None


# --- parameter-not-in-optimizer, optimizer-does-not-step ----------------------------------------------------------


def sgd(choose: Callable[[nn.Module], Any]) -> Callable[..., torch.optim.Optimizer]:
    """Plain descent on some of a model's parameters."""
    return lambda model, lr, weight_decay: torch.optim.SGD(choose(model), lr=lr)


def scheduled(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """A warm-up from zero that nobody steps."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 100)
    return optimizer


class Idle(torch.optim.SGD):
    """Never moves anything."""

    def step(self, closure: Any = None) -> None:
        """Do nothing."""


class Forgetful(torch.optim.SGD):
    """Clears the gradients before it uses them."""

    def step(self, closure: Any = None) -> None:
        """Move by nothing."""
        self.zero_grad()
        super().step()


class Collecting(torch.optim.SGD):
    """Moves after every eighth batch."""

    calls = 0

    def step(self, closure: Any = None) -> None:
        """Count, and sometimes move."""
        self.calls += 1
        if self.calls % 8 == 0:
            super().step()


class WarmingUp(torch.optim.SGD):
    """A warm-up of its own, which begins at zero."""

    calls = 0

    def step(self, closure: Any = None) -> None:
        """Move by more at each step."""
        for group in self.param_groups:
            group["lr"] = 1e-4 * self.calls
        self.calls += 1
        super().step()


class Masters(torch.optim.SGD):
    """Keeps copies of the parameters and writes them back, as mixed precision does."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.own = list(model.parameters())
        super().__init__([one.detach().clone().double().requires_grad_() for one in self.own], lr=lr)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the model's gradients."""
        for one in self.own:
            one.grad = None

    def step(self, closure: Any = None) -> None:
        """Step on the copies."""
        copies = self.param_groups[0]["params"]
        for one, other in zip(self.own, copies, strict=True):
            other.grad = one.grad.double()
        super().step()
        with torch.no_grad():
            for one, other in zip(self.own, copies, strict=True):
                one.copy_(other)


def reset(own: Any, inputs: Tensor) -> Tensor:
    """Put the first weights back in each forward pass."""
    own.layer.weight.data = own.first.clone()
    return own.layer(inputs)


def replaced(own: Any, inputs: Tensor) -> Tensor:
    """Make a new parameter in each forward pass."""
    own.layer.weight = nn.Parameter(own.layer.weight.detach().clone())
    return own.layer(inputs)


def clear(parameter: Tensor) -> None:
    """Set a parameter's gradient to zero."""
    parameter.grad.zero_()


def clearing(model: nn.Module) -> nn.Module:
    """A model whose hooks clear every gradient when it has arrived."""
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(clear)
    return model


OPTIMIZERS = {
    "half of the layers": (
        {"optimizer": sgd(lambda m: m[2].parameters())},
        "parameter-not-in-optimizer",
        "0.weight",
    ),
    "no biases": (
        {"optimizer": sgd(lambda m: [p for p in m.parameters() if p.ndim > 1])},
        "parameter-not-in-optimizer",
        "0.bias, 2.bias",
    ),
    "another model": (
        {"optimizer": sgd(lambda m: mlp().parameters())},
        "parameter-not-in-optimizer",
        "another model",
    ),
    "a copy": (
        {"optimizer": sgd(lambda m: copy.deepcopy(m).parameters())},
        "parameter-not-in-optimizer",
        "none of the model's 4",
    ),
    "schedule never stepped": ({"optimizer": scheduled}, "optimizer-does-not-step", "group 0 is 0"),
    "a group at rate 0": (
        {
            "optimizer": lambda m, lr, wd: torch.optim.SGD(
                [{"params": m[0].parameters(), "lr": 0.0}, {"params": m[2].parameters()}], lr=lr
            )
        },
        "optimizer-does-not-step",
        "2 of 4 parameters do not move",
    ),
    "idle step": (
        {"optimizer": lambda m, lr, wd: Idle(m.parameters(), lr=lr)},
        "optimizer-does-not-step",
        "None of the parameters",
    ),
    "gradients cleared in step": (
        {"optimizer": lambda m, lr, wd: Forgetful(m.parameters(), lr=lr)},
        "optimizer-does-not-step",
        "None of the parameters",
    ),
    "gradients cleared by hooks": (
        {"model": lambda: clearing(mlp())},
        "optimizer-does-not-step",
        "None of the parameters",
    ),
    "set back in forward": (
        {"model": lambda: Apply(reset, layer=nn.Linear(4, 3), first=torch.randn(3, 4))},
        "optimizer-does-not-step",
        "The forward pass puts other values in place of layer.weight",
    ),
    "replaced in forward": (
        {"model": lambda: Apply(replaced, layer=nn.Linear(4, 3))},
        "optimizer-does-not-step",
        "The forward pass puts other values in place of layer.weight",
    ),
}


@pytest.mark.parametrize(("fields", "code", "told"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(fields: dict[str, Any], code: str, told: str) -> None:
    """What the optimizer does not hold, or does not move, is told with its names."""
    torch.manual_seed(0)
    (one,) = found(blob_task(**fields))
    assert one.code == code
    assert told in one.message


class Scaled(nn.Module):
    """A loss with a trainable temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross entropy."""
        return F.cross_entropy(output * self.temperature, target)


def test_parameters_of_the_loss() -> None:
    """A trainable loss needs the optimizer, too; in evaluation mode it is a judge and may stay as it is."""
    loss = Scaled()
    (one,) = found(blob_task(loss=loss))
    assert one.code == "parameter-not-in-optimizer"
    assert "Scaled.temperature" in one.message
    assert found(blob_task(loss=loss.eval())) == []
    loss.train()
    both = sgd(lambda model: [*model.parameters(), *loss.parameters()])
    assert found(blob_task(loss=loss, optimizer=both)) == []
    assert loss.temperature.item() == 1.0
    assert loss.temperature.grad is None


# --- symmetric-init -----------------------------------------------------------------------------------------------


def filled(model: nn.Module, value: float, *names: str, biases: bool = False) -> nn.Module:
    """Set weights (all, or some by name) to a number."""
    for name, parameter in model.named_parameters():
        if (parameter.ndim > 1 or biases) and (not names or name in names):
            nn.init.constant_(parameter, value)
    return model


def relu_net() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def recurrent(kind: type[nn.RNNBase]) -> nn.Module:
    """A recurrent layer on sequences of two numbers."""
    net = kind(2, 8, batch_first=True)
    return Apply(
        lambda own, x: own.head(own.net(x.unflatten(1, (2, 2)))[0][:, -1]), net=net, head=nn.Linear(8, 3)
    )


def convolutions(groups: int = 1) -> nn.Module:
    """Two convolutions on 2 x 2 images."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 6, 2), nn.ReLU(), nn.Conv2d(6, 6, 1, groups=groups),
        nn.ReLU(), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def attention() -> nn.Module:
    """Attention over four numbers."""

    def run(own: Any, inputs: Tensor) -> Tensor:
        tokens = own.embed(inputs[..., None]) + own.places
        return own.head((tokens + own.attention(tokens, tokens, tokens)[0]).mean(1))

    return Apply(
        run,
        embed=nn.Linear(1, 8),
        places=nn.Parameter(torch.zeros(4, 8)),
        attention=nn.MultiheadAttention(8, 2, batch_first=True),
        head=nn.Linear(8, 3),
    )


def own_matrices(first: Tensor, second: Tensor) -> nn.Module:
    """Matrices of the user's own."""
    return Apply(
        lambda own, x: (x @ own.first).tanh() @ own.second,
        first=nn.Parameter(first),
        second=nn.Parameter(second),
    )


def attention_with_equal_queries() -> nn.Module:
    """All queries alike."""
    model = attention()
    with torch.no_grad():
        model.attention.in_proj_weight[:8] = 0.1
    return model


def adapter(first: bool, second: bool) -> nn.Module:
    """A frozen layer with an adapter of low rank, whose factors begin at zero or not."""
    return Apply(
        lambda own, x: own.head((own.base(x) + own.up(own.down(x))).relu()),
        base=nn.Linear(4, 16).requires_grad_(False),
        down=filled(nn.Linear(4, 2, bias=False), 0.0) if first else nn.Linear(4, 2, bias=False),
        up=filled(nn.Linear(2, 16, bias=False), 0.0) if second else nn.Linear(2, 16, bias=False),
        head=nn.Linear(16, 3),
    )


SYMMETRIC = {
    "one constant everywhere": (lambda: filled(relu_net(), 0.01), "0.weight"),
    "one layer constant": (lambda: filled(relu_net(), 0.5, "2.weight"), "2.weight"),
    "equal rows": (
        lambda: Apply(
            lambda own, x: own.head(own.layer(x).relu()),
            layer=filled(nn.Linear(4, 8), 1.0),
            head=nn.Linear(8, 3),
        ),
        "layer.weight",
    ),
    "all zero, relu": (lambda: filled(relu_net(), 0.0, biases=True), "0.weight"),
    "all zero, tanh": (lambda: filled(mlp(), 0.0, biases=True), "0.weight"),
    "all zero, sigmoid": (
        lambda: filled(nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 3)), 0.0, biases=True),
        "0.weight",
    ),
    "constant convolution": (lambda: filled(convolutions(), 0.1, "3.weight"), "3.weight"),
    "constant LSTM": (lambda: filled(recurrent(nn.LSTM), 0.1), "net.weight_ih_l0"),
    "constant GRU": (lambda: filled(recurrent(nn.GRU), 0.1), "net.weight_ih_l0"),
    "constant RNN": (lambda: filled(recurrent(nn.RNN), 0.1), "net.weight_ih_l0"),
    "equal queries": (attention_with_equal_queries, "attention.in_proj_weight (query)"),
    "own matrices of ones": (lambda: own_matrices(torch.ones(4, 8), torch.ones(8, 3)), "first"),
    "own matrices of zeros": (lambda: own_matrices(torch.zeros(4, 8), torch.zeros(8, 3)), "first"),
    "both factors of an adapter": (lambda: adapter(True, True), "down.weight"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("model", "name"), SYMMETRIC.values(), ids=SYMMETRIC)
def test_symmetric(model: Callable[[], nn.Module], name: str, seed: int) -> None:
    """Units that begin alike are told by the name of their weight."""
    (one,) = found(blob_task(model=model), seed)
    assert one.code == "symmetric-init"
    assert name in one.message


# --- wrong-gradient -----------------------------------------------------------------------------------------------


def own(forward: Callable[..., Tensor], backward: Callable[..., Any]) -> type[torch.autograd.Function]:
    """A custom function of tensors that are all saved."""

    class Own(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *inputs: Tensor) -> Tensor:
            context.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(context: Any, gradient: Tensor) -> Any:
            return backward(gradient, *context.saved_tensors)

    return Own


def with_function(apply: Callable[..., Tensor]) -> nn.Module:
    """A perceptron with a custom activation."""
    return Apply(lambda net, x: net.head(apply(net.body(x))), body=nn.Linear(4, 16), head=nn.Linear(16, 3))


def normed(x: Tensor) -> Tensor:
    """Rows of mean 0 and variance 1."""
    return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()


MIX = torch.randn(16, 16, generator=generator(5))
RIGHT = {
    "relu": (lambda x: x.clamp(min=0), lambda g, x: g * (x > 0)),
    "exp": (lambda x: x.exp(), lambda g, x: g * x.exp()),
    "square": (lambda x: x * x, lambda g, x: 2 * g * x),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), lambda g, x: g * (x.abs() < 0.5)),
    "softmax": (
        lambda x: x.softmax(1),
        lambda g, x: x.softmax(1) * (g - (g * x.softmax(1)).sum(1, keepdim=True)),
    ),
    "matrix": (lambda x: x @ MIX.to(x), lambda g, x: g @ MIX.to(x).T),
    "single precision inside": (lambda x: x.float().tanh().to(x.dtype), lambda g, x: g * (1 - x.tanh() ** 2)),
    "gelu, approximated": (
        F.gelu,
        lambda g, x: g * ((s := (1.702 * x).sigmoid()) + 1.702 * x * s * (1 - s)),
    ),
    "sign, straight through": (lambda x: x.sign(), lambda g, x: g),
    "rounding, straight through": (lambda x: (8 * x).round() / 8, lambda g, x: g),
    "clamp, straight through": (lambda x: x.clamp(-0.5, 0.5), lambda g, x: g),
    "spikes with a surrogate": (lambda x: (x > 0).to(x), lambda g, x: g / (1 + x.abs()) ** 2),
    "reversal": (lambda x: x.view_as(x), lambda g, x: -0.5 * g),
    "clipped gradient": (lambda x: x.clone(), lambda g, x: g.clamp(-0.01, 0.01)),
}
WRONG = {
    "sign": (lambda x: x.clamp(min=0), lambda g, x: -g * (x > 0)),
    "factor": (lambda x: x * x, lambda g, x: g * x),
    "gradient not multiplied in": (lambda x: x.exp(), lambda g, x: x.exp()),
    "input saved for output": (lambda x: x.sigmoid(), lambda g, x: g * x * (1 - x)),
    "forgotten term": (lambda x: x * x.sigmoid(), lambda g, x: g * x.sigmoid()),
    "diagonal alone": (lambda x: x.softmax(1), lambda g, x: g * x.softmax(1) * (1 - x.softmax(1))),
    "mean and deviation as constants": (
        normed,
        lambda g, x: g / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt(),
    ),
    "not transposed": (lambda x: x @ MIX.to(x), lambda g, x: g @ MIX.to(x)),
    "absolute value": (lambda x: x.abs(), lambda g, x: g),
    "one branch": (lambda x: F.leaky_relu(x, 0.2), lambda g, x: g * torch.where(x > 0, 1.0, 0.02)),
}


@pytest.mark.parametrize(("forward", "backward"), RIGHT.values(), ids=RIGHT)
def test_right_gradients(forward: Any, backward: Any) -> None:
    """Right custom functions are silent, as are those that alter the gradient on purpose; three seeds."""
    for seed in range(3):
        apply = own(forward, backward).apply
        assert found(blob_task(model=lambda: with_function(apply)), seed) == []  # noqa: B023 - used at once


@pytest.mark.parametrize(("forward", "backward"), WRONG.values(), ids=WRONG)
def test_wrong_gradients(forward: Any, backward: Any) -> None:
    """Wrong backward passes are told with the class and the parameters in front of it; three seeds."""
    for seed in range(3):
        apply = own(forward, backward).apply
        (one,) = found(blob_task(model=lambda: with_function(apply)), seed)  # noqa: B023 - used at once
        assert one.code == "wrong-gradient"
        assert "Own, through which the gradients of body.weight, body.bias go" in one.message
        assert "Own.backward" in one.fix


def test_a_wrong_gradient_of_one_argument() -> None:
    """A function of two arguments is told by the place of the wrong one, also below a reentrant checkpoint."""
    product = own(lambda x, scale: x * scale, lambda g, x, scale: (g * scale, (g * x).mean(0)))

    def model(checkpointed: bool) -> nn.Module:
        def run(net: Any, inputs: Tensor) -> Tensor:
            hidden = net.body(inputs)
            if checkpointed:
                return net.head(checkpoint(product.apply, hidden, net.scale, use_reentrant=True))
            return net.head(product.apply(hidden, net.scale))

        scale = nn.Parameter(torch.ones(16))
        return Apply(run, body=nn.Linear(4, 16), head=nn.Linear(16, 3), scale=scale)

    for checkpointed in (False, True):
        (one,) = found(blob_task(model=lambda: model(checkpointed)))  # noqa: B023 - used at once
        assert one.code == "wrong-gradient"
        assert "argument 2 it returns" in one.message


# --- silence ------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Residual branches whose last layers begin at zero, with a head that does or does not.

    Args:
        zero_head: Whether the head begins at zero.
        gamma: A factor of each branch, None without one.
    """

    def __init__(self, zero_head: bool = True, gamma: float | None = None) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 16), nn.Linear(16, 3)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)) for _ in range(4)
        )
        self.gammas = nn.ParameterList(
            nn.Parameter(torch.full((16,), 1.0 if gamma is None else gamma)) for _ in range(4)
        )
        for branch in self.branches:
            if gamma is None:
                nn.init.zeros_(branch[3].weight)
        if zero_head:
            filled(self.head, 0.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        hidden = self.stem(inputs)
        for branch, gamma in zip(self.branches, self.gammas, strict=True):
            hidden = hidden + gamma * branch(hidden)
        return self.head(hidden)


def with_teacher() -> nn.Module:
    """A model that hides an unfrozen teacher from its parameters, and uses it without gradients."""

    def run(net: Any, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            advice = net.teacher[0](inputs)
        return net.layer(inputs) + 0.1 * advice

    return Apply(run, layer=nn.Linear(4, 3), teacher=[nn.Linear(4, 3)])


def with_penalty(model: nn.Module, batch: Any) -> Tensor:
    """A loss with a penalty on the gradient of the input."""
    inputs = batch[0].requires_grad_()
    output = model(inputs)
    slope = torch.autograd.grad(output.sum(), inputs, create_graph=True)[0]
    return F.cross_entropy(output, batch[1]) + 0.01 * slope.square().mean()


def keeping_state(own: Any, inputs: Tensor) -> Tensor:
    """Remember the last hidden state and its gradient, as plots of saliency do."""
    own.hidden = own.body(inputs).tanh().detach().requires_grad_()
    own.logits = own.body(inputs).tanh()
    return own.head(own.logits + 0 * own.hidden)


def partly_frozen() -> nn.Module:
    """All but the normalisation is frozen."""
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    model[3].requires_grad_(False)
    return model


COORDINATES = torch.rand(8, 1, generator=generator(1)).requires_grad_()
HEALTHY = {
    "perceptron": lambda: blob_task(),
    "deep": lambda: blob_task(model=lambda: nn.Sequential(nn.Linear(4, 8), *(
        layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.ReLU())), nn.Linear(8, 3))),
    "zero head": lambda: blob_task(model=lambda: filled(mlp(), 0.0, "2.weight")),
    "zero hidden layer": lambda: blob_task(model=lambda: filled(relu_net(), 0.0, "2.weight")),
    "logistic regression from zero": lambda: blob_task(model=lambda: filled(nn.Linear(4, 3), 0.0, biases=True)),
    "zero branches and head": lambda: blob_task(model=Residual),
    "layer scale": lambda: blob_task(model=lambda: Residual(False, 1e-6)),
    "zero gammas": lambda: blob_task(model=lambda: Residual(True, 0.0)),
    "adapter": lambda: blob_task(model=lambda: adapter(False, True)),
    "own zero matrix": lambda: blob_task(model=lambda: own_matrices(torch.randn(4, 8), torch.zeros(8, 3))),
    "depthwise constant": lambda: blob_task(model=lambda: filled(convolutions(6), 0.1, "3.weight")),
    "zero convolution": lambda: blob_task(model=lambda: filled(convolutions(), 0.0, "3.weight")),
    "attention and zero places": lambda: blob_task(model=attention),
    "lstm": lambda: blob_task(model=lambda: recurrent(nn.LSTM)),
    "language": lambda: language_task(),
    "regression": lambda: linear_task(),
    "batch norm, dropout": lambda: blob_task(
        model=lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    ),
    "checkpointed": lambda: blob_task(
        model=lambda: Apply(
            lambda own, x: own.head(checkpoint(own.body, own.stem(x), use_reentrant=False)),
            stem=nn.Linear(4, 8), body=nn.Linear(8, 8), head=nn.Linear(8, 3),
        )
    ),
    "weight norm": lambda: blob_task(
        model=lambda: nn.Sequential(
            torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 8)), nn.Tanh(), nn.Linear(8, 3)
        )
    ),
    "partly frozen": lambda: blob_task(model=partly_frozen),
    "hidden teacher": lambda: blob_task(model=with_teacher),
    "gradient penalty": lambda: blob_task(loss=None, step=with_penalty, metrics={}),
    "stored states": lambda: blob_task(
        model=lambda: Apply(keeping_state, body=nn.Linear(4, 8), head=nn.Linear(8, 3))
    ),
    "coordinates outside": lambda: blob_task(
        loss=lambda output, target: F.cross_entropy(output, target) + 0 * COORDINATES.sum()
    ),
    "half precision weights": lambda: blob_task(
        model=lambda: Apply(lambda own, x: own.net(x.bfloat16()).float(), net=mlp().bfloat16())
    ),
    "tiny gradients": lambda: blob_task(
        loss=lambda output, target: 1e-12 * F.cross_entropy(output, target)
    ),
    "collecting optimizer": lambda: blob_task(optimizer=lambda m, lr, wd: Collecting(m.parameters(), lr=lr)),
    "optimizer that warms up": lambda: blob_task(optimizer=lambda m, lr, wd: WarmingUp(m.parameters(), lr=lr)),
    "master copies": lambda: blob_task(optimizer=lambda m, lr, wd: Masters(m, lr)),
    "frozen part left out": lambda: blob_task(
        model=partly_frozen, optimizer=sgd(lambda m: [p for p in m.parameters() if p.requires_grad])
    ),
    "lists in the optimizer": lambda: blob_task(
        model=listed,
        optimizer=sgd(lambda m: [*m.parameters(), *(p for one in m.layers for p in one.parameters())]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("task", HEALTHY.values(), ids=HEALTHY)
def test_silence(task: Callable[[], lrtune.Task], seed: int) -> None:
    """Healthy and legitimate programs raise no alarm of this family."""
    assert found(task(), seed) == []


@pytest.mark.parametrize(
    "optimizer", ["sgd", "adam", "adamw", "rmsprop", "adagrad", "nadam", "asgd", "rprop"]
)
def test_optimizers_of_torch(optimizer: str) -> None:
    """Every optimizer moves every parameter."""
    sample = sample_of(blob_task(), optimizer={"name": optimizer})
    assert [f for one in examine(sample, Silent(), FAMILY) for f in one.findings] == []


def test_nothing_is_changed() -> None:
    """Model, buffers, gradients, modes, batches, random state and patched functions are as before."""
    apply = own(*RIGHT["exp"])
    task = blob_task(
        model=lambda: nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), filled(nn.Linear(8, 8), 0.0), with_head(apply)
        )
    )
    sample = sample_of(task)
    sample.awake.eval()
    before = [
        {key: value.clone() for key, value in model.state_dict().items()}
        for model in (sample.model, sample.awake)
    ]
    batches = copy.deepcopy(sample.batches)
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    forward = apply.forward
    examine(sample, Silent(), FAMILY)
    for model, kept in zip((sample.model, sample.awake), before, strict=True):
        assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
    assert (sample.model.training, sample.awake.training) == (True, False)
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1], states[2]) == (np.random.get_state()[1].tolist(), random.getstate())
    assert apply.forward is forward
    for one, other in itertools.chain.from_iterable(
        zip(a, b, strict=True) for a, b in zip(batches, sample.batches, strict=True)
    ):
        assert torch.equal(one, other)


def with_head(function: type[torch.autograd.Function]) -> nn.Module:
    """A custom function before the last layer."""
    return Apply(lambda net, x: net.head(function.apply(x)), head=nn.Linear(8, 3))


# --- parts that take turns ----------------------------------------------------------------------------------------


class Experts(nn.Module):
    """Sends each example through the one expert that a router chooses."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.router = nn.Linear(4, count)
        self.experts = nn.ModuleList(nn.Linear(4, 3) for _ in range(count))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return each example's answer, times the router's trust."""
        trust, chosen = self.router(inputs).softmax(1).max(1)
        output = inputs.new_zeros(len(inputs), 3)
        for index, expert in enumerate(self.experts):
            if bool((chosen == index).any()):
                output[chosen == index] = expert(inputs[chosen == index])
        return output * trust[:, None]


class Dropped(nn.Module):
    """Leaves out whole layers at random while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(12))
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        for layer in self.layers:
            if not self.training or float(torch.rand(())) > 0.5:
                inputs = inputs + torch.tanh(layer(inputs))
        return self.head(inputs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", [lambda: Experts(16), Dropped], ids=["experts", "dropped layers"])
def test_parts_that_take_turns(model: Any, seed: int) -> None:
    """Experts and dropped layers that a few batches leave out are no unused parameters."""
    draw = generator(seed)
    scattered = TensorDataset(torch.randn(96, 4, generator=draw), torch.arange(96) % 3)
    result = check_init(context_of(blob_task(model=model, train=scattered), batch_size=16, seed=seed))
    assert "parameter-without-gradient" not in codes(result)


def test_the_last_of_a_list_is_unused_all_the_same() -> None:
    """Layers built alike of which one is never called are told: nothing takes turns there."""

    class Short(Dropped):
        def forward(self, inputs: Tensor) -> Tensor:
            for layer in self.layers[:-1]:
                inputs = inputs + torch.tanh(layer(inputs))
            return self.head(inputs)

    assert "parameter-without-gradient" in codes(check_init(context_of(blob_task(model=Short))))
