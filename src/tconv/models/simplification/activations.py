"""Activations that the convolutions before them apply as they write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tconv.models.layers import Convolution, Node
from tconv.models.steps.pointwise import Pointwise


def fused_activations(nodes: Sequence[Node]) -> list[Node]:
    """Return an equal network whose convolutions apply the activations behind them, where nothing else reads them."""
    readers = Counter(place for node in nodes for place in node.inputs)
    places: dict[int, int] = {0: 0}
    result: list[Node] = []
    for number, node in enumerate(nodes, 1):
        inputs = tuple(places[place] for place in node.inputs)
        before = result[inputs[0] - 1].step if inputs[0] else None
        if (
            isinstance(node.step, Pointwise)
            and node.step.activation != "sigmoid"
            and isinstance(before, Convolution)
            and before.activation is None
            and readers[node.inputs[0]] == 1
            and (number < len(nodes) or inputs[0] == len(result))  # the last node is the output
        ):
            result[inputs[0] - 1] = result[inputs[0] - 1]._replace(
                step=replace(before, activation=node.step.activation)
            )
            places[number] = inputs[0]
        else:
            result.append(Node(node.step, inputs))
            places[number] = len(result)
    return result
