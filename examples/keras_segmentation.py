"""Semantic segmentation in Keras, on any of its backends: what does the start of a transposed convolution decide?

The FCN of segmentation.py learns the same scenes of hand-cut photographs (cut_outs.py) for a shorter time, with each
way up once for each seed: a transposed convolution that begins as bilinear interpolation, one that begins as Keras
begins, and interpolation itself. Held-out cut-outs and photographs are looked at once, at the end. About 320 MB of
Debian packages are fetched once:

    pip install ".[test]"
    python examples/keras_segmentation.py                   # then open runs/keras-segmentation/page.html
    python examples/keras_segmentation.py --packages FOLDER # unpacked Debian packages, where there is no apt
    python examples/keras_segmentation.py --quick           # a tiny run; exit code 1 if nothing was learned
    KERAS_BACKEND=jax python examples/keras_segmentation.py -o runs/jax    # or tensorflow; without it torch

A run that was killed goes on at its last checkpoint with the numbers of one that was not.
"""

from __future__ import annotations

import functools
import io
import json
import os
import sys
import time
import zipfile
from pathlib import Path

if os.environ.setdefault("KERAS_BACKEND", "torch") not in ("torch", "jax", "tensorflow"):
    raise SystemExit(
        f"KERAS_BACKEND is {os.environ['KERAS_BACKEND']!r}; torch, jax and tensorflow can be used. "
        "Write KERAS_BACKEND=torch"
    )

import shared_parts.command_line  # noqa: F401  it has to be first
import keras
import numpy as np
from segmentation_parts import page
from segmentation_parts.scores import intersection_over_union, scores
from segmentation_parts.task import CLASSES, RECIPE, batch_of, class_weights, options_of, recipes_of, scenes_of
from shared_parts.report import Result, checksum, damaged, replacing, same_recipe
from shared_parts.side_by_side import spread, step_times

import tconv.keras

BACKEND = keras.backend.backend()
UPS = {"FCN": ["transposed", "default", "bilinear"]}
QUICK = {"output": Path("runs/keras-segmentation-quick"), "steps": 90, "seeds": 1, "scenes": 400, "size": 64}
QUICK |= {"batch": 16, "every": 45}

# -- the network -----------------------------------------------------------------------------------------------------


def block(channels, start, strides=1, dilation=1):
    """Return a 3x3 convolution of the same size, or a half with strides of 2, batch norm and ReLU."""
    layers, shape = keras.layers, {"strides": strides, "dilation_rate": dilation, "padding": "same"}
    conv = layers.Conv2D(channels, 3, **shape, use_bias=False, kernel_initializer=start)
    return [conv, layers.BatchNormalization(momentum=0.9, epsilon=1e-5), layers.ReLU()]


def network(recipe, layer=tconv.keras.Conv2DTranspose, channels=(24, 48, 96)):
    """Return the FCN of a recipe with its first weights: uint8 [N, H, W, 3] to scores of classes [N, H, W, classes].

    Scores of classes at an eighth of the size, and one layer up. Long, Shelhamer and Darrell (2015) start it as
    bilinear interpolation, with a kernel of twice the stride.

    layer: The class of the transposed convolution; Keras' own makes the same network without this package.
    """
    layers, (a, b, c) = keras.layers, channels
    start = keras.initializers.GlorotUniform(keras.random.SeedGenerator(recipe["seed"]))
    body = [*block(a, start, 2), *block(b, start, 2), *block(b, start), *block(c, start, 2)]
    body += [*block(c, start, dilation=2), *block(c, start, dilation=2)]
    body += [layers.Conv2D(len(CLASSES), 1, kernel_initializer=start)]
    if recipe["up"] == "bilinear":
        up = layers.UpSampling2D(8, interpolation="bilinear")
    else:
        start = tconv.keras.initializers.Bilinear(8) if recipe["up"] == "transposed" else start
        up = layer(len(CLASSES), 16, 8, "same", use_bias=False, kernel_initializer=start)
    image = keras.Input((None, None, 3), dtype="uint8")
    return compiled(keras.Sequential([image, layers.Rescaling(1 / 64, -118 / 64), *body, up]), recipe)


def compiled(net, recipe):
    """Return a network, ready for `fit`. The learning rate rises for a tenth of the steps, then falls like a cosine."""
    rise = recipe["steps"] // 10 + 1
    rates = {"warmup_target": recipe["rate"], "warmup_steps": rise}
    rate = keras.optimizers.schedules.CosineDecay(recipe["rate"] / rise, recipe["steps"] - rise, **rates)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), loss)
    return net


def predict(net, images):
    """Return the classes uint8 [N, H, W] of images uint8 [N, H, W, 3]."""
    return net.predict(images, batch_size=25, verbose=0).argmax(-1).astype(np.uint8)


# -- one run ---------------------------------------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """Images, labels and the weight of each pixel in the loss, of the steps from `first` on."""

    def __init__(self, recipe, images, labels, first=0):
        super().__init__()
        self.recipe, self.images, self.labels, self.first = recipe, images, labels, first
        self.weights = class_weights(labels)

    def __len__(self):
        return self.recipe["steps"] - self.first

    def __getitem__(self, index):
        images, labels = batch_of(self.recipe, self.first + index, self.images, self.labels)
        return images, labels, self.weights[labels]


class Checkpoint(keras.callbacks.Callback):
    """A file of all that training changes, written whole or not at all at the end of each epoch.

    Keras' BackupAndRestore keeps weights and epoch in two files, both written in place: killed between them, a run
    repeats an epoch, and a full disk leaves neither. It keeps no history and no recipe.
    """

    def __init__(self, path, recipe, measure=None, show=None):
        super().__init__()
        self.path, self.recipe, self.measure, self.show = path, json.loads(json.dumps(recipe)), measure, show
        self.history, self.seconds, self.began = [], 0.0, 0.0

    @property
    def done(self):
        """Steps up to the end of the last epoch."""
        return self.history[-1]["step"] if self.history else 0

    def read(self, net):
        """Load the file, if there is one, into a network and its optimiser; SystemExit says what is wrong with it."""
        net.optimizer.build(net.trainable_variables)
        if not self.path.exists():
            return
        try:
            with np.load(self.path) as file:
                about = dict(json.loads(str(file["about"])))
                arrays = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
            before, self.history, self.seconds = (about[name] for name in ("recipe", "history", "seconds"))
            same_recipe(f"{self.path} is of a run with", before, self.recipe)
            for variable, array in zip(everything(net), arrays, strict=True):
                variable.assign(array)
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise damaged(self.path, error) from None
        if self.show is not None:
            self.show("read", self.done, self.recipe["steps"])

    def on_epoch_begin(self, epoch, logs=None):
        """Begin to take the time."""
        self.began = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Show how far the run is."""
        self.show(f"loss {logs['loss']:.4f}", self.done + batch + 1, self.recipe["steps"])

    def on_epoch_end(self, epoch, logs=None):
        """Measure, and write the file."""
        self.seconds += time.monotonic() - self.began
        step, loss = int(self.model.optimizer.iterations), float(logs["loss"])
        self.history.append({"step": step, "loss": loss, "mean IoU": self.measure(self.model)})
        about = {"recipe": self.recipe, "history": self.history, "seconds": self.seconds}
        stream = io.BytesIO()
        np.savez(stream, *map(keras.ops.convert_to_numpy, everything(self.model)), about=json.dumps(about))
        with replacing(self.path) as part:
            part.write_bytes(stream.getvalue())


def everything(net):
    """Return weights, moving averages, and the moments and the count of steps of the optimiser, in a fixed order."""
    return [*net.variables, *net.optimizer.variables]


def train(recipe, folder, show, *, packages, cache):
    """Train a network to its end, and return its figures on the held-out scenes."""
    pools, net = scenes_of(recipe, packages, cache), network(recipe)
    watched, known = pools["validation"]

    def measure(net):
        return float(np.nanmean(intersection_over_union(known, predict(net, watched), len(CLASSES))))

    checkpoint, every = Checkpoint(path_of(recipe, folder), recipe, measure, show), recipe["every"]
    checkpoint.read(net)
    if checkpoint.done < recipe["steps"]:
        batches = Batches(recipe, *pools["training"], checkpoint.done)
        epochs = {"epochs": recipe["steps"] // every, "initial_epoch": checkpoint.done // every}
        net.fit(batches, steps_per_epoch=every, **epochs, shuffle=False, callbacks=[checkpoint], verbose=0)
    images, labels = pools["held-out"]
    found = scores(labels, predict(net, images), len(CLASSES))
    return {**found, "history": checkpoint.history, "seconds": checkpoint.seconds, "parameters": net.count_params()}


def path_of(recipe, folder):
    """Return the path of the checkpoint of a run."""
    return folder / f"{recipe['name'].replace(' ', '-')}.npz"


def trained(recipe, folder):
    """Return the trained network of a finished run."""
    net = network(recipe)
    Checkpoint(path_of(recipe, folder), recipe).read(net)
    return net


def set_threads(threads):
    """Let the backend compute with so many threads. TensorFlow and JAX have to be told before their first operation."""
    if BACKEND == "torch":
        import torch

        torch.set_num_threads(threads)
    elif BACKEND == "tensorflow":
        from tensorflow.config import threading

        if threading.get_intra_op_parallelism_threads() != threads:
            threading.set_intra_op_parallelism_threads(threads)
            threading.set_inter_op_parallelism_threads(threads)
    else:
        os.environ["NPROC"] = str(threads)  # as many as there are cores otherwise


def times_of(recipe, net, batch, rounds):
    """Return the times of a training step and of inference, with Keras' layer and with this package's.

    net: The trained network of the recipe.
    batch: Images, labels and weights of a step.
    """
    ours, theirs = network(recipe), network(recipe, keras.layers.Conv2DTranspose)
    steps = {"Keras": lambda: theirs.train_on_batch(*batch), "tconv": lambda: ours.train_on_batch(*batch)}
    step = step_times(steps, rounds)
    stock, faster = (network(recipe, keras.layers.Conv2DTranspose) for _ in range(2))
    for each in (stock, faster):
        each.set_weights(net.get_weights())
    images = batch[0]
    report = tconv.keras.accelerate(faster, images)
    passes = {"Keras": lambda: stock.predict_on_batch(images), "accelerated": lambda: faster.predict_on_batch(images)}
    difference = float(np.abs(stock.predict_on_batch(images) - faster.predict_on_batch(images)).max())
    about = {"shape": list(images.shape), "difference": difference, "report": str(report)}
    return {"training step": {**step, "scenes": len(images)}, "inference": {**step_times(passes, rounds), **about}}


def main(arguments=None):
    """Train all networks, compare them on the held-out scenes, and write the folder of results."""
    options = options_of(arguments, __doc__, "runs/keras-segmentation", 200, QUICK, every=50)
    if options.steps % options.every:
        raise SystemExit(
            f"--every {options.every} does not divide --steps {options.steps}. Write --every {options.steps}"
        )
    set_threads(options.threads)
    recipes = recipes_of(options, UPS, every=options.every, backend=BACKEND)
    about = {name: getattr(options, name) for name in ("seed", "seeds", "every", *RECIPE, "threads")}
    pools = scenes_of(recipes[0], options.packages, options.cache)
    about |= {"backend": BACKEND, "data": checksum(array for pool in pools.values() for array in pool)}
    result = Result(options.output, f"Semantic segmentation in Keras on {BACKEND}: ways up", about)
    function = functools.partial(train, packages=options.packages, cache=options.cache)
    prepare = functools.partial(set_threads, options.threads)
    results = spread(function, recipes, options.output, options.jobs, prepare)
    first = [recipe for recipe in recipes if recipe["seed"] == options.seed]
    nets = {recipe["up"]: (network(recipe), trained(recipe, options.output)) for recipe in first}
    rounds, batch = 5 if options.quick else 25, Batches(first[0], *pools["training"])[0]
    print("the times of a training step and of inference, in turns with Keras ...", flush=True)
    times = {"FCN": times_of(first[0], nets["transposed"][1], batch, rounds)}
    for found in times["FCN"].values():
        found["threads"] = options.threads
    images = page.some(pools["held-out"])[0]
    guesses = {("FCN", up): predict(net, images) for up, (_, net) in nets.items()}
    kernels = {
        up: [np.transpose(net.layers[-1].get_weights()[0], (3, 2, 0, 1)) for net in pair]
        for up, pair in nets.items()
        if up != "bilinear"
    }
    runs = list(zip(recipes, results, strict=True))
    best = page.write(result, runs, guesses, kernels, pools["held-out"], times, __doc__)
    return result.finish(page.shortfalls(best) if options.quick else [])


if __name__ == "__main__":
    sys.exit(main())
