"""What a verdict rests on: exact evaluation and replay of witnesses."""
