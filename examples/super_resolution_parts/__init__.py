"""Parts of super_resolution.py: the photographs and the scores."""
