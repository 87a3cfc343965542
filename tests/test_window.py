"""The windows of stacks, against the indicators that travel through the operators themselves."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tconv
from tconv import Geometry, window
from tconv.errors import ArgumentError, GeometryError, ShapeError, TooLargeError
from tconv.streaming.chain_layers import ordinary_convolution


@st.composite
def layers(draw, ndim=1, crops=(-2, 5)):
    numbers = st.tuples(*[st.integers(1, 4)] * ndim)
    crop = st.tuples(*[st.tuples(st.integers(*crops), st.integers(*crops))] * ndim)
    g = Geometry(draw(numbers), draw(numbers), draw(crop), draw(numbers))
    return g if draw(st.booleans()) else g.convolution


def stacks(**options):
    return st.lists(layers(**options), min_size=1, max_size=4)


def apply(layer, x):
    """Run one layer with positive weights and a bias: an output differs where it depends on something that differs."""
    g = layer if isinstance(layer, Geometry) else layer.geometry
    weight = np.ones((1, 1, *g.kernel))
    return tconv.conv_transpose(x, weight, geometry=g) if layer is g else tconv.conv(x, weight, geometry=g)


def depends(chain, shape):
    """Return [*inputs, *outputs]: True where an output depends on an input."""
    x = np.eye(int(np.prod(shape))).reshape(-1, 1, *shape)
    for layer in chain:
        x = (apply(layer, x) > 0).astype(float)
    return (x[:, 0] > 0).reshape(*shape, *x.shape[2:])


def hull(flags):
    """Return the smallest slice per axis around all that are True; (0, 0) if none is."""
    found = np.argwhere(flags)
    if not len(found):
        return (slice(0, 0),) * flags.ndim
    return tuple(slice(int(lo), int(hi) + 1) for lo, hi in zip(found.min(0), found.max(0), strict=True))


def has_output(chain, shape, most=150):
    try:
        return max(window(chain).output_shape(shape)) < most
    except ShapeError:
        return False


@settings(max_examples=30)
@given(stacks(), st.integers(1, 14), st.data())
def test_windows_of_a_bounded_input(chain, size, data):
    assume(has_output(chain, size))
    joined = depends(chain, (size,))
    w = window(chain, input_shape=size)
    assert w.output_shape(size) == joined.shape[1:]
    for axis, method in enumerate((w.output_window, w.input_window)):
        start = data.draw(st.integers(-2, joined.shape[axis]))
        asked = slice(start, data.draw(st.integers(start, joined.shape[axis] + 2)))
        inside = slice(max(asked.start, 0), max(asked.stop, 0))
        assert method(asked) == hull(np.moveaxis(joined, axis, 0)[inside].any(0))
    asked = slice(start := data.draw(st.integers(0, size - 1)), data.draw(st.integers(start + 1, size)))
    others = np.delete(joined, asked, axis=0).any(0)
    (final,) = w.final_window(asked)
    assert not others[final].any()
    # the first output that depends on an earlier input, or a later one, is beyond the ends
    before, behind = joined[: asked.start].any(0), joined[asked.stop :].any(0)
    first = int(np.flatnonzero(before)[-1]) + 1 if before.any() else 0
    last = int(np.flatnonzero(behind)[0]) if behind.any() else joined.shape[1]
    assert final == (slice(first, last) if first < last else slice(0, 0))


@settings(max_examples=12)
@given(stacks(ndim=2, crops=(-1, 3)), st.tuples(st.integers(1, 5), st.integers(1, 5)), st.data())
def test_windows_of_two_axes(chain, shape, data):
    assume(has_output(chain, shape))
    joined = depends(chain, shape)
    assume(joined.size < 1e6)
    w = window(chain, input_shape=shape)
    outputs = tuple(
        slice(start := data.draw(st.integers(0, size - 1)), data.draw(st.integers(start + 1, size)))
        for size in joined.shape[2:]
    )
    needed = w.input_window(outputs)
    expected = hull(joined[:, :, *outputs].any((2, 3)))
    if expected == (slice(0, 0),) * 2:  # one axis without an input is enough
        assert slice(0, 0) in needed
    else:
        assert needed == expected


@settings(max_examples=30)
@given(stacks())
def test_phases_are_the_windows_of_single_outputs_far_from_the_borders(chain):
    w = window(chain)
    (stack,) = w.stacks
    period, outputs = stack.period, stack.output_period
    assume(outputs <= 24)
    reach = 20 + 2 * max(abs(end) for each in w.phases[0] for end in (each.start, each.stop))
    middle = period * (reach // period + 1)
    assume(middle < 60)
    assume(has_output(chain, 2 * middle, 500))
    joined = depends(chain, (2 * middle,))
    for phase, inputs in enumerate(w.phases[0]):
        place = int(middle * w.rate[0]) + phase
        found = np.flatnonzero(joined[:, place])
        assert inputs == (slice(int(found[0]) - middle, int(found[-1]) + 1 - middle) if len(found) else slice(0, 0))
    spans = [each.stop - each.start for each in w.phases[0]]
    assert w.receptive_field == (max(spans),)
    chunk = np.flatnonzero(joined[:, int(middle * w.rate[0]) : int(middle * w.rate[0]) + outputs].any(1))
    if len(chunk):
        assert w.left_context == (max(0, middle - int(chunk[0])),)
        assert w.right_context == (max(0, int(chunk[-1]) + 1 - middle - period),)


def run(chain, x):
    """Return the output of a stream that ended with x, with a bias in every layer; () if nothing is left."""
    rng = np.random.default_rng(0)
    x = x[None, None]
    for layer in chain:
        g = layer if isinstance(layer, Geometry) else layer.geometry
        weight, bias = rng.integers(1, 99, (1, 1, *g.kernel)), rng.integers(1, 99)
        if not x.size:
            return ()
        try:
            x = bias + (
                tconv.conv_transpose(x, weight, geometry=g) if layer is g else tconv.conv(x, weight, geometry=g)
            )
        except ShapeError:
            return ()
    return x[0, 0]


@settings(max_examples=60)
@given(st.lists(layers(), min_size=1, max_size=3), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_final_outputs_are_those_that_nothing_behind_them_changes(chain, received, seed):
    rng = np.random.default_rng(seed)
    start = rng.integers(1, 10**6, received)
    futures = [np.concatenate([start, rng.integers(1, 10**6, more)]) for more in (0, 0, 1, 2, 3, 5, 17, 60, 300, 300)]
    outputs = [run(chain, x) for x in futures]
    agree = 0
    while all(len(each) > agree and each[agree] == outputs[0][agree] for each in outputs):
        agree += 1
    assert window(chain).final_count(received) == (agree,)


@given(stacks(crops=(0, 3)))
def test_latency_is_the_most_that_is_withheld(chain):
    w = window(chain)
    (stack,) = w.stacks
    far = 5000 * stack.period
    withheld = [w.rate[0] * n - w.final_count(n)[0] for n in range(far, far + 2 * stack.period)]
    assert stack.latency == max(withheld) == sum(w.look_ahead[0])
    assert w.latency[0] == max(0, -(-max(withheld) // 1))
    first = w.first_output[0]
    if first is not None:
        assert w.final_count(first)[0] > 0
        assert w.final_count(first - 1) == (0,)


@pytest.mark.parametrize("g", [Geometry(4, 2, 1), Geometry(3, 4, 0, 3), Geometry((5, 3), (2, 3), ((1, 2), (0, 1)), 2)])
def test_one_layer_is_its_geometry(g):
    w = window([g])
    outputs = [slice(7, 12)] * g.ndim
    assert w.input_window(outputs) == g.input_window(outputs)
    assert w.output_window(outputs) == g.output_window(outputs)
    assert w.receptive_field == g.receptive_field
    assert w.rate == tuple(map(Fraction, g.stride))


def test_hulls_of_hulls_would_be_too_wide():
    """Output 0 of the second layer reads 3 and 5 of the first; 5 reads nothing, and 4 between them reads input 0."""
    first, second = Geometry(2, 3, 0, 4), Geometry(2, 1, -3, 2).convolution
    assert first.input_window([slice(3, 6)]) == (slice(0, 2),)
    assert window([first, second]).input_window(slice(0, 1)) == (slice(1, 2),)


def test_a_chain_takes_layers_of_all_kinds_and_chains():
    smooth, up = ordinary_convolution(7, padding=3), Geometry(16, 8, 4)
    stack = window([smooth, [up, window([up, smooth])]])
    assert [layer.name for layer in stack.layers] == ["convolution", "transposed", "transposed", "convolution"]
    assert window(up).rate == (8,)
    assert repr(smooth) == "Geometry(kernel=(7,), stride=(1,), crop=((3, 3),), dilation=(1,), groups=1).convolution"


@pytest.mark.parametrize(
    ("padding", "size", "crop"),
    [
        (2, None, (2, 2)), ([(3, 0)], None, (3, 0)), ("valid", None, (0, 0)), ("causal", None, (6, 0)),
        ("same", None, (3, 3)), ("same", 9, (3, 3)), ("SAME", 10, (2, 3)), ("same_lower", 10, (3, 2)),
    ],
)  # fmt: skip
def test_paddings_of_ordinary_convolutions(padding, size, crop):
    stride = 2 if size else 1
    assert ordinary_convolution(4, stride, padding, 2, size).geometry.crop == (crop,)


# -- the three cases of reported decoders ------------------------------------------------------------------------


def vocoder():
    """Return a HiFi-GAN of 256 samples per frame: its longest path, kernels 11 and dilations 1, 3, 5."""
    chain = [ordinary_convolution(7, padding=3)]
    for kernel, stride in ((16, 8), (16, 8), (4, 2), (4, 2)):
        chain.append(Geometry(kernel, stride, (kernel - stride) // 2))
        for dilation in (1, 3, 5):
            chain += [ordinary_convolution(11, 1, 5 * dilation, dilation), ordinary_convolution(11, padding=5)]
    return [*chain, ordinary_convolution(7, padding=3)]


def test_an_overlap_of_8_frames_where_27_are_needed():
    """Chunks of a vocoder that overlap by 8 frames click at the joints: its outputs read 27 frames, 13 on each side."""
    w = window(vocoder())
    assert w.receptive_field == (27,)
    assert (w.left_context, w.right_context) == ((13,), (13,))
    exact = w.final_window(slice(100, 140))[0]
    assert (exact.start, exact.stop) == (28858, 32582)  # of 100*256 = 25600 to 140*256 = 35840
    # a joint in the middle of an overlap of 8 frames is 4 frames from each chunk's end, where outputs are not exact
    assert exact.start > 104 * 256
    assert exact.stop < 136 * 256


def test_555_samples_lost_per_chunk_by_assuming_frames_times_upsampling():
    """The decoder of Qwen3-Omni crops s samples at both ends of each transposed convolution with kernel 2s.

    Its output is 555 samples short of frames * 1920, and a chunk that is sliced as if it were not loses them: at 24 kHz,
    in chunks of 25 frames, 1.2% of the speech. What is named causal there looks as far ahead.
    """
    chain = [Geometry(2, 2), ordinary_convolution(7, padding="causal"), Geometry(2, 2)]
    chain += [ordinary_convolution(7, padding="causal")] * 2
    for stride in (8, 5, 4, 3):
        chain.append(Geometry(2 * stride, stride, stride))
        chain += [ordinary_convolution(7, 1, "causal", dilation) for dilation in (1, 3, 9)]
    w = window(chain, sample_rate=24_000)
    assert w.rate == (1920,)
    assert [frames * 1920 - w.output_shape(frames)[0] for frames in (25, 40, 500)] == [555, 555, 555]
    assert round(100 * 555 / (25 * 1920), 1) == 1.2
    assert w.latency == (555,)
    assert w.latency_ms == 23.125
    assert w.final_count(25) == (25 * 1920 - 555,)
    assert [layer for layer, ahead in zip(w.layers, w.look_ahead[0], strict=True) if ahead] == [
        layer for layer in w.layers if layer.geometry.crop == ((layer.geometry.stride[0],) * 2,)
    ]
    assert w.right_context == (1,)


def test_a_causal_decoder_without_its_state():
    """A causal decoder has no latency, but its chunks need what came before: zeros in its place click at every joint."""
    chain = [
        ordinary_convolution(7, padding="causal"),
        Geometry(16, 8, ((0, 8),)),
        ordinary_convolution(3, padding="causal"),
    ]
    w = window(chain, sample_rate=24_000)
    assert w.latency == (0,)
    assert w.latency_ms == 0
    assert w.right_context == (0,)
    assert w.left_context == (8,)
    assert w.final_count(20) == (160,)
    assert w.final_window(slice(20, 40)) == (slice(218, 320),)  # not 160 to 320


# -- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (([],), ArgumentError, "the chain has no layer; at least one is needed. Write [tconv.Geometry(16, 8, 4)]"),
        ((["conv"],), ArgumentError, "chain[0] is 'conv', which is no layer whose window is known. Write tconv.Geometry"),
        (([Geometry(3), None],), ArgumentError, "chain[1] is of type NoneType, which is no layer"),
        (([Geometry(3), [Geometry((3, 3))]],), ShapeError, "chain[1][0] has 2 axes and the layers before it 1"),
        (([Geometry(3)], slice(0, None)), ShapeError, "the output window contains slice(0, None, None)"),
        (([Geometry(3)], slice(20, 10)), ShapeError, "slice(20, 10), which ends before it starts. Write slice(10, 20)"),
        (([Geometry(3)], [slice(0, 2)] * 2), ShapeError, "the output window has 2 slices; there are 1 spatial axes"),
        (([Geometry(3)], None, 0), GeometryError, "input_shape is 0; it must be at least 1"),
        (([Geometry(9).convolution], None, 5), ShapeError, "chain[0] (convolution): the convolution of (5,) would be"),
        (([Geometry(1 << 25)],), TooLargeError, "in this stack; up to 16777216 are counted"),
    ],
)  # fmt: skip
def test_refusals(arguments, kind, message):
    with pytest.raises(kind) as caught:
        str(window(*arguments))
    assert message in str(caught.value)


@pytest.mark.parametrize("rate", [0, -1, "24k", True, float("inf"), float("nan")])
def test_sample_rates_are_numbers(rate):
    with pytest.raises(ArgumentError, match=r"samples per second of the output are needed\. Write sample_rate=24000"):
        window([Geometry(3)], sample_rate=rate)
    with pytest.raises(ArgumentError, match="sample_rate was given for 2 axes"):
        window([Geometry((3, 3))], sample_rate=24_000)


def test_same_with_a_stride_needs_the_size():
    with pytest.raises(ShapeError, match=r"whose borders depend on the size of the input\. Write input_shape="):
        ordinary_convolution(3, 2, "same")


def test_endless_slices():
    w = window(vocoder())
    assert w.input_window(slice(0, 10**15)) == (slice(-13, 10**15 // 256 + 13),)
    assert window([Geometry(1, 2), Geometry(1, 2, -1).convolution], input_shape=10**12).input_window(
        slice(0, 10**12)
    ) == (slice(0, 0),)


def test_the_table():
    text = str(window(vocoder()[:2], slice(0, 8), sample_rate=16_000))
    assert text.splitlines()[:4] == [
        "layer          kernel  stride  dilation  crop/padding  rate  receptive field  look-ahead",
        "1 convolution       7       1         1           3:3     1                7          24",
        "2 transposed       16       8         1           4:4     8                8           4",
        "",
    ]
    assert "latency          28 outputs = 1.75 ms at 16000 Hz" in text
    assert text.endswith("outputs 0:8 need inputs -4:5")
