"""Inputs of an upsampling run: a picture, an array, feature maps, or the sample photograph.

An input states the sizes of its arrays [N, C, H, W] before their elements are read, so that a run can be planned, and
refused, first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, ShapeError
from tconv.io import array_files
from tconv.io.picture import Picture, describe
from tconv.io.picture_reading import open_picture
from tconv.io.picture_writing import format_for, write_picture
from tconv.io.tiff_reading import nodata_value
from tconv.upsampling import sample_photo
from tconv.upsampling.stored_values import StoredValues

Shape = tuple[int, int, int, int]


class Batch(NamedTuple):
    """Images of one array: sizes [N, C, H, W], and their element type."""

    shape: Shape
    values: StoredValues
    stated: StoredValues | None = None
    """The same by what the file says of its channels, which the check compares with; None where no file says it."""
    nodata: float | int | None = None
    """Value of pixels without data."""
    masks: bool = False
    """True if NaN and `nodata` mean that a pixel has no data."""
    bands: bool = False
    """True if a file says that the channels besides opacity are neither grey nor red, green and blue."""
    may_be_bands: bool = False
    """True for a TIFF file whose opacity may be a fourth band: some programs call any such band alpha."""


class OutputFormat(NamedTuple):
    """File format of a result: its description, what the format loses, and the function that writes the file."""

    description: str
    notes: list[str]
    write: Callable[[BinaryIO, dict[str, Array]], None]


class Input(Protocol):
    """Arrays to enlarge, whose results go into one file."""

    description: str
    notes: list[str]
    stem: str
    """First part of the default output name; the scale and the ending follow."""
    batches: dict[str, Batch]
    decoder_bytes: int
    """Memory that decoding takes beside the array."""

    def default_ending(self, channels: int) -> str:
        """Return the ending of the output that no name was given for, of a result with this many channels."""

    def read(self) -> dict[str, Array]:
        """Return the arrays [N, C, H, W] by key. Raises FileError for a damaged file."""

    def empty(self, key: str, shape: Shape) -> Array:
        """Return an uninitialised result, in the memory order of its file."""

    def output_format(self, path: Path, shapes: dict[str, Shape]) -> OutputFormat:
        """Return the format of results of these sizes in this file. Raises FileError if it cannot contain them."""

    def result(self, results: dict[str, Array]) -> Array | dict[str, Array]:
        """Return the results as `tconv.upsample` does: pixels [H, W, C], or arrays of the input's rank."""


def open_input(source: Path, mixes: bool, alpha: bool | None = None) -> Input:
    """Return the input in a file; `mixes` as in `Upsampler`, `alpha` as in `tconv.upsample`.

    Raises FileError, MissingExtraError, DtypeError, and ShapeError where there is no channel for opacity.
    """
    if is_feature_file(source):
        if alpha:
            raise ShapeError(f"{source} contains feature maps, which have no opacity, and alpha=True. Write alpha=None")
        return FeatureInput(source)
    picture = open_picture(source)
    if alpha is not None:
        picture = picture.with_opacity() if alpha else picture.without_opacity()
    return PictureInput(picture, mixes)


def is_feature_file(source: Path) -> bool:
    """Return True for the name of a .npy or .npz file."""
    return source.suffix.lower() in array_files.ENDINGS


class PictureInput:
    """One picture. A kernel that mixes channels treats opacity as a channel like any other."""

    def __init__(self, picture: Picture, mixes: bool = False) -> None:
        _, height, width = picture.shape
        self.description = f"{picture.path}: {width} x {height}, {picture.description}"
        self.notes = picture.notes
        self.stem = picture.path.stem
        self.decoder_bytes = picture.decoder_bytes
        samples, nodata = picture.samples, picture.metadata.nodata
        associated = samples is not None and samples.associated
        self.batches = {
            "": Batch(
                (1, *picture.shape),
                StoredValues(picture.dtype, picture.alpha and not mixes, associated),
                None
                if samples is None
                else StoredValues(picture.dtype, samples.alpha_at is not None and not mixes, associated),
                nodata_value(nodata, picture.dtype) if nodata is not None and picture.masks_nodata else None,
                picture.masks_nodata,
                picture.has_bands,
                samples is not None and picture.alpha and picture.shape[0] == 4,
            )
        }
        self._picture, self._mixes = picture, mixes

    def default_ending(self, channels: int) -> str:
        """Return .png, or .tif for what PNG cannot contain."""
        fits = self._picture.dtype.str[1:] in ("u1", "u2") and channels - self._alpha(channels) in (1, 3)
        return ".png" if fits and not self._is_raster and not self._picture.has_bands else ".tif"

    @property
    def _is_raster(self) -> bool:
        """True for a TIFF file that says where on the ground it lies, or which pixels have no data."""
        return bool(self._picture.metadata.georeference or self._picture.metadata.nodata)

    def _alpha(self, channels: int) -> bool:
        """Return True if the last of the result's channels is opacity."""
        if channels == self._picture.shape[0]:
            return self._picture.alpha
        return self._picture.samples is None and channels in (2, 4)

    def read(self) -> dict[str, Array]:
        """Return the pixels."""
        return {"": self._picture.read()[None]}

    def empty(self, key: str, shape: Shape) -> Array:
        """Return [1, C, H, W] as a view of [1, H, W, C], the order of picture files."""
        n, c, h, w = shape
        return np.moveaxis(np.empty((n, h, w, c), self._picture.dtype), 3, 1)

    def output_format(self, path: Path, shapes: dict[str, Shape]) -> OutputFormat:
        """Return the format that the file's ending names."""
        _, channels, height, width = shapes[""]
        picture, alpha = self._picture, self._alpha(channels)
        form, notes = format_for(path, (channels, height, width), picture.dtype, alpha)
        same = channels == picture.shape[0]
        profile, samples = (picture.profile, picture.samples) if same else (None, None)
        metadata = picture.metadata.enlarged((picture.shape[2], picture.shape[1]), (width, height))
        if not same:
            metadata.gdal = None  # it counts the bands
        bands = same and picture.has_bands
        if bands and form.name != "TIFF":  # which contains three of them, and calls them colours
            notes.append("its bands become red, green and blue")
            bands = False
        if samples is not None and samples.associated and form.name != "TIFF" and form.alpha:
            notes.append("colours are no longer multiplied by alpha")
        if lost := metadata.not_kept(form.name):
            notes.append(f"not kept: {', '.join(lost)}")

        def write(file: BinaryIO, results: dict[str, Array]) -> None:
            write_picture(file, form, results[""][0], alpha, profile, picture.resolution, samples, metadata)

        written = np.dtype(np.uint8) if "16 bit become 8" in notes else picture.dtype
        lasting = alpha and form.alpha
        kind = describe(channels - alpha + lasting, written, lasting, bands)
        return OutputFormat(f"{width} x {height}, {form.name}, {kind}", notes, write)

    def result(self, results: dict[str, Array]) -> Array:
        """Return the pixels [H, W, C], in the order of the file."""
        pixels, samples = np.moveaxis(results[""][0], 0, 2), self._picture.samples
        same = pixels.shape[2] == self._picture.shape[0]
        return samples.file_order(pixels) if samples is not None and same else pixels


class SampleInput(PictureInput):
    """The photograph that comes with the package, shrunk by the scale; `original` is the photograph itself."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.original = sample_photo.photograph(scale)
        self.small = sample_photo.shrink(self.original, scale)
        super().__init__(_picture_of(self.small, sample_photo.NAME, alpha=False))
        self.stem = f"tconv_{sample_photo.NAME}"
        self.notes = [f"shrunk {scale} times" if scale > 1 else "not shrunk", sample_photo.CREDIT]

    def read(self) -> dict[str, Array]:
        """Return the small picture."""
        return {"": self.small[None]}


class ArrayInput(PictureInput):
    """A picture in memory, pixels [C, H, W]."""

    def __init__(self, pixels: Array, alpha: bool, mixes: bool) -> None:
        super().__init__(_picture_of(pixels, "image", alpha), mixes)
        self._pixels = pixels

    def read(self) -> dict[str, Array]:
        """Return the pixels."""
        return {"": self._pixels[None]}


def _picture_of(pixels: Array, name: str, alpha: bool) -> Picture:
    channels, height, width = pixels.shape
    description = describe(channels, pixels.dtype, alpha)
    return Picture(Path(name), (channels, height, width), pixels.dtype, alpha, description, [])


class FeatureInput:
    """Feature maps of a .npy or .npz file: [H, W], [C, H, W] or [N, C, H, W] each; ranks, keys and dtypes stay."""

    def __init__(self, path: Path) -> None:
        self._path, self._headers = path, array_files.read_headers(path)
        self.description = f"{path}: {array_files.describe(self._headers)}"
        self.notes = [
            note for key, header in self._headers.items() if (note := array_files.channels_last_note(key, header.shape))
        ]
        self.stem, self.decoder_bytes = path.stem, 0
        self._ending = path.suffix.lower()
        self.batches = {
            key: Batch(array_files.batch_shape(path, key, header.shape), StoredValues(header.dtype))
            for key, header in self._headers.items()
        }

    def default_ending(self, channels: int) -> str:
        """Return the ending of the input."""
        return self._ending

    def read(self) -> dict[str, Array]:
        """Return the arrays as batches."""
        arrays = array_files.read_features(self._path)
        return {key: array.reshape(self.batches[key].shape) for key, array in arrays.items()}

    def empty(self, key: str, shape: Shape) -> Array:
        """Return an array in C order."""
        return np.empty(shape, self.batches[key].values.dtype)

    def output_format(self, path: Path, shapes: dict[str, Shape]) -> OutputFormat:
        """Return the format of the input file, which the output has, too."""
        if path.suffix.lower() != self._ending:
            raise FileError(
                f"{path} ends in {path.suffix}; the result of a {self._ending} file is written as "
                f"{self._ending}. Write {path.stem}{self._ending}"
            )

        def write(file: BinaryIO, results: dict[str, Array]) -> None:
            array_files.write_features(file, self._ranked(results), self._ending)

        headers = {
            key: array_files.Header(shape[4 - self._rank(key) :], self.batches[key].values.dtype)
            for key, shape in shapes.items()
        }
        return OutputFormat(array_files.describe(headers), [], write)

    def result(self, results: dict[str, Array]) -> Array | dict[str, Array]:
        """Return the array of a .npy file, or the arrays of a .npz file by key."""
        arrays = self._ranked(results)
        return arrays if self._ending == ".npz" else arrays[""]

    def _rank(self, key: str) -> int:
        return len(self._headers[key].shape)

    def _ranked(self, results: dict[str, Array]) -> dict[str, Array]:
        return {key: result.reshape(result.shape[4 - self._rank(key) :]) for key, result in results.items()}
