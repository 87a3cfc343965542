"""The identity <conv(u), v> == <u, conv_transpose(v)>, which makes one the transpose of the other."""

import numpy as np
import pytest
from hypothesis import given

import tconv
from random_calls.strategies import cases


@pytest.mark.parametrize("complex_", [False, True])
def test_real_and_complex(complex_):
    @given(cases(complex_=complex_))
    def identity(case):
        g = case.geometry
        y = tconv.conv_transpose(case.x, case.w, geometry=g)
        u = np.random.default_rng(y.size).integers(-5, 6, y.shape).astype(y.dtype)
        if complex_:
            u = u + 1j * np.roll(u, 1)
        back = tconv.conv(u, case.w.conj(), geometry=g)
        assert back.shape == case.x.shape
        assert np.vdot(u, y) == np.vdot(back, case.x)

    identity()


@given(cases())
def test_the_linear_operator(case):
    A = tconv.linear_operator(case.w.astype(float), case.x.shape[1:], geometry=case.geometry)
    v, u = case.x[0].ravel().astype(float), np.arange(A.shape[0], dtype=float)
    assert np.vdot(u, A @ v) == np.vdot(A.H @ u, v)
