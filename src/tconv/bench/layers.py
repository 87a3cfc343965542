"""The registry of layers: transposed convolutions of real networks, each with its source.

`layers.json` is the registry that comes with tconv.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tconv import Geometry
from tconv.errors import ArgumentError, FileError, TconvError

REGISTRY = Path(__file__).with_name("layers.json")
_NEEDED = ("name", "n", "c_in", "c_out", "in", "k", "s")
_OPTIONAL = {"p": 0, "op": 0, "g": 1, "source": "", "kind": ""}


@dataclass(frozen=True)
class Layer:
    """One layer, without bias: x [n, c_in, *in] to y [n, c_out, *L].

    >>> layer = Layer.of({"name": "tiny", "n": 1, "c_in": 8, "c_out": 4, "in": [4, 4], "k": 4, "s": 2, "p": 1})
    >>> layer.output_shape, layer.terms
    ((1, 4, 8, 8), 32)

    `spec` is the registry entry: k, s, p and op are PyTorch's kernel_size, stride, padding and output_padding, the same
    on every axis.
    """

    name: str
    source: str
    geometry: Geometry
    batch: int
    in_channels: int
    out_channels: int
    input_shape: tuple[int, ...]
    kind: str = ""
    """Name of a part of the registry, which selects all of its layers."""

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Layer:
        """Return the layer of a registry entry. Raises KeyError, TypeError or a TconvError for an invalid entry."""
        if unknown := set(spec) - {*_NEEDED, *_OPTIONAL}:
            raise KeyError(sorted(unknown)[0])
        entry = {**_OPTIONAL, **spec}
        crop = (entry["p"], entry["p"] - entry["op"])
        sizes = tuple(entry["in"])
        geometry = Geometry((entry["k"],) * len(sizes), entry["s"], (crop,) * len(sizes), 1, entry["g"])
        layer = cls(
            entry["name"], entry["source"], geometry, entry["n"], entry["c_in"], entry["c_out"], sizes, entry["kind"]
        )
        _ = layer.flops  # raises for channels that the groups do not divide, and for an empty output
        return layer

    @property
    def spec(self) -> dict[str, Any]:
        """The registry entry."""
        g, (lo, hi) = self.geometry, self.geometry.crop[0]
        numbers = {"n": self.batch, "c_in": self.in_channels, "c_out": self.out_channels, "in": list(self.input_shape)}
        shape = {"k": g.kernel[0], "s": g.stride[0], "p": lo, "op": lo - hi, "g": g.groups}
        return {"kind": self.kind, "name": self.name, "source": self.source, **numbers, **shape}

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of y: [N, C_out, *L]."""
        return (self.batch, self.out_channels, *self.geometry.output_shape(self.input_shape))

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight: [C_in, C_out/groups, *kernel]."""
        return (self.in_channels, self.out_channels // self.geometry.groups, *self.geometry.kernel)

    @property
    def terms(self) -> int:
        """Terms of the longest sum of an output element: taps of the largest phase x input channels of a group."""
        return math.prod(map(max, self.geometry.overlap)) * self.in_channels // self.geometry.groups

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 x the multiply-adds that reach the output."""
        return 2 * self.geometry.macs(self.input_shape, self.in_channels, self.out_channels, self.batch).exact

    @property
    def elements(self) -> int:
        """Numbers in x, weight and y."""
        x_shape = (self.batch, self.in_channels, *self.input_shape)
        return sum(map(math.prod, (x_shape, self.weight_shape, self.output_shape)))


def read(path: Path = REGISTRY) -> list[Layer]:
    """Return the layers of a registry file. Raises FileError for an invalid file."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["layers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f'{path} is not a registry of layers ({error!r}); a JSON object with a list under "layers" is needed. '
            'Write {"layers": [{"name": "mine", "n": 1, "c_in": 64, "c_out": 32, "in": [28, 28], "k": 2, "s": 2}]}'
        ) from None
    layers = []
    for number, entry in enumerate(entries):
        try:
            layers.append(Layer.of(entry))
        except (KeyError, TypeError, TconvError) as error:
            raise FileError(
                f"layer {number} of {path} cannot be read ({error!r}): {entry}. An entry needs {', '.join(_NEEDED)}; "
                f"{', '.join(_OPTIONAL)} are optional"
            ) from None
    return layers


def select(layers: Sequence[Layer], names: Iterable[str]) -> list[Layer]:
    """Return the layers of these names or kinds, in the registry's order; all for no name. Hyphens may replace spaces.

    Raises ArgumentError, with close matches, for an unknown name.
    """
    known = {_plain(layer.name): layer.name for layer in layers}
    kinds = {_plain(layer.kind): layer.kind for layer in layers if layer.kind}
    selected: set[str] = set()
    for name in map(_plain, names):
        if name in kinds:
            selected |= {layer.name for layer in layers if layer.kind == kinds[name]}
        else:
            selected.add(known.get(name) or known_name(name, [*known.values(), *kinds.values()], "layer"))
    return [layer for layer in layers if not selected or layer.name in selected]


def known_name(name: str, known: Sequence[str], what: str) -> str:
    """Return `name` if it is known. Raises ArgumentError with the names that are close to it otherwise.

    `what` is the kind of thing that is named, for the message.
    """
    if name in known:
        return name
    close = difflib.get_close_matches(name, known, 3, 0.5) or known[:1]
    raise ArgumentError(
        f"there is no {what} {name!r}; the {what}s are {', '.join(known)}. Write {' or '.join(map(repr, close))}"
    )


def _plain(name: str) -> str:
    return name.lower().replace("-", " ").strip()
