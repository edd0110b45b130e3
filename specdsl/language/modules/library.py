"""The files that a spec imports: found, read and parsed once each, within limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from specdsl.diagnostics import Diagnostics, SpecError, diagnostic
from specdsl.files import read_source
from specdsl.language import syntax
from specdsl.language.parsing.parser import parse_recovering
from specdsl.language.paths import locate
from specdsl.source import Source, Span

# People import a handful of files, two deep. Each use of a file counts, because each is a copy: a
# chain of files that import the next one twice would otherwise double with every link.
MAX_USES = 64
MAX_NESTING = 16
MAX_CHARACTERS = 2**20
"""Of all uses together: four files of the largest size that is read at all."""


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """A file of the program: where it lies, and what it holds."""

    path: Path
    program: syntax.Program

    @property
    def folder(self) -> Path:
        """What paths written in it are relative to."""
        return self.path.parent


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """How a file came in: the statement's path, and the file that this names."""

    path: Path
    span: Span | None = None


class Library:
    """Reads what `import` names. Findings go to `diagnostics`, each file's once."""

    def __init__(self, allow: tuple[Path, ...], diagnostics: Diagnostics) -> None:
        self.allow = allow
        self.diagnostics = diagnostics
        self._files: dict[Path, File | None] = {}
        self._uses = 0
        self._characters = 0
        self._full = False

    def open(self, statement: syntax.Import, chain: tuple[Link, ...], base: Path) -> File | None:
        """The imported file; None after a finding. `chain` leads here; `base` is its last folder.

        E0210 where the file is being imported already, E0214 beyond a limit, E0810 and E0811 for
        the path, E05 for the file, E01 for its text.
        """
        span = statement.path.span
        try:
            path = self._locate(statement, base)
        except SpecError as error:
            self.diagnostics.extend(error.at(span))
            return None
        if path in (link.path for link in chain):
            self._cycle(path, span, chain)
            return None
        if len(chain) > MAX_NESTING:
            self._limit(f"imports nest more than {MAX_NESTING} deep", span)
            return None
        file = self._read(path, base / statement.path.value, statement)
        return file if file is not None and self._counted(file, span) else None

    def _locate(self, statement: syntax.Import, base: Path) -> Path:
        text = statement.path.value
        help = f"allow it with `--allow-path {Path(text).parent}`"
        return locate(text, base, (base, *self.allow), help)

    def _read(self, path: Path, written: Path, statement: syntax.Import) -> File | None:
        if self._full:
            return None
        if path not in self._files:
            self._files[path] = self._parsed(path, written, statement)
        return self._files[path]

    def _parsed(self, path: Path, written: Path, statement: syntax.Import) -> File | None:
        span = statement.path.span
        try:
            text = read_source(written).text
        except SpecError as error:
            self.diagnostics.extend(error.at(span))
            return None
        # Named as the user would: beside the file that imports it.
        name = str(Path(span.source.name).parent / statement.path.value)
        program, errors = parse_recovering(Source(name, text))
        for error in errors:
            self.diagnostics.add(error)
        return None if errors else File(path, program)

    def _counted(self, file: File, span: Span) -> bool:
        self._uses += 1
        self._characters += len(file.program.span.source.text)
        if self._uses > MAX_USES:
            self._limit(f"more than {MAX_USES} files are imported", span)
        elif self._characters > MAX_CHARACTERS:
            self._limit(f"the imported files hold more than {MAX_CHARACTERS:,} characters", span)
        return not self._full

    def _limit(self, message: str, span: Span) -> None:
        """Said once; nothing more is read."""
        if not self._full:
            self._full = True
            help = "a file counts each time it is imported; put what several need into one file"
            self.diagnostics.add(diagnostic("E0214", message, span, help=help))

    def _cycle(self, path: Path, span: Span, chain: tuple[Link, ...]) -> None:
        first = next(i for i, link in enumerate(chain) if link.path == path)
        circle = chain[first:]
        names = " -> ".join(f"`{link.path.name}`" for link in (*circle, circle[0]))
        steps = [(link.span, f"imports `{link.path.name}`") for link in circle[1:]]
        self.diagnostics.add(
            diagnostic(
                "E0210",
                f"the import goes round in a circle: {names}",
                span,
                secondary=[(place, text) for place, text in steps if place is not None],
                help="move what both files need into a third one that imports neither",
            )
        )
