"""Profiles of runtimes and chips: the transposed convolutions that each accepts, one .toml file per target."""
