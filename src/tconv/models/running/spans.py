"""Rows and columns of every node that parts of a network's output need."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence

from tconv.models.layers import Node
from tconv.models.steps.pooling import GlobalMean

_FAR = 3 * 5 * 7 << 20
"""Row of an endless picture at which groups of the last node end; strips of any scale end there, too."""
_ENDLESS = 1 << 40


def needed(
    nodes: Sequence[Node],
    targets: Mapping[int, slice],
    sizes: Sequence[int],
    axis: int,
    groups: Mapping[int, tuple[int, int]],
    given: Container[int] = (),
) -> list[slice]:
    """Return the rows (axis 1: columns) of each place that the rows `targets` of some need; empty where there are none.

    `sizes` are all heights (widths). `groups` has the place and the size of a group of rows (columns), for nodes that
    are computed in groups; nodes in `given` are there.
    """
    spans: list[list[slice]] = [[] for _ in sizes]
    for place, span in targets.items():
        spans[place].append(span)
    for number in range(len(nodes), 0, -1):
        if not spans[number]:  # no node reads it: it does not run
            continue
        node, wanted = nodes[number - 1], hull(spans[number])
        if number in groups:
            wanted = in_groups(wanted, *groups[number], sizes[number])
            spans[number] = [wanted]
        if number in given:
            continue
        extents = [sizes[place] for place in node.inputs]
        for turn, place in enumerate(node.inputs):
            spans[place].append(node.step.source(turn, wanted, extents, axis))
    return [hull(each) for each in spans]


def anchored(nodes: Sequence[Node], units: Mapping[int, int], axis: int) -> dict[int, int]:
    """Return one row (axis 1: column) at which a group begins, for each node with groups; `units` has their sizes.

    Groups of a layer end where those of the next layer end to read: then a layer is never more rows ahead of the next
    one than it must be.
    """
    anchors: dict[int, int] = {}
    ends: list[int] = [0] * len(nodes) + [_FAR]
    endless = [_ENDLESS] * (len(nodes) + 1)
    for number in range(len(nodes), 0, -1):
        end, node = ends[number] or _FAR, nodes[number - 1]
        if number in units:
            anchors[number] = end % units[number]
        if isinstance(node.step, GlobalMean):
            continue
        extents = [endless[place] for place in node.inputs]
        for turn, place in enumerate(node.inputs):
            source = node.step.source(turn, slice(end - 1, end), extents, axis)
            ends[place] = max(ends[place], source.stop)
    return anchors


def in_groups(rows: slice, anchor: int, unit: int, size: int) -> slice:
    """Return the rows of whole groups around these rows, in a picture of `size` rows."""
    start = (rows.start - anchor) // unit * unit + anchor
    return slice(max(0, start), group_end(rows.stop, anchor, unit, size))


def group_end(stop: int, anchor: int, unit: int, size: int) -> int:
    """Return the end of the group that ends at row `stop` or after it, in a picture of `size` rows."""
    return min(-((anchor - stop) // unit) * unit + anchor, size)


def hull(spans: Iterable[slice]) -> slice:
    """Return the rows from the first to the last of all spans; an empty span for none."""
    spans = list(spans)
    return slice(min((s.start for s in spans), default=0), max((s.stop for s in spans), default=0))


def moved(span: slice, by: int) -> slice:
    """Return rows that lie so many before these."""
    return slice(span.start - by, span.stop - by)
