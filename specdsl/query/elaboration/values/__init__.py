"""What names and expressions stand for once the numbers are known."""
