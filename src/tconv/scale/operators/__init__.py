"""Operations that can be computed tile by tile: a transposed convolution, a chain of them, a network, a model."""
