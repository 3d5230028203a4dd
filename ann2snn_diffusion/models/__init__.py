"""Where networks come from: pretrained ANNs, converted models, and what ships with this package."""
