"""Names across files: what a file declares, and what it is called in the whole program."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from specdsl.language import syntax
from specdsl.language.parsing.scan import RESERVED

Runnable = syntax.Check | syntax.Optimize | syntax.Search
"""What `check m` runs."""


@dataclass(frozen=True, slots=True, eq=False)
class Namespace:
    """The top level of one file, as one `import` sees it.

    `prefix` (empty, or ending in a dot) stands before its `names` in the whole program. `modules`
    are the files it imports, by alias; `broken` are aliases of files that could not be read.
    `runs` are its checks and queries, renamed, under names (if any) of its own.
    """

    prefix: str
    names: frozenset[str]
    file: str = ""
    parameters: tuple[str, ...] = ()
    properties: tuple[str, ...] = ()
    modules: Mapping[str, Namespace] = field(default_factory=dict[str, "Namespace"])
    broken: frozenset[str] = frozenset()
    runs: tuple[Runnable, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """What may follow the dot, in no special order."""
        named = (run.options.name for run in self.runs)
        return tuple(dict.fromkeys([*self.names, *self.modules, *filter(None, named)]))


def is_name(text: str) -> bool:
    """Whether the grammar takes `text` for a name."""
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text)) and text not in RESERVED


def own_name(name: str) -> str:
    """The name in the file that declares it: `eps` for `m.eps`."""
    return name.rpartition(".")[2]


def sibling(name: str, other: str) -> str:
    """`other`, declared beside `name`, in the whole program: `m.b` for `m.a` and `b`."""
    module, dot, _ = name.rpartition(".")
    return module + dot + other


def declared_names(item: syntax.Item) -> tuple[str, ...]:
    """The top-level names that one statement adds to its file; aliases of modules are apart."""
    match item:
        case syntax.Enum():
            return (item.name, *item.labels)
        case syntax.Declaration():
            return (item.name,)
        case syntax.Let():
            return item.names
        case _:
            return ()
