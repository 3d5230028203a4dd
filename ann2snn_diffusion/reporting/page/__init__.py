"""The report of a converted model as one HTML page."""
