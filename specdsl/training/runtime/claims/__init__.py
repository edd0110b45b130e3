"""Properties of a batch of samples."""
