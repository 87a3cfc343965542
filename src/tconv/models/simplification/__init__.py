"""Equal networks that take less work: rules that readers of files apply to the nodes that they have read.

Each rule is a function from a list of nodes to a list of nodes; a new one is a file and a line in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tconv.models.layers import Node
from tconv.models.simplification.activations import fused_activations

RULES: tuple[Callable[[Sequence[Node]], list[Node]], ...] = (fused_activations,)
"""Rules, in the order in which they are applied."""


def simplified(nodes: Sequence[Node]) -> list[Node]:
    """Return an equal network, up to rounding, that takes less work. The last node is the output of both."""
    result = list(nodes)
    for rule in RULES:
        result = rule(result)
    return result
