"""Graph of a network's nodes that rules change one by one."""

from __future__ import annotations

from collections.abc import Sequence

from tconv.errors import ShapeError, TconvError
from tconv.models.layers import Convolution, Node, check
from tconv.models.steps.depth_to_space import ChannelsToPixels, PixelsToChannels
from tconv.models.steps.step import NetworkStep
from tconv.models.steps.strided_convolution import StridedConvolution


class NodeGraph:
    """Nodes by number, with their channels and readers. Number 0 is the input; nodes that nobody reads are dropped."""

    def __init__(self, nodes: Sequence[Node], channels: Sequence[int]) -> None:
        self._nodes = dict(enumerate(nodes, 1))
        self._channels = dict(enumerate(channels))
        self._order = list(self._nodes)
        self._ranks = {number: rank for rank, number in enumerate((0, *self._order))}
        self._next = len(nodes) + 1
        self.output = len(nodes)
        self._readers: dict[int, list[int]] = {number: [] for number in range(len(nodes) + 1)}
        for number, node in self._nodes.items():
            for place in node.inputs:
                self._readers[place].append(number)
        for number in reversed(self._order):
            self._drop_unread(number)

    def __contains__(self, number: int) -> bool:
        return number in self._nodes

    def numbers(self) -> list[int]:
        """Return the numbers of all nodes, in the order in which they run."""
        self._order = [number for number in self._order if number in self._nodes]
        return self._order[:]

    def nodes(self) -> list[Node]:
        """Return the nodes, numbered from 1 on, the output last."""
        places = {0: 0} | {number: place for place, number in enumerate(self.numbers(), 1)}
        return [
            Node(self._nodes[number].step, tuple(places[place] for place in self._nodes[number].inputs))
            for number in self._order
        ]

    def step(self, number: int) -> NetworkStep | None:
        """Return the step of a node; None for the input of the network."""
        return self._nodes[number].step if number else None

    def inputs(self, number: int) -> tuple[int, ...]:
        """Return the numbers of a node's inputs."""
        return self._nodes[number].inputs

    def channels(self, number: int) -> int:
        """Return the channels of a node's output."""
        return self._channels[number]

    def readers(self, number: int) -> list[int]:
        """Return the nodes that read a node: twice if they read it twice."""
        return self._readers[number]

    def only_reader(self, number: int) -> int | None:
        """Return the node that alone reads this one, once; None if there are others, or if it is the output."""
        readers = self._readers[number]
        return readers[0] if len(readers) == 1 and number not in (0, self.output) else None

    def runs_before(self, number: int, other: int) -> bool:
        """Return True if a node runs before another one."""
        return self._ranks[number] < self._ranks[other]

    def replace(self, number: int, step: NetworkStep, inputs: Sequence[int] | None = None) -> None:
        """Change the step of a node, and its inputs, which run before it."""
        before = self._nodes[number].inputs
        after = before if inputs is None else tuple(inputs)
        self._nodes[number] = Node(step, after)
        self._channels[number] = step.output_channels([self._channels[place] for place in after])
        for place in after:
            self._readers[place].append(number)
        for place in before:
            self._readers[place].remove(number)
        for place in before:
            self._drop_unread(place)

    def insert(self, before: int, step: NetworkStep, inputs: Sequence[int]) -> int:
        """Return the number of a new node that runs before another one. Its reader is for the caller to write."""
        number, self._next = self._next, self._next + 1
        self._nodes[number] = Node(step, tuple(inputs))
        self._channels[number] = step.output_channels([self._channels[place] for place in inputs])
        self._order.insert(self._order.index(before), number)
        self._ranks = {each: rank for rank, each in enumerate((0, *self._order))}
        self._readers[number] = []
        for place in inputs:
            self._readers[place].append(number)
        return number

    def bypass(self, number: int, place: int) -> bool:
        """Let the readers of a node read another one before it, and drop it. Return False if nothing would be left."""
        if number == self.output:
            if place == 0:
                return False
            self.output = place
        for reader in set(self._readers[number]):
            inputs = tuple(place if each == number else each for each in self._nodes[reader].inputs)
            self._nodes[reader] = Node(self._nodes[reader].step, inputs)
        self._readers[place] += self._readers[number]
        self._readers[number] = []
        self._drop_unread(number)
        return True

    def _drop_unread(self, number: int) -> None:
        """Drop a node without readers, and those before it that only it read."""
        left = [number]
        while left:
            unread = left.pop()
            if unread in self._nodes and unread != self.output and not self._readers[unread]:
                dropped = self._nodes.pop(unread)
                for place in dropped.inputs:
                    self._readers[place].remove(unread)
                left += dropped.inputs


def graph_of(nodes: Sequence[Node], channels_in: int | None = None) -> NodeGraph | None:
    """Return the graph of nodes; None for nodes that do not fit each other, which `Network` refuses with a reason."""
    channels = [input_channels(nodes) if channels_in is None else channels_in]
    try:
        for number, node in enumerate(nodes, 1):
            if not node.inputs or not all(0 <= place < number for place in node.inputs):
                return None
            _check(number, node.step)
            channels.append(node.step.output_channels([channels[place] for place in node.inputs]))
    except TconvError:
        return None
    return NodeGraph(nodes, channels) if nodes else None


def _check(number: int, step: NetworkStep) -> None:
    """Raise ShapeError or ArgumentError for a convolution whose weight does not fit itself."""
    if isinstance(step, Convolution):
        check(number, step)
    elif isinstance(step, StridedConvolution) and (step.weight.ndim != 4 or len(step.weight) % step.groups):
        raise ShapeError(f"node {number} has a weight of {step.weight.shape}, which {step.groups} groups do not divide")


def input_channels(nodes: Sequence[Node]) -> int:
    """Return the channels of the input that the first convolution needs."""
    for number, node in enumerate(nodes, 1):
        step, place = node.step, number
        if not isinstance(step, (Convolution, StridedConvolution)):
            continue
        channels = step.channels[0] if isinstance(step, Convolution) else step.weight.shape[1] * step.groups
        while 0 < (place := nodes[place - 1].inputs[0] if nodes[place - 1].inputs else 0) < number:
            before = nodes[place - 1].step
            if isinstance(before, PixelsToChannels):
                channels //= before.r**2
            elif isinstance(before, ChannelsToPixels):
                channels *= before.r**2
        return channels
    return 3
