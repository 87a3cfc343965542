"""Count of tiles that a scheduler gave to another worker because theirs was lost, kept in the scheduler."""

from __future__ import annotations

from typing import Any

from distributed import SchedulerPlugin


class RepeatCounter(SchedulerPlugin):  # type: ignore[misc]
    """Counter of the tasks of one job, by the first part of their keys, that leave a worker without a result."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.name, self.count = prefix, f"{prefix}-repeats", 0

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Count a task whose worker is gone."""
        if start == "processing" and finish in ("released", "waiting") and type(key) is tuple and key[0] == self.prefix:
            self.count += 1


def repeats(name: str, dask_scheduler: Any = None) -> int:
    """Return the count of a counter of this scheduler."""
    return int(dask_scheduler.plugins[name].count)
