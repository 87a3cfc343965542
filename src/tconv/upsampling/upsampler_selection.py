"""Choice of the upsampler from the options of a call: a network, a filter, or weights of the user's own.

Each upsampler is built once, however many files a call has.
"""

from __future__ import annotations

from tconv._arrays import Array
from tconv.errors import ArgumentError
from tconv.models.image_model import Model
from tconv.upsampling import learned
from tconv.upsampling.filters import from_kernel
from tconv.upsampling.option_names import PYTHON, Naming
from tconv.upsampling.upsampler import Upsampler

DEFAULT_KERNEL = "bicubic"


class Selection:
    """The options of one call, and the upsamplers that they mean for pictures and for feature maps.

    Raises ArgumentError if more than one of `model`, `kernel` and `weights` is given.
    """

    def __init__(
        self,
        scale: int | None = None,
        model: str | None = None,
        kernel: str | Array | None = None,
        weights: str | Model | None = None,
        naming: Naming = PYTHON,
    ) -> None:
        options = {"model": model, "kernel": kernel, "weights": weights}
        self._given = [naming.name(name) for name, value in options.items() if value is not None]
        if len(self._given) > 1:
            raise ArgumentError(
                f"{' and '.join(self._given)} were given; each selects an upsampling method. Use one of them"
            )
        self.naming = naming
        self._scale, self._model, self._kernel, self._weights = scale, model, kernel, weights
        self._interpolates = kernel is not None or (scale == 1 and not self._given)
        self._upsamplers: dict[bool, Upsampler] = {}

    @property
    def is_for_pictures(self) -> bool:
        """True if the options select a network, which takes no feature maps."""
        return bool(self._given) and self._kernel is None

    @property
    def is_open(self) -> bool:
        """True if no option selects an upsampler."""
        return not self._given

    def for_pictures(self) -> Upsampler:
        """Return the network of photographs if no option says otherwise; scale 1 is filtered.

        Raises ArgumentError, FileError, ShapeError, DtypeError, MissingExtraError.
        """
        return self._upsampler(self._interpolates)

    def for_feature_maps(self, source: object) -> Upsampler:
        """Return bicubic interpolation if no option says otherwise. Raises ArgumentError for a network's option.

        `source` is the file of the maps, for the message.
        """
        if self.is_for_pictures:
            raise ArgumentError(
                f"{source} contains feature maps, and {self._given[0]} is for pictures. Write "
                f"{self.naming.example('kernel', DEFAULT_KERNEL)}, or the name of a picture"
            )
        return self._upsampler(True)

    def _upsampler(self, interpolates: bool) -> Upsampler:
        if interpolates not in self._upsamplers:
            self._upsamplers[interpolates] = self._build(interpolates)
        return self._upsamplers[interpolates]

    def _build(self, interpolates: bool) -> Upsampler:
        if self._weights is not None:
            return learned.from_weights(self._weights, self._scale, self.naming)
        scale = 2 if self._scale is None else self._scale
        if interpolates:
            return from_kernel(DEFAULT_KERNEL if self._kernel is None else self._kernel, scale, self.naming)
        return learned.from_name(self._model or learned.PHOTO, scale, self.naming)
