#!/usr/bin/env bash
# matplotlib 3.11.2 with pillow 13.0.0: animation.save to GIF, frames per second
#
# A GIF of 60 frames per second plays 1.67 times as fast as asked for, one of 30 plays 1.11 times as fast.
#
# Why a good guess is wrong: save(fps=60) writes without a warning, and 60 / s is no unusual rate. GIF stores the time of
# a frame in hundredths of a second; PillowWriter passes whole milliseconds, which are rounded down twice: 16.7, 16, 10.
#
# Instead: rates that divide 100 (10, 20, 25, 50), or a format of movies for others.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet matplotlib==3.11.2 pillow==13.0.0 numpy==2.4.6
cd "$work"
MPLBACKEND=agg "$work/venv/bin/python" - <<'END'
import numpy as np
from matplotlib import animation, pyplot
from PIL import Image

COUNT = 20


def seconds(fps):
    figure, axes = pyplot.subplots(figsize=(1, 1))
    picture = axes.imshow(np.zeros((4, 4)), vmin=0, vmax=COUNT)
    movie = animation.FuncAnimation(figure, lambda i: picture.set_data(np.full((4, 4), i)), frames=COUNT)
    movie.save("movie.gif", writer=animation.PillowWriter(fps=fps))
    total = 0
    with Image.open("movie.gif") as file:
        assert file.n_frames == COUNT
        for number in range(COUNT):
            file.seek(number)
            total += file.info["duration"]
    return total / 1000


found = {fps: seconds(fps) for fps in (10, 25, 30, 50, 60)}
for fps, length in found.items():
    print(f"fps={fps}: {COUNT} frames last {length:.2f} s; asked for {COUNT / fps:.2f} s")
for fps in (10, 25, 50):
    assert found[fps] == COUNT / fps
if found[60] != 0.2 or found[30] != 0.6:
    raise SystemExit("the times of frames are others now")
END
