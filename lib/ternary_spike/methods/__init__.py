"""Ways to train: one module for each published method."""
