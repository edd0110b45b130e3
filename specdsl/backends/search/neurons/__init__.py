"""Branch and bound over intervals of inner values: ReLU splitting, and the like for other ops."""
