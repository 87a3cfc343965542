"""Random calls of the operator in standard operators, in random layouts, with their exact results in whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import tconv
from random_calls import has_output, random_crop, random_sizes, whole_numbers
from random_calls.sizes import chance, choice, integer
from tconv.dialects import DataLayout, WeightLayout
from tconv.geometry import Geometry


@dataclass(frozen=True)
class Call:
    """One call: native arrays, their layouts, and the geometry between them."""

    geometry: Geometry
    data: DataLayout
    weight_layout: WeightLayout
    result: DataLayout
    x: np.ndarray
    w: np.ndarray
    """Canonical weight."""
    y: np.ndarray
    """Native array with the shape of the output."""

    @property
    def weight(self) -> np.ndarray:
        return np.ascontiguousarray(self.weight_layout.native(self.w, self.geometry.groups))

    @property
    def forward(self) -> np.ndarray:
        return self._exact(tconv.definition.scatter, self.x, self.data, self.result)

    @property
    def adjoint(self) -> np.ndarray:
        return self._exact(tconv.definition.conv, self.y, self.result, self.data)

    def _exact(self, definition, array, layout, result):
        arrays = [each.astype(wide(each.dtype)) for each in (layout.canonical(array), self.w)]
        return native(definition(*arrays, geometry=self.geometry), result).astype(array.dtype)

    @property
    def weight_gradient(self) -> np.ndarray:
        x, y = self.data.canonical(self.x), self.result.canonical(self.y)
        g = self.geometry
        dtype = wide(x.dtype)
        G, spatial = g.groups, tuple(range(3, 3 + g.ndim))
        x = x.reshape(x.shape[0], G, x.shape[1] // G, *x.shape[2:]).astype(dtype)
        y = y.reshape(y.shape[0], G, y.shape[1] // G, *y.shape[2:]).astype(dtype)
        w = np.zeros((G, x.shape[2], y.shape[2], *g.kernel), dtype)
        for i in np.ndindex(*x.shape[3:]):
            for t in np.ndindex(*g.kernel):
                at = [
                    s * a + d * b - lo for a, b, s, d, (lo, _) in zip(i, t, g.stride, g.dilation, g.crop, strict=True)
                ]
                if all(0 <= p < L for p, L in zip(at, [y.shape[axis] for axis in spatial], strict=True)):
                    w[:, :, :, *t] += np.einsum("ngc,ngo->gco", x[:, :, :, *i], y[:, :, :, *at])
        w = w.reshape(G * w.shape[1], *w.shape[2:]).astype(self.x.dtype)
        return self.weight_layout.native(w, G)


def wide(dtype):
    """Return the dtype in which the definition is exact; NumPy's own kinds do not include bfloat16."""
    return dtype if dtype.kind in "iuc" else np.dtype("float64")


def native(y: np.ndarray, layout: DataLayout) -> np.ndarray:
    order = ["N", "C", *sorted(axis for axis in layout.axes if isinstance(axis, int))]
    if "N" not in layout.axes:
        y, order = y[0], order[1:]
    return y.transpose([order.index(axis) for axis in layout.axes])


def random_layouts(rng, ndim, batched, plain):
    """Draw layouts of x, weight and y: those of the frameworks, or any order of axes."""
    if plain:
        return [DataLayout.of("N*C", ndim)] * 2 + [WeightLayout.of("*OI", ndim, "O")]
    spatial = list(range(ndim))
    shuffled = lambda axes: tuple(axes[i] for i in rng.permutation(len(axes)))  # noqa: E731
    letters = ["N", "C"] if batched else ["C"]
    grouped = choice(rng, ["I", "O", "G"])
    axes = ["I", "O", *spatial, *(["G"] if grouped == "G" else [])]
    data, result = (DataLayout(shuffled([*letters, *spatial])) for _ in range(2))
    return [data, result, WeightLayout(shuffled(axes), grouped, chance(rng, 0.5))]


def random_call(rng, ndims=(1, 2, 3), dtype="float32", groups=(1, 1, 2, 3), plain=0.4, batch=(0, 3), **spans):
    """Draw a call whose output has an element."""
    while True:
        ndim = choice(rng, ndims)
        spans = {"n": (1, 5), "k": (1, 5), "s": (1, 4), "d": (1, 3), "strided": 0.8, "dilated": 0.4, **spans}
        sizes = random_sizes(rng, ndim, groups=groups, **spans)
        g = sizes.geometry(random_crop(rng, ndim, (-3, 6), 0.7))
        if has_output(g, sizes.n):
            break
    batched = chance(rng, 0.85)
    data, result, weight_layout = random_layouts(rng, ndim, batched, batched and chance(rng, plain))
    count = integer(rng, batch) if batched else 1
    x = native(whole_numbers(rng, (count, sizes.c_in, *sizes.n), dtype), data)
    w = whole_numbers(rng, (sizes.c_in, sizes.out_per_group, *sizes.k), dtype)
    y = native(whole_numbers(rng, (count, sizes.c_out, *g.output_shape(sizes.n)), dtype), result)
    if np.dtype(dtype).kind == "c":
        x, w, y = x + 2j * x[::-1], w - 3j * w[::-1], y + 1j * y[::-1]
    return Call(g, data, weight_layout, result, *(np.ascontiguousarray(each) for each in (x, w, y)))


def longer(rng, call):
    """Return the call with a longer y, whose convolution has the same size: elements that no window reads."""
    g = call.geometry
    pairs = [
        (0, integer(rng, (0, g.stride[axis] - 1))) if isinstance(axis, int) else (0, 0) for axis in call.result.axes
    ]
    y = np.pad(call.y, pairs, constant_values=5)
    return Call(g, call.data, call.weight_layout, call.result, call.x, call.w, y)


def check(backend, call, run, take=np.asarray):
    """Compare the three functions with the definition; `run` calls a function of two arrays, compiled or not."""
    g, layouts = call.geometry, (call.data, call.weight_layout, call.result)
    checks = {
        "conv_transpose": (lambda x, w: backend.conv_transpose(x, w, g, *layouts), (call.x, call.weight), call.forward),
        "conv": (
            lambda y, w: backend.conv(y, w, g, call.result, call.weight_layout, call.data),
            (call.y, call.weight),
            call.adjoint,
        ),
        "weight_gradient": (
            lambda x, y: backend.weight_gradient(x, y, g, call.data, call.result, call.weight_layout),
            (call.x, call.y),
            call.weight_gradient,
        ),
    }
    for name, (function, arrays, expected) in checks.items():
        if name == "conv_transpose" and call.y.shape != expected.shape:
            continue  # a longer y
        got = take(run(function, *arrays))
        assert got.shape == expected.shape, (name, call, got.shape, expected.shape)
        assert got.dtype == expected.dtype, (name, got.dtype, expected.dtype)
        np.testing.assert_array_equal(
            got, expected, f"{name} {call.geometry} {call.data} {call.weight_layout} {call.result}"
        )
