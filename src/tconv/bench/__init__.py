"""The benchmark room: layers of real networks, peers in processes of their own, and a table that can be believed.

What is measured, and why it may be believed, stands in `runner`; `tconv bench` is its command line. Every peer is
checked against a float64 truth before any time is taken, and only the process being timed computes.
"""
