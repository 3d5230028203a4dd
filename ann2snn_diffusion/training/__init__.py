"""Fine-tuning: on which states, toward what, and the loop that can be resumed."""
