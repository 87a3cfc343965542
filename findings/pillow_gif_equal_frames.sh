#!/usr/bin/env bash
# pillow 13.0.0, also through matplotlib 3.11.2's PillowWriter: GIF and APNG with frames that repeat
#
# Of 20 frames in which the picture changes every fifth time, the file has 4. Frame 7 is not the seventh frame of the
# animation, and a reader that shows frames by number, or a test that counts them, sees another movie.
#
# Why a good guess is wrong: save(append_images=...) is given 20 images and writes without a warning, and one expects
# n_frames == 20. Equal neighbours become one frame with the sum of their times; the length in seconds is right.
#
# Instead: read by time (sum up info["duration"]), not by number.
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


def frames(path):
    with Image.open(path) as file:
        times = []
        for number in range(file.n_frames):
            file.seek(number)
            times.append(file.info["duration"])
    return times


values = [40 * (number // 5) for number in range(20)]
pictures = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in values]
pictures[0].save("alone.gif", save_all=True, append_images=pictures[1:], duration=100)
pictures[0].save("alone.png", save_all=True, append_images=pictures[1:], duration=100)

figure, axes = pyplot.subplots(figsize=(1, 1))
shown = axes.imshow(np.zeros((8, 8)), vmin=0, vmax=120)
movie = animation.FuncAnimation(figure, lambda i: shown.set_data(np.full((8, 8), values[i])), frames=20)
movie.save("movie.gif", writer=animation.PillowWriter(fps=10))

for path in ("alone.gif", "movie.gif", "alone.png"):
    times = frames(path)
    print(f"{path}: {len(times)} frames of 20, {sum(times) / 1000:.1f} s, the first lasts {times[0]:.0f} ms")
assert sum(frames("alone.gif")) == sum(frames("movie.gif")) == 2000
if [len(frames(path)) for path in ("alone.gif", "movie.gif", "alone.png")] != [4, 4, 4]:
    raise SystemExit("frames that repeat are kept now")
END
