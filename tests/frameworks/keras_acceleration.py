"""Tests of `tconv.keras.accelerate`, for every backend: `test_keras_accelerate_*.py` run them in a process each."""

from __future__ import annotations

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

if os.environ["KERAS_BACKEND"] == "jax":
    import xla  # noqa: F401  (sets the flags that compile quickly, before JAX starts)

import keras
import numpy as np
import pytest

import tconv.keras as ours
from tconv.acceleration.layer_choice import Choice, choose
from tconv.acceleration.paired_timing import Estimate
from tconv.errors import ArgumentError, GeometryError
from tconv.keras import backend_call, model_acceleration
from tconv.keras.layer_calls import is_installed

layers = keras.layers
BACKEND = keras.config.backend()
assert os.environ["KERAS_BACKEND"] == BACKEND  # else another file of this process has imported Keras before


@pytest.fixture(autouse=True)
def all_stay(monkeypatch):
    """No layer is left to Keras because the machine was busy, and nothing is timed for long."""

    def stay(prepare, run, sides, clocked, reasons, leave, pairs=None):
        prepare()
        return Choice(pairs, {}, Estimate(1.5, 1.4, 1.6))

    monkeypatch.setattr(model_acceleration, "choose", stay)
    monkeypatch.setattr(model_acceleration, "_SECONDS", 0.01)


@keras.saving.register_keras_serializable("tests")
class Doubled(layers.Conv2DTranspose):
    def call(self, inputs):
        return 2 * super().call(inputs)


@keras.saving.register_keras_serializable("tests")
class Named(layers.Conv2DTranspose):
    """A subclass without a call of its own."""


class Decoder(keras.Model):
    """A subclassed model with layers in a list and in a nested model."""

    def __init__(self):
        super().__init__()
        self.blocks = [layers.Conv2DTranspose(6, 4, 2, "same", name="up") for _ in range(2)]
        self.head = keras.Sequential([layers.Conv2DTranspose(2, 5, 2, "same", activation="tanh")], name="head")

    def call(self, x):
        for block in self.blocks:
            x = keras.ops.relu(block(x))
        return self.head(x)


def network():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [Named(5, 3, 2, "same", use_bias=False, name="named"), layers.BatchNormalization()], name="inner"
    )
    given = keras.Input((6, 6, 4))
    shared = layers.Conv2DTranspose(4, 3, padding="same", activation="relu", name="shared")
    y = inner(shared(shared(given)))
    y = layers.Dropout(0.1)(y)
    y = Doubled(3, 2, 2, name="doubled")(y)
    return keras.Model(given, ours.Conv2DTranspose(1, 3, output_padding=2, name="own")(y))


@pytest.fixture
def x():
    return np.random.default_rng(0).standard_normal((2, 6, 6, 4), np.float32)


def predicted(model, x):
    return model.predict(x, verbose=0)


def close(a, b):
    a, b = (each if isinstance(each, np.ndarray) else keras.ops.convert_to_numpy(each) for each in (a, b))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("measured", [False, True])
def test_the_same_model_afterwards(x, measured):
    model = network()
    before, config, weights = predicted(model, x), model.get_config(), [id(each) for each in model.weights]
    report = ours.accelerate(model, x if measured else None)
    assert [layer.name for layer in report.layers] == ["shared", "inner/named"]
    assert dict(report.left) == {"doubled": "Doubled has a call of its own", "own": "it is tconv's already"}
    assert model.get_config() == config
    assert [id(each) for each in model.weights] == weights
    assert type(model.get_layer("shared")) is layers.Conv2DTranspose
    close(predicted(model, x), before)
    close(model(x), before)
    text = str(report)
    assert ("1.50x is expected (95%: 1.40 to 1.60)" in text) == measured
    assert ours.restore(model) == 2
    assert ours.restore(model) == 0
    close(predicted(model, x), before)


def test_programs_are_compiled_anew(x, monkeypatch):
    model, calls = network(), []
    model.compile("sgd", "mse")
    y = predicted(model, x)
    model.fit(x, y, verbose=0)
    ours.accelerate(model)
    run = backend_call.call
    monkeypatch.setattr(backend_call, "call", lambda layer, inputs: calls.append(layer.name) or run(layer, inputs))
    predicted(model, x)
    assert {"shared", "named"} <= {name.rstrip("_0123456789") for name in calls}
    calls.clear()
    model.train_on_batch(x, y)
    assert {"shared", "named"} <= {name.rstrip("_0123456789") for name in calls}
    ours.restore(model)
    calls.clear()
    model.train_on_batch(x, y)
    assert not {"shared"} & set(calls)


def test_training_continues_as_with_keras(x):
    models = [network(), network()]
    models[1].set_weights(models[0].get_weights())
    y = np.zeros_like(predicted(models[0], x))
    for model, ours_too in zip(models, (False, True), strict=True):
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
        for layer in model.layers:
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0
        model.fit(x, y, verbose=0, shuffle=False)
        if ours_too:
            ours.accelerate(model)
        model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    for stock, mine in zip(*(model.get_weights() for model in models), strict=True):
        close(mine, stock)


def test_subclassed_models_and_lists():
    model, x = Decoder(), np.ones((1, 3, 3, 2), np.float32)
    before = predicted(model, x)
    report = ours.accelerate(model, x)
    assert [layer.name for layer in report.layers] == ["up", "up (2)", "head/conv2d_transpose"] or len(
        report.layers
    ) == 3
    close(predicted(model, x), before)
    assert ours.restore(model) == 3


def test_wrappers():
    model = keras.Sequential(
        [keras.Input((3, 4, 4, 2)), layers.TimeDistributed(layers.Conv2DTranspose(3, 4, 2, "same"))]
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4, 2), np.float32)
    before = predicted(model, x)
    assert [layer.kind for layer in ours.accelerate(model, x).layers] == ["Conv2DTranspose"]
    close(predicted(model, x), before)


def test_files_and_copies_are_those_of_keras(x, tmp_path):
    model = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2DTranspose(3, 4, 2, "same", activation="relu")])
    want = predicted(model, x)
    ours.accelerate(model)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", want)
    code = (
        "import sys; sys.modules['tconv'] = None\n"
        "import keras, numpy as np\n"
        f"model = keras.models.load_model({str(tmp_path / 'model.keras')!r})\n"
        f"x, y = (np.load({str(tmp_path)!r} + '/' + name + '.npy') for name in 'xy')\n"
        "assert np.allclose(model.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": BACKEND}, timeout=300)
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not any(map(is_installed, made.layers))
        close(predicted(made, x), want)
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    close(predicted(twin, x), want)
    assert is_installed(model.layers[0])


LOADED = """
import sys; sys.modules["tconv"] = None
import numpy as np, tensorflow as tf
folder = sys.argv[1]
model = tf.saved_model.load(folder + "/model")
y = model.serve(np.load(folder + "/x.npy"))
np.testing.assert_allclose(y, np.load(folder + "/y.npy"), rtol=1e-4, atol=1e-5)
"""


@pytest.mark.skipif(BACKEND == "torch", reason="Keras 3.15 writes no SavedModel with PyTorch 2.13, accelerated or not")
def test_exports_have_standard_operators(x, tmp_path):
    pytest.importorskip("tensorflow")  # which Keras writes the file with
    model = keras.Sequential([keras.Input((6, 6, 4), batch_size=2), layers.Conv2DTranspose(3, 4, 2, "same")])
    want = predicted(model, x)
    ours.accelerate(model)
    model.export(tmp_path / "model", verbose=False)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", want)
    done = subprocess.run([sys.executable, "-c", LOADED, str(tmp_path)], timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert is_installed(model.layers[0])


def test_layers_that_do_not_pay_are_left(x, monkeypatch):
    def leave_all(prepare, run, sides, clocked, reasons, leave, pairs=None):
        for name in clocked:
            sides.remove(clocked[name][0])
            leave(name)
        return Choice(pairs, dict.fromkeys(clocked, "it is slow"), Estimate(1.0, 1.0, 1.0))

    model = network()
    monkeypatch.setattr(model_acceleration, "choose", leave_all)
    report = ours.accelerate(model, x)
    assert dict(report.left)["shared"] == "it is slow"
    assert [layer.method for layer in report.layers] == ["keras", "keras"]
    assert "all are left to Keras, and 1.00x is expected" in str(report)
    assert "; Keras' operator: measured" in str(report)
    assert ours.restore(model) == 0


def test_the_real_choice_runs(x, monkeypatch):
    monkeypatch.setattr(model_acceleration, "choose", choose)
    monkeypatch.setattr("tconv.acceleration.layer_choice._MODEL_SECONDS", 0.05)
    model = network()
    before = predicted(model, x)
    report = ours.accelerate(model, x)
    assert {layer.method for layer in report.layers} <= {"tconv", "keras"}
    assert ours.restore(model) == sum(layer.method == "tconv" for layer in report.layers)
    close(predicted(model, x), before)


def test_a_model_that_raises_stays_as_it_was(x):
    model = network()
    with pytest.raises(ValueError, match="shape"):
        ours.accelerate(model, x[..., :3])
    assert ours.restore(model) == 0
    ours.accelerate(model)
    with pytest.raises(ValueError, match="shape"):
        ours.accelerate(model, x[..., :3])
    assert ours.restore(model) == 2


@pytest.mark.parametrize("model", [None, 3, "model", layers.Dense, np.zeros(3)])
def test_what_is_no_model_is_refused(model):
    for call in (ours.accelerate, ours.restore):
        with pytest.raises(ArgumentError, match="a model or layer of Keras 3 is needed"):
            call(model)


def test_what_is_no_example_is_refused(x):
    with pytest.raises(ArgumentError, match=r"Write what model\.predict takes"):
        ours.accelerate(network(), object())
    with pytest.raises(ArgumentError, match=r"without an element.* np\.zeros\(\(1, "):
        ours.accelerate(network(), x[:0])
    with pytest.raises(ArgumentError, match=r"a shape; .* Write np\.zeros\(\(1, 4, 4, 8\)"):
        ours.accelerate(network(), (1, 4, 4, 8))
    with pytest.raises(ArgumentError, match=r"Write tconv\.keras\.restore\(model\)"):
        ours.restore(None)
    with pytest.raises(GeometryError, match=r"padding is 1; .* Write padding="):
        ours.Conv2DTranspose(4, 3, padding=1)


def test_a_report_does_not_contradict_itself():
    layer = ours.LayerReport("up", "Conv2DTranspose", (1, 4, 4, 8), 0.5, "tconv", (), 2.0)
    slow = layer._replace(name="slow", seconds=1.07)
    text = str(ours.Report((layer,), (), 1.0, gain=Estimate(2.1, 2.0, 2.2)))
    assert "timed alone, take 50% of this model; timed in it, 2.10x is expected" in text
    assert "at best" not in text
    text = str(ours.Report((slow,), (), 1.0, gain=Estimate(2.1, 2.0, 2.2)))
    assert "nearly all" in text
    assert " 100%; 2.00x" in text


def test_a_single_layer_and_a_model_without_any(x):
    layer = layers.Conv2DTranspose(3, 4, 2)
    want = layer(x)
    assert str(ours.accelerate(layer)).startswith("1 transposed convolution on tconv's kernel; not measured.")
    close(layer(x), want)
    assert str(ours.accelerate(keras.Sequential([layers.Dense(2)]))) == "there is no transposed convolution to replace"


def test_threads(x):
    model = network()
    want = np.asarray(keras.ops.convert_to_numpy(model(x)))
    ours.accelerate(model)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: keras.ops.convert_to_numpy(model(x)), range(24)):
            close(y, want)
