"""Pictures of installed packages and of unpacked Debian packages: where their files are, and what is in them."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image


@contextmanager
def opened(path):
    """Yield the picture of a file; SystemExit names the file if it is damaged."""
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, SyntaxError, ValueError, zlib.error) as error:  # what Pillow raises for damaged files
        raise SystemExit(f"{path} is no whole picture ({error}). Unpack its package again") from None


def read(path, factor=1.0):
    """Return the 8-bit RGB picture of a file, [H, W, 3], resized by `factor`."""
    with opened(path) as picture:
        picture = picture.convert("RGB")
        if factor != 1:
            size = [max(16, round(n * factor)) for n in picture.size]
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return np.asarray(picture)


def path_of(package, file, packages=None, folder=""):
    """Return the path of a picture: in a wheel, or in a Debian package unpacked below `packages`."""
    if package == "scikit-image":
        return Path(skimage.data.__file__).parent / file
    if package == "scikit-learn":
        import sklearn.datasets

        return Path(sklearn.datasets.__file__).parent / "images" / file
    path = Path(packages) / package / folder / file
    if not path.exists():
        line = f"apt-get download {package} && dpkg-deb -x {package}_*.deb {Path(packages) / package}"
        raise SystemExit(f"{path} does not exist; it comes from a Debian package. Write: {line}")
    return path
