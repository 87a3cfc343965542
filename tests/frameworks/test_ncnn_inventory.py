"""Inventories of ncnn networks: every layer, run by the definition of tconv, equals what ncnn computes."""

from __future__ import annotations

import ncnn
import numpy as np
import pytest

import tconv
from tconv.errors import FileError, TconvError
from tconv.models.inventory import inventory_of

FLOAT16, INT8, RAW = 0x01306B47, 0x000D4B38, 0x0002C056


def whole(*shape, seed=0):
    return np.random.default_rng(seed).integers(-7, 8, shape).astype(np.float32)


def tagged(values, tag=0):
    """Return numbers as a .bin file has them behind a tag."""
    kinds = {0: "<f4", RAW: "<f4", FLOAT16: "<f2", INT8: "i1"}
    if tag in kinds:
        data = values.astype(kinds[tag]).tobytes()
    else:
        table = np.zeros(256, "<f4")
        known = np.unique(values)
        table[: len(known)] = known
        data = table.tobytes() + np.searchsorted(known, values).astype(np.uint8).tobytes()
    return np.uint32(tag).tobytes() + data + bytes(-len(data) % 4)


def write(folder, rows, data, blobs=99):
    path = folder / "model.param"
    path.write_text("\n".join(["7767517", f"{len(rows)} {blobs}", *rows, ""]))
    path.with_suffix(".bin").write_bytes(data)
    return path


def run(path, x, name="y", **options):
    """Return a blob as ncnn computes it."""
    net = ncnn.Net()
    net.opt.num_threads = 1
    for each in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "packing_layout"):
        setattr(net.opt, f"use_{each}", False)
    assert net.load_param(str(path)) == 0
    assert net.load_model(str(path.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    extractor.input("x", ncnn.Mat(x).clone())
    code, mat = extractor.extract(name)
    assert code == 0
    found = np.array(mat)
    del mat
    return found


def computed(layer, x):
    bias = None if layer.bias is None else layer.bias.read()
    weight = layer.weight.read()
    assert weight.shape == layer.weight.shape
    x = x[None] if layer.dialect == "torch" else x
    y = tconv.conv_transpose(x, weight, bias, dialect=layer.dialect, **layer.arguments)
    return y[0] if layer.dialect == "torch" else y


LAYERS = [
    ("Deconvolution", (4, 5), "0=6 1=3 3=2 5=1", (3, 3), 1),
    ("Deconvolution", (4, 5), "0=6 1=4 11=3 3=2 13=3 4=1 14=0 18=1 5=1", (3, 4), 1),
    ("Deconvolution", (4, 5), "0=6 1=3 3=2 4=-233 20=9 21=7", (3, 3), 1),
    ("Deconvolution", (4, 5), "0=6 1=3 3=2 2=2 4=1 15=2 5=1", (3, 3), 1),
    ("DeconvolutionDepthWise", (4, 5), "0=6 1=3 3=2 7=2 5=1", (3, 3), 2),
    ("DeconvolutionDepthWise", (4, 5), "0=4 1=2 3=2 7=4", (2, 2), 4),
    ("Deconvolution1D", (5,), "0=6 1=4 3=2 4=1 5=1", (4,), 1),
    ("DeconvolutionDepthWise1D", (5,), "0=6 1=3 3=2 7=2 5=1", (3,), 2),
    ("Deconvolution3D", (2, 3, 4), "0=6 1=3 11=2 21=2 3=2 13=1 5=1", (2, 2, 3), 1),
    ("DeconvolutionDepthWise3D", (2, 3, 4), "0=6 1=3 3=2 7=2 24=1", (3, 3, 3), 2),
]


@pytest.mark.parametrize(("kind", "sizes", "numbers", "kernel", "groups"), LAYERS)
def test_layers(tmp_path, kind, sizes, numbers, kernel, groups):
    out = int(numbers.split()[0][2:])
    w = whole(out, 4 // groups, *kernel, seed=1)
    data = tagged(w) + (whole(out, seed=2).tobytes() if "5=1" in numbers.split() else b"")
    path = write(tmp_path, ["Input x 0 1 x", f"{kind} up 1 1 x y {numbers} 6={w.size}"], data)
    (layer,) = inventory_of(path).layers
    x = whole(4, *sizes, seed=3)
    np.testing.assert_array_equal(computed(layer, x), run(path, x))
    np.testing.assert_array_equal(layer.weight.read(), w)
    assert (layer.name, layer.op, layer.place) == ("up", kind, "layer 1 of 2")
    assert layer.location == {"line": 4}
    assert layer.input_shape == (4, *[None] * len(sizes))


@pytest.mark.parametrize("tag", [0, RAW, FLOAT16, 1])
def test_types_of_weights(tmp_path, tag):
    w = whole(5, 3, 3, 3, seed=1)
    path = write(tmp_path, ["Input x 0 1 x", f"Deconvolution up 1 1 x y 0=5 1=3 3=2 6={w.size}"], tagged(w, tag))
    inventory = inventory_of(path)
    (layer,) = inventory.layers
    x = whole(3, 4, 5, seed=3)
    np.testing.assert_array_equal(computed(layer, x), run(path, x))
    assert layer.weight.stored_dtype == {FLOAT16: "float16", 1: "uint8, one of 256 float32"}.get(tag, "float32")
    assert inventory.limitations == ()


@pytest.mark.parametrize(("number", "name"), list(enumerate(["", "relu", "leaky_relu", "clip", "sigmoid", "mish"])))
def test_activations(tmp_path, number, name):
    w = whole(5, 3, 3, 3, seed=1)
    row = f"Deconvolution up 1 1 x y 0=5 1=3 3=2 6={w.size} 9={number} -23310=2,0.1,2.0"
    (layer,) = inventory_of(write(tmp_path, ["Input x 0 1 x", row], tagged(w))).layers
    assert layer.activation == name


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize(
    ("kind", "numbers", "groups"),
    [
        ("Convolution", "1=3 4=1 5=1", 1),
        ("Convolution", "1=3 11=2 4=1 14=0 16=1 5=1", 1),
        ("Convolution", "1=2 4=-233", 1),
        ("Convolution", "1=2 4=-234", 1),
        ("Convolution", "1=3 2=2 4=2", 1),
        ("ConvolutionDepthWise", "1=3 7=2", 2),
    ],
)
def test_pixel_shuffle(tmp_path, kind, numbers, groups, mode):
    given = dict(entry.split("=") for entry in numbers.split())
    kernel = int(given.get("11", given["1"])), int(given["1"])
    w = whole(8, 4 // groups, *kernel, seed=1)
    bias = np.tile(whole(2, seed=2), 4) if mode else np.repeat(whole(2, seed=2), 4)
    data = tagged(w) + (bias.tobytes() if "5" in given else b"")
    rows = [
        "Input x 0 1 x",
        f"{kind} conv 1 1 x a 0=8 6={w.size} {numbers}",
        f"PixelShuffle shuffle 1 1 a y 0=2 1={mode}",
        "ReLU relu 1 1 y z",
    ]
    path = write(tmp_path, rows, data)
    (layer,) = inventory_of(path).layers
    x = whole(4, 7, 6, seed=3)
    np.testing.assert_array_equal(computed(layer, x), run(path, x))
    assert (layer.form, layer.op) == ("convolution and depth to space", f"{kind} + PixelShuffle")
    assert [each.op for each in layer.after] == ["ReLU"]


def test_int8_convolution_and_pixel_shuffle(tmp_path):
    w, scales = whole(8, 4, 3, 3, seed=1), np.float32([1, 2, 4, 8, 1, 2, 4, 8])
    data = tagged(w, INT8) + scales.tobytes() + np.float32([16]).tobytes()
    rows = [
        "Input x 0 1 x",
        f"Convolution conv 1 1 x a 0=8 6={w.size} 1=3 4=1 8=2",
        "PixelShuffle shuffle 1 1 a y 0=2",
        "Deconvolution up 1 1 x z 0=1 1=2 6=16",
    ]
    more = whole(1, 4, 2, 2, seed=5)
    path = write(tmp_path, rows, data + tagged(more))
    shuffled, layer = inventory_of(path).layers
    x = whole(4, 7, 6, seed=3)
    made, expected = computed(shuffled, x), run(path, x)
    assert np.abs(made - expected).max() <= 0.02 * np.abs(made).max()
    assert shuffled.weight.dtype == "int8"
    np.testing.assert_array_equal(layer.weight.read(), more)


STORING = {
    "BatchNorm": ("0=4 1=0.001", 4 * 4 * [0.5]),
    "Bias": ("0=7", 7 * [1]),
    "Scale": ("0=5 1=1", 10 * [1]),
    "PReLU": ("0=6", 6 * [1]),
    "InstanceNorm": ("0=4 2=1", 8 * [1]),
    "GroupNorm": ("0=2 1=6", 12 * [1]),
    "LayerNorm": ("0=6", 12 * [1]),
    "RMSNorm": ("0=6", 6 * [1]),
    "Normalize": ("3=5", 5 * [1]),
    "Padding": ("0=1 6=5", 5 * [1]),
    "Quantize": ("0=3", 3 * [1]),
    "Dequantize": ("0=3 1=2", 5 * [1]),
    "Requantize": ("0=3 1=2 2=4", 9 * [1]),
    "InnerProduct": ("0=3 1=1 2=12", [0, *12 * [1], *3 * [1]]),
    "InnerProduct int8": ("0=3 1=1 2=12 8=1", [("int8", 12), *3 * [1], *3 * [1], 1]),
    "Embed": ("0=3 1=4 2=1 3=12", [0, *12 * [1], *3 * [1]]),
    "LSTM": ("0=3 1=48", [0, *48 * [1], 0, *12 * [1], 0, *36 * [1]]),
    "LSTM hidden": ("0=3 1=80 3=5 2=0", [0, *80 * [1], 0, *20 * [1], 0, *60 * [1], 0, *15 * [1]]),
    "GRU": ("0=3 1=36", [0, *36 * [1], 0, *12 * [1], 0, *27 * [1]]),
    "RNN": ("0=3 1=12 2=0", [0, *12 * [1], 0, *3 * [1], 0, *9 * [1]]),
    "MemoryData": ("0=3 1=2", 6 * [1]),
    "MemoryData 4": ("0=3 1=2 11=2 2=2", 24 * [1]),
    "MemoryData tagged": ("0=3 1=3 21=0", [0, *9 * [1]]),
    "MultiHeadAttention": (
        "0=4 1=2 2=16",
        [0, *16 * [1], *4 * [1], 0, *16 * [1], *4 * [1], 0, *16 * [1], *4 * [1], 0, *16 * [1], *4 * [1]],
    ),
    "Gemm": ("3=1 5=1 6=1 8=3 9=4 10=4", [0, *12 * [1], 0, *3 * [1]]),
    "Convolution": ("0=4 1=3 5=1 6=108", [0, *108 * [1], *4 * [1]]),
    "Convolution int8": ("0=4 1=3 5=1 6=108 8=102", [("int8", 108), *4 * [1], *4 * [1], 1, 1]),
    "ConvolutionDepthWise int8": ("0=4 1=3 5=1 6=36 7=4 8=101", [("int8", 36), *4 * [1], *4 * [1], 1, 1]),
    "ConvolutionDepthWise one": ("0=4 1=3 6=36 7=4 8=2", [("int8", 36), 1, 1]),
    "Convolution1D": ("0=4 1=3 5=1 6=36", [0, *36 * [1], *4 * [1]]),
    "Convolution3D": ("0=4 1=3 5=1 6=324", [0, *324 * [1], *4 * [1]]),
    "DeformableConv2D": ("0=4 1=3 5=1 6=108", [0, *108 * [1], *4 * [1]]),
}


@pytest.mark.parametrize("kind", STORING)
def test_weights_behind_a_layer_that_stores_some(tmp_path, kind):
    """The layer is loaded, so that ncnn finds the weights behind it, and not run."""
    numbers, stored = STORING[kind]
    kind = kind.split()[0]
    data = b""
    for each in stored:
        if isinstance(each, tuple):
            data += tagged(np.ones(each[1]), INT8)
        else:
            data += np.float32(each).tobytes()
    w = whole(5, 3, 3, 3, seed=1)
    entries = "0 1 m" if kind == "MemoryData" else "1 1 b m"
    rows = ["Input x 0 1 x", "Split s 1 2 x a b", f"{kind} other {entries} {numbers}"]
    rows.append(f"Deconvolution up 1 1 a y 0=5 1=3 3=2 6={w.size}")
    path = write(tmp_path, rows, data + tagged(w))
    inventory = inventory_of(path)
    (layer,) = inventory.layers
    x = whole(3, 4, 5, seed=3)
    np.testing.assert_array_equal(layer.weight.read(), w)
    np.testing.assert_array_equal(computed(layer, x), run(path, x))
    assert inventory.limitations == ()


def test_a_layer_that_is_not_known_hides_the_weights_behind_it(tmp_path):
    w = whole(5, 3, 3, 3, seed=1)
    up = f"0=5 1=3 3=2 6={w.size}"
    rows = ["Input x 0 1 x", f"Deconvolution a 1 1 x a {up}", "Strange s 1 1 a b 0=1", f"Deconvolution b 1 1 x y {up}"]
    inventory = inventory_of(write(tmp_path, rows, tagged(w) + bytes(8) + tagged(w)))
    first, second = inventory.layers
    np.testing.assert_array_equal(first.weight.read(), w)
    assert second.weight is None
    assert "not found" in second.limitations[0]
    text = (
        "s is a Strange, and it is not known what such a layer stores; the weights of the layers behind it are not read"
    )
    assert inventory.limitations == (text,)


def test_weights_that_are_inputs(tmp_path):
    w = whole(3, 5, 2, 2, seed=1)
    rows = [
        "Input x 0 1 x",
        "MemoryData w 0 1 w 0=2 1=2 11=5 2=3",
        "Deconvolution up 2 1 x w y 0=5 1=2 3=2 28=1",
        "Input v 0 1 v",
        "Deconvolution up2 2 1 x v z 0=5 1=2 3=2 28=1",
    ]
    path = write(tmp_path, rows, w.tobytes())
    constant, computed_ = inventory_of(path).layers
    x = whole(3, 4, 5, seed=3)
    np.testing.assert_array_equal(computed(constant, x), run(path, x))
    assert computed_.weight is None
    assert computed_.limitations == ("Its weight is an input of the layer, computed when the network runs",)


def test_neighbours(tmp_path):
    w, norm = whole(5, 3, 2, 2, seed=1), whole(20, seed=2)
    rows = [
        "Input x 0 1 x -23330=4,3,6,5,3",
        "Split s 1 2 x a b",
        "Padding pad 1 1 a p 0=1 1=1 2=1 3=1",
        f"Deconvolution up 1 1 p u 0=5 1=2 3=2 6={w.size} -23330=4,3,16,14,5",
        "BatchNorm bn 1 1 u n 0=5 1=0.001",
        "ReLU r 1 1 n y",
        "Swish q 1 1 b z",
    ]
    (layer,) = inventory_of(write(tmp_path, rows, tagged(w) + norm.tobytes())).layers
    assert [each.op for each in layer.before] == ["Padding"]
    assert layer.before[0].inputs == ("x",)
    assert [each.op for each in layer.after] == ["BatchNorm", "ReLU"]
    np.testing.assert_array_equal(layer.after[0].constants["mean"].read(), norm[5:10])
    assert layer.after[0].attributes["epsilon"] == 0.001
    assert layer.output_shape == (5, 14, 16)


# -- damaged files -----------------------------------------------------------------------------------------------


def test_damaged_files_are_refused_or_read(tmp_path):
    w = whole(4, 3, 3, 3, seed=1)
    rows = [
        "Input x 0 1 x 0=6 1=5 2=3",
        "Convolution conv 1 1 x a 0=8 1=3 4=1 5=1 6=216",
        "PixelShuffle shuffle 1 1 a b 0=2",
        "LSTM l 1 1 x c 0=3 1=48",
        f"Deconvolution up 1 1 x y 0=4 1=3 3=2 4=1 5=1 6={w.size} 9=1 -23310=1,0.5",
    ]
    data = tagged(whole(8, 3, 3, 3)) + bytes(32) + tagged(np.ones(48)) + tagged(np.ones(12)) + tagged(np.ones(36))
    path = write(tmp_path, rows, data + tagged(w) + bytes(16))
    inventory_of(path)
    text, blob, rng, read = path.read_bytes(), path.with_suffix(".bin").read_bytes(), np.random.default_rng(0), 0
    words = [b"-1", b"0", b"1e30", b"99999999999", b"nan", b"inf", b"=", b"2147483648", b"0.5", b"-233", b""]
    for at in range(300):
        changed, bin_ = text, bytearray(blob)
        if at % 3:
            parts = changed.replace(b"=", b" = ").split(b" ")
            for _ in range(rng.integers(1, 3)):
                parts[rng.integers(len(parts))] = words[rng.integers(len(words))]
            changed = b" ".join(parts).replace(b" = ", b"=")
        elif at % 2:
            bin_ = bin_[: rng.integers(len(bin_))]
        else:
            bin_[rng.integers(len(bin_))] = rng.integers(256)
        path.write_bytes(changed)
        path.with_suffix(".bin").write_bytes(bin_)
        try:
            for layer in inventory_of(path).layers:
                if layer.weight is not None:
                    layer.weight.read()
            read += 1
        except TconvError:
            continue
    assert read > 30


def test_files_that_are_none(tmp_path):
    path = tmp_path / "model.param"
    path.write_text("7767517\n1 1\nInput x 0 1 x\n")
    with pytest.raises(FileError, match=r"needs model\.bin beside it"):
        inventory_of(path)
    path.with_suffix(".bin").write_bytes(b"")
    assert inventory_of(path).layers == ()
    path.write_bytes(b"\x7f\xff binary")
    with pytest.raises(FileError, match="is not a network of ncnn: it is not text"):
        inventory_of(path)
