"""`conv_transpose` and `apply`: lazy arrays of Dask, with the bits of the whole image, whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.geometry import Geometry
from tconv.operator.call_reading import read_taken_call
from tconv.operator.dtype_check import INTEGERS
from tconv.operator.prepared import layer_call
from tconv.scale.chunks.axis_chunks import borders_of, chunks_along
from tconv.scale.chunks.chosen_chunks import asked_chunks, default_chunks, input_chunks
from tconv.scale.chunks.chunk_plan import ChunkPlan
from tconv.scale.chunks.image_axes import ImageAxes
from tconv.scale.chunks.labelled_arrays import Labels, unlabelled
from tconv.scale.chunks.lazy_input import LazyInput, chunked, read_input, refuse_unknown_sizes, require_dask
from tconv.scale.chunks.shared_object import Shared
from tconv.scale.layer_call import own_array
from tconv.scale.operators.layer import LayerOperator
from tconv.scale.operators.reading import operator_of
from tconv.scale.operators.tile_operator import TileOperator
from tconv.scale.regions import Sizes
from tconv.streaming.layer_digest import fingerprint


def conv_transpose(
    array: Any,
    weight: Any,
    bias: Any = None,
    *,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    chunks: Any = None,
    activation: Any = None,
    **native: Any,
) -> Any:
    """Return the transposed convolution of a large array, as a lazy array of Dask.

    >>> import dask.array, numpy as np, tconv.scale
    >>> x = dask.array.ones((1, 8, 4096, 4096), chunks=(1, 8, 1024, 1024), dtype="float32")
    >>> y = tconv.scale.conv_transpose(x, np.ones((8, 3, 4, 4), np.float32), stride=2, padding=1)
    >>> y.shape, y.chunksize
    ((1, 3, 8192, 8192), (1, 3, 2048, 2048))
    >>> y[:, :, 2000:2004, 5].compute().shape                       # only the chunk that has them is computed
    (1, 3, 4)

    array: an array of Dask, NumPy (memory maps too), Zarr, or xarray, in the layout of the dialect; `apply` takes
    paths, too. weight, bias, dialect, geometry and the native arguments are those of `tconv.conv_transpose`, copied at
    once; `activation` is that of `tconv.prepare`.

    chunks: those of the output, written as for Dask. Default: the chunks of the input times the stride, the last one
    with the rest; all output channels in one. Any chunks give the same bits: those of the direct sum over the whole
    image. Chunks that are whole multiples of the stride cost least.

    Of a lazy array each output chunk reads the input chunk under it, and from its neighbours strips as wide as the
    kernel needs. Of a store (Zarr, a memory map) each task reads its own window, and depends on no other.
    Workers hold one copy of the weights, and compute one chunk at a time, with as many threads as they have.
    Gradients do not pass through it.

    Returns a dask.array.Array in the dialect's layout; an xarray.DataArray with its dimensions for a DataArray.
    Raises the errors of `tconv.conv_transpose`, MissingExtraError without Dask, FileError for stores.
    """
    weight, bias, dialect, native, activation = layer_call(weight, bias, dialect, geometry, native, activation)
    _, (weight, bias) = _arrays.take_all(weight=weight, bias=bias)
    array, labels = unlabelled(array)
    require_dask()
    # the array is read by its number of axes; their meaning is the dialect's
    shape = tuple(getattr(array, "shape", ()))
    if not shape:
        raise ShapeError(
            f"array is {shown(array)}; conv_transpose takes an array in the layout of the dialect. Write "
            "zarr.open_array(path), or tconv.scale.apply(tconv.scale.layer(weight), path)"
        )
    refuse_unknown_sizes(shape)
    stand_in = np.broadcast_to(np.zeros((), array.dtype), shape)
    call = read_taken_call("numpy", stand_in, weight, bias, dialect, geometry, native, in_memory=False)
    axes, (kernel, added) = ImageAxes.of_dialect(call.data), (call.weight, call.bias)
    if kernel.dtype.kind in "iu" and kernel.dtype != array.dtype:  # mixed integers
        kernel, added = kernel.astype(np.int64), None if added is None else added.astype(np.int64)
    # copies: the caller may change the weight before anything is computed
    added = None if added is None else own_array(added)
    operator = LayerOperator(own_array(kernel), added, call.problem.geometry, activation)
    given = read_input(array, operator.ndim, axes)
    return _lazy("conv_transpose", operator, given, chunks, labels)


def apply(network: Any, array: Any, *, chunks: Any = None, axes: Any = None) -> Any:
    """Return the output of a network, or of layers, for a large array, as a lazy array of Dask.

    >>> import dask.array, numpy as np, tconv.scale
    >>> layer = tconv.scale.layer(np.ones((1, 1, 4, 4), np.float32), stride=2, padding=1)
    >>> x = dask.array.ones((3000, 3000), chunks=1000, dtype="float32")
    >>> y = tconv.scale.apply([layer, layer], x)
    >>> y.shape, y.chunksize
    ((12000, 12000), (4000, 4000))

    network: what `tconv.scale.run` takes: a path, a model or network of `tconv.models`, a layer of `tconv.scale.layer`
    or of a framework, a list of layers. array: an array of Dask, NumPy, Zarr or xarray, or the path of a store, of the
    network's dtype. axes: names of its axes, "TCYX"; C are channels, Z, Y and X space, others count images. Default:
    the names that the array has, or [*sizes], [C, *sizes], [N, C, *sizes]. chunks and the result are those of
    `conv_transpose`.

    Raises ShapeError, DtypeError, ArgumentError, MissingExtraError without Dask, FileError for stores.
    """
    array, labels = unlabelled(array)
    require_dask()
    operator = operator_of(network)
    given = read_input(array, operator.ndim, labels.names if labels and axes is None else axes)
    channel = given.axes.channel
    operator = operator_of(
        operator,
        channels=1 if channel is None else given.shape[channel],
        sizes=tuple(given.shape[axis] for axis in given.axes.spatial),
        dtype=given.dtype,
    )
    return _lazy("apply", operator, given, chunks, labels)


def _lazy(kind: str, operator: TileOperator, given: LazyInput, chunks: Any, labels: Labels | None) -> Any:
    """Return the lazy output of an operator, in the order of the array's axes."""
    from tconv.scale.chunks.graph import lazy_array

    _check(operator, given)
    axes, out_axes = given.axes, given.axes.with_channels(operator.channels[1])
    sizes = tuple(given.shape[axis] for axis in axes.spatial)
    outputs = operator.output_sizes(sizes)
    shape = out_axes.ordered([given.shape[axis] for axis in axes.images], operator.channels[1], outputs)
    has_contexts = reads_whole_image(operator, sizes)
    if has_contexts and given.source is None:
        raise ArgumentError(
            f"{operator.name} reads means over the whole image, which chunks of a lazy array do not have. Write the "
            "array into a store, as array.to_zarr(path), and give the path; or use tconv.scale.run"
        )
    if given.array is not None and given.chunks is None and chunks is None:
        given.array = chunked(given.array, lambda: axes.ordered([1] * len(axes.images), -1, ["auto"] * len(sizes)))
    default = default_chunks(operator, given, out_axes, sizes, outputs)
    asked = asked_chunks(chunks, default, shape, operator.result)
    images = [asked[axis] for axis in out_axes.images]
    if given.array is not None:
        given.array = chunked(given.array, lambda: input_chunks(operator, asked, out_axes, given, sizes))
        # all channels are summed, and images belong to the output chunk that has them
        whole = axes.ordered(images, (operator.channels[0],), [given.array.chunks[axis] for axis in axes.spatial])
        given.array = given.array.rechunk(whole)
        borders = [borders_of(given.array.chunks[axis]) for axis in axes.spatial]
    else:
        borders = [(0, size) for size in sizes]
    spatial = tuple(
        chunks_along(operator, sizes, number, borders[number], borders_of(asked[axis]))
        for number, axis in enumerate(out_axes.spatial)
    )
    plan = ChunkPlan(
        Shared(fingerprint(operator), operator),
        axes,
        tuple(map(borders_of, images)),
        spatial,
        sizes,
        given.dtype,
        given.source,
        has_contexts,
    )
    result = lazy_array(kind, plan, given.array, given.identity())
    if out_axes.channel is not None and len(asked[out_axes.channel]) > 1:
        result = result.rechunk({out_axes.channel: asked[out_axes.channel]})
    return result if labels is None else labels.labelled(result, operator, axes, out_axes, sizes)


def reads_whole_image(operator: TileOperator, sizes: Sizes) -> bool:
    """Return True for an operator that reads the whole image before its tiles, as for means over it."""

    class _ReadError(Exception):
        pass

    def read(region: Any) -> Any:
        raise _ReadError

    try:
        operator.prepare(read, sizes, 1 << 28)
    except _ReadError:
        return True
    return False


def _check(operator: TileOperator, given: LazyInput) -> None:
    """Raise ShapeError or DtypeError for an array that the operator does not take."""
    channel = given.axes.channel
    channels = 1 if channel is None else given.shape[channel]
    if channels != operator.channels[0] or len(given.axes.spatial) != operator.ndim:
        raise ShapeError(
            f"the array has shape {given.shape}, with {channels} channels; {operator.name} needs "
            f"{operator.channels[0]} and {operator.ndim} spatial axes. Write axes=, as axes="
            f'"{"TCZYX"[-len(given.shape) :]}", if another axis has the channels'
        )
    is_same = given.dtype.newbyteorder("=") == operator.dtype
    if not is_same and not (given.dtype.name in INTEGERS and operator.dtype == np.int64):
        raise DtypeError(
            f"the array is of {given.dtype}; {operator.name} computes in {operator.dtype}. Write "
            f"array.astype({operator.dtype.name!r}), which is lazy for arrays of Dask and xarray"
        )
