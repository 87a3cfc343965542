#!/usr/bin/env bash
# pyvips 3.2.0 with pyvips-binary 8.18.7 (libvips 8.18.7); files checked byte by byte
#
# jpegsave writes no JFIF header: the resolution stands in EXIF alone. With keep="none", which drops EXIF, the
# resolution is lost, and libvips itself reads the file as 72 dpi. The same option leaves it in a PNG.
#
# Why a good guess is wrong: the density of a JPEG has its place in the JFIF header, which most writers write, and
# keep="none" is about metadata such as EXIF, XMP and colour profiles.
#
# Instead: keep the EXIF of files that need their resolution, or write the JFIF header with another encoder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pyvips==3.2.0 pyvips-binary==8.18.7 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import pyvips


def markers(data):
    """Return the segments of a JPEG file before its scan, as (marker, first bytes)."""
    place, found = 2, []
    while data[place + 1] != 0xDA:
        found.append((data[place + 1], data[place + 4 : place + 8]))
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return found


def dpi(data):
    return round(pyvips.Image.new_from_buffer(data, "").xres * 25.4, 1)


image = pyvips.Image.new_from_array(np.zeros((8, 8, 3), "uint8")).copy(xres=300 / 25.4, yres=300 / 25.4)
whole, bare, png = image.jpegsave_buffer(), image.jpegsave_buffer(keep="none"), image.pngsave_buffer(keep="none")
for title, data in (("jpegsave", whole), ('jpegsave, keep="none"', bare)):
    print(f"{title}: {[(hex(marker), first) for marker, first in markers(data)][:2]}, read as {dpi(data)} dpi")
    assert 0xE0 not in dict(markers(data))
    assert b"JFIF" not in data
assert dict(markers(whole))[0xE1] == b"Exif"
assert 0xE1 not in dict(markers(bare))
print('pngsave, keep="none": read as', dpi(png), "dpi")
assert (dpi(whole), dpi(bare), dpi(png)) == (300, 72, 300)
END
