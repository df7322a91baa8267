"""Whether the output for a graph depends on the other graphs that were put side by side with it in one batch.

A tensor says of each node which graph it belongs to. One graph's nodes all get the features of one other node; what
then changes in the outputs for the other graphs came through something that runs over the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import map_nest, tensors_of
from lrtune.probes.model.hooks import hooked
from lrtune.probes.model.model_calls import plain_attention, root_mean_square

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_LEAST = 1e-5  # share of the graph's own change: rounding in a deep net
_MOST = 0.5  # of the other graphs: what runs over a batch reaches all, a pair of graphs that are compared is meant
_AGAIN = 0.1  # of the change: what the same batch twice may differ by before the change counts as noise
_GRAPHS = 3  # fewer may be a pair that belongs together
_EDGES = 2  # for each graph: a batch with fewer may hold graphs without any


@dataclass(frozen=True)
class GraphMixing:
    """What one graph's nodes do to the others' outputs.

    Attributes:
        share: Change for the other graphs in units of the graph's own.
        relative: The same in units of the outputs' root mean square.
        resolution: Of the output's type.
        graph: Whose nodes were changed.
        count: Graphs in the batch.
        edges: How many edges there are, where all of them join nodes of the first graphs; None else.
    """

    share: float
    relative: float
    resolution: float
    graph: int
    count: int
    edges: int | None = None


def graph_mixing(sample: Sample, model: nn.Module, batch: Any) -> GraphMixing | None:
    """Measure it, None where the batch does not hold graphs side by side, each with an output of its own."""
    for index in tensors_of(batch):
        graphs = graph_count(index)
        if graphs >= _GRAPHS and (before := _output(sample, model, batch, graphs)) is not None:
            edges = _unshifted(batch, index)
            if edges is not None and _in_first_alone(sample, model, batch, index, edges, before):
                return GraphMixing(1.0, 1.0, torch.finfo(before.dtype).eps, 0, graphs, edges.shape[1])
            return _measured(sample, model, batch, index, before)
    return None


def graph_count(index: torch.Tensor) -> int:
    """Return how many groups a tensor numbers from 0 on without a gap, 0 where it is no such tensor.

    >>> graph_count(torch.tensor([0, 0, 2, 1, 1]))
    3
    """
    if index.ndim != 1 or index.dtype not in (torch.int64, torch.int32) or not len(index):
        return 0
    count = int(index.max()) + 1
    whole = int(index.min()) == 0 and count < len(index) and len(torch.unique(index)) == count
    return count if whole else 0


def _measured(
    sample: Sample, model: nn.Module, batch: Any, index: torch.Tensor, before: torch.Tensor
) -> GraphMixing | None:
    graph = len(before) // 2
    changed = _with_other_nodes(batch, index, index == graph)
    if changed is None:
        return None
    after, again = (_output(sample, model, one, len(before)) for one in (changed, batch))
    if after is None or again is None or not (before.isfinite().all() and after.isfinite().all()):
        return None
    rows = (after - before).float().flatten(1).square().mean(1).sqrt()
    others = torch.arange(len(rows), device=rows.device) != graph
    own, reached, size = float(rows[graph]), rows[others], root_mean_square(before)
    if not own or not size or root_mean_square(again - before) > _AGAIN * float(reached.max()):
        return None if not own or not size or float(reached.max()) else _told(0.0, 0.0, before, graph)
    if float((reached > _LEAST * own).float().mean()) < _MOST:
        return _told(0.0, 0.0, before, graph)
    usual = float(reached.median())
    return _told(usual / own, usual / size, before, graph)


def _told(share: float, relative: float, output: torch.Tensor, graph: int) -> GraphMixing:
    return GraphMixing(share, relative, torch.finfo(output.dtype).eps, graph, len(output))


def _output(sample: Sample, model: nn.Module, batch: Any, graphs: int) -> torch.Tensor | None:
    """Return the model's first output of one row for each graph, that of the step where the model has none."""
    found: list[torch.Tensor] = []

    def after(name: str, module: nn.Module, positional: Any, named: Any, output: Any) -> None:
        found.extend(tensors_of(output))

    with hooked(model, post=after, only=lambda name, module: module is model), plain_attention():
        outcome = sample.run(model, batch, training=False)
    for one in (*found, *tensors_of(outcome.output)):
        scores_of_pairs = one.ndim == 2 and one.shape[1] == graphs
        if one.is_floating_point() and one.ndim and len(one) == graphs and not scores_of_pairs:
            return one.detach()
    return None


def _with_other_nodes(batch: Any, index: torch.Tensor, chosen: torch.Tensor) -> Any:
    """Return the batch with other features for the chosen nodes, None where nodes have none."""
    by_node = [one for one in tensors_of(batch) if _by_node(one, index)]
    features = [one for one in by_node if one.is_floating_point()] or [
        one for one in by_node if graph_count(one) != graph_count(index)
    ]
    if not features:
        return None
    rows = torch.cat([one.reshape(len(index), -1).float() for one in features], 1)
    donor = int((rows - rows[chosen].mean(0)).square().sum(1).argmax())

    def change(tensor: torch.Tensor) -> torch.Tensor:
        if not any(tensor is one for one in features):
            return tensor
        changed = tensor.clone()
        changed[chosen] = tensor[donor]
        return changed

    return map_nest(change, batch)


def _by_node(tensor: torch.Tensor, index: torch.Tensor) -> bool:
    # A square one is an adjacency matrix.
    return tensor.ndim > 0 and len(tensor) == len(index) and tensor.shape[1:2] != (len(index),)


def _unshifted(batch: Any, index: torch.Tensor) -> torch.Tensor | None:
    """Return the edges `[2, edges]` where graphs keep the node numbers that they had alone, None where not."""
    edges = [one for one in tensors_of(batch) if _may_be_edges(one, index)]
    if not edges:
        return None
    sizes, widest = torch.bincount(index), max(edges, key=lambda one: int(one.max()))
    few = widest.shape[1] < _EDGES * len(sizes)
    return None if few or int(widest.max()) >= int(sizes.max()) else widest


def _may_be_edges(tensor: torch.Tensor, index: torch.Tensor) -> bool:
    integers = tensor.dtype in (torch.int64, torch.int32)
    if not integers or tensor.ndim != 2 or len(tensor) != 2 or tensor.shape[1] in (0, len(index)):
        return False
    return int(tensor.min()) >= 0 and int(tensor.max()) < len(index)


def _in_first_alone(
    sample: Sample,
    model: nn.Module,
    batch: Any,
    index: torch.Tensor,
    edges: torch.Tensor,
    before: torch.Tensor,
) -> bool:
    """Say whether edges matter to the first graphs and to no other: a program may shift their numbers itself."""
    joined = torch.zeros(len(before), dtype=torch.bool, device=index.device)
    joined[index[edges.flatten().long()].long()] = True
    changed = map_nest(lambda one: torch.zeros_like(one) if one is edges else one, batch)
    after = _output(sample, model, changed, len(before))
    if after is None:
        return False
    rows = (after - before).float().flatten(1).abs().amax(1)
    if float(joined.float().mean()) > _MOST or not bool(rows[joined].any()):
        return False
    return float(rows[~joined].max()) <= _LEAST * float(rows[joined].max())
