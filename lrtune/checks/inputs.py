"""Checks of what the model is fed: that it varies, its scale, equal inputs with different targets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.words import in_model

if TYPE_CHECKING:
    from lrtune.probes.data.duplicates import Duplicates
    from lrtune.probes.data.inputs import Columns, Inputs
    from lrtune.probes.data.tokens import Tokens
    from lrtune.results import Finding

_ONE_TOKEN = 0.7  # share of the most frequent token; texts had 0.25, held notes 0.71, unknown characters 0.72
_FEW_KINDS = 0.15  # of the vocabulary that may be seen beside it; held notes see most of theirs
_VOCABULARY = 10  # smaller ones are codes of their own (bases, digits, events)
_DENSE = 0.5  # a column with one value in more than half of the examples is sparse: its statistics say little
_CONSTANT_COLUMNS = (
    0.9  # share from which a dense table has lost its columns; borders of images make up a third
)
_FEW_COLUMNS = 10  # fewer say nothing about a share
_FEW_EXAMPLES = 64  # likewise
_LARGE = 20.0  # between the 11.5 of log-mel features and the 107 of a raw table or 206 of pixels
_SMALL = 0.006  # between the 0.026 of unit vectors in 4,096 dimensions and the 0.0039 of pixels divided by 255 twice
_OFFSET = 10.0  # means in deviations; flowers in centimetres have 7, years 200 to 460
_FAR = 5.0  # and in absolute terms: images in [0, 1] and binary columns stay below
_RATIO = 200.0  # of the largest and smallest deviation, and of the spans; a PCA had 78, raw units 1,000
# All columns alike: deviations below _LITTLE, rows of a norm below _SHORT (that of vectors of length 1 is 1). Healthy
# tables had deviations of 0.3 and more and norms of 1 and more, columns of length 1 (442
# rows) 0.048 and 0.15; between them word vectors of deviation 0.02 (512 columns: 0.45) must pass.
_LITTLE = 0.06
_SHORT = 0.3
_TABLE = 3  # columns: one or two side by side are channels of a signal, which may be quiet
_COMPOSITION = 0.05  # distance from 1 of the sum of a row's shares, some rows of which may be empty
_FAINT = 0.05  # deviations of columns of which each holds nearly one number,
_CONTRAST = 20.0  # and how much larger the numbers are: 50 healthy ones had 0 to 1, rows standardised 40
_ROUNDED = 0.03  # distance from mean 0 and deviation 1 of rows that were standardised
_NAMED = 3  # columns listed in a message
_CHANCE = 0.01  # equal inputs that chance gives each example; below, those that there are have been copied
_COPIES = 0.02  # share of conflicting examples among such inputs; duplicates in image sets make below 0.01
_REPEATS = 0.25  # the same where few values make equal inputs common
_LOST = 0.48  # and the share of a constant answer's errors that stays: 0.4 in a table of categories, 0.52 where cut
_NOISE = 0.1  # share of a measurement's variance within equal inputs; 0.5 where these are common
_MUCH_NOISE = 0.5

_RIGHT_WAY = (
    "since each row was standardised over columns of different kinds: standardise each column over the rows"
)

_OF_ONE_COLUMN = ("train-eval-gap", "cannot-overfit")


def constant_input(seen: Inputs) -> Finding | None:
    """What the model is fed differs from example to example."""
    if seen.alike:
        held = "" if seen.value is None else f": every number in them is {seen.value:g}"
        message = f"All {seen.examples:,} examples that were compared have the same input{held}."
        return finding("constant-input", message, 1.0, "inputs that differ")
    return _one_token(seen.tokens) or _constant_columns(seen)


def _one_token(tokens: Tokens | None) -> Finding | None:
    if tokens is None or tokens.vocabulary < _VOCABULARY or tokens.share < _ONE_TOKEN:
        return None
    if tokens.kinds > max(3, _FEW_KINDS * tokens.vocabulary):
        return None
    message = (
        f"{tokens.share:.0%} of {tokens.counted:,} tokens (padding left out) are the same one, "
        f"{tokens.most_common}; of {tokens.vocabulary:,} in the vocabulary only {tokens.kinds} are seen."
    )
    fix = (
        "Look at what the tokeniser does with this text: the prevailing token is likely that of unknown "
        "characters or words (another case, another vocabulary)."
    )
    return finding("constant-input", message, tokens.share, f"< {_ONE_TOKEN:g}", fix)


def _constant_columns(seen: Inputs) -> Finding | None:
    columns = seen.columns
    if columns is None or not columns.comparable or seen.examples < _FEW_EXAMPLES:
        return None
    varying = [place for place, span in enumerate(columns.span) if span > 0]
    constant = len(columns.span) - len(varying)
    if constant < _FEW_COLUMNS or constant < _CONSTANT_COLUMNS * len(columns.span):
        return None
    if not varying or any(columns.most_common[place] > _DENSE for place in varying):
        return None
    left = ", ".join(str(columns.index[place]) for place in varying[:_NAMED])
    message = (
        f"{constant} of {len(columns.span)} columns are the same for all {seen.examples:,} examples; "
        f"only {len(varying)} vary ({left}{', …' if len(varying) > _NAMED else ''})."
    )
    return finding("constant-input", message, constant / len(columns.span), f"< {_CONSTANT_COLUMNS:g}")


def input_not_normalised(seen: Inputs) -> Finding | None:
    """What the first layer receives has about mean 0 and deviation 1, in every column alike."""
    columns = seen.columns
    if columns is None or seen.alike or not columns.size:
        return None
    size = math.sqrt(math.fsum(one**2 for one in columns.size) / max(sum(one > 0 for one in columns.size), 1))
    # Trained weights bring a scale of their own, but hardly that of raw pixels.
    large = size > _LARGE
    faults = [_scale(columns, size) if large or not seen.pretrained else ""]
    faults += [] if seen.pretrained else [_offset(columns), _ratio(columns)]
    faults = [fault for fault in faults if fault]
    if not faults and not seen.pretrained:
        faults = [fault for fault in (_faint(columns), _little(columns)) if fault]
    if not faults:
        return None
    message = (
        f"What the first layer, {in_model(columns.layer)} ({columns.kind}), receives is not normalised: "
        f"{'; '.join(faults)}."
    )
    if not columns.comparable:
        fix = "Subtract each channel's mean and divide by its deviation, both taken over the training data."
    else:
        fix = "Standardise each column with its mean and deviation over the training data."
    told = finding("input-not-normalised", message, size, f"{_SMALL:g} to {_LARGE:g}", fix)
    # A single column out of line makes training slow; outputs and gradients are large only where all inputs are.
    return told if large else replace(told, explains=_OF_ONE_COLUMN)


def _scale(columns: Columns, size: float) -> str:
    if size > _LARGE:
        largest = sorted(range(len(columns.size)), key=lambda place: -columns.size[place])
        return f"its values are of size {size:.3g} ({_listed(columns, largest, columns.size)})"
    if 0 < size < _SMALL:
        return f"its values are of size {size:.2g}, as if they had been scaled down twice"
    return ""


def _faint(columns: Columns) -> str:
    """Say that all columns hold nearly one number each, whatever their size."""
    deviation, mean = _root_mean_square(columns)
    if not 0 < deviation < _FAINT or mean < _CONTRAST * deviation:
        return ""
    told = f"its values hardly differ between examples ({deviation:.2g} around means of size {mean:.2g})"
    return f"{told}, {_RIGHT_WAY if _are_rows_standardised(columns) else 'as if scaled down twice'}"


def _are_rows_standardised(columns: Columns) -> bool:
    """Say whether the columns' statistics are those of rows with mean 0 and deviation 1."""
    count = len(columns.mean)
    mean = math.fsum(columns.mean) / count
    square = math.fsum(m**2 + d**2 for m, d in zip(columns.mean, columns.deviation, strict=True)) / count
    # Deviations over n columns divide by n or n - 1.
    return columns.comparable and abs(mean) < _ROUNDED and 1 - 1 / count - _ROUNDED < square < 1 + _ROUNDED


def _root_mean_square(columns: Columns) -> tuple[float, float]:
    """Return the root mean squares of deviations and means, of the columns that vary."""
    pairs = [pair for pair in zip(columns.deviation, columns.mean, strict=True) if pair[0] > 0]
    count = max(len(pairs), 1)
    squares = (
        math.fsum(one**2 for one in part) / count
        for part in (zip(*pairs, strict=True) if pairs else ((), ()))
    )
    deviation, mean = map(math.sqrt, squares)
    return deviation, mean


def _little(columns: Columns) -> str:
    """Say that the columns of a table are all small, and too few for that to be a row's normalisation."""
    deviation, mean = _root_mean_square(columns)
    norm = math.hypot(deviation, mean) * math.sqrt(columns.total)
    shares = abs(math.fsum(columns.mean) * columns.total / len(columns.mean) - 1) < _COMPOSITION
    if not columns.comparable or columns.total < _TABLE or shares or not 0 < norm < _SHORT:
        return ""
    largest = max(columns.deviation)
    if largest >= _LITTLE:
        return ""
    return f"its columns have deviations of {largest:.2g} or less, and an example a norm of {norm:.2g}"


def _offset(columns: Columns) -> str:
    found = [
        place
        for place, mean in enumerate(columns.mean)
        if columns.most_common[place] <= _DENSE
        and abs(mean) > _FAR
        and abs(mean) > _OFFSET * columns.deviation[place] > 0
    ]
    if not found:
        return ""
    found.sort(key=lambda place: -abs(columns.mean[place]) / columns.deviation[place])
    each = (
        f"{columns.index[place]}: {columns.mean[place]:.4g} ± {columns.deviation[place]:.2g}"
        for place in found[:_NAMED]
    )
    return f"the mean lies far from 0 for the spread ({_what(columns)} {', '.join(each)})"


def _ratio(columns: Columns) -> str:
    dense = [
        place
        for place, deviation in enumerate(columns.deviation)
        if deviation > 0 and columns.most_common[place] <= _DENSE
    ]
    if not columns.comparable or len(dense) < 2:
        return ""
    low = min(dense, key=lambda place: columns.deviation[place])
    high = max(dense, key=lambda place: columns.deviation[place])
    deviations = columns.deviation[high] / columns.deviation[low]
    spans = columns.span[high] / columns.span[low]
    if min(deviations, spans) < _RATIO:
        return ""
    return f"the scales differ by a factor of {deviations:.2g} ({_listed(columns, [high, low], columns.deviation)})"


def _listed(columns: Columns, places: list[int], numbers: list[float]) -> str:
    each = (f"{columns.index[place]}: {numbers[place]:.3g}" for place in places[:_NAMED])
    return f"{_what(columns)} {', '.join(each)}"


def _what(columns: Columns) -> str:
    return "column" if columns.comparable else "channel"


def conflicting_labels(seen: Duplicates) -> Finding | None:
    """Equal inputs have equal targets."""
    share = seen.conflicting / max(seen.examples, 1)
    rich = seen.chance < _CHANCE
    if seen.columns == 1 and not seen.classes:  # a measurement against one number: a curve with noise
        return None
    if share < (_COPIES if rich else _REPEATS):
        return None
    if seen.ceiling is not None and not rich and 1 - seen.ceiling < _LOST * (1 - (seen.constant or 0.0)):
        return None
    if not seen.classes and seen.floor < (_NOISE if rich else _MUCH_NOISE):
        return None
    left = (
        f"no model can reach more than {seen.ceiling:.1%} accuracy or a loss below {seen.floor:.3g} nats "
        f"(of {seen.whole:.3g} without inputs)"
        if seen.ceiling is not None
        else f"{seen.floor:.0%} of the target's variance cannot be explained"
    )
    message = (
        f"{seen.conflicting:,} of {seen.examples:,} examples ({share:.0%}) have an input that others have, too, "
        f"with another target; over all of them {left}."
    )
    return finding("conflicting-labels", message, share, f"< {_COPIES if rich else _REPEATS:g}")
