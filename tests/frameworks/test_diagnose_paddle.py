"""diagnose with PaddlePaddle in a process of its own: its fixes run on tensors that tconv does not take."""

from __future__ import annotations

import numpy as np
import paddle
from fix_lines import check_fixes


def test_the_fixes():
    wrap = lambda array: paddle.to_tensor(np.ascontiguousarray(array))  # noqa: E731
    tally = check_fixes("paddle", {"paddle": paddle}, wrap=wrap)
    print(dict(tally))
    assert tally["recomputed"] > 30
    assert tally["fixed"] > 125
