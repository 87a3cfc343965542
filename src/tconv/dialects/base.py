"""What every dialect is: a reader of native words into a `Geometry` and two axis orders, and a writer back."""

from __future__ import annotations

import difflib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, DialectError, ShapeError
from tconv.geometry import Geometry, Ints


@dataclass(frozen=True)
class Call:
    """What a native call means: positions, and where the axes of x, y and the weight stand."""

    geometry: Geometry
    data: DataLayout
    weight: WeightLayout


class Dialect(ABC):
    """One framework's words for a transposed convolution.

    >>> import tconv
    >>> tconv.dialect("torch").geometry(kernel=(4, 4), stride=2, padding=1).output_shape((8, 8))
    (16, 16)

    A member defines `geometry` (native arguments -> Geometry), `arguments` (the way back), `layouts` and `call`.
    """

    name: ClassVar[str]
    framework: ClassVar[str]
    ranks: ClassVar[tuple[int, int | None]] = (1, None)  # fewest and most spatial axes; None is no limit
    data_patterns: ClassVar[tuple[str, ...]] = ("NC*",)  # data layouts this dialect can name, its default first
    weight_pattern: ClassVar[str] = "IO*"
    weight_grouped: ClassVar[str] = "I"
    weight_flip: ClassVar[bool] = False
    layout_arguments: ClassVar[tuple[str, ...]] = ()  # native arguments that choose a layout

    # -- for members to define ------------------------------------------------------------------------------------

    @abstractmethod
    def geometry(self, *, kernel: Ints, **native: Any) -> Geometry:
        """The Geometry that these native arguments mean. Kernel is the spatial size, one int per axis.

        `input` (or, of a convolution, `output`) gives the spatial sizes where a rule of the dialect needs them.
        """

    @abstractmethod
    def arguments(self, geometry: Geometry, input: Ints | None = None) -> dict[str, Any]:
        """The native arguments that mean this Geometry, or a DialectError that says what cannot be said in them."""

    @abstractmethod
    def code(self, geometry: Geometry, input: Ints) -> str:
        """The native call as a line of Python, for arrays `x` and `weight` of one image and one channel a group."""

    def data_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        """The axes of x; members with layout arguments override it."""
        return DataLayout.of(self.data_patterns[0], ndim)

    def weight_layout(self, ndim: int, **native: Any) -> WeightLayout:
        """The axes of the weight."""
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

    # -- the same for all -----------------------------------------------------------------------------------------

    def read(
        self, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], native: dict[str, Any], *, adjoint: bool = False
    ) -> Call:
        """What a call with these shapes and native arguments means. `adjoint`: x_shape is that of the large side."""
        self.check_names(native)
        weight_axes = len(axes_only(self.weight_pattern))
        ndim = len(weight_shape) - weight_axes
        fewest, most = self.ranks
        if ndim < fewest or (most is not None and ndim > most):
            limit = f"{fewest} to {most}" if most else f"at least {fewest}"
            shown = self.weight_layout(2).describe()
            raise ShapeError(
                f"weight has shape {weight_shape}, which leaves {max(ndim, 0)} spatial axes; {self.framework}'s layout, "
                f"{shown} in 2-D, has {limit} of them. Write weight[None, None] for a bare kernel, or "
                "tconv.definition.scatter(X, K) for bare 2-D arrays"
            )
        layout_native = {name: value for name, value in native.items() if name in self.layout_arguments}
        data = self.data_layout(ndim, len(x_shape), **layout_native)
        if len(x_shape) != len(data.axes):
            raise ShapeError(
                f"x has shape {x_shape}, {len(x_shape)} axes; with a weight of shape {weight_shape} the {self.framework} "
                f"dialect needs {len(data.axes)}: {data.describe()}. Write x[None] to add a batch axis, or choose the layout"
            )
        weight = self.weight_layout(ndim, **layout_native)
        sizes = data.sizes(x_shape)[2]
        where = {"output": sizes} if adjoint else {"input": sizes}
        extra = self.groups(x_shape, weight_shape, data, weight, native)
        geometry = self.geometry(kernel=weight.kernel(weight_shape), **where, **extra, **native)
        return Call(geometry, data, weight)

    def check_names(self, native: dict[str, Any]) -> None:
        """ArgumentError for a native argument that this dialect does not have."""
        known = [
            name
            for name, parameter in inspect.signature(self.geometry).parameters.items()
            if name not in ("kernel", "input", "output") and parameter.kind is not parameter.VAR_KEYWORD
        ]
        known += [name for name in self.layout_arguments if name not in known]
        for name in native:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f" Write {close[0]}=" if close else f" Write one of: {', '.join(known)}"
                raise ArgumentError(
                    f"{name}= is not an argument of the {self.name} dialect, which has {', '.join(known)}.{hint}"
                )

    def cannot(self, what: str, instead: str) -> DialectError:
        """The error for a Geometry that these words cannot say."""
        return DialectError(f"{self.framework} cannot say {what}. Write {instead}")


def axes_only(pattern: str) -> str:
    """The lettered axes of a pattern: "*OI" has "OI"."""
    return pattern.replace("*", "")


def compact(values: Sequence[int]) -> int | tuple[int, ...]:
    """One int where all axes agree, else the tuple: what a person would write."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def written(arguments: dict[str, Any], defaults: dict[str, Any]) -> str:
    """Keyword arguments as source, those at their default left out."""
    return "".join(f", {name}={value!r}" for name, value in arguments.items() if defaults.get(name, ...) != value)
