"""The errors of tconv. Every one is a `TconvError` and also the built-in kind that a caller would expect.

A message says three things: what was given, what was needed, and what to write instead.
"""

from __future__ import annotations


class TconvError(Exception):
    """Base of every error that tconv raises on purpose."""


class ShapeError(TconvError, ValueError):
    """Ranks, channels or sizes that do not fit together."""


class GeometryError(TconvError, ValueError):
    """A kernel, stride, dilation, crop or group count that describes no transposed convolution."""


class DialectError(TconvError, ValueError):
    """A dialect that does not exist, or something that a dialect's words cannot say."""


class MethodError(TconvError, ValueError):
    """A method that does not exist, or cannot run this problem."""


class OutputError(TconvError, ValueError):
    """An `out=` array that cannot take the result."""


class TooLargeError(TconvError, ValueError):
    """A problem whose predicted bytes exceed the machine's physical memory."""


class FileError(TconvError, ValueError):
    """A file that cannot be read as what it should be, or must not be overwritten."""


class CheckError(TconvError, ValueError):
    """A result that does not equal the definition: a fault of tconv's own, and nothing is written."""


class ArgumentError(TconvError, TypeError):
    """An argument that the call does not know, or of a type that it cannot take."""


class DtypeError(TconvError, TypeError):
    """Element types that are mixed or not supported."""


class ArrayError(TconvError, TypeError):
    """An array of a library, or in a state, that cannot be taken without losing something."""


class StaleError(TconvError, ValueError):
    """Numbers that are asked for after what they are made of was changed."""


class MissingExtraError(TconvError, ImportError):
    """A room that needs a package which is not installed; the message names the extra to install."""

    def __init__(self, wanted: str, package: str, extra: str) -> None:
        super().__init__(f'{wanted} needs {package}, which is not installed. Write: pip install "tconv[{extra}]"')
