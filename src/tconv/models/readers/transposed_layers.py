"""Reader of the transposed convolutions in ONNX models, TorchScript files, exported PyTorch programs and Keras models.

Each becomes a `FileLayer`: weight, native arguments, and a function that runs this layer alone on its runtime.
`tconv diagnose` compares them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.errors import ArgumentError, FileError, MissingExtraError, TconvError
from tconv.models.readers.torch_archive import reason_against
from tconv.operator.functional import conv_transpose

OnnxRunner = Callable[[Any, dict[str, Array]], list[Array]]
"""Function from an ONNX model and its inputs by name to its outputs."""


class FileLayer(NamedTuple):
    """One transposed convolution of a network."""

    name: str
    dialect: str
    arguments: dict[str, Any]
    """Native arguments of the dialect."""
    weight: Array
    bias: Array | None
    run: Callable[[Array], Array]
    """Function from x to y, both [N, C, *spatial] in any data layout of the network."""

    @property
    def in_channels(self) -> int:
        """C_in."""
        layout = dialect(self.dialect).weight_layout(self.weight.ndim - 2)
        groups = self.arguments.get("group", 1) if layout.grouped == "O" else 1
        return layout.sizes(self.weight.shape)["I"] * int(groups)

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return self.weight.ndim - 2


# -- ONNX -------------------------------------------------------------------------------------------------------------


def _onnxruntime(model: Any, feeds: dict[str, Array]) -> list[Array]:
    try:
        import onnxruntime
    except ImportError:
        raise FileError("onnxruntime is not installed. Write: pip install onnxruntime") from None
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, feeds)]


def _openvino(model: Any, feeds: dict[str, Array]) -> list[Array]:
    try:
        import openvino
    except ImportError:
        raise FileError("openvino is not installed. Write: pip install openvino") from None
    import io

    compiled = openvino.compile_model(openvino.Core().read_model(io.BytesIO(model.SerializeToString())), "CPU")
    return [np.asarray(y) for y in compiled(feeds).values()]


def _reference(model: Any, feeds: dict[str, Array]) -> list[Array]:
    import onnx.reference

    return [np.asarray(y) for y in onnx.reference.ReferenceEvaluator(model).run(None, feeds)]


def _tconv(model: Any, feeds: dict[str, Array]) -> list[Array]:
    """Run a model of one node by conv_transpose, which follows the specification."""
    import onnx

    (node,) = model.graph.node
    values = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer} | feeds
    x, weight, *bias = [values[name] for name in node.input if name]
    return [np.asarray(conv_transpose(x, weight, *bias, dialect="onnx", **attributes(node)))]


RUNTIMES: dict[str, OnnxRunner] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "reference": _reference,
    "tconv": _tconv,
}
"""Runners of an ONNX node by name; "reference" is ONNX's own evaluator, "tconv" is conv_transpose."""


def runtime(name: str) -> OnnxRunner:
    """Return the runner of this name. Raises ArgumentError."""
    if name not in RUNTIMES:
        raise ArgumentError(f"--runtimes names {name!r}; there are {', '.join(RUNTIMES)}. Write two of them")
    return RUNTIMES[name]


def attributes(node: Any) -> dict[str, Any]:
    """Return a node's attributes as native arguments."""
    import onnx

    values = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def of_onnx(path: Path, run_model: OnnxRunner) -> list[FileLayer]:
    """Return the ConvTranspose nodes of a model. Raises FileError, MissingExtraError."""
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("a .onnx file", "onnx", "onnx") from None
    try:
        model = onnx.load(path)
        graph = model.graph
    except FileNotFoundError:
        raise FileError(f"{path} does not exist. Write the name of an existing file") from None
    except Exception as error:  # protobuf raises many types for bytes that are not a model
        raise FileError(f"{path} is damaged or not an ONNX model: {error}. Write onnx.save(model, name)") from None
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and "value" in (given := attributes(node)):
            constants[node.output[0]] = onnx.numpy_helper.to_array(given["value"])
    nodes = [node for node in graph.node if node.op_type == "ConvTranspose"]
    return [_onnx_layer(path, model, node, constants, run_model) for node in nodes]


def _onnx_layer(path: Path, model: Any, node: Any, constants: dict[str, Array], run_model: Any) -> FileLayer:
    import onnx

    name = node.name or node.output[0]
    if any(each not in constants for each in node.input[1:] if each):
        raise FileError(
            f"{path}: the weight of ConvTranspose {name!r} is computed by the model; a constant is needed. "
            "Write a model with folded constants"
        )
    weight = constants[node.input[1]]
    bias = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else None
    alone = onnx.helper.make_node("ConvTranspose", ["x", "weight", *(["bias"] if bias is not None else [])], ["y"])
    alone.attribute.extend(node.attribute)
    stored = [onnx.numpy_helper.from_array(weight, "weight")]
    stored += [onnx.numpy_helper.from_array(bias, "bias")] if bias is not None else []
    kind = onnx.helper.np_dtype_to_tensor_dtype(weight.dtype)

    def run(x: Array) -> Array:
        first, last = (
            onnx.helper.make_tensor_value_info(label, kind, shape) for label, shape in (("x", x.shape), ("y", None))
        )
        graph = onnx.helper.make_graph([alone], "layer", [first], [last], stored)
        opsets = [each for each in model.opset_import if each.domain in ("", "ai.onnx")]
        single = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=min(model.ir_version, 10))
        try:
            y: Array = run_model(single, {"x": x.astype(weight.dtype)})[0]
            return y
        except TconvError:
            raise
        except Exception as error:  # each runtime has its own types
            raise FileError(f"{path}: the runtime fails on ConvTranspose {name!r}: {str(error)[:300]}") from None

    return FileLayer(name, "onnx", attributes(node), weight, bias, run)


# -- PyTorch and Keras ------------------------------------------------------------------------------------------------


def of_torch(path: Path) -> list[FileLayer]:
    """Return the ConvTranspose modules of a TorchScript file, or the conv_transpose calls of a .pt2 program.

    Raises FileError, MissingExtraError.
    """
    try:
        import torch
    except ImportError:
        raise MissingExtraError(f"{path.name}", "torch", "torch") from None
    try:
        if path.suffix.lower() == ".pt2":
            return list(_exported(torch, torch.export.load(path)))
        script = torch.jit.load(path, map_location="cpu")
    except Exception:
        raise FileError(
            f"{path} is neither TorchScript nor an exported program: {reason_against(path)}. Pickled modules are not "
            f"read, because that would run their code. Write {_saving(path.name)}"
        ) from None
    return [
        _scripted(torch, name, module)
        for name, module in script.named_modules()
        if getattr(module, "original_name", "").startswith("ConvTranspose")
    ]


def _saving(name: str) -> str:
    """Return the statement that saves a PyTorch model under this name so that it is read."""
    if name.lower().endswith(".pt2"):
        return f"torch.export.save(torch.export.export(model, (x,)), {name!r})"
    return f"torch.jit.script(model).save({name!r})"


def _scripted(torch: Any, name: str, module: Any) -> FileLayer:
    module = module.eval()
    bias = getattr(module, "bias", None)

    def run(x: Array) -> Array:
        with torch.no_grad():
            y = module(torch.from_numpy(np.ascontiguousarray(x)).to(module.weight.dtype))
        return np.asarray(y.numpy())

    weight = module.weight.detach().numpy()
    return FileLayer(name, "torch", {}, weight, None if bias is None else bias.detach().numpy(), run)


def _exported(torch: Any, program: Any) -> Iterator[FileLayer]:
    """Yield the layers of a torch.export program: nodes of its graph whose weight is one of its parameters."""
    stored = {**program.state_dict, **program.constants}
    signature = program.graph_signature
    owner = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.op != "call_function" or "conv_transpose" not in str(node.target):
            continue
        _, weight, *rest = node.args
        tensors = [stored[owner[each.name]].detach() for each in (weight, *rest[:1]) if each is not None]
        bias = tensors[1] if len(tensors) > 1 else None

        def run(x: Array, node: Any = node, weight: Any = tensors[0], bias: Any = bias, rest: Any = rest) -> Array:
            with torch.no_grad():
                given = torch.from_numpy(np.ascontiguousarray(x)).to(weight.dtype)
                return np.asarray(node.target(given, weight, bias, *rest[1:], **node.kwargs).numpy())

        yield FileLayer(node.name, "torch", {}, tensors[0].numpy(), None if bias is None else bias.numpy(), run)


def of_keras(path: Path) -> list[FileLayer]:
    """Return the Conv1DTranspose, Conv2DTranspose and Conv3DTranspose layers of a saved model. Raises FileError."""
    try:
        import keras
    except ImportError:
        reason = "whose backend is not installed" if importlib.util.find_spec("keras") else "which is not installed"
        raise FileError(
            f"{path.name} needs keras, {reason}. Write: pip install keras, and set KERAS_BACKEND to a backend that is "
            "installed"
        ) from None
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise FileError(f"{path} is not a Keras model: {str(error)[:200]}. Write model.save('model.keras')") from None
    return [_keras_layer(keras, each) for each in model._flatten_layers() if type(each).__name__.endswith("DTranspose")]


def _keras_layer(keras: Any, layer: Any) -> FileLayer:
    last = layer.data_format == "channels_last"
    arguments = {
        "strides": tuple(layer.strides),
        "padding": layer.padding,
        "output_padding": layer.output_padding,
        "dilation_rate": tuple(layer.dilation_rate),
        "data_format": layer.data_format,
    }

    def run(x: Array) -> Array:
        y: Array = keras.ops.convert_to_numpy(layer(np.moveaxis(x, 1, -1) if last else x))
        return np.moveaxis(y, -1, 1) if last else y

    bias = None if layer.bias is None else keras.ops.convert_to_numpy(layer.bias)
    return FileLayer(layer.name, "keras", arguments, keras.ops.convert_to_numpy(layer.kernel), bias, run)


def of_network(path: Path) -> list[FileLayer]:
    """Return the layers of a PyTorch or Keras file, by its ending. Raises FileError, MissingExtraError."""
    ending = path.suffix.lower()
    if not path.exists():
        raise FileError(f"{path} does not exist. Write the name of an existing file")
    if ending in (".keras", ".h5"):
        return of_keras(path)
    if ending in (".pt", ".pth", ".pt2", ".ts"):
        return of_torch(path)
    raise FileError(
        f"{path} is not a network file: its ending is unknown. Write a .onnx, .pt (TorchScript), .pt2 or .keras file"
    )
