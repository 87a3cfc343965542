"""Print what tconv answers to thousands of seeded random calls, as JSON: the explorer must answer the same.

    python explorer/tests/vectors.py --seed 1 --scale 1 > vectors.json

Arguments are written as Python source, as a user writes them into a field.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from random_arguments import ARGUMENTS, STRANGE, integers, one_of

import tconv
from tconv import definition, dialects
from tconv.draw import explore
from tconv.errors import TconvError
from tconv.geometry import Geometry
from tconv.weights.initializers import bilinear_weight

Sizes = tuple[int, ...]
COUNTS = {
    "calls": 250,
    "geometries": 300,
    "scenes": 180,
    "shapes": 400,
    "solver": 60,
    "gains": 200,
    "squares": 60,
    "layouts": 60,
    "bilinear": 100,
}
"""Vectors of each kind; of calls, for each dialect."""


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
            if name == "torch" and number % 8:  # crop= is refused beside these
                for word in ("padding", "output_padding") if "crop" in native else ():
                    native.pop(word, None)
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
                "link": link(rng, name, kernel, input, native),
                **answer(lambda: described(member.geometry(kernel=kernel, input=input, **native))),  # noqa: B023
            }


def link(rng: np.random.Generator, name: str, kernel: Sizes, input: Sizes, native: dict[str, Any]) -> Any:
    """Return the address that opens the page at this call, and its taps if they are own ones; None without a page."""
    rules = tconv.dialect(name)
    weight = rng.integers(-9, 10, kernel) if rng.random() < 0.3 else None
    given = {"kernel": kernel} if weight is None else {"w": weight}
    try:
        address = explore(input=input, dialect=name, **given, **native).address
    except TconvError:
        return None
    if weight is None:
        return {"address": address, "taps": None}
    layout = {word: native[word] for word in rules.layout_arguments if word in native}
    flips = rules.weight_layout(len(kernel), **layout).flip
    return {"address": address, "taps": (np.flip(weight) if flips else weight).ravel().tolist()}


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


def xla_geometry(rng: np.random.Generator, ndim: int) -> Geometry:
    """Return a geometry close to those for which XLA has faults: strides of 1 and a large crop, or 2 taps alone."""
    kernel = integers(rng, 1, 3, ndim)
    if rng.random() < 0.5:
        return Geometry(kernel, 1, tuple(tuple(integers(rng, 0, 6, 2)) for _ in kernel))
    stride = tuple(2 if k == 2 else 1 for k in kernel)
    return Geometry(kernel, stride, tuple((k - 1, k - 1 + int(rng.integers(0, 2))) for k in kernel))


def geometries(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield geometries with what every dialect says about them."""
    for number in range(count):
        ndim = int(one_of(rng, 1, 2, 2, 3))
        g, input = random_geometry(rng, ndim, int(one_of(rng, 1, 1, 2))), integers(rng, 1, 6, ndim)
        if number % 5 == 0:
            g = xla_geometry(rng, ndim)
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
    """Yield sizes and overlap, also of geometries that leave nothing."""
    for _ in range(count):
        ndim = int(one_of(rng, 1, 2, 3))
        g, input = random_geometry(rng, ndim, crop=(-3, 9)), integers(rng, 1, 6, ndim)
        output = answer(lambda: g.output_shape(input))  # noqa: B023
        yield {
            "geometry": described(g),
            "input": input,
            "full": g.full_shape(input),
            "output": output,
            "convolution": answer(lambda: g.conv_shape(input)).get("ok"),  # noqa: B023
            "overlap": g.overlap,
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
            "gains": measured.gains.ravel().tolist(),
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
        w = rng.integers(-9, 10, (groups, 1, *g.kernel)) * one_of(rng, 1, 1, 1e-200, 1e200)
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


def layouts(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield a weight with and without groups, and the same numbers in the layout of every dialect."""
    for _ in range(count):
        ndim, groups = int(one_of(rng, 1, 2, 3)), int(one_of(rng, 1, 2, 3))
        shape = groups * int(rng.integers(1, 3)), int(rng.integers(1, 3)), *integers(rng, 1, 3, ndim)
        w = rng.permutation(int(np.prod(shape))).reshape(shape)
        native = {}
        for name in dialects.names():
            member, more = tconv.dialect(name), {"groups": groups} if name == "openvino" else {}
            if ndim >= member.ranks[0]:
                layout = member.weight_layout(ndim, **more)
                array = layout.native(w, groups)
                axes = "".join(axis if isinstance(axis, str) else "*" for axis in layout.axes)
                native[name] = {
                    "pattern": axes.replace("*" * ndim, "*"),
                    "grouped": layout.grouped,
                    "flip": layout.flip,
                    "data": member.data_patterns[0],
                    "shape": array.shape,
                    "numbers": array.ravel().tolist(),
                }
        yield {"groups": groups, "shape": shape, "numbers": w.ravel().tolist(), "native": native}


def bilinear(rng: np.random.Generator, count: int) -> Iterator[dict[str, Any]]:
    """Yield weights of linear interpolation, also for kernels that are too short for it."""
    for _ in range(count):
        ndim, groups = int(one_of(rng, 1, 2)), int(one_of(rng, 1, 2))
        g = random_geometry(rng, ndim, groups)
        shape = groups * int(rng.integers(1, 6)), int(rng.integers(1, 6)), *g.kernel
        drawn = answer(lambda: bilinear_weight(shape, g.stride, groups).ravel().tolist())  # noqa: B023
        yield {"geometry": described(g), "shape": shape, **drawn}


KINDS = {each.__name__: each for each in (calls, geometries, scenes, shapes, solver, gains, squares, layouts, bilinear)}


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
    print(json.dumps(vectors, allow_nan=False))


if __name__ == "__main__":
    main()
