"""What a block certifies when training has ended: a function of the script for each `certify`."""

from __future__ import annotations

from fractions import Fraction
from textwrap import wrap

from specdsl.language.schemas import BACKENDS, Option
from specdsl.training.emit.claims import ClaimFunctions
from specdsl.training.emit.lines import WIDTH, call, nested, statement
from specdsl.training.emit.numbers import number
from specdsl.training.emit.terms import claim_argument
from specdsl.training.emit.words import PROVEN, Runtime
from specdsl.training.plan.plan import Argument, Call, Certification, Constant, Part, Plan

FINAL_ATTACK = "pgd(40)"
"""What looks for points that violate a property before bounds are tried."""


def part_name(number: int) -> str:
    """What the samples of a `certify` are called among the parts of a script, from 1."""
    return f"certified_{number}"


def certified_parts(plan: Plan) -> dict[str, Part]:
    """The samples that are certified, by the names they get."""
    return {part_name(k): each.part for k, each in enumerate(plan.certifications, 1)}


def certifications_source(plan: Plan, claims: ClaimFunctions, dialect: Runtime) -> list[str]:
    """The functions, `certified_1(net, part)` and so on."""
    numbered = enumerate(plan.certifications, 1)
    return ["\n".join(_function(k, each, claims, dialect)) for k, each in numbered]


def printed(plan: Plan) -> list[str]:
    """The statements that call them and print what they find."""
    found: list[str] = []
    for k in range(1, len(plan.certifications) + 1):
        name = part_name(k)
        found.append(f'    print({name}(net, data["{name}"]))')
    return ["    data = parts()", *found]


def _function(
    number: int, certification: Certification, claims: ClaimFunctions, dialect: Runtime
) -> list[str]:
    claim = claims.call(claim_argument(certification.claim), "x, y", "end")
    arguments = ["net", "part", "claim", *_cascade(certification.stages, dialect)]
    arguments.append(f"attack={dialect.use('pgd')}({FINAL_ATTACK.removeprefix('pgd(')}")
    if dialect.normalized:
        arguments.append("point=network_input")
    dialect.names.add("Claim")
    return [
        f"def {part_name(number)}(net: Trainable, part: Samples) -> str:",
        *_docstring(certification.text),
        "",
        "    def claim(x: Tensor, y: Tensor) -> Claim:",
        *(["        end = schedule(float(EPOCHS))"] if "end." in claim else []),
        *statement(f"return {claim}", 2),
        "",
        *call("found = certify", arguments),
        *call("return found.report", [f'"{certification.title}"']),
    ]


def _docstring(text: str) -> list[str]:
    # The quotes that close it fit behind the last line, or stand alone.
    lines = wrap(f'"""{text}', WIDTH - 4 - len('"""'), break_long_words=False)
    if len(lines) == 1:
        return [f'    {lines[0]}"""']
    return [f"    {line}" for line in (*lines, '"""')]


def _cascade(stages: tuple[Call, ...], dialect: Runtime) -> list[str]:
    """The argument `cascade`; none where the usual one is meant."""
    if not stages:
        return []
    lines = [f"{_stage(stage, dialect)},".splitlines() for stage in stages]
    return ["\n".join(["cascade={", *(f"    {line}" for each in lines for line in each), "}"])]


def _stage(stage: Call, dialect: Runtime) -> str:
    """An entry of the cascade: what the stage is called, and what it calls."""
    head = f'"{stage.text}": '
    if stage.name not in BACKENDS.schemas:
        return f"{head}{dialect.use(PROVEN.get(stage.name, stage.name))}()"
    given = [f'"{stage.name}"']
    for option in BACKENDS.schemas[stage.name].options:
        value = stage.arguments[option.name]
        if value is not None and value != _default(option):
            given.append(f"{option.name}={_value(option, value)}")
    return nested(f"{head}{dialect.use('complete')}", given, 3)


def _default(option: Option) -> Argument:
    if option.default is None or option.kind == "word":
        return None if option.default is None else str(option.default)
    if option.kind == "bool":
        return Constant(Fraction(option.default == "true"))
    return Constant(Fraction(str(option.default)))


def _value(option: Option, value: Argument) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    assert isinstance(value, Constant), "options of backends are numbers, words and yes or no"
    if option.kind == "bool":
        return str(value != Constant(Fraction(0)))
    return number(value)
