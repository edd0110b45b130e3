"""What is trained: modules, their first weights, what is pruned, how they are saved."""
