"""Checks of models: every number of the report, its JSON, a real run, and files that are not what they seem."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tconv
from hand_made_models import inventory, layer, stored
from tconv.checking import check_inventory
from tconv.checking.facts import facts_of
from tconv.checking.layer_check import LayerCheck
from tconv.checking.model_run import with_run
from tconv.checking.pages import overview
from tconv.checking.report import Check, plain
from tconv.checking.sizes import Symbols, affine
from tconv.checking.target_answers import targets_named
from tconv.checking.trap import Trap
from tconv.checking.weight_numbers import checkerboard_verdict, weight_statistics
from tconv.geometry import Geometry
from tconv.models.inventory.model_layer import ModelInput, ModelInventory, ModelLayer, Neighbour, StoredArray
from tconv.models.inventory.symbols import evaluate, symbols_in
from tconv.targets import target


def checked(*layers: ModelLayer, **facts: Any) -> LayerCheck:
    return check_inventory(inventory(*layers), **facts).layers[0]


# -- the report ---------------------------------------------------------------------------------------------------


def test_facts_are_json() -> None:
    trap = Trap("key", "up", "wrong", "what", "who", "observed", "instead", {"score": np.float32(0.5), "at": (1, 2)})
    check = Check("model.onnx", "ONNX", (LayerCheck(layer(), Geometry((4, 4), 2, 1), traps=(trap,)),))
    facts = json.loads(json.dumps(check.facts(), allow_nan=False))
    assert facts["layers"][0]["geometry"]["crop"] == [[1, 1], [1, 1]]
    assert facts["layers"][0]["overlap"] == [[2, 2], [2, 2]]
    assert facts["traps"][0]["numbers"] == {"score": 0.5, "at": [1, 2]}
    assert "up  (ConvTranspose, node 3 of 9)" in str(check)


def test_plain_has_no_nan() -> None:
    assert plain({"a": float("nan"), "b": np.array([1.0, np.inf])}) == {"a": None, "b": [1.0, None]}


def test_the_numbers_of_a_layer() -> None:
    found = checked(layer(bias=stored(np.zeros(4, np.float32))))
    g = Geometry((4, 4), 2, 1)
    assert found.geometry == g
    assert (found.in_channels, found.out_channels) == (8, 4)
    assert found.macs == g.macs((16, 24), 8, 4, 1)
    assert found.nbytes is not None
    assert (found.nbytes.weight, found.nbytes.x, found.nbytes.y) == (4 * 8 * 4 * 16, 4 * 8 * 16 * 24, 4 * 4 * 32 * 48)
    assert found.shapes is not None
    assert found.shapes.y == (1, 4, 32, 48)
    assert found.receptive_field == g.receptive_field
    assert found.checkerboard is not None
    weight = found.canonical_weight()
    assert weight is not None
    assert found.checkerboard.score == pytest.approx(tconv.checkerboard(weight, geometry=g).score, abs=1e-6)
    assert found.checkerboard.verdict == "a checkerboard"
    assert not checked(layer(tconv.artifacts.equalise(weight, stride=2, padding=1))).checkerboard.score > 1e-6  # type: ignore[union-attr, operator]


def test_the_layer_in_other_frameworks() -> None:
    found = checked()
    assert found.calls["torch"].code == "y = torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1)"
    assert set(found.calls) == {"torch", "tensorflow", "keras", "jax", "onnx"}
    grouped = checked(layer(arguments={"group": 2}))
    assert grouped.calls["keras"].code == ""
    assert "groups" in grouped.calls["keras"].reasons[0]


def test_every_format_gives_one_answer() -> None:
    """One layer in the words of six dialects has one geometry, cost and score."""
    w = np.random.default_rng(0).standard_normal((8, 4, 4, 4)).astype(np.float32)
    g = Geometry((4, 4), 2, 1)
    answers = []
    for name in ("torch", "onnx", "keras", "tensorflow", "tflite", "ncnn"):
        rules = tconv.dialect(name)
        arguments = rules.arguments(g, input=(16, 24))
        native = np.asarray(rules.to_native(w, 1))
        x = {"NC*": (1, 8, 16, 24), "N*C": (1, 16, 24, 8), "C*": (8, 16, 24)}[rules.data_patterns[0]]
        if name == "tensorflow":
            arguments["output_shape"] = [1, *arguments["output_shape"], 4]
        model = ModelLayer("up", "", "", name, arguments, stored(native), input_shape=x)
        found = checked(model)
        assert found.notes == ()
        assert found.checkerboard is not None
        facts = facts_of(model)
        answers.append(
            (found.geometry, found.macs, found.nbytes and found.nbytes.total, round(found.checkerboard.score or 0, 6))
        )
        assert (facts.kernel, facts.stride, facts.in_channels, facts.out_channels) == ((4, 4), (2, 2), 8, 4)
    assert len(set(answers)) == 1


def test_facts_in_the_words_of_targets() -> None:
    arguments = {"strides": [2, 2], "pads": [1, 0, 1, 2], "output_padding": [1, 0]}
    facts = facts_of(layer(arguments=arguments, input_shape=("batch", 8, "height", 24)))
    assert (facts.pads_begin, facts.pads_end, facts.output_padding) == ((1, 0), (1, 2), (1, 0))
    assert (facts.batch, facts.input) == (None, (None, 24))
    assert facts_of(layer(arguments={"auto_pad": "SAME_UPPER", "strides": [2, 2]})).auto_pad == "SAME_UPPER"
    assert facts_of(layer(arguments={"output_shape": [30, 30], "strides": [2, 2]})).output_shape
    with pytest.raises(tconv.errors.ArgumentError, match=r"has no known geometry.*constant weight"):
        facts_of(replace(layer(), weight=None))


def test_pads_beside_auto_pad_do_not_count() -> None:
    both = {"auto_pad": "SAME_UPPER", "strides": [2, 2], "pads": [0, 0, 0, 0]}
    alone = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    assert checked(layer(arguments=both)).geometry == checked(layer(arguments=alone)).geometry != None  # noqa: E711


# -- sizes ---------------------------------------------------------------------------------------------------------


def test_sizes_that_the_file_leaves_open() -> None:
    model = replace(
        inventory(layer(input_shape=("n", 8, "h", "2*w"), output_shape=None)),
        inputs=(ModelInput("x", ("n", 3, "h", "w")),),
    )
    (found,) = check_inventory(model).layers
    assert found.shapes is not None
    assert found.shapes.sample_x == (1, 8, 64, 128)
    assert found.shapes.y[2] == "2*h"
    assert found.shapes.chosen == ("n = 1", "h = 64", "w = 64")
    (found,) = check_inventory(model, size=(10, 20)).layers
    assert found.shapes is not None
    assert found.shapes.sample_x == (1, 8, 10, 40)


def test_chosen_sizes_reach_layers_of_models_that_state_no_input() -> None:
    nameless = inventory(layer(input_shape=None, output_shape=None))
    for size, sample in (((10, 20), (1, 8, 10, 20)), (12, (1, 8, 12, 12))):
        check = check_inventory(nameless, size=size)
        assert check.layers[0].shapes is not None
        assert check.layers[0].shapes.sample_x == sample
        assert check.notes == ()


def test_a_size_that_nothing_takes_is_a_note() -> None:
    for model in (inventory(), inventory(layer(input_shape=None, output_shape=None))):
        assert "the size 5, 6, 7 has no effect" in check_inventory(model, size=(5, 6, 7)).notes[0]
    assert check_inventory(inventory(), size=5).notes


def test_sizes_follow_from_the_layer_before_as_far_as_it_can_be_followed() -> None:
    def model(kind: str) -> ModelInventory:
        """Return two layers of a format without shapes, with an operation between them."""
        between = Neighbour(kind, kind, inputs=("y",), outputs=("z",))
        first = layer(np.ones((8, 8, 2, 2), np.float32), input_shape=None, output_shape=None, after=(between,))
        second = layer(np.ones((8, 8, 2, 2), np.float32), input_shape=None, output_shape=None, before=(between,))
        return inventory(*(replace(each, arguments={"strides": [2, 2]}) for each in (first, second)))

    def samples(check: Check) -> list[Any]:
        return [None if each.shapes is None else each.shapes.sample_x[2:] for each in check.layers]

    check = check_inventory(model("aten.relu_"), size=(10, 12))
    assert samples(check) == [(10, 12), (20, 24)]
    assert overview.chosen(check).startswith(
        "The file leaves sizes open; the numbers are for x of 1x8x10x12 in layer 1, and what follows from it."
    )
    check = check_inventory(model("aten.conv2d"), size=(10, 12))
    assert samples(check) == [(10, 12), (10, 12)]
    assert "those of other layers are chosen for each layer alone" in overview.chosen(check)


@pytest.mark.parametrize("name", ["p2o.DynamicDimension.1", "image.height", "if", "größe", "lambda.in"])
def test_any_name_is_one_symbol(name: str) -> None:
    model = replace(
        inventory(layer(input_shape=("n", 8, f"2*(({name} - 1)//4) + 2", 16), output_shape=None)),
        inputs=(ModelInput("x", ("n", 3, name, 64)),),
    )
    assert symbols_in(f"2*(({name} - 1)//4) + 2") == (name,)
    (found,) = check_inventory(model, size=640).layers
    assert found.shapes is not None
    assert found.shapes.sample_x[2] == 320


def test_a_size_above_the_limit_is_refused() -> None:
    with pytest.raises(tconv.errors.ArgumentError, match="at most 2,147,483,647"):
        tconv.check("model.onnx", size=(64, 1 << 31))


def test_the_size_of_an_output_that_depends_on_the_input() -> None:
    found = checked(layer(arguments={"output_shape": [32, 48]}, input_shape=("n", 8, "h", "w"), output_shape=None))
    assert found.shapes is not None
    assert found.shapes.y == ("n", 4, None, None)


@pytest.mark.parametrize(
    ("text", "number"), [("n", 5), ("2*n + 1", 11), ("(n - 1)//4", 1), ("n*(n + m)", 60), ("7", 7)]
)
def test_expressions_of_sizes(text: str, number: int) -> None:
    assert evaluate(text, {"n": 5, "m": 7}) == number


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "n.real",
        "[1][0]",
        "n**n",
        "(" * 200 + "n" + ")" * 200,
        "n if n else 1",
        "9" * 4000,
        "n//0",
        "x y",
    ],
)
def test_other_texts_are_names_and_nothing_is_run(text: str) -> None:
    assert evaluate(text, {"n": 5}) is None
    assert Symbols(inventory()).value(text, 2, 0) >= 1
    assert symbols_in("a b") == ("a b",)


def test_sizes_as_text() -> None:
    assert [affine("n", 2, 0), affine("n", 1, 3), affine("a + b", 2, -1), affine(4, 2, 1), affine(None, 2, 1)] == [
        *("2*n", "n + 3", "2*(a + b) - 1"),
        9,
        None,
    ]


# -- the weight -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_statistics_are_those_of_the_whole_array(groups: int) -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((8, 3, 5, 5)).astype(np.float32)
    w[0, 0, 0] = [1e5, -1e6, 1e-6, 0, 3e-6]
    w[3, 1, 2, 2], w[3, 1, 2, 3] = np.nan, -np.inf
    numbers = weight_statistics(w, groups)
    finite = w[np.isfinite(w)]
    assert (numbers.minimum, numbers.maximum) == (float(finite.min()), float(finite.max()))
    assert numbers.rms == pytest.approx(float(np.sqrt((finite.astype(float) ** 2).mean())))
    assert (numbers.nan, numbers.inf, numbers.zeros, numbers.size) == (1, 1, 1, w.size)
    assert (numbers.beyond_float16, numbers.subnormal_float16) == (2, int(((np.abs(w) < 2**-14) & (w != 0)).sum()))
    assert numbers.non_finite_outputs == (3 * groups // 8 * 3 + 1,)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_score_is_that_of_checkerboard(groups: int) -> None:
    w = np.random.default_rng(0).standard_normal((8, 3, 5, 4)).astype(np.float32)
    g = Geometry((5, 4), (2, 3), 1, (1, 2), groups)
    board = tconv.checkerboard(w.astype(np.float64), geometry=g)
    found = checkerboard_verdict(w, g, weight_statistics(w, groups))
    assert found.score == pytest.approx(board.score, abs=1e-12)
    assert found.worst_channel == int(np.argmax(board.by_channel))
    assert found.worst == pytest.approx(board.by_channel.max(), abs=1e-12)


def test_a_large_weight_is_read_in_parts() -> None:
    w = np.zeros((3000, 8, 16, 16), np.float32)
    w[2999, 7] = 1
    numbers = weight_statistics(w, 1)
    assert numbers.dead_outputs == tuple(range(7))
    assert len(numbers.dead_inputs) == 2999


# -- targets --------------------------------------------------------------------------------------------------------


def test_targets_answer_with_limits_and_the_steps_that_end_them() -> None:
    three = layer(np.ones((8, 4, 3, 3), np.float32), arguments={"strides": [3, 3]}, dtype="int8", output_shape=None)
    found = checked(three, targets=(target("ethos-u"), target("conv-only")))
    answer = found.targets["ethos-u"]
    assert answer.accepted is False
    assert [limit["text"] for limit in answer.limits] == ["stride is 3; 1 or 2 are accepted"]
    assert answer.steps
    assert answer.steps[0] in answer.plan
    assert "rewrite: " in str(check_inventory(inventory(three), targets=(target("ethos-u"),)))
    assert checked(layer(dtype="int8"), targets=(target("ethos-u"),)).targets["ethos-u"].accepted is True
    unknown = checked(replace(three, weight=None), targets=(target("ethos-u"),)).targets["ethos-u"]
    assert unknown.accepted is None


def test_other_forms_are_asked_for_the_operations_that_the_file_has() -> None:
    shuffled = layer(form="convolution and depth to space", op="Conv + DepthToSpace")
    only = target("conv-only")
    assert checked(shuffled, targets=(only,)).targets["conv-only"].accepted is True
    assert checked(layer(), targets=(only,)).targets["conv-only"].accepted is False
    zeros = layer(form="zero insertion and convolution", op="Conv")
    assert checked(zeros, targets=(only,)).targets["conv-only"].accepted is True
    custom = checked(layer(op="Convolution2DTransposeBias"), targets=(target("litert"),)).targets["litert"]
    assert [limit["text"] for limit in custom.limits] == [
        "Convolution2DTransposeBias is an operator of MediaPipe alone"
    ]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("name", ["tensorflow", "tflite"])
def test_layers_whose_output_size_is_computed_have_a_plan(name: str, padding: str) -> None:
    w = np.ones((5, 4, 4, 5), np.float32)
    open_sizes = layer(
        w, dialect=name, arguments={"strides": [3, 3], "padding": padding}, input_shape=("n", "h", "w", 5)
    )
    answer = checked(replace(open_sizes, output_shape=None), targets=(target("ethos-u"),)).targets["ethos-u"]
    assert answer.accepted is False
    assert answer.steps


def test_limits_that_pads_break_for_some_sizes_only_are_open() -> None:
    frozen = layer(
        arguments={"strides": [2, 2], "output_shape": [24, 13]}, input_shape=(1, 8, "h", "w"), output_shape=None
    )
    answer = checked(frozen, targets=(target("webnn"),)).targets["webnn"]
    assert answer.accepted is True
    (limit,) = answer.open_limits
    assert "at least 0 is accepted, for x of " in limit["text"]


def test_a_target_named_twice_answers_once() -> None:
    assert [each.name for each in targets_named(["ethos-u", "ethos-u55", "coreml"])] == ["ethos-u", "coreml"]
    with pytest.raises(tconv.TconvError, match="a name is needed"):
        targets_named({"coreml": 1})  # type: ignore[arg-type]


def test_a_target_has_no_verdict_about_arguments_that_are_no_layer() -> None:
    nothing = layer(arguments={"strides": [2, 2], "pads": [90] * 4}, output_shape=None)
    answer = checked(nothing, targets=(target("coreml"),)).targets["coreml"]
    assert answer.accepted is None
    assert "leaves nothing" in answer.plan


def test_an_unknown_target(tmp_path: Path) -> None:
    with pytest.raises(tconv.TconvError, match="no-such-chip"):
        tconv.check(tmp_path / "model.onnx", target="no-such-chip")
    with pytest.raises(tconv.errors.ArgumentError, match="Write size=64"):
        tconv.check(tmp_path / "model.onnx", size=2.5)  # type: ignore[arg-type]
    with pytest.raises(tconv.errors.FileError, match="does not exist"):
        tconv.check(tmp_path / "model.onnx")


# -- layers that are not what they seem ------------------------------------------------------------------------------


def broken() -> StoredArray:
    def read() -> Any:
        raise OSError("the data ends early")

    return StoredArray((8, 4, 4, 4), "float32", read)


def test_a_weight_that_cannot_be_read_is_a_note() -> None:
    found = checked(layer(broken()), targets=(target("conv-only"),))
    assert found.geometry is not None
    assert any("the data ends early" in note for note in found.notes)
    assert found.canonical_weight() is None
    assert found.checkerboard is not None
    assert found.checkerboard.verdict == "not measured"


VALUES = [
    None,
    0,
    -1,
    1,
    2,
    3,
    7,
    2**31,
    2**62,
    -(2**62),
    "x",
    [],
    [1],
    [2, 2],
    [0, 0],
    [-1, -1],
    [2**40, 2],
    [1, 2, 3, 4],
    [[1, 2]],
    1.5,
    True,
    b"?",
    {},
]


def test_arguments_of_any_kind_give_a_report() -> None:
    rng = np.random.default_rng(0)
    names = ("strides", "pads", "auto_pad", "output_padding", "output_shape", "dilations", "group", "kernel_shape")
    begun = time.perf_counter()
    for _ in range(400):
        arguments = {
            str(name): VALUES[rng.integers(len(VALUES))]
            for name in rng.choice(names, rng.integers(0, 4), replace=False)
        }
        sizes = [VALUES[at] for at in rng.integers(0, 10, 4)]
        shape = tuple(size if size is None or isinstance(size, (int, str)) else None for size in sizes)
        shape = shape if rng.random() < 0.8 else shape[:3]
        check = check_inventory(inventory(layer(arguments=arguments, input_shape=shape, output_shape=None)))
        json.dumps(check.facts(), allow_nan=False)
        assert str(check)
    assert time.perf_counter() - begun < 60


# -- a real run -----------------------------------------------------------------------------------------------------


def onnx_file(
    path: Path, *, weight: Any = None, sizes: Any = ("batch", 3, "height", "width"), **attributes: Any
) -> Path:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    w = np.random.default_rng(0).standard_normal((3, 4, 4, 4)).astype(np.float32) if weight is None else weight
    nodes = [
        onnx.helper.make_node("ConvTranspose", ["x", "w"], ["a"], name="up", **attributes),
        onnx.helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, sizes)],
        [onnx.helper.make_tensor_value_info("y", 1, [None] * 4)],
        [onnx.numpy_helper.from_array(w, "w")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_run_gives_shapes_agreement_and_times(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "model.onnx", strides=[2, 2], pads=[1] * 4)
    check = tconv.check(path, run=True, size=(10, 12))
    (found,) = check.layers
    assert check.run is not None
    assert check.run.error == ""
    assert check.run.inputs == {"x": (1, 3, 10, 12)}
    assert found.agreement is not None
    assert found.agreement.agrees
    assert found.shapes is not None
    assert (found.shapes.source, found.shapes.sample_y) == ("a run", (1, 4, 20, 24))
    assert found.macs == Geometry((4, 4), 2, 1).macs((10, 12), 3, 4)
    assert found.timing is not None
    assert check.machine is not None
    assert min(filter(None, (found.timing.bound, found.timing.tconv, found.timing.runtime))) > 0
    assert found.timing.runtime_name.startswith("onnxruntime")
    json.dumps(check.facts(), allow_nan=False)
    assert "agreement   onnxruntime" in str(check)


def test_a_run_that_contradicts_the_rules_is_a_trap(tmp_path: Path) -> None:
    """SAME with a stride above the kernel: ONNX Runtime gives fewer rows than s*n (a listed fault)."""
    w = np.ones((3, 4, 2, 2), np.float32)
    path = onnx_file(tmp_path / "model.onnx", weight=w, strides=[4, 4], auto_pad="SAME_UPPER")
    check = tconv.check(path, run=True, size=8)
    keys = {trap.key for trap in check.traps}
    assert {"run-differs", "onnx-negative-pads"} <= keys
    (found,) = check.layers
    assert found.agreement is not None
    assert not found.agreement.agrees
    assert found.agreement.expected == (1, 4, 32, 32)
    assert found.agreement.difference is None


def test_an_error_of_a_runtime_is_reported(tmp_path: Path) -> None:
    """Negative pads, which ONNX Runtime refuses."""
    path = onnx_file(tmp_path / "model.onnx", strides=[4, 4], pads=[-1] * 4, kernel_shape=[4, 4])
    check = tconv.check(path, run=True)
    assert check.run is not None
    assert "fails" in check.run.error
    assert {"onnx-negative-pads-refused", "run-fails"} <= {trap.key for trap in check.traps}
    assert check.layers[0].agreement is None
    assert check.layers[0].timing is not None


def test_a_frozen_size_that_fails_in_a_run_is_a_refusal(tmp_path: Path) -> None:
    """A decoder whose output_padding of 0 is that of an example of odd sizes, and whose names have dots and spaces."""
    onnx = pytest.importorskip("onnx")
    make, rng = onnx.helper, np.random.default_rng(0)
    nodes = [
        make.make_node("Conv", ["x", "a"], ["d"], strides=[2, 2], pads=[1] * 4),
        make.make_node("ConvTranspose", ["d", "b"], ["u"], name="up", strides=[2, 2], pads=[1] * 4),
        make.make_node("Concat", ["u", "x"], ["y"], name="join", axis=1),
    ]
    arrays = [onnx.numpy_helper.from_array(rng.standard_normal((3, 3, 3, 3)).astype("f"), name) for name in "ab"]
    x, y = (
        make.make_tensor_value_info(n, 1, s) for n, s in (("x", [1, 3, "image.height", "image width"]), ("y", None))
    )
    model = make.make_model(
        make.make_graph(nodes, "g", [x], [y], arrays), opset_imports=[make.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, tmp_path / "odd.onnx")

    def severities(**options: Any) -> dict[str, str]:
        check = tconv.check(tmp_path / "odd.onnx", **options)
        assert check.layers[0].shapes is not None
        assert check.layers[0].shapes.sample_x[2:] == ((options.get("size", 64) + 1) // 2,) * 2
        return {trap.key: trap.severity for trap in check.traps if "run" in trap.key or "frozen" in trap.key}

    assert severities() == {"frozen-output-padding": "note"}
    assert severities(run=True, size=21) == {"frozen-output-padding": "note"}
    assert severities(run=True, size=20) == {"frozen-output-padding": "refused", "run-fails": "refused"}


def test_an_empty_input_is_reported(tmp_path: Path) -> None:
    check = tconv.check(onnx_file(tmp_path / "model.onnx", sizes=(1, 3, 0, 4)), run=True)
    assert [trap.key for trap in check.traps] == ["invalid-arguments"]
    assert check.run is not None


def test_an_object_in_memory_that_is_no_module_is_not_run() -> None:
    check = with_run(check_inventory(inventory(layer())), object(), None)
    assert check.run is not None
    assert "is not run" in check.run.error
    assert check.layers[0].timing is not None
    assert check.layers[0].timing.tconv is not None


def test_an_enormous_input_is_not_run(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "model.onnx", strides=[2, 2])
    check = tconv.check(path, run=True, size=10**6)
    assert check.run is not None
    assert "too many numbers" in check.run.error
    assert check.layers[0].timing is not None
    assert "not timed" in check.layers[0].timing.note
    assert math.isfinite(check.layers[0].timing.bound or 0)


def test_no_layer_is_an_answer() -> None:
    check = check_inventory(ModelInventory("model.onnx", "ONNX", ()))
    assert str(check) == "model.onnx: ONNX; 0 transposed convolutions"
    assert check.facts()["layers"] == []
