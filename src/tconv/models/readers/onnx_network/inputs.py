"""Inputs and attributes of a node: pictures, constants, and numbers that are computed from sizes of the picture."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import shown
from tconv._arrays import Array
from tconv.errors import FileError, TconvError
from tconv.models.readers.onnx_graph import OnnxGraph, attributes_of, label
from tconv.models.readers.onnx_graph.constants import MemoryLimit, evaluated
from tconv.models.readers.onnx_graph.nodes import OWN, inner_graphs, names_in
from tconv.models.readers.onnx_network.builder import AboveLimit, GraphPicture, NetworkBuilder, Pictures, Sampled

_INTEGERS = names_in("strides pads dilations kernel_shape output_padding output_shape perm axes starts ends split")
_TYPES: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(_INTEGERS, (list, "integers")),
    **dict.fromkeys(("scales",), (list, "numbers")),
    **dict.fromkeys(
        ("group", "blocksize", "axis", "keepdims", "num_outputs", "ceil_mode", "transA", "transB"), (int, "an integer")
    ),
    **dict.fromkeys(("alpha", "beta", "gamma", "min", "max", "epsilon"), (float, "a number")),
    **dict.fromkeys(("auto_pad", "mode", "coordinate_transformation_mode", "nearest_mode"), (str, "text")),
}
"""Types of attributes, and their names in messages. `value` of Pad and axis lists of other types are read apart."""

ON_SIZES = names_in(
    "Abs Add And Cast CastLike Ceil Clip Concat Constant ConstantOfShape Div Equal Expand Flatten Floor Gather Greater "
    "GreaterOrEqual Identity Less LessOrEqual Max Min Mod Mul Neg Not Or Pad Pow Range Reciprocal ReduceMax ReduceMin "
    "ReduceProd ReduceSum Reshape Round ScatterND Shape Sign Size Slice Split Sqrt Squeeze Sub Sum Tile Transpose "
    "Unsqueeze Where Xor"
)
"""Operators that are run where they compute sizes."""
_MOST_BYTES = 1 << 20  # of numbers that are computed from sizes


class Refusal(NamedTuple):
    """Value that cannot be read; its error is raised where the value is needed."""

    error: TconvError


Value = GraphPicture | Sampled | Refusal | Pictures | AboveLimit


class NodeReader:
    """Values of a graph while it is read, and the network that grows from them."""

    def __init__(self, graph: OnnxGraph, builder: NetworkBuilder, sized: bool) -> None:
        self.graph, self.builder = graph, builder
        self.sized = sized
        """True for a file that states the size of its picture."""
        self.values: dict[Any, Value] = {}

    # -- sizes ---------------------------------------------------------------------------------------------------

    def on_sizes(self, node: Any) -> list[Value]:
        """Run a node that computes numbers from sizes or constants, for all samples."""
        if node.op_type not in ON_SIZES or node.domain not in OWN or next(inner_graphs(node), None) is not None:
            raise FileError(
                f"it has a node {label(node)} that computes with sizes or constants, by an operator that is not "
                f"followed there. Write a file in which that is computed"
            )
        absent = [each is None for each in node.inputs]
        inputs = [None if none else self.numbers(node, number) for number, none in enumerate(absent)]
        opset, limit = self.graph.constants.opset(node), MemoryLimit(_MOST_BYTES)
        made: dict[Any, list[Array]] = {}
        results: list[list[Array | None]] = [[] for _ in node.outputs]
        for number, alive in enumerate(self.builder.alive):
            arrays = [None if each is None else each.arrays[number] for each in inputs]
            lost = any(array is None and not none for array, none in zip(arrays, absent, strict=True))
            if not alive or lost:
                for each in results:
                    each.append(None)
                continue
            key = tuple(None if array is None else (array.dtype.str, array.shape, array.tobytes()) for array in arrays)
            if key not in made:
                made[key] = evaluated(node, arrays, opset, limit)
            for each, array in zip(results, made[key], strict=False):
                each.append(array)
        return [Sampled(tuple(each)) for each in results if len(each) == len(self.builder.alive)]

    def numbers(self, node: Any, number: int) -> Sampled:
        """Return an input that is no picture for all samples."""
        value = node.inputs[number]
        made = self.values.get(value)
        if isinstance(made, Sampled):
            return made
        stored = self.graph.constant(value)
        if stored is None:
            raise FileError(f"{label(node)} reads {value.name!r}, which is not an output of a node before it")
        if math.prod(stored.shape) * 8 > _MOST_BYTES:
            raise FileError(f"{label(node)} reads {value.name!r}, a constant of {stored.shape}, to compute sizes")
        return Sampled((stored.read(),) * len(self.builder.alive))

    def sampled(self, node: Any, number: int, name: str = "") -> tuple[list[Array], list[int]]:
        """Return the arrays of an input, or of an attribute of older operators, and the samples at which they hold.

        Constants of a file that states the size of its picture hold for that size only.
        """
        numbers = [place for place, alive in enumerate(self.builder.alive) if alive]
        if name and not self.has(node, number):
            given = self.attributes(node).get(name)
            if given is None:
                raise FileError(f"{label(node)} has no {name}, which it needs")
            return self._fixed(np.asarray(given), numbers)
        value = self.required(node, number)
        made = self.values.get(value)
        if isinstance(made, GraphPicture):
            raise FileError(f"{label(node)} reads {value.name!r}, which is computed from the picture's colours")
        if isinstance(made, Sampled):
            numbers = [place for place in numbers if made.arrays[place] is not None]
            arrays = [array for place in numbers if (array := made.arrays[place]) is not None]
            if not arrays:
                raise FileError(f"{label(node)} reads {value.name!r}, which has no numbers")
            if not all(array.shape == arrays[0].shape for array in arrays):
                raise FileError(f"{label(node)} reads {value.name!r}, whose number of axes depends on the size")
            if self.sized and all(np.array_equal(array, arrays[0]) for array in arrays):
                return self._fixed(arrays[0], numbers)
            return arrays, numbers
        return self._fixed(self.constant(node, number), numbers)

    def _fixed(self, array: Array, numbers: list[int]) -> tuple[list[Array], list[int]]:
        if self.sized:
            if 0 not in numbers:
                raise FileError(f"it states a picture of {self.builder.sizes[0][0]}, which its own layers do not take")
            return [array], [0]
        return [array] * len(numbers), numbers

    # -- inputs and attributes of a node -------------------------------------------------------------------------

    def attributes(self, node: Any) -> dict[str, Any]:
        """Return the attributes of a node. Raises FileError for one of the wrong type."""
        attributes = attributes_of(node)
        for name, value in attributes.items():
            kind, needed = _TYPES.get(name, (object, ""))
            entry = int if needed == "integers" else float
            if not isinstance(value, kind) or (kind is list and not all(isinstance(part, entry) for part in value)):
                raise FileError(f"{label(node)} has {name}={shown(value)}, where {needed} should be")
        return attributes

    def has(self, node: Any, number: int) -> bool:
        """Return True for an input that is given."""
        return number < len(node.inputs) and node.inputs[number] is not None

    def required(self, node: Any, number: int) -> Any:
        """Return an input of a node. Raises FileError if it has fewer inputs."""
        if not self.has(node, number):
            raise FileError(f"{label(node)} has no input {number}, which it needs")
        return node.inputs[number]

    def is_picture(self, node: Any, number: int) -> bool:
        """Return True for an input that is computed from the picture."""
        return isinstance(self.values.get(self.required(node, number)), GraphPicture)

    def picture(self, node: Any, number: int = 0) -> GraphPicture:
        """Return an input that is a picture. Raises FileError for any other."""
        value = self.required(node, number)
        made = self.values.get(value)
        if isinstance(made, GraphPicture):
            return made
        if isinstance(made, Refusal):
            raise made.error
        is_constant = value in self.graph.constants or isinstance(made, Sampled)
        what = "a constant" if is_constant else "not an output of a node before it"
        raise FileError(f"{label(node)} reads {value.name!r}, which is {what}")

    def place(self, node: Any, number: int = 0) -> int:
        """Return the place of an input with the axes [N, C, H, W]. Raises FileError for any other."""
        picture = self.picture(node, number)
        if picture.labels != "NCHW":
            raise FileError(
                f"{label(node)} reads {node.inputs[number].name!r}, whose axes are {picture.shape} of the picture's; "
                "[N, C, H, W] are needed. Transposes and reshapes are followed to a depth to space, to its reverse and "
                "to another order of the channels; windows, tokens and heads of attention are not read"
            )
        return picture.place

    def constant(self, node: Any, number: int) -> Array:
        """Return an input that is a constant, or computed from sizes with one result for all."""
        value = self.required(node, number)
        made = self.values.get(value)
        if isinstance(made, Sampled):
            arrays = [array for array in made.arrays if array is not None]
            if arrays and all(np.array_equal(array, arrays[0]) for array in arrays):
                return arrays[0]
            raise FileError(f"{label(node)} reads {value.name!r}, which depends on the size of the picture")
        stored = self.graph.constant(value)
        if stored is None:
            known = made is not None or value in self.graph.constants
            what = "computed from the picture" if known else "not an output of a node before it"
            raise FileError(f"{label(node)} reads {value.name!r}, which is {what}; a constant is needed")
        return stored.read()

    def floats(self, node: Any, number: int) -> Array:
        """Return an input that is a finite constant as float32. Raises FileError."""
        value = self.required(node, number)
        shape: tuple[int, ...]
        if isinstance(self.values.get(value), Sampled):
            array = self.constant(node, number)
            stored_dtype, shape = array.dtype.name, array.shape
        else:
            stored = self.graph.constant(value)
            if stored is None and value not in self.values and value.producer() is None:
                raise FileError(f"{label(node)} reads {value.name!r}, which is not an output of a node before it")
            if stored is None:
                raise FileError(
                    f"{label(node)} computes its weight {value.name!r} from the picture; a constant, or a computation "
                    "from constants, is needed"
                )
            stored_dtype, shape, array = stored.dtype, stored.shape, np.zeros(0)
        if not stored_dtype.startswith(("float", "bfloat")) or 0 in shape:
            raise FileError(f"{value.name!r} has dtype {stored_dtype or 'string'} and shape {shape}; floats are needed")
        if not array.size:
            assert stored is not None
            array = stored.read()
        if stored_dtype in ("float16", "bfloat16"):
            self.builder.note(f"its numbers are {stored_dtype}; the network runs in float32")
        with np.errstate(over="ignore"):
            weight = array.astype(np.float32)
        if not np.isfinite(weight).all():
            raise FileError(f"{value.name!r} contains inf or NaN; finite floats are needed")
        return weight

    def integers(self, node: Any, number: int, name: str) -> list[int] | None:
        """Return an input of integers, or the attribute of older operators; None if neither is given."""
        if self.has(node, number):
            array = self.constant(node, number)
            if array.dtype.kind not in "iu":
                raise FileError(f"{label(node)} has {name} of dtype {array.dtype}; integers are needed")
            return [int(each) for each in array.ravel()]
        given = self.attributes(node).get(name)
        return None if given is None else [int(each) for each in given]
