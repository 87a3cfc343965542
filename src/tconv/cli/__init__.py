"""The command line, `tconv`: its commands are imported when they are called, so that each starts fast."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Any

from tconv import __version__
from tconv.errors import MissingExtraError, TconvError

_COMMANDS = {
    "upsample": ("tconv.cli.upsample:upsample", "Make a picture or feature maps larger."),
    "explain": ("tconv.cli.explain:run", "Explain one transposed convolution: sizes, formula, overlap, a picture."),
    "diagnose": (
        "tconv.cli.diagnose:run",
        "Say why two outputs differ: arrays, an ONNX model on two runtimes, two networks.",
    ),
    "bench": ("tconv.cli.bench:bench", "Time tconv and its peers on the layers of real networks; the losses first."),
    "env": ("tconv.cli.env:run", "Say what is installed, what this machine has, and why something is missing."),
}


def app(arguments: Sequence[str] = ()) -> Any:
    """The cyclopts application for a command line. Raises MissingExtraError without cyclopts."""
    try:
        from cyclopts import App
    except ImportError:
        raise MissingExtraError("the command line", "cyclopts", "cli") from None
    made = App(
        name="tconv",
        help="The transposed convolution, done completely.",
        version=__version__,
        suppress_keyboard_interrupt=False,
        result_action="return_int_as_exit_code_else_zero",
    )
    for name, (place, words) in _COMMANDS.items():
        # given here, help would also replace the command's own docstring
        made.command(place, name=name, help=None if name in arguments else words)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    >>> main(["upsample", "--scale", "0"])      # says why on stderr
    1

    1 is an error that tconv explains, 2 a command line that it does not understand; 130 and 143 are an interrupt and a
    termination, after which nothing half-written is left. TCONV_DEBUG=1 shows the traceback of an error.
    """
    with suppress(ValueError):  # in a thread that may not set handlers
        signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold bytes that are no text
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # here, where a full disk can be explained
        return code
    except TconvError as error:
        if os.environ.get("TCONV_DEBUG") == "1":
            raise
        return _say(error, 1)
    except KeyboardInterrupt:
        return _say("interrupted; nothing half-written is left", 130)
    except MemoryError as error:
        return _say(f"out of memory ({error}); nothing half-written is left. Write a smaller problem", 1)
    except BrokenPipeError:  # `tconv explain | head`: nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None:  # it is not about stdout
            raise
        from tconv.cli.console import stdout_refused

        return _say(stdout_refused(error), 1)


def _run(arguments: Sequence[str]) -> int:
    run = app(arguments)
    from cyclopts import CycloptsError

    try:
        code: int = run(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        if isinstance(error.__cause__, TconvError):  # a value that a command's own converter refused
            raise error.__cause__ from None
        return _say(f"{error} Write tconv --help, or tconv COMMAND --help", 2)
    return code


def _say(message: object, code: int) -> int:
    print(f"tconv: {message}", file=sys.stderr)
    return code


def _terminate(number: int, _: Any) -> None:
    raise SystemExit(128 + number)
