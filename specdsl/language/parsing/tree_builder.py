"""From the parts of one grammar rule to a node of the syntax tree, without recursion.

The parser walks lark's tree bottom-up and calls `TreeBuilder.rule` once for each rule; the rules
for expressions are in `build_expressions`, those for everything else in `build_items`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from specdsl.diagnostics import Diagnostic, Diagnostics, diagnostic
from specdsl.language import syntax
from specdsl.language.parsing.build_expressions import EXPRESSIONS
from specdsl.language.parsing.build_items import ITEMS
from specdsl.language.parsing.parts import Part, Parts, Word
from specdsl.language.syntax import Expr
from specdsl.source import Source, Span

# The later stages recurse over expressions with a few Python frames for each level, and Python
# stops at 1,000 frames. People write trees of depth ten.
MAX_DEPTH = 200


class TreeBuilder:
    """Builds nodes at their spans and collects what only becomes visible there.

    A node that cannot be built is replaced by a harmless one, so that one pass finds several
    mistakes; the caller drops the item when `diagnostics` grew.
    """

    def __init__(self, source: Source, offset: int) -> None:
        self.source = source
        self.offset = offset
        self.diagnostics = Diagnostics()
        self._too_deep = False

    def word(self, text: str, start: int, end: int) -> Part:
        """A token at these offsets of the parsed text."""
        return Part(Word(text), self.span(start, end), 0)

    def span(self, start: int, end: int) -> Span:
        """Offsets of the parsed text as a span of the source."""
        return Span(self.source, start + self.offset, end + self.offset)

    def rule(self, name: str, children: Sequence[Part | None], span: Span) -> Part:
        """The node of the rule `name`. Raises KeyError for a rule without a builder."""
        below = max((c.depth for c in children if c), default=0)
        if name in ("sum", "product"):
            return self._chain(children, span)
        parts = Parts(children, span, self.diagnostics)
        if name == "group":
            return Part(parts.expr(0), span, below)
        if name in EXPRESSIONS:
            return self._bounded(Part(EXPRESSIONS[name](parts), span, below + 1))
        return Part(ITEMS[name](parts), span, below)

    def _chain(self, children: Sequence[Part | None], span: Span) -> Part:
        """`a + b - c` is `(a + b) - c`."""
        parts = Parts(children, span, self.diagnostics)
        left = parts.part(0)
        for i in range(1, len(parts), 2):
            right = parts.part(i + 1)
            both = left.span.to(right.span)
            value = syntax.Binary(
                parts.text(i), cast(Expr, left.value), cast(Expr, right.value), span=both
            )
            left = self._bounded(Part(value, both, 1 + max(left.depth, right.depth)))
            if self._too_deep:
                break
        return left

    def _bounded(self, part: Part) -> Part:
        if part.depth <= MAX_DEPTH:
            return part
        if not self._too_deep:
            self._too_deep = True
            self.diagnostics.add(too_deep(part.span))
        return Part(syntax.Boolean(False, span=part.span), part.span, 0)


def too_deep(span: Span) -> Diagnostic:
    """The diagnostic for nesting, or a chain of operators, beyond `MAX_DEPTH`."""
    message = f"this expression nests more than {MAX_DEPTH} levels deep"
    help = "name parts of it with `let`, or join a long chain in groups: `(a + b) + (c + d)`"
    return diagnostic("E0106", message, span, help=help)
