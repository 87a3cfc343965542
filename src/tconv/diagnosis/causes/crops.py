"""Names for a crop that fits: whose rule it is, or which misreading of padding and output_padding leads to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tconv._arguments import ints_of
from tconv.dialects import dialect
from tconv.errors import TconvError
from tconv.geometry import Geometry

Pairs = tuple[tuple[int, int], ...]


class Rule(NamedTuple):
    """A named way to choose the crop."""

    name: str
    words: str
    crop: Pairs
    source: str = ""


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


def rules(g: Geometry, n: tuple[int, ...], L: tuple[int, ...], native: dict[str, Any]) -> Iterator[Rule]:
    """Every named crop near this geometry, the likeliest first; `L` is the size of the output that was given."""
    axes = list(zip(g.crop, g.extent, g.stride, strict=True))
    pads = _given(native, ("padding", "pads", "pads_begin"), g.ndim) or tuple(max(0, lo) for lo, _ in g.crop)
    extra = _given(native, ("output_padding",), g.ndim)
    if extra is None:  # a Geometry has no words
        extra = (0,) * g.ndim if native else tuple(max(0, lo - hi) for lo, hi in g.crop)
    both = list(zip(pads, extra, strict=True))

    def rule(name: str, words: str, crop: Any, source: str = "") -> Rule:
        return Rule(name, words, tuple(crop), source)

    if any(extra):
        yield rule("output_padding ignored", "output_padding is ignored", ((p, p) for p, _ in both))
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
        words = "output_padding is taken as padding of the input: each element of it is a stride of outputs more"
        longer = ((p, p - op * s) for (p, op), s in zip(both, g.stride, strict=True))
        yield rule("output_padding as input padding", words, longer, "apple/coreai-torch#57")
        yield rule(
            "output_padding instead of padding", "output_padding is taken for padding", ((op, op) for _, op in both)
        )
        yield rule(
            "padding and output_padding exchanged",
            "padding and output_padding are exchanged",
            ((op, op - p) for p, op in both),
        )
    if any(lo != hi for lo, hi in g.crop):
        words = "the sides of the crop are exchanged"
        yield rule("crop sides exchanged", words, ((hi, lo) for lo, hi in g.crop), "keras-team/keras#22876")
        total = [lo + hi for lo, hi in g.crop]
        even = [(whole // 2, whole - whole // 2) for whole in total]
        words = "the whole crop is shared out evenly between both sides"
        yield rule("crop shared evenly", words, even, "llvm/torch-mlir#4650")
        yield rule("crop shared evenly", words, ((hi, lo) for lo, hi in even), "llvm/torch-mlir#4650")
    if any(pads):
        yield rule("padding ignored", "the padding is ignored", ((0, -op) for _, op in both))
        yield rule("padding twice", "the padding is taken twice", ((2 * p, 2 * p - op) for p, op in both))
        words = "padding is taken as padding of the input: zeros around x"
        outward = ((-s * p, -s * p - op) for (p, op), (_, _, s) in zip(both, axes, strict=True))
        yield rule("padding as input padding", words, outward, "Samsung/TICO#420")
        yield rule(
            "padding axes exchanged",
            "the axes of padding are exchanged",
            ((p, p - op) for p, op in zip(pads[::-1], extra[::-1], strict=True)),
        )
    if any(lo or hi for lo, hi in g.crop):
        yield rule("full result", "nothing is cropped, and nothing added", ((0, 0),) * g.ndim)
    yield from _dialects(g, n, L, sized=False)
    words = "padding is taken as padding of the dilated input (extent - 1 - padding is cropped), as JAX's pairs are"
    into = ((e - 1 - p, e - 1 - p - op) for (p, op), (_, e, _) in zip(both, axes, strict=True))
    yield rule("padding as padding of the dilated input", words, into, "jax-ml/jax#32267")
    if tuple(F - lo - hi for F, (lo, hi) in zip(g.full_shape(n), g.crop, strict=True)) == L:  # told the right size
        yield from _dialects(g, n, L, sized=True)
    for step in (1, -1):
        moved = "later" if step > 0 else "earlier"
        words = f"the output is shifted: it starts one element (one phase) {moved} on every axis"
        yield rule("off by one element", words, ((lo + step, hi - step) for lo, hi in g.crop))
    for step in (1, -1):
        moved = "later" if step > 0 else "earlier"
        words = f"the output is shifted: it starts one stride (one input element) {moved} on every axis"
        yield rule("off by one stride", words, ((lo + step * s, hi - step * s) for (lo, hi), _, s in axes))


def _given(native: dict[str, Any], names: tuple[str, ...], ndim: int) -> tuple[int, ...] | None:
    """The first of these native arguments that is there, one number per axis."""
    for name in names:
        if native.get(name) is not None and not isinstance(native[name], str):
            try:
                return ints_of(native[name], name, ndim)
            except TconvError:
                return None
    return None


def _dialects(g: Geometry, n: tuple[int, ...], L: tuple[int, ...], *, sized: bool) -> Iterator[Rule]:
    """What each dialect's own rule crops from this kernel, stride and input; `sized`: told the output, too."""
    for name, member, words in _RULES:
        if sized != (words.get("output_shape") == "output" or member == "ncnn"):
            continue
        said = _words(member, g, words, n, L)
        if said is None:
            continue
        try:
            found = dialect(member).geometry(kernel=g.kernel, input=n, **said)
        except TconvError:
            continue
        if found.dilation == g.dilation:
            yield Rule(name, f"that is what {name} crops", found.crop)


_GRID = {
    "stride": ("strides", "stride"),
    "dilation": ("dilations", "dilation_rate", "rhs_dilation", "kernel_dilation", "dilation"),
}


def _words(
    member: str, g: Geometry, words: dict[str, Any], n: tuple[int, ...], L: tuple[int, ...]
) -> dict[str, Any] | None:
    known = dialect(member).argument_names()
    if member == "ncnn":
        letters = "dhw"[-g.ndim :]
        if g.ndim > 3:
            return None
        sizes: dict[str, Any] = {f"stride_{a}": s for a, s in zip(letters, g.stride, strict=True)}
        sizes |= {f"dilation_{a}": d for a, d in zip(letters, g.dilation, strict=True)}
        return sizes | {f"output_{a}": size for a, size in zip(letters, L, strict=True)} | {"pad_left": -233}
    said: dict[str, Any] = dict(words)
    for value, names in ((g.stride, _GRID["stride"]), (g.dilation, _GRID["dilation"])):
        name = next((name for name in names if name in known), None)
        if name is not None:
            said[name] = value
        elif max(value) > 1:
            return None
    if said.get("output_shape") == "output":
        said["output_shape"] = L
    elif said.get("output_shape") == "same":
        said["output_shape"] = tuple(s * size for s, size in zip(g.stride, n, strict=True))
    return said


def named(found: Pairs, g: Geometry, n: tuple[int, ...], L: tuple[int, ...], native: dict[str, Any]) -> list[Rule]:
    """The rules that choose this crop; where there is none, one that says the numbers."""
    fitting = [rule for rule in rules(g, n, L, native) if rule.crop == found]
    if fitting:
        return fitting
    shifts = [(lo - b, hi - c) for (lo, hi), (b, c) in zip(found, g.crop, strict=True)]
    moved = [lo for lo, _ in shifts]
    if any(moved):
        steps = ", ".join(_moved(step, s) for step, s in zip(moved, g.stride, strict=True))
        return [Rule("crop shifted", f"the output starts elsewhere: {steps}, axis by axis", found)]
    return [Rule("crop at the end", "the output ends elsewhere", found)]


def _moved(step: int, stride: int) -> str:
    if step == 0:
        return "in place"
    way = "later" if step > 0 else "earlier"
    if stride > 1 and step % stride == 0:
        return f"{abs(step)} elements {way} ({abs(step) // stride} of the input)"
    return f"{abs(step)} element{'s' * (abs(step) > 1)} {way}"
