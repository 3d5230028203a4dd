"""Noisy states, trajectories and samplers; nothing here spikes."""
