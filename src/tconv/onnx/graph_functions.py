"""Functions that give the outputs of an ONNX graph and are at most 1 by construction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tconv.models.traces.bounded import function_behind


def output_functions(path: Path) -> list[str]:
    """Return the function that each output of a file comes from, "Sigmoid" for example; "" for none."""
    import onnx  # here, because it is optional

    graph = onnx.load(str(path), load_external_data=False).graph
    makers = {name: (node.op_type, list(node.input)) for node in graph.node for name in node.output}

    def maker(name: int | str) -> tuple[str, Sequence[int | str]] | None:
        return makers.get(str(name))

    return [function_behind(output.name, maker) for output in graph.output]
