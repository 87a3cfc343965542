"""Solutions compared with brute force over the stated domain."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tconv
from tconv import Geometry
from tconv.errors import ArgumentError, GeometryError, ShapeError, TconvError


def brute(n, L, kernels, strides, d, crops_like_padding):
    """Return every (kernel, stride, lo, hi, n, L) of the domain on one axis, by trying all."""
    found = set()
    for k, s in product(kernels, strides):
        e, extra = d * (k - 1) + 1, max(s, d) - 1
        for lo, hi in product(range(e), range(-extra, e)):
            if crops_like_padding and not lo - extra <= hi <= lo:
                continue
            for small in [n] if n else range(1, 60):
                try:
                    large = Geometry(k, s, [(lo, hi)], d).output_shape(small)[0]
                except TconvError:
                    continue
                if L is None or large == L:
                    found.add((k, s, lo, hi, small, large))
    return found


def as_set(solutions):
    return {
        (s.geometry.kernel[0], s.geometry.stride[0], *s.geometry.crop[0], s.input[0], s.output[0]) for s in solutions
    }


@given(
    st.integers(1, 6),
    st.integers(1, 14),
    st.one_of(st.none(), st.integers(1, 5)),
    st.one_of(st.none(), st.integers(1, 4)),
    st.integers(1, 3),
)
def test_both_sizes_given(n, L, k, s, d):
    solutions = tconv.solve(input=n, output=L, kernel=k, stride=s, dilation=d)
    everything = brute(n, L, [k] if k else range(1, 9), [s] if s else range(1, 9), d, crops_like_padding=False)
    assert len(solutions) == len(everything)
    assert as_set(solutions) == everything


@given(st.integers(1, 14), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_one_size_given(size, k, s, d, is_output):
    solutions = tconv.solve(**{"output" if is_output else "input": size}, kernel=k, stride=s, dilation=d)
    n, L = (None, size) if is_output else (size, None)
    assert as_set(solutions) == brute(n, L, [k], [s], d, crops_like_padding=True)


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4))
def test_the_arguments_mean_the_geometry(n, L, k, s):
    for solution in tconv.solve(input=(n, n + 1), output=(L, L + s), kernel=k, stride=s):
        for name in ("torch", "tensorflow", "onnx"):
            arguments = getattr(solution, name)
            if arguments is None:
                continue
            groups = "group" if name == "onnx" else "groups"
            read = tconv.dialect(name).geometry(
                kernel=solution.geometry.kernel, input=solution.input, **{groups: 1, **arguments}
            )
            assert read == solution.geometry
        assert solution.geometry.output_shape(solution.input) == solution.output


def test_torch_is_missing_only_where_it_cannot_express_the_crop():
    for solution in tconv.solve(input=5, output=11):
        ((lo, hi),), (s,) = solution.geometry.crop, solution.geometry.stride
        assert (solution.torch is not None) == (0 <= lo - hi < max(s, 1))
        if solution.torch is not None:
            assert solution.torch["padding"] == lo
            assert solution.torch["output_padding"] == lo - hi


def test_the_usual_settings_come_first():
    assert tconv.solve(input=8, output=16, kernel=4, stride=2)[0].torch == {
        "stride": 2, "padding": 1, "output_padding": 0, "groups": 1, "dilation": 1,
    }  # fmt: skip
    best = tconv.solve(input=8, output=16, kernel=3, stride=2)
    assert (best[0].torch["padding"], best[0].torch["output_padding"]) == (1, 1)
    assert tconv.solve(input=8, output=16)[0].geometry.kernel == (2,)
    assert tconv.solve(output=(17, 33), kernel=3, stride=2)[0].input == (8, 16)


def test_equal_axes_get_equal_crops():
    for solution in tconv.solve(input=(7, 7), output=(14, 14), kernel=4, stride=2):
        assert solution.geometry.crop[0] == solution.geometry.crop[1]
    crops = {s.geometry.crop for s in tconv.solve(input=(7, 8), output=(14, 16), kernel=4, stride=2)}
    assert any(a != b for a, b in crops)


def test_printing():
    text = str(tconv.solve(input=8, output=16, kernel=4, stride=2))
    assert text.startswith(
        "4 settings\n1. (8,) -> (16,): kernel (4,), stride (2,), dilation (1,), crop ((1, 1),)\n  torch      stride=2, padding=1"
    )
    assert "padding='SAME'" in text
    assert str(tconv.solve(input=8, output=100, kernel=4, stride=2)) == "no setting within the domain gives these sizes"
    assert "... and" in str(tconv.solve(input=8, output=16))


def test_refusals():
    with pytest.raises(
        ArgumentError,
        match=r"neither input= nor output= was given; at least one size is needed\. Write tconv\.solve\(input=8, output=16",
    ):
        tconv.solve(kernel=3, stride=2)
    with pytest.raises(
        ShapeError, match=r"the arguments have different numbers of axes: \{'input': 2, 'output': 3\}\. Use one int, or"
    ):
        tconv.solve(input=(1, 2), output=(1, 2, 3))
    with pytest.raises(GeometryError, match="output is 0; it must be at least 1"):
        tconv.solve(output=0)
    with pytest.raises(
        ArgumentError,
        match=r"settings fit; at most 20000 can be listed\. Use fewer axes at a time, or give input, output",
    ):
        tconv.solve(input=(40, 50, 60), kernel=30, stride=(7, 8, 9))
