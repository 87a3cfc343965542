"""Equal networks that take less work: rules that readers of files apply to the nodes that they have read.

A rule is a function of a `Graph` and the number of a node. It changes the graph around that node, if it applies there,
and returns True if it did. A new one is a file and a line in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tconv.models.layers import Node
from tconv.models.simplification.activations import fused_activation
from tconv.models.simplification.graph import Graph, graph_of

RULES: tuple[Callable[[Graph, int], bool], ...] = (fused_activation,)
"""Rules, in the order in which they are applied."""

_MOST_SWEEPS = 20
"""Sweeps over all nodes; rules make nodes fewer or cheaper, so a handful is enough."""


def simplified(nodes: Sequence[Node]) -> list[Node]:
    """Return an equal network, up to rounding, that takes less work. The last node is the output of both.

    Nodes that nobody reads are dropped. Nodes that do not fit each other are returned as they are: `Network` refuses
    them.

    >>> import numpy as np
    >>> from tconv.models import Convolution
    >>> from tconv.models.steps.pointwise import Pointwise
    >>> layer = Convolution.ordinary(np.ones((8, 3, 3, 3), np.float32), padding=1)
    >>> [node.step.activation for node in simplified([Node(layer, (0,)), Node(Pointwise("relu"), (1,))])]
    ['relu']
    """
    graph = graph_of(nodes)
    if graph is None:
        return list(nodes)
    for _ in range(_MOST_SWEEPS):
        changed = False
        for rule in RULES:
            for number in graph.numbers():
                changed |= number in graph and rule(graph, number)
        if not changed:
            break
    return graph.nodes()
