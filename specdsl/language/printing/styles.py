"""How each rule of the grammar is laid out: where blanks stand and where lines may break.

Words are named as they are written. A word that is not named has one blank on either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Behind a comma a line may break; in front of a comma or colon stands no blank.
_SEPARATORS = frozenset({",", ":"})


@dataclass(frozen=True, slots=True)
class Style:
    """The blanks and breaks of one rule, by its own words (not those of the rules inside it).

    `glued` words have no blank on either side. Lines may break in front of the words `before`, in
    front of the rules `before_rules`, and behind the words `after`. At the words `columns` a column
    begins: in front of them where a line may break there, otherwise behind. `own_line`: an `=` may
    be followed by a line end, which is kept as it is written.
    """

    glued: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    before_rules: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset({","})
    no_blank_before: frozenset[str] = _SEPARATORS
    columns: frozenset[str] = frozenset()
    own_line: bool = False


@dataclass(frozen=True, slots=True)
class Brackets:
    """How a rule lays out what stands inside its own brackets.

    A `list` breaks behind its commas if a line end follows its opening bracket or a comma its last
    entry, or where it does not fit; a `block` also where any of its parts begins a line. `pad`
    stands at both ends on one line, `gap` between the parts of a block. `flush`: the brackets touch
    what precedes them. `fill`: numbers and names take as much of each line as fits.
    """

    kind: Literal["list", "block"] = "list"
    pad: str = ""
    gap: str = " "
    flush: bool = False
    fill: bool = False
    inside: Style = Style()


PLAIN = Style()
_JOINED = Style(glued=_words("."))
_ASSIGNED = Style(own_line=True)

OPTIONS = _words("as using report expect")
"""Rules of what follows a check or query."""

STYLES: Mapping[str, Style] = {
    # statements and their lines
    "import": PLAIN,
    "const": _ASSIGNED,
    "network": _ASSIGNED,
    "dataset": _ASSIGNED,
    "region": _ASSIGNED,
    "let": _ASSIGNED,
    "let_tuple": _ASSIGNED,
    "property": _ASSIGNED,
    "schedule": _ASSIGNED,
    "action": _ASSIGNED,
    "next": _ASSIGNED,
    "field": Style(
        before=_words("in normalize encode"),
        columns=_words(": in normalize encode"),
    ),
    "constrain": Style(before=_words("by")),
    "keep": Style(before=_words("on where")),
    "certify": Style(before=_words("on by")),
    "check": Style(before_rules=OPTIONS),
    "maximize": Style(before=_words("over where for"), before_rules=OPTIONS),
    "minimize": Style(before=_words("over where for"), before_rules=OPTIONS),
    "largest": Style(before=_words("such for"), before_rules=OPTIONS),
    "smallest": Style(before=_words("such for"), before_rules=OPTIONS),
    # types
    "dotted": _JOINED,
    # expressions
    "or": Style(before=_words("or")),
    "and": Style(before=_words("and")),
    "implies": Style(before=_words("=>")),
    "comparison": Style(after=_words("<= >= == != < >")),
    "member": Style(after=_words("in")),
    "not_member": Style(after=_words("in")),
    "sum": Style(before=_words("+ -")),
    "product": Style(before=_words("* / @ >> &")),
    "range": Style(glued=_words("..")),
    "power": Style(glued=_words("^")),
    "negative": Style(glued=_words("-")),
    "attribute": _JOINED,
    "if": Style(before=_words("then else")),
    "forall": Style(before=_words("where"), after=_words(":")),
    "exists": Style(before=_words("where"), after=_words(":")),
    "comprehension": Style(before=_words("for where")),
}
"""Rules that are not laid out as `PLAIN`."""

_SET = Brackets(pad=" ", inside=Style(before=_words("for where")))

BRACKETS: Mapping[str, Brackets] = {
    "import": Brackets("block", pad=" ", gap="  "),
    "enum": Brackets("block", pad=" "),
    "space": Brackets("block", pad=" ", gap="  "),
    "layers": Brackets("block", pad=" ", gap="  "),
    "dataset": Brackets("block", pad=" ", gap="  "),
    "clauses": Brackets("block", pad=" "),
    "system": Brackets("block", pad=" ", gap="  "),
    "train": Brackets("block", pad=" ", gap="  "),
    "stage": Brackets("block", pad=" ", gap="  "),
    "formals": Brackets(flush=True),
    "names": Brackets(),
    "interval": Brackets(),
    "type_name": Brackets(flush=True),
    "type_tuple": Brackets(),
    "index": Brackets(flush=True),
    "call_args": Brackets(flush=True),
    "group": Brackets(),
    "tuple": Brackets(),
    "list": Brackets(fill=True),
    "set_of": _SET,
    "subset": _SET,
    "absolute": Brackets(),
}
"""Rules with brackets of their own."""

SPREAD = frozenset({"settings", "for_binders", "per", "options", "type_arguments"})
"""Rules whose parts are laid out as if they were written in the rule around them."""

CHAINS = frozenset({"or", "and", "implies"})
"""Rules that hold themselves: `a and b and c` is one chain, which breaks everywhere or nowhere."""

APART = frozenset({"normalize"})
"""Words that do not touch the brackets behind them."""

ATOMS = frozenset({"", "number", "name", "string", "true", "false", "negative", "word", "keyword"})
"""Rules of one or two words. Lists of them fill their lines; around others `:` has blanks."""
