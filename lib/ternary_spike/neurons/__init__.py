"""Spiking neurons as modules: one class for each published neuron."""
