"""Protobuf's wire format."""

from __future__ import annotations

from pathlib import Path


def without_data(path: Path) -> bytes:
    """Return the bytes of a model."""
    return path.read_bytes()
