"""The one formatter: blanks and line ends become canonical, words and comments stay.

Every word and every comment of the text is kept, in order; so nothing changes its meaning. Up to
one empty line is kept between statements and between the lines of a block. A block stays on one
line where it was written on one and fits; a list stays broken where its first entry, or the
bracket behind a last comma, begins a line.
"""

from __future__ import annotations

from specdsl.language.parsing.parser import parse, walk
from specdsl.language.parsing.scan import lexemes
from specdsl.language.printing.columns import align
from specdsl.language.printing.layout import lines_of
from specdsl.language.printing.phrases import Phrases
from specdsl.source import Source


def format_source(source: Source) -> str:
    """The text in canonical form, its last line ended; empty for a text without any.

    Raises SpecError with all syntax errors of the text.
    """
    parse(source)
    phrases = Phrases(source)
    text = align(lines_of(phrases.program(walk(source, phrases))))
    if [word.text for word in lexemes(text)] != [word.text for word in phrases.words]:
        # People's files are overwritten with this: better none than one with a word less.
        raise AssertionError("the formatter changed a word: this is a bug")
    return text + "\n" if text else ""
