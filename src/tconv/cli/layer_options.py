"""Options of one layer, in the words of its dialect, for the commands that explain, draw and explore it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from tconv.cli.explain_options import as_options, native_arguments, whole_numbers
from tconv.dialects import Dialect
from tconv.dialects import dialect as find_dialect
from tconv.errors import ArgumentError, TconvError
from tconv.geometry import Geometry

Sizes = Annotated[list[int] | None, Parameter(consume_multiple=True, converter=whole_numbers, negative="")]
_Strides = Annotated[Sizes, Parameter(name=["--stride", "--strides"])]
_Dilations = Annotated[Sizes, Parameter(name=["--dilation", "--dilations", "--dilation-rate"])]
Texts = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")]


class NativeLayer(NamedTuple):
    """One layer: its dialect, the sizes of kernel and input, and the dialect's own arguments."""

    rules: Dialect
    kernel: tuple[int, ...]
    input: tuple[int, ...]
    native: dict[str, Any]

    @property
    def geometry(self) -> Geometry:
        """Geometry of the layer. Raises what the dialect raises."""
        return self.rules.geometry(kernel=self.kernel, input=self.input, **self.native)


@Parameter(name="*")
@dataclass
class LayerOptions:
    """Options of a transposed convolution, in the words of its dialect.

    Parameters
    ----------
    kernel
        Kernel size: one number for all axes, or one per axis. Default 3.
    stride
        Stride. Default 1.
    padding
        Padding of the dialect: numbers, or SAME or VALID.
    output_padding
        Extra size at the end, in the dialects that have it.
    dilation
        Dilation. Default 1.
    groups
        Groups.
    input
        Spatial size of the input. Default 3 on each axis.
    output
        Spatial size of the output, in the dialects that need it.
    dialect
        Dialect of these options.
    option
        Further native arguments, NAME=VALUE, the value as JSON or plain text.
    """

    kernel: Sizes = None
    stride: _Strides = None
    padding: Texts = None
    output_padding: Sizes = None
    dilation: _Dilations = None
    groups: Annotated[int, Parameter(name=["--groups", "--group"])] = 1
    input: Sizes = None
    output: Sizes = None
    dialect: str = "torch"
    option: Texts = None

    def layer(
        self, usual_input: int = 3, kernel: Sequence[int] | None = None, input: Sequence[int] | None = None
    ) -> NativeLayer:
        """Return the layer; `kernel` and `input` are the sizes of arrays that are given beside the options."""
        for flag, option, array in (("kernel", self.kernel, kernel), ("input", self.input, input)):
            if option is not None and array is not None and list(option) != list(array):
                raise ArgumentError(
                    f"--{flag} is {' '.join(map(str, option))}, and the array has shape {tuple(array)}. Write it "
                    f"without --{flag}"
                )
        input = self.input if input is None else list(input)
        if kernel is not None and input is None:
            input = [usual_input] * len(kernel)  # a kernel that is an array has its own number of axes
        kernel = self.kernel if kernel is None else list(kernel)
        return read_layer(
            kernel or [3], self.stride, self.padding, self.output_padding, self.dilation, self.groups, input,
            self.output, self.dialect, self.option, usual_input,
        )  # fmt: skip

    @contextmanager
    def in_words(self, ndim: int) -> Iterator[None]:
        """Write errors of the library in the words of these options."""
        with words_of(ndim, self.padding, self.output_padding):
            yield


def notes_of(layer: NativeLayer, has_array: bool = False) -> list[str]:
    """Return what may surprise about a legal layer, a sentence each, for the lines that a command prints.

    One number for kernel and input is one axis, and may have been meant as a square, unless it comes from an array.
    """
    notes = []
    n, geometry = layer.input[0], layer.geometry
    if len(layer.input) == 1 and not has_array:
        notes.append(f"one axis, write --input {n} {n} for two")
    if layer.rules.name == "keras" and max(geometry.stride) > 1 and max(geometry.dilation) > 1:
        notes.append(
            "Keras' layers refuse strides and dilation_rate above 1 together; tconv.keras computes it, and so does "
            "keras.ops.conv_transpose on TensorFlow"
        )
    if layer.rules.name == "keras" and geometry.groups > 1:
        notes.append("groups are tconv's own; Keras' layers have none, those of tconv.keras do")
    return notes


def channel_pair(given: Sequence[int] | None) -> tuple[int, int] | None:
    """Return --channels as those of input and output; one number stands for both. Raises ArgumentError.

    >>> channel_pair([2, 4]), channel_pair([3]), channel_pair(None)
    ((2, 4), (3, 3), None)
    """
    if given is None:
        return None
    if len(given) > 2 or min(given) < 1:
        raise ArgumentError(
            f"--channels is {' '.join(map(str, given))}; those of input and output are needed, each at least 1. Write "
            "--channels 2 4"
        )
    return given[0], given[-1]


def read_layer(
    kernel: Sequence[int],
    stride: list[int] | None,
    padding: list[str] | None,
    output_padding: list[int] | None,
    dilation: list[int] | None,
    groups: int,
    input: Sequence[int] | None,
    output: list[int] | None,
    dialect: str,
    option: list[str] | None,
    usual_input: int = 4,
) -> NativeLayer:
    """Return the layer that these options describe, its errors in their words.

    One number stands for all axes; a single number for kernel and no input is a square kernel of two axes.
    """
    ndim = max(len(given) for given in (kernel, stride, padding, output_padding, dilation, input, output) if given)
    if len(kernel) == 1 and ndim == 1 and input is None:
        ndim = 2  # one number is a square kernel
    sizes = tuple(kernel) * ndim if len(kernel) == 1 else tuple(kernel)
    n = tuple(input or [usual_input]) * (len(sizes) if input is None or len(input) == 1 else 1)
    if output is not None and len(output) == 1:
        output = output * len(sizes)
    strides = tuple(stride or [1]) * (1 if stride and len(stride) > 1 else len(sizes))
    with words_of(len(sizes), padding, output_padding):
        rules = find_dialect(dialect)
        native = native_arguments(rules, strides, padding, output_padding, dilation, groups, output, option)
    return NativeLayer(rules, sizes, n, native)


@contextmanager
def words_of(ndim: int, padding: list[str] | None, output_padding: list[int] | None) -> Iterator[None]:
    """Write errors of the library, the crop and the arguments that they propose, as options of the command."""
    try:
        yield
    except TconvError as error:
        raise type(error)(as_options(str(error), ndim, padding, output_padding)) from None
