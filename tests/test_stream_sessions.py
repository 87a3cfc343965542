"""Sessions of a stream: saved after every chunk, restored elsewhere, refused where they do not fit."""

import io

import numpy as np

from tconv.streaming.sessions import Stream
from test_stream_graph import decoder, numbers


def test_a_state_saved_after_every_chunk_goes_on_with_the_same_bits():
    graph = decoder(np.random.default_rng(0))
    x = numbers(np.random.default_rng(1), 1, 3, 40)
    whole = graph.whole(x[:, :, None])[:, :, 0]
    stream, made, at = Stream(graph), [], 0
    while at < 40:
        count = int(np.random.default_rng(at).integers(0, 6))
        made.append(stream.push(x[:, :, at : at + count]))
        at += count + (count == 0)
        if count == 0:
            made.append(stream.push(x[:, :, at - 1 : at]))
        file = io.BytesIO()
        np.savez(file, **stream.state())
        file.seek(0)
        stream = Stream(decoder(np.random.default_rng(0)))
        stream.restore(np.load(file))
    np.testing.assert_array_equal(np.concatenate([*made, stream.flush()], 2), whole)
