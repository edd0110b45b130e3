"""What each technique of the search is worth: `python -m benchmarks.ablation`."""
