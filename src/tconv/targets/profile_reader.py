"""Reader of target profiles: one TOML file to a `Target`, every key checked, with the line of a mistake."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from tconv._arguments import shown
from tconv.errors import FileError
from tconv.targets.profile import DEFAULT_OPERATIONS, TRANSPOSED, Rule, Target
from tconv.targets.rule_reader import RuleError, layer_of, rule_of

LARGEST = 64 * 1024
"""Bytes of a profile at most."""
MOST_RULES = 200
MOST_DOTS = 100
"""Dots of a line at most: the time that TOML's reader needs for a key grows with the square of its parts."""

_KEYS = {
    "name": "a short name in lower case",
    "title": "the target's full name",
    "version": "the version of the target or document",
    "date": "the day on which its source was read",
    "sources": "a list of texts",
    "rule": "[[rule]] tables",
    "operations": "an [operations] table with has and lacks, two lists of names",
    "accepts": "an [accepts] table with a layer",
    "refuses": "a [refuses] table with a layer",
    "aliases": "a list of texts",
    "checked": "a text",
    "note": "a text",
}
"""Keys of a profile, and what each is."""

OPERATIONS = (TRANSPOSED, *DEFAULT_OPERATIONS)
"""Names that [operations] takes: all that a rewrite is written in."""

_NEEDED = ("name", "title", "version", "date", "sources")
_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")


def read_profile(path: str | Path) -> Target:
    """Return the target that a TOML file describes.

    Raises FileError, with the line or key, for a file that cannot be read or does not describe a target.
    """
    file = Path(path)
    return target_of(_text(file), str(file))


def _text(file: Path) -> str:
    """Return the text of a regular file of bounded size."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{file} is no file; a .toml file with a target's rules is needed. Choose a file")
        if status.st_size > LARGEST:
            raise FileError(
                f"{file} has {status.st_size} bytes; a target's rules have at most {LARGEST}. Choose another file"
            )
        with file.open("rb") as stream:
            return stream.read(LARGEST).decode()
    except UnicodeDecodeError as error:
        raise FileError(f"{file} is no text; a .toml file in UTF-8 is needed. Choose another file") from error
    except (OSError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(
            f"{file} cannot be read: {reason}. Write the path of a .toml file with a target's rules"
        ) from error


def target_of(text: str, source: str) -> Target:
    """Return the target that the text of a profile describes; `source` is the file's name for messages."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > MOST_DOTS:
            raise FileError(f"{source}: line {number}: it has more than {MOST_DOTS} dots. Write it in several lines")
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number with too many digits is a ValueError
        reason = "its lists are nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FileError(f"{source} is no TOML file: {reason}. docs/targets.md has an example") from error
    profile = _Profile(data, text, source)
    target = profile.target()
    profile.check_examples(target)
    return target


class _Profile:
    """Data of one file on its way to a target."""

    def __init__(self, data: Mapping[str, Any], text: str, source: str) -> None:
        self.data, self.text, self.source = data, text, source

    def fail(self, message: str) -> NoReturn:
        """Raise FileError with the file's name in front."""
        raise FileError(f"{self.source}: {message}")

    def target(self) -> Target:
        """Return the target."""
        self._check_keys()
        sources = self._texts("sources")
        name = self._text("name")
        if not _NAME.fullmatch(name):
            self.fail(f'name is {name[:80]!r}; lower-case letters, digits and - are needed. Write name = "my-chip"')
        if not sources:
            self.fail(
                "sources is empty; the document or code with the rules is needed."
                ' Write sources = ["My chip, data sheet 1.0"]'
            )
        return Target(
            name=name,
            title=self._text("title"),
            version=self._text("version"),
            date=self._date(),
            sources=sources,
            rules=self._rules(sources),
            aliases=self._texts("aliases"),
            checked=self._text("checked"),
            note=self._text("note"),
            operations=self._operations(),
            accepts=self._layer("accepts"),
            refuses=self._layer("refuses"),
            refused_by=self._refused_by(),
        )

    def check_examples(self, target: Target) -> None:
        """Refuse examples that the rules contradict: an accepted layer with limits, or limits that none breaks."""
        if target.accepts is not None and (limits := target.limits_against(target.accepts)):
            self.fail(
                f"[accepts] has a layer that rule {limits[0].key!r} refuses: {limits[0].text}. Write another layer"
            )
        if target.refuses is None:
            return
        broken = {limit.key: None for limit in target.limits_against(target.refuses)}
        if not broken:
            self.fail("[refuses] has a layer that no rule refuses. Write another layer, or the rule")
        for key in target.refused_by:
            if key not in broken:
                keys = ", ".join(f'"{name}"' for name in broken)
                self.fail(f"[refuses] limits has {key!r}, which does not refuse this layer. Write limits = [{keys}]")

    def _check_keys(self) -> None:
        """Refuse keys that do not exist, and a file without those that every profile has."""
        for key in self.data:
            if key not in _KEYS:
                self.fail(f"{key!r} is no key of a target{_hint(key, _KEYS)}")
        for key in _NEEDED:
            if key not in self.data:
                self.fail(f"{key} is missing; it is {_KEYS[key]}. Write {_EXAMPLES[key]}")

    def _text(self, key: str) -> str:
        """Return a text, "" if the key is absent."""
        value = self.data.get(key, "")
        if not isinstance(value, str):
            self.fail(f'{key} is {shown(value)}; it is {_KEYS[key]}. Write {key} = "..."')
        return value

    def _texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            self.fail(f'{key} is {shown(value)}; it is {_KEYS[key]}. Write {key} = ["...", "..."]')
        return tuple(value)

    def _date(self) -> str:
        """Return the date as text."""
        value = self.data["date"]
        try:
            return (value if type(value) is date else date.fromisoformat(value)).isoformat()
        except (TypeError, ValueError):
            self.fail(f"date is {shown(value)}; a day is needed. Write {_EXAMPLES['date']}")

    def _table(self, key: str) -> Mapping[str, Any] | None:
        """Return a table, or None if the key is absent."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, dict):
            self.fail(f"{key} is {shown(value)}; it is {_KEYS[key]}. Write [{key}]")
        return value

    def _rules(self, sources: Sequence[str]) -> tuple[Rule, ...]:
        """Return the rules, each with the line where it stands."""
        tables = self.data.get("rule", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self.fail(f"rule is {shown(tables)}; the rules are [[rule]] tables, one each. Write [[rule]]")
        if len(tables) > MOST_RULES:
            self.fail(f"there are {len(tables)} rules; at most {MOST_RULES} are read")
        lines = [
            line for line, text in enumerate(self.text.splitlines(), 1) if re.match(r"\s*\[\[\s*rule\s*\]\]", text)
        ]
        rules: list[Rule] = []
        for number, table in enumerate(tables, 1):
            place = f"line {lines[number - 1]}" if len(lines) == len(tables) else f"rule {number}"
            try:
                rules.append(rule_of(table, sources))
            except RuleError as error:
                self.fail(f"{place}: {error}")
        return tuple(rules)

    def _operations(self) -> dict[str, bool]:
        """Return the operations that the target has or lacks."""
        table = self._table("operations") or {}
        operations: dict[str, bool] = {}
        for key, present in (("has", True), ("lacks", False)):
            names = table.get(key, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                self.fail(
                    f'[operations] {key} is {shown(names)}; a list of names is needed. Write {key} = ["conv", "slice"]'
                )
            for name in names:
                if name not in OPERATIONS:
                    self.fail(f"[operations] {key} has {name!r}, which is no operation{_hint(name, OPERATIONS)}")
                if operations.setdefault(name, present) != present:
                    self.fail(f"[operations] has and lacks both name {name!r}; write it in one")
        for key in table:
            if key not in ("has", "lacks"):
                self.fail(f"[operations] {key!r} is no key; has and lacks are lists of names")
        return operations

    def _layer(self, key: str) -> Any:
        """Return the layer of [accepts] or [refuses]."""
        table = self._table(key)
        if table is None:
            return None
        try:
            return layer_of({name: value for name, value in table.items() if name != "limits"})
        except RuleError as error:
            self.fail(f"[{key}]: {error}")

    def _refused_by(self) -> tuple[str, ...]:
        """Return the keys of the rules that refuse the layer of [refuses]."""
        limits = (self._table("refuses") or {}).get("limits", [])
        if not isinstance(limits, list) or not all(isinstance(key, str) for key in limits):
            self.fail(f'[refuses] limits is {shown(limits)}; the keys of rules are needed. Write limits = ["stride"]')
        return tuple(limits)


_EXAMPLES = {
    "name": 'name = "my-chip"',
    "title": 'title = "My chip, compiler 1.0"',
    "version": 'version = "1.0"',
    "date": "date = 2026-11-29",
    "sources": 'sources = ["My chip, data sheet 1.0, page 12"]',
}


def _hint(word: str, words: Collection[str]) -> str:
    """Return the advice for a word that does not exist."""
    import difflib  # for the message alone

    close = difflib.get_close_matches(word, words, 1)
    return f". Write {close[0]}" if close else f"; there are {', '.join(words) or 'none'}"
