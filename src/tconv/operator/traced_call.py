"""Reading of a call whose arrays are traced or differentiated: they have shapes and dtypes, and no numbers to look at.

Each framework's face runs such a call on operators that its gradients and transforms follow. The arguments of any
dialect are read here, by the rules of `read_call`, on stand-ins of the arrays. A size of x may be unknown where it
does not change what the arguments mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arguments import sizes_text
from tconv._arrays import Array
from tconv.dialects import DataLayout, NativeCall, WeightLayout, dialect
from tconv.errors import ArgumentError, ArrayError, ShapeError, TconvError
from tconv.geometry import Geometry
from tconv.operator.call_reading import GivenCall, read_taken_call


class Face(NamedTuple):
    """A framework whose operators run traced calls, as the reading and its messages know it."""

    library: str
    """Name in the registry of arrays."""
    operators: str
    """Name of its operators, for messages."""
    kinds: tuple[type, ...]
    """Types of its arrays."""
    describe: Callable[[Any, str], tuple[tuple[Any, ...], np.dtype[Any]]]
    """Shape and dtype of one of its arrays; entries that are no integers are unknown sizes."""
    instead: str
    """Code that leaves the gradient or the transform, for messages."""
    with_sizes: str = "arrays of known sizes"
    """Code that makes sizes of {name} known, for messages."""


class TracedCall(NamedTuple):
    """Meaning of a call in native layouts, as the operators of the faces take it."""

    geometry: Geometry
    data: DataLayout
    weight: WeightLayout
    result: DataLayout
    is_integer: bool
    """True for integers, which are summed and returned as int64."""


def read_traced_call(face: Face, given: GivenCall) -> TracedCall:
    """Return the meaning of a call, after the checks of `read_call`.

    Raises its errors, ArgumentError for `out` and for another method than "auto", ArrayError for arrays of several
    libraries, ShapeError for unknown sizes that have to be known.
    """
    described = describe_arrays(face, given)
    for key in ("weight", "bias"):
        if key in described and (unknown := _unknown(described[key][0])):
            raise ShapeError(
                f"{key} has shape {sizes_text(described[key][0])}, of unknown size on axis {unknown[0]}; every size of "
                f"it has to be known. Write {face.with_sizes.format(name=key)}"
            )
    shape, dtype = described["x"]
    weight_in, bias_in = (_stand_in(*described[key]) if key in described else None for key in ("weight", "bias"))
    assert weight_in is not None
    meaning = given.dialect, given.geometry, given.native
    reading = _Reading(face, shape, weight_in.shape, *meaning, given.adjoint)
    sizes = reading.sizes()
    with reading.shown_as_given(sizes):
        call = read_taken_call(
            face.library, _stand_in(sizes, dtype), weight_in, bias_in, *meaning, adjoint=given.adjoint, finite=True
        )
    problem = call.problem
    return TracedCall(problem.geometry, call.data, call.weight_layout, call.result, problem.dtype.kind in "iu")


def describe_arrays(face: Face, given: GivenCall) -> dict[str, tuple[tuple[Any, ...], np.dtype[Any]]]:
    """Return the shapes and dtypes of a call's arrays, by the names of its arguments; no bias if it is None.

    Raises ArgumentError for `out` and for another method than "auto", ArrayError for arrays of several libraries.
    """
    for argument, is_given in (("out", given.out is not None), ("method", given.method != "auto")):
        if is_given:
            raise ArgumentError(
                f"{argument}= was given, and the call is differentiated or traced, so it runs on {face.operators}. "
                f"Leave out {argument}=, or write {face.instead}"
            )
    arrays = {"x": given.x, "weight": given.weight, **({} if given.bias is None else {"bias": given.bias})}
    return {key: _described(face, array, key) for key, array in arrays.items()}


def _described(face: Face, array: Any, name: str) -> tuple[tuple[Any, ...], np.dtype[Any]]:
    """Return the shape and dtype of an array. Raises ArrayError for one of another library."""
    if isinstance(array, face.kinds):
        return face.describe(array, name)
    library, numbers = _arrays.take(array, name)
    raise ArrayError(
        f"the call mixes libraries: {name} is from {library}, others from {face.library}; one is needed. "
        f"Write {_arrays.adopted(face.library, library, name, numbers.dtype.name)}"
    )


def _stand_in(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """Return an array of a shape and dtype, without memory."""
    return np.broadcast_to(np.zeros((), dtype), tuple(shape))


def _unknown(shape: Sequence[Any]) -> list[int]:
    """Return the axes of unknown size."""
    return [axis for axis, size in enumerate(shape) if not isinstance(size, int)]


class _Reading(NamedTuple):
    """Shape of x and arguments of one call, of which the sizes that are unknown are chosen."""

    face: Face
    shape: tuple[Any, ...]
    weight_shape: tuple[int, ...]
    name: str
    geometry: Any
    native: dict[str, Any]
    adjoint: bool

    def sizes(self) -> tuple[int, ...]:
        """Return the shape of x with sizes in place of the unknown ones, of which an output has elements.

        Raises ShapeError if the number of channels is unknown, or the arguments depend on a size that is.
        """
        unknown = _unknown(self.shape)
        if not unknown:
            return self.shape
        if self.geometry is None:
            call = self._meaning()
            g, axes = call.geometry, call.data.axes
        elif isinstance(self.geometry, Geometry):
            g = self.geometry
            axes = DataLayout.of("C*" if len(self.shape) == g.ndim + 1 else "NC*", g.ndim).axes
        else:  # reading it raises the error
            return tuple(size if isinstance(size, int) else 1 for size in self.shape)
        if axes.index("C") in unknown:
            raise ShapeError(
                f"x has shape {sizes_text(self.shape)}, of an unknown number of channels. Write "
                f"{self.face.with_sizes.format(name='x')}"
            )
        return tuple(
            size if axis not in unknown else 1 if isinstance(place, str) else self._least(g, place)
            for axis, (size, place) in enumerate(zip(self.shape, axes, strict=False))
        )

    def _least(self, g: Geometry, axis: int) -> int:
        """Return the least size of x for which the output has an element."""
        s, e, crop = g.stride[axis], g.extent[axis], sum(g.crop[axis])
        return max(1, e - crop) if self.adjoint else max(1, (crop - e) // s + 2)

    def _meaning(self) -> NativeCall:
        """Return what the arguments mean for all sizes. Raises ShapeError if they depend on an unknown size."""
        calls: list[NativeCall] = []
        refusals: list[TconvError] = []
        for size in _TRIALS:
            self._try(size, calls, refusals)
        for size in {place for call in calls[:1] for s in call.geometry.stride for place in (s - 1, s, s + 1, 2 * s)}:
            self._try(max(1, size), calls, refusals)
        if calls and not refusals and all(call == calls[0] for call in calls):
            return calls[0]
        if not calls and len({str(refusal) for refusal in refusals}) == 1:
            raise refusals[0]
        raise ShapeError(
            f"x has shape {sizes_text(self.shape)}, and what these arguments of the {self.name} dialect mean depends "
            f"on its unknown sizes. Write {self.face.with_sizes.format(name='x')}, or arguments without an output size"
        )

    def _try(self, size: int, calls: list[NativeCall], refusals: list[TconvError]) -> None:
        trial = tuple(each if isinstance(each, int) else size for each in self.shape)
        try:
            with self.shown_as_given(trial):
                calls.append(dialect(self.name).read(trial, self.weight_shape, self.native, adjoint=self.adjoint))
        except TconvError as refusal:
            refusals.append(refusal)

    def shown_as_given(self, sizes: tuple[int, ...]) -> _ShownAsGiven:
        """Return a context whose errors show the shape of x as it was given, in place of the chosen sizes."""
        return _ShownAsGiven(str(sizes), sizes_text(self.shape))


_TRIALS = (*range(1, 10), 64, 65)
"""Sizes for which the meaning of arguments is compared, beside those next to the stride."""


class _ShownAsGiven:
    """Context that replaces a text in the errors of tconv."""

    def __init__(self, chosen: str, given: str) -> None:
        self.chosen, self.given = chosen, given

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, TconvError) and self.chosen != self.given and self.chosen in str(error):
            raise type(error)(str(error).replace(self.chosen, self.given)) from None
