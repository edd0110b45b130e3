"""Terms that make a network easier to certify, besides its losses; each differentiable."""
