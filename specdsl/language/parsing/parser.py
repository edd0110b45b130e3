"""From text to the syntax tree. The only file that knows lark.

On an error the parser goes on at the next word that begins a statement, so that one run lists all
errors of a file.
"""

from __future__ import annotations

import hashlib
import platform
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import cast

import lark
import platformdirs
from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken
from lark.lark import PostLex
from lark.parsers.lalr_interactive_parser import InteractiveParser

from specdsl.diagnostics import Diagnostic, Diagnostics, SpecError, diagnostic
from specdsl.language import syntax
from specdsl.language.parsing.grammar import grammar_text
from specdsl.language.parsing.parts import Builder, Part
from specdsl.language.parsing.scan import Scan, deepest_allowed, last_allowed
from specdsl.language.parsing.syntax_errors import explain
from specdsl.language.parsing.syntax_scene import END, Stuck
from specdsl.language.parsing.tree_builder import MAX_DEPTH, TreeBuilder, too_deep
from specdsl.source import Source, Span

VERSIONS = ("1.0",)
"""The language versions that this program reads."""

# A large spec written by hand has 10 KiB and 3,000 words.
MAX_CHARACTERS = 2**18
# Reading so many takes about 1 s, and 3 s where the last of them is wrong: it is read again then.
MAX_WORDS = 2**15
MAX_ERRORS = 20

_Branch = Tree[Token]


def parse(source: Source, *, require_header: bool = False) -> syntax.Program:
    """The tree of a whole file.

    Raises SpecError with all its syntax errors (E01, E0803, E0902). A missing `spec 1.0` line is
    one of them only with `require_header`: texts given by `-D` have none.
    """
    program, errors = parse_recovering(source, require_header=require_header)
    if errors:
        raise SpecError(errors)
    return program


def parse_recovering(
    source: Source, *, require_header: bool = False
) -> tuple[syntax.Program, list[Diagnostic]]:
    """The statements that can be read, with all syntax errors in the order of their places."""
    refused = _refused(source)
    if refused:
        return syntax.Program(None, (), span=Span(source, 0, len(source.text))), [refused]
    return _Run(source).program(require_header)


def parse_expression(source: Source) -> syntax.Expr:
    """A text that holds one expression. Raises SpecError with what is wrong with it."""
    refused = _refused(source)
    if refused:
        raise SpecError([refused])
    try:
        tree = _lark().parse(source.text, start="expr")
    except UnexpectedInput as error:
        offset = _offset(error, 0, len(source.text))
        stuck = Stuck(offset, _accepted(error.interactive_parser), 0)
        raise SpecError([explain(stuck, source, Scan(source.text))]) from error
    builder = TreeBuilder(source, 0)
    part = _build(tree, builder)
    builder.diagnostics.raise_errors()
    return cast(syntax.Expr, part.value)


def walk(source: Source, builder: Builder) -> list[Part]:
    """What `builder` makes of each statement of a text that `parse` accepts, the header first."""
    tree = _lark().parse(source.text, start="start")
    return [_build(item, builder) for item in cast(list[_Branch], tree.children)]


_SPLIT = "keep large tables in a file of their own and read them, for example with `npz`"


def _refused(source: Source) -> Diagnostic | None:
    """What is found before any parsing, in time linear in the text."""
    if len(source.text) > MAX_CHARACTERS:
        found = f"{len(source.text):,} characters; at most {MAX_CHARACTERS:,}"
        message = f"the text holds {found} are read"
        return diagnostic("E0102", message, Span(source, 0, 0), help=_SPLIT)
    word = last_allowed(source.text, MAX_WORDS)
    if word is not None:
        message = f"the text holds more than {MAX_WORDS:,} words"
        return diagnostic("E0102", message, Span(source, word, word), help=_SPLIT)
    bracket = deepest_allowed(source.text, MAX_DEPTH)
    return None if bracket is None else too_deep(Span(source, bracket, bracket + 1))


# --- one text, with recovery ----------------------------------------------------------------------


class _Run:
    """Parses from one statement to the next error, explains it, and goes on after it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found = Diagnostics()
        self.items: list[syntax.Item] = []
        self.version: Part | None = None

    @cached_property
    def scan(self) -> Scan:
        """The words of the whole text; needed only once something is wrong."""
        return Scan(self.source.text)

    def program(self, require_header: bool) -> tuple[syntax.Program, list[Diagnostic]]:
        text = self.source.text
        position: int | None = 0
        while position is not None:
            if len(self.found.found) >= MAX_ERRORS:
                message = f"more than {MAX_ERRORS} syntax errors; the rest is not read"
                self.found.add(diagnostic("E0119", message, Span(self.source, position, position)))
                break
            position = self._advance(position)
        self._check_header(require_header)
        version = None if self.version is None else cast(str, self.version.value)
        program = syntax.Program(version, tuple(self.items), span=Span(self.source, 0, len(text)))
        return program, self.found.errors

    def _advance(self, position: int) -> int | None:
        """Read from `position` up to an error; return where to go on."""
        fragment = self.source.text[position:]
        try:
            tree = _lark().parse(fragment, start="start")
        except UnexpectedInput as error:
            return self._recover(error, position)
        self._add(cast(list[_Branch], tree.children), position)
        return None

    def _recover(self, error: UnexpectedInput, position: int) -> int | None:
        offset = _offset(error, position, len(self.source.text))
        expected = self._expected(position, offset) or _accepted(error.interactive_parser)
        complete = self._complete(position, offset, expected)
        swallowed = self._swallowed(complete, position, offset)
        if swallowed is not None:
            expected = self._expected(position, swallowed) or expected
            complete = self._complete(position, swallowed, expected)
            offset = swallowed
        self._add(complete, position)
        start = self._start_after(complete, position)
        self.found.add(explain(Stuck(offset, expected, start), self.source, self.scan))
        return self.scan.next_statement(max(offset, start + 1))

    def _start_after(self, complete: Sequence[_Branch], position: int) -> int:
        """Where the statement begins that follows those."""
        end = position + complete[-1].meta.end_pos if complete else position
        first = self.scan.at(self.scan.index(end))
        return first.start if first else position

    def _swallowed(self, complete: Sequence[_Branch], position: int, offset: int) -> int | None:
        """The first statement word that was read as a name, because something before it is missing.

        Keywords are names wherever a value is expected; but where a statement could begin and an
        error follows, a statement was meant.
        """
        starts = {position + tree.meta.start_pos for tree in complete}
        starts.add(self._start_after(complete, position))
        found = self.scan.next_statement(position)
        while found is not None and found < offset:
            if found not in starts and self.scan.at_margin(found):
                return found
            found = self.scan.next_statement(found + 1)
        return None

    def _expected(self, position: int, offset: int) -> frozenset[str]:
        """What can follow the text from `position` to `offset`; nothing if it cannot be read.

        Where lark stops it has already drawn conclusions from the word that does not fit.
        """
        parser = self._read(position, offset)
        return _accepted(parser) if parser else frozenset()

    def _complete(self, position: int, offset: int, expected: frozenset[str]) -> list[_Branch]:
        """The statements that were read in full before an error at `offset`.

        One that could end there counts if the error begins a line; on the same line the error
        more likely belongs to it.
        """
        # A parser of its own: asking lark what it accepts changes the trees it has built.
        parser = self._read(position, offset)
        if parser is None:
            return []
        if END in expected and self._begins_line(offset):
            return cast(list[_Branch], parser.feed_eof().children)
        return list(_reduced(parser.parser_state.value_stack))

    def _read(self, position: int, offset: int) -> InteractiveParser | None:
        parser = _lark().parse_interactive(self.source.text[position:offset], start="start")
        try:
            parser.exhaust_lexer()
        except UnexpectedInput:
            return None
        return parser

    def _begins_line(self, offset: int) -> bool:
        word = self.scan.at(self.scan.index(offset))
        return word is not None and self.scan.begins_line(word)

    def _add(self, trees: Sequence[_Branch], position: int) -> None:
        for tree in trees:
            builder = TreeBuilder(self.source, position)
            part = _build(tree, builder)
            if builder.diagnostics.found:
                self.found.extend(SpecError(builder.diagnostics.found))
            elif tree.data == "header":
                self.version = part
            else:
                self.items.append(cast(syntax.Item, part.value))

    def _check_header(self, required: bool) -> None:
        if self.version is not None:
            if self.version.value not in VERSIONS:
                self.found = Diagnostics([_unknown_version(self.version)])
        elif required and not self._mentions_version():
            message = "the file does not begin with the version of the language"
            place = Span(self.source, 0, 0)
            self.found.found.insert(0, diagnostic("E0110", message, place, help="spec 1.0"))

    def _mentions_version(self) -> bool:
        """Whether the version is there and an error, already reported, kept it from being read."""
        return bool(self.found.found) and any(word.text == "spec" for word in self.scan.words)


def _unknown_version(version: Part) -> Diagnostic:
    """What else is wrong is not said: under another version it may be right."""
    known = ", ".join(VERSIONS)
    word = version.span.text.split()[-1]
    place = Span(version.span.source, version.span.end - len(word), version.span.end)
    message = f"language version {word} is not known to this specdsl"
    return diagnostic("E0902", message, place, help=f"known: {known}; a newer specdsl may read it")


# --- lark -----------------------------------------------------------------------------------------


def _build(tree: _Branch, builder: Builder) -> Part:
    """Lark's tree bottom-up, with a stack of our own: depth is up to who wrote the text."""
    pending: list[tuple[_Branch | Token | None, bool]] = [(tree, False)]
    done: list[Part | None] = []
    end = 0
    while pending:
        node, ready = pending.pop()
        if node is None:
            done.append(None)
        elif isinstance(node, Token):
            end = cast(int, node.end_pos)
            done.append(builder.word(str(node), cast(int, node.start_pos), end))
        elif not ready:
            pending.append((node, True))
            pending.extend((child, False) for child in reversed(node.children))
        else:
            count = len(node.children)
            parts = done[len(done) - count :]
            del done[len(done) - count :]
            # A rule that matched nothing stands, empty, behind the last word.
            start, end = (end, end) if node.meta.empty else (node.meta.start_pos, node.meta.end_pos)
            done.append(builder.rule(str(node.data), parts, builder.span(start, end)))
    return cast(Part, done[0])


def _offset(error: UnexpectedInput, position: int, end: int) -> int:
    """Where lark stopped; `end` is where the text ends."""
    if not isinstance(error, UnexpectedToken):
        return position + cast(int, error.pos_in_stream)
    return end if error.token.type == "$END" else position + cast(int, error.token.start_pos)


def _accepted(parser: InteractiveParser) -> frozenset[str]:
    """What the parser could read next: fixed words as written, classes by their names."""
    spellings = _spellings()
    return frozenset(spellings.get(name, name) for name in cast(set[str], parser.accepts()))


def _reduced(stack: Sequence[object]) -> Iterator[_Branch]:
    for value in stack:
        if isinstance(value, Tree):
            branch = cast(_Branch, value)
            if str(branch.data).startswith("__start"):
                yield from cast(list[_Branch], branch.children)
            elif branch.data == "header":
                yield branch


@lru_cache(maxsize=1)
def _spellings() -> dict[str, str]:
    """Lark's names of fixed words to the words.

    `_BY` and the like are words whose terminals look at what follows them.
    """
    spellings: dict[str, str] = {}
    for terminal in _lark().terminals:
        if terminal.pattern.type == "str":
            spellings[terminal.name] = terminal.pattern.value
        elif re.fullmatch("_[A-Z]+", terminal.name):
            spellings[terminal.name] = terminal.name[1:].lower()
    return spellings


class _NamesEverywhere(PostLex):
    """Lets the lexer read a name in every state.

    Where only keywords are expected it would otherwise cut `letter` into `let` and `ter`.
    """

    always_accept = ("NAME",)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """The stream as it is."""
        return stream


@lru_cache(maxsize=1)
def _lark() -> Lark:
    """The parser, from the cache of the user where possible: building it takes 0.8 s."""
    text = grammar_text()
    path = _cache_file(text)
    return _load(path) or _store(_make(text), path)


def _make(grammar: str, *, strict: bool = False) -> Lark:
    return Lark(
        grammar,
        parser="lalr",
        start=["start", "expr"],
        propagate_positions=True,
        postlex=_NamesEverywhere(),
        strict=strict,
    )


def _cache_file(grammar: str) -> Path:
    """One file for each grammar, lark, Python and state of this module.

    What is stored refers to classes of this module by name, so another version must not read it.
    """
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    key = "\n".join([grammar, lark.__version__, platform.python_version(), __name__, own])
    digest = hashlib.sha256(key.encode()).hexdigest()[:24]
    return Path(platformdirs.user_cache_dir("specdsl", appauthor=False)) / f"grammar-{digest}.bin"


def _load(path: Path) -> Lark | None:
    """What `_store` wrote, or None where the file is missing, unreadable or damaged.

    The digest before the content makes sure that only complete files are unpickled.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, stored = content[:32], content[32:]
    if hashlib.sha256(stored).digest() != digest:
        return None
    return Lark.load(BytesIO(stored))


def _store(parser: Lark, path: Path) -> Lark:
    """Keep the parser for the next process; a folder that cannot be written costs only time."""
    buffer = BytesIO()
    parser.save(buffer)
    stored = buffer.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(hashlib.sha256(stored).digest() + stored)
        Path(file.name).replace(path)
    except OSError:
        pass
    return parser
