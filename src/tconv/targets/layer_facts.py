"""Numbers of one transposed convolution that runtimes and chips limit."""

from __future__ import annotations

from dataclasses import dataclass

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class LayerFacts:
    """Transposed convolution as a runtime meets it: sizes per spatial axis, channels, and types.

    The crop is given as pads and output_padding, in ONNX's meaning: L = s*(n - 1) + d*(k - 1) + 1 + output_padding -
    pads_begin - pads_end.
    """

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    pads_begin: Sizes
    pads_end: Sizes
    output_padding: Sizes
    groups: int
    in_channels: int
    out_channels: int
    batch: int | None = None
    """None where it varies."""
    input: tuple[int | None, ...] | None = None
    """Spatial sizes of x; None for those that vary."""
    output: tuple[int | None, ...] | None = None
    dtype: str = "float32"
    """"float32", "float16", "bfloat16", "int8" (x, weight and y), "int16"."""
    auto_pad: str = "NOTSET"
    """"SAME_UPPER" (TensorFlow's SAME), "SAME_LOWER" or "VALID" where the file leaves the pads to a rule."""
    output_shape: bool = False
    """True where the file gives the output's size instead of the pads."""
    constant_weight: bool = True
    bias: bool = False
    constant_bias: bool = True
    weight_scales: str = ""
    """Scales of an integer weight: "" for none, "one", or "per channel"."""

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)
