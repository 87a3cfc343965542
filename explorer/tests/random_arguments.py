"""Drawers of random native arguments of every dialect, most of them legal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Draw = Callable[[np.random.Generator, int], Any]
"""Function of a generator and the number of spatial axes."""


def one_of(rng: np.random.Generator, *choices: Any) -> Any:
    """Return one of the choices."""
    return choices[rng.integers(len(choices))]


def integers(rng: np.random.Generator, low: int, high: int, count: int) -> tuple[int, ...]:
    """Return random Python ints."""
    return tuple(int(n) for n in rng.integers(low, high + 1, count))


def per_axis(low: int, high: int) -> Draw:
    """Return a drawer of one int, or of one per axis, as a tuple or a list."""

    def draw(rng: np.random.Generator, ndim: int) -> Any:
        values = [int(rng.integers(low, high + 1)) for _ in range(ndim)]
        return one_of(rng, values[0], values[0], tuple(values), values)

    return draw


def sequence(low: int, high: int, times: int = 1) -> Draw:
    """Return a drawer of `times` integers per axis."""

    def draw(rng: np.random.Generator, ndim: int) -> Any:
        values = [int(rng.integers(low, high + 1)) for _ in range(times * ndim)]
        return one_of(rng, tuple(values), values)

    return draw


def pairs(low: int, high: int, ends: bool = False) -> Draw:
    """Return a drawer of one pair per axis; with `ends`, of one per array axis."""

    def draw(rng: np.random.Generator, ndim: int) -> Any:
        inner = [tuple(int(side) for side in rng.integers(low, high + 1, 2)) for _ in range(ndim)]
        if not ends:
            return one_of(rng, tuple(inner), inner, [list(pair) for pair in inner], [inner[0][0], *inner[1:]])
        return one_of(rng, [(0, 0), *inner, (0, 0)], [(0, 0), (0, 0), *inner], [[0, 0], *map(list, inner), [0, 0]])

    return draw


def names(*choices: Any) -> Draw:
    """Return a drawer of one of the names."""
    return lambda rng, ndim: one_of(rng, *choices)


def several(*drawers: Draw) -> Draw:
    """Return a drawer of what one of the drawers draws."""
    return lambda rng, ndim: one_of(rng, *drawers)(rng, ndim)


def sizes(rng: np.random.Generator, ndim: int) -> Any:
    """Return output sizes, which fit few calls."""
    values = [int(rng.integers(1, 24)) for _ in range(ndim)]
    return one_of(rng, values, tuple(values), [1, *values, 3], [1, 3, *values])


NUMBERS: tuple[Any, ...] = (0, -1, -3, 1.5, "2", "x", None, True)
STRANGE: tuple[Any, ...] = (*NUMBERS, (), [], (1,), [2, 2], (1, 2, 3), (0, 1), (None, 1), [[1]])
"""Values that are wrong for most arguments."""


def before_and_after(rng: np.random.Generator, ndim: int) -> Any:
    """Return the two lists of MLX's conv_general."""
    return [1] * ndim, list(integers(rng, -1, 3, ndim))


OTHER_NAMES = names("SAME", "VALID", "same", "valid", "SAME_LOWER", "FULL")
LAX = several(OTHER_NAMES, names("SAME", "VALID"), pairs(-2, 5), pairs(0, 4))
STRIDE, DILATION, GROUPS = per_axis(1, 4), per_axis(1, 3), names(1, 1, 1, 2, 3)
ARGUMENTS: dict[str, dict[str, Draw]] = {
    "torch": {
        "stride": STRIDE,
        "padding": several(per_axis(0, 3), per_axis(0, 3), per_axis(0, 3), names("same", "VALID", "x")),
        "output_padding": per_axis(0, 2),
        "groups": GROUPS,
        "dilation": DILATION,
        "crop": several(pairs(-2, 3), per_axis(-2, 3)),
    },
    "tensorflow": {
        "output_shape": sizes,
        "strides": several(STRIDE, STRIDE, names([1, 2, 2, 1], [1, 1, 2, 2], [1, 2, 1], [2, 1, 1, 1])),
        "padding": several(
            names("SAME", "VALID", "same"), names("SAME", "VALID"), pairs(0, 3, ends=True), pairs(-1, 3)
        ),
        "data_format": names("NHWC", "NCHW", "NWC", "NCW", None, "channels_last"),
        "dilations": DILATION,
        "groups": GROUPS,
    },
    "tflite": {
        "output_shape": sizes,
        "strides": STRIDE,
        "padding": names("SAME", "VALID", "SAME", "VALID", "valid"),
        "dilations": names(1, 1, 1, (1, 1), 2),
    },
    "keras": {
        "strides": STRIDE,
        "padding": names("valid", "same", "SAME", "full"),
        "output_padding": several(per_axis(-1, 3), names(None, (None, 1), (0, None), (None,))),
        "data_format": names(None, "channels_last", "channels_first", "NHWC"),
        "dilation_rate": DILATION,
        "groups": GROUPS,
    },
    "jax": {
        "strides": several(sequence(1, 3), sequence(1, 3), sequence(1, 3), STRIDE),
        "padding": LAX,
        "rhs_dilation": several(sequence(1, 2), sequence(1, 2), DILATION),
        "transpose_kernel": names(True, False),
        "use_consistent_padding": names(True, False, 1, 0, 2, "x"),
    },
    "flax": {
        "strides": STRIDE,
        "padding": several(LAX, LAX, per_axis(-1, 3), names("CIRCULAR")),
        "kernel_dilation": DILATION,
    },
    "equinox": {
        "stride": STRIDE,
        "padding": several(names("SAME", "VALID", "same_lower", "CAUSAL"), pairs(-1, 3), per_axis(0, 3)),
        "output_padding": per_axis(-1, 2),
        "dilation": DILATION,
        "groups": GROUPS,
        "padding_mode": names("ZEROS", "zeros", "CIRCULAR", None),
    },
    "haiku": {
        "stride": several(STRIDE, names((2,))),
        "output_shape": sizes,
        "padding": several(LAX, names("SAME", "VALID")),
        "data_format": names("channels_last", "NCHW"),
    },
    "openvino": {
        "strides": STRIDE,
        "output_shape": sizes,
        "pads_begin": several(per_axis(0, 3), per_axis(-1, 3)),
        "pads_end": per_axis(-1, 3),
        "dilations": DILATION,
        "auto_pad": names("explicit", "same_upper", "SAME_LOWER", "valid", "notset", None),
        "output_padding": per_axis(-1, 2),
    },
    "paddle": {
        "stride": STRIDE,
        "padding": several(
            per_axis(0, 3),
            sequence(0, 3, 2),
            names("SAME", "VALID", "same", "x"),
            pairs(0, 2, ends=True),
            per_axis(-1, 2),
        ),
        "output_padding": per_axis(0, 2),
        "dilation": DILATION,
        "groups": GROUPS,
        "output_size": sizes,
        "data_format": names("NCHW", "NHWC", "NCL", "NLC", None),
    },
    "mlx": {
        "stride": STRIDE,
        "padding": per_axis(-1, 3),
        "dilation": DILATION,
        "output_padding": per_axis(-1, 3),
        "groups": GROUPS,
    },
    "mlx_general": {
        "stride": names(1, 1, 1, (1, 1), 2),
        "padding": several(per_axis(0, 4), before_and_after, pairs(0, 3)),
        "kernel_dilation": DILATION,
        "input_dilation": STRIDE,
        "groups": GROUPS,
        "flip": names(True, False),
    },
    "tinygrad": {
        "groups": GROUPS,
        "stride": STRIDE,
        "dilation": DILATION,
        "padding": several(per_axis(-1, 3), sequence(0, 3, 2), sequence(0, 3)),
        "output_padding": per_axis(-1, 2),
    },
    "ncnn": {
        **dict.fromkeys(("stride_w", "stride_h"), names(1, 2, 3)),
        **dict.fromkeys(("dilation_w", "dilation_h"), names(1, 1, 2)),
        **dict.fromkeys(("pad_left", "pad_right", "pad_top", "pad_bottom"), names(0, 1, 2, 3, -233, -234, -1)),
        **dict.fromkeys(("output_pad_right", "output_pad_bottom"), names(0, 0, 1, 2, -1)),
        **dict.fromkeys(("output_w", "output_h"), names(0, 5, 8, 9, 12)),
        "group": GROUPS,
        "dynamic_weight": names(0, 1, False, 2),
    },
}
_NODE: dict[str, Draw] = {
    "strides": STRIDE,
    "pads": several(sequence(0, 3, 2), sequence(-1, 2, 2), sequence(0, 2)),
    "auto_pad": names("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "same_upper"),
    "output_padding": per_axis(0, 2),
    "output_shape": sizes,
    "dilations": DILATION,
    "group": GROUPS,
    "kernel_shape": per_axis(1, 4),
}
ARGUMENTS["onnx"] = ARGUMENTS["onnxruntime"] = _NODE
