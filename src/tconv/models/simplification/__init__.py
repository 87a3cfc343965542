"""Equal networks that take less work: rules that readers of files apply to the nodes that they have read.

A rule is a function of a `NodeGraph` and the number of a node. It changes the graph around that node if it applies
there, and returns True if it did. A new one is a file and a line in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tconv.models.layers import Node
from tconv.models.simplification.activations import fused_activation
from tconv.models.simplification.affine import affine_behind, affine_in_front, merged_affine
from tconv.models.simplification.graph import NodeGraph, graph_of
from tconv.models.simplification.identities import identity, nested_concat, range_of_channels, undone_shuffle
from tconv.models.simplification.moved import moved_in_front
from tconv.models.simplification.nearest import nearest_in_front
from tconv.models.simplification.padding import crop_behind, crop_of_blocks, merged_padding, padding_in_front
from tconv.models.simplification.shared import shared_node
from tconv.models.simplification.shuffle import folded_shuffle
from tconv.models.simplification.small_kernels import single_pixels_behind
from tconv.models.simplification.snake import spelled_snake
from tconv.models.simplification.spelled_activations import (
    larger_of_slopes,
    merged_clamps,
    spelled_activation,
    sum_of_slopes,
)
from tconv.models.simplification.strides import unit_stride
from tconv.models.simplification.sums import scaled_sum

RULES: tuple[Callable[[NodeGraph, int], bool], ...] = (
    unit_stride,
    identity,
    undone_shuffle,
    nested_concat,
    range_of_channels,
    shared_node,
    spelled_activation,
    spelled_snake,
    larger_of_slopes,
    sum_of_slopes,
    merged_clamps,
    merged_padding,
    merged_affine,
    affine_behind,
    affine_in_front,
    single_pixels_behind,
    scaled_sum,
    padding_in_front,
    crop_of_blocks,
    crop_behind,
    fused_activation,
    moved_in_front,
    nearest_in_front,
    folded_shuffle,
)
"""Rules, in the order in which they are applied: constants before the activations behind them."""

_MOST_SWEEPS = 20
"""Sweeps over all nodes; rules make nodes fewer or cheaper, so a handful is enough."""


def simplified(nodes: Sequence[Node], channels: int | None = None) -> list[Node]:
    """Return an equal network, up to rounding, that takes less work. The last node is the output of both.

    `channels` are those of the picture; None: those that the first convolution needs. Nodes that nobody reads are
    dropped. Nodes that do not fit each other are returned as they are: `Network` refuses them.

    >>> import numpy as np
    >>> from tconv.models import Convolution
    >>> from tconv.models.steps.pointwise import Pointwise
    >>> layer = Convolution.ordinary(np.ones((8, 3, 3, 3), np.float32), padding=1)
    >>> [node.step.activation for node in simplified([Node(layer, (0,)), Node(Pointwise("relu"), (1,))])]
    ['relu']
    """
    return simplified_with_numbers(nodes, channels)[0]


def simplified_with_numbers(nodes: Sequence[Node], channels: int | None = None) -> tuple[list[Node], list[int]]:
    """Return the nodes of `simplified`, and the number that each had among the given ones, larger for new nodes."""
    graph = graph_of(nodes, channels)
    if graph is None:
        return list(nodes), list(range(1, len(nodes) + 1))
    for _ in range(_MOST_SWEEPS):
        changed = False
        for rule in RULES:
            for number in graph.numbers():
                changed |= number in graph and rule(graph, number)
        if not changed:
            break
    return graph.nodes(), graph.numbers()
