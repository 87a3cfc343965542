"""Animations of one operator: `animate` makes them, in a notebook or as SVG, GIF and MP4.

`views/` are the ways to look at it; each makes a film of numbers, which the writers draw.
"""

from __future__ import annotations

from tconv.draw.animation.functional import Animation, animate
from tconv.draw.animation.views import VIEWS

__all__ = ["VIEWS", "Animation", "animate"]
