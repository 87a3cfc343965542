"""Draw the pictures of the README again: `python docs/pictures.py` writes docs/images/*.png."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import tconv

IMAGES = Path(__file__).parent / "images"
X = K = [[0, 1], [2, 3]]
WIDTH = 1600  # pixels: twice what a README shows, for screens of high resolution
HEAD = 0.15  # inches above each figure for its title


def scatter() -> Figure:
    """The textbook's two figures, stride 1 above stride 2, their cells equally large."""
    strides = (1, 2)
    sizes = [figure_of(tconv.draw.scatter(X, K, stride=stride)).get_size_inches() for stride in strides]
    width, height = max(w for w, _ in sizes), sum(h + HEAD for _, h in sizes)
    figure = Figure(figsize=(width, height))
    bottom = height
    for stride, (w, h) in zip(strides, sizes, strict=True):
        bottom -= h + HEAD
        ax = figure.add_axes((0, bottom / height, w / width, h / height))
        tconv.draw.scatter(X, K, stride=stride, ax=ax)
        ax.text(0.5, 0.35, f"stride {stride}", fontsize=12, weight="bold", va="center_baseline")
    return figure


def matrix() -> Figure:
    """The textbook's 4 x 9 matrix and its transpose."""
    return figure_of(tconv.draw.matrix([[1, 2], [3, 4]], (2, 2)))


def checkerboard() -> Figure:
    """What random weights with a kernel of twice the stride make of a constant input, and what they make mended."""
    w = np.random.default_rng(0).standard_normal((64, 32, 4, 4))
    before = tconv.checkerboard(w, stride=2, padding=1)
    after = tconv.checkerboard(tconv.artifacts.equalise(w, stride=2, padding=1), stride=2, padding=1)
    return figure_of(before.draw(after))


def figure_of(ax: Axes) -> Figure:
    assert isinstance(ax.figure, Figure)
    return ax.figure


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:  # the side-by-side picture of the default run
        subprocess.run([sys.executable, "-m", "tconv", "upsample"], cwd=folder, check=True)
        shutil.copy(Path(folder, "tconv_chelsea_x2_side_by_side.png"), IMAGES / "upsample.png")
    for draw in (scatter, matrix, checkerboard):
        figure = draw()
        path = IMAGES / f"{draw.__name__}.png"
        # no Software entry: the same picture is the same file, whatever the version of matplotlib
        figure.savefig(path, dpi=WIDTH / figure.get_size_inches()[0], facecolor="white", metadata={"Software": None})
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
