"""Checkerboard artifacts of a transposed convolution, computed from its weights: their strength, origin and remedies.

Outputs of different phases (places modulo the stride) read the input through different taps. If the taps of phase r sum
to G[r] (its DC gain), an input that is constant over space comes out as the pattern G[r], repeated with the stride: a
checkerboard, unless all phases have the same gain. A kernel that is a multiple of the stride gives every phase as many
taps, but not equal gains. Source: Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill;
the initialisation is Aitken et al. 2017, arXiv:1707.02937.
"""

from __future__ import annotations

from tconv.weights.artifacts.remedies import equalise, icnr
from tconv.weights.artifacts.report import Checkerboard
from tconv.weights.artifacts.score import checkerboard

__all__ = ["Checkerboard", "checkerboard", "equalise", "icnr"]
