"""Checks of model files: every transposed convolution explained, and where it will go wrong."""

from __future__ import annotations

from tconv.checking.functional import check, check_inventory

__all__ = ["check", "check_inventory"]
