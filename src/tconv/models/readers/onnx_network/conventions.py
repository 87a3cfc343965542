"""Range of values and order of channels that an ONNX file states for its picture.

ONNX has names for both in the metadata of a model: Image.NominalPixelRange and Image.BitmapPixelFormat. Source:
https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md
"""

from __future__ import annotations

from typing import Any

from tconv.errors import FileError
from tconv.models.readers.onnx_graph import OnnxGraph

_RANGES = {
    "NominalRange_0_255": (0.0, 255.0),
    "Normalized_0_1": (0.0, 1.0),
    "Normalized_1_1": (-1.0, 1.0),
}
_FORMATS = {"Gray8": "RGB", "Rgb8": "RGB", "Srgb8": "RGB", "Bgr8": "BGR"}


def conventions_of(graph: OnnxGraph) -> dict[str, Any]:
    """Return `value_range` and `order` as far as the file states them. Raises FileError for others than are read."""
    stated: dict[str, Any] = {}
    properties = {str(key).lower(): str(value) for key, value in graph.model.metadata_props.items()}
    for key, name, table in (
        ("image.nominalpixelrange", "value_range", _RANGES),
        ("image.bitmappixelformat", "order", _FORMATS),
    ):
        given = properties.get(key)
        if given is None:
            continue
        known = {each.lower(): value for each, value in table.items()}
        if given.lower() not in known:
            raise FileError(f"its metadata has {key}={given!r}; {', '.join(table)} are read. Write one of those")
        stated[name] = known[given.lower()]
    if graph.inputs and graph.inputs[0].dtype == "uint8":
        stated.setdefault("value_range", (0.0, 255.0))
    return stated
