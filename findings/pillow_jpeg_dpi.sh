#!/usr/bin/env bash
# Pillow 13.0.0
#
# The "dpi" of a JPEG whose resolution stands in EXIF is the horizontal number twice. For 600 by 300 it is (600, 600).
#
# Why a good guess is wrong: info["dpi"] is a pair, and of a JPEG with a JFIF density, a PNG or a TIFF its second entry
# is the vertical resolution. Cameras and libvips write the resolution into EXIF.
#
# Instead: read tags 0x011A and 0x011B, and the unit in 0x0128, from image.getexif().
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pillow==13.0.0
"$work/venv/bin/python" - <<'END'
import io

from PIL import Image


def stored(kind, **options):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind, **options)
    return Image.open(file)


exif = Image.Exif()
exif[0x011A], exif[0x011B], exif[0x0128] = 600.0, 300.0, 2  # horizontal, vertical, inches
image = stored("JPEG", exif=exif)
print("JPEG, EXIF:", image.info["dpi"], "tags:", image.getexif()[0x011A], image.getexif()[0x011B])
assert image.info["dpi"] == (600, 600)
assert (image.getexif()[0x011A], image.getexif()[0x011B], image.getexif()[0x0128]) == (600, 300, 2)
for kind in ("JPEG", "PNG", "TIFF"):
    x, y = stored(kind, dpi=(600, 300)).info["dpi"]
    print(f"{kind}, its own field:", (round(x), round(y)))
    assert (round(x), round(y)) == (600, 300)
END
