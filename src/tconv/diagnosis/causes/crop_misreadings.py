"""Names for crops that a misreading of padding leads to: other axes, one side, half the kernel, a padded input.

They are rarer than those of `crop_names`. Those of the call's own arguments come before the rules of other frameworks,
all others after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from tconv.diagnosis.causes.crop_rule import CropPairs, Rule
from tconv.geometry import Geometry


def rules(
    g: Geometry, n: tuple[int, ...], L: tuple[int, ...], pads: tuple[int, ...], extra: tuple[int, ...]
) -> Iterator[Rule]:
    """Yield the misreadings of this geometry, whose padding and output_padding are `pads` and `extra`.

    `n` is the spatial shape of x, `L` that of the output to explain.
    """
    for family in (_one_sided(g), _half_kernel(g, extra), _outward(g, n, L, pads, extra)):
        for rule in family:
            yield rule._replace(rare=True)


def of_other_axes(pads: tuple[int, ...], extra: tuple[int, ...]) -> Iterator[Rule]:
    """Yield padding and output_padding with their axes in another order, or one number of theirs on all axes."""
    for name, values, given in (("padding", pads, extra), ("output_padding", extra, pads)):

        def crop(
            values: tuple[int, ...], name: str = name, given: tuple[int, ...] = given
        ) -> CropPairs:  # the other of the two stays as it is
            both = zip(values, given, strict=True) if name == "padding" else zip(given, values, strict=True)
            return tuple((p, p - op) for p, op in both)

        for order in dict.fromkeys(permutations(values)) if len(values) <= 3 else ():
            if order != values:
                text = f"the {name} is {order}, its axes exchanged"
                yield Rule(f"{name} axes exchanged", text, crop(order), rare=True, argument=True)
        for number in dict.fromkeys(values) if len(set(values)) > 1 else ():
            one = (number,) * len(values)
            text = f"the {name} is {one} instead of {values}: one number for all axes"
            yield Rule(f"one {name} for all axes", text, crop(one), rare=True, argument=True)


def _one_sided(g: Geometry) -> Iterator[Rule]:
    """Yield the crop taken from one end only, all of it or its own share."""
    rest = [max(0, lo) + max(0, hi) for lo, hi in g.crop]
    if not any(rest):
        return
    extra = [min(0, lo) + min(0, hi) for lo, hi in g.crop]
    both = list(zip(rest, extra, strict=True))
    text = "all of the crop is taken from the end"
    yield Rule("whole crop at the end", text, tuple((0, a + b) for a, b in both), "", per_axis=True)
    text = "all of the crop is taken from the front"
    yield Rule("whole crop at the front", text, tuple((a, b) for a, b in both), "", per_axis=True)
    text = "nothing is cropped in front"
    yield Rule("front not cropped", text, tuple((min(0, lo), hi) for lo, hi in g.crop), "", per_axis=True)
    text = "nothing is cropped at the end"
    yield Rule("end not cropped", text, tuple((lo, min(0, hi)) for lo, hi in g.crop), "", per_axis=True)


def _half_kernel(g: Geometry, extra: tuple[int, ...]) -> Iterator[Rule]:
    """Yield half the kernel as padding, rounded down or up, whose size is that of an odd or an even kernel."""
    axes = list(zip(g.kernel, g.extent, g.crop, extra, strict=True))
    for text, sizes in (("(kernel - 1) // 2", [k - 1 for k in g.kernel]), ("kernel // 2", list(g.kernel))):
        for far in (False, True):
            what = text.replace("kernel", "dilated kernel") if far else text
            grown = [size + (e - k) * far for size, (k, e, _, _) in zip(sizes, axes, strict=True)]
            half = [size // 2 for size in grown]
            yield Rule(
                f"{what} as padding",
                f"the padding is {what}",
                tuple((q, q - op) for q, (_, _, _, op) in zip(half, axes, strict=True)),
                per_axis=True,
            )
            yield Rule(
                f"{what} cropped in front",
                f"{what} elements are cropped in front, and the rest of the crop at the end",
                tuple((q, lo + hi - q) for q, (_, _, (lo, hi), _) in zip(half, axes, strict=True)),
                per_axis=True,
            )


def _outward(
    g: Geometry, n: tuple[int, ...], L: tuple[int, ...], pads: tuple[int, ...], extra: tuple[int, ...]
) -> Iterator[Rule]:
    """Yield an input padded with zeros instead of an output cropped, as long as it is or cut to the size of y."""
    axes = list(zip(g.crop, g.stride, g.extent, g.kernel, pads, extra, strict=True))
    sides = [(max(0, lo), max(0, hi)) if lo >= 0 and lo - hi != op else (p, p) for (lo, hi), _, _, _, p, op in axes]
    inner = [(e - 1 - p, e - 1 - p) for _, _, e, _, p, _ in axes]
    taps = [(k - 1 - p, k - 1 - p) for _, _, _, k, p, _ in axes]
    ways = (
        ("padding as input padding", "x is padded with zeros by the padding, instead of y cropped", sides, 1, 0),
        (
            "kernel - 1 - padding as input padding",
            "x is padded with zeros by kernel - 1 - padding, as for the direct convolution, and y is not cropped",
            taps,
            1,
            0,
        ),
        (
            "dilated kernel - 1 - padding as input padding",
            "x is padded with zeros by the dilated kernel - 1 - padding, and y is not cropped",
            inner,
            1,
            0,
        ),
        ("padding of the input as well", "x is padded with zeros by the padding, and y is cropped, too", sides, 1, 1),
        ("padding extends the output", "y is extended by the padding, instead of cropped", sides, 0, 0),
    )
    full = g.full_shape(n)
    for name, text, amounts, of_input, cropped in ways:
        if not any(map(any, amounts)):
            continue
        outward = []
        for (front, end), (p, _), (_, s, _, _, _, _) in zip(amounts, sides, axes, strict=True):
            step = s if of_input else 1
            outward.append((cropped * p - step * front, cropped * p - step * end))
        longer = tuple((lo, hi - op) for (lo, hi), op in zip(outward, extra, strict=True))
        source = "Samsung/TICO#420" if of_input and not cropped else ""
        yield Rule(name, text, longer, source, per_axis=True)
        if any(extra):
            yield Rule(name, f"{text}; output_padding is ignored", tuple(outward), source, per_axis=True)
        if any(F - lo - hi != size for F, (lo, hi), size in zip(full, g.crop, L, strict=True)):
            continue  # it was not cut to the size of the call
        at_end = tuple((lo, F - lo - size) for (lo, _), F, size in zip(outward, full, L, strict=True))
        source = "MPolaris/onnx2tflite#20" if of_input and not cropped else ""
        yield Rule(f"{name}, cut at the end", f"{text}; y is then cut to size at its end", at_end, source, True)
        at_front = tuple((F - hi - size, hi) for (_, hi), F, size in zip(outward, full, L, strict=True))
        yield Rule(f"{name}, cut at the front", f"{text}; y is then cut to size at its front", at_front, source, True)
