"""Causes in stride and dilation: ignored, exchanged, one number for all axes, or counted differently.

The crop stays as it is. They are tried on every call.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations
from typing import Any

from tconv.diagnosis.causes.cause import Cause, CauseContext
from tconv.geometry import Geometry

_MOST_AXES = 3  # with more, there are too many orders to try them all


def causes(context: CauseContext) -> Iterator[Cause]:
    """Yield the changes of this call's stride and dilation that give other positions, each of them once."""
    g, n = context.call.geometry, context.call.x.shape[2:]

    def positions(grid: _Grid) -> tuple[int, ...]:
        """Return the steps that matter: the stride of one input is none, nor is the dilation of one tap."""
        strides = [s if size > 1 else 1 for s, size in zip(grid[0], n, strict=True)]
        return (*strides, *(d if k > 1 else 1 for d, k in zip(grid[1], g.kernel, strict=True)))

    seen = {positions((g.stride, g.dilation))}
    for cause, grid in [*_usual(g), *_rare(g)]:
        if positions(grid) not in seen:
            seen.add(positions(grid))
            yield cause


_Grid = tuple[tuple[int, ...], tuple[int, ...]]
"""Stride and dilation."""


def _grid(g: Geometry, name: str, text: str, *, rare: bool = False, **parts: tuple[int, ...]) -> tuple[Cause, _Grid]:
    """Return the cause with these parts of the geometry, and its stride and dilation."""

    def change(call: Any) -> Any:
        return call.with_geometry(**parts)

    cause = Cause(name, "grid", text, change, tried_with="crop" if rare else "all")
    return cause, (parts.get("stride", g.stride), parts.get("dilation", g.dilation))


def _usual(g: Geometry) -> Iterator[tuple[Cause, _Grid]]:
    """Yield the causes that are also tried in pairs."""
    ones = (1,) * g.ndim
    taps = [k > 1 for k in g.kernel]
    if any(d > 1 and k for d, k in zip(g.dilation, taps, strict=True)):
        yield _grid(g, "dilation ignored", f"the dilation {g.dilation} is ignored", dilation=ones)
    if any(taps):
        more = tuple(d + 1 for d in g.dilation)
        yield _grid(g, "dilation off by one", f"the dilation is {more}: one more, as where 0 means none", dilation=more)
        if min(g.dilation) > 1 and max(g.dilation) > 2:
            less = tuple(d - 1 for d in g.dilation)
            yield _grid(g, "dilation one less", f"the dilation is {less}: one less", dilation=less)
    for part, values in _parts(g):
        if values != values[::-1]:
            yield _exchanged(g, part, values[::-1])
    if g.stride != ones:
        yield _grid(g, "stride ignored", f"the stride {g.stride} is ignored", stride=ones)
    if g.stride != g.dilation:
        text = f"stride {g.stride} and dilation {g.dilation} are exchanged"
        yield _grid(g, "stride and dilation exchanged", text, stride=g.dilation, dilation=g.stride)
    for step in (1, -1):
        stride = tuple(s + step for s in g.stride)
        if min(stride) >= 1 and stride != ones:
            name = f"stride {'one more' if step > 0 else 'one less'}"
            yield _grid(g, name, f"the stride is {stride}", stride=stride)


def _rare(g: Geometry) -> Iterator[tuple[Cause, _Grid]]:
    """Yield the causes that are tried alone and with another crop."""
    ones = (1,) * g.ndim
    for part, values in _parts(g):
        for number in dict.fromkeys((values[0], values[-1], *values)):
            axis = values.index(number)
            text = f"the {part} is {(number,) * g.ndim} instead of {values}: that of axis {axis} on every axis"
            yield _grid(g, f"one {part} for all axes", text, rare=True, **{part: (number,) * g.ndim})
        for order in permutations(values) if g.ndim <= _MOST_AXES else ():
            yield _exchanged(g, part, order, rare=True)
        steep = [axis for axis, value in enumerate(values) if value > 1]
        for count in range(1, len(steep)):
            for axes in combinations(steep, count):
                left = tuple(1 if axis in axes else value for axis, value in enumerate(values))
                where = " and ".join(map(str, axes))
                text = f"the {part} is {left} instead of {values}: it is ignored along spatial axis {where}"
                yield _grid(g, f"{part} ignored on axis {where}", text, rare=True, **{part: left})
    if all(len(set(values)) > 1 for _, values in _parts(g)):
        for axis in dict.fromkeys((0, g.ndim - 1, *range(g.ndim))):
            stride, dilation = ((values[axis],) * g.ndim for _, values in _parts(g))
            text = f"the stride is {stride} and the dilation {dilation}: those of axis {axis} on every axis"
            yield _grid(g, "one stride and dilation for all axes", text, rare=True, stride=stride, dilation=dilation)
    text = f"the stride {g.stride} is taken as the dilation"
    yield _grid(g, "stride as dilation", text, rare=True, stride=ones, dilation=g.stride)
    text = f"the stride {g.stride} is also taken as the dilation"
    yield _grid(g, "stride as dilation, too", text, rare=True, dilation=g.stride)
    text = f"the dilation {g.dilation} is taken as the stride"
    yield _grid(g, "dilation as stride", text, rare=True, stride=g.dilation, dilation=ones)
    text = f"the dilation {g.dilation} is also taken as the stride"
    yield _grid(g, "dilation as stride, too", text, rare=True, stride=g.dilation)
    text = f"the stride is {g.kernel}, that of the kernel, as where a stride that is not given means the kernel's size"
    yield _grid(g, "stride as the kernel", text, rare=True, stride=g.kernel)


def _parts(g: Geometry) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return ("stride", g.stride), ("dilation", g.dilation)


def _exchanged(g: Geometry, part: str, values: tuple[int, ...], *, rare: bool = False) -> tuple[Cause, _Grid]:
    return _grid(
        g, f"{part} axes exchanged", f"the {part} is {values}, its axes exchanged", rare=rare, **{part: values}
    )
