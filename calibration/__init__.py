"""Calibration of layered networks whose activations are restricted to levels; knows nothing of spikes or diffusion."""
