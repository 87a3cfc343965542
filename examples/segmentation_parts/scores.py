"""Figures of merit for semantic segmentation, on NumPy arrays of classes."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage.segmentation import find_boundaries
from sklearn.metrics import confusion_matrix

TOLERANCE = 0.0075
"""How far apart boundaries may be, as a part of the diagonal of the picture: the value of Csurka et al. (2013)."""


def intersection_over_union(truth, predicted, classes):
    """Return TP / (TP + FP + FN) of each class over all pixels, float64 [classes]; NaN for a class that never occurs.

    truth, predicted: Classes of the pixels, whole numbers [N, H, W].
    """
    counts = confusion_matrix(truth.ravel(), predicted.ravel(), labels=np.arange(classes))
    right, either = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    return np.where(either > 0, right / np.maximum(either, 1), np.nan)


def tolerance_of(shape):
    """Return the tolerance in pixels for a picture [H, W], at least 1."""
    return max(1.0, TOLERANCE * math.hypot(*shape))


def boundary_f(truth, predicted):
    """Return the F-score of the boundary of a region; NaN if neither mask, bool [H, W], has one.

    Precision is the part of the predicted boundary that is near the true one, recall the part of the true one that is
    near the predicted one (Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic
    segmentation?", BMVC 2013). Boundary pixels are those of the region beside others; the picture's border is none.
    """
    edges = [find_boundaries(mask, mode="inner") for mask in (truth, predicted)]
    if not (edges[0].any() or edges[1].any()):
        return math.nan
    if not (edges[0].any() and edges[1].any()):
        return 0.0
    near = tolerance_of(truth.shape) + 1e-9
    to_truth, to_predicted = (ndimage.distance_transform_edt(~edge) for edge in edges)
    precision, recall = (to_truth[edges[1]] <= near).mean(), (to_predicted[edges[0]] <= near).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def boundary_f_of_classes(truth, predicted):
    """Return the mean of `boundary_f` over the classes of a picture but background 0, and over pictures [N, H, W]."""
    scores = []
    for one, other in zip(truth, predicted, strict=True):
        labels = np.setdiff1d(np.union1d(one, other), [0])
        each = [boundary_f(one == label, other == label) for label in labels]
        scores.append(_mean(each))
    return _mean(scores)


def boundary_f_of_outlines(truth, predicted):
    """Return the mean over pictures [N, H, W] of `boundary_f` of all that is not background 0, whatever its class."""
    return _mean([boundary_f(one > 0, other > 0) for one, other in zip(truth, predicted, strict=True)])


def _mean(values):
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def scores(truth, predicted, classes):
    """Return all figures of predictions [N, H, W] as a dictionary that JSON can hold."""
    each = intersection_over_union(truth, predicted, classes)
    return {
        "mean IoU": float(np.nanmean(each)),
        "IoU": [float(value) for value in each],
        "boundary F": boundary_f_of_classes(truth, predicted),
        "outline F": boundary_f_of_outlines(truth, predicted),
    }
