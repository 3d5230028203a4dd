"""What every room needs: errors, specs, random streams, hashes, atomic output, progress."""
