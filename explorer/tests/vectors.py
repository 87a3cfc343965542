"""Print what tconv answers to thousands of seeded random calls, as JSON: the explorer's arithmetic must answer the same.

    python explorer/tests/vectors.py --seed 1 --scale 1 > vectors.json

Arguments are written as Python source, as a user writes them into a field.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import tconv
from tconv import definition, dialects
from tconv.errors import TconvError
from tconv.geometry import Geometry

Draw = Callable[[np.random.Generator, int], Any]

COUNTS = {"calls": 250, "geometries": 400, "scenes": 250, "shapes": 400, "solver": 60, "gains": 200, "squares": 60}
"""Vectors of each kind; of calls, for each dialect."""


def one_of(rng: np.random.Generator, *choices: Any) -> Any:
    """Return one of the choices."""
    return choices[rng.integers(len(choices))]


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


STRANGE: tuple[Any, ...] = (
    0,
    -1,
    -3,
    1.5,
    "2",
    "x",
    None,
    True,
    (),
    [],
    (1,),
    [2, 2],
    (1, 2, 3),
    (0, 1),
    (None, 1),
    [[1]],
)

LAX = several(
    names("SAME", "VALID", "same", "valid", "SAME_LOWER", "FULL"), names("SAME", "VALID"), pairs(-2, 5), pairs(0, 4)
)
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
        "padding": several(
            per_axis(0, 4), lambda rng, ndim: ([1] * ndim, [int(n) for n in rng.integers(-1, 4, ndim)]), pairs(0, 3)
        ),
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


def answer(compute: Callable[[], Any]) -> dict[str, Any]:
    """Return {"ok": the result}, or {"refused": the message}."""
    try:
        return {"ok": compute()}
    except TconvError as error:
        return {"refused": str(error)}


def described(g: Geometry) -> dict[str, Any]:
    """Return a Geometry as the explorer has it."""
    axes = zip(g.kernel, g.stride, g.dilation, g.crop, strict=True)
    return {
        "groups": g.groups,
        "axes": [{"kernel": k, "stride": s, "dilation": d, "crop": list(pair)} for k, s, d, pair in axes],
    }


def integers(rng: np.random.Generator, low: int, high: int, count: int) -> tuple[int, ...]:
    """Return random Python ints."""
    return tuple(int(n) for n in rng.integers(low, high + 1, count))


def calls(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield calls of every dialect, many of them wrong in one argument."""
    for name in dialects.names():
        member, drawers = tconv.dialect(name), ARGUMENTS[name]
        for number in range(count):
            ndim = int(one_of(rng, 1, 2, 2, 2, 3)) if name != "ncnn" else int(one_of(rng, 1, 2, 2))
            kernel, input = integers(rng, 1, 4, ndim), integers(rng, 1, 6, ndim)
            present = rng.random(len(drawers)) < (0.3 if number % 4 == 0 else 0.55)
            native = {word: draw(rng, ndim) for (word, draw), use in zip(drawers.items(), present, strict=True) if use}
            if name in ("jax", "openvino"):
                native.setdefault("strides", (2,) * ndim)
            if name == "jax":
                native.setdefault("padding", "SAME")
            if name in ("tensorflow", "tflite") and number % 3:
                native["output_shape"] = [s * n for s, n in zip(integers(rng, 1, 3, ndim), input, strict=True)]
            if native and number % 6 == 0:
                native[one_of(rng, *native)] = one_of(rng, *STRANGE)
            if number % 40 == 7:
                native[one_of(rng, "stride", "strides", "padding", "pads", "groups", "bias", "data_layout")] = 1
            yield {
                "dialect": name,
                "kernel": kernel,
                "input": input,
                "words": {word: repr(value) for word, value in native.items()},
                **answer(lambda: described(member.geometry(kernel=kernel, input=input, **native))),  # noqa: B023
            }


def random_geometry(rng: np.random.Generator, ndim: int, groups: int = 1, crop: tuple[int, int] = (-2, 3)) -> Geometry:
    """Return a geometry whose crop is often one that frameworks can express."""
    kernel, stride = integers(rng, 1, 5, ndim), integers(rng, 1, 4, ndim)
    dilation = integers(rng, 1, 3, ndim) if rng.random() < 0.3 else (1,) * ndim
    low = integers(rng, *crop, ndim)
    high = one_of(rng, low, integers(rng, *crop, ndim), tuple(lo - 1 for lo in low))
    if rng.random() < 0.3:
        spare = [d * (k - 1) + 1 - s for k, s, d in zip(kernel, stride, dilation, strict=True)]
        low = one_of(rng, tuple(max(rest, 0) // 2 for rest in spare), (0,) * ndim)
        high = tuple(rest - lo for rest, lo in zip(spare, low, strict=True))
    return Geometry(kernel, stride, tuple(zip(low, high, strict=True)), dilation, groups)


def geometries(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield geometries with what every dialect says about them."""
    for _ in range(count):
        ndim = int(one_of(rng, 1, 2, 2, 3))
        g, input = random_geometry(rng, ndim, int(one_of(rng, 1, 1, 2))), integers(rng, 1, 6, ndim)
        try:
            g.output_shape(input)
        except TconvError:
            continue
        said = {}
        for name in dialects.names():
            member = tconv.dialect(name)
            reasons = member.reasons_against(g, input)
            said[name] = {
                "reasons": reasons,
                "code": answer(lambda: member.code(g, input)),  # noqa: B023
                "arguments": None if reasons else {k: repr(v) for k, v in member.native_arguments(g, input).items()},
            }
        yield {"geometry": described(g), "input": input, "dialects": said}


def scenes(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield whole numbers, and what the four forms of the definition and the matrix make of them."""
    for number in range(count):
        ndim, groups = int(one_of(rng, 1, 2)), int(one_of(rng, 1, 1, 2, 3))
        g, input = random_geometry(rng, ndim, groups), integers(rng, 1, 5, ndim)
        c_in, c_out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
        try:
            shape = g.output_shape(input)
        except TconvError:
            continue
        x, w = rng.integers(-9, 10, (c_in, *input)), rng.integers(-9, 10, (c_in, c_out // groups, *g.kernel))
        y = definition.scatter(x[None], w, geometry=g)
        for form in (definition.gather, definition.zero_insertion, definition.matrix):
            assert np.array_equal(form(x[None], w, geometry=g), y)
        vector = {
            "geometry": described(g),
            "channels": {"input": c_in, "output": c_out},
            "input": input,
            "output": shape,
            "full": g.full_shape(input),
            "x": x.ravel().tolist(),
            "weight": w.ravel().tolist(),
            "y": y.ravel().tolist(),
            "adjoint": None,
            "matrix": None,
        }
        if number % 3 == 0:
            K = tconv.matrix(w, (c_in, *input), geometry=g)
            vector["matrix"] = [[int(r), int(c), int(K[r, c])] for r, c in zip(*K.nonzero(), strict=True)]
            vector["adjoint"] = [int(n) for n in K @ y.ravel()]
        yield vector


def shapes(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield sizes, phases and windows, also of geometries that leave nothing."""
    for _ in range(count):
        ndim = int(one_of(rng, 1, 2, 3))
        g, input = random_geometry(rng, ndim, crop=(-3, 9)), integers(rng, 1, 6, ndim)
        output = answer(lambda: g.output_shape(input))  # noqa: B023
        starts, lengths = integers(rng, -4, 12, ndim), integers(rng, 0, 5, ndim)
        window = [slice(a, a + n) for a, n in zip(starts, lengths, strict=True)]
        sides: list[Any] = [None] if "refused" in output else [None, input]
        yield {
            "geometry": described(g),
            "input": input,
            "full": g.full_shape(input),
            "output": output,
            "phases": [[list(p.offset), [list(t) for t in p.taps], [list(q) for q in p.shifts]] for p in g.phases],
            "overlap": g.overlap,
            "window": [[part.start, part.stop] for part in window],
            "input_windows": [[[p.start, p.stop] for p in g.input_window(window, side)] for side in sides],
            "output_windows": [[[p.start, p.stop] for p in g.output_window(window, side)] for side in sides],
        }


def solver(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield wanted sizes and all settings that give them, in order; of long lists, the first and the last."""
    for _ in range(count):
        ndim = int(one_of(rng, 1, 1, 2))
        wanted: dict[str, Any] = {}
        for name, low, high in (("input", 1, 9), ("output", 1, 24), ("kernel", 1, 6), ("stride", 1, 4)):
            if rng.random() < (0.75 if ndim == 1 else 0.85):
                values = integers(rng, low, high, ndim)
                wanted[name] = values[0] if ndim == 1 or rng.random() < 0.5 else values
        if rng.random() < 0.3:
            wanted["dilation"] = int(one_of(rng, 1, 2, 3, 0))
        if ndim == 2 and not {"kernel", "stride"} & wanted.keys():
            wanted["kernel"] = (3, 3)

        def found() -> Any:
            solutions = tconv.solve(**wanted)  # noqa: B023
            listed = [[s.geometry.kernel, s.geometry.stride, s.geometry.crop, s.input, s.output] for s in solutions]
            return {"count": len(listed), "ends": listed[:40] + listed[40:][-20:]}

        yield {"wanted": wanted, **answer(found)}


def gains(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield weights and the strength of their checkerboard."""
    for number in range(count):
        ndim, groups = int(one_of(rng, 1, 2)), int(one_of(rng, 1, 1, 2))
        g = random_geometry(rng, ndim, groups)
        c_in, c_out = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
        shape = (c_in, c_out // groups, *g.kernel)
        w = np.ones(shape) if number % 7 == 0 else rng.integers(-9, 10, shape) / one_of(rng, 1, 7)
        measured = tconv.checkerboard(np.float64(w), geometry=g)
        yield {
            "geometry": described(g),
            "channels": {"input": c_in, "output": c_out},
            "weight": np.float64(w).ravel().tolist(),
            "score": measured.score,
            "by_channel": measured.by_channel.tolist(),
            "gains": measured.gains.ravel().tolist(),
            "spreads": measured.spreads.ravel().tolist(),
        }


def squares(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield an x and y of no special kind, and the solution of K.T x = y by least squares."""
    for _ in range(count):
        ndim, groups = int(one_of(rng, 1, 2)), int(one_of(rng, 1, 1, 2))
        g, input = random_geometry(rng, ndim, groups, crop=(0, 2)), integers(rng, 1, 4, ndim)
        try:
            shape = g.output_shape(input)
        except TconvError:
            continue
        w = rng.integers(-9, 10, (groups, 1, *g.kernel))
        dense = tconv.matrix(w, (groups, *input), geometry=g).toarray().T.astype(float)
        y = rng.integers(-9, 10, groups * int(np.prod(shape))).astype(float)
        x, _, rank, values = np.linalg.lstsq(dense, y, rcond=1e-10)
        kept = values[:rank]
        if rank and kept[-1] < 1e-4 * kept[0]:
            continue
        yield {
            "geometry": described(g),
            "channels": {"input": groups, "output": groups},
            "input": input,
            "weight": w.ravel().tolist(),
            "y": y.tolist(),
            "x": x.tolist(),
            "rank": int(rank),
            "residual": float(np.linalg.norm(dense @ x - y)),
        }


KINDS = {each.__name__: each for each in (calls, geometries, scenes, shapes, solver, gains, squares)}


def main() -> None:
    """Print the vectors of all kinds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="times as many vectors as usual")
    given = parser.parse_args()
    streams = np.random.default_rng(given.seed).spawn(len(KINDS))
    vectors = {
        kind: list(draw(rng, int(COUNTS[kind] * given.scale)))
        for (kind, draw), rng in zip(KINDS.items(), streams, strict=True)
    }
    print(json.dumps(vectors))


if __name__ == "__main__":
    main()
