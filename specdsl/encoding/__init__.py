"""A query as linear constraints with integrality, and its writers."""
