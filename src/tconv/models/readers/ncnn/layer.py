"""A layer of a .param file while it is read: its inputs, its numbers, and the nodes that it becomes.

ncnn's values have one to four axes. Pictures [C, H, W] have three; a vector [C], as a mean over the picture is, has
one, and is [C, 1, 1] in tconv's networks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, ShapeError
from tconv.models.layers import Node
from tconv.models.readers.ncnn.param_file import Line
from tconv.models.readers.ncnn.stored_weights import Section


class LayerOutput(NamedTuple):
    """Output of a layer: of a node, or a constant of the file."""

    place: int
    """Number of the node, 0 for the input."""
    channels: int
    axes: int = 3
    """3 for pictures, 1 for vectors."""
    single: bool = False
    """True if it has one pixel, whatever the size of the picture."""
    constant: Array | None = None


class NcnnLayer:
    """One line, with the values that it reads; `add` appends nodes to the network."""

    def __init__(self, line: Line, inputs: list[LayerOutput], stored: dict[str, Section], nodes: list[Node]) -> None:
        self.line, self.inputs, self._stored, self._nodes = line, inputs, stored, nodes

    def refusal(self, reason: str) -> FileError:
        """Return the error for something that is not read; the reason ends with what is."""
        return FileError(f"{self.line.name} is a {self.line.kind} {reason}")

    def add(self, step: Any, *inputs: LayerOutput, axes: int | None = None, single: bool | None = None) -> LayerOutput:
        """Append a node; its output has the axes of its inputs, and is single if all of them are."""
        try:
            channels = step.output_channels([value.channels for value in inputs])
        except ShapeError as error:
            raise FileError(f"{self.line.name}: {error}") from None
        self._nodes.append(Node(step, tuple(value.place for value in inputs)))
        return LayerOutput(
            len(self._nodes),
            channels,
            max(value.axes for value in inputs) if axes is None else axes,
            all(value.single for value in inputs) if single is None else single,
        )

    def values(self, count: int | None = None) -> list[LayerOutput]:
        """Return the inputs, which are computed. Raises FileError for another count, and for constants."""
        if not self.inputs or (count is not None and len(self.inputs) != count):
            needed = "1 or more are" if count is None else f"{count} {'is' if count == 1 else 'are'}"
            raise self.refusal(f"of {len(self.inputs)} inputs; {needed} needed")
        if any(value.constant is not None for value in self.inputs):
            raise self.refusal("that reads a constant; values that are computed from the picture are needed")
        return self.inputs

    def value(self) -> LayerOutput:
        """Return the only input."""
        return self.values(1)[0]

    def picture(self) -> LayerOutput:
        """Return the only input, which has height and width. Raises FileError for a vector."""
        value = self.value()
        if value.axes != 3:
            raise self.refusal("of a vector, as a mean over the picture is; a picture with height and width is needed")
        return value

    def floats(self, role: str) -> Array | None:
        """Return stored numbers in float32, None if the layer stores none. Raises FileError for inf and NaN.

        int8 weights are divided by their scales.
        """
        section = self._stored.get(role)
        if section is None:
            return None
        taken = section.read()
        if section.dtype == "int8":
            taken = self._dequantized(taken)
        if not np.isfinite(taken).all():
            raise FileError(f"{self.line.name} has weights with inf or NaN")
        return taken

    def _dequantized(self, stored: Array) -> Array:
        scales = self._stored.get("weight scales")
        if scales is None:
            raise self.refusal(
                "with int8 weights and no scales for them; keys that say how they were scaled are needed"
            )
        factors = scales.read()
        if not (np.isfinite(factors) & (factors != 0)).all():
            raise FileError(f"{self.line.name} has int8 weights with a scale of 0, inf or NaN")
        if len(stored) % len(factors):
            raise FileError(f"{self.line.name} has {len(stored)} int8 weights and {len(factors)} scales for them")
        return (stored.reshape(len(factors), -1) / factors[:, None]).astype(np.float32).ravel()

    def required(self, role: str) -> Array:
        """Return stored numbers in float32. Raises FileError if the layer stores none."""
        found = self.floats(role)
        if found is None:
            raise self.refusal(f"without a {role} in the file; one is needed")
        return found


def per_channel(numbers: Array) -> Array:
    """Return numbers [C] as [C, 1, 1]."""
    return numbers.reshape(-1, 1, 1)
