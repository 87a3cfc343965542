"""Reading of a call in TensorFlow's words: static shapes and arguments become an operator, or an error.

A size may be unknown while a function is traced. The meaning is that of `tconv.dialect("tensorflow")`; where tf.nn is
restricted (pairs of padding in 1-D and 3-D, a crop) the same rules go on.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import entries_of, int_of, pairs_of, shown, sizes_text
from tconv._arrays import Array
from tconv._arrays import bfloat16 as bfloat16_dtype
from tconv.dialects import dialect
from tconv.dialects.channel_mismatch import without_dialect
from tconv.dialects.tensorflow_padding import crop_between, legal_output_sizes
from tconv.errors import ArgumentError, DtypeError, ShapeError, TconvError
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.operator.call_reading import CanonicalCall, read_taken_call
from tconv.tensorflow.operator_rule import Operator, OperatorRule

Size = int | None
Shape = tuple[Size, ...]


class Described(NamedTuple):
    """Static shape and dtype of a tensor."""

    shape: Shape
    dtype: str


class Call(NamedTuple):
    """Meaning of a call: an operator, or the rule that gives one where sizes are known."""

    operator: Operator | None
    """None where the crop depends on sizes that are not known yet"""
    rule: OperatorRule
    problem: Problem
    """of the sizes that are known, with 1 for an unknown batch, and examples for unknown sizes of x"""
    known: bool
    """True if all sizes but the batch are known"""


class Arguments(NamedTuple):
    """Arguments of a call beside its tensors. `output_shape` has None for entries that are not known."""

    output_shape: Shape | None
    strides: Any
    padding: Any
    data_format: Any
    dilations: Any
    groups: Any
    crop: Any


def read(x: Described, filters: Described, bias: Described | None, arguments: Arguments) -> Call:
    """Return the meaning of a call. Raises TconvError for arguments and shapes that have none."""
    try:
        return _read_cached(x, filters, bias, arguments, str(type(arguments.groups)))
    except TconvError as error:
        raise type(error)(in_own_names(str(error))) from None
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
    try:
        return _read(x, filters, bias, arguments)
    except TconvError as error:
        raise type(error)(in_own_names(str(error))) from None


_NAMES = (
    (r"\b(?:a|the) weight\b", "filters"),
    (r"\bweight has\b", "filters have"),
    (r"\bweight\b", "filters"),
    (r"\b[Aa]n x\b", "an input"),
    (r"(?<![\w.])x(?![\w(])", "input"),
)


def in_own_names(words: str) -> str:
    """Return a message about x and weight in the names of this face's arguments, input and filters."""
    words = without_dialect(words)
    for pattern, name in _NAMES:
        words = re.sub(pattern, name, words)
    return re.sub(r"(filters \([\d, ]*\)) has", r"\1 have", words)


@lru_cache(maxsize=1024)
def _read_cached(
    x: Described, filters: Described, bias: Described | None, arguments: Arguments, groups_type: str
) -> Call:
    return _read(x, filters, bias, arguments)


def _read(x: Described, filters: Described, bias: Described | None, arguments: Arguments) -> Call:
    ndim = len(filters.shape) - 2
    if len(filters.shape) == len(x.shape) in (1, 2):
        _refuse_textbook_arrays(x, filters)
    if not 1 <= ndim <= 3 or None in filters.shape[:ndim]:
        raise ShapeError(
            f"filters have shape {sizes_text(filters.shape)}; [*kernel, C_out/groups, C_in] with 1 to 3 spatial axes "
            "of known size is needed. Use such filters, or set_shape on the tensor"
        )
    if len(x.shape) != ndim + 2:
        raise ShapeError(
            f"input has shape {sizes_text(x.shape)}, with {len(x.shape)} axes; filters of shape "
            f"{sizes_text(filters.shape)} need {ndim + 2}. Write input[None] to add a batch axis, or "
            "use filters with as many spatial axes"
        )
    speaker = dialect("tensorflow")
    layout = speaker.data_layout(ndim, ndim + 2, data_format=arguments.data_format)
    last = layout.axes[-1] == "C"
    _check_filters(x, filters, arguments, last)
    plain = _plain(filters, arguments)
    pairs = _pairs(arguments, plain, last)
    sizes = _spatial(arguments.output_shape, ndim, last)
    small = x.shape[1:-1] if last else x.shape[2:]
    known_input = None not in small
    example = tuple(8 if n is None else n for n in small)
    if arguments.output_shape is None and arguments.crop is None:
        _refuse_missing_sizes(arguments.padding, pairs, plain, small, last)
    if pairs is None:
        padding = arguments.padding
        # sizes that are not known yet are replaced by allowed ones, to check all that is known
        large = (
            tuple(
                _legal_size(padding, n, e, s) if L is None or m is None else L
                for L, m, n, e, s in zip(sizes or (), small, example, plain.extent, plain.stride, strict=True)
            )
            if sizes is not None
            else None
        )
        call = _checked(x, filters, bias, arguments, example, padding, large, last)
        name, crop = padding, ((0, 0),) * ndim
    else:
        call = _checked(x, filters, bias, arguments, example, "VALID", plain.full_shape(example), last)
        name, crop = ("CROP" if arguments.crop is not None else "PAIRS"), pairs
    g = call.problem.geometry
    rule = OperatorRule(g.stride, g.dilation, crop, g.groups, name, call.data, call.weight_layout, call.result)
    geometry: Geometry | None = None
    if name == "CROP":
        geometry = replace(g, crop=crop)
        if known_input:
            _check_agreement(geometry.output_shape(example), sizes, arguments)
    elif sizes is not None and known_input:
        numbers = tuple(size for size in sizes if size is not None)
        if len(numbers) == ndim:
            given = [list(pair) for pair in pairs or ()]
            geometry = g if pairs is None else crop_between(_uncropped(g), pairs, given, example, numbers)
    if geometry is None:
        return Call(None, rule, call.problem, False)
    operator = Operator(geometry, call.data, call.weight_layout, call.result)
    return Call(operator, operator.rule, replace(call.problem, geometry=geometry), known_input)


def _refuse_textbook_arrays(x: Described, filters: Described) -> None:
    """Raise ShapeError for arrays without batch and channels, as textbooks have them."""
    raise ShapeError(
        f"input has shape {sizes_text(x.shape)} and filters {sizes_text(filters.shape)}; a batch and channels are "
        "needed: input [N, *spatial, C_in], filters [*kernel, C_out, C_in]. "
        f"Write tf.reshape(input, {_around(x.shape, True)}) and tf.reshape(filters, {_around(filters.shape, False)}), "
        "or tconv.definition.scatter(input.numpy(), filters.numpy())"
    )


def _around(shape: Shape, batch: bool) -> str:
    sizes = [-1 if n is None else n for n in shape]
    return str([1, *sizes, 1] if batch else [*sizes, 1, 1])


def _check_filters(x: Described, filters: Described, arguments: Arguments, last: bool) -> None:
    """Raise ShapeError for filters without outputs, another data_format, or channels of y that are not theirs."""
    returned, taken = filters.shape[-2:]
    shape, given = sizes_text(filters.shape), arguments.output_shape
    if returned == 0:
        raise ShapeError(
            f"filters {shape} have no output channels; at least one is needed. Write filters with C_out > 0"
        )
    channels, other = (x.shape[-1], x.shape[1]) if last else (x.shape[1], x.shape[-1])
    if taken is not None and channels not in (None, taken) and other == taken:
        letters = {1: "W", 2: "HW", 3: "DHW"}[len(x.shape) - 2]
        name = f"NC{letters}" if last else f"N{letters}C"
        raise ShapeError(
            f"filters {shape} have {taken} input channels; input {sizes_text(x.shape)} has {channels} on axis "
            f'{len(x.shape) - 1 if last else 1}, and {taken} where "{name}" has them. Write data_format="{name}"'
        )
    if given is None or len(given) != len(x.shape) or arguments.groups != 1 or channels not in (None, taken):
        return
    wanted = given[-1] if last else given[1]
    if type(wanted) is not int or not returned or not taken or wanted <= returned or wanted % returned:
        return
    if taken % (groups := wanted // returned):
        where = "ends with" if last else "has"
        raise ShapeError(
            f"output_shape {sizes_text(given)} {where} {wanted} channels, and filters {shape} return {returned}; that "
            f"would be {groups} groups, which do not divide the {taken} input channels. Write {returned} there"
        )


def _refuse_missing_sizes(padding: Any, pairs: Any, plain: Geometry, small: Shape, last: bool) -> None:
    """Raise ArgumentError for a call without output_shape; one with a mistake in the padding has another error."""
    if pairs is None and padding not in ("SAME", "VALID"):
        return
    ends = pairs or ((None if padding == "SAME" else (0, 0)),) * plain.ndim
    usual = []
    for n, pair, e, s in zip(small, ends, plain.extent, plain.stride, strict=True):
        sizes = range(0) if n is None else legal_output_sizes(pair, n, e, s)
        usual.append("L" if not sizes else str(sizes[-1] if pair is None else sizes[0]))
    text = ", ".join(["N", *usual, "C_out"] if last else ["N", "C_out", *usual])
    raise ArgumentError(
        f"output_shape is missing; it is needed with every padding. Write output_shape=[{text}], or output_shape=None "
        f"with crop={[(0, 0)] * plain.ndim}, what is cut off the full result, which needs no size"
    )


def _uncropped(g: Geometry) -> Geometry:
    """Return a geometry without its crop."""
    return Geometry(g.kernel, g.stride, 0, g.dilation, g.groups)


def _plain(filters: Described, arguments: Arguments) -> Geometry:
    """Return the geometry without its crop and groups, which the sizes decide."""
    ndim = len(filters.shape) - 2
    geometry = dialect("tensorflow").geometry(
        kernel=filters.shape[:ndim],
        output=(1,) * ndim,
        strides=arguments.strides,
        padding="VALID",
        data_format=arguments.data_format,
        dilations=arguments.dilations,
    )
    return _uncropped(geometry)


def _pairs(arguments: Arguments, plain: Geometry, last: bool) -> Any:
    """Return the crop, or the pairs of the padding, per spatial axis; None for "SAME" and "VALID" (and mistakes)."""
    ndim, padding = plain.ndim, arguments.padding
    if arguments.crop is not None:
        if padding != "SAME":
            raise ArgumentError(
                f"crop= was given together with padding={shown(padding)}; it is the whole padding. Write crop= alone"
            )
        return pairs_of(arguments.crop, "crop", ndim)
    if isinstance(padding, str) or entries_of(padding) is None:
        return None
    usual = [[0, 0], *[[1, 1]] * ndim, [0, 0]] if last else [[0, 0], [0, 0], *[[1, 1]] * ndim]
    whole = pairs_of(padding, "padding", ndim + 2, axes="array", example=f"padding={usual}")
    inner, outer = (whole[1:-1], (whole[0], whole[-1])) if last else (whole[2:], whole[:2])
    if any(side < 0 for pair in inner for side in pair) or any(map(any, outer)):
        raise ShapeError(
            f"padding is {whole}; pairs of at least 0 are needed, and (0, 0) for batch and channels. Write crop=, "
            "which has no such limit"
        )
    return inner


def _spatial(output_shape: Shape | None, ndim: int, last: bool) -> Shape | None:
    """Return the spatial sizes of an output_shape, or the entries alone; None where the reader has an error for it."""
    if output_shape is None or len(output_shape) not in (ndim, ndim + 2):
        return None
    if len(output_shape) == ndim:
        return output_shape
    return output_shape[1:-1] if last else output_shape[2:]


def _legal_size(padding: Any, n: int, extent: int, stride: int) -> int:
    sizes = legal_output_sizes((0, 0) if padding == "VALID" else None, n, extent, stride)
    return sizes[-1] if sizes else 1


def _checked(
    x: Described,
    filters: Described,
    bias: Described | None,
    arguments: Arguments,
    sizes: tuple[int, ...],
    padding: Any,
    large: tuple[int, ...] | None,
    last: bool,
) -> CanonicalCall:
    """Return the call of TensorFlow's dialect with these sizes, after all of its checks."""
    ndim, given = len(sizes), arguments.output_shape
    channel_axis = -1 if last else 1
    groups = int_of(arguments.groups, "groups", least=1, example="groups=1")
    # unknown channels are replaced by some that fit
    channels, taken, returned = x.shape[channel_axis], filters.shape[-1], filters.shape[-2]
    of_output = given[channel_axis] if given is not None and len(given) == ndim + 2 else None
    taken = taken if taken is not None else groups if channels is None else channels
    channels = taken if channels is None else channels
    per_group = 1 if returned is None else returned
    if returned is None and of_output is not None and of_output % groups == 0:
        per_group = of_output // groups
    weight_shape: Any = (*filters.shape[:ndim], per_group, taken)
    batch = 1 if x.shape[0] is None else x.shape[0]
    x_shape = (batch, *sizes, channels) if last else (batch, channels, *sizes)
    native: dict[str, Any] = {
        "strides": arguments.strides,
        "padding": padding,
        "data_format": arguments.data_format,
        "dilations": arguments.dilations,
    }
    if groups > 1:
        native["groups"] = groups
    if large is None:
        native["output_shape"] = given  # missing, or of a wrong length: the dialect has the error
    elif given is not None and len(given) == ndim + 2:
        first = -1 if given[0] is None or x.shape[0] is None else given[0]
        if groups > 1 and of_output is not None and of_output != per_group * groups:
            raise ShapeError(
                f"output_shape {sizes_text(given)} has {of_output} channels; filters {sizes_text(filters.shape)} in "
                f"{groups} groups return {per_group * groups}. Write {per_group * groups} there"
            )
        of_output = per_group * groups if of_output is None else of_output
        native["output_shape"] = (first, *large, of_output) if last else (first, of_output, *large)
    else:
        native["output_shape"] = large
    bias_shape: Any = None if bias is None else [per_group * groups if n is None else n for n in bias.shape]
    stand_ins = [
        None if shape is None else np.broadcast_to(_stand_in(tensor, name), shape)
        for tensor, name, shape in (
            (x, "input", x_shape),
            (filters, "filters", weight_shape),
            (bias, "bias", bias_shape),
        )
    ]
    in_words: Any = ("tensorflow", *stand_ins, "tensorflow", None, native)
    return read_taken_call(*in_words, finite=True)


_DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "int32", "int64")
"""Types that TensorFlow's operators compute; small integers would overflow."""


def _stand_in(tensor: Described | None, name: str) -> Array:
    """Return a number of the tensor's dtype, which stands for its memory."""
    kind = "float32" if tensor is None else tensor.dtype
    if kind not in _DTYPES:
        raise DtypeError(f"{name} is {kind}; one of {', '.join(_DTYPES)} is needed. Write tf.cast({name}, tf.float32)")
    return np.zeros((), bfloat16_dtype(name) if kind == "bfloat16" else kind)


def _check_agreement(made: tuple[int, ...], sizes: Shape | None, arguments: Arguments) -> None:
    """Raise ShapeError if an output_shape that was given with a crop has other sizes than the crop leaves."""
    if arguments.output_shape is None:
        return
    if sizes is None or any(L not in (None, n) for L, n in zip(sizes, made, strict=True)):
        raise ShapeError(
            f"output_shape is {sizes_text(arguments.output_shape)}; crop= makes an output of spatial sizes {made}. "
            "Write output_shape=None, or these sizes"
        )
