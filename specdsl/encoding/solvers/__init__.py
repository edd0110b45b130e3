"""What minimises a model, and bounds from its duals that rest on our own arithmetic."""
