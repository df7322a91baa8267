"""Every class on rows against K optimizers of torch, bit for bit."""

from __future__ import annotations

import math

import pytest
import torch

from lrtune.population.row_optimizers import row_optimizer

CASES = {
    "sgd": (torch.optim.SGD, {}),
    "sgd momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd dampening": (torch.optim.SGD, {"momentum": 0.8, "dampening": 0.3}),
    "sgd nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "sgd maximize": (torch.optim.SGD, {"momentum": 0.9, "maximize": True}),
    "adam": (torch.optim.Adam, {}),
    "adam betas eps": (torch.optim.Adam, {"betas": (0.7, 0.95), "eps": 1e-4}),
    "adam amsgrad": (torch.optim.Adam, {"amsgrad": True}),
    "adam maximize": (torch.optim.Adam, {"maximize": True}),
    "adamw": (torch.optim.AdamW, {}),
    "adamw betas": (torch.optim.AdamW, {"betas": (0.5, 0.9), "eps": 1e-6}),
    "adamw amsgrad": (torch.optim.AdamW, {"amsgrad": True, "maximize": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "rmsprop alpha eps": (torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-3}),
    "rmsprop momentum": (torch.optim.RMSprop, {"momentum": 0.9}),
    "rmsprop centered": (torch.optim.RMSprop, {"centered": True}),
    "rmsprop all": (torch.optim.RMSprop, {"centered": True, "momentum": 0.5, "maximize": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adagrad slower": (torch.optim.Adagrad, {"lr_decay": 0.1, "eps": 1e-5}),
    "adagrad initial": (torch.optim.Adagrad, {"initial_accumulator_value": 0.5, "maximize": True}),
}
SHAPES = [(), (1,), (37,), (2, 3, 5, 3), (19, 23)]
DECAYS = (0.0, 1e-4, 0.3, 0.0, 1e-2, 1e-60, 1.0)
DTYPES = (torch.float32, torch.float64, torch.bfloat16)


class Both:
    """An optimizer on rows beside the K instances that it has to equal."""

    def __init__(self, cls, keywords, members, dtype, decays=DECAYS, shapes=SHAPES):
        self.random = torch.Generator().manual_seed(3)
        self.dtype, self.decays = dtype, list(decays[:members])
        self.stacks = [self.draw(members, shape) for shape in shapes]
        self.build(cls, keywords, members)

    def build(self, cls, keywords, members):
        """Start both sides from the same numbers."""
        self.singles = [[stack[row].clone() for stack in self.stacks] for row in range(members)]
        self.instances = [
            cls(single, lr=1.0, weight_decay=decay, **keywords)
            for single, decay in zip(self.singles, self.decays, strict=True)
        ]
        build = row_optimizer(cls, keywords)
        assert build is not None
        self.rows = build(self.stacks)

    def draw(self, members, shape):
        """Random rows of a random size."""
        scale = 10 ** (4 * torch.rand((), generator=self.random).item() - 2)
        return (torch.randn(members, *shape, generator=self.random) * scale).to(self.dtype)

    def gradients(self, step):
        """A third of the steps leave a parameter out, at first too."""
        return [
            None if (step + at) % 3 == 0 else self.draw(len(self.singles), stack.shape[1:])
            for at, stack in enumerate(self.stacks)
        ]

    def step(self, gradients, rates):
        """Step both sides."""
        self.rows.step(gradients, rates, self.decays)
        for row, (single, instance) in enumerate(zip(self.singles, self.instances, strict=True)):
            for parameter, gradient in zip(single, gradients, strict=True):
                parameter.grad = None if gradient is None else gradient[row].clone()
            instance.param_groups[0]["lr"] = rates[row]
            instance.step()

    def keep(self, rows):
        """Go on with some rows, in a new stack."""
        self.stacks = [stack[rows].clone() for stack in self.stacks]
        self.rows.keep(rows, self.stacks)
        for name in ("singles", "instances", "decays"):
            setattr(self, name, [getattr(self, name)[row] for row in rows])

    def assert_equal(self):
        """Compare bits: NaN equals NaN, and 0.0 is not -0.0."""
        for at, stack in enumerate(self.stacks):
            expected = torch.stack([single[at] for single in self.singles])
            same = (stack == expected) & (stack.signbit() == expected.signbit())
            same |= stack.isnan() & expected.isnan()
            assert same.all(), f"{int((~same).sum())} of {same.numel()} differ in shape {tuple(stack.shape)}"


def sweep(step, steps, members):
    """From 1e-7 to 10, each member a little ahead of the one before."""
    return [1e-7 * 10 ** (8 * (step + row / members) / steps) for row in range(members)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("members", [1, 2, 7])
@pytest.mark.parametrize(("cls", "keywords"), CASES.values(), ids=CASES)
def test_rows_equal_instances_bitwise(cls, keywords, members, dtype):
    """Rates that sweep, a decay a member, gradients that are missing at some steps."""
    both = Both(cls, keywords, members, dtype)
    for step in range(50):
        both.step(both.gradients(step), sweep(step, 50, members))
    both.assert_equal()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("cls", "keywords"), CASES.values(), ids=CASES)
def test_kept_rows_go_on_as_if_alone(cls, keywords, dtype):
    """Compaction drops rows and may reorder them; the state goes with them."""
    both = Both(cls, keywords, 7, dtype)
    for rows in ([5, 0, 2, 3], [1, 3], [1]):
        for step in range(6):
            both.step(both.gradients(step), sweep(step, 6, len(both.singles)))
        both.keep(rows)
    both.step(both.gradients(1), [0.1])
    both.assert_equal()


@pytest.mark.parametrize(
    "decays", [(0.0,) * 4, (1e-3, 1e-2, 0.1, 0.2), (0.0, 0.1, 0.0, 0.1), (1e-60, 0.1, 0.0, 0.1)], ids=str
)
@pytest.mark.parametrize(("cls", "keywords"), CASES.values(), ids=CASES)
def test_a_diverged_row_stays_by_itself(cls, keywords, decays):
    """Infinite parameters and NaN gradients in one row, signed zeros in another, change no bit elsewhere."""
    both = Both(cls, keywords, 4, torch.float32, decays)
    for stack, *single in zip(both.stacks, *both.singles, strict=True):
        for row, value in ((0, math.inf), (2, -0.0)):
            stack[row] = value
            single[row].fill_(value)
    for step in range(5):
        gradients = both.gradients(step)
        for gradient in gradients:
            if gradient is not None:
                gradient[2] = -0.0
                gradient[3] = math.nan if step == 4 else gradient[3]
        both.step(gradients, [0.1, 0.2, 0.3, 10.0])
    both.assert_equal()
    assert all(stack[1].isfinite().all() for stack in both.stacks)


@pytest.mark.parametrize(("cls", "keywords"), CASES.values(), ids=CASES)
def test_gradients_need_not_be_contiguous(cls, keywords):
    """As a vectorised backward pass hands them out, in any order of strides."""
    both = Both(cls, keywords, 5, torch.float32, shapes=[(19, 23), (8, 3, 4, 5)])
    for step in range(10):
        gradients = [both.draw(*stack.shape[:1], stack.shape[1:]) for stack in both.stacks]
        turned = [gradient.transpose(0, -1).contiguous().transpose(0, -1) for gradient in gradients]
        both.step(turned, sweep(step, 10, 5))
    both.assert_equal()


def test_a_missing_gradient_leaves_the_parameter_alone():
    """Not even its decay and its momentum move it."""
    build = row_optimizer(torch.optim.SGD, {"momentum": 0.9})
    parameter, other = torch.ones(2, 3), torch.ones(2)
    optimizer = build([parameter, other])
    optimizer.step([torch.ones(2, 3), torch.ones(2)], [0.5, 0.25], [0.0, 0.0])
    before = parameter.clone()
    optimizer.step([None, torch.ones(2)], [0.5, 0.25], [0.1, 0.1])
    assert torch.equal(parameter, before)
    assert not torch.equal(other, torch.tensor([0.5, 0.75]))


def test_gradients_are_left_as_they_were():
    """The caller may go on with them."""
    for cls, keywords in CASES.values():
        gradient = torch.linspace(-1, 1, 6).view(2, 3)
        optimizer = row_optimizer(cls, keywords)([torch.ones(2, 3)])
        for _ in range(2):
            optimizer.step([gradient], [0.1, 0.2], [0.0, 0.1])
        assert torch.equal(gradient, torch.linspace(-1, 1, 6).view(2, 3))


def test_parameters_may_require_gradients():
    """Stacked leaves are updated in place outside autograd's sight."""
    parameter = torch.ones(2, 3, requires_grad=True)
    row_optimizer(torch.optim.Adam, {})([parameter]).step([torch.ones(2, 3)], [0.5, 0.0], [0.0, 0.0])
    assert parameter.is_leaf
    assert torch.equal(parameter[1], torch.ones(3))
    assert not torch.equal(parameter[0], torch.ones(3))


class Own(torch.optim.SGD):
    """A subclass may do anything."""


@pytest.mark.parametrize(
    ("cls", "keywords"),
    [
        (torch.optim.Adamax, {}),
        (Own, {}),
        (torch.optim.SGD, {"foreach": True}),
        (torch.optim.Adam, {"fused": True}),
        (torch.optim.Adam, {"capturable": True}),
        (torch.optim.SGD, {"differentiable": True}),
        (torch.optim.SGD, {"momentum": -1.0}),
        (torch.optim.SGD, {"nesterov": True}),
        (torch.optim.SGD, {"betas": (0.9, 0.99)}),
        (torch.optim.SGD, {"lr": 0.1}),
        (torch.optim.SGD, {"weight_decay": 0.1}),
        (torch.optim.SGD, {"params": []}),
        (torch.optim.Adam, {"betas": (torch.tensor(0.9), torch.tensor(0.99))}),
    ],
    ids=str,
)
def test_what_has_no_version_on_rows(cls, keywords):
    """The caller is told by None, and runs real instances."""
    assert row_optimizer(cls, keywords) is None


def test_implementations_that_are_not_asked_for_are_accepted():
    """`foreach: false` in a configuration says what rows do anyway."""
    assert row_optimizer(torch.optim.Adam, {"foreach": False, "fused": None, "capturable": False}) is not None


def test_adam_may_decouple_its_decay():
    """The keyword turns Adam into AdamW."""
    parameters = [torch.ones(2, 3), torch.ones(2, 3)]
    for parameter, cls, keywords in zip(
        parameters,
        (torch.optim.Adam, torch.optim.AdamW),
        ({"decoupled_weight_decay": True}, {}),
        strict=True,
    ):
        row_optimizer(cls, keywords)([parameter]).step([torch.ones(2, 3)], [0.1, 0.2], [0.1, 0.2])
    assert torch.equal(*parameters)


def test_wrong_numbers_of_rates_are_refused():
    """One number would otherwise broadcast over all members in silence."""
    optimizer = row_optimizer(torch.optim.SGD, {})([torch.ones(3, 2)])
    with pytest.raises(ValueError, match="expected 3 rates and decays, got 1 rates and 3 decays"):
        optimizer.step([torch.ones(3, 2)], [0.1], [0.0] * 3)


def test_complex_parameters_are_refused():
    """Torch steps them as pairs of reals; rows do not."""
    with pytest.raises(TypeError, match=r"expected floating-point parameters, got torch\.complex64"):
        row_optimizer(torch.optim.SGD, {})([torch.ones(3, 2, dtype=torch.complex64)])
