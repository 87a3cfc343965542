"""Pictures of the operator, on Axes of matplotlib (`pip install "tconv[draw]"`), which is imported when one is drawn."""

from __future__ import annotations

from tconv.draw.painting import scatter
from tconv.draw.spy import matrix

__all__ = ["matrix", "scatter"]
