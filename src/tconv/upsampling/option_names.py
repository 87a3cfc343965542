"""Names of options in error messages: arguments of a Python call, or options of the command line.

Functions that both `tconv.upsample` and the command use take a `Naming`, so that a message names what its reader wrote.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Naming(NamedTuple):
    """Spelling of option names and of example values.

    >>> PYTHON.name("kernel"), PYTHON.example("kernel", "bicubic"), PYTHON.example("scale", 2)
    ('kernel', 'kernel="bicubic"', 'scale=2')
    >>> COMMAND.name("kernel"), COMMAND.example("kernel", "bicubic"), COMMAND.example("scale", 2)
    ('--kernel', '--kernel bicubic', '--scale 2')
    >>> PYTHON.flag("overwrite"), COMMAND.flag("overwrite"), COMMAND.example("output", "a.png")
    ('overwrite=True', '--overwrite', '-o a.png')
    >>> PYTHON.name("value_range"), COMMAND.name("value_range")
    ('value_range', '--value-range')
    >>> PYTHON.off("alpha"), COMMAND.off("alpha")
    ('alpha=False', '--no-alpha')
    """

    prefix: str
    separator: str
    quote: str

    def name(self, option: str) -> str:
        """Return the option's name as the caller writes it."""
        if not self.prefix:
            return option
        return "-o" if option == "output" else f"{self.prefix}{option.replace('_', '-')}"

    def flag(self, option: str) -> str:
        """Return the text that switches an option on."""
        return self.name(option) if self.prefix else f"{option}=True"

    def off(self, option: str) -> str:
        """Return the text that switches an option off."""
        return self.name(f"no-{option}") if self.prefix else f"{option}=False"

    def example(self, option: str, value: Any) -> str:
        """Return the option with a value, as the caller writes both."""
        quote = "" if isinstance(value, int) else self.quote
        return f"{self.name(option)}{self.separator}{quote}{value}{quote}"


PYTHON = Naming("", "=", '"')
COMMAND = Naming("--", " ", "")
