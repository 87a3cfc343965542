"""Sizes of an encoder-decoder with skip connections, level by level, and what makes every level fit.

On the way down sizes are halved with a remainder, so a transposed convolution on the way up does not meet the size of
its skip connection by itself. `architecture_sizes` finds the output_padding or the crop that it needs.
"""

from __future__ import annotations
