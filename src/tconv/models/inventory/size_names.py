"""Names for sizes that vary in files that give them none: "batch", "height", "width", one set for each tensor.

Those of the first tensor have no number; "height_2" is the height of the next one, which may be the same size.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from tconv.models.inventory.model_layer import Size

_SPATIAL = {1: ("width",), 2: ("height", "width"), 3: ("depth", "height", "width")}


class SizeNames:
    """Names of the open sizes of each tensor of a model."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def named(
        self, tensor: Hashable, shape: Sequence[Size] | None, channels_last: bool = True
    ) -> tuple[Size, ...] | None:
        """Return a shape [N, *spatial, C] or [N, C, *spatial] with names for the sizes that are None or below 0.

        Open channels stay None, and so do all open sizes of a shape with another number of axes.
        """
        if shape is None:
            return None
        sizes = [None if not isinstance(size, int) or size < 0 else size for size in shape]
        spatial = _SPATIAL.get(len(sizes) - 2)
        if spatial is None or None not in sizes:
            return tuple(sizes)
        open_axes = None in (sizes[1:-1] if channels_last else sizes[2:])
        number = self._numbers.setdefault(tensor, len(self._numbers) + 1) if open_axes else 1
        numbered = [name if number == 1 else f"{name}_{number}" for name in spatial]
        names = ("batch", *numbered, None) if channels_last else ("batch", None, *numbered)
        return tuple(name if size is None else size for size, name in zip(sizes, names, strict=True))


def without_names(shape: Sequence[Size] | None) -> tuple[Size, ...] | None:
    """Return a shape whose open sizes are None, apart from the batch."""
    return (
        None
        if shape is None
        else tuple(None if isinstance(size, str) and axis else size for axis, size in enumerate(shape))
    )
