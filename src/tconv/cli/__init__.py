"""The command line `tconv`: parsing, error messages and exit codes.

Each command is imported when it is called, so that all start fast.
"""

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
    "upsample": ("tconv.cli.upsample:run", "Make pictures or feature maps larger."),
    "explain": (
        "tconv.cli.explain:run",
        "Explain a transposed convolution, or a stack: sizes, overlap, a picture, latency.",
    ),
    "explore": ("tconv.cli.explore:run", "Open the explorer in the browser at your settings, or write its page."),
    "draw": (
        "tconv.cli.draw:run",
        "Draw a transposed convolution, still or moving, or the sizes of an encoder-decoder.",
    ),
    "diagnose": (
        "tconv.cli.diagnose:run",
        "Find out why two outputs differ: arrays, an ONNX model on two runtimes, two networks.",
    ),
    "check": (
        "tconv.cli.check:run",
        "Explain every transposed convolution in a model file, and what goes wrong where: traps, targets.",
    ),
    "rewrite": (
        "tconv.cli.rewrite:run",
        "Replace transposed convolutions of an ONNX model, exactly, for a runtime that lacks or restricts them.",
    ),
    "bench": ("tconv.cli.bench:run", "Time tconv and its peers on the layers of real networks; the losses first."),
    "env": ("tconv.cli.env:run", "Show what is installed, what this machine has, and why something is missing."),
}


def app(arguments: Sequence[str] = ()) -> Any:
    """Return the cyclopts application for a command line. Raises MissingExtraError without cyclopts."""
    try:
        from cyclopts import App
    except ImportError:
        raise MissingExtraError("the command line", "cyclopts", "cli") from None
    application = App(
        name="tconv",
        help="The transposed convolution, done completely.",
        version=__version__,
        suppress_keyboard_interrupt=False,
        result_action="return_int_as_exit_code_else_zero",
    )
    for name, (function, summary) in _COMMANDS.items():
        # a help text here would also replace the command's own docstring
        application.command(function, name=name, help=None if name in arguments else summary)
    return application


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    >>> main(["upsample", "--scale", "0"])      # prints the reason on stderr
    1

    1 means an error that tconv explains, 2 a command line that it does not understand; 130 and 143 mean an interrupt
    and a termination, after which nothing half-written is left. TCONV_DEBUG=1 shows the traceback of an error.
    """
    with suppress(ValueError):  # only the main thread may set handlers
        signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may contain bytes that are not text
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # here, where a full disk can be explained
        return code
    except TconvError as error:
        if os.environ.get("TCONV_DEBUG") == "1":
            raise
        return _print_error(error, 1)
    except KeyboardInterrupt:
        return _print_error("interrupted; nothing half-written is left", 130)
    except MemoryError as error:
        return _print_error(f"out of memory ({error}); nothing half-written is left. Use smaller arrays", 1)
    except BrokenPipeError:  # `tconv explain | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is not None:  # the error is not about stdout
            raise
        from tconv.cli.console import stdout_refused

        return _print_error(stdout_refused(error), 1)


def _run(arguments: Sequence[str]) -> int:
    run = app(arguments)
    from cyclopts import CycloptsError

    try:
        code: int = run(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        if isinstance(error.__cause__, TconvError):  # an option's converter refused its value
            raise error.__cause__ from None
        if (extra := getattr(error, "unused_tokens", None)) and arguments and arguments[0] in ("check", "rewrite"):
            left = ", ".join(map(repr, extra))
            return _print_error(f"{left} is left over: tconv {arguments[0]} takes one model at a time", 2)
        return _print_error(f"{error} Write tconv --help, or tconv COMMAND --help", 2)
    return code


def _print_error(message: object, code: int) -> int:
    print(f"tconv: {message}", file=sys.stderr)
    return code


def _terminate(number: int, _: Any) -> None:
    raise SystemExit(128 + number)
