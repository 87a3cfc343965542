"""Checks of model files: every transposed convolution explained, and where it will go wrong."""
