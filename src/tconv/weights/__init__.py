"""Weights of transposed convolutions: conversion between layouts, folding, initialisation, checkerboards.

Every file works on NumPy weights of one layer and has no state.
"""
