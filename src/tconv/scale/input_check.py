"""Comparison of the inputs of finished tiles with the journal's checksums, by reading them again."""

from __future__ import annotations

from tconv.errors import FileError
from tconv.scale.journal import StageState
from tconv.scale.tile_run import Stage, window_checksum


def check_inputs(stage: Stage, number: int, state: StageState) -> int:
    """Compare the inputs of all finished tiles, and return their number. Raises FileError if one differs."""
    checked = 0
    for place, tile in enumerate(stage.tiles(number)):
        if not state.done[place]:
            continue
        if window_checksum(stage, tile) != int(state.windows[place]):
            region = ", ".join(f"{span.start}:{span.stop}" for span in stage.operator.window(tile.outputs, stage.sizes))
            raise FileError(
                f"{stage.source.name} has changed since the job began: image {tile.image} at [{region}] has other "
                "values. Give the input back as it was, write to another name, or start anew with resume=False"
            )
        checked += 1
    return checked
