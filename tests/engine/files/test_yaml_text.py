"""The one reader of YAML: scalars of YAML 1.2, no key twice, nothing but plain values; and the writer."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_dmi.engine.files.yaml_text import dump_yaml, load_yaml

SCALARS = {
    # numbers of YAML 1.1 that are none, or others
    "060": 60, "-007": -7, "0o60": 48, "0x1F": 31, "0b11": "0b11", "1_000": "1_000", "1:30": "1:30", "1:2:3": "1:2:3",
    "1e-2": 0.01, "1E3": 1000.0, "-.5e+1": -5.0, "1.": 1.0, "+3": 3, "1e400x": "1e400x", "0o8": "0o8", "1e": "1e",
    ".inf": math.inf, "-.INF": -math.inf, "+.Inf": math.inf, "inf": "inf", "nan": "nan", "infinity": "infinity",
    # words
    "true": True, "FALSE": False, "True": True, "tRUE": "tRUE", "on": "on", "Off": "Off", "yes": "yes", "NO": "NO",
    "y": "y", "~": None, "null": None, "Null": None, "": None, "none": "none", "''": "", "'1'": "1", '"on"': "on",
    # no dates, no values, no bytes
    "2024-01-01": "2024-01-01", "2020-13-45": "2020-13-45", "=": "=", "12:00:00": "12:00:00",
    "!!str 3": "3", "!!float 3": 3.0, "!!int 060": 60, "!!bool FALSE": False,
}  # fmt: skip


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_of_yaml_1_2(text):
    found = load_yaml(f"a: {text}\n")["a"]
    assert found == SCALARS[text]
    assert type(found) is type(SCALARS[text])


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_no_number(text):
    assert math.isnan(load_yaml(f"[{text}]")[0])


def test_keys_are_of_yaml_1_2_too():
    assert load_yaml("{on: 1, no: 2, 1e3: 3, 'true': 4}") == {"on": 1, "no": 2, 1000.0: 3, "true": 4}


TWICE = {
    "top": ("mesh: 4\noutput: a\nmesh: 6\n", ["mesh (line 1) and mesh (line 3)"]),
    "in a section": ("a:\n  b: 1\n  c: {}\n  b: 1\n", ["b (line 2) and b (line 4)"]),
    "on one line": ("{a: 1, 'a': 2}", ["a (line 1) and a (line 1)"]),
    "deep in a list": ("- [{x: {y: 1, z: 2, y: 3}}]\n", ["y (line 1)"]),
    "whole and half": ("1: x\n1.0: y\n", ["1 (line 1) and 1.0 (line 2)"]),
    "true is 1": ("true: x\n1: y\n", ["true (line 1) and 1 (line 2)"]),
    "of other notation": ("0x10: x\n16: y\n", ["0x10 (line 1) and 16 (line 2)"]),
    "two merges": ("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", ["<< (line 2)"]),
    "Windows lines": ("a: 1\r\na: 2\r\n", ["a (line 1) and a (line 2)"]),
}


@pytest.mark.parametrize("case", TWICE)
def test_no_key_twice(case):
    """Named with its lines: of two equal keys one would be lost without a word."""
    text, words = TWICE[case]
    with pytest.raises(ValueError, match="the same key; give it once") as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_merged_keys_may_be_given_again():
    """`<<` is there to give defaults; what stands beside it goes first, wherever it stands."""
    text = "a: &a {x: 1, y: 2}\nb: {x: 3, <<: *a}\nc: {<<: [*a, {x: 5, z: 6}]}\nd: <<\n"
    assert load_yaml(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 2, "z": 6}, "d": "<<"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1e400", "1e400 is too large for a number"),
        ("a: -1.0e+309", "too large"),
        (f"a: {'9' * 5000}", "digits"),
        ("a: !!int x", "'x' is no int"),
        ("a: !!bool yes", "'yes' is no bool"),
        ("a: !!null 0", "'0' is no null"),
        ("a: !!timestamp 2024-01-01", "timestamp"),
        ("a: !!binary aGk=", "binary"),
        ("!!set {a, b}", "set"),
        ("a: !mine 3", "!mine"),
        ("a: !!python/name:os.system", "python"),
        ("? [1, 2]\n: 3", "given as a key"),
        ("a: [1", "expected"),
        ("--- 1\n--- 2\n", "single document"),
        ("[" * 2000, "recursion"),
    ],
)
def test_refused_in_one_short_line(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_nothing_is_nothing():
    assert load_yaml("") is load_yaml("# only a comment\n") is load_yaml("---\n") is None


def test_other_readers_of_pyyaml_stay_as_they_are():
    """Its loaders hand their tables on to one another."""
    assert yaml.safe_load("{a: on, b: 060}") == {"a": True, "b": 48}


# -- the writer ------------------------------------------------------------------------------------------

TRICKY = [
    *SCALARS,
    "<<",
    "1e3",
    "08",
    "1e-3",
    "-",
    "?",
    ": a",
    "#",
    "a\nb",
    "\0",
    "é",
    "\u202e",
    " a ",
    "{",
    "*a",
    "%",
    "'",
]
TEXTS = st.sampled_from(TRICKY) | st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(PLAIN)
def test_what_is_written_is_read(value):
    """By this reader and, as dmi-engine of another version may be on the cluster, by one of YAML 1.1."""
    text = dump_yaml(value)
    for found in (load_yaml(text), yaml.safe_load(text)):
        assert found == value
        assert _types(found) == _types(value)


def _types(value):
    if isinstance(value, dict):
        return {key: _types(inner) for key, inner in value.items()}
    return [_types(inner) for inner in value] if isinstance(value, list) else type(value)


def test_keys_keep_their_order_and_lists_their_length():
    same = [1, 2]
    text = dump_yaml({"z": same, "a": same, "m": None})
    assert list(load_yaml(text)) == ["z", "a", "m"]
    assert "&" not in text
