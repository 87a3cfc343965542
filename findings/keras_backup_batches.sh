#!/usr/bin/env bash
# keras 3.15.1 with the backend of jax 0.10.2
#
# BackupAndRestore(save_freq=n), a backup every n batches, does not go on where it was. After one interruption the
# batches of the epoch up to the backup are trained on again, and after two all epochs are.
#
# Why a good guess is wrong: the weights and the optimizer of the backup are restored, and the file beside them says
# {"epoch": 2, "batch": 3}. But the batch is never read, so the epoch begins at its first batch, with weights that have
# seen it. And the callback counts epochs from 0 in every process until one has ended, so the next backup says epoch 0.
#
# Instead: save_freq="epoch", with data whose order depends on the epoch alone; or a counter of the optimizer's
# iterations, which are in the backup, in place of the epoch.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
export KERAS_BACKEND=jax
"$work/venv/bin/python" - "$work/backup" 2> "$work/log" <<'END' || { cat "$work/log"; exit 1; }
import json
import pathlib
import sys

import keras
import numpy as np

backup, epochs, batches = pathlib.Path(sys.argv[1]), 4, 10


class Stops(keras.callbacks.Callback):
    """Interrupts `fit` after so many batches, and notes where it begins."""

    def __init__(self, after):
        super().__init__()
        self.left, self.began = after, None

    def on_train_batch_begin(self, batch, logs=None):
        if self.began is None:
            self.began = [self.epoch, batch, int(self.model.optimizer.iterations)]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def run(save_freq, after):
    """Call `fit` as a new process would; return [epoch, batch, iterations] at its first batch, and at the end."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    stops = Stops(after)
    callbacks = [keras.callbacks.BackupAndRestore(backup, save_freq=save_freq), stops]
    data = np.ones((batches, 3), "f"), np.ones((batches, 1), "f")
    try:
        model.fit(*data, batch_size=1, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0)
    except KeyboardInterrupt:
        print("  stopped, backup", json.loads((backup / "training_metadata.json").read_text()))
    return stops.began, int(model.optimizer.iterations)


print("save_freq=4, stopped after 27 batches of 40, and after 6 more:")
(first, _), (second, _), (third, steps) = run(4, 27), run(4, 6), run(4, 0)
for began in (first, second, third):
    print("  begins at epoch {}, batch {}, with weights of {} steps".format(*began))
print("  steps in all:", steps)
assert (first, second, third) == ([0, 0, 0], [2, 0, 24], [0, 0, 28])
assert steps == 28 + epochs * batches  # 40 were asked for
print('save_freq="epoch":')
(_, _), (again, steps) = run("epoch", 27), run("epoch", 0)
print("  begins at epoch {}, batch {}, with weights of {} steps".format(*again))
assert again == [2, 0, 20]
assert steps == epochs * batches
END
