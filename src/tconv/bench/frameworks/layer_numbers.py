"""The numbers of a layer's case: x, weight and the gradient of y, with float64 references for y and both gradients.

The reference output is that of `correctness_gate`, which compares it with the definition. The gradients follow from
the definition tap by tap, and are checked by what they are: <dy, T(x, w)> = <x, dx> = <w, dw>.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv import Geometry
from tconv.bench import correctness_gate
from tconv.bench.dtypes import rounded, summed
from tconv.bench.frameworks.interface import Gap
from tconv.bench.layers import Layer
from tconv.errors import TconvError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array

_PIECES = 1 << 23  # numbers that are copied for one product
_IDENTITY = 1e-10  # largest relative difference of the three sides of the identity, in float64


class Expected(NamedTuple):
    """A float64 array, its root mean square, and the number of terms of its longest sum."""

    array: Array
    rms: float
    terms: int

    def gap(self, output: Array, dtype: str, place: str, once: bool) -> Gap:
        """Return the distance of an output, in units of the root mean square, and the largest that rounding explains.

        `once` says that a 2-byte output is rounded once.
        """
        allowed = correctness_gate.limits(self.terms, dtype, dtype, once)
        shape = (1, *output.shape[:1], math.prod(output.shape[1:])) if place == WEIGHT else output.shape
        got, right = output.reshape(shape), self.array.reshape(shape if output.size == self.array.size else -1)
        compared = correctness_gate.compare(got, right, self.rms, allowed)
        return Gap(compared.error, allowed.sums, place)


OUTPUT, INPUT, WEIGHT = "the output", "the gradient of the input", "the gradient of the weight"


class LayerNumbers(NamedTuple):
    """Canonical arrays of a layer, rounded to its dtype and stored in the dtype of its sums, and references."""

    x: Array
    weight: Array
    cotangent: Array
    """Gradient of a loss by y."""
    right: dict[str, Expected]


def numbers(layer: Layer, dtype: str, trained: bool, seed: int = 0) -> LayerNumbers:
    """Return random numbers of a layer, with the reference of y, or with `trained` of both gradients."""
    with tempfile.TemporaryDirectory(prefix="tconv-bench-") as folder:
        reference = correctness_gate.write_reference(layer, dtype, Path(folder), seed)
        x, w, y = (np.load(Path(folder) / f"{name}.npy") for name in ("x", "w", "reference"))
    stored = np.dtype(summed(dtype)).type
    cotangent = rounded(np.random.default_rng(seed + 1).standard_normal(layer.output_shape, stored), dtype)
    if not trained:
        return LayerNumbers(x, w, cotangent, {OUTPUT: Expected(y, reference.rms, layer.terms)})
    g = layer.geometry
    dx, dw = gradients(g, x, w, cotangent)
    _check_identity(layer, [(cotangent, y), (x, dx), (w, dw)])
    taps = math.prod(g.kernel) * layer.out_channels // g.groups
    positions = layer.batch * math.prod(layer.input_shape)
    right = {INPUT: Expected(dx, _rms(dx), taps), WEIGHT: Expected(dw, _rms(dw), positions)}
    return LayerNumbers(x, w, cotangent, right)


def gradients(g: Geometry, x: Array, w: Array, cotangent: Array) -> tuple[Array, Array]:
    """Return the gradients of x [N, C_in, *n] and w [C_in, C_out/g, *k] for that of y [N, C_out, *L], in float64.

    As y is cut out of full[s*i + d*t] += x[i] * w[t], each tap adds the inputs' places of `cotangent` times w[t].
    """
    n, sizes = len(x), x.shape[2:]
    full = np.zeros((*cotangent.shape[:2], *g.full_shape(sizes)))
    inside = [slice(max(0, lo), size - max(0, hi)) for (lo, hi), size in zip(g.crop, full.shape[2:], strict=True)]
    kept = [slice(max(0, -lo), L - max(0, -hi)) for (lo, hi), L in zip(g.crop, cotangent.shape[2:], strict=True)]
    into: Any = (..., *inside)
    out_of: Any = (..., *kept)
    full[into] = cotangent[out_of]
    split = x.astype(np.float64).reshape(n, g.groups, -1, math.prod(sizes))
    channels = w.shape[1]
    # [taps, G, I, O]; several taps at a time are one product of matrices
    weight = w.astype(np.float64).reshape(g.groups, -1, channels, math.prod(g.kernel)).transpose(3, 0, 1, 2)
    dx, dw = np.zeros_like(split), np.zeros(weight.shape)
    taps = list(np.ndindex(*g.kernel))
    at_once = max(1, _PIECES // max(1, cotangent.size // math.prod(g.stride)))
    for first in range(0, len(taps), at_once):
        chosen = slice(first, first + at_once)
        pieces = np.stack([_piece(full, g, tap, sizes) for tap in taps[chosen]], 2)
        flat = pieces.reshape(n, g.groups, -1, split.shape[-1])  # [N, G, taps * O, positions]
        dx += weight[chosen].transpose(1, 2, 0, 3).reshape(g.groups, -1, flat.shape[2]) @ flat
        product = (split @ flat.swapaxes(-1, -2)).sum(0).reshape(g.groups, -1, pieces.shape[2], channels)
        dw[chosen] = product.transpose(2, 0, 1, 3)
    return dx.reshape(x.shape), dw.transpose(1, 2, 3, 0).reshape(w.shape)


def _piece(full: Array, g: Geometry, tap: tuple[int, ...], sizes: tuple[int, ...]) -> Array:
    """Return the places of the full output that a tap of each input reaches, [N, G, C_out/g, positions]."""
    axes = zip(tap, g.stride, g.dilation, sizes, strict=True)
    places = [slice(d * t, d * t + s * (size - 1) + 1, s) for t, s, d, size in axes]
    where: Any = (..., *places)
    piece: Array = full[where].reshape(len(full), g.groups, -1, math.prod(sizes))
    return piece


def _check_identity(layer: Layer, pairs: list[tuple[Array, Array]]) -> None:
    """Raise TconvError unless all pairs of arrays have the same inner product."""
    products = [float(np.vdot(a.astype(np.float64), b)) for a, b in pairs]
    scale = max(float(np.linalg.norm(a)) * float(np.linalg.norm(b)) for a, b in pairs)
    if not max(products) - min(products) <= _IDENTITY * scale:
        raise TconvError(
            f"layer {layer.name!r}: the float64 gradients do not fit the output: the inner products are {products}; no "
            "side can be checked against them. Report this as a bug, with the output of tconv env"
        )


def _rms(array: Array) -> float:
    return float(np.linalg.norm(array)) / math.sqrt(max(1, array.size))
