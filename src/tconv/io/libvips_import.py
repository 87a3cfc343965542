"""Import of libvips through pyvips (the extra `cli`), and its error messages.

libvips reads and writes pictures in pieces, keeps 16 bits, expands palettes and knows CMYK.
"""

from __future__ import annotations

import os
from typing import Any

from tconv.errors import MissingExtraError

SAMPLE_FORMATS = {"u1": "uchar", "i1": "char", "u2": "ushort", "i2": "short", "u4": "uint", "i4": "int", "f4": "float"}
"""Names that libvips gives to NumPy's element types."""


def pyvips() -> Any:
    """Return the module pyvips. Raises MissingExtraError if it, or its library, is not installed."""
    os.environ.setdefault("VIPS_WARNING", "1")  # no warnings on stderr; errors are raised all the same
    try:
        import pyvips
    except (ImportError, OSError):  # OSError: the package is there and its library is not
        raise MissingExtraError("reading and writing pictures", "pyvips", "cli") from None
    # pyvips would run Python in a callback for each of libvips's messages, where an interrupt is swallowed
    if remove := getattr(pyvips, "_remove_log_handler", None):
        remove()
    return pyvips


def reason(error: Any) -> str:
    """Return the message of a libvips error in one line, without the names of its functions."""
    lines = [line.strip() for line in str(error.detail or error.message).splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2] if lines else "no reason given"
