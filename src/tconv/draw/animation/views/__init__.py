"""The ways to animate one operator: a registry, one file each."""

from __future__ import annotations

from collections.abc import Callable

from tconv.draw.animation.animated_operator import AnimatedOperator
from tconv.draw.animation.film import Film
from tconv.draw.animation.views import gathering, painting, zero_insertion

VIEWS: dict[str, Callable[[AnimatedOperator], Film]] = {
    "scatter": painting.film,
    "gather": gathering.film,
    "zero_insertion": zero_insertion.film,
}
"""The film of each view, by the name that `animate` takes."""
