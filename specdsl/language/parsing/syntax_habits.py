"""Syntax errors that are habits from other languages, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping

from specdsl.diagnostics import Diagnostic, diagnostic, suggestion
from specdsl.language.parsing.scan import CLOSERS, RESERVED, STATEMENTS, Lexeme
from specdsl.language.parsing.syntax_scene import END, Scene
from specdsl.source import Span

SIGNS: Mapping[str, str] = {
    "!": "not",
    "¬": "not",
    "~": "not",
    "∧": "and",
    "∨": "or",
    "⇒": "=>",
    "→": "->",
    "∀": "forall",
    "∃": "exists",
    "∈": "in",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "×": "*",
    "·": "*",
    "÷": "/",
    "∩": "&",
    "π": "3.141592653589793",
    "∞": "linf",
}
"""Single signs to what the language writes for them."""

HINTS: Mapping[str, str] = {
    ";": "delete it: statements and settings need no end",
    "'": 'a text stands in double quotes: `"..."`',
    "“": 'a text stands in plain double quotes: `"..."`',
    "”": 'a text stands in plain double quotes: `"..."`',
    "‘": 'a text stands in plain double quotes: `"..."`',
    "’": 'a text stands in plain double quotes: `"..."`',
    "%": "a share is a fraction: `5/100`",
    "−": "write the hyphen of the keyboard: `-`",
    "–": "write the hyphen of the keyboard: `-`",
    "\u00a0": "write a plain space",
    "…": "a range is written `a..b`, with two dots",
    "²": "a power is written `x^2`",
    "?": "a choice is written `if c then a else b`",
}
"""Signs without a word to put in their place."""

PAIRS: Mapping[tuple[str, str], str] = {
    ("&", "&"): "and",
    ("|", "|"): "or",
    ("*", "*"): "^",
    ("<", ">"): "!=",
    ("==", "="): "==",
    ("!=", "="): "!=",
    (":", "="): "=",
    ("=", "<"): "<=",
    ("/", "/"): "#",
    ("/", "*"): "#",
    ("-", "-"): "#",
}
"""Two signs without a blank between, to what the language writes for them."""

BEGINNINGS: Mapping[str, str] = {
    "def": "let f(x) = 2 * x",
    "fn": "let f(x) = 2 * x",
    "function": "let f(x) = 2 * x",
    "define": "let f(x) = 2 * x",
    "var": "let x = 1",
    "assert": "check robust",
    "verify": "check robust",
    "prove": "check robust",
    "from": 'import "other.spec" as m',
    "show": "property p { forall x in R show net(x)[0] <= 1 }",
    "where": "property p { forall x in R where x[0] <= 1 show net(x)[0] <= 1 }",
    "forall": "property p = forall x in R: net(x)[0] <= 1",
    "exists": "property p = exists x in R: net(x)[0] <= 1",
}
"""Words that begin statements elsewhere, and what to write here."""


def foreign_sign(scene: Scene) -> Diagnostic | None:
    """`&&`, `||`, `!`, `**` and the like, or a mathematical sign."""
    word = scene.here
    if word.kind == "broken" and word.text[0] in HINTS:
        place = Span(scene.source, word.start, word.start + 1)
        sign = word.text[0] if not word.text[0].isspace() else "no-break space"
        message = f"`{sign}` has no meaning here"
        return diagnostic("E0112", message, place, help=HINTS[word.text[0]])
    if word.kind == "broken" and word.text[0] in SIGNS:
        place = Span(scene.source, word.start, word.start + 1)
        return _instead(scene, word.text[0], SIGNS[word.text[0]], place)
    for first, second in ((scene.before, word), (word, scene.after)):
        meant = PAIRS.get((first.text, second.text))
        if meant is not None and first.end == second.start:
            return _instead(scene, first.text + second.text, meant, scene.span(first, second))
    return None


def _instead(scene: Scene, sign: str, meant: str, place: Span) -> Diagnostic:
    if meant == "#":
        return diagnostic("E0112", "a comment begins with `#`", place, help="write `#`")
    follows = scene.source.text[place.end : place.end + 1]
    blank = " " if meant.isalpha() and not follows.isspace() else ""
    help = scene.mended(place, meant + blank)
    return diagnostic("E0112", f"`{sign}` is written `{meant}` here", place, help=help)


FOREIGN_WORDS: Mapping[str, str] = {
    "implies": "=>",
    "is": "==",
    "equals": "==",
    "AND": "and",
    "And": "and",
    "OR": "or",
    "Or": "or",
    "IN": "in",
    "xor": "!=",
    "div": "/",
    "intersect": "&",
}
"""Words between two operands elsewhere, and what the language writes for them."""


def foreign_word(scene: Scene) -> Diagnostic | None:
    """`for all x`, `a implies b`, `a is b`, `x if c else y`, or one `|` between two things."""
    text = scene.here.text
    if text == "for" and scene.after.text == "all" and "forall" in scene.expected:
        return _instead(scene, "for all", "forall", scene.span(scene.here, scene.after))
    if not scene.takes_operator:
        return None
    meant = FOREIGN_WORDS.get(text)
    if meant is not None and not scene.scan.begins_line(scene.here):
        return _instead(scene, text, meant, scene.place)
    if text == "if":
        message = "the condition stands before the values"
        return diagnostic("E0112", message, scene.place, help="the form is `if c then a else b`")
    if text == "|":
        message = "one `|` joins nothing; a pair of them is an absolute value"
        return diagnostic("E0112", message, scene.place, help=_bar(scene))
    return None


def _bar(scene: Scene) -> str:
    """What to write for one `|`."""
    opened = scene.open[-1] if scene.open else None
    if opened is None or opened.text != "{":
        return "write `a or b`, and `|a|` for the absolute value"
    if scene.word(scene.scan.index(opened.start) + 2).text == "in":
        return scene.mended(scene.place, "where")
    return "a set is written `{ x in R where x[0] <= 1 }`"


def equals(scene: Scene) -> Diagnostic | None:
    """`=` where a comparison could stand."""
    if scene.here.text != "=" or "CMP" not in scene.expected:
        return None
    message = "`=` gives a value and compares nothing"
    help = scene.mended(scene.place, "==")
    return diagnostic("E0111", message, scene.place, help=help)


def continued_line(scene: Scene) -> Diagnostic | None:
    """A line that begins with a bracket and so goes on with the one above."""
    bracket = _bracket_at_line_start(scene)
    if bracket is None:
        return None
    above = scene.word(scene.scan.index(bracket.start) - 1)
    message = f"`{bracket.text}` at the beginning of a line continues the line above"
    verb = "calls" if bracket.text == "(" else "indexes"
    help = f"it {verb} `{above.text}`; begin the statement with its keyword, for example `let`"
    return diagnostic(
        "E0116",
        message,
        scene.span(bracket),
        secondary=[(scene.place, "so that this does not fit")] if scene.here.text else [],
        help=help,
    )


def _bracket_at_line_start(scene: Scene) -> Lexeme | None:
    """The bracket of the group that holds the error, or ends right before it."""
    candidates = [word for word in scene.open if word.text in ("(", "[")]
    if scene.before.text in (")", "]"):
        depth = 0
        for word in reversed(scene.words):
            if word.kind == "symbol":
                depth += (word.text in CLOSERS.values()) - (word.text in CLOSERS)
            if depth == 0:
                candidates.append(word)
                break
    for word in candidates:
        above = scene.word(scene.scan.index(word.start) - 1)
        if word.text in ("(", "[") and scene.scan.begins_line(word) and above.ends_operand:
            return word
    return None


def quantifier(scene: Scene) -> Diagnostic | None:
    """`forall x. claim`, a variable without a set, a set without `:` behind it."""
    if scene.expected <= {"in"}:
        return _variable_without_set(scene)
    if scene.here.text == ":" and {"show", "}"} <= scene.expected:
        message = "in the block of a property no `:` follows the sets"
        help = scene.mended(scene.place, " show")
        return diagnostic("E0117", message, scene.place, help=help)
    word = _open_quantifier(scene)
    if word is None or ":" not in scene.expected or not scene.takes_operator:
        return None
    message = f"expected `:` behind the sets of this `{word.text}`, found {scene.found}"
    dot = _dot_after(scene, word)
    if dot is not None:
        message = "a `:` stands between the sets and the claim"
        return diagnostic(
            "E0117", message, scene.span(dot), help=scene.mended(scene.span(dot), ":")
        )
    help = f"write `{word.text} x in R where x[0] <= 1: claim`"
    if scene.here.text == "show":
        help = f"write `:` for `show`, or a block: `property p {{ {word.text} x in R show claim }}`"
    secondary = [(scene.span(word), "")]
    return diagnostic("E0117", message, scene.place, secondary=secondary, help=help)


def _variable_without_set(scene: Scene) -> Diagnostic | None:
    word = _open_quantifier(scene)
    if word is None:
        return None
    binders = scene.words[scene.scan.index(word.end) - scene.scan.index(scene.item) :]
    names = [w.text for w in binders if w.kind == "name"]
    if "in" in names:
        help = "if the claim begins here, write `:` before it"
    else:
        more = [scene.after.text] if scene.here.text == "," and scene.after.kind == "name" else []
        sets = ", ".join(f"{name} in R" for name in names + more)
        help = f"write `{word.text} {sets}`, with your set for `R`"
    message = f"each variable of `{word.text}` says its set"
    return diagnostic("E0117", message, scene.place, label="expected `in`", help=help)


def _open_quantifier(scene: Scene) -> Lexeme | None:
    """The innermost `forall` or `exists` that waits for its `:`."""
    open: list[Lexeme] = []
    for word in scene.words:
        if word.text in CLOSERS or word.text in ("forall", "exists"):
            open.append(word)
        elif word.text == ":" and open and open[-1].text in ("forall", "exists"):
            open.pop()
        elif word.text in CLOSERS.values() and word.kind == "symbol":
            while open and open.pop().text not in CLOSERS:
                pass
    return open[-1] if open and open[-1].text in ("forall", "exists") else None


def _dot_after(scene: Scene, quantifier: Lexeme) -> Lexeme | None:
    """A dot with a blank behind it, as in `forall x in R. claim`."""
    text = scene.source.text
    for word in scene.words:
        if word.start > quantifier.start and word.text == "." and text[word.end].isspace():
            return word
    return None


def colon_or_arrow(scene: Scene) -> Diagnostic | None:
    """`:` for `->`, or `->` for `:`."""
    found = scene.here.text
    meant = {":": "->", "->": ":"}.get(found)
    if meant is None or meant not in scene.expected:
        return None
    help = scene.mended(scene.place, meant)
    if meant == "->":
        message = "`->` stands between the input and the output type of a network"
    else:
        message = "a type follows `:`, not `->`"
        if scene.first.text == "network":
            help = "write both types: `network net: Image -> real[10]`"
    return diagnostic("E0120", message, scene.place, help=help)


def reserved_name(scene: Scene) -> Diagnostic | None:
    """A word of the language where a name is needed."""
    text = scene.here.text
    if text not in RESERVED or "NAME" not in scene.expected or scene.takes_operand:
        return None
    message = f"`{text}` is a word of the language and cannot be a name"
    return diagnostic("E0113", message, scene.place, help=f"choose another, for example `{text}_`")


def unknown_statement(scene: Scene) -> Diagnostic | None:
    """A line that begins with no keyword, where a statement could begin."""
    word = scene.here
    if END not in scene.expected or word.kind != "name" or word.text in STATEMENTS:
        return None
    if not scene.scan.begins_line(word):
        return None
    message = f"no statement begins with `{word.text}`"
    if word.text in BEGINNINGS:
        help = f"write `{BEGINNINGS[word.text]}`"
    elif scene.after.text == "=":
        help = scene.mended(scene.place, f"let {word.text}")
    else:
        help = suggestion(word.text, STATEMENTS) or "statements: " + ", ".join(
            f"`{keyword}`" for keyword in sorted(STATEMENTS)
        )
    return diagnostic("E0115", message, scene.place, help=help)
