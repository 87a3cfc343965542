"""Options of a network from a file: the range of its values and the order of its channels, where the file is silent."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from tconv._arguments import shown
from tconv.errors import ArgumentError
from tconv.models.image_model import ORDERS, Model
from tconv.upsampling.option_names import PYTHON, Naming

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+)"


class NetworkOptions(NamedTuple):
    """Numbers of black and white, and order of red, green and blue; None for what the file says, or the usual one."""

    value_range: tuple[float, float] | None = None
    order: str | None = None

    @property
    def given(self) -> list[str]:
        """Names of the options that were given."""
        values = {"value_range": self.value_range, "channel_order": self.order}
        return [name for name, value in values.items() if value is not None]

    def applied(self, model: Model, naming: Naming = PYTHON) -> Model:
        """Return the model with these options. Raises ArgumentError for an order of channels that it does not have."""
        if self.order is not None and model.network.channels[0] != 3:
            count = model.network.channels[0]
            raise ArgumentError(
                f"{naming.name('channel_order')} is {self.order}, and {model.name} reads {count} "
                f"channel{'s' * (count > 1)}. Leave it out"
            )
        return model.stated(self.value_range, self.order)


AS_STATED = NetworkOptions()
"""Options of a call without any: the file's, or the usual ones."""


def read_network_options(value_range: Any, channel_order: Any, naming: Naming = PYTHON) -> NetworkOptions:
    """Return the options of a call. Raises ArgumentError.

    >>> read_network_options("0..255", "bgr")
    NetworkOptions(value_range=(0.0, 255.0), order='BGR')
    """
    return NetworkOptions(_range(value_range, naming), _order(channel_order, naming))


def _range(value: Any, naming: Naming) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers: Any = value
    if isinstance(value, str):
        found = re.fullmatch(rf"{_NUMBER}\s*(?:\.\.|,|:)\s*{_NUMBER}", value.strip())
        numbers = found.groups() if found else ()
    try:
        low, high = map(float, numbers)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        text = value if isinstance(value, str) and naming.prefix else shown(value)
        example = naming.example("value_range", "0..255") if naming.prefix else "value_range=(0, 255)"
        raise ArgumentError(
            f"{naming.name('value_range')} is {text or 'empty'}; the network's numbers for black and for white are "
            f"needed, the lower first: 0..1, 0..255 or -1..1 are usual. Write {example}"
        )
    return low, high


def _order(value: Any, naming: Naming) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value.upper() not in ORDERS:
        text = value if isinstance(value, str) and naming.prefix else shown(value)
        raise ArgumentError(
            f"{naming.name('channel_order')} is {text or 'empty'}; rgb or bgr is needed. Write "
            f"{naming.example('channel_order', 'bgr')}"
        )
    return value.upper()
