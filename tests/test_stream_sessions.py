"""Sessions of a stream: mixed, saved, restored elsewhere, interrupted, in threads and forks, refused where wrong."""

import gc
import io
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import tconv
from tconv.errors import ArgumentError, DtypeError, ShapeError, TconvError
from tconv.models.layers import Node
from tconv.models.steps.arithmetic import Affine
from tconv.models.steps.pointwise import Pointwise
from tconv.models.steps.pooling import Pooling
from tconv.models.steps.resizing import Resize
from tconv.models.steps.strided_convolution import StridedConvolution
from tconv.streaming import state_blocks
from tconv.streaming.recurrent import Recurrent, RecurrentWeights
from tconv.streaming.session import checksum
from tconv.streaming.sessions import Stream
from tconv.streaming.stream_graph import StreamGraph
from test_stream_graph import conv, decoder, numbers


def recurrent_decoder(rng):
    """Return a graph with an LSTM of two layers between convolutions."""
    layers = tuple(
        RecurrentWeights(numbers(rng, 20, size), numbers(rng, 20, 5), numbers(rng, 20), numbers(rng, 20))
        for size in (4, 5)
    )
    return StreamGraph(
        [
            Node(conv(rng, 3, 4, 3, (2, 0)), (0,)),
            Node(Recurrent("lstm", layers), (1,)),
            Node(conv(rng, 5, 2, 3, (1, 1)), (2,)),
        ],
        3,
    )


def whole_of(graph, x):
    return graph.whole(x[None, :, None])[0, :, 0]


def pushed(stream, x, rng, longest=6):
    """Return the outputs of the only session for random chunks of x [C, T]."""
    made, at = [], 0
    while at < x.shape[1]:
        count = int(rng.integers(0, longest))
        made.append(stream.push(x[None, :, at : at + count])[0])
        at += count
    return np.concatenate([*made, stream.flush()[0]], 1)


# -- sessions together -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [decoder, recurrent_decoder])
def test_sessions_that_come_and_go_have_the_bits_of_those_alone(make):
    rng = np.random.default_rng(3)
    graph = make(rng)
    stream = Stream(graph, batch=2)
    waiting = {number: numbers(rng, 3, int(rng.integers(20, 40))) for number in stream.sessions}
    inputs, places = dict(waiting), dict.fromkeys(waiting, 0)
    made = {number: [] for number in waiting}
    for tick in range(40):
        if tick % 5 == 0 and tick < 20:
            number = stream.open()
            inputs[number], places[number], made[number] = numbers(rng, 3, int(rng.integers(20, 40))), 0, []
        chunks = {}
        for number, at in places.items():
            count = int(rng.choice([0, 2, 3]))
            if at < inputs[number].shape[1] and rng.random() < 0.8:
                chunks[number] = inputs[number][:, at : at + count]
                places[number] += chunks[number].shape[1]
        for number, out in stream.push(chunks).items():
            made[number].append(out)
        if tick == 25:
            stream.reset(1)
            places[1], made[1] = 0, []
    for number, x in inputs.items():
        made[number].append(stream.push({number: x[:, places[number] :]})[number])
        made[number].append(stream.flush(number))
        np.testing.assert_array_equal(np.concatenate(made[number], 1), whole_of(graph, x))
        assert stream.state(number)["received"] == x.shape[1]
    stream.close(1)
    assert 1 not in stream.sessions


def test_many_sessions_have_the_bytes_that_the_graph_predicts():
    graph = recurrent_decoder(np.random.default_rng(0))
    stream = Stream(graph, batch=256)
    x = numbers(np.random.default_rng(1), 256, 3, 12)
    made = [stream.push(x[:, :, at : at + 2]) for at in range(0, 12, 2)]
    blocks = [stream._sessions[number].block for number in stream.sessions]
    assert sum(block.nbytes for block in blocks) == 256 * stream.state_bytes
    assert all(block.base is None for block in blocks)
    whole = np.concatenate([*made, stream.flush()], 2)
    np.testing.assert_array_equal(whole, stream(x))


def test_the_rows_of_a_chunk_belong_to_the_sessions_in_their_order():
    rng = np.random.default_rng(12)
    graph = StreamGraph([Node(conv(rng, 3, 2, 4, (3, 0)), (0,))], 3)
    stream, x = Stream(graph, batch=3), numbers(rng, 3, 3, 10)
    stream.push(x[:, :, :4])
    stream.reset(1)  # now at another place in time, with outputs of the same length
    made = stream.push(x[:, :, 4:])
    np.testing.assert_array_equal(made[[0, 2]], stream(x)[[0, 2], :, 4:])
    np.testing.assert_array_equal(made[1], whole_of(graph, x[1, :, 4:]))
    assert Stream(graph, batch=0).push(x[:0]).shape == (0, 2, 0)
    centred = Stream(StreamGraph([Node(conv(rng, 3, 2, 4, (1, 2)), (0,))], 3), batch=2)
    centred.push({0: x[0]})
    with pytest.raises(ShapeError, match=r"different places: they have 8, 10 samples\. Write stream\.push"):
        centred.push(x[:2])


def test_sessions_run_together_where_as_many_inputs_wait():
    rng = np.random.default_rng(15)
    pooling, shifted = Pooling("mean", (1, 5), (1, 3), ceil=True), Affine(shift=numbers(rng, 1))
    graph = StreamGraph([Node(pooling, (0,)), Node(shifted, (1,))], 3)
    stream, x = Stream(graph, batch=4), numbers(rng, 4, 3, 30)
    assert graph.turn(3) == graph.turn(6)
    made = [[stream.push({number: x[number, :, : 3 * number]})[number]] for number in range(4)]
    for count in (2, 1, 15):
        chunks = {n: x[n, :, at : at + count] for n in range(4) for at in [int(stream.state(n)["received"])]}
        for number, out in stream.push(chunks).items():
            made[number].append(out)
    for number, parts in enumerate(made):
        wanted = whole_of(graph, x[number, :, : 3 * number + 18])
        np.testing.assert_array_equal(np.concatenate([*parts, stream.flush(number)], 1), wanted)


def test_the_number_of_threads_may_change_between_pushes():
    rng = np.random.default_rng(5)
    graph = decoder(rng)
    x, stream, before = numbers(rng, 1, 3, 30), Stream(graph), tconv.get_num_threads()
    made = []
    try:
        for at in range(0, 30, 3):
            tconv.set_num_threads(1 + at % 2)
            made.append(stream.push(x[:, :, at : at + 3]))
    finally:
        tconv.set_num_threads(before)
    np.testing.assert_array_equal(np.concatenate([*made, stream.flush()], 2), stream(x))


# -- states ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [decoder, recurrent_decoder])
def test_a_state_saved_after_every_chunk_goes_on_with_the_same_bits(make):
    rng = np.random.default_rng(0)
    x = numbers(rng, 3, 40)
    stream, made, at = Stream(make(np.random.default_rng(1))), [], 0
    while at < 40:
        count = int(rng.integers(0, 6))
        made.append(stream.push({0: x[:, at : at + count]})[0])
        at += count
        file = io.BytesIO()
        np.savez(file, **stream.state())
        file.seek(0)
        stream = Stream(make(np.random.default_rng(1)))
        stream.restore(np.load(file))
    made.append(stream.flush(0))
    np.testing.assert_array_equal(np.concatenate(made, 1), whole_of(stream.graph, x))


def test_a_stream_goes_on_after_more_samples_than_it_ever_had():
    rng = np.random.default_rng(14)
    graph = StreamGraph([Node(Resize((1, 3), "linear"), (0,)), Node(conv(rng, 3, 2, 3, (1, 1)), (1,))], 3)
    stream, x = Stream(graph), numbers(rng, 3, 30)
    stream.push({0: x[:, :10]})
    state = stream.state(0)
    wanted = stream.push({0: x[:, 10:]})[0]
    far = {**state, "received": np.array(1 << 42)}
    stream.restore({**far, "checksum": checksum(far)}, 0)
    np.testing.assert_array_equal(stream.push({0: x[:, 10:]})[0], wanted)


CHILD = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from test_stream_sessions import Stream, recurrent_decoder
stream = Stream(recurrent_decoder(np.random.default_rng(1)), batch=0)
stream.restore(np.load({state!r}))
rest = np.load({rest!r})
np.save({out!r}, np.concatenate([stream.push({{7: rest}})[7], stream.flush(7)], 1))
"""


def test_a_state_moves_to_another_process(tmp_path):
    stream = Stream(recurrent_decoder(np.random.default_rng(1)), batch=0)
    while stream.open() < 7:
        pass
    x = numbers(np.random.default_rng(2), 3, 30)
    first = stream.push({7: x[:, :17]})[7]
    stream.restore(dict(reversed(stream.state().items())))
    assert stream.sessions == tuple(range(8))  # the order of the rows of a chunk
    state, rest, out = (str(tmp_path / name) for name in ("state.npz", "rest.npy", "out.npy"))
    np.savez(state, **stream.state())
    np.save(rest, x[:, 17:])
    code = CHILD.format(tests=str(Path(__file__).parent), state=state, rest=rest, out=out)
    subprocess.run([sys.executable, "-c", code], check=True)
    made = np.concatenate([first, np.load(out)], 1)
    np.testing.assert_array_equal(made, whole_of(stream.graph, x))


def test_states_that_do_not_fit_are_refused_and_change_nothing():
    stream = Stream(decoder(np.random.default_rng(0)))
    x = numbers(np.random.default_rng(1), 3, 20)
    first = stream.push({0: x[:, :9]})[0]
    good = stream.state(0)
    other = Stream(decoder(np.random.default_rng(9))).state(0)
    name = next(name for name in good if name.startswith("value"))
    for bad, error in [
        (other, "another stream"),
        ({**good, "received": np.array(3)}, "is needed|other arrays"),
        ({**good, "received": good["received"] + 1}, "checksum|is needed|other arrays"),
        ({**good, name: good[name] + 1}, "not as it was saved: its numbers do not have its checksum"),
        ({each: array for each, array in good.items() if each != "checksum"}, "has no checksum"),
        ({**good, "received": np.array(-1)}, "number of samples"),
        ({**good, "received": np.array(2.5)}, "number of samples"),
        ({**good, "version": np.array(99)}, "version"),
        ({**good, name: good[name][:, 1:]}, "is needed"),
        ({**good, name: good[name].astype(np.float64)}, "is needed"),
        ({each: array for each, array in good.items() if each != name}, "other arrays"),
        ({each: array for each, array in good.items() if each != "graph"}, "has no graph"),
        ({**good, "value_99": good[name]}, "other arrays"),
        ({}, "has no"),
        (3, "dictionary"),
        (None, "dictionary"),
    ]:
        for session in (0, None):
            with pytest.raises((ArgumentError, ShapeError), match=error):
                stream.restore(bad, session)
    rest = np.concatenate([first, stream.push({0: x[:, 9:]})[0], stream.flush(0)], 1)
    np.testing.assert_array_equal(rest, whole_of(stream.graph, x))


# -- interrupts, threads, forks ----------------------------------------------------------------------------------


class Stumbling(Pointwise):
    """Activation that is interrupted once."""

    armed: ClassVar = [False]

    def compute(self, given, sizes, out):
        super().compute(given, sizes, out)
        if self.armed[0]:
            self.armed[0] = False
            raise KeyboardInterrupt


def test_an_interrupted_push_leaves_every_session_as_it_was():
    rng = np.random.default_rng(4)
    graph = StreamGraph(
        [Node(conv(rng, 3, 4, 5, (4, 0)), (0,)), Node(Stumbling("elu"), (1,)), Node(conv(rng, 4, 2, 3, (1, 1)), (2,))],
        3,
    )
    stream = Stream(graph, batch=3)
    x = numbers(rng, 3, 3, 24)
    made = []
    for at in range(0, 24, 4):
        before = {name: array.tobytes() for name, array in stream.state().items()}
        Stumbling.armed[0] = True
        with pytest.raises(KeyboardInterrupt):
            stream.push(x[:, :, at : at + 4])
        assert {name: array.tobytes() for name, array in stream.state().items()} == before
        made.append(stream.push(x[:, :, at : at + 4]))
    np.testing.assert_array_equal(np.concatenate([*made, stream.flush()], 2), stream(x))


def test_threads_that_push_different_sessions_get_their_own_bits():
    rng = np.random.default_rng(6)
    stream = Stream(recurrent_decoder(rng), batch=4)
    x = numbers(rng, 4, 3, 40)
    made = [[] for _ in range(4)]

    def work(number):
        for at in range(0, 40, 2):
            made[number].append(stream.push({number: x[number, :, at : at + 2]})[number])
        made[number].append(stream.flush(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal([np.concatenate(each, 1) for each in made], stream(x))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on():
    rng = np.random.default_rng(7)
    stream = Stream(decoder(rng))
    x = numbers(rng, 1, 3, 30)
    first, whole = stream.push(x[:, :, :13]), stream(x)
    child = os.fork()
    if child == 0:
        made = np.concatenate([first, stream.push(x[:, :, 13:]), stream.flush()], 2)
        os._exit(int(not np.array_equal(made, whole)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    made = np.concatenate([first, stream.push(x[:, :, 13:]), stream.flush()], 2)
    np.testing.assert_array_equal(made, whole)


# -- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_do_not_outlive_their_window(value):
    rng = np.random.default_rng(8)
    graph = decoder(rng)
    x = numbers(rng, 3, 60)
    x[1, 21] = value
    whole = whole_of(graph, x)
    assert not np.isfinite(whole).all()
    assert np.isfinite(whole[:, 100:]).all()
    stream = Stream(graph)
    np.testing.assert_array_equal(pushed(stream, x, rng), whole)
    stream.reset()  # the same memory again
    x[1, 21] = 1
    np.testing.assert_array_equal(pushed(stream, x, rng), whole_of(graph, x))


def test_a_push_allocates_nothing_that_stays():
    rng = np.random.default_rng(9)
    stream = Stream(recurrent_decoder(rng))
    x = numbers(rng, 1, 3, 3)
    tracemalloc.start()
    grown = []
    for _ in range(4):  # Python keeps some freed objects for later: the first times there are more of them
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(200):
            stream.push(x)
        gc.collect()
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()
    assert min(grown) < 6000


def test_sessions_that_come_and_go_leave_no_memory(monkeypatch):
    monkeypatch.setattr(state_blocks, "_LEAST", 1000)
    rng = np.random.default_rng(13)
    stream, x = Stream(recurrent_decoder(rng), batch=0), numbers(rng, 3, 1)
    for _ in range(40):
        session = stream.open()
        for _ in range(3):  # after each the state has other bytes
            stream.push({session: x})
        stream.close(session)
    blocks = [block for each in stream._blocks._free.values() for block in each]
    assert sum(block.nbytes for block in blocks) <= max(1000, 4 * stream.state_bytes)


def test_programs_of_random_lengths_are_few():
    rng = np.random.default_rng(10)
    graph = decoder(rng)
    stream, x = Stream(graph), numbers(rng, 3, 4000)
    np.testing.assert_array_equal(pushed(stream, x, rng, longest=90), whole_of(graph, x))
    assert len(stream._programs) < 60


def test_a_stream_with_a_long_period_is_at_few_places_in_time():
    rng = np.random.default_rng(11)
    steps = [
        StridedConvolution(
            numbers(rng, out, into, 1, 2 * stride), numbers(rng, out), (1, stride), ((0, 0), (stride, 0))
        )
        for into, out, stride in ((3, 4, 4), (4, 6, 5))
    ]
    graph = StreamGraph([Node(steps[0], (0,)), Node(Pointwise("tanh"), (1,)), Node(steps[1], (2,))], 3)
    assert graph.period == 20
    stream, x = Stream(graph), numbers(rng, 3, 1500)
    made, at = [], 0
    while at < 1500:
        count = int(rng.integers(0, 50))
        made.append(stream.push({0: x[:, at : at + count]})[0])
        at = min(1500, at + count)
        state = stream.state(0)
        assert sum(array.nbytes for name, array in state.items() if "_" in name) == graph.state_bytes_after(at)
    assert len(stream._programs) < 12
    stream = Stream(graph)
    stream.restore(state)
    np.testing.assert_array_equal(np.concatenate([*made, stream.flush(0)], 1), whole_of(graph, x))


# -- refusals ----------------------------------------------------------------------------------------------------


def test_bad_chunks_are_refused_and_change_nothing():
    stream = Stream(decoder(np.random.default_rng(0)), batch=2)
    x = numbers(np.random.default_rng(1), 2, 3, 20)
    first = stream.push(x[:, :, :9])
    bad = [
        (lambda: stream.push(x[:1]), ShapeError, r"\[2, 3, n\] is needed"),
        (lambda: stream.push(x[:, :2]), ShapeError, r"\(3, n\) is needed"),
        (lambda: stream.push(x[0]), ShapeError, r"\[2, 3, n\] is needed"),
        (lambda: stream.push(x.astype(np.float64)), DtypeError, "float64; float32 is needed"),
        (lambda: stream.push({0: x[0], 1: x[1, :1]}), ShapeError, r"\(3, n\) is needed"),
        (lambda: stream.push({0: x[0], 5: x[1]}), ArgumentError, "no session 5; the sessions are 0, 1"),
        (lambda: stream.push({0: x[0], "a": x[1]}), ArgumentError, "no session 'a'"),
        (lambda: stream.push("abc"), TconvError, "is needed"),
        (lambda: stream.push(None), TconvError, "is needed"),
        (lambda: stream.flush(9), ArgumentError, "no session 9"),
        (lambda: stream.reset(9), ArgumentError, "no session 9"),
        (lambda: stream.close(9), ArgumentError, "no session 9"),
        (lambda: stream.state(9), ArgumentError, "no session 9"),
    ]
    for call, error, match in bad:
        with pytest.raises(error, match=match):
            call()
    made = np.concatenate([first, stream.push(x[:, :, 9:]), stream.flush()], 2)
    np.testing.assert_array_equal(made, stream(x))
    with pytest.raises(ArgumentError, match=r"session 0 has ended\. Write stream\.reset"):
        stream.push(x)
    stream.reset(0)
    assert stream.push({0: x[0]})[0].shape[0] == 2
    with pytest.raises(ArgumentError, match="batch"):
        Stream(stream.graph, batch=-1)


def test_an_end_without_input_has_no_output():
    stream = Stream(decoder(np.random.default_rng(0)), batch=2)
    assert stream.flush().shape == (2, 2, 0)
    with pytest.raises(ArgumentError, match="has ended"):
        stream.flush(0)
    stream.reset()
    stream.push({0: numbers(np.random.default_rng(1), 3, 2)})
    with pytest.raises(ShapeError, match="reflected"):  # as the whole of two samples is
        stream.flush(0)
    assert stream.push({0: numbers(np.random.default_rng(1), 3, 20)})[0].shape[1] > 0
