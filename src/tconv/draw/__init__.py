"""Pictures of the operator on matplotlib's Axes (`pip install "tconv[draw]"`), which is imported for the first picture.

Reports draw themselves with them, and the command line writes them to files.
"""

from __future__ import annotations

from tconv.draw.animation import animate
from tconv.draw.architecture_picture import architecture, architecture_sizes
from tconv.draw.channels_picture import channels
from tconv.draw.checkerboard_picture import response
from tconv.draw.difference_picture import difference
from tconv.draw.explorer_page import explore
from tconv.draw.gather_picture import gather
from tconv.draw.matrix_picture import matrix
from tconv.draw.overlap_picture import overlap
from tconv.draw.padding_picture import padding
from tconv.draw.phases_picture import phases
from tconv.draw.scatter_picture import scatter

__all__ = [
    "animate",
    "architecture",
    "architecture_sizes",
    "channels",
    "difference",
    "explore",
    "gather",
    "matrix",
    "overlap",
    "padding",
    "phases",
    "response",
    "scatter",
]
