"""diagnose with MLX in a process of its own: its fixes run on arrays that tconv does not take."""

from __future__ import annotations

import mlx.core
import numpy as np
import pytest
from fix_lines import check_fixes


@pytest.mark.parametrize("name", ["mlx", "mlx_general"])
def test_the_fixes(name):
    wrap = lambda array: mlx.core.array(np.ascontiguousarray(array))  # noqa: E731
    tally = check_fixes(name, {"mlx": mlx}, wrap=wrap)
    print(dict(tally))
    assert tally["recomputed"] > 25
    assert tally["fixed"] > 100
