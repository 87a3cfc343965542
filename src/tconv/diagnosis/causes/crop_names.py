"""Names for a crop: the framework whose rule gives it, or the misreading of padding and output_padding behind it.

The search finds a crop as numbers, and this file names it. A new name is a `Rule` that `rules` yields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tconv._arguments import ints_of
from tconv.diagnosis.causes import crop_misreadings
from tconv.diagnosis.causes.crop_rule import CropPairs, Rule
from tconv.dialects import dialect
from tconv.errors import TconvError
from tconv.geometry import Geometry

_RULES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("SAME of TensorFlow", "tensorflow", {"padding": "SAME", "output_shape": "same"}),
    ("SAME of Keras", "keras", {"padding": "same"}),
    ("SAME of JAX", "jax", {"padding": "SAME"}),
    ("SAME_UPPER of ONNX", "onnx", {"auto_pad": "SAME_UPPER"}),
    ("SAME_LOWER of ONNX", "onnx", {"auto_pad": "SAME_LOWER"}),
    ("SAME_UPPER of ONNX with output_shape", "onnx", {"auto_pad": "SAME_UPPER", "output_shape": "output"}),
    ("SAME_LOWER of ONNX with output_shape", "onnx", {"auto_pad": "SAME_LOWER", "output_shape": "output"}),
    ("SAME_UPPER of ONNX Runtime", "onnxruntime", {"auto_pad": "SAME_UPPER"}),
    ("SAME_LOWER of ONNX Runtime", "onnxruntime", {"auto_pad": "SAME_LOWER"}),
    ("same_upper of OpenVINO with output_shape", "openvino", {"auto_pad": "same_upper", "output_shape": "output"}),
    ("same_lower of OpenVINO with output_shape", "openvino", {"auto_pad": "same_lower", "output_shape": "output"}),
    ("same_upper of OpenVINO", "openvino", {"auto_pad": "same_upper"}),
    ("SAME of Equinox", "equinox", {"padding": "SAME"}),
    ("SAME_LOWER of Equinox", "equinox", {"padding": "SAME_LOWER"}),
    ("SAME of Paddle", "paddle", {"padding": "SAME"}),
    ("SAME of Haiku", "haiku", {"padding": "SAME", "output_shape": "output"}),
    ("pads -233 of ncnn", "ncnn", {}),
    ("VALID of TensorFlow", "tensorflow", {"padding": "VALID", "output_shape": "output"}),
    ("VALID of JAX", "jax", {"padding": "VALID"}),
    ("valid of Keras", "keras", {"padding": "valid"}),
)
"""Name, dialect and special arguments of each dialect's own rules.

An output_shape of "output" is the size of the output to explain, one of "same" is stride times input.
"""


def rules(g: Geometry, n: tuple[int, ...], L: tuple[int, ...], native: dict[str, Any]) -> Iterator[Rule]:
    """Yield every named crop near this geometry, the likeliest first.

    `n` is the spatial shape of x, `L` that of the output to explain.
    """
    axes = list(zip(g.crop, g.extent, g.stride, strict=True))
    pads, extra = padding_of(g, native)
    both = list(zip(pads, extra, strict=True))

    def rule(name: str, text: str, crop: Any, source: str = "", *, argument: bool = False) -> Rule:
        return Rule(name, text, tuple(crop), source, per_axis=True, argument=argument)

    if any(extra):
        text = "output_padding is ignored"
        yield rule("output_padding ignored", text, ((p, p) for p, _ in both), argument=True)
        yield rule(
            "output_padding at the front",
            "output_padding extends the front, not the end",
            ((p - op, p) for p, op in both),
            "onnx/onnx#1609",
        )
        yield rule(
            "output_padding at both ends", "output_padding extends both ends", ((p - op, p - op) for p, op in both)
        )
        yield rule(
            "output_padding as padding", "output_padding is cropped, as padding is", ((p, p + op) for p, op in both)
        )
        text = "output_padding is applied as padding of the input: each element of it is a stride of outputs more"
        longer = ((p, p - op * s) for (p, op), s in zip(both, g.stride, strict=True))
        yield rule("output_padding as input padding", text, longer, "apple/coreai-torch#57")
        yield rule(
            "output_padding instead of padding", "output_padding is used as padding", ((op, op) for _, op in both)
        )
        yield rule(
            "padding and output_padding exchanged",
            "padding and output_padding are exchanged",
            ((op, op - p) for p, op in both),
        )
    if any(lo != hi for lo, hi in g.crop):
        text = "the sides of the crop are exchanged"
        yield rule("crop sides exchanged", text, ((hi, lo) for lo, hi in g.crop), "keras-team/keras#22876")
        total = [lo + hi for lo, hi in g.crop]
        even = [(whole // 2, whole - whole // 2) for whole in total]
        text = "the whole crop is split evenly between both sides"
        yield rule("crop shared evenly", text, even, "llvm/torch-mlir#4650")
        yield rule("crop shared evenly", text, ((hi, lo) for lo, hi in even), "llvm/torch-mlir#4650")
    if any(pads):
        yield rule("padding ignored", "the padding is ignored", ((0, -op) for _, op in both))
        yield rule("padding twice", "the padding is applied twice", ((2 * p, 2 * p - op) for p, op in both))
        text = "padding is applied as padding of the input: zeros around x"
        outward = ((-s * p, -s * p - op) for (p, op), (_, _, s) in zip(both, axes, strict=True))
        yield rule("padding as input padding", text, outward, "Samsung/TICO#420")
        yield Rule(
            "padding axes exchanged",
            "the axes of padding are exchanged",
            tuple((p, p - op) for p, op in zip(pads[::-1], extra[::-1], strict=True)),
        )
    if any(lo or hi for lo, hi in g.crop):
        yield rule("full result", "nothing is cropped and nothing is added", ((0, 0),) * g.ndim)
    yield from crop_misreadings.of_other_axes(pads, extra)
    yield from _dialects(g, n, L, sized=False)
    text = "padding is applied as padding of the dilated input (extent - 1 - padding is cropped), as in JAX's pairs"
    into = ((e - 1 - p, e - 1 - p - op) for (p, op), (_, e, _) in zip(both, axes, strict=True))
    yield rule("padding as padding of the dilated input", text, into, "jax-ml/jax#32267")
    if (
        tuple(F - lo - hi for F, (lo, hi) in zip(g.full_shape(n), g.crop, strict=True)) == L
    ):  # the size that was asked for
        yield from _dialects(g, n, L, sized=True)
    for step in (1, -1):
        moved = "later" if step > 0 else "earlier"
        text = f"the output is shifted: it starts one element (one phase) {moved}"
        element = tuple((lo + step, hi - step) for lo, hi in g.crop)
        yield Rule("off by one element", text, element, per_axis=True, rare=True)
    for step in (1, -1):
        moved = "later" if step > 0 else "earlier"
        text = f"the output is shifted: it starts one stride (one input element) {moved}"
        stride = tuple((lo + step * s, hi - step * s) for (lo, hi), _, s in axes)
        yield Rule("off by one stride", text, stride, per_axis=True, rare=True)
    yield from crop_misreadings.rules(g, n, L, pads, extra)


def padding_of(g: Geometry, native: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return padding and output_padding, one number per axis each, as they were given or as the crop has them."""
    pads = _given(native, ("padding", "pads", "pads_begin"), g.ndim) or tuple(max(0, lo) for lo, _ in g.crop)
    extra = _given(native, ("output_padding",), g.ndim)
    if extra is None:  # a Geometry has no native arguments, and an output size stands for an output_padding
        sized = not native or native.get("output_size") is not None
        extra = tuple(max(0, lo - hi) if sized else 0 for lo, hi in g.crop)
    return pads, extra


def _given(native: dict[str, Any], names: tuple[str, ...], ndim: int) -> tuple[int, ...] | None:
    """Return the first of these native arguments that was given, one number per axis; None if there is none."""
    for name in names:
        if native.get(name) is not None and not isinstance(native[name], str):
            try:
                return ints_of(native[name], name, ndim)
            except TconvError:
                return None
    return None


def _dialects(g: Geometry, n: tuple[int, ...], L: tuple[int, ...], *, sized: bool) -> Iterator[Rule]:
    """Yield the crop of each dialect's own rule for this kernel, stride and input.

    `sized` selects the rules that are also given the size of the output.
    """
    for name, member, special in _RULES:
        if sized != (special.get("output_shape") == "output" or member == "ncnn"):
            continue
        arguments = _arguments(member, g, special, n, L)
        if arguments is None:
            continue
        try:
            found = dialect(member).geometry(kernel=g.kernel, input=n, **arguments)
        except TconvError:
            continue
        if found.dilation == g.dilation:
            yield Rule(name, f"that is the crop of {name}", found.crop)


_STRIDE_DILATION = {
    "stride": ("strides", "stride"),
    "dilation": ("dilations", "dilation_rate", "rhs_dilation", "kernel_dilation", "dilation"),
}


def _arguments(
    member: str, g: Geometry, special: dict[str, Any], n: tuple[int, ...], L: tuple[int, ...]
) -> dict[str, Any] | None:
    """Return a dialect's native arguments for this call; None if it has none for its stride or dilation."""
    known = dialect(member).argument_names()
    if member == "ncnn":
        letters = "dhw"[-g.ndim :]
        if g.ndim > 3:
            return None
        sizes: dict[str, Any] = {f"stride_{a}": s for a, s in zip(letters, g.stride, strict=True)}
        sizes |= {f"dilation_{a}": d for a, d in zip(letters, g.dilation, strict=True)}
        return sizes | {f"output_{a}": size for a, size in zip(letters, L, strict=True)} | {"pad_left": -233}
    arguments: dict[str, Any] = dict(special)
    for value, names in ((g.stride, _STRIDE_DILATION["stride"]), (g.dilation, _STRIDE_DILATION["dilation"])):
        name = next((name for name in names if name in known), None)
        if name is not None:
            arguments[name] = value
        elif max(value) > 1:
            return None
    if arguments.get("output_shape") == "output":
        arguments["output_shape"] = L
    elif arguments.get("output_shape") == "same":
        arguments["output_shape"] = tuple(s * size for s, size in zip(g.stride, n, strict=True))
    return arguments


def named(crop: CropPairs, g: Geometry, n: tuple[int, ...], L: tuple[int, ...], native: dict[str, Any]) -> list[Rule]:
    """Return the rules that give this crop; if there is none, one unnamed rule that states the numbers."""
    every = list(rules(g, n, L, native))
    if fitting := [*(rule for rule in every if rule.crop == crop), *_on_some_axes(crop, g, every)]:
        return fitting
    shifts = [(lo - b, hi - c) for (lo, hi), (b, c) in zip(crop, g.crop, strict=True)]
    moved = [lo for lo, _ in shifts]
    if any(moved):
        steps = ", ".join(_moved(step, s) for step, s in zip(moved, g.stride, strict=True))
        return [Rule(_UNNAMED[0], f"the output starts elsewhere: {steps}, axis by axis", crop, rare=True)]
    return [Rule(_UNNAMED[1], "the output ends elsewhere", crop, rare=True)]


_UNNAMED = ("crop shifted", "crop at the end")


def is_unnamed(rule: Rule) -> bool:
    """Return True if the rule has no name of its own but states the numbers of a crop."""
    return rule.name in _UNNAMED


def _on_some_axes(crop: CropPairs, g: Geometry, every: list[Rule]) -> list[Rule]:
    """Return the rules that give this crop along some axes, where the other axes have the crop of the call."""
    changed = [axis for axis, (new, old) in enumerate(zip(crop, g.crop, strict=True)) if new != old]
    if len(changed) == g.ndim:
        return []
    fitting = [rule for rule in every if rule.per_axis and all(rule.crop[axis] == crop[axis] for axis in changed)]
    return [rule.on(changed)._replace(crop=crop) for rule in fitting]


def cut_to_size(shift: tuple[int, ...], longer: tuple[int, ...]) -> str:
    """Return where an output that is `longer` than the call's was cut to the call's size; "" if it was not.

    `shift` is the number of elements by which it starts later. A shorter output is filled up with zeros.
    """
    cut = [max(0, more) for more in longer]
    places = {
        "at the end": (0,) * len(shift),
        "at both ends": tuple(more // 2 for more in cut),
        "at both ends, more of it in front": tuple(-(-more // 2) for more in cut),
        "at the front": tuple(cut),
    }
    return next((place for place, start in places.items() if start == shift), "") if any(longer) else ""


def _moved(step: int, stride: int) -> str:
    """Return the text for a start that is `step` elements later."""
    if step == 0:
        return "in place"
    direction = "later" if step > 0 else "earlier"
    if stride > 1 and step % stride == 0:
        return f"{abs(step)} elements {direction} ({abs(step) // stride} of the input)"
    return f"{abs(step)} element{'s' * (abs(step) > 1)} {direction}"
