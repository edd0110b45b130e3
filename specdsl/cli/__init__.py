"""The command line. No logic: arguments in, calls to the floors below, text and exit code out."""

from specdsl.cli.main import main

__all__ = ["main"]
