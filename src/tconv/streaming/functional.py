"""`tconv.stream`: one transposed convolution as a stream of chunks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tconv.geometry import Geometry
from tconv.streaming.chunk_layout import ChunkLayout
from tconv.streaming.layer_reading import read_stream_layer
from tconv.streaming.layer_step import LayerStep
from tconv.streaming.native_stream import NativeStream, Sizes
from tconv.streaming.stream_graph import StreamGraph, StreamNode

_MOST_SIZES = 4
"""Sizes of the axes behind time for which a layer keeps its packed weight."""


def stream(
    weight: Any,
    bias: Any = None,
    *,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    activation: Any = None,
    batch: int = 1,
    sample_rate: float | None = None,
    **native: Any,
) -> NativeStream:
    """Return a layer that takes its input in chunks along the first spatial axis, with the bits of the whole.

    >>> import numpy as np, tconv
    >>> w, x = np.ones((8, 4, 16), np.float32), np.ones((1, 8, 50), np.float32)
    >>> stream = tconv.stream(w, stride=8, padding=4)
    >>> chunks = [stream.push(x[:, :, i : i + 7]) for i in range(0, 50, 7)] + [stream.flush()]
    >>> np.array_equal(np.concatenate(chunks, 2), stream(x)), stream.latency
    (True, 4)

    The arguments are those of `tconv.prepare`: `weight` may be a layer of a framework, `dialect` says whose words the
    others are, `activation` is applied to the outputs. Chunks and outputs have the data layout of the dialect (torch:
    [N, C, t], [N, C, t, w], ...; keras: [N, t, C], ...), the library of the weight and its dtype, integers int64. The
    other spatial axes are whole; their sizes are those of the first chunk. N = `batch` sessions go on independently:

        stream.push(chunk)              # [N, C_in, n] -> [N, C_out, m], for any n, 0 too; m differs from call to call
        stream.push({3: chunk})         # [C_in, n] of session 3 -> {3: [C_out, m]}; the other sessions pause
        stream.flush()                  # the outputs that were waiting for inputs; then reset() begins anew
        stream.state(), stream.restore(state)

    The state is the window of inputs that outputs still to come read. Concatenated, the outputs have the bits of
    `stream(x)`, which are those of `tconv.conv_transpose(x, ..., method="simd")` where that method runs: not always
    those of method "auto", which may choose minimal filtering. Elsewhere (complex numbers, weights with inf or NaN)
    each sample is a sum of matrix products of its own. `stream.latency` counts the output samples that wait for
    inputs; `sample_rate`, that of the output, gives `latency_ms`. TensorFlow's dialects take no output_shape here:
    "SAME" has n * stride outputs, "VALID" all that n inputs reach.

    Raises the errors of `tconv.prepare`, and ArgumentError for arguments that depend on the length of the input, such
    as an output_shape.
    """
    layer = read_stream_layer(weight, bias, dialect, geometry, activation, native)
    layout = ChunkLayout(
        layer.data, layer.result, layer.in_channels, layer.out_channels, layer.library, layer.weight.dtype
    )

    @lru_cache(maxsize=_MOST_SIZES)
    def graph_for(rest: Sizes) -> tuple[StreamGraph, Sizes]:
        step = LayerStep(layer.weight, layer.bias, layer.geometry_for(rest), layer.activation, rest)
        return StreamGraph([StreamNode(step, (0,))], step.folded_channels, layer.weight.dtype), step.made_sizes

    return NativeStream(graph_for, layout, batch=batch, sample_rate=sample_rate)
