"""The worked example of a new dialect in docs/extending.md, run as if its file had been added."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import tconv
from tconv import dialects
from tconv.cli import explain
from tconv.errors import DialectError, ShapeError

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text()


@pytest.fixture
def foo(monkeypatch):
    """The dialect of the example, registered under its name."""
    code = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)[0]
    module = types.ModuleType("tconv.dialects.foo")
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "tconv.dialects.foo", module)
    monkeypatch.setitem(dialects._MEMBERS, "foo", "foo:Foo")
    yield tconv.dialect("foo")
    dialects._member.cache_clear()


def test_it_runs_and_converts(foo):
    rng = np.random.default_rng(0)
    x, w = rng.integers(-5, 6, (1, 4, 5, 2)), rng.integers(-5, 6, (3, 2, 4, 4))
    canonical = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    expected = tconv.conv_transpose(x.transpose(0, 3, 1, 2), canonical, stride=2, padding=1).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, dialect="foo", stride=2, pad=1), expected)
    np.testing.assert_array_equal(tconv.convert(w, source="foo", target="torch"), canonical)
    np.testing.assert_array_equal(tconv.convert(canonical, source="torch", target="foo"), w)


def test_it_writes_arguments_and_code(foo):
    assert foo.arguments(tconv.Geometry((4, 4), 2, 1)) == {"stride": 2, "pad": 1}
    assert foo.code(tconv.Geometry((4, 4), 2, 1), (5, 5)) == "y = foo.deconv(x, weight, stride=2, pad=1)"
    uneven = tconv.Geometry((3, 3), 2, ((0, 1), (0, 1)))
    assert foo.code(uneven, (5, 5)) == "y = foo.deconv(x, weight, stride=2)\ny = y[:, 0:10, 0:10, :]"
    with pytest.raises(
        DialectError,
        match=r"^Foo cannot express the crop \(0, 1\) on axis 0; nor the crop \(0, 1\) on axis 1; nor groups\. ",
    ):
        foo.arguments(tconv.Geometry((3, 3), 2, ((0, 1), (0, 1)), groups=2))


def test_the_command_and_the_advice_have_it(foo, capsys):
    explain.run(kernel=[4], stride=[2], dialect="foo", option=["pad=1"])
    assert "foo.deconv(x, weight, stride=2, pad=1)" in capsys.readouterr().out
    with pytest.raises(ShapeError, match=r"weight \(3, 5, 4, 4\) has 5 input channels as Foo reads it; x has 2"):
        tconv.conv_transpose(np.ones((1, 4, 5, 2)), np.ones((3, 5, 4, 4)), dialect="foo")
