"""`tconv env --warmup` builds what usual layers need, in every dtype and both layouts."""

from __future__ import annotations

import pytest

pytest.importorskip("llvmlite")

# in a process of its own: tables of layers keep the addresses, which are none here
USUAL_LAYERS = """
from itertools import product
import numpy as np
import dtypes
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd import warmup
from tconv.kernels.simd.form_choice import direct_form
from tconv.kernels.simd.object_cache import ObjectCache

names = set()
ObjectCache.address = lambda self, name, write: names.add(name) or 1
warmup.pool = lambda: None
warmup.warm_up(lambda text: None)
built = set(names)
names.clear()
channels_and_sizes = (60, 32, 56), (60, 3, 64), (250, 128, 14), (500, 256, 8), (120, 64, 28)
kernels = (4, 2, 1), (2, 2, 0), (3, 2, 1)
for dtype, (c_in, c_out, size), (k, s, p) in product(map(dtypes.dtype_of, dtypes.KERNEL_DTYPES), channels_and_sizes, kernels):
    problem = Problem(Geometry((k, k), s, p), 1, c_in, c_out, (size, size), dtype)
    for last in (False, True):
        strides = []
        for channels, *spatial in ((c_in, size, size), (c_out, *problem.output_shape)):
            array = np.empty((channels, *spatial), dtype)
            if last:
                array = np.moveaxis(np.empty((*spatial, channels), dtype), -1, 0)
            strides.append(tuple(step // dtype.itemsize for step in array[None].strides))
        direct_form(problem, *strides).compile(problem, *strides, 1, False)
assert len(names) > 40, len(names)
print(sorted(names - built))
"""


@pytest.mark.parametrize("environment", [{}, {"TCONV_BF16_DOT": 0}])
def test_usual_layers_find_all_of_their_code(environment, python):
    assert python(USUAL_LAYERS, **environment) == "[]\n"
