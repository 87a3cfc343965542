"""Pictures of the operator on matplotlib's Axes (`pip install "tconv[draw]"`), which is imported for the first picture.

Reports draw themselves with them, and the command line writes them to files.
"""

from __future__ import annotations

from tconv.draw.animation import animate
from tconv.draw.architecture_picture import architecture, architecture_sizes
from tconv.draw.checkerboard_picture import response
from tconv.draw.difference_picture import difference
from tconv.draw.matrix_picture import matrix
from tconv.draw.scatter_picture import scatter

__all__ = ["animate", "architecture", "architecture_sizes", "difference", "matrix", "response", "scatter"]
