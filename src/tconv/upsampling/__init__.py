"""Pictures and feature maps made larger by transposed convolutions."""
