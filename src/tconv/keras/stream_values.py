"""Values and nodes of a stream that is read from Keras layers, and refusals of layers."""

from __future__ import annotations

from typing import Any, NamedTuple

from tconv.errors import StreamError, TconvError
from tconv.models.layers import Node
from tconv.streaming.time_step import along_time


class TimeValue(NamedTuple):
    """Output of a node: its place among the nodes (0 is the input), its channels, and its layout in Keras.

    Keras has it as [N, T, C], or as [N, C, T] with `channels_last` False; nodes have it as [C, 1, T].
    """

    place: int
    channels: int
    channels_last: bool

    @property
    def channel_axis(self) -> int:
        """Axis of the channels in Keras."""
        return 2 if self.channels_last else 1

    @property
    def layout(self) -> str:
        """Keras' name of the layout."""
        return "channels_last" if self.channels_last else "channels_first"


class Refusal(Exception):  # noqa: N818 - it becomes an error with the name of the layer
    """Reason for which a layer cannot be streamed."""


class NodeList:
    """Nodes of a stream in the order in which they run, as rules for layers add them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.layer = ""
        """Name of the layer that is read."""
        self._layers: dict[int, tuple[Any, str]] = {}

    def add(self, step: Any, *values: TimeValue) -> TimeValue:
        """Return the output of a new node that reads these values. Raises Refusal if they do not fit it."""
        if len({value.channels_last for value in values}) > 1:
            raise Refusal("it combines a value of [N, T, C] and one of [N, C, T]")
        try:
            channels = along_time(step).output_channels([value.channels for value in values])
        except TconvError as error:
            raise Refusal(str(error)) from None
        self.nodes.append(Node(step, tuple(value.place for value in values)))
        for part in (step, getattr(step, "weight", None)):
            self._layers[id(part)] = part, self.layer
        return TimeValue(len(self.nodes), channels, values[0].channels_last)

    def layer_of(self, step: Any) -> str:
        """Return the name of the layer of a step, or of one that was made of it with its weight; "" for others."""
        found = self._layers.get(id(step)) or self._layers.get(id(getattr(step, "weight", step)))
        return "" if found is None else found[1]


def refused(name: str, kind: str, reason: Any) -> StreamError:
    """Return the error for a layer, with the model to write instead."""
    text = str(reason)
    if "Write " not in text and "Use " not in text:
        text += ". Stream the part of the model before or behind it, as keras.Model(inputs, outputs)"
    return StreamError(f'layer "{name}" ({kind}) cannot be streamed: {text}')


def is_channel_axis(axis: Any, value: TimeValue) -> bool:
    """Return True for an axis, or a list of one, that is that of the channels of [N, T, C] or [N, C, T]."""
    axes = [axis] if isinstance(axis, int) else list(axis)
    return [each % 3 for each in axes] == [value.channel_axis]
