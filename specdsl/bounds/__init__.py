"""Batched torch kernels: sound lower and upper bounds on every node of a graph."""
