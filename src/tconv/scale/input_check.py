"""Comparison of an input with the journal: of its identity, and of the values that finished tiles read."""

from __future__ import annotations

from tconv.errors import FileError
from tconv.scale.job_fingerprint import plain
from tconv.scale.journal import Journal, StageState
from tconv.scale.tile_run import Stage, window_checksum


def changed_tiles(stage: Stage, number: int, state: StageState) -> list[int]:
    """Return the numbers of tiles whose inputs differ, among those that were done since the input was last looked at.

    An input that was away for a while, and is back, may have been read as zeros meanwhile.
    """
    unseen = sorted(place for place in state.unseen if state.done[place])
    return [place for place in unseen if window_checksum(stage, stage.tile_of(number, place)) != state.windows[place]]


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
