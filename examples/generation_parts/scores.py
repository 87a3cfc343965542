"""Scores of generated pictures: Fréchet distance, the energy of a checkerboard, and the nearest training picture.

scipy and scikit-learn have none of the first two. Pictures are uint8 [N, 32, 32].
"""

from __future__ import annotations

import numpy as np

ROUNDING = 1 / (12 * 255**2)
"""Mean square of what rounding to 8 bits adds to a picture of 0 to 1."""


def frechet(one, other):
    """Return the Fréchet distance of two sets of features [N, F], as of normal distributions.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with the means and covariances of the sets (Dowson and Landau 1982; for
    features of pictures Heusel et al. 2017, arXiv:1706.08500). C1 C2 has the eigenvalues of R C2 R, R the root of C1.
    """
    if min(len(one), len(other)) < 2 or one.shape[1:] != other.shape[1:]:
        raise ValueError(f"features have shapes {one.shape} and {other.shape}; [N, F] with N > 1 and one F are needed")
    first, second = (np.cov(features, rowvar=False).reshape(one.shape[1], -1) for features in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    apart = one.mean(0) - other.mean(0)
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * crossed)


def spectrum(pictures):
    """Return the mean power |FFT|^2 / pixels^2 of pictures of 0 to 1, [H, W]; its sum is their mean square."""
    pixels = pictures.shape[1] * pictures.shape[2]
    parts = [np.abs(np.fft.fft2(part / 255)) ** 2 for part in np.array_split(pictures, max(1, len(pictures) // 500))]
    return np.concatenate(parts).mean(0) / pixels**2


def fixed_spectrum(pictures):
    """Return the power |FFT|^2 / pixels^2 of the mean picture, which keeps only what all pictures have in common."""
    mean = pictures.mean(0) / 255
    return np.abs(np.fft.fft2(mean)) ** 2 / mean.size**2


def phase_bins(shape, period):
    """Return the bins of a spectrum, bool [H, W], that a pattern with this period fills: multiples of 1/period.

    Frequency 0 is no pattern, and left out.
    """
    if any(size % period for size in shape):
        raise ValueError(
            f"a spectrum of {shape} has no bins at multiples of 1/{period}. Write a period that divides it"
        )
    found = np.zeros(shape, bool)
    found[tuple(slice(None, None, size // period) for size in shape)] = True
    found[0, 0] = False
    return found


def pattern_share(power, whole, period):
    """Return the energy of `power` at the frequencies of the phases, as a share of that of `whole` but frequency 0."""
    return float(power[phase_bins(power.shape, period)].sum() / (whole.sum() - whole[0, 0]))


def peaks(power, period):
    """Return how far the frequencies of the phases stand out of a spectrum: their power over that of the bins around.

    The geometric mean over the frequencies; around is the geometric mean of the bins at most 2 away along both axes.
    Powers that the rounding to 8 bits hides count as that. A continuous spectrum has 1, a checkerboard more.
    """
    logs = np.log(np.maximum(power, ROUNDING / power.size))
    around = [np.roll(logs, (i, j), (0, 1)) for i in range(-2, 3) for j in range(-2, 3) if i or j]
    return float(np.exp((logs - np.mean(around, 0))[phase_bins(power.shape, period)].mean()))


def nearest(pictures, known):
    """Return the number of each picture's nearest known one, and their distance, the root mean square of 0 to 1."""
    flat, others = (array.reshape(len(array), -1).astype(np.float32) / 255 for array in (pictures, known))
    squares = (others**2).sum(1) - 2 * flat @ others.T
    places = squares.argmin(1)
    distances = np.sqrt(((flat - others[places]) ** 2).mean(1))
    return places, distances
