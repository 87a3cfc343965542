"""What `tconv upsample` can be given: a picture, feature maps, or nothing; each answers the same questions.

A job knows the sizes of its arrays [N, C, H, W] before it reads them, so that all can be agreed first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np

from tconv.errors import FileError
from tconv.io import array_files
from tconv.io.pictures import Picture, describe, format_for, open_picture, write_picture
from tconv.upsampling import sample_photo
from tconv.upsampling.strips import Values
from tconv.upsampling.upsampler import Array, Upsampler

Shape = tuple[int, int, int, int]


class Batch(NamedTuple):
    """The images of one array: sizes [N, C, H, W], and how their values are stored."""

    shape: Shape
    values: Values


class Target(NamedTuple):
    """What a result becomes in a file: in words, with what the file will not keep, and the writing itself."""

    words: str
    notes: list[str]
    write: Callable[[BinaryIO, dict[str, Array]], None]


class Job(Protocol):
    """Arrays to be made larger; their result goes into one file."""

    words: str
    notes: list[str]
    stem: str
    """The name of the output, where none is asked for: the stem, the scale, the ending."""
    ending: str
    batches: dict[str, Batch]

    def read(self) -> dict[str, Array]:
        """The arrays [N, C, H, W] by key. Raises FileError for a damaged file."""

    def empty(self, key: str, shape: Shape) -> Array:
        """A result to fill, in the memory order that its file has."""

    def target(self, path: Path, shapes: dict[str, Shape]) -> Target:
        """What results of these sizes become in this file. Raises FileError where it cannot hold them."""


def job_for(source: Path | None, upsampler: Upsampler) -> Job:
    """The job that INPUT asks for. Raises FileError, MissingExtraError, DtypeError."""
    if source is None:
        return SampleJob(upsampler.scale)
    if source.suffix.lower() in array_files.ENDINGS:
        return FeatureJob(source)
    return PictureJob(open_picture(source), upsampler.mixes)


class PictureJob:
    """One picture. A kernel that mixes channels takes opacity as a channel like any other."""

    def __init__(self, picture: Picture, mixes: bool = False) -> None:
        channels, height, width = picture.shape
        self.words = f"{picture.path}: {width} x {height}, {picture.words}"
        self.notes = picture.notes
        self.stem = picture.path.stem
        self.ending = ".png" if picture.dtype.str[1:] in ("u1", "u2") and channels <= 4 else ".tif"
        self.batches = {"": Batch((1, *picture.shape), Values(picture.dtype, picture.alpha and not mixes))}
        self._picture, self._mixes = picture, mixes

    def read(self) -> dict[str, Array]:
        """The pixels."""
        return {"": self._picture.read()[None]}

    def empty(self, key: str, shape: Shape) -> Array:
        """[1, C, H, W] over [1, H, W, C], as picture files have it."""
        n, c, h, w = shape
        return np.moveaxis(np.empty((n, h, w, c), self._picture.dtype), 3, 1)

    def target(self, path: Path, shapes: dict[str, Shape]) -> Target:
        """A picture in the format of the file's ending."""
        _, channels, height, width = shapes[""]
        alpha = channels in (2, 4) if self._mixes else self._picture.alpha
        form, notes = format_for(path, (channels, height, width), self._picture.dtype, alpha)
        profile = self._picture.profile if channels == self._picture.shape[0] else None

        def write(file: BinaryIO, results: dict[str, Array]) -> None:
            write_picture(file, form, results[""][0], alpha, profile)

        kept = np.dtype(np.uint8) if "16 bit become 8" in notes else self._picture.dtype
        return Target(f"{width} x {height}, {form.name}, {describe(channels, kept, alpha)}", notes, write)


class SampleJob(PictureJob):
    """The photograph that ships with the package, shrunk by the scale; `original` is what it was."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.original = sample_photo.photograph(scale)
        self._small = sample_photo.shrink(self.original, scale)
        channels, height, width = self._small.shape
        words = describe(channels, self._small.dtype, alpha=False)
        super().__init__(
            Picture(Path(sample_photo.NAME), (channels, height, width), self._small.dtype, False, words, [], None)
        )
        self.stem = f"tconv_{sample_photo.NAME}"
        self.notes = [f"shrunk {scale} times" if scale > 1 else "not shrunk", sample_photo.CREDIT]

    def read(self) -> dict[str, Array]:
        """The small picture."""
        return {"": self._small[None]}


class FeatureJob:
    """The feature maps of a .npy or .npz file: [H, W], [C, H, W] or [N, C, H, W] each; ranks, keys and dtypes stay."""

    def __init__(self, path: Path) -> None:
        self._path, self._headers = path, array_files.read_headers(path)
        self.words = f"{path}: {array_files.describe(self._headers)}"
        self.notes = [
            note for key, header in self._headers.items() if (note := array_files.channels_last_note(key, header.shape))
        ]
        self.stem, self.ending = path.stem, path.suffix.lower()
        self.batches = {
            key: Batch(array_files.batch_shape(path, key, header.shape), Values(header.dtype))
            for key, header in self._headers.items()
        }

    def read(self) -> dict[str, Array]:
        """The arrays as batches."""
        arrays = array_files.read_features(self._path)
        return {key: array.reshape(self.batches[key].shape) for key, array in arrays.items()}

    def empty(self, key: str, shape: Shape) -> Array:
        """C order."""
        return np.empty(shape, self.batches[key].values.dtype)

    def target(self, path: Path, shapes: dict[str, Shape]) -> Target:
        """A file of the same kind."""
        if path.suffix.lower() != self.ending:
            raise FileError(
                f"{path} ends in {path.suffix or 'nothing'}; what comes from {self.ending} is written as "
                f"{self.ending}. Write {path.stem}{self.ending}"
            )
        ranks = {key: len(header.shape) for key, header in self._headers.items()}

        def write(file: BinaryIO, results: dict[str, Array]) -> None:
            arrays = {key: result.reshape(result.shape[4 - ranks[key] :]) for key, result in results.items()}
            array_files.write_features(file, arrays, self.ending)

        shaped = {
            key: array_files.Header(shape[4 - ranks[key] :], self.batches[key].values.dtype)
            for key, shape in shapes.items()
        }
        return Target(array_files.describe(shaped), [], write)
