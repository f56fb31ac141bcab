"""Text that somebody else chose, in one line of whatever language."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_dmi.text import comment, csv_text, one_line

EVIL = [
    "a\nimport os; os.system('touch touched')",
    "a\r\nDind = 1",
    "a\rb",
    "a\x0bb\x0cc\x85d\u2028e\u2029f",
    "a\x00b",
    "\x1b]0;title\x07\x1b[2J",
    "\ud800half",
    "\u202egnirts\u202c \u2066hidden\u2069",
    "*/ Dind = 1 /*",
    "coding: utf_7",
    '"; evil()',
    "'; evil()",
    "`evil` $(evil) ${evil}",
    "=HYPERLINK(1)",
    "@SUM(1)",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd",
    "\t=1",
    "#not a note",
    "a,b;c\td",
    r"$\frac{",
    "$x$",
    "$",
    "50 % & more_",
    "<script>alert(1)</script>",
    "\U0001f9f2 \u00e9",
]


@given(st.text(alphabet=st.characters()))
def test_one_line_can_be_printed_and_stored(text):
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable()
    shown.encode("utf-8")
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("mark", ["#", "//"])
def test_a_comment_ends_with_its_line(text, mark):
    line = comment(mark, text)
    assert line.startswith(f"{mark} ")
    assert "\n" not in line
    assert line.isprintable()


@pytest.mark.parametrize("text", EVIL)
def test_a_cell_is_no_formula(text):
    cell = csv_text(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    buffer = io.StringIO()
    csv.writer(buffer).writerow([cell, 1.5])
    assert list(csv.reader(io.StringIO(buffer.getvalue()))) == [[cell, "1.5"]]
    assert buffer.getvalue().count("\n") == 1


@pytest.mark.parametrize("value", [-1.5, 3, None, "-1,0,0", "-1", "+2.5e-3", "0,0,1", "Co/Pt(111) 1+1", "all"])
def test_numbers_directions_and_films_stay(value):
    assert csv_text(value) == value
