"""diagnose with MLX in a process of its own: the lines that it writes, run on arrays that tconv does not take."""

from __future__ import annotations

import mlx.core
import numpy as np
import pytest
from fix_lines import check_mending


@pytest.mark.parametrize("name", ["mlx", "mlx_general"])
def test_the_lines_that_mend(name):
    wrap = lambda array: mlx.core.array(np.ascontiguousarray(array))  # noqa: E731
    tally = check_mending(name, {"mlx": mlx}, wrap=wrap)
    print(dict(tally))
    assert tally["made anew"] > 50
    assert tally["mended"] > 200
