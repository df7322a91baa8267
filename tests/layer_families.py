"""The layers that users meet, each in a small program: those that can be fused and those that cannot."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from programs import CPU, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import lrtune
from lrtune.config import OptimizerConfig
from lrtune.data.batches import FixedBatches
from lrtune.population.optimizers import optimizer_factory
from lrtune.population.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = 6
BATCHES = 4
Seq = nn.Sequential


@dataclass(frozen=True)
class Family:
    """A program around a kind of layer.

    Attributes:
        model: Builds it.
        shape: Of one example's inputs.
        tokens: Inputs are whole numbers below this; 0 for real ones.
        loss: On output and target, one number an example; None for a projection's squared error.
        step: In place of the loss.
        double: Whether in float64.
    """

    model: Callable[[], nn.Module]
    shape: tuple[int, ...] = (4,)
    tokens: int = 0
    loss: Callable[..., Tensor] | None = None
    step: Callable[..., Any] | None = None
    double: bool = False


def projected(output: Any, target: Tensor) -> Tensor:
    """Squared error of a fixed projection of the output, which every entry has a part in."""
    flat = output.flatten(1)
    weights = torch.linspace(-1, 2, flat.shape[1], dtype=flat.dtype)
    return F.mse_loss((flat * weights).sum(1) / flat.shape[1] ** 0.5, target.to(flat.dtype))


def batches(family: Family) -> FixedBatches:
    """Batches of a family's inputs and a target each."""
    draw = generator(3)
    found = []
    for _ in range(BATCHES):
        size = (EXAMPLES, *family.shape)
        if family.tokens:
            inputs = torch.randint(family.tokens, size, generator=draw)
        else:
            inputs = torch.randn(size, generator=draw, dtype=torch.float64 if family.double else None)
        found.append((inputs, torch.randn(EXAMPLES, generator=draw)))
    return FixedBatches(found)


def program(family: Family, optimizer: str = "SGD", **keywords: Any) -> Program:
    """A family's program on the CPU."""
    parts: dict[str, Any] = {"step": family.step} if family.step else {"loss": family.loss or projected}
    task = lrtune.Task(model=family.model, train=[0], **parts)
    config = OptimizerConfig(name=optimizer, **keywords)
    built, decays = optimizer_factory(task, config, lambda name, role: lambda: None)
    return Program(task, built, CPU, decays)


class Calling(nn.Module):
    """A linear layer and a function of its output."""

    def __init__(self, function: Callable[[Tensor], Tensor], features: int = 4, out: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(features, out)
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the function of the layer's output."""
        return self.function(self.linear(inputs))


class First(nn.Module):
    """The first part of what a module that returns several gives."""

    def __init__(self, module: nn.Module, copies: int = 1) -> None:
        super().__init__()
        self.module, self.copies = module, copies

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the first output."""
        first: Tensor = self.module(*[inputs] * self.copies)[0]
        return first


class Twice(nn.Module):
    """A module of two inputs on the same one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output."""
        return self.module(inputs, inputs)


class Tied(nn.Module):
    """An embedding that is the output layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.embedding(inputs))


class Square(torch.autograd.Function):
    """A function of the older kind."""

    @staticmethod
    def forward(ctx: Any, one: Tensor) -> Tensor:
        """Return the square."""
        ctx.save_for_backward(one)
        return one**2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return its gradient."""
        return 2 * ctx.saved_tensors[0] * gradient


class SquareByRule(torch.autograd.Function):
    """A function of the newer kind, with a rule for `vmap`."""

    generate_vmap_rule = True

    @staticmethod
    def forward(one: Tensor) -> Tensor:
        """Return the square."""
        return one**2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the input."""
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the gradient."""
        return 2 * ctx.saved_tensors[0] * gradient


class SquareWithoutRule(SquareByRule):
    """The same without a rule."""

    generate_vmap_rule = False


class Stateful(nn.Module):
    """A linear layer whose `forward` does something to itself, given by name."""

    def __init__(self, act: Callable[[Any, Tensor], Tensor], **attributes: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("mean", torch.zeros(4))
        self.act = act
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, inputs: Tensor) -> Tensor:
        """Act on the layer's output."""
        return self.act(self, self.linear(inputs))


def rebound(self: Any, hidden: Tensor) -> Tensor:
    """Bind the buffer anew."""
    if self.training:
        self.mean = 0.9 * self.mean + 0.1 * hidden.detach().mean(0)
    return hidden - self.mean


def in_place(self: Any, hidden: Tensor) -> Tensor:
    """Write into the buffer."""
    if self.training:
        self.mean.mul_(0.9).add_(0.1 * hidden.detach().mean(0))
    return hidden - self.mean


def plain_mean(self: Any, hidden: Tensor) -> Tensor:
    """Keep a running mean in an attribute, used in evaluation alone."""
    if self.training:
        self.running = 0.9 * self.running + 0.1 * hidden.detach().mean(0)
        return hidden
    return hidden - self.running


def attribute_from_inputs(self: Any, hidden: Tensor) -> Tensor:
    """Keep a sum that does nothing yet."""
    self.running = self.running + 1.0
    return hidden


def counting(self: Any, hidden: Tensor) -> Tensor:
    """Count calls, which change what is computed much later."""
    self.calls += 1
    return hidden * (1.0 if self.calls < 10**6 else 0.5)


def in_array(self: Any, hidden: Tensor) -> Tensor:
    """Count in an array of NumPy's."""
    self.total += 1
    return hidden


def listing(self: Any, hidden: Tensor) -> Tensor:
    """Note sizes in a list."""
    self.seen.append(len(hidden))
    return hidden


def told_about(self: Any, hidden: Tensor) -> Tensor:
    """Leave the output where a user may look at it."""
    self.last = hidden.detach()
    return hidden


def auxiliary(model: Any, batch: Any) -> Tensor:
    """A loss that takes a part of itself from an attribute that `forward` has written."""
    return projected(model(batch[0]), batch[1]) + model.last.square().mean()


def kept_with_gradient(self: Any, hidden: Tensor) -> Tensor:
    """Leave the output for the loss to take."""
    self.last = hidden
    return hidden


def branching(self: Any, hidden: Tensor) -> Tensor:
    """Go one of two ways by a value."""
    return hidden.tanh() if hidden.sum() > 0 else hidden


class ReadsBatch(nn.Linear):
    """Scales by a number of the batch, read in some way."""

    def __init__(self, read: Callable[[Tensor], float]) -> None:
        super().__init__(4, 4)
        self.read = read

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the scaled output."""
        return super().forward(inputs) * self.read(inputs)


class Hooked(nn.Linear):
    """Clips its gradient in a hook."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.weight.register_hook(lambda gradient: gradient.clamp(-1e3, 1e3))


class Frozen(nn.Module):
    """A frozen body under a head, equal in all members or drawn anew."""

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        self.body = Seq(nn.Linear(4, 5), nn.BatchNorm1d(5))
        if pretrained:
            for one in self.body.parameters():
                nn.init.constant_(one, 0.3)
        self.body.requires_grad_(False)
        self.head = nn.Linear(5, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the head's output."""
        return self.head(self.body(inputs).tanh())


class Noise(nn.Module):
    """Noise added in training."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return noisy inputs."""
        return inputs + 0.1 * torch.randn_like(inputs) if self.training else inputs


class Depth(nn.Module):
    """A layer left out at random, an example at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs with or without the layer's output."""
        kept = torch.rand(len(inputs), 1) < 0.7 if self.training else torch.ones(len(inputs), 1)
        return inputs + kept * self.inner(inputs)


class ComplexScale(nn.Module):
    """A complex parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4, dtype=torch.complex64))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the magnitudes of the scaled spectrum."""
        return (torch.fft.fft(inputs) * self.scale).abs()


class Checkpointed(nn.Module):
    """A layer that is computed again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's output."""
        out: Tensor = checkpoint(lambda one: self.linear(one).tanh(), inputs, use_reentrant=False)
        return out


class Half(nn.Module):
    """A perceptron in half precision."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner, self.dtype = Seq(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype), dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs in single precision."""
        return self.inner(inputs.to(self.dtype)).float()


class Autocast(nn.Module):
    """A perceptron under autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Seq(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs in single precision."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.inner(inputs).float()


def attention(inputs: Tensor) -> Tensor:
    """Causal self-attention of one head."""
    one = inputs.unflatten(1, (5, 4))
    return F.scaled_dot_product_attention(one, one, one, is_causal=True, dropout_p=0.0)


def dropped_attention(inputs: Tensor) -> Tensor:
    """Attention with dropout of its own."""
    one = inputs.unflatten(1, (5, 4))
    return F.scaled_dot_product_attention(one, one, one, dropout_p=0.3)


def encoder(dropout: float = 0.0, norm_first: bool = False) -> nn.Module:
    """A transformer's layer."""
    return nn.TransformerEncoderLayer(
        8, 2, dim_feedforward=16, dropout=dropout, norm_first=norm_first, batch_first=True
    )


def classes(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of classes made from the target."""
    return F.cross_entropy(output, (target > 0).long())


def log_likelihood(output: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of the same."""
    return F.nll_loss(
        F.log_softmax(output, 1), (target > 0).long(), weight=torch.tensor([1.0, 2.0, 1.0, 1.0])
    )


def connectionist(output: Tensor, target: Tensor) -> Tensor:
    """CTC on sequences."""
    logits = output.unflatten(1, (5, 4)).log_softmax(-1).transpose(0, 1)
    labels = 1 + (torch.arange(2 * len(target)).reshape(-1, 2) % 3)
    full = torch.full((len(target),), 5), torch.full((len(target),), 2)
    return F.ctc_loss(logits, labels, *full)


class Temperature(nn.Module):
    """A loss with a parameter of its own that nobody trains."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of scaled logits."""
        return classes(self.scale * output, target)


class Remembering(nn.Module):
    """A loss that divides by its running mean."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.ones(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss relative to those before it."""
        loss = projected(output, target)
        self.mean = 0.9 * self.mean + 0.1 * loss.detach()
        return loss / self.mean


def penalised(model: nn.Module, batch: Any) -> Tensor:
    """A loss with a penalty on the gradient with respect to the inputs."""
    inputs = batch[0].clone().requires_grad_()
    output = model(inputs)
    slope = torch.autograd.grad(output.sum(), inputs, create_graph=True)[0]
    return projected(output, batch[1]) + slope.square().mean()


def with_metrics(model: nn.Module, batch: Any) -> dict[str, Any]:
    """A step that tells more than the loss."""
    output = model(batch[0])
    loss = projected(output, batch[1])
    return {"loss": loss, "output": output, "target": batch[1], "size": output.detach().abs().mean()}


def linear(loss: Callable[..., Tensor]) -> Family:
    """A linear layer under a loss."""
    return Family(lambda: nn.Linear(4, 4), loss=loss)


IMAGE, LINE, VOLUME, SEQUENCE = (3, 8, 8), (3, 10), (2, 4, 4, 4), (5, 8)

FUSED: dict[str, Family] = {
    "linear": Family(lambda: nn.Linear(4, 3)),
    "perceptron float64": Family(
        lambda: Seq(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double(), double=True
    ),
    "bilinear": Family(lambda: Twice(nn.Bilinear(4, 4, 3))),
    "conv1d": Family(lambda: nn.Conv1d(3, 4, 3), LINE),
    "conv2d": Family(lambda: nn.Conv2d(3, 4, 3, padding=1, stride=2), IMAGE),
    "conv2d reflect": Family(lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), IMAGE),
    "conv2d dilated": Family(lambda: nn.Conv2d(3, 4, 3, dilation=2, bias=False), IMAGE),
    "conv3d": Family(lambda: nn.Conv3d(2, 3, 3), VOLUME),
    "conv transposed 1d": Family(lambda: nn.ConvTranspose1d(3, 4, 3), LINE),
    "conv transposed 2d": Family(lambda: nn.ConvTranspose2d(3, 4, 3, stride=2), IMAGE),
    "conv transposed 3d": Family(lambda: nn.ConvTranspose3d(2, 3, 2), VOLUME),
    "conv grouped": Family(lambda: Seq(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, groups=2)), IMAGE),
    "conv depthwise": Family(lambda: nn.Conv2d(3, 3, 3, groups=3), IMAGE),
    "batch norm 1d": Family(lambda: Seq(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2))),
    "batch norm 2d": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), IMAGE),
    "synchronised batch norm": Family(lambda: Seq(nn.Linear(4, 4), nn.SyncBatchNorm(4))),
    "group norm": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), IMAGE),
    "layer norm": Family(lambda: Seq(nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2))),
    "rms norm": Family(lambda: Seq(nn.Linear(4, 5), nn.RMSNorm(5), nn.Linear(5, 2))),
    "instance norm": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True)), IMAGE),
    "instance norm with statistics": Family(
        lambda: Seq(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True)), IMAGE
    ),
    "local response norm": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(2)), IMAGE),
    "embedding": Family(lambda: Seq(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(20, 2)), (5,), 7),
    "embedding padded": Family(lambda: nn.Embedding(7, 4, padding_idx=0), (5,), 7),
    "embedding of bags": Family(lambda: nn.EmbeddingBag(7, 4), (5,), 7),
    "tied weights": Family(Tied, (5,), 7),
    "dropout": Family(lambda: Seq(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 2))),
    "dropout 2d": Family(lambda: Seq(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.5)), IMAGE),
    "alpha dropout": Family(lambda: Seq(nn.Linear(4, 16), nn.SELU(), nn.AlphaDropout(0.5))),
    "noise": Family(lambda: Seq(nn.Linear(4, 4), Noise())),
    "stochastic depth": Family(Depth),
    "attention function": Family(lambda: Calling(attention, 20, 20), (20,)),
    "attention function with dropout": Family(lambda: Calling(dropped_attention, 20, 20), (20,)),
    "multihead attention": Family(lambda: First(nn.MultiheadAttention(8, 2, batch_first=True), 3), SEQUENCE),
    "transformer": Family(encoder, SEQUENCE),
    "transformer with dropout": Family(lambda: encoder(0.2), SEQUENCE),
    "transformer norm first": Family(lambda: encoder(norm_first=True), SEQUENCE),
    "transformer encoder": Family(
        lambda: nn.TransformerEncoder(encoder(0.1), 2, enable_nested_tensor=False), SEQUENCE
    ),
    "weight norm": Family(lambda: parametrizations.weight_norm(nn.Linear(4, 3))),
    "orthogonal": Family(lambda: parametrizations.orthogonal(nn.Linear(4, 4))),
    "function with a rule": Family(lambda: Calling(SquareByRule.apply)),
    "buffer in place": Family(lambda: Stateful(in_place)),
    "attribute to look at": Family(lambda: Stateful(told_about, last=None)),
    "auxiliary loss": Family(lambda: Stateful(kept_with_gradient, last=None), step=auxiliary),
    "frozen and drawn": Family(lambda: Frozen(False)),
    "frozen and loaded": Family(lambda: Frozen(True)),
    "item of the batch": Family(lambda: ReadsBatch(lambda inputs: inputs.abs().mean().item())),
    "activations in place": Family(
        lambda: Seq(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2), nn.ELU(inplace=True))
    ),
    "activations": Family(
        lambda: Seq(nn.Linear(4, 8), nn.GELU(), nn.PReLU(), nn.SiLU(), nn.Hardswish(), nn.GLU(), nn.Mish())
    ),
    "pixel shuffle": Family(lambda: Seq(nn.Conv2d(3, 8, 3), nn.PixelShuffle(2)), IMAGE),
    "upsampling": Family(
        lambda: Seq(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear")), IMAGE
    ),
    "upsampling nearest": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2)), IMAGE),
    "max pooling": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)), IMAGE),
    "average pooling": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2)), IMAGE),
    "adaptive pooling": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2)), IMAGE),
    "adaptive max pooling": Family(lambda: Seq(nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(2)), IMAGE),
    "global pooling": Family(
        lambda: Seq(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), IMAGE
    ),
    "pooling 1d and 3d": Family(
        lambda: Seq(nn.Conv3d(2, 3, 1), nn.MaxPool3d(2), nn.Flatten(2), nn.AvgPool1d(2)), VOLUME
    ),
    "unfold": Family(lambda: Seq(nn.Conv2d(3, 4, 1), nn.Unfold(3)), IMAGE),
    "cosine similarity": Family(
        lambda: Calling(lambda one: F.cosine_similarity(one, one.roll(1, 1) + 1, dim=1)[:, None])
    ),
    "normalize and einsum": Family(
        lambda: Calling(lambda one: torch.einsum("bi,bj->bij", F.normalize(one), one))
    ),
    "fourier transform": Family(lambda: Calling(lambda one: torch.fft.rfft(one).abs())),
    "bfloat16": Family(lambda: Half(torch.bfloat16)),
    "float16": Family(lambda: Half(torch.float16)),
    "sorting": Family(lambda: Calling(lambda one: one.sort(1).values.cumsum(1))),
    "cross entropy": linear(classes),
    "negative log-likelihood": linear(log_likelihood),
    "ctc": Family(lambda: nn.Linear(4, 20), loss=connectionist),
    "binary cross entropy": linear(
        lambda output, target: F.binary_cross_entropy_with_logits(output[:, 0], (target > 0).float())
    ),
    "squared error": linear(lambda output, target: F.mse_loss(output[:, 0], target)),
    "absolute error": linear(lambda output, target: F.l1_loss(output[:, 0], target)),
    "huber": linear(lambda output, target: F.huber_loss(output[:, 0], target)),
    "smooth l1": linear(lambda output, target: F.smooth_l1_loss(output[:, 0], target)),
    "kullback-leibler": linear(
        lambda output, target: F.kl_div(
            output.log_softmax(1), target[:, None].expand(-1, 4).softmax(1), reduction="batchmean"
        )
    ),
    "smoothed labels": linear(
        lambda output, target: F.cross_entropy(output, (target > 0).long(), label_smoothing=0.1)
    ),
    "triplet margin": linear(
        lambda output, target: F.triplet_margin_loss(output, output.roll(1, 0), output.roll(2, 0))
    ),
    "loss with a parameter": linear(Temperature()),
    "step with metrics": Family(lambda: nn.Linear(4, 3), step=with_metrics),
}

REFUSED: dict[str, tuple[Family, str]] = {
    "lstm": (Family(lambda: First(nn.LSTM(8, 4, batch_first=True)), SEQUENCE), "LSTM"),
    "gru": (Family(lambda: First(nn.GRU(8, 4, batch_first=True)), SEQUENCE), "GRU"),
    "function of the old kind": (Family(lambda: Calling(Square.apply)), "setup_context"),
    "function without a rule": (Family(lambda: Calling(SquareWithoutRule.apply)), "vmap"),
    "buffer bound anew": (Family(lambda: Stateful(rebound)), "mean"),
    "running mean in an attribute": (Family(lambda: Stateful(plain_mean, running=torch.zeros(4))), "running"),
    "sum in an attribute": (
        Family(lambda: Stateful(attribute_from_inputs, running=torch.zeros(4))),
        "running",
    ),
    "counter": (Family(lambda: Stateful(counting, calls=0)), "calls"),
    "sum in an array": (Family(lambda: Stateful(in_array, total=np.zeros(1))), "total"),
    "list that grows": (Family(lambda: Stateful(listing, seen=[])), "seen"),
    "control flow by values": (Family(lambda: Stateful(branching)), "data-dependent"),
    "python's numbers": (Family(lambda: ReadsBatch(lambda inputs: random.random())), "Python's"),
    "numpy's numbers": (Family(lambda: ReadsBatch(lambda inputs: np.random.rand())), "NumPy's"),
    "hook on a parameter": (Family(Hooked), "hook"),
    "autocast": (Family(Autocast), "differs"),
    "loss that remembers": (linear(Remembering()), "buffers"),
    "batch norm cumulative": (
        Family(lambda: Seq(nn.Linear(4, 5), nn.BatchNorm1d(5, momentum=None))),
        ".item()",
    ),
    "rrelu": (Family(lambda: Seq(nn.Linear(4, 8), nn.RReLU())), "rrelu"),
    "spectral norm": (Family(lambda: parametrizations.spectral_norm(nn.Linear(4, 3))), "div.out"),
    "complex parameters": (Family(ComplexScale), "complex64"),
    "gradient penalty": (
        Family(lambda: Seq(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), step=penalised),
        "requires_grad_",
    ),
    "binary cross entropy of shares": (
        linear(lambda output, target: F.binary_cross_entropy(output[:, 0].sigmoid(), (target > 0).float())),
        "diverges",
    ),
    "checkpointing": (Family(Checkpointed), ""),
}
