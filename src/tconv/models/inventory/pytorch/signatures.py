"""Argument names of PyTorch's operations, for calls whose arguments have only their places, as in TorchScript."""

from __future__ import annotations

from typing import Any

_TRANSPOSED = "input weight bias stride padding output_padding groups dilation"
_ORDINARY = "input weight bias stride padding dilation groups"
_CONVOLUTION = "input weight bias stride padding dilation transposed output_padding groups"
_NORM = "input weight bias running_mean running_var training momentum eps cudnn_enabled"

SIGNATURES: dict[str, tuple[str, ...]] = {
    name: tuple(arguments.split())
    for name, arguments in {
        "conv_transpose1d": _TRANSPOSED,
        "conv_transpose2d": _TRANSPOSED,
        "conv_transpose3d": _TRANSPOSED,
        "conv1d": _ORDINARY,
        "conv2d": _ORDINARY,
        "conv3d": _ORDINARY,
        "convolution": _CONVOLUTION,
        "_convolution": f"{_CONVOLUTION} benchmark deterministic cudnn_enabled allow_tf32",
        "batch_norm": _NORM,
        "instance_norm": "input weight bias running_mean running_var use_input_stats momentum eps cudnn_enabled",
        "group_norm": "input num_groups weight bias eps cudnn_enabled",
        "layer_norm": "input normalized_shape weight bias eps cudnn_enable",
        "_weight_norm": "v g dim",
        "_weight_norm_interface": "v g dim",
        "norm_except_dim": "v pow dim",
        "linalg_vector_norm": "self ord dim keepdim",
        "norm": "self p dim keepdim",
        "mul": "self other",
        "div": "self other",
        "add": "self other",
        "sub": "self other",
        "rsub": "self other",
        "pow": "self exponent",
        "mv": "self vec",
        "dot": "self tensor",
        "matmul": "self other",
        "mm": "self mat2",
        "pad": "self pad mode value",
        "constant_pad_nd": "self pad value",
        "cat": "tensors dim",
        "concat": "tensors dim",
        "stack": "tensors dim",
        "pixel_shuffle": "self upscale_factor",
        "pixel_unshuffle": "self downscale_factor",
        "leaky_relu": "self negative_slope",
        "elu": "self alpha scale input_scale",
        "prelu": "self weight",
        "hardtanh": "self min_val max_val",
        "clamp": "self min max",
        "view": "self size",
        "reshape": "self shape",
        "permute": "self dims",
        "transpose": "self dim0 dim1",
        "unsqueeze": "self dim",
        "squeeze": "self dim",
        "flatten": "self start_dim end_dim",
        "expand": "self size",
        "flip": "self dims",
        "slice": "self dim start end step",
        "select": "self dim index",
        "sum": "self dim keepdim",
        "mean": "self dim keepdim",
        "to": "self dtype",
        "quantize_per_tensor": "self scale zero_point dtype",
        "quantize_per_channel": "self scales zero_points axis dtype",
        "type_as": "self other",
        "interpolate": "input size scale_factor mode",
        "upsample_nearest2d": "self output_size scales_h scales_w",
        "gelu": "self approximate",
        "softmax": "self dim dtype",
        "dropout": "input p train",
    }.items()
}
"""Names of the arguments of an operation, in order. The first of any other operation is `self`."""


def named(op: str, positional: list[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """Return arguments by name; those of an operation that is not listed are named "self", "1", "2" ..."""
    plain = op.removesuffix("_") if not op.endswith("__") else op
    names = SIGNATURES.get(plain, ("self",))
    found = {names[place] if place < len(names) else str(place): value for place, value in enumerate(positional)}
    return {**found, **keywords}
