"""Measurements over the shared benchmark data; run one with `python -m benchmarks.NAME --help`."""
