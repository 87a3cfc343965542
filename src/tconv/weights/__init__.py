"""Weights: carried between layouts, folded, initialised, and measured for checkerboards."""
