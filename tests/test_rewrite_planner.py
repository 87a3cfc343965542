"""Plans are the fewest steps that a target accepts, exact, printable, and bounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tconv
from tconv import Geometry
from tconv.errors import MethodError
from tconv.rewriting.expression import layer
from tconv.rewriting.facts import cost_of, layer_facts
from tconv.rewriting.operations import Conv
from tconv.rewriting.planner import FEW_OPERATIONS, plan_for, plan_of_steps
from tconv.targets import LayerFacts, Limit, target, target_names

LAYERS = {
    "k4 s2": (Geometry((4, 4), 2, 1), 3, 2, {}),
    "k3 s2 op1": (Geometry((3, 3), 2, ((1, 0), (1, 0))), 2, 3, {"output_padding": (1, 1)}),
    "k2 s2 op1": (Geometry((2, 2), 2, ((0, -1), (0, -1))), 2, 3, {"output_padding": (1, 1)}),
    "k3 s3": (Geometry((3, 3), 3), 2, 2, {}),
    "k4 s4": (Geometry((4, 4), 4), 2, 2, {}),
    "k9 s8": (Geometry((9, 9), 8, 1), 2, 1, {}),
    "k2 s3": (Geometry((2, 2), 3), 2, 2, {}),
    "unequal strides": (Geometry((3, 4), (1, 2), ((1, 1), (1, 1))), 2, 2, {}),
    "depthwise": (Geometry((4, 4), 2, 1, 1, 4), 4, 1, {}),
    "groups": (Geometry((4, 4), 2, 1, 1, 2), 4, 3, {}),
    "dilation": (Geometry((3, 3), 2, 1, 2), 2, 2, {}),
    "SAME": (Geometry((3, 3), 2, ((0, 1), (0, 1))), 2, 2, {"auto_pad": "SAME_UPPER"}),
    "vocoder": (Geometry(16, 8, 4), 3, 2, {}),
    "istft": (Geometry(80, 20, 40), 3, 1, {}),
    "volume": (Geometry((3, 3, 3), 2, ((1, 0),) * 3), 2, 2, {"output_padding": (1, 1, 1)}),
}
NAMES = ("conv-only", "ethos-u", "rknn", "litert", "coreml", "neutron", "webnn", "xnnpack")


def expression_of(name, *, bias=True, dtype=np.float32, sizes=None):
    g, c_in, c_out, words = LAYERS[name]
    rng = np.random.default_rng(0)
    weight = rng.integers(-4, 5, (c_in, c_out, *g.kernel)).astype(dtype)
    numbers = rng.integers(-4, 5, c_out * g.groups).astype(dtype) if bias else None
    return layer(weight, numbers, g, sizes, **words)


def accepted(expression, found):
    for operation in expression.operations:
        if operation.kind in ("conv_transpose", "conv"):
            assert not found.limits_against(layer_facts(operation, expression), operation.kind)
        assert found.accepts_operation(operation.kind)


@pytest.mark.parametrize("name", NAMES)
def test_plans_are_exact_and_accepted(name):
    found, lengths = target(name), {}
    rng = np.random.default_rng(1)
    for key, (g, c_in, _, _) in LAYERS.items():
        expression = expression_of(key)
        plan = plan_for(expression, found)
        assert plan.result is not None, (name, key, plan.reasons)
        assert bool(plan.steps) == bool(plan.limits)
        accepted(plan.result, found)
        lengths[key] = len(plan.steps)
        for batch, size in ((1, 5), (3, 2)):
            x = rng.integers(-4, 5, (batch, c_in, *(size + axis for axis in range(g.ndim)))).astype(np.float32)
            np.testing.assert_array_equal(plan.result.evaluate(x), expression.evaluate(x))
    assert max(lengths.values()) <= 3
    if name == "conv-only":
        assert set(lengths.values()) == {1}


FEWEST = {
    ("k4 s2", "ethos-u"): (),
    ("k3 s3", "ethos-u"): ("conv+depth_to_space",),
    ("k9 s8", "ethos-u"): ("conv+depth_to_space",),  # the 67 operations of phases come after it
    ("dilation", "ethos-u"): ("no-dilation",),
    ("k3 s2 op1", "coreml"): ("explicit-pads",),
    ("k2 s2 op1", "coreml"): ("no-output-padding",),
    ("vocoder", "rknn"): ("2d",),
    ("istft", "rknn"): ("overlap-add",),
    ("SAME", "litert"): (),
}


@pytest.mark.parametrize(("key", "name"), FEWEST)
def test_the_fewest_steps(key, name):
    assert plan_for(expression_of(key, bias=key != "k2 s2 op1"), target(name)).steps == FEWEST[key, name]


def test_equal_lengths_are_ordered_by_multiply_adds():
    expression = expression_of("k3 s2 op1")
    plan = plan_for(expression, target("conv-only"))
    assert plan.steps == ("phases",)
    other = plan_for(expression, target("conv-only"), names=["conv+depth_to_space", "zero-insertion"])
    assert other.steps == ("conv+depth_to_space",)
    last = plan_for(expression, target("conv-only"), names=["zero-insertion"])
    assert plan.after.macs < 1.1 * plan.before.macs < 1.1 * other.after.macs < 1.1 * last.after.macs
    assert len(plan.result.operations) <= FEW_OPERATIONS


def test_a_plan_reads_as_text():
    plan = plan_for(expression_of("k3 s3", bias=False), target("ethos-u"))
    assert str(plan) == (
        "limit: stride is 3; 1 or 2 are accepted\n"
        "step 1: conv+depth_to_space (order DCR): one convolution for all phases, then depth to space; 2 operations, "
        "36.9 kMAC (as many MACs), 230 kB (2.8 times the bytes), for a chosen x of 1x2x32x32\n"
        "exact: the same products for every finite input, summed in another order at most"
    )
    assert str(plan_for(expression_of("k4 s2"), target("ethos-u"))) == "ethos-u accepts it"
    facts = plan.facts()
    assert facts["steps"] == [{"name": "conv+depth_to_space", "form": {"order": "DCR"}, "macs": 36864, "bytes": 229520}]
    assert facts["operations"] == ["conv", "depth_to_space"]


def test_limits_of_the_model_are_said_and_stop_nothing():
    """A float model with varying sizes is planned for a chip that takes integers and fixed sizes alone."""
    plan = plan_for(expression_of("k9 s8"), target("vela"))
    assert plan.steps
    assert plan.lasting == ("the input's size varies; a fixed number is accepted",)
    assert str(plan).endswith(
        "limit of the model, which no step ends: the input's size varies; a fixed number is accepted"
    )
    assert not plan_for(expression_of("k9 s8", sizes=(1, 2, 9, 9)), target("vela")).lasting
    accepted = plan_for(expression_of("k4 s2"), target("ethos-u"))
    assert (accepted.steps, accepted.lasting) == ((), ())


class Stub:
    """Target that accepts what a function says."""

    name = "stub"

    def __init__(self, refuses, operations=()):
        self.refuses, self.operations = refuses, operations

    def limits_against(self, facts, operation="conv_transpose"):
        text = self.refuses(facts) if operation == "conv_transpose" else ""
        return [Limit("stub", text, "")] if text else []

    def accepts_operation(self, kind):
        return kind == "conv_transpose" or kind in self.operations


def test_the_reasons_why_no_step_helps():
    nothing = Stub(lambda facts: "stride is above 1" if max(facts.stride) > 1 else "")
    plan = plan_for(expression_of("k3 s3", bias=False), nothing)
    assert plan.result is None
    assert plan.steps == ()
    assert plan.reasons[0] == "no 4 steps or fewer end the limits of stub: stride is above 1"
    assert "split-stride: no stride of (3, 3) is a product of two numbers above 1" in plan.reasons
    assert any(reason.startswith("phases: it leaves: there is no conv") for reason in plan.reasons)
    assert str(plan).startswith("limit: stride is above 1\nno 4 steps")


def test_a_stride_is_split_until_it_fits():
    twos = Stub(lambda facts: "" if max(facts.stride) <= 2 else f"stride is {max(facts.stride)}")
    plan = plan_for(layer(np.ones((2, 2, 8)), None, Geometry(8, 8)), twos)
    assert plan.steps == ("split-stride", "split-stride")
    assert [op.geometry.stride for op in plan.result.layers] == [(2,), (2,), (2,)]
    assert "multiplies the zeros between inputs" in str(plan)
    small = Stub(
        lambda facts: (
            "stride above the kernel"
            if any(s > k for s, k in zip(facts.stride, facts.kernel, strict=True))
            else twos.refuses(facts)
        )
    )
    plan = plan_for(layer(np.ones((2, 2, 4)), None, Geometry(4, 4)), small)
    assert plan.steps == ("split-stride", "kernel-to-stride")
    x = np.arange(8.0).reshape(1, 2, 4)
    np.testing.assert_array_equal(plan.result.evaluate(x), tconv.conv_transpose(x, np.ones((2, 2, 4)), stride=4))


def test_a_large_kernel_is_split_as_little_as_possible():
    small = Stub(lambda facts: "kernel" if max(facts.kernel) > 31 else "", ("add", "pad", "slice"))
    plan = plan_for(layer(np.ones((1, 1, 62)), None, Geometry(62, 4)), small)
    assert plan.steps == ("split-kernel",)
    assert [op.geometry.kernel for op in plan.result.layers] == [(31,), (31,)]


def test_targets_without_depth_to_space_shuffle_by_reshape():
    plan = plan_for(expression_of("k4 s2"), target("esp-dl"))
    assert plan.steps == ("phases",)
    assert plan.result.kinds == ("conv", "concat", "reshape", "transpose")
    assert "phases (shuffle reshape)" in str(plan)


def test_types_and_scales_of_the_file_are_asked():
    int8 = Stub(lambda facts: "" if facts.dtype == "int8" else f"dtype is {facts.dtype}")
    expression = expression_of("k4 s2")
    assert plan_for(expression, int8).result is None
    base = layer_facts(expression.layers[0], expression)
    assert base == LayerFacts(
        (4, 4), (2, 2), (1, 1), (1, 1), (1, 1), (0, 0), 1, 3, 2, None, (None, None), (None, None), bias=True
    )
    assert plan_for(expression, int8, facts=replace(base, dtype="int8")).steps == ()


def test_words_of_the_crop_are_the_targets_words():
    found = [
        layer_facts(expression_of(key).layers[0], expression_of(key)) for key in ("k3 s2 op1", "k2 s2 op1", "SAME")
    ]
    assert [(f.pads_begin, f.pads_end, f.output_padding, f.auto_pad) for f in found] == [
        ((1, 1), (1, 1), (1, 1), "NOTSET"),
        ((0, 0), (0, 0), (1, 1), "NOTSET"),
        ((0, 0), (1, 1), (0, 0), "SAME_UPPER"),
    ]
    fixed = layer(np.ones((2, 3, 4, 4)), None, Geometry((4, 4), 2), output_shape=(9, 9))
    assert layer_facts(fixed.layers[0], fixed).output_shape
    plan = plan_for(fixed, target("coreml"))
    assert plan.steps == ("explicit-pads",)


def test_named_steps_in_their_order():
    expression = expression_of("groups")
    plan = plan_of_steps(expression, ["no-groups", "explicit-pads", "phases"])
    assert plan.steps == ("no-groups", "phases")
    assert plan.reasons == ("explicit-pads: its pads are equal already, and there is no output_padding",)
    x = np.random.default_rng(0).integers(-4, 5, (1, 4, 3, 4)).astype(np.float32)
    np.testing.assert_array_equal(plan.result.evaluate(x), expression.evaluate(x))
    with pytest.raises(MethodError, match="'phase' is no step; there are no-output-padding, explicit-pads"):
        plan_of_steps(expression, ["phase"])
    assert plan_of_steps(expression, ["phases", "no-groups"]).reasons == (
        "no-groups: no transposed convolution is left",
    )


def test_cost_counts_what_runs():
    expression = expression_of("k4 s2", bias=False)
    cost = cost_of(expression, (2, 3, 8, 8))
    assert cost.macs == 2 * Geometry((4, 4), 2, 1).macs((8, 8), 3, 2).border_free
    assert cost.operations == 1
    assert cost.bytes == 4 * (2 * 3 * 64 + 2 * 2 * 256 + 3 * 2 * 16)
    conv = plan_for(expression, target("conv-only")).result
    counted = cost_of(conv, (2, 3, 8, 8)).macs
    convs = [op for op in conv.operations if isinstance(op, Conv)]
    assert counted == sum(2 * 2 * 3 * 64 * int(np.prod(op.weight.shape[2:])) for op in convs)


def test_every_target_answers_for_a_usual_layer():
    expression = expression_of("k3 s3")
    for name in target_names():
        plan = plan_for(expression, target(name))
        assert str(plan)
        assert (plan.result is None) == bool(plan.reasons)


def test_half_types_are_planned_without_sums():
    weights = np.ones((2, 2, 4, 4), np.float16)
    plan = plan_for(layer(weights, np.float16([1, 2]), Geometry((4, 4), 2, 1)), target("conv-only"))
    assert "add" not in plan.result.kinds
    assert {constant.dtype.name for op in plan.result.operations for constant in op.constants} == {"float16"}
