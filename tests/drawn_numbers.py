"""Numbers of a picture by their names, and layers to draw: helpers of the tests of pictures."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

import tconv
from tconv import definition


def drawn(ax):
    """Return {name: {index: text}} of all numbers, with one index for each brackets."""
    named = {}
    for text in ax.texts:
        if text.get_gid() is None:
            continue
        name, *indices = re.fullmatch(r"([\w.]+)\[([-\d,]+)\](?:\[([-\d,]+)\])?", text.get_gid()).groups()
        at = tuple(tuple(int(i) for i in index.split(",")) for index in indices if index is not None)
        assert at not in named.setdefault(name, {}), f"{text.get_gid()} is drawn twice"
        named[name][at] = text.get_text()
    return named


def as_array(numbers, shape):
    """Return the drawn numbers as an array; all of its indices must be there."""
    assert set(numbers) == {(index,) for index in np.ndindex(*shape)}
    return np.array([float(numbers[(index,)]) for index in np.ndindex(*shape)]).reshape(shape)


def of(numbers, first):
    """Return the numbers whose first index is this one, without it: those of one call or phase."""
    return {at[1:]: text for at, text in numbers.items() if at[0] == first}


def texts(array):
    """Return {(index,): text} of whole numbers."""
    return {(index,): str(array[index]) for index in np.ndindex(*array.shape)}


def scattered(x, w, geometry):
    """Return the definition for bare arrays; three axes would be a batch otherwise."""
    return definition.scatter(x[None, None], w[None, None], geometry=geometry)[0, 0]


def uncropped(g):
    return tconv.Geometry(g.kernel, g.stride, 0, g.dilation)


def cut_away(x, w, g):
    """Return {(full index,): number} of what the crop cuts from the full result and the rows beyond it."""
    full, cut = scattered(x, w, uncropped(g)), {}
    ranges = [range(min(lo, 0), n - min(hi, 0)) for n, (lo, hi) in zip(full.shape, g.crop, strict=True)]
    for place in np.ndindex(*(len(r) for r in ranges)):
        index = tuple(r[p] for r, p in zip(ranges, place, strict=True))
        if not all(lo <= i < n - hi for i, n, (lo, hi) in zip(index, full.shape, g.crop, strict=True)):
            inside = all(0 <= i < n for i, n in zip(index, full.shape, strict=True))
            cut[(index,)] = str(full[index] if inside else 0)
    return cut


def meshes(ax):
    return [artist for artist in ax.collections if type(artist).__name__ == "QuadMesh"]


def assert_nothing_overlaps(ax):
    """Assert that no text overlaps another one, that no array does, and that all is inside the figure."""
    figure = ax.figure
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = np.array([text.get_window_extent(renderer).extents for text in ax.texts])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= figure.bbox.max).all()
    apart = (boxes[:, None, :2] >= boxes[None, :, 2:]).any(axis=2)
    overlaps = ~(apart | apart.T | np.eye(len(boxes), dtype=bool))
    assert not overlaps.any(), [ax.texts[i].get_text() for i in np.argwhere(overlaps)[0]]

    grids = np.array([mesh.get_datalim(ax.transData).extents for mesh in meshes(ax)])
    apart = (grids[:, None, :2] >= grids[None, :, 2:] - 1e-9).any(axis=2)
    assert (apart | apart.T | np.eye(len(grids), dtype=bool)).all()


@st.composite
def geometries(draw_, most_axes=3):
    """Return an input's shape and a geometry with strides, dilation and crops of both signs."""
    ndim = draw_(st.integers(1, most_axes))
    each = lambda low, high: tuple(draw_(st.integers(low, high)) for _ in range(ndim))  # noqa: E731
    most = 3 if ndim < 3 else 2
    shape, kernel, stride, dilation = each(1, most), each(1, most), each(1, most), each(1, 2)
    least = -2 if ndim < 3 else -1  # larger volumes are not drawn
    crop = tuple((draw_(st.integers(least, 2)), draw_(st.integers(least, 2))) for _ in range(ndim))
    full = tconv.Geometry(kernel, stride, 0, dilation).full_shape(shape)
    crop = tuple((lo, hi) if n - lo - hi >= 1 else (0, 0) for n, (lo, hi) in zip(full, crop, strict=True))
    return shape, tconv.Geometry(kernel, stride, crop, dilation)
