"""Every solver-based relaxation on the same images of the same networks."""
