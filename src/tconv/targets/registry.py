"""Registry of targets: the .toml files in profiles/, found by name, by alias, or a user's own file by its path."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from tconv._arguments import shown
from tconv.errors import TargetError
from tconv.targets.profile import Target
from tconv.targets.profile_reader import read_profile

_FOLDER = Path(__file__).parent / "profiles"


@cache
def target_names() -> tuple[str, ...]:
    """Return the names of all targets that tconv knows.

    >>> "ethos-u" in target_names()
    True
    """
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.toml")))


@cache
def _known(name: str) -> Target:
    """Return a target of the package."""
    return read_profile(_FOLDER / f"{name}.toml")


@cache
def _aliases() -> dict[str, str]:
    """Return the names by which targets are found, their own first."""
    aliases = {alias: name for name in target_names() for alias in _known(name).aliases}
    return aliases | {name: name for name in target_names()}


def target(name_or_path: str | os.PathLike[str]) -> Target:
    """Return the target of this name, or the one that a TOML file of this path describes.

    >>> from tconv.targets import target
    >>> target("Ethos-U").title
    'Arm Ethos-U55 and U65 (ExecuTorch)'
    >>> target("tflite").name
    'litert'

    Raises TargetError for a name that does not exist, and FileError for a file that describes no target.
    """
    if isinstance(name_or_path, os.PathLike):
        return read_profile(Path(name_or_path))
    if not isinstance(name_or_path, str):
        raise TargetError(f'target is {shown(name_or_path)}; a name is needed. Write target="ethos-u"')
    if name_or_path.lower().endswith(".toml") or any(sign in name_or_path for sign in {"/", os.sep}):
        return read_profile(Path(name_or_path))
    wanted = name_or_path.strip().lower().replace("_", "-").replace(" ", "-")
    names = {wanted} if wanted in target_names() else set()
    found = next(iter(names), None) or _aliases().get(wanted)
    if found is None:
        import difflib  # for the message alone

        close = difflib.get_close_matches(wanted[:80], _aliases(), 1)
        found = _aliases()[close[0]] if close else "ethos-u"
        raise TargetError(
            f"target is {shown(name_or_path)}; there are {', '.join(target_names())}."
            f" Write target={found!r}, or the path of your own .toml file"
        )
    return _known(found)
