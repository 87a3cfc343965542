"""Other shapes of a value that has one pixel: a vector [C], or a picture of 1 x 1."""

from __future__ import annotations

from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer


def _reshaped(layer: NcnnLayer, axes: int) -> list[LayerOutput]:
    return [layer.value()._replace(axes=axes)]


def _single(layer: NcnnLayer) -> LayerOutput:
    x = layer.value()
    if not x.single:
        raise layer.refusal(
            "of a picture; one of a value of one pixel, as a mean over the picture is, is read, and PixelShuffle and "
            "Reorg where channels become pixels or pixels channels"
        )
    return x


def flatten(layer: NcnnLayer) -> list[LayerOutput]:
    """Return the value as a vector."""
    _single(layer)
    return _reshaped(layer, 1)


def reshape(layer: NcnnLayer) -> list[LayerOutput]:
    """Return the value as a vector (w = C), or as a picture of 1 x 1 (w = h = 1, c = C)."""
    x, line = _single(layer), layer.line
    w, h, c, d = (line.whole(key, -233) for key in (0, 1, 2, 11))
    if d == -233 and h == c == -233 and w in (-1, x.channels):
        return _reshaped(layer, 1)
    if d == -233 and w == h == 1 and c in (-1, x.channels):
        return _reshaped(layer, 3)
    shape = [size for size in (c, d, h, w) if size != -233]
    raise layer.refusal(f"to {shape}; [{x.channels}] or [{x.channels}, 1, 1] is needed")


def squeeze(layer: NcnnLayer) -> list[LayerOutput]:
    """Return the value as a vector, without height and width."""
    x, line = _single(layer), layer.line
    given = {axis + x.axes if axis < 0 else axis for axis in line.wholes(3)}
    given |= {axis for key, axis in ((1, 1), (0, 2)) if line.whole(key, 0)}
    if x.axes != 3 or given != {1, 2}:
        raise layer.refusal(f"of the axes {sorted(given)}; height and width, 1 and 2, are needed")
    return _reshaped(layer, 1)


def expand(layer: NcnnLayer) -> list[LayerOutput]:
    """Return the value as a picture of 1 x 1, with height and width behind the channels."""
    x, line = _single(layer), layer.line
    axes = 3
    given = {axis + axes if axis < 0 else axis for axis in line.wholes(3)}
    if x.axes != 1 or given != {1, 2}:
        raise layer.refusal(f"with axes at {sorted(given)}; height and width behind the channels, 1 and 2, are needed")
    return _reshaped(layer, 3)
