"""How close a spiking network stays to its ANN, and how good images are."""
