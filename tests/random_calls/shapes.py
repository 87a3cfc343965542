"""Calls of every public function that takes a shape or one number per axis, for shapes of any library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tconv

G = tconv.Geometry(kernel=(3, 2), stride=2, crop=1)
_BARE = np.arange(6.0).reshape(3, 2)
_W = np.arange(1.0, 13.0).reshape(1, 2, 3, 2)
_X = np.arange(24.0).reshape(1, 1, 6, 4)

OF_TWO_SIZES: dict[str, Any] = {
    "Geometry(kernel)": lambda s: tconv.Geometry(s),
    "Geometry(stride)": lambda s: tconv.Geometry((3, 2), s),
    "Geometry(crop)": lambda s: tconv.Geometry((9, 9), 1, s),
    "Geometry(dilation)": lambda s: tconv.Geometry((3, 2), 1, 0, s),
    "full_shape": G.full_shape,
    "output_shape": G.output_shape,
    "input_shape": G.input_shape,
    "conv_shape": G.conv_shape,
    "input_window": lambda s: G.input_window([slice(0, 3), slice(1, 9)], s),
    "output_window": lambda s: G.output_window([slice(0, 3), slice(1, 9)], s),
    "macs": G.macs,
    "solve(input)": lambda s: tconv.solve(input=s, kernel=3, stride=2),
    "solve(output)": lambda s: tconv.solve(output=s, kernel=3, stride=2),
    "solve(kernel)": lambda s: tconv.solve(input=(5, 5), kernel=s, stride=2),
    "solve(stride)": lambda s: tconv.solve(input=(5, 5), kernel=6, stride=s),
    "solve(dilation)": lambda s: tconv.solve(input=(5, 5), kernel=3, stride=1, dilation=s),
    "matrix": lambda s: tconv.matrix(_BARE, s).toarray(),
    "linear_operator": lambda s: tconv.linear_operator(_BARE, s) @ np.arange(24.0),
    "initializers.bilinear(stride)": lambda s: tconv.initializers.bilinear((1, 1, 12, 12), s),
    "initializers.icnr(stride)": lambda s: tconv.initializers.icnr((1, 1, 12, 12), s, seed=0),
    "conv_transpose(stride)": lambda s: tconv.conv_transpose(_X, _W, stride=s),
    "conv_transpose(output_shape)": lambda s: tconv.conv_transpose(
        _X, _W, dialect="onnx", strides=[1, 1], output_shape=s
    ),
    "conv(stride)": lambda s: tconv.conv(tconv.conv_transpose(_X, _W, stride=(6, 4)), _W, stride=s),
    "prepare(stride)": lambda s: tconv.prepare(_W, stride=s)(_X),
    "plan(stride)": lambda s: str(tconv.plan(_X, _W, stride=s)),
    "definition.gather(stride)": lambda s: tconv.definition.gather(_X, _W, stride=s),
    "checkerboard(stride)": lambda s: tconv.checkerboard(np.ones((1, 1, 6, 4)), stride=s).score,
    "artifacts.equalise(stride)": lambda s: tconv.artifacts.equalise(np.arange(96.0).reshape(1, 1, 12, 8), stride=s),
    "artifacts.icnr(stride)": lambda s: tconv.artifacts.icnr(np.arange(96.0).reshape(1, 1, 12, 8), stride=s),
    **{
        f"dialect({name!r}).arguments(input)": lambda s, name=name: tconv.dialect(name).arguments(_PLAIN, s)
        for name in tconv.dialects.names()
    },
    **{
        f"dialect({name!r}).code(input)": lambda s, name=name: tconv.dialect(name).code(_PLAIN, s)
        for name in tconv.dialects.names()
    },
    **{
        f"dialect({name!r}).geometry": lambda s, name=name: tconv.dialect(name).geometry(
            kernel=s,
            input=s,
            **{k: v for k, v in tconv.dialect(name).arguments(_PLAIN, (6, 4)).items() if k in _STRIDES},
        )
        for name in tconv.dialects.names()
        if name not in ("tensorflow", "tflite", "haiku")
    },
}
_PLAIN = tconv.Geometry((3, 2), 2)
_STRIDES = ("stride", "strides", "padding", "stride_w", "stride_h")
"""Calls with a shape of (6, 4)."""

OF_WEIGHT_SHAPES: dict[str, Any] = {
    "initializers.bilinear": lambda s: tconv.initializers.bilinear(s, 2),
    "initializers.icnr": lambda s: tconv.initializers.icnr(s, 2, seed=0),
    "conv_transpose(output_shape)": lambda s: tconv.conv_transpose(
        np.ones((2, 4, 4, 2)), np.ones((3, 3, 4, 2)), dialect="tensorflow", strides=1, output_shape=s
    ),
}
"""Calls with a shape of (2, 4, 4, 4)."""


def check_shapes(make: Any, *, unknown: Any = None) -> None:
    """Check that shapes of a library, `make(sizes)`, are taken like tuples by every function, or refused with a reason.

    `unknown(sizes)` makes a shape in which None stands for an unknown size.
    """
    for sizes, calls in (((6, 4), OF_TWO_SIZES), ((2, 4, 4, 4), OF_WEIGHT_SHAPES)):
        for name, call in calls.items():
            got, expected = call(make(sizes)), call(sizes)
            assert np.array_equal(got, expected) if isinstance(expected, np.ndarray) else got == expected, name
    if unknown is None:
        return
    for name, call in OF_TWO_SIZES.items():
        if "crop" in name or "arguments" in name or "code" in name or "geometry" in name:
            continue
        with pytest.raises(
            tconv.TconvError, match=r"of unknown size on axis 1; every entry must be an integer\. Write"
        ):
            call(unknown((6, None)))
