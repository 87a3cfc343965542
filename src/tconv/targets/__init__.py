"""Profiles of runtimes and chips: the transposed convolutions that each accepts, one .toml file per target.

A new target is one file in profiles/, or a file of the user's: docs/targets.md has the language of its rules.
"""

from __future__ import annotations

from tconv.targets.layer_facts import LayerFacts
from tconv.targets.profile import DEFAULT_OPERATIONS, Limit, Rule, Target
from tconv.targets.profile_reader import read_profile
from tconv.targets.registry import target, target_names

__all__ = ["DEFAULT_OPERATIONS", "LayerFacts", "Limit", "Rule", "Target", "read_profile", "target", "target_names"]
