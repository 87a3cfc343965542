"""The function `tconv.upsample`: arrays, picture files or lists of them, enlarged and checked.

The command `tconv upsample` runs the same code, so both give the same bits.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, FileError
from tconv.models.image_model import Model
from tconv.upsampling.file_batch import FileBatch, batch_folder, expanded, is_folder, output_folder
from tconv.upsampling.file_run import FileRun, open_run, refuse_url
from tconv.upsampling.image_checks import check_array, refuse_other_kinds, refuse_wide_integers
from tconv.upsampling.inputs import ArrayInput
from tconv.upsampling.network_options import read_network_options
from tconv.upsampling.option_names import PYTHON
from tconv.upsampling.run import Run
from tconv.upsampling.target_size import read_target_size
from tconv.upsampling.thread_limit import limited_threads, read_threads
from tconv.upsampling.tile_input import is_deferred, is_lazy, is_store, is_tiled
from tconv.upsampling.tile_options import TileOptions
from tconv.upsampling.upsampler_selection import Selection


def upsample(
    image: Any,
    scale: float | Fraction | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    model: str | None = None,
    kernel: Any = None,
    weights: str | os.PathLike[str] | Model | None = None,
    value_range: tuple[float, float] | str | None = None,
    channel_order: str | None = None,
    alpha: bool | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    check: bool = True,
    threads: int | None = None,
    max_memory: int | str | None = None,
    resume: bool = True,
    repair: bool = False,
    level: int | None = None,
    page: int | None = None,
    axes: str | None = None,
    tile: int | tuple[int, int] | None = None,
    chunks: int | tuple[int, int] | None = None,
    shards: int | tuple[int, int] | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Callable[[Any], None] | None = None,
) -> Any:
    """Return an image made larger with transposed convolutions, checked against the definition.

    >>> import numpy as np, tconv
    >>> picture = np.full((20, 30, 3), 128, np.uint8)                       # [H, W, C]
    >>> large = tconv.upsample(picture, 2)
    >>> large.shape, large.dtype
    ((40, 60, 3), dtype('uint8'))
    >>> grey = np.float32([[0, 1]])                                         # [H, W], 0 black, 1 white
    >>> tconv.upsample(grey, 2, kernel="bilinear")
    array([[0.  , 0.25, 0.75, 1.  ],
           [0.  , 0.25, 0.75, 1.  ]], dtype=float32)

    Parameters
    ----------
    image
        An array [H, W] or [H, W, C], channels last; or the path of a picture, of feature maps (.npy, .npz) or of a
        folder; or a list of arrays or of paths. White is the largest number of an integer dtype, and 1 for floats,
        which are not clipped; networks take integers of 8 and 16 bits. Arrays of PyTorch, TensorFlow and JAX on the
        CPU are taken, too.
    scale
        A number above 0, such as 2, 1.5 or Fraction(4, 3); 2 if not given, or the own scale of `weights`. Named filters
        resample to any size at once. Networks and other kernels run to the next whole scale that they have, and bicubic
        interpolation, as wide as the smaller size needs, makes that smaller, or larger than any scale of `weights`. 1
        and less only filter.
    width, height
        Pixels of the result, instead of a scale. One of them keeps the aspect ratio, both may change it.
    model
        "photo", the network that comes with tconv: what pictures are enlarged with if nothing else is given. Or
        "photo-large", one of twice the size for scale 2, and scales that it is made smaller to; "photo" runs at larger
        ones, and a warning says so.
    kernel
        "nearest", "bilinear", "bicubic" (for feature maps, bands of TIFF, and scale 1, if not given) or "lanczos";
        or weights as an array or a .npy file: [kh, kw] for each channel, [C_in, C_out, kh, kw] across channels.
    weights
        A network of your own: a `tconv.models.Model`, or a file that `tconv.models.load` reads. Its own scale may be 1,
        if it removes noise for example.
    value_range
        The network's numbers for black and white, where its file does not say them and they are not 0 and 1: (0, 255),
        or (-1, 1).
    channel_order
        "bgr" for a network that reads blue, green and red, where its file does not say it.
    alpha
        True if the last channel of an array is opacity, by which colours are weighted. None means that it is opacity
        in an array of 2 or 4 channels. False also states that the channels are last where the sizes look otherwise.
        None means for a file what it states: of TIFF, only samples that are called alpha are opacity, and all others
        are bands. False makes its opacity a band like the others, True the last band of a TIFF file opacity.
    output
        A file to write, or an existing folder or a name that ends in "/": files of a list go into a folder, under
        their names with the scale added; one that is given twice is written once. Without it the pixels are returned
        and nothing is written.
    overwrite
        True to let the output replace files.
    check
        False to return the result unchecked.
    threads
        Threads of this call; afterwards as many as `tconv.set_num_threads` allows.
    max_memory
        Most resident memory of this process, in bytes or as "1GB": the image is read, enlarged and written tile by
        tile, with the bits of the whole, from .tif, .npy or Zarr into one of those. So it is for every Zarr store, and
        with any option below, then within 1 GB, or 512 MB above what the process holds if that is more; `output` is
        needed, `docs/scale.md` has the details.
    resume
        False to start anew. Otherwise the same call goes on where another one was stopped.
    repair
        True to read all tiles of the output again, and to make anew those that are damaged or missing.
    level, page, axes
        Level of a pyramid, 0 the largest; page of a TIFF file; names of the stored axes, "TCYX", where the store has
        none: C are channels, Y and X the picture, all others count pictures.
    tile, chunks, shards
        Pixels along both axes, or of rows and columns: of a tile of the work, of what the output compresses together
        (of TIFF: of a tile), and of one file of Zarr.
    workers, scheduler
        Processes of `dask.distributed` on this machine, or the address of its scheduler, "tcp://...".
    progress
        A function that is called with a `tconv.scale.Progress` while tiles are written.

    Returns
    -------
    An array like `image`: same dtype, layout and library. For a path of a picture an array [H, W, C] in the dtype of
    the file; of .npy the array, of .npz a dict of arrays. For a list or a folder a list of these. With `output` the
    path of the written file instead of each array.

    Raises ArgumentError, ArrayError, ShapeError, DtypeError, FileError, TooLargeError if the memory does not suffice,
    and MissingExtraError where files need pyvips or Pillow (`pip install "tconv[cli]"`). With an output folder all
    files of a list that can be enlarged are written before FileError names those that failed.

    Notes
    -----
    With rows i, taps t and stride s, every method of a whole scale s is y[s*i + t - crop] += x[i] * w[t]. Random
    outputs are recomputed from this definition in float64, thousands, or of a large network as many as take no longer
    than the enlargement, but one square of 24 x 24 at least. Of a deep network, of which a square would take too long,
    outputs of every layer are recomputed from the numbers that it read. CheckError would be a fault of tconv or of the
    machine.
    In TIFF files NaN, and GDAL's no-data value, mark pixels without data: those stay so, and leave others alone.
    """
    target = read_target_size(scale, width, height, PYTHON)
    for name, value in (("check", check), ("overwrite", overwrite), ("resume", resume), ("repair", repair)):
        if not isinstance(value, bool):
            raise ArgumentError(f"{name} is {shown(value)}; True or False is needed. Write {name}=True")
    if alpha is not None and not isinstance(alpha, bool):
        raise ArgumentError(f"alpha is {shown(alpha)}; True, False or None is needed. Write alpha=True")
    network = read_network_options(value_range, channel_order, PYTHON)
    tiles = TileOptions(max_memory, resume, tile, chunks, shards, level, page, axes, workers, scheduler, repair)
    with limited_threads(read_threads(threads, PYTHON)):
        selection = Selection(target, model, _kernel(kernel), _weights(weights), PYTHON, network)
        result = _upsample_any(image, _Call(selection, alpha, overwrite, check, tiles, progress), output)
        _issue(selection.replacements)
        return result


def _upsample_any(image: Any, call: _Call, output: Any) -> Any:
    one = _path(image, "image") if _is_path(image) else image
    if is_tiled(one, output, call.tiles):
        return _upsample_tiles(one, call, output)
    if isinstance(image, (list, tuple)) and image and not all(map(_is_row, image)):
        return _upsample_list(list(image), call, output)
    if not _is_path(image):
        return _upsample_array(image, call, output)
    path = _path(image, "image")
    if os.path.isdir(path):
        return _upsample_files([path], call, output)
    run = call.open(path)
    return _result(run) if output is None else _write(run, [path], call, output)


class _Call(NamedTuple):
    """Options of a call that hold for each of its images."""

    selection: Selection
    alpha: bool | None
    overwrite: bool
    check: bool
    tiles: TileOptions
    progress: Callable[[Any], None] | None

    def open(self, path: Path) -> Run:
        """Return the run of a file."""
        run = open_run(path, self.selection, self.alpha)
        run.checked = self.check
        return run


def _upsample_tiles(image: Any, call: _Call, output: Any) -> Any:
    """Write an image of any size tile by tile, and return the path of the output; of a lazy array return another."""
    from tconv.upsampling.tile_job import TileJob, lazy_upsample, refuse_many

    if output is None and is_deferred(image):
        return lazy_upsample(image, call.selection, call.alpha, call.check, call.tiles)

    if isinstance(image, (list, tuple)) or (isinstance(image, Path) and os.path.isdir(image) and not is_store(image)):
        refuse_many(call.tiles, PYTHON)
    if output is None:
        raise ArgumentError(
            "output is not given, and images that are read or written by tiles may be larger than memory. Write "
            'output="large.zarr", for example'
        )
    if not _is_path(image) and not is_lazy(image):
        refuse_other_kinds(image)
        image = _arrays.take(image, "image")[1]
    path = _path(output, "output")
    folder = path if is_folder(output, path) and not is_store(path) else None
    job = TileJob(
        image,
        call.selection,
        None if folder else path,
        folder=folder,
        alpha=call.alpha,
        checked=call.check,
        overwrite=call.overwrite,
        options=call.tiles,
        progress=call.progress,
    )
    with output_folder(folder):
        job.look_at_sample()
        job.run()
    _issue(job.warnings)
    return job.path


def _upsample_list(images: list[Any], call: _Call, output: Any) -> Any:
    """Return a list of results; files with an output are written as one batch."""
    for number, entry in enumerate(images):
        if not _is_image(entry):
            raise ArgumentError(
                f"image[{number}] is {shown(entry)}; a path, or an array [H, W] or [H, W, C], is needed. Use a list "
                "of those"
            )
    if all(map(_is_path, images)):
        return _upsample_files([_path(entry, f"image[{number}]") for number, entry in enumerate(images)], call, output)
    if output is not None:
        raise ArgumentError(
            "output was given with a list of arrays, which have no names. Write one call for each array, with its own "
            "output"
        )
    return [_upsample_entry(entry, f"image[{number}]", call) for number, entry in enumerate(images)]


def _upsample_entry(entry: Any, name: str, call: _Call) -> Any:
    return _result(call.open(_path(entry, name))) if _is_path(entry) else _upsample_array(entry, call, name=name)


def _upsample_files(paths: list[Path], call: _Call, output: Any) -> list[Any]:
    """Return the results of all files, or write all into the folder `output` and return their paths."""
    if output is None:
        return [_result(call.open(path)) for path in expanded(paths)]
    folder = batch_folder(output, _path(output, "output"), paths, PYTHON)
    batch = FileBatch(paths, call.selection, folder, call.overwrite, call.check, call.alpha)
    written = []
    for _, file_run in batch.run():
        _warn(file_run.run)
        written.append(file_run.path)
    if batch.failures:
        reasons = "; ".join(map(str, batch.failures))
        raise FileError(f"{batch.summary(len(written))}. {reasons}")
    return written


def _upsample_array(image: Any, call: _Call, output: Any = None, name: str = "image") -> Any:
    """Return the enlarged array, or write it into the file `output` and return its path."""
    refuse_other_kinds(image)
    library, array = _arrays.take(image, name)
    check_array(array, name, call.alpha, library)
    pixels = np.moveaxis(array[:, :, None] if array.ndim == 2 else array, 2, 0)
    upsampler = call.selection.for_pictures().fitted(*pixels.shape[1:])
    if upsampler.learned:
        refuse_wide_integers(array.dtype, name, library)
    has_alpha = len(pixels) in (2, 4) if call.alpha is None else call.alpha
    run = Run(ArrayInput(pixels, has_alpha, upsampler.mixes), upsampler)
    run.checked = call.check
    if output is not None:
        if is_folder(output, _path(output, "output")):
            raise ArgumentError(
                f"output is the folder {output}, and an array has no name. Write a file name, "
                f'output="{os.path.join(output, "large.png")}" for example'
            )
        return _write(run, [], call, output)
    result = _result(run)
    assert isinstance(result, np.ndarray)
    return _arrays.give(result[:, :, 0] if array.ndim == 2 and result.shape[2] == 1 else result, library)


def _result(run: Run) -> Array | dict[str, Array]:
    """Return the arrays of a run, and issue its warnings."""
    results, _ = run.execute()
    _warn(run)
    return run.source.result(results)


def _warn(run: Run) -> None:
    """Issue the warnings of a run."""
    _issue(run.warnings)


def _issue(texts: list[str]) -> None:
    """Issue warnings at the line that called the library."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("tconv."):
        level, frame = level + 1, frame.f_back
    for text in texts:
        warnings.warn(text, UserWarning, stacklevel=level)


def _write(run: Run, inputs: list[Path], call: _Call, output: Any) -> Path:
    """Write the result of a run into a file, or under its default name into a folder; return the file's path."""
    path = _path(output, "output")
    folder = path if is_folder(output, path) else None
    with (
        output_folder(folder),
        FileRun(run, PYTHON, inputs, None if folder else path, folder, call.overwrite) as file_run,
    ):
        file_run.execute()
    _warn(run)
    return file_run.path


# -- arguments ---------------------------------------------------------------------------------------------------


def _is_row(value: Any) -> bool:
    """Return True for an entry of one image that is written as a list: a number, or a list or array of one axis."""
    return isinstance(value, (int, float, complex, list, tuple)) or (
        not _is_path(value) and len(getattr(value, "shape", (0, 0))) < 2
    )


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _is_image(value: Any) -> bool:
    """Return True for a path, and for an array of any library with rows and columns."""
    return _is_path(value) or (not isinstance(value, (list, tuple)) and len(getattr(value, "shape", ())) >= 2)


def _path(value: Any, name: str) -> Path:
    """Return an argument as a path, with ~ expanded. Raises ArgumentError."""
    if not _is_path(value) or not isinstance(os.fspath(value), str) or not os.fspath(value):
        example = f'{name}="{"large" if name == "output" else "photo"}'
        raise ArgumentError(f'{name} is {shown(value)}; a path is needed. Write {example}.png", for example')
    refuse_url(os.fspath(value), name)
    return Path(os.path.expanduser(value))


def _kernel(kernel: Any) -> str | Array | None:
    """Return a filter's name, the path of a file or an array of weights. Raises ArgumentError, ArrayError."""
    if kernel is None:
        return None
    return os.path.expanduser(os.fspath(kernel)) if _is_path(kernel) else _arrays.take(kernel, "kernel")[1]


def _weights(weights: Any) -> str | Model | None:
    """Return a model, or the path of its file. Raises ArgumentError."""
    if weights is None or isinstance(weights, Model):
        return weights
    if not _is_path(weights):
        raise ArgumentError(
            f'weights is {shown(weights)}; a file or a tconv.models.Model is needed. Write weights="network.onnx"'
        )
    return os.path.expanduser(str(os.fspath(weights)))
