"""Structures are taken apart and put together again without loss: only what is meant changes."""

from __future__ import annotations

import json
from random import Random

import onnx
import pytest

from specdsl.language.parsing.parser import parse
from specdsl.source import Source
from tests.fuzz.mutators import forms, json_values, protobuf, texts
from tests.fuzz.mutators.sentences import Sentences
from tests.fuzz.targets import BY_NAME, specs

KIND = onnx.ModelProto.DESCRIPTOR


@pytest.mark.parametrize("content", BY_NAME["onnx"].corpus())
def test_messages_are_read_back(content: bytes) -> None:
    assert protobuf.encode(protobuf.decode(content, KIND)) == content


def test_every_field_of_a_model_can_be_reached() -> None:
    content = BY_NAME["onnx"].corpus()[0]
    names = {p.field.name for p in protobuf.places(protobuf.decode(content, KIND), KIND)}
    assert {"op_type", "dims", "raw_data", "dim_value", "elem_type", "version", "name"} <= names


@pytest.mark.parametrize("name", ["vnnlib-1", "vnnlib-2"])
def test_forms_are_read_back(name: str) -> None:
    for content in BY_NAME[name].corpus():
        root = forms.parse(content.decode())
        assert forms.parse(forms.show(root)) == root


def test_forms_of_any_depth_are_shown() -> None:
    root = forms.parse("(" * 50_000)
    assert forms.show(root).count("(") == 50_000


def test_json_is_read_back() -> None:
    for line in BY_NAME["lines"].corpus()[0].splitlines():
        root = json.loads(line, object_pairs_hook=json_values._pairs)
        assert json.loads(json_values.show(root)) == json.loads(line)


def test_any_bytes_are_text_and_back() -> None:
    for content in (bytes(range(256)), b"\xed\xa0\x80", "größe".encode()):
        assert texts.encode(texts.decode(content)) == content
    assert texts.encode("\ud800") == b"\xed\xa0\x80"


def test_words_leave_nothing_out() -> None:
    for content in BY_NAME["spec"].corpus():
        text = texts.decode(content)
        assert "".join(specs.language().words.findall(text)) == text


def test_sentences_follow_the_grammar() -> None:
    rules = {"s": [("(", "s", ")"), ("s", "s"), ("x",)], "unused": [("unused",)]}
    made = Sentences(rules, lambda _, terminal: terminal)
    found = {made.sentence(Random(n), "s", 6) for n in range(200)}
    assert len(found) > 20
    for sentence in found:
        assert sentence.count("(") == sentence.count(")")
        assert len(sentence.split()) < 200


def test_sentences_of_the_language_are_mostly_specs() -> None:
    read = 0
    for number in range(60):
        text = specs._sentences().sentence(Random(number), "item", 8)
        try:
            parse(Source("made.spec", text))
        except Exception:  # noqa: BLE001 - the odd numbers and units among them are refused
            continue
        read += 1
    assert read > 20
