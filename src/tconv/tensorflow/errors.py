"""Errors of this face: tconv's words, and of both kinds that a caller may expect, tconv's and TensorFlow's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import tensorflow as tf

from tconv.errors import TconvError


@contextmanager
def tensorflow_errors() -> Iterator[None]:
    """Raise tconv's errors as errors that are `tf.errors.InvalidArgumentError`, too."""
    try:
        yield
    except TconvError as error:
        raise as_tensorflow_error(error) from None


def as_tensorflow_error(error: TconvError) -> TconvError:
    """Return an error of the same class and words that is also `tf.errors.InvalidArgumentError`."""
    both: TconvError = error
    if not isinstance(error, tf.errors.InvalidArgumentError):
        kind: Any = type(error)
        both = _both(kind)(None, None, str(error))
    return both


@cache
def _both(kind: Any) -> Any:
    """Return the class that derives from both. AutoGraph makes such an error anew, with these four arguments."""

    def initialize(self: Any, node_def: Any, op: Any, message: str, *args: Any) -> None:
        tf.errors.InvalidArgumentError.__init__(self, node_def, op, message, *args)

    methods = {"__init__": initialize, "__str__": lambda self: str(self.message)}
    return type(kind.__name__, (kind, tf.errors.InvalidArgumentError), methods)
