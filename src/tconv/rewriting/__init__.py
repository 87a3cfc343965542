"""Exact rewrites of a transposed convolution into operations that a target accepts."""
