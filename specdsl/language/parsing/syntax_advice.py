"""What to write instead, for errors that are said in general words ("expected `(`, found `x`")."""

from __future__ import annotations

from collections.abc import Callable

from specdsl.language.parsing.syntax_scene import Scene
from specdsl.source import Span


def advice(scene: Scene) -> str | None:
    """The help line for what seems to be meant; None where nothing is recognised."""
    return next((help for question in _QUESTIONS if (help := question(scene)) is not None), None)


def _condition(scene: Scene) -> str | None:
    """`forall x in R such that c`, `s.t. c`, `subject to c`."""
    if "where" not in scene.expected:
        return None
    here, after = scene.here, scene.after
    pair = (here.text, after.text)
    if pair in (("such", "that"), ("subject", "to")):
        return scene.mended(scene.span(here, after), "where")
    if pair == ("s", "."):
        start = scene.index
        words = [scene.word(i) for i in range(start, start + 4)]
        if [word.text for word in words] == ["s", ".", "t", "."]:
            return scene.mended(scene.span(words[0], words[-1]), "where")
    return None


def _claim(scene: Scene) -> str | None:
    """The claim of a block without `show`."""
    starts = scene.here.kind in ("name", "number") or scene.here.text in ("(", "-", "|", "not")
    if "show" in scene.expected and scene.first.text == "property" and starts:
        return scene.mended(Span(scene.source, scene.here.start, scene.here.start), "show ")
    return None


def _layer(scene: Scene) -> str | None:
    """`{ dense(3) }` without `layer`."""
    inside = scene.first.text == "network" and _innermost(scene) == "{"
    if inside and scene.expected == frozenset({"="}) and scene.here.text in ("(", ",", "}"):
        before = scene.before.start
        return scene.mended(Span(scene.source, before, before), "layer ")
    return None


def _finite_set(scene: Scene) -> str | None:
    """`{1, 2, 3}`."""
    inside = scene.here.text == "," and _innermost(scene) == "{"
    if inside and "where" in scene.expected and scene.takes_operator:
        return "a finite set is written `one_of(1, 2, 3)`"
    return None


def _interval(scene: Scene) -> str | None:
    """`in 0..1` or `in {0, 1}` where an interval belongs."""
    if scene.before.text == "in" and scene.expected == frozenset({"["}):
        return "an interval is written `in [0, 1]`"
    return None


def _half_open(scene: Scene) -> str | None:
    """`[0, 1)` and `(0, 1]`."""
    if (_innermost(scene), scene.here.text) not in (("[", ")"), ("(", "]")):
        return None
    if scene.word(scene.scan.index(scene.open[-1].start) - 1).text != "in":
        return None
    return "intervals are closed: write `[0, 1]`, and `where x < 1` for a strict bound"


def _options(scene: Scene) -> str | None:
    """`check p with milp`, `check p timeout = 3`."""
    if scene.first.text != "check" or not {"using", "report"} & scene.expected:
        return None
    if scene.here.text == "with" and scene.after.kind == "name":
        return scene.mended(scene.place, "using")
    if scene.here.kind == "name" and scene.after.text == "=":
        return "options belong to a backend: `using portfolio(timeout = 60)`"
    return None


def _unit(scene: Scene) -> str | None:
    """`1 m`."""
    number, unit = scene.before, scene.here
    same_line = "\n" not in scene.source.text[number.end : unit.start]
    if number.kind == "number" and unit.kind == "name" and "UNIT" in scene.expected and same_line:
        return f"a unit stands in backticks: {number.text} `{unit.text}`"
    return None


def _function(scene: Scene) -> str | None:
    """`lambda x: ...` and `x -> ...`."""
    if scene.before.text == "lambda" or scene.here.text == "->":
        return "functions have names: `let f(x) = 2 * x`"
    return None


def _plus(scene: Scene) -> str | None:
    if scene.here.text == "+" and scene.takes_operand:
        return "no sign stands before a positive number"
    return None


def _commas(scene: Scene) -> str | None:
    """Commas between fields, clauses and statements."""
    blocks = scene.first.text in ("space", "system", "network")
    if scene.here.text == "," and blocks and _innermost(scene) == "{":
        return "delete it: no commas stand between the parts of this block"
    return None


def _comma(scene: Scene) -> str | None:
    """`[1 2]` and `f(x y)`."""
    here, before = scene.here, scene.before
    if "," not in scene.expected or not scene.open or not before.ends_operand:
        return None
    if here.kind in ("number", "name", "string") and not scene.at_boundary:
        return scene.mended(Span(scene.source, before.end, before.end), ",")
    return None


def _component(scene: Scene) -> str | None:
    """`x.0`."""
    if scene.before.text == "." and scene.here.kind == "number":
        return f"an entry is picked by brackets: `[{scene.here.text}]`"
    return None


def _innermost(scene: Scene) -> str:
    """The bracket that is open here, or an empty text."""
    return scene.open[-1].text if scene.open else ""


_QUESTIONS: tuple[Callable[[Scene], str | None], ...] = (
    _condition,
    _claim,
    _layer,
    _finite_set,
    _interval,
    _half_open,
    _options,
    _unit,
    _function,
    _plus,
    _commas,
    _component,
    _comma,
)
