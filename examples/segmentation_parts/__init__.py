"""Parts of segmentation.py, keras_segmentation.py and cut_outs.py: the scenes, the networks, the scores, the page."""
