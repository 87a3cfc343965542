"""The errors of tconv. Every one is a `TconvError` and also the built-in kind that a caller would expect.

A message has three parts: what was given, what is needed, and what to write instead.
"""

from __future__ import annotations


class TconvError(Exception):
    """Base of every error that tconv raises on purpose.

    >>> import numpy as np, tconv
    >>> try:
    ...     tconv.conv_transpose(np.ones((1, 2, 5)), np.ones((3, 1, 4)))
    ... except tconv.TconvError as error:
    ...     print(type(error).__name__)
    ShapeError
    """


class ShapeError(TconvError, ValueError):
    """Ranks, channels or sizes that do not match."""


class GeometryError(TconvError, ValueError):
    """A kernel, stride, dilation, crop or group count that describes no transposed convolution."""


class DialectError(TconvError, ValueError):
    """A dialect that does not exist, or a geometry that its arguments cannot express."""


class TargetError(TconvError, ValueError):
    """A target that does not exist."""


class MethodError(TconvError, ValueError):
    """A method that does not exist, or cannot run this problem."""


class OutputError(TconvError, ValueError):
    """An `out=` array that cannot take the result."""


class TooLargeError(TconvError, ValueError):
    """A problem whose predicted bytes exceed the machine's physical memory."""


class FileError(TconvError, ValueError):
    """A file of another format than expected, or one that must not be overwritten."""


class ClusterError(TconvError, RuntimeError):
    """Workers or a scheduler that cannot be reached, were lost, or would not compute the bits of this machine."""


class CheckError(TconvError, ValueError):
    """A result that does not equal the definition, which is a fault of tconv. Nothing is written."""


class ContractError(TconvError, AssertionError):
    """A stream whose outputs in chunks are not those of the whole, or that does not keep what it states."""


class RewriteError(TconvError, ValueError):
    """A rewrite that is not exact, or not possible. Nothing is written."""


class StreamError(TconvError, ValueError):
    """A module whose output cannot be made from chunks of its input, with the reason."""


class ArgumentError(TconvError, TypeError):
    """An argument that the call does not have, or that has the wrong type."""


class DtypeError(TconvError, TypeError):
    """Element types that are mixed or not supported."""


class ArrayError(TconvError, TypeError):
    """An array of an unknown library, or one that would lose its gradient, mask or trace."""


class StaleError(TconvError, ValueError):
    """Numbers that are requested after the arrays from which they are computed were changed."""


class MissingExtraError(TconvError, ImportError):
    """A function that needs a package which is not installed; the message names the extra to install."""

    def __init__(self, wanted: str, package: str = "", extra: str = "") -> None:
        # the whole message alone: so pickle makes an error again, and so do those who say more in another's words
        message = f'{wanted} needs {package}, which is not installed. Write: pip install "tconv[{extra}]"'
        super().__init__(message if package else wanted)
