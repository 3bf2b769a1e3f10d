"""Spiking networks: their layers, blocks and architectures, and what watches them run."""
