"""Properties as batched claims: what a training script states of a whole batch."""
