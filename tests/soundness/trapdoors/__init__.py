"""Networks with a counterexample that is hidden, and known."""
