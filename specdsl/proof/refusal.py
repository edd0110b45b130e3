"""Why a certificate is not accepted."""


class Refused(Exception):
    """It does not prove what it says, or is no whole certificate; the message says why."""


class NotCovered(Refused):
    """The checker has no rule for something in it."""


def require(holds: bool, otherwise: str) -> None:
    """Raise Refused with this reason."""
    if not holds:
        raise Refused(otherwise)
