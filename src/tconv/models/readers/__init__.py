"""Readers of model files: networks to run, and the transposed convolutions in them."""
