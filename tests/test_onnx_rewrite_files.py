"""`tconv.onnx.rewrite` on unusual files: what stays in them, what is said, and plans that keep their word."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from generated_onnx_models import CASES, Case
from tconv.cli import main
from tconv.cli.console import waiting
from tconv.errors import ArgumentError, FileError
from tconv.models.traces.onnx_file import RUNTIMES
from tconv.onnx import plan_rewrite, verification
from tconv.onnx.verification import relative_difference
from tconv.rewriting.steps import STEPS

QUIET: dict[str, Any] = {"tools": (), "runtimes": ["tconv"], "cost": False, "sizes": 2}
PLAIN = CASES["2d k4s2"]
UP = {"strides": [2, 2], "pads": [1, 1, 1, 1]}
value = helper.make_tensor_value_info


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def saved(
    nodes: list[Any], tensors: dict[str, Any], path: Path, outputs: int = 1, opset: int = 17, **words: Any
) -> Path:
    """Write a model of x [n, 4, h, w] whose last nodes' first outputs are its own."""
    names = [node.output[0] for node in nodes[-outputs:]]
    ends = [value(name, TensorProto.FLOAT, ["n", None, None, None]) for name in names]
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    inputs = [value("x", TensorProto.FLOAT, ["n", 4, "h", "w"]), *words.pop("inputs", [])]
    graph = helper.make_graph(nodes, "g", inputs, ends, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path, **words)
    return path


def test_constants_that_a_fold_removes_can_be_needed_again(tmp_path):
    """Two layers with equal computed weights, one of which BatchNormalization is folded into."""
    nodes = [
        helper.make_node("Mul", ["v", "c"], ["w1"], "m1"),
        helper.make_node("ConvTranspose", ["x", "w1"], ["a"], "up1", **UP),
        helper.make_node("BatchNormalization", ["a", "g", "b", "m", "s"], ["n1"], "bn"),
        helper.make_node("Mul", ["v", "c"], ["w2"], "m2"),
        helper.make_node("ConvTranspose", ["n1", "w2"], ["y"], "up2", **UP),
    ]
    per_channel = {name: np.float32([1, 2, 3, 4]) for name in "gbms"}
    path = saved(nodes, {"v": numbers(4, 4, 4, 4), "c": np.float32([2]), **per_channel}, tmp_path / "m.onnx")
    plan = plan_rewrite(path, steps=["fold-constants", "fold-batchnorm"])
    plan.write(tmp_path / "o.onnx", **QUIET)
    assert [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node] == ["ConvTranspose"] * 2


def test_what_is_read_in_a_branch_is_not_folded(tmp_path):
    end = value("t", TensorProto.FLOAT, None)
    then = helper.make_graph([helper.make_node("Mul", ["u", "c"], ["t"])], "then", [], [end])
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["e"])], "else", [], [value("e", TensorProto.FLOAT, None)]
    )
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["u"], "up", **UP),
        helper.make_node("If", ["k"], ["y"], "if", then_branch=then, else_branch=other),
    ]
    tensors = {"w": numbers(4, 4, 4, 4), "c": np.float32([2])}
    path = saved(nodes, tensors, tmp_path / "m.onnx", inputs=[value("k", TensorProto.BOOL, [])])
    assert not plan_rewrite(path, steps=["fold-batchnorm"]).changes


def test_external_data_of_branches_and_nodes_is_copied(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("Conv", ["x", "inside"], ["t"])],
        "then",
        [],
        [value("t", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(numbers(4, 4, 3, 3), "inside")],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["u"], ["e"])], "else", [], [value("e", TensorProto.FLOAT, None)]
    )
    constant = numpy_helper.from_array(numbers(4, 4, 3, 3, seed=1), "number")
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["u"], "up", **UP),
        helper.make_node("Constant", [], ["k3"], "k3", value=constant),
        helper.make_node("Conv", ["u", "k3"], ["z"], "conv"),
        helper.make_node("If", ["k"], ["y"], "if", then_branch=inner, else_branch=other),
    ]
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    external = {"save_as_external_data": True, "size_threshold": 100, "convert_attribute": True, "location": "d.bin"}
    path = saved(nodes, {"w": numbers(4, 4, 4, 4)}, tmp_path / "old" / "m.onnx", 2,
                 inputs=[value("k", TensorProto.BOOL, [])], **external)  # fmt: skip
    plan_rewrite(path, steps=["phases"]).write(tmp_path / "new" / "o.onnx", **QUIET)
    before = onnx.load(path)
    path.unlink()
    (path.parent / "d.bin").unlink()
    feeds = {"x": numbers(1, 4, 5, 6), "k": np.array(True)}
    after = onnx.load(tmp_path / "new" / "o.onnx")
    for expected, got in zip(RUNTIMES["tconv"](before, feeds), RUNTIMES["tconv"](after, feeds), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_parts_that_onnx_ir_does_not_read_stay_or_are_refused(tmp_path):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", **UP)
    path = saved([node], {"w": numbers(4, 4, 4, 4)}, tmp_path / "m.onnx")
    model = onnx.load(path)
    model.graph.quantization_annotation.add(tensor_name="y")
    model.training_info.add()
    onnx.save(model, path)
    plan_rewrite(path, steps=["phases"]).write(tmp_path / "o.onnx", **QUIET)
    after = onnx.load(tmp_path / "o.onnx")
    assert after.graph.quantization_annotation == model.graph.quantization_annotation
    assert after.training_info == model.training_info
    one, index = (
        helper.make_tensor("s", TensorProto.FLOAT, [1], [3.0]),
        helper.make_tensor("", TensorProto.INT64, [1], [0]),
    )
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(one, index, [1]))
    onnx.save(model, path)
    with pytest.raises(FileError, match=r"has sparse initializers, such as 's'.*Write them as dense ones"):
        plan_rewrite(path, steps=["phases"])


def test_a_weight_that_callers_could_replace_is_named(tmp_path):
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", **UP)
    inputs = [value("w", TensorProto.FLOAT, [4, 4, 4, 4])]
    path = saved([node], {"w": numbers(4, 4, 4, 4)}, tmp_path / "m.onnx", inputs=inputs)
    assert "'w' is an input, too: other numbers of a caller have no effect" in str(plan_rewrite(path, steps=["phases"]))


# -- plans -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_plans_for_old_opsets_can_be_written(step, tmp_path):
    """A step that needs a later opset is refused in the plan, not while the file is written."""
    for name in ("2d output_shape open sizes", "2d dilation 3", "2d same_upper odd", "2d s above k", "1d asymmetric"):
        case = Case(**{**vars(CASES[name]), "opset": 9})
        onnx.save(case.model(), tmp_path / "m.onnx")
        plan = plan_rewrite(tmp_path / "m.onnx", steps=[step])
        for each in plan.rewrites if plan.changes else ():
            each.emit()


@pytest.mark.parametrize(
    ("kernel", "attributes", "step"),
    [
        (3, {"strides": [4], "output_padding": [3]}, "split-stride"),
        (3, {"dilations": [4], "output_padding": [2]}, "dilation-to-kernel"),
        (2, {"strides": [3], "auto_pad": "SAME_UPPER"}, "kernel-to-stride"),
    ],
)
def test_a_step_leaves_no_layer_that_no_file_can_have(kernel, attributes, step, tmp_path):
    """ONNX Runtime refuses an output_padding that is not below the stride or the dilation."""
    case = Case("up", (kernel,), (1,), attributes)
    onnx.save(case.model(), tmp_path / "m.onnx")
    plan = plan_rewrite(tmp_path / "m.onnx", steps=[step])
    assert not plan.changes
    assert "write explicit-pads or no-output-padding before it" in plan.reasons[0]
    first = "explicit-pads" if "auto_pad" in attributes else "no-output-padding"
    if first == "no-output-padding":
        plan = plan_rewrite(tmp_path / "m.onnx", steps=[first, step])
        plan.write(tmp_path / "o.onnx", **QUIET)


def test_a_smaller_pad_takes_the_place_of_output_padding_that_is_too_large(tmp_path):
    case = Case("up", (6,), (4,), {"strides": [4], "pads": [1, 4], "output_padding": [3]})
    onnx.save(case.model(), tmp_path / "m.onnx")
    plan_rewrite(tmp_path / "m.onnx", steps=["split-stride"]).write(tmp_path / "o.onnx", **QUIET)


def test_a_gate_per_channel_is_not_the_size_that_is_wanted(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "d"], ["small"], "down", **UP),
        helper.make_node("ConvTranspose", ["small", "w"], ["u"], "up", **UP),
        helper.make_node("GlobalAveragePool", ["x"], ["mean"], "mean"),
        helper.make_node("Mul", ["u", "mean"], ["gated"], "gate"),
        helper.make_node("Concat", ["gated", "x"], ["y"], "join", axis=1),
    ]
    tensors = {"d": numbers(4, 4, 3, 3), "w": numbers(4, 4, 3, 3, seed=1)}
    path = saved(nodes, tensors, tmp_path / "m.onnx")
    assert "size of 'x', which meets it in Concat 'join'" in str(plan_rewrite(path, steps=["dynamic-size"]))
    path = saved(nodes, tensors, tmp_path / "old.onnx", opset=9)
    assert "need a Slice of opset 10; the file has opset 9" in str(plan_rewrite(path, steps=["dynamic-size"]))


# -- the comparison ----------------------------------------------------------------------------------------------


def test_runtimes_that_are_not_installed_are_named(tmp_path, monkeypatch):
    onnx.save(PLAIN.model(), tmp_path / "m.onnx")
    monkeypatch.setattr(verification, "installed_runtimes", lambda: ())
    monkeypatch.setattr(verification, "installed_tools", lambda: ())
    report = plan_rewrite(tmp_path / "m.onnx", steps=["phases"]).write(tmp_path / "o.onnx", sizes=1, cost=False)
    text = "not compared on onnxruntime, openvino, onnxslim, onnxsim, which this Python does not have; the judge was"
    assert f"note: {text} tconv's own evaluation alone" in str(report)


def test_other_shapes_are_written_as_json():
    run = verification.RunComparison("openvino", "1x2", "", float("inf"), "runtime")
    assert json.loads(json.dumps(run.facts(), allow_nan=False))["difference"] is None
    nothing = np.zeros((0, 2), np.float32)
    assert relative_difference([nothing], [nothing]) == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"runtimes": ["tensorrt"]}, "runtimes is or has 'tensorrt'; there are onnxruntime, openvino"),
        ({"runtimes": []}, "runtimes is or has empty"),
        ({"tools": ["slim"]}, "tools is or has 'slim'; there are onnxslim, onnxsim"),
        ({"limit": float("nan")}, "limit is nan; a number of at least 0 is needed"),
    ],
)
def test_words_of_the_comparison_that_are_refused(words, text, tmp_path):
    onnx.save(PLAIN.model(), tmp_path / "m.onnx")
    with pytest.raises(ArgumentError, match=text):
        plan_rewrite(tmp_path / "m.onnx", steps=["phases"]).write(tmp_path / "o.onnx", **words)


def test_a_plan_is_written_once(tmp_path):
    onnx.save(PLAIN.model(), tmp_path / "m.onnx")
    plan = plan_rewrite(tmp_path / "m.onnx", steps=["phases"])
    plan.write(tmp_path / "o.onnx", **QUIET)
    with pytest.raises(ArgumentError, match="this plan was written before, and is spent"):
        plan.write(tmp_path / "p.onnx", **QUIET)
    assert not (tmp_path / "p.onnx").exists()


def test_limits_of_the_whole_model_are_not_forgotten_in_the_report(tmp_path):
    onnx.save(CASES["2d k6s4"].model(), tmp_path / "m.onnx")
    report = plan_rewrite(tmp_path / "m.onnx", target="vela").write(tmp_path / "o.onnx", **QUIET)
    assert "\nvela still refuses the model, for limits of the whole model, which no step ends: " in str(report)
    assert "takes every layer now" not in str(report)
    assert report.facts()["lasting"]
    onnx.save(PLAIN.model(), tmp_path / "p.onnx")
    plan = plan_rewrite(tmp_path / "p.onnx", target="tensorrt-dla", steps=["no-pads"])
    assert "\n    a limit of the whole model, which no step ends: the batch varies" in str(plan)
    plan = plan_rewrite(tmp_path / "p.onnx", target="vela")
    assert "no step is needed by a layer: nothing to rewrite. vela still refuses the model" in str(plan)


def test_bfloat16_is_judged_by_the_own_evaluation(tmp_path):
    """No runtime here has a ConvTranspose in it."""
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2])
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [1, 1, 2], [1.0, 2.0])
    ends = [value(name, TensorProto.BFLOAT16, [1, 1, name]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    (y,) = RUNTIMES["tconv"](model, {"x": np.float32([[[1, 3]]])})
    np.testing.assert_array_equal(y.astype(np.float32), [[[1, 2, 3, 6]]])
    onnx.save(model, tmp_path / "m.onnx")
    report = plan_rewrite(tmp_path / "m.onnx", steps=["phases"]).write(tmp_path / "o.onnx", sizes=1, cost=False)
    assert "do not run the model; tconv's own evaluation alone has judged" in str(report)


# -- what a user is told -----------------------------------------------------------------------------------------


def meeting(path: Path, sizes: tuple[Any, Any]) -> Path:
    """Write a layer with a frozen output_padding, whose output meets x after a stride of 2."""
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["d"], "down", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["d", "w"], ["u"], "up", **UP, output_padding=[0, 1]),
        helper.make_node("Concat", ["u", "x"], ["y"], "join", axis=1),
    ]
    tensors = {"k": numbers(4, 4, 3, 3), "w": numbers(4, 4, 3, 3)}
    model = onnx.load(saved(nodes, tensors, path))
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], sizes, strict=True):
        dim.Clear()
        if isinstance(size, int):
            dim.dim_value = size
        else:
            dim.dim_param = size
    onnx.save(model, path)
    return path


def test_sizes_that_no_input_changes_are_not_made_dynamic(tmp_path):
    plan = plan_rewrite(meeting(tmp_path / "m.onnx", (9, 10)), steps=["dynamic-size"])
    assert not plan.changes
    assert "no spatial size of the model is open" in str(plan)


def test_a_plan_says_that_a_size_stays_frozen(tmp_path):
    path = meeting(tmp_path / "m.onnx", ("h", "w"))
    plan = plan_rewrite(path, target="conv-only")
    assert "note: the size stays frozen (output_padding is [" in str(plan)
    assert "the step dynamic-size ends that" in str(plan)
    assert "stays frozen" not in str(plan_rewrite(path, target="conv-only", steps=["dynamic-size"]))


def test_constants_of_nodes_are_not_folded(tmp_path):
    """A Constant node, also behind an Identity, computes nothing."""
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(numbers(4, 4, 4, 4)))
    nodes = [
        constant,
        helper.make_node("Identity", ["c"], ["w"]),
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", **UP),
    ]
    path = saved(nodes, {}, tmp_path / "m.onnx")
    assert plan_rewrite(path, target="conv-only").layers[0].steps == ["phases"]
    assert "are stored constants already" in str(plan_rewrite(path, steps=["fold-constants"]))
    plan_rewrite(path, target="conv-only").write(tmp_path / "o.onnx", **QUIET)
    assert not {"Constant", "Identity"} & {each.op_type for each in onnx.load(tmp_path / "o.onnx").graph.node[:2]}


def test_a_layer_in_the_body_of_a_loop_is_rewritten(tmp_path):
    ends = [value("c1", TensorProto.BOOL, []), value("u", TensorProto.FLOAT, None)]
    starts = [value("i", TensorProto.INT64, []), value("c0", TensorProto.BOOL, []), value("v", TensorProto.FLOAT, None)]
    inside = [
        helper.make_node("Identity", ["c0"], ["c1"]),
        helper.make_node("ConvTranspose", ["v", "w"], ["u"], "up", **UP),
    ]
    body = helper.make_graph(inside, "body", starts, ends)
    loop = helper.make_node("Loop", ["times", "", "x"], ["y"], "loop", body=body)
    path = saved([loop], {"w": numbers(4, 4, 4, 4), "times": np.array(2)}, tmp_path / "m.onnx")
    report = plan_rewrite(path, steps=["phases"]).write(tmp_path / "o.onnx", tools=(), cost=False, sizes=1,
                                                        runtimes=["onnxruntime"])  # fmt: skip
    assert report.verification.compared
    (after,) = onnx.load(tmp_path / "o.onnx").graph.node
    assert "ConvTranspose" not in {each.op_type for each in after.attribute[0].g.node}


def test_the_command_writes_nothing_where_nothing_is_to_do(tmp_path, capsys):
    path, out = str(tmp_path / "m.onnx"), str(tmp_path / "o.onnx")
    onnx.save(PLAIN.model(), path)
    assert main(["rewrite", path, "-o", out, "--target", "ethos-u"]) == 0
    assert capsys.readouterr().out.endswith("ethos-u takes every layer: nothing to rewrite\nnothing is written\n")
    assert main(["rewrite", path, "-o", out, "--target", "ethos-u", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] is None
    assert not Path(out).exists()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["m.onnx", "-o", "o.onnx"], 1, "neither --target nor --step was given.*Write --target ethos-u, or --step,"),
        (["m.onnx", "-o", "o.onnx", "--target", "x?"], 1, "--target is 'x.'.*Write --target ethos-u, or the path of"),
        (["a.onnx", "b.onnx", "--plan", "--target", "ncnn"], 2, "'b.onnx' is left over: tconv rewrite takes one model"),
        (["m.pt2", "--plan", "--target", "ncnn"], 1, "a PyTorch module is rewritten before its export by tconv.torch"),
    ],
)
def test_the_command_speaks_of_its_options(words, code, text, capsys):
    assert main(["rewrite", *words]) == code
    assert re.search(text, capsys.readouterr().err)


def test_waiting_is_shown_on_a_terminal_alone(capsys, monkeypatch):
    with waiting("comparing"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with waiting("comparing", quiet=True):
        pass
    assert capsys.readouterr().err == ""
