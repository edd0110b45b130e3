"""What people and machines read: console, JSON, result files."""
