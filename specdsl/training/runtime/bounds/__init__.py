"""Bounds for training: differentiable in the weights, and estimates of some."""
