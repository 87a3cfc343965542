"""Stand-in until Network.stream is there."""

# mypy: ignore-errors
import numpy as np

from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.steps.pooling import GlobalMean
from tconv.models.steps.step import Region


def _advance(self, buffers, needed, sizes):
    for number, node in enumerate(self.nodes, 1):
        target = buffers[number]
        rows = slice(target.stop, max(target.stop, needed[number].stop))
        if rows.start == rows.stop:
            continue
        if number < len(self.nodes):
            target.reserve(needed[number].start, rows.stop)
        if number in self.anchors and isinstance(node.step, Convolution):
            (place,) = node.inputs
            ends = sizes[place][0], sizes[number][0]
            node.step.in_groups(buffers[place], rows, target, ends, self.anchors[number])
        else:
            for piece in target.pieces(rows):
                self._compute_piece(number, buffers, piece, sizes)
        target.stop = rows.stop
        watch = getattr(self, "_watch", None)
        if watch is not None:
            for down, across in watch.wanted(number, rows, slice(0, sizes[number][1])):
                given = {}
                for order, place in enumerate(node.inputs):
                    hs = [sizes[p][0] for p in node.inputs]
                    span = node.step.source(order, rows if number in self.anchors else down, hs, 0)
                    given[place] = Region(buffers[place].gathered(span)[0], span, slice(0, sizes[place][1]))
                values = target.gathered(down)[0][..., across]
                watch.check((number,), given, Region(values, down, across))


class _Stream:
    def __init__(self, network, shape, load, columns, watch):
        self.n, self.shape, self.load, self.columns, self.watch = network, shape, load, columns, watch
        self.height = network.output_shape(shape)[0]

    def rows(self, span):
        w = self.n.window(span, self.shape[0])
        x = np.ascontiguousarray(self.load(w, slice(0, self.shape[1])))
        self.n._watch = self.watch
        y = self.n.rows(x, w.start, self.shape[0], span)[..., self.columns]
        if self.watch is not None:
            self.watch.advance((span.stop - span.start) / self.height)
        self.n._watch = None
        return y


if not hasattr(Network, "stream"):
    Network._advance = _advance
    Network.has_means = property(lambda self: any(isinstance(n.step, GlobalMean) for n in self.nodes))
    Network.bands = lambda self, shape, memory=None: [slice(0, self.output_shape(shape)[1])]
    Network.means = lambda self, shape, load, watch=None, memory=None: None
    Network.stream = lambda self, shape, load, columns=None, means=None, watch=None: _Stream(
        self, shape, load, columns, watch
    )
    Network.plan_text = lambda self, shape: []
