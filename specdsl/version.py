"""The version, once: `pyproject.toml` holds the same, and a test says so."""

__version__ = "0.1.0"
