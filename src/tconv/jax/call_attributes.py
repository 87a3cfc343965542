"""A call as text that a compiled program contains: it means the same in another process, and on another machine.

The record for the machine code is made from the text where the program runs.
"""

from __future__ import annotations

import json

import numpy as np
import xxhash

from tconv._arrays import bfloat16
from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry
from tconv.jax.call_layouts import Layouts
from tconv.kernels.problem import Problem

FORMAT = 1
"""Version of the text. A program with another one is refused where it runs."""


def encoded(p: Problem, layouts: Layouts, method: str) -> str:
    """Return a call as text."""
    g, weight = p.geometry, layouts.weight
    sizes = {"batch": p.batch, "in_channels": p.in_channels, "out_channels": p.out_channels, "input": p.input_shape}
    geometry = {"kernel": g.kernel, "stride": g.stride, "crop": g.crop, "dilation": g.dilation, "groups": g.groups}
    axes = {"x": layouts.x.axes, "weight": [weight.axes, weight.grouped, weight.flip], "y": layouts.y.axes}
    kind = {"format": FORMAT, "dtype": p.dtype.name, "bias": p.bias, "method": method}
    return json.dumps({**kind, **sizes, **geometry, **axes}, separators=(",", ":"))


def decoded(text: str) -> tuple[Problem, Layouts, str]:
    """Return problem, layouts and method of a text. Raises ValueError for one of another version."""
    told = json.loads(text)
    if told.get("format") != FORMAT:
        raise ValueError(f"the program has calls of format {told.get('format')}; this tconv has format {FORMAT}")
    crop = [tuple(pair) for pair in told["crop"]]
    geometry = Geometry(told["kernel"], told["stride"], crop, told["dilation"], told["groups"])
    dtype = np.dtype(bfloat16("x") if told["dtype"] == "bfloat16" else told["dtype"])
    sizes = told["batch"], told["in_channels"], told["out_channels"], tuple(told["input"])
    axes, grouped, flip = told["weight"]
    x, y = DataLayout(tuple(told["x"])), DataLayout(tuple(told["y"]))
    layouts = Layouts(x, WeightLayout(tuple(axes), grouped, flip), y)
    return Problem(geometry, *sizes, dtype, told["bias"]), layouts, told["method"]


def digest(text: str) -> int:
    """Return a signed integer of 64 bits that stands for a text."""
    return int(np.uint64(xxhash.xxh3_64_intdigest(text.encode())).view(np.int64))
