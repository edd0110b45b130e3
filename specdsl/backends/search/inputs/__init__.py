"""Branch and bound over boxes of inputs."""
