"""A plan as a Python script: the one that `specdsl train` runs, and one in plain PyTorch."""
