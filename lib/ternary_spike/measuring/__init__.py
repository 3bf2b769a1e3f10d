"""What is measured of a trained network: accuracy, firing rates, entropies, membranes, amplitudes."""
