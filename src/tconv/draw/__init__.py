"""Pictures of the operator, on matplotlib's Axes (`pip install "tconv[draw]"`), imported by the first one drawn."""

from __future__ import annotations

from tconv.draw.differing import difference
from tconv.draw.painting import scatter
from tconv.draw.response import response
from tconv.draw.spy import matrix

__all__ = ["difference", "matrix", "response", "scatter"]
