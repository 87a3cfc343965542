"""Enlargements and reductions by interpolation: Resize and Upsample."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.builder import GraphPicture
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.resize_like import ResizeLike
from tconv.models.steps.resizing import Resize

_MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}
_POSITIONS = (
    "half_pixel",
    "asymmetric",
    "pytorch_half_pixel",
    "align_corners",
    "tf_half_pixel_for_nn",
    "half_pixel_symmetric",
)
_ROUNDINGS = ("round_prefer_floor", "floor", "ceil", "round_prefer_ceil")
_LARGEST_DENOMINATOR = 64


def _resize(reader: NodeReader, node: Any) -> GraphPicture:
    picture, attributes = reader.picture(node), reader.attributes(node)
    if not picture.labels:
        raise FileError(f"{label(node)} reads axes {picture.shape} of the picture; [N, C, H, W] are needed")
    rule = _rule(reader, node, attributes)
    older = node.op_type == "Upsample" or reader.graph.constants.opset(node) < 11
    given_axes = attributes.get("axes")
    axes = list(range(4)) if given_axes is None else [int(axis) % 4 for axis in given_axes]
    place = 1 if older else 2
    if reader.has(node, 3) and not older:
        if attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise FileError(f"{label(node)} keeps the aspect ratio; a size for each axis is needed")
        arrays, at = reader.sampled(node, 3)
        return _by_sizes(reader, node, picture, axes, np.array([each.ravel() for each in arrays], np.int64), at, rule)
    arrays, at = reader.sampled(node, place, "scales")
    scales = np.array([each.ravel() for each in arrays], np.float64)
    if scales.shape[1] != len(axes) or (scales != scales[0]).any():
        return _by_computed_scales(reader, node, picture, axes, scales, at, rule)
    factors = [Fraction(1), Fraction(1)]
    for axis, scale in zip(axes, scales[0], strict=True):
        letter = picture.labels[axis]
        if letter in "NC":
            if scale != 1:
                raise FileError(f"{label(node)} enlarges the axis {letter} by {scale:g}; rows and columns are enlarged")
            continue
        factors["HW".index(letter)] = _factor(node, float(scale))
    if factors == [1, 1]:
        return picture
    step = Resize((factors[0], factors[1]), **rule)
    return reader.builder.whole(reader.builder.add(step, picture.place), picture.labels)


def _rule(reader: NodeReader, node: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return mode, positions, rounding and coefficient. Raises FileError for those that are not read."""
    mode = attributes.get("mode", "nearest")
    if mode not in _MODES:
        raise FileError(f"{label(node)} has mode={mode!r}; {', '.join(_MODES)} are read")
    older = node.op_type == "Upsample" or reader.graph.constants.opset(node) < 11
    positions = "asymmetric" if older else attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if older else attributes.get("nearest_mode", "round_prefer_floor")
    if positions not in _POSITIONS or rounding not in _ROUNDINGS:
        raise FileError(
            f"{label(node)} has coordinate_transformation_mode={positions!r} and nearest_mode={rounding!r}; "
            f"{', '.join(_POSITIONS)}, and {', '.join(_ROUNDINGS)} are read"
        )
    if attributes.get("antialias", 0) or attributes.get("exclude_outside", 0):
        raise FileError(f"{label(node)} has antialias or exclude_outside, which are not read. Write it without them")
    rule = {"mode": _MODES[mode], "positions": positions, "rounding": rounding}
    if mode == "cubic":
        rule["coefficient"] = float(attributes.get("cubic_coeff_a", -0.75))
    return rule


def _factor(node: Any, scale: float) -> Fraction:
    factor = Fraction(scale).limit_denominator(_LARGEST_DENOMINATOR)
    if not 0 < factor < 1 << 10 or abs(float(factor) - scale) > 1e-6 * scale:
        raise FileError(f"{label(node)} enlarges by {scale:g}; a fraction with a denominator of 64 at most is needed")
    return factor


def _by_computed_scales(
    reader: NodeReader, node: Any, picture: GraphPicture, axes: list[int], scales: Array, at: list[int], rule: Any
) -> GraphPicture:
    """Return a resize whose scales are computed as a wanted size by the present one."""
    if scales.shape[1] != len(axes):
        raise FileError(f"{label(node)} has {scales.shape[1]} scales for {len(axes)} axes; one for each is needed")
    shape = np.array([[axis[0].sizes[n] for axis in picture.axes] for n in at])
    sizes = np.floor(shape[:, axes] * scales + 1e-4).astype(np.int64)
    return _by_sizes(reader, node, picture, axes, sizes, at, rule)


def _by_sizes(
    reader: NodeReader, node: Any, picture: GraphPicture, axes: list[int], wanted: Array, at: list[int], rule: Any
) -> GraphPicture:
    """Return a resize to sizes: a factor, or the size of another node."""
    builder = reader.builder
    if wanted.shape[1] != len(axes) or (wanted < 1).any():
        raise FileError(f"{label(node)} has the sizes {wanted[0].tolist()}; one for each of {len(axes)} axes is needed")
    target = [builder.extents(picture.place, axis)[at] for axis in (0, 1)]
    present = list(target)
    for number, axis in enumerate(axes):
        letter = picture.labels[axis]
        if letter in "NC":
            continue
        target["HW".index(letter)] = wanted[:, number]
    ratios = [Fraction(int(large[0]), int(small[0])) for large, small in zip(target, present, strict=True)]
    exact = all(
        (large * ratio.denominator == small * ratio.numerator).all()
        for ratio, large, small in zip(ratios, target, present, strict=True)
    )
    one_size = reader.sized and at == [0]
    if one_size:
        exact = all(ratio.denominator == 1 or ratio.numerator == 1 for ratio in ratios)
    if exact:
        if ratios == [1, 1]:
            return picture
        if one_size:
            text = ratios[0] if ratios[0] == ratios[1] else f"{ratios[0]} and {ratios[1]}"
            builder.note(f"{label(node)} states its sizes, which are read as {text} times the size before it")
        step: Any = Resize((ratios[0], ratios[1]), by_size=True, **rule)
        return builder.whole(builder.add(step, picture.place), picture.labels)
    for reference in range(len(builder.sizes)):
        if all((builder.extents(reference, axis)[at] == target[axis]).all() for axis in (0, 1)):
            if one_size:
                builder.note(f"{label(node)} states its sizes, which are read as those of another part of the network")
            place = builder.add(ResizeLike(**rule), picture.place, reference)
            return builder.whole(place, picture.labels)
    raise FileError(
        f"{label(node)} has the sizes {wanted[0].tolist()}, which are no multiple of those before it "
        f"({[int(each[0]) for each in present]}) and no other size of the network. Write a file with scales, or with "
        "sizes that are computed from the picture's"
    )


OPERATORS: dict[str, Callable[[NodeReader, Any], GraphPicture]] = {"Resize": _resize, "Upsample": _resize}
"""Operators of this family."""
