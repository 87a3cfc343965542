"""The checkerboard of a transposed convolution, from its actual weights: how strong, where from, and what ends it.

Outputs of different phases (places modulo the stride) read the input through different taps. If the taps of phase r sum
to G[r] (its DC gain), an input that is constant over space comes out as the pattern G[r], repeated with the stride: a
checkerboard, unless all phases have the same gain. A kernel that is a multiple of the stride gives every phase as many
taps, which is not the same. Source: Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill;
the initialisation is Aitken et al. 2017, arXiv:1707.02937.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv import arrays
from tconv.dialects import dialect as find_dialect
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.functional import conv_transpose
from tconv.geometry import Geometry, Phase, shown
from tconv.planning import is_finite

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray[Any, Any]

VISIBLE = 0.02
"""A pattern of 2 % of the output's root mean square; below it the report calls a layer even."""


@dataclass(frozen=True, eq=False)
class Checkerboard:
    """How much of the output a pattern of phases is. `print` it.

    `score` is in [0, 1]: for inputs that are constant over space (or that have the channel means that were given), the
    root mean square of what differs between phases, over that of the whole output without bias. 0 is no checkerboard; 1
    is nothing but checkerboard. Channels of the input are taken as independent and of equal power.
    """

    score: float
    by_channel: Array
    """The same score of each output channel of the last layer, [C_out]."""
    response: Array
    """Output [C_in, C_out, *period] for a constant 1 in each input channel, over one period of all strides."""
    layers: tuple[float, ...]
    """The score of each layer by itself."""
    overlaps: tuple[tuple[tuple[int, ...], ...], ...]
    """Taps per phase, per layer and axis."""
    stack: tuple[tuple[Array, Geometry], ...] = field(repr=False)

    @property
    def period(self) -> tuple[int, ...]:
        """After how many outputs the pattern repeats, per axis: the product of the strides."""
        return tuple(self.response.shape[2:])

    @property
    def gains(self) -> Array:
        """DC gain per phase and output channel, [C_out, *period]: root mean square over input channels."""
        return _rms(self.response, 0)

    @property
    def spreads(self) -> Array:
        """How far each phase's gain is from the mean over phases, [C_out, *period]: root mean square over inputs."""
        return _rms(self.response - self.response.mean(tuple(range(2, self.response.ndim)), keepdims=True), 0)

    def draw(self, after: Checkerboard | None = None, *, ax: Axes | None = None) -> Axes:
        """The response to a constant input as a picture, and that of mended weights beside it."""
        from tconv import draw

        return draw.response(self, after, ax=ax)

    def __str__(self) -> str:
        grade = "even" if self.score < VISIBLE else "a checkerboard"
        lines = [
            f"score     {self.score:.3f}: {self.score:.1%} of the output's root mean square is a pattern of "
            f"phases ({grade})"
        ]
        for number, (own, counts, (_, g)) in enumerate(zip(self.layers, self.overlaps, self.stack, strict=True), 1):
            name = f"layer {number}" if len(self.layers) > 1 else "layer"
            same = all(len(set(row)) == 1 for row in counts)
            words = "as many taps in every phase" if same else "uneven taps per phase"
            lines.append(
                f"{name:<10}{own:.3f} by itself; kernel {g.kernel}, stride {g.stride}: {words} {_listed(counts)}"
            )
        channels = self.by_channel
        lines.append(
            f"channels  worst {channels.max():.3f} (channel {int(channels.argmax())}), best {channels.min():.3f}"
        )
        if math.prod(self.period) <= 64:
            for name, numbers in (("gain", self.gains), ("spread", self.spreads)):
                rows = np.array2string(_rms(numbers, 0), precision=3, separator=", ").replace("\n", "\n          ")
                words = "" if name == "gain" else ", from the mean over phases"
                lines.append(f"{name:<10}per phase{words}, root mean square over channels:\n          {rows}")
        lines += [f"remedy    {words}" for words in self._remedies()]
        return "\n".join(lines)

    def _remedies(self) -> list[str]:
        if self.score < VISIBLE:
            return []
        found = []
        for number, (own, counts, (_, g)) in enumerate(zip(self.layers, self.overlaps, self.stack, strict=True), 1):
            where = f" (layer {number})" if len(self.layers) > 1 else ""
            if own < VISIBLE:
                continue
            if min(map(min, counts)) == 0:
                found.append(
                    f"phases without a tap cannot be mended{where}: train with a kernel of at least the stride "
                    f"{g.stride}"
                )
                continue
            found.append(
                f"weight = tconv.artifacts.equalise(weight, ...): every phase the same gain, the mean kept{where}"
            )
            even = all(len(set(row)) == 1 for row in counts)
            multiple = (
                ""
                if even
                else f", with a kernel that is a multiple of the stride {g.stride}, which alone is not enough"
            )
            found.append(f"before training anew: weight = tconv.artifacts.icnr(weight, ...){multiple}{where}")
        return found


def _rms(array: Array, axis: int) -> Array:
    """Root of the mean of the squares along an axis."""
    root: Array = np.sqrt((np.abs(array) ** 2).mean(axis))
    return root


def _listed(counts: tuple[tuple[int, ...], ...]) -> str:
    rows = [" ".join(map(str, row[:16])) + (" ..." if len(row) > 16 else "") for row in counts]
    return f"({rows[0]})" if len(set(rows)) == 1 else f"({' | '.join(rows)})"


def checkerboard(
    weight: Any, *, mean: Any = None, dialect: str = "torch", geometry: Geometry | None = None, **native: Any
) -> Checkerboard:
    """How much checkerboard a transposed convolution, or a stack of them, makes with these weights.

    >>> import numpy as np, tconv
    >>> rng = np.random.default_rng(0)
    >>> w = rng.standard_normal((8, 4, 4, 4))                        # the kernel is a multiple of the stride
    >>> bad = tconv.checkerboard(w, stride=2, padding=1)
    >>> round(bad.score, 2)
    0.87
    >>> good = tconv.checkerboard(tconv.artifacts.equalise(w, stride=2, padding=1), stride=2, padding=1)
    >>> good.score < 1e-12
    True

    weight is in the dialect's layout and `native` are the layer's arguments, or `geometry` says it in PyTorch's layout.
    A stack is a list of (weight, arguments): [(w1, {"stride": 2}), (w2, {"stride": 2, "padding": 1})], first layer
    first; activations between them are left out, and borders. `mean` [C_in] is the mean of each input channel, where it
    is known (behind a ReLU, say): the score is then that of this one constant input.

    The layer's own numbers are exact sums over taps; a stack's are its response in float64, over one period.
    Raises ShapeError, GeometryError, ArgumentError, DialectError.
    """
    stack = _stack(weight, dialect, geometry, native)
    response = _response(stack)
    weights = _mean(mean, response.shape[0])
    power = response if weights is None else np.tensordot(weights, response, (0, 0))[None]
    single = tuple(_score(_gains(w, g))[0] for w, g in stack)
    score, by_channel = _score(power)
    return Checkerboard(score, by_channel, response, single, tuple(g.overlap for _, g in stack), stack)


def equalise(weight: Any, *, dialect: str = "torch", geometry: Geometry | None = None, **native: Any) -> Any:
    """The weight with the least change that gives every phase the same DC gain; its mean gain stays.

    >>> import numpy as np, tconv
    >>> w = np.float64([[[1, 2, 1]]])                                # phases of stride 2: taps 0 and 2, tap 1
    >>> tconv.artifacts.equalise(w + [[[0, 1, 0]]], stride=2)
    array([[[1.25, 2.5 , 1.25]]])

    For each pair of channels, each tap of phase r grows by (mean of the gains - gain of r) / (taps of r): of all the
    weights with equal gains and this mean the nearest in the sense of least squares. A constant input comes out
    constant, borders apart. Arguments as `checkerboard`; the result is of the weight's library, layout and dtype.

    Raises GeometryError where a phase has no tap (a kernel smaller than the stride).
    """
    library, w, g, back = _one(weight, dialect, geometry, native)
    if min(map(min, g.overlap)) == 0:
        raise GeometryError(
            f"kernel {g.kernel} with stride {g.stride} and dilation {g.dilation} leaves phases without a tap, whose "
            "gain is 0 whatever the weight is. Write a kernel of at least the stride, and train again"
        )
    made: Array = w.astype(_wide(w))
    gains = _gains(made, g, grouped=True)
    goal = gains.mean(tuple(range(2, gains.ndim)))
    for phase in g.phases:
        lacking = (goal - gains[_place(phase)]) / phase.tap_count
        made[_taps(phase)] += lacking.reshape(*lacking.shape, *[1] * g.ndim)
    return arrays.give(back(made), library)


def icnr(weight: Any, *, dialect: str = "torch", geometry: Geometry | None = None, **native: Any) -> Any:
    """A freshly drawn weight with the taps of phase 0 given to every phase: training starts without a checkerboard.

    >>> import numpy as np, tconv
    >>> tconv.artifacts.icnr(np.float32([[[1, 2, 3, 4]]]), stride=2)
    array([[[1., 1., 3., 3.]]], dtype=float32)

    The layer then is nearest-neighbour upsampling followed by a convolution with kernel/stride taps. Sub-pixel
    convolutions do the same with their channels (Aitken et al. 2017). Every phase needs as many taps: a kernel that is
    a multiple of the stride. Arguments as `checkerboard`; the result is of the weight's library, layout and dtype.

    Raises GeometryError for a kernel whose phases have different numbers of taps.
    """
    library, w, g, back = _one(weight, dialect, geometry, native)
    if any(len(set(row)) > 1 for row in g.overlap):
        more = tuple(-(-k // s) * s for k, s in zip(g.kernel, g.stride, strict=True))
        raise GeometryError(
            f"kernel {g.kernel} with stride {g.stride} and dilation {g.dilation} has {_listed(g.overlap)} taps per "
            "phase; ICNR copies one phase to all, which need as many. Write a kernel that is a multiple of the "
            f"stride, {more}"
        )
    made = w.copy()
    first = w[_taps(g.phases[0])].copy()
    for phase in g.phases:
        made[_taps(phase)] = first
    return arrays.give(back(made), library)


# -- reading ----------------------------------------------------------------------------------------------------------


def _wide(w: Array) -> type:
    return np.complex128 if w.dtype.kind == "c" else np.float64


def _one(
    weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], read: Any = arrays.take
) -> tuple[str, Array, Geometry, Any]:
    """The library, the canonical weight, its geometry, and the way back to the native array."""
    library, taken = read(weight, "weight")
    speaker = find_dialect(dialect)
    if geometry is not None:
        if native or dialect != "torch":
            raise ArgumentError(
                "geometry= was given together with other words; it says all of that. Write geometry= alone"
            )
        if not isinstance(geometry, Geometry):
            raise ArgumentError(
                f"geometry is {shown(geometry)}; a tconv.Geometry is needed. Write tconv.Geometry(kernel=3)"
            )
        g, groups, layout = geometry, geometry.groups, {}
    else:
        call = speaker.read_alone(taken.shape, native)
        if call is None:
            raise ArgumentError(
                f"these words of the {dialect} dialect need the input's size. Write "
                f"geometry=tconv.dialect({dialect!r})."
                "geometry(kernel=, input=, ...), and the weight in PyTorch's layout"
            )
        g, groups = call.geometry, call.geometry.groups
        layout = {name: value for name, value in native.items() if name in speaker.layout_arguments}
    canonical = speaker.to_canonical(taken, groups, **layout)
    if canonical.shape[2:] != g.kernel:
        raise ShapeError(
            f"weight has shape {taken.shape}; geometry.kernel is {g.kernel}. Write a Geometry with this weight's kernel"
        )

    if taken.size == 0 or not is_finite(taken):
        what = "no element" if taken.size == 0 else "NaN or inf"
        raise ShapeError(f"weight has shape {taken.shape} and {what}. Write a weight of finite numbers")

    def back(made: Array) -> Array:
        return np.array(speaker.to_native(made, groups, **layout), dtype=taken.dtype, order="C")

    return library, canonical, g, back


def _stack(
    weight: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any]
) -> tuple[tuple[Array, Geometry], ...]:
    """Canonical weights in float64 with their geometries, first layer first."""
    if not isinstance(weight, (list, tuple)):
        _, w, g, _ = _one(weight, dialect, geometry, native, arrays.look)
        return ((w.astype(_wide(w)), g),)
    if native or geometry is not None:
        raise ArgumentError(
            "a stack says each layer's arguments in its list. Write [(weight, {'stride': 2}), ...] alone"
        )
    found: list[tuple[Array, Geometry]] = []
    for entry in weight:
        if not (isinstance(entry, Sequence) and len(entry) == 2 and isinstance(entry[1], dict)):
            raise ArgumentError(
                f"the stack holds {shown(entry)}; pairs of a weight and its arguments are needed. "
                "Write [(w1, {'stride': 2}), (w2, {'stride': 2})]"
            )
        words = dict(entry[1])
        _, w, g, _ = _one(entry[0], words.pop("dialect", dialect), words.pop("geometry", None), words, arrays.look)
        if found and (w.shape[0] != found[-1][0].shape[1] * found[-1][1].groups or w.ndim != found[-1][0].ndim):
            before = found[-1][0].shape[1] * found[-1][1].groups
            raise ShapeError(
                f"layer {len(found) + 1} takes {w.shape[0]} channels, and the layer before it gives {before}. "
                "Write the weights of consecutive layers"
            )
        found.append((w.astype(_wide(w)), g))
    if not found:
        raise ArgumentError("the stack is empty; at least one layer is needed. Write [(weight, {'stride': 2})]")
    return tuple(found)


def _mean(mean: Any, channels: int) -> Array | None:
    if mean is None:
        return None
    _, taken = arrays.look(mean, "mean")
    if taken.shape != (channels,):
        raise ShapeError(
            f"mean has shape {taken.shape}; one number per input channel is needed: ({channels},). Write "
            "x.mean((0, 2, 3))"
        )
    return taken.astype(np.float64)


# -- gains ------------------------------------------------------------------------------------------------------------


def _taps(phase: Phase) -> Any:
    """The index of a weight that picks the taps of a phase, as a grid."""
    return (..., *np.ix_(*(np.array(taps, int) for taps in phase.taps)))


def _place(phase: Phase) -> Any:
    """The index of gains that picks a phase."""
    return (..., *phase.offset)


def _gains(w: Array, g: Geometry, *, grouped: bool = False) -> Array:
    """DC gain of each phase [C_in, C_out/groups, *stride]; with all pairs of channels unless `grouped`."""
    gains = np.zeros((*w.shape[:2], *g.stride), w.dtype)
    for phase in g.phases:
        if phase.tap_count:
            gains[_place(phase)] = w[_taps(phase)].sum(tuple(range(2, w.ndim)))
    if grouped or g.groups == 1:
        return gains
    spread = np.zeros((w.shape[0], w.shape[1] * g.groups, *g.stride), w.dtype)
    inner = w.shape[0] // g.groups
    for group in range(g.groups):
        rows, columns = slice(group * inner, (group + 1) * inner), slice(group * w.shape[1], (group + 1) * w.shape[1])
        spread[rows, columns] = gains[rows]
    return spread


def _score(response: Array) -> tuple[float, Array]:
    """sqrt(sum |G - mean over phases|^2 / sum |G|^2), of all channels and of each output channel."""
    axes = tuple(range(2, response.ndim))
    largest = float(np.abs(response).max(initial=0.0))
    response = response / largest if largest > 0 else response  # squares of very large and very small numbers are none
    pattern = np.abs(response - response.mean(axes, keepdims=True)) ** 2
    whole = np.abs(response) ** 2
    each, all_of = (np.sum(part, axis=(0, *axes)) for part in (pattern, whole))
    with np.errstate(invalid="ignore", divide="ignore"):
        channels: Array = np.sqrt(np.where(all_of > 0, each / all_of, 0.0))
    total = float(all_of.sum())
    return (math.sqrt(float(each.sum()) / total) if total > 0 else 0.0), channels


def _response(stack: Sequence[tuple[Array, Geometry]]) -> Array:
    """[C_in, C_out, *period]: what a constant 1 in each input channel becomes, far from any border."""
    if len(stack) == 1:
        return _gains(*stack[0])
    ndim = stack[0][1].ndim
    period = tuple(math.prod(g.stride[axis] for _, g in stack) for axis in range(ndim))
    plain = [(w, replace(g, crop=((0, 0),) * ndim)) for w, g in stack]
    windows = [tuple(slice(0, size) for size in period)]
    for _, g in reversed(plain):
        needed = g.input_window(windows[-1])
        # a phase without a tap needs no input, and a window needs one
        windows.append(tuple(part if part.start < part.stop else slice(0, 1) for part in needed))
    windows.reverse()
    channels = stack[0][0].shape[0]
    ones = np.ones(tuple(part.stop - part.start for part in windows[0]))
    x = np.eye(channels).reshape(channels, channels, *[1] * ndim) * ones
    for (w, g), inner, outer in zip(plain, windows, windows[1:], strict=False):
        front = [part.start - s * first.start for part, first, s in zip(outer, inner, g.stride, strict=True)]
        sizes = [part.stop - part.start for part in outer]
        full = g.full_shape(x.shape[2:])
        crop = tuple((lo, F - lo - L) for lo, F, L in zip(front, full, sizes, strict=True))
        x = np.asarray(conv_transpose(x.astype(w.dtype), w, geometry=replace(g, crop=crop)))
    return x
