"""What imports mean to the checker: the alias as a name, and names that must not leak."""

from __future__ import annotations

from collections.abc import Mapping

from specdsl.diagnostics import Diagnostics
from specdsl.language import syntax
from specdsl.language.constants import NORMS
from specdsl.language.modules.expand import Expanded
from specdsl.language.modules.namespaces import Namespace
from specdsl.language.modules.wording import in_its_own_words
from specdsl.language.typing.builtins import BUILTINS
from specdsl.language.typing.names import NOTHING, Context, Symbol
from specdsl.language.typing.types import TYPE_NAMES
from specdsl.source import Span

OWN_WORDS = frozenset({*BUILTINS, *NORMS, *TYPE_NAMES, "category"})
"""Words with a meaning where nothing is declared under them."""


def module(item: syntax.Import) -> Symbol | None:
    """The alias. What follows its dot has been resolved already, or reported."""
    return None if item.alias is None else Symbol(item.alias, "module", item.path.span, NOTHING)


def no_leaks(expanded: Expanded, declared: Mapping[str, Span], context: Context) -> None:
    """Report names of the file that its modules use without declaring them.

    All declarations lie in one list by now, and such a name would be found there: a module would
    mean one thing alone and another where it is imported. `declared`: where the file's own names
    are declared.
    """
    for found in expanded.modules:
        for name, span in found.free.items():
            place = declared.get(name.partition(".")[0])
            if place is None:
                continue
            module = found.space.prefix[:-1]
            if name in OWN_WORDS:
                context.error(
                    "E0216",
                    f"`{name}` has a meaning of its own in the module `{module}`",
                    place,
                    label="would hide it there",
                    secondary=[(span, "used here")],
                    help=f"give this one another name, for example `my_{name}`",
                )
            else:
                context.error(
                    "E0201",
                    f"nothing is called `{name}` in this module",
                    span,
                    secondary=[(place, "a module does not see the file that imports it")],
                    help="hand a number over: declare a `param` here, and set it by `with`",
                )


def localize(diagnostics: Diagnostics, expanded: Expanded) -> None:
    """Let findings in a module name things as its file does."""
    spaces: dict[str, list[Namespace]] = {}
    for found in expanded.modules:
        spaces.setdefault(found.source, []).append(found.space)
    diagnostics.found[:] = dict.fromkeys(in_its_own_words(d, spaces) for d in diagnostics.found)
