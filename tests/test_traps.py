"""Traps of layers: each is found in a small model that has it, and not in a near neighbour."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hand_made_models import inventory, layer, stored
from tconv.checking import check_inventory
from tconv.checking.traps import FAMILIES, TRAPS
from tconv.checking.traps.integer_scales import stored_integers
from tconv.checking.traps.scale_axes import go_together
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer, Neighbour, Quantization, StoredArray
from tconv.onnx.model_rewrite import step_names
from traps_page import PAGE, page


def found(model: ModelLayer | ModelInventory) -> list[str]:
    """Return the keys of a model's traps."""
    whole = model if isinstance(model, ModelInventory) else inventory(model)
    return [trap.key for trap in check_inventory(whole).traps]


def weight(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def node(shape: tuple[int, ...] = (4, 4, 3, 3), x: Any = (1, 4, 9, 9), **arguments: Any) -> ModelLayer:
    """Return an ONNX layer."""
    facts = {name: arguments.pop(name) for name in ("before", "after", "bias", "dtype", "form") if name in arguments}
    return layer(weight(*shape), arguments=arguments, input_shape=x, output_shape=None, **facts)


def native(dialect: str, shape: tuple[int, ...], x: Any, arguments: dict[str, Any], **facts: Any) -> ModelLayer:
    return layer(weight(*shape), dialect=dialect, arguments=arguments, input_shape=x, output_shape=None, **facts)


def op(kind: str, inputs: int = 1, constants: dict[str, Any] | None = None, **attributes: Any) -> Neighbour:
    arrays = {name: stored(np.asarray(value, np.float32)) for name, value in (constants or {}).items()}
    names = tuple(f"{kind} reads {number}" for number in range(inputs))
    return Neighbour(kind, f"{kind}_1", attributes, arrays, names, ("out",))


BATCHNORM = op("BatchNormalization", constants={"scale": np.ones(4)})
BIAS = stored(np.ones(4, np.float32))
OPEN = ("batch", 4, "height", "width")
ZEROS = op("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant")


# -- listed faults: (a layer that is affected, a neighbour that is not) ---------------------------------------------

SAME = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
FAULTY: dict[str, tuple[ModelLayer, ModelLayer]] = {
    "keras-torch-same": (
        native("keras", (3, 3, 4, 4), (None, 9, 9, 4), {"strides": 2, "padding": "same"}),
        native("keras", (4, 4, 4, 4), (None, 9, 9, 4), {"strides": 2, "padding": "same"}),
    ),
    "xla-ends-process": (
        native("keras", (2, 9, 4, 4), (1, 5, 5, 4), {"strides": (2, 1), "padding": "same", "output_padding": (0, 0)}),
        native("keras", (3, 9, 4, 4), (1, 5, 5, 4), {"strides": (2, 1), "padding": "same", "output_padding": (0, 0)}),
    ),
    "onnx-reference-groups": (node((4, 2, 3, 3), group=2), node(group=1)),
    "onnx-reference-output-shape": (node(strides=[2, 2], output_shape=[17, 17]), node(output_shape=[9, 9], **SAME)),
    "onnx-output-padding-from-stride": (
        node(strides=[2, 2], dilations=[3, 3], output_padding=[2, 2]),
        node(strides=[2, 2], dilations=[3, 3], output_padding=[1, 1]),
    ),
    "openvino-onnx-output-shape": (node(output_shape=[18, 18], **SAME), node(output_shape=[17, 17], **SAME)),
    "openvino-onnx-group-output-shape": (
        node((4, 2, 3, 3), strides=[2, 2], group=2, output_shape=[17, 17]),
        node((4, 2, 3, 3), strides=[2, 2], group=2, output_shape=[19, 19]),
    ),
    "onnx-negative-pads": (node((4, 4, 2, 2), strides=[3, 3], auto_pad="SAME_UPPER"), node(**SAME)),
    "onnx-negative-pads-refused": (
        node((4, 4, 2, 2), strides=[4, 4], pads=[-1, -1, -1, -1]),
        node((4, 4, 2, 2), strides=[4, 4], pads=[0, 0, 0, 0]),
    ),
    "tinygrad-onnx-valid": (node(strides=[2, 2], auto_pad="VALID"), node((4, 4, 2, 2), strides=[2, 2], auto_pad="VALID")),
    "onnx-shape-inference-same": (
        node((4, 4, 2, 2), strides=[3, 3], auto_pad="SAME_UPPER"),
        node((4, 4, 3, 3), strides=[3, 3], auto_pad="SAME_UPPER"),
    ),
    "onnxruntime-same-swapped": (node(**SAME), node((4, 4, 4, 4), **SAME)),
    "onnxruntime-output-shape-halves": (
        node(strides=[2, 2], output_shape=[18, 18]),
        node(strides=[2, 2], output_shape=[17, 17]),
    ),
    "mnn-crop-in-front": (
        node(strides=[2, 2], auto_pad="SAME_LOWER"),
        node((4, 4, 4, 4), strides=[2, 2], auto_pad="SAME_LOWER"),
    ),
    "torch-x86-int8-channels": (
        native("torch", (8, 4, 3, 3), (1, 8, 9, 9), {"stride": 2}, dtype="int8"),
        native("torch", (8, 8, 3, 3), (1, 8, 9, 9), {"stride": 2}, dtype="int8"),
    ),
    "ncnn-mat-planes": (
        native("ncnn", (4, 2, 3, 3), (4, 9, 9), {"stride_w": 2, "group": 2}),
        native("ncnn", (4, 2, 3, 3), (4, 8, 8), {"stride_w": 2, "group": 2}),
    ),
    "openvino-fused-pad": (
        node((4, 4, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1], before=(ZEROS,)),
        node((4, 4, 4, 4), strides=[2, 2], pads=[0, 0, 0, 0], before=(ZEROS,)),
    ),
    "openvino-onnx-same-dynamic": (node(x=OPEN, **SAME), node(**SAME)),
    "onnxslim-mul-beside-channels": (
        node((4, 12, 3, 3), strides=[2, 2], after=(op("Mul", constants={"other": np.ones((1, 1, 12, 1))}),)),
        node((4, 12, 3, 3), strides=[2, 2], after=(op("Mul", constants={"other": np.ones((1, 12, 1, 1))}),)),
    ),
    "onnx2torch-output-shape": (
        node(strides=[2, 2], output_shape=[18, 18]),
        node(strides=[2, 2], output_shape=[19, 19]),
    ),
    "tract-onnx-output-shape": (
        node(strides=[2, 2], output_shape=[18, 18]),
        node(strides=[2, 2], output_shape=[19, 19]),
    ),
    "onnx2tf-volume-bias": (
        node((4, 4, 3, 3, 3), (1, 4, 5, 6, 7), bias=BIAS),
        node((4, 4, 3, 3, 3), (1, 4, 5, 6, 7)),
    ),
    "onnxruntime-quantizer-groups": (node((4, 2, 3, 3), group=2, bias=BIAS), node((4, 2, 3, 3), group=2)),
    "tf2onnx-crop-in-halves": (
        native("tensorflow", (3, 3, 4, 4), (1, 9, 9, 4), {"output_shape": [1, 18, 18, 4], "strides": 2, "padding": [[0, 0], [1, 0], [1, 0], [0, 0]]}),
        native("tensorflow", (3, 3, 4, 4), (1, 9, 9, 4), {"output_shape": [1, 18, 18, 4], "strides": 2, "padding": "SAME"}),
    ),
    "keras-onnx-negative-pads": (
        native("keras", (2, 2, 4, 4), (1, 9, 9, 4), {"strides": 3, "padding": "same"}),
        native("keras", (3, 3, 4, 4), (1, 9, 9, 4), {"strides": 3, "padding": "same"}),
    ),
    "nobuco-small-kernel": (
        native("torch", (4, 4, 2, 2), (1, 4, 9, 9), {"stride": 3}),
        native("torch", (4, 4, 3, 3), (1, 4, 9, 9), {"stride": 3}),
    ),
    "coremltools-grouped-batchnorm": (
        native("torch", (4, 2, 3, 3), (1, 4, 9, 9), {"stride": 2, "groups": 2}, after=(op("aten.batch_norm"),)),
        native("torch", (4, 1, 3, 3), (1, 4, 9, 9), {"stride": 2, "groups": 4}, after=(op("aten.batch_norm"),)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("key", FAULTY)
def test_listed_faults_are_found_where_they_apply(key: str) -> None:
    affected, other = FAULTY[key]
    assert key in found(affected)
    assert key not in found(other)


def test_an_output_shape_that_adds_one_row_behind_is_right_everywhere() -> None:
    """Full is 19: ONNX Runtime 1.32.0 and OpenVINO 2026.4.1 compute a 20th row, and lose one in front."""
    behind, in_front = (
        {"auto_pad": rule, "strides": [2, 2], "output_shape": [20, 20]} for rule in ("NOTSET", "SAME_UPPER")
    )
    assert "onnx-negative-pads" not in found(node(**behind))
    assert "onnx-negative-pads" in found(node(**in_front))
    assert "onnx-negative-pads" in found(node(**{**behind, "output_shape": [21, 21]}))


def test_open_sizes_are_tried_over_a_range() -> None:
    """The plane of 4 elements is a matter of the size, so the sentence says for how many it holds."""
    shape = (4, None, None)
    model = native("ncnn", (4, 2, 3, 3), shape, {"stride_w": 2, "group": 2})
    (trap,) = (each for each in check_inventory(inventory(model)).traps if each.key == "ncnn-mat-planes")
    assert "sizes tried" in trap.what
    assert trap.numbers["tried"] > 10


# -- neighbours and frozen sizes -----------------------------------------------------------------------------------

JOIN = (op("Relu"), op("Concat", 2))
MODELS: dict[str, tuple[ModelLayer, ModelLayer]] = {
    "frozen-output-padding": (
        node(x=OPEN, strides=[2, 2], pads=[1] * 4, output_padding=[1, 1], after=JOIN),
        node(x=OPEN, strides=[2, 2], pads=[1] * 4, output_padding=[1, 1], after=(op("Relu"),)),
    ),
    "frozen-output-shape": (node(x=OPEN, output_shape=[17, 17]), node(output_shape=[17, 17])),
    "custom-operator": (replace(node(), op="Convolution2DTransposeBias"), node()),
    "invalid-arguments": (
        native("tflite", (4, 3, 3, 4), (1, 9, 9, 4), {"output_shape": (21, 21), "strides": 2, "padding": "VALID"}),
        native("tflite", (4, 3, 3, 4), (1, 9, 9, 4), {"output_shape": (20, 20), "strides": 2, "padding": "VALID"}),
    ),
    "pad-in-front": (node(before=(ZEROS,)), node(before=(replace(ZEROS, attributes={"pads": [0] * 8}),))),
    "pad-mode": (node(before=(replace(ZEROS, attributes={**ZEROS.attributes, "mode": "reflect"}),)), node(before=(ZEROS,))),
    "batchnorm-behind": (node(after=(BATCHNORM,)), node(after=(op("Relu"), BATCHNORM))),
    "inserted-zeros": (node(strides=[2, 2], form="zero insertion and convolution"), node(strides=[2, 2])),
    "weight-at-run-time": (replace(node(), weight=None), node()),
    "uneven-overlap": (node(strides=[2, 2]), node((4, 4, 4, 4), strides=[2, 2])),
    "outputs-without-tap": (node((4, 4, 2, 2), strides=[3, 3]), node((4, 4, 3, 3), strides=[3, 3])),
    "huge-kernel": (
        layer(weight(16, 1, 1024), arguments={"strides": [256]}, input_shape=(1, 16, "frames"), output_shape=None),
        layer(weight(16, 1, 16), arguments={"strides": [8]}, input_shape=(1, 16, "frames"), output_shape=None),
    ),
    "most-targets-refuse": (node((4, 2, 3, 3), strides=[3, 3], dilations=[2, 2], group=2), node((4, 4, 4, 4), strides=[2, 2])),
    "float16-layer": (node(dtype="float16"), node()),
    "float64-layer": (node(dtype="float64"), node(dtype="float32")),
    "bfloat16-layer": (node(dtype="bfloat16"), node(dtype="float16")),
    "bfloat16-before-opset-22": (node(dtype="bfloat16"), node()),
}  # fmt: skip


@pytest.mark.parametrize("key", MODELS)
def test_traps_of_a_layer_and_its_surroundings(key: str) -> None:
    (one, two) = (inventory(each, version="opset 17, IR 8") for each in MODELS[key])
    assert key in found(one)
    assert key not in found(two)


def test_a_frozen_output_padding_needs_a_join_without_a_slice_and_a_size_that_varies() -> None:
    arguments = {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}
    sliced = (op("Slice"), op("Concat", 2))
    assert "frozen-output-padding" not in found(node(x=OPEN, **arguments, after=sliced))
    assert "frozen-output-padding" not in found(node(**arguments, after=JOIN))
    assert "frozen-output-padding" in found(
        native("torch", (4, 4, 3, 3), (None, 4, None, None), {"stride": 2, "padding": 1, "output_padding": 1}, after=(op("aten.cat.default", 2),))
    )  # fmt: skip
    assert "frozen-output-padding" not in found(node(x=OPEN, **arguments, after=(op("Add", 1),)))


def joined(*sizes: Any, padding: int = 0, kind: str = "Concat") -> list[tuple[str, str]]:
    """Return the traps of frozen sizes, with severities, of a layer whose output meets tensors of these sizes."""
    shapes = tuple(("batch", 4, *each) for each in sizes)
    join = replace(op(kind, len(sizes), axis=1), input_shapes=shapes)
    one = node(x=("batch", 4, "h", "w"), strides=[2, 2], pads=[1] * 4, output_padding=[padding] * 2, after=(join,))
    traps = check_inventory(inventory(one)).traps
    return [(trap.severity, trap.instead) for trap in traps if trap.key == "frozen-output-padding"]


def test_a_frozen_padding_of_0_is_found_by_the_sizes_that_meet() -> None:
    own = ("2*((h - 1)//2) + 1", "2*((w - 1)//2) + 1")
    ((severity, instead),) = joined(own, ("h", "w"))
    assert severity == "note"
    assert "or only inputs where h % 2 is 1 and w % 2 is 1" in instead
    assert "--step dynamic-size" in instead
    ((severity, instead),) = joined(("2*((h - 1)//2) + 2", "w"), ("h", "w"), padding=1)
    assert severity == "refused"
    assert "or only inputs where h % 2 is 0" in instead
    ((_, instead),) = joined(("2*h", "w"), ("2*h + 1", "w"), padding=1)
    assert "only inputs" not in instead  # there are none
    for kind in ("Concat", "Add"):
        assert joined(own, own, kind=kind) == []
        assert joined(("2*h", "2*w"), ("2*h", "2*w"), padding=1, kind=kind) == []
    assert joined(("2*h", "2*w"), (1, 1), kind="Add") == []  # an attention of one number for each channel
    assert joined(("2*h", "2*w"), (None, None)) == []
    assert joined(("2*h", "2*w"), ("skip_h", "skip_w")) == []  # two inputs of the model
    assert len(joined(("2*h", "2*w"), (None, None), padding=1)) == 1


def test_a_padding_of_0_beside_a_frozen_one_is_of_the_same_example() -> None:
    arguments = {"strides": [2, 2], "pads": [1] * 4}
    first = node(x=OPEN, **arguments, output_padding=[0, 1], after=(replace(op("Concat", 2), name="one"),))
    second = node((4, 4, 5, 5), x=OPEN, **arguments, after=(replace(op("Concat", 2), name="two"),))
    both = [
        trap.severity for trap in check_inventory(inventory(first, second)).traps if trap.key == "frozen-output-padding"
    ]
    assert both == ["refused", "note"]


def test_commands_name_the_file() -> None:
    model = replace(inventory(node(x=OPEN, output_shape=[17, 17])), source="my model.onnx")
    (trap,) = (trap for trap in check_inventory(model).traps if trap.key == "frozen-output-shape")
    assert "tconv rewrite 'my model.onnx' -o OUT.onnx --step dynamic-size" in trap.instead


def test_parallel_branches_of_one_size_are_no_frozen_sizes() -> None:
    arguments = {"strides": [2, 2], "pads": [1] * 4}
    one = node(x=OPEN, **arguments, output_padding=[1, 1], after=JOIN)
    like, unlike = (node((4, 4, k, k), x=OPEN, **arguments, after=JOIN) for k in (4, 3))
    assert "frozen-output-padding" not in found(inventory(one, like))
    assert "frozen-output-padding" in found(inventory(one, unlike))


def test_a_residual_sum_is_no_tensor_of_another_path() -> None:
    """y is read by a convolution and by the Add of its output: as in the blocks of MONAI's UNet."""
    arguments = {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]}
    conv, add = Neighbour("Conv", "conv", inputs=("y",), outputs=("z",)), Neighbour("Add", "add", inputs=("z", "y"))
    skip = Neighbour("Concat", "cat", inputs=("z", "skip"))
    assert "frozen-output-padding" not in found(node(x=OPEN, **arguments, after=(conv, add)))
    assert "frozen-output-padding" in found(node(x=OPEN, **arguments, after=(conv, skip)))


def test_the_operator_set_of_a_file() -> None:
    assert "new-opset" in found(inventory(version="opset 22, IR 10"))
    assert "new-opset" not in found(inventory(version="opset 21, IR 10"))
    assert "bfloat16-before-opset-22" not in found(inventory(node(dtype="bfloat16"), version="opset 22, IR 10"))


# -- numbers of the weight -----------------------------------------------------------------------------------------


def changed(index: Any, value: Any) -> ModelLayer:
    w = weight(8, 4, 4, 4)
    w[index] = value
    return layer(w)


NUMBERS: dict[str, tuple[ModelLayer, ModelLayer]] = {
    "non-finite-weight": (changed((0, 2, 1, 1), np.nan), layer()),
    "zero-weight": (changed(..., 0), changed(0, 0)),
    "zero-channels": (changed((slice(None), 3), 0), changed((slice(None), 3, 0), 0)),
    "equal-channels": (
        changed((slice(None), 3), weight(8, 4, 4, seed=1)),
        changed((slice(None), 3), weight(8, 4, 4, seed=1)),
    ),
    "float16-overflow": (changed(0, 1e5), changed(0, 6e4)),
    "float16-underflow": (layer(weight(8, 4, 4, 4) * np.float32(1e-7)), layer(weight(8, 4, 4, 4) * np.float32(1e-3))),
}
same = weight(8, 4, 4, 4)
same[:, 1] = same[:, 3]
NUMBERS["equal-channels"] = (layer(same), layer())


@pytest.mark.parametrize("key", NUMBERS)
def test_traps_of_the_numbers_in_a_weight(key: str) -> None:
    one, two = NUMBERS[key]
    assert key in found(one)
    assert key not in found(two)


def test_channels_of_groups_are_named_by_their_number_in_the_output() -> None:
    w = weight(8, 2, 3, 3)
    w[4:, 1] = np.inf  # the second channel of the second group
    (trap,) = (
        trap
        for trap in check_inventory(inventory(layer(w, arguments={"group": 2}))).traps
        if trap.key == "non-finite-weight"
    )
    assert trap.numbers["outputs"] == [3]
    w = weight(8, 2, 3, 3)
    w[:4, 0] = 0
    (trap,) = (
        t for t in check_inventory(inventory(layer(w, arguments={"group": 2}))).traps if t.key == "zero-channels"
    )
    assert trap.numbers["outputs"] == [0]


def test_equal_depthwise_kernels_are_a_bilinear_filter_and_no_trap() -> None:
    w = np.broadcast_to(weight(1, 1, 4, 4), (6, 1, 4, 4))
    assert "equal-channels" not in found(layer(w, arguments={"strides": [2, 2], "group": 6}, input_shape=(1, 6, 8, 8)))


# -- quantization ---------------------------------------------------------------------------------------------------


def quantized(
    axis: int | None, read_axis: int | None, shape: tuple[int, ...] = (16, 12, 3, 3), groups: int = 1
) -> ModelLayer:
    """Return a layer whose weight was quantized along one axis, and has its scales along another."""
    w = weight(*shape).astype(np.float64) * np.exp(weight(*shape[:2], 1, 1, seed=3))
    axes = tuple(at for at in range(w.ndim) if at != axis)
    scales = np.abs(w).max(axes, keepdims=True) / 127 if axis is not None else np.abs(w).max() / 127
    integers = np.rint(w / scales)
    if read_axis is not None:
        given = np.resize(np.ravel(scales), shape[read_axis])
        values = integers * given.reshape([-1 if at == read_axis else 1 for at in range(w.ndim)])
    else:
        given, values = np.ravel(scales), integers * scales
    record = Quantization("int8", read_axis, given, np.zeros(given.size, np.int8))
    constant = StoredArray(shape, "float32", lambda: values, quantization=record)
    return layer(constant, arguments={"strides": [2, 2], "group": groups}, input_shape=(1, shape[0], 9, 9))


def test_scales_on_the_axis_of_the_input_channels() -> None:
    assert "scales-per-input-channel" in found(quantized(0, 0))
    assert "scales-per-input-channel" not in found(quantized(1, 1))
    assert "scales-per-input-channel" not in found(quantized(None, None))


def test_integers_that_were_quantized_along_the_other_axis() -> None:
    for axis, read_axis in ((0, 1), (1, 0)):
        square = (48, 48, 3, 3)
        assert "scales-on-wrong-axis" in found(quantized(axis, read_axis, square))
        assert "scales-on-wrong-axis" not in found(quantized(axis, axis, square))
    assert "scales-on-wrong-axis" not in found(quantized(None, None))


def test_right_scales_are_never_called_wrong() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = (*(int(n) for n in rng.integers(4, 40, 2)), 3, 3)
        for axis in (0, 1):
            assert "scales-on-wrong-axis" not in found(quantized(axis, axis, shape))


def test_stored_integers_come_back() -> None:
    model = quantized(1, 1)
    assert model.weight is not None
    assert model.weight.quantization is not None
    integers = stored_integers(np.asarray(model.weight.read()), model.weight.quantization)
    assert (np.abs(integers).max((0, 2, 3)) == 127).all()


def test_grouped_scales() -> None:
    assert "grouped-per-channel-scales" in found(quantized(1, 1, (8, 4, 3, 3), groups=2))
    assert "grouped-per-channel-scales" not in found(quantized(1, 1, (8, 4, 3, 3)))
    torch = native("torch", (8, 4, 3, 3), (1, 8, 9, 9), {"stride": 2})
    record = Quantization("int8", 0, np.ones(8), np.zeros(8))
    assert torch.weight is not None
    assert "torchao-input-scales" in found(replace(torch, weight=replace(torch.weight, quantization=record)))
    assert "torchao-input-scales" not in found(torch)


# -- BatchNorm on the wrong axis -------------------------------------------------------------------------------------


def folded(fold: Callable[[np.ndarray, np.ndarray], np.ndarray], seed: int) -> ModelLayer:
    """Return a layer with a folded BatchNorm: 256 channels, scales over a factor of 8, trained-like means."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((256, 256, 2, 2)) * np.exp(0.3 * rng.standard_normal((256, 1, 1, 1)))
    s, beta, mean = np.exp(0.8 * rng.standard_normal(256)), 0.2 * rng.standard_normal(256), rng.standard_normal(256)
    bias = (beta - mean * s).astype(np.float32)
    return layer(
        fold(w, s).astype(np.float32), arguments={"strides": [2, 2]}, input_shape=(1, 256, 8, 8), bias=stored(bias)
    )


def test_a_batchnorm_folded_into_the_input_channels() -> None:
    for seed in range(4):
        assert "batchnorm-wrong-axis" in found(folded(lambda w, s: w * s[:, None, None, None], seed))
        assert "batchnorm-wrong-axis" not in found(folded(lambda w, s: w * s[:, None, None], seed))
        assert "batchnorm-wrong-axis" not in found(folded(lambda w, s: w, seed))


def test_independent_numbers_do_not_go_together() -> None:
    """At most 5 of 100,000 do; here none of 3,000, of four lengths, with tails as heavy as they come."""
    rng = np.random.default_rng(0)
    hits = [go_together(rng.random(n), np.abs(rng.standard_cauchy(n))) for n in (16, 32, 64, 128) for _ in range(750)]
    assert sum(hits) == 0


# -- the registry ---------------------------------------------------------------------------------------------------

ELSEWHERE = {
    *("scales-per-input-channel", "scales-on-wrong-axis", "grouped-per-channel-scales", "batchnorm-wrong-axis"),
    *("torchao-input-scales", "new-opset", "run-differs", "run-other-shape", "run-fails"),
}
"""Traps with tests of their own, here or in test_check.py."""


def test_every_trap_has_a_model_that_has_it() -> None:
    assert {*FAULTY, *MODELS, *NUMBERS, *ELSEWHERE} == set(TRAPS)


def test_every_kind_is_complete() -> None:
    keys = [kind.key for family in FAMILIES for kind in family.KINDS]
    assert len(keys) == len(set(keys))
    for kind in TRAPS.values():
        assert kind.key == kind.key.lower()
        assert " " not in kind.key
        for text in (kind.title, kind.meaning, kind.who, kind.source, kind.instead):
            assert text


def test_commands_that_traps_name_exist() -> None:
    commands = [
        words
        for kind in TRAPS.values()
        for words in re.findall(r"tconv rewrite MODEL.onnx -o OUT.onnx --step ([\w+-]+)", kind.instead)
    ]
    assert len(commands) >= 5
    assert set(commands) <= set(step_names())
    options = {option for kind in TRAPS.values() for option in re.findall(r"--[a-z-]+", kind.instead)}
    assert options <= {"--step", "--target", "--runtimes", "--run", "--size"}


def test_a_plain_layer_has_no_trap() -> None:
    w = weight(8, 4, 4, 4)
    assert found(layer(w, arguments={"strides": [2, 2], "pads": [1] * 4})) == []
    assert found(native("torch", (8, 4, 2, 2), (1, 8, 9, 9), {"stride": 2})) == []
    assert (
        found(native("tflite", (4, 2, 2, 8), (1, 9, 9, 8), {"output_shape": (18, 18), "strides": 2, "padding": "SAME"}))
        == []
    )


def test_an_output_of_nothing_is_invalid() -> None:
    one, two = (native("ncnn", (4, 4, 3, 3), (4, 2, 2), {"pad_left": pad}) for pad in (2, 1))
    assert "invalid-arguments" in found(one)
    assert "invalid-arguments" not in found(two)


def test_the_page_of_traps_is_that_of_the_code() -> None:
    assert PAGE.read_text() == page(), "write it again: python tests/traps_page.py"
