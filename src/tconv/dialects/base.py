"""The base class of all dialects, which read native arguments into a `Geometry` and write them back.

Every file of a framework in this folder defines a subclass of `Dialect`, with the helpers below.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv._arrays import Array
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, DialectError, ShapeError, TconvError
from tconv.geometry import Geometry

if TYPE_CHECKING:
    from tconv.dialects.fault import Fault


@dataclass(frozen=True)
class NativeCall:
    """Meaning of a native call: its geometry, and the axis orders of x, the weight and y.

    >>> import tconv
    >>> call = tconv.dialect("keras").read((1, 8, 8, 16), (3, 3, 32, 16), {"strides": 2, "padding": "same"})
    >>> call.geometry
    Geometry(kernel=(3, 3), stride=(2, 2), crop=((0, 1), (0, 1)), dilation=(1, 1), groups=1)
    >>> call.data.describe(), call.weight.describe()
    ('[N, h, w, C]', '[kh, kw, C_out, C_in]')
    """

    geometry: Geometry
    data: DataLayout
    weight: WeightLayout
    result: DataLayout


_SIZES = ("kernel", "input", "output")  # arguments of `geometry` that are not native ones
_SIZE_NAMES = ("kernel_size", "kernel_shape", "in_channels", "out_channels", "filters", "in_features", "out_features")
_FAMILIES = (
    ("stride", "strides", "window_strides", "subsample", "stride_w"),
    ("dilation", "dilations", "dilation_rate", "kernel_dilation", "rhs_dilation", "dilation_w"),
    ("groups", "group", "num_groups", "num_group", "feature_group_count"),
    ("padding", "pad", "pads", "pads_begin", "pad_left"),
    ("output_padding", "output_pad", "adj", "output_pad_right"),
    ("data_format", "dimension_numbers", "data_layout"),
)
"""Names of the same argument in different frameworks, for the advice after an unknown one."""
OUTPUT_SIZE_ARGUMENTS = ("output_shape", "output_size", "output_w", "output_h", "output_d")
"""Arguments of a call that frameworks do not store in a layer."""


class Dialect(ABC):
    """The arguments and layouts with which one framework writes a transposed convolution.

    >>> import tconv
    >>> tconv.dialect("torch").geometry(kernel=(4, 4), stride=2, padding=1).output_shape((8, 8))
    (16, 16)
    >>> g = tconv.Geometry(kernel=(4, 4), stride=2, crop=1)
    >>> tconv.dialect("tensorflow").arguments(g, input=(8, 8))
    {'output_shape': (16, 16), 'strides': 2, 'padding': 'SAME', 'dilations': 1}
    >>> print(tconv.dialect("torch").code(g, input=(8, 8)))
    y = torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1)

    A subclass defines `geometry` (native arguments -> Geometry), and for the opposite direction `reasons_against`,
    `native_arguments` and `call_code`; its class attributes describe its layouts.
    """

    name: ClassVar[str]
    framework: ClassVar[str]
    batchnorm_eps: ClassVar[float | None] = None
    """Default epsilon of the framework's BatchNorm; None if it has none, or no BatchNorm."""
    ranks: ClassVar[tuple[int, int | None]] = (1, None)  # fewest and most spatial axes; None is no limit
    data_patterns: ClassVar[tuple[str, ...]] = ("NC*",)  # data layouts that the dialect has, its default first
    weight_pattern: ClassVar[str] = "IO*"
    weight_grouped: ClassVar[str] = "I"
    weight_flip: ClassVar[bool] = False
    conv_weight_pattern: ClassVar[str] = "OI*"  # of an ordinary convolution, never reversed
    shuffle_order: ClassVar[str] = "CRD"
    """Channel order of the framework's pixel shuffle: "CRD" counts phases fastest, "DCR" channels."""
    layout_arguments: ClassVar[tuple[str, ...]] = ()  # native arguments that set a layout
    reads_sizes: ClassVar[bool] = True  # True if the sizes of x can change what the native arguments mean

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the `geometry` of a subclass refuse unknown arguments with the error of `check_names`."""
        super().__init_subclass__(**options)
        if own := cls.__dict__.get("geometry"):
            parameters = inspect.signature(own).parameters.keys()

            @wraps(own)
            def geometry(self: Dialect, *args: Any, **native: Any) -> Geometry:
                if not native.keys() <= parameters:
                    self.check_names(native)
                result: Geometry = own(self, *args, **native)
                return result

            cls.geometry = geometry  # type: ignore[method-assign]

    # -- for subclasses to define ---------------------------------------------------------------------------------

    @abstractmethod
    def geometry(self, *args: Any, **native: Any) -> Geometry:
        """Return the Geometry that these native arguments mean. Subclasses take keywords only, and list them.

        `kernel` is the spatial size, one int per axis; `input` (or, of a convolution, `output`) gives the spatial sizes
        where a rule of the dialect needs them.
        """

    @abstractmethod
    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        """Return every part of this Geometry that the native arguments cannot express, each as a noun phrase."""

    @abstractmethod
    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        """Return the native arguments of a Geometry that `reasons_against` has no reasons against."""

    @abstractmethod
    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        """Return the native call with these arguments, as a Python expression of `x` and `weight` in native layouts."""

    def data_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        """Return the axes of x; subclasses with layout arguments override it."""
        return DataLayout.of(self.data_patterns[0], ndim)

    def data_layout_arguments(self, data: DataLayout) -> dict[str, Any] | None:
        """Return the native arguments that select this data layout; None if there are none."""
        return (
            {} if data == self.data_layout(sum(isinstance(axis, int) for axis in data.axes), len(data.axes)) else None
        )

    def result_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        """Return the axes of y, those of x in all but a few dialects."""
        return self.data_layout(ndim, x_ndim, **native)

    def weight_layout(self, ndim: int, **native: Any) -> WeightLayout:
        """Return the axes of the weight; subclasses whose arguments change it override it."""
        return WeightLayout.of(self.weight_pattern, ndim, self.weight_grouped, self.weight_flip)

    def groups(
        self,
        x_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        data: DataLayout,
        weight: WeightLayout,
        native: dict[str, Any],
    ) -> dict[str, Any]:
        """Return extra arguments for `geometry`, where the group count follows from shapes and not from an argument."""
        return {}

    def pad_code(self, pairs: list[tuple[int, int]]) -> str:
        """Return an expression that extends `y` with zeros, one (before, after) pair per native axis."""
        return f"np.pad(y, {pairs!r})"

    # -- common to all --------------------------------------------------------------------------------------------

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Known faults of versions of this framework, from the list in `tconv.dialects.faults`."""
        from tconv.dialects.faults import faults_of  # a call does not need the list

        return faults_of(self.name)

    def arguments(self, geometry: Geometry, input: Ints | None = None) -> dict[str, Any]:
        """Return the native arguments that mean this Geometry.

        `input` is the input's spatial shape, which dialects that name the output's size need.
        Raises DialectError with every part that cannot be expressed, and code that does it with a slice after the call.
        """
        if not isinstance(geometry, Geometry):
            raise ArgumentError(f"geometry is {geometry!r}; a tconv.Geometry is needed. Write tconv.Geometry(kernel=3)")
        sizes = None if input is None else ints_of(input, "input", geometry.ndim, least=1)
        reasons = self.reasons_against(geometry, sizes)
        if reasons:
            raise DialectError(
                f"{self.framework} cannot express {'; nor '.join(reasons)}. Write {self._instead(geometry, sizes)}"
            )
        return self.native_arguments(geometry, sizes)

    def code(self, geometry: Geometry, input: Ints) -> str:
        """Return Python that computes `y` from `x` and `weight`, in the native layouts, without bias.

        One call; where the arguments cannot express the crop, the full result and then a slice and a pad. Raises
        DialectError where that does not help either.
        """
        sizes = ints_of(input, "input", geometry.ndim, least=1)
        if not self.reasons_against(geometry, sizes):
            return f"y = {self.call_code(self.native_arguments(geometry, sizes), geometry)}"
        full = replace(geometry, crop=0)  # type: ignore[arg-type]
        lines = [f"y = {self.call_code(self.arguments(full, sizes), full)}"]
        axes = self.data_layout(full.ndim, full.ndim + 2).axes
        spatial = [axis if isinstance(axis, int) else None for axis in axes]
        crops = [(0, 0) if axis is None else geometry.crop[axis] for axis in spatial]
        if any(min(pair) < 0 for pair in crops):
            lines.append(f"y = {self.pad_code([(max(0, -lo), max(0, -hi)) for lo, hi in crops])}")
        if any(max(pair) > 0 for pair in crops):
            full_sizes = [0 if axis is None else full.full_shape(sizes)[axis] for axis in spatial]
            slices = [
                ":" if axis is None else f"{max(0, lo)}:{max(0, -lo) + n - hi}"
                for axis, n, (lo, hi) in zip(spatial, full_sizes, crops, strict=True)
            ]
            lines.append(f"y = y[{', '.join(slices)}]")
        return "\n".join(lines)

    def _instead(self, geometry: Geometry, input: tuple[int, ...] | None) -> str:
        """Return what an error proposes for a Geometry that has reasons against it."""
        full = replace(geometry, crop=0)  # type: ignore[arg-type]
        if self.reasons_against(full, input):
            return 'tconv.conv_transpose(..., geometry=geometry), or dialect="torch"'
        if input is None:
            return "the call without a crop and slice its result; code(geometry, input) returns these lines"
        bias = ", and add the bias after that" if any(min(pair) < 0 for pair in geometry.crop) else ""
        return self.code(geometry, input).replace("\n", "; ") + bias

    def to_canonical(self, weight: Array, groups: int = 1, **native: Any) -> Array:
        """Return a native weight as [C_in, C_out/groups, *kernel], not flipped. Raises ShapeError if it is invalid."""
        groups = int_of(groups, "groups", least=1, example="groups=1")
        layout = self._layout_of(weight, **native)
        total = groups if layout.grouped == "G" else layout.sizes(weight.shape)[layout.grouped]
        if total % groups or (layout.grouped == "G" and layout.sizes(weight.shape)["G"] != groups):
            raise ShapeError(
                f"weight {weight.shape} has {total} {'input' if layout.grouped == 'I' else 'output'} channels in "
                f"total, which groups={groups} does not divide. Write groups= with the number of groups of the layer"
            )
        return layout.canonical(weight, groups)

    def to_native(self, weight: Array, groups: int = 1, **native: Any) -> Array:
        """Return a canonical weight in the native layout: the inverse of `to_canonical`."""
        return self.weight_layout(weight.ndim - 2, **native).native(weight, groups)

    def _layout_of(self, weight: Array, **native: Any) -> WeightLayout:
        ndim = weight.ndim - len(self.weight_pattern.replace("*", ""))
        if ndim < 1:
            raise ShapeError(
                f"weight has shape {weight.shape}; {self.framework}'s layout needs at least one spatial axis: "
                f"{self.weight_layout(2, **native).describe()} in 2-D. Use the whole weight of one layer"
            )
        return self.weight_layout(ndim, **native)

    def _ndim(
        self,
        weight_shape: tuple[int, ...],
        native: dict[str, Any],
        x_shape: tuple[int, ...] | None = None,
        adjoint: bool = False,
    ) -> int:
        """Return the number of spatial axes of the weight.

        Raises ArgumentError for an unknown argument, ShapeError for a wrong rank.
        """
        if "padding_mode" in native and not adjoint:
            self._refuse_padding_mode(weight_shape, native, x_shape)
        self.check_names(native)
        if sizes := [name for name in _SIZES if name in native]:
            raise ArgumentError(
                f"{sizes[0]}= was given; the sizes are those of the arrays. Write the call without {sizes[0]}="
            )
        ndim = len(weight_shape) - len(self.weight_pattern.replace("*", ""))
        fewest, most = self.ranks
        if ndim < fewest or (most is not None and ndim > most):
            limit = f"{fewest} to {most}" if most else f"at least {fewest}"
            bare = "Write weight[None, None] for a bare kernel, or tconv.definition.scatter(X, K) for bare 2-D arrays"
            whole = f"Use a weight with {limit} of them"
            raise ShapeError(
                f"weight has shape {weight_shape}, which leaves {max(ndim, 0)} spatial axes; {self.framework}'s "
                f"layout, {self.weight_layout(2).describe()} in 2-D, needs {limit}. "
                + (bare if len(weight_shape) in (1, 2) and 0 not in weight_shape else whole)
            )
        return ndim

    def _refuse_padding_mode(
        self, weight_shape: tuple[int, ...], native: dict[str, Any], x_shape: tuple[int, ...] | None
    ) -> None:
        """Raise ArgumentError for a mode other than zeros; `check_names` refuses the rest."""
        from tconv.dialects.argument_advice import PADDING_MODES, refuse_padding_mode  # for the message alone

        mode = native["padding_mode"]
        if not isinstance(mode, str) or mode.lower() not in PADDING_MODES:
            return
        rest = {name: value for name, value in native.items() if name != "padding_mode"}
        ndim = self._ndim(weight_shape, rest)
        if x_shape is None:
            layout = {name: value for name, value in rest.items() if name in self.layout_arguments}
            channels = self.weight_layout(ndim, **layout).sizes(weight_shape)["I"]
            x_shape = self.data_layout(ndim, ndim + 2, **layout).native_shape((1, channels, *[7] * ndim))
        call = self.read(x_shape, weight_shape, rest)
        size_argument = next((name for name in OUTPUT_SIZE_ARGUMENTS if name in rest), None)
        refuse_padding_mode(mode, call.geometry, call.data, call.result, size_argument)

    def read_without_x(self, weight_shape: tuple[int, ...], native: dict[str, Any]) -> NativeCall | None:
        """Return the meaning of a call before there is an x; None where it depends on x. Raises what any x would raise.

        Three x are tried: the one that an output size among the arguments would come from, and two others. An error
        that is the same for all of them does not depend on x.
        """
        ndim = self._ndim(weight_shape, native)
        layout_native = {name: value for name, value in native.items() if name in self.layout_arguments}
        data, weight = self.data_layout(ndim, ndim + 2, **layout_native), self.weight_layout(ndim, **layout_native)
        kernel, channels = weight.kernel(weight_shape), weight.sizes(weight_shape)["I"]
        output = next((native[name] for name in OUTPUT_SIZE_ARGUMENTS if name in native), None)
        entries = entries_of(output) or ()
        batch, _, large = data.sizes(entries) if len(entries) == len(data.axes) else (1, 0, entries)
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
    ) -> NativeCall:
        """Return the meaning of a call with these shapes and native arguments.

        With `adjoint`, x is the large side: what the convolution takes, and the transposed convolution returns.
        """
        ndim = self._ndim(weight_shape, native, x_shape, adjoint)
        layout_native = {name: value for name, value in native.items() if name in self.layout_arguments}
        data = self.data_layout(ndim, len(x_shape), **layout_native)
        result = self.result_layout(ndim, len(x_shape), **layout_native)
        if adjoint:
            data, result = result, data
        if len(x_shape) != len(data.axes):
            raise ShapeError(
                f"x has shape {x_shape}, with {len(x_shape)} axes; with a weight of shape {weight_shape} the "
                f"{self.framework} dialect needs {len(data.axes)}: {data.describe()}. "
                + ("Write x[None] to add a batch axis, or use" if len(x_shape) == len(data.axes) - 1 else "Use")
                + " a weight with as many spatial axes as x"
            )
        weight = self.weight_layout(ndim, **layout_native)
        sizes = data.sizes(x_shape)[2]
        side = {"output": sizes} if adjoint else {"input": sizes}
        extra = self.groups(x_shape, weight_shape, data, weight, native)
        geometry = self.geometry(kernel=weight.kernel(weight_shape), **side, **extra, **native)
        if adjoint and (given := [name for name in native if name in OUTPUT_SIZE_ARGUMENTS]):
            small = geometry.conv_shape(sizes)
            forward = self.geometry(kernel=weight.kernel(weight_shape), input=small, **extra, **native)
            if forward.output_shape(small) != sizes:
                raise ArgumentError(
                    f"{given[0]} is {native[given[0]]!r}, but x, which is an output of conv_transpose, has spatial "
                    f"shape {sizes}; they must agree. Write conv(...) without {given[0]}="
                )
        return NativeCall(geometry, data, weight, result)

    def argument_names(self) -> list[str]:
        """Return the names of the native arguments, those that set a layout last."""
        known = [name for name in _parameters(type(self)) if name not in _SIZES]
        return known + [name for name in self.layout_arguments if name not in known]

    def check_names(self, native: dict[str, Any]) -> None:
        """Raise ArgumentError for a native argument that this dialect does not have."""
        known = self.argument_names()
        for name in native:
            if name not in known and name not in _SIZES:
                import difflib  # for the message alone

                family = next((family for family in _FAMILIES if name in family), ())
                close = [each for each in known if each in family] or difflib.get_close_matches(name, known, 1, 0.8)
                hint = f"Write {close[0]}=" if close else f"Write the call without {name}="
                if name == "padding_mode":
                    hint = "Beyond x there are always zeros. Write the call without padding_mode="
                if name == "data_format" and not close:
                    from tconv.dialects.argument_advice import without_data_format

                    hint = without_data_format(self.data_patterns[0], native[name])
                if name in _SIZE_NAMES:
                    hint = f"The sizes are those of the arrays. Write the call without {name}="
                if name == "activation":
                    hint = "Write tconv.prepare(weight, activation=...), and call the result with x"
                if name in ("output_size", "output_shape"):
                    hint = "tconv.solve(input=, output=, kernel=, stride=) returns the arguments for an output size"
                raise ArgumentError(
                    f"{name}= is not an argument of the {self.name} dialect, which has {', '.join(known)}. {hint}"
                )


@cache
def _parameters(kind: type[Dialect]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(kind.geometry).parameters if name != "self")


def uncropped(
    kernel: Ints, stride: Any, dilation: Any = 1, groups: Any = 1, *, names: str = "stride dilation groups"
) -> Geometry:
    """Return the Geometry without a crop. `names` are the dialect's names of the other arguments, for its errors."""
    sizes = entries_of(kernel)
    ndim = 1 if sizes is None else len(sizes)
    stride_name, dilation_name, groups_name = names.split()
    return Geometry(
        kernel,
        ints_of(stride, stride_name, ndim, least=1),
        0,
        ints_of(dilation, dilation_name, ndim, least=1),
        int_of(groups, groups_name, least=1, example=f"{groups_name}=1"),
    )


def flag_of(value: Any, name: str) -> bool:
    """Return `value` as a bool, with 0 and 1 allowed. Raises ArgumentError that names the argument."""
    if not isinstance(value, (bool, int, np.bool_, np.integer)) or value not in (0, 1):
        raise ArgumentError(f"{name} is {shown(value)}; True or False is needed. Write {name}=True")
    return bool(value)


def compact(values: Sequence[int]) -> int | tuple[int, ...]:
    """Return one int where all axes agree, else the tuple, as a person would write it."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def keywords(arguments: dict[str, Any], defaults: dict[str, Any]) -> str:
    """Return keyword arguments as source, each after a comma, without those at their default."""
    return "".join(f", {name}={value!r}" for name, value in arguments.items() if defaults.get(name, ...) != value)
