"""Weights of Keras' layers in its files, found by the paths and names under which Keras stores them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tconv.models.inventory.model_layer import StoredArray
from tconv.models.readers.hdf5 import Hdf5File


class Container(NamedTuple):
    """A model in a file: the layers within it have names that are unique there."""

    path: str
    """Path in the HDF5 file, "" for the whole model."""
    top: str
    """Name of the outermost layer that it is part of, "" for the whole model."""


def snake_case(name: str) -> str:
    """Return a class name as Keras writes it in paths: "conv2d_transpose" for "Conv2DTranspose"."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def unique_paths(layers: list[Mapping[str, Any]]) -> list[str]:
    """Return the names of layers in their model's path: by class, numbered as they come. Operations have none."""
    used: dict[str, int] = {}
    paths = []
    for layer in layers:
        name = snake_case(str(layer.get("class_name", "")))
        if str(layer.get("module", "")).startswith("keras.src.ops"):
            paths.append("")
            continue
        number = used[name] = used.get(name, -1) + 1
        paths.append(f"{name}_{number}" if number else name)
    return paths


class KerasWeights:
    """Variables of layers."""

    def __init__(self, file: Hdf5File | None, legacy: bool) -> None:
        self._file, self._legacy = file, legacy
        self._claimed: set[str] = set()
        self._by_name: dict[str, list[str]] = {}
        groups = {} if file is None else file.groups
        for path, attributes in groups.items():
            if legacy:
                self._by_name.setdefault(path.rpartition("/")[2], []).append(path)
            elif path.endswith("vars") and "name" in attributes:
                self._by_name.setdefault(attributes["name"], []).append(path.removesuffix("/vars"))

    def find(self, container: Container, path: str, name: str, roles: tuple[str, ...]) -> dict[str, StoredArray]:
        """Return the variables of a layer by their roles, those of Keras in the order in which it creates them.

        `path` is the layer's path within its container, `name` its name.
        """
        if self._file is None:
            return {}
        for group in self._groups(container, path, name):
            found = {}
            for at, role in enumerate(roles):
                keys = [f"{group}/{role}", f"{group}/{role}:0"] if self._legacy else [f"{group}/vars/{at}"]
                for key in keys:
                    if key in self._file.datasets:
                        found[role] = self._stored(key)
            if found:
                self._claimed.add(group)
                return found
        return {}

    def _groups(self, container: Container, path: str, name: str) -> Iterator[str]:
        """Yield the groups that may have a layer's variables, the likeliest first."""
        known = self._by_name.get(name, [])
        if self._legacy:
            top = f"model_weights/{container.top or name}/"
            yield from sorted((group for group in known if f"{group}/".startswith(top)), key=len, reverse=True)
            # a wrapper's variables have the wrapper's name in Keras 2
            yield from (group for group in self._by_name.get(container.top or name, []) if group.startswith(top))
            return
        prefix = f"{container.path}/" if container.path else ""
        inside = f"{prefix}layers/"
        named = [group for group in known if group.rpartition("/")[0] == inside.rstrip("/")]
        if len(named) == 1:
            yield named[0]
        yield f"{inside}{path}"
        yield f"{prefix}{path}"
        within = [group for group in known if group.startswith(prefix)]
        if len(within) == 1:
            yield within[0]

    def _stored(self, key: str) -> StoredArray:
        assert self._file is not None
        file, dataset = self._file, self._file.datasets[key]
        return StoredArray(
            dataset.shape, dataset.dtype, lambda: file.read(key), nbytes=dataset.nbytes, stored_dtype=dataset.dtype
        )

    def unclaimed(self) -> list[str]:
        """Return the groups of transposed convolutions, by the names of their classes, that no layer has taken."""
        if self._file is None or self._legacy:
            return []
        pattern = re.compile(r"conv[123]d_transpose(_\d+)?$")
        groups = [path.removesuffix("/vars") for path in self._file.groups if path.endswith("/vars")]
        return [group for group in groups if pattern.search(group) and group not in self._claimed]
