"""Inventories of PyTorch's files and modules, against what PyTorch computes; nothing of a file is run."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import tconv
from tconv.errors import FileError, TconvError
from tconv.models.inventory import inventory_of
from tconv.models.inventory.torch_module import read

warnings.simplefilter("ignore")


class Decoder(nn.Module):
    """Layers of all kinds in a row."""

    def __init__(self):
        super().__init__()
        self.up1 = nn.ConvTranspose2d(3, 4, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.up2 = weight_norm(nn.ConvTranspose2d(4, 6, (4, 5), (2, 3), (1, 0), (1, 2), groups=2))
        self.last = nn.Sequential(nn.Conv2d(6, 8, 3, padding=(2, 1), dilation=(1, 2)), nn.PixelShuffle(2))
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.weight.normal_()
            self.last[0].bias.copy_(torch.tensor([1.0] * 4 + [2.0] * 4))

    def forward(self, x):
        h = torch.relu(self.norm(self.up1(x, output_size=(x.shape[2] * 2, x.shape[3] * 2))))
        return self.last(self.up2(nn.functional.pad(h, (1, 1, 1, 1))) * 0.5)


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    return Decoder().eval()


@pytest.fixture(scope="module")
def x():
    return torch.randn(2, 3, 6, 7)


@pytest.fixture(scope="module")
def files(decoder, x, tmp_path_factory):
    """Folder with the decoder in every form that has a file."""
    folder = tmp_path_factory.mktemp("files")
    sizes = {"x": {0: torch.export.Dim("batch"), 2: torch.export.Dim("h", min=3, max=64)}}
    program = torch.export.export(decoder, (x,), dynamic_shapes=sizes)
    torch.export.save(program, folder / "program.pt2")
    plain = torch.export.export(decoder, (x,))
    torch.export.save(plain.run_decompositions(), folder / "decomposed.pt2")
    old_layout(plain, folder / "old.pt2")
    torch.jit.trace(decoder, x).save(folder / "trace.pt")
    torch.jit.freeze(torch.jit.trace(decoder, x)).save(folder / "frozen.pt")
    return folder


def old_layout(program, path):
    """Write a program as PyTorch 2.1 to 2.7 did: the weights are an archive in the archive."""
    from torch._export.serde.serialize import serialize

    parts = serialize(program)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("serialized_exported_program.json", parts.exported_program)
        archive.writestr("serialized_state_dict.pt", parts.state_dict)
        archive.writestr("serialized_constants.pt", parts.constants)
        archive.writestr("version", "8.8")


def outputs_of(module, x):
    """Return (input, output) of each convolution, by the name of its module."""
    found = {}
    handles = [
        each.register_forward_hook(lambda _, given, y, name=name: found.update({name: (given[0], y)}))
        for name, each in module.named_modules()
        if name in ("up1", "up2", "last.0", "last")
    ]
    with torch.no_grad():
        module(x)
    for handle in handles:
        handle.remove()
    found["last.0"] = found["last.0"][0], found["last"][1]
    return {name: (given.numpy(), y.numpy()) for name, (given, y) in found.items()}


def assert_layers(found, decoder, x, names=("up1", "up2", "last.0")):
    """Compare every layer with PyTorch's output, from the numbers in the inventory alone."""
    expected = outputs_of(decoder, x)
    assert len(found.layers) == 3
    for layer, name in zip(found.layers, ("up1", "up2", "last.0"), strict=True):
        assert layer.name == name or names is None
        assert layer.limitations == () or "traced" in layer.limitations[0]
        weight = layer.weight.read()
        assert weight.shape == layer.weight.shape
        assert layer.weight.dtype == "float32" == str(weight.dtype)
        bias = None if layer.bias is None else layer.bias.read()
        given, y = expected[name]
        got = tconv.conv_transpose(given, weight, bias, dialect=layer.dialect, **layer.arguments)
        np.testing.assert_allclose(got, y, atol=3e-6)
    assert [layer.form for layer in found.layers] == [
        *["transposed convolution"] * 2,
        "convolution and depth to space",
    ]


@pytest.mark.parametrize("name", ["program.pt2", "decomposed.pt2", "old.pt2", "trace.pt", "frozen.pt"])
def test_every_layer_of_a_file_computes_what_pytorch_does(files, decoder, x, name):
    found = inventory_of(files / name)
    assert_layers(found, decoder, x, None if name == "frozen.pt" else ())
    assert found.format == ("exported program" if name.endswith("pt2") else "TorchScript")
    assert "weight norm" in found.layers[1].weight.origin or name == "frozen.pt"


def test_every_layer_of_a_module_computes_what_pytorch_does(decoder, x):
    assert_layers(read(decoder, x), decoder, x)
    without = read(decoder)
    assert [layer.name for layer in without.layers] == ["up1", "up2", "last.0"]
    assert without.layers[0].crop_origin == "padding and output_size"
    assert "output_padding is computed when the model runs" in without.layers[0].limitations[0]


@pytest.mark.parametrize("name", ["program.pt2", "decomposed.pt2", "trace.pt", "module", "run"])
def test_neighbours_have_their_numbers(files, decoder, x, name):
    found = {"module": lambda: read(decoder), "run": lambda: read(decoder, x)}.get(
        name, lambda: inventory_of(files / name)
    )()
    first, second, last = found.layers
    norm, relu, pad = first.after[:3]
    assert "batch_norm" in norm.op
    for role in ("weight", "bias", "running_mean", "running_var"):
        np.testing.assert_array_equal(norm.constants[role].read(), getattr(decoder.norm, role).detach())
    assert norm.attributes["eps"] == 1e-5
    assert relu.op == "aten.relu"
    assert pad.attributes["pad"] == [1, 1, 1, 1]
    assert [each.op for each in second.before[:2]] == [pad.op, "aten.relu"]
    assert second.after[0].op == "aten.mul"
    other = second.after[0].constants.get("other")  # a trace has a tensor
    assert (second.after[0].attributes["other"] if other is None else other.read()) == 0.5
    assert last.before[0].op == "aten.mul"
    assert last.after == ()


def test_sizes_that_vary_are_symbols(files):
    found = inventory_of(files / "program.pt2")
    batch, channels, height, width = found.inputs[0].shape
    assert (channels, width) == (3, 7)
    assert isinstance(batch, str)
    assert isinstance(height, str)
    assert found.layers[0].output_shape == (batch, 4, f"2*{height}", 14)
    assert found.producer.startswith("PyTorch 2.")
    assert inventory_of(files / "decomposed.pt2").inputs[0].shape == (2, 3, 6, 7)


def test_an_output_size_that_a_trace_froze_is_told(files):
    layer = inventory_of(files / "trace.pt").layers[0]
    assert layer.crop_origin == "padding and a frozen output_padding"
    assert "was computed from output_size when the model was traced" in layer.limitations[0]


# -- scripts ---------------------------------------------------------------------------------------------------------


class Script(nn.Module):
    """Code with a condition, a loop and an output size, which a script keeps."""

    def __init__(self):
        super().__init__()
        self.ups = nn.ModuleList([nn.ConvTranspose1d(4, 4, 4, 2, 1), nn.ConvTranspose1d(4, 4, 3, 3, dilation=2)])
        self.open = nn.ConvTranspose1d(4, 2, 3, 2, 1)
        self.register_buffer("kernel", torch.randn(2, 1, 3))

    def forward(self, x, size: int, twice: bool = False):
        for up in self.ups:
            x = nn.functional.leaky_relu(up(x), 0.1, inplace=True)
        if twice:
            x = x * 2
        y = self.open(x, [size])
        for _ in range(size):
            y = nn.functional.conv_transpose1d(y, self.kernel, groups=2)
        return y


def test_a_script_is_read_through_conditions_and_loops(tmp_path):
    model = Script().eval()
    torch.jit.script(model).save(tmp_path / "script.pt")
    found = inventory_of(tmp_path / "script.pt")
    first, second, third, inner = found.layers
    assert (first.name, second.name, third.name) == ("ups.0", "ups.1", "open")
    assert second.arguments == {"stride": [3], "padding": [0], "output_padding": [0], "groups": 1, "dilation": [2]}
    assert [each.op for each in first.after[:2]] == ["aten.leaky_relu_", "aten.conv_transpose1d"]
    assert first.after[0].attributes["negative_slope"] == 0.1
    assert third.crop_origin == "padding and output_size"
    assert "output_padding is computed when the model runs" in third.limitations[0]
    assert inner.arguments["groups"] == 2
    assert "in a loop" in inner.place
    np.testing.assert_array_equal(inner.weight.read().repeat(2, 1)[:, :1], model.kernel)
    assert [each.name for each in found.inputs] == ["x"]


def test_scripted_parametrizations_raise_in_pytorch_too(tmp_path):
    """PyTorch scripts a parametrized module to code that raises when it is run."""
    torch.jit.script(nn.Sequential(weight_norm(nn.ConvTranspose1d(2, 2, 2)))).save(tmp_path / "norm.pt")
    found = inventory_of(tmp_path / "norm.pt")
    assert found.limitations == ("Its forward method ends in an error for every input.",)
    with pytest.raises(Exception, match="Parametrization is not working with scripting"):
        torch.jit.load(tmp_path / "norm.pt")(torch.ones(1, 2, 3))


def test_code_of_a_file_is_not_run(tmp_path, monkeypatch):
    """A file whose pickle, constructor and __setstate__ write a marker when PyTorch's or Python's loaders run them."""
    monkeypatch.chdir(tmp_path)
    marker, path = tmp_path / "marker", tmp_path / "model.pt"
    torch.jit.script(nn.Sequential(nn.ConvTranspose1d(2, 2, 2))).save(tmp_path / "plain.pt")

    class Write:
        def __reduce__(self):
            return (Path.touch, (marker,))

    hostile = pickle.dumps(Write(), 2)
    state = b"".join([hostile[:-1], b"0"])  # made, then dropped, before the model itself

    def changed(name, content):
        if name.endswith("/data.pkl"):
            return content[:2] + state[2:] + content[2:]
        if name.endswith("container.py"):
            text = content.decode().replace(
                "    input: Tensor) -> Tensor:\n",
                "    input: Tensor) -> Tensor:\n    __import__('pathlib').Path('marker').touch()\n",
            )
            assert "touch" in text
            return text.encode()
        return content

    rewritten(tmp_path / "plain.pt", path, changed)
    found = inventory_of(path)
    assert [layer.name for layer in found.layers] == ["0"]
    assert not marker.exists()
    pickle.loads(hostile)  # the marker is what this file writes
    assert marker.exists()


def rewritten(source, path, changed):
    """Write an archive again, with each member's content as `changed` returns it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            content = changed(entry.filename, old.read(entry))
            if content is not None:
                new.writestr(entry.filename, content)
    return path


# -- weights of other kinds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_of_weights(dtype, tmp_path):
    model = nn.Sequential(nn.ConvTranspose1d(2, 3, 4, dtype=dtype)).eval()
    x = torch.ones(1, 2, 5, dtype=dtype)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
    torch.jit.trace(model, x).save(tmp_path / "net.pt")
    for source in (tmp_path / "net.pt2", tmp_path / "net.pt", model):
        (layer,) = inventory_of(source).layers
        name = str(dtype).removeprefix("torch.")
        assert (layer.dtype, layer.weight.dtype) == (name, name)
        wide = layer.weight.read()
        assert wide.dtype == np.dtype("float32" if name == "bfloat16" else name)
        np.testing.assert_array_equal(wide, model[0].weight.detach().double())


class Quantized(nn.Module):
    """A layer with 8-bit weights, one scale per output channel."""

    def __init__(self):
        super().__init__()
        self.register_buffer("stored", torch.randint(-127, 127, (3, 4, 3, 3), dtype=torch.int8))
        self.register_buffer("scales", torch.rand(4))
        self.register_buffer("zeros", torch.arange(4))

    def forward(self, x):
        ops = torch.ops.quantized_decomposed
        w = ops.dequantize_per_channel(self.stored, self.scales, self.zeros, 1, -128, 127, torch.int8)
        x = ops.dequantize_per_tensor(
            ops.quantize_per_tensor(x, 0.1, 3, -128, 127, torch.int8), 0.1, 3, -128, 127, torch.int8
        )
        y = nn.functional.conv_transpose2d(x, w, stride=2)
        return ops.dequantize_per_tensor(
            ops.quantize_per_tensor(y, 0.2, 0, -128, 127, torch.int8), 0.2, 0, -128, 127, torch.int8
        )


def test_quantized_weights_of_an_exported_program(tmp_path):
    import torch.ao.quantization.fx._decomposed  # registers the operations

    model, x = Quantized().eval(), torch.randn(1, 3, 4, 4)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
    for found in (inventory_of(tmp_path / "net.pt2"), read(model, x)):
        (layer,) = found.layers
        quantization = layer.weight.quantization
        assert (layer.dtype, quantization.dtype, quantization.axis) == ("int8", "int8", 1)
        assert layer.weight.origin == "dequantize_per_channel, axis 1"
        np.testing.assert_array_equal(quantization.scales, model.scales)
        expected = (model.stored - model.zeros[:, None, None]) * model.scales[:, None, None]
        np.testing.assert_allclose(layer.weight.read(), expected, rtol=1e-6)


def test_quantized_modules_and_their_scripts(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.up = torch.ao.quantization.QuantStub(), nn.ConvTranspose2d(3, 4, 3, 2, 1)

        def forward(self, x):
            return self.up(self.quant(x))

    x, quantization = torch.randn(1, 3, 4, 4), torch.ao.quantization
    torch.backends.quantized.engine = "onednn"
    model = Net().eval()
    model.qconfig = quantization.QConfig(
        activation=quantization.default_observer, weight=quantization.default_weight_observer
    )
    prepared = quantization.prepare(model)
    prepared(x)
    model = quantization.convert(prepared)
    torch.jit.script(model).save(tmp_path / "net.pt")
    for found in (read(model), read(model, x), inventory_of(tmp_path / "net.pt")):
        (layer,) = found.layers
        assert (layer.name, layer.op, layer.dtype) == ("up", "quantized.conv_transpose2d", "int8")
        assert (layer.arguments["stride"], layer.arguments["padding"]) == ([2, 2], [1, 1])
        np.testing.assert_array_equal(layer.weight.read(), model.up.weight().dequantize())
        assert layer.weight.stored_dtype == "int8"
        assert layer.bias.shape == (4,)


def test_modules_of_other_kinds():
    old = nn.utils.weight_norm(nn.ConvTranspose1d(2, 3, 4))
    with torch.no_grad():
        old.weight_g.mul_(3)  # the stored weight is of the last call
    spectral = spectral_norm(nn.ConvTranspose1d(3, 3, 4))
    lazy = nn.LazyConvTranspose1d(4, 3)
    model = nn.Sequential(old, nn.ReLU(), spectral, lazy)
    model.train()
    vectors = spectral.parametrizations.weight[0]._u.clone()
    first, second, third = read(model).layers
    np.testing.assert_allclose(first.weight.read(), torch._weight_norm(old.weight_v, old.weight_g).detach(), rtol=1e-6)
    assert (first.weight.origin, second.weight.origin) == (
        "weight norm (torch.nn.utils)",
        "spectral norm (_SpectralNorm)",
    )
    assert third.weight is None
    assert third.limitations[0] == "Its weight does not exist before the first call of the lazy module."
    assert model.training
    assert spectral.training
    assert torch.equal(vectors, spectral.parametrizations.weight[0]._u)
    assert len(read(model.append(nn.Identity()), torch.ones(1, 2, 5)).layers) == 3
    with pytest.raises(tconv.errors.ArgumentError, match=r"a path or a torch.nn.Module is needed"):
        read(3)


def test_a_module_whose_code_branches_on_numbers_is_walked(x):
    class Branch(Decoder):
        def forward(self, x):
            return super().forward(x) if x.sum() > -1e9 else x

    model = Branch().eval()
    found = read(model)
    assert [layer.name for layer in found.layers] == ["up1", "up2", "last.0"]
    assert "Give an example input" in found.limitations[0]
    assert read(model, x).limitations == ()
    with pytest.raises(FileError, match="the module does not run on the example"):
        read(model, torch.ones(2))


def test_layers_of_tconv_are_read():
    import tconv.torch

    (layer,) = read(nn.Sequential(tconv.torch.ConvTranspose2d(3, 4, 2, 2))).layers
    assert (layer.op, layer.arguments["stride"]) == ("aten.conv_transpose2d", [2, 2])


class Shared(nn.Module):
    """Weights that share memory, or lie in another order in it, and one that is computed from a parameter."""

    def __init__(self):
        super().__init__()
        whole = torch.randn(8, 4, 3, 3)
        self.register_buffer("part", whole[2:6])
        self.register_buffer("last", whole.permute(0, 1, 3, 2)[:4].to(memory_format=torch.channels_last))
        self.up, self.same = nn.ConvTranspose2d(4, 4, 3, 2), nn.ConvTranspose2d(4, 4, 3, 2)
        self.same.weight = self.up.weight
        self.raw = nn.Parameter(torch.randn(4, 4, 3, 3))

    def forward(self, x):
        up = nn.functional.conv_transpose2d
        x = self.same(self.up(up(up(x, self.part, stride=2), self.last, padding=1)))
        return up(x, self.raw.transpose(0, 1) * 2 + 1)


def test_weights_that_share_memory(tmp_path):
    model, x = Shared().eval(), torch.randn(1, 4, 3, 3)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
    torch.jit.trace(model, x).save(tmp_path / "net.pt")
    weights = [model.part, model.last, model.up.weight, model.up.weight, model.raw.transpose(0, 1) * 2 + 1]
    for found in (inventory_of(tmp_path / "net.pt2"), inventory_of(tmp_path / "net.pt"), read(model), read(model, x)):
        for layer, weight in zip(found.layers, weights, strict=True):
            np.testing.assert_array_equal(layer.weight.read(), weight.detach())
        assert [layer.name for layer in found.layers[2:4]] == ["up", "same"]
        assert found.layers[4].weight.origin == "constants (transpose, mul, add)"


class ZeroInsertion(nn.Module):
    """StyleGAN's upsampling: zeros by a view, a padding and a view, then a filter."""

    def __init__(self):
        super().__init__()
        self.blur = nn.Conv2d(4, 6, (3, 4), padding=(1, 0), dilation=(1, 2), groups=2)

    def forward(self, x):
        n, c, h, w = x.shape
        z = nn.functional.pad(x.reshape(n, c, h, 1, w, 1), [0, 2, 0, 0, 0, 1])
        z = nn.functional.pad(z.reshape(n, c, h * 2, w * 3), [3, 1, 0, 2])
        return self.blur(z[:, :, : z.shape[2]])


def test_a_convolution_on_inserted_zeros(tmp_path):
    model, x = ZeroInsertion().eval(), torch.randn(2, 4, 5, 6)
    program = torch.export.export(model, (x,))
    torch.export.save(program, tmp_path / "net.pt2")
    torch.export.save(program.run_decompositions(), tmp_path / "core.pt2")
    for found in (inventory_of(tmp_path / "net.pt2"), inventory_of(tmp_path / "core.pt2"), read(model, x)):
        (layer,) = found.layers
        assert layer.form == "zero insertion and convolution"
        assert (layer.arguments["stride"], layer.input_shape) == ((2, 3), (2, 4, 5, 6))
        weight, bias = layer.weight.read(), layer.bias.read()
        assert weight.shape == layer.weight.shape
        y = tconv.conv_transpose(x.numpy(), weight, bias, dialect="torch", **layer.arguments)
        np.testing.assert_allclose(y, model(x).detach(), atol=3e-6)


# -- files that are refused, and damaged ones ------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".pt", ".pth", ".pt2"])
@pytest.mark.parametrize("content", ["module", "state dict", "old state dict", b"<html>", b"", b"PK\x03\x04"])
def test_files_that_are_not_read(content, ending, tmp_path):
    path, layer = tmp_path / f"net{ending}", nn.ConvTranspose2d(2, 3, 4)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        old = content == "old state dict"
        torch.save(layer if content == "module" else layer.state_dict(), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(FileError, match=r"Write "):
        inventory_of(path)


def read_whole(path):
    """Read everything of an inventory. Raises TconvError."""
    found = inventory_of(path)
    for layer in found.layers:
        for array in (layer.weight, layer.bias):
            if array is not None and np.prod(array.shape, dtype=float) < 1e7:
                array.read()
        for each in (*layer.before, *layer.after):
            for array in each.constants.values():
                array.read()
    return found


def bent(number, data, random):
    """Return a value of JSON with one leaf changed."""
    if isinstance(data, dict) and data:
        key = random.choice(list(data))
        return {**data, key: bent(number, data[key], random)}
    if isinstance(data, list) and data:
        at = random.integers(len(data))
        return [*data[:at], bent(number, data[at], random), *data[at + 1 :]]
    return [None, -1, 1 << 62, "x" * 50, [], {}, 1e300, True, [[0]] * 9][number % 9]


@pytest.mark.parametrize("name", ["program.pt2", "decomposed.pt2", "old.pt2", "trace.pt", "script.pt"])
def test_damaged_files_are_refused_or_read(files, tmp_path, name):
    """Bytes are changed, members cut, and leaves of the JSON replaced: an error of tconv's own, or an inventory."""
    source = files / name
    if name == "script.pt":
        source = tmp_path / "source.pt"
        torch.jit.script(Script()).save(source)
    whole, random, refused = source.read_bytes(), np.random.default_rng(len(name)), 0
    path = tmp_path / name
    for number in range(80):
        if number % 4 == 0:
            content = bytearray(whole)
            for place in random.integers(0, len(content), 1 + number // 8):
                content[place] = random.integers(256)
            path.write_bytes(content)
        elif number % 4 == 1:
            path.write_bytes(whole[: random.integers(len(whole))])
        else:
            rewritten(source, path, lambda member, content, number=number: _member(member, content, number, random))
        try:
            read_whole(path)
        except TconvError:
            refused += 1
    assert 20 < refused < 80


def _member(name, content, number, random):
    """Return the content of one member, damaged if it is one that describes the model."""
    if name.endswith(("models/model.json", "program.json")) or name.endswith("weights_config.json"):
        return json.dumps(bent(number, json.loads(content), random)).encode()
    if name.endswith((".pkl", ".py", "weight_0")) and len(content) > 4:
        changed = bytearray(content)
        changed[random.integers(len(changed))] = random.integers(256)
        return bytes(changed)
    return content


def test_archives_that_claim_too_much(files, tmp_path):
    def with_config(change):
        def changed(name, content):
            if not name.endswith("weights_config.json"):
                return content
            config = json.loads(content)
            for entry in config["config"].values():
                change(entry["tensor_meta"])
            return json.dumps(config).encode()

        return rewritten(files / "program.pt2", tmp_path / "net.pt2", changed)

    for change in (
        lambda meta: meta.update(sizes=[{"as_int": 1 << 40}] * 4, strides=[{"as_int": 0}] * 4),
        lambda meta: meta.update(storage_offset={"as_int": 1 << 50}),
        lambda meta: meta.update(strides=[{"as_int": -1}] * len(meta["strides"])),
        lambda meta: meta.update(sizes=[{"as_int": 2}] * 60, strides=[{"as_int": 1}] * 60),
    ):
        with pytest.raises(FileError, match="Write"):
            read_whole(with_config(change))

    def replaced(text):
        def changed(name, content):
            return text if name.endswith("models/model.json") else content

        return rewritten(files / "program.pt2", tmp_path / "net.pt2", changed)

    for text in (b"[" * 100_000, b'{"a": ' + b"9" * 100_000 + b"}", b"{}", b"[]", b'{"graph_module": {"graph": {}}}'):
        with pytest.raises(FileError, match=str(tmp_path)):
            inventory_of(replaced(text))


def test_numbers_that_were_changed(files, tmp_path):
    """A weight whose bytes are not those that were written is refused, not shown."""
    content = (files / "trace.pt").read_bytes()
    weight = inventory_of(files / "trace.pt").layers[0].weight.read()
    place = content.index(weight.tobytes())
    (tmp_path / "net.pt").write_bytes(content[:place] + b"\0\0\0\0" + content[place + 4 :])
    with pytest.raises(FileError, match="its checksum is another one"):
        inventory_of(tmp_path / "net.pt").layers[0].weight.read()


def test_a_member_that_expands_and_names_that_repeat(files, tmp_path):
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/models/model.json", b" " * (200 << 20))
    with pytest.raises(FileError, match="at most"):
        inventory_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/models/model.json", b"{}")
        archive.writestr("net/models/model.json", b"{}")  # zipfile warns
    with pytest.raises(FileError, match="has two members"):
        inventory_of(path)


def script_file(path, code, attributes=b""):
    """Write a TorchScript archive of one class with this code."""
    model = b"\x80\x02c__torch__\nNet\n)\x81}" + attributes + b"b."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", model)
        archive.writestr("net/constants.pkl", b"\x80\x02).")
        archive.writestr("net/code/__torch__.py", code)
        archive.writestr("net/version", "3\n")
    return path


@pytest.mark.parametrize(
    "body",
    [
        "    return (self).forward(x, )\n",
        "    for i in range(1000000000):\n      x = torch.relu(x)\n    return x\n",
        "    n = 9\n" + "    n = torch.mul(n, n)\n" * 60 + "    return x\n",
        "    l = [0]\n" + "    l = torch.mul(l, 1000000)\n" * 5 + "    return x\n",
        "    l = [x]\n" + "    l = torch.add(l, l)\n" * 60 + "    return x\n",
        "    t = (1, 2)\n" + "    t = torch.add(t, t)\n" * 60 + "    return x\n",
        "    s = 'a'\n" + "    s = torch.add(s, s)\n" * 60 + "    return x\n",
        "    s = torch.remainder('%9999999999d', 1)\n    return x\n",
        "    l = annotate(List[Tensor], [])\n    for i in range(90000):\n      _ = torch.append(l, x)\n    return torch.cat(l)\n",
        "    return " + "(" * 150 + "x" + ")" * 150 + "\n",
        "    return " + "-" * 3000 + "1\n",
        "    return " + "torch.relu(" * 2000 + "x" + ")" * 2000 + "\n",
        "    while True:\n      x = torch.relu(x)\n    return x\n",
        "    return CONSTANTS.c7\n",
        "    a, b, c = x\n    return 1 // 0\n",
        "    if x:\n"
        + "".join("  " * depth + "    if x:\n" for depth in range(1, 60))
        + "  " * 60
        + "    pass\n    return x\n",
        "".join(
            f"    if torch.gt(torch.size(x, 0), {at}):\n      x = torch.relu(x)\n    else:\n      pass\n"
            for at in range(300)
        )
        + "    return x\n",
    ],
)
def test_code_that_does_not_end(body, tmp_path):
    code = f"class Net(Module):\n  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n{body}"
    with contextlib.suppress(FileError):
        assert inventory_of(script_file(tmp_path / "net.pt", code)).layers == ()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02]" + b"]a" * 50_000 + b".",
        b"\x80\x02" + b"\x96" + struct.pack("<Q", 1 << 40) + b".",
        b"\x80\x02r" + struct.pack("<I", (1 << 32) - 1) + b".",
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00exit\x85R.",
        b"\x80\x02c__torch__\nNet\n)\x81" + b"}b" * 10 + b".",
        b"\x80\x02\x8d" + struct.pack("<Q", 1 << 60) + b".",
    ],
)
def test_pickles_that_claim_too_much(content, tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/data.pkl", content)
        archive.writestr("net/code/__torch__.py", "class Net(Module):\n  pass\n")
    with pytest.raises(FileError):
        inventory_of(tmp_path / "net.pt")


def test_no_framework_is_needed_for_the_files(files):
    """The readers of files import no PyTorch: they run where it cannot be imported."""
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tconv.models.inventory import inventory_of\n"
        "print([len(inventory_of(name).layers) for name in sys.argv[1:]])\n"
    )
    names = [str(files / name) for name in ("program.pt2", "old.pt2", "trace.pt")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[3, 3, 3]", done.stderr[-500:]


def test_a_file_without_layers(tmp_path):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    (tmp_path / "net.pt").write_bytes(buffer.getvalue())
    found = inventory_of(tmp_path / "net.pt")
    assert found.layers == ()
    assert found.operations["aten.linear"] == 1


class Rounded(nn.Module):
    """A weight that passes through another type, or an operation with an argument that changes its meaning."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.v = kind, nn.Parameter(torch.randn(2, 3, 4))

    def forward(self, x):
        if self.kind == "half":
            w = self.v.half().float()
        elif self.kind == "type_as":
            w = self.v.type_as(torch.zeros(1, dtype=torch.float16)).float()
        else:
            w = torch.div(self.v, 0.3, rounding_mode="floor")
        return nn.functional.conv_transpose1d(x, w)


@pytest.mark.parametrize("kind", ["half", "type_as", "div"])
def test_weights_that_are_rounded(kind, tmp_path):
    """The numbers are those of PyTorch, or none: never those of the operation without its argument."""
    model, x = Rounded(kind).eval(), torch.ones(1, 2, 5)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "net.pt2")
    torch.jit.trace(model, x).save(tmp_path / "net.pt")
    expected = {
        "half": model.v.half(),
        "type_as": model.v.half(),
        "div": torch.div(model.v, 0.3, rounding_mode="floor"),
    }
    for found in (inventory_of(tmp_path / "net.pt2"), inventory_of(tmp_path / "net.pt"), inventory_of(model)):
        (layer,) = found.layers
        if layer.weight is None:
            assert layer.limitations
            continue
        try:
            weight = layer.weight.read()
        except FileError:
            continue
        np.testing.assert_array_equal(weight, expected[kind].detach().float())
