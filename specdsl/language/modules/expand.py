"""`expand`: a program with imports becomes one flat program, where `m.name` is a name.

Each `import` is followed by the declarations of its file, renamed by `rename`. Checks and queries
of that file are left out: `check m` and `check m.name` bring them back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from specdsl.diagnostics import Diagnostic, Diagnostics, diagnostic, suggestion
from specdsl.language import syntax
from specdsl.language.modules.library import File, Library, Link
from specdsl.language.modules.namespaces import Namespace, Runnable, declared_names, is_name
from specdsl.language.modules.rename import Renamer
from specdsl.language.modules.runs import runs_of
from specdsl.source import Span


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One `import`: the name of its source, its names, and the words that it uses undeclared."""

    source: str
    space: Namespace
    free: Mapping[str, Span]


@dataclass(frozen=True, slots=True, eq=False)
class Expanded:
    """A program without modules to read.

    `program` keeps each `import`, its alias renamed, before the declarations it stands for.
    `given`: for parameters of modules, what `with` says. `folders`: of the files of modules, by the
    names of their sources. `diagnostics`: what was found; the program is whole all the same.
    """

    program: syntax.Program
    base: Path
    given: Mapping[str, syntax.Setting] = field(default_factory=dict[str, syntax.Setting])
    folders: Mapping[str, Path] = field(default_factory=dict[str, Path])
    modules: tuple[Module, ...] = ()
    sources: tuple[syntax.Program, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


def expand(program: syntax.Program, *, base: Path, allow: tuple[Path, ...] = ()) -> Expanded:
    """Read what a program imports, and what that imports, and put it in place.

    Paths are relative to the file they stand in (`base` is the program's own folder) and must not
    leave its folder or those in `allow`. Raises nothing: findings (E01, E02, E05, E08) are in the
    result, and names that cannot be resolved stay as they are.
    """
    if not any(isinstance(item, syntax.Import) for item in program.items):
        return Expanded(program, base)
    expander = _Expander(allow)
    path = (base / Path(program.span.source.name).name).resolve()
    items, _ = expander.file(File(path, program), base, "", (Link(path),))
    return Expanded(
        program=replace(program, items=tuple(items)),
        base=base,
        given=expander.given,
        folders=expander.folders,
        modules=tuple(expander.modules),
        sources=tuple(expander.sources.values()),
        diagnostics=tuple(expander.diagnostics.found),
    )


class _Expander:
    """Gathers the parts of one program."""

    def __init__(self, allow: tuple[Path, ...]) -> None:
        self.diagnostics = Diagnostics()
        self.library = Library(allow, self.diagnostics)
        self.given: dict[str, syntax.Setting] = {}
        self.folders: dict[str, Path] = {}
        self.modules: list[Module] = []
        self.sources: dict[str, syntax.Program] = {}

    def file(
        self, file: File, base: Path, prefix: str, chain: tuple[Link, ...]
    ) -> tuple[list[syntax.Item], Namespace]:
        """The statements of a file and of all it imports, and what it declares."""
        program = file.program
        imported = self._imports(program, base, prefix, chain)
        space = _namespace(file, prefix, imported)
        renamer = Renamer(space, self.diagnostics)
        items: list[syntax.Item] = []
        runs: list[Runnable] = []
        for item in program.items:
            try:
                self._item(item, renamer, imported, items, runs)
            except RecursionError:
                message = "this is nested too deeply to be understood"
                help = "split it with `let`"
                self.diagnostics.add(diagnostic("E0209", message, item.span, help=help))
        if not prefix:
            return items, space
        space = replace(space, runs=tuple(runs))
        name = program.span.source.name
        self.modules.append(Module(name, space, renamer.free))
        self.sources.setdefault(name, program)
        return items, space

    def _item(
        self,
        item: syntax.Item,
        renamer: Renamer,
        imported: Mapping[int, _Imported],
        items: list[syntax.Item],
        runs: list[Runnable],
    ) -> None:
        """Add what one statement of a file stands for."""
        match item:
            case syntax.Import():
                found = imported.get(id(item))
                if found is not None:
                    renamed = replace(item, alias=found.alias)
                    renamed = cast(syntax.Import, renamer.item(renamed))
                    self._give(renamed, found.space)
                    items += [renamed, *found.items]
            case syntax.Check():
                for run in runs_of(item, renamer):
                    (runs if renamer.space.prefix else items).append(run)
            case syntax.Optimize() | syntax.Search():
                (runs if renamer.space.prefix else items).append(renamer.run(item))
            case _:
                items.append(renamer.item(item))

    def _imports(
        self, program: syntax.Program, base: Path, prefix: str, chain: tuple[Link, ...]
    ) -> dict[int, _Imported]:
        """What each `import` of a file brings in, by the identity of the statement."""
        found: dict[int, _Imported] = {}
        aliases: dict[str, syntax.Import] = {}
        for item in program.items:
            if not isinstance(item, syntax.Import):
                continue
            alias = self._alias(item)
            if alias is None:
                continue
            if alias in aliases:
                self._twice(alias, item, aliases[alias])
                continue
            aliases[alias] = item
            file = self.library.open(item, chain, base)
            if file is None:
                found[id(item)] = _Imported(alias, [], None)
                continue
            self.folders[file.program.span.source.name] = file.folder
            link = Link(file.path, item.path.span)
            below = self.file(file, file.folder, f"{prefix}{alias}.", (*chain, link))
            found[id(item)] = _Imported(alias, *below)
        return found

    def _alias(self, item: syntax.Import) -> str | None:
        """The name after `as`, or the name of the file."""
        if item.alias is not None:
            return item.alias
        path = item.path
        stem = Path(path.value).stem
        if is_name(stem):
            return stem
        name = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_")
        name = name if is_name(name) else "m"
        message = f"the module needs a name: `{stem}` cannot be one"
        help = f"import {path.span.text} as {name}"
        self.diagnostics.add(diagnostic("E0217", message, path.span, help=help))
        return None

    def _twice(self, alias: str, item: syntax.Import, first: syntax.Import) -> None:
        self.diagnostics.add(
            diagnostic(
                "E0202",
                f"`{alias}` is declared twice",
                item.path.span,
                secondary=[(first.path.span, "module first imported here")],
                help=f"give it another name: `import {item.path.span.text} as {alias}2`",
            )
        )

    def _give(self, item: syntax.Import, space: Namespace | None) -> None:
        """Remember the settings of `with`, which the checker types where the parameter stands."""
        if space is None:
            return
        for setting in item.settings:
            name = space.prefix + setting.name
            if setting.name not in space.parameters:
                self._no_parameter(setting, space)
            elif name in self.given:
                first = [(self.given[name].span, "first given here")]
                message = f"`{setting.name}` is given twice"
                self.diagnostics.add(diagnostic("E0803", message, setting.span, secondary=first))
            else:
                self.given[name] = setting

    def _no_parameter(self, setting: syntax.Setting, space: Namespace) -> None:
        known = ", ".join(f"`{n}`" for n in space.parameters)
        word = Span(setting.span.source, setting.span.start, setting.span.start + len(setting.name))
        self.diagnostics.add(
            diagnostic(
                "E0213",
                f"the module has no parameter `{setting.name}`",
                word,
                label=suggestion(setting.name, space.parameters) or "",
                help=f"parameters of {space.file}: {known}"
                if known
                else f"{space.file} has no parameters: leave out `with`",
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Imported:
    """What one `import` stands for; `space` is None where the file could not be read."""

    alias: str
    items: list[syntax.Item]
    space: Namespace | None


def _namespace(file: File, prefix: str, imported: Mapping[int, _Imported]) -> Namespace:
    items = file.program.items
    found = imported.values()
    return Namespace(
        prefix,
        frozenset(name for item in items for name in declared_names(item)),
        f"`{file.path.name}`",
        tuple(item.name for item in items if isinstance(item, syntax.Param)),
        tuple(item.name for item in items if isinstance(item, syntax.Property)),
        {each.alias: each.space for each in found if each.space is not None},
        frozenset(each.alias for each in found if each.space is None),
    )
