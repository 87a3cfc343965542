"""What the training examples say in a line instead of a traceback; imported first, before anything can be missing."""

from __future__ import annotations

import multiprocessing
import sys

PACKAGES = {"PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn"}
PACKAGES |= {name: name for name in ("filelock", "jax", "keras", "matplotlib", "numpy", "rich", "safetensors", "scipy")}
PACKAGES |= {name: name for name in ("tconv", "tensorflow", "torch")}
"""Modules that the examples need beside Python's own, and the packages that have them."""


def say(kind, error, trace):
    """Say how to go on after Ctrl-C, with exit code 130, and what to install if a module is missing; Python's hook."""
    if issubclass(kind, KeyboardInterrupt):
        if multiprocessing.parent_process() is None:
            print("stopped; the same command goes on", file=sys.stderr)
        raise SystemExit(130)
    missing = PACKAGES.get((error.name or "").partition(".")[0]) if isinstance(error, ModuleNotFoundError) else None
    if missing is None:
        return sys.__excepthook__(kind, error, trace)
    raise SystemExit(f'{missing} is missing. Write: pip install ".[test]"')


sys.excepthook = say
