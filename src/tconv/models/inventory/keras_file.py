"""Inventory of a Keras model in a .keras or .h5 file, without Keras.

Transposed convolutions are the layers Conv1DTranspose, Conv2DTranspose and Conv3DTranspose, those of `tconv.keras`, and
Conv2D before keras.ops.depth_to_space. The code of Lambda layers and of custom classes is never loaded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.keras_graph import KerasCall, KerasGraph, activation_of, settings_of
from tconv.models.inventory.keras_shapes import CLASS, arguments_of, is_transposed, numbers_of, output_shape
from tconv.models.inventory.keras_weights import KerasWeights
from tconv.models.inventory.model_layer import ModelInput, ModelInventory, ModelLayer, Size, StoredArray
from tconv.models.inventory.other_forms import OrdinaryConvolution, of_depth_to_space, same_pads
from tconv.models.inventory.size_names import SizeNames
from tconv.models.readers import keras_archive

_ARGUMENTS = ("strides", "padding", "output_padding", "data_format", "dilation_rate")


def read(path: Path) -> ModelInventory:
    """Return the inventory of a Keras file. Nothing is run. Raises FileError, MissingExtraError."""
    archive = keras_archive.read(path)
    weights, names = KerasWeights(archive.weights, archive.legacy), SizeNames()
    try:
        graph = KerasGraph(archive.config, weights)
        formats = [settings_of(call.layer).get("data_format") for call in graph.calls]
        last = next((form for form in formats if form), "") != "channels_first"
        ends = [(name, names.named(("", f"{name}:0:0"), shape, last), kind) for name, shape, kind in graph.inputs]
        layers = [layer for call in graph.calls for layer in _layers(call, weights, names)]
    except FileError as error:
        raise FileError(f"{path} cannot be read: {error}. Write model.save('model.keras')") from None
    limitations = list(archive.limitations)
    if graph.opaque:
        classes = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(graph.opaque.items()))
        limitations.append(
            f"It has code of its own, which is not loaded: {classes}. Transposed convolutions in it are not found, "
            "unless the configuration contains them"
        )
    if lost := weights.unclaimed():
        limitations.append(
            f"It has weights of {len(lost)} transposed convolutions that its configuration does not describe: "
            + ", ".join(lost[:4])
        )
    return ModelInventory(
        source=path.name,
        format="Keras",
        layers=tuple(layers),
        producer=f"Keras {archive.version}".strip(),
        version="HDF5" if archive.legacy else "Keras 3 archive",
        inputs=tuple(ModelInput(name, shape, kind) for name, shape, kind in ends),
        outputs=tuple(ModelInput(name, None) for name in graph.outputs),
        operations=Counter(operation.op for operation in graph.operations),
        limitations=tuple(limitations),
    )


def _layers(call: KerasCall, weights: KerasWeights, names: SizeNames) -> list[ModelLayer]:
    """Return the transposed convolution that a call is, if it is one."""
    name = str(call.layer.get("class_name", ""))
    if str(call.layer.get("module", "")).startswith("keras.src.ops"):
        return [_bare_call(call)] if name == "ConvTranspose" else []
    if not (kind := CLASS.search(name)) or not {"filters", "kernel_size"} <= settings_of(call.layer).keys():
        return []
    if is_transposed(name):
        return [_transposed(call, weights, names, int(kind[1]))]
    shuffle = call.graph.only_reader(call.y) if call.graph else None
    made = (
        _shuffled(call, weights, names, int(kind[1]), shuffle.attributes)
        if shuffle and _is_shuffle(shuffle.op)
        else None
    )
    return [made] if made else []


def _is_shuffle(op: str) -> bool:
    return op in ("DepthToSpace", "depth_to_space")


def _bare_call(call: KerasCall) -> ModelLayer:
    """Return a call of keras.ops.conv_transpose, whose kernel is a tensor."""
    settings = settings_of(call.layer)
    return ModelLayer(
        call.name,
        call.place,
        "keras.ops.conv_transpose",
        "keras",
        {name: settings[name] for name in _ARGUMENTS if settings.get(name) is not None},
        None,
        input_shape=call.x_shape,
        limitations=("Its kernel is an argument of keras.ops.conv_transpose, which is not read",),
        **_neighbours(call, call.y),
    )


def _neighbours(call: KerasCall, y: str) -> dict[str, Any]:
    if call.graph is None:
        return {}
    return {"before": call.graph.before(call.x), "after": call.graph.after(y)}


def _variables(call: KerasCall, weights: KerasWeights, shape: tuple[int | None, ...]) -> dict[str, Any]:
    """Return weight, bias and limitations; `shape` is that of the kernel, None for channels that are not known."""
    settings = settings_of(call.layer)
    found = weights.find(call.container, call.path, call.name, ("kernel", "bias"))
    kernel: StoredArray | None = found.get("kernel")
    limitations = []
    if kernel is None:
        limitations.append("Its kernel is not in the file, or not where its layer is described")
    elif len(kernel.shape) != len(shape) or any(
        known is not None and known != size for size, known in zip(kernel.shape, shape, strict=True)
    ):
        limitations.append(f"The file has a kernel of shape {kernel.shape} for it; {shape} was expected")
        kernel = None
    bias = found.get("bias") if settings.get("use_bias", True) and kernel is not None else None
    return {"weight": kernel, "bias": bias, "limitations": tuple(limitations)}


def _dtype(settings: Mapping[str, Any]) -> str:
    """Return the type in which a layer computes."""
    given = settings.get("dtype", "float32")
    if isinstance(given, Mapping):
        given = settings_of(given).get("name", "float32")
    text = str(given)
    return text.removeprefix("mixed_") if text.startswith("mixed_") else text.split("_from_")[-1]


def _transposed(call: KerasCall, weights: KerasWeights, names: SizeNames, ndim: int) -> ModelLayer:
    settings = settings_of(call.layer)
    filters, groups = settings.get("filters"), settings.get("groups", 1)
    if type(filters) is not int or type(groups) is not int or min(filters, groups) < 1:
        raise FileError(f"{call.name} has filters={str(filters)[:40]} and groups={str(groups)[:40]}")
    kernel = numbers_of(settings, "kernel_size", ndim)
    arguments = arguments_of(settings, ndim)
    variables = _variables(call, weights, (*kernel, filters // groups, None))
    if variables["weight"] is not None and call.layer.get("registered_name") not in (None, _own_name(call.layer)):
        text = f"Its class {call.layer.get('registered_name')} is not Keras'; the meaning of Keras' layer is assumed"
        variables["limitations"] += (text,)
    x = _x_shape(call, names, variables["weight"], arguments["data_format"] != "channels_first")
    padded = "padding and output_padding" if "output_padding" in arguments else f'padding="{arguments["padding"]}"'
    return ModelLayer(
        name=call.name,
        place=call.place,
        op=str(call.layer.get("class_name")),
        dialect="keras",
        arguments=arguments,
        input_shape=x,
        output_shape=output_shape(x, "keras", tuple(kernel), filters, arguments),
        dtype=_dtype(settings),
        activation=activation_of(settings.get("activation")),
        crop_origin=padded,
        location={"path": f"{call.container.path}/{call.path}".strip("/")},
        **variables,
        **_neighbours(call, call.y),
    )


def _own_name(layer: Mapping[str, Any]) -> str:
    """Return the registered name of tconv's own layer of a class."""
    return f"tconv>{layer.get('class_name')}"


def _x_shape(
    call: KerasCall, names: SizeNames, kernel: StoredArray | None, channels_last: bool
) -> tuple[Size, ...] | None:
    """Return the shape of x with names for the sizes that vary, and the channels of the kernel."""
    key = (call.container.path, call.x) if call.graph else (call.container.path, call.path)
    shape = names.named(key, call.x_shape, channels_last)
    if shape is None or kernel is None:
        return shape
    at = len(shape) - 1 if channels_last else 1
    return (*shape[:at], kernel.shape[-1] if shape[at] is None else shape[at], *shape[at + 1 :])


def _shuffled(
    call: KerasCall, weights: KerasWeights, names: SizeNames, ndim: int, shuffle: Mapping[str, Any]
) -> ModelLayer | None:
    """Return a convolution before keras.ops.depth_to_space as the transposed convolution that it is."""
    settings, block = settings_of(call.layer), shuffle.get("block_size")
    strides, dilation = numbers_of(settings, "strides", ndim), numbers_of(settings, "dilation_rate", ndim)
    kernel, padding = numbers_of(settings, "kernel_size", ndim), settings.get("padding")
    groups, filters = settings.get("groups", 1), settings.get("filters")
    first = settings.get("data_format") == "channels_first"
    if type(block) is not int or ndim != 2 or strides != [1, 1] or padding not in ("same", "valid") or block < 2:
        return None
    if (shuffle.get("data_format") == "channels_first") != first or type(groups) is not int or groups < 1:
        return None
    variables = _variables(call, weights, (*kernel, None, filters))
    kernel_array = variables["weight"]
    if kernel_array is None or min(*kernel, *dilation) < 1 or not math.prod(kernel_array.shape):
        return None
    pads = same_pads(kernel, dilation) if padding == "same" else [(0, 0)] * ndim
    given = OrdinaryConvolution("keras", kernel_array, variables["bias"], pads, tuple(dilation), groups)
    made = of_depth_to_space(given, (block, block), "DCR")
    if made is None or call.graph is None:
        return None
    reader = call.graph.only_reader(call.y)
    assert reader is not None
    x = _x_shape(call, names, None, not first)
    if x is not None and not first:
        x = (x[0], x[-1], *x[1:-1])
    return ModelLayer(
        name=call.name,
        place=call.place,
        op=f"{call.layer.get('class_name')} + DepthToSpace",
        dialect="torch",
        arguments=made.arguments,
        weight=made.weight,
        bias=made.bias,
        form="convolution and depth to space",
        input_shape=x,
        output_shape=output_shape(x, "torch", made.weight.shape[2:], made.weight.shape[1], made.arguments),
        dtype=_dtype(settings),
        activation=activation_of(settings.get("activation")),
        crop_origin=f'padding="{padding}" of the convolution',
        limitations=made.limitations,
        location={"path": f"{call.container.path}/{call.path}".strip("/")},
        **_neighbours(call, reader.outputs[0]),
    )
