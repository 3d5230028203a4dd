"""Real images: files in folders, and published data sets."""
