"""Storages of a run, and the channels of them that each node's output is.

A concatenation in place copies nothing: the nodes that it reads are written into ranges of its channels. The prefixes
of a dense block, Concat(x, a), Concat(x, a, b), ..., are ranges of one storage. A value that two concatenations want at
different places is copied into the earlier one. Ranges of channels are views.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tconv.models.layers import Node
from tconv.models.steps.channels import ChannelRange, Concat


class Place(NamedTuple):
    """Channels of a storage, from `offset` on."""

    storage: int
    offset: int


@dataclass
class Placement:
    """Places of nodes: views are only read, all others are computed or copied.

    `copies` are values beside the nodes, by their numbers: the source, and the concatenations that read it, the first
    of them last.
    """

    places: dict[int, Place] = field(default_factory=dict)
    channels: list[int] = field(default_factory=list)
    views: set[int] = field(default_factory=set)
    copies: dict[int, tuple[int, list[int]]] = field(default_factory=dict)

    def add_storage(self, number: int, channels: int) -> None:
        """Give a node a storage of its own."""
        self.places[number] = Place(len(self.channels), 0)
        self.channels.append(channels)

    def behind(self, number: int, channels: Sequence[int]) -> tuple[int, ...]:
        """Return the computed nodes and copies whose channels a node reads: itself, or those that a view shows."""
        if number not in self.views:
            return (number,)
        storage, offset = self.places[number]
        stop = offset + channels[number]
        return tuple(
            other
            for other, place in self.places.items()
            if place.storage == storage
            and other not in self.views
            and place.offset < stop
            and place.offset + channels[other] > offset
        )


def placed(
    nodes: Sequence[Node],
    channels: list[int],
    computed: Collection[int],
    own: Collection[int],
    apart: Collection[int] = (),
) -> Placement:
    """Return the places of the computed nodes; those in `own` have arrays of their own, those in `apart` storages.

    The channels of copies are appended to `channels`: a copy has the next number.
    """
    result = Placement()
    places = result.places
    for number in sorted(own):
        result.add_storage(number, channels[number])
    joined = [
        number
        for number in sorted(computed, reverse=True)
        if number not in own and isinstance(nodes[number - 1].step, Concat)
    ]
    for number in joined:  # outer and longer ones come first
        inputs = nodes[number - 1].inputs
        result.views.add(number)
        if number not in places:
            found = _adjacent(result, inputs, channels)
            if found is not None:
                places[number] = places[found[0]]
                for place in found:
                    if place in result.copies:
                        result.copies[place][1].append(number)
                continue
            result.add_storage(number, channels[number])
        storage, offset = places[number]
        for place in inputs:
            here = Place(storage, offset)
            if place in computed and place not in places and place not in apart:
                places[place] = here
            elif places.get(place) != here:
                result.copies[len(channels)] = place, [number]
                places[len(channels)] = here
                channels.append(channels[place])
            offset += channels[place]
    for number in sorted(computed):
        if number in places:
            continue
        step = nodes[number - 1].step
        if isinstance(step, ChannelRange):
            before = places[nodes[number - 1].inputs[0]]
            places[number] = Place(before.storage, before.offset + step.start)
            result.views.add(number)
        else:
            result.add_storage(number, channels[number])
    return result


def _adjacent(known: Placement, inputs: Sequence[int], channels: Sequence[int]) -> list[int] | None:
    """Return the inputs, or copies of them, that are in one storage, one behind the other; None if there are none."""
    alike = [[place, *(copy for copy, (source, _) in known.copies.items() if source == place)] for place in inputs]
    for first in alike[0]:
        if first not in known.places:
            continue
        storage, offset = known.places[first]
        found = []
        for options in alike:
            here = [place for place in options if known.places.get(place) == (storage, offset)]
            if not here:
                break
            found.append(here[0])
            offset += channels[here[0]]
        else:
            return found
    return None
