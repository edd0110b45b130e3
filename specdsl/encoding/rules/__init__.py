"""How each kind of op, and each input set, becomes rows and columns."""
