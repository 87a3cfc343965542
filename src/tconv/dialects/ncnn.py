"""ncnn: the layers Deconvolution and DeconvolutionDepthWise, and their 1D and 3D forms.

Pads crop (before, after - output_pad). If none is above 0 and output_w (and _h, _d) are, pads of -233 or -234 share
out F + output_pad - L instead: -233 crops the smaller half in front, -234 the larger. A parameter that is not given
is that of the w axis; pad_right, pad_bottom, pad_behind are the pad in front.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

from tconv._arguments import Ints, int_of, ints_of
from tconv.dialects.base import Dialect, Fault, flag_of, uncropped
from tconv.dialects.layouts import WeightLayout
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import Geometry

_SAME_UPPER, _SAME_LOWER = -233, -234


class _Axis(NamedTuple):
    """What the parameters of one spatial axis say, in the order of `_NAMES`."""

    dilation: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    extra: int = 0
    size: int = 0


_NAMES = {
    "w": ("dilation_w", "stride_w", "pad_left", "pad_right", "output_pad_right", "output_w"),
    "h": ("dilation_h", "stride_h", "pad_top", "pad_bottom", "output_pad_bottom", "output_h"),
    "d": ("dilation_d", "stride_d", "pad_front", "pad_behind", "output_pad_behind", "output_d"),
}
# their numbers in a .param file; output_w, output_h, output_d are 25, 26, 27 in 3D, where 20 is output_pad_behind
_IDS = {"w": (2, 3, 4, 15, 18, 20), "h": (12, 13, 14, 16, 19, 21), "d": (22, 23, 24, 17, 20, 27)}
_KERNEL_IDS = {"w": 1, "h": 11, "d": 21}


def _letters(ndim: int) -> str:
    return "dhw"[-ndim:]


def _axes(given: dict[str, int], ndim: int) -> list[_Axis]:
    """The parameters of each spatial axis, defaults filled in."""
    found: dict[str, _Axis] = {}
    for letter in reversed(_letters(ndim)):
        names = _NAMES[letter]
        values = [given.get(name, first) for name, first in zip(names, found.get("w", _Axis()), strict=True)]
        values[3] = given.get(names[3], values[2])
        found[letter] = _Axis(*values)
    return [found[letter] for letter in _letters(ndim)]


class Ncnn(Dialect):
    """Parameters by the names that ncnn's operator page gives their numbers; the sizes come from x and the weight."""

    name = "ncnn"
    framework = "ncnn"
    ranks = (1, 3)
    data_patterns = ("C*",)
    weight_pattern = "OI*"
    weight_grouped = "O"
    layout_arguments = ("dynamic_weight",)
    faults = (
        Fault(
            "ncnn 1.0.20261020, Python",
            "a grouped 2-D layer can read the planes of ncnn.Mat(array) at the wrong places, where their size is no "
            "multiple of 4 elements; ncnn.Mat(array).clone() is read right",
            "observed with ncnn 1.0.20261020",
            lambda geometry, input, native: geometry.ndim == 2 and geometry.groups > 1 and math.prod(input) % 4 > 0,
        ),
        Fault(
            "ncnn 1.0.20261020",
            "with dynamic_weight, pads that leave nothing of a 2-D output end the process with a segmentation fault",
            "observed with ncnn 1.0.20261020",
            lambda geometry, input, native: (
                bool(native.get("dynamic_weight"))
                and geometry.ndim == 2
                and any(sum(pair) >= F for pair, F in zip(geometry.crop, geometry.full_shape(input), strict=True))
            ),
        ),
    )

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        dilation_w: int | None = None,
        dilation_h: int | None = None,
        dilation_d: int | None = None,
        stride_w: int | None = None,
        stride_h: int | None = None,
        stride_d: int | None = None,
        pad_left: int | None = None,
        pad_right: int | None = None,
        pad_top: int | None = None,
        pad_bottom: int | None = None,
        pad_front: int | None = None,
        pad_behind: int | None = None,
        output_pad_right: int | None = None,
        output_pad_bottom: int | None = None,
        output_pad_behind: int | None = None,
        output_w: int | None = None,
        output_h: int | None = None,
        output_d: int | None = None,
        group: int = 1,
        dynamic_weight: int = 0,
    ) -> Geometry:
        words = dict(locals())
        ndim = Geometry(kernel).ndim
        known = {name for letter in _letters(ndim) for name in _NAMES[letter]}
        given = {}
        for name in (name for names in _NAMES.values() for name in names):
            if words[name] is None:
                continue
            if name not in known:
                raise ArgumentError(
                    f"{name} was given, and the layer has {ndim} spatial axes. Write the call without it"
                )
            given[name] = int_of(words[name], name, least=1 if name.startswith(("stride", "dilation")) else None)
        axes = _axes(given, ndim)
        if flag_of(dynamic_weight, "dynamic_weight") and ndim == 3:
            raise ArgumentError(
                "dynamic_weight was given with 3 spatial axes; ncnn has it in 1D and 2D. Write the call without it"
            )
        if any(axis.extra < 0 for axis in axes):
            raise GeometryError(
                f"output_pad is {[axis.extra for axis in axes]}; it must be at least 0. Write 0 or more"
            )
        strides, dilations = [axis.stride for axis in axes], [axis.dilation for axis in axes]
        plain = uncropped(kernel, strides, dilations, group, words="stride_w dilation_w group")
        pads = [(axis.before, axis.after) for axis in axes]
        sides = {side for pair in pads for side in pair}
        if max(sides) > 0:
            if min(sides) < 0:
                raise GeometryError(
                    f"pads are {pads}, some above and some below 0; ncnn needs either. Write pads of at least 0, or "
                    f"{_SAME_UPPER} or {_SAME_LOWER} with output_w"
                )
            crop = [(axis.before, axis.after - axis.extra) for axis in axes]
        elif all(axis.size > 0 for axis in axes):
            if not sides & {_SAME_UPPER, _SAME_LOWER}:
                raise ArgumentError(
                    f"output_w was given with pads of {pads}, which do not say where to crop. Write "
                    f"pad_left={_SAME_UPPER} (the smaller half in front) or {_SAME_LOWER} (the larger)"
                )
            crop = self._shared_out(plain, axes, _SAME_UPPER in sides, input, output)
        else:
            crop = [(0, -axis.extra) for axis in axes]
        return Geometry(kernel, strides, crop, dilations, group)

    @staticmethod
    def _shared_out(
        plain: Geometry, axes: list[_Axis], upper: bool, input: Ints | None, output: Ints | None
    ) -> list[tuple[int, int]]:
        large = tuple(axis.size for axis in axes)
        if output is not None:  # of the convolution: the large side is given; the small one is taken as SAME's
            large = ints_of(output, "output", plain.ndim, least=1)
            small = tuple(-(-L // s) for L, s in zip(large, plain.stride, strict=True))
        elif input is None:
            raise ArgumentError("ncnn's output_w chooses the crop from sizes; input= is missing. Write input=(8, 8)")
        else:
            small = ints_of(input, "input", plain.ndim, least=1)
        crop = []
        for F, L, axis in zip(plain.full_shape(small), large, axes, strict=True):
            total = F + axis.extra - L
            if total < 0:
                raise ShapeError(
                    f"output_w (output_h, output_d) asks for {large}, more than the {F + axis.extra} elements that "
                    "there are; ncnn returns uninitialised memory then. Write a larger output_pad_right"
                )
            lo = total // 2 if upper else total - total // 2
            crop.append((lo, F - L - lo))
        return crop

    def weight_layout(self, ndim: int, dynamic_weight: int = 0, **native: Any) -> WeightLayout:
        if flag_of(dynamic_weight, "dynamic_weight"):  # a weight that comes as an input is PyTorch's
            return WeightLayout.of("IO*", ndim)
        return super().weight_layout(ndim)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes; it has 1 to 3"]
        return [
            f"the crop {pair} on spatial axis {axis}: pads are at least 0"
            for axis, pair in enumerate(geometry.crop)
            if pair[0] < 0
        ]

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        ndim = geometry.ndim
        words: dict[str, Any] = {}
        parts = zip(_letters(ndim), geometry.dilation, geometry.stride, geometry.crop, strict=True)
        for letter, d, s, (lo, hi) in reversed(list(parts)):
            words |= zip(_NAMES[letter], _Axis(d, s, lo, max(0, hi), max(0, -hi)), strict=True)
        meant = _axes(words, ndim)
        for name in list(words)[::-1]:  # what the defaults say is left out
            fewer = {other: value for other, value in words.items() if other != name}
            if _axes(fewer, ndim) == meant:
                words = fewer
        return words | {"group": geometry.groups}

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        return 'np.array(extractor.extract("y")[1])'

    def code(self, geometry: Geometry, input: Ints) -> str:
        sizes = ints_of(input, "input", geometry.ndim, least=1)
        said = geometry if not self.reasons_against(geometry, sizes) else replace(geometry, crop=0)  # type: ignore[arg-type]
        lines = [
            "net = ncnn.Net()",
            f"net.load_param_mem({self._param(said)})",
            'pathlib.Path("y.bin").write_bytes(bytes(4) + weight.tobytes())',  # 4 bytes of 0 mean float32
            'net.load_model("y.bin")',
            "extractor = net.create_extractor()",
            'extractor.input("x", ncnn.Mat(x).clone())',  # cloned for the first fault's sake
        ]
        return "\n".join([*lines, super().code(geometry, sizes)])

    def _param(self, geometry: Geometry) -> str:
        """The .param file of one layer, as an f-string of `weight`."""
        words, ndim = self.arguments(geometry), geometry.ndim
        kind = ("DeconvolutionDepthWise" if geometry.groups > 1 else "Deconvolution") + {1: "1D", 2: "", 3: "3D"}[ndim]
        numbers = ["0={weight.shape[0]}", "6={weight.size}", *([f"7={geometry.groups}"] if geometry.groups > 1 else [])]
        for letter, k in zip(_letters(ndim), geometry.kernel, strict=True):
            ids = dict(zip(_NAMES[letter], _IDS[letter], strict=True))
            numbers += [f"{_KERNEL_IDS[letter]}={k}", *(f"{ids[name]}={words[name]}" for name in ids if name in words)]
        return f'f"7767517\\n2 2\\nInput x 0 1 x\\n{kind} y 1 1 x y {" ".join(numbers)}\\n"'
