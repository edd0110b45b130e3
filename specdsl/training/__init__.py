"""Certified training: what a `train` block says, the script that does it, and what it calls."""
