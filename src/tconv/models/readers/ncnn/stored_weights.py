"""Places of all weights in ncnn's .bin files: layer after layer, as the layers of the .param file need them.

There is no table of contents, so the reader has to know what each kind of layer stores. A weight with a tag in front
may be float32, float16, int8, or one byte per number that selects one of 256 float32; a bias has no tag and is float32.
Sources: `load_model` of each layer in https://github.com/Tencent/ncnn/tree/master/src/layer, and src/modelbin.cpp
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError

FLOAT16, INT8, FLOAT32 = 0x01306B47, 0x000D4B38, 0x0002C056
_TABLE = 256
_MOST_LEVELS = 1 << 16
"""Tags from 1 to this mean a table: converters write 1, or the number of its entries; other ones are no tags."""
_MOST = 1 << 40


class Numbers(Protocol):
    """Line of a .param file."""

    @property
    def kind(self) -> str:
        """Kind of the layer."""
        ...

    @property
    def name(self) -> str:
        """Name of the layer."""
        ...

    def whole(self, key: int, usual: int, least: int | None = None) -> int:
        """Return the integer of a key."""
        ...


Need = tuple[str, int, bool]
"""Role, count, and True for numbers with a tag in front."""


@dataclass(frozen=True)
class Section:
    """Numbers in a .bin file."""

    data: Any
    start: int
    """Place of the first number, behind the tag."""
    count: int
    tag: int
    """Tag in front of them, 0 without one."""

    @property
    def dtype(self) -> str:
        """Type of the numbers in the file."""
        names = {0: "float32", FLOAT32: "float32", FLOAT16: "float16", INT8: "int8"}
        return names.get(self.tag, "uint8")

    @property
    def nbytes(self) -> int:
        """Bytes in the file, without tag and padding."""
        table = 4 * _TABLE if self.dtype == "uint8" else 0
        return table + self.count * np.dtype(self.dtype).itemsize

    @property
    def end(self) -> int:
        """Place behind them and their padding to whole words."""
        return self.start + -(-self.nbytes // 4) * 4

    def read(self) -> Array:
        """Return the numbers: float32 and int8 as they are stored, others as float32."""
        if self.dtype == "uint8":
            table = np.frombuffer(self.data, "<f4", _TABLE, self.start)
            values: Array = table[np.frombuffer(self.data, np.uint8, self.count, self.start + 4 * _TABLE)]
            return values
        stored = np.frombuffer(self.data, np.dtype(self.dtype).newbyteorder("<"), self.count, self.start)
        return stored if self.dtype == "int8" else stored.astype(np.float32)


class Blob:
    """A .bin file, whose sections are found one after another."""

    def __init__(self, data: Any, name: str = "its .bin file") -> None:
        self._data, self._at, self._name = data, 0, name

    @property
    def left(self) -> int:
        """Bytes that no layer has taken."""
        return len(self._data) - self._at

    def refuse_cut_off(self, lines: Iterable[Numbers]) -> None:
        """Raise FileError if all layers need more bytes than there are; those beyond the end count as int8."""
        at = 0
        for line in lines:
            try:
                for role, count, tagged in needs(line):
                    at = self._section_at(at, line, role, count, tagged).end
            except FileError:  # whoever reads this layer says why
                break
        if at > len(self._data):
            raise self._cut_off(at)

    def take(self, line: Numbers) -> dict[str, Section]:
        """Return the sections of the next layer by their roles. Raises FileError, UnknownLayerError."""
        taken = {}
        for role, count, tagged in needs(line):
            taken[role] = section = self._section_at(self._at, line, role, count, tagged)
            if section.end > len(self._data):
                raise self._cut_off(section.end)
            if any(self._data[section.start + section.nbytes : section.end]):
                raise self._other(f"numbers behind the {role} of {line.name}, where zeros are needed")
            self._at = section.end
        return taken

    def _section_at(self, at: int, line: Numbers, role: str, count: int, tagged: bool) -> Section:
        if not tagged:
            return Section(self._data, at, count, 0)
        stored = bytes(self._data[at : at + 4])
        tag = int.from_bytes(stored, "little") if len(stored) == 4 else INT8
        if tag > _MOST_LEVELS and tag not in (FLOAT16, INT8, FLOAT32):
            raise self._other(f"{tag:#010x} where the type of the {role} of {line.name} is needed")
        return Section(self._data, at + 4, count, tag)

    def _cut_off(self, needed: int) -> FileError:
        return FileError(
            f"{self._name} has {len(self._data):,} bytes, and its layers need at least {needed:,}: it is cut off, or "
            "of another network. Download it again"
        )

    def _other(self, found: str) -> FileError:
        return FileError(f"{self._name} has {found}: it is damaged, or of another network. Download it again")

    def refuse_rest(self) -> None:
        """Raise FileError for bytes that no layer has taken."""
        if self.left:
            raise FileError(
                f"{self._name} has {len(self._data):,} bytes, and its layers take {self._at:,}: it is of another "
                "network, or damaged. Download both files again"
            )


class UnknownLayerError(FileError):
    """A layer of which it is not known what it stores."""


def needs(line: Numbers) -> list[Need]:
    """Return what a layer stores, in order. Raises UnknownLayerError, FileError for counts that no file has."""
    if line.kind in _WITHOUT:
        return []
    if line.kind not in _STORED:
        raise UnknownLayerError(f"{line.name} is a {line.kind}, and it is not known what such a layer stores")
    found = list(_STORED[line.kind](line))
    for role, count, _ in found:
        if not 0 <= count <= _MOST:
            raise FileError(f"{line.name} has {count} numbers as its {role}; from 0 up are needed")
    return [need for need in found if need[1]]


def _unknown(line: Numbers, text: str) -> UnknownLayerError:
    return UnknownLayerError(f"{line.name} is a {line.kind} with {text}, and it is not known what such a layer stores")


def _plain(*roles_and_keys: tuple[str, int, int]) -> Callable[[Numbers], Iterator[Need]]:
    """Return the rule of a layer that stores float32: (role, key of the count, its default)."""

    def rule(line: Numbers) -> Iterator[Need]:
        for role, key, usual in roles_and_keys:
            yield role, line.whole(key, usual), False

    return rule


def _affine(size: int, flag: int, *roles: str) -> Callable[[Numbers], Iterator[Need]]:
    def rule(line: Numbers) -> Iterator[Need]:
        if line.whole(flag, 1):
            for role in roles:
                yield role, line.whole(size, 0), False

    return rule


def _convolution(line: Numbers) -> Iterator[Need]:
    transposed = line.kind.startswith("Deconvolution")
    if line.whole(28 if transposed else 19, 0) and not line.kind.endswith("3D"):
        return
    out, term = line.whole(0, 0), 0 if transposed else line.whole(8, 0)
    yield "weight", line.whole(6, 0), True
    if line.whole(5, 0):
        yield "bias", out, False
    if not term:
        return
    if line.kind not in ("Convolution", "ConvolutionDepthWise"):
        raise _unknown(line, f"8={term}")
    each = out if line.kind == "Convolution" else line.whole(7, 1) if term in (1, 101) else 1
    yield "weight scales", each, False
    yield "input scale", 1, False
    if term > 100:
        yield "output scale", 1, False


def _deformable(line: Numbers) -> Iterator[Need]:
    yield "weight", line.whole(6, 0), True
    if line.whole(5, 0):
        yield "bias", line.whole(0, 0), False


def _dense(weight: int, bias: int, term: int, scales: int | None) -> Callable[[Numbers], Iterator[Need]]:
    """Return the rule of InnerProduct and Embed: keys of the weight's count, the bias flag and the quantization."""

    def rule(line: Numbers) -> Iterator[Need]:
        quantized = line.whole(term, 0)
        if quantized >= 400:
            raise _unknown(line, f"{term}={quantized}")
        yield "weight", line.whole(weight, 0), True
        if line.whole(bias, 0):
            yield "bias", line.whole(0, 0), False
        if quantized:
            yield "weight scales", 1 if scales is None else line.whole(scales, 0), False
            if scales is not None:
                yield "input scale", 1, False

    return rule


def _recurrent(gates: int, biases: int) -> Callable[[Numbers], Iterator[Need]]:
    def rule(line: Numbers) -> Iterator[Need]:
        out, ways = line.whole(0, 0, least=1), 2 if line.whole(2, 0) == 2 else 1
        hidden = line.whole(3, out, least=1) if gates == 4 else out
        if (term := line.whole(8, 0)) >= 400:
            raise _unknown(line, f"8={term}")
        size = line.whole(1, 0) // ways // hidden // gates
        yield "weight_xc", size * hidden * gates * ways, True
        yield "bias_c", hidden * biases * ways, True
        yield "weight_hc", out * hidden * gates * ways, True
        if hidden != out:
            yield "weight_hr", hidden * out * ways, True
        if term:
            yield "weight_xc scales", hidden * gates * ways, False
            yield "weight_hc scales", hidden * gates * ways, False

    return rule


def _memory_data(line: Numbers) -> Iterator[Need]:
    w, h, c, d = (line.whole(key, 0, least=0) for key in (0, 1, 2, 11))
    sizes = (w, h, d, c) if d else (w, h, c) if c else (w, h) if h else (w,)
    count = 1
    for size in sizes:
        count *= size
    kind = line.whole(21, 1)
    if kind not in (0, 1):
        raise _unknown(line, f"21={kind}")
    yield "data", count, kind == 0


def _blocks(term: int) -> tuple[int, int, bool] | None:
    """Return bits, size of a block, and True for scales of the input; None for another quantization."""
    bits, code, block = term // 100, term % 100 // 10, term % 10
    return (bits, (32, 64, 128)[block], code == 1) if bits in (4, 6, 8) and code < 2 and block < 3 else None


def _attention(line: Numbers) -> Iterator[Need]:
    dim, term = line.whole(0, 0, least=1), line.whole(18, 0)
    sizes = {"q": line.whole(2, 0) // dim, "k": line.whole(3, dim), "v": line.whole(4, dim), "out": dim}
    blocks = _blocks(term)
    rows = {**dict.fromkeys("qkv", dim), "out": sizes["q"]}
    for role, size in sizes.items():
        width = size if blocks is None else -(-size * blocks[0] // 8)
        yield f"{role} weight", rows[role] * width, True
        yield f"{role} bias", rows[role], False
    if blocks is not None:
        for role, size in sizes.items():
            yield f"{role} scales", -(-size // blocks[1]) * rows[role], False
        for role, size in sizes.items():
            if blocks[2]:
                yield f"{role} input scales", size, False
    elif term:
        for role in sizes:
            yield f"{role} scales", 1 if role == "out" else dim, False


def _gemm(line: Numbers) -> Iterator[Need]:
    m, n, k, term = (line.whole(key, 0) for key in (7, 8, 9, 18))
    a, b, c = (line.whole(key, 0) == 1 for key in (4, 5, 6))
    blocks = _blocks(term)
    if a:
        yield "A", m * k, True
    if b:
        yield "B", n * (k if blocks is None or not line.whole(3, 0) else -(-k * blocks[0] // 8)), True
    if c and (kind := line.whole(10, 0)) != -1:
        yield "C", {0: 1, 1: m, 2: m, 3: m * n, 4: n}.get(kind, 0), True
    if blocks is not None:
        yield "B scales", -(-k // blocks[1]) * n, False
        if blocks[2]:
            yield "B input scales", k, False
    elif term:
        yield "A scales", m if a else 0, False
        yield "B scale", 1 if b else 0, False


def _scale(line: Numbers) -> Iterator[Need]:
    count = line.whole(0, 0)
    if count != -233:
        yield "scale", count, False
    if line.whole(1, 0):
        yield "bias", count, False


_KINDS = [f"{kind}{ndim}" for kind in ("Convolution", "ConvolutionDepthWise") for ndim in ("", "1D", "3D")]
_STORED: dict[str, Callable[[Any], Iterator[Need]]] = {
    **dict.fromkeys(_KINDS, _convolution),
    **dict.fromkeys((kind.replace("Conv", "Deconv") for kind in _KINDS), _convolution),
    "DeformableConv2D": _deformable,
    "BatchNorm": _plain(("scale", 0, 0), ("mean", 0, 0), ("var", 0, 0), ("B", 0, 0)),
    "Bias": _plain(("bias", 0, 0)),
    "InnerProduct": _dense(2, 1, 8, 0),
    "Embed": _dense(3, 2, 18, None),
    "GroupNorm": _affine(1, 3, "gamma", "beta"),
    "InstanceNorm": _affine(0, 2, "gamma", "beta"),
    "LayerNorm": _affine(0, 2, "gamma", "beta"),
    "RMSNorm": _affine(0, 2, "gamma"),
    "LSTM": _recurrent(4, 4),
    "GRU": _recurrent(3, 4),
    "RNN": _recurrent(1, 1),
    "MemoryData": _memory_data,
    "MultiHeadAttention": _attention,
    "Gemm": _gemm,
    "Normalize": _plain(("scale", 3, 0)),
    "Padding": _plain(("values", 6, 0)),
    "PReLU": _plain(("slope", 0, 0)),
    "Quantize": _plain(("scale", 0, 1)),
    "Dequantize": _plain(("scale", 0, 1), ("bias", 1, 0)),
    "Requantize": _plain(("input scale", 0, 1), ("output scale", 1, 1), ("bias", 2, 0)),
    "Scale": _scale,
}
"""Rules of the layers that store numbers."""

_NAMES = """
    AbsVal ArgMax BNLL BinaryOp CELU Cast Clip Concat CopyTo Crop CumulativeSum DeepCopy DetectionOutput Diag Dropout
    ELU Einsum Eltwise Erf Exp ExpandDims Flatten Flip Fold GELU GLU GridSample HardSigmoid HardSwish Input Interp
    InverseSpectrogram LRN Log MVN MatMul Mish Noop PSROIPooling Packing Permute PixelShuffle Pooling Pooling1D
    Pooling3D Power PriorBox Proposal ROIAlign ROIPooling ReLU Reduction Reorg Reshape RotaryEmbed SDPA SELU SPP Shrink
    ShuffleChannel Sigmoid Slice Softmax Softplus Spectrogram Split Squeeze StatisticsPooling Swish TanH Threshold Tile
    UnaryOp Unfold YoloDetectionOutput Yolov3DetectionOutput
"""
_WITHOUT = frozenset(_NAMES.split())
"""Layers that store nothing."""
