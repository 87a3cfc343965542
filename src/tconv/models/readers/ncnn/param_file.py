"""Lines of ncnn's .param files: a text with one layer in each line.

A file has a magic number, the counts of layers and blobs, and a line for each layer: type, name, numbers of inputs and
outputs, their names, and parameters as key=value (arrays: -23300-key=length,values).
Source: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tconv._arguments import shown
from tconv.errors import FileError

_MAGIC = "7767517"
_ARRAY = -23300
_MOST_BYTES = 64 << 20  # of a .param file, far above that of any network
ACTIVATIONS = ("", "relu", "leaky_relu", "clip", "sigmoid", "mish", "hardswish")
"""Activations that convolutions include, by their numbers."""


class Line(NamedTuple):
    """One layer: a line of a .param file."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    numbers: dict[int, float]
    lists: dict[int, list[float]]

    def whole(self, key: int, usual: int, least: int | None = None) -> int:
        """Return the integer of a key. Raises FileError for a fraction, or a number below `least`."""
        given = self.numbers.get(key, usual)
        if not float(given).is_integer():
            raise FileError(f"{self.name} has {key}={given:g}; an integer is needed")
        if least is not None and given < least:
            raise FileError(f"{self.name} has {key}={given:g}; at least {least} is needed")
        return int(given)

    def wholes(self, key: int) -> list[int]:
        """Return the integers of an array, empty without one. Raises FileError for a fraction."""
        given = self.lists.get(key, [])
        if not all(float(number).is_integer() for number in given):
            raise FileError(f"{self.name} has {_ARRAY - key}={given}; integers are needed")
        return [int(number) for number in given]

    def number(self, key: int, usual: float) -> float:
        """Return the number of a key, rounded to float32 as ncnn does. Raises FileError for inf and NaN."""
        given = np.float32(self.numbers.get(key, usual))
        if not np.isfinite(given):
            raise FileError(f"{self.name} has {key}={given}; a finite number is needed")
        return float(given)


def weights_beside(path: Path) -> Path:
    """Return the .bin file beside a .param file. Raises FileError if there is none."""
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise FileError(f"{path} needs {weights.name} beside it, which does not exist. Put both into one directory")
    return weights


def read_lines(path: Path) -> list[Line]:
    """Return the layers of a .param file. Raises FileError, OSError."""
    if path.stat().st_size > _MOST_BYTES:
        raise FileError(f"it has {path.stat().st_size} bytes, more than the lines of a network")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"it is not text: byte {error.start} is not valid UTF-8") from None
    rows = [row.split() for row in text.splitlines() if row.strip()]
    if not rows or rows[0] != [_MAGIC]:
        raise FileError(f"it does not begin with {_MAGIC}, as ncnn's text files do")
    if len(rows) < 3 or len(rows[1]) != 2 or not rows[1][0].isdecimal():
        raise FileError("it breaks off, or its second line is not two numbers, of layers and blobs")
    if int(rows[1][0]) != len(rows) - 2:
        raise FileError(f"its second line states {rows[1][0]} layers, and it has {len(rows) - 2}")
    return [_line(row) for row in rows[2:]]


def _line(row: list[str]) -> Line:
    numbers: dict[int, float] = {}
    lists: dict[int, list[float]] = {}
    try:
        kind, name, inputs, outputs = row[0], row[1], int(row[2]), int(row[3])
        ends = 4 + inputs, 4 + inputs + outputs
        if min(inputs, outputs) < 0 or ends[1] > len(row):
            raise ValueError
        for entry in row[ends[1] :]:
            key, value = entry.split("=")
            if int(key) <= _ARRAY:
                length, *parts = value.split(",")
                if int(length) != len(parts):
                    raise ValueError
                lists[_ARRAY - int(key)] = [float(part) for part in parts]
            else:
                numbers[int(key)] = float(value)
    except (ValueError, IndexError):
        fields = "type, name, the numbers of inputs and outputs, their names, and key=value"
        raise FileError(f"its line {shown(' '.join(row))} is not a layer; {fields} are needed") from None
    return Line(kind, name, row[4 : ends[0]], row[ends[0] : ends[1]], numbers, lists)
