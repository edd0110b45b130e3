"""Why a certificate is not accepted."""

from __future__ import annotations


class Refused(Exception):
    """The certificate is malformed, or does not prove what it says; the message says where."""


class NotCovered(Refused):
    """The checker has no rule for something that the question holds."""
