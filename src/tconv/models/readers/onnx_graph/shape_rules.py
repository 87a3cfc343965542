"""Rules from the facts of a node's inputs to those of its outputs, for sizes that may be names.

Operators that are not in `RULES` are left to ONNX's own inference, which knows all of them but loses names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tconv.dialects import dialect
from tconv.models.inventory.model_layer import Size
from tconv.models.inventory.symbols import minus, plus, product, quotient, times
from tconv.models.readers.onnx_graph.facts import Fact
from tconv.models.readers.onnx_graph.nodes import attributes_of, names_in

Facts = Sequence[Fact]
Rule = Callable[[Any, Facts], list[Fact]]

_SAME = names_in(
    "Abs BatchNormalization Ceil Celu Clip Cos CumSum Dropout Elu Erf Exp Floor Gelu GroupNormalization "
    "HardSigmoid HardSwish Hardmax InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax "
    "LpNormalization MeanVarianceNormalization Mish Neg Not PRelu RMSNormalization Reciprocal Relu Round Selu "
    "Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Trilu"
)
"""Operators whose first output has the shape and type of their first input."""
_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "Mod")
_COMPARED = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor")


def transposed_shape(
    name: str, arguments: Mapping[str, Any], x: tuple[Size, ...] | None, weight: tuple[int, ...] | None
) -> tuple[Size, ...] | None:
    """Return the shape of a transposed convolution's output by a dialect with ONNX's layouts; None if it is not known.

    Raises the dialect's errors for arguments that describe no transposed convolution.
    """
    if x is None or weight is None or len(x) != len(weight):
        return None
    speaker = dialect(name)
    small, large = (tuple(size if isinstance(size, int) else other for size in x[2:]) for other in (1001, 1002))
    geometry, other = (speaker.read((1, weight[0], *n), weight, dict(arguments)).geometry for n in (small, large))
    spatial = [
        a if isinstance(n, int) else plus(times(n, b - a), a - 1001 * (b - a))
        for n, a, b in zip(x[2:], geometry.output_shape(small), other.output_shape(large), strict=True)
    ]
    return (x[0], weight[1] * geometry.groups, *spatial)


def _same(node: Any, facts: Facts) -> list[Fact]:
    return [Fact(facts[0].shape, facts[0].dtype)]


def _identity(node: Any, facts: Facts) -> list[Fact]:
    return [facts[0]]


def _cast(node: Any, facts: Facts) -> list[Fact]:
    import onnx_ir

    from tconv.models.readers.onnx_graph.stored import dtype_name

    if node.op_type == "CastLike":
        return [facts[0]._replace(dtype=facts[1].dtype, numbers=None)]
    return [facts[0]._replace(dtype=dtype_name(onnx_ir.DataType(attributes_of(node)["to"])), numbers=None)]


def _broadcast(node: Any, facts: Facts) -> list[Fact]:
    shapes = [fact.shape for fact in facts]
    dtype = "bool" if node.op_type in _COMPARED else next((fact.dtype for fact in facts if fact.dtype), "")
    if None in shapes:
        return [Fact(None, dtype)]
    return [Fact(broadcast(*(shape for shape in shapes if shape is not None)), dtype, None, _arithmetic(node, facts))]


def broadcast(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """Return the shape of arrays that are broadcast against each other."""
    rank = max(map(len, shapes))
    return tuple(
        _joined([shape[axis - rank + len(shape)] for shape in shapes if axis >= rank - len(shape)])
        for axis in range(rank)
    )


def _joined(sizes: list[Size]) -> Size:
    larger = [size for size in sizes if size != 1]
    if not larger:
        return 1
    numbers = [size for size in larger if isinstance(size, int)]
    if numbers:
        return numbers[0]
    # names that differ are two ways to write one size, or the model does not run
    return None if None in larger else min(map(str, larger), key=len)


def _arithmetic(node: Any, facts: Facts) -> tuple[Size, ...] | None:
    """Return the sizes that a sum, difference, product or quotient of sizes contains."""
    steps: dict[str, Callable[[Size, Size], Size]] = {"Add": plus, "Sub": minus, "Mul": times, "Div": quotient}
    step = steps.get(node.op_type)
    if step is None or len(facts) != 2 or not facts[0].dtype.startswith(("int", "uint")):
        return None
    first, second = facts[0].sizes, facts[1].sizes
    if not first or not second or not (len(first) == len(second) or 1 in (len(first), len(second))):
        return None
    most = max(len(first), len(second))
    pairs = zip(first * (most // len(first)), second * (most // len(second)), strict=True)
    return tuple(step(a, b) for a, b in pairs)


def _conv(node: Any, facts: Facts) -> list[Fact]:
    given, x, weight = attributes_of(node), facts[0].shape, facts[1].shape
    if x is None or weight is None:
        return [Fact(None, facts[0].dtype)]
    kernel = given.get("kernel_shape") or list(weight[2:])
    return [Fact((x[0], weight[0], *_windows(given, x[2:], kernel)), facts[0].dtype)]


def _pool(node: Any, facts: Facts) -> list[Fact]:
    given, x = attributes_of(node), facts[0].shape
    if x is None:
        return [Fact(None, facts[0].dtype)]
    if given.get("ceil_mode"):
        raise NotImplementedError  # ONNX's inference knows its exception at the border
    return [Fact((*x[:2], *_windows(given, x[2:], given["kernel_shape"])), facts[0].dtype)]


def _windows(given: dict[str, Any], sizes: tuple[Size, ...], kernel: list[Size]) -> list[Size]:
    ndim = len(sizes)
    strides, dilations = given.get("strides") or [1] * ndim, given.get("dilations") or [1] * ndim
    pads, rule = given.get("pads") or [0] * 2 * ndim, given.get("auto_pad", "NOTSET")
    result: list[Size] = []
    for axis, size in enumerate(sizes):
        extent = plus(times(minus(kernel[axis], 1), dilations[axis]), 1)
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            result.append(quotient(plus(size, strides[axis] - 1), strides[axis]))
            continue
        total = pads[axis] + pads[axis + ndim] if rule == "NOTSET" else 0
        result.append(plus(quotient(minus(plus(size, total), extent), strides[axis]), 1))
    return result


def _conv_transpose(node: Any, facts: Facts) -> list[Fact]:
    shape = transposed_shape("onnx", attributes_of(node), facts[0].shape, facts[1].fixed)
    return [Fact(shape, facts[0].dtype)]


def _global_pool(node: Any, facts: Facts) -> list[Fact]:
    shape = facts[0].shape
    return [Fact(None if shape is None else (*shape[:2], *[1] * (len(shape) - 2)), facts[0].dtype)]


def _transpose(node: Any, facts: Facts) -> list[Fact]:
    shape = facts[0].shape
    if shape is None:
        return [Fact(None, facts[0].dtype)]
    order = attributes_of(node).get("perm", list(range(len(shape)))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise ValueError
    return [Fact(tuple(shape[axis] for axis in order), facts[0].dtype)]


def _shape(node: Any, facts: Facts) -> list[Fact]:
    given, shape = attributes_of(node), facts[0].shape
    if shape is None:
        return [Fact((None,), "int64")]
    sizes = shape[given.get("start", 0) : given.get("end", len(shape))]
    return [Fact((len(sizes),), "int64", None, sizes)]


def _size(node: Any, facts: Facts) -> list[Fact]:
    shape = facts[0].shape
    return [Fact((), "int64", None, None if shape is None else (product(shape),))]


def _gather(node: Any, facts: Facts) -> list[Fact]:
    sizes, places, axis = facts[0].sizes, facts[1].numbers, attributes_of(node).get("axis", 0)
    if sizes is None or places is None or places.dtype.kind not in "iu" or not facts[0].shape or axis not in (0, -1):
        raise NotImplementedError
    taken = tuple(sizes[int(place)] for place in places.ravel())
    return [Fact(tuple(places.shape), facts[0].dtype, None, taken if places.ndim < 2 else None)]


def _concat(node: Any, facts: Facts) -> list[Fact]:
    shapes = [fact.shape for fact in facts]
    if any(shape is None or len(shape) != len(shapes[0] or ()) for shape in shapes):
        return [Fact(None, facts[0].dtype)]
    axis = attributes_of(node)["axis"]
    known = [shape for shape in shapes if shape is not None]
    joined = list(broadcast(*known)) if len(known) > 1 else list(known[0])
    total: Size = 0
    for shape in known:
        total = plus(total, shape[axis])
    joined[axis] = total
    parts = [fact.sizes for fact in facts]
    sizes = None if None in parts else tuple(size for part in parts for size in part or ())
    return [Fact(tuple(joined), facts[0].dtype, None, sizes if len(joined) == 1 else None)]


def _slice(node: Any, facts: Facts) -> list[Fact]:
    given, x = attributes_of(node), facts[0].shape
    if x is None:
        return [Fact(None, facts[0].dtype)]
    if len(facts) > 1:
        starts, ends = facts[1].sizes, facts[2].sizes
        axes = _axes(facts[3], None) if len(facts) > 3 and facts[3].shape is not None else None
        steps = facts[4].sizes if len(facts) > 4 and facts[4].shape is not None else None
    else:
        starts, ends, axes, steps = tuple(given["starts"]), tuple(given["ends"]), given.get("axes"), None
    if starts is None or ends is None:
        raise NotImplementedError
    axes = list(range(len(starts))) if axes is None else axes
    shape: list[Size] = list(x)
    for number, axis in enumerate(axes):
        step = 1 if steps is None else steps[number]
        shape[axis] = _cut(x[axis], starts[number], ends[number], step)
    sizes = None
    if facts[0].sizes is not None and len(x) == 1:
        bounds = starts[0], ends[0], 1 if steps is None else steps[0]
        numbers = [bound for bound in bounds if isinstance(bound, int)]
        sizes = facts[0].sizes[slice(*numbers)] if len(numbers) == 3 else None
    return [Fact(tuple(shape), facts[0].dtype, None, sizes)]


def _cut(size: Size, start: Size, end: Size, step: Size) -> Size:
    """Return the size of a slice."""
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        # an end that is beyond the first element to the left is written as a very negative number
        return len(range(size)[slice(start, None if end < -size else end, step)]) if step else None
    if step == -1 and start == -1 and isinstance(end, int) and end < -(1 << 30):
        return size  # a flip
    if step != 1 or not isinstance(start, int) or end is None:
        return None
    begin = plus(size, start) if start < 0 else start
    if isinstance(end, int):
        if end >= 1 << 30:
            return minus(size, begin)
        return minus(plus(size, end), begin) if end < 0 else None
    return minus(end, begin)


def _axes(fact: Fact, given: Any) -> list[int] | None:
    if fact.sizes is not None and all(isinstance(axis, int) for axis in fact.sizes):
        return [axis for axis in fact.sizes if isinstance(axis, int)]
    return None if given is None else list(given)


def _unsqueeze(node: Any, facts: Facts) -> list[Fact]:
    axes = _axes(facts[1], None) if len(facts) > 1 else attributes_of(node).get("axes")
    shape = facts[0].shape
    if shape is None or axes is None:
        return [Fact(None, facts[0].dtype)]
    rank = len(shape) + len(axes)
    places = sorted(axis % rank for axis in axes)
    wider: list[Size] = list(shape)
    for place in places:
        wider.insert(place, 1)
    return [Fact(tuple(wider), facts[0].dtype, None, facts[0].sizes if rank <= 1 else None)]


def _squeeze(node: Any, facts: Facts) -> list[Fact]:
    axes = _axes(facts[1], None) if len(facts) > 1 else attributes_of(node).get("axes")
    shape = facts[0].shape
    if shape is None or (axes is None and not all(isinstance(size, int) for size in shape)):
        return [Fact(None, facts[0].dtype)]
    gone = (
        [number for number, size in enumerate(shape) if size == 1] if axes is None else [a % len(shape) for a in axes]
    )
    rest = tuple(size for number, size in enumerate(shape) if number not in gone)
    return [Fact(rest, facts[0].dtype, None, facts[0].sizes)]


def _reshape(node: Any, facts: Facts) -> list[Fact]:
    wanted, shape = facts[1].sizes, facts[0].shape
    if wanted is None:
        raise NotImplementedError
    keeps_zero = attributes_of(node).get("allowzero", 0)
    sizes: list[Size] = []
    for axis, size in enumerate(wanted):
        copied = size == 0 and not keeps_zero
        sizes.append(size if not copied else shape[axis] if shape is not None and axis < len(shape) else None)
    if -1 in wanted:
        place = wanted.index(-1)
        sizes[place] = _rest(shape, [size for axis, size in enumerate(sizes) if axis != place])
    return [Fact(tuple(sizes), facts[0].dtype, None, facts[0].sizes if len(sizes) <= 1 else None)]


def _rest(shape: tuple[Size, ...] | None, others: list[Size]) -> Size:
    """Return the size that -1 stands for in a reshape."""
    if shape is None:
        return None
    whole = list(shape)
    for other in list(others):  # sizes that are on both sides
        if other in whole and other is not None:
            whole.remove(other)
            others.remove(other)
    total, part = product(whole), product(others)
    if not isinstance(part, int) or part < 1 or total is None:
        return None
    if isinstance(total, int):
        return total // part
    exact = quotient(total, part)
    return exact if times(exact, part) == total else None


def _expand(node: Any, facts: Facts) -> list[Fact]:
    wanted = facts[1].sizes
    if wanted is None or facts[0].shape is None:
        return [Fact(None, facts[0].dtype)]
    return [Fact(broadcast(facts[0].shape, wanted), facts[0].dtype)]


def _constant_of_shape(node: Any, facts: Facts) -> list[Fact]:
    value = node.attributes.get("value")
    from tconv.models.readers.onnx_graph.stored import dtype_name

    return [Fact(facts[0].sizes, "float32" if value is None else dtype_name(value.value.dtype))]


def _pad(node: Any, facts: Facts) -> list[Fact]:
    shape = facts[0].shape
    pads: Any = facts[1].sizes if len(facts) > 1 else attributes_of(node).get("pads")
    if shape is None or pads is None:
        raise NotImplementedError
    axes = _axes(facts[3], None) if len(facts) > 3 else None
    axes = list(range(len(shape))) if axes is None else axes
    wider: list[Size] = list(shape)
    for number, axis in enumerate(axes):
        wider[axis] = plus(plus(shape[axis], pads[number]), pads[number + len(axes)])
    return [Fact(tuple(wider), facts[0].dtype)]


def _resize(node: Any, facts: Facts) -> list[Fact]:
    given, shape = attributes_of(node), facts[0].shape
    if shape is None or given.get("axes") is not None:
        raise NotImplementedError
    older = node.op_type == "Upsample" or len(facts) == 2
    scales = given.get("scales") if node.op_type == "Upsample" and len(facts) < 2 else None
    if scales is None:
        numbers = facts[1 if older else 2].numbers if len(facts) > (1 if older else 2) else None
        scales = None if numbers is None or not numbers.size else numbers.ravel().tolist()
    if scales is not None:
        return [Fact(tuple(_scaled(size, scale) for size, scale in zip(shape, scales, strict=True)), facts[0].dtype)]
    wanted = facts[3].sizes if len(facts) > 3 else None
    return [Fact(wanted if wanted is not None else (None,) * len(shape), facts[0].dtype)]


def _scaled(size: Size, scale: float) -> Size:
    if isinstance(size, int):
        return int(np.floor(np.float32(size) * np.float32(scale)))
    return times(size, int(scale)) if scale == int(scale) and scale >= 1 else None


def _depth_to_space(node: Any, facts: Facts) -> list[Fact]:
    shape, block = facts[0].shape, attributes_of(node)["blocksize"]
    if shape is None or len(shape) != 4:
        return [Fact(None, facts[0].dtype)]
    n, c, h, w = shape
    if node.op_type == "DepthToSpace":
        return [Fact((n, quotient(c, block**2), times(h, block), times(w, block)), facts[0].dtype)]
    return [Fact((n, times(c, block**2), quotient(h, block), quotient(w, block)), facts[0].dtype)]


def _quantized(node: Any, facts: Facts) -> list[Fact]:
    if node.op_type == "DequantizeLinear":
        return [Fact(facts[0].shape, facts[1].dtype)]
    return [Fact(facts[0].shape, facts[2].dtype if len(facts) > 2 and facts[2].dtype else "uint8")]


RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME, _same),
    **dict.fromkeys((*_BROADCAST, *_COMPARED), _broadcast),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("Cast", "CastLike"), _cast),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), _depth_to_space),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), _quantized),
    "Identity": _identity,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Transpose": _transpose,
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Expand": _expand,
    "ConstantOfShape": _constant_of_shape,
    "Pad": _pad,
}
"""Rules by operator."""
