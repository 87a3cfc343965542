"""Concatenation, ranges and orders of channels."""

from __future__ import annotations

from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer
from tconv.models.steps.channels import ChannelRange, Concat

_REST = -233


def split(layer: NcnnLayer) -> list[LayerOutput]:
    """Return the input as each output."""
    return [layer.inputs[0]] * len(layer.line.outputs)


def concat(layer: NcnnLayer) -> list[LayerOutput]:
    """Append a concatenation of channels."""
    values = layer.values()
    axes = {value.axes for value in values}
    if len(axes) > 1:
        raise layer.refusal("of vectors and pictures; one or the other is needed")
    _refuse_other_axes(layer, layer.line.whole(0, 0), axes.pop())
    return [layer.add(Concat(), *values)]


def slices(layer: NcnnLayer) -> list[LayerOutput]:
    """Append ranges of channels: sizes (array 0; -233: an equal share of the rest), or places of cuts (array 2)."""
    x, line = layer.value(), layer.line
    _refuse_other_axes(layer, line.whole(1, 0), x.axes)
    sizes, cuts = line.wholes(0), line.wholes(2)
    count, start, results = len(line.outputs), 0, []
    if len(cuts) != count - 1 and (len(sizes) != count or cuts):
        raise layer.refusal(
            f"into {count} outputs with the sizes {sizes} or cuts {cuts}; one for each output is needed"
        )
    for number in range(count):
        if cuts:
            at = x.channels if number == count - 1 else cuts[number]
            size = at + (x.channels if at < 0 else 0) - start
        else:
            size = sizes[number] if sizes else _REST
            size = (x.channels - start) // (count - number) if size == _REST else size
        results.append(layer.add(ChannelRange(start, start + size), x))
        start += size
    return results


def shuffle(layer: NcnnLayer) -> list[LayerOutput]:
    """Append another order of the channels: of groups (key 0), one channel of each in turn, or back (key 1)."""
    x, groups = layer.value(), layer.line.whole(0, 1, least=1)
    if x.channels % groups:
        raise layer.refusal(f"of {x.channels} channels in {groups} groups; whole groups are needed")
    if layer.line.whole(1, 0):
        groups = x.channels // groups
    size = x.channels // groups
    if groups == 1 or size == 1:
        return [x]
    order = [group * size + place for place in range(size) for group in range(groups)]
    return [layer.add(Concat(), *(layer.add(ChannelRange(n, n + 1), x) for n in order))]


def _refuse_other_axes(layer: NcnnLayer, axis: int, axes: int) -> None:
    if axis not in (0, -axes):
        raise layer.refusal(f"along axis {axis}; the channels, axis 0, are needed")
