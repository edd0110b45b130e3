"""PyTorch modules as graphs: traced by `torch.export`, one rule for each ATen op."""
