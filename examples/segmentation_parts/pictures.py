"""Pictures of segmentation.py: predictions and their errors, learning curves, and what training did to a kernel."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from segmentation_parts.cut_outs import CLASSES, COLOURS

WRONG = np.uint8((214, 39, 40))
LETTERS = 14
"""Pixels of the letters of a sheet, which the page shows pixel by pixel."""


def predictions(images, labels, guesses, scale=2):
    """Return a sheet, uint8 [H, W, 3]: a row for the scenes, one for the labels, and one for each network.

    images: uint8 [N, h, w, 3].
    labels: uint8 [N, h, w].
    guesses: {name of a network: predicted classes, uint8 [N, h, w]}.
    """
    rows = {"scenes": images, "labels": COLOURS[labels]}
    return _sheet({**rows, **{name: COLOURS[guess] for name, guess in guesses.items()}}, scale)


def errors(images, labels, guesses, scale=2):
    """Return the same sheet with the wrong pixels of each prediction in red over the scene in grey."""
    grey = np.repeat(images.mean(-1, keepdims=True) * 0.5 + 100, 3, -1).astype(np.uint8)
    rows = {name: np.where((guess != labels)[..., None], WRONG, grey) for name, guess in guesses.items()}
    return _sheet({"scenes": images, **rows}, scale)


def _sheet(rows, scale):
    strips = []
    for name, row in rows.items():
        strip = np.hstack(list(row)).repeat(scale, 0).repeat(scale, 1)
        title = Image.new("RGB", (strip.shape[1], LETTERS + 8), "white")
        pen = ImageDraw.Draw(title)
        pen.font = ImageFont.load_default(LETTERS)
        pen.text((2, 2), name, fill="black")
        if name == "labels":
            _legend(pen)
        strips += [np.asarray(title), strip]
    return np.vstack(strips)


def _legend(pen):
    x = 80
    for name, colour in zip(CLASSES, COLOURS, strict=True):
        pen.rectangle((x, 4, x + LETTERS, 4 + LETTERS), fill=tuple(map(int, colour)))
        pen.text((x + LETTERS + 6, 2), name, fill="black")
        x += LETTERS + 24 + int(pen.textlength(name))


def learning(curves):
    """Return a figure of the mean IoU on validation scenes: {network: {way up: [(step, value), ...] of each seed}}."""
    figure = Figure((10, 4), layout="constrained")
    for axes, (net, ups) in zip(
        figure.subplots(1, len(curves), sharey=True, squeeze=False)[0], curves.items(), strict=True
    ):
        for i, (up, seeds) in enumerate(ups.items()):
            for k, points in enumerate(seeds):
                axes.plot(*zip(*points, strict=True), color=f"C{i}", alpha=0.8, label=None if k else up)
        axes.set(title=net, xlabel="steps", ylabel="mean IoU, validation")
        axes.legend()
    return figure


def kernels(pairs, boards):
    """Return a figure with a row for each start: kernel, response and phase gains, before and after training.

    pairs: {start: (weight before, weight after)}, [classes, classes, k, k].
    boards: {start: (checkerboard before, after)} of the same weights.
    """
    figure = Figure((10, 2.3 * len(pairs)), layout="constrained")
    for cells, (start, pair) in zip(figure.subplots(len(pairs), 6, squeeze=False), pairs.items(), strict=True):
        taps = [np.einsum("iihw->hw", weight) / len(weight) for weight in pair]
        responses = [20 * np.log10(np.maximum(response_of(each), 1e-4)) for each in taps]
        gains = [np.einsum("iihw->hw", board.response) / len(board.response) for board in boards[start]]
        for at, (kind, each, limits) in enumerate(
            (
                ("kernel", taps, (-_largest(taps), _largest(taps))),
                ("response [dB]", responses, (-40, 0)),
                ("phases' gain", gains, (min(map(np.min, gains)), max(map(np.max, gains)))),
            )
        ):
            for when, values in enumerate(each):
                axes = cells[2 * at + when]
                shown = axes.imshow(values, cmap="RdBu_r" if at == 0 else "viridis", vmin=limits[0], vmax=limits[1])
                axes.set_title(f"{kind},\n{'after' if when else 'before'}", fontsize="medium")
                axes.set(xticks=[], yticks=[])
            figure.colorbar(shown, ax=cells[2 * at : 2 * at + 2], shrink=0.8)
        cells[0].set_ylabel(start)
    return figure


def response_of(taps, size=64):
    """Return the magnitude of the frequency response of taps [k, k], 1 at its largest, zero frequency in the middle."""
    magnitude = np.abs(np.fft.fftshift(np.fft.fft2(taps, (size, size))))
    return magnitude / magnitude.max()


def _largest(arrays):
    return max(float(np.abs(each).max()) for each in arrays)
