"""`accelerate` keeps the layers that pay in the model as it runs, and expects what it measured: on a clock of the test's own.

The clock moves only when a layer, or the rest of the model, says that it takes time; so every figure is exact.
"""

from __future__ import annotations

import random
import sys
from itertools import count
from math import comb
from pathlib import Path

import pytest
import torch
from torch import nn

import tconv.torch as ours
from tconv.acceleration import paired_timing
from tconv.acceleration.paired_timing import median_interval
from tconv.torch import modules


class Machine:
    """A clock, the milliseconds of each layer in both forms, and those of the rest of the model."""

    def __init__(self, layers, rest=lambda ours: 10.0, noise=lambda: 1.0):
        self.layers, self.rest, self.noise, self.now, self.passes = layers, rest, noise, 0.0, 0

    def clock(self):
        return self.now

    def pass_by(self, ms):
        self.now += 1e-3 * ms * self.noise()


class Model(nn.Module):
    """Layers one after another, and a rest whose time depends on which of them are tconv's."""

    def __init__(self, machine):
        super().__init__()
        self.machine = machine
        self.up = nn.ModuleDict({name: nn.ConvTranspose1d(2, 2, 3, padding=1) for name in machine.layers})

    def is_ours(self, name):
        return isinstance(self.up[name], modules.DropIn)

    def forward(self, x):
        self.machine.passes += 1
        for layer in self.up.values():
            x = layer(x)
        self.machine.pass_by(self.machine.rest({name for name in self.up if self.is_ours(name)}))
        return x


@pytest.fixture
def accelerated(monkeypatch):
    """A function that accelerates a model on a machine, and returns the report, the model and the layers of tconv's."""
    costs = {}  # of a layer: its machine, and the times of both forms
    for kind, place in ((nn.ConvTranspose1d, 0), (ours.ConvTranspose1d, 1)):

        def timed(self, *given, forward=kind.forward, place=place):
            machine, times = costs[id(self)]
            machine.pass_by(times[place])
            return forward(self, *given)

        monkeypatch.setattr(kind, "forward", timed)

    def run(machine):
        model = Model(machine)
        costs.update({id(layer): (machine, machine.layers[name]) for name, layer in model.up.items()})
        monkeypatch.setattr(paired_timing, "clock", machine.clock)
        report = ours.accelerate(model, torch.randn(1, 2, 5))
        return report, model, {name for name in model.up if model.is_ours(name)}

    return run


def test_a_layer_that_is_slower_in_its_place_is_left(accelerated):
    report, _, kept = accelerated(Machine({"a": (4.0, 1.0), "b": (1.0, 2.0), "c": (1.0, 1.0)}))
    assert kept == {"a"}
    assert report.expected == pytest.approx(16 / 13)  # of what stays, not of what was tried
    assert dict(report.left) == {
        "up.b": "in this model it is not measurably faster (0.50x)",
        "up.c": "in this model it is not measurably faster (1.00x)",
    }
    assert [(layer.name, layer.method, round(layer.gain, 6)) for layer in report.layers] == [
        ("up.a", "simd", 4.0),
        ("up.b", "pytorch", 1.0),
        ("up.c", "pytorch", 1.0),
    ]
    assert report.share == pytest.approx(6 / 16)


@pytest.mark.parametrize("loss", [3.0, 3.5, 8.0])
def test_a_model_that_loses_elsewhere_what_its_layers_save_is_left_alone(accelerated, loss):
    machine = Machine({"a": (4.0, 2.0), "b": (2.0, 1.0)}, rest=lambda ours: 10.0 + loss * len(ours) / 2)
    report, model, kept = accelerated(machine)
    assert kept == set()
    assert report.expected == 1.0
    gain = 16 / (13 + loss)
    reason = f"the model is not measurably faster with it ({gain:.2f}x, 95%: {gain:.2f} to {gain:.2f})"
    assert dict(report.left) == {"up.a": reason, "up.b": reason}
    assert str(report).startswith(
        "transposed convolutions take 38% of this model: at best 1.60x; all are left to PyTorch, and 1.00x is expected"
    )
    assert ours.restore(model) == 0


def test_what_the_rest_of_the_model_gains_or_loses_is_a_part_of_the_expectation(accelerated):
    for change in (-1.0, 0.5):
        machine = Machine({"a": (4.0, 2.0)}, rest=lambda ours, change=change: 10.0 + change * len(ours))
        report, _, kept = accelerated(machine)
        assert kept == {"a"}
        assert report.expected == pytest.approx(14 / (12 + change))
        assert f"; {14 / (12 + change):.2f}x is expected (95%: " in str(report)


@pytest.mark.parametrize("seed", range(5))
def test_bursts_of_other_programs_do_not_change_the_answer(accelerated, seed):
    draw = random.Random(seed)

    def noise():
        return draw.uniform(0.99, 1.01) * (1 if draw.random() < 0.95 else draw.uniform(2, 30))

    report, _, kept = accelerated(Machine({"a": (4.0, 2.0), "b": (0.5, 1.0)}, noise=noise))
    assert kept == {"a"}
    assert report.expected == pytest.approx(14.5 / 12.5, rel=0.03)


def test_a_gain_that_cannot_be_told_from_noise_changes_nothing(accelerated):
    """But for the share of intervals that miss: one in forty lies above."""
    changed = 0
    for seed in range(20):
        draw = random.Random(seed)
        machine = Machine({"a": (0.011, 0.01)}, rest=lambda ours: 300.0)
        machine.noise = lambda draw=draw: draw.lognormvariate(0, 1)
        report, _, kept = accelerated(machine)
        changed += bool(kept)
        assert kept or report.expected == 1.0
    assert changed <= 2


def test_advice_where_times_vary_too_much_to_tell(accelerated):
    draw = random.Random(3)
    machine = Machine({"a": (1.0, 0.5)}, rest=lambda ours: 50 * draw.lognormvariate(0, 1))
    report, _, kept = accelerated(machine)
    assert kept == set()
    assert report.left[0][1].endswith("; times vary, so accelerate again on a machine at rest)")


@pytest.mark.parametrize(("rest", "most"), [(20_000.0, 21), (700.0, 21), (20.0, 250), (0.01, 1610)])
def test_the_number_of_passes_is_bounded(accelerated, rest, most):
    """One pass as it was, one to compile, three pairs and six at least, and one for the difference."""
    machine = Machine({"a": (4.0, 2.0)}, rest=lambda ours: rest)
    accelerated(machine)
    assert 21 <= machine.passes <= most
    assert machine.now < max(22.0, 21 * 1e-3 * (rest + 4))
    machine = Machine({"a": (4.0, 2.0), "b": (2.0, 4.0)}, rest=lambda ours: rest)
    accelerated(machine)
    assert machine.passes <= most


def test_a_change_of_form_is_not_timed(accelerated):
    """What a change of form costs, in caches and memory, is no part of the gain: a model does not change it in use."""
    for costly in (True, False):
        last = [None]

        def rest(ours, costly=costly, last=last):
            last.append(bool(ours))
            return 10.0 + 5.0 * (last[-1] != last[-2] and last[-1] is costly)

        report, _, kept = accelerated(Machine({"a": (4.0, 2.0)}, rest=rest))
        assert kept == {"a"}
        assert report.expected == pytest.approx(14 / 12)


def test_layers_that_go_to_pytorchs_operator_anyway_are_left(monkeypatch):
    ticks = count()
    monkeypatch.setattr(paired_timing, "clock", lambda: float(next(ticks)))
    model = nn.Sequential(nn.ConvTranspose1d(2, 2, 3), nn.Flatten(), nn.Unflatten(1, (2, 3)))
    with torch.no_grad():
        model[0].weight[0, 0, 0] = float("inf")
    report = ours.accelerate(model, torch.randn(1, 2, 1))
    assert type(model[0]) is nn.ConvTranspose1d
    assert "inf or NaN" in dict(report.left)["0"]


def test_a_layer_that_the_example_does_not_reach_is_replaced(accelerated):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.other = nn.Identity(), nn.ConvTranspose1d(2, 2, 2)

        def forward(self, x):
            return self.used(x)

    model = Two()
    report = ours.accelerate(model, torch.randn(1, 2, 5))
    assert isinstance(model.other, modules.DropIn)
    assert [(layer.name, layer.reasons) for layer in report.layers] == [("other", ("the example does not reach it",))]
    assert report.expected is None


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9, 30, 101])
def test_the_interval_of_a_median(n):
    """Of all orders in which n values can lie around the median, at least 95% have it in the interval."""
    estimate = median_interval([float(i) for i in range(n)])
    cut = round(estimate.low)
    assert estimate.high == n - 1 - cut
    assert estimate.value == (n - 1) / 2

    def missed(cut):
        return 2 * sum(comb(n, i) for i in range(cut + 1)) / 2**n

    assert cut == 0 or missed(cut) <= 0.05
    assert missed(cut + 1) > 0.05


def test_a_model_in_the_other_form_while_it_is_timed_comes_back_after_an_error(monkeypatch):
    class Failing(nn.Sequential):
        passes = 0

        def forward(self, x):
            self.passes += 1
            if self.passes == 4:
                raise KeyError("in the middle")
            return super().forward(x)

    model = Failing(nn.ConvTranspose1d(2, 2, 3))
    with pytest.raises(KeyError, match="in the middle"):
        ours.accelerate(model, torch.randn(1, 2, 5))
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks
    assert type(model[0]) is nn.ConvTranspose1d


def test_the_share_is_that_of_the_layers_and_the_gain_that_of_all_that_is_fused(monkeypatch):
    now = [0.0]

    def takes(seconds, forward):
        def timed(self, *given):
            now[0] += seconds
            return forward(self, *given)

        return timed

    monkeypatch.setattr(paired_timing, "clock", lambda: now[0])
    monkeypatch.setattr(nn.ConvTranspose1d, "forward", takes(3.0, nn.ConvTranspose1d.forward))
    monkeypatch.setattr(ours.ConvTranspose1d, "forward", takes(4.0, ours.ConvTranspose1d.forward))
    monkeypatch.setattr(nn.ReLU, "forward", takes(2.0, nn.ReLU.forward))
    monkeypatch.setattr(nn.Flatten, "forward", takes(5.0, nn.Flatten.forward))
    model = nn.Sequential(nn.ConvTranspose1d(3, 2, 4, 2), nn.ReLU(), nn.Flatten()).eval()
    report = ours.accelerate(model, torch.randn(1, 3, 9), fuse=True)
    assert report.fused == (("0", "ReLU"),)
    assert report.share == pytest.approx(3 / 10)
    assert report.layers[0].gain == pytest.approx(5 / 4)
    assert report.expected == pytest.approx(10 / 9)


def test_the_gain_is_not_that_of_the_passes_that_chose_the_layers(accelerated):
    """The six passes of the choice flatter tconv's form; what is expected comes from passes after them."""
    machine = Machine({"a": (400.0, 200.0)})
    machine.rest = lambda ours: 1000.0 - 500.0 * bool(ours and machine.passes <= 8)
    report, _, kept = accelerated(machine)
    assert kept == {"a"}
    assert report.expected == pytest.approx(1400 / 1200)


def test_the_interval_of_the_gain_is_one_of_95_percent(accelerated):
    """Five lucky pairs in a row are no proof, also if passes are long: the sixth is a loss."""
    machine = Machine({"a": (400.0, 200.0)})
    machine.rest = lambda ours: 1000.0 + 500.0 * bool(ours and machine.passes >= 18)
    report, _, kept = accelerated(machine)
    assert kept == set()
    assert "; times vary" in report.left[0][1]


class Stopping(nn.Module):
    """A model with a layer that can be fused, and a buffer and an input that each pass writes; one pass is stopped."""

    def __init__(self, stop):
        super().__init__()
        self.up, self.relu = nn.ConvTranspose1d(2, 3, 3), nn.ReLU()
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("last", torch.zeros(1))
        self.register_buffer("memory", None)
        self.stop, self.passes = stop, 0

    def forward(self, x):
        self.passes += 1
        self.calls += 1
        self.last = x.sum()
        self.memory = x + (0 if self.memory is None else self.memory)
        y = self.relu(self.up(x)) + self.calls
        x.mul_(2)
        if self.passes == self.stop:
            raise KeyboardInterrupt
        return y


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("stop", range(1, 14))
def test_an_interrupt_leaves_the_model_as_it_was(stop, fuse):
    model, x = Stopping(stop).eval(), torch.randn(1, 2, 5)
    given, last = x.clone(), model.last
    before = {name: sorted(vars(module)) for name, module in model.named_modules()}
    with pytest.raises(KeyboardInterrupt):
        ours.accelerate(model, x, fuse=fuse)
    assert [type(module) for module in model.modules()] == [Stopping, nn.ConvTranspose1d, nn.ReLU]
    assert {name: sorted(vars(module)) for name, module in model.named_modules()} == before
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert torch.equal(x, given)
    assert model.calls == 0
    assert model.last is last
    assert model.memory is None


@pytest.mark.parametrize("fuse", [False, True])
def test_an_interrupt_at_any_line_leaves_pytorchs_classes(monkeypatch, fuse):
    for name, value in (("_LAYER_SECONDS", 0), ("_LAYER_LEAST", 1), ("_MODEL_SECONDS", 0), ("_MODEL_LEAST", 2)):
        monkeypatch.setattr("tconv.acceleration.layer_choice." + name, value)
    monkeypatch.setattr(
        "tconv.acceleration.layer_choice._reason_against_layer",
        lambda name, *given: "it is left" if name == "2" else "",
    )
    x, stop, interrupted = torch.randn(1, 3, 6), 1, True
    previous = sys.gettrace()
    while interrupted:
        model = nn.Sequential(nn.ConvTranspose1d(3, 4, 3), nn.ReLU(), nn.ConvTranspose1d(4, 4, 3)).eval()
        before = {name: (type(module), sorted(vars(module))) for name, module in model.named_modules()}
        lines = count(1)

        def trace(frame, event, arg, lines=lines, stop=stop):
            if Path(frame.f_code.co_filename).parent != Path(ours.__file__).parent:
                return None
            if event == "line" and next(lines) == stop:
                sys.settrace(previous)
                raise KeyboardInterrupt
            return trace

        try:
            sys.settrace(trace)
            ours.accelerate(model, x, fuse=fuse)
            interrupted = False
        except KeyboardInterrupt:
            assert {name: (type(module), sorted(vars(module))) for name, module in model.named_modules()} == before
        finally:
            sys.settrace(previous)
        stop += 13
    assert stop > 700


@pytest.mark.parametrize("inference", [False, True])
def test_a_model_that_writes_its_buffers_and_its_input_is_compared_with_itself(monkeypatch, inference):
    monkeypatch.setattr("tconv.acceleration.layer_choice._MODEL_SECONDS", 0.1)
    monkeypatch.setattr("tconv.acceleration.layer_choice._LAYER_SECONDS", 0.1)
    with torch.inference_mode(inference):
        model, x = Stopping(0).eval(), torch.randn(1, 2, 5)
        given, last = x.clone(), model.last
        report = ours.accelerate(model, x)
        assert report.difference < 1e-5
        assert model.passes > 20
        assert torch.equal(x, given)
        assert model.calls == 0
        assert model.last is last
        assert model.memory is None


def fused(monkeypatch):
    """A fused model with its input."""
    choice = "tconv.acceleration.layer_choice."
    for name in ("_LAYER_SECONDS", "_MODEL_SECONDS"):
        monkeypatch.setattr(choice + name, 0.01)
    monkeypatch.setattr(choice + "_reason_against_layer", lambda *given: "")
    model, x = nn.Sequential(nn.ConvTranspose1d(64, 32, 4, 2), nn.ReLU()).eval(), torch.randn(1, 64, 300)
    return model, x


def test_layers_that_are_left_leave_no_hooks_of_fusion(monkeypatch):
    model, x = fused(monkeypatch)
    monkeypatch.setattr("tconv.acceleration.layer_choice._reason_against_layer", lambda *given: "it is left")
    report = ours.accelerate(model, x, fuse=True)
    assert dict(report.left) == {"0": "it is left"}
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert [type(module) for module in model] == [nn.ConvTranspose1d, nn.ReLU]


def test_an_error_leaves_what_was_fused_before(monkeypatch):
    model, x = fused(monkeypatch)
    monkeypatch.setattr(paired_timing.Pairs, "gain", paired_timing.Estimate(2.0, 2.0, 2.0))
    assert ours.accelerate(model, x, fuse=True).fused
    with pytest.raises(RuntimeError):
        ours.accelerate(model, x[:, 1:])
    seen = []
    handle = model[1].register_forward_pre_hook(lambda module, args: seen.append(type(args[0]).__name__))
    with torch.no_grad():
        model(x)
    handle.remove()
    assert seen == ["LazyTensor"]
    assert ours.restore(model) == 1
    assert not model._forward_hooks


def test_an_example_that_reaches_no_layer_is_named(accelerated):
    model = nn.ModuleList([nn.ConvTranspose1d(2, 2, 2)])
    model.forward = lambda x: x + 1
    report = ours.accelerate(model, torch.randn(1, 2, 5))
    assert str(report).startswith(
        "1 transposed convolution on tconv's kernel; not measured. The example reaches none of them; "
    )
    assert "accelerate(model, x)" not in str(report)
    ours.restore(model)
    assert "accelerate(model, x)" in str(ours.accelerate(model))


@pytest.mark.parametrize("reason", ["", "it is left"])
def test_a_parametrised_layer_has_the_name_of_its_class_in_the_report(monkeypatch, reason):
    model, x = fused(monkeypatch)
    nn.utils.parametrizations.weight_norm(model[0])
    monkeypatch.setattr("tconv.acceleration.layer_choice._reason_against_layer", lambda *given: reason)
    monkeypatch.setattr(paired_timing.Pairs, "gain", paired_timing.Estimate(2.0, 2.0, 2.0))
    assert [layer.kind for layer in ours.accelerate(model, x).layers] == ["ConvTranspose1d"]
