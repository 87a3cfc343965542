"""diagnose with OpenVINO in a process of its own: its fixes, whose weights have an axis for groups."""

from __future__ import annotations

import openvino
from fix_lines import check_fixes


def test_the_fixes():
    tally = check_fixes("openvino", {"openvino": openvino})
    print(dict(tally))
    assert tally["recomputed"] > 30
    assert tally["fixed"] > 125
