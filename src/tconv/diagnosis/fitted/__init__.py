"""Causes that are read off the outputs: scales, orders and shifts whose numbers are fitted, not guessed."""
