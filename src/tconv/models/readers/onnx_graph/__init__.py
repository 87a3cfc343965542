"""Reader of ONNX files, without running them: nodes, constants (stored or computed from stored ones), and shapes.

`open_graph` returns an `OnnxGraph`. Inventories, networks that tconv runs and traces are read through it.
"""

from tconv.models.readers.onnx_graph.graph import OnnxGraph, PlacedNode, open_graph
from tconv.models.readers.onnx_graph.loading import damaged
from tconv.models.readers.onnx_graph.nodes import attributes_of, input_of, is_onnx, label
from tconv.models.readers.onnx_graph.shape_rules import transposed_shape

__all__ = [
    "OnnxGraph",
    "PlacedNode",
    "attributes_of",
    "damaged",
    "input_of",
    "is_onnx",
    "label",
    "open_graph",
    "transposed_shape",
]
