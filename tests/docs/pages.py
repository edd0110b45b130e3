"""Parts of the documentation that are made from the code, between marks on their pages."""

from __future__ import annotations

import re
from collections.abc import Mapping


def with_parts(text: str, parts: Mapping[str, str]) -> str:
    """The page with everything between `<!-- name -->` and the next `<!-- end -->` made anew.

    Raises ValueError where the page has no such marks.
    """
    for name, part in parts.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = marks.subn(lambda m, part=part: m[1] + part + m[2], text)
        if count != 1:
            raise ValueError(f"the page has {count} parts `{name}`")
    return text
