"""Switches in the environment: variables that are 1 or 0."""

from __future__ import annotations

import os

from tconv.errors import ArgumentError


def reason_off(name: str, purpose: str) -> str | None:
    """Return the reason if this variable switches something off; None if it is on, as without the variable.

    `purpose` says what 0 does. Raises ArgumentError for another value.
    """
    given = os.environ.get(name) or "1"
    switch = given.strip().lower()
    if switch in ("0", "off", "false", "no"):
        return f"{name} is {given} in the environment"
    if switch not in ("1", "on", "true", "yes"):
        raise ArgumentError(f"{name} is {given!r}; 1, or 0 to {purpose}, is needed. Write {name}=1")
    return None
