"""Words of options for errors that Python callers get in arguments."""

from __future__ import annotations

import re

from tconv.errors import TargetError
from tconv.targets import Target
from tconv.targets import target as find_target


def target_of_option(name: str) -> Target:
    """Return the target of --target. Raises TargetError in the words of the command line, and FileError."""
    try:
        return find_target(name)
    except TargetError as error:
        words = re.sub(r"target='([^']*)', or the path", r"--target \1, or the path", str(error))
        raise TargetError(words.replace("target is ", "--target is ", 1)) from None
