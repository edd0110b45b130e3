"""Readers of datasets and of the files a spec names, with guards against hostile input."""
