"""The membrane's equations through time, their gradients, and the ways to compute them fast."""
