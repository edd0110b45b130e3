"""Linear functions of a node's value on the way back to the input, and how they are stored."""
