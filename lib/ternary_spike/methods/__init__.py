"""Ways to train: what a published method changes in a training beyond neuron, network and recipe."""
