"""A picture that is known from its header, and the description of a picture's kind.

Readers return it; its pixels are decoded later, after a run was planned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError, ShapeError
from tconv.io.metadata import Metadata

GREY_INVERTED, GREY, RGB = 0, 1, 2
"""Values of PhotometricInterpretation: 0 is white, 0 is black, or three colours."""
ASSOCIATED, UNASSOCIATED = 1, 2
"""Values of ExtraSamples: colours are multiplied by opacity already, or are not."""


class Samples(NamedTuple):
    """Meaning of a TIFF file's samples."""

    photometric: int
    extra: tuple[int, ...]
    """ExtraSamples, one value for each sample that is not grey, red, green or blue; 0 where the file states none."""

    @property
    def colours(self) -> int:
        """Number of samples before the extra ones."""
        return 3 if self.photometric == RGB else 1

    @property
    def alpha_at(self) -> int | None:
        """Place of the first sample that is opacity."""
        places = (self.colours + at for at, kind in enumerate(self.extra) if kind in (ASSOCIATED, UNASSOCIATED))
        return next(places, None)

    @property
    def associated(self) -> bool:
        """True if colours are multiplied by opacity already."""
        at = self.alpha_at
        return at is not None and self.extra[at - self.colours] == ASSOCIATED

    @property
    def are_bands(self) -> bool:
        """True if samples besides opacity are neither grey nor the three colours.

        >>> Samples(RGB, (UNASSOCIATED,)).are_bands, Samples(GREY, (0, 0)).are_bands  # both have three of them
        (False, True)
        """
        return len(self.extra) > (self.alpha_at is not None)

    def opacity_last(self, pixels: Array) -> Array:
        """Return pixels [..., C] in the order of the file with the opacity behind the other samples."""
        at, count = self.alpha_at, pixels.shape[-1]
        return pixels if at in (None, count - 1) else pixels[..., [*(n for n in range(count) if n != at), at]]

    def file_order(self, pixels: Array) -> Array:
        """Return pixels [..., C] with the opacity last in the order of the file."""
        at, last = self.alpha_at, pixels.shape[-1] - 1
        return pixels if at is None or at == last else pixels[..., [*range(at), last, *range(at, last)]]


@dataclass
class Picture:
    """A picture file: its size and kind are known from the header; `read` decodes it."""

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    alpha: bool
    """True if the last channel is opacity."""
    description: str
    notes: list[str]
    """Conversions on reading."""
    profile: bytes | None = None
    """ICC profile of the colours, if one is embedded."""
    resolution: tuple[float, float] | None = None
    """Pixels per inch along the width and the height, if the file states them."""
    decoder_bytes: int = 0
    """Memory that the decoder takes beside the pixels."""
    samples: Samples | None = None
    """Meaning of the samples of a TIFF file, whose result has the same."""
    metadata: Metadata = field(default_factory=Metadata)
    """EXIF, georeference and the like."""
    masks_nodata: bool = False
    """True if NaN, or the no-data value of the metadata, mean that a pixel has no data."""
    decode: Callable[[], Array] | None = field(repr=False, default=None)
    """Function that returns the pixels [H, W, C], opacity last. Raises FileError for a damaged file."""

    @property
    def has_bands(self) -> bool:
        """True if the channels besides opacity are neither grey nor red, green and blue."""
        return self.samples is not None and self.samples.are_bands

    def read(self) -> Array:
        """Return the pixels [C, H, W], a view of [H, W, C]. Raises FileError for a damaged file."""
        assert self.decode is not None
        return np.moveaxis(self.decode(), 2, 0)

    def without_opacity(self) -> Picture:
        """Return the picture with the opacity as a band, in its place in the file."""
        decode, samples = self.decode, self.samples
        if not self.alpha or decode is None:
            return self
        if samples is None:  # another format than TIFF: grey or RGB, and the opacity behind
            in_place, samples = decode, Samples(GREY if self.shape[0] == 2 else RGB, (0,))
        else:
            order = samples.file_order
            in_place, samples = (lambda: order(decode())), samples._replace(extra=(0,) * len(samples.extra))
        return self._with_samples(samples, False, in_place)

    def with_opacity(self) -> Picture:
        """Return the picture with its last band as opacity. Raises ShapeError if it has none besides the colours."""
        if self.alpha:
            return self
        if self.samples is None or not self.samples.extra:
            raise ShapeError(
                f"{self.path} is {self.description}, and alpha=True; opacity needs a channel besides the colours. "
                "Write alpha=None"
            )
        return self._with_samples(self.samples._replace(extra=(*self.samples.extra[:-1], UNASSOCIATED)), True)

    def _with_samples(self, samples: Samples, alpha: bool, decode: Callable[[], Array] | None = None) -> Picture:
        """Return the picture with another meaning of its samples."""
        form = self.description.partition(", ")[0]
        return replace(
            self,
            alpha=alpha,
            description=f"{form}, {describe(self.shape[0], self.dtype, alpha, samples.are_bands)}",
            samples=samples,
            decode=decode or self.decode,
        )


def describe(channels: int, dtype: Any, alpha: bool, bands: bool = False) -> str:
    """Return the kind of a picture as text; with `bands`, its channels are no colours, however many they are.

    >>> describe(4, np.uint16, alpha=True)
    'RGB with alpha, 16 bit'
    """
    colours = channels - alpha
    names = {} if bands else {1: "grey", 3: "RGB"}
    kind = names.get(colours, f"{colours} channels") + (" with alpha" if alpha else "")
    dtype = np.dtype(dtype)
    sort = {"f": " float", "i": " signed", "c": " complex"}.get(dtype.kind, "")
    return f"{kind}, {8 * dtype.itemsize} bit{sort}"


def plausible_resolution(x: float, y: float) -> tuple[float, float] | None:
    """Return pixels per inch, rounded; None for values that a picture cannot have, and that JPEG cannot store."""
    if not (min(x, y) >= 0.1 and max(x, y) <= 65535):
        return None
    return round(x, 2), round(y, 2)  # PNG counts by the metre: 300 dpi is 299.9994 there


def damaged(path: Path, why: str) -> FileError:
    """Return the error for a file that breaks off, or whose content is wrong."""
    return FileError(f"{path} is damaged ({why}); a whole file is needed. Choose an intact copy")
