"""The benchmark behind `tconv bench`: layers of real networks, run by tconv and by other libraries.

Every library runs in its own process, its output is checked against a float64 reference before it is timed, and only
one process computes at a time. `runner` explains the measurement.
"""
