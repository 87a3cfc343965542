"""Inventories of Keras files: every layer, run by the definition of tconv, equals what Keras computes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
import pytest

import tconv
import tconv.keras
from tconv.errors import FileError, TconvError
from tconv.models.inventory import inventory_of

L = keras.layers
KINDS = {1: L.Conv1DTranspose, 2: L.Conv2DTranspose, 3: L.Conv3DTranspose}


def whole(*shape, seed=0):
    return np.random.default_rng(seed).integers(-7, 8, shape).astype(np.float32)


def numpy_of(tensor):
    return keras.ops.convert_to_numpy(tensor)


def filled(model):
    """Return the model with whole numbers as its weights, positive variances among them."""
    model.set_weights(
        [
            np.abs(whole(*w.shape, seed=at)) + 1 if "var" in v.path else whole(*w.shape, seed=at)
            for at, (v, w) in enumerate(zip(model.weights, model.get_weights(), strict=True))
        ]
    )
    return model


def saved(model, folder, ending="keras"):
    path = folder / f"model.{ending}"
    filled(model).save(path)
    return path


def computed(layer, x):
    first = layer.dialect == "torch"
    x = np.moveaxis(x, -1, 1) if first else x
    bias = None if layer.bias is None else layer.bias.read()
    weight = layer.weight.read()
    assert weight.shape == layer.weight.shape
    y = tconv.conv_transpose(x, weight, bias, dialect=layer.dialect, **layer.arguments)
    return np.moveaxis(y, 1, -1) if first else y


CALLS = [
    (1, {"kernel_size": 4, "strides": 2, "padding": "same"}),
    (1, {"kernel_size": 3, "strides": 2, "output_padding": 1}),
    (2, {"kernel_size": 3, "strides": 2, "padding": "same"}),
    (2, {"kernel_size": (3, 2), "strides": (2, 3), "padding": "valid"}),
    (2, {"kernel_size": 3, "strides": 2, "padding": "same", "output_padding": 1}),
    (2, {"kernel_size": 3, "dilation_rate": 2, "padding": "same", "use_bias": False}),
    (3, {"kernel_size": 2, "strides": (1, 2, 2), "padding": "valid"}),
]


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize(("ndim", "words"), CALLS)
def test_layers(tmp_path, ndim, words, ending):
    shape = (5, 4, 3)[:ndim]
    model = keras.Sequential([keras.Input((*shape, 3)), KINDS[ndim](5, name="up", **words)])
    inventory = inventory_of(saved(model, tmp_path, ending))
    (layer,) = inventory.layers
    x = whole(2, *shape, 3, seed=9)
    expected = numpy_of(model(x))
    np.testing.assert_array_equal(computed(layer, x), expected)
    assert layer.input_shape == ("batch", *shape, 3)
    assert layer.output_shape == ("batch", *expected.shape[1:])
    assert (layer.name, layer.op, layer.dialect) == ("up", f"Conv{ndim}DTranspose", "keras")
    assert inventory.producer == f"Keras {keras.__version__}"
    assert inventory.limitations == ()


@pytest.mark.parametrize("words", [{"groups": 2}, {"groups": 2, "strides": 2, "dilation_rate": 2, "padding": "same"}])
def test_the_layers_of_tconv(tmp_path, words):
    model = keras.Sequential([keras.Input((5, 4, 6)), tconv.keras.Conv2DTranspose(8, 3, **words)])
    (layer,) = inventory_of(saved(model, tmp_path)).layers
    x = whole(1, 5, 4, 6)
    np.testing.assert_array_equal(computed(layer, x), numpy_of(model(x)))
    assert layer.arguments["groups"] == 2
    assert layer.limitations == ()


def test_channels_first_and_sizes_that_vary(tmp_path):
    layer = L.Conv2DTranspose(5, 4, strides=2, padding="same", data_format="channels_first")
    model = keras.Sequential([keras.Input((3, None, 4)), layer])
    (layer,) = inventory_of(saved(model, tmp_path)).layers
    x = whole(1, 3, 5, 4)
    np.testing.assert_array_equal(computed(layer, x), numpy_of(model(x)))
    assert layer.input_shape == ("batch", 3, "height", 4)
    assert layer.output_shape == ("batch", 5, "2*height", 8)


def nested(ending):
    image, clip = keras.Input((6, 6, 3), name="image"), keras.Input((2, 4, 4, 3), name="clip")
    shared = L.Conv2DTranspose(3, 3, strides=2, padding="same", name="shared", activation="relu")
    x = shared(shared(image))
    x = L.BatchNormalization(name="norm", scale=False, epsilon=0.25)(L.Conv2DTranspose(4, 2, strides=2, name="b")(x))
    inner = [keras.Input((48, 48, 4)), L.ReLU(), L.Conv2DTranspose(2, 3, name="inner_up"), L.ReLU(name="last")]
    x = keras.Sequential(inner, name="inner")(x)
    y = L.TimeDistributed(L.Conv2DTranspose(2, 3, strides=2, name="each_up"), name="each")(clip)
    return keras.Model([image, clip], [x, y])


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_models_within_models(tmp_path, ending):
    model = nested(ending)
    inventory = inventory_of(saved(model, tmp_path, ending))
    names = ["shared", "shared", "b", "inner_up", "each_up"]
    assert [layer.name for layer in inventory.layers] == names
    by_name = {layer.name: layer for layer in inventory.layers}
    parts = {
        "shared": model.get_layer("shared"),
        "b": model.get_layer("b"),
        "inner_up": model.get_layer("inner").get_layer("inner_up"),
        "each_up": model.get_layer("each").layer,
    }
    for name, part in parts.items():
        np.testing.assert_array_equal(by_name[name].weight.read(), numpy_of(part.kernel), name)
        np.testing.assert_array_equal(by_name[name].bias.read(), numpy_of(part.bias), name)
        shape = tuple(1 if isinstance(size, str) else size for size in by_name[name].input_shape)
        assert tuple(part.compute_output_shape(shape)[1:]) == by_name[name].output_shape[1:]
    assert by_name["shared"].activation == "relu"
    assert by_name["inner_up"].place == "inner/inner_up"
    assert [layer.place for layer in inventory.layers[:2]] == ["layer 1 of 7, call 1", "layer 1 of 7, call 2"]
    after = by_name["b"].after
    assert [each.op for each in after] == ["BatchNormalization", "Sequential"]
    assert after[0].attributes["epsilon"] == 0.25
    norm = model.get_layer("norm")
    assert sorted(after[0].constants) == ["B", "mean", "var"]
    np.testing.assert_array_equal(after[0].constants["var"].read(), numpy_of(norm.moving_variance))
    assert [each.op for each in by_name["inner_up"].before] == ["ReLU"]
    assert [each.name for each in inventory.inputs] == ["image", "clip"]
    assert inventory.operations["Conv2DTranspose"] == 4


@pytest.mark.parametrize("sequential", [False, True])
def test_files_of_keras_2(tmp_path, sequential):
    """A file as tf.keras 2 wrote it: calls as lists, a Sequential as a list, names of variables that end in :0."""

    def layer(kind, name, source=None, **words):
        nodes = [] if source is None else [[[source, 0, 0, {}]]]
        return {"class_name": kind, "name": name, "config": {"name": name, **words}, "inbound_nodes": nodes}

    words = {"filters": 5, "kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "dtype": "float32"}
    up = layer("Conv2DTranspose", "up", "shaped", **words, activation="relu", data_format="channels_last")
    first = layer("InputLayer", "input_1", batch_input_shape=[None, 48], dtype="float32")
    shaped = layer("Reshape", "shaped", "input_1", target_shape=[4, 4, 3])
    layers = [first, shaped, up, layer("LeakyReLU", "leaky", "up", alpha=0.2), {**up, "name": "more"}]
    layers[4] = layer("Conv2DTranspose", "more", "leaky", **{**words, "filters": 2}, use_bias=False)
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["more", 0, 0]]}
    model = {"class_name": "Model", "config": {"name": "model", "layers": layers, **ends}}
    if sequential:
        bare = [{key: each[key] for key in ("class_name", "config")} for each in layers]
        model = {"class_name": "Sequential", "config": bare}
    kernels = whole(3, 3, 5, 3), whole(3, 3, 2, 5, seed=1)
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(model).encode()
        file.attrs["keras_version"] = b"2.8.0"
        for name, kernel in zip(("up", "more"), kernels, strict=True):
            group = file.create_group(f"model_weights/{name}/{name}")
            group["kernel:0"] = kernel
            group["bias:0"] = whole(kernel.shape[2], seed=2)
    inventory = inventory_of(tmp_path / "model.h5")
    first, second = inventory.layers
    np.testing.assert_array_equal(first.weight.read(), kernels[0])
    np.testing.assert_array_equal(second.weight.read(), kernels[1])
    assert (first.input_shape, first.output_shape) == (("batch", 4, 4, 3), ("batch", 8, 8, 5))
    assert (second.input_shape, second.output_shape) == (("batch", 8, 8, 5), ("batch", 16, 16, 2))
    assert (first.activation, second.bias, inventory.producer) == ("relu", None, "Keras 2.8.0")
    assert [each.op for each in second.before] == ["LeakyReLU", "Conv2DTranspose", "Reshape"]
    assert inventory.limitations == ()


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float16", "mixed_bfloat16"])
def test_policies(tmp_path, policy):
    model = keras.Sequential([keras.Input((4, 4, 3)), L.Conv2DTranspose(5, 3, strides=2, dtype=policy)])
    (layer,) = inventory_of(saved(model, tmp_path)).layers
    assert layer.dtype == policy.removeprefix("mixed_")
    assert layer.weight.dtype == ("float32" if policy.startswith("mixed") else policy)
    np.testing.assert_array_equal(layer.weight.read(), numpy_of(model.layers[0].kernel).astype("f4"))


@pytest.mark.parametrize("words", [{"padding": "same"}, {}, {"dilation_rate": 2, "padding": "same"}, {"groups": 3}])
def test_depth_to_space(tmp_path, words):
    given = keras.Input((7, 6, 3))
    y = keras.ops.depth_to_space(L.Conv2D(12, 3, use_bias=False, name="conv", **words)(given), 2)
    model = keras.Model(given, L.ReLU()(y))
    (layer,) = inventory_of(saved(model, tmp_path)).layers
    x = whole(1, 7, 6, 3)
    made = computed(layer, x)
    np.testing.assert_array_equal(np.maximum(made, 0), numpy_of(model(x)))
    assert layer.form == "convolution and depth to space"
    assert layer.output_shape == ("batch", 3, *made.shape[1:3])
    assert [each.op for each in layer.after] == ["ReLU"]


@keras.saving.register_keras_serializable(package="test")
class Decoder(L.Layer):
    def __init__(self, up, **words):
        super().__init__(**words)
        self.up = up
        self.more = [L.Conv2DTranspose(3, 2, name="hidden")]

    def call(self, x):
        return self.more[0](self.up(x))

    def get_config(self):
        return {**super().get_config(), "up": keras.saving.serialize_keras_object(self.up)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("up")), **config)


def test_layers_within_a_class_of_the_user(tmp_path):
    decoder = Decoder(L.Conv2DTranspose(4, 3, strides=2, name="up"), name="decoder")
    model = keras.Sequential([keras.Input((5, 4, 3)), L.Conv2DTranspose(3, 1, name="first"), decoder])
    inventory = inventory_of(saved(model, tmp_path))
    first, up = inventory.layers
    np.testing.assert_array_equal(up.weight.read(), numpy_of(decoder.up.kernel))
    np.testing.assert_array_equal(first.weight.read(), numpy_of(model.layers[0].kernel))
    assert up.place == "decoder/up"
    assert "which is not loaded: Decoder" in inventory.limitations[0]
    assert "layers/decoder/more/conv2d_transpose" in inventory.limitations[1]


@keras.saving.register_keras_serializable(package="test")
class Unknown(L.Layer):
    def call(self, x):
        return x


def test_no_code_of_the_file_is_run(tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    given = keras.Input((4, 4, 3))
    monkeypatch.setenv("MARKER", str(marker))
    writing = L.Lambda(
        lambda x: (__import__("pathlib").Path(__import__("os").environ["MARKER"]).write_text("x"), x)[1],
        output_shape=(4, 4, 3),
    )
    up = L.Conv2DTranspose(2, 2, strides=2, name="up")
    model = keras.Model(given, Unknown()(up(writing(given))))
    path = saved(model, tmp_path)
    marker.unlink(missing_ok=True)
    inventory = inventory_of(path)
    (layer,) = inventory.layers
    assert not marker.exists()
    np.testing.assert_array_equal(layer.weight.read(), numpy_of(up.kernel))
    assert [each.op for each in layer.before] == ["Lambda"]
    assert "function" not in layer.before[0].attributes
    assert "which is not loaded: Lambda, Unknown" in inventory.limitations[0]
    keras.saving.load_model(path, safe_mode=False)(whole(1, 4, 4, 3))
    assert marker.exists()


def test_keras_is_not_imported(tmp_path):
    path = saved(keras.Sequential([keras.Input((4, 4, 3)), L.Conv2DTranspose(2, 2)]), tmp_path)
    text = (
        "import sys; from tconv.models.inventory import inventory_of; (layer,) = inventory_of(sys.argv[1]).layers\n"
        "layer.weight.read(); print([name for name in ('keras', 'h5py', 'tensorflow', 'jax') if name in sys.modules])"
    )
    sources = os.path.dirname(os.path.dirname(tconv.__file__))
    environment = {**os.environ, "PYTHONPATH": sources}
    done = subprocess.run([sys.executable, "-c", text, path], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


# -- damaged and hostile files -----------------------------------------------------------------------------------


def small(folder):
    path = saved(keras.Sequential([keras.Input((4, 4, 3)), L.Conv2DTranspose(2, 2, name="up")]), folder)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive(path, members, **words):
    with zipfile.ZipFile(path, "w", **words) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def test_damaged_files_are_refused_or_read(tmp_path, monkeypatch):
    """The processes that open HDF5 files are replaced by calls in this one, where the file is only cut or emptied."""
    members = small(tmp_path)
    text, rng, read = members["config.json"].decode(), np.random.default_rng(0), 0
    values = ["null", "-1", "0", "1e999", "[]", "{}", '"x"', "99999999999999999999", "true", "[1,[2]]", '{"config":3}']
    path = tmp_path / "model.keras"
    for _ in range(250):
        changed = json.loads(text)
        for _ in range(rng.integers(1, 3)):
            places, node = [], changed
            stack = [changed]
            while stack:
                node = stack.pop()
                for key in node if isinstance(node, dict) else range(len(node)):
                    places.append((node, key))
                    if isinstance(node[key], (dict, list)):
                        stack.append(node[key])
            node, key = places[rng.integers(len(places))]
            node[key] = json.loads(values[rng.integers(len(values))])
        archive(path, {"config.json": json.dumps(changed)})
        try:
            inventory_of(path)
            read += 1
        except TconvError:
            continue
    assert read > 100


def test_damaged_weights_are_refused_or_read(tmp_path):
    members, rng = small(tmp_path), np.random.default_rng(0)
    path = tmp_path / "model.keras"
    for at in range(8):
        weights = bytearray(members["model.weights.h5"])
        if at % 4 == 0:
            weights = weights[: rng.integers(len(weights))]
        for _ in range(8):
            weights[rng.integers(len(weights))] = rng.integers(256)
        archive(path, {**members, "model.weights.h5": bytes(weights)})
        try:
            for layer in inventory_of(path).layers:
                if layer.weight is not None:
                    layer.weight.read()
        except TconvError:
            continue


def hdf5(change):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        change(file)
    return content.getvalue()


def test_weights_that_lead_elsewhere(tmp_path):
    members, path = small(tmp_path), tmp_path / "model.keras"
    np.arange(24, dtype="f4").tofile(tmp_path / "secret")

    def external(file):
        group = file.create_group("layers/conv2d_transpose/vars")
        group.create_dataset("0", (2, 2, 2, 3), "f4", external=[(str(tmp_path / "secret"), 0, 96)])

    def link(file):
        group = file.create_group("layers/conv2d_transpose/vars")
        group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")

    def circle(file):
        group = file.create_group("layers")
        group["layers"] = group

    def endless(file):
        group = file.create_group("layers/conv2d_transpose/vars")
        group.create_dataset("0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))

    for change, text in ((external, "another file"), (link, "not followed"), (circle, "leads back")):
        archive(path, {**members, "model.weights.h5": hdf5(change)})
        with pytest.raises(FileError, match=text):
            inventory_of(path)
    archive(path, {**members, "model.weights.h5": hdf5(endless)})
    (layer,) = inventory_of(path).layers
    assert layer.weight is None
    assert "was expected" in layer.limitations[0]


def test_compressed_weights(tmp_path):
    members, path = small(tmp_path), tmp_path / "model.keras"
    content = io.BytesIO(members["model.weights.h5"])
    with h5py.File(content, "r") as file:
        kernel = file["layers/conv2d_transpose/vars/0"][()]

    def zipped(file):
        group = file.create_group("layers/conv2d_transpose/vars")
        group.create_dataset("0", data=kernel, chunks=True, compression="gzip")

    archive(path, {**members, "model.weights.h5": hdf5(zipped)})
    (layer,) = inventory_of(path).layers
    np.testing.assert_array_equal(layer.weight.read(), kernel)
    archive(path, members, compression=zipfile.ZIP_DEFLATED)
    inventory = inventory_of(path)
    assert inventory.layers[0].weight is None
    assert "is compressed in the archive" in inventory.limitations[0]


def test_archives_that_are_none(tmp_path):
    path = tmp_path / "model.keras"
    bomb = b'{"a": "' + b" " * (65 << 20) + b'"}'
    deep = b'{"class_name": "Sequential", "config": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for content, text in ((bomb, "has more than"), (deep, "no JSON"), (b"[1]", "not an object"), (b"{", "no JSON")):
        archive(path, {"config.json": content}, compression=zipfile.ZIP_DEFLATED)
        with pytest.raises(FileError, match=text):
            inventory_of(path)
    nested = '{"class_name": "Sequential", "config": {"layers": ['
    archive(path, {"config.json": nested * 60 + "]}}" * 60})
    with pytest.raises(FileError, match="nested too deeply"):
        inventory_of(path)
    archive(path, {"other": b""})
    with pytest.raises(FileError, match=r"it has no config\.json"):
        inventory_of(path)
    path.write_bytes(b"PK\3\4 and no more")
    with pytest.raises(FileError, match="its archive is damaged"):
        inventory_of(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(FileError, match="HDF5 file cannot be read"):
        inventory_of(path)
