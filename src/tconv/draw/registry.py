"""Registry of the pictures: their functions and the words that each takes, for commands and pages that offer them all.

A new picture is one file with its function, one line here, and its import in `tconv.draw`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv._arrays import Array
from tconv.geometry import Geometry

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Picture:
    """One picture: its function, what is seen, its positional words, and its options beside `ax` and `theme`.

    >>> PICTURES["overlap"].takes, PICTURES["gather"].options
    (('kernel', 'input_shape'), ('output',))
    """

    name: str
    place: str  # module:function
    summary: str
    takes: tuple[str, ...]
    options: tuple[str, ...] = ()
    layer: tuple[str, ...] = ("geometry",)
    """Parts of a Geometry that the function takes as keywords, under these names."""

    @property
    def function(self) -> Callable[..., Axes]:
        """The public function, as `tconv.draw.NAME`."""
        module, name = self.place.split(":")
        function: Callable[..., Axes] = getattr(import_module(f"tconv.draw.{module}"), name)
        return function

    def draw(self, x: Array, w: Array, geometry: Geometry, **words: Any) -> Axes:
        """Draw the picture of a call from bare arrays: of these, what the function takes or has as an option.

        >>> import numpy as np
        >>> ax = PICTURES["matrix"].draw(np.ones(2), np.ones(3), Geometry(3, 2), theme="dark")

        `words` are its options. The channels are drawn of a `weight=` among them, by default of one channel each.
        """
        given = {"x": x, "w": w, "input_shape": x.shape, "kernel": w.shape}
        given["weight"] = words.pop("weight", np.asarray(w)[None, None])
        parts = {"geometry": geometry} | {name: getattr(geometry, name) for name in ("stride", "dilation", "groups")}
        layer = {name: parts[name] for name in self.layer}
        calls = words.pop("calls", ())
        words |= {name: given[name] for name in self.options if name in given}
        arguments: list[Any] = [given[name] for name in self.takes]
        return self.function(*arguments, *calls, **layer, **words)


PICTURES = {
    picture.name: picture
    for picture in (
        Picture("scatter", "scatter_picture:scatter", "each input element paints its kernel", ("x", "w")),
        Picture("gather", "gather_picture:gather", "what one output element sums", ("x", "w"), ("output",)),
        Picture("matrix", "matrix_picture:matrix", "the operator as a matrix, and its transpose", ("w", "input_shape")),
        Picture("phases", "phases_picture:phases", "the convolutions with stride 1 that interleave", ("w",), ("x",)),
        Picture("overlap", "overlap_picture:overlap", "how many taps meet in each output", ("kernel", "input_shape")),
        Picture(
            "padding",
            "padding_picture:padding",
            "what the padding of each framework removes",
            ("kernel", "input_shape"),
            ("calls",),
            ("stride", "dilation"),
        ),
        Picture(
            "channels",
            "channels_picture:channels",
            "which input channel reaches which output channel",
            ("weight",),
            (),
            ("groups",),
        ),
    )
}
"""All pictures of a layer, by their names. `calls` are positional, after the sizes."""
