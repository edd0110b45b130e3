"""Which syntax error it is: one question after another, the first answer is the diagnostic.

The questions go from the certain (a quote that is never closed) over habits from other languages
to the general ("expected `)`, found `let`").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from specdsl.diagnostics import Diagnostic, diagnostic
from specdsl.language.parsing import syntax_habits as habits
from specdsl.language.parsing.scan import CLOSERS, Lexeme, Scan
from specdsl.language.parsing.syntax_advice import advice
from specdsl.language.parsing.syntax_scene import END, Scene, Stuck
from specdsl.source import Source, Span

OPTIONS = frozenset({"as", "using", "report", "expect"})

PATTERNS: Mapping[str, str] = {
    "import": 'import "other.spec" as m',
    "param": "param eps: real = 2/255 in [0, 1]",
    "const": "const pi = 3.14159",
    "enum": "enum Advisory { COC, WL, WR }",
    "space": "space Image { pixels: real[28, 28] in [0, 1] }",
    "network": 'network net: Image -> real[10] = onnx("net.onnx")',
    "dataset": 'dataset test: (Image, label[10]) = npz("test.npz")',
    "region": "region ball(x, r) = norm_ball(x, r, linf)",
    "let": "let f(x) = 2 * x",
    "property": "property robust(x, y, r) { forall z in ball(x, r) show argmax(net(z)) == y }",
    "system": "system loop { state x: real[2] in box(0, 1)  next x = f(x) }",
    "train": "train net on data { epochs = 10 }",
    "maximize": "maximize net(x)[0] over x in R",
    "minimize": "minimize net(x)[0] over x in R",
    "largest": "largest r in [0, 1] such that robust(x, y, r)",
    "smallest": "smallest r in [0, 1] such that robust(x, y, r)",
}
"""How each statement looks, shown when its beginning is malformed."""

_NUMBER = re.compile(r"[0-9]+(_[0-9]+)*(\.[0-9]+(_[0-9]+)*)?([eE][+-]?[0-9]+)?")
_GLUED = re.compile(r"(?P<number>[1-9][0-9]*)(?P<name>[A-Za-z_][A-Za-z0-9_]*)")


def explain(stuck: Stuck, source: Source, scan: Scan) -> Diagnostic:
    """The diagnostic for one error: E0101, E0103 to E0105, E0107, E0110 to E0117, E0120."""
    scene = Scene(stuck, source, scan)
    for question in QUESTIONS:
        answer = question(scene)
        if answer is not None:
            return answer
    return _general(scene)


def _not_closed(scene: Scene) -> Diagnostic | None:
    word = scene.here
    if word.kind != "broken" or word.text[0] not in '"`':
        return None
    what = "text" if word.text[0] == '"' else "unit"
    message = f"this {what} is not closed on its line"
    return diagnostic("E0104", message, scene.place, help=f"close it with {word.text[0]}")


def _no_meaning(scene: Scene) -> Diagnostic | None:
    word = scene.here
    if word.kind != "broken":
        return None
    if word.text[0].isalpha():
        glued = scene.before.kind == "name" and scene.before.end == word.start
        place = scene.span(scene.before if glued else word, word)
        message = f"`{place.text}` is not a name: names are made of a to z, digits and `_`"
        return diagnostic("E0103", message, place)
    character = word.text[0] if word.text[0].isprintable() else f"U+{ord(word.text[0]):04X}"
    place = Span(scene.source, word.start, word.start + 1)
    return diagnostic("E0103", f"the character `{character}` has no meaning here", place)


def _header(scene: Scene) -> Diagnostic | None:
    if scene.before.text == "spec" and scene.index == 1:
        message = "`spec` is followed by a version, two numbers with a dot"
        place = scene.place if scene.here.kind == "number" else scene.span(scene.before)
        return diagnostic("E0110", message, place, help="spec 1.0")
    if scene.here.text == "spec" and scene.after.kind == "number" and END in scene.expected:
        message = "the version of the language stands once, before everything else"
        return diagnostic("E0110", message, scene.span(scene.here, scene.after))
    return None


def _malformed_number(scene: Scene) -> Diagnostic | None:
    word, before, after = scene.here, scene.before, scene.after
    if word.kind == "number" and not _NUMBER.fullmatch(word.text):
        message = f"`{word.text}` is neither a number nor a name"
        glued = _GLUED.fullmatch(word.text)
        help = "numbers look like `1_000`, `0.5` and `2.5e-3`"
        if glued:
            product = f"{glued['number']} * {glued['name']}"
            help = f"write `{product}`: names do not begin with a digit"
        return diagnostic("E0107", message, scene.place, help=help)
    message = "a number has digits on both sides of its dot"
    if word.kind == "number" and after.text == "." and after.start == word.end:
        return diagnostic("E0107", message, scene.span(word, after), help=f"write `{word.text}.0`")
    whole = scene.word(scene.index - 2)
    if before.text == "." and whole.kind == "number" and whole.end == before.start:
        place = scene.span(whole, before)
        return diagnostic("E0107", message, place, help=f"write `{whole.text}.0`")
    if word.text == "." and after.kind == "number" and after.start == word.end:
        place = scene.span(word, after)
        return diagnostic("E0107", message, place, help=f"write `0.{after.text}`")
    return None


def _nothing_to_check(scene: Scene) -> Diagnostic | None:
    if scene.first.text != "check":
        return None
    start = scene.scan.index(scene.first.start)
    option = scene.index == start + 2 and scene.before.text in OPTIONS
    if option or (scene.index == start + 1 and scene.at_boundary):
        message = "`check` names no property"
        help = "write `check robust`, with the name of your property"
        return diagnostic("E0114", message, scene.span(scene.first), help=help)
    return None


def _brackets(scene: Scene) -> Diagnostic | None:
    opened = scene.open[-1] if scene.open else None
    if scene.here.text in CLOSERS.values():
        if opened is None:
            help = scene.mended(scene.place, "")
            return diagnostic(
                "E0105", f"`{scene.here.text}` closes nothing", scene.place, help=help
            )
        if CLOSERS[opened.text] != scene.here.text:
            wanted = CLOSERS[opened.text]
            message = f"`{scene.here.text}` cannot close `{opened.text}`"
            secondary = [(scene.span(opened), f"needs `{wanted}`")]
            help = advice(scene) or scene.mended(scene.place, wanted)
            return diagnostic("E0105", message, scene.place, secondary=secondary, help=help)
        return None
    if opened is None or not scene.at_boundary or CLOSERS[opened.text] not in scene.expected:
        return None
    message = f"expected {scene.wanted}, found {scene.found}"
    secondary = [(scene.span(opened), f"this `{opened.text}` is not closed")]
    help = _closed(scene, opened) if scene.before.ends_operand else None
    return diagnostic("E0105", message, scene.place, secondary=secondary, help=help)


def _closed(scene: Scene, opened: Lexeme) -> str | None:
    """The line with what closes the bracket, if it was opened there."""
    end = scene.before.end
    if "\n" in scene.source.text[opened.start : end]:
        return None
    closing = " }" if opened.text == "{" else CLOSERS[opened.text]
    line = scene.mended(Span(scene.source, end, end), closing)
    return "close it: " + line.removeprefix("write ")


def _general(scene: Scene) -> Diagnostic:
    message = f"expected {scene.wanted}, found {scene.found}"
    opened = scene.open[-1] if scene.open and scene.at_boundary else None
    return diagnostic(
        "E0101",
        message,
        scene.place,
        secondary=[(scene.span(opened), "opened here")] if opened else [],
        help=advice(scene) or _pattern(scene),
    )


def _pattern(scene: Scene) -> str | None:
    """How the statement looks, for errors before its `=` or `{`."""
    pattern = PATTERNS.get(scene.first.text)
    body = any(word.text in ("=", "{") for word in scene.words)
    if pattern is None or body or scene.first is scene.here:
        return None
    return f"for example `{pattern}`"


QUESTIONS: tuple[Callable[[Scene], Diagnostic | None], ...] = (
    _not_closed,
    _header,
    habits.foreign_sign,
    _no_meaning,
    _malformed_number,
    _nothing_to_check,
    habits.quantifier,
    habits.continued_line,
    habits.equals,
    habits.foreign_word,
    habits.colon_or_arrow,
    habits.reserved_name,
    habits.unknown_statement,
    _brackets,
)
"""In this order: a later question may take for granted that the earlier ones had no answer."""
