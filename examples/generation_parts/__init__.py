"""Parts of generation.py: the pictures, the networks, the scores, the page."""
