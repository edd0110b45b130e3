"""What a `train` block says, resolved to numbers and names. Loads neither torch nor a file."""
