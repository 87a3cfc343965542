"""Inventory of a TensorFlow SavedModel: a folder with saved_model.pb, and the checkpoint in variables/.

Transposed convolutions are Conv2DBackpropInput, Conv3DBackpropInputV2 and their other versions, and Conv2D before
DepthToSpace. Neither TensorFlow nor any function of the model is needed or run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tconv._arguments import sizes_text
from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInput, ModelInventory, ModelLayer, Size, StoredArray
from tconv.models.inventory.operation_graph import Operation, OperationGraph
from tconv.models.inventory.other_forms import OrdinaryConvolution, of_depth_to_space, same_pads
from tconv.models.inventory.size_arithmetic import Formula, SizeArithmetic
from tconv.models.inventory.size_names import SizeNames
from tconv.models.inventory.tensorflow_constants import TensorflowConstants
from tconv.models.inventory.tensorflow_graph import Found, Scope, TensorflowGraph
from tconv.models.readers import saved_model
from tconv.models.readers.saved_model import GraphNode, SavedModelGraph
from tconv.models.readers.tensorflow_checkpoint import DTYPES, shape_of

_TRANSPOSED = {
    "Conv2DBackpropInput": 2,
    "Conv2DBackpropInputV2": 2,
    "Conv3DBackpropInput": 3,
    "Conv3DBackpropInputV2": 3,
}
_HIDDEN = ("XlaCallModule", "DepthwiseConv2dNativeBackpropInput", "XlaConvV2", "XlaConv")
_FORMATS = {2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}
_BATCHNORM = ("", "scale", "B", "mean", "var")
_ROLES = {"BiasAdd": ("", "bias"), "Pad": ("", "paddings"), "PadV2": ("", "paddings", "constant_values")}
_NUMBERS = ("epsilon", "alpha")


def read(folder: Path) -> ModelInventory:
    """Return the inventory of a SavedModel. Nothing is run. Raises FileError."""
    model = saved_model.read(folder)
    try:
        return _Model(folder.name, model).inventory()
    except FileError as error:
        raise FileError(f"{folder} cannot be read: {error}. Write it again") from None


class _Model:
    def __init__(self, name: str, model: SavedModelGraph) -> None:
        self._name, self._model = name, model
        self._graph = TensorflowGraph(model)
        self._constants = TensorflowConstants(model, self._graph)
        self._names = SizeNames()
        self._found: dict[str, Found] = {}
        self._nodes = list(self._graph.operations())
        self._operations = OperationGraph([self._operation(scope, node) for scope, _, node in self._nodes])

    def _lead(self, scope: Scope, reference: str) -> Found:
        found = self._graph.find(scope, reference)
        self._found.setdefault(found.key, found)
        return found

    def _operation(self, scope: Scope, node: GraphNode) -> Operation:
        roles = _BATCHNORM if node.op.startswith("FusedBatchNorm") else _ROLES.get(node.op, ())
        inputs: list[str] = []
        constants: dict[str, StoredArray] = {}
        attributes: dict[str, Any] = {
            name: node.integers(name)
            for name in ("strides", "dilations", "block_size", "axis", "ksize")
            if name in node.attributes
        }
        attributes |= {name: node.text(name) for name in ("padding", "data_format") if node.text(name)}
        for name in _NUMBERS:
            if name in node.attributes and len(found := node.attributes[name].packed(4, "<f4")):
                attributes[name] = float(found[-1])
        for at, reference in enumerate(node.inputs):
            lead = self._lead(scope, reference)
            constant = self._constants.find(lead)
            if constant is None:
                inputs.append(lead.key)
                continue
            role = (roles[at] if at < len(roles) else "") or "other"
            role = role if role not in constants else f"input {at}"
            constants[role] = constant
            few = self._constants.integers(lead)
            if few is not None:
                attributes[role] = few
        return Operation(node.op, node.name, tuple(inputs), (f"{scope.prefix}{node.name}",), attributes, constants)

    def inventory(self) -> ModelInventory:
        """Return the inventory."""
        layers, hidden = [], set()
        for scope, at, node in self._nodes:
            if node.op in _TRANSPOSED and len(node.inputs) == 3:
                layers.append(self._transposed(scope, at, node))
            elif node.op == "Conv2D" and len(node.inputs) == 2 and (made := self._shuffled(scope, at, node)):
                layers.append(made)
            elif node.op in _HIDDEN:
                hidden.add(node.op)
        limitations = list(self._model.limitations)
        if hidden:
            text = ", ".join(sorted(hidden))
            limitations.append(f"It has the operations {text}, in which transposed convolutions are not looked for")
        chosen = self._model.signatures.get("serving_default") or next(iter(self._model.signatures.values()), ())
        ends = [(ModelInput(name, _sizes(shape), kind), is_input) for name, kind, shape, is_input in chosen]
        return ModelInventory(
            source=self._name,
            format="SavedModel",
            layers=tuple(layers),
            producer=f"TensorFlow {self._model.version}".strip(),
            version=", ".join(sorted(self._model.signatures))[:200],
            inputs=tuple(end for end, is_input in ends if is_input),
            outputs=tuple(end for end, is_input in ends if not is_input),
            operations=self._operations.counts,
            limitations=tuple(limitations),
        )

    # -- shapes -------------------------------------------------------------------------------------------------

    def _shape(self, found: Found, ndim: int, last: bool) -> tuple[Size, ...] | None:
        """Return the shape of a value that a layer reads, with names for the sizes that vary."""
        node, stated = found.node, found.shape
        if node is not None:
            stated = node.output_shape()
            if stated is None and "shape" in node.attributes:
                stated = shape_of(node.attributes["shape"].message(7))
        if stated is None or len(stated) != ndim + 2:
            return None
        return self._names.named(found.key, stated, last)

    def _large(self, scope: Scope, reference: str, x: Found, x_shape: tuple[Size, ...] | None) -> list[Size] | None:
        """Return the sizes in input_sizes, as far as they follow from constants and from the sizes of x."""

        def formula(value: Any) -> Formula | None:
            found = self._found.get(value)
            if found is None or found.node is None or found.scope is None:
                return None
            node, inner = found.node, found.scope
            masks = {name: (node.integers(name) or [0])[0] for name in node.attributes if name.endswith("_mask")}
            return Formula(node.op, [self._lead(inner, each).key for each in node.inputs], masks)

        def shape(value: Any) -> list[Size] | None:
            found = self._found.get(value)
            if found is None:
                return None
            if value == x.key:
                return None if x_shape is None else list(x_shape)
            stated = found.shape if found.node is None else found.node.output_shape()
            return None if stated is None or min(stated, default=0) < 0 else list(stated)

        found = self._lead(scope, reference)
        return SizeArithmetic(formula, lambda value: self._constants.terms(self._found[value]), shape)(found.key)

    # -- layers -------------------------------------------------------------------------------------------------

    def _transposed(self, scope: Scope, at: int, node: GraphNode) -> ModelLayer:
        ndim = _TRANSPOSED[node.op]
        form = node.text("data_format") or _FORMATS[ndim][0]
        last = form == _FORMATS[ndim][0]
        arguments: dict[str, Any] = {
            "strides": _spatial(node.integers("strides"), ndim, last),
            "padding": node.text("padding") or "SAME",
        }
        if arguments["padding"] == "EXPLICIT":
            flat = node.integers("explicit_paddings")
            arguments["padding"] = [flat[place : place + 2] for place in range(0, len(flat), 2)]
        dilations = _spatial(node.integers("dilations"), ndim, last)
        if dilations != [1] * ndim:
            arguments["dilations"] = dilations
        if not last:
            arguments["data_format"] = form
        sizes, weight, x = node.inputs
        source = self._lead(scope, x)
        x_shape = self._shape(source, ndim, last)
        found = self._constants.find(self._lead(scope, weight))
        limitations = []
        if found is None:
            limitations.append("Its filter is computed when the model runs, or its variable is not in the checkpoint")
        elif len(found.shape) != ndim + 2:
            limitations.append(f"Its filter has the shape {found.shape}; {ndim + 2} axes are needed")
            found = None
        large = self._large(scope, sizes, source, x_shape)
        if (
            large is not None and len(large) == ndim and x_shape is not None
        ):  # Conv2DBackpropInput takes the sizes alone
            large = [
                x_shape[0] if isinstance(x_shape[0], int) else None,
                *large,
                None if found is None else found.shape[-2],
            ]
        shape = tuple(large) if large is not None and len(large) == ndim + 2 else None
        constant = self._constants.integers(self._lead(scope, sizes)) is not None
        origin = "input_sizes" if constant else f"input_sizes {sizes_text(shape or ())}, computed in the graph"
        inner = None if shape is None else shape[1:-1] if last else shape[2:]
        if shape is not None and inner is not None and all(isinstance(size, int) for size in inner):
            arguments["output_shape"] = [size if isinstance(size, int) else -1 for size in shape]
        elif shape is None:
            limitations.append(
                "Its input_sizes are computed in the graph, in a way that is not followed; the usual size is assumed"
            )
        x_shape = _with_channels(x_shape, found, last)
        if shape is not None and found is not None and "output_shape" not in arguments:
            channels = shape[-1 if last else 1]
            if isinstance(channels, int) and channels > found.shape[-2] > 0:
                arguments["groups"] = channels // found.shape[-2]
        return ModelLayer(
            op=node.op,
            dialect="tensorflow",
            arguments=arguments,
            weight=found,
            input_shape=x_shape,
            output_shape=shape,
            crop_origin=f"padding {node.text('padding') or 'SAME'} and {origin}",
            limitations=tuple(limitations),
            **self._common(scope, at, node, source.key, f"{scope.prefix}{node.name}"),
        )

    def _common(self, scope: Scope, at: int, node: GraphNode, x: str, y: str) -> dict[str, Any]:
        kind = node.attributes["T"].integer(6) if "T" in node.attributes else 1
        return {
            "name": node.name,
            "place": f"node {at} of {len(scope.nodes)}{scope.title}",
            "dtype": DTYPES.get(kind, "float32"),
            "before": self._operations.before(x),
            "after": self._operations.after(y),
            "location": {"node": node.name, "function": scope.function.name if scope.function else ""},
        }

    def _shuffled(self, scope: Scope, at: int, node: GraphNode) -> ModelLayer | None:
        """Return a convolution before DepthToSpace as the transposed convolution that it is."""
        y, bias = f"{scope.prefix}{node.name}", None
        reader = self._operations.only_reader(y)
        if reader is not None and reader.op in ("BiasAdd", "AddV2", "Add") and len(reader.constants) == 1:
            (bias,) = reader.constants.values()
            reader = self._operations.only_reader(reader.outputs[0])
        if reader is None or reader.op != "DepthToSpace":
            return None
        last = node.text("data_format") in ("", "NHWC")
        weight = self._constants.find(self._lead(scope, node.inputs[1]))
        strides = _spatial(node.integers("strides"), 2, last)
        dilations = _spatial(node.integers("dilations"), 2, last)
        padding, block = node.text("padding"), reader.attributes.get("block_size", [0])[0]
        form = reader.attributes.get("data_format", "NHWC")
        if weight is None or len(weight.shape) != 4 or strides != [1, 1] or padding not in ("SAME", "VALID"):
            return None
        if form != ("NHWC" if last else "NCHW") or not 1 < block < 1 << 16 or min(dilations) < 1:
            return None
        if not all(weight.shape) or (bias is not None and bias.shape != weight.shape[-1:]):
            return None
        source = self._lead(scope, node.inputs[0])
        x = _with_channels(self._shape(source, 2, last), None, last)
        channels = x[-1 if last else 1] if x else None
        groups, rest = divmod(channels, weight.shape[2]) if isinstance(channels, int) else (1, 0)
        if rest:
            return None
        unknown = "The channels of its input are not told; one group is assumed"
        pads = same_pads(weight.shape[:2], dilations) if padding == "SAME" else [(0, 0)] * 2
        given = OrdinaryConvolution("tensorflow", weight, bias, pads, tuple(dilations), groups)
        made = of_depth_to_space(given, (block, block), "DCR")
        if made is None:
            return None
        return ModelLayer(
            op="Conv2D + DepthToSpace",
            dialect="torch",
            arguments=made.arguments,
            weight=made.weight,
            bias=made.bias,
            form="convolution and depth to space",
            input_shape=(x[0], x[-1], *x[1:-1]) if x and last else x,
            crop_origin=f"padding {padding} of the convolution",
            limitations=(*([] if isinstance(channels, int) else [unknown]), *made.limitations),
            **self._common(scope, at, node, source.key, reader.outputs[0]),
        )


def _sizes(shape: tuple[int, ...] | None) -> tuple[Size, ...] | None:
    return None if shape is None else tuple(size if size >= 0 else None for size in shape)


def _spatial(numbers: list[int], ndim: int, last: bool) -> list[int]:
    """Return the spatial entries of strides or dilations. Raises FileError for another number of entries."""
    if not numbers:
        return [1] * ndim
    if len(numbers) != ndim + 2:
        raise FileError(f"a convolution has strides or dilations {numbers[:9]}; {ndim + 2} entries are needed")
    return numbers[1:-1] if last else numbers[2:]


def _with_channels(shape: tuple[Size, ...] | None, weight: StoredArray | None, last: bool) -> tuple[Size, ...] | None:
    if shape is None or weight is None:
        return shape
    at = len(shape) - 1 if last else 1
    return (*shape[:at], weight.shape[-1] if shape[at] is None else shape[at], *shape[at + 1 :])
