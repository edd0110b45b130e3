"""Random claims as text, each with what it means at a point, worked out beside the project."""
