"""Draw the pictures of the README and of the loops again: `python docs/pictures.py` writes docs/images/*.png."""

from __future__ import annotations

import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

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


def padding() -> Figure:
    """What PyTorch, Keras, TensorFlow, ONNX and JAX remove from the same full result."""
    return figure_of(tconv.draw.padding((3, 3), (2, 2), stride=2))


def loops() -> Figure:
    """The loops of the direct sum: boxes in boxes, and what the registers contain in the innermost one."""
    blue, orange, green, ink = "#dbe9f6", "#fde3c8", "#dcf0d8", "#222222"
    figure = Figure(figsize=(10, 6.6))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 100), ylim=(66, 0))
    ax.axis("off")

    def box(x: float, y: float, width: float, height: float, colour: str, title: str, text: str = "") -> None:
        ax.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=ink, linewidth=0.9))
        ax.text(x + 1, y + 1, title, fontsize=10, weight="bold", va="top", color=ink)
        ax.text(x + 1, y + 3.6, text, fontsize=9, va="top", color=ink, linespacing=1.35)

    def cells(
        x: float, y: float, rows: int, columns: int, colour: str, width: float = 2.4, height: float = 2.4
    ) -> None:
        for row in range(rows):
            for column in range(columns):
                place = (x + column * width, y + row * height)
                ax.add_patch(Rectangle(place, width, height, facecolor=colour, edgecolor=ink, linewidth=0.6))

    box(1, 1, 98, 64, "white", "for each tile of positions i    tile_loop.py; threads take tiles in turn")
    box(
        3,
        5,
        94,
        6.5,
        blue,
        "pack    input_packing.py",
        "the tile's inputs into a panel [channel][row][position], zeros around them",
    )
    text = "phase r of an axis: outputs o = s*i + r; each phase has its own taps and shifts    phase_axes.py"
    box(3, 13, 94, 50.5, "white", "for each chunk of phases, for each block of up to 6 output channels", text)
    box(5, 20.5, 90, 42, "white", "for each group of vectors (lanes: neighbouring positions i)")
    title = "for each tap of the phase, for each input channel    microkernel.py, in the order of accumulation_order.py"
    text = (
        "sums[row, lane] += w[row] * panel[offset(tap) + channel*pitch + lane]      one fused multiply-add per vector"
    )
    box(7, 24.5, 86, 26.5, orange, title, text)
    cells(12, 36.5, 6, 1, blue, height=2.2)
    cells(24, 32.5, 1, 16, blue)
    cells(24, 36.5, 6, 16, green, height=2.2)
    labels = {
        (10, 35.2): "weights",
        (17.6, 43.1): "\u00d7",
        (64, 33.7): "a row of the panel, shifted by the tap",
        (64, 42.2): "sums in registers:",
        (64, 44.6): "output channels \u00d7 positions",
    }
    for (x, y), label in labels.items():
        ax.text(x, y, label, fontsize=9, va="center", color=ink)
    for column in (4, 8, 12):  # where one vector ends
        ax.plot([24 + column * 2.4] * 2, [32.5, 49.7], color=ink, linewidth=1.8)
    text = "+ bias, activation; phases interleaved: y[s*i + r] = sums[r, i]; every output is written once"
    box(7, 53, 86, 8, green, "write    epilogue.py", text)
    return figure


def figure_of(ax: Axes) -> Figure:
    assert isinstance(ax.figure, Figure)
    return ax.figure


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:  # the side-by-side picture of the default run
        subprocess.run([sys.executable, "-m", "tconv", "upsample"], cwd=folder, check=True)
        shutil.copy(Path(folder, "tconv_chelsea_x2_side_by_side.png"), IMAGES / "upsample.png")
    for draw in (scatter, padding, loops):
        write(draw.__name__, draw())


def write(name: str, figure: Figure) -> None:
    """Write a figure as a PNG of few colours, which is half as large."""
    drawn, path = BytesIO(), IMAGES / f"{name}.png"
    figure.savefig(drawn, dpi=WIDTH / figure.get_size_inches()[0], facecolor="white", format="png")
    Image.open(drawn).convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
