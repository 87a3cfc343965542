"""Causes that are tried: each changes the call, and is kept if the changed call gives the other output."""
