"""Spiking neurons, and networks made of them: coding, firing, layers, rules, guidance, calibration."""
