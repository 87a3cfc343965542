"""Base of the steps that change the graph around a layer, not the layer alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from tconv.errors import RewriteError
from tconv.models.inventory.model_layer import ModelLayer
from tconv.onnx.model_file import ModelFile


class StepError(RewriteError):
    """A step that does not apply to a layer, or would not be exact there; the message is the reason."""


@dataclass(frozen=True)
class PlacedLayer:
    """A layer of the inventory, and its node in the graph that is changed."""

    layer: ModelLayer
    node: Any

    @property
    def name(self) -> str:
        """Name of the layer, for texts and for the names of new nodes."""
        return self.layer.name or str(self.node.outputs[0].name)


class GraphStep(ABC):
    """One step on the graph around a layer."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """Effect in one line, for a plan."""
    exact: ClassVar[str] = "the same numbers"
    """Exactness in words: the same numbers, or equal up to rounding."""

    @abstractmethod
    def apply(self, file: ModelFile, placed: PlacedLayer) -> tuple[PlacedLayer, str]:
        """Change the graph; return the layer as it is now, and the change in words. Raises StepError."""


def remove_unused(node: Any) -> None:
    """Remove a node if nothing reads its outputs, then the nodes and initializers that only it has read."""
    if node is None or node.graph is None or any(value.uses() or value.is_graph_output() for value in node.outputs):
        return
    sources = [value for value in node.inputs if value is not None]
    graph = node.graph
    graph.remove(node, safe=True)
    for value in sources:
        remove_unused_value(value)


def remove_unused_value(value: Any) -> None:
    """Remove an initializer, or the node that computes a value, if nothing reads it."""
    if value is None or value.uses() or value.is_graph_output() or value.is_graph_input():
        return
    if value.producer() is not None:
        remove_unused(value.producer())
    elif value.is_initializer():
        del value.graph.initializers[value.name]
