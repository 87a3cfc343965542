"""Choices between two pictures by a comparison, where they are an activation that is written out.

PyTorch's softplus is x above a threshold of 20, where both are equal in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.builder import AboveLimit, GraphPicture
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.arithmetic import Affine
from tconv.models.steps.pointwise import Pointwise

_LEAST_THRESHOLD = 17
"""Threshold from which on softplus(x) and x are equal in float32."""


def _greater(reader: NodeReader, node: Any) -> AboveLimit:
    picture, limit = reader.picture(node, 0), reader.floats(node, 1)
    if limit.size != 1:
        raise FileError(f"{label(node)} compares the picture with {limit.shape} numbers; one number is needed")
    return AboveLimit(picture, float(limit.item()))


def _where(reader: NodeReader, node: Any) -> GraphPicture:
    mask = reader.values.get(reader.required(node, 0))
    refusal = FileError(
        f"{label(node)} chooses between two pictures for each pixel; only a softplus that is written so is read. Write "
        "an activation such as relu"
    )
    if not isinstance(mask, AboveLimit) or not all(reader.is_picture(node, number) for number in (1, 2)):
        raise refusal
    above, below = reader.picture(node, 1), reader.picture(node, 2)
    place, nodes = below.place, reader.builder.nodes
    if place and isinstance(nodes[place - 1].step, Affine):  # divided by beta
        (place,) = nodes[place - 1].inputs
    step = nodes[place - 1].step if place else None
    scaled = mask.picture.place
    source = nodes[scaled - 1].inputs[0] if scaled and isinstance(nodes[scaled - 1].step, Affine) else scaled
    is_softplus = isinstance(step, Pointwise) and step.activation == "softplus" and nodes[place - 1].inputs == (scaled,)
    if not is_softplus or above.place not in (source, scaled) or mask.limit < _LEAST_THRESHOLD:
        raise refusal
    return below


OPERATORS: dict[str, Callable[[NodeReader, Any], Any]] = {"Greater": _greater, "Where": _where}
"""Operators of this family."""
