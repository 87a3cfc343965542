"""Threads of public issue trackers, and the listed faults of the dialects, rebuilt as arrays.

Each case is a call, its right output, the wrong output made as the thread describes, and the cause to be named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tconv
from tconv import Geometry
from tconv.dialects.faults import FAULTS


class Case(NamedTuple):
    """Arrays (x, weight, bias) and native arguments of the right call, the wrong output, and the names of its cause."""

    thread: str
    arrays: tuple
    arguments: dict[str, Any]
    got: np.ndarray
    cause: set[str]

    @property
    def expected(self) -> np.ndarray:
        return tconv.conv_transpose(*self.arrays, **self.arguments)

    def diagnose(self, **more) -> tconv.diagnosis.Diagnosis:
        x, w, bias = self.arrays
        return tconv.diagnose(self.got, self.expected, x=x, weight=w, bias=bias, **self.arguments, **more)


CASES: list[Callable[[np.random.Generator], Case]] = []


def case(thread: str, *cause: str):
    """Return a decorator that adds a function (rng) -> (x, w, bias), arguments, got to the cases."""

    def add(build):
        def built(rng):
            arrays, arguments, got = build(rng)
            return Case(thread, arrays, arguments, np.asarray(got), set(cause))

        built.thread = thread
        CASES.append(built)
        return build

    return add


def _arrays(rng, x, w, bias=None):
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x, w)]
    return (*arrays, None if bias is None else rng.standard_normal(bias).astype(np.float32))


def _cropped(arrays, g: Geometry, crop) -> np.ndarray:
    """Return the output with another crop, in PyTorch's layouts."""
    x, w, bias = arrays
    return tconv.conv_transpose(x, w, bias, geometry=Geometry(g.kernel, g.stride, crop, g.dilation, g.groups))


def _torch(arrays, arguments):
    return tconv.dialect("torch").geometry(kernel=arrays[1].shape[2:], **arguments)


# -- padding and SAME ------------------------------------------------------------------------------------------------


@case("keras-team/keras#22876", "crop sides exchanged")
def keras_same_on_torch(rng):
    x, w, _ = _arrays(rng, (2, 8, 8, 4), (3, 3, 5, 4))
    arguments = {"dialect": "keras", "strides": 2, "padding": "same"}
    torch_w = tconv.convert(w, source="keras", target="torch")
    y = tconv.conv_transpose(np.moveaxis(x, -1, 1), torch_w, stride=2, padding=1, output_padding=1)
    return (x, w, None), arguments, np.moveaxis(y, 1, -1)


@case("keras-team/keras-core#774", "full result")
def keras_valid_with_a_small_kernel(rng):
    x, w, b = _arrays(rng, (1, 6, 6, 3), (2, 2, 4, 3), 4)
    arguments = {"dialect": "keras", "strides": 3, "padding": "valid"}
    y = tconv.conv_transpose(np.moveaxis(x, -1, 1), tconv.convert(w, source="keras", target="torch"), b, stride=3)
    return (x, w, b), arguments, np.moveaxis(y, 1, -1)


@case("Samsung/TICO#420", "padding as input padding")
def padding_before_the_operator(rng):
    arrays = _arrays(rng, (1, 3, 6, 6), (3, 4, 4, 4), 4)
    padded = np.pad(arrays[0], ((0, 0), (0, 0), (1, 1), (1, 1)))
    return arrays, {"stride": 2, "padding": 1}, tconv.conv_transpose(padded, *arrays[1:], stride=2)


@case("llvm/torch-mlir#4650", "crop shared evenly")
def a_negative_crop_shared_evenly(rng):
    arrays, arguments = _arrays(rng, (1, 3, 5, 5), (3, 2, 3, 3), 2), {"stride": 4, "padding": 0, "output_padding": 2}
    return arrays, arguments, _cropped(arrays, _torch(arrays, arguments), ((-1, -1), (-1, -1)))


@case("llvm/torch-mlir#2026", "rows of zeros")
def output_padding_as_zeros(rng):
    arrays, arguments = (
        _arrays(rng, (1, 3, 5, 6), (3, 2, 3, 3), 2),
        {"stride": 2, "padding": 1, "output_padding": (0, 1)},
    )
    short = tconv.conv_transpose(*arrays, stride=2, padding=1)
    return arrays, arguments, np.pad(short, ((0, 0), (0, 0), (0, 0), (0, 1)))


@case("apple/coreai-torch#57", "output_padding as input padding")
def output_padding_before_the_operator(rng):
    arrays = _arrays(rng, (1, 4, 30), (4, 3, 16), 3)
    arguments = {"stride": 8, "padding": 4, "output_padding": 3}
    longer = np.pad(arrays[0], ((0, 0), (0, 0), (0, 3)))
    return arrays, arguments, tconv.conv_transpose(longer, *arrays[1:], stride=8, padding=4)


@case("apache/tvm#18635", "output_padding ignored")
def output_padding_not_passed_on(rng):
    arrays = _arrays(rng, (1, 3, 14, 14), (3, 6, 3, 3), 6)
    arguments = {"dialect": "onnx", "strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=2, padding=1)


@case("pytorch/pytorch#104206", "output_padding ignored")
def output_padding_lost_by_an_exporter(rng):
    arrays, arguments = _arrays(rng, (2, 4, 9), (4, 2, 5), 2), {"stride": 3, "padding": 1, "output_padding": 2}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=3, padding=1)


@case("jax-ml/jax#32267", "padding as padding of the dilated input")
def padding_of_lax(rng):
    arrays, arguments = _arrays(rng, (1, 3, 7, 7), (3, 2, 5, 5)), {"stride": 2, "padding": 1}
    x, w, _ = arrays
    jax_w = tconv.convert(w, source="torch", target="jax")
    y = tconv.conv_transpose(
        np.moveaxis(x, 1, -1), jax_w, dialect="jax", strides=(2, 2), padding=((1, 1), (1, 1))
    )  # fmt: skip
    return arrays, arguments, np.moveaxis(y, -1, 1)


@case("microsoft/onnxruntime#4086", "full result", "padding ignored")
def same_taken_as_valid(rng):
    arrays = _arrays(rng, (1, 2, 6, 6), (2, 3, 3, 3))
    arguments = {"dialect": "onnx", "strides": [1, 1], "auto_pad": "SAME_UPPER"}
    return arrays, arguments, tconv.conv_transpose(*arrays)


@case("microsoft/onnxruntime#12537", "crop sides exchanged")
def same_upper_and_lower_swapped(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 3, 3))
    arguments = {"dialect": "onnxruntime", "strides": [2, 2], "auto_pad": "SAME_UPPER"}
    return arrays, arguments, tconv.conv_transpose(*arrays, dialect="onnx", strides=[2, 2], auto_pad="SAME_LOWER")


@case("onnx/tensorflow-onnx#765", "crop sides exchanged")
def output_shape_without_auto_pad(rng):
    arrays = _arrays(rng, (1, 3, 5, 5), (3, 2, 3, 3))
    arguments = {"dialect": "onnx", "strides": [2, 2], "output_shape": [10, 10]}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=2, crop=((0, 1), (0, 1)))


@case("onnx/tensorflow-onnx#201", "padding axes exchanged")
def pads_in_another_order(rng):
    arrays = _arrays(rng, (1, 3, 7, 7), (3, 2, 5, 5))
    return arrays, {"stride": 2, "padding": (2, 1)}, tconv.conv_transpose(*arrays, stride=2, padding=(1, 2))


# -- layouts and the flip ---------------------------------------------------------------------------------------------


@case("jax-ml/jax#11252", "kernel flipped", "channels swapped")
def torch_weight_in_flax(rng):
    arrays = _arrays(rng, (1, 6, 5, 5), (6, 6, 4, 4), 6)
    x, w, b = arrays
    y = tconv.conv_transpose(
        np.moveaxis(x, 1, -1), w.transpose(2, 3, 1, 0), b, dialect="flax", strides=(4, 4), padding="VALID"
    )  # fmt: skip
    return arrays, {"stride": 4}, np.moveaxis(y, -1, 1)


@case("google/flax#3137", "kernel flipped")
def transpose_kernel_forgotten(rng):
    arrays = _arrays(rng, (1, 3, 5, 5), (3, 4, 3, 3))
    x, w, _ = arrays
    y = tconv.conv_transpose(
        np.moveaxis(x, 1, -1), w.transpose(2, 3, 0, 1), dialect="flax", strides=(2, 2), padding="VALID"
    )  # fmt: skip
    return arrays, {"stride": 2}, np.moveaxis(y, -1, 1)


@case("patrick-kidger/equinox#574", "kernel flipped", "channels swapped")
def torch_weight_in_equinox(rng):
    arrays = _arrays(rng, (1, 4, 6, 6), (4, 4, 3, 3), 4)
    x, w, b = arrays
    y = tconv.conv_transpose(x[0], w, b, dialect="equinox", stride=2, padding=1)[None]
    return arrays, {"stride": 2, "padding": 1}, y


@case("patrick-kidger/equinox#728", "kernel flipped", "kernel axes exchanged", "channels swapped")
def a_conv_weight_used_as_it_is(rng):
    # the adjoint of Conv2d needs its weight [O, I, k, k] with I and O exchanged and the taps reversed
    arrays = _arrays(rng, (1, 2, 6, 6), (2, 2, 3, 3))
    x, w, _ = arrays
    y = tconv.conv_transpose(x[0], w, dialect="equinox", stride=1, padding="SAME")[None]
    return arrays, {"stride": 1, "padding": 1}, y


@case("jax-ml/jax#14337", "kernel flipped")
def keras_weight_in_jax(rng):
    x, w, _ = _arrays(rng, (1, 5, 5, 3), (3, 3, 4, 3))
    y = tconv.conv_transpose(x, np.swapaxes(w, 2, 3), dialect="jax", strides=(2, 2), padding="SAME")
    return (x, w, None), {"dialect": "keras", "strides": 2, "padding": "same"}, y


@case("tf-coreml/tf-coreml#241", "x reshaped to channels first")
def reshape_for_transpose(rng):
    arrays = _arrays(rng, (1, 3, 6, 8), (3, 4, 4, 4), 4)
    x, w, b = arrays
    wrong = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape)
    return arrays, {"stride": 2, "padding": 1}, tconv.conv_transpose(wrong, w, b, stride=2, padding=1)


@case("uxlfoundation/oneDNN#314", "weight reshaped from C_out first")
def a_weight_of_the_other_order(rng):
    arrays = _arrays(rng, (2, 3, 5, 5), (3, 4, 3, 3), 4)
    x, w, b = arrays
    wrong = np.ascontiguousarray(w.swapaxes(0, 1)).reshape(w.shape)
    return arrays, {"padding": 1}, tconv.conv_transpose(x, wrong, b, padding=1)


# -- groups -----------------------------------------------------------------------------------------------------------


@case("uxlfoundation/oneDNN#352", "y groups interleaved")
def groups_laid_crosswise(rng):
    arrays, arguments = _arrays(rng, (1, 8, 3, 3), (8, 4, 1, 1)), {"groups": 2}
    y = tconv.conv_transpose(*arrays, groups=2)
    return arrays, arguments, y[:, [0, 4, 1, 5, 2, 6, 3, 7]]


@case("google/XNNPACK#1951", "group order of the weight")
def group_weight_of_the_other_order(rng):
    arrays, arguments = _arrays(rng, (1, 6, 5, 5), (6, 2, 3, 3)), {"groups": 2, "stride": 2}
    x, w, _ = arrays
    wrong = tconv.convert(w, source="torch", target="ncnn", groups=2).reshape(w.shape)
    return arrays, arguments, tconv.conv_transpose(x, wrong, **arguments)


@case("Tencent/ncnn#300", "group order of the weight")
def caffe_groups_in_ncnn(rng):
    arrays, arguments = _arrays(rng, (1, 8, 5, 5), (8, 2, 4, 4)), {"groups": 4, "stride": 2, "padding": 1}
    x, w, _ = arrays
    wrong = tconv.convert(w, source="torch", target="ncnn", groups=4).reshape(w.shape)
    return arrays, arguments, tconv.conv_transpose(x, wrong, **arguments)


# -- precision, kernels, folding --------------------------------------------------------------------------------------


def _bits(a, bits):
    drop = 23 - bits
    whole = a.view(np.uint32)
    return ((whole + np.uint32(1 << (drop - 1))) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)).view(np.float32)


@case("pytorch/functorch#1050", "TF32")
def tensor_cores(rng):
    arrays, arguments = _arrays(rng, (1, 16, 8, 8), (16, 8, 3, 3)), {"stride": 2, "padding": 1}
    x, w, _ = arrays
    return arrays, arguments, tconv.conv_transpose(_bits(x, 10), _bits(w, 10), **arguments)


@case("microsoft/onnxruntime#32506", "phases not interleaved")
def phases_side_by_side(rng):
    arrays, arguments = _arrays(rng, (1, 4, 8), (4, 3, 4)), {"stride": 2, "padding": 1}
    y = tconv.conv_transpose(*arrays, **arguments)
    return arrays, arguments, np.concatenate([y[..., 0::2], y[..., 1::2]], -1)


@case("pytorch/pytorch#99519", "uninitialised rows", "channels spoiled")
def memory_not_written(rng):
    arrays, arguments = _arrays(rng, (1, 3, 8, 8), (3, 4, 5, 5), 4), {"stride": 2, "padding": 2}
    y = tconv.conv_transpose(*arrays, **arguments)
    y[:, :, -2:] = rng.standard_normal(y[:, :, -2:].shape) * 1e20
    return arrays, arguments, y


@case("ultralytics/ultralytics#25364", "BatchNorm folded on the wrong axis")
def batchnorm_through_view(rng):
    # the layer is 4 -> 6; deconv.weight.view(C_out, -1) was multiplied by diag(scale)
    x, w, b = _arrays(rng, (2, 4, 9, 9), (4, 6, 2, 2), 6)
    scale = rng.uniform(0.5, 2, 6).astype(np.float32)
    folded = w * scale.reshape(1, -1, 1, 1)
    wrong = (w.reshape(6, -1) * scale[:, None]).reshape(w.shape)
    return (x, folded, b), {"stride": 2}, tconv.conv_transpose(x, wrong, b, stride=2)


@case("onnx/optimizer#106", "BatchNorm folded on the wrong axis")
def batchnorm_on_axis_0(rng):
    x, w, b = _arrays(rng, (1, 5, 9, 9), (5, 5, 3, 3), 5)
    scale = rng.uniform(0.5, 2, 5).astype(np.float32)
    shape = (1, -1, 1, 1)
    wrong = w * scale.reshape(-1, 1, 1, 1)
    return (x, w * scale.reshape(shape), b), {"stride": 2}, tconv.conv_transpose(x, wrong, b, stride=2)


@case("tensorflow/model-optimization#771", "channels spoiled")
def only_the_first_channel_of_an_int8_layer(rng):
    # per-channel scales read as one: all channels but the first come out as zeros
    arrays, arguments = _arrays(rng, (1, 8, 7, 7), (8, 3, 4, 4), 3), {"stride": 2, "padding": 1}
    y = tconv.conv_transpose(*arrays, **arguments)
    y[:, 1:] = 0
    return arrays, arguments, y


@case("tenstorrent/tt-forge-onnx#1623", "phase spoiled")
def only_one_phase(rng):
    arrays, arguments = _arrays(rng, (1, 4, 7, 7), (4, 6, 4, 4), 6), {"stride": 2, "padding": 1}
    y = tconv.conv_transpose(*arrays, **arguments)
    wrong = rng.standard_normal(y.shape).astype("f")
    wrong[:, :, ::2, ::2] = y[:, :, ::2, ::2]
    return arrays, arguments, wrong


@case("keras-team/keras: findings/keras_tensorflow_channels_first_bias.sh", "bias on another axis")
def bias_along_the_last_axis(rng):
    arrays, arguments = _arrays(rng, (1, 2, 7, 3), (2, 6, 2, 2), 6), {"stride": 2}
    x, w, b = arrays
    return arrays, arguments, tconv.conv_transpose(x, w, **arguments) + b


@case("microsoft/onnxruntime#14270", "scale and offset per channel")
def batchnorm_left_out(rng):
    x, w, b = _arrays(rng, (1, 3, 9, 9), (3, 4, 4, 4), 4)
    scale, shift = rng.uniform(0.5, 2, 4).astype("f"), rng.standard_normal(4).astype("f")
    y = tconv.conv_transpose(x, w, b, stride=2) * scale.reshape(-1, 1, 1) + shift.reshape(-1, 1, 1)
    return (x, w, b), {"stride": 2}, y


@case("PINTO0309/onnx2tf#251", "dilation ignored")
def dilation_lost(rng):
    arrays = _arrays(rng, (1, 3, 9, 9), (3, 2, 3, 3))
    g = Geometry((3, 3), 2, 2)
    return arrays, {"stride": 2, "padding": 2, "dilation": 2}, tconv.conv_transpose(*arrays[:2], geometry=g)


@case("ncnn -234: an output larger than the full result", "uninitialised rows")
def ncnn_memory(rng):
    arrays = _arrays(rng, (1, 2, 6, 6), (2, 3, 3, 3), 3)
    arguments = {"stride": 2, "crop": ((0, 0), (0, -2))}
    y = tconv.conv_transpose(*arrays, **arguments)
    y[..., -2:] = rng.standard_normal(y[..., -2:].shape) * 1e-30
    return arrays, arguments, y


# -- listed faults of the dialects that give wrong numbers (others refuse the call or end the process) ----------------


LISTED: list[Callable[[np.random.Generator], Case]] = []


def listed(key: str, *cause: str):
    """Return a decorator that adds a fault of `FAULTS`, by its key. Its own name is a right cause, too."""

    def add(build):
        case(FAULTS[key].name, FAULTS[key].name, *cause)(build)
        LISTED.append(CASES.pop())
        LISTED[-1].key = key
        return build

    return add


@listed("onnx_reference_groups", "first bias everywhere")
def depthwise_bias(rng):
    arrays = _arrays(rng, (1, 4, 5, 5), (4, 1, 3, 3), 4)
    x, w, b = arrays
    y = tconv.conv_transpose(x, w, np.full(4, b[0]), stride=2, groups=4)
    return arrays, {"dialect": "onnx", "strides": [2, 2], "group": 4}, y


@listed("onnx_reference_output_shape")
def output_shape_with_the_pads_given(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 4, 4))
    arguments = {"dialect": "onnx", "strides": [2, 2], "pads": [0, 0, 2, 2], "output_shape": [10, 10]}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=2, crop=((0, 2), (0, 2)))


@listed("onnx_shape_inference_same", "rows appended")
def an_inferred_buffer_that_is_too_large(rng):
    arrays = _arrays(rng, (1, 2, 5), (2, 3, 4))
    arguments = {"dialect": "onnx", "strides": [2], "auto_pad": "SAME_UPPER", "output_padding": [1]}
    y = tconv.conv_transpose(*arrays, **arguments)
    return arrays, arguments, np.concatenate([y, rng.standard_normal((1, 3, 1)).astype("f")], -1)


@listed("onnxruntime_same_swapped", "crop sides exchanged")
def onnxruntime_same(rng):
    arrays = _arrays(rng, (1, 2, 6), (2, 3, 5))
    arguments = {"dialect": "onnxruntime", "strides": [2], "auto_pad": "SAME_LOWER"}
    return arrays, arguments, tconv.conv_transpose(*arrays, dialect="onnx", strides=[2], auto_pad="SAME_UPPER")


@listed("onnxruntime_output_shape_halves", "crop sides exchanged")
def onnxruntime_output_shape(rng):
    arrays = _arrays(rng, (1, 2, 6, 6), (2, 3, 4, 4))
    arguments = {"dialect": "onnxruntime", "strides": [2, 2], "output_shape": [11, 11]}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=2, crop=((1, 2), (1, 2)))


@listed("onnx_negative_pads", "full result")
def same_with_a_small_kernel(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 2, 2))
    arguments = {"dialect": "onnx", "strides": [3, 3], "auto_pad": "SAME_UPPER"}
    return (
        arrays,
        arguments,
        tconv.conv_transpose(*arrays, dialect="onnxruntime", strides=[3, 3], auto_pad="SAME_UPPER"),
    )


@listed("mnn_crop_in_front", "crop sides exchanged")
def mnn_lower(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 3, 3))
    arguments = {"dialect": "onnx", "strides": [2, 2], "auto_pad": "SAME_LOWER"}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=2, crop=((0, 1), (0, 1)))


@listed("mnn_crop_in_front")
def mnn_dilation(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 3, 3))
    arguments = {"dialect": "onnx", "strides": [2, 2], "auto_pad": "SAME_UPPER", "dilations": [2, 2]}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=2, dilation=2, crop=((0, 3), (0, 3)))


@listed("openvino_onnx_output_shape", "crop sides exchanged")
def openvino_same_upper(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 3, 3))
    arguments = {"dialect": "onnx", "strides": [2, 2], "auto_pad": "SAME_UPPER", "output_shape": [10, 10]}
    wrong = {"strides": [2, 2], "auto_pad": "same_upper", "output_shape": [10, 10]}
    return arrays, arguments, tconv.conv_transpose(*arrays, dialect="openvino", **wrong)


@listed("openvino_onnx_group_output_shape")
def openvino_groups(rng):
    arrays = _arrays(rng, (1, 4, 5, 5), (4, 3, 4, 4))
    arguments = {"dialect": "onnx", "strides": [2, 2], "group": 2, "output_shape": [9, 9]}
    return arrays, arguments, tconv.conv_transpose(*arrays, stride=2, groups=2, crop=((0, 3), (0, 3)))


@listed("openvino_shifted_pointwise", "output_padding at both ends")
def openvino_pointwise(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 1, 1))
    arguments = {"dialect": "openvino", "strides": [1, 1], "pads_begin": [1, 1], "output_padding": [1, 1]}
    return arrays, arguments, tconv.conv_transpose(*arrays)


@listed("openvino_group_pads")
def openvino_pads(rng):
    x, w, _ = _arrays(rng, (1, 4, 5, 5), (2, 2, 3, 4, 4))
    arguments = {"dialect": "openvino", "strides": [2, 2], "pads_begin": [1, 2], "output_shape": [8, 8]}
    canonical = tconv.convert(w, source="openvino", target="torch", groups=2)
    return (x, w, None), arguments, tconv.conv_transpose(x, canonical, stride=2, groups=2, crop=((0, 4), (0, 4)))


@listed("tinygrad_onnx_valid", "SAME_LOWER of ONNX")
def tinygrad_valid(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 5, 5))
    arguments = {"dialect": "onnx", "strides": [2, 2], "auto_pad": "VALID"}
    return arrays, arguments, tconv.conv_transpose(*arrays, dialect="onnx", strides=[2, 2], auto_pad="SAME_LOWER")


@listed("mlx_crop_from_input")
def mlx_padding(rng):
    x, w, _ = _arrays(rng, (1, 8, 3), (4, 2, 3))
    arguments = {"dialect": "mlx", "stride": 2, "padding": 3}
    y = tconv.conv_transpose(x[:, 2:-2], w, dialect="mlx", stride=2, padding=1)
    return (x, w, None), arguments, y


@listed("xnnpack_valid_size", "crop at the end")
def xnnpack_valid(rng):
    arrays = _arrays(rng, (1, 2, 5, 5), (2, 3, 3, 3))
    return (
        arrays,
        {"stride": 2, "crop": ((0, 2), (0, 2))},
        tconv.conv_transpose(*arrays, stride=2, crop=((0, -1), (0, -1))),
    )


@listed("torch_x86_int8_channels")
def int8_channels(rng):
    arrays = _arrays(rng, (1, 8, 6, 6), (8, 5, 3, 3), 5)
    arguments = {"dialect": "torch", "stride": 2}
    x, w, b = (np.rint(a / s).astype("f") * np.float32(s) for a, s in zip(arrays, (0.05, 0.03, 0.0015), strict=True))
    memory = w.reshape(5, 8, 3, 3).swapaxes(0, 1).reshape(5, 8, 3, 3).swapaxes(0, 1)
    y = tconv.conv_transpose(x, np.ascontiguousarray(memory), b, stride=2)
    return (x, w, b), arguments, np.rint(y / np.float32(0.09)) * np.float32(0.09)


@listed("keras_torch_same", "crop sides exchanged")
def keras_310(rng):
    x, w, _ = _arrays(rng, (1, 5, 5, 2), (5, 5, 3, 2))
    arguments = {"dialect": "keras", "strides": 2, "padding": "same"}
    y = tconv.conv_transpose(x, w, geometry=None, dialect="tensorflow", strides=2, output_shape=[1, 10, 10, 3])
    assert np.array_equal(y, tconv.conv_transpose(x, w, **arguments))
    torch_w = tconv.convert(w, source="keras", target="torch")
    wrong = tconv.conv_transpose(np.moveaxis(x, -1, 1), torch_w, stride=2, crop=((2, 1), (2, 1)))
    return (x, w, None), arguments, np.moveaxis(wrong, 1, -1)
