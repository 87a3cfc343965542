"""Animations of one operator: `animate` makes them, in a notebook or as SVG, GIF and MP4.

`views/` are the ways to look at it; each makes a film of numbers, which the writers draw.
"""

from __future__ import annotations

from tconv.draw.animation.functional import Animation, animate

__all__ = ["Animation", "animate"]
