"""Scenes for semantic segmentation: photographs that were cut out by hand, laid over photographs of scenery.

Debian's package tuxpaint-stamps-default (GPL-2) has photographs of animals, plants, food and vehicles with a hand-cut
outline as their alpha channel. A scene shows a few of them, turned, mirrored, scaled, lit anew and partly hidden by one
another, with blur and noise; so the label of every pixel is known. Thin legs, small things and rare classes are in it.
"""

from __future__ import annotations

import functools
import multiprocessing
import re
import sys
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter
from rich.progress import track
from shared_parts.debian_packages import fetch
from shared_parts.picture_files import opened, path_of, read
from shared_parts.report import replacing

STAMPS, STAMPS_FOLDER = "tuxpaint-stamps-default", "usr/share/tuxpaint/stamps"
CLASSES = {
    "background": [],
    "mammal": ["animals/mammals", "animals/marsupials"],
    "bird": ["animals/birds"],
    "fruit": ["food/fruit", "food/vegetables", "food/nuts"],
    "flower": ["plants/flowers"],
    "vehicle": ["vehicles", "military/vehicles"],
}
"""Each class and the folders of its cut-outs. The number of a class is its place; "fruit" has vegetables and nuts."""
COLOURS = np.uint8([(34, 34, 34), (230, 159, 0), (86, 180, 233), (204, 121, 167), (240, 228, 66), (0, 158, 115)])
"""The colour of each class in pictures: Okabe and Ito's, which remain apart for the colour-blind."""
NO_PHOTOGRAPH = {
    *("cartoon", "toys", "7spoke256", "wheel_tractor", "bee", "hedgehog", "walnut_shelled"),
    *("sedan_police", "sedan_police_mirror", "dumper_mirror", "bradley_mirror"),
}
"""Folders and stems left out: drawings, toys, wheels without a car, cars that lack most pixels, mirrored twins."""
SCENERY = {
    ("lomiri-wallpapers-16.04", "usr/share/backgrounds"): [
        *("Bridge_by_Sander_Klootwijk.jpg", "Picture_1A_by_freespace.jpg", "Wine_by_Jakkub_Mede.jpg"),
        *("aitzgorri_by_Aitzol_Berasategi.jpg", "greentock_by_Peter_Nerlich.jpg", "life_by_Aitzol_Berasategi.jpg"),
        *("picosdeeuropa_by_Aitzol_Berasategi.jpg", "sunset_by_Aitzol_Berasategi.jpg"),
    ],
    ("mate-backgrounds", "usr/share/backgrounds/mate/nature"): [
        *("Aqua.jpg", "Blinds.jpg", "Dune.jpg", "GreenMeadow.jpg", "RainDrops.jpg", "Storm.jpg", "Wood.jpg"),
    ],
    ("plasma-workspace-wallpapers", "usr/share/wallpapers"): [
        f"{name}/contents/images/2560x1600.jpg"
        for name in ("BytheWater", "ColdRipple", "ColorfulCups", "FallenLeaf", "Grey", "OneStandsOut", "Path")
    ],
    ("palapeli-data", "usr/share/palapeli/collection"): ["castle-maintenon.jpg", "cincinnati-bridge.jpg"],
    ("scikit-image", ""): [
        *(
            "brick.png",
            "grass.png",
            "gravel.png",
            "coffee.png",
            "clock_motion.png",
            "coins.png",
            "moon.png",
            "page.png",
        ),
        *("hubble_deep_field.jpg", "ihc.png"),
    ],
    ("scikit-learn", ""): ["china.jpg"],
}
"""Photographs in which no class is to be seen.

super_resolution_parts/photographs.py names the authors and licences of most of them.
"""
CUT_OUTS = 191
"""Photographs of these classes in version 2022.06.04 of the package."""
PACKAGES = [STAMPS, *(package for package, _ in SCENERY if not package.startswith("scikit"))]
SPLITS = ("training", "validation", "held-out")
_SPLIT_OF_PLACE = (0, 2, 0, 0, 1, 0, 2, 0)
"""The split of every eighth group of files, in the order of a checksum of their names: 5 of 8 are for training."""
_GROUP = re.compile(r"flower\d+|[a-z]*")
"""The part of a file's name that names its group."""
LONGER_SIDE, SCENERY_SIDE = 112, 640
"""Pixels of the longer side of a cut-out and of a photograph in the cache."""
CACHE = Path.home() / ".cache" / "tconv" / "cut-outs"


class Split(NamedTuple):
    """Cut-outs, uint8 [h, w, 4] with red, green, blue and alpha; the class of each; scenery, uint8 [h, w, 3]."""

    pictures: list[np.ndarray]
    classes: list[int]
    scenery: list[np.ndarray]


# -- the packages ----------------------------------------------------------------------------------------------------


def cut_out_files(packages):
    """Return [(path relative to the stamps, class)] of the photographs that were cut out, in a fixed order."""
    root = Path(packages) / STAMPS / STAMPS_FOLDER
    if not root.is_dir():
        line = f"apt-get download {STAMPS} && dpkg-deb -x {STAMPS}_*.deb {packages}/{STAMPS}"
        raise SystemExit(f"{root} does not exist. Write: {line}")
    found = []
    for label, folders in enumerate(CLASSES.values()):
        for path in sorted(path for folder in folders for path in (root / folder).rglob("*.png")):
            name = path.relative_to(root)
            if not NO_PHOTOGRAPH & {*name.parts[:-1], path.stem}:
                found.append((name.as_posix(), label))
    return found


def group_of(name):
    """Return the name that near-duplicates share: gnu-baby.png and gnu-stand.png are both of "gnu"."""
    path = Path(name)
    stem = (path.parts[0] if "contents" in path.parts else path.stem).lower()
    return _GROUP.match(stem)[0] or stem


def split_of(names):
    """Return the number of the split of each name. Names of one group stay together."""
    groups = sorted({group_of(name) for name in names}, key=lambda group: (zlib.crc32(group.encode()), group))
    places = {group: _SPLIT_OF_PLACE[i % len(_SPLIT_OF_PLACE)] for i, group in enumerate(groups)}
    return [places[group_of(name)] for name in names]


# -- the cache -------------------------------------------------------------------------------------------------------


def load(packages=None, cache=CACHE):
    """Return {split: Split} of all cut-outs and scenery, shrunk once and kept as a file in the folder `cache`.

    `packages` is a folder of unpacked Debian packages; without it they are fetched.
    """
    path = Path(cache) / "cut-outs.npz"
    arrays = _read(path)
    if arrays is None or list(arrays.get("about", [])) != _about():
        arrays = _collect(fetch(PACKAGES) if packages is None else packages)
        _write(path, arrays)
    _compare(path, len(arrays["classes"]))
    splits = {}
    pictures, scenery = (_unpack(arrays, kind) for kind in ("pictures", "scenery"))
    for number, name in enumerate(SPLITS):
        mine = np.flatnonzero(arrays["pictures_split"] == number)
        behind = np.flatnonzero(arrays["scenery_split"] == number)
        classes = [int(label) for label in arrays["classes"][mine]]
        splits[name] = Split([pictures[i] for i in mine], classes, [scenery[i] for i in behind])
    return splits


@functools.cache
def _compare(path, count):
    """Say once if there are other cut-outs than in the version of the package that kept numbers are of."""
    if count != CUT_OUTS and multiprocessing.parent_process() is None:
        print(
            f"{path} has {count} cut-outs; {STAMPS} 2022.06.04 has {CUT_OUTS}. The package is another version, or only "
            "partly unpacked, and the numbers will be others. Unpack it again, and delete that file",
            file=sys.stderr,
        )


def _about():
    """Return what decides the content of the cache file, as text."""
    sizes, choices = f"{LONGER_SIDE} {SCENERY_SIDE}", f"{sorted(NO_PHOTOGRAPH)} {_SPLIT_OF_PLACE} {_GROUP.pattern}"
    return [f"{sizes} {choices} {SCENERY}", *(f"{name}: {folders}" for name, folders in CLASSES.items())]


def _collect(packages):
    """Return the arrays of the cache file: every picture in one flat array, shapes, classes, splits and names."""
    files, pictures = cut_out_files(packages), []
    for name, _ in files:
        with opened(Path(packages) / STAMPS / STAMPS_FOLDER / name) as picture:
            picture = picture.convert("RGBA")
            picture = picture.crop(picture.getchannel("A").getbbox())
            picture.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
            pictures.append(np.asarray(picture))
    names, scenery = [], []
    for (package, folder), photographs in SCENERY.items():
        for file in photographs:
            path = path_of(package, file, packages, folder)
            with opened(path) as picture:
                factor = min(1, SCENERY_SIDE / max(picture.size))
            names.append(file)
            scenery.append(read(path, factor))
    stamps = [name for name, _ in files]
    labels = np.array([label for _, label in files])
    split = np.empty(len(stamps), np.int64)
    for label in np.unique(labels):  # each class is divided by itself, so that none is missing anywhere
        mine = np.flatnonzero(labels == label)
        split[mine] = split_of([stamps[i] for i in mine])
    return {
        **_pack(pictures, "pictures"),
        **_pack(scenery, "scenery"),
        "classes": labels,
        "pictures_split": split,
        "scenery_split": np.array(split_of(names)),
        "names": np.array([*stamps, *names]),
        "about": np.array(_about()),
    }


def _pack(pictures, kind):
    shapes = np.array([picture.shape for picture in pictures])
    return {f"{kind}_shapes": shapes, kind: np.concatenate([picture.ravel() for picture in pictures])}


def _unpack(arrays, kind):
    shapes, flat = arrays[f"{kind}_shapes"], arrays[kind]
    ends = np.cumsum(shapes.prod(1))
    return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]


def _write(path, arrays):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"{path.parent} cannot be used: {error.strerror}. Write another --cache FOLDER") from None
    with replacing(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)


def _read(path):
    """Return the arrays of a cache file; None if there is none, or if a checksum says that it is damaged."""
    if not path.exists():
        return None
    with suppress(zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, KeyError), np.load(path) as file:
        return {name: file[name] for name in file.files}
    print(f"{path} is damaged, and is made again", file=sys.stderr)
    return None


# -- scenes ----------------------------------------------------------------------------------------------------------


def scene(split, seed, index, size=96):
    """Return scene `index` of a seed: uint8 [size, size, 3], and the class of each pixel, uint8 [size, size].

    A class is drawn by the root of the number of its cut-outs: the rare ones are rare in the scenes, too.
    """
    rng = np.random.default_rng([seed, index])
    image = _light(rng, _crop(rng, split.scenery[rng.integers(len(split.scenery))], size), 0.2)
    labels = np.zeros((size, size), np.uint8)
    present, counts = np.unique(split.classes, return_counts=True)
    for _ in range(rng.integers(2, 6)):
        label = rng.choice(present, p=np.sqrt(counts) / np.sqrt(counts).sum())
        i = rng.choice(np.flatnonzero(np.equal(split.classes, label)))
        _paste(rng, image, labels, split.pictures[i], label)
    picture = Image.fromarray(np.rint(np.clip(image, 0, 255)).astype(np.uint8))
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.7)))
    noisy = np.asarray(picture) + rng.uniform(0, 8) * rng.standard_normal((size, size, 3), np.float32)
    return np.rint(np.clip(noisy, 0, 255)).astype(np.uint8), labels


def scenes(split, seed, count, size=96, start=0, watch=iter):
    """Return `count` scenes of a seed from `start` on: uint8 [N, size, size, 3], and uint8 labels [N, size, size].

    `watch` passes the numbers of the scenes on, as a progress bar does.
    """
    images = np.empty((count, size, size, 3), np.uint8)
    labels = np.empty((count, size, size), np.uint8)
    for i in watch(range(count)):
        images[i], labels[i] = scene(split, seed, start + i, size)
    return images, labels


def pool(splits, name, seed, count, size=96, cache=CACHE):
    """Return `count` scenes of the split `name`, from a file in the folder `cache` that is written once."""
    split = splits[name]
    drawn_from = zlib.crc32(b"".join(picture.tobytes() for picture in (*split.pictures, *split.scenery)))
    path = Path(cache) / f"scenes-{name}-{seed}-{count}x{size}-{drawn_from:08x}.npz"
    arrays = _read(path)
    if arrays is None:
        watch = functools.partial(track, description=f"drawing {name} scenes, once", transient=True)
        images, labels = scenes(split, seed, count, size, watch=watch)
        arrays = {"images": images, "labels": labels}
        _write(path, arrays)
    return arrays["images"], arrays["labels"]


def _crop(rng, picture, size):
    """Return a random square of a photograph at a random scale, turned and mirrored, float32 [size, size, 3]."""
    height, width = picture.shape[:2]
    side = int(rng.uniform(0.3, 1) * min(height, width))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    square = Image.fromarray(picture[y : y + side, x : x + side]).resize((size, size), Image.Resampling.BILINEAR)
    square = np.rot90(np.asarray(square, np.float32), rng.integers(4))
    return square[:, ::-1] if rng.integers(2) else square


def _light(rng, colour, strength):
    """Return colours in [0, 255] under another light: a gain, a gain of each channel, and a gamma."""
    gain = np.exp(rng.normal(0, strength) + rng.normal(0, strength / 3, 3)).astype(np.float32)
    gamma = np.exp(rng.normal(0, strength))
    return np.clip(255 * (colour / 255) ** np.float32(gamma) * gain, 0, 255)


def _paste(rng, image, labels, cut_out, label):
    """Lay a cut-out over the scene, in place. A pixel is its class where it covers half of it or more."""
    size = len(labels)
    longer = size * np.exp(rng.uniform(np.log(0.25), np.log(0.8)))
    stretch = np.exp(rng.normal(0, 0.08, 2)) * longer / max(cut_out.shape)
    height, width = (max(3, round(n * s)) for n, s in zip(cut_out.shape, stretch, strict=False))
    picture = Image.fromarray(cut_out[:, ::-1] if rng.integers(2) else cut_out)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    picture = picture.rotate(rng.uniform(-30, 30), Image.Resampling.BICUBIC, expand=True)
    pixels = np.asarray(picture, np.float32)
    y, x = (int(rng.integers(size) - n // 2) for n in pixels.shape[:2])
    top, left = max(0, y), max(0, x)
    pixels = pixels[top - y : size - y, left - x : size - x]
    here = np.s_[top : top + len(pixels), left : left + pixels.shape[1]]
    alpha = pixels[..., 3:] / 255
    image[here] = image[here] * (1 - alpha) + _light(rng, pixels[..., :3], 0.2) * alpha
    labels[here][alpha[..., 0] >= 0.5] = label
