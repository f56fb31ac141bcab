"""Text that somebody else chose (labels, names of masks and directions) inside text of a language.

One function for each language; it stands where the text goes in, so that no name of a mask can end a comment, begin a
formula or turn the direction of writing.
"""

from __future__ import annotations

import re

FORMULA = "=+-@\uff1d\uff0b\uff0d\uff20"
"""What a spreadsheet takes a cell for a formula by; the last four are the wide ones of East Asian keyboards."""
NUMBERS = re.compile(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?(,[-+]?\d*\.?\d+([eE][-+]?\d+)?)*")
"""A number, or a direction such as -1,0,0."""


def one_line(text: str) -> str:
    r"""Text for people, in one line: what cannot be printed stands as Python writes it.

    That is control characters, line ends of every kind, marks that turn the direction of writing, halves of surrogate
    pairs and characters that do not exist.

    Examples
    --------
    >>> print(one_line("Co\nimport os"))
    Co\nimport os
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def comment(mark: str, text: str) -> str:
    r"""A comment line of a language whose comments begin with `mark` and end with the line.

    Examples
    --------
    >>> print(comment("//", "a film\nDind = 1"))
    // a film\nDind = 1
    """
    return f"{mark} {one_line(text)}"


def csv_text(value: object) -> object:
    """A cell of a CSV file: text in one line that no spreadsheet takes for a formula; anything else as it is.

    Examples
    --------
    >>> csv_text("=HYPERLINK(1)"), csv_text("-1,0,0"), csv_text(-1.5)
    ("'=HYPERLINK(1)", '-1,0,0', -1.5)
    """
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.lstrip().startswith(tuple(FORMULA)) and not NUMBERS.fullmatch(text) else text
