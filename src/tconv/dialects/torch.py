"""PyTorch: torch.nn.functional.conv_transpose1d, 2d and 3d, extended to any number of spatial axes."""

from __future__ import annotations

from typing import Any

from tconv._arguments import Crop, Ints, ints_of, shown
from tconv.dialects.base import Dialect, compact, keywords
from tconv.dialects.layouts import DataLayout
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry


class Torch(Dialect):
    """Padding p crops both ends by p, and output_padding extends the end: crop = (p, p - output_padding)."""

    name = "torch"
    framework = "PyTorch"
    batchnorm_eps = 1e-5
    data_patterns = ("NC*", "C*")
    weight_pattern = "IO*"
    reads_sizes = False

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        stride: Ints = 1,
        padding: Ints | None = None,
        output_padding: Ints | None = None,
        groups: int = 1,
        dilation: Ints = 1,
        crop: Crop | None = None,
    ) -> Geometry:
        if crop is not None:
            if padding is not None or output_padding is not None:
                raise ArgumentError(
                    "crop= was given together with padding= or output_padding=; both describe the crop. "
                    "Write crop=((lo, hi), ...) alone, where lo = padding and hi = padding - output_padding"
                )
            return Geometry(kernel, stride, crop, dilation, groups)
        if isinstance(padding, str):
            raise ArgumentError(
                f"padding is {padding!r}; PyTorch's transposed convolution takes integers only. Write padding=1"
                + f", or, for Keras' rule, crop=tconv.dialect('keras').geometry(kernel={shown(kernel)}, "
                f"input={shown(input)}, strides={shown(stride)}, padding={padding.lower()!r}).crop"
                * (padding.lower() in ("same", "valid"))
            )
        plain = Geometry(kernel, stride, 0, dilation, groups)
        pads = ints_of(0 if padding is None else padding, "padding", plain.ndim, least=0)
        extra = ints_of(0 if output_padding is None else output_padding, "output_padding", plain.ndim, least=0)
        for axis, (op, s, d) in enumerate(zip(extra, plain.stride, plain.dilation, strict=True)):
            if op >= s and op >= d:
                raise GeometryError(
                    f"output_padding is {op} on spatial axis {axis}; PyTorch needs it smaller than the stride ({s}) or "
                    f"the dilation ({d}). Write crop=((lo, hi), ...) with hi = padding - output_padding, which "
                    "has no such limit"
                )
        return Geometry(kernel, stride, [(p, p - op) for p, op in zip(pads, extra, strict=True)], dilation, groups)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        ranks = [f"{geometry.ndim} spatial axes, only 1 to 3"] if geometry.ndim > 3 else []
        return ranks + [
            f"the crop ({lo}, {hi}) on spatial axis {axis}: padding is at least 0 and crops both sides by the same "
            f"amount, and output_padding, which extends the end, stays below the stride {s} or the dilation {d}"
            for axis, ((lo, hi), s, d) in enumerate(zip(geometry.crop, geometry.stride, geometry.dilation, strict=True))
            if lo < 0 or hi > lo or lo - hi >= max(s, d)
        ]

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {
            "stride": compact(geometry.stride),
            "padding": compact([lo for lo, _ in geometry.crop]),
            "output_padding": compact([lo - hi for lo, hi in geometry.crop]),
            "groups": geometry.groups,
            "dilation": compact(geometry.dilation),
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
        return f"torch.nn.functional.conv_transpose{geometry.ndim}d(x, weight{keywords(arguments, defaults)})"

    def pad_code(self, pairs: list[tuple[int, int]]) -> str:
        last_first = [side for pair in reversed(pairs[2:]) for side in pair]
        return f"torch.nn.functional.pad(y, {last_first!r})"

    def data_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        return DataLayout.of("C*" if x_ndim == ndim + 1 else "NC*", ndim)
