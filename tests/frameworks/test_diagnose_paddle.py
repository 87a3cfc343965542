"""diagnose with PaddlePaddle in a process of its own: the lines that it writes, run on tensors that tconv does not take."""

from __future__ import annotations

import numpy as np
import paddle
from fix_lines import check_mending


def test_the_lines_that_mend():
    wrap = lambda array: paddle.to_tensor(np.ascontiguousarray(array))  # noqa: E731
    tally = check_mending("paddle", {"paddle": paddle}, wrap=wrap)
    print(dict(tally))
    assert tally["made anew"] > 60
    assert tally["mended"] > 250
