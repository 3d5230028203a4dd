"""The use cases: each a function from Python, and one that writes a folder."""
