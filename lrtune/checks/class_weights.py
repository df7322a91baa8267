"""Checks of class weights beside how often the classes occur, and of padding that counts as a class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lrtune.probes.data.token_padding import CountedPadding
    from lrtune.probes.losses.class_weighing import Weighing
    from lrtune.results import Finding

# Measured ranges stand in the catalogue: texts/check-init/targets.yaml, class-imbalance.
IMBALANCE = 15.0  # of what classes weigh altogether, as of their examples
_CERTAIN = 10.0  # the same ratio is at least this beyond doubt
_DEVIATIONS = 3.0  # of the counts, for "beyond doubt"
WORSE = 1.5  # times as unequal as without weights
ALONG = 0.3  # of the counts' logarithmic range: weights that go with the counts leave 0, equal ones 1, inverse ones 2
UNEQUAL = 2.0  # ratio of counts from which weights that go with them are no chance
SURELY = 1.3  # the same ratio is at least this beyond doubt
FEWEST = 5.0  # labels of a class: its count is then known to about a half
FEWEST_MISPLACED = 3  # classes: of two, those in another order are inverted
MISPLACED = (
    0.8  # of the counts' logarithmic range; weights in their place leave 0 and the noise of the counts
)
PADDING = 0.25  # of what counts; see class-imbalance

# A sampler that makes the rarest class rarer draws it at half its share or less, and the commonest 15 times as often.
# Weights of counts draw classes by their squares: 3% of the examples become 0.1%, 10% become 1.2%; inverse weights,
# their roots and equal ones never draw the rarest less often.
DRAWN_RATIO, DRAWN_SHARE = 15.0, 0.5


def weights_inverted(seen: Iterable[Weighing]) -> Finding | None:
    """Class weights go against the counts of the classes, and not with them."""
    for group in seen:
        most, least = _extremes(group.counts)
        ratio = group.counts[most] / group.counts[least]
        left = [math.log(group.weights[one] / count) for one, count in group.counts.items()]
        if group.counts[least] < FEWEST or ratio < UNEQUAL:
            continue
        if _certain(group, most, least) < SURELY or max(left) - min(left) > ALONG * math.log(ratio):
            continue
        weighed = group.weights[most] / group.weights[least]
        message = (
            f"The weights go with the counts and not against them{_column(group)}: class {most} has {ratio:.3g} times "
            f"the labels of class {least}, and each of them counts {weighed:.3g} times as much."
        )
        fix = (
            "Turn the weights round: total / (classes * count); pos_weight is the no's divided by the yes's."
        )
        return finding("class-imbalance", message, ratio * weighed, f"< {IMBALANCE:g}", fix)
    return None


def weights_overdone(seen: Iterable[Weighing]) -> Finding | None:
    """Weights make classes more equal."""
    for group in seen:
        masses = {label: count * group.weights[label] for label, count in group.counts.items()}
        most, least = _extremes(masses)
        weighed = group.weights[most] / group.weights[least]
        ratio = masses[most] / masses[least]
        high, low = _extremes(group.counts)
        unweighted = group.counts[high] / group.counts[low]
        worse = ratio / unweighted
        # Where the classes are about as frequent, weights are a wish and no answer to the counts.
        if ratio < IMBALANCE or unweighted < UNEQUAL or worse < WORSE:
            continue
        if _certain(group, most, least) * weighed < _CERTAIN:
            continue
        message = (
            f"The weights do not fit the counts{_column(group)}: class {most} has "
            f"{_times(group.counts[most] / group.counts[least])} the labels of class {least}, each of which counts "
            f"{_times(weighed)} as much, so that class {most} pulls {ratio:.3g} times as hard as class {least}."
        )
        fix = "Compare the order of the weights with that of the classes, and each with total / (classes * count)."
        return finding("class-imbalance", message, ratio, f"< {IMBALANCE:g}", fix)
    return None


def weights_misplaced(seen: Sequence[Weighing]) -> Finding | None:
    """Weights that fit the counts stand at the classes they fit."""
    if len(seen) == 1:
        counts, weights = seen[0].counts, seen[0].weights
        what = "class"
    else:
        told = [one for one in seen if one.column is not None and set(one.counts) == {0, 1}]
        counts = {_number(one): one.counts[1] / one.counts[0] for one in told}
        weights = {_number(one): one.weights[1] / one.weights[0] for one in told}
        what = "column"
    rarest = min((min(one.counts.values()) for one in seen), default=0.0)
    if len(counts) < FEWEST_MISPLACED or rarest < FEWEST:
        return None
    wanted = {one: -math.log(count) for one, count in counts.items()}
    given = {one: math.log(weights[one]) for one in counts}
    width = max(wanted.values()) - min(wanted.values())
    in_place = [given[one] - wanted[one] for one in counts]
    by_size = [a - b for a, b in zip(sorted(given.values()), sorted(wanted.values()), strict=True)]
    if width < math.log(UNEQUAL) or _width(by_size) > ALONG * width or _width(in_place) < MISPLACED * width:
        return None
    worst = max(counts, key=lambda one: abs(given[one] - wanted[one] - math.fsum(in_place) / len(in_place)))
    fitting = min(counts, key=lambda one: abs(given[worst] - wanted[one] - math.fsum(by_size) / len(by_size)))
    message = (
        f"The weights are those of the counts but in another order: {what} {worst} has the weight that fits "
        f"{what} {fitting}."
    )
    fix = (
        "Compute the weights in the order of the model's outputs: torch.bincount(labels, minlength=classes)."
    )
    return finding(
        "class-imbalance", message, math.exp(_width(in_place)), "weights in the classes' order", fix
    )


def _width(values: Sequence[float]) -> float:
    return max(values) - min(values)


def _number(group: Weighing) -> int:
    assert group.column is not None
    return group.column


def padding_counts(seen: CountedPadding | None) -> Finding | None:
    """Positions that only fill up rows do not count."""
    if seen is None or seen.share < PADDING:
        return None
    message = (
        f"Padding counts: token {seen.token} fills up {seen.rows:,} rows of the first batch, and the labels there (all "
        f"{seen.label}) make {seen.share:.0%} of the loss's weights. They are learnt at once and hide the rest."
    )
    fix = f"Leave them out: ignore_index={seen.label}, or a mask and its sum, (losses * mask).sum() / mask.sum()."
    return finding("class-imbalance", message, seen.share, f"< {PADDING:g}", fix)


def certain_ratio(high: float, low: float, total: float) -> float:
    """Return the ratio of two counts with each three standard deviations nearer to the other.

    A binomial bound for the large one, Wilson's with Poisson counts for the small one.
    """
    z = _DEVIATIONS
    least = high - z * math.sqrt(high * max(total - high, 0) / total)
    most = low + z**2 / 2 + z * math.sqrt(low + z**2 / 4)
    return max(least, 0.0) / most


def _certain(group: Weighing, high: int, low: int) -> float:
    return certain_ratio(group.counts[high], group.counts[low], sum(group.counts.values()))


def _extremes(table: dict[int, float]) -> tuple[int, int]:
    return max(table, key=table.__getitem__), min(table, key=table.__getitem__)


def _column(group: Weighing) -> str:
    return "" if group.column is None else f" in column {group.column}"


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times"


def drawn_inverted(drawn: dict[int, int], dataset: dict[int, int]) -> Finding | None:
    """A sampler with weights does not draw the rarest class of the dataset less often than it is there.

    Args:
        drawn: Examples of each class in the batches.
        dataset: The same in the dataset, empty where none draws with weights.
    """
    if len(dataset) < 2 or not drawn:
        return None
    rare = min(dataset, key=lambda label: (dataset[label], drawn.get(label, 0)))
    low, total, whole = drawn.get(rare, 0), sum(drawn.values()), sum(dataset.values())
    ratio = max(drawn.values()) / max(low, 1)
    usual, share = dataset[rare] / whole, low / total
    pooled = (low + dataset[rare]) / (total + whole)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / total + 1 / whole))
    if ratio < DRAWN_RATIO or share > DRAWN_SHARE * usual or usual - share < _DEVIATIONS * deviation:
        return None
    message = (
        f"The sampler draws class {rare}, the rarest of the dataset, even less often than it is there: it has "
        f"{low:,} of {total:,} labels in the batches ({share:.1%}), and {dataset[rare]:,} of {whole:,} in the dataset "
        f"({usual:.1%})."
    )
    fix = "Weigh each example by 1 / the count of its class: weights = (1 / torch.bincount(labels))[labels]."
    return finding("class-imbalance", message, share, f">= {usual:.3g}", fix)
