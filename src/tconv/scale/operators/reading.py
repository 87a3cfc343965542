"""Reading of what a user gives as the operation: a file, a model, a network, layers of frameworks, a chain of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import Ints, entries_of, shown
from tconv._arrays import Array
from tconv.dialects.framework_layers import FrameworkLayer, layer_of, parts_of
from tconv.errors import ArgumentError
from tconv.geometry import Geometry
from tconv.models.image_model import Model
from tconv.models.network import Network
from tconv.operator.prepared import PreparedLayer
from tconv.scale.layer_call import layer_called, own_array
from tconv.scale.operators.chain import ChainOperator
from tconv.scale.operators.layer import LayerOperator
from tconv.scale.operators.model import ModelOperator
from tconv.scale.operators.network import NetworkOperator
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.stores.store import ImageSource
from tconv.streaming.chain_layers import ordinary_convolution

_LIKE = "a file of weights, a tconv.models.Model or Network, tconv.scale.layer(...), or a list of layers"


def operator_of(
    network: Any,
    source: ImageSource | None = None,
    *,
    channels: int | None = None,
    sizes: Ints | None = None,
    dtype: Any = None,
) -> TileOperator:
    """Return the operation that was given as `network`, for the images of a source where those count.

    >>> import numpy as np, tconv
    >>> operator_of([tconv.prepare(np.ones((3, 8, 4, 4), np.float32), stride=2, padding=1)]).output_sizes((10, 10))
    (20, 20)

    `network` is the path of a file that `tconv.models.load` reads, a `Model`, a `Network`, a layer of
    `tconv.scale.layer` or `tconv.prepare`, a layer of a framework, a list (Sequential) of layers with convolutions of
    stride 1 and ReLU activations among them, or an operation already.

    A model is for pictures with the channels of the source (1 or 3, float), a layer of integers for its dtype. Without
    a source these are `channels`, `sizes` and `dtype`, or those of the weights.

    Raises ArgumentError for anything else, ShapeError and DtypeError for a source that does not fit.
    """
    if source is not None:
        channels, sizes, dtype = source.shape[1], source.shape[2:], source.dtype
    if isinstance(network, str | Path):
        from tconv.models import load  # its registry of readers, which files alone need

        network = load(network)
    if isinstance(network, Model):
        return ModelOperator(network, network.network.channels[0] if channels is None else channels, dtype)
    if isinstance(network, Network):
        return NetworkOperator(network)
    if isinstance(network, PreparedLayer):
        return layer_called(*network.call, sizes=sizes, dtype=dtype)
    if isinstance(network, ModelOperator) and (channels is not None or dtype is not None):
        return ModelOperator(network.model, network.channels[0] if channels is None else channels, dtype)
    if isinstance(network, LayerOperator) and dtype is not None:
        return network.reading(dtype)
    if all(hasattr(network, name) for name in ("window", "compute", "fingerprint_parts", "output_sizes")):
        operator: TileOperator = network
        return operator
    if type(network) in (list, tuple) or parts_of(network, "network") is not None:
        return _chain(network, channels, sizes, dtype)
    found = layer_of(network, "network")
    if found is not None:
        return _of_framework(network, found, sizes, dtype)
    given, instead = shown(network), "tconv.scale.layer(weight, stride=2)"
    if type(network).__module__.partition(".")[0] in ("torch", "keras", "flax", "equinox", "paddle", "mlx"):
        given, instead = f"a {type(network).__name__}", "the path of its .onnx file, for example"
    raise ArgumentError(f"network is {given}; {_LIKE} is needed. Write {instead}")


# -- layers of frameworks ----------------------------------------------------------------------------------------


def _chain(given: Any, channels: int | None, sizes: Ints | None, dtype: Any) -> TileOperator:
    """Return layers one behind the other; activations between them become those of the layers before."""
    operators: list[TileOperator] = []
    for path, entry in _entries(given, "network"):
        activation = _activation(entry)
        if activation is not None:
            if not activation:  # a module that changes nothing
                continue
            last = operators[-1] if operators else None
            if not isinstance(last, LayerOperator) or last.activation is not None:
                raise ArgumentError(
                    f"{path} is a {type(entry).__name__}, and no layer is before it that could apply it. Write it "
                    "behind a convolution"
                )
            operators[-1] = last.activated(activation)
            continue
        operator = operator_of(entry, channels=channels, sizes=sizes, dtype=dtype)
        if sizes is not None:
            sizes = operator.output_sizes(tuple(entries_of(sizes) or (sizes,)))
        operators.append(operator)
        channels, dtype = operator.channels[1], operator.result
    return operators[0] if len(operators) == 1 else ChainOperator(operators)


def _entries(given: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers of nested lists and Sequentials, each with its expression."""
    if type(given) in (list, tuple):
        for number, each in enumerate(given):
            yield from _entries(each, f"{path}[{number}]")
    elif (parts := parts_of(given, path)) is not None:
        yield from parts
    else:
        yield path, given


def _activation(module: Any) -> Any:
    """Return the activation of `tconv.prepare` that a framework's module is, or None; () if it changes nothing."""
    kind = type(module).__name__
    if type(module).__module__.partition(".")[0] not in ("torch", "keras", "tf_keras"):
        return None
    if kind in ("Identity", "InputLayer") or kind.startswith("Dropout"):
        return ()
    if kind == "ReLU" and all(getattr(module, name, None) in (None, 0) for name in ("max_value", "threshold")):
        return "relu" if not getattr(module, "negative_slope", 0) else ("leaky_relu", float(module.negative_slope))
    if kind == "ReLU6":
        return "relu6"
    if kind == "LeakyReLU":
        return "leaky_relu", float(module.negative_slope)
    if kind == "PReLU" and hasattr(module, "weight"):
        return "prelu", np.array(module.weight.detach())
    return None


def _of_framework(given: Any, found: FrameworkLayer, sizes: Ints | None, dtype: Any) -> LayerOperator:
    """Return a transposed convolution of a framework, or its ordinary convolution of stride 1."""
    if found.is_transposed:
        return layer_called(given, None, "torch", None, {}, None, sizes=sizes, dtype=dtype)
    if found.dialect != "torch" or getattr(given, "padding_mode", "zeros") != "zeros":
        raise ArgumentError(
            f"network has a {found.kind} of {found.dialect}, which is no transposed convolution; of ordinary ones, "
            "PyTorch's with zeros around are taken. Write a tconv.models.Network"
        )
    if any(each != 1 for each in found.arguments["stride"]):
        raise ArgumentError(
            f"network has a {found.kind} with stride {found.arguments['stride']}; ordinary convolutions have stride 1 "
            "here. Write a tconv.models.Network for others"
        )
    _, (w, b) = _arrays.take_all(weight=found.weight, bias=found.bias)
    forward = ordinary_convolution(
        w.shape[2:], 1, given.padding, found.arguments["dilation"], name="the convolution"
    ).geometry
    return LayerOperator(*as_transposed(w, b, forward, found.groups))


def as_transposed(
    weight: Array, bias: Array | None, forward: Geometry, groups: int
) -> tuple[Array, Array | None, Geometry]:
    """Return an ordinary convolution of stride 1 as a transposed one: weight, bias and geometry.

    Taps are flipped, channels swapped, and the crop is d(k - 1) minus the padding. The weight is [C_out, C_in/groups,
    *kernel], the padding that of `forward`.
    """
    out, into, *kernel = weight.shape
    by_group = weight.reshape(groups, out // groups, into, *kernel)
    flipped = np.flip(np.moveaxis(by_group, 2, 1), tuple(range(3, 3 + len(kernel))))
    crop = [(extent - 1 - lo, extent - 1 - hi) for extent, (lo, hi) in zip(forward.extent, forward.crop, strict=True)]
    geometry = Geometry(kernel, 1, crop, forward.dilation, groups)
    return (
        own_array(flipped.reshape(groups * into, out // groups, *kernel)),
        None if bias is None else own_array(bias),
        geometry,
    )
