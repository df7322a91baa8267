"""Checks of what the untrained model does with a batch: whom it listens to, and whether it answers alike twice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.words import listed

if TYPE_CHECKING:
    from lrtune.probes.losses.batch_lengths import BatchLengths
    from lrtune.probes.model.batch_mixing import BatchMixing
    from lrtune.probes.model.determinism import Determinism
    from lrtune.probes.model.input_use import InputUse
    from lrtune.probes.model.masked_tokens import MaskedTokens
    from lrtune.probes.model.mode_gap import ModeGap
    from lrtune.results import Finding

# Measured ranges stand in the catalogue: texts/check-init/behaviour.yaml.
MIXED = 1e-3  # share: 50 healthy programs have exactly 0, 18 faulty ones 0.007 and more
RESOLUTIONS = 4.0  # of the output's type that a change exceeds, so that half precision's rounding is none
CHANGED = 1e-4  # relative change between two calls: healthy programs 0 on the CPU, faulty ones 0.015 and more
# The same where all random numbers are alike: a state that an untrained GRU keeps changed its answers by 9e-5,
# an accelerator's sums in no fixed order by some units of float32's resolution.
REMEMBERED = 1e-5
IGNORED = 2**-23  # float32's resolution: healthy programs 1.6e-5 and more, those that ignore their input 0
GAP = 0.3  # of the outputs' spread: healthy programs up to 0.09 (20 normalised layers on 4 examples), faulty from 0.55
SIGNAL = (
    0.6  # share of the signal that noise leaves: dropout that rescales 0.8 and more, one that does not 0.5
)
ENERGY = 0.85  # spread under noise: dropout that rescales makes it grow (1 to 5), one that does not shrinks it (0.81)
LOSS_GAP = 0.5  # of the larger loss, under noise: healthy programs up to 0.09
ERRORS = 5.0  # standard errors that such a gap exceeds
STRONG_DROPOUT = (
    0.9  # probability: nine tenths gone; the usual 0.1 to 0.5 is named for what is dropped, not kept
)
STILL = 1e-5  # momentum: published nets go down to 3e-4 (MnasNet)


def batch_mixing(seen: BatchMixing) -> Finding | None:
    """An example's output depends on no other example."""
    if seen.share <= MIXED or seen.relative <= RESOLUTIONS * seen.resolution:
        return None
    if seen.by_place:
        return _by_place(seen)
    if seen.graphs:
        return _graphs_mixed(seen)
    message = (
        f"Replacing the other {seen.count - 1} examples of a batch changes the output for example {seen.example} by "
        f"{seen.relative:.2g} of its size, in evaluation mode too."
    )
    if seen.hidden:
        message = (
            f"The output depends on no input, yet inside the model the other {seen.count - 1} examples of a batch "
            f"change what becomes of example {seen.example} by {seen.relative:.2g} of its size."
        )
    place, fix = seen.place, None
    if place is None:
        message += f" It happens in the forward of {seen.model} itself, between its modules."
        fix = f"In {seen.model}.forward, look for view, reshape, softmax, mean, norm or indexing over dimension 0."
    else:
        message += f" It begins in model.{place.name} ({place.kind})."
        if place.batch_second:
            fix = f"model.{place.name} takes [time, batch, ...]: build it with batch_first=True."
        else:
            fix = f"In model.{place.name} ({place.kind}), keep dimension 0 apart: no operation runs over it."
    return finding("batch-mixing", message, seen.share, f"<= {MIXED:g}", fix)


def divided_over_batch(seen: BatchLengths) -> Finding:
    """No examples are compared by vectors whose lengths were taken over the batch."""
    where = seen.line or "The step"
    message = (
        f"{where} divides vectors {seen.shape} of a trial batch by their lengths over dimension 0, the batch, and "
        "examples are then compared by them: each one's numbers depend on who else is in the batch."
    )
    fix = "Bring each example's vector to length 1: F.normalize(z, dim=1)."
    return finding("batch-mixing", message, "dimension 0", "dimension 1", fix)


def _by_place(seen: BatchMixing) -> Finding | None:
    if seen.relative <= CHANGED:
        return None
    message = (
        f"The same {seen.count} examples in another order get other outputs, by {seen.relative:.2g} of their size: the "
        "output depends on the example's place in the batch, in evaluation mode too."
    )
    fix = (
        f"In {seen.model}, let positions and tables run over time, not over dimension 0: for inputs [batch, time, ...] "
        "table[: x.shape[1]]; and index no table by arange(batch)."
    )
    return finding("batch-mixing", message, seen.share, f"<= {MIXED:g}", fix)


def _graphs_mixed(seen: BatchMixing) -> Finding:
    if seen.edges is not None:
        message = (
            f"All {seen.edges:,} edges of the first batch join nodes of the numbers that a graph has alone, though "
            f"{seen.count} graphs lie side by side: they all point into the first, and the others have none."
        )
        fix = "Add to each graph's edges the number of nodes before it: edges + offset."
        return finding("batch-mixing", message, seen.edges, "edges within each graph", fix)
    message = (
        f"Other features for the nodes of graph {seen.example} change the outputs for the other {seen.count - 1} "
        f"graphs of the batch by {seen.relative:.2g} of their size, in evaluation mode too."
    )
    fix = (
        f"In {seen.model}.forward, look for mean, sum, max, norm or softmax over all nodes: take them for each graph "
        "(scatter_reduce or index_add with the graphs' numbers)."
    )
    return finding("batch-mixing", message, seen.share, f"<= {MIXED:g}", fix)


def nondeterministic_model(seen: Determinism) -> Finding | None:
    """Two calls in evaluation mode agree."""
    limit = max(REMEMBERED, RESOLUTIONS * seen.resolution)
    if seen.same_seed > limit:
        message = (
            f"In evaluation mode a second call on the same batch differs by {seen.same_seed:.2g} of the output, though "
            "the random generators stood alike: the model keeps state from one call to the next."
        )
        fix = "Start each call from a fresh state: keep no hidden state or counter on self."
        return finding("nondeterministic-model", message, seen.same_seed, f"<= {limit:.2g}", fix)
    limit = max(CHANGED, RESOLUTIONS * seen.resolution)
    if seen.other_seed is None or seen.other_seed <= limit:
        return None
    message = f"In evaluation mode two calls on the same batch differ by {seen.other_seed:.2g} of the output"
    if not seen.dropping:
        return finding(
            "nondeterministic-model",
            message + ": the model draws random numbers.",
            seen.other_seed,
            f"<= {limit:.2g}",
        )
    places = [f"{_place(name)} (p = {share:g})" for name, share in seen.dropping.items()]
    where = _place(next(iter(seen.dropping)))
    fix = f"In {where}, pass training=self.training to the dropout (attention: dropout_p=0.0 in evaluation)."
    message += f": dropout is active in {listed(places)}."
    return finding("nondeterministic-model", message, seen.other_seed, f"<= {limit:.2g}", fix)


def train_eval_gap(seen: ModeGap) -> Finding | None:
    """Both modes compute the same, apart from noise of a usual strength."""
    if strong := {name: share for name, share in seen.strong.items() if share >= STRONG_DROPOUT}:
        places = [f"{_place(name)} ({share:.0%})" for name, share in strong.items()]
        message = (
            f"Dropout leaves hardly anything in training mode: {listed(places)} of all units are dropped."
        )
        fix = f"p is the share to drop, not to keep: p={1 - max(strong.values()):.2g}?"
        return finding("train-eval-gap", message, max(strong.values()), f"< {STRONG_DROPOUT:g}", fix)
    if still := [name for name, momentum in seen.momenta.items() if abs(momentum) <= STILL]:
        message = (
            f"The running statistics of {listed([_place(name) for name in still])} never move: momentum is "
        )
        message += (
            f"{seen.momenta[still[0]]:g}, so that evaluation mode normalises by something else for good."
        )
        fix = "momentum is the weight of the new batch: leave it at 0.1."
        return finding("train-eval-gap", message, seen.momenta[still[0]], f"> {STILL:g}", fix)
    return _other_numbers(seen)


def _other_numbers(seen: ModeGap) -> Finding | None:
    training, evaluation = seen.losses
    losses = f"the loss is {training:.4g} in training mode and {evaluation:.4g} in evaluation mode"
    if seen.shapes is not None:
        one, other = seen.shapes
        message = f"The output has the shape {one} in training mode and {other} in evaluation mode."
        return finding("train-eval-gap", message, str(other), str(one))
    if math.isfinite(training) and not math.isfinite(evaluation):
        return finding("train-eval-gap", f"On the same batch {losses}.", evaluation, "a finite loss")
    if seen.outputs is not None and seen.outputs > GAP:
        message = (
            f"On the same batch the modes' outputs differ by {seen.outputs:.2g} of their spread, without dropout and "
            f"with the batch's own running statistics; {losses}."
        )
        return finding("train-eval-gap", message, seen.outputs, f"<= {GAP:g}")
    if seen.signal is not None and seen.energy is not None and _unscaled(seen.signal, seen.energy):
        message = (
            f"Training mode leaves {seen.signal:.2g} of the output's signal and lets its spread shrink to "
            f"{seen.energy:.2g}: noise that drops units without scaling up the rest."
        )
        fix = "Divide what a dropout of your own keeps by 1 - p, or use nn.Dropout."
        return finding("train-eval-gap", message, seen.signal, f">= {SIGNAL:g}", fix)
    gap, largest = abs(training - evaluation), max(abs(training), abs(evaluation))
    if seen.error and gap > ERRORS * seen.error and gap > LOSS_GAP * largest:
        return finding(
            "train-eval-gap", f"With the noise averaged out, {losses}.", gap, f"<= {LOSS_GAP * largest:.3g}"
        )
    return None


def input_ignored(seen: InputUse) -> Finding | None:
    """The output changes with the input."""
    if seen.change > IGNORED:
        return None
    message = (
        f"Giving all {seen.count} examples of a batch the input of another one changes the output of the untrained "
        f"model by {seen.change:.2g} of its size."
    )
    return finding("input-ignored", message, seen.change, f"> {IGNORED:.1g}")


def tokens_masked(seen: MaskedTokens) -> Finding | None:
    """Where the loss depends on the padding of sentences, it depends on some of their tokens."""
    message = (
        f"Of the sentences that model.{seen.embedding} embeds the loss depends on {seen.padding:,} positions of "
        f"padding (token {seen.token}) and on none of the {seen.real:,} tokens before them."
    )
    fix = (
        f"Turn the padding mask round: torch's key_padding_mask is True where attention must not look, tokens == "
        f"{seen.token}; a mask to multiply with is tokens != {seen.token}."
    )
    return finding("input-ignored", message, 0, "> 0 tokens", fix)


def _unscaled(signal: float, energy: float) -> bool:
    return signal <= SIGNAL and energy <= ENERGY


def _place(name: str) -> str:
    return f"model.{name}" if name else "the model's forward"
