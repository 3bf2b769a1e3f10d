"""Ways to train: what a published method changes in a training beyond neuron, network and recipe.

``base.py`` has the hooks that a method may override, ``registry.py`` all methods by name with their options, where they
were published, and the file of each. The three conversions of a trained network without spikes (Spike-Norm, RMP-SNN,
Hybrid-Train) are one method, ``conversion.py``; how thresholds are calibrated for it and for others is in
``calibration.py``.
"""
