"""Comparison of what is there with the journal: outputs and inputs of finished tiles, and the input's identity."""

from __future__ import annotations

from dataclasses import replace

from tconv.errors import FileError
from tconv.scale.job_fingerprint import plain
from tconv.scale.journal import Journal, StageState
from tconv.scale.tile_run import Stage, Tile, checksum_of, window_checksum


def missing_tiles(stage: Stage, number: int, state: StageState) -> list[int]:
    """Return the numbers of tiles that are noted as done and are not there. No values are read."""
    return [
        place
        for place, tile in enumerate(stage.tiles(number))
        if state.done[place] and not stage.target.has(tile.image, tile.outputs)
    ]


def altered_tiles(stage: Stage, number: int, state: StageState) -> list[int]:
    """Return the numbers of tiles that are noted as done and have other values, or are not there."""

    def is_right(place: int, tile: Tile) -> bool:
        try:
            return checksum_of(stage.target.stored(tile.image, tile.outputs)) == int(state.values[place])
        except FileError:
            return False

    return [place for place, tile in enumerate(stage.tiles(number)) if state.done[place] and not is_right(place, tile)]


def changed_tiles(stage: Stage, number: int, state: StageState) -> list[int]:
    """Return the numbers of tiles whose inputs differ, among those that were done since the input was last looked at.

    An input that was away for a while, and is back, may have been read as zeros meanwhile.
    """
    unseen = sorted(place for place in state.unseen if state.done[place])
    return [
        place for place in unseen if not _has_window(stage, stage.tile_of(number, place), int(state.windows[place]))
    ]


def _has_window(stage: Stage, tile: Tile, checksum: int) -> bool:
    """Return True if the inputs of a tile have this checksum, in the parts in which a session has read them."""
    parts = dict.fromkeys((stage.part, *stage.parts_before))
    return any(window_checksum(replace(stage, part=part), tile) == checksum for part in parts)


def check_inputs(stage: Stage, number: int, state: StageState, is_done: bool = False) -> int:
    """Compare the inputs of all finished tiles, and return their number. Raises FileError if one differs.

    `is_done` says that the output is finished.
    """
    anew = "write overwrite=True" if is_done else "start anew with resume=False"
    checked = 0
    for place, tile in enumerate(stage.tiles(number)):
        if not state.done[place]:
            continue
        if not _has_window(stage, tile, int(state.windows[place])):
            region = ", ".join(f"{span.start}:{span.stop}" for span in stage.operator.window(tile.outputs, stage.sizes))
            raise FileError(
                f"{stage.source.name} has changed since the job began: image {tile.image} at [{region}] has other "
                f"values. Give the input back as it was, write to another name, or {anew}"
            )
        checked += 1
    return checked


def refuse_changed_input(journal: Journal, number: int, stage: Stage) -> None:
    """Raise FileError if the input of a running job is another one than at its start, or is gone."""
    assert journal.state.header is not None
    known = journal.state.notes.get("input")
    before = known[number] if known else journal.state.header["stages"][number]["input"]
    if plain(stage.source.identity()) != before:
        raise FileError(
            f"{stage.source.name} was changed while it was read. Leave it alone until the job ends, and start again: "
            "finished tiles are compared with it then"
        )
