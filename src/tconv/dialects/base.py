"""What every dialect is: a reader of native words into a `Geometry` and axis orders, and a writer back."""

from __future__ import annotations

import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import Any, ClassVar

import numpy as np

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv._arrays import Array
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.dialects.named_output_shape import shape_of
from tconv.errors import ArgumentError, DialectError, ShapeError, TconvError
from tconv.geometry import Geometry


@dataclass(frozen=True)
class Call:
    """What a native call means: positions, and where the axes of x, the weight and y stand."""

    geometry: Geometry
    data: DataLayout
    weight: WeightLayout
    result: DataLayout


@dataclass(frozen=True)
class Fault:
    """A known place where a named version does not do what its own rules say."""

    versions: str
    """Package and versions, as in "onnxruntime 1.32.0"."""
    what: str
    """What it does instead, in a sentence."""
    source: str
    """An issue, owner/repo#number, or "observed" with the version it was observed with."""
    applies: Callable[[Geometry, tuple[int, ...], dict[str, Any]], bool]
    """Whether a call is affected: its geometry, its input's spatial shape, its native arguments."""


_SIZES = ("kernel", "input", "output")  # what `geometry` is told beside native words
_NAMES_OF_THE_OUTPUT = ("output_shape", "output_size", "output_w", "output_h", "output_d")


class Dialect(ABC):
    """One framework's words for a transposed convolution.

    >>> import tconv
    >>> tconv.dialect("torch").geometry(kernel=(4, 4), stride=2, padding=1).output_shape((8, 8))
    (16, 16)
    >>> g = tconv.Geometry(kernel=(4, 4), stride=2, crop=1)
    >>> tconv.dialect("tensorflow").arguments(g, input=(8, 8))
    {'output_shape': (16, 16), 'strides': 2, 'padding': 'SAME', 'dilations': 1}
    >>> print(tconv.dialect("torch").code(g, input=(8, 8)))
    y = torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1)

    A member defines `geometry` (native arguments -> Geometry), and for the way back `reasons_against`, `say` and
    `call`; the class attributes hold its layouts.
    """

    name: ClassVar[str]
    framework: ClassVar[str]
    ranks: ClassVar[tuple[int, int | None]] = (1, None)  # fewest and most spatial axes; None is no limit
    data_patterns: ClassVar[tuple[str, ...]] = ("NC*",)  # data layouts this dialect can name, its default first
    weight_pattern: ClassVar[str] = "IO*"
    weight_grouped: ClassVar[str] = "I"
    weight_flip: ClassVar[bool] = False
    layout_arguments: ClassVar[tuple[str, ...]] = ()  # native arguments that choose a layout
    faults: ClassVar[tuple[Fault, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """A member's `geometry` refuses unknown words in the same words on every path."""
        super().__init_subclass__(**options)
        if own := cls.__dict__.get("geometry"):
            parameters = inspect.signature(own).parameters.keys()

            @wraps(own)
            def geometry(self: Dialect, *args: Any, **native: Any) -> Geometry:
                if not native.keys() <= parameters:
                    self.check_names(native)
                made: Geometry = own(self, *args, **native)
                return made

            cls.geometry = geometry  # type: ignore[method-assign]

    # -- for members to define ------------------------------------------------------------------------------------

    @abstractmethod
    def geometry(self, *args: Any, **native: Any) -> Geometry:
        """The Geometry that these native arguments mean; members take keywords only, and spell them out.

        `kernel` is the spatial size, one int per axis; `input` (or, of a convolution, `output`) gives the spatial sizes
        where a rule of the dialect needs them.
        """

    @abstractmethod
    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        """Every part of this Geometry that the native words cannot say, each as a noun phrase; [] if they can."""

    @abstractmethod
    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        """The native arguments of a Geometry that has no reasons against it."""

    @abstractmethod
    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        """The native call with these arguments, as a Python expression of `x` and `weight` in the native layouts."""

    def data_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        """The axes of x; members with layout arguments override it."""
        return DataLayout.of(self.data_patterns[0], ndim)

    def data_words(self, data: DataLayout) -> dict[str, Any] | None:
        """The native arguments that name this data layout; None if there are none."""
        return (
            {} if data == self.data_layout(sum(isinstance(axis, int) for axis in data.axes), len(data.axes)) else None
        )

    def result_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        """The axes of y, those of x in all but a few dialects."""
        return self.data_layout(ndim, x_ndim, **native)

    def weight_layout(self, ndim: int, **native: Any) -> WeightLayout:
        """The axes of the weight; members whose arguments change it override it."""
        return WeightLayout.of(self.weight_pattern, ndim, self.weight_grouped, self.weight_flip)

    def groups(
        self,
        x_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        data: DataLayout,
        weight: WeightLayout,
        native: dict[str, Any],
    ) -> dict[str, Any]:
        """Extra arguments for `geometry`, where the group count follows from shapes and not from an argument."""
        return {}

    def padded(self, pairs: list[tuple[int, int]]) -> str:
        """An expression that extends `y` with zeros, one (before, after) pair per native axis."""
        return f"np.pad(y, {pairs!r})"

    # -- the same for all -----------------------------------------------------------------------------------------

    def arguments(self, geometry: Geometry, input: Ints | None = None) -> dict[str, Any]:
        """The native arguments that mean this Geometry.

        `input` is the input's spatial shape, which dialects that name the output's size need.
        Raises DialectError with every part that cannot be said, and the call with a slice behind it that does it.
        """
        if not isinstance(geometry, Geometry):
            raise ArgumentError(f"geometry is {geometry!r}; a tconv.Geometry is needed. Write tconv.Geometry(kernel=3)")
        sizes = None if input is None else ints_of(input, "input", geometry.ndim, least=1)
        reasons = self.reasons_against(geometry, sizes)
        if reasons:
            raise DialectError(
                f"{self.framework} cannot say {'; nor '.join(reasons)}. Write {self._instead(geometry, sizes)}"
            )
        return self.say(geometry, sizes)

    def code(self, geometry: Geometry, input: Ints) -> str:
        """Python that computes `y` from `x` and `weight`, in the native layouts, without bias.

        One call; where the words cannot say the crop, the full result and then a slice and a pad. Raises DialectError
        where that does not help either.
        """
        sizes = ints_of(input, "input", geometry.ndim, least=1)
        if not self.reasons_against(geometry, sizes):
            return f"y = {self.call(self.say(geometry, sizes), geometry)}"
        whole = replace(geometry, crop=0)  # type: ignore[arg-type]
        lines = [f"y = {self.call(self.arguments(whole, sizes), whole)}"]
        spatial = [
            axis if isinstance(axis, int) else None for axis in self.data_layout(whole.ndim, whole.ndim + 2).axes
        ]
        crops = [(0, 0) if axis is None else geometry.crop[axis] for axis in spatial]
        if any(min(pair) < 0 for pair in crops):
            lines.append(f"y = {self.padded([(max(0, -lo), max(0, -hi)) for lo, hi in crops])}")
        if any(max(pair) > 0 for pair in crops):
            full = [0 if axis is None else whole.full_shape(sizes)[axis] for axis in spatial]
            slices = [
                ":" if axis is None else f"{max(0, lo)}:{max(0, -lo) + n - hi}"
                for axis, n, (lo, hi) in zip(spatial, full, crops, strict=True)
            ]
            lines.append(f"y = y[{', '.join(slices)}]")
        return "\n".join(lines)

    def _instead(self, geometry: Geometry, input: tuple[int, ...] | None) -> str:
        whole = replace(geometry, crop=0)  # type: ignore[arg-type]
        if self.reasons_against(whole, input):
            return 'tconv.conv_transpose(..., geometry=geometry), or dialect="torch"'
        if input is None:
            return "it without a crop and slice the result: code(geometry, input) spells it out"
        behind = ", and add the bias behind that" if any(min(pair) < 0 for pair in geometry.crop) else ""
        return self.code(geometry, input).replace("\n", "; ") + behind

    def to_canonical(self, weight: Array, groups: int = 1, **native: Any) -> Array:
        """A native weight as [C_in, C_out/groups, *kernel], not flipped. Raises ShapeError where it cannot be one."""
        groups = int_of(groups, "groups", least=1, example="groups=1")
        layout = self._layout_of(weight, **native)
        whole = groups if layout.grouped == "G" else layout.sizes(weight.shape)[layout.grouped]
        if whole % groups or (layout.grouped == "G" and layout.sizes(weight.shape)["G"] != groups):
            raise ShapeError(
                f"weight {weight.shape} has {whole} {'input' if layout.grouped == 'I' else 'output'} channels in all; "
                f"groups={groups} does not divide them. Write groups= as the layer has it"
            )
        return layout.canonical(weight, groups)

    def to_native(self, weight: Array, groups: int = 1, **native: Any) -> Array:
        """The inverse of `to_canonical`."""
        return self.weight_layout(weight.ndim - 2, **native).native(weight, groups)

    def _layout_of(self, weight: Array, **native: Any) -> WeightLayout:
        ndim = weight.ndim - len(self.weight_pattern.replace("*", ""))
        if ndim < 1:
            raise ShapeError(
                f"weight has shape {weight.shape}; {self.framework}'s layout needs at least one spatial axis: "
                f"{self.weight_layout(2, **native).describe()} in 2-D. Write the whole weight of one layer"
            )
        return self.weight_layout(ndim, **native)

    def _ndim(self, weight_shape: tuple[int, ...], native: dict[str, Any]) -> int:
        """How many spatial axes the weight has. ArgumentError for an unknown word, ShapeError for a wrong rank."""
        self.check_names(native)
        if taken := [name for name in _SIZES if name in native]:
            raise ArgumentError(
                f"{taken[0]}= was given, which the shapes of the arrays say. Write the call without {taken[0]}="
            )
        ndim = len(weight_shape) - len(self.weight_pattern.replace("*", ""))
        fewest, most = self.ranks
        if ndim < fewest or (most is not None and ndim > most):
            limit = f"{fewest} to {most}" if most else f"at least {fewest}"
            raise ShapeError(
                f"weight has shape {weight_shape}, which leaves {max(ndim, 0)} spatial axes; {self.framework}'s "
                "layout, "
                f"{self.weight_layout(2).describe()} in 2-D, has {limit} of them. Write weight[None, None] for a bare "
                "kernel, or tconv.definition.scatter(X, K) for bare 2-D arrays"
            )
        return ndim

    def read_alone(self, weight_shape: tuple[int, ...], native: dict[str, Any]) -> Call | None:
        """What a call with some x means; None where the words fit none that is tried. Raises what any x would raise.

        Tried are the x that the output asked for comes from, and two others: what is refused in the same words for all
        of them does not depend on x.
        """
        ndim = self._ndim(weight_shape, native)
        layout_native = {name: value for name, value in native.items() if name in self.layout_arguments}
        data, weight = self.data_layout(ndim, ndim + 2, **layout_native), self.weight_layout(ndim, **layout_native)
        kernel, channels = weight.kernel(weight_shape), weight.sizes(weight_shape)["I"]
        asked = shape_of(next((native[name] for name in _NAMES_OF_THE_OUTPUT if name in native), None)) or ()
        batch, _, large = data.sizes(asked) if len(asked) == len(data.axes) else (1, 0, asked)
        batch = batch if isinstance(batch, int) and batch > 0 else 1
        trials = [(1,) * ndim, (7,) * ndim]
        with suppress(TconvError):
            trials.insert(0, self.geometry(kernel=kernel, output=large, **native).conv_shape(large))
        refusals = []
        for sizes in trials:
            try:
                return self.read(data.native_shape((batch, channels, *sizes)), weight_shape, native)
            except TconvError as refusal:
                refusals.append(refusal)
        if len({str(refusal) for refusal in refusals}) == 1:
            raise refusals[0]
        return None

    def read(
        self, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], native: dict[str, Any], *, adjoint: bool = False
    ) -> Call:
        """What a call with these shapes and native arguments means. `adjoint`: x_shape is that of the large side."""
        ndim = self._ndim(weight_shape, native)
        layout_native = {name: value for name, value in native.items() if name in self.layout_arguments}
        data = self.data_layout(ndim, len(x_shape), **layout_native)
        result = self.result_layout(ndim, len(x_shape), **layout_native)
        if adjoint:  # what the transposed convolution gives is what its adjoint takes
            data, result = result, data
        if len(x_shape) != len(data.axes):
            raise ShapeError(
                f"x has shape {x_shape}, {len(x_shape)} axes; with a weight of shape {weight_shape} the "
                f"{self.framework} dialect needs {len(data.axes)}: {data.describe()}. "
                "Write x[None] to add a batch axis, or a weight with as many spatial axes as x"
            )
        weight = self.weight_layout(ndim, **layout_native)
        sizes = data.sizes(x_shape)[2]
        where = {"output": sizes} if adjoint else {"input": sizes}
        extra = self.groups(x_shape, weight_shape, data, weight, native)
        geometry = self.geometry(kernel=weight.kernel(weight_shape), **where, **extra, **native)
        if adjoint and (named := [name for name in native if name in _NAMES_OF_THE_OUTPUT]):
            small = geometry.conv_shape(sizes)
            forth = self.geometry(kernel=weight.kernel(weight_shape), input=small, **extra, **native)
            if forth.output_shape(small) != sizes:
                raise ArgumentError(
                    f"{named[0]} is {native[named[0]]!r}, and x, which is what conv_transpose gives, has spatial shape "
                    f"{sizes}; they must agree. Write conv without {named[0]}="
                )
        return Call(geometry, data, weight, result)

    def argument_names(self) -> list[str]:
        """The native arguments, those that choose a layout last."""
        known = [name for name in _parameters(type(self)) if name not in _SIZES]
        return known + [name for name in self.layout_arguments if name not in known]

    def check_names(self, native: dict[str, Any]) -> None:
        """ArgumentError for a native argument that this dialect does not have."""
        known = self.argument_names()
        for name in native:
            if name not in known and name not in _SIZES:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"Write {close[0]}=" if close else "Write one of those"
                if name == "activation":
                    hint = "Write tconv.prepare(weight, activation=...), and call what it returns with x"
                raise ArgumentError(
                    f"{name}= is not an argument of the {self.name} dialect, which has {', '.join(known)}. {hint}"
                )


@cache
def _parameters(kind: type[Dialect]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(kind.geometry).parameters if name != "self")


def uncropped(
    kernel: Ints, stride: Any, dilation: Any = 1, groups: Any = 1, *, words: str = "stride dilation groups"
) -> Geometry:
    """The Geometry without a crop; `words` are the dialect's names of the other arguments, which an error says."""
    sizes = entries_of(kernel)
    ndim = 1 if sizes is None else len(sizes)
    names = words.split()
    return Geometry(
        kernel,
        ints_of(stride, names[0], ndim, least=1),
        0,
        ints_of(dilation, names[1], ndim, least=1),
        int_of(groups, names[2], least=1, example=f"{names[2]}=1"),
    )


def flag_of(value: Any, name: str) -> bool:
    """`value` as a bool, 0 and 1 being ones, or an ArgumentError that names the argument."""
    if not isinstance(value, (bool, int, np.bool_, np.integer)) or value not in (0, 1):
        raise ArgumentError(f"{name} is {shown(value)}; True or False is needed. Write {name}=True")
    return bool(value)


def compact(values: Sequence[int]) -> int | tuple[int, ...]:
    """One int where all axes agree, else the tuple: what a person would write."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def written(arguments: dict[str, Any], defaults: dict[str, Any]) -> str:
    """Keyword arguments as source, each after a comma, those at their default left out."""
    return "".join(f", {name}={value!r}" for name, value in arguments.items() if defaults.get(name, ...) != value)
