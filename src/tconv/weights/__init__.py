"""Weights of transposed convolutions: conversion between layouts, folding, initialisation, checkerboards.

Each task has a file of its own, and `artifacts/` is about checkerboards.
"""
