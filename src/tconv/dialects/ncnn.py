"""ncnn: the layers Deconvolution and DeconvolutionDepthWise, and their 1D and 3D forms.

Pads crop (before, after - output_pad). If no pad is above 0 and output_w (and _h, _d) are given, pads of -233 or -234
split F + output_pad - L instead: -233 crops the smaller half in front, -234 the larger. A parameter that is not given
defaults to that of the w axis; pad_right, pad_bottom and pad_behind default to the pad in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from tconv._arguments import Ints, int_of, ints_of
from tconv.dialects.base import Dialect, flag_of, uncropped
from tconv.dialects.layouts import WeightLayout
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import Geometry

_SAME_UPPER, _SAME_LOWER = -233, -234


class _Axis(NamedTuple):
    """Parameters of one spatial axis, in the order of `_NAMES`."""

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
    """Return the parameters of each spatial axis, with defaults filled in."""
    axes: dict[str, _Axis] = {}
    for letter in reversed(_letters(ndim)):
        names = _NAMES[letter]
        values = [given.get(name, first) for name, first in zip(names, axes.get("w", _Axis()), strict=True)]
        values[3] = given.get(names[3], values[2])
        axes[letter] = _Axis(*values)
    return [axes[letter] for letter in _letters(ndim)]


def read_parameters(numbers: Mapping[int, float], ndim: int) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Return kernel, dilation and native arguments of a layer's line in a .param file, given as numbers by key."""
    known = {key: int(value) for key, value in numbers.items()}
    arguments: dict[str, Any] = {}
    for letter in _letters(ndim):
        ids = _IDS[letter]
        if ndim == 3:  # 20 is output_pad_behind there
            ids = (*ids[:5], {"w": 25, "h": 26, "d": 27}[letter])
        arguments |= {name: known[key] for name, key in zip(_NAMES[letter], ids, strict=True) if key in known}
    kernel = tuple(known.get(_KERNEL_IDS[letter], known.get(_KERNEL_IDS["w"], 1)) for letter in _letters(ndim))
    dilation = tuple(axis.dilation for axis in _axes(arguments, ndim))
    return kernel, dilation, arguments | {"group": known.get(7, 1)}


class Ncnn(Dialect):
    """Parameters, by the names that ncnn's operator page gives their numbers; the sizes come from x and the weight."""

    name = "ncnn"
    framework = "ncnn"
    batchnorm_eps = 0.0  # the converters add theirs to the stored variance
    ranks = (1, 3)
    data_patterns = ("C*",)
    weight_pattern = "OI*"
    weight_grouped = "O"
    layout_arguments = ("dynamic_weight",)

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
        parameters = dict(locals())
        ndim = Geometry(kernel).ndim
        known = {name for letter in _letters(ndim) for name in _NAMES[letter]}
        given = {}
        for name in (name for names in _NAMES.values() for name in names):
            if parameters[name] is None:
                continue
            if name not in known:
                raise ArgumentError(
                    f"{name} was given, but the layer has {ndim} spatial axes. Write the call without it"
                )
            given[name] = int_of(parameters[name], name, least=1 if name.startswith(("stride", "dilation")) else None)
        axes = _axes(given, ndim)
        if flag_of(dynamic_weight, "dynamic_weight") and ndim == 3:
            raise ArgumentError(
                "dynamic_weight was given with 3 spatial axes; ncnn has it in 1D and 2D only. Write the call without it"
            )
        if any(axis.extra < 0 for axis in axes):
            raise GeometryError(f"output_pad is {[axis.extra for axis in axes]}; it must be at least 0. Use 0 or more")
        strides, dilations = [axis.stride for axis in axes], [axis.dilation for axis in axes]
        plain = uncropped(kernel, strides, dilations, group, names="stride_w dilation_w group")
        pads = [(axis.before, axis.after) for axis in axes]
        sides = {side for pair in pads for side in pair}
        if max(sides) > 0:
            if min(sides) < 0:
                raise GeometryError(
                    f"pads are {pads}, some above and some below 0; ncnn does not mix them. Write pads of at least 0, "
                    f"or {_SAME_UPPER} or {_SAME_LOWER} with output_w"
                )
            crop = [(axis.before, axis.after - axis.extra) for axis in axes]
        elif all(axis.size > 0 for axis in axes):
            if not sides & {_SAME_UPPER, _SAME_LOWER}:
                raise ArgumentError(
                    f"output_w was given with pads of {pads}, which do not tell where to crop. Write "
                    f"pad_left={_SAME_UPPER} (the smaller half in front) or {_SAME_LOWER} (the larger)"
                )
            crop = self._split_crop(plain, axes, _SAME_UPPER in sides, input, output)
        else:
            crop = [(0, -axis.extra) for axis in axes]
        return Geometry(kernel, strides, crop, dilations, group)

    @staticmethod
    def _split_crop(
        plain: Geometry, axes: list[_Axis], upper: bool, input: Ints | None, output: Ints | None
    ) -> list[tuple[int, int]]:
        """Return the crop where the output's size is given: the smaller half in front if `upper`, else the larger."""
        large = tuple(axis.size for axis in axes)
        if output is not None:  # of the convolution: the large side is given, and the small one is that of SAME
            large = ints_of(output, "output", plain.ndim, least=1)
            small = tuple(-(-L // s) for L, s in zip(large, plain.stride, strict=True))
        elif input is None:
            raise ArgumentError(
                "the crop of output_w depends on the input's size; input= is missing. Write input=(8, 8)"
            )
        else:
            small = ints_of(input, "input", plain.ndim, least=1)
        crop = []
        for F, L, axis in zip(plain.full_shape(small), large, axes, strict=True):
            total = F + axis.extra - L
            if total < 0:
                raise ShapeError(
                    f"output_w (output_h, output_d) is {large}, more than the {F + axis.extra} elements that exist; "
                    "ncnn returns uninitialised memory then. Use a larger output_pad_right"
                )
            lo = total // 2 if upper else total - total // 2
            crop.append((lo, F - L - lo))
        return crop

    def weight_layout(self, ndim: int, dynamic_weight: int = 0, **native: Any) -> WeightLayout:
        if flag_of(dynamic_weight, "dynamic_weight"):  # a weight that is an input has PyTorch's layout
            return WeightLayout.of("IO*", ndim)
        return super().weight_layout(ndim)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes, only 1 to 3"]
        return [
            f"the crop {pair} on spatial axis {axis}: pads are at least 0"
            for axis, pair in enumerate(geometry.crop)
            if pair[0] < 0
        ]

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        ndim = geometry.ndim
        arguments: dict[str, Any] = {}
        parts = zip(_letters(ndim), geometry.dilation, geometry.stride, geometry.crop, strict=True)
        for letter, d, s, (lo, hi) in reversed(list(parts)):
            arguments |= zip(_NAMES[letter], _Axis(d, s, lo, max(0, hi), max(0, -hi)), strict=True)
        axes = _axes(arguments, ndim)
        for name in list(arguments)[::-1]:  # leave out the arguments that the defaults give
            fewer = {other: value for other, value in arguments.items() if other != name}
            if _axes(fewer, ndim) == axes:
                arguments = fewer
        return arguments | {"group": geometry.groups}

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        return 'np.array(extractor.extract("y")[1])'

    def code(self, geometry: Geometry, input: Ints) -> str:
        sizes = ints_of(input, "input", geometry.ndim, least=1)
        layer = geometry if not self.reasons_against(geometry, sizes) else replace(geometry, crop=0)  # type: ignore[arg-type]
        lines = [
            "net = ncnn.Net()",
            f"net.load_param_mem({self._param(layer)})",
            'pathlib.Path("y.bin").write_bytes(bytes(4) + weight.tobytes())',  # 4 bytes of 0 mean float32
            'net.load_model("y.bin")',
            "extractor = net.create_extractor()",
            'extractor.input("x", ncnn.Mat(x).clone())',  # cloned because of the fault ncnn_mat_planes
        ]
        return "\n".join([*lines, super().code(geometry, sizes)])

    def _param(self, geometry: Geometry) -> str:
        """Return the .param file of one layer, as the source of an f-string of `weight`."""
        arguments, ndim = self.arguments(geometry), geometry.ndim
        kind = ("DeconvolutionDepthWise" if geometry.groups > 1 else "Deconvolution") + {1: "1D", 2: "", 3: "3D"}[ndim]
        numbers = ["0={weight.shape[0]}", "6={weight.size}", *([f"7={geometry.groups}"] if geometry.groups > 1 else [])]
        for letter, k in zip(_letters(ndim), geometry.kernel, strict=True):
            ids = dict(zip(_NAMES[letter], _IDS[letter], strict=True))
            numbers += [
                f"{_KERNEL_IDS[letter]}={k}",
                *(f"{ids[name]}={arguments[name]}" for name in ids if name in arguments),
            ]
        return f'f"7767517\\n2 2\\nInput x 0 1 x\\n{kind} y 1 1 x y {" ".join(numbers)}\\n"'
