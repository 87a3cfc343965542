"""The page of `generation.py`: its table, figures and words, from the runs' figures and pictures."""

from __future__ import annotations

import math
import re

import numpy as np
from matplotlib.figure import Figure
from shared_parts.intervals import interval

from generation_parts.adversaries import STARTS
from generation_parts.scores import spectrum


def tiles(pictures, columns, zoom=3):
    """Return pictures [N, 32, 32] side by side, in rows of `columns`, each pixel as zoom x zoom."""
    rows = [np.concatenate(list(row), 1) for row in np.split(pictures, len(pictures) // columns)]
    return np.concatenate(rows).repeat(zoom, 0).repeat(zoom, 1)


def shown(values, form):
    """Return the mean of the runs' values, with half of its 95% interval by Student's t if there are several."""
    mean, half = interval(values)
    return f"{mean:{form}}" + ("" if math.isnan(half) else f" ± {half:{form}}")


COLUMNS = {
    "Fréchet distance": (lambda figures: figures["distance"], ".1f"),
    "last layer's weights, %": (lambda figures: 100 * figures["weights"][2], ".1f"),
    "all layers' weights, %": (lambda figures: 100 * figures["weights"][3], ".1f"),
    "pictures' energy, %": (lambda figures: 100 * figures["pattern 2"], ".2f"),
    "peaks, period 2": (lambda figures: figures["peaks 2"], ".2f"),
    "peaks, period 8": (lambda figures: figures["peaks 8"], ".2f"),
}
"""Columns of the table of starts: the figure, and its form."""


def unsigned_zeros(text):
    """Return a text without the sign of each number that is rounded to 0."""
    return re.sub(r"-(0\.?0*)(?![\d.])", r"\1", text)


def table_of(runs, ends):
    """Return the table of the starts: before training, and after it with the 95% interval of the runs.

    ends: Figures of real pictures and of noise, between which those of the starts are expected.
    """
    rows = []
    for name, found in runs.items():
        row = {"start": STARTS[name]["words"]}
        for column, (figure, form) in COLUMNS.items():
            before, after = ([figure(run[place]) for run in found] for place in ("before", "after"))
            row[column] = unsigned_zeros(f"{np.mean(before):{form}} → {shown(after, form)}")
        row["nearest"] = shown([run["after"]["nearest"] for run in found], ".3f")
        rows.append({**row, "parameters": str(found[0]["parameters"])})
    for name, figures in ends.items():
        row = {"start": name}
        for column, (figure, form) in COLUMNS.items():
            row[column] = "" if "weights" in column else unsigned_zeros(f"{figure(figures):{form}}")
        row["nearest"] = f"{figures['nearest']:.3f}" if "nearest" in figures else ""
        rows.append({**row, "parameters": ""})
    return rows


def curves(runs):
    """Return a figure of the Fréchet distance and of the last layer's checkerboard over the steps of training."""
    figure = Figure((10, 3.6))
    axes = figure.subplots(1, 2)
    for name, found in runs.items():
        steps = [0, *(entry["step"] for entry in found[0]["history"])]
        for axis, value in zip(axes, (lambda entry: entry["distance"], lambda entry: entry["weights"][2]), strict=True):
            values = np.mean([[value(entry) for entry in (run["before"], *run["history"])] for run in found], 0)
            axis.plot(steps, values, marker="o", label=STARTS[name]["words"])
    for axis, label in zip(
        axes, ("Fréchet distance", "checkerboard's energy in the last layer's weights"), strict=True
    ):
        axis.set(xlabel="steps", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[1].legend()
    return figure


CURVES = (
    "How the generators improve: at step 0 they are untrained, later points are of the mean of their weights over the "
    "last steps. Each point is the mean over the runs of one start. Left: distance from real pictures, lower is "
    "better. Right: how much of a checkerboard is left in the last layer's weights."
)


def spectra(columns):
    """Return a figure of the mean spectra of {heading: {when: pictures}}, frequency 0 in the middle."""
    figure = Figure((2.2 * len(columns), 4.8), layout="constrained")
    axes = figure.subplots(2, len(columns), squeeze=False)
    for place, (heading, sets) in enumerate(columns.items()):
        for axis, (when, pictures) in zip(axes[:, place], sets.items(), strict=True):
            power = spectrum(pictures)
            power[0, 0] = 0
            shares = np.fft.fftshift(power / power.sum())
            axis.imshow(np.log10(shares + 1e-9), vmin=-6, vmax=-1, cmap="magma", extent=(-0.5, 0.5, 0.5, -0.5))
            axis.set_title(f"{heading},\n{when}", fontsize=9)
            axis.set(xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])
    return figure


EXPLANATION = (
    "Weights: the energy of the differences between phases for a constant input, as a share of the whole output's; of "
    "the last layer, and of the three that double the size together, without what is between them. Of repeated pixels "
    "it is 0.",
    "Pictures' energy: that of the mean spectrum, the mean of |FFT|², at the frequencies of a pattern of period 2 (1/2 "
    "cycle per pixel along one axis or both), as a share of all energy but that of frequency 0, less the share that "
    "held-out pictures have there. Below 0: less than theirs.",
    "Peaks: the power at the frequencies of a pattern of that period over that of the frequencies around each, the "
    "geometric mean. 1: nothing stands out. A grid in smooth parts stands out, though sharp edges, of which real "
    "pictures have more, hold more energy at the same frequencies.",
    "Nearest: the median distance of 500 samples from the training picture that is nearest, the root mean square of "
    "pixels from 0 to 1. Samples much nearer than held-out pictures would be copies.",
)


def ratios(runs):
    """Return the energies of checkerboards after training from ICNR's start, as parts of those from PyTorch's start.

    Without those of which PyTorch's start leaves none: an energy less that of real pictures can be below 0.
    """
    if not {"default-5", "icnr-5"} <= set(runs):
        return {}
    found = {}
    for column in ("last layer's weights, %", "all layers' weights, %"):
        figure, _ = COLUMNS[column]
        default, icnr = (np.mean([figure(run["after"]) for run in runs[start]]) for start in ("default-5", "icnr-5"))
        if default > 0:
            found[column.removesuffix(", %")] = float(icnr / default)
    return found


def closest(runs):
    """Return a sentence on the start whose pictures have the lowest Fréchet distance, the mean of its runs.

    The difference to the next one is taken seed by seed.
    """
    distances = {STARTS[name]["words"]: [run["after"]["distance"] for run in found] for name, found in runs.items()}
    first, *others = sorted(distances, key=lambda words: np.mean(distances[words]))
    words = f"The lowest Fréchet distance after training is that of {first}, {np.mean(distances[first]):.1f}"
    if not others:
        return f"{words}."
    less = np.subtract(distances[others[0]], distances[first])
    mean, half = interval(less)
    chance = ", which can be chance: the 95% interval holds 0" if mean <= half else ""
    return f"{words}: {shown(less, '.1f')} less than the next, of {others[0]}{chance}."


def sentence(column, ratio):
    """Return in words what a ratio of `ratios` says."""
    leaves = f"ICNR's start leaves {max(ratio, 0):.2f} of the energy of PyTorch's start"
    return f"{column[0].upper()}{column[1:]}: {leaves}, {'at most half' if ratio <= 0.5 else 'not half'}."
