"""Writing certificates: the engine's side of `specdsl.proof`, which checks them."""
