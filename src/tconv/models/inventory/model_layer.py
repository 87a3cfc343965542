"""Records of what a model file contains: its transposed convolutions, their weights, and the operations around them.

Every reader of this folder fills them, without running the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tconv._arrays import Array

Size = int | str | None
"""A number; a symbol's name ("batch", "2*time") for a size that varies; None for one that the file does not tell."""

MOST_BEFORE, MOST_AFTER = 4, 8
"""Most operations that are recorded before and behind a layer."""

Form = Literal["transposed convolution", "zero insertion and convolution", "convolution and depth to space"]


@dataclass(frozen=True, eq=False)
class Quantization:
    """Integers in which an array is stored: (stored - zero point) * scale, per entry of one axis or for all."""

    dtype: str
    """Stored type, such as "int8"."""
    axis: int | None
    """Axis of the native array that has one scale per entry; None for one scale."""
    scales: Array
    zero_points: Array


@dataclass(frozen=True, eq=False)
class StoredArray:
    """Array of a model file, whose numbers are read when they are asked for."""

    shape: tuple[int, ...]
    dtype: str
    """Type of its numbers where the layer uses them: "float32", "float16", "bfloat16", "int8" ..."""
    read: Callable[[], Array]
    """Function that returns the numbers in the native layout; quantized ones as what they stand for."""
    origin: str = "constant"
    """Computation from constants that gives it: "weight norm (ReduceL2, Div, Mul)", "DequantizeLinear, axis 1"."""
    nbytes: int = 0
    """Bytes in the file."""
    quantization: Quantization | None = None
    stored_dtype: str = ""
    """Type in the file if it is another one: "float16" for a constant behind a Cast."""
    steps: int = 0
    """Operations that compute it, those of shared parts as often as they are computed."""


@dataclass(frozen=True, eq=False)
class Neighbour:
    """Operation that computes a layer's input, or that reads its output."""

    op: str
    """Operation as the file has it: "Pad", "BatchNormalization", "aten.mul"."""
    name: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Numbers and texts that the operation has, constant inputs such as `pads` among them."""
    constants: Mapping[str, StoredArray] = field(default_factory=dict)
    """Its constant arrays by role: "scale", "B", "mean", "var" of a BatchNormalization, "other" of a Mul or Add."""
    inputs: tuple[str, ...] = ()
    """Names of its inputs that are no constants."""
    outputs: tuple[str, ...] = ()
    input_shapes: tuple[tuple[Size, ...] | None, ...] = ()
    """Sizes of `inputs`, None for one that the file does not tell; empty if none was looked for."""


@dataclass(frozen=True, eq=False)
class ModelLayer:
    """One transposed convolution of a model, or another form of one, as a call of a dialect."""

    name: str
    """Name in the file: of the node, module or layer."""
    place: str
    """Way to it: "node 12 of 40", "decoder.up.1", "layer 7 of 20, in the function 'call'"."""
    op: str
    """Operation as the file has it: "ConvTranspose", "aten.conv_transpose2d", "TRANSPOSE_CONV", "Deconvolution"."""
    dialect: str
    arguments: Mapping[str, Any]
    """Native arguments of the dialect. For another form these are those of the transposed convolution that it is."""
    weight: StoredArray | None
    """In the dialect's layout; None if it is computed from the model's inputs (`limitations` says how)."""
    bias: StoredArray | None = None
    form: Form = "transposed convolution"
    input_shape: tuple[Size, ...] | None = None
    """Sizes of x in the dialect's layout, batch and channels too; None if the file does not tell."""
    output_shape: tuple[Size, ...] | None = None
    dtype: str = "float32"
    """Type in which the layer computes: "int8" if x, weight and y are integers."""
    activation: str = ""
    """Activation that the layer applies itself."""
    before: tuple[Neighbour, ...] = ()
    """Operations before it, the nearest first, as far as each is the only source of the next; at most 4."""
    after: tuple[Neighbour, ...] = ()
    """Operations that read its output, then those behind the first of them while it is alone; at most 8."""
    crop_origin: str = ""
    """Source of the crop: "pads", "auto_pad=SAME_UPPER", "output_shape", "pads and a frozen output_padding"."""
    limitations: tuple[str, ...] = ()
    """Parts that could not be read, and why, as sentences."""
    location: Mapping[str, Any] = field(default_factory=dict)
    """Place for programs: {"node": 12, "graph": ""}, {"line": 31} of a .param file."""


@dataclass(frozen=True, eq=False)
class ModelInput:
    """Input or output of a model."""

    name: str
    shape: tuple[Size, ...] | None
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class ModelInventory:
    """Contents of one model that concern transposed convolutions."""

    source: str
    """Name of the file, or type of the module."""
    format: str
    """"ONNX", "exported program", "TorchScript", "PyTorch module", "Keras", "SavedModel", "TensorFlow Lite", "ncnn"."""
    layers: tuple[ModelLayer, ...]
    producer: str = ""
    """Program that wrote it, and its version, as far as the file tells."""
    version: str = ""
    """"opset 17, IR 8" or the like."""
    inputs: tuple[ModelInput, ...] = ()
    outputs: tuple[ModelInput, ...] = ()
    operations: Counter[str] = field(default_factory=Counter)
    """Number of times that the model has each operation."""
    limitations: tuple[str, ...] = ()
    """Parts of the whole file that could not be read, and why."""
