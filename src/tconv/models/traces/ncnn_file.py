"""Reader of ncnn's networks, a .param file with the .bin file beside it.

The weights of a transposed convolution are its answers to single ones, so that no other layer's format has to be read.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.dialects.ncnn import read_parameters
from tconv.errors import FileError
from tconv.models.readers.ncnn.param_file import ACTIVATIONS, Line, read_lines, weights_beside
from tconv.models.traces.trace import Input, LayerCall, Recorder, RunError, Trace

_PLAIN = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed", "packing_layout")


def open_network(path: Path, runtime: str) -> NcnnFile:
    """Return the network in a .param file and its .bin file. Raises FileError."""
    weights_beside(path)
    try:
        lines = read_lines(path)
    except FileError as error:
        raise FileError(f"{path} is not a network of ncnn: {error}") from None
    try:
        import ncnn
    except ImportError:
        raise FileError(f"{path.name} needs ncnn, which is not installed. Write: pip install ncnn") from None
    return NcnnFile(ncnn, path, lines)


class NcnnFile:
    """A network of layers, each a line of the .param file."""

    def __init__(self, ncnn: Any, path: Path, lines: list[Line]) -> None:
        self._ncnn, self._path, self._lines = ncnn, path, lines
        self._net = self._loaded(path.read_text())
        feeds = [line for line in lines if line.kind == "Input"]
        self.inputs = [
            Input(line.outputs[0], _shape(line), "", "first", False, tuple(_guesses(line.outputs[0], lines)))
            for line in feeds
        ]
        used = {name for line in lines for name in line.inputs}
        self._ends = [name for line in lines for name in line.outputs if name not in used]

    def _loaded(self, text: str) -> Any:
        net = self._ncnn.Net()
        net.opt.num_threads = 1
        net.opt.lightmode = False
        for name in _PLAIN:
            setattr(net.opt, f"use_{name}", False)
        if net.load_param_mem(text) or net.load_model(str(self._path.with_suffix(".bin"))):
            raise FileError(
                f"{self._path} is refused by ncnn, or {self._path.stem}.bin does not fit it. Write both again"
            )
        return net

    def _extracted(self, net: Any, feeds: dict[str, Array], names: list[str]) -> dict[str, Array]:
        extractor = net.create_extractor()
        for name, feed in feeds.items():
            whole = feed.dtype.kind in "iu"  # ncnn stores integers in the memory of floats
            stored = feed.astype(np.int32).view(np.float32) if whole else feed.astype(np.float32)
            extractor.input(name, self._ncnn.Mat(np.ascontiguousarray(stored)).clone())
        found = {}
        for name in names:
            code, mat = extractor.extract(name)
            if code:
                raise RunError(f"ncnn fails on {name!r} with {code}")
            found[name] = np.array(mat)
            del mat  # before the net that owns its memory
        return found

    def _named(self, feeds: list[Array]) -> dict[str, Array]:
        return {each.name: feed for each, feed in zip(self.inputs, feeds, strict=True)}

    def run(self, feeds: list[Array]) -> list[Array]:
        """Return the outputs of the layers that no other layer reads."""
        return list(self._extracted(self._net, self._named(feeds), self._ends).values())

    def trace(self, feeds: list[Array]) -> Trace:
        """Return outputs, steps and tensors."""
        named = self._named(feeds)
        blobs = [name for line in self._lines for name in line.outputs if line.kind != "Input"]
        values = named | self._extracted(self._net, named, blobs)
        recorder = Recorder()
        numbers = {name: recorder.tensor(feed) for name, feed in named.items()}
        plain = probe = None
        for line in self._lines:
            given = [numbers[name] for name in line.inputs if name in numbers]
            if line.kind == "Split":
                numbers.update(dict.fromkeys(line.outputs, given[0]))
                continue
            if not given:
                continue
            if not line.kind.startswith("Deconvolution"):
                outputs = [recorder.tensor(values[name]) for name in line.outputs]
                recorder.step(line.name, line.kind, given, outputs)
                numbers.update(zip(line.outputs, outputs, strict=True))
                continue
            plain = plain or self._loaded(self._text(_ACTIVATION))
            probe = probe or self._loaded(self._text(_ACTIVATION, *_CROPPING))
            (blob,) = line.outputs
            layer = self._layer(probe, line, values)
            sources = {name: values[name] for name in line.inputs}
            raw = self._extracted(plain, sources, [blob])[blob]
            activation = ACTIVATIONS[line.whole(_ACTIVATION, 0)]
            first = recorder.tensor(raw, True)
            recorder.step(line.name, line.kind, given, [first], layer)
            if activation:
                second = recorder.tensor(values[blob])
                recorder.step(line.name, activation, [first], [second])
                first = second
            numbers[blob] = first
        return recorder.finish([values[name] for name in self._ends])

    def _text(self, *without: int) -> str:
        """Return the .param file without these parameters of all transposed convolutions."""
        rows = self._path.read_text().split("\n")
        changed = []
        for row in rows:
            parts = row.split()
            if parts and parts[0].startswith("Deconvolution"):
                start = 4 + int(parts[2]) + int(parts[3])
                parts = parts[:start] + [each for each in parts[start:] if int(each.split("=")[0]) not in without]
            changed.append(" ".join(parts) if parts else row)
        return "\n".join(changed)

    def _layer(self, probe: Any, line: Line, values: dict[str, Array]) -> LayerCall:
        """Return a layer's call; its weight [C_out, C_in/groups, *kernel] from its answers to single ones."""
        x = values[line.inputs[0]]
        ndim = x.ndim - 1
        kernel, dilation, arguments = read_parameters(line.numbers, ndim)
        out, groups = line.whole(0, 0), line.whole(7, 1)
        if line.whole(28, 0):
            bias = values[line.inputs[2]] if len(line.inputs) > 2 else None
            return LayerCall("ncnn", {**arguments, "dynamic_weight": 1}, values[line.inputs[1]], bias)
        taps = tuple(slice(None, None, d) for d in dilation)

        def response(x: Array) -> Array:
            return self._extracted(probe, {line.inputs[0]: x}, list(line.outputs))[line.outputs[0]]

        silence = np.zeros((len(x), *[1] * ndim), np.float32)
        rest = response(silence)[(slice(None), *taps)]
        per_group, behind = len(x) // groups, out // groups
        weight = np.zeros((out, per_group, *kernel), np.float32)
        for channel in range(len(x)):
            one = silence.copy()
            one[channel] = 1
            group, inside = divmod(channel, per_group)
            mine = slice(group * behind, (group + 1) * behind)
            weight[mine, inside] = response(one)[(mine, *taps)] - rest[mine]
        bias = rest.reshape(out, -1)[:, 0] if line.whole(5, 0) else None
        return LayerCall("ncnn", arguments, weight, bias)


_ACTIVATION = 9
_CROPPING = (4, 14, 24, 15, 16, 17, 18, 19, 20, 21, 25, 26, 27)
"""Numbers of the parameters that crop or extend the output."""


def _guesses(name: str, lines: list[Line]) -> Iterator[tuple[int | None, ...]]:
    """Yield the shapes [1, C, *n] that convolutions need which read this input."""
    for line in lines:
        if name in line.inputs and "onvolution" in line.kind and line.whole(0, 0) and line.whole(6, 0):
            ndim = 1 if line.kind.endswith("1D") else 3 if line.kind.endswith("3D") else 2
            taps = line.whole(1, 1) * (line.whole(11, line.whole(1, 1)) if ndim > 1 else 1)
            taps *= line.whole(21, line.whole(1, 1)) if ndim > 2 else 1
            channels = line.whole(6, 0) * line.whole(7, 1) // (line.whole(0, 0) * taps)
            yield (1, channels, *[None] * ndim)
        elif name in line.inputs and line.kind == "Split":
            for output in line.outputs:
                yield from _guesses(output, lines)


def _shape(line: Line) -> tuple[int | None, ...] | None:
    """Return the shape [C, (d,) h, w] that an Input line states; None if it states none."""
    sizes = [line.whole(key, 0) for key in (2, 11, 1, 0)]
    known = list(itertools.dropwhile(lambda size: size == 0, (size for size in sizes if size)))
    return tuple(known) if line.numbers and all(sizes[2:]) else None
