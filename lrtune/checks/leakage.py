"""Checks that the target does not stand in the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.probes.data.causality import Causality
    from lrtune.probes.data.leakage import Leak
    from lrtune.results import Finding

_DISTANCE = 1e-6  # of |r| from 1: a copy in float16 had 2e-8, a random walk's last step before its next 3e-2
_BITS = 40.0  # a match by chance once in 10^12 data sets
_NAMED = 4  # columns listed in a message
_LABELS = 0.9  # share of positions that must be compared with the same or the next token
_OTHERS = 0.5  # and the largest share that may be the other one
_AHEAD = 1e-3  # relative change of an output; models without a mask had 0.05 and more, causal ones exactly 0
_SHIFT = "Shift the targets by one: inputs tokens[:, :-1], targets tokens[:, 1:]."
_ROUNDING = 1e-5  # the same of a model that reads from left to right


def target_in_columns(seen: Leak) -> Finding | None:
    """No column is a copy of the target."""
    if seen.distance > _DISTANCE or seen.bits < _BITS:
        return None
    listed = ", ".join(str(column) for column in seen.columns[:_NAMED])
    listed += ", …" if len(seen.columns) > _NAMED else ""
    where = f" of '{seen.where}'" if seen.where else ""
    what = "last-step feature" if seen.series else "column"
    named = f"{what}{'s' * (len(seen.columns) > 1)} {listed}{where}"
    if seen.constant is not None:
        told = f"The target stands in the input: {named} is {seen.constant:.4g} for one class and for no other, in all"
    elif seen.classes:
        told = f"The one-hot code of the target's class stands in the input ({named}), in all"
    else:
        told = f"The target stands in the input: {named} equals it up to scale and offset in all"
    message = f"{told} {seen.examples:,} examples."
    return finding("target-leak", message, 1 - seen.distance, "< 1", f"Take {named} out of the input.")


def target_in_tokens(seen: Causality) -> Finding | None:
    """No output of a language model sees the token that it is to predict."""
    shifted = seen.following >= _LABELS and seen.same <= _OTHERS
    if shifted and seen.ahead > _AHEAD and not seen.copied:
        message = (
            "Each output is compared with the next token, and already depends on it: changing the token at position "
            f"{seen.position} changes the output before it ({seen.ahead:.1%} of the largest change)."
        )
        fix = (
            "Hand a causal mask to the attention (is_causal=True, or -inf above the diagonal), and use neither "
            "bidirectional layers nor padding on both sides of a convolution."
        )
        return finding("target-leak", message, seen.ahead, "0", fix)
    if seen.same >= _LABELS and seen.following <= _OTHERS and seen.ahead < _ROUNDING:
        message = (
            f"The model reads from left to right, and {seen.same:.0%} of its outputs are compared with the token that "
            "stands at the same position of the input, which they can copy."
        )
        return finding("target-leak", message, seen.same, f"< {_LABELS:g}", _SHIFT)
    if seen.previous >= _LABELS and max(seen.same, seen.following) <= _OTHERS:
        message = (
            f"{seen.previous:.0%} of the model's outputs are compared with the token before that of their position, "
            "which they have read: the targets are shifted the wrong way."
        )
        return finding("target-leak", message, seen.previous, f"< {_LABELS:g}", _SHIFT)
    return None


def tokens_crossed(seen: Causality) -> Finding | None:
    """The labels of tokens are flattened in the order of the outputs."""
    if seen.crossed < _LABELS or max(seen.same, seen.following, seen.previous) > _OTHERS:
        return None
    message = (
        f"{seen.crossed:.0%} of the labels are the next token of another sequence: outputs are flattened from [batch, "
        "time], their targets from [time, batch], so that each is compared with a stranger's."
    )
    fix = "Bring both to [batch, time] before they are flattened: target.transpose(0, 1).reshape(-1)."
    return finding("target-shape-mismatch", message, seen.crossed, "0", fix)
