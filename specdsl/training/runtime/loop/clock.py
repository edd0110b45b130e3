"""Numbers that follow the clock of a training: `linear`, `smooth` and `steps`.

Time is counted in epochs and parts of them, from 0: in the middle of the third epoch it is 2.5.
"""

from __future__ import annotations

from collections.abc import Mapping

# Of Shi et al. 2021, arXiv:2103.17268, where they are those of the released code.
MIDDLE = 0.25
EXPONENT = 4.0


def linear(time: float, first: float, last: float, start: float, end: float) -> float:
    """From `first` to `last` in a straight line between two times, constant before and after.

    Where `start` is `end` it jumps there. Raises ValueError where `start > end`.
    """
    return _between(_share(time, start, end), first, last)


def smooth(  # noqa: PLR0913 - the shape is given by name, and hardly ever
    time: float,
    first: float,
    last: float,
    start: float,
    end: float,
    *,
    middle: float = MIDDLE,
    exponent: float = EXPONENT,
) -> float:
    """From `first` to `last`, like a power at first and straight from `middle` of the time on.

    The slope has no jump where the two parts meet, so that training feels no step when the radius
    begins to grow. `middle` is in [0, 1] and `exponent` at least 1; else raises ValueError.
    Source: Shi et al. 2021, arXiv:2103.17268.
    """
    if not (0 <= middle <= 1 and exponent >= 1):
        raise ValueError(f"no smooth schedule has middle {middle} and exponent {exponent}")
    share = _share(time, start, end)
    if middle == 0:
        return _between(share, first, last)
    # With a power `c t^k` up to the middle m, the line goes on with its slope there, `c k m^(k-1)`;
    # it arrives at 1 for t = 1 where `c (m^k + k m^(k-1) (1 - m)) = 1`. Times m^-k both ways.
    risen = 1 / (1 + exponent * (1 - middle) / middle)
    if share < middle:
        return _between(risen * (share / middle) ** exponent, first, last)
    slope = risen * exponent / middle
    return _between(1 - slope * (1 - share), first, last)


def steps(time: float, values: Mapping[int, float]) -> float:
    """The value of the last step that is not in the future: `{0: 5e-4, 130: 1e-4}`.

    Raises ValueError where there is none.
    """
    past = [start for start in values if start <= time]
    if not past:
        raise ValueError(f"the steps {dict(values)} have no value at {time}")
    return values[max(past)]


def _share(time: float, start: float, end: float) -> float:
    if start > end:
        raise ValueError(f"a schedule from {start} to {end} ends before it begins")
    if start == end:
        return 1.0 if time >= end else 0.0
    return min(1.0, max(0.0, (time - start) / (end - start)))


def _between(share: float, first: float, last: float) -> float:
    # Exact at both ends, and never outside them.
    if share >= 1:
        return last
    return min(max(first + share * (last - first), min(first, last)), max(first, last))
