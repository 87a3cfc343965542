#!/usr/bin/env bash
# pyvips 3.2.0 with pyvips-binary 8.18.7 (libvips 8.18.7); files checked byte by byte
#
# An image made from memory is written to PNG with a pHYs chunk of 1000 pixels per metre, which is 25.4 dpi. No caller
# set a resolution.
#
# Why a good guess is wrong: other writers of PNG leave the chunk out when there is no resolution. libvips has no such
# state: xres is 1 pixel per mm from the start, and the writer stores it like one that was set. Programs that lay out by
# resolution then place the picture at about three times its size at 72 dpi. keep="none" does not remove the chunk.
#
# Instead: set the resolution, in pixels per mm: image.copy(xres=72 / 25.4, yres=72 / 25.4).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import struct

import numpy as np
import pyvips


def chunks(data):
    """Return the chunks of a PNG file by name."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, found = 8, {}
    while place < len(data):
        size, name = struct.unpack(">I4s", data[place : place + 8])
        found[name] = data[place + 8 : place + 8 + size]
        place += 12 + size
    return found


image = pyvips.Image.new_from_array(np.zeros((4, 6, 3), "uint8"))
for title, data in (
    ("as made", image.pngsave_buffer()),
    ('keep="none"', image.pngsave_buffer(keep="none")),
    ("72 dpi set", image.copy(xres=72 / 25.4, yres=72 / 25.4).pngsave_buffer()),
):
    x, y, unit = struct.unpack(">IIB", chunks(data)[b"pHYs"])
    print(f"{title}: pHYs {x} x {y} per metre, {x * 0.0254:.1f} dpi")
    assert unit == 1
    assert x == y == (2835 if "72" in title else 1000)
END
