"""The scoreboard of docs/soundness.md: `python -m benchmarks.soundness`."""
