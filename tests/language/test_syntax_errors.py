"""Every syntax error as people see it, and every code of E01 by some example."""

from __future__ import annotations

import re
from typing import Any

import pytest

from specdsl.codes import CODES
from specdsl.diagnostics import Diagnostic, render
from specdsl.language.parsing.parser import MAX_CHARACTERS, MAX_ERRORS, parse_recovering
from specdsl.source import Source
from tests.language.pasting import pasted

CASES: dict[str, str] = {
    "arrow_for_colon": "let f(x) -> real = 3",
    "block_not_closed": "property p { forall x in R show f(x) <= 1\nproperty q = true",
    "block_with_colon": "property p { forall x in R: f(x) <= 1 }",
    "bracket_closed_by_another": "let a = f(x]",
    "bracket_closes_nothing": "let a = x)",
    "bracket_not_closed": "let a = f(x, y\nlet b = 2",
    "bracket_not_closed_at_the_end": "const A = [[1, 2],\n  [3, 4]\n",
    "character": "let a = x$",
    "check_with_options_only": "check using milp(gap = 0)",
    "check_without_property": "check\nlet a = 1",
    "claim_without_show": "property p { f(x) <= 1 }",
    "colon_for_arrow": 'network net: Image : real[10] = onnx("f.onnx")',
    "comma_missing": "let a = [1 2]",
    "commas_between_fields": "space S { a: real, b: real }",
    "component_by_a_dot": "let a = x.0",
    "condition_in_the_middle": "let a = b if c else d",
    "continued_by_bracket": "let a = b\n[1, 2] = f(x)",
    "continued_by_parenthesis": "let a = b\n(c, d) = f(x)",
    "dataset_without_type": 'dataset d = npz("f.npz")',
    "double_ampersand": "let a = x && y",
    "double_bar": "property p = forall x in R: f(x) <= 1 || g(x) <= 1",
    "double_slash": "let a = 2 // half of four",
    "double_star": "let a = x ** 2",
    "equals_in_condition": "property p { forall x in R show argmax(net(x)) = y }",
    "escape": r'let file = "data\samples.npz"',
    "exclamation": "property p = forall x in R: !far(x)",
    "expression_missing": "let a = 1 +\n\ncheck p",
    "field_without_type": "space Image { pixels real in [0, 1] }",
    "for_all": "property p = for all x in R: f(x) <= 1",
    "forall_at_the_top": "forall x in R: f(x) <= 1",
    "forall_with_comma": "property p = forall x in R, f(x) <= 1",
    "forall_with_dot": "property p = forall x. f(x) <= 1",
    "forall_with_dot_after_the_set": "property p = forall x in R. f(x) <= 1",
    "forall_with_show": "property p = forall x in R show f(x) <= 1",
    "forall_with_two_names": "property p = forall x, y in R: f(x) <= f(y)",
    "half_open_interval": "property p = forall x in [0, 1): f(x) <= 1",
    "implies": "let a = b implies c",
    "interval_as_range": "param eps = 1 in 0..1",
    "keyword_as_field": "let a = sample.where",
    "keyword_as_name": "param in: real = 3",
    "lambda": "let f = lambda x: x + 1",
    "layer_without_layer": "network f: real -> real { dense(3) }",
    "letter": "let größe = 3",
    "mathematical_sign": "let a = x ≤ 3",
    "nested_brackets": "let a = " + "(" * 300,
    "nested_chain": "let a = " + "x^" * 300 + "x",
    "number_begins_with_a_dot": "let a = .5",
    "number_ends_with_a_dot": "let a = 1.\nlet b = 1.e5",
    "number_glued": "let batch = 2batch",
    "number_in_hexadecimal": "let a = 0x10",
    "number_too_long": "let a = 1e999",
    "option_twice": "check p using milp using lp",
    "option_without_backend": "check p timeout = 3",
    "parameter_without_colon": "param eps real = 3",
    "plus_sign": "let a = +1",
    "property_without_end": "property p { forall x in R",
    "query_without_over": "maximize f(x) x in R",
    "question_mark": "let a = x ? y : z",
    "quotes_not_closed": 'let a = "abc\nlet b = 2 `m',
    "search_without_such_that": "largest r in [0, 1] robust(x, r)",
    "semicolon": "let a = 3;",
    "set_of_values": "let a = {1, 2, 3}",
    "set_with_bar": "let a = { x in R | x > 3 }",
    "set_without_member": "let a = { x where x > 3 }",
    "several": "let a = x && y\n\ncheck\nproperty p = forall x. y\nlet b = (1\nlet c = 2",
    "single_quotes": "let a = 'text'",
    "statement_misspelt": "chekc robust",
    "statement_without_let": "epsilon = 2/255  # as in the paper",
    "such_that": "property p { forall x in R such that x <= 1 show f(x) <= 2 }",
    "such_that_abbreviated": "property p { forall x in R s.t. x <= 1 show f(x) <= 2 }",
    "text_too_long": "#" * (MAX_CHARACTERS + 1),
    "too_many": "let = 1\n" * (MAX_ERRORS + 2),
    "unit_without_backticks": "let a = 1 m",
    "upper_case": "let a = x AND y",
    "using_with": "check p with milp",
    "value_missing": "let a =\ncheck (p)\nlet b = 1",
    "version_late": "let a = 1\nspec 1.0",
    "version_missing": "let a = 1",
    "version_not_a_number": 'spec "1.0"',
    "version_of_one_number": "spec 1\nlet a = 1",
    "version_unknown": "spec 2.0\nlambda x",
}


def shown(text: str) -> str:
    needs_header = text == CASES["version_missing"]
    source = Source("test.spec", text)
    _, errors = parse_recovering(source, require_header=needs_header)
    assert errors
    return "\n\n".join(render(error) for error in errors[-5:])


@pytest.mark.parametrize("name", CASES)
def test_syntax_errors_read_as_agreed(name: str, golden: Any) -> None:
    golden.check(f"syntax/{name}.txt", shown(CASES[name]))


def test_every_code_has_an_example() -> None:
    shown_codes = set(re.findall(r"E01\d\d", "\n".join(map(shown, CASES.values()))))
    assert shown_codes == {code for code in CODES if code.startswith("E01")}


def first_error(text: str) -> Diagnostic:
    return parse_recovering(Source("test.spec", text))[1][0]


@pytest.mark.parametrize("name", CASES)
def test_what_a_help_line_says_to_write_mends_the_text(name: str) -> None:
    if name in ("version_missing", "number_ends_with_a_dot"):
        return
    error = first_error(CASES[name])
    assert error.primary is not None
    place = error.primary.span.start
    mended = list(pasted(error))
    left = [parse_recovering(Source("test.spec", text))[1] for text in mended]
    assert not mended or any(
        not errors or (errors[0].primary is not None and errors[0].primary.span.start > place)
        for errors in left
    )


def test_many_help_lines_can_be_pasted() -> None:
    cases = [text for name, text in CASES.items() if name != "version_missing"]
    assert sum(bool(list(pasted(first_error(text)))) for text in cases) >= 20
