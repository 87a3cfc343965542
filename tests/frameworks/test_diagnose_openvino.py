"""diagnose with OpenVINO in a process of its own: the lines that it writes, whose weights have an axis for groups."""

from __future__ import annotations

import openvino
from fix_lines import check_mending


def test_the_lines_that_mend():
    tally = check_mending("openvino", {"openvino": openvino})
    print(dict(tally))
    assert tally["made anew"] > 60
    assert tally["mended"] > 250
