"""The shapes of oneDNN's benchmark driver, against PyTorch, whose CPU kernels are oneDNN's: sizes and values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tconv
from random_calls import whole_numbers

TABLE = Path(__file__).parent.parent / "data" / "onednn_deconv_shapes.txt"


def shapes():
    """(groups, C_in, C_out, input, Geometry, output) of each row of the table."""
    for line in TABLE.read_text().splitlines():
        if line.startswith("#"):
            continue
        groups, c_in, c_out, *rest = line.split()
        n, k, s, p, d, L = (tuple(map(int, entry.split("x"))) for entry in rest)
        full = tconv.Geometry(k, s, 0, d).full_shape(n)
        crop = [(lo, F - size - lo) for lo, F, size in zip(p, full, L, strict=True)]
        yield int(groups), int(c_in), int(c_out), n, tconv.Geometry(k, s, crop, d, int(groups)), L


SHAPES = list(shapes())


def test_sizes():
    assert len(SHAPES) == 209
    for groups, c_in, c_out, n, g, L in SHAPES:
        assert c_in % groups == c_out % groups == 0
        assert g.output_shape(n) == L
        assert g.conv_shape(L) == n
        x = np.broadcast_to(np.float32(0), (1, c_in, *n))
        w = np.broadcast_to(np.float32(0), (c_in, c_out // groups, *g.kernel))
        problem = tconv.plan(x, w, geometry=g).problem
        assert problem.output_shape == L
        assert problem.macs.exact <= g.macs(n, c_in, c_out).border_free


@pytest.mark.parametrize("part", range(8))
def test_values(part):
    """Few channels, all positions."""
    rng, single_calls = np.random.default_rng(part), 0
    for groups, c_in, c_out, n, g, L in SHAPES[part::8]:
        few_in, few_out = min(c_in // groups, 2), min(c_out // groups, 2)
        x = torch.from_numpy(whole_numbers(rng, (1, groups * few_in, *n)))
        weight = torch.from_numpy(whole_numbers(rng, (groups * few_in, few_out, *g.kernel)))
        names = {"torch": torch, "x": x, "weight": weight}
        code = tconv.dialect("torch").code(g, n)
        exec(code, names)
        got = tconv.conv_transpose(x, weight, geometry=g)
        assert got.shape == (1, groups * few_out, *L)
        assert torch.equal(got, names["y"]), (n, g)
        single_calls += "\n" not in code
    assert single_calls > 15  # the others need a slice
