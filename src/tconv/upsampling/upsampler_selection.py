"""Choice of the upsampler from the options of a call: a network, a filter, or weights of the user's own.

Each upsampler is built once, however many files a call has.
"""

from __future__ import annotations

import math
import os
from fractions import Fraction
from pathlib import Path

from tconv._arrays import Array
from tconv.errors import ArgumentError
from tconv.models.image_model import Model
from tconv.upsampling import learned
from tconv.upsampling.filters import from_kernel
from tconv.upsampling.network_options import AS_STATED, NetworkOptions
from tconv.upsampling.option_names import PYTHON, Naming
from tconv.upsampling.resizing import Resizer
from tconv.upsampling.target_size import TargetSize
from tconv.upsampling.upsampler import AnyUpsampler, Upsampler
from tconv.weights.interpolation import FILTERS

DEFAULT_KERNEL = "bicubic"


class Selection:
    """The options of one call, and the upsamplers that they mean for pictures and for feature maps.

    `target` is the size of the results, or a whole scale; None means the default. `network` says what the numbers of
    the network of `weights` mean. Raises ArgumentError if more than one
    of `model`, `kernel` and `weights` is given.
    """

    def __init__(
        self,
        target: TargetSize | int | None = None,
        model: str | None = None,
        kernel: str | Array | None = None,
        weights: str | Model | None = None,
        naming: Naming = PYTHON,
        network: NetworkOptions = AS_STATED,
    ) -> None:
        options = {"model": model, "kernel": kernel, "weights": weights}
        self._given = [naming.name(name) for name, value in options.items() if value is not None]
        if len(self._given) > 1:
            raise ArgumentError(
                f"{' and '.join(self._given)} were given; each selects an upsampling method. Use one of them"
            )
        if network.given and weights is None:
            name = naming.name(network.given[0])
            raise ArgumentError(
                f"{name} was given without {naming.name('weights')}; it says what the numbers of a network of your own "
                f"mean. Write {naming.example('weights', 'FILE')}, or leave it out"
            )
        self.naming, self._network = naming, network
        self._target = TargetSize(Fraction(target)) if isinstance(target, int) else target
        self._model, self._kernel, self._weights = model, kernel, weights
        scale = None if self._target is None else self._target.scale
        self._interpolates = kernel is not None or (scale is not None and scale <= 1 and not self._given)
        self._upsamplers: dict[bool, AnyUpsampler] = {}
        self._of_scale: dict[tuple[int | None, bool], Upsampler] = {}

    @property
    def is_for_pictures(self) -> bool:
        """True if the options select a network, which takes no feature maps."""
        return bool(self._given) and self._kernel is None

    @property
    def is_open(self) -> bool:
        """True if no option selects an upsampler."""
        return not self._given

    @property
    def weights_name(self) -> str | None:
        """Name of the network's file, if there is one."""
        return Path(self._weights).name if isinstance(self._weights, (str, os.PathLike)) else None

    @property
    def replacements(self) -> list[str]:
        """Notes on the networks that were built instead of that of `model`."""
        scales = [] if self._model is None else [scale for scale, _ in self._of_scale if scale is not None]
        notes = [learned.replaced(self._model or "", scale) for scale in scales]
        return [note for note in notes if note is not None]

    def for_pictures(self) -> AnyUpsampler:
        """Return the network of photographs if no option says otherwise; scale 1 is filtered.

        Raises ArgumentError, FileError, ShapeError, DtypeError, MissingExtraError.
        """
        return self._upsampler(self._interpolates)

    def for_feature_maps(self, source: object) -> AnyUpsampler:
        """Return bicubic interpolation if no option says otherwise. Raises ArgumentError for a network's option.

        `source` is the file of the maps, for the message.
        """
        if self.is_for_pictures:
            raise ArgumentError(
                f"{source} contains feature maps, and {self._given[0]} is for pictures. Write "
                f"{self.naming.example('kernel', DEFAULT_KERNEL)}, or the name of a picture"
            )
        return self._upsampler(True)

    def _upsampler(self, interpolates: bool) -> AnyUpsampler:
        if interpolates not in self._upsamplers:
            self._upsamplers[interpolates] = self._build(interpolates)
        return self._upsamplers[interpolates]

    def _build(self, interpolates: bool) -> AnyUpsampler:
        target = self._target
        kernel = DEFAULT_KERNEL if self._kernel is None else self._kernel
        if target is None or (target.scale is not None and target.scale.denominator == 1):
            scale = None if target is None or target.scale is None else int(target.scale)
            if self._weights is None or scale is None or not scale % self._own_scale():
                return self._whole(scale, interpolates)
        target = target or TargetSize(Fraction(2))
        if interpolates and isinstance(kernel, str) and kernel in FILTERS:
            return Resizer(target, kernel, lambda ratio, size: None, False, kernel)
        smallest = self._whole(1 if interpolates else None, interpolates)
        if target.scale is not None and target.scale <= 1 and not interpolates and not self._keeps_size():
            self._refuse_smaller(None)

        def whole(ratio: Fraction, size: tuple[int, int]) -> Upsampler | None:
            if not interpolates and ratio <= 1 and not self._keeps_size():
                if not self._given:
                    return None  # a filter alone makes it smaller
                self._refuse_smaller(size)
            if self._weights is not None and ratio % self._own_scale():
                return self._whole(None, interpolates)  # it runs once
            return self._whole(math.ceil(ratio), interpolates)

        return Resizer(target, None, whole, smallest.mixes, self._model or smallest.name)

    def _whole(self, scale: int | None, interpolates: bool) -> Upsampler:
        """Return the upsampler of a whole scale; None means the default."""
        key = scale, interpolates
        if key not in self._of_scale:
            self._of_scale[key] = self._build_whole(scale, interpolates)
        return self._of_scale[key]

    def _build_whole(self, scale: int | None, interpolates: bool) -> Upsampler:
        if self._weights is not None:
            return learned.from_weights(self._weights, scale, self.naming, self._network)
        scale = 2 if scale is None else scale
        if interpolates:
            return from_kernel(DEFAULT_KERNEL if self._kernel is None else self._kernel, scale, self.naming)
        return learned.from_name(self._model or learned.PHOTO, scale, self.naming)

    def _keeps_size(self) -> bool:
        """Return True for a network of `weights` whose scale is 1: one that removes noise, for example."""
        return self._weights is not None and self._own_scale() == 1

    def _own_scale(self) -> int:
        """Return the scale of the network of `weights`."""
        return int(self._whole(None, False).scale)

    def _refuse_smaller(self, size: tuple[int, int] | None) -> None:
        """Raise ArgumentError for a network that would not make a picture, of this size, larger."""
        filtered = self.naming.example("kernel", DEFAULT_KERNEL)
        if size is None:
            reason, instead = "", f"Write {self.naming.example('scale', 2)}, or {filtered}"
        else:
            reason = f" for a picture of {size[1]} x {size[0]}"
            instead = f"Write a larger number, or {filtered} instead of {self._given[0]}"
        raise ArgumentError(f"{self._stated}{reason}, and {self._given[0]} makes pictures larger. {instead}")

    @property
    def _stated(self) -> str:
        """The size in a sentence: "--scale is 1"."""
        assert self._target is not None
        if self._target.scale is not None:
            return f"{self.naming.name('scale')} is {self._target.text}"
        sides = [("width", self._target.width), ("height", self._target.height)]
        return " and ".join(f"{self.naming.name(name)} is {value}" for name, value in sides if value is not None)

    @property
    def option(self) -> str:
        """The option of the size, as the caller writes it: "--scale 1.5"."""
        assert self._target is not None
        return self._target.option(self.naming)
