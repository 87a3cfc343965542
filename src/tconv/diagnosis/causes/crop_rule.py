"""Type of a named crop: the files that name crops yield these."""

from __future__ import annotations

from typing import NamedTuple

CropPairs = tuple[tuple[int, int], ...]


class Rule(NamedTuple):
    """A named rule that gives a crop."""

    name: str
    text: str
    crop: CropPairs
    source: str = ""
    per_axis: bool = False
    """True if it may have been applied along some axes only."""
    rare: bool = False
    """True if a listed fault with this crop is the better name."""
    argument: bool = False
    """True if an argument of the call is dropped, or one of its numbers stands for another."""

    def on(self, axes: list[int]) -> Rule:
        """Return the rule applied along these spatial axes only; its crop is not changed."""
        where = " and ".join(map(str, axes))
        return self._replace(
            name=f"{self.name} on axis {where}", text=f"{self.text}, along spatial axis {where} only", rare=True
        )
