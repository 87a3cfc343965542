"""Layers of a Keras configuration: models within models, wrappers, and the calls of each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.keras_shapes import shape_after
from tconv.models.inventory.keras_weights import Container, KerasWeights, snake_case, unique_paths
from tconv.models.inventory.model_layer import Size, StoredArray
from tconv.models.inventory.operation_graph import Operation, OperationGraph

MODELS = ("Functional", "Sequential", "Model")
_DEEPEST, _MOST = 40, 200_000
_BATCHNORM = ("scale", "B", "mean", "var")


@dataclass(frozen=True, eq=False)
class KerasCall:
    """One call of a layer."""

    layer: Mapping[str, Any]
    place: str
    container: Container
    path: str
    """Path of its variables within the container."""
    x_shape: tuple[Size, ...] | None
    graph: OperationGraph | None = None
    x: str = ""
    """Value that it reads in the graph."""
    y: str = ""

    @property
    def name(self) -> str:
        """Name of the layer."""
        return name_of(self.layer)


def name_of(layer: Mapping[str, Any]) -> str:
    """Return the name of a layer."""
    return str(layer.get("name") or settings_of(layer).get("name") or "")


def settings_of(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the arguments of a layer; empty if there are none."""
    given = layer.get("config")
    return given if isinstance(given, Mapping) else {}


class KerasGraph:
    """All calls of layers in a configuration."""

    def __init__(self, config: Mapping[str, Any], weights: KerasWeights) -> None:
        self._weights, self._left = weights, _MOST
        self.operations: list[Operation] = []
        """Operations of all models within the model."""
        self._calls: list[KerasCall | None] = []
        self.outputs: list[str] = []
        """Names of the layers whose outputs are those of the whole model."""
        self.inputs: list[tuple[str, tuple[Size, ...] | None, str]] = []
        """Name, shape and type of the inputs of the whole model."""
        self.opaque: dict[str, int] = {}
        """Number of layers by class whose configuration tells no layers within them, though there may be some."""
        if layers_of(config) is None:
            self.opaque[str(config.get("class_name", "a class"))] = 1
            self._nested(settings_of(config), Container("", ""), "", name_of(config), 1)
        else:
            self._model(config, Container("", ""), "", 0)

    @property
    def calls(self) -> list[KerasCall]:
        """Calls of layers, in the order of the configuration."""
        return [call for call in self._calls if call is not None]

    def _spend(self, depth: int) -> None:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise FileError("its configuration is nested too deeply, or has too many entries")

    def _model(self, model: Mapping[str, Any], container: Container, place: str, depth: int) -> None:
        """Add the layers of a Functional or Sequential model."""
        self._spend(depth)
        layers = [layer for layer in layers_of(model) or [] if isinstance(layer, Mapping)]
        paths = unique_paths(layers)
        chained = not any("inbound_nodes" in layer for layer in layers)
        operations: list[Operation] = []
        waiting: list[tuple[Any, ...]] = []
        last, shapes = "", dict[str, tuple[Size, ...] | None]()
        for at, (layer, path) in enumerate(zip(layers, paths, strict=True)):
            self._spend(depth)
            name = name_of(layer)
            where = f"{place}/{name}" if place else f"layer {at} of {len(layers)}"
            if layer.get("class_name") == "InputLayer":
                given = settings_of(layer)
                last = f"{name}:0:0"
                shapes[last] = built = shape_of(given.get("batch_shape", given.get("batch_input_shape")))
                if depth == 0:
                    self.inputs.append((name, built, str(given.get("dtype", "float32"))))
                continue
            within = Container(f"{container.path}/layers/{path}".lstrip("/"), container.top or name)
            nodes = [([last] if last else [], None)] if chained else list(_nodes(layer))
            constants = self._constants(layer, container, path)
            for number, (sources, shape) in enumerate(nodes):
                y = f"{name}:{number}:0"
                operation = Operation(
                    str(layer.get("class_name", "")), name, tuple(sources), (y,), _plain(settings_of(layer)), constants
                )
                operations.append(operation)
                known = shape or _built_shape(layer) or (shapes.get(sources[0]) if sources else None)
                shapes[y] = shape_after(operation.op, settings_of(layer), known)
                call = f", call {number + 1}" if len(nodes) > 1 else ""
                waiting.append(
                    (len(self._calls), layer, f"{where}{call}", path, known, sources[0] if sources else "", y)
                )
                self._calls.append(None)  # in its place before the layers within it
                last = y
            if layers_of(layer) is not None:
                self._model(layer, within, f"{place}/{name}".lstrip("/"), depth + 1)
            else:
                self._nested(settings_of(layer), within, "", f"{place}/{name}".lstrip("/"), depth + 1)
                self._note_opaque(layer)
        ends = _outputs(model, last)
        graph = OperationGraph(operations, ends)
        self.operations += operations
        if depth == 0:
            self.outputs = [end.partition(":")[0] for end in ends if end]
        for at, layer, where, path, shape, x, y in waiting:
            self._calls[at] = KerasCall(layer, where, container, path, shape, graph, x, y)

    def _note_opaque(self, layer: Mapping[str, Any]) -> None:
        """Count a layer whose class is not Keras' own."""
        module = str(layer.get("module") or "")
        registered = str(layer.get("registered_name") or "")
        name = str(layer.get("class_name", ""))
        own = (
            module.startswith("keras") or registered.startswith("tconv>") or ("module" not in layer and not registered)
        )
        if not own or name == "Lambda":
            self.opaque[name] = self.opaque.get(name, 0) + 1

    def _nested(self, settings: Any, container: Container, path: str, place: str, depth: int) -> None:
        """Add the layers in the arguments of a layer: those of a wrapper, and those of classes that are not known."""
        self._spend(depth)
        entries: Iterator[tuple[Any, Any]]
        if isinstance(settings, Mapping):
            entries = iter(settings.items())
        elif isinstance(settings, list):
            entries = iter(enumerate(settings))
        else:
            return
        for key, value in entries:
            if not isinstance(value, (Mapping, list)):
                continue
            inner = path if isinstance(key, int) else f"{path}/{key}".lstrip("/")
            if isinstance(value, Mapping) and "class_name" in value and isinstance(value.get("config"), Mapping):
                if isinstance(key, int):
                    inner = f"{path}/{snake_case(str(value['class_name']))}".lstrip("/")
                if layers_of(value) is not None:
                    within = Container(f"{container.path}/{inner}".strip("/"), container.top)
                    self._model(value, within, f"{place}/{name_of(value)}".lstrip("/"), depth + 1)
                    continue
                name = name_of(value)
                if name:
                    where = f"{place}/{name}".lstrip("/")
                    self._calls.append(KerasCall(value, where, container, inner, _built_shape(value)))
                self._nested(value["config"], container, inner, place, depth + 1)
            else:
                self._nested(value, container, inner, place, depth + 1)

    def _constants(self, layer: Mapping[str, Any], container: Container, path: str) -> Mapping[str, StoredArray]:
        """Return the arrays of a BatchNormalization by their roles."""
        if layer.get("class_name") != "BatchNormalization":
            return {}
        settings = settings_of(layer)
        used = {"scale": settings.get("scale", True), "B": settings.get("center", True)}
        roles = [role for role in _BATCHNORM if used.get(role, True)]
        names = {"scale": "gamma", "B": "beta", "mean": "moving_mean", "var": "moving_variance"}
        found = self._weights.find(container, path, name_of(layer), tuple(names[role] for role in roles))
        return {role: found[names[role]] for role in roles if names[role] in found}


def layers_of(model: Mapping[str, Any]) -> list[Any] | None:
    """Return the layers of a Functional or Sequential model; None for any other layer."""
    if model.get("class_name") not in MODELS:
        return None
    given = model.get("config")
    layers = given.get("layers") if isinstance(given, Mapping) else given  # a list in files of Keras 2
    return layers if isinstance(layers, list) else None


def shape_of(given: Any) -> tuple[Size, ...] | None:
    """Return a shape; None where there is none. Sizes that vary are named."""
    if not isinstance(given, list) or not 0 < len(given) <= 8:
        return None
    if not all(size is None or (isinstance(size, int) and 0 <= size < 1 << 40) for size in given):
        return None
    return tuple(given)


def _built_shape(layer: Mapping[str, Any]) -> tuple[Size, ...] | None:
    built, settings = layer.get("build_config"), settings_of(layer)
    given = built.get("input_shape") if isinstance(built, Mapping) else None
    return shape_of(given or settings.get("batch_input_shape") or settings.get("build_input_shape"))


def _nodes(layer: Mapping[str, Any]) -> Iterator[tuple[list[str], tuple[Size, ...] | None]]:
    """Yield the sources of each call, and the shape of the first."""
    given = layer.get("inbound_nodes")
    for node in given if isinstance(given, list) else []:
        found: list[tuple[str, tuple[Size, ...] | None]] = []
        _tensors(node, found, 0)
        yield [value for value, _ in found], found[0][1] if found else None


def _tensors(node: Any, found: list[tuple[str, tuple[Size, ...] | None]], depth: int) -> None:
    """Collect the tensors in the arguments of a call, in the forms of Keras 3 and 2."""
    if depth > _DEEPEST:
        return
    if isinstance(node, Mapping):
        if node.get("class_name") == "__keras_tensor__":
            settings = settings_of(node)
            history = settings.get("keras_history")
            if isinstance(history, list) and len(history) == 3:
                found.append((":".join(map(str, history)), shape_of(settings.get("shape"))))
            return
        for value in node.values():
            _tensors(value, found, depth + 1)
    elif isinstance(node, list):
        if len(node) in (3, 4) and isinstance(node[0], str) and all(type(each) is int for each in node[1:3]):
            found.append((":".join(map(str, node[:3])), None))
            return
        for value in node:
            _tensors(value, found, depth + 1)


def _outputs(model: Mapping[str, Any], last: str) -> list[str]:
    found: list[tuple[str, tuple[Size, ...] | None]] = []
    _tensors(settings_of(model).get("output_layers"), found, 0)
    return [value for value, _ in found] or [last]


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers and texts among arguments; an activation as its name."""
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, (bool, int, float, str)) or value is None:
            kept[key] = value
        elif isinstance(value, list) and len(value) <= 16 and all(isinstance(each, (int, float)) for each in value):
            kept[key] = list(value)
        elif key == "activation":
            kept[key] = activation_of(value)
    return kept


def activation_of(given: Any) -> str:
    """Return the name of an activation; "" for none."""
    if isinstance(given, Mapping):
        inner = given.get("config")
        given = inner if isinstance(inner, str) else given.get("class_name", "an object")
    return "" if given in (None, "linear") else str(given)
