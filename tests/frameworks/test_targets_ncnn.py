"""The profile of ncnn, against ncnn on random layers."""

from __future__ import annotations

import numpy as np
import pytest
from target_layers import compare_with_profile, geometry_of, random_facts
from test_ncnn import native

import tconv
from tconv.targets import target


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(facts, x, w):
    dialect, geometry = tconv.dialect("ncnn"), geometry_of(facts)
    arguments = dialect.native_arguments(geometry, facts.input) | {"group": facts.groups}
    layout = tconv.convert(w, source="torch", target="ncnn", groups=facts.groups)
    return native(np.ascontiguousarray(x[0]), np.ascontiguousarray(layout), None, arguments)[None]


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_layers(ndim):
    rng = np.random.default_rng(ndim)
    layers = [random_facts(rng, ndim, least_pad=0) for _ in range(150)]
    tally = compare_with_profile("ncnn", run, layers, ValueError)
    assert tally["equal"] > 100, tally


def test_negative_pads_and_batches_have_no_words():
    """A layer has no batch axis, and its negative pads stand for rules of another kind."""
    it, facts = target("ncnn"), random_facts(np.random.default_rng(0), 2, batches=(2,), least_pad=0)
    assert [limit.key for limit in it.limits_against(facts)] == ["batch"]
    assert "N" not in tconv.dialect("ncnn").data_patterns[0]
