"""Dependence measured on modules that cannot be read, here functions of NumPy, and streams on exact windows of them."""

import numpy as np
import pytest

from tconv.errors import ShapeError, StreamError
from tconv.streaming.probing import measure_dependence
from tconv.streaming.window_stream import WindowStream

CHANNELS = 2


def numbers(*shape):
    return np.random.default_rng(shape).standard_normal(shape, dtype=np.float32)


def conv(kernel, stride=1, dilation=1, sides=(0, 0), mode="constant"):
    """Return a convolution of 2 channels, written out."""
    weight, bias = numbers(CHANNELS, CHANNELS, kernel), numbers(CHANNELS, 1) + 1

    def run(x):
        if mode == "reflect" and x.shape[2] <= max(sides):
            raise ValueError("too short to reflect")
        x = np.pad(x, ((0, 0), (0, 0), sides), mode=mode)
        length = (x.shape[2] - dilation * (kernel - 1) - 1) // stride + 1
        if length < 1:
            raise ValueError("too short")
        parts = [x[:, :, dilation * t :][:, :, : stride * (length - 1) + 1 : stride] for t in range(kernel)]
        return np.einsum("oct,tnci->noi", weight, np.stack(parts)) + bias

    return run


def up(kernel, stride, crop=(0, 0)):
    """Return a transposed convolution of 2 channels, written out."""
    weight, bias = numbers(CHANNELS, CHANNELS, kernel), numbers(CHANNELS, 1) + 1

    def run(x):
        full = np.zeros((len(x), CHANNELS, stride * (x.shape[2] - 1) + kernel), np.float32)
        for tap in range(kernel):
            full[:, :, tap : tap + stride * (x.shape[2] - 1) + 1 : stride] += np.einsum(
                "cd,nci->ndi", weight[:, :, tap], x
            )
        return full[:, :, crop[0] : full.shape[2] - crop[1]] + bias

    return run


def chain(*layers):
    def run(x):
        for layer in layers:
            x = layer(x)
        return x

    return run


def relu(x):
    return np.maximum(x, 0)


def block_means(x):
    """Return means of blocks of 10; what is left at the end is dropped."""
    blocks = x[:, :, : x.shape[2] // 10 * 10].reshape(*x.shape[:2], -1, 10)
    return np.repeat(blocks.mean(-1), 10, 2) + blocks.reshape(*x.shape[:2], -1)


def only_four(x):
    """Return the sum of two neighbours, of one input at a time, with the input changed in place."""
    if len(x) != 1:
        raise ValueError("one at a time")
    x[:] *= 2
    return x + np.pad(x, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]


MODULES = {
    "causal": (conv(5, sides=(4, 0)), 4, 0, 1),
    "centred": (conv(5, sides=(2, 2)), 2, 2, 1),
    "looking ahead": (conv(5, sides=(0, 4)), 0, 4, 1),
    "valid": (conv(5), 0, 4, 1),
    "dilated": (conv(3, dilation=5, sides=(10, 0)), 10, 0, 1),
    "reflected": (conv(7, sides=(6, 0), mode="reflect"), 6, 0, 1),
    "reflected at both ends": (conv(7, sides=(3, 3), mode="reflect"), 3, 3, 1),
    "transposed": (up(4, 2, (1, 1)), 1, 1, 1),
    "transposed, causal": (up(8, 4, (0, 4)), 1, 0, 1),
    "transposed, sparse": (up(2, 3), 0, 1, 1),
    "strided": (conv(4, 2, sides=(1, 1)), 2, 2, 2),
    "decoder": (chain(conv(7, sides=(6, 0), mode="reflect"), up(8, 4, (2, 2)), relu, conv(3, 1, 3, (3, 3))), 8, 2, 1),
    "down and up": (chain(conv(4, 3, sides=(1, 1)), relu, up(3, 3)), 3, 2, 3),
    "hides NaN": (lambda x: np.fmax(conv(3, sides=(2, 0))(x), 0), 2, 0, 1),
    "refuses NaN": (lambda x: conv(3, sides=(2, 0))(np.asarray_chkfinite(x)), 2, 0, 1),
    "blocks": (block_means, 0, 9, 10),
    "one at a time, in place": (only_four, 1, 0, 1),
    "behind a gate": (lambda x: np.where(x > 1, conv(5, sides=(4, 0))(x), x), 4, 0, 1),
}


@pytest.mark.parametrize("name", MODULES)
def test_context_and_period_are_found(name):
    run, left, right, period = MODULES[name]
    found = measure_dependence(run, CHANNELS)
    assert (found.left, found.right, found.period) == (left, right, period)
    for length in range(found.shortest, found.shortest + 3 * period):
        assert found.output_length(length) == run(numbers(1, CHANNELS, length)).shape[2]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("longest", [1, 25])
def test_any_chunks_give_the_whole(name, longest):
    run = MODULES[name][0]
    stream = WindowStream(run, CHANNELS, batch=2)
    rng = np.random.default_rng(longest)
    for length in (stream.dependence.shortest, 43, 60 + longest):
        x, chunks, at = numbers(2, CHANNELS, length), [], 0
        while at < length:
            count = int(rng.integers(0, longest + 1))
            chunks.append(stream.push(x[:, :, at : at + count]))
            at += count
        made = np.concatenate([*chunks, stream.flush()], 2)
        whole = np.concatenate([run(row[None].copy()) for row in x])
        np.testing.assert_allclose(made, whole, rtol=0, atol=1e-5 * np.abs(whole).max())
        stream.reset()


def test_a_long_stride_is_found_from_a_few_places():
    run = chain(conv(16, 8, sides=(4, 4)), conv(80, 40, sides=(20, 20)))
    stream = WindowStream(run, CHANNELS)
    assert (stream.dependence.period, stream.dependence.outputs) == (320, 1)
    x = numbers(1, CHANNELS, 2345)
    made = np.concatenate([*(stream.push(x[:, :, at : at + 271]) for at in range(0, 2345, 271)), stream.flush()], 2)
    np.testing.assert_allclose(made, run(x), rtol=0, atol=1e-4)


def test_whole_numbers_are_probed_with_other_ones():
    table = numbers(50, CHANNELS)
    layer = conv(3, sides=(2, 0))
    found = measure_dependence(
        lambda x: layer(table[x[:, 0]].transpose(0, 2, 1)),
        1,
        dtype=np.int64,
        draw=lambda rng, shape: rng.integers(0, 50, shape),
    )
    assert (found.left, found.right) == (2, 0)


def filtered(x):
    out = x.copy()
    for t in range(1, x.shape[2]):
        out[:, :, t] += 0.9 * out[:, :, t - 1]
    return out


REFUSED = {
    "normalised over time": (lambda x: x - x.mean(2, keepdims=True), r"output t depends on all of time \(a normal"),
    "recursive": (filtered, r"depends on all inputs before it \(an LSTM.* needs state"),
    "backward": (lambda x: filtered(x[:, :, ::-1])[:, :, ::-1], "depends on all inputs after it"),
    "recursive, hides NaN": (lambda x: filtered(np.nan_to_num(x)), "earlier inputs fades instead of ending"),
    "by the first input": (lambda x: x / (1 + x[:, :, :1] ** 2), "depends on all inputs before it"),
    "a batch norm": (lambda x: x - x.mean((0, 2), keepdims=True), "depends on all of time.*batch norm in training"),
    "random": (lambda x: x + np.random.default_rng().random(x.shape), r"draws random numbers.*module.eval\(\)"),
    "a position": (lambda x: x * np.cos(np.arange(x.shape[2])), "knows its place in time"),
    "the length": (lambda x: x / x.shape[2], "knows its place in time, or the length"),
    "a constant": (np.ones_like, "no output depends on the inputs"),
    "one length": (lambda x: x.sum(2, keepdims=True), "the same length for all inputs"),
    "a square": (lambda x: np.repeat(x, x.shape[2], 2), "no fixed multiple"),
    "NaN": (lambda x: np.log(x), "NaN or infinity for ordinary"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_has_no_exact_window_is_refused_with_its_reason(name):
    run, message = REFUSED[name]
    with pytest.raises(StreamError, match=message):
        WindowStream(run, CHANNELS, longest=256)


def test_errors_of_the_module_are_its_own():
    def run(x):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        measure_dependence(run, CHANNELS, longest=64)
    with pytest.raises(ShapeError, match=r"gives shape \(1, 2\) for input .* is needed"):
        measure_dependence(lambda x: x[:, :, 0], CHANNELS)


def test_windows_have_few_lengths_and_their_repeated_work_is_counted():
    lengths = set()
    inner = chain(conv(7, sides=(6, 0)), up(8, 4, (2, 2)), conv(3, sides=(1, 1)))

    def run(x):
        lengths.add(x.shape[2])
        return inner(x)

    stream = WindowStream(run, CHANNELS)
    rng = np.random.default_rng(3)
    for _ in range(200):
        stream.push(numbers(1, CHANNELS, int(rng.integers(1, 40))))
    lengths.clear()
    for _ in range(200):
        stream.push(numbers(1, CHANNELS, int(rng.integers(1, 40))))
    assert len(lengths) <= len(stream.step.window_lengths) <= 12
    assert stream.work_repeated(1) > 8
    assert 1 < stream.work_repeated(40) < 2


def test_a_state_goes_on_elsewhere():
    run = MODULES["decoder"][0]
    x = numbers(1, CHANNELS, 50)
    there, here = WindowStream(run, CHANNELS), WindowStream(run, CHANNELS)
    first = there.push(x[:, :, :23])
    here.restore(there.state())
    made = np.concatenate([first, here.push(x[:, :, 23:]), here.flush()], 2)
    np.testing.assert_allclose(made, run(x), rtol=0, atol=1e-4)


def test_a_module_that_fails_leaves_the_sessions_as_they_were():
    inner, broken = MODULES["decoder"][0], []

    def run(x):
        if broken:
            raise RuntimeError("out of memory")
        return inner(x)

    stream, x = WindowStream(run, CHANNELS), numbers(1, CHANNELS, 60)
    first = stream.push(x[:, :, :30])
    broken.append(True)
    with pytest.raises(RuntimeError, match="out of memory"):
        stream.push(x[:, :, 30:50])
    broken.clear()
    made = np.concatenate([first, stream.push(x[:, :, 30:]), stream.flush()], 2)
    np.testing.assert_allclose(made, inner(x), rtol=0, atol=1e-4)


def test_nan_spreads_over_its_outputs_and_is_gone_with_its_window():
    run = MODULES["decoder"][0]
    stream, x = WindowStream(run, CHANNELS), numbers(1, CHANNELS, 80)
    x[0, 1, 20] = np.nan
    made = np.concatenate([*(stream.push(x[:, :, at : at + 4]) for at in range(0, 80, 4)), stream.flush()], 2)
    np.testing.assert_array_equal(np.isnan(made), np.isnan(run(x)))


def test_sessions_in_doubles_go_on_by_themselves():
    run = conv(5, sides=(2, 2))
    stream = WindowStream(lambda x: run(x).astype(np.float64), CHANNELS, batch=0, dtype=np.float64, sample_rate=100)
    one, two = stream.open(), stream.open()
    x = numbers(2, CHANNELS, 40).astype(np.float64)
    made = {one: [stream.push({one: x[0, :, :7]})[one]], two: []}
    for at in range(7, 40, 3):
        for number, chunk in stream.push({one: x[0, :, at : at + 3], two: x[1, :, at - 7 : at - 4]}).items():
            made[number].append(chunk)
    made[two].append(stream.push({two: x[1, :, 33:]})[two])
    whole = run(x)
    for number, each in zip((one, two), whole, strict=True):
        joined = np.concatenate([*made[number], stream.flush(number)], 1)
        np.testing.assert_allclose(joined, each, rtol=0, atol=1e-12)


def test_the_report_names_the_way_and_the_work():
    stream = WindowStream(MODULES["decoder"][0], CHANNELS, sample_rate=1000)
    report = stream.report
    assert (report.way, report.latency, report.left_context, report.right_context) == ("exact windows", 5, 8, 2)
    assert report.work == stream.work_repeated(5) > 2
    assert "exact windows" in str(report)
    assert "of the offline run's in chunks of 5 inputs: contexts are computed again" in str(report)
    fast = stream.report_of("fast", sample_rate=1e12)
    assert fast.chunk == 1 << 16
    assert 1 < fast.work < 1.2
