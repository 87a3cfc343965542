"""Measured choice of the layers of a model that run on tconv's kernel, and the report of it, for every framework."""
