"""Training one run: its loop, state, optimiser, checkpoints and record."""
