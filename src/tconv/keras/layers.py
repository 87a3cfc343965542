"""`Conv1DTranspose`, `Conv2DTranspose`, `Conv3DTranspose`: Keras' layers with groups, dilation and any crop."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.keras import backend_call
from tconv.keras.initializers import ICNR, Bilinear

Extra = int | Sequence[int | None] | None


class TransposedConvolution:
    """Rules of all three layers; everything else is inherited from Keras' layer."""

    def __init__(
        self: Any, filters: int, kernel_size: Ints, *positional: Any, groups: int = 1, **keywords: Any
    ) -> None:
        # the order of positional arguments is that of Keras' layer, which differs between them
        names = list(inspect.signature(super().__init__).parameters)[2:]
        if len(positional) > len(names) or any(name in keywords for name in names[: len(positional)]):
            raise ArgumentError(
                f"the arguments after the first two were given as {shown(positional)}, beside {', '.join(keywords)}; "
                "each is needed once. Write them by their names"
            )
        given = {**dict(zip(names, positional, strict=False)), **keywords}
        strides, dilation_rate = given.pop("strides", 1), given.pop("dilation_rate", 1)
        output_padding, named = given.pop("output_padding", None), None
        if isinstance(given.get("kernel_initializer"), str):
            named = _NAMED.get(given["kernel_initializer"])
        if named is not None:
            del given["kernel_initializer"]
        filters = int_of(filters, "filters", least=1)
        padding = given.get("padding", "valid")
        if not isinstance(padding, str) or padding.lower() not in ("valid", "same"):
            raise GeometryError(
                f'padding is {shown(padding)}; "valid" or "same" is needed. Write padding="same", with output_padding= '
                "for another size of the output"
            )
        # Keras' checks of strides, dilation and output_padding, which refuse much of what is possible, see defaults
        super().__init__(filters, kernel_size, **given)  # type: ignore[call-arg]
        self.groups = int_of(groups, "groups", least=1, example="groups=1")
        self.strides = ints_of(strides, "strides", self.rank, least=1)
        self.dilation_rate = ints_of(dilation_rate, "dilation_rate", self.rank, least=1)
        self.output_padding = _extra(output_padding, self.rank)
        backend_call.geometry_of(self)
        if filters % self.groups:
            raise GeometryError(
                f"{self.groups} groups do not divide {filters} filters. Use a number of groups that divides both the "
                "filters and the input channels"
            )
        # a name is of the layer's own strides and groups
        if named is not None:
            self.kernel_initializer = named(self.strides, self.groups)

    def build(self: Any, input_shape: Any) -> None:
        """Create the kernel [*kernel_size, filters/groups, C_in] and the bias [filters]."""
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        if channels is None:
            raise ShapeError(
                f"the channels of the inputs {tuple(input_shape)} are unknown, and the kernel of {self.name} needs "
                "them. Write keras.Input with the number of channels"
            )
        if channels % self.groups:
            raise ShapeError(
                f"the inputs have {channels} channels, which {self.groups} groups do not divide. Use a number of "
                f"groups that divides {channels}, for example groups=1"
            )
        self.input_spec = keras.InputSpec(min_ndim=self.rank + 2, axes={axis: channels})
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self.kernel_size, self.filters // self.groups, channels),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            trainable=True,
            dtype=self.dtype,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                trainable=True,
                dtype=self.dtype,
            )

    def call(self, inputs: Any) -> Any:
        """Run the layer on a tensor of Keras' backend."""
        return backend_call.call(self, inputs)

    def compute_output_shape(self: Any, input_shape: Any) -> tuple[int | None, ...]:
        """Return the shape of the output; sizes that are None stay None. Raises ShapeError for an empty output."""
        first = 1 if self.data_format == "channels_last" else 2
        sizes = input_shape[first : first + self.rank]
        geometry = backend_call.geometry_of(self)
        known = geometry.output_shape(tuple(1 << 20 if size is None else size for size in sizes))
        spatial = tuple(None if n is None else size for n, size in zip(sizes, known, strict=True))
        if self.data_format == "channels_last":
            return (input_shape[0], *spatial, self.filters)
        return (input_shape[0], self.filters, *spatial)

    def get_config(self: Any) -> dict[str, Any]:
        """Return Keras' configuration; it has `groups` only where there are some, so that Keras' layer can read it."""
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "groups": self.groups} if self.groups > 1 else config


_NAMED = {"bilinear": Bilinear, "icnr": ICNR}
"""Initializers that need the strides and groups of a layer, by the names that Keras does not know."""


def _extra(value: Extra, rank: int) -> tuple[int | None, ...] | None:
    """Return output_padding as Keras stores it: None, or one integer or None per axis."""
    if value is None:
        return None
    entries = entries_of(value)
    numbers = ints_of(value if entries is None else [0 if op is None else op for op in entries], "output_padding", rank)
    given = (0,) * rank if entries is None else entries
    return tuple(None if op is None else number for op, number in zip(given, numbers, strict=True))


@keras.saving.register_keras_serializable(package="tconv")
class Conv1DTranspose(TransposedConvolution, keras.layers.Conv1DTranspose):  # type: ignore[misc]
    """`keras.layers.Conv1DTranspose` with groups, dilation and any output_padding; see `Conv2DTranspose`.

    >>> import keras, tconv.keras
    >>> up = tconv.keras.Conv1DTranspose(64, 16, strides=8, padding="same", groups=4)
    >>> up(keras.ops.ones((1, 100, 128))).shape == (1, 800, 64)
    True
    """


@keras.saving.register_keras_serializable(package="tconv")
class Conv2DTranspose(TransposedConvolution, keras.layers.Conv2DTranspose):  # type: ignore[misc]
    """`keras.layers.Conv2DTranspose` with groups, dilation and any output_padding, on tconv's kernel: its subclass.

    >>> import keras, tconv.keras
    >>> up = tconv.keras.Conv2DTranspose(32, 3, strides=2, padding="same", dilation_rate=2, groups=4)
    >>> up(keras.ops.ones((1, 14, 14, 64))).shape == (1, 28, 28, 32)
    True

    Arguments are those of Keras' layer, and

    - `groups` divide the input channels and the filters; the kernel is [kh, kw, filters/groups, C_in];
    - `dilation_rate` above 1 together with `strides` above 1;
    - `output_padding` is any integer, or one integer or None per axis. Below the stride it means what Keras says; a
      larger one adds rows that hold the bias alone, one below 0 cuts rows. `tconv.dialect("keras")` has the rule;
    - `kernel_initializer` may be "bilinear" or "icnr", `tconv.keras.initializers` with the layer's own strides.

    Inputs [N, h, w, C_in], or [N, C_in, h, w] with data_format="channels_first", on every backend. Without groups the
    weights have the shapes of Keras' layer, and files of weights fit both.

    Raises GeometryError for arguments and ShapeError for inputs that do not fit. Both are ValueErrors.
    """


@keras.saving.register_keras_serializable(package="tconv")
class Conv3DTranspose(TransposedConvolution, keras.layers.Conv3DTranspose):  # type: ignore[misc]
    """`keras.layers.Conv3DTranspose` with groups, dilation and any output_padding; see `Conv2DTranspose`.

    >>> import keras, tconv.keras
    >>> up = tconv.keras.Conv3DTranspose(8, 2, strides=2)
    >>> up(keras.ops.ones((1, 4, 6, 8, 16))).shape == (1, 8, 12, 16, 8)
    True
    """


for _layer in (Conv1DTranspose, Conv2DTranspose, Conv3DTranspose):
    _layer.__module__ = "tconv.keras"
