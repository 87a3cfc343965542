"""Random calls in the words of every dialect, for tests of the faces against the result on NumPy arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from harness import as_native

import tconv
from random_calls import random_geometry, whole_numbers


class NativeCall(NamedTuple):
    """A call of a dialect, on whole numbers that float32 sums exactly."""

    dialect: str
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    native: dict[str, Any]

    @property
    def y(self) -> np.ndarray:
        """The result of NumPy's kernels."""
        return tconv.conv_transpose(self.x, self.weight, self.bias, dialect=self.dialect, **self.native)

    def direction(self, rng: np.random.Generator, weight: np.ndarray) -> float:
        """Return <cotangent, T(x, weight)>, the derivative along another weight, for the cotangent of `y`."""
        y = tconv.conv_transpose(self.x.astype("d"), weight.astype("d"), dialect=self.dialect, **self.native)
        return float((y * self.cotangent(rng)).sum())

    def cotangent(self, rng: np.random.Generator) -> np.ndarray:
        """Return whole numbers of the shape of y."""
        return whole_numbers(rng, self.y.shape)


def random_native_calls(seed: Any, count: int, ranks: tuple[int, int] = (1, 3)) -> list[NativeCall]:
    """Return `count` calls for each dialect, of the geometries that its arguments can express."""
    calls = []
    for name in tconv.dialects.names():
        rng = np.random.default_rng([seed, len(calls)])
        dialect = tconv.dialect(name)
        least, most = dialect.ranks
        ndims = range(max(ranks[0], least), min(ranks[1], most or ranks[1]) + 1)
        found = 0
        for _ in range(200):
            g, n = random_geometry(
                rng, ndims, n=(1, 5), d=(1, 2), dilated=0.4, crop=(-2, 3), cropped=0.6, groups=(1, 1, 2)
            )
            try:
                native = dialect.arguments(g, n)
            except tconv.TconvError:
                continue
            layout = dialect.data_layout(g.ndim, g.ndim + 2)
            x = whole_numbers(rng, (2 if "N" in layout.axes else 1, 2 * g.groups, *n))
            w = whole_numbers(rng, (2 * g.groups, 3, *g.kernel))
            bias = whole_numbers(rng, (3 * g.groups,)) if rng.random() < 0.4 else None
            weight = np.array(dialect.to_native(w, g.groups), order="C")
            calls.append(NativeCall(name, as_native(layout, x), weight, bias, native))
            found += 1
            if found == count:
                break
        assert found == count, name
    return calls
